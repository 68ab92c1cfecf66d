//! What a frame's bytes mean: planes of rows of interleaved samples.

use crate::error::{Error, Result};
use crate::geometry::{Orientation, PixelAspect, Possible};

/// Rows start at multiples of this many bytes, so that no SIMD load straddles two cache lines.
pub const ROW_ALIGNMENT: usize = 64;
/// The longest side of a picture, in luma pixels.
pub const MAX_SIDE: u32 = 16_384;
/// The most luma pixels of a picture; above it one frame alone would take several hundred megabytes.
pub const MAX_PIXELS: u64 = 1 << 27;

/// How samples lie in memory, named by the V4L2 fourcc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// A plane of Y, then one of interleaved Cb Cr at half the size in both directions.
    Nv12,
    /// Planes of Y, Cb and Cr, the latter two at half the size in both directions (V4L2: `YU12`).
    I420,
    /// One plane of `Y0 Cb Y1 Cr` for every two pixels of a row.
    Yuyv,
    /// One plane of `R G B` (V4L2: `RGB3`).
    Rgb24,
}

impl PixelFormat {
    /// Every one.
    pub const ALL: [PixelFormat; 4] =
        [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24];

    /// What V4L2 calls it, where it has one plane of memory.
    pub const fn fourcc(self) -> [u8; 4] {
        match self {
            PixelFormat::Nv12 => *b"NV12",
            PixelFormat::I420 => *b"YU12",
            PixelFormat::Yuyv => *b"YUYV",
            PixelFormat::Rgb24 => *b"RGB3",
        }
    }
}

/// Which values stand for black and white in a Y'CbCr picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorRange {
    /// Y 16 to 235, chroma 16 to 240 (video).
    #[default]
    Limited,
    /// 0 to 255 (JPEG).
    Full,
}

/// Which matrix made Y'CbCr from R'G'B' (ITU-T H.273).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColorMatrix {
    /// ITU-R BT.601: standard definition, JPEG.
    #[default]
    Bt601,
    /// ITU-R BT.709: high definition.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
}

impl ColorMatrix {
    /// The weights of red and blue in luma, `(Kr, Kb)`.
    pub const fn luma_weights(self) -> (f32, f32) {
        match self {
            ColorMatrix::Bt601 => (0.299, 0.114),
            ColorMatrix::Bt709 => (0.2126, 0.0722),
            ColorMatrix::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// Where a plane lies in a frame's buffer: rows of `width` samples of `channels` interleaved bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneLayout {
    /// Bytes from the buffer's start to the first row.
    pub offset: usize,
    /// Bytes from one row to the next; the bytes beyond `width * channels` are always zero (I6).
    pub stride: usize,
    /// Samples in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes in a sample: 1 (Y, Cb, Cr), 2 (CbCr), 3 (RGB) or 4 (YUYV macropixel).
    pub channels: usize,
    /// A sample covers `1 << shift.0` by `1 << shift.1` luma pixels.
    pub shift: (u32, u32),
}

impl PlaneLayout {
    /// Bytes of a row that carry samples.
    pub const fn row_bytes(&self) -> usize {
        self.width as usize * self.channels
    }
}

/// The format of every frame of a pool: size, planes, meaning of the values, orientation, shape of the pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFormat {
    pixel: PixelFormat,
    width: u32,
    height: u32,
    range: ColorRange,
    matrix: ColorMatrix,
    orientation: Orientation,
    aspects: Possible,
    planes: [PlaneLayout; 3],
    plane_count: usize,
    len: usize,
}

impl FrameFormat {
    /// A stored picture of `width` by `height` luma pixels; odd sizes are fine. Limited range, BT.601, upright,
    /// square pixels.
    ///
    /// # Errors
    /// [`Error::Format`] when a side is 0 or above [`MAX_SIDE`], or the area above [`MAX_PIXELS`].
    pub fn new(pixel: PixelFormat, width: u32, height: u32) -> Result<FrameFormat> {
        let refuse = |reason| Err(Error::Format { width, height, reason });
        if width == 0 || height == 0 {
            return refuse("a side is zero");
        }
        if width > MAX_SIDE || height > MAX_SIDE {
            return refuse("a side is longer than 16384 pixels; scale the picture down first");
        }
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return refuse("it has more than 134 million pixels; scale the picture down first");
        }
        let half = (width.div_ceil(2), height.div_ceil(2));
        let shapes: &[(u32, u32, usize, (u32, u32))] = match pixel {
            PixelFormat::Nv12 => &[(width, height, 1, (0, 0)), (half.0, half.1, 2, (1, 1))],
            PixelFormat::I420 => {
                &[(width, height, 1, (0, 0)), (half.0, half.1, 1, (1, 1)), (half.0, half.1, 1, (1, 1))]
            }
            PixelFormat::Yuyv => &[(half.0, height, 4, (1, 0))],
            PixelFormat::Rgb24 => &[(width, height, 3, (0, 0))],
        };
        let none = PlaneLayout { offset: 0, stride: 0, width: 0, height: 0, channels: 1, shift: (0, 0) };
        let mut planes = [none; 3];
        let mut offset = 0;
        for (plane, &(width, height, channels, shift)) in planes.iter_mut().zip(shapes) {
            let stride = (width as usize * channels).next_multiple_of(ROW_ALIGNMENT);
            *plane = PlaneLayout { offset, stride, width, height, channels, shift };
            offset += stride * height as usize;
        }
        Ok(FrameFormat {
            pixel,
            width,
            height,
            range: ColorRange::default(),
            matrix: ColorMatrix::default(),
            orientation: Orientation::UPRIGHT,
            aspects: Possible::SQUARE,
            planes,
            plane_count: shapes.len(),
            len: offset,
        })
    }

