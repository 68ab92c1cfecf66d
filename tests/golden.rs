//! Goldens: what each format and style makes of one synthetic picture, to the byte. A change of a kernel that was not
//! meant to change pictures shows here.
//!
//! To accept new ones: `MILKGLASS_PRINT_GOLDENS=1 cargo test --test golden -- --nocapture`, and look at why they changed.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use milkglass::picture::PixelFormat;
use milkglass::policy::{Color, Polygon, Style, Zone};
use milkglass::{Class, Detection, FrameFormat, Policy};
use support::*;

const STYLES: [(&str, Style); 4] = [
    ("fill", Style::Fill(Color { r: 40, g: 90, b: 200 })),
    ("pixelate 4", Style::Pixelate { cells: 4 }),
    ("pixelate 6", Style::Pixelate { cells: 6 }),
    ("blur 5", Style::Blur { cells: 5 }),
];

const GOLDENS: [(PixelFormat, [u64; 4]); 4] = [
    (
        PixelFormat::Nv12,
        [0x295a_8692_808e_96a9, 0x6dc4_9dbb_fdf4_9a9f, 0x5c36_3fec_5fb0_34d7, 0xa3e6_25e2_a538_6f5b],
    ),
    (
        PixelFormat::I420,
        [0x8522_c09f_a159_de4f, 0x5a51_2d4a_5235_33ed, 0xde23_4b9a_34ca_f765, 0x0600_905b_acfe_95ae],
    ),
    (
        PixelFormat::Yuyv,
        [0x34c4_fc3f_3374_5d31, 0xed78_fe80_50d8_fe79, 0xe32a_260b_c89a_c671, 0x1cca_1956_98cb_5f93],
    ),
    (
        PixelFormat::Rgb24,
        [0xcaa2_3b07_f0bb_8f65, 0x08f6_87ac_17af_1be5, 0x9abb_2d5c_6ea9_1b6d, 0xc4c6_2f5d_3b46_1131],
    ),
];

/// Slopes, stripes and a little noise, so that every place and plane is different.
fn paint(plane: usize, x: u32, y: u32, channel: usize) -> u8 {
    let slope = 3 * x + 2 * y + 61 * plane as u32 + 37 * channel as u32;
    let stripes = if (x / 3 + y / 5).is_multiple_of(2) { 40 } else { 0 };
    (slope + stripes + (x * x + 7 * y * y) % 11) as u8
}

fn picture(pixel: PixelFormat, style: Style) -> u64 {
    let format = FrameFormat::new(pixel, 97, 61).unwrap();
    let area = Polygon::new([(0.55, 0.1), (0.95, 0.2), (0.7, 0.45), (0.98, 0.9), (0.6, 0.8)]).unwrap();
    let policy = Policy::builder()
        .hide(Class::Face, style)
        .zone(Zone::new("window", area, style).unwrap())
        .build()
        .unwrap();
    let found =
        vec![face(11.0, 9.0, 44.0, 52.0), Detection::new(Class::Face, rect(80.0, 1.0, 103.0, 14.5), 0.6)];
    let frame = redact_picture(format, policy, found, paint);
    let mut bytes = Vec::new();
    samples(frame.view(), |s| bytes.extend_from_slice(s.bytes));
    fnv1a(bytes)
}

#[test]
fn pictures_are_as_they_were() {
    let got = GOLDENS.map(|(pixel, _)| (pixel, STYLES.map(|(_, style)| picture(pixel, style))));
    if std::env::var_os("MILKGLASS_PRINT_GOLDENS").is_some() {
        for (pixel, hashes) in got {
            println!("    (PixelFormat::{pixel:?}, {hashes:#x?}),");
        }
        return;
    }
    for ((pixel, expected), (_, got)) in GOLDENS.into_iter().zip(got) {
        for (i, (name, _)) in STYLES.iter().enumerate() {
            assert_eq!(got[i], expected[i], "{pixel:?}, {name}: the picture changed");
        }
    }
}
