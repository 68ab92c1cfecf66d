//! The redact thread: everything that happens comes to it as an event, and frames leave by it alone.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::budget::{budget, check_parts, wants_test, with_budget};
use super::{Clock, Event, Failure, NO_CAMERA, Outbox, State, Status, lock, shared};
use crate::detect::Detection;
use crate::engine::Engine;
use crate::error::Error;
use crate::frame::{DetectJob, FrameMeta, RawFrame, RedactedFrame};
use crate::policy::{Policy, PolicyError};
use crate::redact::Outcome;
use crate::selftest::Fault;
use crate::time::Timestamp;

/// In privacy mode, the longest time without a frame, if the camera gives none.
const ALIVE: Duration = Duration::from_millis(500);

/// The times that a source gives. One that is not later than the last is refused with its frame; when several in a row are,
/// the source's clock was set back, and its times are moved on from there.
#[derive(Default)]
pub(super) struct SourceClock {
    last: Timestamp,
    taken: Option<Instant>,
    /// Added to every time.
    moved: Duration,
    refused: u32,
    warned: Option<Instant>,
}

impl SourceClock {
    /// Frames that are refused before the clock counts as set back.
    const PATIENCE: u32 = 3;
    /// Least time between two warnings.
    const QUIET: Duration = Duration::from_secs(10);

    fn mend(&mut self, frame: &mut RawFrame) {
        let captured = frame.meta().captured;
        if self.refused >= Self::PATIENCE {
            // As much later as it really is: how far somebody may have moved depends on it.
            let since = self.taken.map_or(Duration::ZERO, |at| at.elapsed()).max(Duration::from_millis(1));
            self.moved = (self.last + since).since(captured);
        }
        frame.set_captured(captured + self.moved);
    }

    fn taken(&mut self, captured: Timestamp) {
        (self.last, self.taken, self.refused) = (captured, Some(Instant::now()), 0);
    }

    fn refused(&mut self, captured: Timestamp, why: &Error) {
        self.refused += 1;
        if captured > self.last {
            // Refused for something else.
            self.refused = 0;
        }
        if self.warned.is_none_or(|at| at.elapsed() > Self::QUIET) {
            self.warned = Some(Instant::now());
            log::warn!("{why}");
        }
    }
}

/// The redact thread: the one place where frames turn from raw to redacted.
pub(super) struct Redact {
    pub engine: Engine,
    /// Whether the owner wants everything obscured.
    pub privacy: bool,
    /// Whether the detector failed its self-test: everything is obscured too.
    pub distrust: bool,
    /// Since when it has had a picture of the self-test.
    pub testing: Option<Instant>,
    /// A policy that the self-test is to follow.
    pub changed: Arc<Mutex<Option<Policy>>>,
    pub clock: Clock,
    pub outboxes: Vec<Arc<Outbox>>,
    pub shared: shared::SharedFrames,
    pub jobs: SyncSender<(DetectJob, Vec<Detection>)>,
    /// The memory of the last detection's list, on its way back to the detector.
    pub list: Vec<Detection>,
    pub status: Arc<Mutex<Status>>,
    pub failure: Arc<OnceLock<Failure>>,
    /// When the frames in the line arrived, and when those of the last second left.
    pub arrivals: VecDeque<(u64, Timestamp)>,
    /// At most so many: as there are buffers.
    pub buffers: usize,
    pub last_frame: Instant,
    pub last_release: Instant,
    pub last_meta: Option<FrameMeta>,
    pub clock_of_source: SourceClock,
    /// Since when a detector has had its loan.
    pub lent: Option<Instant>,
    /// What the detector took at the start, and the source's rate: a new policy must hold with both.
    pub detection: Duration,
    pub fps: f64,
    pub budget: Arc<AtomicU64>,
    /// A detector looks at a part of each picture.
    pub in_parts: bool,
}

/// What comes after an event.
enum Next {
    More,
    /// What may leave leaves, and that is the end.
    Last,
    /// Something is wrong: nothing more leaves.
    Halt,
}

