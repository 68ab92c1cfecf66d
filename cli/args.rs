//! The command line: flags, help, and what they mean together.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::opening::KeyFlags;

/// Redacts faces, persons and zones: in recorded clips, stills and folders, and live from a camera.
#[derive(Parser, Debug)]
#[command(name = "milkglass", version, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Errors alone; no progress bar.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed (a file could not be read or written, a setting was refused)
  2  --strict, and nothing was found to hide
  3  the input is damaged, or frames out differ from frames in
  4  done, but some frames had to be obscured whole
  5  log verify: the device deleted the checkpoint's record, as it signed
130  interrupted; nothing half written is left";

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Hide faces (and persons and zones, if asked) in clips, stills and folders.
    #[command(after_help = REDACT_HELP)]
    Redact(RedactArgs),
    /// Hide them live, in the pictures of a camera, before anything else sees them.
    #[command(after_help = LIVE_HELP)]
    Live(LiveArgs),
    /// List the cameras of this machine and what they offer.
    Devices,
    /// Tell where faces and persons are, as JSON, one object per picture or frame.
    Detect(DetectArgs),
    /// Measure leak and over-redaction against labelled pictures.
    Eval(EvalArgs),
    /// Check a policy file, or print what one may hold.
    #[command(subcommand)]
    Policy(crate::policy::PolicyCommand),
    /// Check the evidence log of a camera, make its key, take out a checkpoint.
    #[command(subcommand, after_help = LOG_HELP)]
    Log(crate::log::LogCommand),
    /// Tell what this machine has and lacks, and how to mend it.
    Doctor(DoctorArgs),
    /// Measure what this machine can do: kernels, detection, cameras, clips.
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArgs),
    /// A child in its sandbox; not for people.
    #[command(name = "__child", hide = true, disable_help_flag = true)]
    Child(ChildArgs),
    /// The RTSP server in its sandbox; not for people.
    #[cfg(feature = "rtsp-server")]
    #[command(name = crate::live::rtsp_server::SUBCOMMAND, hide = true, disable_help_flag = true)]
    RtspServer(RtspServerArgs),
}

impl Command {
    /// Whether it is held to an owner's lock.
    pub fn is_locked(&self) -> bool {
        let hiding = match self {
            Command::Redact(args) => &args.hiding,
            Command::Live(args) => &args.hiding,
            Command::Detect(args) => &args.hiding,
            Command::Eval(args) => &args.hiding,
            _ => return false,
        };
        hiding.lock.is_some()
    }
}

const REDACT_HELP: &str = "\
Examples:
  milkglass redact visit.mp4 -o visit.redacted.mp4
  milkglass redact photos/ -o redacted/
  milkglass redact door.mkv -o out.mkv --persons fill --zone 'window:0.6,0;1,0;1,0.4;0.6,0.4'
  ffmpeg -i in.mp4 -f yuv4mpegpipe - | milkglass redact - -o - | ffplay -

What is written is redacted, not anonymous: a face that no detector finds stays visible (docs/THREAT-MODEL.md). \
`fill` keeps nothing of a face but its place and size, and --shape padded blurs those too. `pixelate` and `blur` are \
cosmetic: they hide nothing from a program. --reversible=false refuses them.";

