//! ONNX Runtime and rten find the same boxes with every model.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::path::Path;

use common::*;
use serde_json::Value;

/// Boxes of a class with at least this score must be the same.
const LEAST: f64 = 0.3;

fn iou(a: &[f64], b: &[f64]) -> f64 {
    let side = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let both = side(0) * side(1);
    both / (a[2] * a[3] + b[2] * b[3] - both)
}

fn detect(dir: &Path, flags: &[&str], backend: &str) -> Ran {
    milkglass_in(dir, &[&["detect", "a.png", "b.png", "c.png", "--backend", backend, "-q"], flags].concat())
}

fn boxes(row: &Value, class: &str) -> Vec<Vec<f64>> {
    let all: Vec<Vec<f64>> = serde_json::from_value(row[class].clone()).unwrap();
    all.into_iter().filter(|b| b[4] >= LEAST).collect()
}

#[test]
fn both_backends_find_the_same_boxes() {
    let dir = tempfile::tempdir().unwrap();
    // Both photographs: two astronauts; an officer and an astronaut; the officer close by.
    for (frame, name) in [(10, "a.png"), (95, "b.png"), (190, "c.png")] {
        still(frame, &dir.path().join(name));
    }
    for (class, model, flags) in [
        ("faces", "yunet", &["--preset", "balanced"][..]),
        ("faces", "centerface", &["--preset", "careful"]),
        ("persons", "yolox-nano", &["--preset", "fast", "--faces", "off", "--persons", "fill"]),
    ] {
        let ort = detect(dir.path(), flags, "ort");
        if ort.code != 0 {
            eprintln!(
                "{model}: the backends were not compared, because there is no ONNX Runtime \
                 (models/fetch-onnxruntime.sh fetches it): {}",
                ort.err
            );
            assert!(ort.err.contains("onnxruntime"), "{}", ort.err);
            return;
        }
        let rten = detect(dir.path(), flags, "rten").done();
        let (ort, rten) = (ort.rows(), rten.rows());
        assert_eq!((ort.len(), rten.len()), (3, 3));
        for (a, b) in ort.iter().zip(&rten) {
            let (ours, theirs) = (boxes(a, class), boxes(b, class));
            assert!(!ours.is_empty(), "{model} finds nothing in {}", a["image"]);
            assert_eq!(ours.len(), theirs.len(), "{model}, {}: {ours:?} and {theirs:?}", a["image"]);
            for one in &ours {
                let best = theirs.iter().map(|other| iou(one, other)).fold(0.0, f64::max);
                assert!(best >= 0.95, "{model}, {}: {one:?} has no partner in {theirs:?}", a["image"]);
            }
        }
    }
}
