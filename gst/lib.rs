//! The GStreamer element `milkglass`: raw video in, redacted video out, and no way around.
//!
//! ```text
//! v4l2src ! milkglass policy-file=camera.toml ! x264enc ! ...
//! ```
//! docs/INTEGRATING.md, "In GStreamer", is for those who use it. This crate can also be linked into a program, which then
//! calls [`plugin_register_static`] and may give the element a detector of its own ([`MilkGlass::set_detectors`]).
//!
//! - `element.rs`: properties, pads, events, states.
//! - `opening.rs`: from properties to a policy and its detectors.
//! - `live.rs`, `clip.rs`: the two ways to drive the engine, for sources that do not wait and for those that do.
//! - `line.rs`: redacted frames and events on their way to the source pad, in order.
//! - `picture.rs`: copies in and out. The output is never the input's memory (I8).

mod clip;
mod element;
mod line;
mod live;
mod logging;
mod opening;
mod picture;
mod plugin;

pub use element::{MilkGlass, Pace};
pub use opening::MakeDetectors;
pub use plugin::plugin_register_static;