/// `milkglass redact`
#[derive(Args, Debug)]
pub struct RedactArgs {
    /// Clips, stills or folders; `-` for Y4M on standard input.
    #[arg(required = true)]
    pub inputs: Vec<PathBuf>,
    /// The file or folder to write; `-` for Y4M on standard output.
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub hiding: HidingArgs,
    /// Keep the sound, encoded anew: AAC, in .webm Opus, in .avi MP3, with --lossless FLAC. It is dropped otherwise: voices
    /// identify people too.
    #[arg(long, help_heading = "Output")]
    pub keep_audio: bool,
    /// Video encoder, by ffmpeg's name [default: by the container, libx264 or libvpx-vp9].
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub encoder: Option<String>,
    /// Quality of the encoder, smaller is better [default: 23 for libx264, 31 for libvpx-vp9].
    #[arg(long, value_name = "N", help_heading = "Output", value_parser = clap::value_parser!(u32).range(..=63))]
    pub crf: Option<u32>,
    /// Preset of the encoder, by ffmpeg's name, such as medium or veryfast.
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub encoder_preset: Option<String>,
    /// FFV1 in MKV: no loss beyond the conversion to 8-bit 4:2:0.
    #[arg(long, help_heading = "Output", conflicts_with_all = ["encoder", "crf"])]
    pub lossless: bool,
    /// Format of stills, whatever the input's: png, jpeg, webp, bmp or tiff.
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<String>,
    /// Replace files that exist.
    #[arg(long, help_heading = "Output")]
    pub overwrite: bool,
    /// Keep the redacted part of a damaged clip.
    #[arg(long, help_heading = "Output")]
    pub keep_partial: bool,
    /// Exit with 2 when nothing was found to hide.
    #[arg(long, help_heading = "Output")]
    pub strict: bool,
    /// Write what was done as JSON: counts and hashes, no coordinates.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub report: Option<PathBuf>,
}

const LIVE_HELP: &str = "\
Targets (--to, repeatable; every one gets the same redacted frames):
  -                              Y4M on standard output; nv12:- for bare NV12 frames
  v4l2:/dev/video9               a V4L2 output device, such as v4l2loopback's
  ring:/run/milkglass/cam.sock   other programs of this machine, by shared memory
  http://127.0.0.1:8080          a page, /stream.mjpg, /snapshot.jpg, /metrics, /healthz
  rtsp://host/path, srt://..., rtmp://..., FILE.m3u8, FILE.mp4
                                 any address or file that ffmpeg can write
  rtsp-server://127.0.0.1:8554/cam
                                 an RTSP server (in builds with the feature rtsp-server)
Users of this machine can read addresses, and the passwords in them, in the list of its programs.

Examples:
  milkglass live --from /dev/video0 --size 1280x720 --fps 30 --to http://127.0.0.1:8080
  milkglass live --policy camera.toml --to v4l2:/dev/video9
  rpicam-vid -t 0 ... -o - | ffmpeg ... -f yuv4mpegpipe - | milkglass live --from - --to ...

Signals:
  SIGUSR1, SIGUSR2   privacy mode on, off: everything is covered; kept across restarts
  SIGHUP             read the policy file again; a broken one is refused and the old one stays
  SIGTERM, SIGINT    hand over what is covered and end, within a second

Whatever is late, fails or hangs: a frame leaves covered, obscured whole, or not at all. For at most `max_gap`, the \
worst-case exposure that is printed at the start, a face that has just come in may be seen (docs/THREAT-MODEL.md).";

const LOG_HELP: &str = "\
Examples:
  milkglass log keygen /var/lib/milkglass/device.key > public.key         # keep it off the device
  milkglass live --from /dev/video0 --to ... --evidence /var/lib/milkglass/evidence
  milkglass log checkpoint /var/lib/milkglass/evidence > checkpoint.txt   # send it away, hourly
  milkglass log verify evidence/ --key public.key --checkpoint checkpoint.txt

Whatever was edited, removed, reordered, repeated or brought in is named. That the end was taken off shows only by a \
checkpoint that had left the device. Whoever holds the device key can write another log (docs/THREAT-MODEL.md).

Exit codes of `log verify`:
  0  the log is whole; with --checkpoint, up to there it is the one of then
  1  it, the key or the checkpoint could not be read
  3  it was changed, or is not the log that the checkpoint is of
  5  nothing was found against it, but the device deleted the checkpoint's record to keep to --evidence-max-mb, as it signed";

