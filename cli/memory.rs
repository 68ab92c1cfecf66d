//! How much memory a run may take, its children included, and what that leaves for frames. Checked before anything large is
//! asked for: a file of a few kilobytes can stand for pictures of gigabytes.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use milkglass::FrameFormat;
use milkglass::frame::available_memory;
use milkglass::policy::Preset;

use crate::outcome::Failure;

const MIB: u64 = 1 << 20;
/// The program itself with a runtime and the networks of `fast` and `balanced`, live: 42 to 99 MB, measured with frames of 320x240
/// and 1280x720; with those of `careful` it is [`LOOKING`].
const LIVE: u64 = 96 * MIB;
/// Models, their runtime, the program itself.
const OURSELVES: u64 = 192 * MIB;
/// What the networks of the preset `careful`, with which stills are looked at, fill at their largest inputs: 460 MiB, measured.
const LOOKING: u64 = 480 * MIB;
/// A child before its first frame; and each of its threads, whose stack counts.
const CHILD: u64 = 96 * MIB;
const THREAD: u64 = 12 * MIB;
/// Frames that a decoder and an encoder hold, measured at 1024x1024 (19 and up to 146) with room for more references.
const DECODER_FRAMES: u64 = 40;
const ENCODER_FRAMES: u64 = 160;
/// The same of an encoder that looks ahead as little as it can, measured at 1024x1024 and 2048x2048 (up to 51).
const SHORT_ENCODER_FRAMES: u64 = 64;
/// Frames that a clip has under way beside those that wait for a detection.
pub const IN_FLIGHT: usize = 10;
/// Bytes for each pixel of a still: as it is decoded (16 bits and four channels at most), as it is redacted, as it is encoded.
const STILL: u64 = 8 + 3 + 3 * 2 + 3 + 3;

/// The bound on all memory of this run.
static BOUND: OnceLock<u64> = OnceLock::new();

/// Sets the bound: what `--max-memory` says, else half of what is available now. The first call decides.
pub fn set_bound(asked: Option<&str>) -> Result<(), Failure> {
    let bound = match asked {
        Some(text) => parse(text).ok_or_else(|| {
            Failure::new(format!("--max-memory {text}: write a size such as 800M or 2G, at least 256M"))
        })?,
        None => available_memory().map_or(u64::MAX, |bytes| bytes / 2),
    };
    let bound = *BOUND.get_or_init(|| bound);
    log::debug!("at most {} MiB of memory", bound / MIB);
    Ok(())
}

fn bound() -> u64 {
    *BOUND.get_or_init(|| available_memory().map_or(u64::MAX, |bytes| bytes / 2))
}

/// `800M`, `2G`, `2.5GiB`, or a number of bytes.
fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim().to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 1.0,
        "k" => 1024.0,
        "m" => MIB as f64,
        "g" => 1024.0 * MIB as f64,
        "t" => 1024.0 * 1024.0 * MIB as f64,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit;
    (bytes >= (256 * MIB) as f64 && bytes.is_finite()).then_some(bytes as u64)
}

/// What a clip may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipMemory {
    /// Frames that may wait for a detection.
    pub waiting: usize,
    /// Memory that the decoder may fill, in bytes. The encoder has no such limit: it is given our frames alone, so that
    /// their size says what it needs, and some ask for several times what they fill.
    pub decoder: u64,
}

/// How a clip is encoded, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Its frames go elsewhere.
    Not,
    /// As the encoder likes it best.
    Fully,
    /// With fewer frames at a time, for which the file is a little larger.
    Shortly,
}

/// What a child may take that only looks into a file.
pub fn of_a_probe() -> u64 {
    (bound() / 4).max(CHILD + 4 * THREAD)
}

/// Shares out the memory of a clip, of which at least `least` and preferably `wanted` frames wait.
pub fn of_a_clip(
    format: &FrameFormat,
    threads: usize,
    least: usize,
    wanted: usize,
    encoding: Encoding,
) -> Result<ClipMemory, Failure> {
    share(bound(), format.buffer_len() as u64, threads as u64, least, wanted, encoding).map_err(|needed| {
        let (width, height) = format.size();
        too_large(&format!("frames of {width}x{height}"), needed)
    })
}

