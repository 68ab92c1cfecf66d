//! Threads around [`Engine`](crate::Engine): capture, detect, redact, and one thread for each target.
//!
//! ```text
//! [capture] --raw frames--> [redact: Engine] --shares of each--> outbox --> [target]   (one per target)
//!                             |   ^
//!                      newest |   | boxes
//!                             v   |
//!                           [detect]
//! ```
//! Every thread owns its port, so user code needs no locks. The redact thread never calls a target. Nothing grows: the pool
//! bounds raw frames, an outbox holds two redacted ones more than one detection releases, and a detector has one loan at
//! a time. A panic in any thread
//! closes the outboxes; nothing more leaves, and [`Pipeline::join`] tells why.

mod outbox;
mod shelf;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::detect::{Class, Detection, Detector};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::frame::{DetectJob, FrameFormat, FrameMeta, FramePool, Outcome, RawFrame, RedactedFrame};
use crate::policy::{Policy, PolicyError};
use crate::selftest::{Fault, SelfTest};
use crate::sink::FrameSink;
use crate::source::{Captured, FrameSource};
use crate::stats::Stats;
use crate::time::Timestamp;

type Outbox = outbox::Outbox<shelf::Share>;

/// What [`outbox`] is made of; tests/threads.rs puts a model in its place.
mod sync {
    pub use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
}

/// Runs of a detector at the start, to learn how long it takes.
const MEASURED_RUNS: u32 = 3;
/// Events between the threads; the redact thread never waits for another one, so a full queue empties by itself.
const EVENTS: usize = 32;
/// The most buffers that are taken without being asked for; a longer line skips pictures.
const MOST_BUFFERS: usize = 64;
/// The most frames of one detection that an outbox has room for.
const MOST_BURST: usize = 16;
/// Time without a frame after which the camera counts as gone.
const NO_CAMERA: Duration = Duration::from_secs(2);
/// In privacy mode, the longest time without a frame, if the camera gives none.
const ALIVE: Duration = Duration::from_millis(500);
/// How long targets may take to finish at the end, and then each other thread to notice it.
const CLOSING: Duration = Duration::from_millis(850);
const PARTING: Duration = Duration::from_millis(50);
/// Time without trouble before a stronger rung of the ladder is tried again.
const CLIMB_AFTER: Duration = Duration::from_secs(5);

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
}

