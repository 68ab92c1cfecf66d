//! Stills in forms that decoders read wrongly without saying so: read rightly, or refused.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;
use image::{Rgb, RgbImage};

/// A synthetic picture in many forms of JPEG, made with libjpeg's `cjpeg` and Pillow, and as it should look.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stills")
}

/// What `redact` makes of a picture with a zone in the corner and nobody in it.
fn redact(dir: &Path, input: &Path, output: &str) -> Ran {
    let mut command = milkglass();
    command.current_dir(dir).arg("redact").arg(input).args(["-o", output, "--overwrite", "--preset", "fast"]);
    run(&mut command)
}

#[track_caller]
fn same(a: &RgbImage, b: &RgbImage, mean: f64, what: &str) {
    assert_eq!(a.dimensions(), b.dimensions(), "{what}");
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let found = sum as f64 / a.as_raw().len() as f64;
    assert!(found <= mean, "{what}: differs by {found}");
}

#[test]
fn every_form_of_jpeg_is_read_rightly_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let right = image::open(data().join("right.png")).unwrap().into_rgb8();
    let grey = image::DynamicImage::ImageRgb8(right.clone()).into_luma8();
    let grey = RgbImage::from_fn(right.width(), right.height(), |x, y| Rgb([grey.get_pixel(x, y).0[0]; 3]));
    let mut refused = Vec::new();
    let mut read = 0;
    let mut names: Vec<String> = listing(&data()).into_iter().filter(|name| name.ends_with(".jpg")).collect();
    names.sort();
    for name in names {
        let _ = fs::remove_file(dir.path().join("o.png"));
        let ran = redact(dir.path(), &data().join(&name), "o.png");
        if ran.code != 0 {
            ran.failed(1, &[&name]);
            assert!(!dir.path().join("o.png").exists(), "{name}");
            refused.push(name);
            continue;
        }
        let out = image::open(dir.path().join("o.png")).unwrap().into_rgb8();
        // The coarsest colour costs two levels.
        same(
            &out,
            if name == "gray.jpg" { &grey } else { &right },
            if name == "gray.jpg" { 6.0 } else { 2.5 },
            &name,
        );
        read += 1;
    }
    // What everybody uses is read.
    for name in [
        "progressive.jpg",
        "restarts.jpg",
        "cmyk.jpg",
        "rgb.jpg",
        "gray.jpg",
        "uneven.jpg",
        "four_to_one.jpg",
    ] {
        assert!(!refused.iter().any(|refused| refused == name), "{name} is refused");
    }
    assert!(read >= 7 && refused.len() >= 3, "{refused:?}");
}

#[test]
fn a_jpeg_that_breaks_off_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(data().join("restarts.jpg")).unwrap();
    fs::write(dir.path().join("cut.jpg"), &whole[..whole.len() * 2 / 3]).unwrap();
    redact(dir.path(), Path::new("cut.jpg"), "o.jpg").failed(1, &["cut.jpg"]);
    holds(dir.path(), &["cut.jpg"]);
}

#[test]
fn further_pictures_in_a_jpeg_are_told_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut jpeg = fs::read(data().join("restarts.jpg")).unwrap();
    let canary = b"CANARY-in-the-second";
    jpeg.extend([&fs::read(data().join("rgb.jpg")).unwrap()[..], canary].concat());
    let index = [&[0xff, 0xe2, 0, 20][..], b"MPF\0MM\0*\0\0\0\x08\0\0\0\0\0\0"].concat();
    jpeg.splice(2..2, index[..22].to_vec());
    fs::write(dir.path().join("two.jpg"), jpeg).unwrap();
    redact(dir.path(), Path::new("two.jpg"), "o.jpg").done().warned(&["two.jpg", "further pictures"]);
    let out = fs::read(dir.path().join("o.jpg")).unwrap();
    assert!(!out.windows(canary.len()).any(|w| w == canary));
}

