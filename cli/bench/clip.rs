//! A whole clip through `milkglass redact`, beside plain ffmpeg with the same encoder, round by round.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::record::{Group, Row};
use super::timing::Timing;
use crate::outcome::Failure;
use crate::{clip, clips, progress};

/// A clip and how it is encoded.
pub struct ClipRun {
    pub name: String,
    pub clip: PathBuf,
    pub preset: &'static str,
    pub encoder_preset: &'static str,
    pub rounds: usize,
}

impl ClipRun {
    /// Frames out must be frames in, each round.
    pub fn run(&self, threads: usize, models: Option<&Path>) -> Result<Row, Failure> {
        let tools = clips::tools(threads, false)?;
        let frames = clip::count_frames(&tools, &self.clip)?;
        let folder = tempfile::tempdir().map_err(|e| Failure::new(format!("no temporary folder: {e}")))?;
        let (ours, plain) = (folder.path().join("ours.mp4"), folder.path().join("plain.mp4"));
        let mut redact = Command::new(std::env::current_exe().map_err(|e| Failure::new(e.to_string()))?);
        redact.args(["--quiet", "redact", "--overwrite", "--preset", self.preset, "--encoder-preset"]);
        redact.args([self.encoder_preset, "--threads", &threads.to_string(), "-o"]).arg(&ours);
        if let Some(models) = models {
            redact.arg("--models").arg(models);
        }
        redact.arg(&self.clip);
        let mut transcode = Command::new(&tools.ffmpeg);
        transcode.args(["-nostdin", "-v", "error", "-y", "-i"]).arg(&self.clip);
        transcode.args(["-an", "-c:v", "libx264", "-crf", "23", "-preset", self.encoder_preset]).arg(&plain);
        let (mut samples, mut ratios) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let mut took = [Duration::ZERO; 2];
            let mut both = [(0, &mut redact), (1, &mut transcode)];
            // In another order each round: neither always finds the caches warm.
            both.rotate_left(round % 2);
            for (which, command) in both {
                took[which] = time(command)?;
            }
            let out = clip::count_frames(&tools, &ours)?;
            if out != frames {
                return Err(Failure::damaged(format!("{}: {out} frames out, {frames} in", self.name)));
            }
            samples.push(took[0].as_nanos() as f64 / frames.max(1) as f64);
            ratios.push(took[0].as_secs_f64() / took[1].as_secs_f64().max(1e-9));
        }
        let nothing = || Failure::new("nothing was measured");
        let timing = Timing::of(samples).ok_or_else(nothing)?;
        let against = Timing::of(ratios).ok_or_else(nothing)?.median_ns;
        Ok(Row {
            frames_per_second: Some(1e9 / timing.median_ns),
            against_ffmpeg: Some(against),
            ..Row::new(&self.name, Group::Clip, timing)
        })
    }
}

fn time(command: &mut Command) -> Result<Duration, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let ended = ended.map_err(|e| Failure::new(format!("{program}: {e}")))?;
    if progress::cancelled() {
        return Err(Failure::interrupted());
    }
    match ended.status.success() {
        true => Ok(start.elapsed()),
        false => Err(Failure::new(format!("{program} failed: {}", String::from_utf8_lossy(&ended.stderr)))),
    }
}
