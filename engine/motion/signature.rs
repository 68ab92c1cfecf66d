//! A frame in little: how bright each small part of each plane is. Two frames are compared by it, block by block.

use crate::geometry::PixelRect;
use crate::picture::{FrameFormat, View};
use crate::redact::{Block, CELL, Kernels};

/// Side of a block, in luma pixels. It holds whole cells of every plane.
pub(super) const BLOCK: u32 = 16;
/// Sums of `n` samples are unlike when they differ by more than this times the root of `n`: 4.7 standard deviations, were
/// the noise of a sample 6 levels. For 64 samples that is 5 levels of their mean, for 256 it is 2.5.
const UNLIKE: u32 = 40;

/// How blocks and cells lie in frames of one format.
pub(crate) struct Grid {
    size: (u32, u32),
    /// Blocks across and down.
    pub cols: usize,
    pub rows: usize,
    planes: Vec<PlaneGrid>,
    len: usize,
}

struct PlaneGrid {
    channels: usize,
    /// Cells across and down, and how many of them a block has.
    cols: usize,
    rows: usize,
    across: usize,
    down: usize,
    /// Samples in the last column and row of cells.
    last: (usize, usize),
    /// Blocks across and down, from the first, all of whose cells are whole.
    whole: (usize, usize),
    /// Where its sums begin.
    start: usize,
}

/// The sum of each cell's samples, for every channel of every plane. Made from raw samples, so it never leaves the engine;
/// it is overwritten with zeros when its frame is gone.
pub(crate) struct Signature(Vec<u16>);

impl Grid {
    pub fn new(format: &FrameFormat) -> Grid {
        let mut len = 0;
        let planes = format.planes().iter().map(|p| {
            let cells = |n: u32| (n as usize).div_ceil(CELL);
            let last = |n: u32| (n as usize - 1) % CELL + 1;
            let of_block = |shift: u32| (BLOCK as usize / CELL) >> shift;
            let (cols, rows, start) = (cells(p.width), cells(p.height), len);
            len += cols * rows * p.channels;
            PlaneGrid {
                channels: p.channels,
                cols,
                rows,
                across: of_block(p.shift.0),
                down: of_block(p.shift.1),
                last: (last(p.width), last(p.height)),
                whole: (
                    p.width as usize / (CELL * of_block(p.shift.0)),
                    p.height as usize / (CELL * of_block(p.shift.1)),
                ),
                start,
            }
        });
        let planes = planes.collect();
        let blocks = |n: u32| n.div_ceil(BLOCK) as usize;
        Grid { size: format.size(), cols: blocks(format.width()), rows: blocks(format.height()), planes, len }
    }

    /// Blocks of a frame.
    pub fn blocks(&self) -> usize {
        self.cols * self.rows
    }

    /// The pixels of the blocks `x0..x1` of a row of blocks.
    pub fn pixels(&self, (x0, x1): (usize, usize), y: usize) -> PixelRect {
        let edge = |n: usize, most: u32| (n as u32 * BLOCK).min(most);
        let (w, h) = self.size;
        PixelRect { x0: edge(x0, w), y0: edge(y, h), x1: edge(x1, w), y1: edge(y + 1, h) }
    }

    /// The blocks (x0, y0, x1, y1) that lie in an area whole.
    pub fn within(&self, area: PixelRect) -> [usize; 4] {
        let first = |v: u32| v.div_ceil(BLOCK) as usize;
        let end = |v: u32, side: u32, all: usize| if v >= side { all } else { (v / BLOCK) as usize };
        let (w, h) = self.size;
        [first(area.x0), first(area.y0), end(area.x1, w, self.cols), end(area.y1, h, self.rows)]
    }

    /// Says of the blocks `from..` in row `y`, as many as `unlike` has, whether two frames show different things there, as
    /// far as noise lets one tell.
    pub fn compare(&self, a: &Signature, b: &Signature, (from, y): (usize, usize), unlike: &mut [bool]) {
        unlike.fill(false);
        for p in &self.planes {
            p.compare(&a.0[p.start..], &b.0[p.start..], (from, y), unlike);
        }
    }

    /// Takes over the sums of these blocks.
    pub fn copy(&self, from: &Signature, to: &mut Signature, [x0, y0, x1, y1]: [usize; 4]) {
        for p in &self.planes {
            let (cx0, cx1) = (x0 * p.across, (x1 * p.across).min(p.cols));
            for cy in y0 * p.down..(y1 * p.down).min(p.rows) {
                if cx0 < cx1 {
                    let row = p.start + cy * p.cols * p.channels;
                    let span = row + cx0 * p.channels..row + cx1 * p.channels;
                    to.0[span.clone()].copy_from_slice(&from.0[span]);
                }
            }
        }
    }
}

