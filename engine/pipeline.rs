//! Threads around [`Engine`](crate::engine::Engine): capture, detect, redact, and one thread for each target.
//!
//! ```text
//! [capture] --raw frames--> [redact: Engine] --shares of each--> outbox --> [target]   (one per target; an receiver has
//!                             |   ^                                                     the caller's thread in its place)
//!                      newest |   | boxes
//!                             v   |
//!                           [detect]
//! ```
//! Every thread owns its port, so user code needs no locks. The redact thread never calls a target. Nothing grows: the pool
//! bounds raw frames, an outbox holds two redacted ones more than one detection releases, and a detector has one loan at
//! a time. A panic in any thread
//! closes the outboxes; nothing more leaves, and [`Pipeline::failure`] tells why.

mod budget;
mod builder;
mod detect;
mod receiver;
mod redact;
mod shared;
mod status;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::detect::Detection;
use crate::error::{Error, Result};
use crate::frame::{DetectJob, FramePool, RawFrame};
use crate::picture::FrameFormat;
use crate::policy::{Policy, PolicyError};
use crate::selftest::Fault;
use crate::sink::FrameSink;
use crate::source::{Captured, FrameSource};
use crate::stats::Stats;
use crate::time::Timestamp;

pub use self::builder::PipelineBuilder;
pub use self::receiver::{FrameReceiver, Taken};
pub use self::status::{State, Status};

type Outbox = milkglass_queues::Outbox<shared::Share>;

/// Events between the threads; the redact thread never waits for another one, so a full queue empties by itself.
const EVENTS: usize = 32;
/// Time without a frame after which the camera counts as gone.
const NO_CAMERA: Duration = Duration::from_secs(2);
/// How long targets may take to finish at the end, and then each other thread to notice it.
const CLOSING: Duration = Duration::from_millis(850);
const PARTING: Duration = Duration::from_millis(50);

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
    /// Some thread did; which one is known already.
    Panicked,
    Stop,
}

/// Why a pipeline ended by itself: kept, since it may be asked more than once.
enum Failure {
    /// This thread met an error.
    Failed(String, Arc<Error>),
    Panicked(String),
}

impl Failure {
    fn error(&self) -> Error {
        match self {
            Failure::Failed(thread, source) => {
                Error::Failed { thread: thread.clone(), source: Arc::clone(source) }
            }
            Failure::Panicked(thread) => Error::Panicked { thread: thread.clone() },
        }
    }
}

/// A running pipeline, and what is left of it once it has ended. All its methods may be called from every thread, at any
/// time, as often as you like. Dropped, it is closed.
pub struct Pipeline {
    events: SyncSender<Event>,
    status: Arc<Mutex<Status>>,
    /// The first one.
    failure: Arc<OnceLock<Failure>>,
    /// Held by whoever waits for their end.
    threads: Mutex<Threads>,
    receiver: Option<FrameReceiver>,
}

/// Those that run still.
struct Threads {
    redact: Option<JoinHandle<()>>,
    /// The targets' threads, then the others.
    others: Vec<JoinHandle<()>>,
    targets: usize,
}

impl Pipeline {
    /// A pipeline that hides what `policy` names in frames of this format from this source. Say what finds people and
    /// where frames go, then start it.
    pub fn builder(
        policy: Policy,
        format: FrameFormat,
        source: impl FrameSource + 'static,
    ) -> PipelineBuilder {
        PipelineBuilder::new(policy, format, Box::new(source))
    }

