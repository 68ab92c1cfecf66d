//! What a picture's file tells of the shape of its pixels: densities that differ along rows and columns.
//!
//! Nobody has to believe it: whatever is told here is a further shape to look at. So anything that is damaged, far-fetched or
//! beyond these formats tells nothing.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::ImageFormat;
use image::metadata::Orientation;
use milkglass::geometry::PixelAspect;
use tiff::tags::Tag;

use crate::still::exif::{Exif, segments};

/// The shapes of the upright picture's pixels that a file tells, by its beginning, its EXIF and the way it is turned; none where
/// it says nothing or square ones. Files that name no unit disagree about which of two numbers is which, so they tell both.
pub fn of_still(path: &Path, head: &[u8], exif: &[Exif], turned: Orientation) -> Vec<PixelAspect> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let own = match image::guess_format(head) {
        Ok(ImageFormat::Jpeg) => jfif(head),
        Ok(ImageFormat::Png) => physical(head),
        Ok(ImageFormat::Bmp) => bitmap(head),
        Ok(ImageFormat::Tiff) => tiff_tags(path).unwrap_or_default(),
        _ => Vec::new(),
    };
    let turned = matches!(turned, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH);
    let stored = own.into_iter().chain(exif.iter().flat_map(of_exif)).filter(|shape| !shape.is_square());
    stored.map(|shape| if turned { shape.turned() } else { shape }).collect()
}

/// From samples per unit along rows and columns, of which it is known or not what the unit is: where there are more of them,
/// they are narrower.
fn of_density(x: u64, y: u64, has_unit: bool) -> Vec<PixelAspect> {
    let excess = (u64::BITS - (x | y).leading_zeros()).saturating_sub(u32::BITS);
    let part = |v: u64| u32::try_from(v >> excess).unwrap_or(u32::MAX);
    let shape = PixelAspect::new(part(y), part(x));
    let other = shape.filter(|_| !has_unit).map(PixelAspect::turned);
    shape.into_iter().chain(other).collect()
}

/// JFIF's density, for which 1 and 2 are inches and centimetres, and 0 is none.
fn jfif(jpeg: &[u8]) -> Vec<PixelAspect> {
    let density = segments(jpeg).find_map(|(marker, content)| match (marker, content) {
        (0xe0, [b'J', b'F', b'I', b'F', 0, _, _, unit, x0, x1, y0, y1, ..]) => {
            Some((*unit, u16::from_be_bytes([*x0, *x1]), u16::from_be_bytes([*y0, *y1])))
        }
        _ => None,
    });
    density.map_or_else(Vec::new, |(unit, x, y)| of_density(x.into(), y.into(), unit != 0))
}

/// PNG's samples per metre, or per nothing.
fn physical(png: &[u8]) -> Vec<PixelAspect> {
    let mut rest = png.get(8..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (Some(kind), Some(content)) = (after.get(..4), after.get(4..).and_then(|c| c.get(..length)))
        else {
            break;
        };
        match (kind, content) {
            (b"pHYs", [x0, x1, x2, x3, y0, y1, y2, y3, unit]) => {
                let (x, y) =
                    (u32::from_be_bytes([*x0, *x1, *x2, *x3]), u32::from_be_bytes([*y0, *y1, *y2, *y3]));
                return of_density(x.into(), y.into(), *unit == 1);
            }
            (b"IDAT", _) => break,
            _ => rest = after.get(8 + length..).unwrap_or_default(),
        }
    }
    Vec::new()
}

/// The samples per metre of a BMP, which older headers lack.
fn bitmap(bmp: &[u8]) -> Vec<PixelAspect> {
    let at = |at: usize| bmp.get(at..)?.first_chunk().copied().map(i32::from_le_bytes);
    match (at(14), at(38), at(42)) {
        (Some(header), Some(x), Some(y)) if header >= 40 && x > 0 && y > 0 => {
            of_density(u64::from(x.unsigned_abs()), u64::from(y.unsigned_abs()), true)
        }
        _ => Vec::new(),
    }
}

