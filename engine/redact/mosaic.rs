//! Mosaics: a few quantised cells on a grid that is locked to the track, sampled once for each track.
//!
//! Several frames of a moving mosaic tell more than one (arXiv 2009.13856): each is another sample of the same face. So the
//! cells of a track are those of its first frame, stretched over its region for as long as it is there. A zone does not move
//! and has no end, and what happens in it should be seen to happen: its cells are sampled anew every half second.

use std::time::Duration;

use super::Shape;
use super::kernels::{Block, Kernels, WHOLE};
use crate::frame::{FrameFormat, PixelFormat, View, ViewMut};
use crate::geometry::PixelRect;
use crate::policy::Style;
use crate::time::Timestamp;

/// How long the cells of a zone are shown before they are sampled again.
const HOLD: Duration = Duration::from_millis(500);
/// A cell is never finer than this many luma pixels: a tiny region must not keep its pixels as "cells".
const MIN_CELL: u32 = 4;
/// Cells of all planes: at most 6 x 6, with 4 bytes (YUYV), 3 x 1 (I420), 1 + 2 (NV12) or 3 (RGB).
const MAX_BYTES: usize = MAX_CELLS * MAX_CELLS * 4;
const MAX_CELLS: usize = Style::MAX_CELLS as usize;

/// Whose cells they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MosaicKey {
    /// A track, by its number.
    Track(u64),
    /// A zone, by the policy's number and its own.
    Zone(u64, usize),
}

/// The cells now shown, one set for each track and zone.
#[derive(Default)]
pub(crate) struct Mosaics {
    held: Vec<Held>,
    lines: Lines,
}

/// Two rows of samples, each as wide as a region: what is drawn once and then copied or mixed, row by row.
#[derive(Default)]
pub(super) struct Lines([Vec<u8>; 2]);

pub(super) struct Held {
    key: MosaicKey,
    /// As named by the style: two policies may want different ones for one track.
    along: u8,
    cols: u32,
    rows: u32,
    cells: [u8; MAX_BYTES],
    sampled: Timestamp,
    used: Timestamp,
}

impl Mosaics {
    /// Drops the cells of zones that are gone.
    pub(super) fn forget_unused(&mut self, now: Timestamp) {
        self.held.retain(|h| matches!(h.key, MosaicKey::Track(_)) || h.used + HOLD >= now);
    }

    /// Drops the cells of tracks that are gone: `alive` tells of a track's number whether it is there.
    pub(crate) fn forget_tracks(&mut self, alive: impl Fn(u64) -> bool) {
        self.held.retain(|h| !matches!(h.key, MosaicKey::Track(track) if !alive(track)));
    }

    /// Forgets everything: after a change of policy, or of what may be seen.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }

    /// The cells to show for `key`: the held ones, or new ones for a new track and for a zone whose time is over.
    pub(super) fn held(
        &mut self,
        k: &Kernels,
        key: MosaicKey,
        view: View<'_>,
        area: PixelRect,
        cells: u8,
        now: Timestamp,
    ) -> (&Held, &mut Lines) {
        let at = self.held.iter().position(|h| h.key == key && h.along == cells).unwrap_or_else(|| {
            let (cols, rows) = grid(view.format(), area, cells);
            self.held.push(Held {
                key,
                along: cells,
                cols,
                rows,
                cells: [0; MAX_BYTES],
                sampled: now,
                used: now,
            });
            let last = self.held.len() - 1;
            self.held[last].sample(k, view, area);
            last
        });
        let held = &mut self.held[at];
        held.used = now;
        let ends = matches!(key, MosaicKey::Zone(..));
        if ends && (now.since(held.sampled) >= HOLD || now < held.sampled) {
            (held.cols, held.rows) = grid(view.format(), area, cells);
            held.sampled = now;
            held.sample(k, view, area);
        }
        (held, &mut self.lines)
    }
}

/// Columns and rows: `cells` along the side that is longer as it is shown, as square as may be, none finer than
/// [`MIN_CELL`].
fn grid(format: &FrameFormat, area: PixelRect, cells: u8) -> (u32, u32) {
    let (w, h) = (area.width().max(1), area.height().max(1));
    let (pixel, cells) = (format.pixel_aspect(), u32::from(cells));
    // Sides are below 2^14 and parts of the shape below 2^16.
    let (wide, high) = (w * pixel.width(), h * pixel.height());
    let short = |short: u32, long: u32| {
        ((u64::from(cells) * u64::from(short) + u64::from(long / 2)) / u64::from(long)) as u32
    };
    let (cols, rows) = if wide >= high { (cells, short(high, wide)) } else { (short(wide, high), cells) };
    (cols.clamp(1, (w / MIN_CELL).max(1)), rows.clamp(1, (h / MIN_CELL).max(1)))
}

