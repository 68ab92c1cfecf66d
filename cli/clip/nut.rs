//! NUT, the container on the pipes to and from `ffmpeg`: one video stream, exact timestamps.
//!
//! Raw pipes carry no timestamps, so a clip of variable frame rate would lose its timing; NUT is the one container
//! with exact time bases that every `ffmpeg` reads and writes on a pipe. What is implemented is the part of the
//! public NUT specification (version 3) that a single raw video stream needs.
//!
//! The reader takes its bytes from a decoder that may have been taken over by the clip it decodes. Every length is
//! checked against a bound before it is used, nothing is allocated from a size in the stream, and whatever does not
//! fit is an error that says what it was. A fuzzer cannot guess checksums, so they alone are not compared when it is at
//! work (`--cfg fuzzing`).

use std::io::{self, Read, Write};

const FILE_ID: &[u8] = b"nut/multimedia container\0";
const MAIN: u64 = 0x4E4D_7A56_1F5F_04AD;
const STREAM: u64 = 0x4E53_1140_5BF2_F9DB;
const SYNCPOINT: u64 = 0x4E4B_E4AD_EECA_4569;
const INFO: u64 = 0x4E49_AB68_B596_BA78;

/// Frame flags, as numbered by the specification.
mod flag {
    pub const KEY: u64 = 1;
    pub const EOR: u64 = 2;
    pub const CODED_PTS: u64 = 8;
    pub const STREAM_ID: u64 = 16;
    pub const SIZE_MSB: u64 = 32;
    pub const CHECKSUM: u64 = 64;
    pub const RESERVED: u64 = 128;
    pub const HEADER_IDX: u64 = 1024;
    pub const MATCH_TIME: u64 = 2048;
    pub const CODED: u64 = 4096;
    pub const INVALID: u64 = 8192;
}

/// Packets that are read whole (main and stream header, syncpoint) are never larger in what `ffmpeg` writes.
const MAX_PACKET: u64 = 64 << 10;
/// Packets that are skipped unread (info, index, unknown).
const MAX_SKIPPED: u64 = 64 << 20;
/// Frames above this size carry no elided header.
const MAX_ELIDED_FRAME: u64 = 4096;
/// Bits of a short timestamp in what we write.
const PTS_SHIFT: u32 = 7;

/// Why a NUT stream could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NutError {
    /// The pipe failed or ended inside a packet.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not the NUT stream they should be.
    #[error("{0}")]
    Invalid(String),
}

type Result<T> = std::result::Result<T, NutError>;

fn invalid<T>(what: impl Into<String>) -> Result<T> {
    Err(NutError::Invalid(what.into()))
}

/// The one video stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoStream {
    /// Picture width in pixels, 1..=65535.
    pub width: u32,
    /// Picture height in pixels, 1..=65535.
    pub height: u32,
    /// Length of a timestamp tick in seconds, as numerator and denominator, both non-zero and below 2^31.
    pub time_base: (u32, u32),
    /// Shape of a pixel, width to height; `(0, 0)` when unknown.
    pub sample_aspect_ratio: (u32, u32),
    /// Average rate in frames per second as numerator and denominator; a hint for encoders, not stored by the reader.
    pub frame_rate: Option<(u32, u32)>,
    /// The four characters that name the pixel layout (`I420`).
    pub fourcc: [u8; 4],
}

/// Head of a frame whose `len` bytes follow in [`Reader::read_exact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Presentation time in ticks of the stream's time base, never negative.
    pub pts: i64,
    /// Bytes of the frame.
    pub len: u64,
}

#[derive(Clone, Copy)]
struct FrameCode {
    flags: u64,
    stream: u64,
    size_mul: u64,
    size_lsb: u64,
    pts_delta: i64,
    reserved: u64,
    header: u64,
}

const UNUSED: FrameCode = FrameCode {
    flags: flag::INVALID,
    stream: 0,
    size_mul: 0,
    size_lsb: 0,
    pts_delta: 0,
    reserved: 0,
    header: 0,
};

