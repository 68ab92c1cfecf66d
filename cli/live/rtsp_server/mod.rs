//! The target that recorders pull from: an RTSP server in a sandboxed child of its own, which is given redacted frames only.

pub mod child;

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use milkglass::picture::{ColorMatrix, ColorRange};
use milkglass::yuv420::Yuv420;

use super::fed_child::{FedChild, Recipe};
use super::ffmpeg::{bit_rate, keyframe_every};
use super::http::read_secret;
use super::target::Stream;
use crate::clip::Limits;
use crate::clip::child::Running;
use crate::outcome::Failure;
use crate::sandbox::launcher::{self, OURSELVES, Sandbox};
use crate::sandbox::{Access, Network};

/// Name of the hidden subcommand that is the child.
pub const SUBCOMMAND: &str = "__rtsp-server";
/// Longest time for GStreamer to load what it needs.
const LOADING: Duration = Duration::from_secs(20);

/// Opens the target at `at`, written `address:port/path`. With a password, clients log in as `milkglass`.
///
/// # Errors
/// An address that cannot be listened on, or that is reached from elsewhere and has no password; GStreamer without what is
/// needed.
pub fn open(at: &str, token_file: Option<&Path>, stream: &Stream) -> Result<FedChild, Failure> {
    let name = format!("rtsp-server://{at}");
    let about = |why: String| Failure::new(format!("{name}: {why}"));
    let (address, path) = parse(at).map_err(about)?;
    let password = token_file.map(read_secret).transpose()?;
    if !address.ip().is_loopback() && password.is_none() {
        return Err(about(
            "others could reach it, so it needs a password: put one into a file and name it with --token-file".into(),
        ));
    }
    // The child binds it later. Whoever is there already is told now.
    TcpListener::bind(address).map_err(|e| about(format!("cannot listen there: {e}")))?;
    let preamble = format!("{}\n", password.unwrap_or_default()).into_bytes();
    let recipe = RtspServer { address, path, launch: launch(stream), preamble };
    recipe.check().map_err(about)?;
    Ok(FedChild::new(name, Box::new(recipe), stream))
}

fn parse(at: &str) -> Result<(SocketAddr, String), String> {
    let (host, path) = at.split_once('/').unwrap_or((at, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if path.is_empty() || !path.chars().all(plain) {
        return Err("name a path of letters, digits and -_./ behind the port, such as /cam".into());
    }
    let addresses = host.to_socket_addrs();
    let addresses =
        addresses.map_err(|e| format!("write it as address:port/path, such as 127.0.0.1:8554/cam: {e}"))?;
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    // `localhost` may be both; recorders that know IPv4 alone are common.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let address = addresses.first().ok_or("the name has no address")?;
    Ok((*address, format!("/{path}")))
}

/// The pipeline of all clients, in GStreamer's words. The encoder repeats its headers before each keyframe; the payloader
/// would do so before each slice, and cut the frame in two.
fn launch(stream: &Stream) -> String {
    let (width, height) = stream.format.size();
    let (width, height) = (width.next_multiple_of(2), height.next_multiple_of(2));
    let aspect = stream.format.pixel_aspect();
    // Range and matrix, transfer and primaries by GStreamer's numbers.
    let range = match Yuv420::range(&stream.format) {
        ColorRange::Full => 1,
        ColorRange::Limited => 2,
    };
    let rest = match stream.format.matrix() {
        ColorMatrix::Bt709 => "3:5:1",
        ColorMatrix::Bt2020 => "6:13:7",
        _ => "4:16:4",
    };
    format!(
        "( appsrc name={source} is-live=true format=time max-buffers=2 max-bytes=0 leaky-type=downstream \
         caps=video/x-raw,format=I420,width={width},height={height},framerate={}/{},pixel-aspect-ratio={}/{},colorimetry=(string){range}:{rest} \
         ! x264enc aud=false tune=zerolatency speed-preset=veryfast pass=qual quantizer=23 bitrate={} vbv-buf-capacity=1000 \
         key-int-max={} threads={} ! video/x-h264,stream-format=byte-stream ! rtph264pay name=pay0 pt=96 config-interval=0 aggregate-mode=zero-latency )",
        stream.rate.0,
        stream.rate.1,
        aspect.width(),
        aspect.height(),
        (bit_rate(stream) / 1000.0).ceil(),
        keyframe_every(stream),
        stream.threads,
        source = child::SOURCE,
    )
}

struct RtspServer {
    address: SocketAddr,
    path: String,
    launch: String,
    /// The password and a line end, so that no command line holds it.
    preamble: Vec<u8>,
}

impl RtspServer {
    fn caged(&self) -> Command {
        let access = Access::network(Network::Serves(self.address.port()));
        let Limits { address_space, memory, .. } = Limits::default();
        let sandbox = Sandbox { address_space, memory, access };
        let mut command = launcher::command(Some(Path::new(OURSELVES)), sandbox, Path::new(OURSELVES));
        // It loads the few plug-ins it needs by name: no registry is read, written, or made by running all of them.
        command.env("GST_REGISTRY_DISABLE", "yes");
        command.args([SUBCOMMAND, &self.address.to_string(), &self.path, &self.launch]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Whether GStreamer has what is needed.
    fn check(&self) -> Result<(), String> {
        let limits = Limits::default();
        let mut child =
            Running::spawn(self.caged().arg("--check"), "RTSP server", &limits).map_err(|e| e.to_string())?;
        let end = child.wait(LOADING).map_err(|e| e.to_string())?;
        if end.status.success() { Ok(()) } else { Err(end.reason()) }
    }
}

impl Recipe for RtspServer {
    fn command(&mut self) -> Result<Command, Failure> {
        let mut command = self.caged();
        command.stdout(Stdio::piped());
        Ok(command)
    }

    /// Recorders stay connected when privacy mode begins.
    fn forgets(&self) -> bool {
        true
    }

    fn preamble(&self) -> &[u8] {
        &self.preamble
    }
}

/// The addresses that UDP is sent from and answered at: those of the listener, or a client could reach more of us.
fn bound(ip: IpAddr) -> Option<String> {
    (!ip.is_unspecified()).then(|| ip.to_string())
}
