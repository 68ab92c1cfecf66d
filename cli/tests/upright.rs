//! Which way up a picture is, and how its pixels are shaped, wherever its file tells it: a face that lies on its side, or is
//! squeezed, is found by no detector.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use image::{Rgb, RgbImage};

fn png_with(png: &[u8], data: &[u8], late: bool) -> Vec<u8> {
    png_with_chunk(png, b"eXIf", data, late)
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
    let six = exif_of(true, 3, 6, None);
    let prefixed = [b"Exif\0\0", &six[..]].concat();
    let tags: [(u16, &[u16]); 5] = [(258, &[8, 8, 8]), (259, &[1]), (262, &[2]), (274, &[6]), (277, &[3])];
    let cases = [
        ("early.png", png_with(&png, &six, false)),
        ("late.png", png_with(&png, &six, true)),
        ("prefixed.png", png_with(&png, &prefixed, false)),
        ("bare.webp", webp_with(&webp, size, &six)),
        ("prefixed.webp", webp_with(&webp, size, &prefixed)),
        ("tag.tiff", tiff(size, &tags, stored.as_raw())),
    ];
    for (name, bytes) in cases {
        fs::write(at(name), bytes).unwrap();
        redact_still(dir.path(), Path::new(name), "o.png").done();
        same(&image::open(at("o.png")).unwrap().into_rgb8(), &upright, 0.0, name);
    }
}

/// A block of EXIF, lowest byte first or last: which way up, in a number of this type, and samples per inch if they are told.
fn exif_of(little: bool, kind: u16, orientation: u32, density: Option<(u32, u32)>) -> Vec<u8> {
    let two = |v: u16| if little { v.to_le_bytes() } else { v.to_be_bytes() };
    let four = |v: u32| if little { v.to_le_bytes() } else { v.to_be_bytes() };
    let value = match kind {
        3 => [two(orientation as u16), [0; 2]].concat(),
        _ => four(orientation).to_vec(),
    };
    let mut entries = vec![(0x112, kind, value)];
    if density.is_some() {
        entries.extend([(0x11a, 5, four(50).to_vec()), (0x11b, 5, four(58).to_vec())]);
    }
    let mut exif = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    exif.extend(four(8));
    exif.extend(two(entries.len() as u16));
    for (tag, kind, value) in entries {
        exif.extend([&two(tag)[..], &two(kind), &four(1), &value].concat());
    }
    exif.extend(four(0));
    if let Some((x, y)) = density {
        exif.extend([four(x), four(1), four(y), four(1)].concat());
    }
    exif
}

/// A JPEG with segments of EXIF, one after the other.
fn jpeg_with(picture: &RgbImage, blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(picture).unwrap();
    let jpeg = jpeg.into_inner();
    let segments: Vec<u8> = blocks
        .iter()
        .flat_map(|block| {
            let length = (block.len() as u16 + 8).to_be_bytes();
            [&[0xff, 0xe1], &length[..], b"Exif\0\0", block].concat()
        })
        .collect();
    [&jpeg[..2], &segments, &jpeg[2..]].concat()
}

fn as_png(picture: &RgbImage) -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// Viewers take the orientation as a long number, too, and read whichever of two blocks comes first or last.
#[test]
fn orientation_counts_as_a_long_number_and_two_blocks_must_agree() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| fs::write(dir.path().join(name), bytes).unwrap();
    let upright =
        RgbImage::from_fn(64, 32, |x, y| Rgb([4 * x as u8, 7 * y as u8, if x < 20 { 255 } else { 0 }]));
    let stored = image::imageops::rotate270(&upright);
    for little in [true, false] {
        for kind in [3, 4, 9] {
            let block = exif_of(little, kind, 6, None);
            write("long.png", png_with(&as_png(&stored), &block, false));
            write("long.jpg", jpeg_with(&stored, std::slice::from_ref(&block)));
            write("twice.jpg", jpeg_with(&stored, &[block.clone(), block.clone()]));
            // The second says nothing of it.
            write("once.jpg", jpeg_with(&stored, &[block.clone(), exif_of(little, 3, 0, None)]));
            for name in ["long.png", "long.jpg", "twice.jpg", "once.jpg"] {
                redact_still(dir.path(), Path::new(name), "o.png").done();
                let out = image::open(dir.path().join("o.png")).unwrap().into_rgb8();
                same(&out, &upright, 12.0, &format!("{name}, {little}, {kind}"));
            }
        }
    }
    fs::remove_file(dir.path().join("o.png")).unwrap();
    for other in [1, 3, 8] {
        let blocks = [exif_of(true, 3, 6, None), exif_of(false, 3, other, None)];
        write("two.jpg", jpeg_with(&stored, &blocks));
        let early = png_with(&as_png(&stored), &blocks[0], false);
        write("two.png", png_with(&early, &blocks[1], true));
        for name in ["two.jpg", "two.png"] {
            redact_still(dir.path(), Path::new(name), "o.png")
                .failed(1, &[name, "two ways up", "save it anew"]);
            assert!(!dir.path().join("o.png").exists(), "{name}");
        }
    }
}

