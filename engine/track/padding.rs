//! `shape = "padded"`: regions whose place and size tell little of who is behind them.
//!
//! Boxes around faces of several people at one place differ by a few per cent in size and height, which is enough to tell
//! them apart (docs/THREAT-MODEL.md). So a side is rounded up to a step, and a centre to a grid of half a side. Where steps
//! and grid begin is drawn anew for each track, so neither names a place; and a region stays where it is for as long as it
//! will do, since each move would tell where the face is just then.

use std::hash::{BuildHasher, RandomState};

use crate::geometry::PixelRect;

/// Steps of a side for one doubling: each is 1.41 times the one below.
const STEPS: f32 = 2.0;
/// A region may be this many steps larger than it need be before it is drawn in again.
const SLACK: i32 = 1;
/// Between two lines of the grid, in sides. Rounding moves a centre by half of that at the most, so a side is at least
/// this much longer than what it must cover.
const GRID: f32 = 0.5;

/// How the regions of one track are padded.
#[derive(Debug)]
pub(super) struct Padding {
    axes: [Axis; 2],
}

/// One axis of them.
#[derive(Debug)]
struct Axis {
    /// Where the steps begin, in steps, and the grid, in lines: 0 to 1.
    begin: (f32, f32),
    /// What is hidden now, and its step.
    held: Option<(u32, u32, i32)>,
}

impl Padding {
    /// For one track; `secret` is known to nobody, and the same for all tracks of a picture.
    pub fn new(secret: &RandomState, track: u64) -> Padding {
        let drawn = secret.hash_one(track).to_le_bytes();
        let share = |i: usize| f32::from(u16::from_le_bytes([drawn[i], drawn[i + 1]])) / 65536.0;
        Padding { axes: [(share(0), share(2)), (share(4), share(6))].map(|begin| Axis { begin, held: None }) }
    }

    /// A region that covers all of `needed`, which must lie in the picture.
    pub fn cover(&mut self, needed: PixelRect, (width, height): (u32, u32)) -> PixelRect {
        let unit = width.min(height) as f32;
        let [x, y] = &mut self.axes;
        let fits = |axis: &Axis, from: u32, to: u32| axis.fits(from, to, unit);
        if !(fits(x, needed.x0, needed.x1) && fits(y, needed.y0, needed.y1)) {
            x.place(needed.x0, needed.x1, unit, width);
            y.place(needed.y0, needed.y1, unit, height);
        }
        let ends = |axis: &Axis, from: u32, to: u32| axis.held.map_or((from, to), |(x0, x1, _)| (x0, x1));
        let ((x0, x1), (y0, y1)) = (ends(x, needed.x0, needed.x1), ends(y, needed.y0, needed.y1));
        PixelRect { x0, y0, x1, y1 }
    }
}

impl Axis {
    /// The smallest step whose side can cover a length wherever the grid lies.
    fn step(&self, length: u32, unit: f32) -> i32 {
        let least = length.max(1) as f32 / (1.0 - GRID);
        ((least / unit).log2() * STEPS + self.begin.0).ceil() as i32
    }

    /// Whether what is hidden now covers it, and is not much larger than it need be.
    fn fits(&self, from: u32, to: u32, unit: f32) -> bool {
        self.held.is_some_and(|(x0, x1, step)| {
            x0 <= from && x1 >= to && step - self.step(to - from, unit) <= SLACK
        })
    }

