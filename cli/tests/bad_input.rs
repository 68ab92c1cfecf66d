//! Bad input, line by line: what it gets is one clear line, a documented exit code, and nothing written.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use image::{Rgb, RgbImage};
use rustix::process::{Pid, Signal, kill_process};

/// A folder of its own for a test, in which commands run.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Scene {
        Scene(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// A picture of the example with a face in it.
    fn still(&self, name: &str) -> Vec<Rect> {
        still(185, &self.path(name))
    }

    /// A copy of the small clip.
    fn clip(&self, name: &str) {
        fs::copy(small(), self.path(name)).unwrap();
    }

    fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        run(self.command().args(args))
    }

    fn command(&self) -> Command {
        let mut command = milkglass();
        command.current_dir(self.0.path());
        command
    }

    /// `redact INPUT -o OUTPUT` with the fast preset.
    fn redact(&self, input: &str, output: &str, flags: &[&str]) -> Ran {
        self.run(&[&["redact", input, "-o", output, "--preset", "fast"], flags].concat())
    }

    /// The same, which must fail in one line with all of `words` and leave every file as it was.
    #[track_caller]
    fn refuses(&self, code: i32, input: &str, output: &str, flags: &[&str], words: &[&str]) -> Ran {
        let before = self.snapshot();
        let ran = self.redact(input, output, flags).failed(code, words);
        assert!(self.snapshot() == before, "files changed: {:?}", listing(self.0.path()));
        ran
    }

    /// Every name below, with the hash of what it holds.
    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        fn walk(dir: &Path, all: &mut BTreeMap<PathBuf, String>) {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                let what = if kind.is_file() { sha256(&entry.path()) } else { format!("{kind:?}") };
                all.insert(entry.path(), what);
                if kind.is_dir() {
                    walk(&entry.path(), all);
                }
            }
        }
        let mut all = BTreeMap::new();
        walk(self.0.path(), &mut all);
        all
    }
}

#[test]
fn files_that_hold_nothing() {
    let scene = Scene::new();
    fs::create_dir(scene.path("folder")).unwrap();
    scene.write("folder/notes.txt", "no picture");
    for name in ["zero.mp4", "zero.png", "zero.jpg", "zero"] {
        scene.write(name, "");
    }
    for name in ["text.mp4", "text.png", "text.webp", "text.tiff", "text.txt"] {
        scene.write(name, "This is no picture and no clip, whatever its name says.\n");
    }
    symlink("loop.mp4", scene.path("loop.mp4")).unwrap();
    for (input, output, words) in [
        ("missing.mp4", "o.mp4", &["missing.mp4", "No such file", "check the name"][..]),
        ("missing.png", "o.png", &["missing.png", "No such file", "check the name"]),
        ("folder", "out", &["folder", "no picture and no clip"]),
        ("loop.mp4", "o.mp4", &["loop.mp4", "cannot be read"]),
        ("zero.mp4", "o.mp4", &["zero.mp4", "empty"]),
        ("zero.png", "o.png", &["zero.png", "empty"]),
        ("zero.jpg", "o.jpg", &["zero.jpg", "empty"]),
        ("zero", "o.mp4", &["zero", "empty"]),
        ("text.mp4", "o.mp4", &["text.mp4", "not a video"]),
        ("text.png", "o.png", &["text.png", "no PNG, JPEG, WebP, BMP or TIFF"]),
        ("text.webp", "o.png", &["text.webp", "no PNG, JPEG, WebP, BMP or TIFF"]),
        ("text.tiff", "o.png", &["text.tiff", "no PNG, JPEG, WebP, BMP or TIFF"]),
        ("text.txt", "o.mp4", &["text.txt", "not a video"]),
        ("/dev/zero", "o.mp4", &["/dev/zero", "not a regular file"]),
        ("folder", "text.png", &["folder"]),
    ] {
        scene.refuses(1, input, output, &[], words);
    }
    // Root reads whatever it likes.
    if !rustix::process::geteuid().is_root() {
        for name in ["locked.mp4", "locked.png"] {
            let path = scene.write(name, "x");
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
            let ran = scene.redact(name, "o.png", &[]);
            ran.failed(1, &[name, "ermission denied"]);
        }
    }
}

#[test]
fn a_clip_without_pictures_and_one_that_is_too_large() {
    let scene = Scene::new();
    ffmpeg(words("-f lavfi -i sine=duration=0.5 -c:a aac {}", &[&scene.path("sound.mp4")]));
    let wide = "-f lavfi -i color=size=20000x16:rate=5:duration=0.4 -pix_fmt yuv420p -c:v ffv1 {}";
    ffmpeg(words(wide, &[&scene.path("wide.mkv")]));
    scene.refuses(1, "sound.mp4", "o.mp4", &[], &["sound.mp4", "no video stream"]);
    scene.refuses(1, "wide.mkv", "o.mp4", &[], &["wide.mkv", "20000x16", "16384"]);
}

