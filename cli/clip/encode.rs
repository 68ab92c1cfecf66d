//! Redacted frames into a clip: a caged `ffmpeg` encodes what comes through its pipes, one of redacted frames and one of
//! sound, and opens nothing to read.

use std::ffi::OsString;
use std::fmt;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use super::audio::{AHEAD_US, Sound};
use super::child::{End, Running, TimedPipe};
use super::decode::range;
use super::probe::ClipInfo;
use super::tools::{Tools, file_url};
use super::{ClipError, Limits};
use crate::sandbox::Access;
use milkglass_parsers::nut::{NutError, VideoStream, Writer};

const NAME: &str = "encoder";

/// How the clip is written.
#[derive(Debug, Clone, Default)]
pub struct EncodeOptions {
    /// `ffmpeg`'s name of the encoder; the container's default when `None`.
    pub encoder: Option<String>,
    /// Constant quality; the meaning and range are the encoder's.
    pub crf: Option<u32>,
    /// Speed preset by the encoder's own names or numbers.
    pub preset: Option<String>,
    /// FFV1 in Matroska: no loss beyond the 8-bit 4:2:0 that frames are decoded to.
    pub lossless: bool,
    /// Hold few frames at a time; for encoders that [`EncodeOptions::can_be_short`] names.
    pub short: bool,
}

impl EncodeOptions {
    /// Whether the encoder of such a file knows how to hold fewer frames than it likes.
    pub fn can_be_short(&self, output: &Path) -> bool {
        let default = || Container::of(output).is_ok_and(|container| container != Container::WebM);
        !self.lossless && self.encoder.as_deref().map_or_else(default, |name| name == "libx264")
    }
}

/// How x264 holds as few frames as it can without much loss: how far it looks ahead, frames between others, references.
const SHORT: [&str; 6] = ["-rc-lookahead", "10", "-bf", "3", "-refs", "4"];

/// Containers that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Container {
    Mp4,
    Mov,
    Matroska,
    WebM,
    MpegTs,
    Avi,
    Flv,
}

impl Container {
    /// The container that the extension of an output's final name stands for.
    pub fn of(output: &Path) -> Result<Self, ClipError> {
        let extension = output.extension().map(|text| text.to_string_lossy().to_ascii_lowercase());
        Ok(match extension.as_deref() {
            Some("mp4" | "m4v") => Container::Mp4,
            Some("mov" | "qt") => Container::Mov,
            Some("mkv") => Container::Matroska,
            Some("webm") => Container::WebM,
            Some("ts" | "m2ts" | "mts") => Container::MpegTs,
            Some("avi") => Container::Avi,
            Some("flv") => Container::Flv,
            _ => {
                return Err(ClipError::Unsupported(format!(
                    "{}: the name does not tell a container: use .mp4, .mov, .mkv, .webm, .ts, .avi or .flv",
                    output.display()
                )));
            }
        })
    }

    /// Name for `-f`.
    fn format(self) -> &'static str {
        match self {
            Container::Mp4 => "mp4",
            Container::Mov => "mov",
            Container::Matroska => "matroska",
            Container::WebM => "webm",
            Container::MpegTs => "mpegts",
            Container::Avi => "avi",
            Container::Flv => "flv",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format())
    }
}

/// A running encoder. Dropped before [`Encoder::finish`], it is killed; the partial file stays with the caller.
pub struct Encoder {
    child: Running,
    writer: Writer<BufWriter<TimedPipe<ChildStdin>>>,
    output: PathBuf,
    /// Size of the frames that come in, and of the picture that is written.
    size: (u32, u32),
    padded: (u32, u32),
    clock: Clock,
    frames: u64,
    line: Vec<u8>,
    warnings: Vec<String>,
    sound: Option<Sound>,
    limits: Limits,
}

/// How an encoder ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodeEnd {
    /// Frames written.
    pub frames: u64,
    /// What the output lacks or changes.
    pub warnings: Vec<String>,
}