    fn place(&mut self, from: u32, to: u32, unit: f32, size: u32) {
        let step = self.step(to - from, unit);
        let side = unit * ((step as f32 - self.begin.0) / STEPS).exp2();
        let line = side * GRID;
        let center = (((from + to) as f32 / 2.0 / line - self.begin.1).round() + self.begin.1) * line;
        // Whatever rounding did to it, all that was asked for is in it.
        let start = ((center - side / 2.0).floor() as u32).min(from);
        let end = ((center + side / 2.0).ceil() as u32).min(size).max(to);
        self.held = Some((start, end, step));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: (u32, u32) = (640, 480);

    fn rect(x: u32, y: u32, w: u32, h: u32) -> PixelRect {
        PixelRect { x0: x, y0: y, x1: (x + w).min(SIZE.0), y1: (y + h).min(SIZE.1) }
    }

    fn padding(begin: [(f32, f32); 2]) -> Padding {
        Padding { axes: begin.map(|begin| Axis { begin, held: None }) }
    }

    proptest! {
        #[test]
        fn whatever_moves_about_is_covered(
            begin in prop::array::uniform2((0.0..1.0f32, 0.0..1.0f32)),
            path in prop::collection::vec((0..640u32, 0..480u32, 1..640u32, 1..480u32), 1..40),
        ) {
            let mut padding = padding(begin);
            for (x, y, w, h) in path {
                let needed = rect(x, y, w, h);
                let region = padding.cover(needed, SIZE);
                prop_assert!(region.contains(&needed), "{needed:?} in {region:?}");
                prop_assert!(PixelRect::whole(SIZE.0, SIZE.1).contains(&region), "{region:?}");
                // Twice what is needed by the grid, up to a step more by rounding, and one more of patience.
                let most = |n: u32| n as f32 * 2.0 * 2.0 + 2.0;
                prop_assert!(region.width() as f32 <= most(needed.width()), "{needed:?} in {region:?}");
                prop_assert!(region.height() as f32 <= most(needed.height()), "{needed:?} in {region:?}");
            }
        }
    }

    /// The middle of a region is as likely anywhere within a line of the grid, and its size within a step, whoever it is.
    #[test]
    fn a_track_begins_its_steps_and_its_grid_anywhere() {
        let secret = RandomState::new();
        let needed = rect(280, 200, 60, 80);
        let regions: Vec<_> =
            (0..2000).map(|track| Padding::new(&secret, track).cover(needed, SIZE)).collect();
        let spread = |of: fn(&PixelRect) -> f32| {
            let (least, most) =
                regions.iter().map(of).fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(v), b.max(v)));
            let mean = regions.iter().map(of).sum::<f32>() / regions.len() as f32;
            (least, mean, most)
        };
        // Height 160 to 226, and a middle up to a quarter of that from 240.
        let (least, _, most) = spread(|r| r.height() as f32);
        assert!(least < 163.0 && most > 223.0 && least >= 160.0 && most <= 228.0, "{least} to {most}");
        let (least, mean, most) = spread(|r| (r.y0 + r.y1) as f32 / 2.0);
        assert!(least < 195.0 && most > 285.0, "{least} to {most}");
        assert!((mean - 240.0).abs() < 4.0, "the mean tells where it is anyway: {mean}");
        // Another run draws anew.
        let other = RandomState::new();
        let same = (0..200).filter(|&t| Padding::new(&other, t).cover(needed, SIZE) == regions[t as usize]);
        assert!(same.count() < 20);
    }

    #[test]
    fn small_movements_and_sizes_do_not_show() {
        let secret = RandomState::new();
        for track in 0..200 {
            let mut padding = Padding::new(&secret, track);
            let first = padding.cover(rect(300, 200, 60, 80), SIZE);
            // Away from the edge of its region, a face breathes and nods.
            let (cx, cy) = ((first.x0 + first.x1) / 2, (first.y0 + first.y1) / 2);
            for (dx, dy, more) in [(0, 0, 0), (3, 5, 4), (6, 2, 8), (1, 9, 3)] {
                let nod = rect(cx - 30 + dx, cy - 40 + dy, 60 + more, 80 - more);
                assert_eq!(padding.cover(nod, SIZE), first);
            }
        }
    }

    /// Somebody who walks away is not followed by a region for whoever stands close for ever.
    #[test]
    fn a_region_that_is_much_too_large_is_drawn_in() {
        let mut padding = padding([(0.3, 0.6), (0.8, 0.1)]);
        let near = padding.cover(rect(200, 100, 150, 200), SIZE);
        let far = padding.cover(rect(300, 200, 30, 40), SIZE);
        assert!(far.width() * 3 < near.width() && far.height() * 3 < near.height(), "{near:?}, {far:?}");
    }
}
