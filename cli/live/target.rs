//! The targets of `--to`: what each address means, and the sink behind it. Every sink gets the same redacted frames.

use std::fmt;
use std::io::{BufWriter, stdout};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use milkglass::sink::{RingSink, Y4mSink};
use milkglass::v4l2::V4l2Output;
use milkglass::{FrameFormat, FrameSink};

use super::control::Control;
use super::http::HttpSink;
use super::raw::Nv12Sink;
use super::{address, ffmpeg};
use crate::args::LiveArgs;
use crate::outcome::Failure;

/// Frames that the memory of a ring holds.
const RING_SLOTS: usize = 8;

/// What the targets must know of the frames to come.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub format: FrameFormat,
    /// Frames per second, as a fraction.
    pub rate: (u32, u32),
    /// The bound on the threads of what encodes them, for each target.
    pub threads: usize,
}

impl Stream {
    /// Frames per second.
    pub fn fps(&self) -> f64 {
        f64::from(self.rate.0) / f64::from(self.rate.1)
    }
}

/// Where redacted frames go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Y4M on standard output.
    Y4m,
    /// Bare NV12 frames on standard output.
    Nv12,
    /// A V4L2 output device.
    V4l2(PathBuf),
    /// Other programs of this machine, by shared memory; they connect to this socket.
    Ring(PathBuf),
    /// Our HTTP server, at `host:port`.
    Http(String),
    /// Our RTSP server, at `host:port/path`.
    RtspServer(String),
    /// Anything that ffmpeg writes.
    Ffmpeg(String),
}

impl FromStr for Target {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Target, Failure> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme {
                "http" | "rtsp-server" if rest.contains('@') => Err(Failure::new(format!(
                    "--to {scheme}://...: our own listeners take no user or password in the address: use --token-file"
                ))),
                "http" => Ok(Target::Http(rest.trim_end_matches('/').into())),
                "rtsp-server" => Ok(Target::RtspServer(rest.into())),
                "rtsp" | "rtsps" | "rtmp" | "rtmps" | "srt" => {
                    address::check(scheme, text).map(|()| Target::Ffmpeg(text.into()))
                }
                other => Err(Failure::new(format!(
                    "--to {other}://...: no such target; `milkglass live --help` lists them"
                ))),
            };
        }
        match text {
            "-" => Ok(Target::Y4m),
            "nv12:-" => Ok(Target::Nv12),
            "" => Err(Failure::new("--to is empty; `milkglass live --help` lists the targets")),
            "ring:" => Err(Failure::new("--to ring: names no socket: write ring:/run/milkglass/cam.sock")),
            _ => match text.split_once(':') {
                Some(("v4l2", device)) => Ok(Target::V4l2(device.into())),
                Some(("ring", socket)) => Ok(Target::Ring(socket.into())),
                _ if text.contains(":/") && text.contains('@') => {
                    Err(Failure::new("--to: an address has :// behind its scheme, as in rtsp://host/path"))
                }
                _ => Ok(Target::Ffmpeg(text.into())),
            },
        }
    }
}

/// As the user wrote it, but for a password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Y4m => f.write_str("- (Y4M)"),
            Target::Nv12 => f.write_str("nv12:-"),
            Target::V4l2(device) => write!(f, "v4l2:{}", device.display()),
            Target::Ring(socket) => write!(f, "ring:{}", socket.display()),
            Target::Http(at) => write!(f, "http://{at}"),
            Target::RtspServer(at) => write!(f, "rtsp-server://{at}"),
            Target::Ffmpeg(url) => f.write_str(&address::without_secrets(url)),
        }
    }
}

impl Target {
    /// What no set of targets may do: two cannot share standard output, or anything else.
    pub fn check(targets: Vec<Target>) -> Result<Vec<Target>, Failure> {
        let stdouts = targets.iter().filter(|t| matches!(t, Target::Y4m | Target::Nv12)).count();
        if stdouts > 1 {
            return Err(Failure::new("two targets want standard output; name it once"));
        }
        if let Some((_, twice)) = targets.iter().enumerate().find(|(n, t)| targets[..*n].contains(t)) {
            return Err(Failure::new(format!("--to {twice} is named twice; name it once")));
        }
        Ok(targets)
    }

    /// Whether a child of ours reaches the network for it.
    pub fn has_child_for_network(&self) -> bool {
        match self {
            Target::RtspServer(_) => true,
            Target::Ffmpeg(address) => address.contains("://"),
            Target::Y4m | Target::Nv12 | Target::V4l2(_) | Target::Ring(_) | Target::Http(_) => false,
        }
    }

