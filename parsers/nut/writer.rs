//! From frames to bytes.

use std::io::Write;

use super::{FILE_ID, INFO, MAIN, Result, STREAM, SYNCPOINT, VideoStream, crc, flag, invalid};

/// Bits of a short timestamp in what we write.
const PTS_SHIFT: u32 = 7;

/// Writes a NUT stream with a single video stream.
pub struct Writer<W> {
    output: W,
    position: u64,
    last_syncpoint: Option<u64>,
    left: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the headers of `stream`.
    pub fn open(output: W, stream: &VideoStream) -> Result<Self> {
        let mut writer = Writer { output, position: 0, last_syncpoint: None, left: 0, buffer: Vec::new() };
        writer.put(FILE_ID)?;

        let mut main = Vec::new();
        for value in [3, 1, 32768, 1, u64::from(stream.time_base.0), u64::from(stream.time_base.1)] {
            put_v(&mut main, value);
        }
        // One code is in use, so that every frame's head has the same shape: key, time, size and checksum.
        let in_use = flag::KEY | flag::CODED_PTS | flag::SIZE_MSB | flag::CHECKSUM;
        for (flags, count) in [(flag::INVALID, 1), (in_use, 1), (flag::INVALID, 253)] {
            // Time difference 0, size multiplier 1, stream 0, low size 0, reserved 0.
            for value in [flags, 6, 0, 1, 0, 0, 0, count] {
                put_v(&mut main, value);
            }
        }
        put_v(&mut main, 0); // No elided headers.
        writer.packet(MAIN, &main)?;

        let mut head = vec![0, 0];
        put_bytes(&mut head, &stream.fourcc);
        let (sar_width, sar_height) = stream.sample_aspect_ratio;
        let unknown = sar_width == 0 || sar_height == 0;
        let sar = if unknown { (0, 0) } else { (u64::from(sar_width), u64::from(sar_height)) };
        let (width, height) = (u64::from(stream.width), u64::from(stream.height));
        // Time base 0, short timestamps, distance, no decode delay, no flags, no codec data; the picture; no colour.
        for value in [0, u64::from(PTS_SHIFT), 1, 0, 0, 0, width, height, sar.0, sar.1, 0] {
            put_v(&mut head, value);
        }
        writer.packet(STREAM, &head)?;

        if let Some((num, den)) = stream.frame_rate {
            let rate = format!("{num}/{den}");
            // For stream 0, no chapter, one entry.
            let mut info = vec![1, 0, 0, 0, 1];
            put_bytes(&mut info, b"r_frame_rate");
            put_v(&mut info, 2); // Signed -1: the value is text.
            put_bytes(&mut info, rate.as_bytes());
            writer.packet(INFO, &info)?;
        }
        Ok(writer)
    }

    /// Where the bytes go.
    pub fn output_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Begins a frame of `len` bytes, which must follow through [`Writer::write`].
    pub fn begin_frame(&mut self, pts: i64, len: u64) -> Result<()> {
        if self.left != 0 {
            return invalid(format!("{} bytes of the frame before are missing", self.left));
        }
        let Some(pts) = u64::try_from(pts).ok().filter(|&pts| pts < 1 << 62) else {
            return invalid(format!("the timestamp {pts} is out of range"));
        };
        // A syncpoint before each frame: frames are larger than the distance at which one is due.
        let here = self.position;
        let mut sync = Vec::with_capacity(32);
        put_v(&mut sync, pts);
        put_v(&mut sync, self.last_syncpoint.map_or(0, |last| (here - last) >> 4));
        self.packet(SYNCPOINT, &sync)?;
        self.last_syncpoint = Some(here);

        let mut head = vec![1];
        put_v(&mut head, pts + (1 << PTS_SHIFT));
        put_v(&mut head, len);
        let sum = crc(0, &head);
        head.extend_from_slice(&sum.to_be_bytes());
        self.put(&head)?;
        self.left = len;
        Ok(())
    }

    /// The next bytes of the frame.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => return invalid("more bytes written than the frame holds"),
        }
        self.put(bytes)
    }

    /// Hands everything on. A last frame that is not complete is an error.
    pub fn finish(&mut self) -> Result<()> {
        if self.left != 0 {
            return invalid(format!("{} bytes of the last frame are missing", self.left));
        }
        Ok(self.output.flush()?)
    }

    fn packet(&mut self, code: u64, body: &[u8]) -> Result<()> {
        let mut packet = std::mem::take(&mut self.buffer);
        packet.clear();
        packet.extend_from_slice(&code.to_be_bytes());
        // All our packets are far below the 4096 bytes from which a head wants its own checksum.
        put_v(&mut packet, body.len() as u64 + 4);
        packet.extend_from_slice(body);
        packet.extend_from_slice(&crc(0, body).to_be_bytes());
        let result = self.put(&packet);
        self.buffer = packet;
        result
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

fn put_v(out: &mut Vec<u8>, value: u64) {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group > 0 { 0x80 } else { 0 };
        out.push(more | (value >> (7 * group) & 0x7F) as u8);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_v(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