impl Pipeline {
    /// Measures the detectors, checks that the policy can hold, and starts.
    ///
    /// # Errors
    /// [`PolicyError`] when a class has no detector, or the deadline or `max_gap` cannot hold with this detector;
    /// [`Error::Detector`] when it fails on a blank picture; [`Error::PoolTooSmall`].
    pub fn spawn(setup: Setup) -> Result<Pipeline> {
        let Setup { policy, format, buffers, privacy, source, mut detectors, sinks, fps } = setup;
        let clock = Clock::start();
        let mut ladder = Vec::with_capacity(detectors.len());
        for detector in &mut detectors {
            if let Some(class) = policy.classes().find(|c| !detector.classes().contains(c)) {
                return Err(PolicyError::NoDetector(class).into());
            }
            ladder.push(measure(detector.as_mut(), &format)?);
        }
        let in_parts = detectors.iter().any(|d| d.looks_in_parts());
        check_parts(&policy, in_parts)?;
        let policy = with_budget(policy, ladder.first().copied().unwrap_or_default(), fps)?;
        let mut test = SelfTest::new(&policy, format, None);
        let verdict = first_test(&mut test, &mut detectors);
        ladder.truncate(detectors.len());
        // A later policy may name only what every rung finds, or a class would go unlooked for on a lower one.
        let first = detectors.first().map(|d| d.classes().to_vec()).unwrap_or_default();
        let offers: Vec<Class> =
            first.into_iter().filter(|c| detectors.iter().all(|d| d.classes().contains(c))).collect();
        let status = Arc::new(Mutex::new(Status { exposure: policy.max_gap(), ..Status::default() }));
        log::info!(
            "worst-case exposure {} ms, deadline {} ms, detection {} ms",
            policy.max_gap().as_millis(),
            policy.deadline().unwrap_or_default().as_millis(),
            ladder.first().copied().unwrap_or_default().as_millis()
        );
        let detection = ladder.first().copied().unwrap_or_default();
        let budget = Arc::new(AtomicU64::new(budget(&policy, fps)));
        let burst = burst(detection, fps);
        let pool =
            FramePool::new(format, buffers.unwrap_or_else(|| needed(&policy, fps, burst, sinks.len())));
        let buffers = pool.count();
        let mut engine = Engine::new(policy, pool.clone(), &offers)?;
        engine.set_privacy(privacy);

        let (events, received) = sync_channel(EVENTS);
        let mut threads = Vec::new();
        let mut outboxes = Vec::new();
        for (name, sink) in sinks {
            let outbox = Arc::new(Outbox::new(2 + burst));
            outboxes.push(Arc::clone(&outbox));
            threads.push(spawn("target", &events, move |events| run_target(name, sink, &outbox, events)));
        }
        let targets = threads.len();
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
            threads.push(spawn("detect", &events, detect));
        }
        threads.push(spawn("capture", &events, move |events| run_capture(source, &pool, clock, events)));
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
        Ok(Pipeline { events, status, threads, targets, redact: Some(redact) })
    }

    /// Exchanges the policy ([`Engine::set_policy`]); returns when it is in force.
    ///
    /// # Errors
    /// [`PolicyError`]: the old one stays. [`Error::Sink`] when the pipeline has ended.
    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        self.tell(Event::Policy(Box::new(policy), reply))?;
        Ok(answer.recv().map_err(|_| ended())??)
    }

    /// Privacy mode: on, everything is covered at once, and what waits in the outboxes is discarded. Returns when it holds.
    ///
    /// # Errors
    /// [`Error::Sink`] when the pipeline has ended (nothing leaves it then).
    pub fn set_privacy(&self, on: bool) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        self.tell(Event::Privacy(on, reply))?;
        answer.recv().map_err(|_| ended())
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
) -> JoinHandle<()> {
    let events = events.clone();
    std::thread::spawn(move || {
        if catch_unwind(AssertUnwindSafe(|| run(&events))).is_err() {
            let _ = events.send(Event::Panicked(name));
        }
    })
}

/// How long a detector takes on a blank picture, at most, of a few runs after the first.
fn measure(detector: &mut dyn Detector, format: &FrameFormat) -> Result<Duration> {
    let pool = FramePool::new(*format, 1);
    let mut longest = Duration::ZERO;
    for run in 0..=MEASURED_RUNS {
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        let blank = pool.fill(meta, |_| Ok(()))?;
        let blank = blank.ok_or(Error::PoolTooSmall { count: pool.count(), needed: 1 })?;
        let mut job = blank.lend(Arc::default());
        let start = Instant::now();
        detector.look(&mut job)?;
        // The first run allocates.
        longest = if run == 0 { longest } else { longest.max(start.elapsed()) };
    }
    Ok(longest)
}

