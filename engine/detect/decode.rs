//! From a network's raw outputs to boxes. Pure functions; anything impossible in the outputs is an error, because a
//! network that answers nonsense has found nothing that can be relied on.

use ndarray::ArrayViewD;

pub(crate) use super::manifest::DecoderKind;
use crate::error::{Error, Result};

/// A box in pixels of the tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
    pub score: f32,
    /// Which of the classes asked for.
    pub class: usize,
}

/// The outputs that a decoder reads, in the order it wants them. Empty: the model's first output.
pub(crate) fn output_names(kind: DecoderKind) -> &'static [&'static str] {
    match kind {
        DecoderKind::Yunet => {
            &["cls_8", "obj_8", "bbox_8", "cls_16", "obj_16", "bbox_16", "cls_32", "obj_32", "bbox_32"]
        }
        DecoderKind::Centerface => &["537", "538", "539"],
        DecoderKind::Yolox => &[],
    }
}

/// Every box with at least `least` score. `size` is the tensor's width and height; `class_index` the network's index of
/// each class asked for (YOLOX).
pub(crate) fn decode(
    kind: DecoderKind,
    outputs: &[ArrayViewD<'_, f32>],
    size: (usize, usize),
    class_index: &[usize],
    least: f32,
) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    match kind {
        DecoderKind::Yunet => {
            for (stride, three) in [8, 16, 32].into_iter().zip(outputs.chunks(3)) {
                yunet(three, size, stride, least, &mut found)?;
            }
            if outputs.len() != 9 {
                return Err(wrong(format!("{} outputs instead of 9", outputs.len())));
            }
        }
        DecoderKind::Centerface => centerface(outputs, size, least, &mut found)?,
        DecoderKind::Yolox => yolox(outputs, size, class_index, least, &mut found)?,
    }
    Ok(found)
}

fn wrong(what: String) -> Error {
    Error::Detector(format!("the network's output is not what its manifest says: {what}"))
}

/// The numbers of one output, if it has the shape it must have.
fn numbers<'a>(output: &'a ArrayViewD<'_, f32>, shape: &[usize]) -> Result<&'a [f32]> {
    if output.shape() != shape {
        return Err(wrong(format!("shape {:?} instead of {shape:?}", output.shape())));
    }
    output.as_slice().ok_or_else(|| wrong("it is not contiguous".into()))
}

/// A score between 0 and 1; NaN is an error, never "nothing found".
fn checked(score: f32) -> Result<f32> {
    if score.is_finite() { Ok(score.clamp(0.0, 1.0)) } else { Err(wrong("a score is not a number".into())) }
}

fn push(
    found: &mut Vec<Candidate>,
    (cx, cy, w, h): (f32, f32, f32, f32),
    score: f32,
    class: usize,
) -> Result<()> {
    let c =
        Candidate { x0: cx - w / 2.0, y0: cy - h / 2.0, x1: cx + w / 2.0, y1: cy + h / 2.0, score, class };
    if ![c.x0, c.y0, c.x1, c.y1].iter().all(|v| v.is_finite()) || c.x1 <= c.x0 || c.y1 <= c.y0 {
        return Err(wrong("a box is not finite or has no area".into()));
    }
    found.push(c);
    Ok(())
}

