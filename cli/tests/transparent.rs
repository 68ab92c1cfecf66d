//! What was transparent is not shown: filled with black in stills and clips, told, and the rest stays as it was.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;
use image::{GrayAlphaImage, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

const SIZE: (u32, u32) = (240, 120);
const SAID: &str = "what is transparent in it is filled with black";

/// A pattern that nobody takes for black, dark nowhere.
fn pattern(x: u32, y: u32) -> [u8; 3] {
    let checks = if (x / 6 + y / 6).is_multiple_of(2) { 90 } else { 250 };
    [checks, 255 - (x / 2) as u8, checks]
}

/// From left to right: transparent, more than half transparent, opaque.
fn alpha(x: u32) -> u8 {
    [0, 120, 255][(x / 80) as usize]
}

fn redact(dir: &Path, input: &str, output: &str, flags: &[&str]) -> Ran {
    milkglass_in(dir, &[&["redact", input, "-o", output, "--preset", "fast"], flags].concat())
}

/// Flat black where it was transparent, the pattern where it was opaque.
#[track_caller]
fn shows_only_the_opaque_third(picture: &RgbImage, gray: bool, tolerance: u8, what: &str) {
    assert_eq!(picture.dimensions(), SIZE, "{what}");
    let mut seen = 0;
    for (x, y, &Rgb(found)) in picture.enumerate_pixels() {
        // Coding and coarser colours blur the edges.
        if !(4..76).contains(&(x % 80)) || !(4..116).contains(&y) {
            continue;
        }
        let mut wanted = if alpha(x) == 255 { pattern(x, y) } else { [0; 3] };
        if gray && x >= 160 {
            wanted = [pattern(x, y)[0]; 3];
        }
        if alpha(x) == 255 && tolerance > 0 {
            // Of a coded picture only the brightness of the middle of each square.
            if (x % 6, y % 6) != (3, 3) {
                continue;
            }
            assert!(found[1].abs_diff(wanted[1]) < 40, "{what}: {found:?} instead of {wanted:?} at {x},{y}");
        } else {
            let off = found.iter().zip(wanted).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(off <= tolerance, "{what}: {found:?} instead of {wanted:?} at {x},{y}");
        }
        seen += 1;
    }
    assert!(seen > 10_000, "{what}: {seen}");
}

fn rgba() -> RgbaImage {
    RgbaImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let [r, g, b] = pattern(x, y);
        Rgba([r, g, b, alpha(x)])
    })
}

#[test]
fn stills_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let picture = image::DynamicImage::ImageRgba8(rgba());
    for name in ["a.png", "a.webp"] {
        picture.save(at(name)).unwrap();
    }
    image::DynamicImage::ImageRgba16(picture.to_rgba16()).save(at("deep.png")).unwrap();
    let gray = GrayAlphaImage::from_fn(SIZE.0, SIZE.1, |x, y| LumaA([pattern(x, y)[0], alpha(x)]));
    gray.save(at("gray.png")).unwrap();
    ffmpeg(words("-i {} -c:v libwebp -quality 95 {}", &[&at("a.png"), &at("lossy.webp")]));
    // Into the byte that is reserved.
    ffmpeg(words("-i {} -pix_fmt bgra {}", &[&at("a.png"), &at("a.bmp")]));
    // Colours as they are, and multiplied with alpha before they were stored.
    for (name, kind) in [("a.tiff", 2), ("multiplied.tiff", 1)] {
        let tags: [(u16, &[u16]); 5] =
            [(258, &[8; 4]), (259, &[1]), (262, &[2]), (277, &[4]), (338, &[kind])];
        fs::write(at(name), tiff(SIZE, &tags, rgba().as_raw())).unwrap();
    }
    let all = ["a.bmp", "a.png", "a.webp", "a.tiff", "deep.png", "gray.png", "lossy.webp", "multiplied.tiff"];
    for name in all {
        redact(dir.path(), name, "o.png", &["--overwrite", "--report", "r.json"])
            .done()
            .warned(&[name, SAID]);
        let out = image::open(at("o.png")).unwrap();
        assert_eq!(out.color(), image::ColorType::Rgb8);
        let tolerance = if name == "lossy.webp" { 1 } else { 0 };
        shows_only_the_opaque_third(&out.into_rgb8(), name == "gray.png", tolerance, name);
        let report: serde_json::Value = serde_json::from_slice(&fs::read(at("r.json")).unwrap()).unwrap();
        assert_eq!(report["files"][0]["transparent"], true, "{name}");
    }
    // An alpha channel that says nothing is told of by nobody.
    let mut opaque = rgba();
    opaque.pixels_mut().for_each(|p| p.0[3] = 255);
    opaque.save(at("opaque.png")).unwrap();
    let ran = redact(dir.path(), "opaque.png", "p.png", &[]).done();
    assert!(!ran.err.contains("transparent"), "{}", ran.err);
}

