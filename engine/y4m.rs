//! Y4M for frames: what [`milkglass_parsers::y4m`] reads and writes, from and into frames of this crate.

use std::io::{BufRead, Write};

use milkglass_parsers::y4m::{self, Y4mError};

use crate::error::{Error, Result, SourceError, SourceKind};
use crate::frame::RedactedFrame;
use crate::geometry::PixelAspect;
use crate::picture::{ColorRange, FrameFormat, PixelFormat, ViewMut};
use crate::yuv420::Yuv420;

pub use milkglass_parsers::y4m::Header as Y4mHeader;

/// Reads a stream's header line.
///
/// # Errors
/// [`Error::Source`] when it is no Y4M, or one that is not progressive 8-bit 4:2:0; [`Error::Format`] for impossible sizes.
pub fn read_header(input: &mut impl BufRead) -> Result<Y4mHeader> {
    let header = Y4mHeader::read(input).map_err(wrong)?;
    format(&header)?;
    Ok(header)
}

/// The frame format that the frames of a stream fit into. What it tells of the shape of its pixels may be wrong, so square ones
/// are possible too; a shape that no picture has is not believed.
///
/// # Errors
/// [`Error::Format`] for impossible sizes.
pub fn format(header: &Y4mHeader) -> Result<FrameFormat> {
    let format = FrameFormat::new(PixelFormat::I420, header.width, header.height)?;
    let (width, height) = header.sample_aspect_ratio;
    let told: Vec<PixelAspect> = PixelAspect::new(width, height).into_iter().collect();
    let range = if header.full_range { ColorRange::Full } else { ColorRange::Limited };
    Ok(format.with_color(range, format.matrix()).with_told_aspects(&told))
}

/// Writes a stream's header line.
///
/// # Errors
/// [`Error::Io`].
pub fn write_header(output: &mut impl Write, header: &Y4mHeader) -> Result<()> {
    header.write(output).map_err(|e| Error::io("writing Y4M", e))
}

/// Reads one frame into a frame of [`format`](fn@format); false at the end of the stream.
///
/// # Errors
/// [`Error::Source`] for a truncated or damaged stream: the frame must not be used.
pub fn read_frame(input: &mut impl BufRead, view: &mut ViewMut<'_>) -> Result<bool> {
    if !y4m::begin_frame(input).map_err(wrong)? {
        return Ok(false);
    }
    for plane in 0..view.format().planes().len() {
        for y in 0..view.format().planes()[plane].height {
            input.read_exact(view.row_mut(plane, y)).map_err(|e| wrong(Y4mError::CutOff(e)))?;
        }
    }
    Ok(true)
}

/// Writes one redacted frame, as 4:2:0.
///
/// # Errors
/// [`Error::Io`].
pub fn write_frame(output: &mut impl Write, frame: &RedactedFrame) -> Result<()> {
    let failed = |e| Error::io("writing Y4M", e);
    let (width, height) = frame.format().size();
    let half = (width.div_ceil(2) as usize, height.div_ceil(2));
    let rows = Yuv420::new(frame);
    output.write_all(b"FRAME\n").map_err(failed)?;
    let mut luma = vec![0; width as usize];
    for y in 0..height {
        rows.luma(y, &mut luma);
        output.write_all(&luma).map_err(failed)?;
    }
    // Cb and Cr come from one look at a row, but leave as planes.
    let mut cr_plane = Vec::with_capacity(half.0 * half.1 as usize);
    let (mut cb, mut cr) = (vec![0; half.0], vec![0; half.0]);
    for y in 0..half.1 {
        rows.chroma(y, &mut cb, &mut cr);
        output.write_all(&cb).map_err(failed)?;
        cr_plane.extend_from_slice(&cr);
    }
    output.write_all(&cr_plane).map_err(failed)
}

fn wrong(why: Y4mError) -> Error {
    match why {
        Y4mError::Io(e) => Error::io("reading Y4M", e),
        why => SourceError::new(SourceKind::Stream, format!("the Y4M stream cannot be read: {why}")).into(),
    }
}
