//! Rectangles, orientations, and polygons as they come out in pixels.

#![allow(clippy::unwrap_used)]

mod support;

use image::{GrayImage, Luma};
use imageproc::drawing::draw_polygon_mut;
use imageproc::point::Point;
use milkglass::geometry::{Orientation, PixelRect, Rect};
use milkglass::picture::PixelFormat;
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::{FrameFormat, Policy};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::*;

fn config(cases: u32) -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(3);
    ProptestConfig { cases, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}

/// What zones hide in a picture of canaries.
fn hidden(zones: &[(&[(f64, f64)], bool)], size: (u32, u32), orientation: Orientation) -> Hidden {
    let format = FrameFormat::new(PixelFormat::Rgb24, size.0, size.1).unwrap().with_orientation(orientation);
    let zone = |(corners, inverted): &(&[(f64, f64)], bool)| {
        Zone::new("z", Polygon::new(*corners).unwrap(), Style::default()).unwrap().inverted(*inverted)
    };
    let policy = zones.iter().map(zone).fold(Policy::builder(), |b, z| b.zone(z)).build().unwrap();
    Hidden::of(&redact_one(format, policy, vec![]))
}

/// Whether a point is inside, by counting the edges to its right.
fn inside(corners: &[(f64, f64)], (x, y): (f64, f64)) -> bool {
    let edges = corners.iter().zip(corners.iter().cycle().skip(1));
    let crossed =
        edges.filter(|(a, b)| (a.1 > y) != (b.1 > y) && x < (b.0 - a.0) * (y - a.1) / (b.1 - a.1) + a.0);
    crossed.count() % 2 == 1
}

/// Of 8 x 8 points in each pixel: whether any is inside, and whether all are.
fn supersampled(corners: &[(f64, f64)], (w, h): (u32, u32), x: u32, y: u32) -> (bool, bool) {
    let points = (0..64).map(|i| {
        let (px, py) =
            (f64::from(x) + f64::from(i % 8) / 8.0 + 0.0625, f64::from(y) + f64::from(i / 8) / 8.0 + 0.0625);
        inside(corners, (px / f64::from(w), py / f64::from(h)))
    });
    let inside = points.filter(|p| *p).count();
    (inside > 0, inside == 64)
}

/// A simple polygon, mostly concave: corners at growing angles around the middle.
fn star() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec(0.02..0.5f64, 3..12).prop_map(|radii| {
        let n = radii.len() as f64;
        let corner = |(i, r): (usize, f64)| {
            let a = i as f64 / n * std::f64::consts::TAU + 0.1;
            (0.5 + r * a.cos(), 0.5 + r * a.sin())
        };
        radii.into_iter().enumerate().map(corner).collect()
    })
}

