//! JPEG pictures of a camera, decoded to rows of I420. A picture with any fault is withheld whole.

use std::panic::{AssertUnwindSafe, catch_unwind};

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

/// Says "Motion JPEG", which implies the standard's Huffman tables; cameras that leave the tables out often leave this out
/// too.
const MOTION_JPEG: [u8; 9] = [0xFF, 0xE0, 0, 7, b'A', b'V', b'I', b'1', 0];
/// 64 one-bits, as many as the decoder reads ahead. No code consists of ones, so a scan that ends early runs into an error;
/// behind a whole one they are read by nobody. Without them the decoder takes zeros and makes up the rest of the picture,
/// or what is missing before a restart marker.
const FENCE: [u8; 16] = [0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0];
const END: [u8; 2] = [0xFF, 0xD9];

/// Why a picture is withheld.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JpegError {
    /// The markers of one whole picture are not there, or not in order.
    #[error("it is no complete JPEG of one scan")]
    Incomplete,
    /// Another size than the one that was agreed on.
    #[error("its size is {0:?}")]
    Size(Option<(usize, usize)>),
    /// Neither gray nor YCbCr.
    #[error("its colours are {0}")]
    Colors(String),
    /// The decoder's own words.
    #[error("{0}")]
    Decoder(String),
}

/// Holds one compressed picture and one decoded one.
pub struct Mjpeg {
    size: (u32, u32),
    compressed: Vec<u8>,
    /// Y Cb Cr for every pixel, or Y alone when `gray`.
    decoded: Vec<u8>,
    gray: bool,
}

impl Mjpeg {
    /// For pictures of `size`, compressed to at most `len` bytes.
    pub fn new(size: (u32, u32), len: usize) -> Mjpeg {
        let samples = size.0 as usize * size.1 as usize * 3;
        let compressed = Vec::with_capacity(len + MOTION_JPEG.len() + FENCE.len());
        Mjpeg { size, compressed, decoded: vec![0; samples], gray: false }
    }

    /// Takes a copy, so that the camera can have its buffer back before decoding.
    ///
    /// # Errors
    /// [`JpegError::Incomplete`]: it is no complete JPEG, or not of the kind that cameras send.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), JpegError> {
        self.compressed.clear();
        let Outline { tables, scan, end } = outline(bytes).ok_or(JpegError::Incomplete)?;
        self.compressed.extend_from_slice(&bytes[..2]);
        if !tables {
            self.compressed.extend_from_slice(&MOTION_JPEG);
        }
        self.compressed.extend_from_slice(&bytes[2..scan]);
        let mut rest = &bytes[scan..end];
        while let Some(at) = next_marker(rest) {
            for part in [&rest[..at], &FENCE, &rest[at..at + 2]] {
                self.compressed.extend_from_slice(part);
            }
            rest = &rest[at + 2..];
        }
        for part in [rest, &FENCE, &END] {
            self.compressed.extend_from_slice(part);
        }
        Ok(())
    }

    /// Decodes what was loaded.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn decode(&mut self) -> Result<(), JpegError> {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(width)
            .set_max_height(height)
            .jpeg_set_out_colorspace(ColorSpace::YCbCr);
        let decode = || {
            let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&self.compressed), options);
            let gave_up = |e: DecodeErrors| JpegError::Decoder(e.to_string());
            decoder.decode_headers().map_err(gave_up)?;
            if decoder.dimensions() != Some((width, height)) {
                return Err(JpegError::Size(decoder.dimensions()));
            }
            self.gray = match decoder.input_colorspace() {
                Some(ColorSpace::YCbCr) => false,
                Some(ColorSpace::Luma) => {
                    decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
                    true
                }
                other => return Err(JpegError::Colors(format!("{other:?}"))),
            };
            let samples = width * height * if self.gray { 1 } else { 3 };
            decoder.decode_into(&mut self.decoded[..samples]).map_err(gave_up)
        };
        // Whatever a stranger's bytes do to the decoder, the camera goes on.
        catch_unwind(AssertUnwindSafe(decode))
            .unwrap_or_else(|_| Err(JpegError::Decoder("the decoder gave up".into())))
    }

    /// Writes row `y` of a plane (0: Y, 1: Cb, 2: Cr) of the decoded picture, whose sides are halved, rounded up, for Cb and Cr:
    /// four chroma samples become their mean. `to` is as long as the row.
    pub fn row(&self, plane: usize, y: u32, to: &mut [u8]) {
        let width = self.size.0 as usize;
        let channels = if self.gray { 1 } else { 3 };
        let row = |y: u32| &self.decoded[y as usize * width * channels..][..width * channels];
        if plane == 0 {
            to.iter_mut().zip(row(y).iter().step_by(channels)).for_each(|(to, from)| *to = *from);
            return;
        }
        if self.gray {
            to.fill(128);
            return;
        }
        // An odd last row or column stands for its missing neighbour.
        let (above, below) = (row(2 * y), row((2 * y + 1).min(self.size.1 - 1)));
        for (x, to) in to.iter_mut().enumerate() {
            let (left, right) = (6 * x + plane, (6 * x + 3).min(3 * width - 3) + plane);
            let sum = [above[left], above[right], below[left], below[right]].map(u32::from);
            *to = ((sum.iter().sum::<u32>() + 2) >> 2) as u8;
        }
    }
}

