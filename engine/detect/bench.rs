//! One network on one tensor: the inference library alone, and with everything that this crate does around it.

use std::sync::Arc;

use super::backend::{Backend, Network, OrtBound};
use super::decode::{self, Candidate};
use super::letterbox::Letterbox;
use super::manifest::{Manifest, ModelStore};
use crate::error::{Error, Result};
use crate::frame::{DetectJob, FrameFormat, FrameMeta, FramePool, ViewMut};
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