/// `milkglass live`
#[derive(Args, Debug)]
pub struct LiveArgs {
    /// The camera, or `-` or a file for Y4M frames in their own time.
    #[arg(long, value_name = "DEVICE", default_value = "/dev/video0")]
    pub from: PathBuf,
    /// Width and height in pixels [default: what the camera is set to].
    #[arg(long, value_name = "WxH")]
    pub size: Option<String>,
    /// Frames per second; the camera takes the nearest that it can [default: what it is set to].
    #[arg(long, value_name = "N")]
    pub fps: Option<f64>,
    /// Where redacted frames go; repeatable.
    #[arg(long, value_name = "TARGET", required = true)]
    pub to: Vec<String>,
    /// Keep inference (the thread that detects and the networks' own threads) on these processors, as `2,3` or `2-3`.
    #[arg(long, value_name = "LIST", help_heading = "Inference")]
    pub pin: Option<String>,
    #[command(flatten)]
    pub keys: KeyFlags<true>,
    /// Start in privacy mode. It also starts so when it was on at the end.
    #[arg(long, help_heading = "Hiding")]
    pub privacy: bool,
    /// Never write frames to swap. The system must let this program lock the memory of all its frames (`LimitMEMLOCK=`).
    #[arg(long, help_heading = "Targets")]
    pub lock_memory: bool,
    /// Folder that privacy mode is remembered in [default: $STATE_DIRECTORY, else milkglass below $XDG_STATE_HOME].
    #[arg(long, value_name = "DIR", help_heading = "Targets")]
    pub state_dir: Option<PathBuf>,
    /// File with the token (HTTP) and password (RTSP server) of our listeners; needed to listen beyond loopback, and for
    /// privacy mode from the page.
    #[arg(long, value_name = "FILE", help_heading = "Targets")]
    pub token_file: Option<PathBuf>,
    /// Address of a proxy in front of the HTTP target; repeatable. Connections are then counted for the address that it adds
    /// last to X-Forwarded-For or Forwarded, and everything needs the token.
    #[arg(long, value_name = "ADDRESS", help_heading = "Targets", requires = "token_file")]
    pub trusted_proxy: Vec<IpAddr>,
    /// Folder of a tamper-evident log of what was done: frames by outcome, states, hashes; no pixels, no places, no people.
    #[arg(long, value_name = "DIR", help_heading = "Evidence")]
    pub evidence: Option<PathBuf>,
    /// Key that signs the log [default: device.key in its folder, made at the first start].
    #[arg(long, value_name = "FILE", help_heading = "Evidence", requires = "evidence")]
    pub device_key: Option<PathBuf>,
    /// Most disk that the log takes, in MiB; the oldest file goes.
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Evidence", requires = "evidence",
          value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub evidence_max_mb: u64,
    /// Video encoder of the targets that ffmpeg writes, by its name.
    #[arg(long, value_name = "NAME", default_value = "libx264", help_heading = "Targets")]
    pub encoder: String,
    #[command(flatten)]
    pub hiding: HidingArgs,
}

/// What to hide and how; the same for `redact`, `detect` and `eval`. Flags win over the policy file.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Hiding")]
pub struct HidingArgs {
    #[command(flatten)]
    pub keys: KeyFlags<false>,
    /// A zone that is always hidden, corners from 0,0 (left top) to 1,1 (right bottom of the upright picture); repeatable.
    #[arg(long, value_name = "NAME:x,y;x,y;...[:STYLE]")]
    pub zone: Vec<String>,
    /// The same settings from a file (`milkglass policy keys` lists them).
    #[arg(long, value_name = "FILE.toml")]
    pub policy: Option<PathBuf>,
    /// A policy that its owner has locked (`milkglass policy lock`): --policy and flags may only strengthen it.
    #[arg(long, value_name = "FILE.lock")]
    pub lock: Option<PathBuf>,
    /// File with the public key whose locks are accepted [default: the lock's own, remembered by `live`].
    #[arg(long, value_name = "FILE", requires = "lock")]
    pub owner_key: Option<PathBuf>,
    /// Width to height of a pixel as the picture is shown, such as 64:45, where camera or file do not tell or are wrong
    /// [default: as they tell; what they tell is doubted, so square pixels are looked at too, in twice the time].
    #[arg(long, value_name = "W:H")]
    pub pixel_aspect: Option<milkglass::geometry::PixelAspect>,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// Where inference comes from.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Inference")]
pub struct RuntimeArgs {
    /// Inference backend: ort (ONNX Runtime), rten (pure Rust) or auto [default: auto].
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// One bound on all threads of this program [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// One bound on all memory of this program and its children, such as 800M or 2G [default: half of what is available].
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<String>,
    /// Folder of the models.
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
}

/// `milkglass detect`
#[derive(Args, Debug)]
pub struct DetectArgs {
    /// Clips, stills or folders.
    #[arg(required = true)]
    pub inputs: Vec<PathBuf>,
    /// Write the boxes here instead of to standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also write the redacted pictures with the boxes drawn on them into this folder.
    #[arg(long, value_name = "DIR")]
    pub draw: Option<PathBuf>,
    #[command(flatten)]
    pub hiding: HidingArgs,
}

/// `milkglass eval`
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Labels: one JSON object per picture, `{"image", "width", "height", "faces": [[x,y,w,h],...], "persons": [...]}`.
    #[arg(required = true)]
    pub labels: Vec<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Play each still as a scene of N equal frames, as a camera would see it, and judge every frame; the rows "at the
    /// end" are of the last ones. For `--tiles` and `--motion-cover`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub scene: Option<u32>,
    /// Only the rows of these sources.
    #[arg(long, value_name = "NAME")]
    pub source: Vec<String>,
    #[command(flatten)]
    pub hiding: HidingArgs,
}