/// What the markers of a JPEG tell.
struct Outline {
    /// The Huffman tables are there, before the first scan.
    tables: bool,
    /// Bytes up to the first of the scan, and to the marker of the picture's end.
    scan: usize,
    end: usize,
}

/// Walks from marker to marker; `None` when they are not in order, or when there is no end. Looking for the end from behind
/// would find that of an older picture, where a driver tells too great a length.
///
/// Cameras send sequential pictures with all components in one scan. Nothing else is taken: where a scan breaks off and
/// another one follows, the decoder would leave the rest of the picture as it was before, and a picture may have any number
/// of scans, each of which takes time. The scan's restart markers have to be all there: the decoder would make up, or move
/// elsewhere, what lay between those that are missing.
fn outline(bytes: &[u8]) -> Option<Outline> {
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8])?;
    let (mut tables, mut frame, mut interval) = (false, None, 0);
    loop {
        let (marker, after) = match rest {
            // Any number of 0xFF may stand before a marker.
            [0xFF, 0xFF, ..] => {
                rest = &rest[1..];
                continue;
            }
            [0xFF, marker, after @ ..] => (*marker, after),
            _ => return None,
        };
        let len = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?])).max(2);
        let body = after.get(2..len)?;
        rest = &after[len..];
        match marker {
            0xC0 | 0xC1 => frame = Some(Frame::read(body)?),
            0xD9 => return None,
            0xC4 => tables = true,
            0xDD => interval = usize::from(u16::from_be_bytes(body.try_into().ok()?)),
            0xDA => {
                let frame = frame.filter(|f| body.first() == Some(&f.components))?;
                let scan = bytes.len() - rest.len();
                let mut restarts = frame.restarts(interval);
                for due in (0xD0..=0xD7).cycle() {
                    rest = &rest[next_marker(rest)?..];
                    match rest[1] {
                        0xD9 if restarts == 0 => break,
                        marker if marker == due && restarts > 0 => restarts -= 1,
                        _ => return None,
                    }
                    rest = &rest[2..];
                }
                return Some(Outline { tables, scan, end: bytes.len() - rest.len() });
            }
            _ => {}
        }
    }
}

/// Bytes of a scan before its next marker. 0xFF is none when 0 or another 0xFF follows.
fn next_marker(scan: &[u8]) -> Option<usize> {
    scan.windows(2).position(|w| w[0] == 0xFF && !matches!(w[1], 0 | 0xFF))
}

/// What a frame header tells.
struct Frame {
    components: u8,
    /// Units that a scan of all components consists of.
    units: usize,
}

impl Frame {
    fn read(header: &[u8]) -> Option<Frame> {
        let [_, h0, h1, w0, w1, components, sampling @ ..] = header else { return None };
        let most =
            |shift: u32| sampling.iter().skip(1).step_by(3).map(|s| usize::from(s >> shift & 15)).max();
        // The units of a single component are its blocks.
        let (across, down) = if *components == 1 { (1, 1) } else { (most(4)?.max(1), most(0)?.max(1)) };
        let side = |size: [u8; 2], blocks: usize| usize::from(u16::from_be_bytes(size)).div_ceil(8 * blocks);
        Some(Frame { components: *components, units: side([*w0, *w1], across) * side([*h0, *h1], down) })
    }

    /// Restart markers of a scan, when one stands between each `interval` units and the next. 0: there are none.
    fn restarts(&self, interval: usize) -> usize {
        if interval == 0 { 0 } else { self.units.div_ceil(interval).saturating_sub(1) }
    }
}

#[cfg(test)]
mod tests;
