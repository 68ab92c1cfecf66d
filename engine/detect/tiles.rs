//! A picture in equal tiles that overlap, and which of them is next.

use crate::geometry::{PixelRect, Rect};
use crate::picture::FrameFormat;

/// Side of the blocks by which motion is told. What a tile is responsible for is whole blocks, so that none lies between two
/// tiles.
const BLOCK: u32 = 16;

/// The tiles of pictures of one format, and how long ago each was looked at.
pub(super) struct Tiles {
    whole: FrameFormat,
    /// Width and height of a tile.
    size: (u32, u32),
    /// Where tiles begin, from left to right and from top to bottom.
    columns: Vec<u32>,
    rows: Vec<u32>,
    /// Looks since each tile was looked at.
    age: Vec<u32>,
    looks: u32,
}

impl Tiles {
    /// Tiles of `size` pixels of the stored picture, or as wide or high as that where it is smaller. Neighbours share at
    /// least `overlap` pixels of a row or column: a face up to half as large that touches [`Tiles::inner`] lies in the tile whole, but for what
    /// sticks out by less than a block.
    pub fn new(whole: &FrameFormat, size: (u32, u32), overlap: (u32, u32)) -> Tiles {
        let (w, h) = whole.size();
        let size = (size.0.min(w), size.1.min(h));
        let (columns, rows) = (places(w, size.0, overlap.0), places(h, size.1, overlap.1));
        let count = (columns.len() * rows.len()) as u32;
        // The first round goes in the order of reading.
        Tiles { whole: *whole, size, columns, rows, age: (0..count).rev().collect(), looks: 0 }
    }

    /// A single tile: the whole picture.
    pub fn one(whole: &FrameFormat) -> Tiles {
        Tiles::new(whole, whole.size(), (0, 0))
    }

    /// True for pictures of the format that these were made for.
    pub fn fits(&self, whole: &FrameFormat) -> bool {
        self.whole == *whole
    }

    pub fn count(&self) -> usize {
        self.age.len()
    }

    /// What a tile holds.
    fn tile(&self, tile: usize) -> PixelRect {
        let (x0, y0) = (self.columns[tile % self.columns.len()], self.rows[tile / self.columns.len()]);
        PixelRect { x0, y0, x1: x0 + self.size.0, y1: y0 + self.size.1 }
    }

    /// What each tile holds, in pixels of the upright picture.
    pub fn upright(&self) -> impl Iterator<Item = PixelRect> {
        let corner =
            |x: u32, y: u32| self.whole.orientation().to_upright((x.into(), y.into()), self.whole.size());
        (0..self.count()).map(move |tile| {
            let PixelRect { x0, y0, x1, y1 } = self.tile(tile);
            let (a, b) = (corner(x0, y0), corner(x1, y1));
            let ((x0, x1), (y0, y1)) = ((a.0.min(b.0), a.0.max(b.0)), (a.1.min(b.1), a.1.max(b.1)));
            PixelRect { x0: x0 as u32, y0: y0 as u32, x1: x1 as u32, y1: y1 as u32 }
        })
    }

    /// Width and height of a tile in the upright picture.
    pub fn upright_size(&self) -> (u32, u32) {
        self.whole.orientation().upright_size(self.size)
    }

    /// What a tile is responsible for: up to the middle of the overlap on each side. These areas cover the picture.
    pub fn inner(&self, tile: usize) -> PixelRect {
        let span = |starts: &[u32], at: usize, length: u32, side: u32| {
            let from = if at == 0 { 0 } else { (starts[at] + starts[at - 1] + length) / 2 };
            let to = starts.get(at + 1).map_or(side, |next| (next + starts[at] + length) / 2);
            (from / BLOCK * BLOCK, if to == side { side } else { to / BLOCK * BLOCK })
        };
        let (column, row) = (tile % self.columns.len(), tile / self.columns.len());
        let (x0, x1) = span(&self.columns, column, self.size.0, self.whole.width());
        let (y0, y1) = span(&self.rows, row, self.size.1, self.whole.height());
        PixelRect { x0, y0, x1, y1 }
    }

