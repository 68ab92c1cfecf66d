//! What a clip holds, as `ffprobe` tells it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;

use super::layers::{self, Layers};
use super::tools::{Tools, reading};
use super::{
    ClipError,
    child::{self, Running},
};
use crate::sandbox::Access;

/// Larger pictures are refused before anything is reserved for them.
const MAX_SIDE: u32 = 16384;

/// The video stream that will be redacted, and what goes with it.
#[derive(Debug, Clone)]
pub struct ClipInfo {
    /// Width in pixels as displayed: after rotation and mirroring.
    pub width: u32,
    /// Height in pixels as displayed.
    pub height: u32,
    /// Length of a timestamp tick in seconds, as numerator and denominator.
    pub time_base: (u32, u32),
    /// Shape of a pixel as displayed, width to height; `(0, 0)` when unknown.
    pub sample_aspect_ratio: (u32, u32),
    /// The same by the frames' own word, which the container may hide; `(0, 0)` when they say nothing.
    pub frames_aspect: (u32, u32),
    /// Luma uses 0..=255 instead of 16..=235. Holds for the frames decoded and for the output.
    pub full_range: bool,
    /// Colour tags of the frames decoded, by their `ffmpeg` names; `None` when the clip does not tell.
    pub color_range: Option<String>,
    /// Matrix between RGB and the planes.
    pub color_space: Option<String>,
    /// Primaries.
    pub color_primaries: Option<String>,
    /// Transfer curve.
    pub color_transfer: Option<String>,
    /// Declared length of the video stream.
    pub duration: Option<Duration>,
    /// Declared number of frames.
    pub frames: Option<u64>,
    /// Average rate as numerator and denominator.
    pub frame_rate: Option<(u32, u32)>,
    /// Name of the codec (`h264`).
    pub codec: String,
    /// Name of the container (`mov,mp4,m4a,3gp,3g2,mj2`).
    pub container: String,
    /// Bits of a sample in the clip; frames are decoded to 8.
    pub bit_depth: u8,
    /// Layout of the clip's pixels (`4:2:0`, `RGB`, `gray`); frames are decoded to 4:2:0.
    pub chroma: &'static str,
    /// The transfer curve is PQ or HLG.
    pub hdr: bool,
    /// The clip has at least one sound stream.
    pub has_audio: bool,
    /// How stored pixels are turned for display.
    pub orientation: Orientation,
    /// Parts of the pictures may be transparent. They are filled with black, and never shown as if they were not.
    pub transparent: bool,
    /// What the output will lack or change, one line each.
    pub warnings: Vec<String>,
    pub(super) video: Track,
    pub(super) audio: Option<Track>,
    /// Filter that makes 8-bit 4:2:0 of the clip's pixels, when they are not that already.
    pub(super) to_yuv420p: Option<String>,
    /// `ffmpeg`'s name of the decoder, where its own choice would not see what is transparent.
    pub(super) decoder: Option<&'static str>,
    /// Earliest start of all streams in microseconds: time zero of the output.
    pub(super) start_us: i64,
}

impl ClipInfo {
    /// What a Y4M stream's header tells.
    pub fn of_y4m(header: &milkglass::y4m::Y4mHeader) -> Self {
        let full_range = header.full_range;
        let (num, den) = header.frame_rate;
        ClipInfo {
            width: header.width,
            height: header.height,
            time_base: (den, num),
            sample_aspect_ratio: header.sample_aspect_ratio,
            frames_aspect: (0, 0),
            full_range,
            color_range: Some(if full_range { "pc" } else { "tv" }.to_owned()),
            color_space: None,
            color_primaries: None,
            color_transfer: None,
            duration: None,
            frames: None,
            frame_rate: Some(header.frame_rate),
            codec: "rawvideo".to_owned(),
            container: "yuv4mpegpipe".to_owned(),
            bit_depth: 8,
            chroma: "4:2:0",
            hdr: false,
            has_audio: false,
            orientation: Orientation::Upright,
            transparent: false,
            warnings: Vec::new(),
            video: Track { index: 0, start_us: 0, channels: 0, bits: 0 },
            audio: None,
            to_yuv420p: None,
            decoder: None,
            start_us: 0,
        }
    }