fn share(
    bound: u64,
    frame: u64,
    threads: u64,
    least: usize,
    wanted: usize,
    encoding: Encoding,
) -> Result<ClipMemory, u64> {
    let child = |frames: u64| CHILD + threads * (THREAD + 2 * frame) + frames * frame;
    let decoder = child(DECODER_FRAMES);
    let encoder = match encoding {
        Encoding::Not => 0,
        Encoding::Fully => child(ENCODER_FRAMES),
        Encoding::Shortly => child(SHORT_ENCODER_FRAMES),
    };
    let fixed = OURSELVES + decoder + encoder + IN_FLIGHT as u64 * frame;
    let left = bound.saturating_sub(fixed) / frame.max(1);
    if left < least as u64 || bound < fixed {
        return Err(fixed + least as u64 * frame);
    }
    let waiting = usize::try_from(left).unwrap_or(usize::MAX).min(wanted.max(least));
    // What is left over is the decoder's: some formats need more than was measured.
    let rest = bound - fixed - waiting as u64 * frame;
    Ok(ClipMemory { waiting, decoder: decoder + rest })
}

fn too_large(what: &str, needed: u64) -> Failure {
    Failure::new(format!(
        "{what} need {} MiB of memory, but {} MiB is the bound: give more with --max-memory, close other programs, or make \
         the picture smaller first",
        needed.div_ceil(MIB),
        bound() / MIB
    ))
}

/// A share of the memory for stills, given back when dropped.
#[derive(Debug)]
pub struct StillMemory(u64);

static STILLS: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

/// Waits until the other stills leave enough for one of this size; refuses one for which there never will be.
pub fn of_a_still(width: u32, height: u32) -> Result<StillMemory, Failure> {
    let needed = STILL * u64::from(width) * u64::from(height);
    let room = bound().saturating_sub(OURSELVES + LOOKING);
    if needed > room {
        return Err(too_large(&format!("a picture of {width}x{height}"), needed + OURSELVES + LOOKING));
    }
    let used = STILLS.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut used =
        STILLS.1.wait_while(used, |used| *used + needed > room).unwrap_or_else(PoisonError::into_inner);
    *used += needed;
    Ok(StillMemory(needed))
}

/// The most that a decoder of stills may ask for.
pub fn of_a_decoded_still() -> u64 {
    bound().saturating_sub(OURSELVES).min(1 << 30)
}

/// Buffers of a live pipeline, where the most it would take by itself does not fit; refuses when hardly any does.
pub fn of_a_pipeline(format: &FrameFormat, preset: Preset) -> Result<Option<usize>, Failure> {
    const MOST: u64 = 64;
    const LEAST: u64 = 10;
    let ourselves = if preset == Preset::Careful { LOOKING } else { LIVE };
    let frame = format.buffer_len() as u64;
    let left = bound().saturating_sub(ourselves) / frame.max(1);
    if left < LEAST {
        let (width, height) = format.size();
        return Err(too_large(&format!("frames of {width}x{height}"), ourselves + LEAST * frame));
    }
    Ok((left < MOST).then(|| usize::try_from(left).unwrap_or(usize::MAX)))
}

impl Drop for StillMemory {
    fn drop(&mut self) {
        *STILLS.0.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        STILLS.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in
            [("800M", 800 * MIB), ("2G", 2048 * MIB), ("1.5GiB", 1536 * MIB), ("268435456", 256 * MIB)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "G", "2X", "-1G", "nanG", "100M", "1e99G"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shared_out_is_never_more_than_the_bound() {
        let (mut refused, mut shorter) = (0, 0);
        for bound in [256, 512, 1024, 4096, 65536].map(|mib| mib * MIB) {
            for frame in [100_000, 3_110_400, 25_165_824, 201_326_592] {
                for (threads, encoding) in
                    [(1, Encoding::Fully), (16, Encoding::Fully), (2, Encoding::Shortly), (2, Encoding::Not)]
                {
                    match share(bound, frame, threads, 3, 40, encoding) {
                        Ok(ClipMemory { waiting, decoder }) => {
                            let pool = (waiting + IN_FLIGHT) as u64 * frame;
                            assert!((3..=40).contains(&waiting));
                            assert!(OURSELVES + pool + decoder <= bound);
                            shorter += usize::from(waiting < 40);
                        }
                        Err(needed) => {
                            assert!(needed > bound);
                            refused += 1;
                        }
                    }
                }
            }
        }
        assert!(refused > 5 && shorter > 0, "{refused} {shorter}");
    }
}