/// One colour, or entries of the palette, that stand for nothing.
#[test]
fn transparent_colours_of_png() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let hidden = [200, 30, 90];
    let keyed = RgbImage::from_fn(64, 64, |x, _| Rgb(if x < 32 { hidden } else { [10, 220, 110] }));
    keyed.save(at("rgb.png")).unwrap();
    image::GrayImage::from_fn(64, 64, |x, _| image::Luma([if x < 32 { 90 } else { 220 }]))
        .save(at("gray.png"))
        .unwrap();
    ffmpeg(words(
        "-i {} -vf split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse -frames:v 1 -update 1 {}",
        &[&at("rgb.png"), &at("palette.png")],
    ));
    let palette = fs::read(at("palette.png")).unwrap();
    let plte = palette.windows(4).position(|w| w == b"PLTE").unwrap() + 4;
    let entry = (0..256)
        .find(|n| palette[plte + 3 * n..][..3].iter().zip(hidden).all(|(a, b)| a.abs_diff(b) < 12))
        .unwrap();
    let mut alphas = vec![255; entry + 1];
    alphas[entry] = 0;
    let wide = |v: u8| [0, v];
    let key = [wide(hidden[0]), wide(hidden[1]), wide(hidden[2])].concat();
    let cases = [("rgb.png", key), ("gray.png", vec![0, 90]), ("palette.png", alphas)];
    for (name, data) in cases {
        let png = fs::read(at(name)).unwrap();
        // It has to stand between the palette and the pixels.
        let idat = png.windows(4).position(|w| w == b"IDAT").unwrap() - 4;
        let one = png_with_chunk(&png, b"tRNS", &data, false);
        let chunk = &one[33..33 + 12 + data.len()];
        // ffmpeg writes one of its own, which says that all is opaque.
        let own = png.windows(4).position(|w| w == b"tRNS").map(|at| at - 4);
        let end = own.unwrap_or(idat);
        fs::write(at(name), [&png[..end], chunk, &png[idat..]].concat()).unwrap();
        redact(dir.path(), name, "o.png", &["--overwrite"]).done().warned(&[name, SAID]);
        let out = image::open(at("o.png")).unwrap().into_rgb8();
        for (x, _, pixel) in out.enumerate_pixels() {
            assert_eq!(pixel.0 == [0; 3], x < 32, "{name}: {pixel:?} at {x}");
        }
    }
}

/// The first frame of a clip as RGB.
fn first_frame(dir: &Path, clip: &str) -> RgbImage {
    last_frame(dir, clip, 0)
}

fn last_frame(dir: &Path, clip: &str, number: usize) -> RgbImage {
    let png = dir.join("frame.png");
    let line = format!("-i {{}} -vf select=eq(n\\,{number}) -frames:v 1 -pix_fmt rgb24 -update 1 {{}}");
    ffmpeg(words(&line, &[&dir.join(clip), &png]));
    image::open(png).unwrap().into_rgb8()
}

