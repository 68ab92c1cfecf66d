//! What the bytes of a camera or an output device are: fourccs, where the rows lie in its memory, what its colours mean.

use std::fmt;

use v4l::v4l_sys as raw;

use crate::error::{CameraError, CameraKind, Error, Result};
use crate::geometry::PixelAspect;
use crate::picture::{ColorMatrix, ColorRange, FrameFormat, PixelFormat, View, ViewMut};

/// A V4L2 format code, such as `NV12`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fourcc(pub [u8; 4]);

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bit 31 marks big-endian formats; the text is ASCII without it.
        self.0.iter().try_for_each(|b| write!(f, "{}", char::from(b & 0x7F).escape_default()))?;
        if self.0[3] & 0x80 != 0 { f.write_str("-BE") } else { Ok(()) }
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The camera formats that can be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CameraFormat {
    /// `NV12`, or `NM12` with a memory plane for each plane.
    Nv12,
    /// `YU12`, or `YM12` with a memory plane for each plane.
    I420,
    /// `YUYV`.
    Yuyv,
    /// `RGB3`.
    Rgb24,
    /// `MJPG` or `JPEG`: decoded to [`PixelFormat::I420`].
    Mjpeg,
}

impl CameraFormat {
    /// Every format, in the order in which they are tried: little to copy first, decoding last.
    pub const ALL: [CameraFormat; 5] = [
        CameraFormat::Nv12,
        CameraFormat::I420,
        CameraFormat::Yuyv,
        CameraFormat::Rgb24,
        CameraFormat::Mjpeg,
    ];

    /// What V4L2 calls it, best first.
    pub fn fourccs(self) -> &'static [Fourcc] {
        const CODES: [Fourcc; 8] = [
            Fourcc(PixelFormat::Nv12.fourcc()),
            Fourcc(*b"NM12"),
            Fourcc(PixelFormat::I420.fourcc()),
            Fourcc(*b"YM12"),
            Fourcc(PixelFormat::Yuyv.fourcc()),
            Fourcc(PixelFormat::Rgb24.fourcc()),
            Fourcc(*b"MJPG"),
            Fourcc(*b"JPEG"),
        ];
        match self {
            CameraFormat::Nv12 => &CODES[..2],
            CameraFormat::I420 => &CODES[2..4],
            CameraFormat::Yuyv => &CODES[4..5],
            CameraFormat::Rgb24 => &CODES[5..6],
            CameraFormat::Mjpeg => &CODES[6..],
        }
    }

    /// The format that a fourcc names; `None` for those that cannot be captured.
    pub fn from_fourcc(fourcc: Fourcc) -> Option<CameraFormat> {
        CameraFormat::ALL.into_iter().find(|f| f.fourccs().contains(&fourcc))
    }

    /// From its name on a command line: `nv12`, `i420`, `yuyv`, `rgb24`, `mjpeg`, or a fourcc.
    pub fn from_name(name: &str) -> Option<CameraFormat> {
        let name = name.to_ascii_uppercase();
        let is = |f: &CameraFormat| {
            f.to_string().eq_ignore_ascii_case(&name) || f.fourccs().iter().any(|c| c.0 == *name.as_bytes())
        };
        CameraFormat::ALL.into_iter().find(is)
    }

    /// How its frames are stored.
    pub fn pixel_format(self) -> PixelFormat {
        match self {
            CameraFormat::Nv12 => PixelFormat::Nv12,
            CameraFormat::I420 | CameraFormat::Mjpeg => PixelFormat::I420,
            CameraFormat::Yuyv => PixelFormat::Yuyv,
            CameraFormat::Rgb24 => PixelFormat::Rgb24,
        }
    }
}

impl fmt::Display for CameraFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CameraFormat::Nv12 => "nv12",
            CameraFormat::I420 => "i420",
            CameraFormat::Yuyv => "yuyv",
            CameraFormat::Rgb24 => "rgb24",
            CameraFormat::Mjpeg => "mjpeg",
        })
    }
}

/// One memory plane of a camera's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Bytes in all, at most.
    pub len: usize,
}

/// What the driver settled on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub fourcc: Fourcc,
    pub size: (u32, u32),
    pub progressive: bool,
    pub memory: Vec<Memory>,
    pub color: ColorCodes,
}