impl Encoder {
    /// Starts writing the file `partial` as a clip of the kind `container`. `sound` is what [`super::read_sound`]
    /// decodes for the same container.
    pub fn open(
        tools: &Tools,
        partial: &Path,
        container: Container,
        info: &ClipInfo,
        options: &EncodeOptions,
        mut sound: Option<Sound>,
        limits: &Limits,
    ) -> Result<Self, ClipError> {
        let codec = Codec::choose(container, info, options)?;
        if !tools.has_encoder(&codec.name)? {
            return Err(ClipError::Unsupported(format!(
                "the installed ffmpeg has no encoder {}: choose another with --encoder ('ffmpeg -encoders' lists them)",
                codec.name
            )));
        }
        // The sandbox cannot say "not writable" as clearly as we can.
        std::fs::File::create(partial)
            .map_err(|source| ClipError::Io { path: partial.to_owned(), source })?;

        let mut warnings = Vec::new();
        let size = (info.width, info.height);
        let mut padded = size;
        if !codec.odd_sizes() && (size.0 % 2 == 1 || size.1 % 2 == 1) {
            padded = (size.0.next_multiple_of(2), size.1.next_multiple_of(2));
            warnings.push(format!(
                "{} holds even sizes only: {}x{} is written as {}x{}, the last column or row repeated; .webm or \
                 --lossless keep the size",
                codec.name, size.0, size.1, padded.0, padded.1
            ));
        }
        let clock = Clock::new(container, &codec, info);
        let stream = VideoStream {
            width: padded.0,
            height: padded.1,
            time_base: clock.time_base,
            sample_aspect_ratio: info.sample_aspect_ratio,
            frame_rate: info.frame_rate,
            fourcc: *b"I420",
        };

        let mut command = tools.ffmpeg(Access::nothing().writes(partial).for_encoder(&codec.name));
        command
            .args(arguments(partial, container, info, &codec, &clock, sound.as_ref(), limits))
            .stdin(Stdio::piped());
        if let Some(sound) = &mut sound {
            // Its own output is a file, so the place of the standard output is free to read from: std has no way to hand
            // a child a third pipe.
            let samples =
                sound.samples().map_err(|source| ClipError::Io { path: partial.to_owned(), source })?;
            command.stdout(samples);
        }
        let mut child = Running::spawn(&mut command, NAME, limits)?;
        // The pipe's other end must be the encoder's alone: else nobody would notice when it dies.
        drop(command);
        let opened = child
            .stdin()
            .map_err(NutError::from)
            .and_then(|pipe| Writer::open(BufWriter::with_capacity(1 << 18, pipe), &stream));
        let writer = match opened {
            Ok(writer) => writer,
            Err(error) => return Err(failure(&mut child, sound.as_mut(), error, partial)),
        };
        Ok(Encoder {
            child,
            writer,
            output: partial.to_owned(),
            size,
            padded,
            clock,
            frames: 0,
            line: Vec::new(),
            warnings,
            sound,
            limits: limits.clone(),
        })
    }

