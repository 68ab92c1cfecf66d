//! What the engine has to say, in GStreamer's log: `GST_DEBUG=milkglass:4`.

use std::sync::LazyLock;

use gstreamer as gst;

pub(crate) static CATEGORY: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("milkglass", gst::DebugColorFlags::empty(), Some("Milkglass privacy redactor"))
});

struct Route;

/// Takes over the log of this library. A program that has a logger of Rust's own keeps it.
pub(crate) fn route() {
    if log::set_logger(&Route).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}

impl log::Log for Route {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let target = metadata.target();
        target.starts_with("milkglass") || target.starts_with("gstmilkglass")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Error => gst::DebugLevel::Error,
            log::Level::Warn => gst::DebugLevel::Warning,
            log::Level::Info => gst::DebugLevel::Info,
            log::Level::Debug => gst::DebugLevel::Debug,
            log::Level::Trace => gst::DebugLevel::Trace,
        };
        gst::log_with_level!(CATEGORY, level, "{}", record.args());
    }

    fn flush(&self) {}
}
