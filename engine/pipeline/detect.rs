//! The detect thread: detectors of a ladder, one frame at a time, and the self-test between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Event, NO_CAMERA, lock};
use crate::detect::{Detection, Detector, InStream, look};
use crate::error::{Error, Result};
use crate::frame::{DetectJob, FrameMeta, FramePool};
use crate::picture::FrameFormat;
use crate::policy::Policy;
use crate::selftest::{Fault, SelfTest};
use crate::time::Timestamp;

/// Runs of a detector at the start, to learn how long it takes.
const MEASURED_RUNS: u32 = 3;
/// Time without trouble before a stronger rung of the ladder is tried again.
const CLIMB_AFTER: Duration = Duration::from_secs(5);

/// How long a detector takes on a blank picture, at most, of a few runs after the first.
pub(super) fn measure(detector: &mut dyn Detector, format: &FrameFormat) -> Result<Duration> {
    let pool = FramePool::new(*format, 1);
    let mut longest = Duration::ZERO;
    for run in 0..=MEASURED_RUNS {
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        let blank = pool.fill(meta, |_| Ok(()))?;
        let blank = blank.ok_or(Error::PoolTooSmall { count: pool.count(), needed: 1 })?;
        let mut job = blank.lend(Arc::default());
        let start = Instant::now();
        look(detector, &mut job)?;
        // The first run allocates.
        longest = if run == 0 { longest } else { longest.max(start.elapsed()) };
    }
    Ok(longest)
}

/// The self-test of every detector before the first frame: the verdict on the first one. A lower rung that fails is taken off
/// the ladder, with all below it.
pub(super) fn first_test(
    test: &mut SelfTest,
    detectors: &mut Vec<Box<dyn Detector>>,
) -> Option<Result<(), Fault>> {
    if !test.is_on() {
        return None;
    }
    let lower = detectors.iter_mut().enumerate().skip(1);
    let failed: Option<(usize, Fault)> =
        lower.filter_map(|(rung, d)| Some((rung, test.run(d.as_mut()).err()?))).next();
    if let Some((rung, fault)) = failed {
        log::warn!("self-test: {fault}: rung {rung} of the ladder is not used");
        detectors.truncate(rung);
    }
    // Last, so that its next test is a whole period away.
    detectors.first_mut().map(|d| test.run(d.as_mut()))
}

/// The detector in use, and weaker ones below it.
pub(super) struct Ladder {
    pub detectors: Vec<Box<dyn Detector>>,
    pub measured: Vec<Duration>,
    pub level: usize,
    /// Nanoseconds; the redact thread changes it with the policy.
    pub budget: Arc<AtomicU64>,
    pub trouble: Instant,
    pub strikes: u32,
}

impl Ladder {
    fn each(&mut self, tell: impl Fn(&mut dyn InStream)) {
        self.detectors.iter_mut().filter_map(|detector| detector.in_stream()).for_each(tell);
    }

    /// Three detections in a row over the budget: one rung down. Five seconds of slack: one rung up.
    fn weigh(&mut self, took: Duration) {
        let budget = Duration::from_nanos(self.budget.load(Ordering::Relaxed));
        if took > budget {
            self.trouble = Instant::now();
            self.strikes += 1;
            if self.strikes >= 3 && self.level + 1 < self.detectors.len() {
                self.level += 1;
                self.strikes = 0;
                log::warn!(
                    "detection is too slow for the deadline: rung {} of the ladder is used",
                    self.level
                );
            }
            return;
        }
        self.strikes = 0;
        if self.level > 0 && self.trouble.elapsed() >= CLIMB_AFTER {
            // As much slower now as this rung is than it was at the start.
            let load = took.as_secs_f64() / self.measured[self.level].as_secs_f64().max(1e-6);
            let expected = self.measured[self.level - 1].as_secs_f64() * load.max(1.0);
            self.trouble = Instant::now();
            if expected < 0.8 * budget.as_secs_f64() {
                self.level -= 1;
                log::info!("detection has slack again: rung {} of the ladder is used", self.level);
            }
        }
    }
}

pub(super) fn run_detect(
    mut ladder: Ladder,
    mut test: SelfTest,
    changed: &Mutex<Option<Policy>>,
    jobs: &Receiver<(DetectJob, Vec<Detection>)>,
    events: &SyncSender<Event>,
) {
    ladder.each(|detector| detector.start());
    let (mut tested, mut seen) = (ladder.level, false);
    loop {
        if let Some(policy) = lock(changed).take() {
            test.follow(&policy);
        }
        // Another policy may switch the self-test on meanwhile.
        let wait = test.wait().unwrap_or(NO_CAMERA).min(NO_CAMERA);
        let job = match jobs.recv_timeout(wait) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // Nothing to look at, as in privacy mode: what the last pictures left behind is not needed any more.
        if job.is_none() && seen {
            ladder.each(|detector| detector.forget());
        }
        seen = job.is_some();
        if job.is_some_and(|job| !run_job(&mut ladder, job, events)) {
            break;
        }
        if tested != ladder.level {
            tested = ladder.level;
            test.begin();
        }
        if let Some(detector) = ladder.detectors.get_mut(ladder.level)
            && test.wait().is_some_and(|wait| wait.is_zero())
        {
            let _ = events.send(Event::Testing(Instant::now()));
            let verdict = test.step(detector.as_mut());
            if events.send(Event::Tested(verdict)).is_err() {
                break;
            }
        }
    }
    ladder.each(|detector| detector.forget());
}

/// One detection; false when nobody wants its result any more.
fn run_job(
    ladder: &mut Ladder,
    (mut job, list): (DetectJob, Vec<Detection>),
    events: &SyncSender<Event>,
) -> bool {
    let start = Instant::now();
    let found = match ladder.detectors.get_mut(ladder.level) {
        Some(detector) => {
            if let Some(detector) = detector.in_stream() {
                detector.reuse(list);
            }
            look(detector.as_mut(), &mut job)
        }
        None => Err(Error::other("there is no detector")),
    };
    let took = start.elapsed();
    let level = ladder.level;
    ladder.weigh(took);
    events.send(Event::Observed(job, found, took, level)).is_ok()
}
