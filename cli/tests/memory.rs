//! All memory of a run, its children included, stays below the bound; what cannot is refused before it is asked for.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;

/// A run, and the most memory that it and its children held at any one time, in MiB.
fn watched(command: &mut Command) -> (Ran, u64) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let ended = std::thread::spawn(move || child.wait_with_output().unwrap());
    let mut most = 0;
    while !ended.is_finished() {
        most = most.max(held_by(id));
        std::thread::sleep(Duration::from_millis(10));
    }
    (ended.join().unwrap().into(), most)
}

fn held_by(root: u32) -> u64 {
    let mut parents = HashMap::new();
    let mut held = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        parents.insert(id, field("PPid:").unwrap_or(0) as u32);
        held.insert(id, field("RssAnon:").unwrap_or(0) + field("RssShmem:").unwrap_or(0));
    }
    let ours = |mut id: u32| {
        while id != root {
            match parents.get(&id) {
                Some(parent) if *parent > 1 => id = *parent,
                _ => return false,
            }
        }
        true
    };
    held.iter().filter(|(id, _)| ours(**id)).map(|(_, kib)| kib).sum::<u64>() / 1024
}

fn redact(dir: &Path, input: &str, output: &str, memory: &str) -> Command {
    let mut command = milkglass();
    command.current_dir(dir).args(["redact", input, "-o", output, "--max-memory", memory, "--threads", "2"]);
    command
}

/// A few kilobytes that stand for pictures of gigabytes.
#[test]
fn what_does_not_fit_is_refused_before_it_is_decoded() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    ffmpeg(words(
        "-f lavfi -i color=gray:size=4096x4096:rate=10 -frames:v 10 -c:v libx264 {}",
        &[&at("clip.mp4")],
    ));
    ffmpeg(words(
        "-f lavfi -i color=gray:size=10000x10000 -frames:v 1 -pix_fmt gray {}",
        &[&at("still.png")],
    ));
    for (input, output, size) in [("clip.mp4", "o.mp4", "4096x4096"), ("still.png", "o.png", "10000x10000")] {
        assert!(fs::metadata(at(input)).unwrap().len() < 2_000_000);
        let begun = Instant::now();
        let (ran, most) = watched(&mut redact(dir.path(), input, output, "700M"));
        ran.failed(1, &[input, size, "MiB", "--max-memory"]);
        assert!(most < 700, "{input}: {most} MiB");
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(!at(output).exists());
        let ran = run(milkglass().current_dir(dir.path()).args(["detect", input, "--max-memory", "400M"]));
        ran.failed(1, &[input, size, "--max-memory"]);
    }
}

#[test]
fn what_fits_stays_below_the_bound_and_says_when_it_looks_less_far_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    ffmpeg(words("-i {} -an -t 2 -c:v libx264 -preset ultrafast {}", &[&example(), &at("clip.mp4")]));
    ffmpeg(words("-f lavfi -i testsrc2=size=3000x3000 -frames:v 1 {}", &[&at("still.png")]));
    let (ran, most) = watched(&mut redact(dir.path(), "clip.mp4", "o.mp4", "800M"));
    ran.done();
    eprintln!("clip: {most} MiB of 800");
    assert!((100..800).contains(&most), "{most} MiB");
    let (ran, most) = watched(&mut redact(dir.path(), "still.png", "o.png", "1G"));
    ran.done();
    eprintln!("still: {most} MiB of 1024");
    assert!((60..1024).contains(&most), "{most} MiB");
    // Just enough: fewer frames wait, and the encoder holds fewer.
    let least = run(&mut redact(dir.path(), "clip.mp4", "p.mp4", "300M")).failed(1, &["1280x720"]).err;
    let needed: u32 = least.split("need ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let (ran, most) = watched(&mut redact(dir.path(), "clip.mp4", "p.mp4", &format!("{}M", needed + 6)));
    ran.done().warned(&["waiting frames", "--max-memory"]).warned(&["looks less far ahead", "--max-memory"]);
    assert!(most < u64::from(needed) + 6, "{most} MiB of {needed}");
}

/// What is left of a small bound must do for large pictures, too, as long as somebody would redact them.
#[test]
fn large_pictures_ask_for_no_more_than_an_encoder_holds_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let clip = dir.path().join("clip.mp4");
    ffmpeg(words("-f lavfi -i color=gray:size=4096x4096:rate=10 -frames:v 2 -c:v libx264 {}", &[&clip]));
    let least = run(&mut redact(dir.path(), "clip.mp4", "p.mp4", "700M")).failed(1, &["4096x4096"]).err;
    let needed: u32 = least.split("need ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((2000..3600).contains(&needed), "{needed} MiB");
}

/// A profile of colours is packed, and unpacked before anything else is known of a PNG.
#[test]
fn a_profile_that_is_packed_stays_below_the_bound() {
    use image::ImageEncoder as _;
    let dir = tempfile::tempdir().unwrap();
    let mut png = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut png);
    encoder.set_icc_profile(vec![0; 800 << 20]).unwrap();
    encoder.write_image(&[99; 64 * 64 * 3], 64, 64, image::ExtendedColorType::Rgb8).unwrap();
    assert!(png.len() < 20 << 20, "{} bytes", png.len());
    fs::write(dir.path().join("bomb.png"), png).unwrap();
    let (ran, most) = watched(&mut redact(dir.path(), "bomb.png", "o.png", "720M"));
    eprintln!("packed profile: {most} MiB of 720, exit code {}", ran.code);
    assert!(most < 720, "{most} MiB");
}

#[test]
fn a_bound_that_is_none_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(example(), dir.path().join("a.mp4")).unwrap();
    for wrong in ["lots", "10M", "-1G"] {
        let memory = format!("--max-memory={wrong}");
        run(milkglass().current_dir(dir.path()).args(["redact", "a.mp4", "-o", "b.mp4", &memory]))
            .failed(1, &["--max-memory", "256M"]);
    }
}