/// The self-test of every detector before the first frame: the verdict on the first one. A lower rung that fails is taken off
/// the ladder, with all below it.
fn first_test(test: &mut SelfTest, detectors: &mut Vec<Box<dyn Detector>>) -> Option<Result<(), Fault>> {
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

/// Whether a policy asks for self-tests and has anything to test.
fn wants_test(policy: &Policy) -> bool {
    policy.self_test().is_some() && policy.classes().next().is_some()
}

/// How many detections a frame may have to wait for: that of the frame before, its own, and one of the self-test.
fn detections(policy: &Policy) -> u32 {
    if policy.self_test().is_some() { 3 } else { 2 }
}

fn check_parts(policy: &Policy, in_parts: bool) -> Result<(), PolicyError> {
    match in_parts && !policy.motion_cover() && policy.classes().next().is_some() {
        true => Err(PolicyError::PartsUncovered),
        false => Ok(()),
    }
}

/// Checks the times of a policy against the detector, and chooses a deadline where there is none. With one job in flight
/// the worst wait is twice a detection and two frames; three times where a self-test may come between.
fn with_budget(policy: Policy, detection: Duration, fps: f64) -> Result<Policy, PolicyError> {
    if policy.classes().next().is_none() {
        return Ok(policy);
    }
    let two_frames = Duration::from_secs_f64(2.0 / fps.max(0.1));
    let (least_deadline, least_gap) = (
        detections(&policy) * detection + two_frames + policy.look_ahead(),
        (detections(&policy) - 1) * detection + two_frames,
    );
    let refuse = |name: &str, value: Duration, least: Duration| {
        let what = format!(
            "{name} = {} ms (this detector and rate need {} ms{})",
            value.as_millis(),
            least.as_millis(),
            if wants_test(&policy) { ", self-test included" } else { "" }
        );
        Err(PolicyError::Range { what, why: "raise it, lower the frame rate, or use a faster preset" })
    };
    if policy.max_gap() < least_gap {
        return refuse("max_gap", policy.max_gap(), least_gap);
    }
    match policy.deadline() {
        Some(deadline) if deadline < least_deadline => refuse("deadline", deadline, least_deadline),
        Some(_) => Ok(policy),
        // Twice the need, so that a slow moment does not black out the picture.
        None => {
            let then = policy.on_deadline();
            policy.to_builder().deadline(2 * least_deadline, then).build()
        }
    }
}

/// Frames that arrive during one detection: they are released together, and must not push each other out of an outbox.
fn burst(detection: Duration, fps: f64) -> usize {
    ((detection.as_secs_f64() * fps).ceil() as usize).min(MOST_BURST)
}

/// Buffers for the frames of a deadline, those that wait at and in the targets (which share them), and those at the
/// engine's ends.
fn needed(policy: &Policy, fps: f64, burst: usize, targets: usize) -> usize {
    let waiting = (policy.deadline().unwrap_or_default().as_secs_f64() * fps).ceil() as usize;
    (waiting + burst + 4 + 3 * targets).min(MOST_BUFFERS)
}

/// The longest detection that still meets the deadline, in nanoseconds.
fn budget(policy: &Policy, fps: f64) -> u64 {
    let deadline = policy.deadline().unwrap_or(Duration::MAX);
    let room = deadline.saturating_sub(Duration::from_secs_f64(2.0 / fps.max(0.1)) + policy.look_ahead());
    u64::try_from((room / detections(policy)).min(policy.max_gap()).as_nanos()).unwrap_or(u64::MAX)
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

/// The detector in use, and weaker ones below it.
struct Ladder {
    detectors: Vec<Box<dyn Detector>>,
    measured: Vec<Duration>,
    level: usize,
    /// Nanoseconds; the redact thread changes it with the policy.
    budget: Arc<AtomicU64>,
    trouble: Instant,
    strikes: u32,
}

impl Ladder {
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

fn run_detect(
    mut ladder: Ladder,
    mut test: SelfTest,
    changed: &Mutex<Option<Policy>>,
    jobs: &Receiver<(DetectJob, Vec<Detection>)>,
    events: &SyncSender<Event>,
) {
    ladder.detectors.iter_mut().for_each(|d| d.start());
    let mut tested = ladder.level;
    loop {
        if let Some(policy) = lock(changed).take() {
            test.follow(&policy);
        }
        // Another policy may switch the self-test on meanwhile.
        let wait = test.wait().unwrap_or(NO_CAMERA).min(NO_CAMERA);
        let job = match jobs.recv_timeout(wait) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if job.is_some_and(|job| !run_job(&mut ladder, job, events)) {
            return;
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
                return;
            }
        }
    }
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
            detector.reuse(list);
            detector.look(&mut job)
        }
        None => Err(Error::Detector("there is no detector".into())),
    };
    let took = start.elapsed();
    let level = ladder.level;
    ladder.weigh(took);
    events.send(Event::Observed(job, found, took, level)).is_ok()
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

/// The times that a source gives. One that is not later than the last is refused with its frame; when several in a row are,
/// the source's clock was set back, and its times are moved on from there.
#[derive(Default)]
struct SourceClock {
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
struct Redact {
    engine: Engine,
    /// Whether the owner wants everything obscured.
    privacy: bool,
    /// Whether the detector failed its self-test: everything is obscured too.
    distrust: bool,
    /// Since when it has had a picture of the self-test.
    testing: Option<Instant>,
    /// A policy that the self-test is to follow.
    changed: Arc<Mutex<Option<Policy>>>,
    clock: Clock,
    outboxes: Vec<Arc<Outbox>>,
    shelf: shelf::Shelf,
    jobs: SyncSender<(DetectJob, Vec<Detection>)>,
    /// The memory of the last detection's list, on its way back to the detector.
    list: Vec<Detection>,
    status: Arc<Mutex<Status>>,
    /// When the frames in the line arrived, and when those of the last second left.
    arrivals: VecDeque<(u64, Timestamp)>,
    /// At most so many: as there are buffers.
    buffers: usize,
    last_frame: Instant,
    last_release: Instant,
    last_meta: Option<FrameMeta>,
    clock_of_source: SourceClock,
    /// Since when a detector has had its loan.
    lent: Option<Instant>,
    /// What the detector took at the start, and the source's rate: a new policy must hold with both.
    detection: Duration,
    fps: f64,
    budget: Arc<AtomicU64>,
    /// A detector looks at a part of each picture.
    in_parts: bool,
}

impl Redact {
    fn run(mut self, events: &Receiver<Event>) -> Result<Stats> {
        // Whatever happens in here, a panic too: the outboxes end.
        let ended = catch_unwind(AssertUnwindSafe(|| self.serve(events)));
        for outbox in &self.outboxes {
            outbox.close();
        }
        lock(&self.status).state = State::Stopped;
        ended.unwrap_or_else(|_| Err(panicked("redact")))?;
        Ok(self.engine.stats())
    }

    fn serve(&mut self, events: &Receiver<Event>) -> Result<()> {
        let mut left: VecDeque<Instant> =
            VecDeque::with_capacity((2.0 * self.fps).clamp(16.0, 1024.0) as usize);
        loop {
            let wait = match self.engine.next_deadline() {
                Some(deadline) => deadline.since(self.clock.now()),
                None => Duration::from_secs(1),
            };
            // A deadline that is over is dealt with by release below.
            let result = match events.recv_timeout(wait.max(Duration::from_millis(1))) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => Ok(true),
                Err(RecvTimeoutError::Disconnected) => Ok(false),
            };
            if let Some(job) = self.engine.next_job() {
                self.lent = Some(Instant::now());
                // The loan is the mailbox: only one is ever out, so there is room. A lost job covers nothing.
                let _ = self.jobs.try_send((job, std::mem::take(&mut self.list)));
            }
            if result.is_ok() {
                self.hand_over(&mut left);
            }
            if !result? {
                return Ok(());
            }
        }
    }

    /// Deals with one event; false when it was the last.
    fn take(&mut self, event: Event) -> Result<bool> {
        match event {
            Event::Frame(mut frame, arrived) => {
                self.clock_of_source.mend(&mut frame);
                let meta = frame.meta();
                if let Err(e) = self.engine.push(frame, arrived) {
                    // The source's clock jumped: the frame is gone, the stream goes on.
                    lock(&self.status).skipped += 1;
                    self.clock_of_source.refused(meta.captured, &e);
                    return Ok(true);
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
            Event::TargetLost(name, e) => {
                log::warn!("target {name} has ended: {e}");
                lock(&self.status).targets_lost += 1;
            }
            Event::Panicked(thread) => return Err(panicked(thread)),
            Event::SourceEnded(result) => {
                result?;
                self.engine.finish();
                return Ok(false);
            }
            Event::Stop => {
                self.engine.finish();
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn exchange(&mut self, policy: Policy) -> Result<(), PolicyError> {
        check_parts(&policy, self.in_parts)?;
        let policy = with_budget(policy, self.detection, self.fps)?;
        let (exposure, budget) = (policy.max_gap(), budget(&policy, self.fps));
        self.engine.set_policy(policy.clone())?;
        if !wants_test(&policy) {
            self.distrust = false;
            self.engine.set_privacy(self.privacy);
        }
        *lock(&self.changed) = Some(policy);
        self.budget.store(budget, Ordering::Relaxed);
        lock(&self.status).exposure = exposure;
        Ok(())
    }

    /// Takes in the verdict of a self-test.
    fn judge(&mut self, verdict: Option<Result<(), Fault>>) {
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
        let frame = self.shelf.share(frame);
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
