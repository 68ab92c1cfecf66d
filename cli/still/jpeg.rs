//! JPEG read twice. The form has corners (scans of single components, chroma finer than luma, colours told by nothing but
//! the names of components) in which one decoder or another makes a picture of nonsense and calls it a success.

use std::io::{BufRead, Read};

use image::RgbImage;
use jpeg_decoder::{Decoder, PixelFormat};

/// Sides of the squares whose means are compared. Decoders enlarge colour in different ways, which changes single pixels
/// near edges, but not the mean.
const SQUARE: usize = 16;
/// Levels by which the means of a square may differ.
const SQUARE_DIFFERS: u32 = 12;
/// Levels by which pixels may differ in the mean of all.
const ALL_DIFFER: u64 = 6;

/// Decodes `file` with the second decoder and compares with what the first made of it.
pub(super) fn check(file: impl Read, first: &RgbImage, memory: u64) -> Result<(), String> {
    let mut decoder = Decoder::new(file);
    decoder.set_max_decoding_buffer_size(usize::try_from(memory).unwrap_or(usize::MAX));
    let refused =
        |e| format!("is a JPEG that only one of two decoders can read ({e}); save it anew, as a plain JPEG");
    let bytes = decoder.decode().map_err(refused)?;
    let Some(info) = decoder.info() else {
        return Err("is a JPEG without a size".into());
    };
    let second = to_rgb(&bytes, info.pixel_format);
    let size = (u32::from(info.width), u32::from(info.height));
    if size != first.dimensions() || second.len() != first.as_raw().len() || differ(first, &second) {
        return Err("is a JPEG that two decoders read differently; save it anew, as a plain JPEG".into());
    }
    Ok(())
}

fn to_rgb(bytes: &[u8], format: PixelFormat) -> Vec<u8> {
    match format {
        PixelFormat::L8 => bytes.iter().flat_map(|&v| [v; 3]).collect(),
        PixelFormat::L16 => {
            bytes.as_chunks::<2>().0.iter().flat_map(|&v| [(u16::from_ne_bytes(v) >> 8) as u8; 3]).collect()
        }
        PixelFormat::RGB24 => bytes.to_vec(),
        PixelFormat::CMYK32 => {
            let ink = |v: u8, k: u8| (u32::from(255 - v) * u32::from(255 - k) / 255) as u8;
            bytes.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| [c, m, y].map(|v| ink(v, k))).collect()
        }
    }
}

fn differ(first: &RgbImage, second: &[u8]) -> bool {
    let (width, height) = (first.width() as usize, first.height() as usize);
    let first = first.as_raw();
    let sum: u64 = first.iter().zip(second).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    if sum > ALL_DIFFER * first.len() as u64 {
        return true;
    }
    let row = 3 * width;
    // Per square and channel: the sum of the differences with their signs.
    let mut sums = vec![[0_i32; 3]; width.div_ceil(SQUARE)];
    for y in 0..height {
        let range = y * row..(y + 1) * row;
        let pixels = first[range.clone()].as_chunks::<3>().0.iter().zip(second[range].as_chunks::<3>().0);
        for (x, (a, b)) in pixels.enumerate() {
            for channel in 0..3 {
                sums[x / SQUARE][channel] += i32::from(a[channel]) - i32::from(b[channel]);
            }
        }
        if (y + 1) % SQUARE != 0 && y + 1 != height {
            continue;
        }
        let rows = y % SQUARE + 1;
        for (at, square) in sums.iter_mut().enumerate() {
            let columns = SQUARE.min(width - at * SQUARE);
            // A sliver at the edge is all edge.
            let counts = rows.min(columns) >= SQUARE / 2;
            let limit = SQUARE_DIFFERS * (rows * columns) as u32;
            if counts && square.iter().any(|sum| sum.unsigned_abs() > limit) {
                return true;
            }
            *square = [0; 3];
        }
    }
    false
}

/// Whether the file holds further pictures than the one that is shown: previews, gain maps, films.
pub(super) fn holds_more(mut file: impl BufRead) -> std::io::Result<bool> {
    // The segments before the picture, at most; they come first.
    let mut head = Vec::new();
    file.by_ref().take(1 << 18).read_to_end(&mut head)?;
    Ok([&b"MPF\0"[..], b"MotionPhoto", b"MicroVideo"]
        .iter()
        .any(|mark| head.windows(mark.len()).any(|w| w == *mark)))
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::differ;

    #[test]
    fn a_small_wrong_part_is_a_difference_and_another_way_to_enlarge_colour_is_none() {
        let picture = RgbImage::from_fn(203, 101, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
        let mut other = picture.clone();
        other.pixels_mut().enumerate().for_each(|(n, p)| p.0[0] = p.0[0].saturating_add((n % 3) as u8));
        assert!(!differ(&picture, other.as_raw()));
        // One square of all.
        for (x, y) in (96..112).flat_map(|x| (32..48).map(move |y| (x, y))) {
            other.get_pixel_mut(x, y).0[1] += 14;
        }
        assert!(differ(&picture, other.as_raw()));
        assert!(differ(&picture, &vec![128; picture.as_raw().len()]));
    }
}