    /// Average rate in frames per second.
    pub fn fps(&self) -> Option<f64> {
        self.frame_rate.map(|(num, den)| f64::from(num) / f64::from(den))
    }

    /// Bytes of a decoded frame: the Y plane, then U and V with sides rounded up.
    pub fn frame_len(&self) -> u64 {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        width * height + 2 * (width.div_ceil(2) * height.div_ceil(2))
    }

    /// The container may jump in time (broadcast recordings), which `ffmpeg` evens out itself.
    pub(super) fn jumps(&self) -> bool {
        self.container == "mpegts" || self.container == "mpeg"
    }
}

/// A stream by its number in the file.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub index: u32,
    pub start_us: i64,
    /// Of sound.
    pub channels: u32,
    /// Bits of a sample of sound; 0 where the coding has none of its own.
    pub bits: u32,
}

/// What brings the stored picture upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Orientation {
    #[default]
    Upright,
    Clockwise,
    HalfTurn,
    CounterClockwise,
    MirrorLeftRight,
    MirrorTopBottom,
    /// Mirrored along the diagonal from top left.
    Transpose,
    /// Mirrored along the diagonal from top right.
    AntiTranspose,
}

impl Orientation {
    /// From the upper left part of a display matrix: stored `(x, y)` is shown at `(a x + c y, b x + d y)`.
    /// `None` when it is not a turn by right angles.
    pub fn from_matrix([a, b, c, d]: [i64; 4]) -> Option<Self> {
        Some(match [a.signum(), b.signum(), c.signum(), d.signum()] {
            [1, 0, 0, 1] => Orientation::Upright,
            [0, 1, -1, 0] => Orientation::Clockwise,
            [-1, 0, 0, -1] => Orientation::HalfTurn,
            [0, -1, 1, 0] => Orientation::CounterClockwise,
            [-1, 0, 0, 1] => Orientation::MirrorLeftRight,
            [1, 0, 0, -1] => Orientation::MirrorTopBottom,
            [0, 1, 1, 0] => Orientation::Transpose,
            [0, -1, -1, 0] => Orientation::AntiTranspose,
            _ => return None,
        })
    }

    /// Width and height change places.
    pub fn swaps_sides(self) -> bool {
        use Orientation::{AntiTranspose, Clockwise, CounterClockwise, Transpose};
        matches!(self, Clockwise | CounterClockwise | Transpose | AntiTranspose)
    }

    pub(super) fn filter(self) -> Option<&'static str> {
        Some(match self {
            Orientation::Upright => return None,
            Orientation::Clockwise => "transpose=dir=clock",
            Orientation::HalfTurn => "hflip,vflip",
            Orientation::CounterClockwise => "transpose=dir=cclock",
            Orientation::MirrorLeftRight => "hflip",
            Orientation::MirrorTopBottom => "vflip",
            Orientation::Transpose => "transpose=dir=cclock_flip",
            Orientation::AntiTranspose => "transpose=dir=clock_flip",
        })
    }
}