/// Reads the frames of a NUT stream with a single video stream, in the order they come.
pub struct Reader<R> {
    input: R,
    stream: VideoStream,
    time_bases: Vec<(u32, u32)>,
    pts_shift: u32,
    codes: Box<[FrameCode; 256]>,
    /// Start bytes that frames may leave out; index 0 is "none".
    elision: Vec<Vec<u8>>,
    broadcast: bool,
    last_pts: i64,
    max_frame: u64,
    /// Bytes of the current frame that were elided and not handed out yet.
    elided: Vec<u8>,
    /// Bytes of the current frame still in the pipe.
    left: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the headers. A frame larger than `max_frame` bytes will be an error.
    pub fn open(mut input: R, max_frame: u64) -> Result<Self> {
        let mut id = [0; FILE_ID.len()];
        input.read_exact(&mut id)?;
        if id != FILE_ID {
            return invalid("the stream does not begin as a NUT stream");
        }
        let main = read_header(&mut input, MAIN, "main header")?;
        let main = MainHeader::parse(&main)?;
        let stream = read_header(&mut input, STREAM, "stream header")?;
        let (stream, pts_shift) = parse_stream(&stream, &main.time_bases)?;
        Ok(Reader {
            input,
            stream,
            time_bases: main.time_bases,
            pts_shift,
            codes: main.codes,
            elision: main.elision,
            broadcast: main.broadcast,
            last_pts: 0,
            max_frame,
            elided: Vec::new(),
            left: 0,
        })
    }

    /// The stream as the headers describe it.
    pub fn stream(&self) -> &VideoStream {
        &self.stream
    }

    /// Head of the next frame, or `None` at the end. What was not read of the frame before is skipped.
    pub fn next_frame(&mut self) -> Result<Option<FrameHead>> {
        self.elided.clear();
        skip(&mut self.input, std::mem::take(&mut self.left))?;
        loop {
            let mut first = [0];
            if read_or_end(&mut self.input, &mut first)? == 0 {
                return Ok(None);
            }
            if first[0] == b'N' {
                self.packet()?;
            } else if let Some(head) = self.frame_head(first[0])? {
                return Ok(Some(head));
            }
        }
    }

    /// The next bytes of the current frame.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> Result<()> {
        let elided = self.elided.len().min(buffer.len());
        let (head, rest) = buffer.split_at_mut(elided);
        head.copy_from_slice(&self.elided[..elided]);
        self.elided.drain(..elided);
        if rest.len() as u64 > self.left {
            return invalid("more bytes asked for than the frame holds");
        }
        self.input.read_exact(rest)?;
        self.left -= rest.len() as u64;
        Ok(())
    }

    /// A packet whose first byte, `N`, is already read: a syncpoint sets the clock, all others are skipped.
    fn packet(&mut self) -> Result<()> {
        let mut code = [b'N', 0, 0, 0, 0, 0, 0, 0];
        self.input.read_exact(&mut code[1..])?;
        let code = u64::from_be_bytes(code);
        let len = packet_length(&mut self.input, code)?;
        if code != SYNCPOINT {
            // Repeated headers must equal the first ones, so nothing is lost by not reading them.
            if len > MAX_SKIPPED {
                return invalid(format!("a packet of {len} bytes"));
            }
            return Ok(skip(&mut self.input, len)?);
        }
        let body = read_body(&mut self.input, len)?;
        let mut fields = Fields(&body);
        let (pts, from) = fields.timestamp(&self.time_bases)?;
        fields.v()?; // Distance back to the previous syncpoint: only seeking needs it.
        if self.broadcast {
            fields.v()?;
        }
        self.last_pts = rescale(pts, from, self.stream.time_base)?;
        Ok(())
    }

    /// A frame whose first byte is already read; `None` for the mark that ends the stream's presentation.
    fn frame_head(&mut self, first: u8) -> Result<Option<FrameHead>> {
        let code = self.codes[usize::from(first)];
        let mut flags = code.flags;
        if flags & flag::INVALID != 0 {
            return invalid(format!("frame code {first} is not in use"));
        }
        let mut input = Summed { input: &mut self.input, crc: crc(0, &[first]) };
        if flags & flag::CODED != 0 {
            flags ^= input.v()?;
        }
        let stream = if flags & flag::STREAM_ID != 0 { input.v()? } else { code.stream };
        if stream != 0 {
            return invalid(format!("a frame of stream {stream}, but there is one stream"));
        }
        let pts = if flags & flag::CODED_PTS != 0 {
            full_pts(input.v()?, self.last_pts, self.pts_shift)
        } else {
            self.last_pts.checked_add(code.pts_delta)
        };
        let Some(pts) = pts.filter(|&pts| (0..1 << 62).contains(&pts)) else {
            return invalid("a frame's timestamp is out of range");
        };
        let msb = if flags & flag::SIZE_MSB != 0 { input.v()? } else { 0 };
        let size = code.size_mul.checked_mul(msb).and_then(|size| size.checked_add(code.size_lsb));
        if flags & flag::MATCH_TIME != 0 {
            input.v()?;
        }
        let mut header = if flags & flag::HEADER_IDX != 0 { input.v()? } else { code.header };
        let reserved = if flags & flag::RESERVED != 0 { input.v()? } else { code.reserved };
        if reserved > 256 {
            return invalid(format!("{reserved} reserved fields in a frame's head"));
        }
        for _ in 0..reserved {
            input.v()?;
        }
        if flags & flag::CHECKSUM != 0 {
            input.checksum("a frame's head")?;
        }
        let Some(size) = size.filter(|&size| size <= self.max_frame) else {
            return invalid(format!("a frame larger than the {} bytes of a picture", self.max_frame));
        };
        if size > MAX_ELIDED_FRAME {
            header = 0;
        }
        let elided = usize::try_from(header).ok().and_then(|index| self.elision.get(index));
        let Some(elided) = elided.filter(|bytes| bytes.len() as u64 <= size) else {
            return invalid("a frame refers to start bytes that do not exist");
        };
        self.last_pts = pts;
        if flags & flag::EOR != 0 {
            return if size == 0 { Ok(None) } else { invalid("an end mark that carries bytes") };
        }
        self.elided.extend_from_slice(elided);
        self.left = size - elided.len() as u64;
        Ok(Some(FrameHead { pts, len: size }))
    }
}

