//! Redacted frames as a Y4M stream: into a pipe or a file.

use std::io::Write;

use super::FrameSink;
use crate::error::{Error, Result};
use crate::frame::{FrameFormat, PixelFormat, RedactedFrame};
use crate::y4m::{Y4mHeader, write_frame};

/// Writes Y4M. Takes [`PixelFormat::I420`] frames.
pub struct Y4mSink<W: Write> {
    output: W,
}

impl<W: Write + Send> Y4mSink<W> {
    /// Writes the header for frames of `format` at `frame_rate` (a fraction).
    ///
    /// # Errors
    /// [`Error::Sink`] for another format than I420, [`Error::Io`].
    pub fn new(mut output: W, format: &FrameFormat, frame_rate: (u32, u32)) -> Result<Self> {
        if format.pixel() != PixelFormat::I420 {
            return Err(Error::Sink("Y4M takes I420 frames".into()));
        }
        let header = Y4mHeader {
            width: format.width(),
            height: format.height(),
            frame_rate,
            sample_aspect_ratio: (0, 0),
            range: format.range(),
        };
        header.write(&mut output)?;
        Ok(Y4mSink { output })
    }
}

impl<W: Write + Send> FrameSink for Y4mSink<W> {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        write_frame(&mut self.output, frame)?;
        self.output.flush().map_err(|e| Error::io("writing Y4M", e))
    }
}
