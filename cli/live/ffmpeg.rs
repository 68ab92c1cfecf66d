//! Targets that ffmpeg writes: streams that are pushed to a server, files, and HLS lists.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use milkglass::picture::{ColorMatrix, ColorRange};
use milkglass::yuv420::Yuv420;

use super::address::{Secrets, without_secrets};
use super::fed_child::{CLOCK, FedChild, Recipe};
use super::target::Stream;
use crate::clip::tools::file_url;
use crate::clip::{Container, Limits, Tools};
use crate::outcome::Failure;
use crate::sandbox::{Access, Network};

/// Time between two frames from which a player can begin, in seconds.
const KEYFRAMES: f64 = 2.0;
/// Most bits that are spent on a pixel of a live stream: 4 Mbit/s for 1280x720 at 30 frames/s.
const BITS_PER_PIXEL: f64 = 0.15;
/// Segments in an HLS list: with two seconds each, what a player needs and hardly more.
const SEGMENTS: &str = "6";

/// Opens a target for `address`, a URL or the name of a file. A server that is not there yet is no error: it is tried again.
///
/// # Errors
/// No ffmpeg, no such encoder, a file that cannot be written. One that exists is kept, and the next number is taken.
pub fn open(address: &str, encoder: &str, stream: &Stream, locked: bool) -> Result<FedChild, Failure> {
    let place = Place::of(address)?;
    let name = without_secrets(address);
    let about = |f: Failure| f.about(Path::new(&name));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if encoder.is_empty() || encoder.starts_with('-') || !encoder.chars().all(plain) {
        return Err(Failure::new(format!("'{encoder}' is not the name of an encoder")));
    }
    let tools = Tools::find(Limits::default(), locked).map_err(|e| about(e.into()))?;
    if !tools.has_encoder(encoder).map_err(|e| about(e.into()))? {
        return Err(Failure::new(format!(
            "{name}: the installed ffmpeg has no encoder {encoder}: choose another with --encoder ('ffmpeg -encoders' \
             lists them)"
        )));
    }
    let ready = place.prepare().map_err(about)?;
    let secrets = Secrets::of(address);
    let recipe = Ffmpeg { tools, place, encoder: encoder.into(), stream: *stream, ready, secrets };
    Ok(FedChild::new(name, Box::new(recipe), stream))
}

/// What an address stands for.
enum Place {
    /// A server: its address, the container, the protocols needed to reach it, options of the container.
    Server { url: String, format: &'static str, protocols: &'static str, options: &'static [&'static str] },
    /// A file, and further ones with a number after each restart, or when it exists.
    File { path: PathBuf, container: Container },
    /// An HLS list, its segments beside it.
    List { path: PathBuf },
}

impl Place {
    fn of(address: &str) -> Result<Place, Failure> {
        let server = |format, protocols, options| {
            Ok(Place::Server { url: address.into(), format, protocols, options })
        };
        if let Some((scheme, _)) = address.split_once("://") {
            return match scheme {
                // Over TCP: a lossy push would harm everybody who watches.
                "rtsp" => server("rtsp", "rtsp,tcp", &["-rtsp_transport", "tcp"]),
                "rtsps" => server("rtsp", "rtsps,tls,tcp", &["-rtsp_transport", "tcp"]),
                "rtmp" => server("flv", "rtmp,tcp", &["-flvflags", "no_duration_filesize"]),
                "rtmps" => server("flv", "rtmps,tls,tcp", &["-flvflags", "no_duration_filesize"]),
                "srt" => server("mpegts", "srt", &["-muxdelay", "0", "-muxpreload", "0"]),
                other => Err(Failure::new(format!("{other}://...: no address that frames can be sent to"))),
            };
        }
        let path = PathBuf::from(address);
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("m3u8")) {
            // ffmpeg names the segments in the list as they are named to it, but for a folder.
            let path = std::path::absolute(&path).map_err(|e| Failure::new(format!("{address}: {e}")))?;
            return Ok(Place::List { path });
        }
        match Container::of(&path) {
            Ok(container @ (Container::Mp4 | Container::Mov | Container::Matroska | Container::MpegTs)) => {
                Ok(Place::File { path, container })
            }
            _ => Err(Failure::new(format!(
                "{address}: no target; a file ends in .mp4, .mov, .mkv, .ts or .m3u8 (`milkglass live --help` lists the \
                 targets)"
            ))),
        }
    }

    /// Everything that can be wrong before the first frame. Returns the file that was made.
    fn prepare(&self) -> Result<Option<PathBuf>, Failure> {
        match self {
            Place::Server { .. } => Ok(None),
            Place::File { path, .. } => match new_file(path) {
                Ok(()) => Ok(Some(path.clone())),
                // A camera that is started again goes on beside what it recorded before.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let next = next_file(path)?;
                    log::info!("{} exists, so {} is written", path.display(), next.display());
                    Ok(Some(next))
                }
                Err(e) => Err(Failure::new(e.to_string())),
            },
            Place::List { path } => {
                if path.exists() && !is_list(path) {
                    return Err(Failure::new(
                        "it exists and is no HLS list: choose another name, or move it out of the way",
                    ));
                }
                tempfile::tempfile_in(folder(path)).map(|_| None).map_err(|e| Failure::new(e.to_string()))
            }
        }
    }
}

