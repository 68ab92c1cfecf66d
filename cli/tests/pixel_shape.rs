//! Pictures whose pixels are not square: a face is found as it is shown, whoever tells the shape, and in spite of a wrong one.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::*;

/// Width to height of a pixel, and the size that 1280x720 square ones then have.
const SHAPES: [(&str, (u32, u32)); 3] = [("4:1", (320, 720)), ("1:4", (1280, 180)), ("64:45", (900, 720))];
/// A frame with two faces, which a network does not find squeezed to a quarter.
const FRAME: usize = 0;

/// The frame squeezed to a size, without a word about its pixels, and its faces there.
fn squeezed(dir: &Path, name: &str, (w, h): (u32, u32)) -> (PathBuf, Vec<Rect>) {
    let whole = dir.join("whole.png");
    let faces = still(FRAME, &whole);
    let (x, y) = (f64::from(w) / 1280.0, f64::from(h) / 720.0);
    let path = dir.join(name);
    let picture = image::open(&whole).unwrap().resize_exact(w, h, image::imageops::FilterType::Triangle);
    picture.into_rgb8().save(&path).unwrap();
    (path, faces.iter().map(|[a, b, c, d]| [a * x, b * y, c * x, d * y]).collect())
}

/// How well the worst hidden face is hidden.
#[track_caller]
fn worst(dir: &Path, input: &str, faces: &[Rect], flags: &[&str]) -> f64 {
    let out = "out.png";
    let args =
        [&["redact", input, "-o", out, "--overwrite", "--preset", "fast", "--format", "png"], flags].concat();
    milkglass_in(dir, &args).done();
    let picture = image::open(dir.join(out)).unwrap().into_rgb8();
    faces.iter().map(|face| black_share(&picture, *face)).fold(1.0, f64::min)
}

#[test]
fn a_still_is_looked_at_as_it_is_shown_and_as_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (shape, size) in SHAPES {
        let (_, faces) = squeezed(dir, "in.png", size);
        let worst = |flags: &[&str]| worst(dir, "in.png", &faces, flags);
        assert!(worst(&["--pixel-aspect", shape]) >= 0.9, "{shape}");
        if shape != "64:45" {
            assert!(
                worst(&["--pixel-aspect", "1:1"]) < 0.9,
                "{shape}: nobody would notice if it did nothing"
            );
        }
    }
    let whole = still(FRAME, &dir.join("whole.png"));
    assert!(worst(dir, "whole.png", &whole, &[]) >= 0.9);
    for wrong in ["0:1", "9:1", "1:9", "2", "x:y"] {
        let args = ["redact", "whole.png", "-o", "o.png", "--pixel-aspect", wrong];
        let ran = milkglass_in(dir, &args).ended(1);
        assert!(ran.err.contains("64:45"), "{}", ran.err);
    }
}

/// A PNG with pHYs.
fn with_physical(png: &[u8], x: u32, y: u32, unit: u8) -> Vec<u8> {
    let mut chunk = b"pHYs".to_vec();
    chunk.extend([x.to_be_bytes(), y.to_be_bytes()].concat());
    chunk.push(unit);
    let mut crc = u32::MAX;
    for byte in &chunk {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 });
    }
    // After the header, which is 8 bytes of signature and 25 of IHDR.
    let length = 9_u32.to_be_bytes();
    [&png[..33], &length[..], &chunk, &(!crc).to_be_bytes(), &png[33..]].concat()
}

/// EXIF with an orientation and a resolution.
fn exif(orientation: u16, x: u32, y: u32) -> Vec<u8> {
    let mut exif = b"MM\0*\0\0\0\x08\0\x03".to_vec();
    exif.extend([&[1, 0x12, 0, 3, 0, 0, 0, 1][..], &orientation.to_be_bytes(), &[0, 0]].concat());
    for (tag, at) in [(0x1a, 50_u8), (0x1b, 58)] {
        exif.extend([1, tag, 0, 5, 0, 0, 0, 1, 0, 0, 0, at]);
    }
    exif.extend([0; 4]);
    exif.extend([x.to_be_bytes(), 1_u32.to_be_bytes(), y.to_be_bytes(), 1_u32.to_be_bytes()].concat());
    exif
}

