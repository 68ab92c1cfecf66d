//! Where the cells of zones lie: on a lattice of the whole picture, halved a few times, whatever zones there are.
//!
//! A zone stands still, so what it lets through is decided by the size of a cell in the picture and by nothing else. Were the
//! grid stretched over each zone, somebody could split a zone into many, or lay shifted ones over one another, and see more.
//! On the lattice each coarser grid is a part of each finer one: zones of one cell size show one mosaic together, and no
//! combination of zones is finer than the finest of them.

use super::mask::Mask;
use super::mosaic::MIN_CELL;
use crate::geometry::PixelRect;
use crate::picture::PlaneLayout;

/// The most often that the lattice is halved: a cell of a zone is never smaller than 1/16 of the picture's longer side. With
/// it a face as high as half of a wide picture is four to five cells high, however many zones it lies behind.
const FINEST: u8 = 4;
/// Cells along the longer side, at the most.
pub(super) const MOST: usize = 1 << FINEST;

/// How often the picture's longer side is halved for one cell: 0 to 4. More is finer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level(u8);

impl Level {
    /// The finest one that puts no more than `cells` cells along `length` luma pixels of a picture of this size.
    pub fn of(length: u32, cells: u8, size: (u32, u32)) -> Level {
        let longer = size.0.max(size.1);
        // Zones are rounded outward, by up to a pixel at either end.
        let length = length.saturating_sub(2);
        let fits = |n: u8| length << n <= longer * u32::from(cells) && longer >> n >= MIN_CELL;
        Level((1..=FINEST).rev().find(|n| fits(*n)).unwrap_or(0))
    }

    /// Cells along the picture's longer side.
    pub fn along(self) -> u32 {
        1 << self.0
    }

    /// Where the cells begin from left to right, and from top to bottom, in luma pixels.
    pub(super) fn edges(self, (width, height): (u32, u32)) -> (Edges, Edges) {
        let longer = width.max(height);
        let along = |side: u32| {
            // What is left over is a cell of its own from half a cell on, else a part of the last one; so the edges of each
            // level are edges of the next finer one, too.
            let n = ((side * self.along() + longer / 2) / longer).max(1);
            let mut edges = Edges { at: [side; MOST + 1], n };
            (0..n).zip(&mut edges.at).for_each(|(i, edge)| *edge = (i * longer) >> self.0);
            edges
        };
        (along(width), along(height))
    }
}

/// Where each of some cells in a row begins, and where the last one ends.
#[derive(Clone, Copy)]
pub(super) struct Edges {
    at: [u32; MOST + 1],
    n: u32,
}

impl Edges {
    /// `n` cells of equal width between `start` and `end`.
    pub fn equal(start: u32, end: u32, n: u32) -> Edges {
        let mut edges = Edges { at: [end; MOST + 1], n };
        // Sides are below 2^14, so this stays within 32 bits.
        (0..n).zip(&mut edges.at).for_each(|(i, edge)| *edge = start + (end - start) * i / n);
        edges
    }

    /// The same in samples of a plane with sides of `length`.
    pub fn in_plane(mut self, shift: u32, length: u32) -> Edges {
        self.at.iter_mut().for_each(|edge| *edge >>= shift);
        self.at[self.n as usize..].fill(length);
        self
    }

    /// All of them: one more than there are cells.
    #[cfg(test)]
    pub fn all(&self) -> &[u32] {
        &self.at[..=self.n as usize]
    }
    pub fn count(&self) -> u32 {
        self.n
    }
    pub fn first(&self) -> u32 {
        self.at[0]
    }
    pub fn last(&self) -> u32 {
        self.at[self.n as usize]
    }

    /// Begin and end of a cell.
    pub fn cell(&self, i: u32) -> (u32, u32) {
        (self.at[i as usize], self.at[i as usize + 1])
    }

    /// The cells that lie between `from` and `to`, even in part, and one more on either side.
    pub fn around(&self, from: u32, to: u32) -> std::ops::Range<u32> {
        let first = (0..self.n).find(|i| self.cell(*i).1 > from).unwrap_or(self.n - 1);
        let last = (0..self.n).rfind(|i| self.cell(*i).0 < to).unwrap_or(0);
        first.saturating_sub(1)..(last + 2).min(self.n)
    }
}

/// The cells of the finest lattice that a mask touches: one bit for each column, row by row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touched([u32; MOST]);

