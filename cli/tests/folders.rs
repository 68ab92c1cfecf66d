//! Folders and several inputs at once.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::*;

/// A folder with pictures, a clip and other things below it.
struct Tree {
    dir: tempfile::TempDir,
    faces: Vec<Rect>,
}

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("in/deep/er")).unwrap();
        let picture = shared("face.png");
        let faces = still(185, &picture);
        for name in ["in/a.png", "in/deep/b.png", "in/deep/er/c.PNG"] {
            fs::copy(&picture, dir.path().join(name)).unwrap();
        }
        Tree { dir, faces }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn redact(&self, args: &[&str]) -> Ran {
        milkglass_in(self.dir.path(), &[&["redact"], args, &["--preset", "fast"]].concat())
    }

    #[track_caller]
    fn hidden(&self, names: &[&str]) {
        names.iter().for_each(|name| hidden_in(&self.path(name), &self.faces));
    }
}

/// Every file below a folder, links not followed.
fn files(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, root: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), root, all);
            } else {
                all.push(entry.path().strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut all = Vec::new();
    walk(dir, dir, &mut all);
    all.sort();
    all
}

#[test]
fn the_structure_is_kept_and_what_is_not_understood_is_named_and_never_copied() {
    let tree = Tree::new();
    fs::copy(small(), tree.path("in/deep/clip.mp4")).unwrap();
    fs::write(tree.path("in/notes.txt"), "who was there").unwrap();
    fs::write(tree.path("in/deep/letter.pdf"), "who was there").unwrap();
    let ran = tree.redact(&["in", "-o", "out", "--encoder-preset", "ultrafast"]).done();
    let ran = ran.warned(&["in/notes.txt", "not understood", "nor copied"]);
    let ran = ran.warned(&["in/deep/letter.pdf", "not understood"]);
    assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
    assert_eq!(files(&tree.path("out")), ["a.png", "deep/b.png", "deep/clip.mp4", "deep/er/c.PNG"]);
    tree.hidden(&["out/a.png", "out/deep/b.png", "out/deep/er/c.PNG"]);
    decode(&tree.path("out/deep/clip.mp4")).hides(&small_truth(), "a clip in a folder");
    // A second time nothing is overwritten unless asked for.
    tree.redact(&["in", "-o", "out"]).failed(1, &["exists already"]);
    tree.redact(&["in", "-o", "out", "--overwrite", "--encoder-preset", "ultrafast"]).done();
}

#[test]
fn links_that_lead_out_are_not_followed() {
    let tree = Tree::new();
    fs::create_dir(tree.path("elsewhere")).unwrap();
    fs::copy(tree.path("in/a.png"), tree.path("elsewhere/private.png")).unwrap();
    symlink("../elsewhere", tree.path("in/folder")).unwrap();
    symlink("../elsewhere/private.png", tree.path("in/out.png")).unwrap();
    symlink("a.png", tree.path("in/inside.png")).unwrap();
    symlink("..", tree.path("in/deep/up")).unwrap();
    symlink("nowhere.png", tree.path("in/dangling.png")).unwrap();
    let ran = tree.redact(&["in", "-o", "out"]).done();
    for name in ["in/folder", "in/out.png", "in/dangling.png", "in/deep/up"] {
        assert!(ran.err.contains(name), "{name} is not named:\n{}", ran.err);
    }
    assert_eq!(files(&tree.path("out")), ["a.png", "deep/b.png", "deep/er/c.PNG", "inside.png"]);
    tree.hidden(&["out/inside.png"]);
    assert!(fs::symlink_metadata(tree.path("out/inside.png")).unwrap().is_file(), "a picture, no link");
}

#[test]
fn one_broken_file_does_not_stop_the_others() {
    let tree = Tree::new();
    fs::write(tree.path("in/broken.png"), "no picture").unwrap();
    fs::write(tree.path("in/deep/empty.mp4"), "").unwrap();
    fs::copy(small(), tree.path("in/clip.mp4")).unwrap();
    let ran =
        tree.redact(&["in", "-o", "out", "--report", "r.json", "--encoder-preset", "ultrafast"]).ended(1);
    let errors: Vec<&str> = ran.err.lines().collect();
    assert_eq!(errors.len(), 2, "{}", ran.err);
    assert!(
        errors[0].starts_with("error: in/broken.png: ")
            && errors[1].starts_with("error: in/deep/empty.mp4: ")
    );
    assert_eq!(files(&tree.path("out")), ["a.png", "clip.mp4", "deep/b.png", "deep/er/c.PNG"]);
    tree.hidden(&["out/a.png", "out/deep/b.png"]);
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(tree.path("r.json")).unwrap()).unwrap();
    let of = |name: &str| {
        let files = report["files"].as_array().unwrap();
        files.iter().find(|f| f["input"] == name).unwrap_or_else(|| panic!("{name}: {report}")).clone()
    };
    assert_eq!(report["files"].as_array().unwrap().len(), 6);
    assert!(of("in/broken.png")["error"].as_str().unwrap().contains("no PNG"));
    assert!(of("in/broken.png").get("output").is_none());
    assert_eq!(of("in/a.png")["output_sha256"], sha256(&tree.path("out/a.png")));
    assert_eq!(of("in/a.png")["covered"], 1);
    assert_eq!(of("in/clip.mp4")["frames_out"], FRAMES);
}