#[test]
fn truncated_clips() {
    let scene = Scene::new();
    let source = small();
    let cut = |name: &str, flags: &str, share: usize| {
        let line = format!("-i {{}} -an -c:v libx264 -preset ultrafast -g 4 -crf 15 {flags} {{}}");
        ffmpeg(words(&line, &[&source, &scene.path(name)]));
        let bytes = fs::read(scene.path(name)).unwrap();
        scene.write(name, &bytes[..bytes.len() * share / 100]);
    };
    cut("index-lost.mp4", "", 60);
    cut("fast-start.mp4", "-movflags +faststart", 60);
    cut("cut.mkv", "", 60);
    cut("header-only.mkv", "", 4);
    scene.refuses(3, "index-lost.mp4", "o.mp4", &[], &["index-lost.mp4", "cut off"]);
    scene.refuses(3, "fast-start.mp4", "o.mp4", &[], &["fast-start.mp4", "damaged", "--keep-partial"]);
    scene.refuses(3, "cut.mkv", "o.mkv", &[], &["cut.mkv", "damaged", "--keep-partial"]);
    scene.refuses(3, "header-only.mkv", "o.mkv", &[], &["header-only.mkv", "damaged"]);
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn random_byte_flips_never_make_it_panic_or_leave_half_a_file() {
    let scene = Scene::new();
    let line = "-i {} -an -vf scale=320:180 -frames:v 12 -c:v libx264 -preset ultrafast -g 4 {}";
    for name in ["a.mp4", "a.mkv"] {
        ffmpeg(words(line, &[&small(), &scene.path(name)]));
    }
    let picture = "-i {} -frames:v 1 -update 1 {}";
    for name in ["a.png", "a.jpg", "a.webp", "a.tiff"] {
        ffmpeg(words(picture, &[&small(), &scene.path(name)]));
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (name, rounds) in
        [("a.mp4", 4), ("a.mkv", 4), ("a.png", 2), ("a.jpg", 2), ("a.webp", 2), ("a.tiff", 2)]
    {
        let whole = fs::read(scene.path(name)).unwrap();
        for round in 0..rounds {
            let mut bytes = whole.clone();
            for _ in 0..1 + round * 12 {
                let at = dice.roll(bytes.len());
                bytes[at] ^= 1 << dice.roll(8);
            }
            // The first bytes are where most of the structure is.
            let at = dice.roll(300.min(bytes.len()));
            bytes[at] = dice.roll(256) as u8;
            let (input, output) = (format!("flipped-{name}"), format!("o-{name}"));
            let hash = sha256(&scene.write(&input, &bytes));
            let ran = scene.redact(&input, &output, &["--encoder-preset", "ultrafast"]);
            assert!([0, 1, 3, 4].contains(&ran.code), "{name} {round}: {} {}", ran.code, ran.err);
            let errors = ran.err.lines().filter(|line| line.starts_with("error: ")).count();
            let failed = ran.code == 1 || ran.code == 3;
            assert_eq!(errors, usize::from(failed), "{name} {round}: {}", ran.err);
            assert_eq!(scene.path(&output).exists(), !failed, "{name} {round}: {}", ran.err);
            assert!(!listing(scene.0.path()).iter().any(|n| n.contains("partial")), "{name} {round}");
            assert_eq!(sha256(&scene.path(&input)), hash);
            let _ = fs::remove_file(scene.path(&output));
        }
    }
}

#[test]
fn a_clip_whose_size_changes_midway() {
    let scene = Scene::new();
    let half = |filter: &str, name: &str| {
        let mut args =
            words("-i {} -an -c:v libx264 -preset ultrafast -crf 12 -bf 0 -f h264 -vf", &[&small()]);
        args.push(filter.into());
        args.push(scene.path(name).into());
        ffmpeg(args);
        fs::read(scene.path(name)).unwrap()
    };
    let first = half("trim=end_frame=12", "first.h264");
    let second = half("trim=start_frame=12,setpts=PTS-STARTPTS,scale=320:180", "second.h264");
    scene.write("both.h264", [first, second].concat());
    ffmpeg(words(
        "-f h264 -framerate 25 -i {} -c copy {}",
        &[&scene.path("both.h264"), &scene.path("both.ts")],
    ));
    let ran = scene.redact("both.ts", "o.mp4", &["--encoder-preset", "ultrafast"]).done();
    ran.warned(&["640x360", "320x180", "scaled"]);
    let frames = decode(&scene.path("o.mp4"));
    assert_eq!((frames.width, frames.height), (640, 360));
    frames.hides(&small_truth(), "both sizes");
}

#[test]
fn two_frames_with_one_timestamp() {
    let scene = Scene::new();
    let mut args =
        words("-i {} -an -vf settb=1/1000,setpts=floor(N/2)*80 -fps_mode passthrough", &[&small()]);
    args.extend(words("-enc_time_base 1:1000 -c:v ffv1 {}", &[&scene.path("twice.mkv")]));
    ffmpeg(args);
    for output in ["o.mkv", "o.mp4"] {
        scene
            .redact("twice.mkv", output, &["--encoder-preset", "ultrafast"])
            .done()
            .warned(&["moved forward"]);
        decode(&scene.path(output)).hides(&small_truth(), output);
    }
}

#[test]
fn tiny_huge_and_odd_pictures() {
    let scene = Scene::new();
    let plain = |width: u32, height: u32, name: &str| {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 90])).save(scene.path(name)).unwrap();
    };
    plain(1, 1, "one.png");
    plain(16384, 64, "wide.png");
    plain(3, 16384, "high.png");
    plain(20000, 10, "too-wide.png");
    plain(10, 20000, "too-high.png");
    for (name, size) in [("one.png", (1, 1)), ("wide.png", (16384, 64)), ("high.png", (3, 16384))] {
        let output = format!("o-{name}");
        scene.redact(name, &output, &[]).done();
        assert_eq!(image::image_dimensions(scene.path(&output)).unwrap(), size);
        scene
            .redact(name, &output, &["--overwrite", "--persons", "fill", "--preset", "balanced"][..3])
            .done();
    }
    scene.refuses(1, "too-wide.png", "o.png", &[], &["too-wide.png", "20000x10", "16384", "scale"]);
    scene.refuses(1, "too-high.png", "o.png", &[], &["too-high.png", "10x20000", "16384"]);
    // Odd sides, with a face cut to them.
    let faces = scene.still("even.png");
    let even = image::open(scene.path("even.png")).unwrap().into_rgb8();
    image::imageops::crop_imm(&even, 0, 0, 1279, 719).to_image().save(scene.path("odd.png")).unwrap();
    for style in ["fill", "pixelate", "blur"] {
        let output = format!("odd-{style}.png");
        scene.redact("odd.png", &output, &["--faces", style]).done();
        assert_eq!(image::image_dimensions(scene.path(&output)).unwrap(), (1279, 719));
    }
    hidden_in(&scene.path("odd-fill.png"), &faces);
}

