//! Any redacted frame as rows of planar 4:2:0, for targets that take nothing else. Row by row: no second frame is made.

use crate::frame::RedactedFrame;
use crate::picture::{ColorRange, FrameFormat, PixelFormat, View, Ycbcr};
use crate::redact::kernels;

/// A redacted frame's samples as planar Y'CbCr 4:2:0, in the frame's own range and matrix (RGB: limited range, and the
/// matrix that its format names).
pub struct Yuv420<'a> {
    view: View<'a>,
}

impl<'a> Yuv420<'a> {
    /// Looks at a frame.
    pub fn new(frame: &'a RedactedFrame) -> Yuv420<'a> {
        Yuv420 { view: frame.view() }
    }

    /// The range of the values that come out for frames of this format.
    pub fn range(format: &FrameFormat) -> ColorRange {
        match format.pixel() {
            PixelFormat::Rgb24 => ColorRange::Limited,
            _ => format.range(),
        }
    }

    /// Row `y` of luma: `width` samples into `row`. Panics beyond the last row.
    pub fn luma(&self, y: u32, row: &mut [u8]) {
        let from = self.view.row(0, y);
        match self.view.format().pixel() {
            PixelFormat::Nv12 | PixelFormat::I420 => row.copy_from_slice(from),
            PixelFormat::Yuyv => {
                (kernels().evens)(from, row);
            }
            PixelFormat::Rgb24 => {
                let ycbcr = of_rgb(self.view.format());
                for (to, [r, g, b]) in row.iter_mut().zip(from.as_chunks::<3>().0) {
                    *to = (ycbcr.samples([*r, *g, *b].map(f32::from))[0] + 0.5) as u8;
                }
            }
        }
    }

    /// Row `y` of chroma, which lies on luma rows `2 y` and `2 y + 1`: half the width (rounded up) into each. Panics beyond
    /// the last row.
    pub fn chroma(&self, y: u32, cb: &mut [u8], cr: &mut [u8]) {
        let format = self.view.format();
        match format.pixel() {
            PixelFormat::I420 => {
                cb.copy_from_slice(self.view.row(1, y));
                cr.copy_from_slice(self.view.row(2, y));
            }
            PixelFormat::Nv12 => {
                (kernels().split)(self.view.row(1, y), cb, cr);
            }
            PixelFormat::Yuyv => {
                // Interleaved first, a piece at a time, then parted. The second luma row of a picture with an odd height is
                // the first one again.
                let below = (2 * y + 1).min(format.height() - 1);
                let mut pairs = [0; 512];
                for (i, (cb, cr)) in cb.chunks_mut(256).zip(cr.chunks_mut(256)).enumerate() {
                    let [above, below] = [2 * y, below].map(|y| &self.view.row(0, y)[i * 1024..]);
                    let pairs = &mut pairs[..2 * cb.len()];
                    (kernels().odd_means)(above, below, pairs);
                    (kernels().split)(pairs, cb, cr);
                }
            }
            PixelFormat::Rgb24 => {
                let ycbcr = of_rgb(format);
                for (i, (cb, cr)) in cb.iter_mut().zip(cr).enumerate() {
                    (*cb, *cr) = chroma_of(ycbcr, self.view, i, y);
                }
            }
        }
    }

    /// Row `y` of chroma as NV12 has it: the width (rounded up to an even number) in pairs of Cb and Cr. Panics beyond the
    /// last row.
    pub fn chroma_pairs(&self, y: u32, pairs: &mut [u8]) {
        let format = self.view.format();
        match format.pixel() {
            PixelFormat::Nv12 => pairs.copy_from_slice(self.view.row(1, y)),
            PixelFormat::Yuyv => {
                let below = (2 * y + 1).min(format.height() - 1);
                (kernels().odd_means)(self.view.row(0, 2 * y), self.view.row(0, below), pairs);
            }
            PixelFormat::I420 => {
                let planar = self.view.row(1, y).iter().zip(self.view.row(2, y));
                for (pair, (cb, cr)) in pairs.chunks_exact_mut(2).zip(planar) {
                    (pair[0], pair[1]) = (*cb, *cr);
                }
            }
            PixelFormat::Rgb24 => {
                let ycbcr = of_rgb(format);
                for (i, pair) in pairs.chunks_exact_mut(2).enumerate() {
                    (pair[0], pair[1]) = chroma_of(ycbcr, self.view, i, y);
                }
            }
        }
    }
}

/// Pixels of RGB in limited range.
fn of_rgb(format: &FrameFormat) -> Ycbcr {
    Ycbcr::new(format.matrix(), ColorRange::Limited)
}

/// Of the four pixels under sample `x` of row `y` of chroma; what lacks at the border is repeated.
fn chroma_of(ycbcr: Ycbcr, view: View<'_>, x: usize, y: u32) -> (u8, u8) {
    let below = (2 * y + 1).min(view.format().height() - 1);
    let (above, below) = (view.row(0, 2 * y), view.row(0, below));
    let last = (6 * x + 3).min(above.len() - 3);
    let four = [&above[6 * x..], &above[last..], &below[6 * x..], &below[last..]];
    let mean = |c: usize| four.iter().map(|p| f32::from(p[c])).sum::<f32>() / 4.0;
    let [_, cb, cr] = ycbcr.samples([mean(0), mean(1), mean(2)]);
    ((cb + 0.5) as u8, (cr + 0.5) as u8)
}
