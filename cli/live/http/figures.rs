//! Figures of the running pipeline, for Prometheus, for watchers and for the page: counts, times and states, nothing of the
//! picture and nobody's place in it.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use milkglass::pipeline::{State, Status};
use milkglass::sink::RingCounters;
use serde_json::{Value, json};

use crate::live::control::{Control, describe};

const STATES: [State; 7] = [
    State::Starting,
    State::Covered,
    State::Degraded,
    State::Privacy,
    State::SelfTestFailed,
    State::NoCamera,
    State::Stopped,
];

/// Whether frames leave as they should, and the state in words.
pub fn health(status: &Status) -> (bool, String) {
    (matches!(status.state, State::Covered | State::Privacy | State::Starting), describe(status))
}

/// What the page shows.
pub fn status(control: &Control, changeable: bool) -> Value {
    let status = control.status();
    let (width, height) = control.stream().format.upright_size();
    let aspect = control.stream().format.pixel_aspect();
    let aspect = if control.stream().format.orientation().transpose { aspect.turned() } else { aspect };
    let ms = |time: std::time::Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
    json!({
        "state": status.state.name(),
        "text": describe(&status),
        "privacy": control.privacy(),
        "changeable": changeable,
        "reversible": control.reversible(),
        "width": width,
        "height": height,
        "pixel_aspect": aspect.ratio(),
        "fps": status.fps,
        "latency_ms": ms(status.latency),
        "exposure_ms": ms(status.exposure),
        "evidence": control.evidence().map(|evidence| {
            match (evidence.trouble.load(Ordering::Relaxed), evidence.damaged.load(Ordering::Relaxed)) {
                (true, _) => "unwritable",
                (false, true) => "changed",
                (false, false) => "kept",
            }
        }),
    })
}

/// Everything in Prometheus' text format.
pub fn metrics(control: &Control, streams: usize) -> String {
    let status = control.status();
    let stats = status.stats;
    let mut text = Metrics::default();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    text.gauge("build_info", "The program's version.", [(version, 1)]);

    let frames = [("covered", stats.covered), ("obscured", stats.obscured), ("dropped", stats.dropped)];
    text.counter("frames_total", "Frames that left, or were given up, by outcome.", by("outcome", frames));
    text.counter("frames_received_total", "Frames that came from the source.", one(stats.pushed));
    text.counter("frames_skipped_total", "Pictures that the source had to skip.", one(status.skipped));
    let results =
        [("success", stats.observations), ("error", stats.detector_errors), ("lost", stats.lost_jobs)];
    text.counter("detections_total", "Runs of the detector by result.", by("result", results));
    text.counter(
        "target_frames_dropped_total",
        "Frames that targets were too slow for.",
        one(status.target_drops),
    );
    text.counter("targets_lost_total", "Targets that ended with an error.", one(status.targets_lost));

    let states = STATES.map(|state| (state.name(), u8::from(state == status.state)));
    text.gauge("state", "1 for what the picture shows now.", by("state", states));
    let tests = [("passed", status.self_tests_passed), ("failed", status.self_tests_failed)];
    text.counter("self_tests_total", "Self-tests of the detector by result.", by("result", tests));
    let help = "1 if nobody as small as the presets promise could be shown to a detector in use.";
    text.gauge("detector_untested", help, one(u8::from(status.untested)));
    if let Some(evidence) = control.evidence() {
        let errors = evidence.errors.load(Ordering::Relaxed);
        text.counter("evidence_errors_total", "Attempts to write the evidence log that failed.", one(errors));
        let flag = |flag: &AtomicBool| one(u8::from(flag.load(Ordering::Relaxed)));
        text.gauge(
            "evidence_unwritable",
            "1 while the evidence log cannot be written.",
            flag(&evidence.trouble),
        );
        let help = "1 once the evidence log was found changed: its end gone, or files that fell to the limit altered.";
        text.gauge("evidence_changed", help, flag(&evidence.damaged));
    }
    text.gauge("privacy_mode", "1 while privacy mode is on.", one(u8::from(control.privacy())));
    text.gauge("ladder_level", "Rung of the ladder in use; 0 is the detector itself.", one(status.level));
    let exposure = "Longest time between detections whose frames may leave covered.";
    text.gauge("worst_case_exposure_seconds", exposure, one(status.exposure.as_secs_f64()));
    text.gauge(
        "latency_seconds",
        "From arrival to release of the last frame.",
        one(status.latency.as_secs_f64()),
    );
    text.gauge(
        "detection_seconds",
        "Time that the last detection took.",
        one(status.detection.as_secs_f64()),
    );
    text.gauge("frame_rate_hertz", "Frames that left in the last second.", one(status.fps));
    text.gauge("http_streams", "MJPEG streams that are open.", one(streams));

    let rings = control.rings();
    if !rings.is_empty() {
        let consumers: usize = rings.iter().map(RingCounters::consumers).sum();
        text.gauge("ring_consumers", "Programs that are connected to rings.", one(consumers));
        let held: usize = rings.iter().map(RingCounters::held).sum();
        text.gauge("ring_frames_held", "Frames that they have and have not released.", one(held));
        let lost: u64 = rings.iter().map(RingCounters::lost).sum();
        text.counter("ring_frames_lost_total", "Frames that they were too slow for.", one(lost));
    }

    if let Some(camera) = control.camera() {
        let events = [
            ("timeout", camera.timeouts()),
            ("corrupt", camera.corrupt()),
            ("missed", camera.missed()),
            ("no_buffer", camera.no_buffer()),
            ("odd_time", camera.odd_times()),
            ("lost", camera.lost()),
            ("reopened", camera.reopened()),
        ];
        text.counter("camera_events_total", "What went wrong with the camera, by kind.", by("event", events));
        let connected = u8::from(camera.is_connected());
        text.gauge("camera_connected", "1 while the camera is open.", one(connected));
    }
    text.0
}

/// A metric without labels.
fn one<V>(value: V) -> [(String, V); 1] {
    [(String::new(), value)]
}

/// A metric with one label.
fn by<V, const N: usize>(label: &str, values: [(&str, V); N]) -> [(String, V); N] {
    values.map(|(name, value)| (format!("{label}=\"{name}\""), value))
}

#[derive(Default)]
struct Metrics(String);

impl Metrics {
    fn counter<V: Display, const N: usize>(&mut self, name: &str, help: &str, values: [(String, V); N]) {
        self.family(name, "counter", help, values);
    }

    fn gauge<V: Display, const N: usize>(&mut self, name: &str, help: &str, values: [(String, V); N]) {
        self.family(name, "gauge", help, values);
    }

    fn family<V: Display, const N: usize>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: [(String, V); N],
    ) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "# HELP milkglass_{name} {help}\n# TYPE milkglass_{name} {kind}");
        for (labels, value) in values {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "milkglass_{name}{labels} {value}");
        }
    }
}
