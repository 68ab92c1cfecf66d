//! `milkglass bench` from end to end: what it writes, and how comparisons end. No time is asserted, only that it is there.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use serde_json::{Value, json};

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Every element of an XML text is closed, in order, and text holds no bare `<` or `&`.
#[track_caller]
fn well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let entities = ["&amp;", "&lt;", "&gt;", "&quot;"];
        let plain = entities.iter().fold(rest[..at].to_string(), |t, e| t.replace(e, ""));
        assert!(!plain.contains(['&', '>']), "bare sign in {plain:?}");
        let end = at + rest[at..].find('>').expect("a tag without end");
        let tag = &rest[at + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = |t| str::split_whitespace(t).next().unwrap();
        match (tag.strip_prefix('/'), tag.strip_suffix('/')) {
            (Some(closed), _) => assert_eq!(open.pop(), Some(name(closed))),
            (None, Some(_)) => {}
            (None, None) => open.push(name(tag)),
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?} not closed");
}

/// A record with a kernel, a preset and a live row, as the program writes it.
fn record() -> Value {
    let row = |name: &str, group: &str, median: f64| {
        json!({"name": name, "group": group, "samples": 50, "min_ns": median * 0.9, "median_ns": median,
               "p95_ns": median * 1.1, "p99_ns": median * 1.2})
    };
    let mut live = row("live/picture-balanced-1920x1080/1-stream", "live", 4e7);
    live["covered"] = json!(0.99);
    json!({
        "schema": 1, "milkglass": "0.1.0", "commit": "unknown", "build": "release", "quick": true, "threads": 2,
        "kernels": "scalar", "backends": [{"name": "rten"}], "models": [], "memory": [], "verdicts": [], "missing": [],
        "machine": {"cpu": "A <small> & cheap \"board\"", "arch": "x86_64", "cores": 2, "memory_mb": 512, "kernel": "6.1"},
        "rows": [row("pixelate/nv12", "kernel", 1e4), row("detect/preset-balanced-1920x1080/rten", "detect", 3e7), live]
    })
}

#[test]
fn a_run_writes_what_it_measured() {
    let dir = tempfile::tempdir().unwrap();
    let only = ["--only", "path/*", "--only", "detect/yunet-640/*", "--only", "live/picture*/1-stream"];
    let ran = milkglass_in(
        dir.path(),
        &[&["bench", "--quick", "--json", "a.json", "--csv", "a.csv", "--chart", "a.svg"][..], &only]
            .concat(),
    );
    if ran.err.contains("this is an emulator") {
        // Emulated ARM: no time may be printed there.
        assert!(ran.ended(1).out.is_empty());
        return;
    }
    let ran = ran.done();
    holds(dir.path(), &["a.json", "a.csv", "a.svg"]);
    let record = read(&dir.path().join("a.json"));
    let names: Vec<&str> =
        record["rows"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    // A machine that is too slow for the live row says so instead.
    let missing = record["missing"].as_array().unwrap();
    let live = |name: &str| name.starts_with("live/picture-balanced");
    assert!(
        names.iter().any(|n| live(n)) || missing.iter().any(|m| live(m["what"].as_str().unwrap())),
        "{names:?} {missing:?}"
    );
    for start in ["path/engine-", "detect/yunet-640/"] {
        assert!(names.iter().any(|n| n.starts_with(start)), "{start} is missing in {names:?}");
    }
    for row in record["rows"].as_array().unwrap() {
        let time = |key: &str| row[key].as_f64().unwrap();
        assert!(0.0 < time("min_ns") && time("min_ns") <= time("median_ns"), "{row}");
        assert!(time("median_ns") <= time("p95_ns") && time("p95_ns") <= time("p99_ns"), "{row}");
        assert!(ran.text().contains(row["name"].as_str().unwrap()), "{row} is not in the table");
    }
    assert_eq!(record["models"].as_array().unwrap().len(), 3);
    assert!(record["memory"][0]["copy_gb_s"].as_f64().unwrap() > 0.0);

    let csv = fs::read_to_string(dir.path().join("a.csv")).unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().map(|l| l.split(',').collect()).collect();
    assert!(lines.iter().all(|l| l.len() == lines[0].len()), "{csv}");
    let first: Vec<&str> = lines[1..].iter().map(|l| l[0]).collect();
    assert_eq!(first, names);

    let svg = fs::read_to_string(dir.path().join("a.svg")).unwrap();
    well_formed(&svg);
    names.iter().for_each(|name| assert!(svg.contains(name), "{name} is not in the chart"));
}

#[test]
fn a_comparison_fails_only_when_something_got_slower() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, record: &Value| fs::write(dir.path().join(name), record.to_string()).unwrap();
    let compare = |more: &[&str]| {
        let args = ["bench", "--read", "new.json", "--compare", "old.json"];
        milkglass_in(dir.path(), &[&args[..], more].concat())
    };
    let times = |row: usize, keys: &[&str], by: f64| {
        let mut record = record();
        for key in keys {
            record["rows"][row][*key] = json!(record["rows"][row][*key].as_f64().unwrap() * by);
        }
        record
    };
    write("old.json", &record());
    write("new.json", &record());
    compare(&[]).done();
    let all = ["min_ns", "median_ns", "p95_ns", "p99_ns"];
    write("new.json", &times(0, &all, 1.5));
    let ran = compare(&[]).ended(1);
    assert!(ran.text().contains("SLOWER pixelate/nv12"), "{}", ran.text());
    compare(&["--tolerance", "0.6"]).done();
    // One busy moment: the minimum is what it was.
    write("new.json", &times(0, &["median_ns", "p95_ns", "p99_ns"], 1.5));
    compare(&[]).done();
    write("new.json", &times(1, &all, 0.5));
    assert!(compare(&[]).done().text().contains("faster detect/preset-balanced"));
    // Frames that no longer leave covered.
    write("new.json", &times(2, &["covered"], 0.5));
    compare(&[]).ended(1);
}

