//! Every format, every style, small and odd sizes: every sample of every plane that a region touches changes, and no other.

#![allow(clippy::unwrap_used)]

mod support;

use milkglass::frame::{FrameMeta, FramePool};
use milkglass::picture::{ColorMatrix, ColorRange, PixelFormat};
use milkglass::policy::{Color, Polygon, Style, Zone};
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, FrameFormat, Policy};
use support::*;

const SIZES: [(u32, u32); 12] =
    [(1, 1), (2, 1), (1, 2), (2, 2), (3, 3), (5, 4), (4, 7), (16, 16), (17, 9), (31, 33), (64, 48), (67, 35)];

fn styles() -> Vec<Style> {
    let mosaics = [2, 3, 6].map(|cells| [Style::Pixelate { cells }, Style::Blur { cells }]);
    [Style::default()].into_iter().chain(mosaics.into_iter().flatten()).collect()
}

#[test]
fn every_sample_of_a_region_changes_and_no_other() {
    for pixel in FORMATS {
        for (w, h) in SIZES {
            let format = FrameFormat::new(pixel, w, h).unwrap();
            let (fw, fh) = (w as f32, h as f32);
            // The whole picture; its corners; something in the middle; single rows and columns, the last ones too.
            let boxes = [
                rect(0.0, 0.0, fw, fh),
                rect(0.0, 0.0, fw / 3.0, fh / 3.0),
                rect(fw * 0.7, fh * 0.6, fw, fh),
                rect(fw * 0.3, fh * 0.25, fw * 0.62, fh * 0.71),
                rect(fw - 0.5, 0.0, fw, fh),
                rect(0.0, fh - 0.5, fw, fh),
            ];
            for style in styles() {
                for area in boxes {
                    let found = vec![Detection::new(Class::Face, area, 0.7)];
                    let frame = redact_one(format, faces(style).build().unwrap(), found);
                    let r = area.grown(1.1, 0.0).outward(w, h);
                    assert!(padding_is_zero(frame.view()));
                    samples(frame.view(), |s| {
                        let hidden = s.any(|x, y| x >= r.x0 && x < r.x1 && y >= r.y0 && y < r.y1);
                        let raw = s.bytes.iter().any(|&v| is_canary(v));
                        let at = (s.plane, s.x, s.y);
                        assert_eq!(hidden, !raw, "{pixel:?} {w}x{h} {style:?} {area:?}: plane, x, y {at:?}");
                        assert!(hidden || s.is_raw_of(7), "{pixel:?} {w}x{h} {style:?}: {at:?} was touched");
                    });
                }
            }
        }
    }
}

#[test]
fn every_sample_of_a_zone_changes_in_every_style() {
    let all = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)];
    let right = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)];
    for pixel in FORMATS {
        for (w, h) in SIZES {
            let format = FrameFormat::new(pixel, w, h).unwrap();
            for style in styles() {
                for (corners, first) in [(all, 0), (right, w / 2)] {
                    let zone = Zone::new("z", Polygon::new(corners).unwrap(), style).unwrap();
                    let frame = redact_one(format, Policy::builder().zone(zone).build().unwrap(), vec![]);
                    samples(frame.view(), |s| {
                        let raw = s.bytes.iter().any(|&v| is_canary(v));
                        let at = (s.plane, s.x, s.y);
                        assert_eq!(raw, !s.any(|x, _| x >= first), "{pixel:?} {w}x{h} {style:?}: {at:?}");
                    });
                }
            }
        }
    }
}

/// The values of `Fill`, by range and matrix.
#[test]
fn fill_paints_the_colour_named() {
    let red = Color { r: 255, g: 0, b: 0 };
    let grey = Color { r: 128, g: 128, b: 128 };
    let (limited, full) = (ColorRange::Limited, ColorRange::Full);
    // ITU-T H.273: Y' = Kr R + Kg G + Kb B, scaled to 219 and 224 steps, or to 255.
    let cases = [
        (Color::BLACK, limited, ColorMatrix::Bt601, [16, 128, 128]),
        (Color::BLACK, full, ColorMatrix::Bt709, [0, 128, 128]),
        (grey, limited, ColorMatrix::Bt2020, [126, 128, 128]),
        (red, limited, ColorMatrix::Bt601, [81, 90, 240]),
        (red, limited, ColorMatrix::Bt709, [63, 102, 240]),
        (red, full, ColorMatrix::Bt601, [76, 85, 255]),
    ];
    for (color, range, matrix, [y, cb, cr]) in cases {
        for pixel in FORMATS {
            let format = FrameFormat::new(pixel, 5, 3).unwrap().with_color(range, matrix);
            let policy = faces(Style::Fill(color)).build().unwrap();
            let frame = redact_one(format, policy, vec![face(0.0, 0.0, 5.0, 3.0)]);
            samples(frame.view(), |s| {
                let expected: &[u8] = match (pixel, s.plane) {
                    (PixelFormat::Rgb24, _) => &[color.r, color.g, color.b],
                    (PixelFormat::Yuyv, _) => &[y, cb, y, cr],
                    (_, 0) => &[y],
                    (PixelFormat::Nv12, _) => &[cb, cr],
                    (_, 1) => &[cb],
                    _ => &[cr],
                };
                assert_eq!(s.bytes, expected, "{pixel:?} plane {} {color:?} {range:?} {matrix:?}", s.plane);
            });
        }
    }
}