/// Every kind of file that can tell how its pixels are shaped, and each of them with a word that is wrong.
#[test]
fn files_that_tell_their_densities_are_believed_and_doubted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Two of the densities along a row stand for one along a column: pixels half as wide, or as high.
    for (shape, size, (x, y)) in
        [("2:1", (640, 720), (1, 2)), ("1:2", (1280, 360), (2, 1)), ("1:1", (1280, 720), (4, 1))]
    {
        let (png, faces) = squeezed(dir, "in.png", size);
        let png = fs::read(png).unwrap();
        let picture = image::load_from_memory(&png).unwrap().into_rgb8();
        let (x, y) = (72 * x, 72 * y);
        let mut files: Vec<(&str, Vec<u8>)> = vec![
            ("metre.png", with_physical(&png, x, y, 1)),
            // Whichever of the two it means.
            ("unit-less.png", with_physical(&png, x, y, 0)),
            ("unit-less-too.png", with_physical(&png, y, x, 0)),
        ];
        let mut jpeg = std::io::Cursor::new(Vec::new());
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(&picture).unwrap();
        let jpeg = jpeg.into_inner();
        let at = jpeg.windows(5).position(|w| w == b"JFIF\0").unwrap();
        let density = |unit: u8, x: u32, y: u32| {
            let mut jpeg = jpeg.clone();
            jpeg[at + 7] = unit;
            jpeg[at + 8..at + 12]
                .copy_from_slice(&[x.to_be_bytes(), y.to_be_bytes()].map(|b| [b[2], b[3]]).concat());
            jpeg
        };
        files.push(("inch.jpg", density(1, x, y)));
        files.push(("unit-less.jpg", density(0, x, y)));
        files.push(("unit-less-too.jpg", density(0, y, x)));
        let segment = |exif: Vec<u8>| {
            let content = [&b"Exif\0\0"[..], &exif].concat();
            let length = (content.len() as u16 + 2).to_be_bytes();
            [&[0xff, 0xe1], &length[..], &content].concat()
        };
        files.push(("exif.jpg", [&jpeg[..2], &segment(exif(1, x, y)), &jpeg[2..]].concat()));
        let mut bmp = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bmp, image::ImageFormat::Bmp).unwrap();
        let mut bmp = bmp.into_inner();
        bmp[38..46].copy_from_slice(&[x.to_le_bytes(), y.to_le_bytes()].concat());
        files.push(("metre.bmp", bmp));
        let mut tiff = std::io::Cursor::new(Vec::new());
        let mut encoder = tiff::encoder::TiffEncoder::new(&mut tiff).unwrap();
        let mut image =
            encoder.new_image::<tiff::encoder::colortype::RGB8>(picture.width(), picture.height()).unwrap();
        image.x_resolution(tiff::encoder::Rational { n: x, d: 1 });
        image.y_resolution(tiff::encoder::Rational { n: y, d: 1 });
        image.resolution_unit(tiff::tags::ResolutionUnit::Inch);
        image.write_data(picture.as_raw()).unwrap();
        files.push(("inch.tiff", tiff.into_inner()));
        for (name, bytes) in files {
            fs::write(dir.join(name), bytes).unwrap();
            let share = worst(dir, name, &faces, &[]);
            assert!(share >= 0.9, "{name}, {shape}: only {share:.2} is hidden");
        }
        // Stored lying on its side: what is told is of the stored pixels, and stands for others when it is upright.
        let lying = image::imageops::rotate270(&picture);
        let mut jpeg = std::io::Cursor::new(Vec::new());
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(&lying).unwrap();
        let jpeg = jpeg.into_inner();
        fs::write(dir.join("lying.jpg"), [&jpeg[..2], &segment(exif(6, y, x)), &jpeg[2..]].concat()).unwrap();
        let share = worst(dir, "lying.jpg", &faces, &[]);
        assert!(share >= 0.9, "lying, {shape}: only {share:.2} is hidden");
    }
}

