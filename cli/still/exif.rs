//! What EXIF's first directory tells: which way up a picture is, and how many samples there are to a unit.
//!
//! One reader for all formats: what turned a picture must also have turned the shape of its pixels. Viewers take the orientation
//! in every type of number, so it is taken in every type here.

use std::io::{BufRead, Read, Seek, SeekFrom};

/// A block of EXIF or a text is not longer than this, and all of a file's together not than that.
const LONGEST: u32 = 4 << 20;
const MOST_OF_ALL: u32 = 16 << 20;

/// What the first directory tells; what is damaged or missing tells nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exif {
    /// 1 to 8.
    pub orientation: Option<u8>,
    /// Samples per unit along rows and columns, as fractions.
    pub density: Option<[(u32, u32); 2]>,
    /// Whether the unit is known: inches, centimetres.
    pub has_unit: bool,
}

impl Exif {
    /// From the bytes of a block, with or without the marker of a JPEG's segment in front.
    pub fn read(block: &[u8]) -> Exif {
        let bytes = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        directory(bytes).unwrap_or_default()
    }
}

fn directory(bytes: &[u8]) -> Option<Exif> {
    let little = match bytes.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let two: [u8; 2] = bytes.get(at..)?.first_chunk().copied()?;
        Some(if little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    };
    let u32_at = |at: usize| {
        let four: [u8; 4] = bytes.get(at..)?.first_chunk().copied()?;
        Some(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    };
    let first = u32_at(4)? as usize;
    let (mut x, mut y, mut unit) = (None, None, 2);
    let mut exif = Exif::default();
    for entry in 0..usize::from(u16_at(first)?) {
        let entry = first.checked_add(2 + 12 * entry)?;
        // What is cut off in the middle has told what came before.
        let (Some(tag), Some(kind)) = (u16_at(entry), u16_at(entry + 2)) else { break };
        let number = || match kind {
            1 | 6 | 7 => bytes.get(entry + 8).map(|byte| u32::from(*byte)),
            4 | 9 => u32_at(entry + 8),
            _ => u16_at(entry + 8).map(u32::from),
        };
        let rational = || {
            let at = u32_at(entry + 8)? as usize;
            Some((u32_at(at)?, u32_at(at.checked_add(4)?)?))
        };
        match tag {
            0x0112 => {
                let told = number().and_then(|n| u8::try_from(n).ok()).filter(|n| (1..=8).contains(n));
                exif.orientation = exif.orientation.or(told);
            }
            0x011a => x = rational(),
            0x011b => y = rational(),
            0x0128 => unit = number().unwrap_or(unit),
            _ => {}
        }
    }
    exif.density = x.zip(y).map(|(x, y)| [x, y]);
    exif.has_unit = unit != 1;
    Some(exif)
}

/// The segments of a JPEG up to its first scan: marker and content.
pub(crate) fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = jpeg.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        // Bytes of 255 may fill up before a marker.
        let [0xff, after @ ..] = rest else { return None };
        let after = &after[after.iter().position(|byte| *byte != 0xff)?..];
        let (marker, after) = after.split_first()?;
        let length = usize::from(u16::from_be_bytes(after.first_chunk().copied()?));
        if *marker == 0xda {
            return None;
        }
        let content = after.get(2..length)?;
        rest = &after[length..];
        Some((*marker, content))
    })
}

/// All of a JPEG's, of which viewers take one or another.
pub(super) fn of_jpeg(head: &[u8]) -> Vec<Exif> {
    let blocks =
        segments(head).filter(|(marker, content)| *marker == 0xe1 && content.starts_with(b"Exif\0\0"));
    blocks.map(|(_, content)| Exif::read(content)).collect()
}

/// A part of a PNG that tells something about it.
pub(super) struct PngChunk {
    pub kind: [u8; 4],
    pub content: Vec<u8>,
}

/// Those chunks of a PNG that are EXIF or text, before its pixels and after.
pub(super) fn chunks(mut file: impl BufRead + Seek) -> std::io::Result<Vec<PngChunk>> {
    file.seek(SeekFrom::Start(8))?;
    let mut all = Vec::new();
    let mut head = [0; 8];
    let mut left = MOST_OF_ALL;
    // A file that ends early is for the decoder to refuse.
    while file.read_exact(&mut head).is_ok() {
        let [a, b, c, d, kind @ ..] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        let mut rest = i64::from(length) + 4;
        let tells = [*b"eXIf", *b"tEXt", *b"zTXt", *b"iTXt"].contains(&kind);
        if tells && length <= LONGEST.min(left) {
            let mut content = Vec::new();
            rest -= file.by_ref().take(length.into()).read_to_end(&mut content)? as i64;
            left -= length;
            all.push(PngChunk { kind, content });
        } else if tells {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "it holds more words about itself than any camera or program writes",
            ));
        }
        file.seek_relative(rest)?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One entry: tag, type, count, value.
    fn entry(little: bool, tag: u16, kind: u16, value: [u8; 4]) -> Vec<u8> {
        let two = |v: u16| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        let four = |v: u32| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        let mut exif = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        exif.extend(four(8));
        exif.extend(two(1));
        exif.extend([two(tag), two(kind)].concat());
        exif.extend(four(1));
        exif.extend(value);
        exif.extend(four(0));
        exif
    }

    #[test]
    fn orientation_counts_in_every_type_of_number_and_behind_a_prefix() {
        for (little, kind, value) in [
            (true, 3, [6, 0, 0, 0]),
            (false, 3, [0, 6, 0, 0]),
            (true, 4, [6, 0, 0, 0]),
            (false, 4, [0, 0, 0, 6]),
            (true, 1, [6, 0, 0, 0]),
            (false, 1, [6, 0, 0, 0]),
        ] {
            let exif = entry(little, 0x112, kind, value);
            assert_eq!(Exif::read(&exif).orientation, Some(6), "{little} {kind}");
            assert_eq!(Exif::read(&[b"Exif\0\0".as_slice(), &exif].concat()).orientation, Some(6));
        }
        for wrong in [[0, 0, 0, 0], [9, 0, 0, 0]] {
            assert_eq!(Exif::read(&entry(true, 0x112, 3, wrong)).orientation, None);
        }
        for rubbish in [&b""[..], b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"] {
            assert_eq!(Exif::read(rubbish).orientation, None);
        }
    }
}
