//! Zones, from corners to hidden samples. The oracle knows nothing of rows and runs: it asks of every pixel whether the
//! zone touches it, in whole numbers, so that it cannot be wrong by rounding.
#![no_main]

#[path = "../zoned.rs"]
mod zoned;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use milkglass::geometry::Orientation;
use milkglass::picture::PixelFormat;
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::{FrameFormat, Policy};
use zoned::{RAW, zoned};

/// Corners lie on a grid of so many steps a side: a power of two, so that the engine's coordinates are exact as well.
const STEPS: i64 = 256;

#[derive(Arbitrary, Debug)]
struct Drawing {
    pixel: u8,
    size: (u8, u8),
    orientation: u8,
    zones: Vec<Drawn>,
    /// Corners that are no such steps, as a file could have them: nothing is compared, and nothing may panic.
    wild: Vec<(f64, f64)>,
}

#[derive(Arbitrary, Debug)]
struct Drawn {
    corners: Vec<(u8, u8)>,
    inverted: bool,
}

fuzz_target!(|drawing: Drawing| {
    let pixels = [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24];
    let (width, height) = (u32::from(drawing.size.0 % 40) + 1, u32::from(drawing.size.1 % 40) + 1);
    let format = FrameFormat::new(pixels[usize::from(drawing.pixel) % 4], width, height);
    // YUYV has no odd widths.
    let Ok(format) = format else { return };
    let exif = drawing.orientation % 8 + 1;
    let format = format.with_orientation(Orientation::from_exif(exif).expect("1 to 8"));

    if let Ok(area) = Polygon::new(drawing.wild) {
        hidden(&format, vec![Zone::new("wild", area, Style::default()).expect("a name")]);
    }

    let (mut zones, mut drawn) = (Vec::new(), Vec::new());
    for zone in drawing.zones.iter().take(3) {
        // 255 stands for the far border.
        let step = |v: u8| if v == 255 { STEPS } else { i64::from(v) };
        let corners: Vec<(i64, i64)> = zone.corners.iter().map(|&(x, y)| (step(x), step(y))).collect();
        let points: Vec<(f64, f64)> =
            corners.iter().map(|&(x, y)| (x as f64 / STEPS as f64, y as f64 / STEPS as f64)).collect();
        let Ok(area) = Polygon::new(points) else { continue };
        zones.push(Zone::new("zone", area, Style::default()).expect("a name").inverted(zone.inverted));
        drawn.push((corners, zone.inverted));
    }
    if zones.is_empty() {
        return;
    }
    let hidden = hidden(&format, zones);
    let all = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let touched: Vec<(bool, bool)> = all
        .map(|(x, y)| {
            let at = upright((x, y), (width, height), exif);
            let touched =
                drawn.iter().map(|(c, inverted)| (touch(c, *inverted, at, format.upright_size()), *inverted));
            let touched: Vec<(Touch, bool)> = touched.collect();
            // A pixel is seen if it lies wholly in at least one of the inverted zones, and in no other zone.
            let hides = |least: Touch| {
                let of = |inverted| touched.iter().filter(move |t| t.1 == inverted).map(|t| t.0 >= least);
                of(false).any(|t| t) || (of(true).count() > 0 && of(true).all(|t| t))
            };
            (hides(Touch::Inside), hides(Touch::Border))
        })
        .collect();
    // YUYV shares a sample between two pixels.
    let shared = 1 << format.planes()[0].shift.0;
    for (at, is) in hidden.iter().enumerate() {
        let (x, y) = (at % width as usize, at / width as usize);
        let first = at - x % shared;
        let under = &touched[first..(first + shared).min((y + 1) * width as usize)];
        let (must, may) = (touched[at].0, under.iter().any(|t| t.1));
        assert!(*is || !must, "pixel {x}, {y} of {width}x{height} is seen, orientation {exif}: {drawn:?}");
        assert!(
            !*is || may,
            "pixel {x}, {y} of {width}x{height} is hidden for nothing, orientation {exif}: {drawn:?}"
        );
    }
});