/// The small clip squeezed, its pixels told as `sar` (0 for not at all), and its faces.
fn clip(dir: &Path, name: &str, (w, h): (u32, u32), sar: &str, codec: &str) -> Vec<Vec<Rect>> {
    let mut args = words("-i {} -an -vf", &[&small()]);
    args.push(format!("scale={w}:{h},setsar={sar}").into());
    args.extend(words(codec, &[]));
    args.push(dir.join(name).into());
    ffmpeg(args);
    scaled(f64::from(w) / 640.0, f64::from(h) / 360.0)
}

/// The faces of the small clip in another size.
fn scaled(x: f64, y: f64) -> Vec<Vec<Rect>> {
    let of = |faces: Vec<Rect>| faces.iter().map(|[a, b, c, d]| [a * x, b * y, c * x, d * y]).collect();
    small_truth().into_iter().map(of).collect()
}

const H264: &str = "-c:v libx264 -preset ultrafast -crf 10 -bf 0";
const QUICK: [&str; 4] = ["--preset", "fast", "--encoder-preset", "ultrafast"];

#[track_caller]
fn redact(dir: &Path, from: &str, to: &str, flags: &[&str]) -> Ran {
    milkglass_in(dir, &[&["redact", from, "-o", to, "--overwrite"], &QUICK[..], flags].concat())
}

#[test]
fn clips_are_looked_at_in_the_shape_that_they_tell_and_keep_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (size, sar, name) in
        [((320, 360), "2/1", "wide.mkv"), ((640, 180), "1/2", "tall.mp4"), ((450, 360), "64/45", "pal.ts")]
    {
        let faces = clip(dir, name, size, sar, H264);
        let out = format!("out-{name}");
        redact(dir, name, &out, &[]).done();
        decode(&dir.join(&out)).hides(&faces, name);
        assert_eq!(video(&probe(&dir.join(&out)))["sample_aspect_ratio"], sar.replace('/', ":"), "{name}");
    }
    // Nobody tells, or wrongly; who looks on knows better. The output then tells it too.
    for (sar, name) in [("0", "untold.mkv"), ("1/8", "lie.mkv")] {
        let faces = clip(dir, name, (320, 360), sar, H264);
        redact(dir, name, "out.mkv", &["--pixel-aspect", "2:1"]).done();
        decode(&dir.join("out.mkv")).hides(&faces, name);
        assert_eq!(video(&probe(&dir.join("out.mkv")))["sample_aspect_ratio"], "2:1", "{name}");
    }
    // A lie about square pixels hides nobody from the detector.
    for (sar, warned) in [("2/1", false), ("1/4", false), ("50/1", true)] {
        let faces = clip(dir, "square.mkv", (640, 360), sar, H264);
        let ran = redact(dir, "square.mkv", "out.mkv", &[]).done();
        decode(&dir.join("out.mkv")).hides(&faces, sar);
        assert_eq!(ran.err.contains("50:1"), warned, "{}", ran.err);
    }
    // What a recorder keeps of a picture: nobody says so, and its size alone gives it away.
    let mut args = words("-i {} -an -vf pad=640:480,scale=704:288,setsar=0 -c:v mpeg4 -q:v 2", &[&small()]);
    args.push(dir.join("2cif.avi").into());
    ffmpeg(args);
    let faces = scaled(1.1, 0.6);
    redact(dir, "2cif.avi", "out.mkv", &[]).done();
    decode(&dir.join("out.mkv")).hides(&faces, "2cif");
}