#[test]
fn clips_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    rgba().save(at("a.png")).unwrap();
    let gray = GrayAlphaImage::from_fn(SIZE.0, SIZE.1, |x, y| LumaA([pattern(x, y)[0], alpha(x)]));
    gray.save(at("gray.png")).unwrap();
    let cases = [
        ("prores.mov", "prores_ks -profile:v 4444 -pix_fmt yuva444p10le"),
        ("png.mov", "png -pix_fmt rgba"),
        ("deep.mov", "png -pix_fmt rgba64be"),
        ("gray.mov", "png -pix_fmt ya8"),
        ("qtrle.mov", "qtrle -pix_fmt argb"),
        ("ffv1.mkv", "ffv1 -pix_fmt yuva420p"),
        ("rgb.mkv", "ffv1 -pix_fmt bgra"),
        ("ut.avi", "utvideo -pix_fmt gbrap"),
        ("raw.nut", "rawvideo -pix_fmt yuva422p"),
        ("vp9.webm", "libvpx-vp9 -pix_fmt yuva420p -crf 4 -b:v 0 -cpu-used 8 -deadline realtime"),
        ("vp8.webm", "libvpx -pix_fmt yuva420p -crf 4 -b:v 5M -auto-alt-ref 0"),
        ("vp9.mkv", "libvpx-vp9 -pix_fmt yuva420p -crf 4 -b:v 0 -cpu-used 8 -deadline realtime"),
    ];
    for (name, coding) in cases {
        ffmpeg(words(
            &format!("-loop 1 -r 5 -i {{}} -frames:v 3 -c:v {coding} {{}}"),
            &[&at(if name == "gray.mov" { "gray.png" } else { "a.png" }), &at(name)],
        ));
        let report = ["--overwrite", "--lossless", "--report", "r.json"];
        redact(dir.path(), name, "o.mkv", &report).done().warned(&[name, SAID]);
        // Limited range rounds: half a level more.
        shows_only_the_opaque_third(&first_frame(dir.path(), "o.mkv"), name == "gray.mov", 3, name);
        let report: serde_json::Value = serde_json::from_slice(&fs::read(at("r.json")).unwrap()).unwrap();
        assert_eq!(report["files"][0]["transparent"], true, "{name}");
    }
}

/// Outside MP4 and MOV the stream itself says that it has further layers.
#[test]
fn a_further_layer_of_hevc_is_refused_in_every_container() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let line = "-f lavfi -i testsrc2=s=64x64:r=5:d=0.6 -c:v libx265 -x265-params log-level=none:bframes=0 {}";
    ffmpeg(words(line, &[&at("one.hevc")]));
    let mut stream = fs::read(at("one.hevc")).unwrap();
    // Behind the start code and the header of the video parameter set, the four lower bits of the second byte's upper half.
    let set = stream.windows(5).position(|w| w == [0, 0, 1, 0x40, 1]).unwrap() + 5;
    stream[set + 1] = stream[set + 1] & 0x0f | 0x10;
    fs::write(at("two.hevc"), stream).unwrap();
    for (from, refused) in [("one.hevc", false), ("two.hevc", true)] {
        for name in ["a.hevc", "a.ts", "a.mkv", "a.mp4"] {
            let paths = [at(from), at("clock.ts"), at(name)];
            ffmpeg(words("-fflags +genpts -r 5 -i {} -c copy {}", &[&paths[0], &paths[1]]));
            ffmpeg(words("-i {} -c copy {}", &[&paths[1], &paths[2]]));
            let ran = redact(dir.path(), name, "o.mp4", &["--overwrite"]);
            match refused {
                true => ran.failed(1, &[name, "hevc", "transparent", "VP9"]),
                false => ran.ended(0),
            };
        }
    }
}