impl Redact {
    pub fn run(mut self, events: &Receiver<Event>) {
        // Whatever happens in here, a panic too: the outboxes end.
        if catch_unwind(AssertUnwindSafe(|| self.serve(events))).is_err() {
            let _ = self.failure.set(Failure::Panicked("redact".into()));
        }
        {
            let mut status = lock(&self.status);
            status.stats = self.engine.stats();
            status.target_drops = self.outboxes.iter().map(|o| o.dropped()).sum();
            status.state = State::Stopped;
        }
        self.outboxes.iter().for_each(|o| o.close());
    }

    fn serve(&mut self, events: &Receiver<Event>) {
        let mut left: VecDeque<Instant> =
            VecDeque::with_capacity((2.0 * self.fps).clamp(16.0, 1024.0) as usize);
        loop {
            let wait = match self.engine.next_deadline() {
                Some(deadline) => deadline.since(self.clock.now()),
                None => Duration::from_secs(1),
            };
            // A deadline that is over is dealt with by release below.
            let next = match events.recv_timeout(wait.max(Duration::from_millis(1))) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => Next::More,
                Err(RecvTimeoutError::Disconnected) => Next::Last,
            };
            if matches!(next, Next::Halt) {
                return;
            }
            if let Some(job) = self.engine.next_job() {
                self.lent = Some(Instant::now());
                // The loan is the mailbox: only one is ever out, so there is room. A lost job covers nothing.
                let _ = self.jobs.try_send((job, std::mem::take(&mut self.list)));
            }
            self.hand_over(&mut left);
            if matches!(next, Next::Last) {
                return;
            }
        }
    }

    fn take(&mut self, event: Event) -> Next {
        match event {
            Event::Frame(mut frame, arrived) => {
                self.clock_of_source.mend(&mut frame);
                let meta = frame.meta();
                if let Err(e) = self.engine.push(frame, arrived) {
                    // The source's clock jumped: the frame is gone, the stream goes on.
                    lock(&self.status).skipped += 1;
                    self.clock_of_source.refused(meta.captured, &e);
                    return Next::More;
                }
                self.clock_of_source.taken(meta.captured);
                self.last_frame = Instant::now();
                self.arrivals.push_back((meta.sequence, arrived));
                // Frames that are dropped at their deadline never ask for theirs.
                if self.arrivals.len() > self.buffers {
                    self.arrivals.pop_front();
                }
            }
            Event::Skipped => lock(&self.status).skipped += 1,
            Event::Observed(job, found, took, level) => {
                if let Err(e) = &found {
                    log::debug!("{e}");
                }
                self.list = self.engine.observe(job, found);
                self.lent = None;
                let mut status = lock(&self.status);
                (status.detection, status.level) = (took, level);
            }
            Event::Policy(policy, reply) => {
                let _ = reply.send(self.exchange(*policy));
            }
            Event::Testing(since) => self.testing = Some(since),
            Event::Tested(verdict) => {
                self.testing = None;
                self.judge(verdict);
            }
            Event::Privacy(on, reply) => {
                self.privacy = on;
                self.engine.set_privacy(on || self.distrust);
                if on {
                    self.outboxes.iter().for_each(|o| o.clear());
                    lock(&self.status).state = State::Privacy;
                }
                let _ = reply.send(());
            }
            Event::Panicked => return Next::Halt,
            Event::SourceEnded(Err(e)) => {
                let _ = self.failure.set(Failure::Failed("capture".into(), Arc::new(e)));
                return Next::Halt;
            }
            Event::SourceEnded(Ok(())) => {
                self.outboxes.iter().for_each(|o| o.keep_all());
                self.engine.finish();
                return Next::Last;
            }
            Event::Stop => {
                self.engine.finish();
                return Next::Last;
            }
        }
        Next::More
    }

    fn exchange(&mut self, policy: Policy) -> Result<(), PolicyError> {
        check_parts(&policy, self.in_parts)?;
        let policy = with_budget(policy, self.detection, self.fps)?;
        let (exposure, deadline) = (policy.max_gap(), policy.deadline().unwrap_or_default());
        let budget = budget(&policy, self.fps);
        self.engine.set_policy(policy.clone())?;
        if !wants_test(&policy) {
            self.distrust = false;
            self.engine.set_privacy(self.privacy);
        }
        *lock(&self.changed) = Some(policy);
        self.budget.store(budget, Ordering::Relaxed);
        let mut status = lock(&self.status);
        (status.exposure, status.deadline) = (exposure, deadline);
        Ok(())
    }

    /// Takes in the verdict of a self-test.
    pub fn judge(&mut self, verdict: Option<Result<(), Fault>>) {
        // One of before another policy came says nothing.
        let Some(verdict) = verdict.filter(|_| wants_test(self.engine.policy())) else { return };
        let before = std::mem::replace(&mut self.distrust, verdict.is_err());
        self.engine.set_privacy(self.privacy || self.distrust);
        match verdict {
            Ok(()) => {
                lock(&self.status).self_tests_passed += 1;
                if before {
                    log::info!("self-test: passed; what the policy names is covered again");
                }
            }
            Err(fault) => {
                lock(&self.status).self_tests_failed += 1;
                if !before {
                    log::warn!("self-test failed: {fault}; everything is obscured until it passes");
                    // What this detector let out may show somebody.
                    self.outboxes.iter().for_each(|o| o.clear());
                }
            }
        }
    }

    fn put(&mut self, frame: RedactedFrame) {
        let frame = self.shared.share(frame);
        self.outboxes.iter().for_each(|outbox| outbox.put(&frame));
    }

    /// Releases what may leave, to every target.
    fn hand_over(&mut self, left: &mut VecDeque<Instant>) {
        let now = self.clock.now();
        while let Some(frame) = self.engine.release(now) {
            let sequence = frame.meta().sequence;
            while self.arrivals.front().is_some_and(|a| a.0 < sequence) {
                self.arrivals.pop_front();
            }
            let arrived = self.arrivals.pop_front().map_or(now, |a| a.1);
            left.push_back(Instant::now());
            self.last_release = Instant::now();
            let state = match frame.outcome() {
                _ if self.privacy => State::Privacy,
                _ if self.distrust => State::SelfTestFailed,
                Outcome::Covered => State::Covered,
                Outcome::Obscured if self.engine.stats().observations == 0 => State::Starting,
                Outcome::Obscured => State::Degraded,
            };
            {
                let mut status = lock(&self.status);
                status.latency = self.clock.now().since(arrived);
                status.state = state;
            }
            self.last_meta = Some(frame.meta());
            self.put(frame);
        }
        // Privacy mode (and a failed self-test) keeps the stream alive without a camera too: what targets showed last is replaced.
        let idle = self.last_release.elapsed();
        if let Some(meta) = self.last_meta
            && idle > ALIVE
            && let Some(frame) = self.engine.blank(FrameMeta { captured: meta.captured + idle, ..meta })
        {
            self.last_meta = Some(frame.meta());
            self.last_release = Instant::now();
            self.put(frame);
        }
        while left.front().is_some_and(|t| t.elapsed() > Duration::from_secs(1)) {
            left.pop_front();
        }
        let mut status = lock(&self.status);
        let deadline = self.engine.policy().deadline().unwrap_or_default();
        if self.privacy {
            status.state = State::Privacy;
        } else if self.last_frame.elapsed() > NO_CAMERA {
            status.state = State::NoCamera;
        } else if self.distrust {
            status.state = State::SelfTestFailed;
        } else if status.state == State::Covered && self.last_release.elapsed() > NO_CAMERA.max(deadline) {
            // Frames come and none leaves: they are dropped at their deadline.
            status.state = State::Degraded;
        }
        status.stats = self.engine.stats();
        status.heartbeat += 1;
        status.detecting = self.lent.or(self.testing).map_or(Duration::ZERO, |t| t.elapsed());
        status.fps = left.len() as f64;
        status.target_drops = self.outboxes.iter().map(|o| o.dropped()).sum();
    }
}
