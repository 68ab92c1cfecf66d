//! Mosaics: a few quantised cells on a grid that is locked to the track, held for a while.
//!
//! Several frames of a moving mosaic tell more than one (arXiv 2009.13856), so the cells of a track are sampled anew
//! only every half second and stretched over the track's region in between.

use std::time::Duration;

use super::{Shape, kernels};
use crate::frame::{FrameFormat, PixelFormat, PlaneLayout, View, ViewMut};
use crate::geometry::PixelRect;
use crate::policy::Style;
use crate::time::Timestamp;

/// How long sampled cells are shown before they are sampled again.
const HOLD: Duration = Duration::from_millis(500);
/// A cell is never finer than this many luma pixels: a tiny region must not keep its pixels as "cells".
const MIN_CELL: u32 = 4;
/// Cells of all planes: at most 6 x 6, with 4 bytes (YUYV), 3 x 1 (I420), 1 + 2 (NV12) or 3 (RGB).
const MAX_BYTES: usize = Style::MAX_CELLS as usize * Style::MAX_CELLS as usize * 4;

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
}

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
    /// Drops the cells of tracks that are gone.
    pub(super) fn forget_unused(&mut self, now: Timestamp) {
        self.held.retain(|h| h.used + HOLD >= now);
    }

    /// Forgets everything: after a change of policy, or of what may be seen.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }

    /// The cells to show for `key`: the held ones, or new ones when their time is over.
    pub(super) fn held(
        &mut self,
        key: MosaicKey,
        view: View<'_>,
        area: PixelRect,
        cells: u8,
        now: Timestamp,
    ) -> &Held {
        let at = self.held.iter().position(|h| h.key == key && h.along == cells).unwrap_or_else(|| {
            let (cols, rows) = grid(area, cells);
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
            self.held[last].sample(view, area);
            last
        });
        let held = &mut self.held[at];
        held.used = now;
        if now.since(held.sampled) >= HOLD || now < held.sampled {
            (held.cols, held.rows) = grid(area, cells);
            held.sampled = now;
            held.sample(view, area);
        }
        held
    }
}

/// Columns and rows: `cells` along the longer side, as square as may be, none finer than [`MIN_CELL`].
fn grid(area: PixelRect, cells: u8) -> (u32, u32) {
    let (w, h) = (area.width().max(1), area.height().max(1));
    let cells = u32::from(cells);
    let short = |short: u32, long: u32| (cells * short + long / 2) / long;
    let (cols, rows) = if w >= h { (cells, short(h, w)) } else { (short(w, h), cells) };
    (cols.clamp(1, (w / MIN_CELL).max(1)), rows.clamp(1, (h / MIN_CELL).max(1)))
}

/// Where cell `i` of `n` begins between `start` and `end`.
fn edge(start: u32, end: u32, i: u32, n: u32) -> u32 {
    start + (u64::from(end - start) * u64::from(i) / u64::from(n)) as u32
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

    fn sample(&mut self, view: View<'_>, area: PixelRect) {
        let format = view.format();
        for (i, plane) in format.planes().iter().enumerate() {
            let (n, offset) = (plane.channels, self.offset(format, i));
            let r = area.in_plane(plane.shift, plane.width, plane.height);
            for row in 0..self.rows {
                for col in 0..self.cols {
                    let cell = PixelRect {
                        x0: edge(r.x0, r.x1, col, self.cols),
                        y0: edge(r.y0, r.y1, row, self.rows),
                        x1: edge(r.x0, r.x1, col + 1, self.cols),
                        y1: edge(r.y0, r.y1, row + 1, self.rows),
                    };
                    let mean = mean(view, i, plane, cell, format.pixel());
                    let at = offset + (row * self.cols + col) as usize * n;
                    self.cells[at..at + n].copy_from_slice(&mean[..n]);
                }
            }
        }
    }
}