/// A layer above the pictures that ffmpeg does not decode.
#[test]
fn an_alpha_layer_of_hevc_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("a.mov");
    let line =
        "-f lavfi -i testsrc2=s=64x64:r=5:d=0.6 -c:v libx265 -x265-params log-level=none -tag:v hvc1 {}";
    ffmpeg(words(line, &[&input]));
    redact(dir.path(), "a.mov", "o.mp4", &[]).done();
    // The index stands last, so that nothing has to move: a box of four bytes at the end of what describes the pictures.
    let plain = fs::read(&input).unwrap();
    let with = |kinds: &[&[u8; 4]]| {
        let mut bytes = plain.clone();
        let hvc1 = bytes.windows(4).rposition(|w| w == b"hvc1").unwrap() - 4;
        let grow = |bytes: &mut Vec<u8>, at: usize, by: u32| {
            let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            bytes[at..at + 4].copy_from_slice(&(size + by).to_be_bytes());
            at + size as usize
        };
        let boxes: Vec<u8> =
            kinds.iter().flat_map(|kind| [&12_u32.to_be_bytes()[..], *kind, &[0; 4]].concat()).collect();
        let end = grow(&mut bytes, hvc1, boxes.len() as u32);
        for outer in [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"] {
            let at = bytes[..hvc1].windows(4).rposition(|w| w == outer).unwrap() - 4;
            grow(&mut bytes, at, boxes.len() as u32);
        }
        bytes.splice(end..end, boxes);
        fs::write(&input, bytes).unwrap();
    };
    with(&[b"lhvC"]);
    redact(dir.path(), "a.mov", "p.mp4", &[]).failed(1, &["a.mov", "transparent", "ffmpeg cannot tell"]);
    holds(dir.path(), &["a.mov", "o.mp4"]);
    // The view of the other eye is a layer, too, and none that makes anything transparent.
    with(&[b"lhvC", b"vexu"]);
    redact(dir.path(), "a.mov", "p.mp4", &[]).done();
}

/// Codecs that say in each picture whether it has alpha may begin without.
#[test]
fn transparency_that_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut opaque = RgbImage::new(SIZE.0, SIZE.1);
    opaque.enumerate_pixels_mut().for_each(|(x, y, p)| p.0 = pattern(x, y));
    opaque.save(at("p0.png")).unwrap();
    rgba().save(at("p1.png")).unwrap();
    for name in ["later.mov", "later.mkv"] {
        ffmpeg(words("-framerate 5 -i {} -c:v copy {}", &[&at("p%d.png"), &at(name)]));
        redact(dir.path(), name, "o.mkv", &["--overwrite", "--lossless"]).done();
        assert_eq!(video(&probe(&at("o.mkv")))["nb_read_frames"], "2");
        shows_only_the_opaque_third(&last_frame(dir.path(), "o.mkv", 1), false, 3, name);
        let first = first_frame(dir.path(), "o.mkv");
        assert!(first.get_pixel(33, 33).0[1] > 150, "the opaque frame stays");
    }
}

/// The rest of a picture with alpha is looked at like any other, in stills and in clips.
#[test]
fn faces_are_still_found() {
    let dir = tempfile::tempdir().unwrap();
    let faces = still(185, &dir.path().join("a.png"));
    let mut picture = image::open(dir.path().join("a.png")).unwrap().to_rgba8();
    let [x, y, w, h] = faces[0];
    picture.enumerate_pixels_mut().for_each(|(px, py, p)| {
        let (dx, dy) = (f64::from(px) - (x + w / 2.0), f64::from(py) - (y + h / 2.0));
        // Like a portrait that was cut out, with a soft edge around it.
        p.0[3] = (255.0 - ((dx * dx + dy * dy).sqrt() - 2.5 * w.max(h)).clamp(0.0, 255.0)) as u8;
    });
    picture.save(dir.path().join("cut.png")).unwrap();
    redact(dir.path(), "cut.png", "o.png", &[]).done().warned(&[SAID]);
    hidden_in(&dir.path().join("o.png"), &faces);
    let shown = image::open(dir.path().join("o.png")).unwrap().into_rgb8();
    assert!(shown.pixels().filter(|p| p.0.iter().any(|v| *v > 40)).count() > 2_000, "not all is black");
    ffmpeg(words(
        "-loop 1 -r 5 -i {} -frames:v 3 -c:v png {}",
        &[&dir.path().join("cut.png"), &dir.path().join("cut.mov")],
    ));
    redact(dir.path(), "cut.mov", "o.mp4", &[]).done().warned(&[SAID]);
    decode(&dir.path().join("o.mp4")).hides(&vec![faces; 3], "cut out");
}