/// Recordings of television change the shape of their pixels between programmes, in the middle of a file.
#[test]
fn a_shape_that_changes_midway_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Bare H.264, which tells size and shape before its first frame, joined and put into a container.
    let codec = "-c:v libx264 -preset ultrafast -crf 10 -bf 0 -f h264";
    let first = clip(dir, "first.h264", (640, 360), "1/1", codec);
    clip(dir, "size.h264", (320, 360), "2/1", codec);
    // The same size: only the shape tells them apart.
    let mut args = words("-i {} -an -vf scale=320:360,pad=640:360,setsar=2/1", &[&small()]);
    args.extend(words(codec, &[]));
    args.push(dir.join("same.h264").into());
    ffmpeg(args);
    for (later, told) in [("same.h264", "shape of the pixels"), ("size.h264", "picture size")] {
        let both = [fs::read(dir.join("first.h264")).unwrap(), fs::read(dir.join(later)).unwrap()].concat();
        fs::write(dir.join("both.h264"), both).unwrap();
        let paths = [dir.join("both.h264"), dir.join("both.ts")];
        ffmpeg(words("-f h264 -framerate 25 -i {} -c copy {}", &[&paths[0], &paths[1]]));
        redact(dir, "both.ts", "out.mkv", &[]).ended(0).warned(&[told, "midway", "scaled to fit"]);
        let out = decode(&dir.join("out.mkv"));
        assert_eq!((out.width, out.height), (640, 360));
        // 1280 wide as it is shown, so half as large in 640; or 640, as before.
        let fitted = |[x, y, w, h]: Rect| match later {
            "same.h264" => [x / 2.0, 90.0 + y / 2.0, w / 2.0, h / 2.0],
            _ => [x, y, w, h],
        };
        let middle = out.data.len() - FRAMES;
        assert!(middle >= FRAMES - 1, "{} frames", out.data.len());
        let after = small_truth().into_iter().map(|faces| faces.into_iter().map(fitted).collect::<Vec<_>>());
        let mut faces: Vec<Vec<Rect>> = first[..middle].to_vec();
        faces.extend(after);
        out.hides(&faces, later);
    }
}

#[test]
fn y4m_tells_the_shape_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let faces = clip(dir, "wide.y4m", (320, 360), "2/1", "-pix_fmt yuv420p");
    let input = fs::read(dir.join("wide.y4m")).unwrap();
    let head = String::from_utf8_lossy(&input[..80]).into_owned();
    assert!(head.contains(" A2:1 "), "{head}");
    let mut child = milkglass();
    child
        .args(["redact", "-", "-o", "-", "--preset", "fast"])
        .stdin(fs::File::open(dir.join("wide.y4m")).unwrap());
    let ran = run(&mut child).done();
    assert!(String::from_utf8_lossy(&ran.out[..80]).contains(" A2:1 "));
    Frames::from_y4m(&ran.out).hides(&faces, "y4m");
    // Live, each frame stands for itself.
    let out = fs::File::create(dir.join("live.y4m")).unwrap();
    let state = dir.join("state");
    let args: Vec<OsString> = words(
        "live --from {} --to - --preset fast --self-test off --deadline 8s --max-gap 4s --state-dir {}",
        &[&dir.join("wide.y4m"), &state],
    );
    let ended = milkglass().args(args).stdout(out).stderr(Stdio::null()).status().unwrap();
    assert!(ended.success());
    let live = fs::read(dir.join("live.y4m")).unwrap();
    assert!(
        String::from_utf8_lossy(&live[..80]).contains(" A2:1 "),
        "{}",
        String::from_utf8_lossy(&live[..80])
    );
}

/// Whoever may only strengthen a locked policy cannot make the detector blind by a wrong shape.
#[test]
fn a_lock_leaves_square_pixels_among_those_that_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let faces = still(FRAME, &dir.join("whole.png"));
    let alone = worst(dir, "whole.png", &faces, &["--pixel-aspect", "8:1"]);
    assert!(alone < 0.9, "{alone}: a wrong shape must matter for this to be a test");
    fs::write(dir.join("p.toml"), "faces = \"fill\"\npreset = \"fast\"\n").unwrap();
    milkglass_in(dir, &["policy", "keygen", "owner.key"]).ended(0);
    milkglass_in(dir, &["policy", "lock", "p.toml", "--key", "owner.key", "-o", "p.lock"]).ended(0);
    let locked = worst(dir, "whole.png", &faces, &["--pixel-aspect", "8:1", "--lock", "p.lock"]);
    assert!(locked >= 0.9, "{locked}");
}
