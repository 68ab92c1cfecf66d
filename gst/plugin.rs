//! What GStreamer asks of a plugin. The macro's items are not documented by it.
#![allow(missing_docs)]

use gstreamer as gst;

use crate::{element, logging};

fn plugin_init(plugin: &gst::Plugin) -> Result<(), gst::glib::BoolError> {
    logging::route();
    element::register(plugin)
}

gst::plugin_define!(
    milkglass,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    env!("CARGO_PKG_VERSION"),
    // One of the names that GStreamer knows; the project's licence is MIT or Apache-2.0.
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    "milkglass",
    "milkglass",
    "2026-11-25"
);