struct Ffmpeg {
    tools: Tools,
    place: Place,
    encoder: String,
    stream: Stream,
    /// The file that the next or current child writes.
    ready: Option<PathBuf>,
    secrets: Secrets,
}

impl Recipe for Ffmpeg {
    fn command(&mut self) -> Result<Command, Failure> {
        // The next file to write, in which it may write and nowhere else.
        let file = match (&self.place, self.ready.take()) {
            (Place::File { path, .. }, None) => Some(next_file(path)?),
            (_, ready) => ready,
        };
        let access = match (&self.place, &file) {
            (Place::File { .. }, Some(file)) => Access::nothing().writes(file),
            (Place::List { path }, _) => Access::nothing().writes(folder(path)),
            _ => Access::network(Network::Connects),
        };
        let mut command = self.tools.ffmpeg(access.for_encoder(&self.encoder));
        // Everything about the frames is in the stream's headers: none needs to be held back to find it out.
        words(&mut command, "-nostdin -hide_banner -nostats -loglevel level+error -y");
        words(&mut command, "-protocol_whitelist pipe -fflags nobuffer -fpsprobesize 0 -f nut -i pipe:0");
        words(&mut command, "-map 0:v:0 -map_metadata -1 -map_chapters -1");
        command.args(["-vf", &colors(&self.stream), "-fps_mode", "passthrough"]);
        command.args(["-enc_time_base", &format!("1:{CLOCK}"), "-c:v", &self.encoder]);
        let threads = self.stream.threads.to_string();
        command.args(["-threads", &threads, "-filter_threads", &threads]);
        command.args(quality(&self.encoder, &self.stream, matches!(self.place, Place::File { .. })));
        words(&mut command, "-pix_fmt yuv420p -fflags +bitexact -flags:v +bitexact -flush_packets 1");
        match &self.place {
            Place::Server { url, format, protocols, options } => {
                command.args(["-protocol_whitelist", protocols]).args(*options).args(["-f", format, url]);
            }
            Place::File { path, container } => {
                words(&mut command, "-protocol_whitelist file");
                // A power cut leaves a file that plays up to its last seconds.
                words(
                    &mut command,
                    match container {
                        Container::Mp4 | Container::Mov => {
                            "-movflags +frag_keyframe+empty_moov+default_base_moof -write_tmcd 0"
                        }
                        Container::Matroska => "-cluster_time_limit 2000",
                        _ => "-muxdelay 0 -muxpreload 0",
                    },
                );
                let path = file.as_deref().unwrap_or(path);
                command.args(["-f", &container.to_string()]).arg(file_url(path));
            }
            Place::List { path } => {
                words(&mut command, "-protocol_whitelist file -f hls -hls_flags delete_segments+temp_file");
                // Numbers from the clock never go back, whoever starts anew.
                words(&mut command, "-hls_start_number_source epoch -hls_list_size");
                command.args([SEGMENTS, "-hls_time", &KEYFRAMES.to_string(), "-hls_segment_filename"]);
                command.arg(file_url(
                    &path.with_file_name(format!("{}-segment%d.ts", stem(path).replace('%', "%%"))),
                ));
                command.arg(file_url(path));
            }
        }
        self.ready = file;
        Ok(command)
    }

    fn plain(&self, words: &str) -> String {
        self.secrets.clean(words)
    }

    fn tidy(&mut self, forget: bool) {
        match &self.place {
            Place::Server { .. } => {}
            // A child that died before its first byte leaves an empty file.
            Place::File { .. } => {
                if let Some(path) = self.ready.take()
                    && path.metadata().is_ok_and(|m| m.len() == 0)
                {
                    remove(&path);
                }
            }
            // Players begin with the oldest segment of the list.
            Place::List { path } => {
                if forget {
                    remove(path);
                    segments(path).iter().for_each(|segment| remove(segment));
                }
            }
        }
    }
}

