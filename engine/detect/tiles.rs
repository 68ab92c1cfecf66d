//! A picture in equal tiles that overlap, and which of them is next.

use crate::frame::FrameFormat;
use crate::geometry::PixelRect;

/// Tiles begin at a multiple of so many pixels, so that each begins with whole samples of every plane.
const STEP: u32 = 16;

/// The tiles of pictures of one format, and how long ago each was looked at.
pub(super) struct Tiles {
    whole: FrameFormat,
    /// The format of each tile.
    pub part: FrameFormat,
    /// Where tiles begin, from left to right and from top to bottom.
    columns: Vec<u32>,
    rows: Vec<u32>,
    /// Looks since each tile was looked at.
    age: Vec<u32>,
    looks: u32,
}

impl Tiles {
    /// Tiles of about `size` pixels of the stored picture, or the whole where it is smaller. Neighbours share at least
    /// `overlap` pixels: a face up to half as large that touches [`Tiles::inner`] lies in the tile whole.
    pub fn new(whole: &FrameFormat, size: (u32, u32), overlap: u32) -> Tiles {
        let (w, h) = whole.size();
        let (columns, width) = places(w, size.0, overlap);
        let (rows, height) = places(h, size.1, overlap);
        let count = columns.len() * rows.len();
        Tiles {
            whole: *whole,
            part: whole.part(width, height),
            columns,
            rows,
            // The first round goes in the order of reading.
            age: (0..count as u32).rev().collect(),
            looks: 0,
        }
    }

    /// True when this is what [`Tiles::new`] would make again.
    pub fn fits(&self, whole: &FrameFormat) -> bool {
        self.whole == *whole
    }

    pub fn count(&self) -> usize {
        self.age.len()
    }

    /// Where a tile begins.
    pub fn start(&self, tile: usize) -> (u32, u32) {
        (self.columns[tile % self.columns.len()], self.rows[tile / self.columns.len()])
    }

    /// What a tile is responsible for: up to the middle of the overlap on each side. These areas cover the picture.
    pub fn inner(&self, tile: usize) -> PixelRect {
        let (w, h) = self.part.size();
        let span = |starts: &[u32], at: usize, length: u32, side: u32| {
            let from = if at == 0 { 0 } else { (starts[at] + starts[at - 1] + length) / 2 };
            let to = starts.get(at + 1).map_or(side, |next| (next + starts[at] + length) / 2);
            // Whole blocks, so that none lies between two tiles.
            (from / STEP * STEP, if to == side { side } else { to / STEP * STEP })
        };
        let (column, row) = (tile % self.columns.len(), tile / self.columns.len());
        let (x0, x1) = span(&self.columns, column, w, self.whole.width());
        let (y0, y1) = span(&self.rows, row, h, self.whole.height());
        PixelRect { x0, y0, x1, y1 }
    }

    /// Whether a box (pixels of the tile) is cut by an edge that is not the picture's: another tile sees it whole.
    pub fn cuts(&self, tile: usize, [x0, y0, x1, y1]: [f32; 4], margin: f32) -> bool {
        let ((x, y), (w, h)) = (self.start(tile), self.part.size());
        (x > 0 && x0 < margin)
            || (y > 0 && y0 < margin)
            || (x + w < self.whole.width() && x1 > w as f32 - margin)
            || (y + h < self.whole.height() && y1 > h as f32 - margin)
    }

    /// The tile to look at now: by turns the one in which most `moved`, and the one that has waited longest. So each is
    /// looked at within twice as many looks as there are tiles.
    pub fn next(&mut self, moved: impl Fn(PixelRect) -> f32) -> usize {
        self.looks = self.looks.wrapping_add(1);
        let by_motion = self.looks.is_multiple_of(2);
        let share = |tile: usize| if by_motion { moved(self.inner(tile)) } else { 0.0 };
        let shares = (0..self.count()).map(|tile| (share(tile), self.age[tile], tile));
        let best = shares.max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let tile = best.map_or(0, |b| b.2);
        self.age.iter_mut().for_each(|age| *age = age.saturating_add(1));
        self.age[tile] = 0;
        tile
    }
}

/// Where tiles begin along a side, and how long they are.
fn places(side: u32, length: u32, overlap: u32) -> (Vec<u32>, u32) {
    if side <= length {
        return (vec![0], side);
    }
    let last = (side - length) / STEP * STEP;
    let most = length.saturating_sub(overlap + STEP).max(STEP);
    let gaps = last.div_ceil(most).max(1);
    ((0..=gaps).map(|i| (last * i / gaps) / STEP * STEP).collect(), side - last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    /// Every pixel belongs to exactly one tile's inner area, far enough from that tile's edges within the picture.
    #[test]
    fn inner_areas_cover_the_picture_once() {
        for (w, h) in
            [(1920, 1080), (1280, 720), (640, 480), (3840, 2160), (1366, 768), (641, 673), (17, 2000)]
        {
            let tiles = Tiles::new(&FrameFormat::new(PixelFormat::Nv12, w, h).unwrap(), (640, 672), 192);
            let mut area = 0;
            for tile in 0..tiles.count() {
                let ((x, y), (tw, th), inner) = (tiles.start(tile), tiles.part.size(), tiles.inner(tile));
                area += u64::from(inner.width()) * u64::from(inner.height());
                for (from, to, a, b, side) in
                    [(x, x + tw, inner.x0, inner.x1, w), (y, y + th, inner.y0, inner.y1, h)]
                {
                    assert!(a == 0 && from == 0 || a >= from + 80, "{w}x{h} tile {tile}");
                    assert!(b == side && to == side || b + 80 <= to, "{w}x{h} tile {tile}: {b} {to} {side}");
                }
            }
            assert_eq!(area, u64::from(w) * u64::from(h), "{w}x{h}");
        }
    }

    /// What a look costs is the samples that the network is given: no more than one pass over 1080p at 960 pixels.
    #[test]
    fn a_look_at_a_tile_is_no_more_work_than_the_whole_at_960_pixels() {
        let tiles = Tiles::new(&FrameFormat::new(PixelFormat::Nv12, 1920, 1080).unwrap(), (640, 672), 192);
        let tensor = |(w, h): (u32, u32)| w.next_multiple_of(32) * h.next_multiple_of(32);
        assert!(tensor(tiles.part.size()) + tensor((320, 180)) <= tensor((960, 540)));
    }

    #[test]
    fn no_tile_waits_longer_than_two_rounds() {
        let mut tiles =
            Tiles::new(&FrameFormat::new(PixelFormat::Nv12, 1920, 1080).unwrap(), (640, 672), 192);
        let n = tiles.count();
        assert_eq!(n, 8);
        // A still picture: in turn.
        let first: Vec<usize> = (0..n).map(|_| tiles.next(|_| 0.0)).collect();
        assert_eq!(first, (0..n).collect::<Vec<_>>());
        // Something that never rests, in tile 5.
        let busy = tiles.inner(5);
        let mut last = vec![0; n];
        for look in 1..200 {
            let tile = tiles.next(|area| if area == busy { 0.3 } else { 0.01 });
            assert!(look - last[tile] <= 2 * n, "tile {tile} waited {} looks", look - last[tile]);
            last[tile] = look;
        }
        assert!(last.iter().all(|l| 200 - l <= 2 * n));
        assert!(last[5] >= 198);
    }
}
