//! What can go wrong at run time, and what the engine did about it. Configuration errors are [`PolicyError`].
//!
//! [`PolicyError`]: crate::PolicyError

use std::sync::Arc;

use crate::time::Timestamp;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure at run time. No variant carries pixels or coordinates of people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A picture size or layout that cannot be represented.
    #[error("cannot lay out a {width}x{height} frame: {reason}")]
    Format {
        /// Width asked for, in luma pixels.
        width: u32,
        /// Height asked for, in luma pixels.
        height: u32,
        /// Which limit was broken and what to do.
        reason: &'static str,
    },
    /// A source delivered bytes that do not fit the frame format. The frame was scrubbed.
    #[error("the source delivered a damaged frame, which was discarded: {0}")]
    Source(String),
    /// Two frames with times that do not increase. The second was discarded and scrubbed.
    #[error("frame times must increase: {got:?} came after {last:?}; the frame was discarded")]
    TimeOrder {
        /// The newest time accepted so far.
        last: Timestamp,
        /// The time that was refused.
        got: Timestamp,
    },
    /// A frame of another pool or format. It was discarded and scrubbed.
    #[error("the frame belongs to another pool than the engine's; it was discarded")]
    ForeignFrame,
    /// The pool is too small for the engine to keep one buffer in reserve.
    #[error(
        "a pool of {count} buffers is too small: the engine keeps one in reserve; give it at least {needed}"
    )]
    PoolTooSmall {
        /// Buffers in the pool.
        count: usize,
        /// Buffers needed at the least.
        needed: usize,
    },
    /// Half of the available memory does not hold as many frames as are needed at the least.
    #[error(
        "frames of {width}x{height} need {} MiB of memory at the least, and half of what is available is {} MiB: close other \
         programs, or choose smaller pictures",
        .needed.div_ceil(1 << 20),
        .room >> 20
    )]
    Memory {
        /// Width of a frame in luma pixels.
        width: u32,
        /// Height of a frame in luma pixels.
        height: u32,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that may be taken.
        room: u64,
    },
    /// The policy cannot be carried out with what is there.
    #[error(transparent)]
    Policy(#[from] crate::policy::PolicyError),
    /// A detector failed. Nothing is covered by this attempt, so nothing was released by it.
    #[error("detection failed, so this attempt covers nothing: {0}")]
    Detector(String),
    /// A model, its manifest or its runtime could not be loaded.
    #[error("{0}")]
    Model(String),
    /// A camera does not offer what is wanted, or came back as another one.
    #[error("the camera cannot be used: {0}")]
    Camera(String),
    /// A target did not take a frame.
    #[error("the target did not take the frame: {0}")]
    Sink(String),
    /// The pipeline has ended in order, by its source's end or because it was asked to.
    #[error("the pipeline has ended; nothing leaves it any more")]
    Ended,
    /// A thread met an error, which has ended the pipeline.
    #[error("{source}; this ended the {thread} thread, and the pipeline with it")]
    Failed {
        /// Its name: "capture".
        thread: String,
        /// What it met.
        source: Arc<Error>,
    },
    /// A thread panicked, which has ended the pipeline: a mistake in the detector, source or target that it runs, or in
    /// this crate. What it said is not here, since that may be a sample or a place in a picture.
    #[error(
        "the {thread} thread panicked (standard error says where), which ended the pipeline; nothing leaves it any more"
    )]
    Panicked {
        /// Its name: "capture", "detect", "redact", or "target" and the target's name.
        thread: String,
    },
    /// The evidence log cannot be begun.
    #[error("{0}")]
    Evidence(String),
    /// Reading or writing failed.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with which file.
        context: String,
        /// The system's own reason.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error with what was being done.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io { context: context.into(), source }
    }
}
