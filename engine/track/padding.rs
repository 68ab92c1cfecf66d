//! `shape = "padded"`: regions whose place and size tell little of who is behind them.
//!
//! Boxes around faces of several people at one place differ by a few per cent in size and height, which is enough to tell
//! them apart (docs/THREAT-MODEL.md). So a side is rounded up to a step, which leaves room of at least its own length beside
//! what it must cover, and how much of that room lies before it is drawn at random. Both draws, where steps begin and how the
//! room is shared out, are made anew for each track and hold as long as it lives, so that nobody can average them; and a region
//! stays where it is for as long as it will do, since each move would tell where the face is just then.

use std::hash::{BuildHasher, RandomState};

use crate::geometry::PixelRect;

/// Steps of a side for one doubling: each is 1.59 times the one below.
const STEPS: f32 = 1.5;
/// A region may be this many steps larger than it need be before it is drawn in again.
const SLACK: i32 = 1;
/// A side is at least so many times as long as what it must cover. What is known of a place is then spread over as much
/// again, or more.
const ROOM: f32 = 2.0;

/// How the regions of one track are padded.
#[derive(Debug)]
pub(super) struct Padding {
    axes: [Axis; 2],
}

/// One axis of them.
#[derive(Debug)]
struct Axis {
    /// Where the steps begin, in steps: 0 to 1.
    begin: f32,
    /// The share of the room that lies before what is covered, to the left or above: 0 to 1.
    before: f32,
    /// What is hidden now, and its step.
    held: Option<(u32, u32, i32)>,
}

impl Padding {
    /// For one track; `secret` is known to nobody, and the same for all tracks of a picture.
    pub fn new(secret: &RandomState, track: u64) -> Padding {
        let drawn = secret.hash_one(track).to_le_bytes();
        let share = |i: usize| f32::from(u16::from_le_bytes([drawn[i], drawn[i + 1]])) / 65536.0;
        let axes = [(share(0), share(2)), (share(4), share(6))];
        Padding { axes: axes.map(|(begin, before)| Axis { begin, before, held: None }) }
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
    /// The smallest step whose side covers a length and has its room.
    fn step(&self, length: u32, unit: f32) -> i32 {
        let least = length.max(1) as f32 * ROOM;
        ((least / unit).log2() * STEPS + self.begin).ceil() as i32
    }

    /// Whether what is hidden now covers it, and is not much larger than it need be.
    fn fits(&self, from: u32, to: u32, unit: f32) -> bool {
        self.held.is_some_and(|(x0, x1, step)| {
            x0 <= from && x1 >= to && step - self.step(to - from, unit) <= SLACK
        })
    }

    fn place(&mut self, from: u32, to: u32, unit: f32, size: u32) {
        let step = self.step(to - from, unit);
        let side = unit * ((step as f32 - self.begin) / STEPS).exp2();
        let start = from as f32 - self.before * (side - (to - from) as f32);
        // Whatever rounding did to it, all that was asked for is in it.
        let end = ((start + side).ceil() as u32).min(size).max(to);
        let start = (start.floor() as u32).min(from);
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
        Padding { axes: begin.map(|(begin, before)| Axis { begin, before, held: None }) }
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
                // Twice what is needed for room, up to a step more by rounding, and one more of patience.
                let most = |n: u32| n as f32 * ROOM * 2.0_f32.powf(2.0 / STEPS) + 2.0;
                prop_assert!(region.width() as f32 <= most(needed.width()), "{needed:?} in {region:?}");
                prop_assert!(region.height() as f32 <= most(needed.height()), "{needed:?} in {region:?}");
            }
        }
    }

    /// The middle of a region is as likely anywhere within its room, and its size within a step, whoever it is.
    #[test]
    fn a_track_begins_its_steps_and_shares_out_its_room_anyhow() {
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
        // Height 160 to 254, and a middle up to half of what is left of that from 240.
        let (least, _, most) = spread(|r| r.height() as f32);
        assert!(least < 163.0 && most > 250.0 && least >= 160.0 && most <= 256.0, "{least} to {most}");
        let (least, mean, most) = spread(|r| (r.y0 + r.y1) as f32 / 2.0);
        assert!(least < 175.0 && most > 305.0, "{least} to {most}");
        assert!((mean - 240.0).abs() < 4.0, "the mean tells where it is anyway: {mean}");
        // It is not likelier in the middle of its room than at one of its ends.
        let near = |at: f32| {
            let shares = regions.iter().map(|r| (200 - r.y0) as f32 / (r.height() - 80) as f32);
            shares.filter(|share| (share - at).abs() < 0.1).count()
        };
        let counts = [0.1, 0.3, 0.5, 0.7, 0.9].map(near);
        assert!(counts.iter().all(|count| (300..500).contains(count)), "{counts:?}");
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
