//! `milkglass eval` against figures computed here from what `detect` says is hidden.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use serde_json::{Value, json};

const TOLERANCE: f64 = 0.002;

/// What is counted, from regions and labels alone.
#[derive(Default)]
struct Tally {
    objects: f64,
    leak: f64,
    visible: f64,
    over: Vec<f64>,
    longest: u64,
}

/// Pixels whose centre lies between two edges.
fn span(lo: f64, n: f64, most: usize) -> (usize, usize) {
    let edge = |v: f64| ((v - 0.5).ceil().max(0.0) as usize).min(most);
    (edge(lo), edge(lo + n))
}

impl Tally {
    fn add(
        &mut self,
        size: (usize, usize),
        regions: &[Rect],
        faces: &[Rect],
        runs: &mut BTreeMap<usize, u64>,
    ) {
        let mut hidden = vec![false; size.0 * size.1];
        let paint = |[x, y, w, h]: Rect, value: bool, on: &mut Vec<bool>| {
            let ((x0, x1), (y0, y1)) = (span(x, w, size.0), span(y, h, size.1));
            (y0..y1).for_each(|py| on[py * size.0 + x0..py * size.0 + x1].fill(value));
        };
        regions.iter().for_each(|r| paint(*r, true, &mut hidden));
        for (i, [x, y, w, h]) in faces.iter().enumerate() {
            let ((x0, x1), (y0, y1)) = (span(*x, *w, size.0), span(*y, *h, size.1));
            let pixels = (y0..y1).flat_map(|py| (x0..x1).map(move |px| (px, py)));
            let (mut all, mut hits) = (0.0, 0.0);
            for (px, py) in pixels {
                all += 1.0;
                hits += f64::from(u8::from(hidden[py * size.0 + px]));
            }
            let covered = hits / all;
            self.objects += 1.0;
            self.leak += f64::from(u8::from(covered < 0.9));
            self.visible += f64::from(u8::from(covered < 0.1));
            let run = runs.entry(i).or_default();
            *run = if covered < 0.1 { *run + 1 } else { 0 };
            self.longest = self.longest.max(*run);
        }
        faces.iter().for_each(|r| paint(*r, false, &mut hidden));
        self.over.push(hidden.iter().filter(|h| **h).count() as f64 / hidden.len() as f64);
    }

    #[track_caller]
    fn agrees(&self, scores: &Value, what: &str) {
        let over = self.over.iter().sum::<f64>() / self.over.len() as f64;
        assert_eq!(scores["objects"].as_f64().unwrap(), self.objects, "{what}: {scores}");
        for (key, own) in [
            ("leak", self.leak / self.objects),
            ("fully_visible", self.visible / self.objects),
            ("over_redaction", over),
        ] {
            let theirs = scores[key].as_f64().unwrap();
            assert!((theirs - own).abs() <= TOLERANCE, "{what}: {key} {theirs} instead of {own}");
        }
    }
}

/// Every fourth frame as a picture; some labels are put where nobody is, so that there is a leak to be measured.
fn pictures(dir: &Path) -> Vec<(PathBuf, Vec<Rect>)> {
    let line = "-i {} -vf select=not(mod(n\\,8)),scale=640:360 -fps_mode passthrough {}";
    ffmpeg(words(line, &[&example(), &dir.join("%03d.png")]));
    let numbered = truth().iter().step_by(8).zip(1..);
    let labelled = numbered.map(|(faces, n)| {
        let mut faces: Vec<Rect> = faces.iter().map(|face| face.map(|v| v / 2.0)).collect();
        if n % 3 == 0 {
            faces.push([5.5, 5.25, 40.0, 50.5]);
        }
        if n % 4 == 0 {
            // Half of it is hidden at most.
            let wide: Option<Rect> = faces.first().map(|[x, y, w, h]| [*x, *y, w * 3.0, *h]);
            faces.extend(wide.filter(|[x, _, w, _]| x + w < 640.0));
        }
        (dir.join(format!("{n:03}.png")), faces)
    });
    labelled.collect()
}

fn label(path: &Path, faces: &[Rect], clip: Option<usize>) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut row = json!({"image": name, "width": 640, "height": 360, "faces": faces, "persons": null});
    if let Some(frame) = clip {
        row["video"] = json!("walk");
        row["frame"] = json!(frame);
    }
    row.to_string() + "\n"
}

#[test]
fn figures_for_pictures_agree_with_a_second_computation() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = pictures(dir.path());
    let labels: String = pictures.iter().map(|(path, faces)| label(path, faces, None)).collect();
    fs::write(dir.path().join("labels.jsonl"), labels).unwrap();
    let ran = milkglass_in(dir.path(), &["eval", "labels.jsonl", "--json", "--preset", "fast"]).done();
    let document: Value = serde_json::from_str(&ran.text()).unwrap();
    assert_eq!(document["preset"], "fast");
    let mut args = vec!["detect", "--preset", "fast"];
    args.extend(pictures.iter().map(|(path, _)| path.to_str().unwrap()));
    let rows = milkglass_in(dir.path(), &args).done().rows();
    let mut tally = Tally::default();
    for (row, (path, faces)) in rows.iter().zip(&pictures) {
        assert_eq!(row["image"], path.to_str().unwrap());
        let regions: Vec<Rect> = serde_json::from_value(row["regions"].clone()).unwrap();
        tally.add((640, 360), &regions, faces, &mut BTreeMap::new());
    }
    let scores = &document["scores"]["faces"];
    assert!(tally.leak > 3.0 && tally.visible > 3.0 && tally.leak < tally.objects, "something to measure");
    tally.agrees(scores, "pictures");
    assert!(scores["longest_visible_run"].is_null());
    let by_size = scores["by_size"].as_object().unwrap();
    let sum: f64 = by_size.values().map(|size| size["objects"].as_f64().unwrap()).sum();
    assert_eq!(sum, tally.objects);
    assert!(document["scores"].get("persons").is_none());
    // The table tells the same.
    let table = milkglass_in(dir.path(), &["eval", "labels.jsonl", "--preset", "fast"]).done().text();
    assert!(table.contains(&format!("{:.4}", scores["leak"].as_f64().unwrap())), "{table}");
}

