//! Sound beside the pictures: a caged child decodes it and hands plain samples to the encoder through a pipe.
//!
//! Headers and packets of coded sound have room for anything: cover art, comments, places, whatever an encoder or a
//! tagger put there. So none of them is ever copied. What leaves is encoded anew from samples, and the original sound
//! lies in no file of ours, not even for a moment.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};

use super::child::{End, Running};
use super::decode::{clock, decimal};
use super::encode::Container;
use super::probe::{ClipInfo, Track};
use super::tools::{Tools, reading};
use super::{ClipError, Limits};
use crate::sandbox::Access;

/// The samples' clock is this much ahead, since sound may begin a little before zero and the pipe's format cannot say
/// so; the encoder takes it back.
pub(super) const AHEAD_US: i64 = 10_000_000;

/// The sound of a clip on its way into an encoder: a child that decodes it.
pub struct Sound {
    child: Running,
    samples: Option<ChildStdout>,
    input: PathBuf,
    coding: Coding,
}

/// How sound is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coding {
    /// `ffmpeg`'s name of the encoder.
    pub encoder: &'static str,
    /// Bits a second; `None` for a coding without loss.
    pub bit_rate: Option<u32>,
    /// Layouts of channels that the encoder takes for sure.
    layouts: &'static str,
    /// Samples in the pipe, by `ffmpeg`'s name.
    samples: &'static str,
}

impl Coding {
    fn choose(container: Container, lossless: bool, track: &Track) -> Self {
        let (encoder, most) = match container {
            Container::Matroska if lossless => ("flac", 8),
            Container::WebM => ("libopus", 8),
            Container::Avi => ("libmp3lame", 2),
            _ => ("aac", 8),
        };
        let layouts = if most == 2 { "mono|stereo" } else { "mono|stereo|5.1|7.1" };
        let bit_rate = 96_000 * track.channels.clamp(1, most);
        if encoder == "flac" {
            let samples = if track.bits > 16 { "pcm_s24le" } else { "pcm_s16le" };
            return Coding { encoder, bit_rate: None, layouts, samples };
        }
        Coding { encoder, bit_rate: Some(bit_rate), layouts, samples: "pcm_f32le" }
    }
}

/// Starts decoding the first sound stream of `input`, to be encoded anew for `container`, without loss where `lossless`
/// asks for it and the container is Matroska. Returns `None` when the clip has no sound.
pub fn read_sound(
    tools: &Tools,
    input: &Path,
    info: &ClipInfo,
    container: Container,
    lossless: bool,
    limits: &Limits,
) -> Result<Option<Sound>, ClipError> {
    let Some(track) = &info.audio else {
        return Ok(None);
    };
    let coding = Coding::choose(container, lossless, track);
    if !tools.has_encoder(coding.encoder)? {
        return Err(ClipError::Unsupported(format!(
            "the installed ffmpeg has no encoder {} for the sound of {container}: choose another container, or leave \
             --keep-audio out",
            coding.encoder
        )));
    }
    let mut args: Vec<OsString> =
        ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning"].map(OsString::from).into();
    let (clock, shift) = clock(info, track.start_us);
    args.extend(clock.iter().map(OsString::from));
    args.extend(reading(input));
    let map = format!("0:{}", track.index);
    let layouts = format!("aformat=channel_layouts={}", coding.layouts);
    let words = ["-map", &map, "-map_metadata", "-1", "-map_chapters", "-1", "-af", &layouts];
    args.extend(words.map(OsString::from));
    let ahead = decimal(shift + AHEAD_US);
    args.extend(["-c:a", coding.samples, "-output_ts_offset", &ahead].map(OsString::from));
    args.extend(["-fflags", "+bitexact", "-flags:a", "+bitexact", "-f", "nut", "pipe:1"].map(OsString::from));

    let mut command = tools.ffmpeg(Access::nothing().reads(input));
    let mut child = Running::spawn(command.args(args).stdout(Stdio::piped()), "sound decoder", limits)?;
    let samples = child.stdout_for_another().map_err(|error| child.died(error.to_string()))?;
    Ok(Some(Sound { child, samples: Some(samples), input: input.to_owned(), coding }))
}

impl Sound {
    /// How it is to be written.
    pub(super) fn coding(&self) -> &Coding {
        &self.coding
    }

    /// The pipe that the samples come out of, to be taken once.
    pub(super) fn samples(&mut self) -> io::Result<ChildStdout> {
        self.samples.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits for the end, after the encoder has read everything, and returns what is worth telling.
    pub(super) fn finish(mut self, limits: &Limits) -> Result<Vec<String>, ClipError> {
        let end = self.child.wait(limits.stall)?;
        if let Some(failed) = self.failed(&end) {
            return Err(failed);
        }
        Ok(end
            .log
            .errors
            .first()
            .map(|line| format!("the sound may be damaged: {line}"))
            .into_iter()
            .collect())
    }

    /// Why an encoder failed, if it was because of the sound.
    pub(super) fn blamed(&mut self) -> Option<ClipError> {
        let end = self.child.stop().ok()?;
        // One that was writing when its reader died is not to blame.
        let alive = end.killed().is_some() || end.log.errors.iter().any(|line| line.contains("Broken pipe"));
        if alive { None } else { self.failed(&end) }
    }

    fn failed(&self, end: &End) -> Option<ClipError> {
        if let Some(reason) = end.killed() {
            return Some(self.child.died(reason));
        }
        (!end.status.success()).then(|| {
            let (input, reason) = (self.input.display(), end.reason());
            let what = format!("{input}: its sound cannot be decoded: {reason}; try without --keep-audio");
            ClipError::Unsupported(what)
        })
    }
}
