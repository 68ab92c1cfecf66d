//! Frames out of a clip: a caged `ffmpeg` decodes, turns the picture upright and hands over 8-bit 4:2:0.
//!
//! The turning is done here, by filters made from the display matrix, for every container alike: `ffmpeg`'s own
//! automatic turning and the ways to write the matrix again differ between its versions.

use std::ffi::OsString;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use super::child::{End, FIT, Log, Running, TimedPipe};
use super::probe::ClipInfo;
use super::tools::{Tools, reading};
use super::{ClipError, Limits, turns};
use crate::sandbox::Access;
use milkglass_parsers::nut::{NutError, Reader};

const NAME: &str = "decoder";

/// Errors on stderr that say nothing about the pictures.
const HARMLESS: &[&str] = &["unable to decode APP fields", "non monoton", "deprecated pixel format"];

/// Warnings on stderr that mean lost or broken pictures.
const DAMAGE: &[&str] = &[
    "partial file",
    "moov atom not found",
    "Invalid data",
    "rror while decoding",
    "orrupt",
    "missing picture",
    "runcat",
    "ended prematurely",
    "concealing",
    "Packet mismatch",
];

/// A running decoder.
pub struct Decoder {
    child: Running,
    reader: Reader<BufReader<TimedPipe<ChildStdout>>>,
    input: PathBuf,
    stall: Duration,
    info: ClipInfo,
    /// Ticks that bring the timestamps of the stream to the clip's clock.
    shift: i64,
    frames: u64,
    span: Option<(i64, i64)>,
    ended: bool,
}

/// A frame whose rows follow in [`Decoder::read_exact_row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Presentation time in ticks of [`ClipInfo::time_base`]; the earliest stream of the clip starts at 0.
    pub pts: i64,
    /// Bytes of the frame: always [`ClipInfo::frame_len`].
    pub len: u64,
}

/// How decoding ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecodeEnd {
    /// Frames delivered.
    pub frames: u64,
    /// Why the clip is held to be damaged or cut off, in one line; `None` when nothing hints at it.
    pub damage: Option<String>,
    /// What else is worth telling.
    pub warnings: Vec<String>,
}

impl Decoder {
    /// Starts decoding `input`, which `info` describes. Fails when not even the first frame can be had.
    pub fn open(tools: &Tools, input: &Path, info: &ClipInfo, limits: &Limits) -> Result<Self, ClipError> {
        let mut command = tools.ffmpeg(Access::nothing().reads(input));
        command.args(arguments(input, info, limits)).stdout(Stdio::piped());
        let mut child = Running::spawn(&mut command, NAME, limits)?;
        let opened = child
            .stdout()
            .map_err(NutError::from)
            .and_then(|pipe| Reader::open(BufReader::with_capacity(1 << 18, pipe), info.frame_len()));
        let reader = match opened {
            Ok(reader) => reader,
            Err(error) => return Err(failure(&mut child, error, input, 0)),
        };
        let stream = reader.stream();
        if (stream.width, stream.height) != (info.width, info.height) || &stream.fourcc != b"I420" {
            return Err(ClipError::Unsupported(format!(
                "{}: its pictures are announced as {}x{} but decoded as {}x{}, which is not supported: re-encode the \
                 clip with ffmpeg first",
                input.display(),
                info.width,
                info.height,
                stream.width,
                stream.height
            )));
        }
        let (num, den) = info.time_base;
        let shift = clock(info, info.video.start_us).1 as f64 * f64::from(den) / (1e6 * f64::from(num));
        Ok(Decoder {
            child,
            shift: shift.round() as i64,
            reader,
            input: input.to_owned(),
            stall: limits.stall,
            info: info.clone(),
            frames: 0,
            span: None,
            ended: false,
        })
    }