    /// The device that it writes to.
    pub fn device(&self) -> Option<&Path> {
        match self {
            Target::V4l2(device) => Some(device),
            _ => None,
        }
    }

    /// The folder in which it makes files.
    pub fn folder(&self) -> Option<PathBuf> {
        let file = match self {
            Target::Ring(socket) => socket,
            Target::Ffmpeg(address) if !self.has_child_for_network() => Path::new(address),
            _ => return None,
        };
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        Some(folder.unwrap_or(Path::new(".")).to_owned())
    }

    /// Opens it. A target whose other end is not there yet is none that fails: it keeps trying.
    pub fn open(
        &self,
        args: &LiveArgs,
        stream: &Stream,
        control: &Arc<Control>,
    ) -> Result<Box<dyn FrameSink>, Failure> {
        let out = || BufWriter::with_capacity(1 << 20, stdout());
        match self {
            Target::Y4m => Ok(Box::new(Y4mSink::new(out(), &stream.format, stream.rate)?)),
            Target::Nv12 => Ok(Box::new(Nv12Sink::new(out()))),
            Target::Http(at) => Ok(Box::new(HttpSink::open(at, args, control)?)),
            Target::V4l2(device) => Ok(Box::new(V4l2Output::open(device, &stream.format, stream.fps())?)),
            Target::Ring(socket) => {
                let ring = RingSink::open(socket, &stream.format, RING_SLOTS)?;
                control.add_ring(ring.counters());
                Ok(Box::new(ring))
            }
            Target::Ffmpeg(address) => {
                let locked = args.hiding.lock.is_some();
                Ok(Box::new(ffmpeg::open(address, &args.encoder, stream, locked)?))
            }
            #[cfg(feature = "rtsp-server")]
            Target::RtspServer(at) => {
                Ok(Box::new(super::rtsp_server::open(at, args.token_file.as_deref(), stream)?))
            }
            #[cfg(not(feature = "rtsp-server"))]
            Target::RtspServer(_) => {
                Err(Failure::new(format!("{self}: this program was built without the feature rtsp-server")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_mean_what_the_help_says() {
        let parse = |text: &str| text.parse::<Target>().unwrap();
        assert_eq!(parse("-"), Target::Y4m);
        assert_eq!(parse("nv12:-"), Target::Nv12);
        assert_eq!(parse("v4l2:/dev/video9"), Target::V4l2("/dev/video9".into()));
        assert_eq!(parse("ring:/run/cam.sock"), Target::Ring("/run/cam.sock".into()));
        assert_eq!(parse("http://127.0.0.1:8080/"), Target::Http("127.0.0.1:8080".into()));
        assert_eq!(parse("rtsp://host/cam"), Target::Ffmpeg("rtsp://host/cam".into()));
        assert_eq!(parse("out.m3u8"), Target::Ffmpeg("out.m3u8".into()));
        assert!("ring:".parse::<Target>().is_err());
        for wrong in ["", "https://x", "ftp://user:secret@host/x"] {
            let refused = wrong.parse::<Target>().unwrap_err().to_string();
            assert!(refused.contains("--help") && !refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn a_target_is_named_without_its_password() {
        let shown = |text: &str| text.parse::<Target>().unwrap().to_string();
        assert_eq!(shown("rtsp://me:secret@host:8554/cam?key=secret"), "rtsp://host:8554/cam");
        assert_eq!(shown("srt://host:9000?passphrase=secret"), "srt://host:9000");
        // A password with unescaped characters is refused, and not repeated.
        for wrong in [
            "rtsp://me:pa/secret@host/cam",
            "rtsp://me:pa#secret@host/cam",
            "rtsps://me:pa?secret@host/cam",
            "rtsp-server://me:secret@127.0.0.1:8554/cam",
            "http://me:secret@127.0.0.1:8080",
            "rtsp:/me:secret@host/cam",
        ] {
            let refused = wrong.parse::<Target>().unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        assert_eq!(shown("srt://host:9000?passphrase=se@cret"), "srt://host:9000");
        assert_eq!(shown("rtmp://a@b:secret@host/app"), "rtmp://host/app");
        assert_eq!(shown("rtmps://host/live2/secret?more=secret"), "rtmps://host/live2/...");
    }
}