/// XResolution and YResolution of EXIF's first directory, with their unit.
fn of_exif(exif: &Exif) -> Vec<PixelAspect> {
    exif.density.map_or_else(Vec::new, |[x, y]| of_fractions(x, y, exif.has_unit))
}

fn tiff_tags(path: &Path) -> Option<Vec<PixelAspect>> {
    let mut file = tiff::decoder::Decoder::new(BufReader::new(File::open(path).ok()?)).ok()?;
    let unit = file.get_tag_u32(Tag::ResolutionUnit).unwrap_or(2);
    let mut fraction = |tag| match file.get_tag_u32_vec(tag).ok()?.as_slice() {
        [above, below] => Some((*above, *below)),
        _ => None,
    };
    let (x, y) = (fraction(Tag::XResolution)?, fraction(Tag::YResolution)?);
    Some(of_fractions(x, y, unit != 1))
}

fn of_fractions((xn, xd): (u32, u32), (yn, yd): (u32, u32), has_unit: bool) -> Vec<PixelAspect> {
    of_density(u64::from(xn) * u64::from(yd), u64::from(yn) * u64::from(xd), has_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(shapes: Vec<PixelAspect>) -> String {
        shapes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    fn jfif_of(unit: u8, x: u16, y: u16) -> String {
        let mut jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x02".to_vec();
        jpeg.push(unit);
        jpeg.extend(x.to_be_bytes());
        jpeg.extend(y.to_be_bytes());
        jpeg.extend([0, 0]);
        told(jfif(&jpeg))
    }

    fn exif_of(little: bool, x: (u32, u32), y: (u32, u32), unit: u16) -> Vec<u8> {
        let two = |v: u16| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        let four = |v: u32| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        let mut exif = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        exif.extend(four(8));
        exif.extend(two(3));
        for (tag, kind, at) in [(0x11a, 5, 50), (0x11b, 5, 58)] {
            exif.extend([two(tag), two(kind)].concat());
            exif.extend([four(1), four(at)].concat());
        }
        exif.extend([two(0x128), two(3)].concat());
        exif.extend(four(1));
        exif.extend([two(unit), two(0)].concat());
        exif.extend(four(0));
        for number in [x.0, x.1, y.0, y.1] {
            exif.extend(four(number));
        }
        exif
    }

    #[test]
    fn a_finer_density_makes_narrower_pixels_and_one_without_a_unit_may_be_either() {
        assert_eq!(jfif_of(1, 72, 36), "1:2");
        assert_eq!(jfif_of(2, 45, 64), "64:45");
        assert_eq!(jfif_of(0, 1, 2), "2:1 1:2");
        assert_eq!(jfif_of(0, 1, 1), "1:1 1:1");
        assert_eq!(jfif_of(1, 0, 72), "");
        assert_eq!(jfif_of(1, 1, 9), "", "no picture is so");
        for little in [true, false] {
            let density = |x, y, unit| told(of_exif(&Exif::read(&exif_of(little, x, y, unit))));
            assert_eq!(density((72, 1), (144, 1), 2), "2:1");
            assert_eq!(density((300, 10), (15, 1), 3), "1:2");
            assert_eq!(density((1, 2), (1, 1), 1), "2:1 1:2");
            assert_eq!(density((72, 0), (72, 1), 2), "");
            assert_eq!(density((u32::MAX, 1), (u32::MAX, 2), 2), "32767:65535", "as near as it can be told");
        }
    }

    #[test]
    fn what_is_cut_off_tells_nothing() {
        let whole = exif_of(true, (72, 1), (144, 1), 2);
        for length in 0..whole.len() {
            assert!(of_exif(&Exif::read(&whole[..length])).is_empty(), "{length}");
        }
        let mut wrong = whole;
        wrong[4..8].fill(255);
        assert!(of_exif(&Exif::read(&wrong)).is_empty());
        for rubbish in
            [&[][..], b"\xff", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\0", b"\x89PNG\r\n\x1a\n\0\0\0\x09pHYs\0"]
        {
            let shapes = [jfif(rubbish), physical(rubbish), bitmap(rubbish), of_exif(&Exif::read(rubbish))];
            assert!(shapes.concat().is_empty());
        }
    }
}