impl PlaneGrid {
    fn compare(&self, a: &[u16], b: &[u16], (from, y): (usize, usize), unlike: &mut [bool]) {
        let whole = if y < self.whole.1 { self.whole.0.saturating_sub(from).min(unlike.len()) } else { 0 };
        let (inner, edge) = unlike.split_at_mut(whole);
        match (self.channels, self.across, self.down) {
            (1, 2, 2) => self.compare_whole::<1, 2, 2>(a, b, (from, y), inner),
            (1, 1, 1) => self.compare_whole::<1, 1, 1>(a, b, (from, y), inner),
            (2, 1, 1) => self.compare_whole::<2, 1, 1>(a, b, (from, y), inner),
            (3, 2, 2) => self.compare_whole::<3, 2, 2>(a, b, (from, y), inner),
            (4, 1, 2) => self.compare_whole::<4, 1, 2>(a, b, (from, y), inner),
            _ => self.compare_each(a, b, (from, y), inner),
        }
        self.compare_each(a, b, (from + whole, y), edge);
    }

    /// Blocks of `ACROSS` by `DOWN` whole cells of `N` channels: all the same work, without a branch.
    fn compare_whole<const N: usize, const ACROSS: usize, const DOWN: usize>(
        &self,
        a: &[u16],
        b: &[u16],
        (from, y): (usize, usize),
        unlike: &mut [bool],
    ) {
        if unlike.is_empty() {
            // There may be no such row.
            return;
        }
        let (of_cell, of_block) = (most(CELL * CELL), most(CELL * CELL * ACROSS * DOWN));
        let cells = |row: usize| {
            let start = ((y * DOWN + row) * self.cols + from * ACROSS) * N;
            start..start + unlike.len() * ACROSS * N
        };
        let rows: [_; DOWN] = std::array::from_fn(|row| (&a[cells(row)], &b[cells(row)]));
        for (i, unlike) in unlike.iter_mut().enumerate() {
            let mut differs = false;
            let mut totals = [0; N];
            for (a, b) in rows {
                let block = i * ACROSS * N..(i + 1) * ACROSS * N;
                for (at, (a, b)) in a[block.clone()].iter().zip(&b[block]).enumerate() {
                    let by = i32::from(*a) - i32::from(*b);
                    differs |= by.unsigned_abs() > of_cell;
                    totals[at % N] += by;
                }
            }
            for total in totals {
                differs |= total.unsigned_abs() > of_block;
            }
            *unlike |= differs;
        }
    }

    /// Blocks of any cells.
    fn compare_each(&self, a: &[u16], b: &[u16], (from, y): (usize, usize), unlike: &mut [bool]) {
        let n = self.channels;
        for (x, unlike) in (from..).zip(unlike) {
            for channel in 0..n {
                let (mut total, mut samples) = (0i32, 0);
                for cy in y * self.down..((y + 1) * self.down).min(self.rows) {
                    for cx in x * self.across..((x + 1) * self.across).min(self.cols) {
                        let at = (cy * self.cols + cx) * n + channel;
                        let by = i32::from(a[at]) - i32::from(b[at]);
                        let width = if cx + 1 == self.cols { self.last.0 } else { CELL };
                        let height = if cy + 1 == self.rows { self.last.1 } else { CELL };
                        *unlike |= by.unsigned_abs() > most(width * height);
                        total += by;
                        samples += width * height;
                    }
                }
                *unlike |= total.unsigned_abs() > most(samples);
            }
        }
    }
}

/// The largest difference of the sums of so many samples that may be noise.
fn most(samples: usize) -> u32 {
    (UNLIKE * UNLIKE * samples as u32).isqrt()
}

impl Signature {
    pub fn new(grid: &Grid) -> Signature {
        Signature(vec![0; grid.len])
    }

    /// The sums, plane by plane, row by row.
    #[cfg(any(test, feature = "internal"))]
    pub fn sums(&self) -> &[u16] {
        &self.0
    }

    /// Overwrites it with zeros.
    pub fn scrub(&mut self) {
        self.0.fill(0);
    }

    /// Sums up a frame.
    pub fn measure(&mut self, view: &View<'_>, grid: &Grid, kernels: &Kernels) {
        for (i, (plane, p)) in grid.planes.iter().zip(view.format().planes()).enumerate() {
            let row_sums = plane.cols * plane.channels;
            let sums = &mut self.0[plane.start..plane.start + plane.rows * row_sums];
            let bands = view.plane(i).chunks(p.stride * CELL);
            for (band, sums) in bands.zip(sums.chunks_exact_mut(row_sums)) {
                let block = Block::new(band, p.stride, p.row_bytes(), band.len().div_ceil(p.stride));
                kernels.cell_sums[plane.channels - 1](block, sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameMeta, FramePool};
    use crate::kernels::InstructionSet;
    use crate::picture::PixelFormat;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    const FORMATS: [PixelFormat; 4] =
        [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24];

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: proptest::test_runner::RngSeed::Fixed(5),
            ..ProptestConfig::default()
        })]