    /// The same with another range and matrix. Both are ignored for RGB.
    pub fn with_color(self, range: ColorRange, matrix: ColorMatrix) -> Self {
        FrameFormat { range, matrix, ..self }
    }

    /// The same, stored with another orientation.
    pub fn with_orientation(self, orientation: Orientation) -> Self {
        FrameFormat { orientation, ..self }
    }

    /// The same with pixels of another shape, as stored, of which somebody is sure.
    pub fn with_pixel_aspect(self, aspect: PixelAspect) -> Self {
        self.with_possible_aspects(&[aspect])
    }

    /// The same with pixels of one of these shapes, as stored, the likeliest first; our detectors look at all of them, which
    /// takes as many times longer. Those that hardly differ from one before are left out, and those beyond
    /// [`PixelAspect::MOST_POSSIBLE`].
    pub fn with_possible_aspects(self, aspects: &[PixelAspect]) -> Self {
        FrameFormat { aspects: Possible::of(aspects), ..self }
    }

    /// The same with pixels of a shape that a file, a stream or a driver told (several where they contradict each other). As
    /// they are often wrong, square pixels are possible as well; and where recorders are known to store half a picture in
    /// this size and not to say so, those that make it whole.
    pub fn with_told_aspects(self, told: &[PixelAspect]) -> Self {
        FrameFormat { aspects: Possible::told(self.size(), told), ..self }
    }

    /// The same with the shape that whoever runs this names, `own`, beside what was told. They know it best, so it is then the
    /// only one; but where a policy is `locked`, they can only add to what is looked at. One rule for the command, C and
    /// GStreamer.
    pub fn with_own_aspect(self, own: Option<PixelAspect>, told: &[PixelAspect], locked: bool) -> Self {
        match own {
            Some(own) if !locked => self.with_pixel_aspect(own),
            Some(own) => self.with_told_aspects(&[&[own], told].concat()),
            None => self.with_told_aspects(told),
        }
    }

    /// How samples lie in memory.
    pub fn pixel(&self) -> PixelFormat {
        self.pixel
    }
    /// Stored width in luma pixels.
    pub fn width(&self) -> u32 {
        self.width
    }
    /// Stored height in luma pixels.
    pub fn height(&self) -> u32 {
        self.height
    }
    /// Stored width and height.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
    /// Width and height of the picture turned upright.
    pub fn upright_size(&self) -> (u32, u32) {
        self.orientation.upright_size(self.size())
    }
    /// Range of the values.
    pub fn range(&self) -> ColorRange {
        self.range
    }
    /// Matrix of the values.
    pub fn matrix(&self) -> ColorMatrix {
        self.matrix
    }
    /// How the stored picture is turned upright.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }
    /// Width to height of a stored pixel: the likeliest shape.
    pub fn pixel_aspect(&self) -> PixelAspect {
        self.aspects.all()[0]
    }
    /// The shapes that a stored pixel may have, the likeliest first; one where somebody was sure.
    pub fn pixel_aspects(&self) -> &[PixelAspect] {
        self.aspects.all()
    }
    /// Square pixels per pixel of the upright picture, along its rows and columns, if pixels have this shape.
    pub(crate) fn upright_squares(&self, aspect: PixelAspect) -> (f64, f64) {
        let (x, y) = aspect.squares();
        if self.orientation.transpose { (y, x) } else { (x, y) }
    }
    /// The planes, in memory order.
    pub fn planes(&self) -> &[PlaneLayout] {
        &self.planes[..self.plane_count]
    }
    /// Bytes of a frame, padding included.
    pub fn buffer_len(&self) -> usize {
        self.len
    }
}