#[test]
fn tiny_huge_and_odd_clips() {
    let scene = Scene::new();
    let make = |filter: &str, name: &str| {
        let mut args = words("-i {} -an -frames:v 8 -pix_fmt yuv420p -c:v ffv1 -vf", &[&small()]);
        args.push(filter.into());
        args.push(scene.path(name).into());
        ffmpeg(args);
    };
    make("format=yuv444p,crop=1:1:0:0:exact=1", "one.mkv");
    make("scale=16384:64", "wide.mkv");
    make("format=yuv444p,crop=639:359:0:0:exact=1", "odd.mkv");
    scene.redact("one.mkv", "one-out.mkv", &["--lossless"]).done();
    assert_eq!(decode(&scene.path("one-out.mkv")).data.len(), 8);
    scene.redact("one.mkv", "one.mp4", &["--encoder-preset", "ultrafast"]).done();
    scene.redact("wide.mkv", "wide-out.mkv", &["--lossless"]).done();
    assert_eq!(decode(&scene.path("wide-out.mkv")).width, 16384);
    let truth = &small_truth()[..8];
    scene
        .redact("odd.mkv", "odd.mp4", &["--encoder-preset", "ultrafast"])
        .done()
        .warned(&["639x359", "640x360"]);
    decode(&scene.path("odd.mp4")).hides(truth, "padded");
    scene.redact("odd.mkv", "odd-out.mkv", &["--lossless"]).done();
    let odd = decode(&scene.path("odd-out.mkv"));
    assert_eq!((odd.width, odd.height), (639, 359));
    odd.hides(truth, "odd");
}

#[test]
fn the_original_is_never_the_output() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    scene.still("a.png");
    symlink("a.mp4", scene.path("link.mp4")).unwrap();
    symlink(".", scene.path("here")).unwrap();
    for (input, output) in [
        ("a.mp4", "a.mp4"),
        ("a.mp4", "./a.mp4"),
        ("a.mp4", "link.mp4"),
        ("link.mp4", "a.mp4"),
        ("a.mp4", "here/a.mp4"),
        ("a.png", "a.png"),
        ("a.png", "."),
        ("a.mp4", "."),
    ] {
        for flags in [&[][..], &["--overwrite"]] {
            scene.refuses(1, input, output, flags, &["is the input itself", "-o"]);
        }
    }
    // A second name of the same file: that name gets the result, the original keeps its bytes.
    fs::hard_link(scene.path("a.png"), scene.path("twin.png")).unwrap();
    let hash = sha256(&scene.path("a.png"));
    scene.redact("a.png", "twin.png", &["--overwrite"]);
    assert_eq!(sha256(&scene.path("a.png")), hash);
}

#[test]
fn an_output_that_exists_is_kept() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    let faces = scene.still("a.png");
    scene.write("there.mp4", "there");
    scene.write("there.png", "there");
    symlink("nowhere", scene.path("dangling.png")).unwrap();
    scene.refuses(1, "a.mp4", "there.mp4", &[], &["there.mp4", "exists already", "--overwrite"]);
    scene.refuses(1, "a.png", "there.png", &[], &["there.png", "exists already", "--overwrite"]);
    scene.refuses(1, "a.png", "dangling.png", &[], &["dangling.png", "exists already", "--overwrite"]);
    scene.refuses(1, "a.png", "x.mp4", &[], &["x.mp4", "picture format", "--format"]);
    scene.refuses(1, "a.png", "x", &[], &["picture format", "--format"]);
    scene.refuses(1, "a.png", "x.jpg", &["--format", "png"], &["x.jpg", "--format"]);
    scene.refuses(1, "a.mp4", "x", &[], &["container", ".mp4"]);
    scene.redact("a.png", "there.png", &["--overwrite"]).done();
    hidden_in(&scene.path("there.png"), &faces);
    scene.redact("a.mp4", "there.mp4", &["--overwrite", "--encoder-preset", "ultrafast"]).done();
    decode(&scene.path("there.mp4")).hides(&small_truth(), "overwritten");
    // A failure does not cost what was there.
    scene.write("broken.mp4", "broken");
    scene.refuses(1, "broken.mp4", "there.mp4", &["--overwrite"], &["broken.mp4"]);
}