/// Where each of `n` cells between `start` and `end` begins, and where the last one ends.
fn edges(start: u32, end: u32, n: u32) -> [u32; MAX_CELLS + 1] {
    let mut edges = [end; MAX_CELLS + 1];
    for (i, edge) in (0..n).zip(&mut edges) {
        // Sides are below 2^14, so this stays within 32 bits.
        *edge = start + (end - start) * i / n;
    }
    edges
}

impl Lines {
    /// Both, `len` bytes long. Memory is asked for only when a region is wider than any before.
    fn of(&mut self, len: usize) -> [&mut [u8]; 2] {
        self.0.each_mut().map(|line| {
            if line.len() < len {
                line.resize(len, 0);
            }
            &mut line[..len]
        })
    }
}

impl Held {
    /// Byte offset of the cells of plane `i`.
    fn offset(&self, format: &FrameFormat, i: usize) -> usize {
        let before: usize = format.planes()[..i].iter().map(|p| p.channels).sum();
        before * (self.cols * self.rows) as usize
    }

    fn cell(&self, offset: usize, n: usize, col: u32, row: u32) -> &[u8] {
        &self.cells[offset + (row * self.cols + col) as usize * n..][..n]
    }

    fn sample(&mut self, k: &Kernels, view: View<'_>, area: PixelRect) {
        let format = view.format();
        for (i, plane) in format.planes().iter().enumerate() {
            let (n, mut at) = (plane.channels, self.offset(format, i));
            let r = area.in_plane(plane.shift, plane.width, plane.height);
            let (xs, ys) = (edges(r.x0, r.x1, self.cols), edges(r.y0, r.y1, self.rows));
            let samples = view.plane(i);
            for row in ys[..=self.rows as usize].windows(2) {
                for col in xs[..=self.cols as usize].windows(2) {
                    let (width, height) = ((col[1] - col[0]) as usize, (row[1] - row[0]) as usize);
                    let mut totals = [0; 4];
                    if width > 0 && height > 0 {
                        let first = row[0] as usize * plane.stride + col[0] as usize * n;
                        let block = Block::new(&samples[first..], plane.stride, width * n, height);
                        k.sum[n - 1](block, &mut totals[..n]);
                    }
                    let mean = mean(totals, (width * height) as u64, format.pixel());
                    self.cells[at..at + n].copy_from_slice(&mean[..n]);
                    at += n;
                }
            }
        }
    }
}

/// The mean of a cell of `count` samples, quantised to 5 bits per channel.
fn mean(totals: [u64; 4], count: u64, pixel: PixelFormat) -> [u8; 4] {
    let mut mean = totals.map(|t| t / count.max(1));
    if pixel == PixelFormat::Yuyv {
        // The two lumas of a macropixel are one cell, not two.
        let luma = (mean[0] + mean[2]) / 2;
        (mean[0], mean[2]) = (luma, luma);
    }
    mean.map(|v| (v as u8 & 0xf8) | 4)
}

/// One line for each row of cells, copied into every row of samples.
pub(super) fn pixelate(
    k: &Kernels,
    view: &mut ViewMut<'_>,
    shape: &Shape<'_>,
    held: &Held,
    lines: &mut Lines,
) {
    let format = *view.format();
    for (i, plane) in format.planes().iter().enumerate() {
        let (n, offset) = (plane.channels, held.offset(&format, i));
        let r = shape.bounds().in_plane(plane.shift, plane.width, plane.height);
        let (xs, ys) = (edges(0, r.width(), held.cols), edges(r.y0, r.y1, held.rows));
        let [line, _] = lines.of(r.width() as usize * n);
        let (mut row, mut drawn) = (0, u32::MAX);
        shape.runs(plane, |y, x0, x1| {
            while row + 1 < held.rows && ys[row as usize + 1] <= y {
                row += 1;
            }
            if drawn != row {
                drawn = row;
                for (col, ends) in (0..held.cols).zip(xs.windows(2)) {
                    let samples = &mut line[ends[0] as usize * n..ends[1] as usize * n];
                    (k.fill)(samples, held.cell(offset, n, col, row));
                }
            }
            view.row_mut(i, y)[x0 as usize * n..x1 as usize * n]
                .copy_from_slice(&line[(x0 - r.x0) as usize * n..(x1 - r.x0) as usize * n]);
        });
    }
}