    /// Writes a frame: the rows of the Y plane, then of U, then of V, each exactly as wide as its plane.
    /// `pts` counts ticks of [`ClipInfo::time_base`].
    pub fn write_frame<'a>(
        &mut self,
        pts: i64,
        rows: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), ClipError> {
        let pts = self.clock.next(pts);
        let written = self.write_rows(pts, rows.into_iter());
        written.map_err(|error| failure(&mut self.child, self.sound.as_mut(), error, &self.output))?;
        self.frames += 1;
        Ok(())
    }

    fn write_rows<'a>(&mut self, pts: i64, mut rows: impl Iterator<Item = &'a [u8]>) -> Result<(), NutError> {
        let (width, height) = (self.padded.0 as usize, self.padded.1 as usize);
        let chroma = (width.div_ceil(2), height.div_ceil(2));
        self.writer.begin_frame(pts, (width * height + 2 * chroma.0 * chroma.1) as u64)?;
        // Chroma planes have the same size with and without the padding of an odd picture.
        let own = (self.size.0 as usize, self.size.1 as usize);
        for (own, padded) in [(own, (width, height)), (chroma, chroma), (chroma, chroma)] {
            for _ in 0..own.1 {
                let row = rows.next().filter(|row| row.len() == own.0);
                let row =
                    row.ok_or_else(|| NutError::Invalid("a frame with missing or wrong rows".to_owned()))?;
                self.line.clear();
                self.line.extend_from_slice(row);
                self.line.resize(padded.0, row.last().copied().unwrap_or(0));
                self.writer.write(&self.line)?;
            }
            for _ in own.1..padded.1 {
                self.writer.write(&self.line)?;
            }
        }
        match rows.next() {
            None => Ok(()),
            Some(_) => Err(NutError::Invalid("a frame with too many rows".to_owned())),
        }
    }

    /// Ends the stream and waits until the file is complete.
    pub fn finish(self) -> Result<EncodeEnd, ClipError> {
        let Encoder { mut child, mut writer, output, clock, frames, mut warnings, mut sound, limits, .. } =
            self;
        writer.finish().map_err(|error| failure(&mut child, sound.as_mut(), error, &output))?;
        drop(writer);
        // What an encoder still holds back, and an index that moves to the front, take their time.
        let end = child.wait(limits.stall * 10)?;
        if !end.status.success() || end.log.errors.iter().any(|line| line.contains("No space left")) {
            let blamed = sound.as_mut().and_then(Sound::blamed);
            return Err(blamed.unwrap_or_else(|| encoder_failed(&output, &end)));
        }
        if let Some(sound) = sound {
            warnings.extend(sound.finish(&limits)?);
        }
        warnings.extend(clock.warning());
        Ok(EncodeEnd { frames, warnings })
    }

    /// The child's process id.
    pub fn child_id(&self) -> u32 {
        self.child.id()
    }
}

/// What a pipe that broke means: the encoder's own words where there are any.
fn failure(child: &mut Running, sound: Option<&mut Sound>, error: NutError, output: &Path) -> ClipError {
    if let NutError::Io(error) = &error
        && let Some(explained) = child.explain(error)
    {
        return explained;
    }
    if let NutError::Invalid(what) = error {
        return ClipError::EncoderFailed { path: output.to_owned(), reason: what };
    }
    match child.stop() {
        Ok(end) => sound.and_then(Sound::blamed).unwrap_or_else(|| encoder_failed(output, &end)),
        Err(error) => error,
    }
}

fn encoder_failed(output: &Path, end: &End) -> ClipError {
    ClipError::EncoderFailed { path: output.to_owned(), reason: plain_reason(end) }
}

fn plain_reason(end: &End) -> String {
    let said = |what: &str| end.log.errors.iter().any(|line| line.contains(what));
    if said("No space left on device") {
        return "no space left on the device: make room and try again".to_owned();
    }
    end.reason()
}

/// The encoder and the arguments that choose its quality and speed.
struct Codec {
    name: String,
    args: Vec<String>,
}

