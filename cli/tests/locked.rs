//! What the environment of a program can do against an owner's lock: stand-ins for libraries leave a mark when code of theirs runs.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Ran, milkglass_in, run};
use tempfile::TempDir;

/// A folder with a picture, an owner's key and a policy.
struct Scene(TempDir);

impl Scene {
    fn new(policy: &str) -> Scene {
        let dir = TempDir::new().unwrap();
        common::ffmpeg(common::words(
            "-i {} -frames:v 1 -s 320x180 {}",
            &[&common::example(), &dir.path().join("in.png")],
        ));
        common::ffmpeg(common::words(
            "-i {} -frames:v 2 -s 64x36 -pix_fmt yuv420p {}",
            &[&common::example(), &dir.path().join("in.y4m")],
        ));
        fs::create_dir(dir.path().join("state")).unwrap();
        fs::write(dir.path().join("policy.toml"), policy).unwrap();
        milkglass_in(dir.path(), &["policy", "keygen", "owner.key"]).ended(0);
        Scene(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn lock(&self, more: &[&str]) {
        let args =
            ["policy", "lock", "policy.toml", "--key", "owner.key", "-o", "camera.lock", "--serial", "1"];
        milkglass_in(self.0.path(), &[&args[..], more].concat()).ended(0);
    }

    /// A library that leaves a file when it is loaded, and is no ONNX Runtime.
    fn library(&self, name: &str) -> PathBuf {
        let (source, library) = (self.path("library.c"), self.path(name));
        let mark = self.mark(name);
        let text =
            "#include <fcntl.h>\n__attribute__((constructor)) static void ran(void) { creat(MARK, 0600); }\n";
        fs::write(&source, text).unwrap();
        let cc = Command::new("cc")
            .args(["-shared", "-fPIC", "-w", "-o"])
            .args([&library, &source])
            .arg(format!("-DMARK=\"{}\"", mark.display()))
            .status();
        assert!(cc.unwrap().success());
        library
    }

    fn ran(&self, name: &str) -> bool {
        self.mark(name).exists()
    }

    /// In the one folder that a camera's program may write to.
    fn mark(&self, name: &str) -> PathBuf {
        self.path("state").join(format!("{name}.ran"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = common::milkglass();
        command.current_dir(self.0.path()).args(args);
        command
    }

    /// Every road to a detector, under the lock.
    fn roads(&self) -> Vec<(&'static str, Command)> {
        let lock = ["--lock", "camera.lock", "--policy", "policy.toml"];
        [
            ("detect", &["detect", "in.png"][..]),
            ("redact", &["redact", "in.png", "-o", "out.png", "--overwrite"]),
            ("live", &["live", "--from", "in.y4m", "--to", "-", "--state-dir", "state"]),
        ]
        .into_iter()
        .map(|(name, args)| (name, self.command(&[args, &lock].concat())))
        .collect()
    }
}

/// Refused, and by the right name.
#[track_caller]
fn refused(ran: Ran, words: &[&str]) {
    assert_eq!(ran.code, 1, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "`{word}` is missing in: {}", ran.err);
    }
}

#[test]
fn a_runtime_is_compared_with_the_lock_before_a_byte_of_it_runs() {
    let scene = Scene::new("faces = \"fill\"\nmax_gap = \"5s\"\n");
    let (allowed, other) = (scene.library("allowed.so"), scene.library("other.so"));
    scene.lock(&[&format!("--bind-runtime={}", allowed.display())]);
    for (road, mut command) in scene.roads() {
        let ran = run(command.env("ORT_DYLIB_PATH", &other));
        refused(ran, &["is not the one that the owner allowed", "other.so"]);
        assert!(!scene.ran("other.so"), "{road}: it ran before it was compared");
        // The one that is allowed does run, though it turns out to be no runtime.
        let ran = run(command.env("ORT_DYLIB_PATH", &allowed));
        assert!(scene.ran("allowed.so"), "{road}: {}", ran.err);
        fs::remove_file(scene.mark("allowed.so")).unwrap();
    }
    // Nor does pure Rust take its place.
    for (_, mut command) in scene.roads() {
        refused(run(command.args(["--backend", "rten"])), &["backend"]);
    }
}

#[test]
fn what_is_loaded_is_what_was_hashed_though_the_file_is_exchanged_meanwhile() {
    let scene = Scene::new("faces = \"fill\"\nmax_gap = \"5s\"\n");
    let (allowed, other) = (scene.library("allowed.so"), scene.library("other.so"));
    scene.lock(&[&format!("--bind-runtime={}", allowed.display())]);
    let (place, stop) = (scene.path("runtime.so"), AtomicBool::new(false));
    fs::copy(&allowed, &place).unwrap();
    let exchange = |from: &Path| {
        let new = scene.path("new.so");
        fs::copy(from, &new).unwrap();
        fs::rename(new, &place).unwrap();
    };
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                exchange(&other);
                exchange(&allowed);
            }
        });
        for _ in 0..60 {
            let mut command =
                scene.command(&["detect", "in.png", "--lock", "camera.lock", "--policy", "policy.toml"]);
            run(command.env("ORT_DYLIB_PATH", &place));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(!scene.ran("other.so"), "another library than the one that was compared was loaded");
    assert!(scene.ran("allowed.so"), "nothing was ever loaded: nothing was tried");
}

#[test]
fn a_lock_that_names_no_runtime_takes_from_the_environment_one_that_is_known() {
    let scene = Scene::new("faces = \"fill\"\nmax_gap = \"5s\"\nbackend = \"ort\"\n");
    scene.library("other.so");
    scene.lock(&[]);
    for (road, mut command) in scene.roads() {
        refused(
            run(command.env("ORT_DYLIB_PATH", scene.path("other.so"))),
            &["ORT_DYLIB_PATH", "--bind-runtime"],
        );
        assert!(!scene.ran("other.so"), "{road}");
    }
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/onnxruntime/libonnxruntime.so.1");
    if known.exists() {
        fs::copy(known, scene.path("known.so")).unwrap();
        for (_, mut command) in scene.roads() {
            run(command.env("ORT_DYLIB_PATH", scene.path("known.so"))).ended(0);
        }
    }
    // Without a lock nothing is refused.
    run(scene.command(&["detect", "in.png"]).env("ORT_DYLIB_PATH", scene.path("other.so")));
    assert!(scene.ran("other.so"));
}

#[test]
fn what_makes_other_code_run_is_refused_by_name() {
    let scene =
        Scene::new("faces = \"off\"\n[[zone]]\nname = \"all\"\narea = [[0, 0], [1, 0], [1, 1], [0, 1]]\n");
    scene.lock(&[]);
    for (_, mut command) in scene.roads() {
        run(&mut command).ended(0);
    }
    for name in ["LD_PRELOAD", "LD_AUDIT", "ORT_LOAD_CONFIG_FROM_MODEL", "MILKGLASS_FFMPEG"] {
        for (_, mut command) in scene.roads() {
            refused(run(command.env(name, "/nowhere/x.so")), &[name, "clear it"]);
            run(command.env(name, "")).ended(0);
        }
    }
}

#[test]
fn folders_of_libraries_do_not_reach_a_locked_program() {
    let scene = Scene::new("faces = \"fill\"\nmax_gap = \"5s\"\n");
    let folder = scene.path("libraries");
    fs::create_dir(&folder).unwrap();
    fs::rename(scene.library("libstdc++.so.6"), folder.join("libstdc++.so.6")).unwrap();
    let ask = |args: &[&str]| run(scene.command(args).env("LD_LIBRARY_PATH", &folder));
    // What it would do to one that is not.
    let open = ask(&["detect", "in.png", "--backend", "ort"]);
    if open.err.contains("no libonnxruntime.so.1 was found") {
        return;
    }
    assert_ne!(open.code, 0, "a stand-in took the place of the C++ library, and nothing happened");
    fs::write(scene.path("policy.toml"), "faces = \"fill\"\nmax_gap = \"5s\"\nbackend = \"ort\"\n").unwrap();
    scene.lock(&[]);
    for (_, mut command) in scene.roads() {
        run(command.env("LD_LIBRARY_PATH", &folder)).ended(0);
    }
}

#[test]
fn a_lock_that_names_no_models_takes_from_the_environment_those_that_are_known() {
    let scene = Scene::new("faces = \"fill\"\nmax_gap = \"5s\"\n");
    scene.lock(&[]);
    let models = scene.path("models");
    fs::create_dir(&models).unwrap();
    for entry in fs::read_dir(common::models()).unwrap().flatten().filter(|e| e.path().is_file()) {
        fs::copy(entry.path(), models.join(entry.file_name())).unwrap();
    }
    for (_, mut command) in scene.roads() {
        run(command.env("MILKGLASS_MODELS", &models)).ended(0);
    }
    // Another model, and a manifest that fits it: an unknown field at the end of the file, which a reader skips.
    let text = fs::read_to_string(models.join("yunet.toml")).unwrap();
    let file = models.join("yunet.onnx");
    let bytes = [fs::read(&file).unwrap(), vec![0xfa, 0x7f, 0x01, b'x']].concat();
    fs::write(&file, &bytes).unwrap();
    let hash = Command::new("sha256sum").arg(&file).output().unwrap().stdout;
    let hash = String::from_utf8(hash).unwrap()[..64].to_owned();
    let old = text.lines().find(|line| line.starts_with("sha256 = ")).unwrap();
    fs::write(models.join("yunet.toml"), text.replacen(old, &format!("sha256 = \"{hash}\""), 1)).unwrap();
    for (_, mut command) in scene.roads() {
        refused(run(command.env("MILKGLASS_MODELS", &models)), &["MILKGLASS_MODELS", "--bind-models", &hash]);
    }
}