#[test]
fn a_record_can_be_drawn_without_measuring() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.json"), record().to_string()).unwrap();
    let ran = milkglass_in(dir.path(), &["bench", "--read", "a.json", "--chart", "a.svg"]).done();
    assert!(ran.text().contains("pixelate/nv12"));
    let svg = fs::read_to_string(dir.path().join("a.svg")).unwrap();
    well_formed(&svg);
    assert!(svg.contains("A &lt;small&gt; &amp; cheap"));
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("rubbish.json"), "{\"schema\": ").unwrap();
    let mut other = record();
    other["schema"] = json!(9);
    fs::write(dir.path().join("later.json"), other.to_string()).unwrap();
    let mut none = record();
    none["rows"][0]["median_ns"] = json!(0.0);
    fs::write(dir.path().join("zero.json"), none.to_string()).unwrap();
    let bench = |args: &[&str]| milkglass_in(dir.path(), &[&["bench"], args].concat());
    bench(&["--only", "no-such-row"]).failed(1, &["no-such-row", "--list"]);
    bench(&["--compare", "rubbish.json"]).failed(1, &["rubbish.json", "no record", "--json"]);
    bench(&["--compare", "gone.json"]).failed(1, &["gone.json"]);
    bench(&["--read", "later.json"]).failed(1, &["version 9"]);
    bench(&["--read", "zero.json"]).failed(1, &["pixelate/nv12", "not above zero"]);
    bench(&["--json", "no/such/folder.json"]).failed(1, &["no/such/folder.json"]);
    bench(&["--from", "/dev/video99"]).failed(1, &["/dev/video99", "milkglass devices"]);
    bench(&["--tolerance", "-1"]).ended(1);
    bench(&["--backend", "abacus"]).failed(1, &["abacus", "rten"]);
    holds(dir.path(), &["rubbish.json", "later.json", "zero.json"]);
}

#[test]
fn without_models_kernels_remain() {
    let dir = tempfile::tempdir().unwrap();
    let ran = milkglass_in(dir.path(), &["bench", "--list", "--models", "."]).done();
    let (missing, names): (Vec<String>, Vec<String>) =
        ran.text().lines().map(String::from).partition(|l| l.starts_with('#'));
    assert!(names.iter().any(|n| n.starts_with("path/")), "{names:?}");
    assert!(!names.iter().any(|n| n.starts_with("detect/") || n.starts_with("live/")), "{names:?}");
    assert!(missing.iter().any(|m| m.contains("detection with yunet")), "{missing:?}");
    let ran = milkglass_in(dir.path(), &["bench", "--check", "--only", "path/*", "--all-kernels"]).done();
    assert!(ran.text().contains("are right"));
}

/// `MILKGLASS_KERNELS` forces a set, for a comparison or to get round a fault; one that is not there is named and not heeded.
#[test]
fn a_set_of_kernels_can_be_forced() {
    let rows = |set: &[(&str, &str)]| {
        let mut command = milkglass();
        command.args(["bench", "--list", "--only", "pixelate/*"]).env_remove("MILKGLASS_KERNELS");
        let ran = run(command.envs(set.iter().copied())).done();
        let rows: Vec<String> =
            ran.text().lines().filter(|l| !l.starts_with('#')).map(String::from).collect();
        assert!(!rows.is_empty());
        (rows, ran.err)
    };
    let (best, _) = rows(&[]);
    let (scalar, _) = rows(&[("MILKGLASS_KERNELS", "scalar")]);
    assert!(scalar.iter().all(|row| row.ends_with("/scalar")), "{scalar:?}");
    let (unknown, said) = rows(&[("MILKGLASS_KERNELS", "abacus")]);
    assert_eq!(unknown, best);
    assert!(said.contains("abacus is not one of scalar"), "{said}");
}
