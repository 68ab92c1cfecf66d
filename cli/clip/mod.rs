//! Clips in and out: `ffmpeg` and `ffprobe` as sandboxed children, NUT pipes between them and us.
//!
//! ```text
//! INPUT --[ffprobe]--> ClipInfo
//! INPUT --[decoder]--NUT--> Decoder --rows--> redaction --rows--> Encoder --NUT--> [encoder]--> partial file
//! INPUT --[sound decoder]--NUT (samples)-----------------------------------------------^
//! ```
//! Pictures are always 8-bit planar 4:2:0 (I420), upright, tightly packed: the Y plane, then U, then V, chroma sides
//! rounded up. Timestamps are exact, in the clip's own time base. The encoder never opens the original.
//!
//! Children die with the *thread* that started them (a rule of the kernel): open a [`Decoder`] or [`Encoder`] from a
//! thread that lives as long as the clip takes.

pub mod audio;
pub mod child;
pub mod decode;
pub mod encode;
mod layers;
pub mod probe;
pub mod tools;
pub(crate) mod turns;

pub use audio::{Sound, read_sound};
pub use decode::{DecodeEnd, Decoder, FrameHeader, can_be_fitted};
pub use encode::{Container, EncodeEnd, EncodeOptions, Encoder};
pub use probe::{ClipInfo, Orientation, count_frames, probe};
pub use tools::Tools;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a child may use, and how long it may be silent.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest wait for a single byte to move through a pipe; a child that is silent for longer is killed.
    pub stall: Duration,
    /// Address space of a child in bytes. Threads reserve far more of it than they use.
    pub address_space: u64,
    /// Memory that a child may fill, in bytes.
    pub memory: u64,
    /// Threads a child may use for decoding or encoding; `None` leaves it to `ffmpeg`.
    pub threads: Option<u32>,
    /// Set by somebody else to end every wait soon (Ctrl-C).
    pub cancel: Arc<AtomicBool>,
}

impl Default for Limits {
    fn default() -> Self {
        // 8 GiB, and for each core the stacks and arenas of its threads.
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        Limits {
            stall: Duration::from_secs(60),
            address_space: (8 << 30) + cores * (256 << 20),
            memory: u64::MAX,
            threads: None,
            cancel: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl Limits {
    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// Why a clip could not be read or written. Each message is one line: what, why, what to do.
///
/// The variants are the kinds that exit codes are made from.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ClipError {
    /// A program is not installed.
    #[error(
        "{tool} was not found ({searched}): install it with 'apt-get install ffmpeg', or set MILKGLASS_FFMPEG \
         to the folder that holds it"
    )]
    ToolMissing { tool: &'static str, searched: String },
    /// A program is older than what is supported.
    #[error(
        "{tool} is version {found}, but 5.1 or newer is needed: install a newer ffmpeg, or set MILKGLASS_FFMPEG \
         to the folder that holds one"
    )]
    ToolTooOld { tool: &'static str, found: String },
    /// A file cannot be opened or written at all.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The file holds no container that is understood.
    #[error("{}: not a video that can be read ({reason})", path.display())]
    NotAVideo { path: PathBuf, reason: String },
    /// A container without pictures (sound only, or with nothing but a cover).
    #[error("{}: no video stream in it, so there is nothing to redact", path.display())]
    NoVideoStream { path: PathBuf },
    /// The container is recognised, but what it holds is broken or cut off.
    #[error("{}: damaged ({reason}); copy it again from its source, or repair it first", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// Something this program or the installed `ffmpeg` cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// The encoder refused or could not write; the partial file is worthless.
    #[error("{}: the encoder failed: {reason}", path.display())]
    EncoderFailed { path: PathBuf, reason: String },
    /// A child ended in a way it never should: killed, or its stream broken off.
    #[error(
        "the {child} ended unexpectedly: {reason}; if memory ran out, close other programs and try again"
    )]
    ChildDied { child: &'static str, reason: String },
    /// A child moved no byte for too long and was killed.
    #[error(
        "the {child} moved nothing for {seconds} s and was stopped; the clip may be made to hang decoders"
    )]
    Stalled { child: &'static str, seconds: u64 },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}
