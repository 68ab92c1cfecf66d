use ndarray::{ArrayD, Axis, IxDyn};

use super::*;

const SIZE: (usize, usize) = (64, 32);

fn zeros(shape: &[usize]) -> ArrayD<f32> {
    ArrayD::zeros(IxDyn(shape))
}

/// Before the sigmoid.
const NOTHING: f32 = -20.0;

/// With the first planes set to one value.
fn with_scores(mut map: ArrayD<f32>, planes: usize, value: f32) -> ArrayD<f32> {
    for plane in 0..planes {
        map.index_axis_mut(Axis(1), plane).fill(value);
    }
    map
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
        DecoderKind::YunetMerged => {
            let of_stride = |s: usize| with_scores(ArrayD::zeros(IxDyn(&[1, 6, h / s, w / s])), 2, NOTHING);
            [8, 16, 32].map(of_stride).into()
        }
        DecoderKind::Centerface => [1, 2, 2].map(|k| zeros(&[1, k, h / 4, w / 4])).into(),
        DecoderKind::CenterfaceMerged => vec![with_scores(zeros(&[1, 5, h / 4, w / 4]), 1, NOTHING)],
        DecoderKind::Yolox => vec![zeros(&[1, 8 * 4 + 4 * 2 + 2, 7])],
    }
}

fn run(kind: DecoderKind, outputs: &[ArrayD<f32>]) -> Result<Vec<Candidate>> {
    run_for(kind, outputs, &[0])
}

fn run_for(kind: DecoderKind, outputs: &[ArrayD<f32>], class_index: &[usize]) -> Result<Vec<Candidate>> {
    let shown = |o: &'_ ArrayD<f32>| (o.shape().to_vec(), o.as_slice().unwrap().to_vec());
    let kept: Vec<_> = outputs.iter().map(shown).collect();
    let views: Vec<_> =
        kept.iter().map(|(shape, data)| Output::new(shape.iter().copied(), data).unwrap()).collect();
    let mut found = Vec::new();
    decode(kind, &views, SIZE, class_index, 0.3, &mut found)?;
    Ok(found)
}

const KINDS: [DecoderKind; 5] = [
    DecoderKind::Yunet,
    DecoderKind::YunetMerged,
    DecoderKind::Centerface,
    DecoderKind::CenterfaceMerged,
    DecoderKind::Yolox,
];

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
        DecoderKind::YunetMerged => {
            vec![(0, &[0, 0, 1, 1], 30.0), (0, &[0, 1, 1, 1], logit(0.81)), (0, &[0, 4, 1, 1], 1.0)]
        }
        DecoderKind::Centerface => vec![(0, &[0, 0, 2, 3], 0.9), (1, &[0, 1, 2, 3], 1.0)],
        DecoderKind::CenterfaceMerged => vec![(0, &[0, 0, 2, 3], logit(0.9)), (0, &[0, 2, 2, 3], 1.0)],
        DecoderKind::Yolox => vec![(0, &[0, 9, 4], 1.0), (0, &[0, 9, 5], 0.9), (0, &[0, 9, 2], 1.0)],
    }
}

#[track_caller]
fn refused(what: &str, got: Result<Vec<Candidate>>) {
    let error = got.expect_err(what).to_string();
    assert!(error.contains("not what its manifest says") && error.lines().count() == 1, "{what}: {error}");
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
    near(centre(DecoderKind::YunetMerged), (8.0, 8.0, 8.0 * e, 8.0));
    near(centre(DecoderKind::Centerface), (14.0, 10.0, 4.0 * e, 4.0));
    near(centre(DecoderKind::CenterfaceMerged), (14.0, 10.0, 4.0 * e, 4.0));
}

/// How many of the numbers of [`one`] are scores.
fn scores(kind: DecoderKind) -> usize {
    if matches!(kind, DecoderKind::Centerface | DecoderKind::CenterfaceMerged) { 1 } else { 2 }
}

#[test]
fn scores_that_are_no_numbers_are_errors_and_never_nothing_found() {
    for kind in KINDS {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for change in one(kind).iter().take(scores(kind)) {
                let outputs = with(kind, &[(change.0, change.1, value)]);
                // YOLOX multiplies: whatever the other factor is, NaN must not get lost.
                refused(&format!("{kind:?}: {value}"), run(kind, &outputs));
            }
        }
    }
}

/// A decoder that does not belong to the network, or a network that was shown the wrong numbers.
#[test]
fn scores_out_of_range_are_errors_and_never_nothing_found() {
    for kind in KINDS {
        let merged = matches!(kind, DecoderKind::YunetMerged | DecoderKind::CenterfaceMerged);
        for value in if merged { [-400.0, 400.0] } else { [-0.01, 1.01] } {
            for change in one(kind).iter().take(scores(kind)) {
                let outputs = with(kind, &[(change.0, change.1, value)]);
                refused(&format!("{kind:?}: {value}"), run(kind, &outputs));
            }
        }
    }
    // What rounding leaves above 1 counts as 1.
    let kind = DecoderKind::Centerface;
    let mut changes = one(kind);
    changes[0].2 = 1.0 + 1e-5;
    assert_eq!(run(kind, &with(kind, &changes)).unwrap()[0].score, 1.0);
}