impl Touched {
    /// By the runs of luma pixels in each row.
    pub fn new(rows: &[Vec<(u32, u32)>], size: (u32, u32)) -> Touched {
        let (xs, ys) = Level(FINEST).edges(size);
        let mut touched = Touched::default();
        let mut row = 0;
        for (y, runs) in (0..).zip(rows) {
            while row + 1 < ys.count() && ys.cell(row).1 <= y {
                row += 1;
            }
            for &(from, to) in runs {
                let inside = (0..xs.count()).filter(|i| xs.cell(*i).0 < to && xs.cell(*i).1 > from);
                inside.for_each(|column| touched.0[row as usize] |= 1 << column);
            }
        }
        touched
    }

    /// Whether two masks meet, or leave no more than a cell between them.
    fn is_near(&self, other: &Touched) -> bool {
        let wide = |row: u32| row | row << 1 | row >> 1;
        let rows = |at: usize| at.saturating_sub(1)..(at + 2).min(MOST);
        (0..MOST).any(|at| rows(at).any(|other_row| wide(self.0[at]) & other.0[other_row] != 0))
    }
}

/// Chooses the cells of each mask. Masks that touch, overlap or all but touch count as one area, and each shows at most the
/// cells of its style along the longer side of all of it: one that is split shows no more than it did in one piece. Filled
/// ones count as a part of the area, too, so that filling one part shows no more of another.
pub(super) fn settle(masks: &mut [Mask], size: (u32, u32)) {
    let mut areas: Vec<usize> = (0..masks.len()).collect();
    for i in 0..masks.len() {
        for j in 0..i {
            if areas[i] != areas[j] && masks[i].touched.is_near(&masks[j].touched) {
                let (from, to) = (areas[i], areas[j]);
                areas.iter_mut().filter(|area| **area == from).for_each(|area| *area = to);
            }
        }
    }
    let lengths: Vec<u32> = areas
        .iter()
        .map(|area| {
            let same = areas.iter().zip(&*masks).filter(|(other, _)| *other == area);
            let hull = same.fold(PixelRect { x0: u32::MAX, y0: u32::MAX, x1: 0, y1: 0 }, |all, (_, mask)| {
                hull(all, mask.bounds)
            });
            if hull.is_empty() { 0 } else { hull.width().max(hull.height()) }
        })
        .collect();
    for (mask, length) in masks.iter_mut().zip(lengths) {
        mask.level = mask.style.cells().map_or(Level::default(), |cells| Level::of(length, cells, size));
    }
}

/// The smallest rectangle around both. One without area is none.
pub(super) fn hull(a: PixelRect, b: PixelRect) -> PixelRect {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b,
        (_, true) => a,
        _ => PixelRect { x0: a.x0.min(b.x0), y0: a.y0.min(b.y0), x1: a.x1.max(b.x1), y1: a.y1.max(b.y1) },
    }
}

/// The edges of a lattice in a plane.
pub(super) fn in_plane(level: Level, size: (u32, u32), plane: &PlaneLayout) -> (Edges, Edges) {
    let (xs, ys) = level.edges(size);
    (xs.in_plane(plane.shift.0, plane.width), ys.in_plane(plane.shift.1, plane.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [(u32, u32); 8] =
        [(1920, 1080), (1080, 1920), (64, 48), (97, 61), (3, 5), (16384, 16), (1, 1), (640, 641)];

    /// What makes every combination of zones as coarse as its parts.
    #[test]
    fn the_edges_of_each_level_are_edges_of_every_finer_one() {
        for size in SIZES {
            for shift in [0, 1] {
                for coarse in 0..FINEST {
                    let [(ax, ay), (bx, by)] = [coarse, coarse + 1].map(|n| Level(n).edges(size));
                    for (a, b, side) in [(ax, bx, size.0), (ay, by, size.1)] {
                        let length = side.div_ceil(1 << shift);
                        let [a, b] = [a, b].map(|edges| edges.in_plane(shift, length).all().to_vec());
                        assert!(a.is_sorted() && a[0] == 0 && a.last() == Some(&length), "{size:?}: {a:?}");
                        assert!(a.iter().all(|edge| b.contains(edge)), "{size:?}: {a:?} and {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_zone_shows_no_more_cells_than_it_may_and_none_below_the_least() {
        for size in [(1920, 1080), (1080, 1920), (640, 480), (97, 61)] {
            let longer = size.0.max(size.1);
            for cells in 2..=6 {
                let mut finest = Level(FINEST);
                for length in 1..=longer {
                    let level = Level::of(length, cells, size);
                    let cell = longer / level.along();
                    assert!(cell >= MIN_CELL && cell >= longer / 16, "{length} of {longer}: {cell}");
                    assert!((cell + 1) * u32::from(cells) >= length.saturating_sub(2), "{length}: {cell}");
                    assert!(level <= finest, "a longer zone has smaller cells");
                    finest = level;
                }
            }
        }
    }
}
