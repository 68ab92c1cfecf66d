//! Doors for fuzz/ alone: what reads untrusted numbers and is private. Only with `--cfg fuzzing`.
#![allow(missing_docs, reason = "no interface")]

use super::decode::{self, DecoderKind, Output};
use crate::error::{Error, Result};

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
    pub edges: [f32; 4],
    pub score: f32,
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
