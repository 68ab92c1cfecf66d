//! A redacted frame as JPEG, row by row: no second frame is made.

use std::cell::RefCell;

use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};
use milkglass::frame::RedactedFrame;
use milkglass::picture::{ColorMatrix, ColorRange, Ycbcr};
use milkglass::yuv420::Yuv420;
use milkglass::{Error, FrameFormat, Result};

/// Good enough to judge a picture by, a tenth of a raw frame's size.
const QUALITY: u8 = 80;

/// Encodes a frame, in JPEG's own colours (full range, BT.601) whatever the frame's.
pub fn encode(frame: &RedactedFrame) -> Result<Vec<u8>> {
    let (width, height) = frame.format().size();
    let side = |n: u32| u16::try_from(n).map_err(|e| Error::doing(format!("a side of {n} pixels"), e));
    let rows = Rows {
        frame: Yuv420::new(frame),
        size: (side(width)?, side(height)?),
        colors: ToJpeg::new(frame.format()),
        chroma: RefCell::new(Chroma::new(width)),
    };
    let mut jpeg = Vec::with_capacity(width as usize * height as usize / 8);
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode_image(rows).map_err(|e| Error::doing("the JPEG encoder failed", e))?;
    Ok(jpeg)
}

/// The encoder's view of a frame. It asks for row after row, the last one perhaps several times.
struct Rows<'a> {
    frame: Yuv420<'a>,
    size: (u16, u16),
    colors: ToJpeg,
    chroma: RefCell<Chroma>,
}

/// Chroma of the two luma rows that share it.
struct Chroma {
    row: Option<u32>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

impl Chroma {
    fn new(width: u32) -> Chroma {
        let half = width.div_ceil(2) as usize;
        Chroma { row: None, cb: vec![0; half], cr: vec![0; half] }
    }
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.size.0
    }

    fn height(&self) -> u16 {
        self.size.1
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (width, y) = (usize::from(self.size.0), u32::from(y));
        let Chroma { row, cb, cr } = &mut *self.chroma.borrow_mut();
        if *row != Some(y / 2) {
            self.frame.chroma(y / 2, cb, cr);
            *row = Some(y / 2);
        }
        let [luma, blue, red, _] = buffers;
        let start = luma.len();
        luma.resize(start + width, 0);
        self.frame.luma(y, &mut luma[start..]);
        let twice = |samples: &[u8], to: &mut Vec<u8>| {
            to.extend(samples.iter().flat_map(|s| [*s, *s]).take(width));
        };
        twice(cb, blue);
        twice(cr, red);
        self.colors.convert(&mut luma[start..], &mut blue[start..], &mut red[start..]);
    }
}

/// Y'CbCr of any range and matrix to JPEG's: one linear map, in fixed point.
struct ToJpeg {
    /// For each value that comes out: the weights of Y', Cb and Cr, and what is added.
    weights: [[i32; 4]; 3],
}

const ONE: f32 = (1 << 14) as f32;

impl ToJpeg {
    fn new(format: &FrameFormat) -> ToJpeg {
        // Out of the frame's range and matrix, through R'G'B', into JPEG's.
        let from = Ycbcr::new(format.matrix(), Yuv420::range(format));
        let jpeg = Ycbcr::new(ColorMatrix::Bt601, ColorRange::Full);
        let map = |y: f32, cb: f32, cr: f32| jpeg.samples(from.colors([y, cb, cr]));
        let (zero, y, cb, cr) =
            (map(0.0, 0.0, 0.0), map(1.0, 0.0, 0.0), map(0.0, 1.0, 0.0), map(0.0, 0.0, 1.0));
        let fixed = |v: f32| (v * ONE).round() as i32;
        let of = |i: usize| {
            let slope = |to: [f32; 3]| fixed(to[i] - zero[i]);
            [slope(y), slope(cb), slope(cr), fixed(zero[i] + 0.5)]
        };
        ToJpeg { weights: [of(0), of(1), of(2)] }
    }

    fn convert(&self, luma: &mut [u8], blue: &mut [u8], red: &mut [u8]) {
        for ((y, cb), cr) in luma.iter_mut().zip(blue).zip(red) {
            let from = [*y, *cb, *cr].map(i32::from);
            let value = |w: &[i32; 4]| {
                let sum = w[0] * from[0] + w[1] * from[1] + w[2] * from[2] + w[3];
                (sum >> 14).clamp(0, 255) as u8
            };
            let [wy, wb, wr] = &self.weights;
            (*y, *cb, *cr) = (value(wy), value(wb), value(wr));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milkglass::picture::PixelFormat;

    fn converted(range: ColorRange, matrix: ColorMatrix, from: [u8; 3]) -> [u8; 3] {
        let format = FrameFormat::new(PixelFormat::I420, 16, 16).unwrap().with_color(range, matrix);
        let [mut y, mut cb, mut cr] = from.map(|v| [v]);
        ToJpeg::new(&format).convert(&mut y, &mut cb, &mut cr);
        [y[0], cb[0], cr[0]]
    }

    #[test]
    fn jpegs_own_colors_stay_as_they_are() {
        for v in 0..=255 {
            let same = [v, 255 - v, v / 2];
            assert_eq!(converted(ColorRange::Full, ColorMatrix::Bt601, same), same);
        }
    }

    #[test]
    fn limited_range_is_expanded() {
        for matrix in [ColorMatrix::Bt601, ColorMatrix::Bt709, ColorMatrix::Bt2020] {
            let limited = |y| converted(ColorRange::Limited, matrix, [y, 128, 128]);
            for (from, to) in [(16, 0), (126, 128), (235, 255), (0, 0), (255, 255)] {
                assert_eq!(limited(from), [to, 128, 128], "{matrix:?} {from}");
            }
        }
    }

    #[test]
    fn red_of_high_definition_is_jpegs_red() {
        // Full red: BT.709 limited (63, 102, 240); JPEG (76, 85, 255).
        let red = converted(ColorRange::Limited, ColorMatrix::Bt709, [63, 102, 240]);
        for (got, want) in red.into_iter().zip([76, 85, 255]) {
            assert!(got.abs_diff(want) <= 1, "{red:?}");
        }
    }
}
