//! A file becomes a picture as a viewer would see it: upright, one frame, nothing shown that was transparent. What two
//! decoders do not agree about, and what ours is known to read wrongly, is refused: a picture that was decoded wrongly
//! hides its faces from the detector, and not from people.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use milkglass::FrameFormat;
use milkglass::geometry::PixelAspect;
use milkglass::picture::PixelFormat;
use tiff::tags::{CompressionMethod, ExtraSamples, Tag};

use super::aside::Aside;
use super::exif::{self, Exif};
use super::jpeg;
use crate::memory::{self, StillMemory};
use crate::outcome::Failure;
use crate::pixel_shape;

/// Alpha from which a pixel is shown; below, it is filled. A faint picture is one that no detector sees, and that anybody
/// can bring back.
const SHOWN: u8 = 128;

/// So much of a file is searched for what stands before the pixels.
const HEAD: u64 = 1 << 22;

/// A picture that was read.
pub struct Picture {
    /// Upright, opaque, 8 bits per channel.
    pub pixels: RgbImage,
    /// The shapes that its file tells of the pixels, upright as these; none where it says nothing or square ones.
    pub shapes: Vec<PixelAspect>,
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
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(memory::of_a_decoded_still());
    // Colours that were multiplied with their alpha before they were stored.
    let mut multiplied = false;
    let mut warnings = Vec::new();
    match format {
        Some(ImageFormat::Png) => {
            // Its colour profile is compressed, and inflated before anything else.
            if PngDecoder::with_limits(file()?, limits.clone())
                .and_then(|d| d.is_apng())
                .map_err(undecodable)?
            {
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
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    // The size is checked before the pixels are decoded.
    FrameFormat::new(PixelFormat::Rgb24, width, height).map_err(|e| wrong(e.to_string()))?;
    let memory = memory::of_a_still(width, height).map_err(|e| e.about(path))?;
    let mut head = Vec::new();
    file()?.take(HEAD).read_to_end(&mut head).map_err(unreadable)?;
    let mut aside = Aside::default();
    let mut told = match format {
        Some(ImageFormat::Jpeg) => {
            exif::segments(&head).for_each(|(marker, content)| aside.add_segment(marker, content));
            exif::of_jpeg(&head)
        }
        Some(ImageFormat::Png) => {
            let chunks = exif::chunks(file()?).map_err(unreadable)?;
            chunks.iter().try_for_each(|chunk| aside.add_chunk(chunk)).map_err(unreadable)?;
            let blocks = chunks.iter().filter(|chunk| &chunk.kind == b"eXIf");
            blocks.map(|chunk| Exif::read(&chunk.content)).collect()
        }
        Some(ImageFormat::WebP) => {
            let block = decoder.exif_metadata().map_err(undecodable)?;
            block.iter().map(|block| Exif::read(block)).collect()
        }
        _ => Vec::new(),
    };
    if let Some(ImageFormat::WebP | ImageFormat::Tiff) = format
        && let Some(xmp) = decoder.xmp_metadata().map_err(undecodable)?
    {
        aside.add_xmp(&xmp);
    }
    let orientation = match format {
        Some(ImageFormat::Tiff) => decoder.orientation().map_err(undecodable)?,
        _ => upright(&told).map_err(wrong)?,
    };
    if aside.ways.iter().any(|way| Orientation::from_exif(*way) != Some(orientation)) {
        let why = "tells beside its EXIF (in XMP or in a text) another way up, which some viewers follow and others do not; save \
                   it anew, upright";
        return Err(wrong(why.into()));
    }
    told.append(&mut aside.exif);
    let shapes = pixel_shape::of_still(path, &head, &told, orientation);
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
    Ok(Picture { pixels, shapes, transparent, warnings, _memory: memory })
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
    // A list of what is read rightly: the decoder takes other forms for these, or bends their values.
    let all = |values: Option<Vec<u16>>, usual: u16, known: &[u16]| {
        values.unwrap_or_else(|| vec![usual]).iter().all(|value| known.contains(value))
    };
    if !all(tag(Tag::FillOrder)?, 1, &[1]) {
        return Err("is a TIFF with its bits in reverse order; save it anew".into());
    }
    if !all(tag(Tag::BitsPerSample)?, 1, &[8, 16]) || !all(tag(Tag::SampleFormat)?, 1, &[1]) {
        return Err("is a TIFF of other samples than whole numbers of 8 or 16 bits; save it so".into());
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

/// Which way up a picture is by all that its file tells, where that is one thing.
fn upright(told: &[Exif]) -> Result<Orientation, String> {
    let mut ways = told.iter().filter_map(|exif| exif.orientation);
    let first = ways.next().unwrap_or(1);
    match ways.all(|way| way == first) {
        true => Ok(Orientation::from_exif(first).unwrap_or(Orientation::NoTransforms)),
        false => {
            Err("tells two ways up, of which viewers take one or the other; save it anew, upright".to_owned())
        }
    }
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
