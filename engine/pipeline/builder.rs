//! What a pipeline is made of, checked, and how its threads begin.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::budget::{LEAST_BUFFERS, budget, burst, check_parts, needed, with_budget};
use super::detect::{Ladder, first_test, measure, run_detect};
use super::redact::{Redact, SourceClock};
use super::{
    Clock, EVENTS, FrameReceiver, Outbox, Pipeline, Status, Threads, run_capture, run_target, shared,
    start_thread,
};
use crate::class::Class;
use crate::detect::looks_in_parts;
use crate::detect::{Detector, Proof};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::frame::FramePool;
use crate::picture::FrameFormat;
use crate::policy::{Policy, PolicyError};
use crate::selftest::{SelfTest, admit};
use crate::sink::FrameSink;
use crate::source::FrameSource;

/// Frames per second of a source of which nothing is said.
const USUAL_FPS: f64 = 30.0;
/// The most buffers that can be asked for.
const MOST_BUFFERS: usize = 1024;

/// A pipeline that has not started: see [`Pipeline::builder`].
///
/// ```
/// # use milkglass::source::{FrameSender};
/// # use milkglass::picture::{PixelFormat};
/// # use milkglass::policy::{Polygon, Style, Zone};
/// # use milkglass::{FrameFormat, Pipeline, Policy, Result};
/// # fn main() -> Result<()> {
/// # let area = Polygon::new([(0.0, 0.0), (0.5, 0.0), (0.5, 1.0)]).unwrap();
/// # let policy = Policy::builder().zone(Zone::new("window", area, Style::default())?).build()?;
/// # let format = FrameFormat::new(PixelFormat::Nv12, 64, 48)?;
/// # let (sender, source) = FrameSender::new(0);
/// # sender.shut();
/// let pipeline = Pipeline::builder(policy, format, source)
///     .fps(25.0)
///     .sink("encoder", |frame: &milkglass::frame::RedactedFrame| {
///         assert_eq!(frame.format().size(), (64, 48));
///         Ok(())
///     })
///     .start()?;
/// pipeline.wait()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing runs until it is started"]
pub struct PipelineBuilder {
    policy: Policy,
    format: FrameFormat,
    source: Box<dyn FrameSource>,
    detectors: Vec<Box<dyn Detector>>,
    sinks: Vec<(String, Box<dyn FrameSink>)>,
    buffers: Option<usize>,
    locked: bool,
    privacy: bool,
    fps: f64,
}

impl PipelineBuilder {
    pub(super) fn new(policy: Policy, format: FrameFormat, source: Box<dyn FrameSource>) -> PipelineBuilder {
        PipelineBuilder {
            policy,
            format,
            source,
            detectors: Vec::new(),
            sinks: Vec::new(),
            buffers: None,
            locked: false,
            privacy: false,
            fps: USUAL_FPS,
        }
    }

    /// What finds people; called again, a weaker and faster one for when those before it are too slow. None: zones alone.
    pub fn detector(self, detector: impl Detector + 'static) -> PipelineBuilder {
        self.ladder([Box::new(detector) as Box<dyn Detector>])
    }

    /// The same for several, each weaker and faster than the one before: the ladder.
    pub fn ladder(mut self, rungs: impl IntoIterator<Item = Box<dyn Detector>>) -> PipelineBuilder {
        self.detectors.extend(rungs);
        self
    }

    /// A target, by the name that logs and errors call it.
    pub fn sink(self, name: impl Into<String>, sink: impl FrameSink + 'static) -> PipelineBuilder {
        self.sinks([(name.into(), Box::new(sink) as Box<dyn FrameSink>)])
    }

    /// The same for several.
    pub fn sinks(mut self, sinks: impl IntoIterator<Item = (String, Box<dyn FrameSink>)>) -> PipelineBuilder {
        self.sinks.extend(sinks);
        self
    }

    /// Frames per second that the source will deliver, above 0; 30 unless it is said. Times and memory are sized for it.
    pub fn fps(mut self, fps: f64) -> PipelineBuilder {
        self.fps = fps;
        self
    }

    /// Buffers for frames, at most 1024; `None`, as without a word, for as many as the deadline, the rate and the targets
    /// need, at most 64.
    pub fn buffers(mut self, buffers: impl Into<Option<usize>>) -> PipelineBuilder {
        self.buffers = buffers.into();
        self
    }

    /// Whether frames lie in memory that is never written to swap ([`FramePool::locked`]). Where the system does not let
    /// this program lock as much memory, it does not start.
    pub fn locked_memory(mut self, locked: bool) -> PipelineBuilder {
        self.locked = locked;
        self
    }

    /// Whether to start in privacy mode.
    pub fn privacy(mut self, on: bool) -> PipelineBuilder {
        self.privacy = on;
        self
    }

