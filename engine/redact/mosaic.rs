//! Mosaics: a few quantised cells on a grid that is locked to the track, sampled once for each, or to the picture for zones.
//!
//! Several frames of a moving mosaic tell more than one (arXiv 2009.13856): each is another sample of the same face. So the
//! cells of a track are those of its first frame, stretched over its region for as long as it is there. A zone does not move
//! and has no end, and what happens in it should be seen to happen: its cells are sampled anew every half second.

use std::time::Duration;

use super::Shape;
use super::kernels::{Block, Kernels, WHOLE};
use super::lattice::{Edges, Level, MOST, in_plane};
use crate::geometry::PixelRect;
use crate::picture::{FrameFormat, PixelFormat, PlaneLayout, View, ViewMut};
use crate::time::Timestamp;

/// How long the cells of a zone are shown before they are sampled again.
const HOLD: Duration = Duration::from_millis(500);
/// A cell is never finer than this many luma pixels: a tiny region must not keep its pixels as "cells".
pub(super) const MIN_CELL: u32 = 4;
/// Cells of all planes: at most 16 x 16, with 4 bytes (YUYV), 3 x 1 (I420), 1 + 2 (NV12) or 3 (RGB).
const MAX_BYTES: usize = MOST * MOST * 4;

/// Whose cells they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MosaicKey {
    /// A track, by its number.
    Track(u64),
    /// All zones whose cells are of this size.
    Zones(Level),
}

/// The cells now shown, one set for each track and each size of the cells of zones.
#[derive(Default)]
pub(crate) struct Mosaics {
    held: Vec<Held>,
    lines: Lines,
    /// Memory for the order in which shapes are drawn: how strong each is, and which it is.
    pub(super) order: Vec<(u32, u32)>,
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
    /// Where they were sampled (luma pixels).
    area: PixelRect,
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

    /// Whether there are no cells to show, or their time is over.
    pub(super) fn is_due(&self, key: MosaicKey, area: PixelRect, cells: u8, now: Timestamp) -> bool {
        let held = self.held.iter().find(|h| h.key == key && h.along == cells);
        held.is_none_or(|held| held.is_over(area, now))
    }