/// Bilinear between the centres of the cells, constant beyond the outermost ones: one line for each row of cells, and
/// rows of samples mixed of the two lines around them.
pub(super) fn blur(k: &Kernels, view: &mut ViewMut<'_>, shape: &Shape<'_>, held: &Held, lines: &mut Lines) {
    let format = *view.format();
    for (i, plane) in format.planes().iter().enumerate() {
        let (n, offset) = (plane.channels, held.offset(&format, i));
        let r = shape.bounds().in_plane(plane.shift, plane.width, plane.height);
        let mut lines = lines.of(r.width() as usize * n);
        let mut drawn = [u32::MAX; 2];
        shape.runs(plane, |y, x0, x1| {
            let (upper, t) = above(y - r.y0, r.height(), held.rows);
            let lower = (upper + 1).min(held.rows - 1);
            for row in [upper, lower] {
                let slot = row as usize % 2;
                if drawn[slot] != row {
                    drawn[slot] = row;
                    draw_ramps(lines[slot], n, held.cols, |col| held.cell(offset, n, col, row));
                }
            }
            let part = (x0 - r.x0) as usize * n..(x1 - r.x0) as usize * n;
            let to = &mut view.row_mut(i, y)[x0 as usize * n..x1 as usize * n];
            let [upper, lower] = [upper, lower].map(|row| &lines[row as usize % 2][part.clone()]);
            (k.blend)(to, upper, lower, t);
        });
    }
}

/// The row of cells whose centre lies above row `y` of `height`, and how far it is to the next one.
fn above(y: u32, height: u32, rows: u32) -> (u32, u8) {
    let whole = 2 * height;
    let at = ((2 * y + 1) * rows).saturating_sub(height).min((rows - 1) * whole);
    (at / whole, ((at % whole * u32::from(WHOLE) + height) / whole) as u8)
}

/// One ramp from the centre of each cell to the next, and a flat piece at either end.
fn draw_ramps<'a>(line: &mut [u8], n: usize, cols: u32, cell: impl Fn(u32) -> &'a [u8]) {
    let edges = edges(0, (line.len() / n) as u32, cols);
    let center = |i: u32| ((edges[i as usize] + edges[i as usize + 1]) / 2) as usize * n;
    for piece in 0..=cols {
        let (left, right) = (piece.saturating_sub(1), piece.min(cols - 1));
        let from = if piece == 0 { 0 } else { center(left) };
        let to = if piece == cols { line.len() } else { center(right) };
        let (a, b) = (cell(left), cell(right));
        match n {
            1 => ramp::<1>(&mut line[from..to], a, b),
            2 => ramp::<2>(&mut line[from..to], a, b),
            3 => ramp::<3>(&mut line[from..to], a, b),
            _ => ramp::<4>(&mut line[from..to], a, b),
        }
    }
}

/// From one value to another, each sample at its middle, in 16 fractional bits.
fn ramp<const N: usize>(line: &mut [u8], a: &[u8], b: &[u8]) {
    let (samples, _) = line.as_chunks_mut::<N>();
    let length = samples.len().max(1) as i32;
    let (mut step, mut at) = ([0; N], [0; N]);
    for c in 0..N {
        step[c] = ((i32::from(b[c]) - i32::from(a[c])) << 16) / length;
        at[c] = (i32::from(a[c]) << 16) + step[c] / 2 + (1 << 15);
    }
    for (i, sample) in (0..).zip(samples) {
        for c in 0..N {
            sample[c] = ((at[c] + step[c] * i) >> 16) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelAspect;

    #[test]
    fn cells_are_square_as_they_are_shown() {
        let grid = |w: u32, h: u32, (width, height): (u32, u32)| {
            let format = FrameFormat::new(PixelFormat::Nv12, 1000, 1000).unwrap();
            let format = format.with_pixel_aspect(PixelAspect::new(width, height).unwrap());
            grid(&format, PixelRect { x0: 0, y0: 0, x1: w, y1: h }, 4)
        };
        assert_eq!(grid(100, 100, (1, 1)), (4, 4));
        assert_eq!(grid(100, 50, (1, 1)), (4, 2));
        assert_eq!(grid(100, 100, (2, 1)), (4, 2));
        assert_eq!(grid(100, 100, (1, 2)), (2, 4));
        assert_eq!(grid(50, 100, (2, 1)), (4, 4));
        assert_eq!(grid(50, 8, (1, 8)), (3, 2), "none finer than four samples");
        assert_eq!(grid(16_384, 16_384, (8, 7)), (4, 4));
    }
}
