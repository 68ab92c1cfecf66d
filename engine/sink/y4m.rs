//! Redacted frames as a Y4M stream: into a pipe or a file.

use std::io::Write;

use super::FrameSink;
use crate::error::{Error, Result};
use crate::frame::RedactedFrame;
use crate::picture::{ColorRange, FrameFormat};
use crate::y4m::{Y4mHeader, write_frame, write_header};
use crate::yuv420::Yuv420;

/// Writes Y4M, 8-bit 4:2:0 whatever the frames' own format.
pub struct Y4mSink<W: Write> {
    output: W,
}

impl<W: Write + Send> Y4mSink<W> {
    /// Writes the header for frames of `format` at `frame_rate` (a fraction).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(mut output: W, format: &FrameFormat, frame_rate: (u32, u32)) -> Result<Self> {
        // Who told nothing is told nothing: most programs take that for square.
        let aspect = format.pixel_aspect();
        let sample_aspect_ratio = if aspect.is_square() { (0, 0) } else { (aspect.width(), aspect.height()) };
        let header = Y4mHeader {
            width: format.width(),
            height: format.height(),
            frame_rate,
            sample_aspect_ratio,
            full_range: Yuv420::range(format) == ColorRange::Full,
        };
        write_header(&mut output, &header)?;
        Ok(Y4mSink { output })
    }
}

impl<W: Write + Send> FrameSink for Y4mSink<W> {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        write_frame(&mut self.output, frame)?;
        self.output.flush().map_err(|e| Error::io("writing Y4M", e))
    }
}
