//! From bytes to frames.

use std::io::{self, Read};

use super::fields::{Fields, Summed};
use super::{FILE_ID, FrameHead, MAIN, Result, STREAM, SYNCPOINT, VideoStream, crc, flag, invalid};

/// Packets that are read whole (main and stream header, syncpoint) are never larger in what `ffmpeg` writes.
const MAX_PACKET: u64 = 64 << 10;
/// Packets that are skipped unread (info, index, unknown).
const MAX_SKIPPED: u64 = 64 << 20;
/// Frames above this size carry no elided header.
const MAX_ELIDED_FRAME: u64 = 4096;

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
