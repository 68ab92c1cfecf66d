//! Raw frames on the left, redacted frames on the right, and no road around.
#![doc = ""]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod detect;
mod engine;
mod error;
mod frame;
mod geometry;
mod pipeline;
mod policy;
mod redact;
mod sink;
mod source;
mod stats;
mod time;
mod track;
pub mod y4m;

pub use detect::{Class, Detection, Detector};
pub use engine::Engine;
pub use error::{Error, Result};
pub use frame::{
    ColorMatrix, ColorRange, DetectJob, FrameFormat, FrameMeta, FramePool, MAX_PIXELS, MAX_SIDE, Outcome,
    PixelFormat, PlaneLayout, ROW_ALIGNMENT, RawFrame, RedactedFrame, View, ViewMut,
};
pub use geometry::{Orientation, PixelRect, Rect};
pub use pipeline::{Pipeline, Setup, State, Status};
#[cfg(feature = "config")]
pub use policy::{
    BackendChoice, Direction, KEYS, Key, PolicyDefaults, PolicyFile, Preset, SCHEMA, StyleName, ZoneEntry,
};
pub use policy::{Color, OnDeadline, Policy, PolicyBuilder, PolicyError, Polygon, Style, Zone};
pub use sink::FrameSink;
#[cfg(feature = "v4l2")]
pub use source::v4l2;
pub use source::{Captured, FrameSource};
pub use stats::Stats;
pub use time::Timestamp;
