//! What a pipeline tells of itself.

use std::time::Duration;

use crate::stats::Stats;

/// What the picture shows now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No detection has succeeded yet; everything is covered.
    #[default]
    Starting,
    /// Frames leave covered.
    Covered,
    /// Frames leave obscured whole, because detection does not keep up or fails.
    Degraded,
    /// Privacy mode: everything is covered because the owner said so.
    Privacy,
    /// Everything is obscured, because the detector did not find a known person, or somebody where nobody was.
    SelfTestFailed,
    /// The source delivers nothing.
    NoCamera,
    /// It has ended.
    Stopped,
}

impl State {
    /// One word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Covered => "covered",
            State::Degraded => "degraded",
            State::Privacy => "privacy",
            State::SelfTestFailed => "self_test_failed",
            State::NoCamera => "no_camera",
            State::Stopped => "stopped",
        }
    }
}

/// Figures of a running pipeline: frames, times and states, nothing of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// What the picture shows.
    pub state: State,
    /// Counters of the engine.
    pub stats: Stats,
    /// Pictures that the source skipped.
    pub skipped: u64,
    /// Frames that targets were too slow for.
    pub target_drops: u64,
    /// Targets that have ended with an error.
    pub targets_lost: u64,
    /// Rung of the ladder in use, 0 for the detector itself.
    pub level: usize,
    /// The worst-case exposure: the longest gap between detections whose frames may leave covered.
    pub exposure: Duration,
    /// The longest that a frame waits before it leaves, obscured if need be; zero for zones alone, which wait for nothing.
    pub deadline: Duration,
    /// How long the detector took last.
    pub detection: Duration,
    /// Time from arrival to release of the last frame.
    pub latency: Duration,
    /// Frames that left in the last second.
    pub fps: f64,
    /// How long the detector has had the frame it has now; zero when it has none. One that hangs in foreign code never
    /// comes back: a watchdog has to restart the program.
    pub detecting: Duration,
    /// Self-tests of the detector that it passed.
    pub self_tests_passed: u64,
    /// Self-tests that it failed; everything is obscured after one, until it passes the next.
    pub self_tests_failed: u64,
    /// A detector in use is untested: no known person could be shown to it ([`Detector::proof`](crate::Detector::proof)).
    pub untested: bool,
    /// Grows at least once a second while the redact thread lives.
    pub heartbeat: u64,
}