/// V4L2's numbers for what colours mean; 0 means "by default".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ColorCodes {
    pub colorspace: u32,
    pub ycbcr_enc: u32,
    pub quantization: u32,
}

impl ColorCodes {
    /// What to tell an output device of frames in `format`.
    pub fn of(format: &FrameFormat) -> ColorCodes {
        let colorspace = match (format.pixel(), format.matrix()) {
            (PixelFormat::Rgb24, _) => raw::v4l2_colorspace_V4L2_COLORSPACE_SRGB,
            (_, ColorMatrix::Bt601) => raw::v4l2_colorspace_V4L2_COLORSPACE_SMPTE170M,
            (_, ColorMatrix::Bt709) => raw::v4l2_colorspace_V4L2_COLORSPACE_REC709,
            (_, ColorMatrix::Bt2020) => raw::v4l2_colorspace_V4L2_COLORSPACE_BT2020,
        };
        let quantization = match format.range() {
            _ if format.pixel() == PixelFormat::Rgb24 => raw::v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE,
            ColorRange::Full => raw::v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE,
            ColorRange::Limited => raw::v4l2_quantization_V4L2_QUANTIZATION_LIM_RANGE,
        };
        ColorCodes { colorspace, ycbcr_enc: raw::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_DEFAULT, quantization }
    }
}

/// What a driver says of the shape of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PixelShape {
    /// Width to height where nothing is scaled.
    pub aspect: (u32, u32),
    /// Width and height of what is scaled to the picture's size.
    pub scaled: (u32, u32),
}

impl PixelShape {
    /// The shape in pictures of this size. Square where the driver says so: only of analogue television, whose lines are as
    /// they are, does a driver's size of what it scales tell anything. Sensors often crop instead, or name all their pixels.
    pub fn aspect(self, size: (u32, u32)) -> Option<PixelAspect> {
        let (width, height) = self.aspect;
        let told = PixelAspect::new(width, height).filter(|told| !told.is_square())?;
        let (across, down) = (u64::from(self.scaled.0), u64::from(self.scaled.1));
        if across == 0 || down == 0 || size.0 == 0 || size.1 == 0 {
            return Some(told);
        }
        // Parts of the shape and sides are below 2^16.
        let wide = across * u64::from(size.1) * u64::from(told.width());
        let high = down * u64::from(size.0) * u64::from(told.height());
        let excess = (u64::BITS - (wide | high).leading_zeros()).saturating_sub(u32::BITS);
        let part = |v: u64| u32::try_from(v >> excess).unwrap_or(u32::MAX);
        PixelAspect::new(part(wide), part(high)).or(Some(told))
    }
}

/// Where the rows of one plane of the picture lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Which memory plane.
    pub memory: usize,
    /// Bytes to the first row.
    pub offset: usize,
    /// Bytes from row to row.
    pub stride: usize,
    /// Bytes from the start of the memory plane to the end of the last row's samples: the least a picture has.
    pub end: usize,
}

impl Negotiated {
    /// The format of the frames that come of it.
    pub fn frame_format(&self) -> Result<FrameFormat> {
        let camera = self.camera_format()?;
        let format = FrameFormat::new(camera.pixel_format(), self.size.0, self.size.1)?;
        let (range, matrix) = color(camera, self.color);
        Ok(format.with_color(range, matrix))
    }

    /// Which of the known formats it is.
    pub fn camera_format(&self) -> Result<CameraFormat> {
        let unknown = || unsupported(format!("its format {} cannot be captured", self.fourcc));
        CameraFormat::from_fourcc(self.fourcc).ok_or_else(unknown)
    }

