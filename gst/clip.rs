//! A source that waits, such as a file: the engine in lock-step. Each frame is pushed, perhaps looked at, and whatever may
//! leave is released, all on the streaming thread. Nothing is skipped and nothing has a deadline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use milkglass::{
    Class, Detector, Engine, Error, FrameMeta, FramePool, Outcome, Policy, PolicyError, RawFrame, Result,
    State, Status, Timestamp, ViewMut,
};

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
    engine: Engine,
    /// The first is used; all are given back at the end.
    detectors: Vec<Box<dyn Detector>>,
    every: u32,
    privacy: bool,
    /// The newest frame: whether it is the last, or precedes a jump in time, decides whether it is looked at. And whether it
    /// came in privacy mode.
    ahead: Option<(RawFrame, bool)>,
    /// Frames since the last successful detection, and when that was.
    unseen: u32,
    seen_at: Option<Timestamp>,
    detection: Duration,
    last: Option<Outcome>,
}

impl Clip {
    pub fn start(
        policy: Policy,
        detectors: Vec<Box<dyn Detector>>,
        every: u32,
        stream: &Stream,
        privacy: bool,
        line: &Arc<Line>,
    ) -> Result<Clip> {
        let first = detectors.first();
        let offers: Vec<Class> = first.iter().flat_map(|d| d.classes()).copied().collect();
        if first.is_some_and(|d| d.looks_in_parts()) && !policy.motion_cover() {
            return Err(PolicyError::PartsUncovered.into());
        }
        let pool = FramePool::new(stream.format, policy.max_waiting().min(256) + IN_FLIGHT);
        let mut engine = Engine::new(policy, pool.clone(), &offers)?;
        engine.set_privacy(privacy);
        let writer = Writer::new(stream)?;
        let (source, _) = line.open(ROOM, true);
        let parts = Parts {
            engine,
            detectors,
            every,
            privacy,
            ahead: None,
            unseen: u32::MAX,
            seen_at: None,
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
        Ok(self.parts().engine.set_policy(policy)?)
    }

    pub fn set_privacy(&self, on: bool) {
        let mut parts = self.parts();
        parts.privacy = on;
        parts.engine.set_privacy(on);
        if let Some((_, private)) = &mut parts.ahead {
            *private |= on;
        }
    }

    /// The detectors, for the next one.
    pub fn end(&self) -> Vec<Box<dyn Detector>> {
        std::mem::take(&mut self.parts().detectors)
    }

    /// How long a frame waits for those after it.
    pub fn delay(&self, fps: f64) -> Duration {
        let parts = self.parts();
        let policy = parts.engine.policy();
        let frames = Duration::from_secs_f64(f64::from(parts.every + 1) / fps);
        policy.look_ahead() + frames
    }

    pub fn status(&self) -> Status {
        let parts = self.parts();
        let mut status = Status::default();
        status.stats = parts.engine.stats();
        status.exposure = parts.engine.policy().max_gap();
        status.detection = parts.detection;
        status.state = match parts.last {
            _ if parts.engine.privacy() => State::Privacy,
            Some(Outcome::Covered) => State::Covered,
            Some(_) if status.stats.observations > 0 => State::Degraded,
            _ => State::Starting,
        };
        status
    }

    fn step(&self, (frame, private): (RawFrame, bool), next: Option<Timestamp>) -> Result<()> {
        let now = frame.meta().captured;
        {
            let mut parts = self.parts();
            let privacy = parts.privacy;
            parts.engine.set_privacy(privacy || private);
            parts.engine.push(frame, now)?;
            parts.engine.set_privacy(privacy);
            parts.look(now, next);
            if next.is_none() {
                parts.engine.finish();
            }
        }
        loop {
            let released = {
                let mut parts = self.parts();
                let released = parts.engine.release(now);
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
    /// Shows the newest frame to the detector, if it is its turn, or the frame after it would leave a gap too large to cover.
    fn look(&mut self, now: Timestamp, next: Option<Timestamp>) {
        self.unseen = self.unseen.saturating_add(1);
        let jump = match (next, self.seen_at) {
            (Some(next), Some(seen)) => next.since(seen) > self.engine.policy().max_gap(),
            _ => true,
        };
        if !jump && self.unseen < self.every {
            return;
        }
        let Some(detector) = self.detectors.first_mut() else { return };
        let Some(mut job) = self.engine.next_job() else { return };
        let start = Instant::now();
        let found = detector.look(&mut job);
        self.detection = start.elapsed();
        match &found {
            Ok(_) => (self.unseen, self.seen_at) = (0, Some(now)),
            Err(e) => log::warn!("{e}"),
        }
        self.engine.observe(job, found);
    }
}