struct MainHeader {
    time_bases: Vec<(u32, u32)>,
    codes: Box<[FrameCode; 256]>,
    elision: Vec<Vec<u8>>,
    broadcast: bool,
}

impl MainHeader {
    fn parse(body: &[u8]) -> Result<Self> {
        let mut fields = Fields(body);
        let version = fields.v()?;
        if !(3..=4).contains(&version) {
            return invalid(format!("NUT version {version}, but 3 and 4 are understood"));
        }
        if version > 3 {
            fields.v()?;
        }
        let streams = fields.v()?;
        if streams != 1 {
            return invalid(format!("{streams} streams, but one was asked for"));
        }
        fields.v()?; // Greatest distance between syncpoints: only resynchronisation needs it.
        let count = fields.v()?;
        if !(1..=16).contains(&count) {
            return invalid(format!("{count} time bases"));
        }
        let mut time_bases = Vec::with_capacity(16);
        for _ in 0..count {
            let (num, den) = (fields.v()?, fields.v()?);
            if !(1..1 << 31).contains(&num) || !(1..1 << 31).contains(&den) {
                return invalid(format!("the time base {num}/{den}"));
            }
            time_bases.push((num as u32, den as u32));
        }
        let codes = frame_codes(&mut fields)?;
        let mut elision = vec![Vec::new()];
        if !fields.0.is_empty() {
            let count = fields.v()?;
            if count >= 128 {
                return invalid(format!("{count} elided headers"));
            }
            for _ in 0..count {
                let bytes = fields.bytes(255)?;
                elision.push(bytes.to_vec());
            }
        }
        let flags = if version < 4 || fields.0.is_empty() { 0 } else { fields.v()? };
        Ok(MainHeader { time_bases, codes, elision, broadcast: flags & 1 != 0 })
    }
}