/// The mean of a cell, quantised to 5 bits per channel.
fn mean(view: View<'_>, i: usize, plane: &PlaneLayout, cell: PixelRect, pixel: PixelFormat) -> [u8; 4] {
    let n = plane.channels;
    let mut totals = [0u64; 4];
    for y in cell.y0..cell.y1 {
        let mut row = [0u32; 4];
        (kernels().sum)(&view.row(i, y)[cell.x0 as usize * n..cell.x1 as usize * n], &mut row[..n]);
        totals.iter_mut().zip(row).for_each(|(t, r)| *t += u64::from(r));
    }
    let count = (u64::from(cell.width()) * u64::from(cell.height())).max(1);
    let mut mean = totals.map(|t| t / count);
    if pixel == PixelFormat::Yuyv {
        // The two lumas of a macropixel are one cell, not two.
        let luma = (mean[0] + mean[2]) / 2;
        (mean[0], mean[2]) = (luma, luma);
    }
    mean.map(|v| (v as u8 & 0xf8) | 4)
}

pub(super) fn pixelate(view: &mut ViewMut<'_>, shape: &Shape<'_>, held: &Held) {
    let format = *view.format();
    for (i, plane) in format.planes().iter().enumerate() {
        let (n, offset) = (plane.channels, held.offset(&format, i));
        let r = shape.bounds().in_plane(plane.shift, plane.width, plane.height);
        shape.runs(plane, |y, x0, x1| {
            let row = (0..held.rows).rfind(|&j| edge(r.y0, r.y1, j, held.rows) <= y).unwrap_or(0);
            let line = view.row_mut(i, y);
            for col in 0..held.cols {
                let from = edge(r.x0, r.x1, col, held.cols).max(x0);
                let to = edge(r.x0, r.x1, col + 1, held.cols).min(x1);
                if from < to {
                    (kernels().fill)(
                        &mut line[from as usize * n..to as usize * n],
                        held.cell(offset, n, col, row),
                    );
                }
            }
        });
    }
}

/// Bilinear between the centres of the cells, constant beyond the outermost ones.
pub(super) fn blur(view: &mut ViewMut<'_>, shape: &Shape<'_>, held: &Held) {
    let format = *view.format();
    for (i, plane) in format.planes().iter().enumerate() {
        let (n, offset) = (plane.channels, held.offset(&format, i));
        let r = shape.bounds().in_plane(plane.shift, plane.width, plane.height);
        let center = |i: u32| (edge(r.x0, r.x1, i, held.cols) + edge(r.x0, r.x1, i + 1, held.cols)) / 2;
        let mut drawn = (u32::MAX, [[0u8; 4]; Style::MAX_CELLS as usize]);
        shape.runs(plane, |y, x0, x1| {
            if drawn.0 != y {
                drawn = (y, blended_row(held, offset, n, y - r.y0, r.height()));
            }
            let values = &drawn.1;
            let line = view.row_mut(i, y);
            // One ramp from each centre to the next, and a flat piece at either end.
            for piece in 0..=held.cols {
                let left = piece.saturating_sub(1);
                let right = piece.min(held.cols - 1);
                let start = if piece == 0 { r.x0 } else { center(left) };
                let end = if piece == held.cols { r.x1 } else { center(right) };
                let (from, to) = (start.max(x0), end.min(x1));
                if from < to {
                    let dst = &mut line[from as usize * n..to as usize * n];
                    let (a, b) = (&values[left as usize][..n], &values[right as usize][..n]);
                    (kernels().lerp)(dst, a, b, from - start, end - start);
                }
            }
        });
    }
}

/// The cells of one line of samples, blended between the two rows of cells around it.
fn blended_row(
    held: &Held,
    offset: usize,
    n: usize,
    y: u32,
    height: u32,
) -> [[u8; 4]; Style::MAX_CELLS as usize] {
    let at = (f64::from(y) + 0.5) * f64::from(held.rows) / f64::from(height.max(1)) - 0.5;
    let at = at.clamp(0.0, f64::from(held.rows - 1));
    let upper = at as u32;
    let lower = (upper + 1).min(held.rows - 1);
    let t = ((at - f64::from(upper)) * 256.0) as i32;
    let mut row = [[0u8; 4]; Style::MAX_CELLS as usize];
    for (col, value) in (0..held.cols).zip(&mut row) {
        let (a, b) = (held.cell(offset, n, col, upper), held.cell(offset, n, col, lower));
        for ((v, &a), &b) in value.iter_mut().zip(a).zip(b) {
            *v = (i32::from(a) + (((i32::from(b) - i32::from(a)) * t) >> 8)) as u8;
        }
    }
    row
}