#[test]
fn boxes_of_impossible_size_or_far_outside_are_errors() {
    for kind in KINDS {
        let mut changes = one(kind);
        if let Some(side) = changes.last_mut() {
            // A thousand times the cell, in a picture of 64 pixels.
            side.2 = 1000f32.ln();
        }
        refused(&format!("{kind:?}: size"), run(kind, &with(kind, &changes)));
    }
    for value in [1000.0, -1000.0] {
        let mut moved = one(DecoderKind::Yunet);
        moved.push((2, &[0, 9, 0], value));
        refused("place", run(DecoderKind::Yunet, &with(DecoderKind::Yunet, &moved)));
    }
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
    refused("a class beyond the last", run_for(DecoderKind::Yolox, &nothing(DecoderKind::Yolox), &[2]));
}

#[test]
fn a_tensor_of_five_sides_or_with_too_few_numbers_is_refused() {
    assert!(Output::new([1, 1, 1, 1, 1].into_iter(), &[0.0]).is_none());
    let short = Output::new([1, 5, 8, 16].into_iter(), &[0.0; 639]).unwrap();
    let mut found = Vec::new();
    let got = decode(DecoderKind::CenterfaceMerged, &[short], SIZE, &[0], 0.3, &mut found);
    refused("short", got.map(|()| found));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
    })]

    /// The merged layouts say what the plain ones say: the same cells, the same boxes, whatever the scores.
    #[test]
    fn merged_outputs_find_what_plain_ones_find(numbers in proptest::collection::vec(-2f32..2.0, 2048)) {
        let (w, h) = SIZE;
        let mut numbers = numbers.into_iter().cycle();
        let mut heads = Vec::new();
        let mut plain = Vec::new();
        for s in [8, 16, 32] {
            let (cols, rows) = (w / s, h / s);
            let head = ArrayD::from_shape_simple_fn(IxDyn(&[1, 6, rows, cols]), || numbers.next().unwrap_or(0.0));
            let row_by_row = |planes: std::ops::Range<usize>, f: fn(f32) -> f32| {
                let cells = (0..cols * rows).flat_map(|i| planes.clone().map(move |k| (k, i)));
                let data = cells.map(|(k, i)| f(head[[0, k, i / cols, i % cols]])).collect();
                ArrayD::from_shape_vec(IxDyn(&[1, cols * rows, planes.len()]), data).unwrap()
            };
            plain.extend([row_by_row(0..1, sigmoid), row_by_row(1..2, sigmoid), row_by_row(2..6, |v| v)]);
            heads.push(head);
        }
        let found = run(DecoderKind::YunetMerged, &heads).unwrap();
        proptest::prop_assert!(!found.is_empty());
        proptest::prop_assert_eq!(&found, &run(DecoderKind::Yunet, &plain).unwrap());

        let maps = ArrayD::from_shape_simple_fn(IxDyn(&[1, 5, h / 4, w / 4]), || numbers.next().unwrap_or(0.0));
        let planes = |of: std::ops::Range<usize>| maps.slice_axis(Axis(1), of.into()).to_owned();
        let plain = [planes(0..1).mapv(sigmoid), planes(1..3), planes(3..5)];
        let found = run(DecoderKind::CenterfaceMerged, std::slice::from_ref(&maps)).unwrap();
        proptest::prop_assert!(!found.is_empty());
        proptest::prop_assert_eq!(&found, &run(DecoderKind::Centerface, &plain).unwrap());
    }
}

#[test]
fn suppression_keeps_the_surest_of_what_overlaps_and_both_of_two_classes() {
    let at =
        |x0: f32, score: f32, class: usize| Candidate { x0, y0: 0.0, x1: x0 + 10.0, y1: 10.0, score, class };
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

/// Its area is no number any more, and neither is its overlap: not a reason to leave the other one visible.
#[test]
fn boxes_of_boundless_area_suppress_none_that_they_do_not_hold() {
    let to = |x1: f32, score: f32| Candidate { x0: -1e30, y0: -1e30, x1, y1: 1e30, score, class: 0 };
    let mut found = vec![to(10.0, 0.9), to(100.0, 0.8)];
    suppress(&mut found, 0.3, |c| c.score, iou);
    assert_eq!(found.len(), 2);
}

/// What asks for no class still has a score to read.
#[test]
fn an_output_without_columns_is_refused() {
    for width in 0..5 {
        let output =
            Output::new([1, 8 * 4 + 4 * 2 + 2, width].into_iter(), &[0.0; 42 * 4][..42 * width]).unwrap();
        let mut found = Vec::new();
        let got = decode(DecoderKind::Yolox, &[output], SIZE, &[], 0.3, &mut found);
        refused("too narrow", got.map(|()| found));
    }
    let output = Output::new([1, 42, 6].into_iter(), &[0.0; 42 * 6]).unwrap();
    let mut found = Vec::new();
    let got = decode(DecoderKind::Yolox, &[output], SIZE, &[usize::MAX], 0.3, &mut found);
    refused("beyond every class", got.map(|()| found));
}