    /// Whether a box (pixels of the picture) is cut by an edge of a tile that is not the picture's: another tile sees it
    /// whole.
    pub fn cuts(&self, tile: usize, found: &Rect, margin: (f32, f32)) -> bool {
        let ((w, h), at) = (self.whole.size(), self.tile(tile));
        (at.x0 > 0 && found.x0() < at.x0 as f32 + margin.0)
            || (at.y0 > 0 && found.y0() < at.y0 as f32 + margin.1)
            || (at.x1 < w && found.x1() > at.x1 as f32 - margin.0)
            || (at.y1 < h && found.y1() > at.y1 as f32 - margin.1)
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

/// Where tiles begin along a side: as few as share so many pixels. At even pixels, where samples of every plane begin.
fn places(side: u32, length: u32, overlap: u32) -> Vec<u32> {
    let last = side - length;
    let all = |gaps: u32| (0..=gaps).map(move |i| if i == gaps { last } else { last * i / gaps / 2 * 2 });
    // With a gap of two pixels each there are no more to be had.
    let most = length.saturating_sub(overlap).max(4);
    let enough = |gaps: &u32| all(*gaps).zip(all(*gaps).skip(1)).all(|(a, b)| b - a <= most);
    let gaps = (1..last / 2).find(enough).unwrap_or(1);
    if last == 0 { vec![0] } else { all(gaps).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::pass_input::TILE_OVERLAP;
    use crate::geometry::Orientation;
    use crate::picture::PixelFormat;
    use crate::policy::TILE;

    /// The tiles of `Settings::in_tiles` in a picture of 1920 pixels or less.
    fn tiles(w: u32, h: u32) -> Tiles {
        Tiles::new(&FrameFormat::new(PixelFormat::Nv12, w, h).unwrap(), TILE, (TILE_OVERLAP, TILE_OVERLAP))
    }

    /// Every pixel belongs to exactly one tile's inner area, far enough from that tile's edges within the picture.
    #[test]
    fn inner_areas_cover_the_picture_once() {
        let least = TILE_OVERLAP / 2 - BLOCK;
        for (w, h) in
            [(1920, 1080), (1280, 720), (640, 480), (3840, 2160), (1366, 768), (641, 673), (17, 2000)]
        {
            let tiles = tiles(w, h);
            let mut area = 0;
            for tile in 0..tiles.count() {
                let (whole, inner) = (tiles.tile(tile), tiles.inner(tile));
                assert!(
                    whole.width() == TILE.0.min(w) && whole.height() == TILE.1.min(h),
                    "{w}x{h}: {whole:?}"
                );
                area += u64::from(inner.width()) * u64::from(inner.height());
                for (from, to, a, b, side) in
                    [(whole.x0, whole.x1, inner.x0, inner.x1, w), (whole.y0, whole.y1, inner.y0, inner.y1, h)]
                {
                    assert!(a == 0 && from == 0 || a >= from + least, "{w}x{h} tile {tile}: {a} {from}");
                    assert!(b == side && to == side || b + least <= to, "{w}x{h} tile {tile}: {b} {to}");
                }
            }
            assert_eq!(area, u64::from(w) * u64::from(h), "{w}x{h}");
        }
    }

    /// Cut is what ends at an edge of a tile that is not the picture's, in every orientation's upright picture too.
    #[test]
    fn tiles_lie_upright_where_their_boxes_do() {
        for orientation in (1..=8).filter_map(Orientation::from_exif) {
            let format =
                FrameFormat::new(PixelFormat::Nv12, 1280, 721).unwrap().with_orientation(orientation);
            let tiles = Tiles::new(&format, TILE, (TILE_OVERLAP, TILE_OVERLAP));
            for (tile, upright) in tiles.upright().enumerate() {
                assert_eq!((upright.width(), upright.height()), tiles.upright_size());
                let PixelRect { x0, y0, x1, y1 } = upright;
                let rect = Rect::from_corners(x0 as f32, y0 as f32, x1 as f32, y1 as f32).unwrap();
                let stored = orientation.rect_to_stored(&rect, format.size()).unwrap();
                assert_eq!(stored.outward(1280, 721), tiles.tile(tile), "{orientation:?}");
                assert!(tiles.cuts(tile, &stored, (4.0, 4.0)), "no tile is all of the picture");
                let inner = tiles.inner(tile);
                let found =
                    Rect::from_corners(inner.x0 as f32, inner.y0 as f32, inner.x1 as f32, inner.y1 as f32);
                assert!(!tiles.cuts(tile, &found.unwrap(), (4.0, 4.0)), "{orientation:?}, tile {tile}");
            }
        }
    }

    /// What a look costs is the samples that the network is given: less than one pass over 1080p at 960 pixels, since two
    /// runs cost more than one of both sizes together.
    #[test]
    fn a_look_at_a_tile_is_less_work_than_the_whole_at_960_pixels() {
        let tensor = |(w, h): (u32, u32)| f64::from(w.next_multiple_of(32) * h.next_multiple_of(32));
        let share = (tensor(tiles(1920, 1080).size) + tensor((320, 180))) / tensor((960, 540));
        assert!(share < 0.91, "{share}");
    }

    #[test]
    fn no_tile_waits_longer_than_two_rounds() {
        let mut tiles = tiles(1920, 1080);
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