    /// The next frame, or `None` at the end. Rows of the frame before that were not read are skipped.
    pub fn next_frame(&mut self) -> Result<Option<FrameHeader>, ClipError> {
        let head = match self.reader.next_frame() {
            Ok(Some(head)) => head,
            Ok(None) => {
                self.ended = true;
                return Ok(None);
            }
            Err(error) => return Err(self.failed(error)),
        };
        if head.len != self.info.frame_len() {
            let what = format!("a frame of {} bytes instead of {}", head.len, self.info.frame_len());
            return Err(self.failed(NutError::Invalid(what)));
        }
        let pts = self.in_clip_ticks(head.pts).saturating_add(self.shift);
        let first = self.span.map_or(pts, |(first, _)| first.min(pts));
        let last = self.span.map_or(pts, |(_, last)| last.max(pts));
        self.span = Some((first, last));
        self.frames += 1;
        self.check_turn()?;
        Ok(Some(FrameHeader { pts, len: head.len }))
    }

    /// The next bytes of the current frame: a row, or any other part.
    pub fn read_exact_row(&mut self, row: &mut [u8]) -> Result<(), ClipError> {
        self.reader.read_exact(row).map_err(|error| self.failed(error))
    }

    /// Waits for the decoder's end and weighs what it said. To be called when [`Decoder::next_frame`] returned `None`.
    pub fn finish(mut self) -> Result<DecodeEnd, ClipError> {
        if !self.ended {
            return Err(self.child.died("the clip was not read to its end".to_owned()));
        }
        let end = self.child.wait(self.stall)?;
        if let Some(reason) = end.killed() {
            return Err(self.child.died(reason));
        }
        if self.frames == 0 {
            return Err(ClipError::Damaged { path: self.input, reason: no_frames(&end) });
        }
        let mut warnings = Vec::new();
        let log = &end.log;
        let size = changed(&log.sizes, |size| format!("{}x{}", size.0, size.1));
        let shape = changed(&log.aspects, |aspect| format!("{}:{}", aspect.0, aspect.1));
        let fitted = "all frames are scaled to fit into the first";
        for (what, change) in [("picture size", size), ("shape of the pixels", shape)] {
            let Some(change) = change else { continue };
            if !can_be_fitted(&self.info) {
                // Nobody can tell which frames were looked at with other proportions than they have.
                return Err(ClipError::Unsupported(format!(
                    "{}: the {what} changes midway, {change}, which is not supported at odd sizes: re-encode the clip with \
                     ffmpeg first",
                    self.input.display()
                )));
            }
            warnings.push(format!("the {what} changes midway, {change}: {fitted}"));
        }
        if log.warnings.iter().any(|line| line.contains("on-monoton")) {
            warnings.push("timestamps that repeat or run backwards were moved forward".to_owned());
        }
        let missing = self.info.frames.map_or(0, |declared| declared.saturating_sub(self.frames));
        let cut_off = self.cut_off();
        if missing > 0 && cut_off.is_none() {
            warnings
                .push(format!("{missing} stored frames are not shown (cut by an edit list, or unreadable)"));
        }
        let damage = said(log).or(cut_off).or_else(|| {
            let code = end.status.code().filter(|&code| code != 0)?;
            Some(format!("the decoder ended with exit code {code}"))
        });
        Ok(DecodeEnd { frames: self.frames, damage, warnings })
    }

    /// The child's process id.
    pub fn child_id(&self) -> u32 {
        self.child.id()
    }

    /// Refuses a frame that asks to be turned in another way than the clip, before it is looked at: lying on its side, a face is
    /// found by no detector.
    fn check_turn(&self) -> Result<(), ClipError> {
        // Each JPEG has an EXIF of its own; H.264 and HEVC say it anew when they begin anew, and mean it until then.
        let alone = self.info.codec == "mjpeg";
        let turns = self.child.turns();
        match turns.other_than(self.info.orientation, alone, self.frames, self.stall) {
            Ok(None) => Ok(()),
            Ok(Some(frame)) => Err(ClipError::Unsupported(format!(
                "{}: its picture number {frame} asks to be turned in another way than those before it, and players disagree \
                 about what that means: cut the clip there with ffmpeg, and redact the parts",
                self.input.display()
            ))),
            Err(()) => Err(self.child.died("it does not say which way up its pictures are".to_owned())),
        }
    }

