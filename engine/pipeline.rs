//! Threads around [`Engine`](crate::Engine): capture, detect, redact, and one thread for each target.
//!
//! ```text
//! [capture] --raw frames--> [redact: Engine] --shares of each--> outbox --> [target]   (one per target; an outlet has
//!                             |   ^                                                     the caller's thread in its place)
//!                      newest |   | boxes
//!                             v   |
//!                           [detect]
//! ```
//! Every thread owns its port, so user code needs no locks. The redact thread never calls a target. Nothing grows: the pool
//! bounds raw frames, an outbox holds two redacted ones more than one detection releases, and a detector has one loan at
//! a time. A panic in any thread
//! closes the outboxes; nothing more leaves, and [`Pipeline::join`] tells why.

mod budget;
mod detect;
mod outlet;
mod redact;
mod shelf;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::budget::{LEAST_BUFFERS, budget, burst, check_parts, needed, with_budget};
use self::detect::{Ladder, first_test, measure, run_detect};
use self::redact::{Redact, SourceClock};
use crate::detect::{Class, Detection, Detector, Proof};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::frame::{DetectJob, FrameFormat, FramePool, RawFrame};
use crate::policy::{Policy, PolicyError};
use crate::selftest::{Fault, SelfTest, admit};
use crate::sink::FrameSink;
use crate::source::{Captured, FrameSource};
use crate::stats::Stats;
use crate::time::Timestamp;

pub use self::outlet::{Outlet, Taken};

type Outbox = milkglass_queues::Outbox<shelf::Share>;

/// Events between the threads; the redact thread never waits for another one, so a full queue empties by itself.
const EVENTS: usize = 32;
/// Time without a frame after which the camera counts as gone.
const NO_CAMERA: Duration = Duration::from_secs(2);
/// How long targets may take to finish at the end, and then each other thread to notice it.
const CLOSING: Duration = Duration::from_millis(850);
const PARTING: Duration = Duration::from_millis(50);

/// Everything a pipeline is made of.
pub struct Setup {
    /// What to hide. Without a deadline, one is chosen from the measured detector.
    pub policy: Policy,
    /// The frames that the source will deliver.
    pub format: FrameFormat,
    /// Buffers for frames; `None` for as many as the deadline, the rate and the targets need, at most 64.
    pub buffers: Option<usize>,
    /// Whether to start in privacy mode.
    pub privacy: bool,
    /// Where frames come from.
    pub source: Box<dyn FrameSource>,
    /// The detector, then weaker and faster ones for when it is too slow (the ladder). Empty: zones alone.
    pub detectors: Vec<Box<dyn Detector>>,
    /// Where frames go, by name.
    pub sinks: Vec<(String, Box<dyn FrameSink>)>,
    /// Frames per second that the source will deliver.
    pub fps: f64,
}

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
    /// A detector in use is untested: no known person could be shown to it ([`Detector::proof`]).
    pub untested: bool,
    /// Grows at least once a second while the redact thread lives.
    pub heartbeat: u64,
}

enum Event {
    Frame(RawFrame, Timestamp),
    Skipped,
    SourceEnded(Result<()>),
    Observed(DetectJob, Result<Vec<Detection>>, Duration, usize),
    /// The detector is being shown a picture of the self-test.
    Testing(Instant),
    /// It has answered; the verdict, if that was the last picture.
    Tested(Option<Result<(), Fault>>),
    Policy(Box<Policy>, SyncSender<Result<(), PolicyError>>),
    Privacy(bool, SyncSender<()>),
    TargetLost(String, Error),
    Panicked(&'static str),
    Stop,
}

/// A running pipeline. Dropped, it stops and waits for its threads.
pub struct Pipeline {
    events: SyncSender<Event>,
    status: Arc<Mutex<Status>>,
    /// The targets' threads, then the others.
    threads: Vec<JoinHandle<()>>,
    targets: usize,
    redact: Option<JoinHandle<Result<Stats>>>,
    outlet: Option<Outlet>,
}

impl Pipeline {
    /// Measures the detectors, checks that the policy can hold, and starts.
    ///
    /// # Errors
    /// [`PolicyError`] when a class has no detector, or the deadline or `max_gap` cannot hold with this detector;
    /// [`Error::Detector`] when it fails on a blank picture; [`Error::Model`] when it promised to find known persons
    /// ([`Detector::proof`]) and does not; [`Error::PoolTooSmall`].
    pub fn spawn(setup: Setup) -> Result<Pipeline> {
        Self::spawn_in(setup, |format, count| Ok(FramePool::new(format, count)), false)
    }

    /// The same, with frames in memory that is never written to swap ([`FramePool::locked`]).
    ///
    /// # Errors
    /// As [`Pipeline::spawn`]; [`Error::Io`] when the system does not let this program lock as much memory.
    pub fn spawn_locked(setup: Setup) -> Result<Pipeline> {
        Self::spawn_in(setup, FramePool::locked, false)
    }

