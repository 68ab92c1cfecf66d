//! A source that waits, such as a file: an [`Engine`] without threads and without deadlines.

use crate::class::Class;
use crate::detect::looks_in_parts;
use crate::detect::{Detection, Detector};
use crate::engine::Engine;
use crate::error::Result;
use crate::frame::{DetectJob, FramePool, RawFrame, RedactedFrame};
use crate::policy::{Policy, PolicyError};
use crate::time::Timestamp;

/// An [`Engine`] in step with its source: each frame is pushed, perhaps looked at, and whatever may leave is released.
/// Nothing is skipped, and as many frames come out as went in. It decides which frames are looked at: every n-th, the last
/// one, and one that precedes a gap in time too large to cover.
pub struct LockStep {
    engine: Engine,
    every: u32,
    /// The time of the newest frame.
    now: Timestamp,
    /// Frames since the last successful detection, and when that was.
    unseen: u32,
    seen_at: Option<Timestamp>,
}

impl LockStep {
    /// `detector` is the one that will be shown the frames, `None` when zones alone are hidden; `every` says that at least
    /// each `every`-th frame is looked at, 1 or more. The pool has to hold [`Policy::max_waiting`] frames beside those that
    /// the caller keeps.
    ///
    /// # Errors
    /// As [`Engine::new`]; [`PolicyError::PartsUncovered`] for a detector that looks at parts of a frame, when the policy
    /// does not cover what moves in the others.
    pub fn new(
        policy: Policy,
        pool: FramePool,
        detector: Option<&mut dyn Detector>,
        every: u32,
    ) -> Result<LockStep> {
        let mut offers: Vec<Class> = Vec::new();
        if let Some(detector) = detector {
            offers.extend(detector.classes());
            if looks_in_parts(detector) && !policy.motion_cover() {
                return Err(PolicyError::PartsUncovered.into());
            }
        }
        let engine = Engine::new(policy, pool, &offers)?;
        Ok(LockStep { engine, every, now: Timestamp::ZERO, unseen: u32::MAX, seen_at: None })
    }

    /// Takes in the next frame.
    ///
    /// # Errors
    /// As [`Engine::push`].
    pub fn push(&mut self, frame: RawFrame) -> Result<()> {
        self.now = frame.meta().captured;
        self.unseen = self.unseen.saturating_add(1);
        self.engine.push(frame, self.now)
    }

    /// Has the newest frame looked at, if it is to be. `next` is the time of the frame after it; `None` says that it is the
    /// last one, and all frames may leave afterwards. `detect` is called once at most.
    pub fn look(
        &mut self,
        next: Option<Timestamp>,
        detect: impl FnOnce(&mut DetectJob) -> Result<Vec<Detection>>,
    ) {
        let covered = match (next, self.seen_at) {
            (Some(next), Some(seen)) => next.since(seen) <= self.engine.policy().max_gap(),
            _ => false,
        };
        if (self.unseen >= self.every || !covered)
            && let Some(mut job) = self.engine.next_job()
        {
            let found = detect(&mut job);
            if found.is_ok() {
                (self.unseen, self.seen_at) = (0, Some(self.now));
            }
            self.engine.observe(job, found);
        }
        if next.is_none() {
            self.engine.finish();
        }
    }

    /// The next frame that may leave; to be asked until it is `None`.
    pub fn release(&mut self) -> Option<RedactedFrame> {
        self.engine.release(self.now)
    }

    /// The engine: its policy, figures, privacy mode.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }
}