        /// Signatures that differ by about as much as noise may, and what the definition says of each block.
        #[test]
        fn blocks_differ_as_defined(
            (width, height) in (1u32..150, 1u32..70), which in 0usize..4, from in 0usize..4, seed in any::<u32>(),
        ) {
            let format = FrameFormat::new(FORMATS[which], width, height).unwrap();
            let grid = Grid::new(&format);
            let (mut a, mut b) = (Signature::new(&grid), Signature::new(&grid));
            let mut random = seed;
            for (a, b) in a.0.iter_mut().zip(&mut b.0) {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (*a, *b) = (8000, 8000 + (random >> 16) as u16 % 700 - 350);
            }
            let from = from.min(grid.cols - 1);
            for y in 0..grid.rows {
                let mut got = vec![true; grid.cols - from];
                grid.compare(&a, &b, (from, y), &mut got);
                for (x, got) in (from..).zip(got) {
                    let mut expected = false;
                    let mut start = 0;
                    for p in format.planes() {
                        let (cols, rows) = (p.width.div_ceil(8), p.height.div_ceil(8));
                        for channel in 0..p.channels {
                            let (mut by, mut all, mut cells) = (0.0, 0, 0);
                            for (cx, cy) in (0..cols).flat_map(|cx| (0..rows).map(move |cy| (cx, cy))) {
                                if ((cx * 8) << p.shift.0) / 16 != x as u32 || ((cy * 8) << p.shift.1) / 16 != y as u32 {
                                    continue;
                                }
                                let samples = (p.width - 8 * cx).min(8) * (p.height - 8 * cy).min(8);
                                let at = start + ((cy * cols + cx) as usize) * p.channels + channel;
                                let of_cell = f64::from(a.0[at]) - f64::from(b.0[at]);
                                expected |= of_cell.abs() > 40.0 * f64::from(samples).sqrt();
                                (by, all, cells) = (by + of_cell, all + samples, cells + 1);
                            }
                            expected |= cells > 0 && by.abs() > 40.0 * f64::from(all).sqrt();
                        }
                        start += (cols * rows) as usize * p.channels;
                    }
                    prop_assert_eq!(got, expected, "{:?}, block {},{}", format, x, y);
                }
            }
        }
    }

    /// The sums of a picture, one sample after the other.
    fn expected(view: &View<'_>) -> Vec<u16> {
        let mut all = Vec::new();
        for (i, p) in view.format().planes().iter().enumerate() {
            let (cols, n) = ((p.width as usize).div_ceil(8), p.channels);
            let mut sums = vec![0; cols * (p.height as usize).div_ceil(8) * n];
            for y in 0..p.height {
                for (at, v) in view.row(i, y).iter().enumerate() {
                    sums[(y as usize / 8 * cols + at / n / 8) * n + at % n] += u16::from(*v);
                }
            }
            all.extend(sums);
        }
        all
    }

    /// In every format and set of kernels, all widths up to a few registers, with noise and all white, where sums are the
    /// largest.
    #[test]
    fn sums_are_those_of_one_sample_at_a_time() {
        for set in InstructionSet::available() {
            let kernels = Kernels::of(set);
            for (width, white) in (1..=131).rev().flat_map(|w| [(w, false), (w, true)]) {
                for pixel in FORMATS {
                    let format = FrameFormat::new(pixel, width, 1 + width * 7 % 41).unwrap();
                    let pool = FramePool::new(format, 1);
                    let mut seed = width;
                    let frame = pool.fill(FrameMeta { sequence: 0, captured: Timestamp::ZERO }, |view| {
                        for (i, p) in format.planes().iter().enumerate() {
                            for y in 0..p.height {
                                for v in view.row_mut(i, y) {
                                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                                    *v = if white { 255 } else { (seed >> 24) as u8 };
                                }
                            }
                        }
                        Ok(())
                    });
                    let grid = Grid::new(&format);
                    let mut signature = Signature::new(&grid);
                    frame.unwrap().unwrap().look(|view| {
                        signature.measure(&view, &grid, kernels);
                        assert_eq!(signature.sums(), expected(&view), "{set:?}: {format:?}");
                    });
                }
            }
        }
    }
}