/// Runs milkglass with `dir` being a file system of its own, mounted with `options`, and lists what is left there.
/// `None` when the kernel lets nobody mount here.
fn on_a_disk(scene: &Scene, options: &str, prepare: &str, args: &[&str]) -> Option<(Ran, String)> {
    fs::create_dir_all(scene.path("disk")).unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} none disk || exit 99; {prepare}; \"$@\"; code=$?; ls -A disk > left; exit $code"
    );
    for ways in [&["-m"][..], &["-Urm"]] {
        let mut command = Command::new("unshare");
        command.args(ways).args(["sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_milkglass")]).args(args);
        command.current_dir(scene.0.path()).env("MILKGLASS_MODELS", models()).stdin(Stdio::null());
        let Ok(output) = command.output() else { continue };
        if scene.path("left").exists() {
            let left = fs::read_to_string(scene.path("left")).unwrap();
            fs::remove_file(scene.path("left")).unwrap();
            return Some((output.into(), left));
        }
    }
    eprintln!(
        "full and read-only disks were not tried: neither root nor user namespaces may mount a tmpfs here"
    );
    None
}

#[test]
fn a_full_disk() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    scene.still("a.png");
    let fill = "head -c 150000 /dev/zero > disk/other";
    for args in [
        &["redact", "a.png", "-o", "disk/o.png", "--preset", "fast"][..],
        &["redact", "a.mp4", "-o", "disk/o.mp4", "--preset", "fast", "--crf", "5"],
        &["redact", "a.mp4", "-o", "disk/o.mkv", "--preset", "fast", "--lossless"],
        &["redact", "a.mp4", "-o", "disk/o.mp4", "--preset", "fast", "--keep-audio", "--crf", "1"],
    ] {
        let Some((ran, left)) = on_a_disk(&scene, "size=160k", fill, args) else { return };
        ran.failed(1, &["o space left"]);
        assert_eq!(left, "other\n", "{args:?}");
    }
}

#[test]
fn a_read_only_folder() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    scene.still("a.png");
    for (input, output) in [("a.png", "disk/o.png"), ("a.mp4", "disk/o.mp4"), ("a.mp4", "disk/new/o.mp4")] {
        let args = ["redact", input, "-o", output, "--preset", "fast"];
        let Some((ran, left)) = on_a_disk(&scene, "ro", ":", &args) else { break };
        ran.failed(1, &[input, output, "ead-only file system"]);
        assert_eq!(left, "");
    }
    // Nobody can write here, not even root.
    for (input, output) in [("a.png", "/proc/o.png"), ("a.mp4", "/proc/o.mp4"), ("a.mp4", "/proc/new/o.mp4")]
    {
        let ran = scene.refuses(1, input, output, &[], &[input, output, "cannot be written"]);
        assert!(!ran.err.contains(".partial"), "{}", ran.err);
    }
    let report = ["--report", "/proc/r.json"];
    scene.redact("a.png", "o.png", &report).failed(1, &["/proc/r.json", "report"]);
}