/// Reads what `input` holds, without decoding more than a few frames.
pub fn probe(tools: &Tools, input: &Path) -> Result<ClipInfo, ClipError> {
    check_file(input)?;
    let mut command = tools.ffprobe(Access::nothing().reads(input));
    command.args(["-hide_banner", "-v", "level+warning", "-of", "json", "-show_entries"]);
    command.arg(
        "stream=index,codec_type,codec_name,width,height,pix_fmt,color_range,color_space,color_transfer,\
         color_primaries,sample_aspect_ratio,field_order,time_base,r_frame_rate,avg_frame_rate,start_time,duration,\
         nb_frames,bits_per_raw_sample,bits_per_sample,channels:stream_tags=DURATION,alpha_mode:stream_disposition=attached_pic,timed_thumbnails:\
         stream_side_data:format=format_name,start_time,duration",
    );
    let (text, end) = tools.output(command.args(reading(input)), "ffprobe")?;
    if !end.status.success() {
        return Err(unreadable(input, &end));
    }
    let answer: Answer = serde_json::from_slice(&text)
        .map_err(|error| not_a_video(input, format!("ffprobe's answer is unreadable: {error}")))?;
    let layers = |index: u32| announced_layers(tools, input, index);
    let mut info = answer.into_info(input, &first_frames(tools, input)?, &layers)?;
    let own = shape_in_stream(tools, input, info.video.index, &info.codec)?;
    if own != (0, 0) {
        info.frames_aspect = if info.orientation.swaps_sides() { (own.1, own.0) } else { own };
    }
    Ok(info)
}

/// How many layers an HEVC stream announces in what comes before its pictures, whatever container it is in.
fn announced_layers(tools: &Tools, input: &Path, index: u32) -> Result<Option<u8>, ClipError> {
    let mut command = tools.ffmpeg(Access::nothing().reads(input));
    command.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+error"]).args(reading(input));
    // Of the first packets nothing but these sets.
    command.args(["-map", &format!("0:{index}"), "-c", "copy", "-frames:v", "250"]);
    command.args(["-bsf:v", "hevc_mp4toannexb,filter_units=pass_types=32", "-f", "hevc", "pipe:1"]);
    let (sets, _) = tools.output(&mut command, "ffmpeg")?;
    Ok(layers::announced(&sets))
}

/// What the first frames themselves say: players follow their word, too, which the container need not know.
fn first_frames(tools: &Tools, input: &Path) -> Result<Vec<Told>, ClipError> {
    let mut command = tools.ffprobe(Access::nothing().reads(input));
    command.args(["-hide_banner", "-v", "level+error", "-of", "json", "-select_streams", "V:0"]);
    command.args(["-read_intervals", "%+#12", "-show_frames", "-show_entries"]);
    command.arg("frame=sample_aspect_ratio:frame_side_data=displaymatrix");
    let (text, _) = tools.output(command.args(reading(input)), "ffprobe")?;
    // What cannot be decoded is for the decoder to tell.
    let told: Frames = serde_json::from_slice(&text).unwrap_or_default();
    Ok(told.frames)
}

/// The shape of pixels that a stream itself tells, where its container may hide it: `ffprobe` tells a container's word alone,
/// of frames too, so it is asked about the stream without one. `(0, 0)` for codings that tell none.
fn shape_in_stream(tools: &Tools, input: &Path, index: u32, codec: &str) -> Result<(u32, u32), ClipError> {
    let (writer, reader) = match codec {
        "h264" => ("h264", "h264"),
        "hevc" => ("hevc", "hevc"),
        "mpeg2video" => ("mpeg2video", "mpegvideo"),
        _ => return Ok((0, 0)),
    };
    let mut copy = tools.ffmpeg(Access::nothing().reads(input));
    copy.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+error"]).args(reading(input));
    copy.args(["-map", &format!("0:{index}"), "-c", "copy", "-frames:v", "12", "-f", writer, "pipe:1"]);
    let mut copy = Running::spawn(copy.stdout(Stdio::piped()), "ffmpeg", &tools.limits)?;
    let stream = copy.stdout_for_another().map_err(|error| copy.died(error.to_string()))?;
    let mut ask = tools.ffprobe(Access::nothing());
    ask.args(["-hide_banner", "-v", "level+error", "-of", "default=nk=1:nw=1", "-select_streams", "v:0"]);
    ask.args(["-show_entries", "stream=sample_aspect_ratio", "-protocol_whitelist", "pipe", "-f", reader]);
    let (text, _) = tools.output(ask.args(["-i", "pipe:0"]).stdin(stream), "ffprobe")?;
    // What cannot be read is for the decoder to tell.
    Ok(pair(String::from_utf8_lossy(&text).lines().next().map(str::trim), ':').unwrap_or((0, 0)))
}

