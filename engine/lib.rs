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

pub mod detect;
mod engine;
mod error;
#[cfg(feature = "evidence")]
pub mod evidence;
mod frame;
mod geometry;
#[cfg(feature = "internal")]
#[doc(hidden)]
pub mod internal;
mod kernels;
mod lockstep;
mod motion;
mod pipeline;
mod policy;
mod redact;
mod selftest;
mod sink;
mod source;
mod stats;
mod time;
mod track;
pub mod y4m;

pub use detect::{Class, Detection, Detector, Proof};
pub use engine::Engine;
pub use error::{Error, Result};
pub use frame::{
    ColorMatrix, ColorRange, DetectJob, FrameFormat, FrameMeta, FramePool, MAX_PIXELS, MAX_SIDE, Outcome,
    PixelAspect, PixelFormat, PlaneLayout, ROW_ALIGNMENT, RawFrame, RedactedFrame, View, ViewMut, Ycbcr,
    available_memory,
};
pub use geometry::{Orientation, PixelRect, Rect};
pub use lockstep::LockStep;
pub use pipeline::{Outlet, Pipeline, Setup, State, Status, Taken};
#[cfg(feature = "models")]
pub use policy::Derived;
#[cfg(feature = "lock")]
pub use policy::{Anchor, Bound, Lock, OwnerKey, OwnerSecret, Weakening};
#[cfg(feature = "config")]
pub use policy::{
    BackendChoice, Direction, KEYS, Key, PolicyDefaults, PolicyFile, Preset, SCHEMA, StyleName, ZoneEntry,
};
pub use policy::{Color, OnDeadline, Policy, PolicyBuilder, PolicyError, Polygon, RegionShape, Style, Zone};
pub use selftest::admit;
pub use sink::{FrameSink, Y4mSink, Yuv420};
#[cfg(feature = "ring")]
pub use sink::{RingCounters, RingSink};
#[cfg(feature = "v4l2")]
pub use sink::{V4l2Output, V4l2OutputCounters};
#[cfg(feature = "v4l2")]
pub use source::v4l2;
pub use source::{Captured, FrameSource, Inlet, Pushed, Y4mSource};
#[cfg(feature = "dmabuf")]
pub use source::{Dmabuf, DmabufPlane};
pub use stats::Stats;
pub use time::Timestamp;

/// The programs of docs/INTEGRATING.md, compiled and run as documentation tests.
#[cfg(all(doctest, feature = "models"))]
#[doc = include_str!("../docs/INTEGRATING.md")]
pub struct Integrating;