#[test]
fn ffmpeg_missing_or_too_old() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    let faces = scene.still("a.png");
    fs::create_dir(scene.path("empty")).unwrap();
    fs::create_dir(scene.path("old")).unwrap();
    for tool in ["ffmpeg", "ffprobe"] {
        let path =
            scene.write(&format!("old/{tool}"), format!("#!/bin/sh\necho '{tool} version 4.4.2-0ubuntu0'\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (folder, words) in [
        ("empty", &["a.mp4", "ffmpeg was not found", "apt-get install ffmpeg", "MILKGLASS_FFMPEG"][..]),
        ("old", &["a.mp4", "4.4.2", "5.1 or newer"]),
    ] {
        let before = scene.snapshot();
        let tools = scene.path(folder);
        let with = |args: &[&str]| run(scene.command().env("MILKGLASS_FFMPEG", &tools).args(args));
        with(&["redact", "a.mp4", "-o", "o.mp4"]).failed(1, words);
        with(&["detect", "a.mp4"]).failed(1, words);
        let doctor = with(&["doctor"]).ended(1);
        assert!(doctor.text().lines().any(|l| l.starts_with("MISSING ffmpeg")), "{}", doctor.text());
        assert!(scene.snapshot() == before);
    }
    // Stills need none.
    let tools = scene.path("empty");
    run(scene.command().env("MILKGLASS_FFMPEG", tools).args(["redact", "a.png", "-o", "o.png"])).done();
    hidden_in(&scene.path("o.png"), &faces);
}

#[test]
fn ffmpeg_killed_midway() {
    for (word, name) in [("noautorotate", "decoder"), ("libx264", "encoder")] {
        let scene = Scene::new();
        let mut command = scene.command();
        command.arg("redact").arg(example()).args(["-o", "o.mp4", "--preset", "fast", "--keep-partial"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        let pid = loop {
            if let Some(pid) = child_with(child.id(), word) {
                break pid;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no {name} was started");
            std::thread::sleep(Duration::from_millis(5));
        };
        std::thread::sleep(Duration::from_millis(300));
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        ran.failed(1, &["people.mp4", name, "signal 9"]);
        holds(scene.0.path(), &[]);
    }
}

/// A copy of the models that may be spoilt.
fn own_models(scene: &Scene) -> PathBuf {
    let dir = scene.path("models");
    fs::create_dir(&dir).unwrap();
    for entry in fs::read_dir(models()).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
        }
    }
    dir
}

/// The model's file is the right one, with every hash that a report names: what its manifest shows it is black, or too dark.
#[test]
fn a_manifest_that_blinds_lets_no_picture_out() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    scene.still("a.png");
    let manifest = fs::read_to_string(own_models(&scene).join("yunet.toml")).unwrap();
    for line in ["scale = [0, 0, 0]", "scale = [0.08, 0.08, 0.08]"] {
        let blinding = manifest.replace("scale = [1.0, 1.0, 1.0]", line);
        assert!(blinding.contains(line));
        scene.write("models/yunet.toml", blinding);
        let words = ["the model yunet was not admitted", "known face", "doctor"];
        for (input, output) in [("a.png", "o.png"), ("a.mp4", "o.mp4")] {
            scene.refuses(1, input, output, &["--models", "models"], &words);
        }
        // Another network that sees does not stand for it.
        let careful = ["redact", "a.png", "-o", "o.png", "--models", "models", "--preset", "careful"];
        scene.run(&careful).failed(1, &words);
        assert!(!scene.path("o.png").exists());
        let doctor = scene.run(&["doctor", "--models", "models"]).ended(1);
        assert!(doctor.text().contains("MISSING model"), "{}", doctor.text());
    }
}

#[test]
fn models_missing_or_altered() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    scene.still("a.png");
    let dir = own_models(&scene);
    let flags = ["--models", "models"];
    let mut bytes = fs::read(dir.join("yunet.onnx")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    scene.write("models/yunet.onnx", &bytes);
    for (input, output) in [("a.png", "o.png"), ("a.mp4", "o.mp4")] {
        scene.refuses(1, input, output, &flags, &["yunet.onnx", "altered", "SHA-256", "restore it"]);
    }
    fs::remove_file(dir.join("yunet.onnx")).unwrap();
    scene.refuses(1, "a.png", "o.png", &flags, &["yunet.onnx", "cannot read", "models/reproduce.sh"]);
    scene.write("models/yunet.toml", "name = \"yunet\"\nnonsense = 3\n");
    scene.refuses(1, "a.png", "o.png", &flags, &["yunet.toml", "nonsense"]);
    fs::remove_file(dir.join("yunet.toml")).unwrap();
    scene.refuses(1, "a.png", "o.png", &flags, &["yunet.toml", "manifest", "doctor"]);
    scene.refuses(1, "a.png", "o.png", &["--models", "nowhere"], &["nowhere/yunet.toml"]);
    let doctor = scene.run(&["doctor", "--models", "models"]).ended(1);
    assert!(
        doctor.text().lines().any(|l| l.starts_with("MISSING model") && l.contains("yunet")),
        "{}",
        doctor.text()
    );
}

#[test]
fn a_class_that_no_model_offers() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    scene.still("a.png");
    let dir = own_models(&scene);
    let manifest = fs::read_to_string(dir.join("yolox-nano.toml")).unwrap();
    scene.write("models/yolox-nano.toml", manifest.replace("classes = [\"person\"]", "classes = [\"face\"]"));
    scene.write("policy.toml", "persons = \"fill\"\n");
    for (input, output) in [("a.png", "o.png"), ("a.mp4", "o.mp4")] {
        for flags in
            [["--models", "models", "--persons", "fill"], ["--models", "models", "--policy", "policy.toml"]]
        {
            scene.refuses(1, input, output, &flags, &["person", "model"]);
        }
    }
    scene.write("other.toml", "cats = \"fill\"\n");
    scene.refuses(
        1,
        "a.png",
        "o.png",
        &["--policy", "other.toml"],
        &["other.toml:1:1", "unknown key", "cats"],
    );
}

#[test]
fn a_wrong_onnx_runtime() {
    let scene = Scene::new();
    let faces = scene.still("a.png");
    let junk = scene.write("junk.so", "this is no library");
    let libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6"].map(PathBuf::from);
    let other = libc.into_iter().find(|path| path.exists());
    for library in [Some(junk), Some(scene.path("none.so")), other].into_iter().flatten() {
        let before = scene.snapshot();
        let with = |backend: &str| {
            let args = ["redact", "a.png", "-o", "o.png", "--preset", "fast", "--backend", backend];
            run(scene.command().env("ORT_DYLIB_PATH", &library).args(args))
        };
        let name = library.file_name().unwrap().to_str().unwrap();
        with("ort").failed(1, &[name]);
        assert!(scene.snapshot() == before);
        let ran = with("auto").done().warned(&["rten", name]);
        assert_eq!(ran.err.lines().count(), 1, "said once: {}", ran.err);
        hidden_in(&scene.path("o.png"), &faces);
        fs::remove_file(scene.path("o.png")).unwrap();
    }
}

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&varint(u64::from(number) << 3 | 2)[..], &varint(bytes.len() as u64), bytes].concat()
}

