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

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::*;

    const SIZE: (usize, usize) = (64, 32);

    fn zeros(shape: &[usize]) -> ArrayD<f32> {
        ArrayD::zeros(IxDyn(shape))
    }

    /// Outputs of the right shape in which nothing is found.
    fn nothing(kind: DecoderKind) -> Vec<ArrayD<f32>> {
        let (w, h) = SIZE;
        match kind {
            DecoderKind::Yunet => {
                let of_stride = |s: usize| {
                    let cells = (w / s) * (h / s);
                    [1, 1, 4].map(|k| zeros(&[1, cells, k]))
                };
                [8, 16, 32].into_iter().flat_map(of_stride).collect()
            }
            DecoderKind::Centerface => [1, 2, 2].map(|k| zeros(&[1, k, h / 4, w / 4])).into(),
            DecoderKind::Yolox => vec![zeros(&[1, 8 * 4 + 4 * 2 + 2, 7])],
        }
    }

    fn run(kind: DecoderKind, outputs: &[ArrayD<f32>]) -> Result<Vec<Candidate>> {
        let views: Vec<_> = outputs.iter().map(|output| output.view()).collect();
        decode(kind, &views, SIZE, &[0], 0.3)
    }

    const KINDS: [DecoderKind; 3] = [DecoderKind::Yunet, DecoderKind::Centerface, DecoderKind::Yolox];

    /// Sets one number of one output.
    fn with(kind: DecoderKind, changes: &[(usize, &[usize], f32)]) -> Vec<ArrayD<f32>> {
        let mut outputs = nothing(kind);
        for (output, at, value) in changes {
            outputs[*output][IxDyn(at)] = *value;
        }
        outputs
    }

    /// One sure box: the outputs and places of its score, and of one of its sides.
    fn one(kind: DecoderKind) -> Vec<(usize, &'static [usize], f32)> {
        match kind {
            DecoderKind::Yunet => vec![(0, &[0, 9, 0], 1.0), (1, &[0, 9, 0], 0.81), (2, &[0, 9, 2], 1.0)],
            DecoderKind::Centerface => vec![(0, &[0, 0, 2, 3], 0.9), (1, &[0, 1, 2, 3], 1.0)],
            DecoderKind::Yolox => vec![(0, &[0, 9, 4], 1.0), (0, &[0, 9, 5], 0.9), (0, &[0, 9, 2], 1.0)],
        }
    }

    #[track_caller]
    fn refused(what: &str, got: Result<Vec<Candidate>>) {
        let error = got.expect_err(what).to_string();
        assert!(
            error.contains("not what its manifest says") && error.lines().count() == 1,
            "{what}: {error}"
        );
    }

    #[test]
    fn zeros_find_nothing_and_one_score_finds_one_box() {
        for kind in KINDS {
            assert_eq!(run(kind, &nothing(kind)).unwrap(), []);
        }
        let e = 1.0_f32.exp();
        let centre = |kind| {
            let found = run(kind, &with(kind, &one(kind))).unwrap();
            let [c] = found[..] else { panic!("{} boxes", found.len()) };
            assert!((c.score - 0.9).abs() < 1e-6 && c.class == 0);
            ((c.x0 + c.x1) / 2.0, (c.y0 + c.y1) / 2.0, c.x1 - c.x0, c.y1 - c.y0)
        };
        let near = |a: (f32, f32, f32, f32), b: (f32, f32, f32, f32)| {
            let off = [a.0 - b.0, a.1 - b.1, a.2 - b.2, a.3 - b.3];
            assert!(off.iter().all(|v| v.abs() < 1e-3), "{a:?} and {b:?}");
        };
        // Cell 9 of 8 columns is column 1 of row 1.
        near(centre(DecoderKind::Yunet), (8.0, 8.0, 8.0 * e, 8.0));
        near(centre(DecoderKind::Yolox), (8.0, 8.0, 8.0 * e, 8.0));
        near(centre(DecoderKind::Centerface), (14.0, 10.0, 4.0 * e, 4.0));
    }

    #[test]
    fn scores_that_are_no_numbers_are_errors_and_never_nothing_found() {
        for kind in KINDS {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for change in one(kind).iter().take(if kind == DecoderKind::Centerface { 1 } else { 2 }) {
                    let outputs = with(kind, &[(change.0, change.1, value)]);
                    // YOLOX multiplies: whatever the other factor is, NaN must not get lost.
                    refused(&format!("{kind:?}: {value}"), run(kind, &outputs));
                }
            }
        }
    }

    #[test]
    fn scores_beyond_one_count_as_one() {
        let kind = DecoderKind::Centerface;
        let mut changes = one(kind);
        changes[0].2 = 7.0;
        assert_eq!(run(kind, &with(kind, &changes)).unwrap()[0].score, 1.0);
        changes[0].2 = -7.0;
        assert_eq!(run(kind, &with(kind, &changes)).unwrap(), []);
    }

    #[test]
    fn boxes_that_are_infinite_or_nowhere_are_errors() {
        for kind in KINDS {
            // 1000 overflows the exponential; -1000 leaves no area.
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1000.0, -1000.0] {
                let mut changes = one(kind);
                if let Some(side) = changes.last_mut() {
                    side.2 = value;
                }
                refused(&format!("{kind:?}: side {value}"), run(kind, &with(kind, &changes)));
            }
        }
        let mut moved = one(DecoderKind::Yunet);
        moved.push((2, &[0, 9, 0], f32::INFINITY));
        refused("place", run(DecoderKind::Yunet, &with(DecoderKind::Yunet, &moved)));
    }

    #[test]
    fn missing_empty_and_misshapen_outputs_are_errors() {
        for kind in KINDS {
            refused("no outputs", run(kind, &[]));
            let whole = nothing(kind);
            for at in 0..whole.len() {
                let mut outputs = whole.clone();
                outputs.remove(at);
                refused(&format!("{kind:?}: without output {at}"), run(kind, &outputs));
                let shape = whole[at].shape().to_vec();
                for axis in 0..shape.len() {
                    for side in [0, shape[axis] - 1, shape[axis] + 1] {
                        let mut other = shape.clone();
                        other[axis] = side;
                        // More classes than are asked for are what YOLOX has.
                        if kind == DecoderKind::Yolox && axis == 2 && side >= 6 {
                            continue;
                        }
                        let mut outputs = whole.clone();
                        outputs[at] = zeros(&other);
                        refused(&format!("{kind:?}: output {at} of {other:?}"), run(kind, &outputs));
                    }
                }
                let mut outputs = whole.clone();
                outputs[at] = zeros(&shape[1..]);
                refused(&format!("{kind:?}: output {at} without a batch"), run(kind, &outputs));
            }
            let mut twice = whole.clone();
            twice.extend(whole.clone());
            refused(&format!("{kind:?}: too many outputs"), run(kind, &twice));
        }
        let views = nothing(DecoderKind::Yolox);
        let views: Vec<_> = views.iter().map(|output| output.view()).collect();
        refused("a class beyond the last", decode(DecoderKind::Yolox, &views, SIZE, &[2], 0.3));
    }

    #[test]
    fn outputs_that_lie_crosswise_in_memory_are_errors() {
        let mut outputs = nothing(DecoderKind::Centerface);
        outputs[0] = zeros(&[1, 1, 16, 8]).reversed_axes().as_standard_layout().into_owned();
        refused("axes", run(DecoderKind::Centerface, &outputs));
        let crosswise = zeros(&[16, 8, 1, 1]).reversed_axes();
        let whole = nothing(DecoderKind::Centerface);
        let views = [crosswise.view(), whole[1].view(), whole[2].view()];
        refused("memory", decode(DecoderKind::Centerface, &views, SIZE, &[0], 0.3));
    }

    #[test]
    fn suppression_keeps_the_surest_of_what_overlaps_and_both_of_two_classes() {
        let at = |x0: f32, score: f32, class: usize| Candidate {
            x0,
            y0: 0.0,
            x1: x0 + 10.0,
            y1: 10.0,
            score,
            class,
        };
        let mut found =
            vec![at(1.0, 0.5, 0), at(0.0, 0.9, 0), at(0.0, 0.4, 1), at(30.0, 0.3, 0), at(8.0, 0.6, 0)];
        suppress(&mut found, 0.3, |c| c.score, iou);
        let kept: Vec<(f32, usize)> = found.iter().map(|c| (c.score, c.class)).collect();
        assert_eq!(kept, [(0.9, 0), (0.6, 0), (0.4, 1), (0.3, 0)]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
        })]

        /// What non-maximum suppression leaves overlaps little, what it takes overlaps something surer, and the surest box of
        /// each class stays.
        #[test]
        fn suppression_keeps_the_surest_of_each_heap(
            boxes in proptest::collection::vec((0f32..40.0, 0f32..40.0, 1f32..30.0, 1f32..30.0, 0u32..1000, 0usize..2), 0..40),
            limit in 0.1f32..0.9,
        ) {
            // Distinct scores, so that "surer" has one meaning.
            let all: Vec<Candidate> = boxes.iter().enumerate().map(|(i, &(x, y, w, h, score, class))| Candidate {
                x0: x, y0: y, x1: x + w, y1: y + h, score: score as f32 + i as f32 / 100.0, class,
            }).collect();
            let mut kept = all.clone();
            suppress(&mut kept, limit, |c| c.score, iou);
            for (i, a) in kept.iter().enumerate() {
                proptest::prop_assert!(all.contains(a));
                proptest::prop_assert!(kept[i + 1..].iter().all(|b| iou(a, b) <= limit && b.score <= a.score));
            }
            for gone in all.iter().filter(|c| !kept.contains(c)) {
                proptest::prop_assert!(kept.iter().any(|k| k.score >= gone.score && iou(k, gone) > limit));
            }
        }
    }
}
