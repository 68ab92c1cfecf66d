//! Whether HEVC has further layers: an alpha channel is one, and most versions of `ffmpeg` decode the pictures below it without
//! a word.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Indexes larger than this are not searched further; real ones have a few MiB an hour.
const INDEX: u64 = 256 << 20;

/// What is told of further layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layers {
    /// Nothing.
    Untold,
    /// There is one, and nobody says that it is anything but alpha.
    Alpha,
    /// It is the other eye's view.
    OtherEye,
}

/// What the index of an MP4 or MOV tells.
pub(super) fn in_index(input: &Path) -> io::Result<Layers> {
    let mut file = File::open(input)?;
    let mut index = Vec::new();
    let mut head = [0; 16];
    // A file that ends inside a box is for the decoder to judge.
    while file.read_exact(&mut head[..8]).is_ok() {
        let mut length = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let mut rest = 8;
        if length == 1 && file.read_exact(&mut head[8..]).is_ok() {
            length = head[8..].iter().fold(0, |length, &byte| length << 8 | u64::from(byte));
            rest = 16;
        }
        if &head[4..8] == b"moov" {
            let body = if length == 0 { INDEX } else { length.saturating_sub(rest) };
            file.take(body.min(INDEX)).read_to_end(&mut index)?;
            break;
        }
        // A length of 0 reaches to the end.
        let Some(rest) = length.checked_sub(rest).and_then(|rest| i64::try_from(rest).ok()) else { break };
        file.seek(SeekFrom::Current(rest))?;
    }
    let has = |what: &[u8]| index.windows(what.len()).any(|w| w == what);
    Ok(match (has(b"lhvC"), has(b"vexu")) {
        (_, true) => Layers::OtherEye,
        (true, false) => Layers::Alpha,
        (false, false) => Layers::Untold,
    })
}

/// How many layers the parameter sets of a bare HEVC stream announce at the most; none where there are no such sets.
pub(super) fn announced(stream: &[u8]) -> Option<u8> {
    // A start code, then a NAL unit of the type of video parameter sets in layer 0.
    let sets = stream.windows(7).filter(|w| w[..3] == [0, 0, 1] && w[3] >> 1 & 0x3f == 32);
    // Four bits of a number and two flags, then the layers beside the first.
    sets.map(|w| ((w[5] & 3) << 4 | w[6] >> 4) + 1).max()
}

#[cfg(test)]
mod tests {
    use super::announced;

    #[test]
    fn layers_are_counted_as_the_standard_writes_them() {
        let set =
            |a: u8, b: u8| [&[0, 0, 0, 1, 0x40, 1, a, b, 0xff][..], &[0, 0, 1, 0x42, 1, 0xff, 0xff]].concat();
        assert_eq!(announced(&set(0x0c, 0x01)), Some(1));
        assert_eq!(announced(&set(0x0c, 0x11)), Some(2));
        assert_eq!(announced(&[set(0x0c, 0x01), set(0x0f, 0xe1)].concat()), Some(63));
        assert_eq!(announced(&[0, 0, 1, 0x42, 1, 0xff, 0xff, 0, 0]), None);
        assert_eq!(announced(&[]), None);
    }
}
