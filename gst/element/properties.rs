//! What can be set and read, and how it is described to `gst-inspect-1.0`.

use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use milkglass::pipeline::Status;
use milkglass::policy::{BackendChoice, Preset};
use milkglass::stats::Stats;

use super::Pace;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstMilkGlassPreset")]
pub(crate) enum PresetName {
    #[default]
    #[enum_value(name = "As the policy says, else balanced", nick = "policy")]
    Policy,
    #[enum_value(name = "Least work", nick = "fast")]
    Fast,
    #[enum_value(name = "For most cameras", nick = "balanced")]
    Balanced,
    #[enum_value(name = "Finds the most, takes the longest", nick = "careful")]
    Careful,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstMilkGlassBackend")]
pub(crate) enum BackendName {
    #[default]
    #[enum_value(name = "As the policy says, else auto", nick = "policy")]
    Policy,
    #[enum_value(name = "ONNX Runtime where it is found, else rten", nick = "auto")]
    Auto,
    #[enum_value(name = "ONNX Runtime", nick = "ort")]
    Ort,
    #[enum_value(name = "rten, in pure Rust", nick = "rten")]
    Rten,
}

impl PresetName {
    pub fn choice(self) -> Option<Preset> {
        match self {
            PresetName::Policy => None,
            PresetName::Fast => Some(Preset::Fast),
            PresetName::Balanced => Some(Preset::Balanced),
            PresetName::Careful => Some(Preset::Careful),
        }
    }
}

impl BackendName {
    pub fn choice(self) -> Option<BackendChoice> {
        match self {
            BackendName::Policy => None,
            BackendName::Auto => Some(BackendChoice::Auto),
            BackendName::Ort => Some(BackendChoice::Ort),
            BackendName::Rten => Some(BackendChoice::Rten),
        }
    }
}

/// The values of the properties that are enumerations, as they were set.
#[derive(Clone, Copy, Default)]
pub(crate) struct Chosen {
    pub preset: PresetName,
    pub backend: BackendName,
    pub pace: Pace,
}

pub(crate) fn all() -> &'static [glib::ParamSpec] {
    static ALL: OnceLock<Vec<glib::ParamSpec>> = OnceLock::new();
    let text = |name: &str, nick: &str, blurb: &str, live: bool| {
        let spec = glib::ParamSpecString::builder(name).nick(nick).blurb(blurb);
        if live { spec.mutable_playing().build() } else { spec.mutable_ready().build() }
    };
    ALL.get_or_init(|| {
        vec![
            text(
                "policy-file",
                "Policy file",
                "What to hide, as a TOML file. Without any policy, faces are filled. Set while it runs: read anew; a broken \
                 file, or none, is refused with a warning, and the old policy stays",
                true,
            ),
            text("policy", "Policy text", "The same as a text, instead of a file", true),
            text(
                "lock",
                "Lock",
                "A policy file that its owner has signed: whatever else is set may only strengthen it",
                false,
            ),
            text(
                "owner-key",
                "Owner's key",
                "The owner's public key, 64 hexadecimal digits: no other lock is taken. Without it, the first lock's",
                false,
            ),
            text(
                "state-dir",
                "State folder",
                "Where the device remembers its owner, the newest lock and the strongest policy so far; needed with a lock",
                false,
            ),
            glib::ParamSpecEnum::builder::<PresetName>("preset")
                .nick("Preset")
                .blurb("How carefully to look; over the policy's preset")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder::<BackendName>("backend")
                .nick("Backend")
                .blurb("What runs the networks; over the policy's backend")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Threads of inference; 0: as the policy says, else one for each core")
                .maximum(1024)
                .mutable_ready()
                .build(),
            text(
                "models",
                "Models",
                "The folder with the models. Without it: MILKGLASS_MODELS, then the usual places",
                false,
            ),
            gst::ParamSpecFraction::builder("pixel-aspect")
                .nick("Pixel aspect")
                .blurb(
                    "Width to height of a pixel, from 1/8 to 8/1, where caps do not tell or are wrong. 0/1: as caps tell; \
                     that is doubted, and square pixels are looked at too, in twice the time",
                )
                .minimum(gst::Fraction::new(0, 1))
                .maximum(gst::Fraction::new(8, 1))
                .default_value(gst::Fraction::new(0, 1))
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder::<Pace>("pace")
                .nick("Pace")
                .blurb("Whether frames that come too fast are skipped, or upstream waits")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("privacy-mode")
                .nick("Privacy mode")
                .blurb("Every frame is one flat colour. It is in force when setting it returns")
                .mutable_playing()
                .build(),
            glib::ParamSpecString::builder("state")
                .nick("State")
                .blurb(
                    "What the picture shows: starting, covered, degraded, privacy, self_test_failed, no_camera or stopped. \
                     A change is posted as element message milkglass-state",
                )
                .read_only()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("Counters of frames since PAUSED, times in nanoseconds; nothing of the picture")
                .read_only()
                .build(),
        ]
    })
}

/// Counters over every stream since PAUSED.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    pub stats: Stats,
    pub skipped: u64,
    pub missed: u64,
}

impl Totals {
    pub fn add(&mut self, status: &Status) {
        let (sum, more) = (&mut self.stats, &status.stats);
        sum.pushed += more.pushed;
        sum.covered += more.covered;
        sum.obscured += more.obscured;
        sum.dropped += more.dropped;
        sum.observations += more.observations;
        sum.detector_errors += more.detector_errors;
        sum.lost_jobs += more.lost_jobs;
        self.skipped += status.skipped;
        self.missed += status.target_drops;
    }
}

pub(crate) fn structure(totals: &Totals, status: &Status) -> gst::Structure {
    let nanos = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    let stats = &totals.stats;
    gst::Structure::builder("milkglass-stats")
        .field("state", status.state.name())
        .field("pushed", stats.pushed)
        .field("covered", stats.covered)
        .field("obscured", stats.obscured)
        .field("dropped", stats.dropped)
        .field("skipped", totals.skipped)
        .field("missed", totals.missed)
        .field("observations", stats.observations)
        .field("detector-errors", stats.detector_errors + stats.lost_jobs)
        .field("untested", status.untested)
        .field("self-tests-passed", status.self_tests_passed)
        .field("self-tests-failed", status.self_tests_failed)
        .field("level", status.level as u64)
        .field("exposure", nanos(status.exposure))
        .field("deadline", nanos(status.deadline))
        .field("detection", nanos(status.detection))
        .field("detecting", nanos(status.detecting))
        .field("latency", nanos(status.latency))
        .build()
}