    /// Where the planes' rows lie, in the order of `format`'s planes; not for MJPEG. The error says why they cannot.
    pub fn rows(&self, format: &FrameFormat) -> Result<Vec<Rows>, String> {
        let separate = [*b"NM12", *b"YM12"].contains(&self.fourcc.0);
        let luma_stride = self.memory.first().map_or(0, |m| m.stride);
        let mut offset = 0;
        let mut rows = Vec::with_capacity(format.planes().len());
        for (i, plane) in format.planes().iter().enumerate() {
            let memory = if separate { i } else { 0 };
            let of = |m: &Memory| match (separate, format.pixel(), i) {
                (true, ..) => m.stride,
                // Planes that share a memory plane share its one stride, halved for planar chroma.
                (false, PixelFormat::I420, 1 | 2) => luma_stride / 2,
                _ => luma_stride,
            };
            let refuse = |why| Err(format!("{} of {:?}: {why}", self.fourcc, self.memory));
            let Some(m) = self.memory.get(memory) else { return refuse("it has too few memory planes") };
            let stride = of(m);
            if stride < plane.row_bytes() {
                return refuse("its rows are shorter than their samples");
            }
            let start = if separate { 0 } else { offset };
            let end = start + stride * (plane.height as usize - 1) + plane.row_bytes();
            if end > m.len {
                return refuse("its buffers are smaller than a picture");
            }
            rows.push(Rows { memory, offset: start, stride, end });
            offset += stride * plane.height as usize;
        }
        Ok(rows)
    }
}

/// Copies a picture's samples, row by row, from its memory planes. False when one is too short: then nothing was copied.
pub(crate) fn copy_rows<'a>(
    rows: &[Rows],
    memory: impl Fn(usize) -> &'a [u8],
    view: &mut ViewMut<'_>,
) -> bool {
    if !is_whole(rows, &memory) {
        return false;
    }
    for (i, r) in rows.iter().enumerate() {
        view.copy_plane(i, &memory(r.memory)[r.offset..], r.stride);
    }
    true
}

/// The other way: a redacted frame's samples into the memory planes of an output device. What lies between rows is left.
/// Panics when one is shorter than a picture.
pub(crate) fn write_rows(rows: &[Rows], view: &View<'_>, memory: &mut [impl AsMut<[u8]>]) {
    for (i, r) in rows.iter().enumerate() {
        view.copy_plane(i, &mut memory[r.memory].as_mut()[r.offset..], r.stride);
    }
}

/// Whether every row is there.
pub(crate) fn is_whole<'a>(rows: &[Rows], memory: impl Fn(usize) -> &'a [u8]) -> bool {
    rows.iter().all(|r| memory(r.memory).len() >= r.end)
}

/// Range and matrix by V4L2's rules for what a driver leaves at "default".
fn color(camera: CameraFormat, codes: ColorCodes) -> (ColorRange, ColorMatrix) {
    let ColorCodes { colorspace, ycbcr_enc, quantization } = codes;
    let matrix = match (ycbcr_enc, colorspace) {
        (raw::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_709 | raw::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_XV709, _) => {
            ColorMatrix::Bt709
        }
        // Nearest to it of those known here.
        (raw::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_SMPTE240M, _) => ColorMatrix::Bt709,
        (
            raw::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_BT2020
            | raw::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_BT2020_CONST_LUM,
            _,
        ) => ColorMatrix::Bt2020,
        (
            raw::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_DEFAULT,
            raw::v4l2_colorspace_V4L2_COLORSPACE_REC709
            | raw::v4l2_colorspace_V4L2_COLORSPACE_DCI_P3
            | raw::v4l2_colorspace_V4L2_COLORSPACE_SMPTE240M,
        ) => ColorMatrix::Bt709,
        (raw::v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_DEFAULT, raw::v4l2_colorspace_V4L2_COLORSPACE_BT2020) => {
            ColorMatrix::Bt2020
        }
        _ => ColorMatrix::Bt601,
    };
    let range = match quantization {
        raw::v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE => ColorRange::Full,
        raw::v4l2_quantization_V4L2_QUANTIZATION_LIM_RANGE => ColorRange::Limited,
        // JPEG is full range whatever colour space the driver names beside it.
        _ if camera == CameraFormat::Mjpeg || camera == CameraFormat::Rgb24 => ColorRange::Full,
        _ if colorspace == raw::v4l2_colorspace_V4L2_COLORSPACE_JPEG => ColorRange::Full,
        _ => ColorRange::Limited,
    };
    (range, matrix)
}

/// An error of a camera that does not offer what is wanted.
pub(super) fn unsupported(why: String) -> Error {
    CameraError::new(CameraKind::Unsupported, why).into()
}

#[cfg(test)]
mod tests;