fn orientation() -> impl Strategy<Value = Orientation> {
    (1u8..=8).prop_map(|tag| Orientation::from_exif(tag).unwrap())
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn upright_and_back_is_where_it_was(
        o in orientation(), size in (1u32..5000, 1u32..5000), p in (0.0..5000.0f64, 0.0..5000.0f64),
    ) {
        let (x, y) = o.to_stored(o.to_upright(p, size), size);
        prop_assert!((x - p.0).abs() < 1e-9 && (y - p.1).abs() < 1e-9);
        let (x, y) = o.to_upright(o.to_stored(p, size), size);
        prop_assert!((x - p.0).abs() < 1e-9 && (y - p.1).abs() < 1e-9);
    }

    #[test]
    fn rectangles_turn_with_their_corners(
        o in orientation(), size in (1u32..2000, 1u32..2000),
        (x, y, w, h) in (0.0..900.0f32, 0.0..900.0f32, 1.0..500.0f32, 1.0..500.0f32),
    ) {
        let upright = Rect::new(x, y, w, h).unwrap();
        let stored = o.rect_to_stored(&upright, size).unwrap();
        for (px, py) in [(stored.x0(), stored.y0()), (stored.x1(), stored.y1())] {
            let (ux, uy) = o.to_upright((px.into(), py.into()), size);
            let near = |a: f64, b: f32, c: f32| (a - f64::from(b)).abs() < 1e-2 || (a - f64::from(c)).abs() < 1e-2;
            prop_assert!(near(ux, upright.x0(), upright.x1()) && near(uy, upright.y0(), upright.y1()));
        }
        prop_assert!((stored.width() * stored.height() - w * h).abs() < 1.0);
    }

    #[test]
    fn growing_and_rounding_only_ever_add(
        (x, y, w, h) in (-50.0..150.0f32, -50.0..150.0f32, 0.1..90.0f32, 0.1..90.0f32),
        factor in 0.0..3.0f32, margin in -5.0..9.0f32,
    ) {
        let r = Rect::new(x, y, w, h).unwrap();
        let g = r.grown(factor, margin);
        prop_assert!(g.x0() <= r.x0() && g.y0() <= r.y0() && g.x1() >= r.x1() && g.y1() >= r.y1());
        prop_assert_eq!(r.hull(&g), g);
        prop_assert!(g.iou(&r) > 0.0 && g.iou(&r) <= 1.0001);
        let p = g.outward(100, 80);
        for (px, py) in (0..100).flat_map(|x| (0..80).map(move |y| (x, y))) {
            let covered = p.x0 <= px && px < p.x1 && p.y0 <= py && py < p.y1;
            prop_assert!(covered || !touches(&g, px, py));
        }
        prop_assert_eq!(r.clipped(100, 80).is_none(), r.x1() <= 0.0 || r.y1() <= 0.0 || r.x0() >= 100.0 || r.y0() >= 80.0);
    }

    #[test]
    fn subsampled_rectangles_hold_every_pixel(
        a in (0u32..40, 0u32..40), b in (1u32..41, 1u32..41), shift in (0u32..2, 0u32..2), size in (1u32..41, 1u32..41),
    ) {
        let plane = (size.0.div_ceil(1 << shift.0), size.1.div_ceil(1 << shift.1));
        let r = PixelRect { x0: a.0.min(size.0), y0: a.1.min(size.1), x1: b.0.min(size.0), y1: b.1.min(size.1) };
        let s = r.in_plane(shift, plane.0, plane.1);
        for (x, y) in (r.y0..r.y1).flat_map(|y| (r.x0..r.x1).map(move |x| (x >> shift.0, y >> shift.1))) {
            prop_assert!(s.x0 <= x && x < s.x1 && s.y0 <= y && y < s.y1);
        }
        prop_assert!(s.x1 <= plane.0 && s.y1 <= plane.1);
    }

    /// Exact in pixels: hidden if any of 64 points is inside, and nothing that no point comes near to.
    #[test]
    fn polygons_hide_every_pixel_they_touch(corners in star(), size in (5u32..40, 5u32..40), inverted in any::<bool>()) {
        prop_assume!(Polygon::new(corners.clone()).is_ok());
        let seen = hidden(&[(&corners, inverted)], size, Orientation::UPRIGHT);
        for (x, y) in (0..size.1).flat_map(|y| (0..size.0).map(move |x| (x, y))) {
            let (any, all) = supersampled(&corners, size, x, y);
            let must = if inverted { !all } else { any };
            prop_assert!(seen.at(x, y) || !must, "pixel {x}, {y} shows though the zone touches it");
            // Between the points an edge may pass unseen: then a neighbouring pixel of the same size tells.
            let near = neighbours(x, y, size).any(|(x, y)| {
                let (any, all) = supersampled(&corners, size, x, y);
                if inverted { !all } else { any }
            });
            prop_assert!(near || !seen.at(x, y), "pixel {x}, {y} is hidden far from the zone");
        }
    }

    /// imageproc draws polygons with corners on whole pixels; ours may differ from it by that rounding alone.
    #[test]
    fn polygons_agree_with_imageproc(corners in star(), size in (12u32..60, 12u32..60)) {
        prop_assume!(Polygon::new(corners.clone()).is_ok());
        let seen = hidden(&[(&corners, false)], size, Orientation::UPRIGHT);
        let mut oracle = GrayImage::new(size.0, size.1);
        let on_grid = |v: f64, n: u32| (v * f64::from(n)).floor() as i32;
        let points: Vec<_> = corners.iter().map(|c| Point::new(on_grid(c.0, size.0), on_grid(c.1, size.1))).collect();
        prop_assume!(points.first() != points.last());
        draw_polygon_mut(&mut oracle, &points, Luma([255]));
        let drawn = |(x, y): (u32, u32)| oracle.get_pixel(x, y).0[0] == 255;
        for (x, y) in (0..size.1).flat_map(|y| (0..size.0).map(move |x| (x, y))) {
            let near_ours = neighbours(x, y, size).any(|(x, y)| seen.at(x, y));
            prop_assert!(near_ours || !drawn((x, y)), "pixel {x}, {y} is the oracle's alone");
            let near_theirs = neighbours(x, y, size).any(drawn);
            prop_assert!(near_theirs || !seen.at(x, y), "pixel {x}, {y} is ours alone");
        }
    }

    /// A zone of the upright picture lies at the same place in every stored orientation.
    #[test]
    fn zones_follow_the_orientation(corners in star(), stored in (5u32..30, 5u32..30), o in orientation()) {
        prop_assume!(Polygon::new(corners.clone()).is_ok());
        let upright = hidden(&[(&corners, false)], o.upright_size(stored), Orientation::UPRIGHT);
        let turned = hidden(&[(&corners, false)], stored, o);
        for (x, y) in (0..stored.1).flat_map(|y| (0..stored.0).map(move |x| (x, y))) {
            let (ux, uy) = o.to_upright((f64::from(x) + 0.5, f64::from(y) + 0.5), stored);
            prop_assert_eq!(turned.at(x, y), upright.at(ux as u32, uy as u32));
        }
    }

    /// No input makes the constructor panic, and what it accepts can be drawn.
    #[test]
    fn any_corners_are_judged(corners in prop::collection::vec((-0.2..1.2f64, -0.2..1.2f64), 0..9)) {
        let outside = corners.iter().any(|c| !(0.0..=1.0).contains(&c.0) || !(0.0..=1.0).contains(&c.1));
        match Polygon::new(corners.clone()) {
            Ok(_) => {
                prop_assert!(!outside && corners.len() >= 3);
                prop_assert!(hidden(&[(&corners, false)], (9, 7), Orientation::UPRIGHT).count() > 0);
            }
            Err(why) => prop_assert!(!why.to_string().is_empty()),
        }
    }
}