    /// The same as [`Pipeline::spawn`], or [`Pipeline::spawn_locked`] if `locked`, with an end besides the setup's sinks that
    /// a program takes frames from.
    ///
    /// # Errors
    /// As these.
    pub fn spawn_with_outlet(setup: Setup, locked: bool) -> Result<(Pipeline, Outlet)> {
        let pipeline = match locked {
            true => Self::spawn_in(setup, FramePool::locked, true),
            false => Self::spawn_in(setup, |format, count| Ok(FramePool::new(format, count)), true),
        }?;
        let outlet = pipeline.outlet.clone().ok_or_else(ended)?;
        Ok((pipeline, outlet))
    }

    fn spawn_in(
        setup: Setup,
        pool: impl FnOnce(FrameFormat, usize) -> Result<FramePool>,
        with_outlet: bool,
    ) -> Result<Pipeline> {
        let Setup { policy, format, buffers, privacy, source, mut detectors, sinks, fps } = setup;
        let clock = Clock::start();
        let mut ladder = Vec::with_capacity(detectors.len());
        for detector in &mut detectors {
            if let Some(class) = policy.classes().find(|c| !detector.classes().contains(c)) {
                return Err(PolicyError::NoDetector(class).into());
            }
            ladder.push(measure(detector.as_mut(), &format)?);
        }
        let untested = admit(&mut detectors, &policy, &format)?;
        let in_parts = detectors.iter().any(|d| d.looks_in_parts());
        check_parts(&policy, in_parts)?;
        let policy = with_budget(policy, ladder.first().copied().unwrap_or_default(), fps)?;
        let mut test = SelfTest::new(&policy, format, None);
        if detectors.iter().any(|d| d.proof() == Proof::Impossible) {
            test.give_up();
        }
        let verdict = first_test(&mut test, &mut detectors);
        ladder.truncate(detectors.len());
        // A later policy may name only what every rung finds, or a class would go unlooked for on a lower one.
        let first = detectors.first().map(|d| d.classes().to_vec()).unwrap_or_default();
        let offers: Vec<Class> =
            first.into_iter().filter(|c| detectors.iter().all(|d| d.classes().contains(c))).collect();
        let (exposure, deadline) = (policy.max_gap(), policy.deadline().unwrap_or_default());
        let status = Arc::new(Mutex::new(Status { exposure, deadline, untested, ..Status::default() }));
        log::info!(
            "worst-case exposure {} ms, deadline {} ms, detection {} ms",
            exposure.as_millis(),
            deadline.as_millis(),
            ladder.first().copied().unwrap_or_default().as_millis()
        );
        let detection = ladder.first().copied().unwrap_or_default();
        let budget = Arc::new(AtomicU64::new(budget(&policy, fps)));
        let burst = burst(detection, fps);
        let ends = sinks.len() + usize::from(with_outlet);
        let buffers = match buffers {
            Some(buffers) => buffers,
            None => FramePool::affordable(&format, LEAST_BUFFERS, needed(&policy, fps, burst, ends))?,
        };
        let pool = pool(format, buffers)?;
        let buffers = pool.count();
        let mut engine = Engine::new(policy, pool.clone(), &offers)?;
        engine.set_privacy(privacy);

        let (events, received) = sync_channel(EVENTS);
        let mut threads = Vec::new();
        let mut outboxes = Vec::new();
        for (name, sink) in sinks {
            let outbox = Arc::new(Outbox::new(2 + burst));
            outboxes.push(Arc::clone(&outbox));
            threads.push(spawn("target", &events, move |events| run_target(name, sink, &outbox, events))?);
        }
        let targets = threads.len();
        let outlet = with_outlet.then(|| Outlet::new(Arc::new(Outbox::new(2 + burst))));
        outboxes.extend(outlet.as_ref().map(Outlet::outbox));
        let (jobs, job_queue) = sync_channel(1);
        let changed = Arc::default();
        if !detectors.is_empty() {
            let rungs = Ladder {
                detectors,
                measured: ladder,
                level: 0,
                budget: Arc::clone(&budget),
                trouble: Instant::now(),
                strikes: 0,
            };
            let changed = Arc::clone(&changed);
            let detect = move |events: &_| run_detect(rungs, test, &changed, &job_queue, events);
            threads.push(spawn("detect", &events, detect)?);
        }
        threads.push(spawn("capture", &events, move |events| run_capture(source, &pool, clock, events))?);
        let mut redact = Redact {
            engine,
            privacy,
            distrust: false,
            testing: None,
            changed,
            clock,
            shelf: shelf::Shelf::new(buffers + outboxes.len()),
            outboxes,
            jobs,
            list: Vec::new(),
            status: Arc::clone(&status),
            arrivals: VecDeque::with_capacity(buffers + 1),
            buffers,
            last_frame: Instant::now(),
            last_release: Instant::now(),
            last_meta: None,
            clock_of_source: SourceClock::default(),
            lent: None,
            detection,
            fps,
            budget,
            in_parts,
        };
        redact.judge(verdict);
        let redact = std::thread::Builder::new()
            .name("redact".into())
            .spawn(move || redact.run(&received))
            .map_err(|e| Error::io("starting a thread", e))?;
        Ok(Pipeline { events, status, threads, targets, redact: Some(redact), outlet })
    }

