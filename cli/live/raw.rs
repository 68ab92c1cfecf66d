//! Bare NV12 frames, one after the other: what hardware encoders take.

use std::io::Write;

use milkglass::frame::RedactedFrame;
use milkglass::yuv420::Yuv420;
use milkglass::{FrameSink, Result};

/// Writes frames as tightly packed NV12, whatever their own format.
pub struct Nv12Sink<W> {
    output: W,
    packed: Vec<u8>,
}

impl<W: Write + Send> Nv12Sink<W> {
    pub fn new(output: W) -> Self {
        Nv12Sink { output, packed: Vec::new() }
    }
}

impl<W: Write + Send> FrameSink for Nv12Sink<W> {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        let (width, height) = frame.format().size();
        let (width, half) = (width as usize, width.div_ceil(2) as usize);
        self.packed.clear();
        self.packed.resize(width * height as usize + 2 * half * height.div_ceil(2) as usize, 0);
        let (luma, chroma) = self.packed.split_at_mut(width * height as usize);
        let rows = Yuv420::new(frame);
        (0..height).zip(luma.chunks_exact_mut(width)).for_each(|(y, row)| rows.luma(y, row));
        (0..).zip(chroma.chunks_exact_mut(2 * half)).for_each(|(y, row)| rows.chroma_pairs(y, row));
        let written = self.output.write_all(&self.packed).and_then(|()| self.output.flush());
        written.map_err(|e| milkglass::Error::io("writing NV12", e))
    }
}
