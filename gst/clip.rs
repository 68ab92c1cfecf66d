//! A source that waits, such as a file: the engine in lock-step, all of it on the streaming thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use milkglass::detect::look;
use milkglass::frame::{FrameMeta, FramePool, Outcome, RawFrame};
use milkglass::lockstep::LockStep;
use milkglass::picture::ViewMut;
use milkglass::pipeline::{State, Status};
use milkglass::selftest::admit;
use milkglass::time::Timestamp;
use milkglass::{Detector, Error, Policy, Result};

use crate::line::Line;
use crate::picture::{Stream, Writer};

/// Frames that are out of the engine's line at one time: the next one, the one that is copied out, the reserve.
const IN_FLIGHT: usize = 4;
/// Frames that wait for downstream.
const ROOM: usize = 2;

pub(crate) struct Clip {
    parts: Mutex<Parts>,
    pool: FramePool,
    writer: Writer,
    line: Arc<Line>,
    source: u64,
}

struct Parts {
    lock: LockStep,
    /// The first is used; all are given back at the end.
    detectors: Vec<Box<dyn Detector>>,
    every: u32,
    privacy: bool,
    untested: bool,
    /// The newest frame: whether it is the last, or precedes a jump in time, decides whether it is looked at. And whether it
    /// came in privacy mode.
    ahead: Option<(RawFrame, bool)>,
    detection: Duration,
    last: Option<Outcome>,
}

impl Clip {
    pub fn start(
        policy: Policy,
        mut detectors: Vec<Box<dyn Detector>>,
        every: u32,
        stream: &Stream,
        privacy: bool,
        line: &Arc<Line>,
    ) -> Result<Clip> {
        let waiting = policy.max_waiting().min(256);
        let least = every as usize + 1 + IN_FLIGHT;
        let pool =
            FramePool::new(stream.format, FramePool::affordable(&stream.format, least, waiting + IN_FLIGHT)?);
        // With less memory it looks less far ahead.
        let policy = match pool.count() < waiting + IN_FLIGHT {
            true => policy.to_builder().max_waiting(pool.count() - IN_FLIGHT).build()?,
            false => policy,
        };
        let untested = admit(&mut detectors, &policy, &stream.format)?;
        let first = detectors.first_mut().map(|detector| detector.as_mut() as &mut dyn Detector);
        let mut lock = LockStep::new(policy, pool.clone(), first, every)?;
        lock.engine().set_privacy(privacy);
        let writer = Writer::new(stream)?;
        let (source, _) = line.open(ROOM, true);
        let parts = Parts {
            lock,
            detectors,
            every,
            privacy,
            untested,
            ahead: None,
            detection: Duration::ZERO,
            last: None,
        };
        Ok(Clip { parts: Mutex::new(parts), pool, writer, line: Arc::clone(line), source })
    }

    /// Takes in a frame, and hands over those that may leave; waits for downstream meanwhile.
    pub fn push(&self, meta: FrameMeta, write: impl FnOnce(&mut ViewMut<'_>) -> Result<()>) -> Result<()> {
        let frame = self.pool.fill(meta, write)?;
        // All that is not in the engine's line has come back by now, and its line is bounded.
        let frame =
            frame.ok_or(Error::PoolTooSmall { count: self.pool.count(), needed: self.pool.count() + 1 })?;
        let before = {
            let mut parts = self.parts();
            let private = parts.privacy;
            parts.ahead.replace((frame, private))
        };
        match before {
            Some(frame) => self.step(frame, Some(meta.captured)),
            None => Ok(()),
        }
    }

    /// The end: the last frame is looked at, and everything leaves.
    pub fn finish(&self) -> Result<()> {
        let last = self.parts().ahead.take();
        match last {
            Some(frame) => self.step(frame, None),
            None => Ok(()),
        }
    }

    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        Ok(self.parts().lock.engine().set_policy(policy)?)
    }

    pub fn set_privacy(&self, on: bool) {
        let mut parts = self.parts();
        parts.privacy = on;
        parts.lock.engine().set_privacy(on);
        if let Some((_, private)) = &mut parts.ahead {
            *private |= on;
        }
        if on {
            // Nothing is looked at from now on.
            parts.forget();
        }
    }

    /// The detectors, for the next one.
    pub fn end(&self) -> Vec<Box<dyn Detector>> {
        let mut parts = self.parts();
        parts.forget();
        std::mem::take(&mut parts.detectors)
    }

    /// How long a frame waits for those after it.
    pub fn delay(&self, fps: f64) -> Duration {
        let mut parts = self.parts();
        let frames = Duration::from_secs_f64(f64::from(parts.every + 1) / fps);
        parts.lock.engine().policy().look_ahead() + frames
    }

    pub fn status(&self) -> Status {
        let mut parts = self.parts();
        let (detection, last, untested) = (parts.detection, parts.last, parts.untested);
        let engine = parts.lock.engine();
        let mut status = Status::default();
        status.stats = engine.stats();
        status.exposure = engine.policy().max_gap();
        status.detection = detection;
        status.untested = untested;
        status.state = match last {
            _ if engine.privacy() => State::Privacy,
            Some(Outcome::Covered) => State::Covered,
            Some(_) if status.stats.observations > 0 => State::Degraded,
            _ => State::Starting,
        };
        status
    }

    fn step(&self, (frame, private): (RawFrame, bool), next: Option<Timestamp>) -> Result<()> {
        {
            let mut parts = self.parts();
            let privacy = parts.privacy;
            parts.lock.engine().set_privacy(privacy || private);
            parts.lock.push(frame)?;
            parts.lock.engine().set_privacy(privacy);
            parts.look(next);
        }
        loop {
            let released = {
                let mut parts = self.parts();
                let released = parts.lock.release();
                parts.last = released.as_ref().map(|f| f.outcome()).or(parts.last);
                released
            };
            match released {
                Some(frame) => self.line.put(self.source, &frame, &self.writer)?,
                None => return Ok(()),
            }
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    /// What the detectors keep of pictures is overwritten.
    fn forget(&mut self) {
        let told = self.detectors.iter_mut().filter_map(|detector| detector.in_stream());
        told.for_each(|detector| detector.forget());
    }

    /// Shows the newest frame to the detector, if it is its turn.
    fn look(&mut self, next: Option<Timestamp>) {
        let (detector, took) = (self.detectors.first_mut(), &mut self.detection);
        self.lock.look(next, |job| {
            let start = Instant::now();
            let found = match detector {
                Some(detector) => look(detector.as_mut(), job),
                None => Err(Error::other("it was given back")),
            };
            *took = start.elapsed();
            if let Err(e) = &found {
                log::warn!("{e}");
            }
            found
        });
    }
}