    /// Exchanges the policy ([`Engine::set_policy`]); returns when it is in force. Frames that wait in the engine are
    /// hidden by both; the few that have left it, in a target's hands or outbox, were hidden by the old one.
    ///
    /// # Errors
    /// [`PolicyError`]: the old one stays. [`Error::Sink`] when the pipeline has ended.
    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        self.tell(Event::Policy(Box::new(policy), reply))?;
        Ok(answer.recv().map_err(|_| ended())??)
    }

    /// Privacy mode: on, everything is covered at once, and what waits in the outboxes is discarded. Returns when it holds.
    /// A target that has just taken a frame from its outbox may still show it; it is told to forget it
    /// ([`FrameSink::forget`]) before it gets another one. Whoever looks at a frame of an [`Outlet`] is waited for.
    ///
    /// # Errors
    /// [`Error::Sink`] when the pipeline has ended (nothing leaves it then).
    pub fn set_privacy(&self, on: bool) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        let told = self.tell(Event::Privacy(on, reply)).and_then(|()| answer.recv().map_err(|_| ended()));
        match &self.outlet {
            Some(outlet) if told.is_ok() => outlet.settle(),
            // What it left still waits to be taken, and cannot be obscured any more.
            Some(outlet) if on => outlet.shut(),
            _ => {}
        }
        told
    }

    /// Figures of this moment.
    pub fn status(&self) -> Status {
        *lock(&self.status)
    }

    /// Asks it to stop: what is covered by now still leaves, then the targets end.
    pub fn stop(&self) {
        // Fails only when it has stopped already.
        let _ = self.events.send(Event::Stop);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The source's error, or which thread panicked.
    pub fn join(mut self) -> Result<Stats> {
        self.wait()
    }

    fn tell(&self, event: Event) -> Result<()> {
        self.events.send(event).map_err(|_| ended())
    }

    fn wait(&mut self) -> Result<Stats> {
        let Some(redact) = self.redact.take() else { return Ok(Stats::default()) };
        let result = redact.join().unwrap_or_else(|_| Err(panicked("redact")));
        // Whatever hangs cannot be joined. Targets come first, and may have something to finish; a detector or source
        // holds nothing that could leave.
        let closing = Instant::now() + CLOSING;
        for (n, thread) in self.threads.drain(..).enumerate() {
            let patience = if n < self.targets { closing } else { Instant::now() + PARTING };
            while !thread.is_finished() && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
        result
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
        let _ = self.wait();
    }
}

fn ended() -> Error {
    Error::Sink("the pipeline has ended".into())
}

fn panicked(thread: &str) -> Error {
    Error::Sink(format!("the {thread} thread panicked; nothing more left the pipeline"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine's time: nanoseconds since the pipeline was started.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now())
    }
    fn now(self) -> Timestamp {
        Timestamp::ZERO + self.0.elapsed()
    }
}

/// A thread whose panic is told to the redact thread.
fn spawn(
    name: &'static str,
    events: &SyncSender<Event>,
    run: impl FnOnce(&SyncSender<Event>) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let events = events.clone();
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(|| run(&events))).is_err() {
            let _ = events.send(Event::Panicked(name));
        }
    };
    // The name is what `top -H` and a debugger show.
    std::thread::Builder::new()
        .name(name.into())
        .spawn(guarded)
        .map_err(|e| Error::io("starting a thread", e))
}

fn run_capture(mut source: Box<dyn FrameSource>, pool: &FramePool, clock: Clock, events: &SyncSender<Event>) {
    loop {
        let event = match source.capture(pool) {
            Ok(Captured::Frame(frame)) => Event::Frame(frame, clock.now()),
            Ok(Captured::Skipped) => Event::Skipped,
            Ok(Captured::End) => Event::SourceEnded(Ok(())),
            Err(e) => Event::SourceEnded(Err(e)),
        };
        let last = matches!(event, Event::SourceEnded(_));
        if events.send(event).is_err() || last {
            return;
        }
    }
}

fn run_target(name: String, mut sink: Box<dyn FrameSink>, outbox: &Outbox, events: &SyncSender<Event>) {
    while let Some(taken) = outbox.take() {
        if taken.forget {
            sink.forget();
        }
        if let Some(frame) = taken.frame
            && let Some(Err(e)) = frame.show(|frame| sink.send(frame))
        {
            outbox.close();
            let _ = events.send(Event::TargetLost(name, e));
            return;
        }
    }
}
