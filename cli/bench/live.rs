//! The whole path: frames come at the camera's pace, and each stream has a pipeline of its own.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use milkglass::detect::Ensemble;
use milkglass::detect::Proof;
use milkglass::frame::{FrameMeta, FramePool, Outcome, RedactedFrame};
use milkglass::picture::View;
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::source::Captured;
use milkglass::time::Timestamp;
use milkglass::v4l2::{CameraFormat, V4l2Config, V4l2Source};
use milkglass::{
    Class, Detection, Detector, Error, FrameFormat, FrameSource, Pipeline, Policy, Result as EngineResult,
};

use super::picture::Frames;
use super::record::{Group, Row};
use super::timing::Timing;
use crate::outcome::Failure;
use crate::progress;

/// Where frames come from.
#[derive(Clone)]
pub enum Origin {
    Frames(Frames),
    Camera(std::path::PathBuf),
}

/// What one stream leaves behind.
#[derive(Default)]
struct Log {
    /// When each picture was dequeued, by its number.
    dequeued: Vec<Instant>,
    looks: Vec<Instant>,
    latency: Vec<f64>,
    covered: u64,
    faces: u64,
    hidden: u64,
    unfilled: u64,
    last: Option<Instant>,
}

type Shared = Arc<Mutex<Log>>;
/// When the cameras begin: all at once, after every detector has been measured.
type Go = Arc<OnceLock<Instant>>;

fn lock(log: &Shared) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a run ended.
pub enum Ran {
    Measured(Box<Row>),
    /// The pipeline does not start, because the detector is too slow for the policy.
    Refused(String),
}

/// Runs as many pipelines as there are detectors, all at once.
pub fn run(name: &str, origin: &Origin, detectors: Vec<Ensemble>, time: Duration) -> Result<Ran, Failure> {
    let mut streams = Vec::new();
    let go = Go::default();
    for detector in detectors {
        let log = Shared::default();
        let (source, format, fps) = open(origin, time, &log, &go)?;
        let sink = watch(origin.clone(), format, Arc::clone(&log));
        let detector = Watched { detector, log: Arc::clone(&log) };
        let pipeline = Pipeline::builder(policy()?, format, source).fps(fps);
        let pipeline = match pipeline.detector(detector).sink("bench", sink).start() {
            Err(Error::Policy(why)) => return Ok(Ran::Refused(why.to_string())),
            pipeline => pipeline?,
        };
        streams.push((pipeline, log, fps));
    }
    let cpu = cpu_time();
    let deadline = *go.get_or_init(Instant::now) + time + Duration::from_secs(1);
    while Instant::now() < deadline && !progress::cancelled() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut logs = Vec::new();
    for (pipeline, log, fps) in streams {
        pipeline.close()?;
        logs.push((log, fps));
    }
    if progress::cancelled() {
        return Err(Failure::interrupted());
    }
    let spent = cpu_time().zip(cpu).map(|(now, before)| now.saturating_sub(before));
    Ok(Ran::Measured(Box::new(summary(name, &logs, spent)?)))
}

fn summary(name: &str, logs: &[(Shared, f64)], spent: Option<Duration>) -> Result<Row, Failure> {
    let (mut latency, mut captured, mut covered, mut rates) = (Vec::new(), 0, 0, Vec::new());
    let (mut faces, mut hidden, mut gap) = (0, 0, Duration::ZERO);
    for (log, _) in logs {
        let log = lock(log);
        if log.unfilled > 0 {
            return Err(Failure::new(format!("{name}: {} frames left without their zone", log.unfilled)));
        }
        captured += log.dequeued.len();
        covered += log.covered;
        (faces, hidden) = (faces + log.faces, hidden + log.hidden);
        gap = log.looks.windows(2).map(|w| w[1] - w[0]).max().unwrap_or_default().max(gap);
        let seconds = log.last.zip(log.dequeued.first()).map(|(last, first)| (last - *first).as_secs_f64());
        rates.extend(seconds.filter(|s| *s > 0.0).map(|s| log.latency.len() as f64 / s));
        latency.extend_from_slice(&log.latency);
    }
    if hidden * 10 < faces * 9 {
        return Err(Failure::new(format!(
            "{name}: only {hidden} of {faces} faces in covered frames were hidden; figures of a redaction that does not \
             redact mean nothing"
        )));
    }
    let frames = latency.len();
    let nothing = || Failure::new(format!("{name}: no frame left; `milkglass doctor` says what is missing"));
    let timing = Timing::of(latency).ok_or_else(nothing)?;
    Ok(Row {
        frames_per_second: rates.iter().copied().reduce(f64::min),
        covered: Some(covered as f64 / captured.max(1) as f64),
        longest_gap_ns: Some(gap.as_nanos() as f64),
        cpu_ns_per_frame: spent.map(|s| s.as_nanos() as f64 / frames.max(1) as f64),
        ..Row::new(name, Group::Live, timing)
    })
}

