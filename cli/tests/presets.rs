//! How carefully is looked where nobody says: stills have time, clips and cameras do not.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;

use common::*;

struct Scene(tempfile::TempDir);

impl Scene {
    /// A still and two frames of a clip, in one folder.
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        still(185, &dir.path().join("in/a.png"));
        let clip = "-loop 1 -i {} -frames:v 2 -c:v libx264 -preset ultrafast {}";
        ffmpeg(words(clip, &[&dir.path().join("in/a.png"), &dir.path().join("in/b.mp4")]));
        Scene(dir)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Redacts the input; what the report says of each file's preset, of the run's, and which models it names.
    #[track_caller]
    fn presets(&self, input: &str, flags: &[&str]) -> (Vec<String>, String, Vec<String>) {
        let fixed = ["redact", input, "-o", "out/", "--overwrite", "--report", "r.json"];
        milkglass_in(self.0.path(), &[&fixed[..], flags].concat()).done();
        let text = fs::read_to_string(self.0.path().join("r.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let words = |list: &serde_json::Value, key: &str| -> Vec<String> {
            list.as_array().unwrap().iter().map(|e| e[key].as_str().unwrap().into()).collect()
        };
        let preset = report["preset"].as_str().unwrap().to_owned();
        (words(&report["files"], "preset"), preset, words(&report["models"], "name"))
    }

    #[track_caller]
    fn still_preset(&self, flags: &[&str]) -> String {
        self.presets("in/a.png", flags).0.remove(0)
    }
}

#[test]
fn stills_are_looked_at_carefully_and_clips_as_ever() {
    let scene = Scene::new();
    let (files, preset, mut models) = scene.presets("in", &[]);
    models.sort();
    assert_eq!((files, preset.as_str()), (vec!["careful".into(), "balanced".into()], "balanced"));
    assert_eq!(models, ["centerface", "yunet"]);
    assert_eq!(scene.presets("in/a.png", &[]).1, "careful");
    let (files, preset, models) = scene.presets("in/b.mp4", &[]);
    assert_eq!((files, preset.as_str(), models), (vec!["balanced".into()], "balanced", vec!["yunet".into()]));

    // `detect` and `eval` see what `redact` hides.
    let rows = |input: &str, flags: &[&str]| {
        milkglass_in(scene.0.path(), &[&["detect", input][..], flags].concat()).done().rows()
    };
    assert_eq!(rows("in/a.png", &[]), rows("in/a.png", &["--preset", "careful"]));
    assert_ne!(rows("in/a.png", &[]), rows("in/a.png", &["--preset", "balanced"]));
    assert_eq!(rows("in/b.mp4", &[]), rows("in/b.mp4", &["--preset", "balanced"]));
    let label = |more: &str| {
        format!("{{\"image\": \"in/a.png\", \"width\": 1, \"height\": 1, \"faces\": []{more}}}\n")
    };
    scene.write("still.jsonl", &label(""));
    scene.write("clip.jsonl", &label(", \"video\": \"v\", \"frame\": 0"));
    for (labels, flags, preset) in [
        (&["still.jsonl"][..], &[][..], "careful"),
        (&["clip.jsonl"], &[], "balanced"),
        (&["still.jsonl"], &["--scene", "2"], "balanced"),
        (&["still.jsonl", "clip.jsonl"], &[], "careful (stills), balanced (clips)"),
        (&["still.jsonl"], &["--preset", "fast"], "fast"),
    ] {
        let ran = milkglass_in(scene.0.path(), &[&["eval", "--json"], labels, flags].concat()).done();
        let document: serde_json::Value = serde_json::from_str(&ran.text()).unwrap();
        assert_eq!(document["preset"], preset, "{labels:?} {flags:?}");
    }
}

#[test]
fn a_preset_that_is_given_anywhere_wins() {
    let scene = Scene::new();
    scene.write("p.toml", "preset = \"balanced\"\n");
    assert_eq!(scene.still_preset(&["--preset", "fast"]), "fast");
    assert_eq!(scene.still_preset(&["--policy", "p.toml"]), "balanced");
    assert_eq!(scene.still_preset(&["--policy", "p.toml", "--preset", "fast"]), "fast");
    scene.write("open.toml", "hold = \"2s\"\n");
    assert_eq!(scene.still_preset(&["--policy", "open.toml"]), "careful");
    for (name, words) in [("open.toml", "balanced; careful on stills"), ("p.toml", "balanced (default ")] {
        let table = milkglass_in(scene.0.path(), &["policy", "explain", name]).done().text();
        let line = table.lines().find(|line| line.starts_with("preset ")).unwrap();
        assert!(line["preset".len()..].trim_start().starts_with(words), "{line}");
    }
}

#[test]
fn under_a_lock_stills_are_never_looked_at_less_carefully_than_it_says() {
    let scene = Scene::new();
    let policy = |args: &[&str]| milkglass_in(scene.0.path(), &[&["policy"], args].concat()).done();
    policy(&["keygen", "owner.key"]);
    for (name, preset) in [("open", ""), ("balanced", "preset = \"balanced\"\n")] {
        scene.write(&format!("{name}.toml"), &format!("{preset}faces = \"fill\"\n"));
        let (file, lock) = (format!("{name}.toml"), format!("{name}.lock"));
        policy(&["lock", &file, "--key", "owner.key", "-o", &lock, "--bind-models"]);
    }
    let preset = |flags: &[&str]| scene.still_preset(flags);
    assert_eq!(preset(&["--lock", "open.lock"]), "careful");
    // Accepted as ever, and for clips it is the same; for stills it would be less than the lock's own.
    assert_eq!(preset(&["--lock", "open.lock", "--preset", "balanced"]), "careful");
    assert_eq!(preset(&["--lock", "open.lock", "--policy", "balanced.toml"]), "careful");
    assert_eq!(preset(&["--lock", "balanced.lock"]), "balanced");
    assert_eq!(preset(&["--lock", "balanced.lock", "--preset", "careful"]), "careful");
    // A policy that leaves it open under a lock that names one: stronger, never weaker.
    assert_eq!(preset(&["--lock", "balanced.lock", "--policy", "open.toml"]), "careful");
}
