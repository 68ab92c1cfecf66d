//! One network on one tensor: the inference library alone, and with everything that this crate does around it; and the decoders
//! alone.

use std::sync::Arc;

use crate::detect::backend::{Backend, Network, OrtBound};
use crate::detect::decode::{self, Candidate, DecoderKind, Output};
use crate::detect::{Letterbox, Manifest, ModelStore};
use crate::error::{Error, Result};
use crate::frame::{DetectJob, FrameMeta, FramePool};
use crate::picture::{FrameFormat, ViewMut};
use crate::time::Timestamp;

/// A network with a picture in front of it.
pub struct Inference {
    manifest: Manifest,
    network: Box<dyn Network>,
    letterbox: Letterbox,
    frame: Option<DetectJob>,
    least: f32,
    found: Vec<Candidate>,
    bound: Option<OrtBound>,
}

impl Inference {
    /// `model` on a picture of `format` that `paint` makes, its longer side scaled to `long_side`; boxes count from the
    /// score `least` on.
    ///
    /// # Errors
    /// As [`ModelStore::read`].
    pub fn new(
        store: &ModelStore,
        backend: &Backend,
        model: &str,
        (format, long_side): (FrameFormat, u32),
        least: f32,
        paint: impl FnOnce(&mut ViewMut<'_>) -> Result<()>,
    ) -> Result<Inference> {
        let manifest = store.manifest(model)?;
        let network = backend.load(&manifest, store.read(&manifest)?)?;
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        let frame = FramePool::new(format, 1).fill(meta, paint)?;
        let frame = frame.map(|frame| frame.lend(Arc::default()));
        let letterbox = Letterbox::new(&format, long_side, &manifest.input);
        let bytes = store.read(&manifest)?;
        let mut made =
            Inference { manifest, network, letterbox, frame, least, found: Vec::new(), bound: None };
        made.letterbox();
        let tensor = made.letterbox.tensor();
        if let Some(values) = tensor.as_ref().and_then(|t| t.as_slice()) {
            let (w, h) = made.size();
            made.bound = backend.bound(&bytes, [1, 3, h, w], values).transpose().map_err(Error::other)?;
        }
        Ok(made)
    }

    /// Width and height of the tensor.
    pub fn size(&self) -> (usize, usize) {
        self.letterbox.tensor().map_or((0, 0), |t| (t.dim().3, t.dim().2))
    }

    /// The way from the picture into the tensor.
    pub fn letterbox(&mut self) {
        if let Some(job) = &self.frame {
            self.letterbox.load(&job.view());
        }
    }

    /// The inference library alone on the same tensor: bound once, nothing read of its outputs. False where there is none.
    ///
    /// # Errors
    /// What the runtime said.
    pub fn bare(&mut self) -> Result<bool> {
        let Some(bound) = &mut self.bound else { return Ok(false) };
        bound.run().map(|()| true).map_err(Error::other)
    }

    /// The network, its outputs decoded, and what overlaps suppressed: how many boxes are left.
    ///
    /// # Errors
    /// What the runtime said.
    pub fn detect(&mut self) -> Result<usize> {
        let size = self.size();
        let tensor = self.letterbox.tensor().ok_or_else(|| Error::other("no tensor"))?;
        let Inference { manifest, network, least, found, .. } = self;
        found.clear();
        network.run(tensor, &mut |outputs| {
            decode::decode(manifest.decoder, outputs, size, &[0], *least, found)
        })?;
        decode::suppress(found, manifest.thresholds.nms, |c| c.score, decode::iou);
        Ok(found.len())
    }
}

/// How many decoders there are.
pub const DECODERS: usize = KINDS.len();
const KINDS: [DecoderKind; 5] = [
    DecoderKind::Yunet,
    DecoderKind::YunetMerged,
    DecoderKind::Centerface,
    DecoderKind::CenterfaceMerged,
    DecoderKind::Yolox,
];

/// A box in pixels of the tensor, as left, upper, right and lower edge.
#[derive(Debug)]
pub struct Found {
    /// Left, upper, right, lower.
    pub edges: [f32; 4],
    /// From 0 to 1.
    pub score: f32,
    /// Which of the classes that were asked for.
    pub class: usize,
}

/// What a detector does with a network's outputs: decodes them, and joins boxes that overlap.
///
/// # Errors
/// The outputs are not what they should be.
pub fn decode(
    kind: usize,
    outputs: &[(Vec<usize>, Vec<f32>)],
    size: (usize, usize),
    class_index: &[usize],
    least: f32,
    nms: f32,
) -> Result<Vec<Found>> {
    let outputs: Option<Vec<Output<'_>>> =
        outputs.iter().map(|(shape, data)| Output::new(shape.iter().copied(), data)).collect();
    let outputs = outputs.ok_or_else(|| Error::other("too many sides"))?;
    let mut found = Vec::new();
    decode::decode(KINDS[kind], &outputs, size, class_index, least, &mut found)?;
    decode::suppress(&mut found, nms, |c| c.score, decode::iou);
    let found = found.into_iter();
    Ok(found.map(|c| Found { edges: [c.x0, c.y0, c.x1, c.y1], score: c.score, class: c.class }).collect())
}
