//! Errors of the parts: of which kind, about what, in which words, and what lies below.

use std::error::Error as StdError;
use std::fmt;

/// What lies below an error, of whatever type: what a driver, a library or a program said.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// An error of one part of the engine. Its text is a whole line, for people; its kind is for programs.
#[derive(Debug)]
pub struct PartError<K> {
    kind: K,
    text: String,
    about: Option<String>,
    source: Option<Cause>,
}

/// What can go wrong with one part. The types below are all there are.
pub trait Kind: fmt::Debug + Copy {
    /// What every line of this kind begins with.
    #[doc(hidden)]
    fn lead(self) -> &'static str {
        ""
    }
}

impl<K: Kind> PartError<K> {
    /// An error in words, whatever lies below it included.
    pub fn new(kind: K, text: impl Into<String>) -> PartError<K> {
        PartError { kind, text: text.into(), about: None, source: None }
    }

    /// The same about something with a name: a model, a device, a folder.
    #[must_use]
    pub fn about(mut self, what: impl Into<String>) -> PartError<K> {
        self.about = Some(what.into());
        self
    }

    /// The same because of another one, which is told by [`source`](StdError::source).
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> PartError<K> {
        self.source = Some(cause.into());
        self
    }

    /// Of which kind it is.
    pub fn kind(&self) -> K {
        self.kind
    }

    /// The model, device or folder that it is about, if there is one.
    pub fn subject(&self) -> Option<&str> {
        self.about.as_deref()
    }
}

impl<K: Kind> fmt::Display for PartError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.lead(), self.text)
    }
}

impl<K: Kind> StdError for PartError<K> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// A failure of a source.
pub type SourceError = PartError<SourceKind>;

/// What is wrong with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A picture does not fit the frame format, or cannot be read. It was discarded and scrubbed; the next one may be good.
    Damaged,
    /// The whole stream cannot be read: it is none, is cut off, or is of a kind that is not known.
    Stream,
}

impl Kind for SourceKind {
    fn lead(self) -> &'static str {
        match self {
            SourceKind::Damaged => "the source delivered a damaged frame, which was discarded: ",
            SourceKind::Stream => "",
        }
    }
}

/// A failed detection. Nothing is covered by it, so nothing was released by it.
pub type DetectorError = PartError<DetectorKind>;

/// Why a detection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DetectorKind {
    /// The runtime did not run the network.
    Inference,
    /// What the network answered is not what its manifest says.
    Output,
    /// A detector of the program's own says so; the source is what it said.
    Own,
}

impl Kind for DetectorKind {
    fn lead(self) -> &'static str {
        "detection failed, so this attempt covers nothing: "
    }
}

/// A model, its manifest or its runtime that cannot be used.
pub type ModelError = PartError<ModelKind>;

/// What is wrong with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelKind {
    /// It, its manifest or the folder of models cannot be found or read.
    Missing,
    /// Its file is not the one that its manifest names.
    Altered,
    /// Its manifest says nothing sensible.
    Manifest,
    /// The runtime of inference cannot be had.
    Runtime,
    /// The runtime does not load it.
    Unusable,
    /// It, or a detector of the program's own, does not find known persons.
    NotAdmitted,
}

impl Kind for ModelKind {}

/// A camera that cannot be used.
pub type CameraError = PartError<CameraKind>;

/// What is wrong with a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CameraKind {
    /// The device captures no video.
    NoCamera,
    /// It does not offer what is wanted, or something that cannot be read.
    Unsupported,
    /// It came back as another one, or is used for frames of another format than its own.
    Changed,
}

impl Kind for CameraKind {
    fn lead(self) -> &'static str {
        "the camera cannot be used: "
    }
}

/// A target's failure.
pub type SinkError = PartError<SinkKind>;

/// What is wrong with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkKind {
    /// It cannot take such frames at all, or is no target.
    Unsupported,
    /// It was given a frame of another format than the one that it was opened for.
    Format,
    /// It did not take a frame.
    Refused,
}

impl Kind for SinkKind {
    fn lead(self) -> &'static str {
        match self {
            SinkKind::Unsupported => "the target cannot be used: ",
            _ => "the target did not take the frame: ",
        }
    }
}

/// An evidence log that cannot be begun or checked.
pub type EvidenceError = PartError<EvidenceKind>;

/// What is wrong with an evidence log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// Its folder cannot be had, belongs to another key or program, or may not grow enough.
    Folder,
    /// The device's key cannot be read or made.
    Key,
    /// A checkpoint is none, or of another device.
    Checkpoint,
}

impl Kind for EvidenceKind {}
