//! A frame in little: how bright each small part of each plane is. Two frames are compared by it, block by block.

use super::cells::{CELL, Room};
use crate::frame::{FrameFormat, View};
use crate::geometry::PixelRect;
use crate::redact::Kernels;

/// Side of a block, in luma pixels.
pub(super) const BLOCK: u32 = 16;
/// Sums of `n` samples are unlike when they differ by more than this times the root of `n`: 4.7 standard deviations, were
/// the noise of a sample 6 levels. For 64 samples that is 5 levels of their mean, for 256 it is 2.5.
const UNLIKE: f32 = 40.0;

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

    /// Whether a block of two frames shows different things, as far as noise lets one tell.
    pub fn differs(&self, a: &Signature, b: &Signature, (x, y): (usize, usize)) -> bool {
        self.planes.iter().any(|p| p.differs(&a.0[p.start..], &b.0[p.start..], (x, y)))
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
    fn differs(&self, a: &[u16], b: &[u16], (x, y): (usize, usize)) -> bool {
        let (n, full) = (self.channels, CELL * CELL);
        for channel in 0..n {
            let (mut total, mut samples) = (0i32, 0);
            for cy in y * self.down..((y + 1) * self.down).min(self.rows) {
                for cx in x * self.across..((x + 1) * self.across).min(self.cols) {
                    let at = (cy * self.cols + cx) * n + channel;
                    let by = i32::from(a[at]) - i32::from(b[at]);
                    let width = if cx + 1 == self.cols { self.last.0 } else { CELL };
                    let height = if cy + 1 == self.rows { self.last.1 } else { CELL };
                    let count = width * height;
                    if unlike(by, count) {
                        return true;
                    }
                    total += by;
                    samples += count;
                }
            }
            if samples > full && unlike(total, samples) {
                return true;
            }
        }
        false
    }
}

fn unlike(difference: i32, samples: usize) -> bool {
    // Nearly all are whole cells, and blocks of four.
    let most = match samples {
        64 => UNLIKE * 8.0,
        256 => UNLIKE * 16.0,
        n => UNLIKE * (n as f32).sqrt(),
    };
    difference.unsigned_abs() as f32 > most
}

impl Signature {
    pub fn new(grid: &Grid) -> Signature {
        Signature(vec![0; grid.len])
    }

    /// The sums, plane by plane, row by row.
    #[cfg(any(test, feature = "bench"))]
    pub fn sums(&self) -> &[u16] {
        &self.0
    }

    /// Overwrites it with zeros.
    pub fn scrub(&mut self) {
        self.0.fill(0);
    }

    /// Sums up a frame. `room` is kept from call to call.
    pub fn measure(&mut self, view: &View<'_>, grid: &Grid, room: &mut Room, kernels: &Kernels) {
        for (i, (plane, p)) in grid.planes.iter().zip(view.format().planes()).enumerate() {
            let row_sums = plane.cols * plane.channels;
            let sums = &mut self.0[plane.start..plane.start + plane.rows * row_sums];
            let bands = view.plane(i).chunks(p.stride * CELL);
            for (band, sums) in bands.zip(sums.chunks_exact_mut(row_sums)) {
                room.sum(band, p.stride, plane.channels, sums, kernels);
            }
        }
        room.scrub();
    }
}
