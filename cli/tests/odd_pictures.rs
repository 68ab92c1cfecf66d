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
        let ran = redact_still(dir.path(), &data().join(&name), "o.png");
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
    redact_still(dir.path(), Path::new("cut.jpg"), "o.jpg").failed(1, &["cut.jpg"]);
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
    redact_still(dir.path(), Path::new("two.jpg"), "o.jpg").done().warned(&["two.jpg", "further pictures"]);
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
    redact_still(dir.path(), Path::new("plain.tiff"), "o.png").done();
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
        redact_still(dir.path(), Path::new(name), "p.png").failed(1, &[name, "samples per pixel", "RGB"]);
        assert!(!dir.path().join("p.png").exists(), "{name}");
    }
}

/// The decoder takes these for whole numbers of other sizes, or for bits in their usual order, and makes nonsense of them.
#[test]
fn tiff_of_unusual_samples_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (size, rgb) = ((24_u32, 20_u32), [(262, &[2_u16][..]), (277, &[3])]);
    let pixels = vec![77; 24 * 20 * 3 * 8];
    let mut tried = 0;
    for (name, bits, more, words) in [
        ("usual.tiff", 8, &[(266_u16, &[1_u16][..]), (339, &[1, 1, 1])][..], ""),
        ("sixteen.tiff", 16, &[(339, &[1, 1, 1])], ""),
        ("reversed.tiff", 8, &[(266, &[2])], "reverse order"),
        ("long.tiff", 32, &[], "8 or 16 bits"),
        ("longest.tiff", 64, &[], "8 or 16 bits"),
        ("signed.tiff", 8, &[(339, &[2, 2, 2])], "8 or 16 bits"),
        ("half.tiff", 16, &[(339, &[3, 3, 3])], "8 or 16 bits"),
        ("float.tiff", 32, &[(339, &[3, 3, 3])], "8 or 16 bits"),
        ("mixed.tiff", 8, &[(339, &[1, 1, 3])], "TIFF"),
        ("double.tiff", 64, &[(339, &[3, 3, 3])], "8 or 16 bits"),
    ] {
        let depth = [bits; 3];
        let mut tags = [&rgb[..], more].concat();
        tags.push((258, &depth));
        let bytes = tiff(size, &tags, &pixels[..24 * 20 * 3 * usize::from(bits) / 8]);
        fs::write(dir.path().join(name), bytes).unwrap();
        let _ = fs::remove_file(dir.path().join("o.png"));
        let ran = redact_still(dir.path(), Path::new(name), "o.png");
        match words {
            "" => assert_eq!(ran.done().code, 0),
            words => assert_eq!(ran.failed(1, &[name, words]).code, 1),
        }
        assert_eq!(dir.path().join("o.png").exists(), words.is_empty(), "{name}");
        tried += 1;
    }
    assert_eq!(tried, 10);
}
