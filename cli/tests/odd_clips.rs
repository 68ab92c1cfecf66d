//! Clips that tell somewhere else than usual which way up they are, or how their pixels are shaped.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::*;

const H264: &str = "-c:v libx264 -preset ultrafast -crf 10 -bf 0 -pix_fmt yuv420p";

#[track_caller]
fn redact(dir: &Path, from: &str, to: &str) -> Ran {
    milkglass_in(
        dir,
        &["redact", from, "-o", to, "--overwrite", "--preset", "fast", "--encoder-preset", "ultrafast"],
    )
}

/// The small clip through filters and an encoder.
fn made(dir: &Path, name: &str, filter: &str, how: &str) {
    let mut args = words("-i {} -an -vf", &[&small()]);
    args.push(filter.into());
    args.extend(words(how, &[]));
    args.push(dir.join(name).into());
    ffmpeg(args);
}

/// EXIF's marker and a block that says nothing but how to turn a picture.
fn exif(orientation: u8) -> Vec<u8> {
    let block =
        [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", &[orientation, 0, 0, 0][..], &[0; 4]].concat();
    [&[0xff, 0xe1, 0, block.len() as u8 + 8][..], b"Exif\0\0", &block].concat()
}

/// The small clip as JPEGs in a container, each with an EXIF orientation, or with none for 0.
fn motion_jpeg(dir: &Path, name: &str, filter: &str, orientation: impl Fn(usize) -> u8) {
    made(dir, "%03d.jpg", filter, "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p");
    for n in 0..FRAMES {
        let path = dir.join(format!("{:03}.jpg", n + 1));
        let mut jpeg = fs::read(&path).unwrap();
        let way = orientation(n);
        if way > 0 {
            jpeg.splice(2..2, exif(way));
        }
        fs::write(path, jpeg).unwrap();
    }
    ffmpeg(words("-f image2 -framerate 25 -i {} -c copy {}", &[&dir.join("%03d.jpg"), &dir.join(name)]));
}

#[track_caller]
fn hidden(dir: &Path, name: &str) {
    redact(dir, name, "out.mkv").ended(0);
    let out = decode(&dir.join("out.mkv"));
    assert_eq!((out.width, out.height), (640, 360), "{name}");
    out.hides(&small_truth(), name);
}

/// Neither container knows of it: H.264 in a message beside its pictures, Motion JPEG in each of them.
#[test]
fn pictures_that_ask_to_be_turned_themselves_are_turned() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (filter, degrees, name) in [
        ("transpose=clock", 90, "turned.mp4"),
        ("hflip,vflip", 180, "turned.mkv"),
        ("transpose=cclock", 270, "turned.ts"),
    ] {
        made(dir, "stored.h264", filter, &format!("{H264} -f h264"));
        let turn = format!("h264_metadata=display_orientation=insert:rotate={degrees}");
        let paths = [&dir.join("stored.h264"), &dir.join(name)];
        ffmpeg(words(&format!("-framerate 25 -i {{}} -c copy -bsf:v {turn} {{}}"), &[paths[0], paths[1]]));
        hidden(dir, name);
    }
    for (filter, orientation, name) in [
        ("transpose=cclock", 6, "exif.mkv"),
        ("hflip,vflip", 3, "exif.avi"),
        ("transpose=clock", 8, "exif.avi"),
        ("hflip", 2, "exif.mkv"),
    ] {
        motion_jpeg(dir, name, filter, |_| orientation);
        hidden(dir, name);
    }
}

/// What cannot be turned in one way for all of a clip is refused, however late it shows.
#[test]
fn a_turn_that_changes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    type Way = fn(usize) -> u8;
    let ways: [(&str, Way); 4] = [
        ("second.mkv", |n| if n < 1 { 6 } else { 3 }),
        ("late.mkv", |n| if n < 18 { 1 } else { 6 }),
        ("untold.mkv", |n| if n < 18 { 6 } else { 0 }),
        ("told.avi", |n| if n < 20 { 0 } else { 8 }),
    ];
    for (name, way) in ways {
        motion_jpeg(dir, name, "null", way);
        for output in ["out.mkv", "-"] {
            let ran = redact(dir, name, output).failed(1, &[name, "turned", "players disagree"]);
            // What left before it showed was looked at as it stood.
            assert!(ran.out.len() <= 20 * 640 * 360 * 3 / 2 + 4096, "{name}: {} bytes", ran.out.len());
        }
        assert!(!dir.join("out.mkv").exists(), "{name}");
        milkglass_in(dir, &["detect", name, "--preset", "fast"]).failed(1, &[name, "turned"]);
    }
    // The same word again and again is one word, and silence where the next is said is none.
    motion_jpeg(dir, "all.mkv", "null", |_| 1);
    hidden(dir, "all.mkv");
    for (turn, name) in [(90, "h264.mp4"), (90, "h264.ts")] {
        made(dir, "first.h264", "null", &format!("{H264} -g 8 -f h264"));
        let paths = [dir.join("first.h264"), dir.join("second.h264"), dir.join("both.h264"), dir.join(name)];
        let bsf = format!(
            "-i {{}} -c copy -bsf:v h264_metadata=display_orientation=insert:rotate={turn} -f h264 {{}}"
        );
        ffmpeg(words(&bsf, &[&paths[0], &paths[1]]));
        fs::write(&paths[2], [fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap()].concat()).unwrap();
        ffmpeg(words("-framerate 25 -i {} -c copy {}", &[&paths[2], &paths[3]]));
        // For 24 frames nobody says anything; then somebody does.
        redact(dir, name, "redacted.mkv").failed(1, &[name, "turned", "cut the clip"]);
        assert!(!dir.join("redacted.mkv").exists(), "{name}");
    }
}

/// The container says square, the pictures themselves say otherwise, and players believe one or the other.
#[test]
fn a_shape_that_the_container_hides_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    made(dir, "low.h264", "scale=640:90,setsar=1/4", &format!("{H264} -f h264"));
    for name in ["hides.mkv", "hides.mp4"] {
        let paths = [&dir.join("low.h264"), &dir.join(name)];
        ffmpeg(words("-framerate 25 -i {} -c copy -aspect 640:90 {}", &[paths[0], paths[1]]));
        assert_eq!(video(&probe(&dir.join(name)))["sample_aspect_ratio"], "1:1", "{name}");
        redact(dir, name, "out.mkv").ended(0);
        let squeezed = |[x, y, w, h]: Rect| [x, y / 4.0, w, h / 4.0];
        let faces: Vec<Vec<Rect>> =
            small_truth().into_iter().map(|faces| faces.into_iter().map(squeezed).collect()).collect();
        decode(&dir.join("out.mkv")).hides(&faces, name);
    }
}

/// Where the end alone tells whether something changed midway, frames must not have left by then.
#[test]
fn clips_of_odd_size_are_not_handed_on_frame_by_frame() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (size, name) in [("641:360", "wide.mkv"), ("640:361", "tall.mkv"), ("321:181", "both.avi")] {
        made(dir, name, &format!("scale={size}"), "-c:v ffv1 -pix_fmt yuv420p");
        let ran = redact(dir, name, "-").failed(1, &["odd width or height", "name a file"]);
        assert!(ran.out.is_empty(), "{name}");
        redact(dir, name, "out.mkv").ended(0);
        assert!(dir.join("out.mkv").exists(), "{name}");
    }
}