#[test]
fn tiff_with_samples_that_nobody_explains_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let right = RgbImage::from_fn(48, 40, |x, y| Rgb([5 * x as u8, 6 * y as u8, 200]));
    // Differences from pixel to pixel, as a predictor leaves them, with samples beside the colours.
    let predicted = |extra: usize| -> Vec<u8> {
        let mut bytes = Vec::new();
        for row in right.rows() {
            let mut last = vec![0_u8; 3 + extra];
            for pixel in row {
                let all: Vec<u8> = pixel
                    .0
                    .into_iter()
                    .chain((0..extra).map(|n| pixel.0[0].wrapping_add(40 * n as u8)))
                    .collect();
                bytes.extend(all.iter().zip(&last).map(|(now, last)| now.wrapping_sub(*last)));
                last = all;
            }
        }
        bytes
    };
    let write = |name: &str, extra: usize, kinds: &[u16]| {
        let bits = vec![8; 3 + extra];
        let count = [(3 + extra) as u16];
        let mut tags: Vec<(u16, &[u16])> =
            vec![(258, &bits), (259, &[1]), (262, &[2]), (277, &count), (317, &[2])];
        if !kinds.is_empty() {
            tags.push((338, kinds));
        }
        fs::write(dir.path().join(name), tiff((48, 40), &tags, &predicted(extra))).unwrap();
    };
    write("plain.tiff", 0, &[]);
    redact(dir.path(), Path::new("plain.tiff"), "o.png").done();
    same(&image::open(dir.path().join("o.png")).unwrap().into_rgb8(), &right, 0.0, "plain");
    let cases: [(&str, usize, &[u16]); 6] = [
        ("unspecified.tiff", 1, &[0]),
        ("two.tiff", 2, &[0, 0]),
        ("alpha_and_one.tiff", 2, &[2, 0]),
        ("one_and_alpha.tiff", 2, &[0, 2]),
        ("untold.tiff", 1, &[]),
        ("three.tiff", 3, &[1, 0, 0]),
    ];
    for (name, extra, kinds) in cases {
        write(name, extra, kinds);
        redact(dir.path(), Path::new(name), "p.png").failed(1, &[name, "samples per pixel", "RGB"]);
        assert!(!dir.path().join("p.png").exists(), "{name}");
    }
}

/// An EXIF block that says nothing but how to turn the picture.
fn exif(orientation: u8) -> Vec<u8> {
    [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", &[orientation, 0, 0, 0][..], &[0; 4]].concat()
}

fn png_with(png: &[u8], data: &[u8], late: bool) -> Vec<u8> {
    let body = [b"eXIf", data].concat();
    let crc = !body.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    let chunk = [&(data.len() as u32).to_be_bytes()[..], &body, &crc.to_be_bytes()].concat();
    let at = if late { png.len() - 12 } else { 33 };
    [&png[..at], &chunk, &png[at..]].concat()
}

/// A lossless WebP in its long form, with an EXIF chunk.
fn webp_with(webp: &[u8], size: (u32, u32), data: &[u8]) -> Vec<u8> {
    let mut body = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0".to_vec();
    body.extend(&(size.0 - 1).to_le_bytes()[..3]);
    body.extend(&(size.1 - 1).to_le_bytes()[..3]);
    body.extend(&webp[12..]);
    body.extend([b"EXIF", &(data.len() as u32).to_le_bytes()[..], data, &vec![0; data.len() % 2]].concat());
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// Wherever a format keeps the orientation, and however it is marked, the result stands upright.
#[test]
fn orientation_is_found_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let upright =
        RgbImage::from_fn(60, 36, |x, y| Rgb([4 * x as u8, 7 * y as u8, if x < 20 { 255 } else { 0 }]));
    // Orientation 6: to be turned clockwise.
    let stored = image::imageops::rotate270(&upright);
    let size = stored.dimensions();
    stored.save(at("s.png")).unwrap();
    stored.save(at("s.webp")).unwrap();
    let (png, webp) = (fs::read(at("s.png")).unwrap(), fs::read(at("s.webp")).unwrap());
    let prefixed = [b"Exif\0\0", &exif(6)[..]].concat();
    let tags: [(u16, &[u16]); 5] = [(258, &[8, 8, 8]), (259, &[1]), (262, &[2]), (274, &[6]), (277, &[3])];
    let cases = [
        ("early.png", png_with(&png, &exif(6), false)),
        ("late.png", png_with(&png, &exif(6), true)),
        ("prefixed.png", png_with(&png, &prefixed, false)),
        ("bare.webp", webp_with(&webp, size, &exif(6))),
        ("prefixed.webp", webp_with(&webp, size, &prefixed)),
        ("tag.tiff", tiff(size, &tags, stored.as_raw())),
    ];
    for (name, bytes) in cases {
        fs::write(at(name), bytes).unwrap();
        redact(dir.path(), Path::new(name), "o.png").done();
        same(&image::open(at("o.png")).unwrap().into_rgb8(), &upright, 0.0, name);
    }
}