/// YuNet 2023mar (S. Yu et al., libfacedetection): anchor-free, score = sqrt(cls * obj).
fn yunet(
    outputs: &[ArrayViewD<'_, f32>],
    (w, h): (usize, usize),
    stride: usize,
    least: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let [cls, obj, bbox] = outputs else { return Err(wrong("outputs are missing".into())) };
    let (cols, rows) = (w / stride, h / stride);
    let cls = numbers(cls, &[1, cols * rows, 1])?;
    let obj = numbers(obj, &[1, cols * rows, 1])?;
    let bbox = numbers(bbox, &[1, cols * rows, 4])?;
    let s = stride as f32;
    for (i, (&c, &o)) in cls.iter().zip(obj).enumerate() {
        let score = (checked(c)? * checked(o)?).sqrt();
        if score >= least {
            let (gx, gy) = ((i % cols) as f32, (i / cols) as f32);
            let b = &bbox[i * 4..i * 4 + 4];
            push(found, ((gx + b[0]) * s, (gy + b[1]) * s, b[2].exp() * s, b[3].exp() * s), score, 0)?;
        }
    }
    Ok(())
}

/// CenterFace (Xu et al., arXiv 1911.03599): heat map, log scale and offset at stride 4.
fn centerface(
    outputs: &[ArrayViewD<'_, f32>],
    (w, h): (usize, usize),
    least: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let [heat, scale, offset] = outputs else { return Err(wrong("outputs are missing".into())) };
    let (cols, rows) = (w / 4, h / 4);
    let cells = cols * rows;
    let heat = numbers(heat, &[1, 1, rows, cols])?;
    let scale = numbers(scale, &[1, 2, rows, cols])?;
    let offset = numbers(offset, &[1, 2, rows, cols])?;
    for (i, &score) in heat.iter().enumerate() {
        let score = checked(score)?;
        if score >= least {
            let (gx, gy) = ((i % cols) as f32, (i / cols) as f32);
            let (bh, bw) = (scale[i].exp() * 4.0, scale[cells + i].exp() * 4.0);
            let (cy, cx) = ((gy + offset[i] + 0.5) * 4.0, (gx + offset[cells + i] + 0.5) * 4.0);
            push(found, (cx, cy, bw, bh), score, 0)?;
        }
    }
    Ok(())
}

/// YOLOX (Ge et al., arXiv 2107.08430): anchor-free, score = objectness * class.
fn yolox(
    outputs: &[ArrayViewD<'_, f32>],
    (w, h): (usize, usize),
    class_index: &[usize],
    least: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let [output] = outputs else { return Err(wrong("one output is expected".into())) };
    let grids = [8, 16, 32].map(|s| (s, w / s, h / s));
    let anchors: usize = grids.iter().map(|(_, cols, rows)| cols * rows).sum();
    let width = output.shape().get(2).copied().unwrap_or(0);
    if class_index.iter().any(|c| 5 + c >= width) {
        return Err(wrong(format!("{width} numbers per anchor are too few for its classes")));
    }
    let all = numbers(output, &[1, anchors, width])?;
    let mut rows_left = all.chunks_exact(width);
    for (stride, cols, rows) in grids {
        for (i, row) in rows_left.by_ref().take(cols * rows).enumerate() {
            let s = stride as f32;
            let objectness = checked(row[4])?;
            for (class, &index) in class_index.iter().enumerate() {
                let score = objectness * checked(row[5 + index])?;
                if score >= least {
                    let (gx, gy) = ((i % cols) as f32, (i / cols) as f32);
                    let at = ((row[0] + gx) * s, (row[1] + gy) * s, row[2].exp() * s, row[3].exp() * s);
                    push(found, at, score, class)?;
                }
            }
        }
    }
    Ok(())
}

/// Greedy non-maximum suppression: of boxes of one class that overlap by more than `limit` (IoU) the surest stays.
pub(crate) fn suppress<T>(
    found: &mut Vec<T>,
    limit: f32,
    score: impl Fn(&T) -> f32,
    overlap: impl Fn(&T, &T) -> f32,
) {
    found.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let mut kept: Vec<T> = Vec::with_capacity(found.len());
    for candidate in found.drain(..) {
        if kept.iter().all(|k| overlap(k, &candidate) <= limit) {
            kept.push(candidate);
        }
    }
    *found = kept;
}

/// Intersection over union of two boxes of one class; 0 for different classes.
pub(crate) fn iou(a: &Candidate, b: &Candidate) -> f32 {
    if a.class != b.class {
        return 0.0;
    }
    let w = (a.x1.min(b.x1) - a.x0.max(b.x0)).max(0.0);
    let h = (a.y1.min(b.y1) - a.y0.max(b.y0)).max(0.0);
    let area = |c: &Candidate| (c.x1 - c.x0) * (c.y1 - c.y0);
    w * h / (area(a) + area(b) - w * h)
}