/// Faces, and two zones as an owner would draw them.
fn policy() -> Result<Policy, Failure> {
    let zones = [[(0.0, 0.0), (0.2, 0.0), (0.1, 0.3)], [(0.8, 0.7), (1.0, 0.6), (1.0, 1.0)]];
    let mut policy = Policy::builder().hide(Class::Face, Style::default());
    for (name, area) in ["left", "right"].into_iter().zip(zones) {
        policy = policy.zone(Zone::new(name, Polygon::new(area)?, Style::default())?);
    }
    Ok(policy.build()?)
}

/// The target: it looks at the clock, the zone and the faces.
fn watch(
    origin: Origin,
    format: FrameFormat,
    log: Shared,
) -> impl FnMut(&RedactedFrame) -> EngineResult<()> + Send {
    let (x, y) = ((format.width() / 10) as usize, format.height() / 10);
    move |frame| {
        let now = Instant::now();
        let mut log = lock(&log);
        let n = frame.meta().sequence;
        if let Some(at) = log.dequeued.get(n as usize).copied() {
            log.latency.push((now - at).as_nanos() as f64);
        }
        log.last = Some(now);
        let Origin::Frames(frames) = &origin else {
            log.covered += u64::from(frame.outcome() == Outcome::Covered);
            return Ok(());
        };
        let view = frame.view();
        log.unfilled += u64::from(view.row(0, y)[x] > 16);
        if frame.outcome() == Outcome::Covered {
            log.covered += 1;
            for (x, y) in frames.middles(n) {
                log.faces += 1;
                log.hidden += u64::from(view.row(0, y)[x as usize] == 16);
            }
        }
        Ok(())
    }
}

struct Watched {
    detector: Ensemble,
    log: Shared,
}

impl Detector for Watched {
    fn classes(&self) -> &[Class] {
        self.detector.classes()
    }

    fn proof(&self) -> Proof {
        self.detector.proof()
    }

    fn detect(&mut self, view: &View<'_>) -> EngineResult<Vec<Detection>> {
        let start = Instant::now();
        let found = self.detector.detect(view);
        let mut log = lock(&self.log);
        // The first ones measure on a blank picture, before the camera runs.
        if found.is_ok() && !log.dequeued.is_empty() {
            log.looks.push(start);
        }
        found
    }
}

fn open(
    origin: &Origin,
    time: Duration,
    log: &Shared,
    go: &Go,
) -> Result<(Box<dyn FrameSource>, FrameFormat, f64), Failure> {
    match origin {
        Origin::Frames(frames) => {
            let (go, log) = (Arc::clone(go), Arc::clone(log));
            let source = Replay { frames: frames.clone(), time, go, next: 0, log };
            Ok((Box::new(source), frames.format, frames.fps))
        }
        Origin::Camera(path) => {
            let mut config = V4l2Config::new(path);
            config.formats = CameraFormat::ALL.into_iter().flat_map(CameraFormat::fourccs).copied().collect();
            let (source, format) = V4l2Source::open(&config)?;
            let fps = source.fps().unwrap_or(30.0);
            Ok((Box::new(Camera { source, log: Arc::clone(log) }), format, fps))
        }
    }
}

/// Frames of memory at their own pace, as a camera would deliver them.
struct Replay {
    frames: Frames,
    time: Duration,
    go: Go,
    next: u64,
    log: Shared,
}

impl FrameSource for Replay {
    fn capture(&mut self, pool: &FramePool) -> EngineResult<Captured> {
        let at = Duration::from_secs_f64(self.next as f64 / self.frames.fps);
        if at > self.time {
            return Ok(Captured::End);
        }
        let Some(start) = self.go.get().copied() else {
            std::thread::sleep(Duration::from_millis(5));
            return Ok(Captured::Skipped);
        };
        std::thread::sleep((start + at).saturating_duration_since(Instant::now()));
        lock(&self.log).dequeued.push(Instant::now());
        let n = self.next;
        self.next += 1;
        let meta = FrameMeta { sequence: n, captured: Timestamp::ZERO + at };
        let frames = &self.frames;
        let filled = pool.fill(meta, |view| {
            frames.write(n, view);
            Ok(())
        })?;
        Ok(filled.map_or(Captured::Skipped, Captured::Frame))
    }
}

/// A camera, whose frames count from the moment they are in our memory.
struct Camera {
    source: V4l2Source,
    log: Shared,
}

impl FrameSource for Camera {
    fn capture(&mut self, pool: &FramePool) -> EngineResult<Captured> {
        let captured = self.source.capture(pool)?;
        if let Captured::Frame(frame) = &captured {
            let (n, now) = (frame.meta().sequence as usize, Instant::now());
            // The numbers of pictures that the driver dropped: as if they had come now.
            let mut log = lock(&self.log);
            if n >= log.dequeued.len() && n - log.dequeued.len() < 10_000 {
                log.dequeued.resize(n + 1, now);
            }
        }
        Ok(captured)
    }
}

/// CPU time of all threads so far, in the kernel's hundredths of a second.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}
