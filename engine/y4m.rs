//! Y4M (YUV4MPEG2): raw frames with a text header, the simplest stream between programs. 8-bit 4:2:0, progressive.

use std::io::{BufRead, Read, Write};

use crate::error::{Error, Result, SourceError, SourceKind};
use crate::frame::{ColorRange, FrameFormat, PixelAspect, PixelFormat, RedactedFrame, ViewMut};
use crate::sink::Yuv420;

/// The longest header line that is read.
const MAX_LINE: u64 = 1024;

/// The stream's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Y4mHeader {
    /// Width in luma pixels.
    pub width: u32,
    /// Height in luma pixels.
    pub height: u32,
    /// Frames per second, as a fraction.
    pub frame_rate: (u32, u32),
    /// Width to height of a pixel; 0:0 when unknown.
    pub sample_aspect_ratio: (u32, u32),
    /// Range of the values; most programs leave it out and mean limited.
    pub range: ColorRange,
}

impl Y4mHeader {
    /// Reads the header line.
    ///
    /// # Errors
    /// [`Error::Source`] when it is no Y4M, or one that is not progressive 8-bit 4:2:0.
    pub fn read(input: &mut impl BufRead) -> Result<Y4mHeader> {
        let line = line(input)?.ok_or_else(|| wrong("it is empty"))?;
        let mut words = line.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            return Err(wrong(
                "it does not begin with YUV4MPEG2; make one with `ffmpeg -i CLIP -f yuv4mpegpipe -`",
            ));
        }
        let mut header = Y4mHeader {
            width: 0,
            height: 0,
            frame_rate: (25, 1),
            sample_aspect_ratio: (0, 0),
            range: ColorRange::Limited,
        };
        let pair =
            |text: &str| text.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        for word in words.filter(|w| !w.is_empty()) {
            let (key, value) = word.split_at_checked(1).unwrap_or(("", ""));
            match key {
                "W" => header.width = value.parse().map_err(|_| wrong("its width is no number"))?,
                "H" => header.height = value.parse().map_err(|_| wrong("its height is no number"))?,
                "F" => {
                    let rate = pair(value).filter(|(n, d)| *n > 0 && *d > 0);
                    header.frame_rate = rate.ok_or_else(|| wrong("its frame rate is no fraction"))?;
                }
                "A" => header.sample_aspect_ratio = pair(value).unwrap_or((0, 0)),
                "I" if value != "p" && value != "?" => {
                    return Err(wrong("it is interlaced; deinterlace it first (ffmpeg -vf yadif)"));
                }
                "C" if !["420", "420jpeg", "420mpeg2", "420paldv"].contains(&value) => {
                    return Err(wrong("it is not 8-bit 4:2:0; convert it (ffmpeg -pix_fmt yuv420p)"));
                }
                "X" if value == "COLORRANGE=FULL" => header.range = ColorRange::Full,
                _ => {}
            }
        }
        header.format()?;
        Ok(header)
    }

    /// The frame format that the stream's frames fit into. What it tells of the shape of its pixels may be wrong, so square ones
    /// are possible too; a shape that no picture has is not believed.
    ///
    /// # Errors
    /// [`Error::Format`] for impossible sizes.
    pub fn format(&self) -> Result<FrameFormat> {
        let format = FrameFormat::new(PixelFormat::I420, self.width, self.height)?;
        let (width, height) = self.sample_aspect_ratio;
        let told: Vec<PixelAspect> = PixelAspect::new(width, height).into_iter().collect();
        Ok(format.with_color(self.range, format.matrix()).with_told_aspects(&told))
    }

    /// Writes the header line.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, output: &mut impl Write) -> Result<()> {
        let range = match self.range {
            ColorRange::Limited => "LIMITED",
            ColorRange::Full => "FULL",
        };
        let ((n, d), (sn, sd)) = (self.frame_rate, self.sample_aspect_ratio);
        writeln!(
            output,
            "YUV4MPEG2 W{} H{} F{n}:{d} Ip A{sn}:{sd} C420jpeg XYSCSS=420JPEG XCOLORRANGE={range}",
            self.width, self.height
        )
        .map_err(|e| Error::io("writing Y4M", e))
    }
}

/// Reads one frame into a frame of [`Y4mHeader::format`]; false at the end of the stream.
///
/// # Errors
/// [`Error::Source`] for a truncated or damaged stream: the frame must not be used.
pub fn read_frame(input: &mut impl BufRead, view: &mut ViewMut<'_>) -> Result<bool> {
    match line(input)? {
        None => return Ok(false),
        Some(l) if l == "FRAME" || l.starts_with("FRAME ") => {}
        Some(_) => return Err(wrong("a frame does not begin with FRAME")),
    }
    for plane in 0..view.format().planes().len() {
        for y in 0..view.format().planes()[plane].height {
            input
                .read_exact(view.row_mut(plane, y))
                .map_err(|e| wrong(&format!("it ends within a frame ({e})")))?;
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

fn wrong(why: &str) -> Error {
    SourceError::new(SourceKind::Stream, format!("the Y4M stream cannot be read: {why}")).into()
}

/// A line without its end; `None` at the end of the stream.
fn line(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes);
    read.map_err(|e| Error::io("reading Y4M", e))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(wrong("a header line is cut off or too long"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("a header line is not text"))
}