impl Codec {
    fn choose(container: Container, info: &ClipInfo, options: &EncodeOptions) -> Result<Self, ClipError> {
        let refuse = |what: String| Err(ClipError::Unsupported(what));
        if options.lossless {
            if container != Container::Matroska {
                return refuse("--lossless writes FFV1, which wants a name that ends in .mkv".to_owned());
            }
            if options.encoder.as_deref().is_some_and(|name| name != "ffv1") || options.crf.is_some() {
                return refuse(
                    "--lossless is FFV1 without a quality: leave --encoder and --crf out".to_owned(),
                );
            }
            return Ok(Codec::ffv1(info));
        }
        let default = if container == Container::WebM { "libvpx-vp9" } else { "libx264" };
        let name = options.encoder.as_deref().unwrap_or(default);
        for word in [Some(name), options.preset.as_deref()].into_iter().flatten() {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if word.is_empty() || word.starts_with('-') || !word.chars().all(plain) {
                return refuse(format!("'{word}' is not the name of an encoder or preset"));
            }
        }
        let preset = |default: &str| options.preset.clone().unwrap_or_else(|| default.to_owned());
        let crf = |default: u32| options.crf.unwrap_or(default).to_string();
        let args = match name {
            "ffv1" => return Ok(Codec::ffv1(info)),
            "libx264" | "libx264rgb" => {
                let mut args = vec!["-preset", &preset("medium"), "-crf", &crf(23)].owned();
                if options.short {
                    args.extend(SHORT.owned());
                }
                args
            }
            "libx265" => {
                let mut args = vec!["-preset", &preset("medium"), "-crf", &crf(28)].owned();
                args.extend(["-x265-params", "log-level=warning"].owned());
                if matches!(container, Container::Mp4 | Container::Mov) {
                    // The tag that Apple's players want.
                    args.extend(["-tag:v", "hvc1"].owned());
                }
                args
            }
            "libvpx-vp9" | "libvpx" => {
                let mut args = vec!["-deadline", "good", "-cpu-used", &preset("4")].owned();
                args.extend(["-crf", &crf(31), "-b:v", "0"].owned());
                if name == "libvpx-vp9" {
                    args.extend(["-row-mt", "1", "-tile-columns", "2"].owned());
                }
                args
            }
            "libsvtav1" => vec!["-preset", &preset("8"), "-crf", &crf(35)].owned(),
            "libaom-av1" => {
                vec!["-cpu-used", &preset("6"), "-crf", &crf(32), "-b:v", "0", "-row-mt", "1"].owned()
            }
            "mpeg4" | "mjpeg" | "libxvid" => vec!["-q:v", &crf(4)].owned(),
            _ => {
                if options.crf.is_some() {
                    return refuse(format!(
                        "--crf is not known to work with the encoder {name}: leave it out"
                    ));
                }
                options.preset.iter().flat_map(|preset| ["-preset".to_owned(), preset.clone()]).collect()
            }
        };
        Ok(Codec { name: name.to_owned(), args })
    }

    fn ffv1(info: &ClipInfo) -> Self {
        let args =
            ["-level", "3", "-coder", "1", "-context", "0", "-g", "1", "-slices", "4", "-slicecrc", "1"];
        // Tiny pictures cannot be cut into slices, and ffmpeg refuses to cut some odd sizes: level 1 knows no slices.
        let tiny = info.width.min(info.height) < 64;
        let odd = info.width % 2 == 1 || info.height % 2 == 1;
        Codec {
            name: "ffv1".to_owned(),
            args: if tiny || odd { ["-level", "1"].owned() } else { args.owned() },
        }
    }

    /// Encoders known to take odd widths and heights in 4:2:0.
    fn odd_sizes(&self) -> bool {
        let known = ["libvpx-vp9", "libvpx", "libaom-av1", "ffv1", "mpeg4", "mjpeg", "libxvid"];
        known.contains(&self.name.as_str())
    }
}

trait Owned {
    fn owned(self) -> Vec<String>;
}

impl<'a, I: IntoIterator<Item = &'a str>> Owned for I {
    fn owned(self) -> Vec<String> {
        self.into_iter().map(str::to_owned).collect()
    }
}

/// Timestamps as the encoder and the container want them.
struct Clock {
    /// Tick of what is written.
    time_base: (u32, u32),
    /// Tick of what comes in.
    from: (u32, u32),
    /// The container counts frames instead of keeping time.
    counts: bool,
    last: Option<i64>,
    moved: u64,
}

impl Clock {
    fn new(container: Container, codec: &Codec, info: &ClipInfo) -> Self {
        let from = info.time_base;
        let counts = container == Container::Avi;
        let time_base = match info.frame_rate {
            _ if !counts => match codec.name.as_str() {
                // MPEG-4 part 2 has 16 bits for the ticks of a second.
                "mpeg4" | "libxvid" if from.1 > 65535 => (1, 60_000),
                _ => from,
            },
            Some((num, den)) => (den, num),
            None => (1, 25),
        };
        Clock { time_base, from, counts, last: None, moved: 0 }
    }

