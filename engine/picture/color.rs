//! Y'CbCr and R'G'B' of a frame, one formula for all (ITU-T H.273, equations 1 to 38 for these matrices and ranges).

use super::format::{ColorMatrix, ColorRange, FrameFormat};

/// How a frame's samples come from colours, and colours from them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ycbcr {
    /// The weights of red and blue in luma.
    kr: f32,
    kb: f32,
    /// The sample of black, and how many levels luma and chroma span.
    black: f32,
    luma: f32,
    chroma: f32,
}

impl Ycbcr {
    /// That of a matrix and range.
    pub fn new(matrix: ColorMatrix, range: ColorRange) -> Ycbcr {
        let (kr, kb) = matrix.luma_weights();
        let (black, luma, chroma) = match range {
            ColorRange::Limited => (16.0, 219.0, 224.0),
            ColorRange::Full => (0.0, 255.0, 255.0),
        };
        Ycbcr { kr, kb, black, luma, chroma }
    }

    /// That of a frame; of RGB the one that its Y'CbCr would have.
    pub fn of(format: &FrameFormat) -> Ycbcr {
        Ycbcr::new(format.matrix(), format.range())
    }

    /// Red, green and blue, 0 to 255, as Y, Cb and Cr; not rounded.
    #[inline]
    pub fn samples(&self, [r, g, b]: [f32; 3]) -> [f32; 3] {
        let Ycbcr { kr, kb, .. } = *self;
        let y = kr * r + (1.0 - kr - kb) * g + kb * b;
        let chroma = |c: f32, k: f32| 128.0 + (c - y) / (2.0 * (1.0 - k)) * (self.chroma / 255.0);
        [self.black + y * (self.luma / 255.0), chroma(b, kb), chroma(r, kr)]
    }

    /// Y, Cb and Cr as red, green and blue; neither rounded nor kept within 0 to 255.
    #[inline]
    pub fn colors(&self, [y, cb, cr]: [f32; 3]) -> [f32; 3] {
        let Ycbcr { kr, kb, .. } = *self;
        let y = (y - self.black) * (255.0 / self.luma);
        let [cb, cr] = [cb, cr].map(|c| (c - 128.0) * (255.0 / self.chroma));
        let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
        [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_back_and_the_ends_are_the_standards() {
        for matrix in [ColorMatrix::Bt601, ColorMatrix::Bt709, ColorMatrix::Bt2020] {
            for (range, black, white) in [(ColorRange::Limited, 16.0, 235.0), (ColorRange::Full, 0.0, 255.0)]
            {
                let ycbcr = Ycbcr::new(matrix, range);
                let near = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.01);
                assert!(near(ycbcr.samples([0.0; 3]), [black, 128.0, 128.0]));
                assert!(near(ycbcr.samples([255.0; 3]), [white, 128.0, 128.0]));
                for color in [[255.0, 0.0, 0.0], [0.0, 255.0, 0.0], [10.0, 200.0, 90.0]] {
                    assert!(
                        near(ycbcr.colors(ycbcr.samples(color)), color),
                        "{matrix:?} {range:?} {color:?}"
                    );
                }
            }
        }
        // BT.601, full range: what JPEG says of red.
        let [y, cb, cr] = Ycbcr::new(ColorMatrix::Bt601, ColorRange::Full).samples([255.0, 0.0, 0.0]);
        assert!((y - 76.245).abs() < 0.01 && (cb - 84.97).abs() < 0.01 && (cr - 255.5).abs() < 0.01);
    }
}