fn number(field: u8, value: u64) -> Vec<u8> {
    [varint(u64::from(field) << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A network that answers the same whatever it is shown: a tensor of this shape, full of this value.
fn onnx(shape: &[u64], value: f32) -> Vec<u8> {
    let count = shape.iter().product::<u64>() as usize;
    let dims = |list: &[u64]| list.iter().flat_map(|d| number(1, *d)).collect::<Vec<u8>>();
    let raw: Vec<u8> = std::iter::repeat_n(value.to_le_bytes(), count).flatten().collect();
    let tensor = [dims(shape), number(2, 1), field(9, &raw)].concat();
    let attribute = [field(1, b"value"), field(5, &tensor), number(20, 4)].concat();
    let node = [field(2, b"answer"), field(4, b"Constant"), field(5, &attribute)].concat();
    let value_info = |name: &[u8], dimensions: &[Vec<u8>]| {
        let dimensions: Vec<u8> = dimensions.iter().flat_map(|d| field(1, d)).collect();
        let tensor = [number(1, 1), field(2, &dimensions)].concat();
        [field(1, name), field(2, &field(1, &tensor))].concat()
    };
    let input = value_info(b"images", &[number(1, 1), number(1, 3), field(2, b"h"), field(2, b"w")]);
    let fixed: Vec<Vec<u8>> = shape.iter().map(|d| number(1, *d)).collect();
    let output = value_info(b"answer", &fixed);
    let graph = [field(1, &node), field(2, b"g"), field(11, &input), field(12, &output)].concat();
    [number(1, 8), field(7, &graph), field(8, &[field(1, b""), number(2, 13)].concat())].concat()
}

/// A person detector whose network is `bytes`.
fn person_model(scene: &Scene, bytes: &[u8]) {
    let model = scene.write("models/yolox-nano.onnx", bytes);
    let manifest = fs::read_to_string(models().join("yolox-nano.toml")).unwrap();
    let known = manifest.lines().find(|l| l.starts_with("sha256")).unwrap();
    let own = format!("sha256 = \"{}\"", sha256(&model));
    scene.write("models/yolox-nano.toml", manifest.replacen(known, &own, 1));
}

/// Whatever a network answers, it must find the known persons first: one that answers nonsense, or nobody, never gets to see a
/// picture of ours. What becomes of nonsense later on, in the middle of a clip, is tested in the engine.
#[test]
fn a_network_that_answers_nonsense_is_shown_no_picture() {
    let scene = Scene::new();
    own_models(&scene);
    scene.clip("a.mp4");
    scene.still("a.png");
    let flags = ["--models", "models", "--faces", "off", "--persons", "fill"];
    let refused = "the model yolox-nano was not admitted, so nothing was looked at";
    // As many anchors as the pictures have that it is shown: 52 * 52 + 26 * 26 + 13 * 13.
    for backend in ["auto", "rten"] {
        let flags = [&flags[..], &["--backend", backend]].concat();
        for (shape, value, why) in [
            (&[1, 3549, 85][..], f32::NAN, "not a number"),
            (&[1, 3549, 85], f32::INFINITY, "out of range"),
            (&[1, 3549, 85], 0.0, "known person"),
            (&[1, 0, 85], 0.0, "shape"),
            (&[1, 7, 85], 0.0, "shape"),
            (&[1, 3549, 4], 0.0, "too few"),
            (&[3549, 85], 0.0, ""),
        ] {
            person_model(&scene, &onnx(shape, value));
            scene.refuses(1, "a.png", "o.png", &flags, &[refused, why]);
        }
        scene.refuses(1, "a.mp4", "o.mkv", &flags, &[refused]);
    }
    scene.run(&[&["detect", "a.png"], &flags[..]].concat()).failed(1, &[refused]);
    person_model(&scene, b"this is no network");
    let before = scene.snapshot();
    scene.redact("a.png", "o.png", &flags).failed(1, &["yolox-nano.onnx", "cannot be loaded"]);
    assert!(scene.snapshot() == before);
}

#[test]
fn zones_that_are_no_areas() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    for (zone, words) in [
        ("a:0,0;1,1", &["--zone", "\"a\"", "at least 3", "2"][..]),
        ("a:0,0;1,1;1,0;0,1", &["--zone", "\"a\"", "cross"]),
        ("a:0,0;2,1;1,0", &["--zone", "\"a\"", "(2, 1)", "0 to 1"]),
        ("a:0,0;1,1;0.5,nan", &["--zone", "\"a\"", "0 to 1"]),
        ("a:0,0;0.5,0.5;1,1", &["--zone", "\"a\""]),
        ("a:0,0;1,0;1", &["--zone"]),
        ("a:", &["--zone"]),
        ("", &["--zone", "NAME:x,y"]),
        ("a:0,0;1,0;1,1:off", &["--zone", "off"]),
        ("a:0,0;1,0;1,1:blurr", &["--zone", "blur"]),
    ] {
        scene.refuses(1, "a.mp4", "o.mp4", &["--zone", zone], words);
    }
    for (area, words) in [
        ("[[0.1, 0.1], [0.2, 0.2]]", &["p.toml:3", "at least 3"][..]),
        ("[[0, 0], [1, 1], [1, 0], [0, 1]]", &["p.toml:3", "cross"]),
        ("[[0, 0], [-0.1, 1], [1, 0]]", &["p.toml:3", "0 to 1"]),
    ] {
        scene.write("p.toml", format!("[[zone]]\nname = \"z\"\narea = {area}\n"));
        scene.refuses(1, "a.mp4", "o.mp4", &["--policy", "p.toml"], words);
        scene.run(&["policy", "check", "p.toml"]).failed(1, words);
    }
}

#[test]
fn settings_and_policy_files_that_cannot_be_followed() {
    let scene = Scene::new();
    scene.clip("a.mp4");
    for (text, words) in [
        ("prest = \"fast\"\n", &["p.toml:1:1", "prest", "did you mean \"preset\"?"][..]),
        (
            "\n[[zone]]\nname = \"a\"\naera = [[0,0],[1,0],[1,1]]\n",
            &["p.toml:4:1", "aera", "did you mean \"area\"?"],
        ),
        ("faces = \"blurr\"\n", &["p.toml:1", "blurr", "did you mean \"blur\"?"]),
        ("faces = \"off\"\n", &["hides nothing"]),
        ("cells = 9\n", &["p.toml:1", "cells = 9", "6"]),
        ("min_score = 0.9\n", &["p.toml:1", "0.6"]),
        ("grow = 1\n", &["p.toml:1", "1.1"]),
        ("hold = -1\n", &["p.toml:1", "hold"]),
        ("faces = \n", &["p.toml:1"]),
        ("faces = \"fill\"\nfaces = \"blur\"\n", &["p.toml:2"]),
    ] {
        scene.write("p.toml", text);
        scene.refuses(1, "a.mp4", "o.mp4", &["--policy", "p.toml"], words);
        scene.run(&["policy", "check", "p.toml"]).failed(1, words);
    }
    scene.write("p.toml", [b'f', 0xff, 0xfe]);
    scene.refuses(1, "a.mp4", "o.mp4", &["--policy", "p.toml"], &["p.toml"]);
    scene.refuses(1, "a.mp4", "o.mp4", &["--policy", "none.toml"], &["none.toml", "cannot be read"]);
    scene.refuses(1, "a.mp4", "o.mp4", &["--policy", "."], &["cannot be read"]);
    for (flags, words) in [
        (&["--faces", "off"][..], &["hides nothing"][..]),
        (&["--faces", "fil"], &["--faces", "did you mean \"fill\"?"]),
        (&["--persons", "box"], &["--persons", "\"fill\""]),
        (&["--reversible=false", "--faces", "blur"], &["faces = \"blur\"", "reversible = false", "use fill"]),
        (&["--reversible=false", "--persons", "pixelate"], &["persons = \"pixelate\"", "reversible = false"]),
        (&["--reversible=false", "--zone", "z:0,0;1,0;1,1:blur"], &["zone \"z\"", "reversible = false"]),
        (&["--shape", "round"], &["--shape", "\"box\" or \"padded\""]),
        (&["--cells", "1"], &["--cells", "2 to 6"]),
        (&["--cells", "700"], &["--cells", "2 to 6"]),
        (&["--min-score", "0.61"], &["--min-score", "0.6"]),
        (&["--min-score", "NaN"], &["--min-score"]),
        (&["--grow", "1.05"], &["--grow", "1.1"]),
        (&["--hold", "soon"], &["--hold", "soon"]),
        (&["--detect-every", "0"], &["--detect-every", "1"]),
        (&["--threads", "0"], &["--threads"]),
        (&["--color", "red"], &["--color", "#rrggbb"]),
        (&["--backend", "cuda"], &["--backend", "rten"]),
        (&["--format", "gif"], &["--format gif", "png"]),
        (&["--encoder-preset", "nonsense"], &["nonsense", "o.mp4"]),
    ] {
        let ran = scene.refuses(1, "a.mp4", "o.mp4", flags, words);
        assert!(!ran.err.contains(".partial"), "{}", ran.err);
    }
    // What clap itself refuses has its usual form, but our exit code: 2 means something else here.
    for flags in
        [&["--bogus"][..], &["--crf", "999"], &["--detect-every", "x"], &["--lossless", "--crf", "3"]]
    {
        let before = scene.snapshot();
        let ran = scene.redact("a.mp4", "o.mp4", flags).ended(1);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(flags[0]), "{}", ran.err);
        assert!(scene.snapshot() == before);
    }
    scene.run(&["redact"]).ended(1);
    assert!(scene.run(&["--help"]).ended(0).text().contains("Exit codes"));
}

#[test]
fn awkward_file_names() {
    let scene = Scene::new();
    let truth = &small_truth()[..4];
    let short = shared("short.mp4");
    ffmpeg(words("-i {} -an -frames:v 4 -c:v libx264 -preset ultrafast -crf 12 {}", &[&small(), &short]));
    let quick = ["--preset", "fast", "--encoder-preset", "ultrafast"].map(OsString::from);
    let names: [&[u8]; 8] = [
        b"with blanks in it.mp4",
        b"it's \"quoted\".mp4",
        b"$(touch x);&|*?.mp4",
        b"%03d.mp4",
        b"http:evil.mp4",
        b"na\xefve \xff.mp4",
        "Ünïcödé 日本.mp4".as_bytes(),
        b"line\nbreak.mp4",
    ];
    for name in names {
        let name = OsStr::from_bytes(name);
        fs::copy(&short, scene.path(name)).unwrap();
        let (output, report) = (Path::new("out").join(name), scene.path("r.json"));
        let mut command = scene.command();
        command.arg("redact").arg(name).arg("-o").arg(&output).args(&quick).arg("--report").arg(&report);
        run(&mut command).done();
        decode(&scene.path(&output)).hides(truth, &name.to_string_lossy());
        let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
        assert_eq!(report["files"][0]["input_sha256"], sha256(&short), "{}", name.display());
        assert_eq!(report["files"][0]["output_sha256"], sha256(&scene.path(&output)));
        // Named in an error, it stays one line.
        let mut command = scene.command();
        run(command.arg("redact").arg(name).arg("-o").arg(&output)).failed(1, &["exists already"]);
    }
    fs::copy(&short, scene.path("-x.mp4")).unwrap();
    fs::copy(scene.path("-x.mp4"), scene.path("-")).unwrap();
    let redact = |args: &[&str]| {
        let args: Vec<OsString> = args.iter().map(OsString::from).chain(quick.clone()).collect();
        scene.run(&[vec!["redact".into()], args].concat())
    };
    redact(&["./-x.mp4", "-o", "a.mp4"]).done();
    redact(&["./-x.mp4", "--output=-y.mp4"]).done();
    redact(&["./-", "-o", "b.mp4"]).done();
    let args = ["redact", "-o", "c.mp4", "--preset", "fast", "--", "-x.mp4"];
    scene.run(&args).done();
    for name in ["a.mp4", "-y.mp4", "b.mp4", "c.mp4"] {
        decode(&scene.path(name)).hides(truth, name);
    }
    redact(&["-x.mp4", "-o", "d.mp4"]).ended(1);
    assert!(!scene.path("x").exists() && !scene.path("d.mp4").exists());
}

#[test]
fn awkward_names_of_pictures() {
    let scene = Scene::new();
    let faces = scene.still("a.png");
    for name in [&b"it's \"a\" b.png"[..], b"na\xefve.png", b"-a.png", b"UPPER.PNG"] {
        let name = OsStr::from_bytes(name);
        fs::rename(scene.path("a.png"), scene.path(name)).unwrap();
        let mut command = scene.command();
        run(command.args(["redact", "-o", "out/", "--preset", "fast", "--"]).arg(name)).done();
        hidden_in(&scene.path("out").join(name), &faces);
        fs::rename(scene.path(name), scene.path("a.png")).unwrap();
    }
}

#[test]
fn pictures_that_move_or_have_pages() {
    let scene = Scene::new();
    let moving = "-f lavfi -i testsrc2=size=64x48:rate=5:duration=0.6 ";
    ffmpeg(words(&format!("{moving} -f apng {{}}"), &[&scene.path("moves.png")]));
    ffmpeg(words(&format!("{moving} -c:v libwebp_anim {{}}"), &[&scene.path("moves.webp")]));
    let pages = fs::File::create(scene.path("pages.tiff")).unwrap();
    let mut pages = tiff::encoder::TiffEncoder::new(pages).unwrap();
    for shade in [40, 200] {
        pages.write_image::<tiff::encoder::colortype::Gray8>(8, 8, &[shade; 64]).unwrap();
    }
    scene.refuses(1, "moves.png", "o.png", &[], &["moves.png", "animated PNG", "clip"]);
    scene.refuses(1, "moves.webp", "o.png", &[], &["moves.webp", "animated WebP", "clip"]);
    scene.refuses(1, "pages.tiff", "o.png", &[], &["pages.tiff", "several pages", "split"]);
    // Whatever the name says.
    fs::rename(scene.path("moves.png"), scene.path("moves.jpg")).unwrap();
    scene.refuses(1, "moves.jpg", "o.jpg", &[], &["moves.jpg", "animated PNG"]);
}

/// A JPEG with an EXIF segment that holds an orientation and a telling text.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let text = b"SecretCamera\0";
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0".to_vec();
    exif.extend([0x10, 0x01, 2, 0, text.len() as u8, 0, 0, 0, 38, 0, 0, 0]);
    exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    exif.extend([0, 0, 0, 0]);
    exif.extend(text);
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn exif_orientation_is_applied_and_the_rest_dropped() {
    let scene = Scene::new();
    let faces = scene.still("upright.png");
    let upright = image::open(scene.path("upright.png")).unwrap().into_rgb8();
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    // What is stored so that the orientation brings it upright.
    let stored: [RgbImage; 8] = [
        upright.clone(),
        flip_horizontal(&upright),
        rotate180(&upright),
        flip_vertical(&upright),
        flip_horizontal(&rotate90(&upright)),
        rotate270(&upright),
        flip_horizontal(&rotate270(&upright)),
        rotate90(&upright),
    ];
    for (orientation, stored) in (1..).zip(stored) {
        let mut jpeg = std::io::Cursor::new(Vec::new());
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95);
        stored.write_with_encoder(encoder).unwrap();
        let name = format!("{orientation}.jpg");
        scene.write(&name, with_exif(jpeg.get_ref(), orientation));
        let output = format!("o-{name}");
        scene.redact(&name, &output, &[]).done();
        assert_eq!(image::image_dimensions(scene.path(&output)).unwrap(), upright.dimensions(), "{name}");
        hidden_in(&scene.path(&output), &faces);
        let bytes = fs::read(scene.path(&output)).unwrap();
        for trace in [&b"Secret"[..], b"Exif"] {
            assert!(!bytes.windows(trace.len()).any(|w| w == trace), "{name}");
        }
    }
}

#[test]
fn every_format_goes_through_and_comes_out_opaque() {
    let scene = Scene::new();
    let faces = scene.still("a.png");
    let plain = image::open(scene.path("a.png")).unwrap();
    let mut clear = plain.to_rgba8();
    clear.pixels_mut().for_each(|p| p.0[3] = 200);
    clear.save(scene.path("alpha.png")).unwrap();
    clear.save(scene.path("alpha.webp")).unwrap();
    plain.to_rgba16().save(scene.path("deep.png")).unwrap();
    plain.to_luma8().save(scene.path("gray.png")).unwrap();
    for name in ["b.bmp", "b.tiff", "b.jpg", "b.webp"] {
        plain.to_rgb8().save(scene.path(name)).unwrap();
    }
    for name in ["alpha.png", "alpha.webp", "deep.png", "gray.png", "b.bmp", "b.tiff", "b.jpg", "b.webp"] {
        let output = format!("o-{name}");
        scene.redact(name, &output, &[]).done();
        let picture = image::open(scene.path(&output)).unwrap();
        assert_eq!(picture.color(), image::ColorType::Rgb8, "{name}");
        hidden_in(&scene.path(&output), &faces);
    }
}