/// `milkglass doctor`
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// A lock file: says what it leaves open on this device, such as the models' manifests
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

const BENCH_HELP: &str = "\
Examples:
  milkglass bench --quick
  milkglass bench --json board.json --csv board.csv --chart board.svg
  milkglass bench --only 'detect/*' --threads 1 --backend rten
  milkglass bench --from /dev/video0 --only 'live/*'
  milkglass bench --read new.json --compare old.json

Every row checks its result before it is timed. A row is slower than in an older record only when its median, its minimum \
and its share of the memory limit all say so; then the exit code is 1. What every key of the files means: \
benches/README.md.";

/// `milkglass bench`
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Half a minute instead of several: fewer rows, shorter runs.
    #[arg(long)]
    pub quick: bool,
    /// Only rows with such names; `*` stands for anything; repeatable.
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// Print the names of the rows that can be measured here, and what is missing for others.
    #[arg(long)]
    pub list: bool,
    /// Check results of kernels and detectors without timing them, as in an emulator.
    #[arg(long)]
    pub check: bool,
    /// Every set of kernels that this processor has, not only the best (MILKGLASS_KERNELS names another one).
    #[arg(long)]
    pub all_kernels: bool,
    /// The real source: a camera, a Y4M file or a clip [default: the demo clip, examples/people.mp4].
    #[arg(long, value_name = "SOURCE")]
    pub from: Option<PathBuf>,
    /// Write machine, settings and rows as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Write the rows as CSV.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub csv: Option<PathBuf>,
    /// Draw the rows as SVG.
    #[arg(long, value_name = "FILE.svg", help_heading = "Output")]
    pub chart: Option<PathBuf>,
    /// Show what got slower since an older record, and exit with 1 if anything did.
    #[arg(long, value_name = "OLD.json", help_heading = "Output")]
    pub compare: Option<PathBuf>,
    /// How much slower is still no difference, as a share.
    #[arg(long, value_name = "SHARE", default_value_t = 0.25, help_heading = "Output")]
    pub tolerance: f64,
    /// Show (draw, compare) an existing record instead of measuring.
    #[arg(long, value_name = "NEW.json", help_heading = "Output", conflicts_with_all = ["quick", "only", "list", "check"])]
    pub read: Option<PathBuf>,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// `milkglass __child`
#[derive(Args, Debug)]
pub struct ChildArgs {
    /// Limits and the program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<std::ffi::OsString>,
}

/// The child of `live --to rtsp-server://...`
#[cfg(feature = "rtsp-server")]
#[derive(Args, Debug)]
pub struct RtspServerArgs {
    /// Where to listen.
    pub address: std::net::SocketAddr,
    /// The path that is served.
    pub path: String,
    /// The pipeline, in GStreamer's words.
    pub launch: String,
    /// Only tell whether GStreamer has what is needed.
    #[arg(long)]
    pub check: bool,
}