fn neighbours(x: u32, y: u32, (w, h): (u32, u32)) -> impl Iterator<Item = (u32, u32)> {
    let (xs, ys) = (x.saturating_sub(1)..(x + 2).min(w), y.saturating_sub(1)..(y + 2).min(h));
    ys.flat_map(move |y| xs.clone().map(move |x| (x, y)))
}

const SQUARE: [(f64, f64); 4] = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)];

#[test]
fn bad_corners_are_refused() {
    let refused = |corners: &[(f64, f64)], why: &str| {
        let error = Polygon::new(corners).unwrap_err();
        assert!(error.to_string().contains(why), "{corners:?}: {error}");
    };
    refused(&[], "at least 3");
    refused(&[(0.1, 0.1), (0.9, 0.9)], "at least 3");
    refused(&[(0.1, 0.1), (0.9, 0.9), (0.1, 0.1)], "at least 3");
    refused(&[(0.1, 0.1), (0.1, 0.1), (0.9, 0.9)], "at least 3");
    refused(&[(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)], "cross");
    refused(&[(0.1, 0.1), (0.5, 0.1), (0.9, 0.1)], "");
    refused(&[(0.1, 0.1), (0.9, 0.1), (0.5, 0.1), (0.5, 0.9)], "cross");
    refused(&[(0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (1.0, 1.0), (0.0, 1.0), (0.5, 0.5)], "cross");
    refused(&[(0.1, 0.1), (1.2, 0.1), (0.5, 0.9)], "outside");
    refused(&[(0.1, -0.001), (0.9, 0.1), (0.5, 0.9)], "outside");
    refused(&[(0.1, f64::NAN), (0.9, 0.1), (0.5, 0.9)], "outside");
    refused(&[(f64::INFINITY, 0.1), (0.9, 0.1), (0.5, 0.9)], "outside");
    let circle = |n: usize| {
        let corner = |i| (i as f64 / n as f64 * std::f64::consts::TAU).sin_cos();
        (0..n).map(corner).map(|(s, c)| (0.5 + 0.4 * c, 0.5 + 0.4 * s)).collect::<Vec<_>>()
    };
    assert!(Polygon::new(circle(256)).is_ok());
    refused(&circle(257), "too many");
    // Closed by hand, drawn the other way round, edges on the border of the picture: all fine.
    assert!(Polygon::new([(0.1, 0.1), (0.9, 0.1), (0.5, 0.9), (0.1, 0.1)]).is_ok());
    assert!(Polygon::new([(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]).is_ok());
}

#[test]
fn bad_rectangles_are_none() {
    assert!(Rect::new(f32::NAN, 0.0, 1.0, 1.0).is_none());
    assert!(Rect::new(0.0, 0.0, f32::INFINITY, 1.0).is_none());
    assert!(Rect::new(0.0, 0.0, 0.0, 1.0).is_none());
    assert!(Rect::new(0.0, 0.0, 1.0, -1.0).is_none());
    assert!(Rect::new(3e38, 0.0, 3e38, 1.0).is_none());
    assert!(Rect::from_corners(2.0, 0.0, 1.0, 1.0).is_none());
}

#[test]
fn a_square_on_whole_pixels_is_exact() {
    let seen = hidden(&[(&SQUARE, false)], (16, 8), Orientation::UPRIGHT);
    assert_eq!((seen.bounds(), seen.count()), (Some((4, 2, 12, 6)), 32));
    // Not on whole pixels: rounded outward, and inward when inverted.
    let seen = hidden(&[(&SQUARE, false)], (18, 10), Orientation::UPRIGHT);
    assert_eq!((seen.bounds(), seen.count()), (Some((4, 2, 14, 8)), 60));
    let seen = hidden(&[(&SQUARE, true)], (18, 10), Orientation::UPRIGHT);
    assert_eq!(seen.count(), 180 - 8 * 4);
    assert!(!seen.at(5, 3) && !seen.at(12, 6) && seen.at(4, 3) && seen.at(13, 6));
}

#[test]
fn everything_outside_two_inverted_zones_is_hidden() {
    let left = [(0.0, 0.0), (0.25, 0.0), (0.25, 1.0), (0.0, 1.0)];
    let right = [(0.5, 0.0), (0.75, 0.0), (0.75, 1.0), (0.5, 1.0)];
    let top = [(0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 0.5)];
    let size = (16, 8);
    let seen = hidden(&[(&left, true), (&right, true)], size, Orientation::UPRIGHT);
    let seen_with_top = hidden(&[(&left, true), (&top, false), (&right, true)], size, Orientation::UPRIGHT);
    for (x, y) in (0..8).flat_map(|y| (0..16).map(move |x| (x, y))) {
        let visible = x < 4 || (8..12).contains(&x);
        assert_eq!(seen.at(x, y), !visible, "{x}, {y}");
        assert_eq!(seen_with_top.at(x, y), !visible || y < 4, "{x}, {y}");
    }
}

#[test]
fn a_notch_of_a_concave_zone_stays_visible() {
    let corners =
        [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.75, 1.0), (0.75, 0.5), (0.25, 0.5), (0.25, 1.0), (0.0, 1.0)];
    let seen = hidden(&[(&corners, false)], (16, 16), Orientation::UPRIGHT);
    for (x, y) in (0..16).flat_map(|y| (0..16).map(move |x| (x, y))) {
        assert_eq!(seen.at(x, y), y < 8 || !(4..12).contains(&x), "{x}, {y}");
    }
}

#[test]
fn zones_thinner_than_a_pixel_still_hide() {
    let sliver = [(0.0, 0.503), (1.0, 0.503), (1.0, 0.504)];
    let seen = hidden(&[(&sliver, false)], (20, 20), Orientation::UPRIGHT);
    assert_eq!(seen.bounds(), Some((0, 10, 20, 11)));
    assert_eq!(seen.count(), 20);
    let dot = [(0.51, 0.51), (0.511, 0.51), (0.51, 0.511)];
    assert_eq!(hidden(&[(&dot, false)], (20, 20), Orientation::UPRIGHT).bounds(), Some((10, 10, 11, 11)));
}

/// The tags of EXIF 2.32: where the first row and the first column of the stored picture are in the upright one.
#[test]
fn orientations_are_those_of_exif() {
    // For each tag, where the stored left upper pixel (0.5, 0.5) of a 4 x 3 picture stands.
    let corners =
        [(0.5, 0.5), (3.5, 0.5), (3.5, 2.5), (0.5, 2.5), (0.5, 0.5), (2.5, 0.5), (2.5, 3.5), (0.5, 3.5)];
    // And the one to its right, (1.5, 0.5).
    let next =
        [(1.5, 0.5), (2.5, 0.5), (2.5, 2.5), (1.5, 2.5), (0.5, 1.5), (2.5, 1.5), (2.5, 2.5), (0.5, 2.5)];
    for tag in 1..=8u8 {
        let o = Orientation::from_exif(tag).unwrap();
        let i = usize::from(tag) - 1;
        assert_eq!(o.to_upright((0.5, 0.5), (4, 3)), corners[i], "tag {tag}");
        assert_eq!(o.to_upright((1.5, 0.5), (4, 3)), next[i], "tag {tag}");
        assert_eq!(o.upright_size((4, 3)), if tag < 5 { (4, 3) } else { (3, 4) });
    }
    assert!(Orientation::from_exif(0).is_none() && Orientation::from_exif(9).is_none());
}

#[test]
fn frame_formats_lay_out_every_size() {
    for pixel in FORMATS {
        for (w, h) in [(1, 1), (2, 3), (63, 5), (64, 64), (65, 1)] {
            let format = FrameFormat::new(pixel, w, h).unwrap();
            let mut end = 0;
            for p in format.planes() {
                assert_eq!(p.offset, end);
                assert!(p.stride >= p.row_bytes() && p.stride % milkglass::picture::ROW_ALIGNMENT == 0);
                assert!(p.width << p.shift.0 >= w && p.height << p.shift.1 >= h);
                end += p.stride * p.height as usize;
            }
            assert_eq!(format.buffer_len(), end);
        }
        for (w, h) in [(0, 1), (1, 0), (16_385, 1), (1, 16_385), (16_384, 16_384)] {
            assert!(FrameFormat::new(pixel, w, h).is_err(), "{w}x{h}");
        }
    }
}
