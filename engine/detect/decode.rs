//! From a network's raw outputs to boxes. Pure functions; anything impossible in the outputs is an error, because a
//! network that answers nonsense has found nothing that can be relied on.
//!
//! Nearly every cell of a map says "nothing here". Those are passed over by comparisons alone; exponentials and roots are
//! for the few that may count.

pub(crate) use super::manifest::DecoderKind;
use crate::error::{DetectorError, DetectorKind, Error, Result};

/// One output of a network, as it lies in memory. No decoder reads a tensor of more than four sides.
#[derive(Clone, Copy, Default)]
pub(crate) struct Output<'a> {
    shape: [usize; 4],
    rank: usize,
    data: &'a [f32],
}

/// The most outputs that a decoder reads.
pub(crate) const MOST_OUTPUTS: usize = 9;

impl<'a> Output<'a> {
    /// `None` for a tensor of more than four sides.
    pub fn new(sides: impl ExactSizeIterator<Item = usize>, data: &'a [f32]) -> Option<Output<'a>> {
        let (mut shape, rank) = ([0; 4], sides.len());
        shape.get_mut(..rank)?.iter_mut().zip(sides).for_each(|(to, side)| *to = side);
        Some(Output { shape, rank, data })
    }

    fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }
}

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
        DecoderKind::YunetMerged => &["head_8", "head_16", "head_32"],
        DecoderKind::Centerface => &["537", "538", "539"],
        DecoderKind::CenterfaceMerged => &["maps"],
        DecoderKind::Yolox => &[],
    }
}

/// Adds every box with at least `least` score to `found`. `size` is the tensor's width and height; `class_index` the
/// network's index of each class asked for (YOLOX).
pub(crate) fn decode(
    kind: DecoderKind,
    outputs: &[Output<'_>],
    size: (usize, usize),
    class_index: &[usize],
    least: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let wanted = output_names(kind).len().max(1);
    if outputs.len() != wanted {
        return Err(wrong(format!("{} outputs instead of {wanted}", outputs.len())));
    }
    match kind {
        DecoderKind::Yunet => {
            for (stride, three) in STRIDES.into_iter().zip(outputs.chunks_exact(3)) {
                yunet(three, size, stride, least, found)?;
            }
        }
        DecoderKind::YunetMerged => {
            for (stride, head) in STRIDES.into_iter().zip(outputs) {
                yunet_merged(head, size, stride, least, found)?;
            }
        }
        DecoderKind::Centerface => centerface(outputs, size, least, found)?,
        DecoderKind::CenterfaceMerged => centerface_merged(outputs, size, least, found)?,
        DecoderKind::Yolox => yolox(outputs, size, class_index, least, found)?,
    }
    Ok(())
}

/// Pixels of the tensor under one cell of each of the three grids of YuNet and YOLOX.
const STRIDES: [usize; 3] = [8, 16, 32];

fn wrong(what: String) -> Error {
    let why = format!("the network's output is not what its manifest says: {what}");
    DetectorError::new(DetectorKind::Output, why).into()
}

/// The numbers of one output, if it has the shape it must have.
fn numbers<'a>(output: &Output<'a>, shape: &[usize]) -> Result<&'a [f32]> {
    if output.shape() != shape || output.data.len() != shape.iter().product::<usize>() {
        return Err(wrong(format!("shape {:?} instead of {shape:?}", output.shape())));
    }
    Ok(output.data)
}

/// What a score, or what a sigmoid makes a score of, can be. A network whose numbers lie elsewhere is read by the wrong
/// decoder, or was shown the wrong picture: "nothing found" would be a guess.
#[derive(Clone, Copy)]
struct Range(f32, f32);

/// Scores. Runtimes round a sigmoid, so 1 is met from above, too.
const SCORE: Range = Range(-0.001, 1.001);
/// Before the sigmoid. The networks of models/ stay within 45 on any picture; beyond 88 a sigmoid is 0 or 1.
const BEFORE_SIGMOID: Range = Range(-300.0, 300.0);
/// A box reaches so many times the tensor's longer side at most, and its middle lies no further outside.
const MOST_SIZE: f32 = 8.0;