#[test]
fn figures_for_clips_agree_with_what_detect_says_of_the_clip() {
    let dir = tempfile::tempdir().unwrap();
    let line = "-i {} -an -vf format=rgb24 {}";
    ffmpeg(words(line, &[&small(), &dir.path().join("%03d.png")]));
    let clip = dir.path().join("clip.mkv");
    // The same pictures as a clip; RGB in both cases, so that the detector sees nearly the same.
    ffmpeg(words(
        "-framerate 30 -i {} -pix_fmt yuv420p -c:v ffv1 {}",
        &[&dir.path().join("%03d.png"), &clip],
    ));
    let mut faces = small_truth();
    for faces in &mut faces[4..9] {
        faces.push([10.0, 10.0, 30.0, 30.0]);
    }
    let path = |n: usize| dir.path().join(format!("{:03}.png", n + 1));
    let labels: String = faces.iter().enumerate().map(|(n, f)| label(&path(n), f, Some(n))).collect();
    fs::write(dir.path().join("labels.jsonl"), labels).unwrap();
    let flags = ["--preset", "fast"];
    let ran = milkglass_in(dir.path(), &[&["eval", "labels.jsonl", "--json"], &flags[..]].concat()).done();
    let document: Value = serde_json::from_str(&ran.text()).unwrap();
    let rows = milkglass_in(dir.path(), &[&["detect", "clip.mkv"], &flags[..]].concat()).done().rows();
    assert_eq!(rows.len(), faces.len());
    let (mut tally, mut runs) = (Tally::default(), BTreeMap::new());
    for (row, faces) in rows.iter().zip(&faces) {
        let regions: Vec<Rect> = serde_json::from_value(row["regions"].clone()).unwrap();
        tally.add((640, 360), &regions, faces, &mut runs);
    }
    tally.agrees(&document["scores"]["faces"], "clip");
    assert_eq!(tally.longest, 5);
    assert_eq!(document["scores"]["faces"]["longest_visible_run"], 5);
}

#[test]
fn labels_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let eval = |text: &str| {
        fs::write(dir.path().join("l.jsonl"), text).unwrap();
        milkglass_in(dir.path(), &["eval", "l.jsonl"])
    };
    eval("").failed(1, &["no labelled picture"]);
    eval("{\"image\": \"a.png\"").failed(1, &["l.jsonl", "line 1"]);
    eval("{\"image\": \"a.png\", \"faces\": []}").failed(1, &["a.png", "No such file"]);
    fs::write(dir.path().join("b.png"), "no picture").unwrap();
    eval("{\"image\": \"b.png\", \"faces\": []}").failed(1, &["b.png", "no PNG"]);
    milkglass_in(dir.path(), &["eval", "none.jsonl"]).failed(1, &["none.jsonl", "No such file"]);
}

#[test]
fn figures_agree_with_the_reference_program() {
    let Some(data) = std::env::var_os("MILKGLASS_EVALDATA").map(PathBuf::from) else {
        eprintln!("not compared with score.py: MILKGLASS_EVALDATA names no evaluation data");
        return;
    };
    let python = Command::new("python3").args(["-c", "import numpy"]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("not compared with score.py: there is no python3 with numpy");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(data.join("faces_images.jsonl")).unwrap();
    let rows: Vec<Value> = text.lines().take(60).map(|line| serde_json::from_str(line).unwrap()).collect();
    let (ours, theirs) = (dir.path().join("ours.jsonl"), dir.path().join("theirs.jsonl"));
    let images: Vec<PathBuf> = rows.iter().map(|row| data.join(row["image"].as_str().unwrap())).collect();
    let with = |name: &dyn Fn(&Path, &Value) -> Value| -> String {
        let named = images.iter().zip(&rows).map(|(path, row)| {
            let mut row = row.clone();
            row["image"] = name(path, &row);
            row.to_string() + "\n"
        });
        named.collect()
    };
    // Whole paths, so that both find the pictures and their names agree.
    fs::write(&ours, with(&|path, _| json!(path))).unwrap();
    fs::copy(&ours, &theirs).unwrap();
    let ran = run(milkglass().arg("eval").arg(&ours).args(["--json", "--preset", "fast"])).done();
    let own: Value = serde_json::from_str(&ran.text()).unwrap();
    let boxes = dir.path().join("boxes.jsonl");
    run(milkglass().arg("detect").args(&images).args(["--preset", "fast", "--json"]).arg(&boxes)).done();
    let mut command = Command::new("python3");
    command.arg(data.join("score.py")).arg("--gt").arg(&theirs).arg("--pred").arg(&boxes);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reference: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reference["images_without_prediction"], 0);
    let own = &own["scores"]["faces"];
    for (a, b) in [
        ("objects", "objects"),
        ("leak", "leak_rate"),
        ("fully_visible", "fully_visible_rate(cov<10%)"),
        ("over_redaction", "over_redaction_image_fraction"),
    ] {
        let (a_value, b_value) = (own[a].as_f64().unwrap(), reference[b].as_f64().unwrap());
        assert!((a_value - b_value).abs() <= TOLERANCE, "{a}: {a_value} here, {b_value} there");
    }
}