fn frame_codes(fields: &mut Fields<'_>) -> Result<Box<[FrameCode; 256]>> {
    let mut codes = Box::new([UNUSED; 256]);
    let mut run = FrameCode { size_mul: 1, ..UNUSED };
    let mut at = 0;
    while at < 256 {
        run.flags = fields.v()?;
        let given = fields.v()?;
        if given > 64 {
            return invalid(format!("{given} fields in the frame code table"));
        }
        if given > 0 {
            run.pts_delta = fields.s()?;
        }
        if given > 1 {
            run.size_mul = fields.v()?;
        }
        if given > 2 {
            run.stream = fields.v()?;
        }
        run.size_lsb = if given > 3 { fields.v()? } else { 0 };
        run.reserved = if given > 4 { fields.v()? } else { 0 };
        let count = if given > 5 { Some(fields.v()?) } else { run.size_mul.checked_sub(run.size_lsb) };
        if given > 6 {
            fields.s()?;
        }
        run.header = if given > 7 { fields.v()? } else { 0 };
        for _ in 8..given {
            fields.v()?;
        }
        let plausible = run.size_mul < 16384
            && run.size_lsb < 16384
            && run.reserved < 256
            && run.stream < 250
            // The format's text says below 16384; ffmpeg writes more for slow clips with a fine time base.
            && run.pts_delta.unsigned_abs() < 1 << 31;
        let Some(count) = count.filter(|&count| plausible && (1..=256).contains(&count)) else {
            return invalid("the frame code table is out of range");
        };
        let mut step = 0;
        while step < count && at < 256 {
            if at != usize::from(b'N') {
                codes[at] = FrameCode { size_lsb: run.size_lsb + step, ..run };
                step += 1;
            }
            at += 1;
        }
    }
    Ok(codes)
}

fn parse_stream(body: &[u8], time_bases: &[(u32, u32)]) -> Result<(VideoStream, u32)> {
    let mut fields = Fields(body);
    let (id, class) = (fields.v()?, fields.v()?);
    if id != 0 || class != 0 {
        return invalid("the stream is not a video stream");
    }
    let Ok(fourcc) = <[u8; 4]>::try_from(fields.bytes(4)?) else {
        return invalid("the pixel layout has no four-character name");
    };
    let time_base = usize::try_from(fields.v()?).ok().and_then(|id| time_bases.get(id));
    let Some(&time_base) = time_base else {
        return invalid("the stream's time base does not exist");
    };
    let pts_shift = fields.v()?;
    if pts_shift >= 16 {
        return invalid(format!("timestamps of {pts_shift} bits"));
    }
    for _ in 0..3 {
        fields.v()?; // Greatest pts distance, decode delay, stream flags.
    }
    fields.bytes(4096)?;
    let (width, height) = (fields.v()?, fields.v()?);
    if !(1..=65535).contains(&width) || !(1..=65535).contains(&height) {
        return invalid(format!("a picture of {width}x{height}"));
    }
    let (sar_width, sar_height) = (fields.v()?, fields.v()?);
    let ratio = |value: u64| u32::try_from(value).unwrap_or(0);
    let sample_aspect_ratio = (ratio(sar_width), ratio(sar_height));
    let (width, height) = (width as u32, height as u32);
    Ok((
        VideoStream { width, height, time_base, sample_aspect_ratio, frame_rate: None, fourcc },
        pts_shift as u32,
    ))
}

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

/// The fields of a packet that was read whole.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn v(&mut self) -> Result<u64> {
        let mut bytes = self.0;
        let value = varint(|| {
            let Some((&first, rest)) = bytes.split_first() else {
                return invalid("a header ends too early");
            };
            bytes = rest;
            Ok(first)
        })?;
        self.0 = bytes;
        Ok(value)
    }

    fn s(&mut self) -> Result<i64> {
        let coded = self.v()?;
        let half = (coded / 2) as i64 + i64::from(coded % 2 == 1);
        Ok(if coded % 2 == 1 { half } else { -half })
    }

    fn bytes(&mut self, most: u64) -> Result<&'a [u8]> {
        let len = self.v()?;
        if len > most || len > self.0.len() as u64 {
            return invalid(format!("a field of {len} bytes"));
        }
        let (bytes, rest) = self.0.split_at(len as usize);
        self.0 = rest;
        Ok(bytes)
    }

    fn timestamp(&mut self, time_bases: &[(u32, u32)]) -> Result<(u64, (u32, u32))> {
        let coded = self.v()?;
        let count = time_bases.len() as u64;
        Ok((coded / count, time_bases[(coded % count) as usize]))
    }
}