impl Range {
    /// NaN is in no range.
    fn holds(self, v: f32) -> bool {
        (v >= self.0) & (v <= self.1)
    }
}

/// A score between 0 and 1; anything else, NaN too, is an error, never "nothing found".
fn checked(score: f32) -> Result<f32> {
    if SCORE.holds(score) { Ok(score.clamp(0.0, 1.0)) } else { Err(out_of_range(score)) }
}

fn out_of_range(score: f32) -> Error {
    wrong(if score.is_nan() { "a score is not a number" } else { "a score is out of range" }.into())
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

/// What the sigmoid takes to `p`.
fn logit(p: f32) -> f32 {
    (p / (1.0 - p)).ln()
}

/// The product of two scores falls short of `least` if either does; a little less, so that rounding hides nothing.
fn a_little_below(least: f32) -> f32 {
    (least * 0.999).min(0.999)
}

/// Calls `look` for each cell in which both numbers reach `limit`. All of them must lie in `range`.
fn both_reach(
    (a, b): (&[f32], &[f32]),
    range: Range,
    limit: f32,
    mut look: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    const CELLS: usize = 64;
    for (n, (a, b)) in a.chunks(CELLS).zip(b.chunks(CELLS)).enumerate() {
        // Without a branch in it, this loop is compiled to vectors.
        let (mut possible, mut any) = (true, false);
        for (a, b) in a.iter().zip(b) {
            possible &= range.holds(*a) & range.holds(*b);
            any |= (*a >= limit) & (*b >= limit);
        }
        if !possible {
            let first = a.iter().chain(b).find(|v| !range.holds(**v));
            return Err(out_of_range(first.copied().unwrap_or(f32::NAN)));
        }
        if any {
            for (i, _) in a.iter().zip(b).enumerate().filter(|(_, (a, b))| **a >= limit && **b >= limit) {
                look(n * CELLS + i)?;
            }
        }
    }
    Ok(())
}

fn push(
    found: &mut Vec<Candidate>,
    (width, height): (usize, usize),
    (cx, cy, w, h): (f32, f32, f32, f32),
    score: f32,
    class: usize,
) -> Result<()> {
    let c =
        Candidate { x0: cx - w / 2.0, y0: cy - h / 2.0, x1: cx + w / 2.0, y1: cy + h / 2.0, score, class };
    if ![c.x0, c.y0, c.x1, c.y1].iter().all(|v| v.is_finite()) || c.x1 <= c.x0 || c.y1 <= c.y0 {
        return Err(wrong("a box is not finite or has no area".into()));
    }
    let most = MOST_SIZE * width.max(height) as f32;
    if w > most || h > most || cx.abs() > most || cy.abs() > most {
        return Err(wrong("a box is many times as large as the picture, or far outside".into()));
    }
    found.push(c);
    Ok(())
}

/// YuNet 2023mar (S. Yu et al., libfacedetection): anchor-free, score = sqrt(cls * obj).
fn yunet(
    outputs: &[Output<'_>],
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
    both_reach((cls, obj), SCORE, a_little_below(least * least), |i| {
        let score = (checked(cls[i])? * checked(obj[i])?).sqrt();
        let b = &bbox[i * 4..i * 4 + 4];
        yunet_box([b[0], b[1], b[2], b[3]], i, (w, h), stride, (score, least), found)
    })
}

/// The same network with the heads of a stride in one map (models/prepare.py): cls and obj before the sigmoid, then bbox.
fn yunet_merged(
    head: &Output<'_>,
    (w, h): (usize, usize),
    stride: usize,
    least: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let (cols, rows) = (w / stride, h / stride);
    let cells = cols * rows;
    let all = numbers(head, &[1, 6, rows, cols])?;
    let (cls, rest) = all.split_at(cells);
    let (obj, bbox) = rest.split_at(cells);
    both_reach((cls, obj), BEFORE_SIGMOID, logit(a_little_below(least * least)), |i| {
        let score = (sigmoid(cls[i]) * sigmoid(obj[i])).sqrt();
        let at = |k: usize| bbox[k * cells + i];
        yunet_box([at(0), at(1), at(2), at(3)], i, (w, h), stride, (score, least), found)
    })
}

fn yunet_box(
    b: [f32; 4],
    cell: usize,
    size: (usize, usize),
    stride: usize,
    (score, least): (f32, f32),
    found: &mut Vec<Candidate>,
) -> Result<()> {
    if score < least {
        return Ok(());
    }
    let cols = size.0 / stride;
    let (gx, gy, s) = ((cell % cols) as f32, (cell / cols) as f32, stride as f32);
    push(found, size, ((gx + b[0]) * s, (gy + b[1]) * s, b[2].exp() * s, b[3].exp() * s), score, 0)
}

/// CenterFace (Xu et al., arXiv 1911.03599): heat map, log scale and offset at stride 4.
fn centerface(
    outputs: &[Output<'_>],
    (w, h): (usize, usize),
    least: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let [heat, scale, offset] = outputs else { return Err(wrong("outputs are missing".into())) };
    let (cols, rows) = (w / 4, h / 4);
    let heat = numbers(heat, &[1, 1, rows, cols])?;
    let scale = numbers(scale, &[1, 2, rows, cols])?;
    let offset = numbers(offset, &[1, 2, rows, cols])?;
    both_reach((heat, heat), SCORE, least, |i| {
        centerface_box((scale, offset), i, (w, h), checked(heat[i])?, found)
    })
}

/// The same network with all in one map (models/prepare.py): heat before the sigmoid, then scale and offset.
fn centerface_merged(
    outputs: &[Output<'_>],
    (w, h): (usize, usize),
    least: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let [maps] = outputs else { return Err(wrong("one output is expected".into())) };
    let (cols, rows) = (w / 4, h / 4);
    let cells = cols * rows;
    let (heat, rest) = numbers(maps, &[1, 5, rows, cols])?.split_at(cells);
    let (scale, offset) = rest.split_at(2 * cells);
    both_reach((heat, heat), BEFORE_SIGMOID, logit(a_little_below(least)), |i| {
        let score = sigmoid(heat[i]);
        if score < least { Ok(()) } else { centerface_box((scale, offset), i, (w, h), score, found) }
    })
}

fn centerface_box(
    (scale, offset): (&[f32], &[f32]),
    cell: usize,
    size: (usize, usize),
    score: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let (second, cols) = (scale.len() / 2 + cell, size.0 / 4);
    let (gx, gy) = ((cell % cols) as f32, (cell / cols) as f32);
    let (bh, bw) = (scale[cell].exp() * 4.0, scale[second].exp() * 4.0);
    let (cy, cx) = ((gy + offset[cell] + 0.5) * 4.0, (gx + offset[second] + 0.5) * 4.0);
    push(found, size, (cx, cy, bw, bh), score, 0)
}

/// YOLOX (Ge et al., arXiv 2107.08430): anchor-free, score = objectness * class.
fn yolox(
    outputs: &[Output<'_>],
    (w, h): (usize, usize),
    class_index: &[usize],
    least: f32,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let [output] = outputs else { return Err(wrong("one output is expected".into())) };
    let grids = STRIDES.map(|s| (s, w / s, h / s));
    let anchors: usize = grids.iter().map(|(_, cols, rows)| cols * rows).sum();
    let width = output.shape().get(2).copied().unwrap_or(0);
    if width < 5 || class_index.iter().any(|&c| c >= width - 5) {
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
                    push(found, (w, h), at, score, class)?;
                }
            }
        }
    }
    Ok(())
}

/// Greedy non-maximum suppression, in place: of boxes of one class that overlap by more than `limit` (IoU) the surest stays.
pub(crate) fn suppress<T>(
    found: &mut Vec<T>,
    limit: f32,
    score: impl Fn(&T) -> f32,
    overlap: impl Fn(&T, &T) -> f32,
) {
    found.sort_unstable_by(|a, b| score(b).total_cmp(&score(a)));
    let mut kept = 0;
    for i in 0..found.len() {
        // An overlap that is no number suppresses nothing.
        if !found[..kept].iter().any(|k| overlap(k, &found[i]) > limit) {
            found.swap(kept, i);
            kept += 1;
        }
    }
    found.truncate(kept);
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

#[cfg(test)]
mod tests;