    /// `ffmpeg` writes NUT in a multiple of the clip's time base.
    fn in_clip_ticks(&self, pts: i64) -> i64 {
        let (from, to) = (self.reader.stream().time_base, self.info.time_base);
        let above = i128::from(pts) * i128::from(from.0) * i128::from(to.1);
        let below = i128::from(from.1) * i128::from(to.0);
        // Below 2^62 times the ratio of two time bases; a clip that exceeds it has no meaningful clock.
        i64::try_from((above + below / 2) / below).unwrap_or(i64::MAX >> 2)
    }

    /// Tells when clearly less time was delivered than the clip declares.
    fn cut_off(&self) -> Option<String> {
        let declared = self.info.duration?.as_secs_f64();
        let (first, last) = self.span?;
        let tick = f64::from(self.info.time_base.0) / f64::from(self.info.time_base.1);
        let frame = self.info.fps().map_or(0.1, |fps| 1.0 / fps);
        let delivered = (last - first) as f64 * tick + frame;
        let start = first as f64 * tick;
        let short = declared - delivered - start.max(0.0);
        let tolerance = (3.0 * frame).max(0.25).max(declared * 0.005);
        let all_there = self.info.frames.is_some_and(|declared| self.frames >= declared);
        (short > tolerance && !all_there)
            .then(|| format!("{declared:.2} s are declared, but the pictures end after {delivered:.2} s"))
    }

    fn failed(&mut self, error: NutError) -> ClipError {
        failure(&mut self.child, error, &self.input, self.frames)
    }
}

fn arguments(input: &Path, info: &ClipInfo, limits: &Limits) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        // Level verbose only to learn of a change of size; the log is bounded.
        ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+verbose"].map(OsString::from).into();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    if let Some(threads) = limits.threads {
        add(&["-threads", &threads.to_string()]);
    }
    add(&["-noautorotate"]);
    args.extend(clock(info, info.video.start_us).0.iter().map(OsString::from));
    args.extend(info.decoder.iter().flat_map(|name| ["-c:v", name]).map(OsString::from));
    args.extend(reading(input));
    let mut filters = vec![turns::FILTER];
    filters.extend(info.to_yuv420p.as_deref());
    filters.push("format=yuv420p");
    let fit = fit(info);
    filters.push(&fit);
    filters.extend(info.orientation.filter());
    let (num, den) = info.time_base;
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    add(&["-map", &format!("0:{}", info.video.index), "-map_metadata", "-1", "-map_chapters", "-1"]);
    add(&["-vf", &filters.join(",")]);
    add(&["-fps_mode", "passthrough", "-enc_time_base", &format!("{num}:{den}")]);
    add(&["-c:v", "rawvideo", "-pix_fmt", "yuv420p"]);
    args.extend(range(info));
    args.extend(["-f", "nut", "pipe:1"].map(OsString::from));
    args
}

/// Filters that leave frames like the first alone, and scale others to fit into its size with its shape of pixels, between
/// bars: a raw frame that follows does not tell its shape any more, and the detector would see it squeezed.
fn fit(info: &ClipInfo) -> String {
    let turned = |(a, b): (u32, u32)| if info.orientation.swaps_sides() { (b, a) } else { (a, b) };
    let ((w, h), (num, den)) = (turned((info.width, info.height)), turned(info.sample_aspect_ratio));
    let first = if num == 0 || den == 0 { "1".to_owned() } else { format!("({num}/{den})") };
    // Of what is unknown, as is usual, that it is square.
    let shape = "if(sar\\,sar\\,1)";
    let scale = format!("min({w}*{first}/(iw*{shape})\\,{h}/ih)");
    if !can_be_fitted(info) {
        return format!("{FIT}=w={w}:h={h}:eval=frame");
    }
    format!(
        "{FIT}=w=max(2\\,round(iw*{shape}/{first}*{scale})):h=max(2\\,round(ih*{scale})):eval=frame,\
         pad={w}:{h}:(ow-iw)/2:(oh-ih)/2:eval=frame"
    )
}