/// Counts the frames that a finished file holds, without decoding them.
pub fn count_frames(tools: &Tools, file: &Path) -> Result<u64, ClipError> {
    let mut command = tools.ffprobe(Access::nothing().reads(file));
    command.args(["-hide_banner", "-v", "level+error", "-of", "default=nk=1:nw=1", "-select_streams", "V:0"]);
    command.args(["-count_packets", "-show_entries", "stream=nb_read_packets"]);
    let (text, end) = tools.output(command.args(reading(file)), "ffprobe")?;
    let text = String::from_utf8_lossy(&text);
    // A stream that is part of a program is listed twice.
    text.lines().next().and_then(|line| line.trim().parse().ok()).ok_or_else(|| unreadable(file, &end))
}

/// The plain reasons why a file is no clip, without asking anybody.
fn check_file(input: &Path) -> Result<(), ClipError> {
    let io = |source| ClipError::Io { path: input.to_owned(), source };
    let about = std::fs::metadata(input).map_err(io)?;
    if about.is_dir() {
        return Err(not_a_video(input, "it is a folder".to_owned()));
    }
    if !about.is_file() {
        return Err(not_a_video(input, "it is not a regular file".to_owned()));
    }
    File::open(input).map_err(io)?;
    if about.len() == 0 {
        return Err(not_a_video(input, "the file is empty".to_owned()));
    }
    Ok(())
}

fn unreadable(input: &Path, end: &child::End) -> ClipError {
    let said = |what: &str| end.log.errors.iter().any(|line| line.contains(what));
    if let Some(reason) = end.killed() {
        return ClipError::ChildDied { child: "ffprobe", reason };
    }
    if said("moov atom not found") && begins_like_mp4(input) {
        let reason = "its index, the moov atom, is missing: the recording was cut off".to_owned();
        return ClipError::Damaged { path: input.to_owned(), reason };
    }
    let url = format!("{}: ", super::tools::file_url(input).display());
    let reason = end.reason().replace(&url, "");
    let reason = if ["not on whitelist", "Invalid data found", "moov atom not found"]
        .iter()
        .any(|what| reason.contains(what))
    {
        "no container that is understood".to_owned()
    } else {
        reason
    };
    not_a_video(input, reason)
}

/// A name that ends in .mp4 makes `ffprobe` miss an index in any file; only a file that begins like one lost it.
fn begins_like_mp4(input: &Path) -> bool {
    let mut head = [0; 8];
    let read = File::open(input).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok()
        && [b"ftyp", b"mdat", b"free", b"skip", b"wide", b"moof"].iter().any(|kind| head[4..] == kind[..])
}

