//! Whether HEVC in an MP4 or MOV has further layers: an alpha channel is one, and most versions of `ffmpeg` decode the
//! pictures below it without a word.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Indexes larger than this are not searched further; real ones have a few MiB an hour.
const INDEX: u64 = 256 << 20;

/// Says whether the index of `input` describes an alpha layer: a further layer that is not the other eye's view.
pub(super) fn has_alpha_layer(input: &Path) -> io::Result<bool> {
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
    Ok(has(b"lhvC") && !has(b"vexu"))
}