#[test]
fn several_inputs_go_into_one_folder() {
    let tree = Tree::new();
    fs::create_dir(tree.path("two")).unwrap();
    fs::copy(tree.path("in/a.png"), tree.path("two/a.png")).unwrap();
    fs::copy(tree.path("in/a.png"), tree.path("x.png")).unwrap();
    fs::copy(small(), tree.path("y.mp4")).unwrap();
    tree.redact(&["x.png", "y.mp4", "in", "two", "-o", "out", "--encoder-preset", "ultrafast"]).done();
    let expected = ["in/a.png", "in/deep/b.png", "in/deep/er/c.PNG", "two/a.png", "x.png", "y.mp4"];
    assert_eq!(files(&tree.path("out")), expected);
    tree.hidden(&["out/x.png", "out/two/a.png", "out/in/a.png"]);
    // Two results under one name: refused before anything is written.
    for inputs in [["x.png", "x.png"], ["in/a.png", "two/a.png"], ["x.png", "./x.png"]] {
        tree.redact(&[inputs[0], inputs[1], "-o", "twice"])
            .failed(1, &["written twice", inputs[0], inputs[1]]);
    }
    fs::copy(tree.path("in/a.png"), tree.path("in/a.jpg.png")).unwrap();
    fs::write(tree.path("x.jpg"), "").unwrap();
    tree.redact(&["x.png", "x.jpg", "-o", "twice", "--format", "png"])
        .failed(1, &["written twice", "x.png", "x.jpg"]);
    assert!(!tree.path("twice").exists());
    tree.redact(&["x.png", "y.mp4", "-o", "x.png"]).failed(1, &["x.png", "folder"]);
    tree.redact(&["-", "x.png", "-o", "out"]).failed(1, &["`-`", "one input"]);
}

#[test]
fn one_format_for_all_pictures() {
    let tree = Tree::new();
    let picture = image::open(tree.path("in/a.png")).unwrap().into_rgb8();
    picture.save(tree.path("in/d.jpg")).unwrap();
    picture.save(tree.path("in/e.tiff")).unwrap();
    tree.redact(&["in", "-o", "out", "--format", "png"]).done();
    let expected = ["a.png", "d.png", "deep/b.png", "deep/er/c.png", "e.png"];
    assert_eq!(files(&tree.path("out")), expected);
    for name in expected {
        let bytes = fs::read(tree.path("out").join(name)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{name}");
    }
    tree.hidden(&["out/d.png", "out/e.png"]);
    tree.redact(&["in/a.png", "-o", "single", "--format", "jpeg"]).done();
    assert!(fs::read(tree.path("single")).unwrap().starts_with(&[0xff, 0xd8]));
    // Into a folder that exists, a single picture goes by its own name.
    fs::create_dir(tree.path("there")).unwrap();
    tree.redact(&["in/a.png", "-o", "there"]).done();
    tree.redact(&["in/a.png", "-o", "new/"]).done();
    tree.hidden(&["there/a.png", "new/a.png"]);
}

#[test]
fn an_output_inside_the_input_is_not_read_again() {
    let tree = Tree::new();
    tree.redact(&["in", "-o", "in/redacted"]).done();
    let expected = ["a.png", "deep/b.png", "deep/er/c.PNG"];
    assert_eq!(files(&tree.path("in/redacted")), expected);
    let ran = tree.redact(&["in", "-o", "in/redacted", "--overwrite"]).done();
    assert_eq!(ran.err, "");
    assert_eq!(files(&tree.path("in/redacted")), expected, "the first run's results are no input");
    tree.redact(&["in", "-o", "in"]).failed(1, &["is the input itself"]);
    tree.redact(&["in", "-o", "in", "--overwrite"]).failed(1, &["is the input itself"]);
}

#[test]
fn detect_names_pictures_as_given_or_found() {
    let tree = Tree::new();
    let ran = milkglass_in(tree.dir.path(), &["detect", "in", "./in/a.png", "--preset", "fast"]).done();
    let rows = ran.rows();
    let names: Vec<&str> = rows.iter().map(|row| row["image"].as_str().unwrap()).collect();
    assert_eq!(names, ["in/a.png", "in/deep/b.png", "in/deep/er/c.PNG", "./in/a.png"]);
    for row in &rows {
        assert_eq!((row["width"].as_u64(), row["height"].as_u64()), (Some(1280), Some(720)));
        assert!(row.get("frame").is_none());
        assert_eq!(row["faces"].as_array().unwrap().len(), tree.faces.len());
        assert_eq!(row["faces"][0].as_array().unwrap().len(), 5);
        assert_eq!(row["regions"][0].as_array().unwrap().len(), 4);
    }
    let args = ["detect", "in/deep", "--preset", "fast", "--json", "boxes.jsonl", "--draw", "drawn"];
    let ran = milkglass_in(tree.dir.path(), &args).done();
    assert!(ran.out.is_empty());
    assert_eq!(fs::read_to_string(tree.path("boxes.jsonl")).unwrap().lines().count(), 2);
    assert_eq!(files(&tree.path("drawn")), ["b.png", "er/c.png"]);
    // Boxes are drawn on the redacted picture.
    let drawn = image::open(tree.path("drawn/b.png")).unwrap().into_rgb8();
    let [x, y, w, h] = tree.faces[0];
    let middle = [x + w * 0.3, y + h * 0.3, w * 0.4, h * 0.4];
    assert!(black_share(&drawn, middle) > 0.99);
    assert!(drawn.pixels().any(|p| p.0 == [0, 220, 90]), "a box is drawn");
}

#[test]
fn a_missing_input_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    still(185, &folder.path().join("a.png"));
    let mut command = milkglass();
    let ran = run(command
        .current_dir(folder.path())
        .args(["redact", "a.png", "gone.png", "-o", "out", "--preset", "fast"]));
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("gone.png: cannot be read"), "{}", ran.err);
    assert!(folder.path().join("out/a.png").is_file());
}