    /// Exchanges the policy ([`Engine::set_policy`](crate::engine::Engine::set_policy)); returns when it is in force. Frames that
    /// wait in the engine are hidden by both; the few that have left it, in a target's hands or outbox, were hidden by the
    /// old one.
    ///
    /// # Errors
    /// [`PolicyError`]: the old one stays. As [`Pipeline::failure`], or [`Error::Ended`], when the pipeline has ended.
    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        self.tell(Event::Policy(Box::new(policy), reply))?;
        Ok(answer.recv().map_err(|_| self.ended())??)
    }

    /// Privacy mode: on, everything is covered at once, and what waits in the outboxes is discarded. Returns when it holds.
    /// A target that has just taken a frame from its outbox may still show it; it is told to forget it
    /// ([`FrameSink::forget`]) before it gets another one. Whoever looks at a frame of an [`FrameReceiver`] is waited for.
    ///
    /// # Errors
    /// As [`Pipeline::failure`], or [`Error::Ended`], when the pipeline has ended (nothing leaves it then).
    pub fn set_privacy(&self, on: bool) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        let told =
            self.tell(Event::Privacy(on, reply)).and_then(|()| answer.recv().map_err(|_| self.ended()));
        match &self.receiver {
            Some(receiver) if told.is_ok() => receiver.settle(),
            // What it left still waits to be taken, and cannot be obscured any more.
            Some(receiver) if on => receiver.shut(),
            _ => {}
        }
        told
    }

    /// Figures of this moment; those of the end once it has ended.
    pub fn status(&self) -> Status {
        *lock(&self.status)
    }

    /// Why it has ended by itself; `None` while it runs, and when it ended in order. Does not wait.
    pub fn failure(&self) -> Option<Error> {
        self.failure.get().map(Failure::error)
    }

    /// Asks it to stop, and does not wait: what is covered by now still leaves, then the targets end.
    pub fn stop(&self) {
        // Fails only when it has stopped already.
        let _ = self.events.send(Event::Stop);
    }

    /// Stops it and waits for its threads: afterwards nothing leaves, and no code of a source, detector or target runs,
    /// unless it hangs: targets may take the best part of a second to finish, and nothing is waited for without end.
    ///
    /// # Errors
    /// As [`Pipeline::failure`], when it had ended by itself.
    pub fn close(&self) -> Result<Stats> {
        self.stop();
        self.wait()
    }

    /// Waits until it has ended: until its source has, somebody stops it, or it fails.
    ///
    /// # Errors
    /// As [`Pipeline::failure`].
    pub fn wait(&self) -> Result<Stats> {
        self.join();
        match self.failure() {
            Some(failure) => Err(failure),
            None => Ok(self.status().stats),
        }
    }

    fn tell(&self, event: Event) -> Result<()> {
        self.events.send(event).map_err(|_| self.ended())
    }

    fn ended(&self) -> Error {
        self.failure().unwrap_or(Error::Ended)
    }

    fn join(&self) {
        let mut threads = lock(&self.threads);
        let Some(redact) = threads.redact.take() else { return };
        if redact.join().is_err() {
            let _ = self.failure.set(Failure::Panicked("redact".into()));
        }
        // Whatever hangs cannot be joined. Targets come first, and may have something to finish; a detector or source
        // holds nothing that could leave.
        let closing = Instant::now() + CLOSING;
        let targets = threads.targets;
        for (n, thread) in threads.others.drain(..).enumerate() {
            let patience = if n < targets { closing } else { Instant::now() + PARTING };
            while !thread.is_finished() && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
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

/// What a thread does; events are told to the redact thread.
type Job = Box<dyn FnOnce(&SyncSender<Event>) + Send>;

/// A thread whose panic ends the pipeline. What it said is not repeated: it may be a sample or a place in a picture.
fn start_thread(
    kind: &str,
    name: String,
    events: &SyncSender<Event>,
    failure: &Arc<OnceLock<Failure>>,
    job: Job,
) -> Result<JoinHandle<()>> {
    let (events, failure) = (events.clone(), Arc::clone(failure));
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(|| job(&events))).is_err() {
            let _ = failure.set(Failure::Panicked(name));
            let _ = events.send(Event::Panicked);
        }
    };
    // Its kind is what `top -H` and a debugger show.
    std::thread::Builder::new()
        .name(kind.into())
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

fn run_target(name: &str, mut sink: Box<dyn FrameSink>, outbox: &Outbox, status: &Mutex<Status>) {
    while let Some(taken) = outbox.take() {
        if taken.forget {
            sink.forget();
        }
        if let Some(frame) = taken.frame
            && let Some(Err(e)) = frame.show(|frame| sink.send(frame))
        {
            outbox.close();
            lock(status).targets_lost += 1;
            log::warn!("target {name} has ended: {e}");
            return;
        }
    }
}