/// The block that turns a picture tells how its pixels are shaped, too, wherever it stands.
#[test]
fn density_is_found_wherever_the_orientation_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let faces = still(0, &at("whole.png"));
    // A quarter as wide, which a network does not find, and stored lying on its side.
    let picture = image::open(at("whole.png")).unwrap();
    let picture = picture.resize_exact(320, 720, image::imageops::FilterType::Triangle).into_rgb8();
    let stored = image::imageops::rotate270(&picture);
    let faces: Vec<Rect> = faces.iter().map(|[x, y, w, h]| [x / 4.0, *y, w / 4.0, *h]).collect();
    let (block, silent) = (exif_of(false, 3, 6, Some((288, 72))), exif_of(false, 3, 6, None));
    let prefixed = [b"Exif\0\0", &block[..]].concat();
    let png = as_png(&stored);
    let hidden = |name: &str, bytes: Vec<u8>| {
        fs::write(at(name), bytes).unwrap();
        redact_still(dir.path(), Path::new(name), "o.png").done();
        let out = image::open(at("o.png")).unwrap().into_rgb8();
        assert_eq!(out.dimensions(), (320, 720), "{name}");
        faces.iter().map(|face| black_share(&out, *face)).fold(1.0, f64::min)
    };
    let untold = hidden("untold.png", png_with(&png, &silent, false));
    assert!(untold < 0.9, "nobody would notice if nothing were told: {untold}");
    for (name, bytes) in [
        ("early.png", png_with(&png, &block, false)),
        ("late.png", png_with(&png, &block, true)),
        ("prefixed.png", png_with(&png, &prefixed, true)),
        ("second.jpg", jpeg_with(&stored, &[silent.clone(), block.clone()])),
    ] {
        let share = hidden(name, bytes);
        assert!(share >= 0.9, "{name}: only {share:.2} is hidden");
    }
}

