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
//! A [`RawFrame`](frame::RawFrame) shows its pixels to nobody, a [`DetectJob`](frame::DetectJob) lends them to a detector, a
//! [`RedactedFrame`](frame::RedactedFrame) may be seen by all. A frame leaves [`Covered`](frame::Outcome::Covered) only after a
//! successful detection at or after its own time; otherwise it leaves [`Obscured`](frame::Outcome::Obscured), or not at all.
//! There is no setting that lets a frame pass.
//!
//! * [`Opening`] leads from a policy file, flags and a lock to a [`Policy`] and its detectors: begin there.
//! * [`Pipeline`] runs a camera on threads, [`LockStep`](lockstep::LockStep) a recording without;
//!   [`Engine`](engine::Engine) is the state machine inside both, for whoever brings their own loop.
//! * [`Detector`], [`FrameSource`] and [`FrameSink`] are what integrators implement.
//!
//! What else they need stands in the modules, by what it is about.
//!
//! # Features
//! `ort` and `rten` (both default) are the inference backends; without them the crate is the bare engine for a detector of
//! your own. docs/INTEGRATING.md says more, docs/THREAT-MODEL.md what is promised and what is not.

mod class;
pub mod detect;
mod draw;
pub mod engine;
pub mod error;
#[cfg(feature = "evidence")]
pub mod evidence;
pub mod frame;
pub mod geometry;
#[cfg(feature = "internal")]
#[doc(hidden)]
pub mod internal;
mod kernels;
#[cfg(feature = "lock")]
pub mod lock;
pub mod lockstep;
mod motion;
#[cfg(feature = "config")]
pub mod opening;
pub mod picture;
pub mod pipeline;
pub mod policy;
mod redact;
pub mod selftest;
pub mod sink;
pub mod source;
pub mod stats;
pub mod time;
mod track;
#[cfg(feature = "v4l2")]
pub mod v4l2;
pub mod y4m;
pub mod yuv420;

pub use class::Class;
pub use detect::{Detection, Detector};
pub use error::{Error, Result};
#[cfg(feature = "config")]
pub use opening::Opening;
pub use picture::FrameFormat;
pub use pipeline::Pipeline;
#[cfg(feature = "config")]
pub use policy::Media;
pub use policy::Policy;
pub use sink::FrameSink;
pub use source::FrameSource;

/// The programs of docs/INTEGRATING.md, compiled and run as documentation tests.
#[cfg(all(doctest, feature = "models"))]
#[doc = include_str!("../docs/INTEGRATING.md")]
pub struct Integrating;