    /// The next timestamp, later than all before: encoders drop or refuse what is not.
    fn next(&mut self, pts: i64) -> i64 {
        let above = i128::from(pts.max(0)) * i128::from(self.from.0) * i128::from(self.time_base.1);
        let below = i128::from(self.from.1) * i128::from(self.time_base.0);
        let exact = i64::try_from((above + below / 2) / below).unwrap_or(i64::MAX >> 2);
        let next = match self.last {
            None => exact,
            Some(last) if self.counts => last + 1,
            Some(last) => exact.max(last + 1),
        };
        // Counted frames may be off by rounding.
        let slack = i64::from(self.counts);
        if (next - exact).abs() > slack || pts < 0 {
            self.moved += 1;
        }
        self.last = Some(next);
        next
    }

    fn warning(&self) -> Option<String> {
        let Clock { moved, counts, .. } = *self;
        match (moved, counts) {
            (0, _) => None,
            (_, false) => {
                Some(format!("{moved} frames with a repeated or backward timestamp were moved forward"))
            }
            (_, true) => Some(format!(
                "AVI cannot hold a variable frame rate: the timing of {moved} frames changes; .mkv or .mp4 keep it"
            )),
        }
    }
}

fn arguments(
    partial: &Path,
    container: Container,
    info: &ClipInfo,
    codec: &Codec,
    clock: &Clock,
    sound: Option<&Sound>,
    limits: &Limits,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    add(&["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning", "-y", "-copyts"]);
    // Everything about the stream is in its headers: no picture needs to be held back to find it out.
    add(&["-protocol_whitelist", "pipe", "-fpsprobesize", "0", "-f", "nut", "-i", "pipe:0"]);
    if sound.is_some() {
        add(&["-itsoffset", &format!("-{}", AHEAD_US / 1_000_000)]);
        add(&["-protocol_whitelist", "pipe", "-f", "nut", "-i", "pipe:1"]);
    }
    add(&["-map", "0:v:0"]);
    if let Some(sound) = sound {
        add(&["-map", "1:a:0", "-c:a", sound.coding().encoder]);
        if let Some(rate) = sound.coding().bit_rate {
            add(&["-b:a", &rate.to_string()]);
        }
    }
    add(&["-map_metadata", "-1", "-map_chapters", "-1"]);
    let tags = [
        ("range", &info.color_range),
        ("colorspace", &info.color_space),
        ("color_primaries", &info.color_primaries),
        ("color_trc", &info.color_transfer),
    ];
    let plain = |tag: &&String| tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let tags: Vec<String> = tags
        .iter()
        .filter_map(|(name, tag)| tag.as_ref().filter(plain).map(|tag| format!("{name}={tag}")))
        .collect();
    if !tags.is_empty() {
        add(&["-vf", &format!("setparams={}", tags.join(":"))]);
    }
    let (num, den) = clock.time_base;
    add(&["-fps_mode", "passthrough", "-enc_time_base:v", &format!("{num}:{den}")]);
    add(&["-c:v", &codec.name, "-pix_fmt", "yuv420p"]);
    args.extend(codec.args.iter().map(OsString::from));
    args.extend(range(info));
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    if let Some(threads) = limits.threads {
        add(&["-threads", &threads.to_string()]);
    }
    match container {
        Container::Mp4 | Container::Mov => add(&["-movflags", "+faststart", "-write_tmcd", "0"]),
        // Only decoding times may lie before zero, which Matroska does not store.
        Container::Matroska | Container::WebM => add(&["-avoid_negative_ts", "disabled"]),
        Container::MpegTs => add(&["-muxdelay", "0", "-muxpreload", "0"]),
        // Frames are counted, so they must come in the order they are shown.
        Container::Avi => add(&["-bf", "0"]),
        Container::Flv => {}
    }
    add(&["-fflags", "+bitexact", "-flags", "+bitexact", "-f", container.format()]);
    args.push(file_url(partial));
    args
}