/// XMP, and the texts in which some programs keep EXIF in a PNG: some viewers follow them, so they may not turn the picture away
/// from what its EXIF says.
#[test]
fn what_turns_a_picture_beside_its_exif_must_agree_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let upright = RgbImage::from_fn(64, 32, |x, y| Rgb([4 * x as u8, 7 * y as u8, 99]));
    let stored = image::imageops::rotate270(&upright);
    let (png, size) = (as_png(&stored), stored.dimensions());
    let xmp = |way: u32| {
        let about = "xmlns:tiff=\"http://ns.adobe.com/tiff/1.0/\"";
        format!(
            "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:Description {about} tiff:Orientation=\"{way}\"/></x:xmpmeta>"
        )
    };
    let hex = |bytes: &[u8]| {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let lines: Vec<String> = digits.chunks(36).map(|line| line.concat()).collect();
        format!("\nexif\n    {:>8}\n{}\n", bytes.len(), lines.join("\n"))
    };
    let packed = |text: &str| miniz_oxide::deflate::compress_to_vec_zlib(text.as_bytes(), 6);
    let profile = |kind: &str, way: u32| {
        let bytes = [b"Exif\0\0", &exif_of(true, 3, way, None)[..]].concat();
        let (key, text) = (format!("Raw profile type {kind}\0"), hex(&bytes));
        [key.into_bytes(), text.into_bytes()].concat()
    };
    let zipped = |way: u32| {
        let text = profile("APP1", way);
        let (key, text) = text.split_at(text.iter().position(|byte| *byte == 0).unwrap());
        [key, &[0, 0], &packed(std::str::from_utf8(&text[1..]).unwrap())].concat()
    };
    let international = |way: u32, zip: bool| {
        let text = if zip { packed(&xmp(way)) } else { xmp(way).into_bytes() };
        [&b"XML:com.adobe.xmp\0"[..], &[u8::from(zip), 0, 0, 0], &text].concat()
    };
    let webp = {
        let mut bytes = std::io::Cursor::new(Vec::new());
        stored.write_to(&mut bytes, image::ImageFormat::WebP).unwrap();
        bytes.into_inner()
    };
    let jpeg_with_xmp = |way: u32, blocks: &[Vec<u8>]| {
        let jpeg = jpeg_with(&stored, blocks);
        let content = [&b"http://ns.adobe.com/xap/1.0/\0"[..], xmp(way).as_bytes()].concat();
        let length = (content.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length[..], &content, &jpeg[2..]].concat()
    };
    // The way that EXIF proper tells, or none for 0, and the other word.
    let files = |own: u32, aside: u32| {
        let exif: Vec<Vec<u8>> = (own > 0).then(|| exif_of(true, 3, own, None)).into_iter().collect();
        let png = exif.first().map_or(png.clone(), |block| png_with(&png, block, false));
        let tiff_tags = |xmp: &[u16]| {
            let way = [own as u16];
            let mut tags: Vec<(u16, &[u16])> = vec![(258, &[8, 8, 8]), (259, &[1]), (262, &[2]), (277, &[3])];
            tags.extend((own > 0).then_some((274, &way[..])));
            tags.push((700, xmp));
            tiff(size, &tags, stored.as_raw())
        };
        // A list of bytes, where the helper writes pairs of them.
        let xml = format!("{}{}", xmp(aside), " ".repeat(xmp(aside).len() % 2));
        let pairs: Vec<u16> =
            xml.as_bytes().as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let mut with_xmp = tiff_tags(&pairs);
        let entry = with_xmp.windows(4).position(|w| w == [0xbc, 2, 3, 0]).unwrap();
        with_xmp[entry + 2] = 1;
        with_xmp[entry + 4..entry + 8].copy_from_slice(&(xml.len() as u32).to_le_bytes());
        let mut webp = webp_with(&webp, size, &exif_of(true, 3, own, None));
        webp[20] |= 4;
        webp.extend(
            [b"XMP ", &(xml.len() as u32).to_le_bytes()[..], xml.as_bytes(), &vec![0; xml.len() % 2]]
                .concat(),
        );
        let length = (webp.len() as u32 - 8).to_le_bytes();
        webp[4..8].copy_from_slice(&length);
        vec![
            ("text.png", png_with_chunk(&png, b"tEXt", &profile("exif", aside), false)),
            ("late.png", png_with_chunk(&png, b"tEXt", &profile("APP1", aside), true)),
            ("packed.png", png_with_chunk(&png, b"zTXt", &zipped(aside), true)),
            ("xmp.png", png_with_chunk(&png, b"iTXt", &international(aside, false), true)),
            ("xmp-packed.png", png_with_chunk(&png, b"iTXt", &international(aside, true), false)),
            ("xmp.jpg", jpeg_with_xmp(aside, &exif)),
            ("xmp.webp", webp),
            ("xmp.tiff", with_xmp),
        ]
    };
    for (own, aside, agree) in [(6, 6, true), (0, 1, true), (0, 6, false), (6, 1, false), (1, 8, false)] {
        for (name, bytes) in files(own, aside) {
            let what = format!("{name}: {own} and {aside}");
            fs::write(dir.path().join(name), bytes).unwrap();
            let _ = fs::remove_file(dir.path().join("o.png"));
            let ran = redact_still(dir.path(), Path::new(name), "o.png");
            assert_eq!(ran.code, i32::from(!agree), "{what}: {}", ran.err);
            if agree {
                let out = image::open(dir.path().join("o.png")).unwrap().into_rgb8();
                same(&out, if own == 6 { &upright } else { &stored }, 12.0, &what);
            } else {
                ran.failed(1, &[name, "beside its EXIF", "save it anew"]);
                assert!(!dir.path().join("o.png").exists(), "{what}");
            }
        }
    }
    // What would have to be read to know, and cannot be.
    let long = [&b"Raw profile type exif\0\0"[..], &packed(&"0".repeat(5 << 20))].concat();
    let broken = b"Raw profile type exif\0\0no zlib".to_vec();
    for text in [long, broken] {
        fs::write(dir.path().join("x.png"), png_with_chunk(&png, b"zTXt", &text, false)).unwrap();
        redact_still(dir.path(), Path::new("x.png"), "p.png").failed(1, &["x.png", "damaged or too long"]);
    }
}