/// From the first to the last, if there were several.
fn changed(all: &[(u32, u32)], tell: impl Fn(&(u32, u32)) -> String) -> Option<String> {
    let [first, .., last] = all else { return None };
    Some(format!("from {} to {}", tell(first), tell(last)))
}

/// Bars in 4:2:0 have even sides only.
pub fn can_be_fitted(info: &ClipInfo) -> bool {
    info.width.is_multiple_of(2) && info.height.is_multiple_of(2)
}

/// Output options that keep `ffmpeg` 7 and later from converting full range to limited on their own.
pub(super) fn range(info: &ClipInfo) -> impl Iterator<Item = OsString> {
    let full = ["-color_range", "pc"].map(OsString::from);
    full.into_iter().filter(|_| info.full_range)
}

/// Input options and a shift in microseconds, to be added to the stream's timestamps after `ffmpeg`, that together put
/// the clip's earliest stream at zero. Pictures and sound are read by different children, and must keep their distance.
pub(super) fn clock(info: &ClipInfo, track_start_us: i64) -> (Vec<String>, i64) {
    if info.jumps() {
        // ffmpeg evens out jumps only when it also moves the start of the one stream it reads to zero. An offset on
        // its command line is counted twice by version 5.1 here.
        return (Vec::new(), track_start_us - info.start_us);
    }
    (["-copyts", "-itsoffset", &decimal(-info.start_us)].map(str::to_owned).into(), 0)
}

/// Microseconds as seconds with six decimals.
pub(super) fn decimal(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    format!("{sign}{}.{:06}", micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000)
}

/// What a broken stream of a child means, told by the child's own end where possible.
fn failure(child: &mut Running, error: NutError, input: &Path, frames: u64) -> ClipError {
    let broken_off = match &error {
        NutError::Io(error) => {
            if let Some(explained) = child.explain(error) {
                return explained;
            }
            error.kind() == io::ErrorKind::UnexpectedEof
        }
        NutError::Invalid(_) => false,
    };
    if !broken_off {
        return child.died(format!("its stream is not what it should be: {error}"));
    }
    let end = match child.stop() {
        Ok(end) => end,
        Err(error) => return error,
    };
    if let Some(reason) = end.killed() {
        return child.died(reason);
    }
    if frames > 0 {
        return child.died(format!("its stream broke off after {frames} frames: {}", end.reason()));
    }
    let missing = |line: &String| {
        line.contains("Unknown decoder") || line.contains("Decoder") && line.contains("not found")
    };
    if end.log.errors.iter().any(missing) {
        return ClipError::Unsupported(format!(
            "{}: the installed ffmpeg cannot decode this clip: {}",
            input.display(),
            end.reason()
        ));
    }
    if end.status.code() == Some(127) {
        return child.died(end.reason());
    }
    ClipError::Damaged { path: input.to_owned(), reason: no_frames(&end) }
}

fn no_frames(end: &End) -> String {
    let first = end.log.errors.first().map(|line| format!(": {line}")).unwrap_or_default();
    format!("not one picture of it can be decoded{first}")
}

/// The first line of stderr that means lost or broken pictures.
fn said(log: &Log) -> Option<String> {
    let error = log.errors.iter().find(|line| !HARMLESS.iter().any(|harmless| line.contains(harmless)));
    let warning = || log.warnings.iter().find(|line| DAMAGE.iter().any(|damage| line.contains(damage)));
    let line = error.or_else(warning)?;
    let more = match log.error_count {
        0 | 1 => String::new(),
        count => format!(" (one of {count} errors)"),
    };
    Some(format!("{line}{more}"))
}