    /// The cells to show for `key`: the held ones, or new ones for a new track and for a zone whose time is over. `area` is where
    /// they are to be shown.
    pub(super) fn held(
        &mut self,
        k: &Kernels,
        key: MosaicKey,
        view: View<'_>,
        area: PixelRect,
        cells: u8,
        now: Timestamp,
    ) -> (&Held, &mut Lines) {
        let known = self.held.iter().position(|h| h.key == key && h.along == cells);
        let (at, new) = known.map_or((self.held.len(), true), |at| (at, self.held[at].is_over(area, now)));
        if known.is_none() {
            let (cols, rows) = (0, 0);
            let cell = [0; MAX_BYTES];
            self.held.push(Held {
                key,
                along: cells,
                cols,
                rows,
                cells: cell,
                area,
                sampled: now,
                used: now,
            });
        }
        let held = &mut self.held[at];
        held.used = now;
        if new {
            (held.sampled, held.area) = (now, area);
            held.sample(k, view);
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

/// How large a cell is that a region or a mask shows, in 1/60 of a luma pixel. Larger keeps less.
pub(super) fn cell_size(shape: &Shape<'_>, cells: u8, format: &FrameFormat) -> u32 {
    match shape {
        Shape::Rect(area) => {
            let (cols, rows) = grid(format, *area, cells);
            (area.width() * 60 / cols).max(area.height() * 60 / rows)
        }
        Shape::Mask(mask) => format.width().max(format.height()) * 60 / mask.level.along(),
    }
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
    /// A track's cells are those of its first frame for as long as it lives, stretched; those of zones must have been sampled
    /// where they are shown, not long ago.
    fn is_over(&self, area: PixelRect, now: Timestamp) -> bool {
        let elsewhere = !self.area.contains(&area);
        matches!(self.key, MosaicKey::Zones(_))
            && (now.since(self.sampled) >= HOLD || now < self.sampled || elsewhere)
    }

    /// Byte offset of the cells of plane `i`.
    fn offset(&self, format: &FrameFormat, i: usize) -> usize {
        let before: usize = format.planes()[..i].iter().map(|p| p.channels).sum();
        before * (self.cols * self.rows) as usize
    }

    fn cell(&self, offset: usize, n: usize, col: u32, row: u32) -> &[u8] {
        &self.cells[offset + (row * self.cols + col) as usize * n..][..n]
    }

    /// Where the cells begin in a plane, and end: stretched over `area`, or on the picture's lattice.
    fn edges(&self, format: &FrameFormat, plane: &PlaneLayout, area: PixelRect) -> (Edges, Edges) {
        match self.key {
            MosaicKey::Zones(level) => in_plane(level, format.size(), plane),
            MosaicKey::Track(_) => {
                let r = area.in_plane(plane.shift, plane.width, plane.height);
                (Edges::equal(r.x0, r.x1, self.cols), Edges::equal(r.y0, r.y1, self.rows))
            }
        }
    }

    fn sample(&mut self, k: &Kernels, view: View<'_>) {
        let (format, area) = (view.format(), self.area);
        let (cols, rows) = match self.key {
            MosaicKey::Track(_) => {
                (self.cols, self.rows) = grid(format, area, self.along);
                (0..self.cols, 0..self.rows)
            }
            MosaicKey::Zones(level) => {
                let (xs, ys) = level.edges(format.size());
                (self.cols, self.rows) = (xs.count(), ys.count());
                // Those next to them are mixed into a blur.
                (xs.around(area.x0, area.x1), ys.around(area.y0, area.y1))
            }
        };
        for (i, plane) in format.planes().iter().enumerate() {
            let (n, offset) = (plane.channels, self.offset(format, i));
            let (xs, ys) = self.edges(format, plane, area);
            let samples = view.plane(i);
            for row in rows.clone() {
                for col in cols.clone() {
                    let ((x0, x1), (y0, y1)) = (xs.cell(col), ys.cell(row));
                    let (width, height) = ((x1 - x0) as usize, (y1 - y0) as usize);
                    let mut totals = [0; 4];
                    if width > 0 && height > 0 {
                        let first = y0 as usize * plane.stride + x0 as usize * n;
                        let block = Block::new(&samples[first..], plane.stride, width * n, height);
                        k.sum[n - 1](block, &mut totals[..n]);
                    }
                    let mean = mean(totals, (width * height) as u64, format.pixel());
                    let at = offset + (row * self.cols + col) as usize * n;
                    self.cells[at..at + n].copy_from_slice(&mean[..n]);
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
        let (xs, ys) = held.edges(&format, plane, shape.bounds());
        let left = xs.first();
        let [line, _] = lines.of((xs.last() - left) as usize * n);
        let (mut row, mut drawn) = (0, u32::MAX);
        shape.runs(plane, |y, x0, x1| {
            while row + 1 < held.rows && ys.cell(row).1 <= y {
                row += 1;
            }
            if drawn != row {
                drawn = row;
                for col in 0..held.cols {
                    let (from, to) = xs.cell(col);
                    let samples = &mut line[(from - left) as usize * n..(to - left) as usize * n];
                    (k.fill)(samples, held.cell(offset, n, col, row));
                }
            }
            view.row_mut(i, y)[x0 as usize * n..x1 as usize * n]
                .copy_from_slice(&line[(x0 - left) as usize * n..(x1 - left) as usize * n]);
        });
    }
}

/// Bilinear between the centres of the cells, constant beyond the outermost ones: one line for each row of cells, and
/// rows of samples mixed of the two lines around them.
pub(super) fn blur(k: &Kernels, view: &mut ViewMut<'_>, shape: &Shape<'_>, held: &Held, lines: &mut Lines) {
    let format = *view.format();
    for (i, plane) in format.planes().iter().enumerate() {
        let (n, offset) = (plane.channels, held.offset(&format, i));
        let (xs, ys) = held.edges(&format, plane, shape.bounds());
        let left = xs.first();
        let mut lines = lines.of((xs.last() - left) as usize * n);
        let mut drawn = [u32::MAX; 2];
        shape.runs(plane, |y, x0, x1| {
            let (upper, t) = match held.key {
                MosaicKey::Track(_) => above(y - ys.first(), ys.last() - ys.first(), held.rows),
                MosaicKey::Zones(_) => above_uneven(y, &ys),
            };
            let lower = (upper + 1).min(held.rows - 1);
            for row in [upper, lower] {
                let slot = row as usize % 2;
                if drawn[slot] != row {
                    drawn[slot] = row;
                    draw_ramps(lines[slot], n, &xs, |col| held.cell(offset, n, col, row));
                }
            }
            let part = (x0 - left) as usize * n..(x1 - left) as usize * n;
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

/// The same for rows of cells that are not all of one height.
fn above_uneven(y: u32, ys: &Edges) -> (u32, u8) {
    // Twice the height of each centre, and of the middle of `y`.
    let center = |row: u32| ys.cell(row).0 + ys.cell(row).1;
    let (at, last) = (2 * y + 1, ys.count() - 1);
    match (0..ys.count()).rfind(|row| center(*row) <= at) {
        None => (0, 0),
        Some(row) if row == last => (row, 0),
        Some(row) => {
            let (gone, whole) = (at - center(row), center(row + 1) - center(row));
            (row, ((gone * u32::from(WHOLE) + whole / 2) / whole) as u8)
        }
    }
}

/// One ramp from the centre of each cell to the next, and a flat piece at either end.
fn draw_ramps<'a>(line: &mut [u8], n: usize, xs: &Edges, cell: impl Fn(u32) -> &'a [u8]) {
    let cols = xs.count();
    let center = |i: u32| ((xs.cell(i).0 + xs.cell(i).1) / 2 - xs.first()) as usize * n;
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
    use crate::geometry::PixelAspect;

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