fn not_a_video(input: &Path, reason: String) -> ClipError {
    ClipError::NotAVideo { path: input.to_owned(), reason }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Frames {
    frames: Vec<Told>,
}

/// What a frame says of itself.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    sample_aspect_ratio: Option<String>,
    side_data_list: Vec<SideData>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Format {
    format_name: String,
    start_time: Option<String>,
    duration: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stream {
    index: u32,
    codec_type: String,
    codec_name: String,
    width: u32,
    height: u32,
    pix_fmt: String,
    color_range: Option<String>,
    color_space: Option<String>,
    color_transfer: Option<String>,
    color_primaries: Option<String>,
    sample_aspect_ratio: Option<String>,
    field_order: Option<String>,
    time_base: String,
    r_frame_rate: String,
    avg_frame_rate: String,
    start_time: Option<String>,
    duration: Option<String>,
    nb_frames: Option<String>,
    bits_per_raw_sample: Option<String>,
    bits_per_sample: u32,
    channels: u32,
    disposition: Disposition,
    tags: Tags,
    side_data_list: Vec<SideData>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Disposition {
    attached_pic: u8,
    timed_thumbnails: u8,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tags {
    #[serde(rename = "DURATION")]
    duration: Option<String>,
    alpha_mode: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SideData {
    displaymatrix: Option<String>,
}

impl Answer {
    fn into_info(
        self,
        input: &Path,
        frames: &[Told],
        layers: &dyn Fn(u32) -> Result<Option<u8>, ClipError>,
    ) -> Result<ClipInfo, ClipError> {
        let start_us = micros(self.format.start_time.as_deref()).unwrap_or(0);
        let track = |stream: &Stream| Track {
            index: stream.index,
            channels: stream.channels,
            bits: stream.sample_bits(),
            start_us: micros(stream.start_time.as_deref()).unwrap_or(start_us),
        };
        let is_cover = |s: &Stream| s.disposition.attached_pic != 0 || s.disposition.timed_thumbnails != 0;
        let mut pictures = self.streams.iter().filter(|s| s.codec_type == "video" && !is_cover(s));
        let Some(stream) = pictures.next() else {
            return Err(ClipError::NoVideoStream { path: input.to_owned() });
        };
        let further = pictures.count();
        let sound: Vec<_> = self.streams.iter().filter(|s| s.codec_type == "audio").collect();
        let (width, height) = (stream.width, stream.height);
        if stream.codec_name.is_empty() || stream.codec_name == "unknown" {
            return Err(ClipError::Unsupported(format!(
                "{}: the installed ffmpeg does not know the codec of the video stream",
                input.display()
            )));
        }
        if width == 0 || height == 0 || stream.pix_fmt.is_empty() {
            let reason = "the video stream tells no picture size: nothing of it can be decoded".to_owned();
            return Err(ClipError::Damaged { path: input.to_owned(), reason });
        }
        if width > MAX_SIDE || height > MAX_SIDE {
            return Err(ClipError::Unsupported(format!(
                "{}: pictures of {width}x{height} are larger than the {MAX_SIDE}x{MAX_SIDE} that are supported",
                input.display()
            )));
        }

        let mut warnings = Vec::new();
        let decoder = stream.decoder_of_alpha(input, layers)?;
        let layout = Layout::of(stream, decoder.is_some());
        // The container's word on the way up, and each different one of the frames.
        let mut ways = Vec::new();
        for list in frames.iter().map(|frame| &frame.side_data_list).chain([&stream.side_data_list]) {
            let (way, warning) = orientation(list);
            if list.iter().any(|data| data.displaymatrix.is_some()) && !ways.contains(&way) {
                ways.push(way);
                warnings.extend(warning);
            }
        }
        let orientation = match ways.as_slice() {
            [] => Orientation::Upright,
            [one] => *one,
            _ => {
                return Err(ClipError::Unsupported(format!(
                    "{}: its frames ask to be turned in another way than the file does, or than others of them: players \
                     disagree about it; re-encode the clip with ffmpeg first",
                    input.display()
                )));
            }
        };
        let ratio = |text: &Option<String>| pair(text.as_deref(), ':').unwrap_or((0, 0));
        let mut sample_aspect_ratio = ratio(&stream.sample_aspect_ratio);
        let mut frames_aspect = frames.first().map_or((0, 0), |frame| ratio(&frame.sample_aspect_ratio));
        let (mut shown_width, mut shown_height) = (width, height);
        if orientation.swaps_sides() {
            (shown_width, shown_height) = (height, width);
            sample_aspect_ratio = (sample_aspect_ratio.1, sample_aspect_ratio.0);
            frames_aspect = (frames_aspect.1, frames_aspect.0);
        }
        let hdr = matches!(stream.color_transfer.as_deref(), Some("smpte2084" | "arib-std-b67"));
        layout.warn(hdr, &mut warnings);
        if matches!(stream.field_order.as_deref(), Some("tt" | "bb" | "tb" | "bt")) {
            warnings.push("the clip is interlaced: its fields stay woven into whole frames".to_owned());
        }
        if further > 0 {
            warnings.push(format!("{further} further video stream(s) dropped"));
        }
        if self.streams.iter().any(|s| s.codec_type == "subtitle") {
            warnings.push("subtitles dropped".to_owned());
        }
        if self.streams.iter().any(|s| s.codec_type == "data") {
            warnings.push("data streams (positions, sensors, timecodes) dropped".to_owned());
        }
        if sound.len() > 1 {
            warnings.push("only the first of several sound streams can be kept".to_owned());
        }

        let known = |tag: &Option<String>| {
            tag.clone().filter(|tag| tag != "unknown" && tag != "reserved" && !tag.is_empty())
        };
        // The container's own length counts the sound too, so alone it speaks for the pictures only without sound;
        // but it leaves out what an edit list cuts away, which the stream's length does not.
        let whole = self.format.duration.as_deref().and_then(seconds);
        let declared = match stream.declared_duration() {
            Some(own) => Some(whole.map_or(own, |whole| own.min(whole))),
            None => whole.filter(|_| sound.is_empty()),
        };
        Ok(ClipInfo {
            width: shown_width,
            height: shown_height,
            time_base: pair(Some(&stream.time_base), '/').unwrap_or((1, 90_000)),
            sample_aspect_ratio,
            frames_aspect,
            full_range: layout.full_range,
            color_range: layout.range_tag(known(&stream.color_range)),
            color_space: layout.matrix_tag(known(&stream.color_space)),
            color_primaries: known(&stream.color_primaries),
            color_transfer: known(&stream.color_transfer),
            duration: declared,
            frames: stream.nb_frames.as_deref().and_then(|n| n.parse().ok()).filter(|&n| n > 0),
            frame_rate: pair(Some(&stream.avg_frame_rate), '/')
                .or_else(|| pair(Some(&stream.r_frame_rate), '/')),
            codec: stream.codec_name.clone(),
            container: self.format.format_name.clone(),
            bit_depth: layout.bit_depth,
            chroma: layout.chroma,
            hdr,
            has_audio: !sound.is_empty(),
            orientation,
            transparent: layout.alpha,
            warnings,
            video: track(stream),
            audio: sound.first().map(|stream| track(stream)),
            to_yuv420p: layout.filter(),
            decoder,
            start_us,
        })
    }
}

impl Stream {
    /// Bits of a sample of sound.
    fn sample_bits(&self) -> u32 {
        let raw = self.bits_per_raw_sample.as_deref().and_then(|bits| bits.parse().ok());
        raw.unwrap_or(0).max(self.bits_per_sample)
    }

    /// WebM and Matroska keep what is transparent beside the pictures, and HEVC in a layer above them, where `ffmpeg`'s
    /// usual decoders do not look: everything would be shown.
    fn decoder_of_alpha(
        &self,
        input: &Path,
        layers: &dyn Fn(u32) -> Result<Option<u8>, ClipError>,
    ) -> Result<Option<&'static str>, ClipError> {
        let beside = self.tags.alpha_mode.as_deref().is_some_and(|mode| mode.trim() != "0");
        let layer = || {
            let index =
                layers::in_index(input).map_err(|source| ClipError::Io { path: input.to_owned(), source })?;
            Ok(match index {
                Layers::OtherEye => false,
                Layers::Alpha => true,
                Layers::Untold => layers(self.index)?.is_none_or(|layers| layers > 1),
            })
        };
        match self.codec_name.as_str() {
            _ if has_alpha(&self.pix_fmt) => Ok(None),
            "hevc" if !layer()? && !beside => Ok(None),
            "vp8" if beside => Ok(Some("libvpx")),
            "vp9" if beside => Ok(Some("libvpx-vp9")),
            codec if beside || codec == "hevc" => Err(ClipError::Unsupported(format!(
                "{}: parts of its {codec} pictures are transparent, or may be, and the installed ffmpeg cannot tell which: \
                 convert it to VP9 or ProRes first, with a program that can",
                input.display()
            ))),
            _ => Ok(None),
        }
    }

    fn declared_duration(&self) -> Option<Duration> {
        self.duration.as_deref().and_then(seconds).or_else(|| {
            // Matroska: 00:00:01.200000000
            let mut parts = self.tags.duration.as_deref()?.split(':');
            let hours: f64 = parts.next()?.parse().ok()?;
            let minutes: f64 = parts.next()?.parse().ok()?;
            let rest: f64 = parts.next()?.parse().ok()?;
            Duration::try_from_secs_f64(hours * 3600.0 + minutes * 60.0 + rest).ok()
        })
    }
}

/// What the display matrix asks for, and a warning when it cannot be followed.
fn orientation(list: &[SideData]) -> (Orientation, Option<String>) {
    let matrix = list.iter().find_map(|data| data.displaymatrix.as_deref());
    let Some(matrix) = matrix else {
        return (Orientation::Upright, None);
    };
    let rows: Vec<Vec<i64>> = matrix
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(_, row)| row.split_whitespace().filter_map(|number| number.parse().ok()).collect())
        .collect();
    let upright = match rows.as_slice() {
        [first, second, ..] => match (first.as_slice(), second.as_slice()) {
            ([a, b, ..], [c, d, ..]) => Orientation::from_matrix([*a, *b, *c, *d]),
            _ => None,
        },
        _ => None,
    };
    let warning = "the clip asks to be turned by an odd angle: its pictures stay as they are stored";
    upright.map_or((Orientation::Upright, Some(warning.to_owned())), |upright| (upright, None))
}

/// What the clip's pixels are, and how they become 8-bit 4:2:0 without a change of range or matrix.
struct Layout {
    pix_fmt: String,
    chroma: &'static str,
    bit_depth: u8,
    alpha: bool,
    /// The codec may tell anew in each picture whether it has alpha.
    alpha_may_come: bool,
    full_range: bool,
}

/// Codecs that have no alpha, as `ffmpeg` decodes them, or not without saying so for all of the clip. Every other may
/// begin without.
const NEVER_ALPHA: &[&str] = &[
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "av1",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "mjpeg",
    "msmpeg4v1",
    "msmpeg4v2",
    "msmpeg4v3",
    "wmv1",
    "wmv2",
    "wmv3",
    "vc1",
    "flv1",
    "h261",
    "h263",
    "theora",
    "dvvideo",
    "dnxhd",
    "rawvideo",
];

/// Whether pixels of this layout, by its name in `ffmpeg`, have alpha. A palette may.
fn has_alpha(pix_fmt: &str) -> bool {
    const NAMES: [&str; 12] =
        ["yuva", "ayuv", "vuya", "uyva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16", "pal8"];
    NAMES.iter().any(|name| pix_fmt.contains(name)) || pix_fmt.starts_with("yaf")
}

impl Layout {
    fn of(stream: &Stream, alpha_beside: bool) -> Self {
        let pix_fmt = stream.pix_fmt.clone();
        let has = |part: &str| pix_fmt.contains(part);
        let planar = pix_fmt.starts_with("yuv") || pix_fmt.starts_with("nv") || pix_fmt.starts_with('p');
        let chroma = match () {
            () if has("gray") || has("mono") || pix_fmt.starts_with("ya") => "gray",
            () if has("rgb") || has("bgr") || has("gbr") || pix_fmt == "pal8" => "RGB",
            () if has("420") || has("nv12") || has("nv21") || has("p010") || has("p016") => "4:2:0",
            () if has("422") || has("nv16") || has("nv20") || has("p210") || has("p216") || has("y210") => {
                "4:2:2"
            }
            () if has("440") => "4:4:0",
            () if has("411") => "4:1:1",
            () if has("410") => "4:1:0",
            () if planar => "4:4:4",
            () => "RGB",
        };
        let raw = stream.bits_per_raw_sample.as_deref().and_then(|bits| bits.parse().ok());
        let depth = [9, 10, 12, 14, 16].into_iter().find(|bits| {
            let (named, packed) = (format!("{bits}le"), format!("{bits}be"));
            has(&named) || has(&packed)
        });
        let rgb = chroma == "RGB";
        let full_range = match stream.color_range.as_deref() {
            Some("tv") => false,
            Some("pc") => !rgb,
            // Gray without a tag uses all values in every codec that stores it.
            _ => pix_fmt.starts_with("yuvj") || chroma == "gray",
        };
        Layout {
            chroma,
            bit_depth: depth.or(raw.filter(|&bits| bits > 0 && !rgb)).unwrap_or(8),
            alpha: alpha_beside || has_alpha(&pix_fmt),
            alpha_may_come: !NEVER_ALPHA.contains(&stream.codec_name.as_str()),
            full_range,
            pix_fmt,
        }
    }

    fn warn(&self, hdr: bool, warnings: &mut Vec<String>) {
        let Layout { bit_depth, chroma, .. } = self;
        if *bit_depth > 8 {
            warnings.push(format!("{bit_depth}-bit input is converted to 8 bits"));
        }
        if hdr {
            warnings.push("HDR input keeps its tags but has only 8 bits left: expect banding".to_owned());
        }
        if *chroma != "4:2:0" {
            warnings.push(format!("{chroma} input is converted to 4:2:0"));
        }
        if self.alpha {
            warnings.push("what is transparent in it is filled with black".to_owned());
        }
    }

    fn filter(&self) -> Option<String> {
        let range = if self.full_range { "full" } else { "limited" };
        let same = format!("scale=in_range={range}:out_range={range}");
        let scale = match self.chroma {
            _ if self.pix_fmt == "yuv420p" => None,
            "RGB" => Some("scale=out_color_matrix=bt709:out_range=limited"),
            _ => Some(same.as_str()),
        };
        if !self.alpha && !self.alpha_may_come {
            return scale.map(str::to_owned);
        }
        // Laid over black; what is more than half transparent goes altogether, since a faint picture is one that no
        // detector sees and that anybody can bring back. At full colour resolution, so that no hidden colour runs
        // over an edge. Pictures that are opaque come out as they went in, to the bit.
        let colour = if self.alpha { "444" } else { "420" };
        let black = if self.full_range { 0 } else { 16 };
        let first = scale.unwrap_or(&same);
        Some(format!(
            "{first},format=yuva{colour}p,split[p][q];\
             [p]lutyuv=y={black}:u=128:v=128,{same},format=yuv{colour}p[black];\
             [q]lutyuv=a='val*gte(val,128)'[shown];\
             [black][shown]overlay=format=yuv{colour},{same}"
        ))
    }

    fn range_tag(&self, tag: Option<String>) -> Option<String> {
        match self.chroma {
            "RGB" => Some("tv".to_owned()),
            "gray" => Some(if self.full_range { "pc" } else { "tv" }.to_owned()),
            _ if self.full_range => Some("pc".to_owned()),
            _ => tag,
        }
    }

    fn matrix_tag(&self, tag: Option<String>) -> Option<String> {
        if self.chroma == "RGB" { Some("bt709".to_owned()) } else { tag.filter(|tag| tag != "gbr") }
    }
}

/// `160/7` or `4:3`, both parts above zero.
fn pair(text: Option<&str>, separator: char) -> Option<(u32, u32)> {
    let (first, second) = text?.split_once(separator)?;
    let (first, second) = (first.parse().ok()?, second.parse().ok()?);
    (0 < first && first < 1 << 31 && 0 < second && second < 1 << 31).then_some((first, second))
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok().filter(|length| !length.is_zero())
}

fn micros(text: Option<&str>) -> Option<i64> {
    let seconds: f64 = text?.parse().ok()?;
    // Beyond a thousand years the clip's clock is nonsense.
    (seconds.abs() < 3.2e10).then_some((seconds * 1e6).round() as i64)
}
