//! What is drawn over each place of a picture, found out by looking: stripes of several widths go in, and where they come out
//! that much detail is kept. It knows nothing of zones, cells or how they are compared.

use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool, Outcome};
use milkglass::policy::{Style, Zone};
use milkglass::time::Timestamp;
use milkglass::{FrameFormat, Policy};

/// Widths of stripes, in luma pixels.
const WIDTHS: [u32; 5] = [2, 4, 8, 16, 32];
/// Stripes are this much darker and lighter than the middle of a step of 5 bits.
const SWING: u8 = 120;
const MIDDLE: u8 = 132;
/// Stripes are told where this share of their contrast is left. Where a fill takes a part of a cell, up to half of it can be
/// left of stripes that are finer than the cell; of those as wide as the cell all is left that the fill leaves.
const SEEN: f32 = 0.6;
/// Where this share of what is left at all is left of stripes, they are perhaps told: something larger lies over a part of the
/// cell and drowns them. Of stripes finer than a cell that nothing lies over nothing is left.
const PERHAPS: f32 = 0.2;

/// What is kept in one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kept {
    /// The widths and directions of stripes that are told, as bits.
    told: u16,
    /// Those that would be if nothing stronger took a part of the cell; all of them where too much is taken to say.
    at_most: u16,
    /// It is not one colour whatever is in the picture.
    shown: bool,
}

const ALL: u16 = u16::MAX >> (16 - 2 * WIDTHS.len());

impl Kept {
    const RAW: Kept = Kept { told: ALL, at_most: ALL, shown: true };

    pub fn is_raw(&self) -> bool {
        self.told == ALL
    }

    /// Whether stripes of one of [`WIDTHS`] are told, in either direction.
    pub fn tells(&self, width: u32) -> bool {
        let at = WIDTHS.iter().position(|w| *w == width).expect("a width that is shown");
        self.told >> (2 * at) & 0b11 != 0
    }

    pub fn is_finer_than(&self, base: &Kept) -> bool {
        self.told & !base.at_most != 0 || (self.shown && !base.shown)
    }
}

/// What is kept in each sample of each plane, of a picture whose sides are halved to cells without a rest.
pub fn detail(zones: &[Zone], format: &FrameFormat) -> Vec<Kept> {
    // A blur is drawn from the cells that a mosaic would show (tests/formats.rs); those tell how fine it is.
    let mosaic = |zone: &Zone| {
        let style = match zone.style() {
            Style::Blur { cells } => Style::Pixelate { cells },
            style => style,
        };
        let same = Zone::new(zone.name(), zone.area().clone(), style).expect("a zone as good as before");
        same.inverted(zone.is_inverted())
    };
    let samples: usize = format.planes().iter().map(|p| (p.width * p.height) as usize).sum();
    if zones.is_empty() {
        return vec![Kept::RAW; samples];
    }
    let policy = zones.iter().map(mosaic).fold(Policy::builder(), |builder, zone| builder.zone(zone));
    let pool = FramePool::new(*format, 2);
    let mut engine =
        Engine::new(policy.build().expect("zones"), pool.clone(), &[]).expect("zones need no detector");
    let mut time = 0;
    let mut shown = |width: u32, down: bool, inverted: bool| {
        // Later than cells are held.
        time += 600;
        let at = Timestamp::from_millis(time);
        let frame = pool.fill(FrameMeta { sequence: time, captured: at }, |view| {
            for (i, plane) in format.planes().iter().enumerate() {
                for y in 0..plane.height {
                    let row = view.row_mut(i, y).chunks_exact_mut(plane.channels);
                    for (x, sample) in (0..).zip(row) {
                        let along = if down { y << plane.shift.1 } else { x << plane.shift.0 };
                        let light = (along / width).is_multiple_of(2) != inverted;
                        sample.fill(if light { MIDDLE + SWING } else { MIDDLE - SWING });
                    }
                }
            }
            Ok(())
        });
        engine.push(frame.expect("no fault").expect("a buffer"), at).expect("later than the last");
        let frame = engine.release(at).expect("zones need no detection");
        assert_eq!(frame.outcome(), Outcome::Covered);
        let view = frame.view();
        let planes = format.planes().iter().enumerate();
        let rows = planes.flat_map(|(i, plane)| (0..plane.height).map(move |y| (i, y, plane.channels)));
        rows.flat_map(|(i, y, n)| view.row(i, y).iter().copied().step_by(n)).collect::<Vec<u8>>()
    };
    // All light and all dark: mosaics have values in the middle of a step, a black fill has none.
    let (light, dark) = (shown(u32::MAX, false, false), shown(u32::MAX, false, true));
    let contrast =
        |one: &[u8], other: &[u8], at: usize| f32::from(one[at].abs_diff(other[at])) / f32::from(2 * SWING);
    let all = |at: usize| contrast(&light, &dark, at);
    let is_shown = |at: usize| all(at) > 0.0 || light[at] & 7 == 4;
    let mut kept: Vec<Kept> =
        (0..samples).map(|at| Kept { told: 0, at_most: 0, shown: is_shown(at) }).collect();
    for (bit, (width, down)) in WIDTHS.iter().flat_map(|w| [(*w, false), (*w, true)]).enumerate() {
        let (one, other) = (shown(width, down, false), shown(width, down, true));
        for (at, kept) in kept.iter_mut().enumerate().filter(|(_, kept)| kept.shown) {
            let left = contrast(&one, &other, at);
            kept.told |= u16::from(left >= SEEN) << bit;
            kept.at_most |= u16::from(all(at) < 0.5 || left >= PERHAPS * all(at)) << bit;
        }
    }
    kept
}

/// The first sample at which `new` lets something be told that `base` does not.
pub fn finer(base: &[Zone], new: &[Zone], format: &FrameFormat) -> Option<String> {
    let (was, is) = (detail(base, format), detail(new, format));
    let at = was.iter().zip(&is).position(|(was, is)| is.is_finer_than(was))?;
    Some(format!("sample {at}: {:?} instead of {:?}", is[at], was[at]))
}
