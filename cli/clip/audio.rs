//! Sound beside the pictures: a caged child that reads nothing but sound copies it into a file of its own, so that
//! the encoder never opens the original.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::child::Running;
use super::decode::{clock, decimal};
use super::encode::Container;
use super::probe::ClipInfo;
use super::tools::{Tools, file_url, reading};
use super::{ClipError, Limits};
use crate::cage::Access;

/// The sound file's clock is this much ahead. Coded sound often starts a little before zero, which the file's
/// container could not hold; the encoder takes it back.
pub(super) const AHEAD_US: i64 = 10_000_000;

/// A sound file made by [`copy_sound`]; whoever named it removes it.
#[derive(Debug, Clone)]
pub struct Sound {
    /// The file, for [`super::Encoder::open`].
    pub path: PathBuf,
    /// What changed on the way.
    pub warnings: Vec<String>,
}

/// Copies the first sound stream of `input` into the new file `sound`, in a form that `container` can hold: as it is
/// where possible, else encoded anew. Returns `None` when the clip has no sound.
pub fn copy_sound(
    tools: &Tools,
    input: &Path,
    info: &ClipInfo,
    container: Container,
    sound: &Path,
    limits: &Limits,
) -> Result<Option<Sound>, ClipError> {
    let Some(track) = &info.audio else {
        return Ok(None);
    };
    let mut warnings = Vec::new();
    let mut codec = "copy";
    if !container.holds_sound(&track.codec) {
        codec = container.sound_encoder();
        warnings.push(format!("sound in {} does not fit into {container}: it is encoded anew", track.codec));
    }
    let mut args: Vec<OsString> =
        ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning", "-y"]
            .map(OsString::from)
            .into();
    let (clock, shift) = clock(info, track.start_us);
    args.extend(clock.iter().map(OsString::from));
    args.extend(reading(input));
    let map = format!("0:{}", track.index);
    let words = ["-map", &map, "-map_metadata", "-1", "-map_chapters", "-1", "-c:a", codec];
    args.extend(words.map(OsString::from));
    args.extend(["-output_ts_offset", &decimal(shift + AHEAD_US)].map(OsString::from));
    args.extend(["-fflags", "+bitexact", "-flags:a", "+bitexact", "-f", "nut"].map(OsString::from));
    args.push(file_url(sound));

    // The cage lets it write into this file alone, so it has to be there.
    std::fs::File::create(sound).map_err(|source| ClipError::Io { path: sound.to_owned(), source })?;
    let access = Access::nothing().reads(input).writes(sound);
    let mut child = Running::spawn(tools.ffmpeg(access).args(args), "sound reader", limits)?;
    // A copy shows no progress that could be watched, so its patience is that of many silent reads.
    let end = child.wait(limits.stall * 20)?;
    if let Some(reason) = end.killed() {
        return Err(child.died(reason));
    }
    if !end.status.success() {
        let reason = format!("{}: its sound cannot be copied: {}", input.display(), end.reason());
        return Err(ClipError::Unsupported(format!("{reason}; try without --keep-audio")));
    }
    warnings.extend(end.log.errors.first().map(|line| format!("the sound may be damaged: {line}")));
    Ok(Some(Sound { path: sound.to_owned(), warnings }))
}
