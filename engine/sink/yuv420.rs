//! Any redacted frame as rows of planar 4:2:0, for targets that take nothing else. Row by row: no second frame is made.

use crate::frame::{ColorRange, FrameFormat, PixelFormat, RedactedFrame, View};

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
                row.iter_mut().zip(from.iter().step_by(2)).for_each(|(to, from)| *to = *from);
            }
            PixelFormat::Rgb24 => {
                let matrix = Matrix::of(self.view.format());
                row.iter_mut().zip(from.chunks_exact(3)).for_each(|(to, p)| *to = matrix.y(p));
            }
        }
    }

    /// Row `y` of chroma, which lies on luma rows `2 y` and `2 y + 1`: half the width (rounded up) into each. Panics beyond
    /// the last row.
    pub fn chroma(&self, y: u32, cb: &mut [u8], cr: &mut [u8]) {
        let format = self.view.format();
        // The second luma row of a picture with an odd height is the first one again.
        let pair = (2 * y, (2 * y + 1).min(format.height() - 1));
        match format.pixel() {
            PixelFormat::I420 => {
                cb.copy_from_slice(self.view.row(1, y));
                cr.copy_from_slice(self.view.row(2, y));
            }
            PixelFormat::Nv12 => {
                for (i, c) in self.view.row(1, y).chunks_exact(2).enumerate() {
                    (cb[i], cr[i]) = (c[0], c[1]);
                }
            }
            PixelFormat::Yuyv => {
                let rows = [self.view.row(0, pair.0), self.view.row(0, pair.1)];
                for (i, (a, b)) in rows[0].chunks_exact(4).zip(rows[1].chunks_exact(4)).enumerate() {
                    (cb[i], cr[i]) = (mean(a[1], b[1]), mean(a[3], b[3]));
                }
            }
            PixelFormat::Rgb24 => {
                let matrix = Matrix::of(format);
                let (above, below) = (self.view.row(0, pair.0), self.view.row(0, pair.1));
                for i in 0..cb.len() {
                    let last = (6 * i + 3).min(above.len() - 3);
                    let four = [&above[6 * i..], &above[last..], &below[6 * i..], &below[last..]];
                    let sum = |c: usize| four.iter().map(|p| f32::from(p[c])).sum::<f32>() / 4.0;
                    (cb[i], cr[i]) = matrix.chroma(sum(0), sum(1), sum(2));
                }
            }
        }
    }
}

fn mean(a: u8, b: u8) -> u8 {
    a.midpoint(b)
}

/// R'G'B' to limited-range Y'CbCr (ITU-T H.273, equations 11 to 13 and 38 to 40).
struct Matrix {
    kr: f32,
    kb: f32,
}

impl Matrix {
    fn of(format: &FrameFormat) -> Matrix {
        let (kr, kb) = format.matrix().luma_weights();
        Matrix { kr, kb }
    }

    fn luma(&self, r: f32, g: f32, b: f32) -> f32 {
        self.kr * r + (1.0 - self.kr - self.kb) * g + self.kb * b
    }

    fn y(&self, p: &[u8]) -> u8 {
        (16.5 + self.luma(f32::from(p[0]), f32::from(p[1]), f32::from(p[2])) * (219.0 / 255.0)) as u8
    }

    fn chroma(&self, r: f32, g: f32, b: f32) -> (u8, u8) {
        let y = self.luma(r, g, b);
        let scaled = |c: f32, k: f32| (128.5 + (c - y) / (2.0 * (1.0 - k)) * (224.0 / 255.0)) as u8;
        (scaled(b, self.kb), scaled(r, self.kr))
    }
}