/// Which luma pixels are hidden; and that all planes agree.
fn hidden(format: &FrameFormat, zones: Vec<Zone>) -> Vec<bool> {
    let policy = zones.into_iter().fold(Policy::builder(), |b, zone| b.zone(zone)).build().expect("zones");
    let frame = zoned(policy, format);
    let (view, (width, height)) = (frame.view(), format.size());
    let mut hidden = vec![false; (width * height) as usize];
    for (n, plane) in format.planes().iter().enumerate() {
        let (sx, sy) = plane.shift;
        for y in 0..plane.height {
            for (x, sample) in (0..).zip(view.row(n, y).chunks_exact(plane.channels)) {
                let raw = sample.iter().filter(|v| **v == RAW).count();
                assert!(raw == 0 || raw == sample.len(), "half a sample is hidden");
                let under = (y << sy..((y + 1) << sy).min(height)).flat_map(|y| {
                    (x << sx..((x + 1) << sx).min(width)).map(move |x| (y * width + x) as usize)
                });
                if n == 0 {
                    under.for_each(|i| hidden[i] = raw == 0);
                } else {
                    // Rounded outward: any hidden luma sample under it hides it, and nothing else does.
                    assert_eq!(raw == 0, under.into_iter().any(|i| hidden[i]), "plane {n} at {x}, {y}");
                }
            }
        }
    }
    hidden
}

/// A stored pixel in the upright picture, as EXIF draws the eight orientations.
fn upright((x, y): (u32, u32), (w, h): (u32, u32), exif: u8) -> (i64, i64) {
    let (mx, my) = (w - 1 - x, h - 1 - y);
    let (x, y) = match exif {
        1 => (x, y),
        2 => (mx, y),
        3 => (mx, my),
        4 => (x, my),
        5 => (y, x),
        6 => (my, x),
        7 => (my, mx),
        _ => (y, mx),
    };
    (i64::from(x), i64::from(y))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    No,
    /// What hides touches the pixel's border and no more, so both answers are right.
    Border,
    /// It has an area in the pixel.
    Inside,
}

type Point = (i64, i64);

/// How the hidden side of a polygon meets a pixel. A pixel is `STEPS` units wide, a step of a corner as many as the picture
/// has pixels.
fn touch(corners: &[Point], inverted: bool, (x, y): Point, (w, h): (u32, u32)) -> Touch {
    let corners: Vec<Point> = corners.iter().map(|c| (c.0 * i64::from(w), c.1 * i64::from(h))).collect();
    let edges = || corners.iter().copied().zip(corners.iter().copied().cycle().skip(1));
    let low = (x * STEPS, y * STEPS);
    let high = (low.0 + STEPS, low.1 + STEPS);
    if edges().any(|edge| passes(edge, low, high, 0)) {
        return Touch::Inside;
    }
    // No edge within, so all of it is on one side.
    let middle = (low.0 + STEPS / 2, low.1 + STEPS / 2);
    let crossed = edges()
        .filter(|&(a, b)| (a.1 > middle.1) != (b.1 > middle.1) && (side(a, b, middle) > 0) == (b.1 > a.1));
    if (crossed.count() % 2 == 1) != inverted {
        return Touch::Inside;
    }
    if edges().any(|edge| passes(edge, low, high, 1)) { Touch::Border } else { Touch::No }
}

/// Whether an edge has a point within a pixel; with `slack` 1 also on its border.
fn passes((a, b): (Point, Point), low: Point, high: Point, slack: i64) -> bool {
    let overlap = |a: i64, b: i64, low: i64, high: i64| a.max(b) + slack > low && a.min(b) - slack < high;
    let corners = [low, (low.0, high.1), (high.0, low.1), high];
    let (mut left, mut right) = (false, false);
    for c in corners {
        left |= side(a, b, c) + slack > 0;
        right |= side(a, b, c) - slack < 0;
    }
    overlap(a.0, b.0, low.0, high.0) && overlap(a.1, b.1, low.1, high.1) && left && right
}

fn side(a: Point, b: Point, p: Point) -> i64 {
    (b.0 - a.0) * (p.1 - a.1) - (b.1 - a.1) * (p.0 - a.0)
}