/// A mosaic shows at most `cells` colours along its longer side, each in 5 bits, and none finer than 4 pixels.
#[test]
fn mosaics_keep_no_more_than_their_cells() {
    for (side, cells, most) in [(60.0, 6, 6), (60.0, 2, 2), (16.0, 6, 4), (9.0, 6, 2), (5.0, 6, 1)] {
        let format = FrameFormat::new(PixelFormat::Rgb24, 66, 66).unwrap();
        let policy = faces(Style::Pixelate { cells }).build().unwrap();
        let at = rect(0.0, 0.0, side, side);
        let found = vec![Detection::new(Class::Face, at, 0.7)];
        let frame = redact_picture(format, policy, found, |_, x, y, _| (3 * x + 2 * y) as u8);
        let grown = at.grown(1.1, 0.0).outward(66, 66).x1;
        let row = &frame.view().row(0, 1)[..3 * grown as usize];
        let mut runs: Vec<u8> = row.iter().copied().step_by(3).collect();
        assert!(runs.iter().all(|v| v & 7 == 4), "{runs:?} is finer than 5 bits");
        runs.dedup();
        assert_eq!(runs.len(), most, "{side} pixels, {cells} cells: {runs:?}");
    }
}

/// A blur is drawn from the cells of the mosaic and nothing else: bilinear between their centres, to within rounding.
#[test]
fn blur_is_bilinear_between_the_cells() {
    const CELLS: usize = 5;
    let paint =
        |plane: usize, x: u32, y: u32, c: usize| (5 * x + 3 * y + 70 * plane as u32 + 90 * c as u32) as u8;
    for pixel in FORMATS {
        let format = FrameFormat::new(pixel, 120, 120).unwrap();
        let [mosaic, blur] = [Style::Pixelate { cells: 5 }, Style::Blur { cells: 5 }].map(|style| {
            let policy = Policy::builder().hide_grown(Class::Face, style, 1.1).build().unwrap();
            redact_picture(format, policy, vec![face(10.0, 10.0, 110.0, 110.0)], paint)
        });
        for (i, plane) in format.planes().iter().enumerate() {
            let r = rect(10.0, 10.0, 110.0, 110.0).grown(1.1, 0.0).outward(120, 120);
            let r = r.in_plane(plane.shift, plane.width, plane.height);
            let edge = |start: u32, end: u32, j: usize| start + (end - start) * j as u32 / CELLS as u32;
            // Where `v` lies between the centres of which two cells, as the share of the second.
            let between = |v: u32, centers: [f64; CELLS]| {
                let v = f64::from(v) + 0.5;
                let j = (0..CELLS - 1).rfind(|&j| centers[j] <= v).unwrap_or(0);
                (j, ((v - centers[j]) / (centers[j + 1] - centers[j])).clamp(0.0, 1.0))
            };
            // Columns begin at whole samples, and so do the ramps between their centres; rows need not.
            let middles: [usize; CELLS] = std::array::from_fn(|j| j);
            let xs = middles.map(|j| f64::from((edge(r.x0, r.x1, j) + edge(r.x0, r.x1, j + 1)) / 2));
            let high = f64::from(r.height()) / CELLS as f64;
            let ys = middles.map(|j| f64::from(r.y0) + (j as f64 + 0.5) * high);
            let cell = |col: usize, row: usize, c: usize| {
                let (x, y) = (edge(r.x0, r.x1, col), edge(r.y0, r.y1, row));
                f64::from(mosaic.view().row(i, y)[x as usize * plane.channels + c])
            };
            for y in r.y0..r.y1 {
                let (row, t) = between(y, ys);
                for x in r.x0..r.x1 {
                    let (col, s) = between(x, xs);
                    for c in 0..plane.channels {
                        let mix = |row| (1.0 - s) * cell(col, row, c) + s * cell(col + 1, row, c);
                        let expected = (1.0 - t) * mix(row) + t * mix(row + 1);
                        let got = f64::from(blur.view().row(i, y)[x as usize * plane.channels + c]);
                        // Cells lie up to 248 apart; shares of 1/128, rounded, and two roundings of the result.
                        assert!(
                            (got - expected).abs() <= 2.0,
                            "{pixel:?} {i} {x},{y},{c}: {got}, not {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// The cells of a face are those of its first frame for as long as its track lives; those of a zone are sampled anew every
/// half second.
#[test]
fn mosaics_are_held() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 40, 40).unwrap();
    let pool = milkglass::frame::FramePool::new(format, 3);
    let area = milkglass::policy::Polygon::new([(0.0, 0.0), (1.0, 0.0), (1.0, 0.15), (0.0, 0.15)]).unwrap();
    let style = Style::Pixelate { cells: 2 };
    let policy = faces(style).hold(millis(300)).zone(milkglass::policy::Zone::new("z", area, style).unwrap());
    let mut engine =
        milkglass::engine::Engine::new(policy.build().unwrap(), pool.clone(), &[Class::Face]).unwrap();
    let mut step = |t: u64, there: bool| {
        let light = (t / 50) as u8;
        engine.push(painted(&pool, t, ms(t), |_, _, _, _| light).unwrap(), ms(t)).unwrap();
        let job = engine.next_job().unwrap();
        let found = if there { vec![face(8.0, 8.0, 28.0, 28.0)] } else { Vec::new() };
        engine.observe(job, Ok(found));
        let frame = engine.release(ms(t)).unwrap();
        let at = |x: usize, y: u32| frame.view().row(0, y)[3 * x];
        (at(16, 16), at(16, 2))
    };
    let times = || (0..=8000).step_by(100);
    let level = |t: u64| ((t / 50) as u8 & 0xf8) | 4;
    for t in times() {
        let (face, zone) = step(t, true);
        assert_eq!(face, level(0), "the face, at {t} ms");
        assert_eq!(zone, level(t / 500 * 500), "the zone, at {t} ms");
    }
    // Whoever comes after it is somebody else.
    (8100..=9000).step_by(100).for_each(|t| _ = step(t, false));
    assert_eq!(step(9100, true).0, level(9100));
}

/// Somebody moves about behind a mosaic for 30 seconds, as detectors see them: the box trembles. All pictures, laid on each
/// other by where the face was, must tell no more of it than one of them (arXiv 2009.13856 rebuilt faces so).
#[test]
fn thirty_seconds_of_a_mosaic_tell_no_more_than_one_frame() {
    const FACE: usize = 48;
    let format = FrameFormat::new(PixelFormat::Rgb24, 160, 120).unwrap();
    // Features of a few pixels, as eyes and a mouth are: random levels on a grid of 6 pixels, without the coarse part.
    let mut dice = 1u64;
    let mut random = move || {
        dice = fnv1a(dice.to_le_bytes());
        (dice >> 32) as f64 / f64::from(u32::MAX)
    };
    let coarse: Vec<f64> = (0..FACE * FACE / 36).map(|_| random()).collect();
    let look = |x: usize, y: usize| 40.0 + 170.0 * coarse[y / 6 * (FACE / 6) + x / 6];
    for style in [Style::Pixelate { cells: 4 }, Style::Blur { cells: 4 }] {
        let pool = milkglass::frame::FramePool::new(format, 3);
        let policy = faces(style).build().unwrap();
        let mut engine = milkglass::engine::Engine::new(policy, pool.clone(), &[Class::Face]).unwrap();
        let mut sum = vec![0.0; FACE * FACE];
        let mut one = 0.0;
        for frame in 0..300u64 {
            let t = frame * 100;
            let sway = (frame as f64 / 9.0).sin();
            let (left, top) =
                ((50.0 + 30.0 * sway) as u32, (36.0 + 12.0 * (frame as f64 / 7.0).cos()) as u32);
            let paint = |_, x: u32, y: u32, _| {
                let inside = |v: u32, from: u32| v >= from && v < from + FACE as u32;
                match inside(x, left) && inside(y, top) {
                    true => look((x - left) as usize, (y - top) as usize) as u8,
                    false => 128,
                }
            };
            engine.push(painted(&pool, t, ms(t), paint).unwrap(), ms(t)).unwrap();
            let job = engine.next_job().unwrap();
            let (dx, dy) = (random() as f32 * 16.0 - 8.0, random() as f32 * 16.0 - 8.0);
            let (x, y, side) = (left as f32 + dx, top as f32 + dy, FACE as f32);
            engine.observe(job, Ok(vec![face(x, y, x + side, y + side)]));
            let shown = engine.release(ms(t)).unwrap();
            for (i, sum) in sum.iter_mut().enumerate() {
                let (x, y) = (left as usize + i % FACE, top + (i / FACE) as u32);
                *sum += f64::from(shown.view().row(0, y)[3 * x]);
            }
            if frame == 0 {
                one = likeness(&sum, look, FACE);
            }
        }
        let all = likeness(&sum, look, FACE);
        assert!(one > 0.1, "{style:?}: one frame tells nothing: {one}");
        assert!(all < one + 0.1, "{style:?}: {all} of three hundred, {one} of one");
    }
}

/// How much a picture looks like the face (correlation).
fn likeness(picture: &[f64], look: impl Fn(usize, usize) -> f64, side: usize) -> f64 {
    let face: Vec<f64> = (0..side * side).map(|i| look(i % side, i / side)).collect();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (a, b) = (mean(picture), mean(&face));
    let product =
        |f: fn(f64, f64) -> f64| -> f64 { picture.iter().zip(&face).map(|(p, q)| f(p - a, q - b)).sum() };
    product(|p, q| p * q) / (product(|p, _| p * p) * product(|_, q| q * q)).sqrt().max(1e-9)
}

#[test]
fn the_strongest_style_wins_where_regions_overlap() {
    let format = FrameFormat::new(PixelFormat::Nv12, 40, 30).unwrap();
    let black = Policy::builder()
        .hide_grown(Class::Face, Style::Fill(Color::BLACK), 1.1)
        .hide_grown(Class::Person, Style::Pixelate { cells: 6 }, 1.1)
        .build()
        .unwrap();
    let person = Detection::new(Class::Person, rect(0.0, 0.0, 40.0, 30.0), 0.9);
    let frame = redact_one(format, black, vec![face(10.0, 10.0, 20.0, 20.0), person]);
    let mut in_face = 0;
    samples(frame.view(), |s| {
        assert!(!s.bytes.iter().any(|&v| is_canary(v)));
        if s.plane == 0 && (10..20).contains(&s.x) && (10..20).contains(&s.y) {
            assert_eq!(s.bytes, [16]);
            in_face += 1;
        }
    });
    assert_eq!(in_face, 100);
}

/// In one piece or row by row: the same samples, and nothing between the rows, here or there.
#[test]
fn planes_are_copied_in_and_out_whole_and_without_padding() {
    for pixel in FORMATS {
        for (w, h) in SIZES.into_iter().chain([(64, 3), (128, 5)]) {
            let format = FrameFormat::new(pixel, w, h).unwrap();
            let planes = format.planes();
            for extra in [0, 1, 64] {
                let filled = |n: usize, y: usize, x: usize| (7 * n + 31 * y + 3 * x) as u8 % 200 + 1;
                let pool = FramePool::new(format, 1);
                let write = |view: &mut milkglass::picture::ViewMut<'_>| {
                    for (n, p) in planes.iter().enumerate() {
                        let (stride, rows) = (p.row_bytes() + extra, p.height as usize);
                        // What lies between rows must not come along, and the last row has nothing behind it.
                        let mut from = vec![255; stride * (rows - 1) + p.row_bytes()];
                        (0..rows).for_each(|y| {
                            (0..p.row_bytes()).for_each(|x| from[y * stride + x] = filled(n, y, x));
                        });
                        view.copy_plane(n, &from, stride);
                    }
                    assert!(padding_is_zero(view.as_view()));
                    for (n, p) in planes.iter().enumerate() {
                        let (stride, rows) = (p.row_bytes() + extra, p.height as usize);
                        let mut to = vec![254; stride * (rows - 1) + p.row_bytes()];
                        view.as_view().copy_plane(n, &mut to, stride);
                        for (at, byte) in to.iter().enumerate() {
                            let (y, x) = (at / stride, at % stride);
                            let expected = if x < p.row_bytes() { filled(n, y, x) } else { 254 };
                            assert_eq!(
                                *byte, expected,
                                "{pixel:?} {w}x{h}+{extra}, plane {n}, row {y}, byte {x}"
                            );
                        }
                    }
                    Ok(())
                };
                pool.fill(FrameMeta { sequence: 0, captured: Timestamp::ZERO }, write).unwrap().unwrap();
            }
        }
    }
}
