//! The element: properties, pads, events, states.

mod imp;
mod properties;

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use milkglass::{Detector, Result};

glib::wrapper! {
    /// Hides faces, persons and zones in raw video.
    pub struct MilkGlass(ObjectSubclass<imp::MilkGlass>) @extends gst::Element, gst::Object;
}

/// How the element keeps pace with what comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstMilkGlassPace")]
#[non_exhaustive]
pub enum Pace {
    /// As upstream says: a live source is never held up, any other waits.
    #[default]
    #[enum_value(name = "Live if upstream is live, else waiting", nick = "auto")]
    Auto,
    /// Nothing waits: late frames leave obscured, and frames that find no buffer are skipped.
    #[enum_value(name = "Late frames are obscured, surplus ones skipped", nick = "live")]
    Live,
    /// Every frame is kept, and upstream waits.
    #[enum_value(name = "Every frame is kept; upstream waits", nick = "wait")]
    Wait,
}

impl MilkGlass {
    /// Detectors of one's own, instead of the models: called in READY to PAUSED, and when a live stream changes its format.
    /// The best one comes first, weaker ones for when it is too slow after it. While it looks, a detector must not set a
    /// property of the element: where upstream waits, that waits for the detector.
    pub fn set_detectors(&self, make: impl Fn() -> Result<Vec<Box<dyn Detector>>> + Send + Sync + 'static) {
        self.imp().set_detectors(Arc::new(make));
    }
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "milkglass", gst::Rank::NONE, MilkGlass::static_type())
}
