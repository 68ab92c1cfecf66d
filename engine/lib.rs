//! Hides faces, persons and zones in camera pictures before they can leave the device.
//!
//! Raw frames go in on the left, redacted frames come out on the right, and no road leads around:
//!
//! ```text
//! FrameSource --RawFrame--> Engine --RedactedFrame--> FrameSink
//!                            |  ^
//!                  DetectJob v  | detections
//!                           Detector
//! ```
//! A [`RawFrame`] shows its pixels to nobody, a [`DetectJob`] lends them to a detector, a [`RedactedFrame`] may be seen by
//! all. A frame leaves [`Covered`](Outcome::Covered) only after a successful detection at or after its own time; otherwise it
//! leaves [`Obscured`](Outcome::Obscured), or not at all. There is no setting that lets a frame pass.
//!
//! * [`Pipeline`] runs a camera on threads, [`LockStep`] a recording without; [`Engine`] is the state machine inside both,
//!   for whoever brings their own loop.
//! * [`Policy`] says what to hide; it is checked before the first frame.
//! * [`Detector`], [`FrameSource`] and [`FrameSink`] are what integrators implement.
//!
//! # Features
//! `ort` and `rten` (both default) are the inference backends; without them the crate is the bare engine for a detector of
//! your own. docs/INTEGRATING.md says more, docs/THREAT-MODEL.md what is promised and what is not.

mod class;
pub mod detect;
mod draw;
mod engine;
pub mod error;
#[cfg(feature = "evidence")]
pub mod evidence;
mod frame;
mod geometry;
#[cfg(feature = "internal")]
#[doc(hidden)]
pub mod internal;
mod kernels;
#[cfg(feature = "lock")]
pub mod lock;
mod lockstep;
mod motion;
#[cfg(feature = "config")]
mod opening;
mod picture;
mod pipeline;
pub mod policy;
mod redact;
mod selftest;
mod sink;
mod source;
mod stats;
mod time;
mod track;
#[cfg(feature = "v4l2")]
pub mod v4l2;
pub mod y4m;
mod yuv420;

pub use class::Class;
pub use detect::{Detection, Detector, Proof};
pub use engine::Engine;
pub use error::{Error, Result};
pub use frame::{DetectJob, FrameMeta, FramePool, RawFrame, RedactedFrame, available_memory};
pub use geometry::{Orientation, PixelAspect, PixelRect, Rect};
#[cfg(feature = "lock")]
pub use lock::{Bound, Lock, OwnerPublicKey, OwnerSecretKey, RollbackGuard, Weakening};
pub use lockstep::LockStep;
#[cfg(feature = "config")]
pub use opening::{Loaded, Opening, OpeningBuilder};
pub use picture::{
    ColorMatrix, ColorRange, FrameFormat, MAX_PIXELS, MAX_SIDE, PixelFormat, PlaneLayout, ROW_ALIGNMENT,
    View, ViewMut, Ycbcr,
};
pub use pipeline::{FrameReceiver, Pipeline, PipelineBuilder, State, Status, Taken};
#[cfg(feature = "config")]
pub use policy::{BackendChoice, Derived, KEYS, Media, PolicyFile, Preset, StyleName, ZoneEntry};
pub use policy::{Color, OnDeadline, Policy, PolicyBuilder, PolicyError, Polygon, RegionShape, Style, Zone};
pub use redact::Outcome;
pub use selftest::admit;
pub use sink::{FrameSink, Y4mSink};
#[cfg(feature = "ring")]
pub use sink::{RingCounters, RingSink};
pub use source::{Captured, FrameSender, FrameSource, Pushed, Y4mSource};
#[cfg(feature = "dmabuf")]
pub use source::{Dmabuf, DmabufPlane};
pub use stats::Stats;
pub use time::Timestamp;
#[cfg(feature = "v4l2")]
pub use v4l2::{V4l2Output, V4l2OutputCounters};
pub use yuv420::Yuv420;

/// The programs of docs/INTEGRATING.md, compiled and run as documentation tests.
#[cfg(all(doctest, feature = "models"))]
#[doc = include_str!("../docs/INTEGRATING.md")]
pub struct Integrating;
