//! A file becomes a picture as a viewer would see it: upright, one frame, nothing shown that was transparent. What two
//! decoders do not agree about, and what ours is known to read wrongly, is refused: a picture that was decoded wrongly
//! hides its faces from the detector, and not from people.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use milkglass::{FrameFormat, PixelFormat};
use tiff::tags::{CompressionMethod, ExtraSamples, Tag};

use super::jpeg;
use crate::memory::{self, StillMemory};
use crate::outcome::Failure;

/// Alpha from which a pixel is shown; below, it is filled. A faint picture is one that no detector sees, and that anybody
/// can bring back.
const SHOWN: u8 = 128;

/// A picture that was read.
pub struct Picture {
    /// Upright, opaque, 8 bits per channel.
    pub pixels: RgbImage,
    /// Parts of it were transparent, and are black now.
    pub transparent: bool,
    /// What else the file held and the result lacks, one line each.
    pub warnings: Vec<String>,
    /// Its share of the memory, given back with the picture.
    _memory: StillMemory,
}

/// Reads a picture: turned upright, laid over black where it is transparent, 8 bits per channel. Pictures with several
/// frames or pages are refused, because all but the first would be lost or, worse, copied.
pub fn read(path: &Path) -> Result<Picture, Failure> {
    let wrong = |why: String| Failure::new(why).about(path);
    let unreadable = |e: std::io::Error| wrong(format!("cannot be read: {e}"));
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length == 0 {
        return Err(wrong("is empty (zero bytes); nothing was written for it".into()));
    }
    let file = || File::open(path).map(BufReader::new).map_err(unreadable);
    let mut reader = ImageReader::new(file()?).with_guessed_format().map_err(unreadable)?;
    let undecodable = |e: image::ImageError| wrong(format!("is no picture that can be read: {e}"));
    let format = reader.format();
    // Colours that were multiplied with their alpha before they were stored.
    let mut multiplied = false;
    let mut warnings = Vec::new();
    match format {
        Some(ImageFormat::Png) => {
            if PngDecoder::new(file()?).and_then(|d| d.is_apng()).map_err(undecodable)? {
                return Err(wrong("is an animated PNG; convert it to a clip first".into()));
            }
        }
        Some(ImageFormat::WebP) => {
            if WebPDecoder::new(file()?).map_err(undecodable)?.has_animation() {
                return Err(wrong("is an animated WebP; convert it to a clip first".into()));
            }
        }
        Some(ImageFormat::Tiff) => multiplied = check_tiff(file()?).map_err(wrong)?,
        Some(ImageFormat::Jpeg) => {
            if jpeg::holds_more(file()?).map_err(unreadable)? {
                warnings
                    .push("further pictures in the file (previews, gain maps, films) are dropped".to_owned());
            }
        }
        Some(ImageFormat::Bmp) => {}
        _ => return Err(wrong("is no PNG, JPEG, WebP, BMP or TIFF".into())),
    }
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(memory::of_a_decoded_still());
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    // The size is checked before the pixels are decoded.
    FrameFormat::new(PixelFormat::Rgb24, width, height).map_err(|e| wrong(e.to_string()))?;
    let memory = memory::of_a_still(width, height).map_err(|e| e.about(path))?;
    let mut orientation = decoder.orientation().map_err(undecodable)?;
    // Some writers put the marker of a JPEG's segment in front, which belongs in no other file.
    let mut exif = decoder.exif_metadata().map_err(undecodable)?;
    if format == Some(ImageFormat::Png) && exif.is_none() {
        exif = late_exif(file()?).map_err(unreadable)?;
    }
    if let Some(exif) = &exif {
        let bare = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        orientation = Orientation::from_exif_chunk(bare).unwrap_or(orientation);
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    if format == Some(ImageFormat::Bmp)
        && let Some(alpha) = reserved_alpha(file()?, (width, height)).map_err(unreadable)?
    {
        let mut both = picture.into_rgba8();
        both.pixels_mut().zip(alpha).for_each(|(pixel, alpha)| pixel.0[3] = alpha);
        picture = DynamicImage::ImageRgba8(both);
    }
    let (mut pixels, transparent) = opaque(picture, multiplied);
    if format == Some(ImageFormat::Jpeg) {
        jpeg::check(file()?, &pixels, memory::of_a_decoded_still()).map_err(wrong)?;
    }
    if transparent {
        warnings.push("what is transparent in it is filled with black".to_owned());
    }
    if orientation != Orientation::NoTransforms {
        let mut turned = DynamicImage::ImageRgb8(pixels);
        turned.apply_orientation(orientation);
        pixels = turned.into_rgb8();
    }
    Ok(Picture { pixels, transparent, warnings, _memory: memory })
}

/// Lays a picture over black and says whether any of it was transparent.
fn opaque(picture: DynamicImage, multiplied: bool) -> (RgbImage, bool) {
    if !picture.color().has_alpha() {
        return (picture.into_rgb8(), false);
    }
    let picture = picture.into_rgba8();
    let (width, height) = picture.dimensions();
    let mut transparent = false;
    let mut pixels = Vec::with_capacity(picture.as_raw().len() / 4 * 3);
    for &[r, g, b, alpha] in picture.as_raw().as_chunks::<4>().0 {
        transparent |= alpha < u8::MAX;
        pixels.extend([r, g, b].map(|value| match alpha {
            u8::MAX => value,
            SHOWN.. if multiplied => value.min(alpha),
            SHOWN.. => ((u32::from(value) * u32::from(alpha) + 127) / 255) as u8,
            _ => 0,
        }));
    }
    // The length fits, since it was made from the same pixels.
    (RgbImage::from_raw(width, height, pixels).unwrap_or_default(), transparent)
}

/// What of TIFF is read rightly; says whether colours were multiplied with their alpha.
fn check_tiff(file: impl Read + Seek) -> Result<bool, String> {
    let unreadable = |e: tiff::TiffError| format!("is no TIFF that can be read: {e}");
    let mut decoder = tiff::decoder::Decoder::new(file).map_err(unreadable)?;
    if decoder.more_images() {
        return Err("is a TIFF with several pages; split it first".into());
    }
    let mut tag = |tag| decoder.find_tag_unsigned_vec::<u16>(tag).map_err(unreadable);
    let (compression, extra) = (tag(Tag::Compression)?, tag(Tag::ExtraSamples)?.unwrap_or_default());
    let jpegs = [CompressionMethod::JPEG, CompressionMethod::ModernJPEG].map(|method| method.to_u16());
    if compression.is_some_and(|method| method.iter().any(|method| jpegs.contains(method))) {
        return Err("is a TIFF that holds a JPEG; save it as a JPEG, or as a TIFF without".into());
    }
    let samples = tag(Tag::SamplesPerPixel)?.and_then(|n| n.first().copied()).unwrap_or(1);
    let (associated, straight) =
        (ExtraSamples::AssociatedAlpha.to_u16(), ExtraSamples::UnassociatedAlpha.to_u16());
    let photometric = tag(Tag::PhotometricInterpretation)?.and_then(|n| n.first().copied());
    // WhiteIsZero, BlackIsZero, RGB, CMYK.
    let expected = match photometric {
        Some(0 | 1) => 1,
        Some(2) => 3,
        Some(5) => 4,
        _ => return Err("is a TIFF of other colours than gray, RGB and CMYK; save it as RGB".into()),
    };
    match extra[..] {
        [] if samples == expected => Ok(false),
        [kind] if kind == associated && samples == expected + 1 => Ok(true),
        [kind] if kind == straight && samples == expected + 1 => Ok(false),
        // Dropped, they would shift what a predictor adds up; kept, nobody knows whether they are alpha.
        _ => Err(format!(
            "is a TIFF with {samples} samples per pixel, of which not all are told to be colour or alpha; save it as RGB \
             or RGBA"
        )),
    }
}

/// The fourth byte of each pixel of a BMP without masks, from the upper left corner on. It is reserved, and the decoder passes
/// over it; some writers put alpha there, and viewers take it for that, unless it is zero in all of the picture.
fn reserved_alpha(
    mut file: impl Read + Seek,
    (width, height): (u32, u32),
) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0; 34];
    file.read_exact(&mut head)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (bits, compression, upside_down) = (head[28], number(30), number(22) < 1 << 31);
    if (bits, head[29], compression) != (32, 0, 0) || number(14) < 40 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(number(10).into()))?;
    let mut rows = vec![0; 4 * width as usize * height as usize];
    file.read_exact(&mut rows)?;
    let alpha = |row: &[u8]| row.as_chunks::<4>().0.iter().map(|pixel| pixel[3]).collect::<Vec<u8>>();
    let rows = rows.chunks_exact(4 * width as usize);
    let all: Vec<u8> = match upside_down {
        true => rows.rev().flat_map(alpha).collect(),
        false => rows.flat_map(alpha).collect(),
    };
    Ok(all.iter().any(|alpha| *alpha != 0).then_some(all))
}