/// Quality and speed: for files the encoder may look ahead, everywhere else a frame leaves as soon as it has come.
fn quality(encoder: &str, stream: &Stream, looks_ahead: bool) -> Vec<String> {
    let bits = bit_rate(stream).to_string();
    let mut args = vec!["-g".into(), keyframe_every(stream).to_string()];
    let mut add = |words: &[&str]| args.extend(words.iter().map(|w| (*w).to_owned()));
    match encoder {
        "libx264" | "libx265" => {
            add(&["-preset", "veryfast", "-crf", if encoder == "libx264" { "23" } else { "28" }]);
            add(&["-maxrate", &bits, "-bufsize", &bits]);
            if !looks_ahead {
                add(&["-tune", "zerolatency"]);
            }
            if encoder == "libx265" {
                add(&["-x265-params", "log-level=error"]);
            }
        }
        _ => add(&["-b:v", &bits]),
    }
    args
}

/// Most bits per second of a live stream.
pub fn bit_rate(stream: &Stream) -> f64 {
    let (width, height) = stream.format.size();
    (f64::from(width) * f64::from(height) * stream.fps() * BITS_PER_PIXEL).ceil()
}

/// Frames from one that a player can begin with to the next.
pub fn keyframe_every(stream: &Stream) -> f64 {
    (stream.fps() * KEYFRAMES).round().max(1.0)
}

/// The filter that tells what the frames' values mean.
fn colors(stream: &Stream) -> String {
    let range = match Yuv420::range(&stream.format) {
        ColorRange::Limited => "limited",
        ColorRange::Full => "full",
    };
    let matrix = match stream.format.matrix() {
        ColorMatrix::Bt709 => "bt709",
        ColorMatrix::Bt2020 => "bt2020nc",
        _ => "smpte170m",
    };
    format!("setparams=range={range}:colorspace={matrix}")
}

fn words(command: &mut Command, words: &str) {
    command.args(words.split_whitespace());
}

fn new_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path).map(drop)
}

/// The first of `cam-1.mp4`, `cam-2.mp4` and so on that does not exist.
fn next_file(path: &Path) -> Result<PathBuf, Failure> {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    for number in 1..=100_000 {
        let next = path.with_file_name(format!("{}-{number}.{extension}", stem(path)));
        match new_file(&next) {
            Ok(()) => return Ok(next),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::new(e.to_string())),
        }
    }
    Err(Failure::new("there are 100000 files of that name; move them away"))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Segments of the list, and what a killed child was about to rename to one: `cam-segment` and at least nine digits.
fn segments(list: &Path) -> Vec<PathBuf> {
    let stem = stem(list) + "-segment";
    let ours = |name: &str| {
        let rest = name.strip_prefix(&stem)?.trim_end_matches(".tmp").strip_suffix(".ts")?;
        (rest.len() >= 9 && rest.bytes().all(|b| b.is_ascii_digit())).then_some(())
    };
    let entries = std::fs::read_dir(folder(list)).into_iter().flatten().flatten();
    let paths = entries.filter(|e| ours(&e.file_name().to_string_lossy()).is_some()).map(|e| e.path());
    paths.collect()
}

fn is_list(path: &Path) -> bool {
    let mut start = [0; 7];
    File::open(path).and_then(|mut f| f.read_exact(&mut start)).is_ok() && &start == b"#EXTM3U"
}

fn remove(path: &Path) {
    if let Err(e) = std::fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        log::error!("{}: it should be removed: {e}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_never_written_twice_and_segments_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cam.mp4");
        let place = Place::of(path.to_str().unwrap()).unwrap();
        assert_eq!(place.prepare().unwrap(), Some(path.clone()));
        assert_eq!(place.prepare().unwrap(), Some(folder.path().join("cam-1.mp4")));
        assert_eq!(next_file(&path).unwrap(), folder.path().join("cam-2.mp4"));

        let list = folder.path().join("cam.m3u8");
        std::fs::write(&list, "holiday").unwrap();
        assert!(
            Place::of(list.to_str().unwrap()).unwrap().prepare().unwrap_err().message.contains("no HLS list")
        );
        let ours = ["cam-segment1700000000.ts", "cam-segment1700000001.ts.tmp"];
        for name in ours.iter().chain(&[
            "cam202310121530.ts",
            "cam-segment2.ts",
            "cam1-segment1700000000.ts",
            "cam.ts",
        ]) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let mut found = segments(&list);
        found.sort();
        let names: Vec<_> = found.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ours);
    }
}
