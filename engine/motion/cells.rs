//! Rows of samples in cells of 8x8: what a signature is made of.

use crate::redact::Kernels;

/// Side of a cell, in samples of its plane. A block holds whole cells of every plane.
pub(super) const CELL: usize = 8;

/// Room for what is made of a few rows. Raw-derived, so it is scrubbed when a frame has been measured.
#[derive(Default)]
pub(crate) struct Room {
    /// Rows with their channels apart, each channel's rows in one piece.
    channels: Vec<u8>,
    /// Channels of a row, two and two.
    pairs: Vec<u8>,
    sums: Vec<u32>,
    columns: Vec<u16>,
}

impl Room {
    /// The sums of the cells of at most [`CELL`] rows, one beside the other, channel by channel.
    ///
    /// Cells at the right edge are read to their full width: strides have room for that, and what lies beyond the picture
    /// is zero (I6).
    pub fn sum(&mut self, rows: &[u8], stride: usize, channels: usize, to: &mut [u16], kernels: &Kernels) {
        match channels {
            1 => self.cells(rows, stride, (to, 0, 1), kernels),
            3 => self.triples(rows, stride, to),
            n => self.parted(rows, stride, (to, n), kernels),
        }
    }

    /// Overwrites it with zeros.
    pub fn scrub(&mut self) {
        self.channels.fill(0);
        self.pairs.fill(0);
        self.sums.fill(0);
        self.columns.fill(0);
    }

    /// The cells of rows of a single channel, one beside the other: every `n`-th sum, from `at`.
    fn cells(&mut self, rows: &[u8], stride: usize, to: (&mut [u16], usize, usize), kernels: &Kernels) {
        let (to, at, n) = to;
        self.sums.resize(to.len() / n, 0);
        (kernels.column_sums)(rows, stride, &mut self.sums);
        for (to, sum) in to[at..].iter_mut().step_by(n).zip(&self.sums) {
            *to = *sum as u16;
        }
    }

    /// The cells of rows of two or four channels, which are taken apart first.
    fn parted(&mut self, rows: &[u8], stride: usize, (to, n): (&mut [u16], usize), kernels: &Kernels) {
        let wide = to.len() / n * CELL;
        let of_channel = wide * rows.len().div_ceil(stride);
        let mut channels = std::mem::take(&mut self.channels);
        channels.resize(n * of_channel, 0);
        for (y, row) in rows.chunks(stride).enumerate() {
            let (first, second) = channels.split_at_mut(n / 2 * of_channel);
            let at = y * wide..(y + 1) * wide;
            if n == 2 {
                (kernels.split)(&row[..2 * wide], &mut first[at.clone()], &mut second[at]);
                continue;
            }
            self.pairs.resize(4 * wide, 0);
            let (even, odd) = self.pairs.split_at_mut(2 * wide);
            (kernels.split)(&row[..4 * wide], even, odd);
            for (pairs, channels) in [(even, first), (odd, second)] {
                let (a, b) = channels.split_at_mut(of_channel);
                (kernels.split)(pairs, &mut a[at.clone()], &mut b[at.clone()]);
            }
        }
        for (i, channel) in channels.chunks_exact(of_channel).enumerate() {
            // Of four, the first and third came first.
            let at = if n == 4 { [0, 2, 1, 3][i] } else { i };
            self.cells(channel, wide, (to, at, n), kernels);
        }
        self.channels = channels;
    }

    /// The cells of rows of three channels.
    fn triples(&mut self, rows: &[u8], stride: usize, to: &mut [u16]) {
        // Down first: whole rows are added up, which every compiler makes fast.
        self.columns.clear();
        self.columns.resize(to.len() * CELL, 0);
        for row in rows.chunks(stride) {
            for (sum, v) in self.columns.iter_mut().zip(row) {
                *sum += u16::from(*v);
            }
        }
        for (cell, sums) in self.columns.chunks_exact(3 * CELL).zip(to.chunks_exact_mut(3)) {
            let mut sum = [0u16; 3];
            for sample in cell.chunks_exact(3) {
                for (s, v) in sum.iter_mut().zip(sample) {
                    *s += v;
                }
            }
            sums.copy_from_slice(&sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameFormat, FrameMeta, FramePool, PixelFormat, View};
    use crate::kernels::InstructionSet;
    use crate::motion::{Grid, Signature};
    use crate::time::Timestamp;

    const FORMATS: [PixelFormat; 4] =
        [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24];

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

    /// In every format and set of kernels, all widths up to a few registers; the last picture is all white, where sums are
    /// the largest. A room that served a larger picture serves.
    #[test]
    fn sums_are_those_of_one_sample_at_a_time() {
        for set in InstructionSet::available() {
            let (kernels, mut room) = (Kernels::of(set), Room::default());
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
                        signature.measure(&view, &grid, &mut room, kernels);
                        assert_eq!(signature.sums(), expected(&view), "{set:?}: {format:?}");
                    });
                    let left = room.channels.iter().chain(&room.pairs).any(|v| *v != 0);
                    assert!(!left && room.columns.iter().all(|v| *v == 0), "something is left of {format:?}");
                }
            }
        }
    }
}