/// The EXIF chunk of a PNG that comes after its pixels, where the decoder does not look.
fn late_exif(mut file: impl BufRead + Seek) -> std::io::Result<Option<Vec<u8>>> {
    file.seek(SeekFrom::Start(8))?;
    let mut head = [0; 8];
    // A file that ends early is for the decoder to refuse.
    while file.read_exact(&mut head).is_ok() {
        let [a, b, c, d, kind @ ..] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        if &kind == b"eXIf" && length <= 1 << 20 {
            let mut exif = Vec::new();
            file.take(length.into()).read_to_end(&mut exif)?;
            return Ok(Some(exif));
        }
        file.seek_relative(i64::from(length) + 4)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Rgba, RgbaImage};

    use super::opaque;

    #[test]
    fn nothing_is_left_of_what_is_more_than_half_transparent() {
        for alpha in 0..=255_u8 {
            for value in [0, 1, 100, 255_u8] {
                let picture = RgbaImage::from_pixel(1, 1, Rgba([value, 0, 255, alpha]));
                for multiplied in [false, true] {
                    let (pixels, transparent) = opaque(DynamicImage::ImageRgba8(picture.clone()), multiplied);
                    let wanted = match alpha {
                        0..128 => 0,
                        _ if multiplied => value.min(alpha),
                        _ => (f32::from(value) * f32::from(alpha) / 255.0).round() as u8,
                    };
                    assert_eq!(pixels.get_pixel(0, 0).0[0], wanted, "{value} at {alpha}");
                    assert_eq!(transparent, alpha < 255);
                }
            }
        }
    }
}
