//! Every example runs, and shows what it says.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Write;
use std::process::{Command, Stdio};

/// The examples are built beside the tests.
fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples").join(name);
    assert!(path.is_file(), "{} is not built; run `cargo test` for the whole package", path.display());
    Command::new(path)
}

/// Five grey frames of 64 x 48 at 50 frames/s.
fn y4m() -> Vec<u8> {
    let mut stream = b"YUV4MPEG2 W64 H48 F50:1 Ip A1:1 C420\n".to_vec();
    for _ in 0..5 {
        stream.extend_from_slice(b"FRAME\n");
        stream.extend(std::iter::repeat_n(200u8, 64 * 48));
        stream.extend(std::iter::repeat_n(128u8, 2 * 32 * 24));
    }
    stream
}

fn feed(name: &str) -> Vec<u8> {
    let mut child = example(name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&y4m()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name} failed");
    output.stdout
}

fn luma(stream: &[u8], frame: usize) -> &[u8] {
    let header = stream.iter().position(|b| *b == b'\n').unwrap() + 1;
    let size = 64 * 48 * 3 / 2 + 6;
    &stream[header + frame * size + 6..][..64 * 48]
}

#[test]
fn step_by_step_hides_the_square_in_every_frame() {
    let output = example("step_by_step").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("Covered, 0 bright pixels are left").count(), 8, "{text}");
}

#[test]
fn zones_only_hides_the_zone_and_nothing_else() {
    let stream = feed("zones_only");
    assert!(stream.starts_with(b"YUV4MPEG2 W64 H48 F50:1"));
    let first = luma(&stream, 0);
    assert_eq!((first[63], first[0]), (16, 200));
    assert_eq!(stream.windows(6).filter(|w| w == b"FRAME\n").count(), 5);
}

#[test]
fn custom_detector_hides_what_it_finds() {
    let stream = feed("custom_detector");
    // A bright picture is "found" everywhere a whole cell fits: quantised, so not 200 any more.
    let first = luma(&stream, 0);
    assert_ne!(first[10 * 64 + 10], 200);
}

#[test]
fn custom_sink_sees_half_a_picture() {
    let text = String::from_utf8(feed("custom_sink")).unwrap();
    assert!(text.lines().all(|l| l.ends_with("Covered, mean brightness 108")), "{text}");
    assert!(!text.is_empty());
}

/// Where there is no camera. Where there is one, tests/v4l2 runs the same parts.
#[cfg(all(feature = "v4l2", feature = "rten"))]
#[test]
fn quickstart_tells_that_there_is_no_camera() {
    let output = example("quickstart").arg("/dev/no-camera").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(said.contains("/dev/no-camera"), "{said}");
}
