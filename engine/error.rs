//! What can go wrong at run time, and what the engine did about it. Configuration errors are [`PolicyError`].
//!
//! [`PolicyError`]: crate::policy::PolicyError

mod part;

use std::sync::Arc;

use crate::time::Timestamp;

pub use self::part::{
    CameraError, CameraKind, Cause, DetectorError, DetectorKind, EvidenceError, EvidenceKind, ModelError,
    ModelKind, PartError, SinkError, SinkKind, SourceError, SourceKind,
};

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
    /// A source delivered something that cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
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
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// A model, its manifest or its runtime could not be loaded, or a detector does not find known persons.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A camera does not offer what is wanted, or came back as another one.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// A target cannot be used, or did not take a frame.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The evidence log cannot be begun or checked.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
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
    /// Reading or writing failed.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with which file.
        context: String,
        /// The system's own reason.
        source: std::io::Error,
    },
    /// What a source, detector or target of the program's own says: see [`Error::other`].
    #[error("{}{source}", .doing.as_ref().map(|doing| format!("{doing}: ")).unwrap_or_default())]
    Other {
        /// What was being done, if that was said.
        doing: Option<String>,
        /// The error itself.
        source: Cause,
    },
}

impl Error {
    /// Wraps an I/O error with what was being done.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io { context: context.into(), source }
    }

    /// An error of a source, detector or target of your own: any error, or some words. Its text must not tell pixels or
    /// places of people: it is logged.
    ///
    /// ```
    /// # use milkglass::Error;
    /// assert_eq!(Error::other("the NPU hangs").to_string(), "the NPU hangs");
    /// let busy = std::io::Error::other("busy");
    /// assert_eq!(Error::doing("asking the NPU", busy).to_string(), "asking the NPU: busy");
    /// ```
    pub fn other(source: impl Into<Cause>) -> Self {
        Error::Other { doing: None, source: source.into() }
    }

    /// The same with what was being done.
    pub fn doing(what: impl Into<String>, source: impl Into<Cause>) -> Self {
        Error::Other { doing: Some(what.into()), source: source.into() }
    }

    /// A detection that failed, whatever its detector called it.
    pub(crate) fn of_detector(self) -> Self {
        match self {
            Error::Detector(_) => self,
            own => DetectorError::new(DetectorKind::Own, own.to_string()).caused_by(own).into(),
        }
    }
}