/// Bytes of a frame's head with their running checksum.
struct Summed<'a, R> {
    input: &'a mut R,
    crc: u32,
}

impl<R: Read> Summed<'_, R> {
    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.crc = crc(self.crc, &byte);
        Ok(byte[0])
    }

    fn v(&mut self) -> Result<u64> {
        varint(|| self.byte())
    }

    fn checksum(&mut self, what: &str) -> Result<()> {
        let wanted = self.crc;
        let mut sum = [0; 4];
        self.input.read_exact(&mut sum)?;
        if u32::from_be_bytes(sum) == wanted || cfg!(fuzzing) {
            Ok(())
        } else {
            invalid(format!("{what} has a wrong checksum"))
        }
    }
}

fn varint(mut next: impl FnMut() -> Result<u8>) -> Result<u64> {
    let mut value = 0u64;
    // Nine groups of seven bits, and at most eight bytes of stuffing before them.
    for _ in 0..17 {
        let byte = next()?;
        if value >> 56 != 0 {
            return invalid("a number of more than 63 bits");
        }
        value = value << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    invalid("a number without an end")
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

fn full_pts(coded: u64, last: i64, shift: u32) -> Option<i64> {
    let coded = i64::try_from(coded).ok()?;
    let span = 1i64 << shift;
    if coded >= span {
        return Some(coded - span);
    }
    let delta = last.checked_sub((span - 1) / 2)?;
    (coded.wrapping_sub(delta) & (span - 1)).checked_add(delta)
}

fn rescale(pts: u64, from: (u32, u32), to: (u32, u32)) -> Result<i64> {
    // 63 + 31 + 31 bits fit.
    let scaled =
        u128::from(pts) * u128::from(from.0) * u128::from(to.1) / (u128::from(from.1) * u128::from(to.0));
    match i64::try_from(scaled) {
        Ok(pts) if pts < 1 << 62 => Ok(pts),
        _ => invalid("a syncpoint's timestamp is out of range"),
    }
}

/// The body of a packet that must come next, others before it being skipped.
fn read_header(input: &mut impl Read, wanted: u64, what: &str) -> Result<Vec<u8>> {
    for _ in 0..16 {
        let mut code = [0; 8];
        input.read_exact(&mut code)?;
        let code = u64::from_be_bytes(code);
        if code >> 56 != u64::from(b'N') || code == SYNCPOINT {
            break;
        }
        let len = packet_length(input, code)?;
        if code == wanted {
            return read_body(input, len);
        }
        if len > MAX_SKIPPED {
            break;
        }
        skip(input, len)?;
    }
    invalid(format!("the {what} is missing"))
}

/// Length of a packet's body with its checksum.
fn packet_length(input: &mut impl Read, code: u64) -> Result<u64> {
    let mut input = Summed { input, crc: crc(0, &code.to_be_bytes()) };
    let len = input.v()?;
    if len > 4096 {
        input.checksum("a packet's head")?;
    }
    if len < 4 { invalid("a packet without a checksum") } else { Ok(len) }
}

fn read_body(input: &mut impl Read, len: u64) -> Result<Vec<u8>> {
    if len > MAX_PACKET {
        return invalid(format!("a header of {len} bytes"));
    }
    let mut body = vec![0; len as usize];
    input.read_exact(&mut body)?;
    // The checksum of a body that ends in its own checksum is zero.
    if crc(0, &body) != 0 && !cfg!(fuzzing) {
        return invalid("a header has a wrong checksum");
    }
    body.truncate(len as usize - 4);
    Ok(body)
}

fn skip(input: &mut impl Read, len: u64) -> io::Result<()> {
    let skipped = io::copy(&mut input.by_ref().take(len), &mut io::sink())?;
    if skipped == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn read_or_end(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum >> 31 == 1 { sum << 1 ^ 0x04C1_1DB7 } else { sum << 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

fn crc(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |sum, &byte| sum << 8 ^ CRC_TABLE[usize::from((sum >> 24) as u8 ^ byte)])
}