    /// Measures the detectors, checks that the policy can hold, and starts. A policy without a deadline gets one that fits
    /// what was measured.
    ///
    /// # Errors
    /// [`PolicyError`] when a class has no detector, when the deadline or `max_gap` cannot hold with this detector, and
    /// when rate or buffers are out of range; [`Error::Detector`] when it fails on a blank picture; [`Error::Model`] when
    /// it promised to find known persons ([`Detector::proof`]) and does not; [`Error::PoolTooSmall`]; [`Error::Memory`];
    /// [`Error::Io`] when no thread can be had, or no locked memory.
    pub fn start(self) -> Result<Pipeline> {
        self.begin(false).map(|(pipeline, _)| pipeline)
    }

    /// The same, with an end besides the sinks that a program takes frames from by itself.
    ///
    /// # Errors
    /// As [`PipelineBuilder::start`].
    pub fn start_with_receiver(self) -> Result<(Pipeline, FrameReceiver)> {
        let (pipeline, receiver) = self.begin(true)?;
        receiver.map(|receiver| (pipeline, receiver)).ok_or(Error::Ended)
    }

    fn check(&self) -> Result<(), PolicyError> {
        let refuse = |what: String, why| Err(PolicyError::Range { what, why });
        if !(self.fps.is_finite() && self.fps > 0.0) {
            return refuse(
                format!("fps = {}", self.fps),
                "give the frames per second of the source, above 0",
            );
        }
        match self.buffers {
            Some(buffers) if buffers > MOST_BUFFERS => {
                refuse(format!("buffers = {buffers}"), "1024 at most; None takes as many as are needed")
            }
            _ => Ok(()),
        }
    }

    fn begin(self, with_outlet: bool) -> Result<(Pipeline, Option<FrameReceiver>)> {
        self.check()?;
        let PipelineBuilder { policy, format, source, mut detectors, sinks, buffers, locked, privacy, fps } =
            self;
        let clock = Clock::start();
        let mut ladder = Vec::with_capacity(detectors.len());
        for detector in &mut detectors {
            if let Some(class) = policy.classes().find(|c| !detector.classes().contains(c)) {
                return Err(PolicyError::NoDetector(class).into());
            }
            ladder.push(measure(detector.as_mut(), &format)?);
        }
        let untested = admit(&mut detectors, &policy, &format)?;
        let in_parts = detectors.iter_mut().any(|d| looks_in_parts(d.as_mut()));
        check_parts(&policy, in_parts)?;
        let detection = ladder.first().copied().unwrap_or_default();
        let policy = with_budget(policy, detection, fps)?;
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
            detection.as_millis()
        );
        let budget = Arc::new(AtomicU64::new(budget(&policy, fps)));
        let burst = burst(detection, fps);
        let ends = sinks.len() + usize::from(with_outlet);
        let buffers = match buffers {
            Some(buffers) => buffers,
            None => FramePool::affordable(&format, LEAST_BUFFERS, needed(&policy, fps, burst, ends))?,
        };
        let pool = match locked {
            true => FramePool::locked(format, buffers)?,
            false => FramePool::new(format, buffers),
        };
        let buffers = pool.count();
        let mut engine = Engine::new(policy, pool.clone(), &offers)?;
        engine.set_privacy(privacy);

        let (events, received) = sync_channel(EVENTS);
        let failure = Arc::new(OnceLock::new());
        let run = |kind, name, job| start_thread(kind, name, &events, &failure, job);
        let mut threads = Vec::new();
        let mut outboxes = Vec::new();
        for (name, sink) in sinks {
            let outbox = Arc::new(Outbox::new(2 + burst));
            outboxes.push(Arc::clone(&outbox));
            let status = Arc::clone(&status);
            let thread = format!("target {name}");
            let target = move |_: &_| run_target(&name, sink, &outbox, &status);
            threads.push(run("target", thread, Box::new(target))?);
        }
        let targets = threads.len();
        let receiver = with_outlet.then(|| FrameReceiver::new(Arc::new(Outbox::new(2 + burst))));
        outboxes.extend(receiver.as_ref().map(FrameReceiver::outbox));
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
            threads.push(run("detect", "detect".into(), Box::new(detect))?);
        }
        let capture = move |events: &_| run_capture(source, &pool, clock, events);
        threads.push(run("capture", "capture".into(), Box::new(capture))?);
        let mut redact = Redact {
            engine,
            privacy,
            distrust: false,
            testing: None,
            changed,
            clock,
            shared: shared::SharedFrames::new(buffers + outboxes.len()),
            outboxes,
            jobs,
            list: Vec::new(),
            status: Arc::clone(&status),
            failure: Arc::clone(&failure),
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
        let threads = Mutex::new(Threads { redact: Some(redact), others: threads, targets });
        let pipeline = Pipeline { events, status, failure, threads, receiver: receiver.clone() };
        Ok((pipeline, receiver))
    }
}
