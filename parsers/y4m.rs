//! Y4M (YUV4MPEG2): raw frames with a text header, the simplest stream between programs. 8-bit 4:2:0, progressive.

use std::io::{self, BufRead, Read, Write};

/// The longest header line that is read.
const MAX_LINE: u64 = 1024;

/// Why a stream cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Y4mError {
    /// The pipe or file failed.
    #[error("reading Y4M: {0}")]
    Io(#[from] io::Error),
    /// There is not a single byte.
    #[error("it is empty")]
    Empty,
    /// Another format.
    #[error("it does not begin with YUV4MPEG2; make one with `ffmpeg -i CLIP -f yuv4mpegpipe -`")]
    NoY4m,
    /// A side or the rate is not what it should be.
    #[error("its {0}")]
    Number(&'static str),
    /// Fields of two times in one frame.
    #[error("it is interlaced; deinterlace it first (ffmpeg -vf yadif)")]
    Interlaced,
    /// Samples that are laid out in another way.
    #[error("it is not 8-bit 4:2:0; convert it (ffmpeg -pix_fmt yuv420p)")]
    Layout,
    /// A line that is none.
    #[error("a header line is {0}")]
    Line(&'static str),
    /// Something else stands where a frame begins.
    #[error("a frame does not begin with FRAME")]
    NoFrame,
    /// The last frame is cut off.
    #[error("it ends within a frame ({0})")]
    CutOff(io::Error),
}

/// The stream's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Width in luma pixels; as the stream says, so perhaps one that no frame has.
    pub width: u32,
    /// Height in luma pixels.
    pub height: u32,
    /// Frames per second, as a fraction of numbers above 0.
    pub frame_rate: (u32, u32),
    /// Width to height of a pixel; 0:0 when unknown.
    pub sample_aspect_ratio: (u32, u32),
    /// Values from 0 to 255. Most programs say nothing of it and mean limited range.
    pub full_range: bool,
}

impl Header {
    /// Reads the header line.
    ///
    /// # Errors
    /// It is no Y4M, or one that is not progressive 8-bit 4:2:0.
    pub fn read(input: &mut impl BufRead) -> Result<Header, Y4mError> {
        let line = line(input)?.ok_or(Y4mError::Empty)?;
        let mut words = line.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            return Err(Y4mError::NoY4m);
        }
        let mut header = Header {
            width: 0,
            height: 0,
            frame_rate: (25, 1),
            sample_aspect_ratio: (0, 0),
            full_range: false,
        };
        let pair =
            |text: &str| text.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        for word in words.filter(|w| !w.is_empty()) {
            let (key, value) = word.split_at_checked(1).unwrap_or(("", ""));
            let side = |what| value.parse().map_err(|_| Y4mError::Number(what));
            match key {
                "W" => header.width = side("width is no number")?,
                "H" => header.height = side("height is no number")?,
                "F" => {
                    let rate = pair(value).filter(|(n, d)| *n > 0 && *d > 0);
                    header.frame_rate = rate.ok_or(Y4mError::Number("frame rate is no fraction"))?;
                }
                "A" => header.sample_aspect_ratio = pair(value).unwrap_or((0, 0)),
                "I" if value != "p" && value != "?" => return Err(Y4mError::Interlaced),
                "C" if !["420", "420jpeg", "420mpeg2", "420paldv"].contains(&value) => {
                    return Err(Y4mError::Layout);
                }
                "X" if value == "COLORRANGE=FULL" => header.full_range = true,
                _ => {}
            }
        }
        Ok(header)
    }

    /// Writes the header line.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let range = if self.full_range { "FULL" } else { "LIMITED" };
        let ((n, d), (sn, sd)) = (self.frame_rate, self.sample_aspect_ratio);
        writeln!(
            output,
            "YUV4MPEG2 W{} H{} F{n}:{d} Ip A{sn}:{sd} C420jpeg XYSCSS=420JPEG XCOLORRANGE={range}",
            self.width, self.height
        )
    }
}

/// Reads the line before a frame, whose planes Y, Cb and Cr follow; false at the end of the stream.
///
/// # Errors
/// Anything else stands there.
pub fn begin_frame(input: &mut impl BufRead) -> Result<bool, Y4mError> {
    match line(input)? {
        None => Ok(false),
        Some(l) if l == "FRAME" || l.starts_with("FRAME ") => Ok(true),
        Some(_) => Err(Y4mError::NoFrame),
    }
}

/// A line without its end; `None` at the end of the stream.
fn line(input: &mut impl BufRead) -> Result<Option<String>, Y4mError> {
    let mut bytes = Vec::new();
    input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(Y4mError::Line("cut off or too long"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| Y4mError::Line("not text"))
}
