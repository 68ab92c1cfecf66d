//! The fail-closed core: a state machine without threads, clock or I/O. `now` is an argument.
//!
//! Every branch that cannot decide obscures, drops or waits. Review this file line by line.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::class::Class;
use crate::detect::Detection;
use crate::error::{Error, Result};
use crate::frame::{DetectJob, FrameMeta, FramePool, RawFrame, RedactedFrame, Spare};
use crate::motion::Motion;
use crate::policy::{OnDeadline, Policy, PolicyError};
use crate::redact::Outcome;
use crate::redact::{Mosaics, paint_whole};
use crate::redact::{RuleSet, Rules};
use crate::stats::Stats;
use crate::time::Timestamp;
use crate::track::{Tracker, Verdict};

/// Holds raw frames in a line until detection has covered their time, and lets them out redacted.
///
/// Drive it like this: [`push`](Engine::push) each frame; give [`next_job`](Engine::next_job) to a detector and its result
/// to [`observe`](Engine::observe); call [`release`](Engine::release) until it returns `None`. At the end of a clip call
/// [`finish`](Engine::finish) and release the rest.
pub struct Engine {
    pool: FramePool,
    offers: Vec<Class>,
    rules: Arc<Rules>,
    /// What a new frame lives under: `rules` alone.
    fresh: RuleSet,
    tracker: Tracker,
    /// What changed since it was looked at; from the first policy on that covers motion.
    motion: Option<Motion>,
    mosaics: Mosaics,
    line: VecDeque<Waiting>,
    /// The frame that a detector has. One at a time, so one ticket, which its job carries, serves all.
    loan: Option<Loan>,
    ticket: Arc<()>,
    /// A buffer in reserve: one loan can outlive its deadline, and its frame must still be replaced.
    spare: Option<Spare>,
    last_pushed: Option<Timestamp>,
    privacy: bool,
    finished: bool,
    stats: Stats,
}

/// A frame in the line.
struct Waiting {
    meta: FrameMeta,
    arrived: Timestamp,
    /// `None` while a detector has it, or when it never came back.
    frame: Option<RawFrame>,
    /// Every policy it has lived under: all of them hide (I3).
    rules: RuleSet,
    /// Privacy mode, or a change of what is detected: it leaves obscured whatever is known.
    obscure: bool,
}

struct Loan {
    captured: Timestamp,
    /// What it finds counts no longer; it only has to come back.
    void: bool,
}

/// A frame that waits while the policy changes more often than this is obscured: its masks are not let grow.
const MOST_POLICIES: usize = 8;

impl Engine {
    /// An engine for frames of `pool`. `offers` are the classes that its detector finds (empty: zones alone).
    ///
    /// # Errors
    /// [`PolicyError::NoDetector`] when the policy hides a class that is not offered; [`Error::PoolTooSmall`] for a pool of
    /// fewer than two buffers, or one with no buffer free.
    pub fn new(policy: Policy, pool: FramePool, offers: &[Class]) -> Result<Engine> {
        check_offers(&policy, offers)?;
        let too_small = Error::PoolTooSmall { count: pool.count(), needed: 2 };
        let spare = if pool.count() < 2 { None } else { pool.spare() };
        let spare = Some(spare.ok_or(too_small)?);
        let rules = Arc::new(Rules::new(policy, pool.format()));
        Ok(Engine {
            line: VecDeque::with_capacity(pool.count()),
            pool,
            offers: offers.to_vec(),
            fresh: Arc::from([Arc::clone(&rules)]),
            rules,
            tracker: Tracker::default(),
            motion: None,
            mosaics: Mosaics::default(),
            loan: None,
            ticket: Arc::default(),
            spare,
            last_pushed: None,
            privacy: false,
            finished: false,
            stats: Stats::default(),
        })
    }

    /// Puts a frame at the end of the line. Its age counts from `now`.
    ///
    /// # Errors
    /// [`Error::TimeOrder`] when its time is not later than the last one's, [`Error::ForeignFrame`] when it is of another
    /// pool. The frame is scrubbed.
    pub fn push(&mut self, frame: RawFrame, now: Timestamp) -> Result<()> {
        let meta = frame.meta();
        if !self.pool.owns(&frame) {
            return Err(Error::ForeignFrame);
        }
        if let Some(last) = self.last_pushed
            && meta.captured <= last
        {
            return Err(Error::TimeOrder { last, got: meta.captured });
        }
        self.last_pushed = Some(meta.captured);
        self.stats.pushed += 1;
        if self.rules.policy.motion_cover() && !self.privacy {
            let motion =
                self.motion.get_or_insert_with(|| Motion::new(self.pool.format(), self.pool.count()));
            frame.look(|view| motion.push(meta.captured, &view));
        }
        let rules = Arc::clone(&self.fresh);
        self.line.push_back(Waiting { meta, arrived: now, frame: Some(frame), rules, obscure: self.privacy });
        Ok(())
    }

    /// Lends the newest waiting frame to a detector. `None` while a loan is out, when nothing newer than the last
    /// observation waits, or when the policy hides zones alone.
    pub fn next_job(&mut self) -> Option<DetectJob> {
        self.settle_lost_loan();
        if self.loan.is_some() || self.finished || self.rules.policy.classes().next().is_none() {
            return None;
        }
        let waiting = self.line.back_mut()?;
        let seen = self.tracker.newest().is_some_and(|newest| newest >= waiting.meta.captured);
        if seen || waiting.obscure {
            return None;
        }
        let captured = waiting.meta.captured;
        let job = waiting.frame.take()?.lend(Arc::clone(&self.ticket));
        self.loan = Some(Loan { captured, void: false });
        Some(match &mut self.motion {
            Some(motion) => job.with_moved(motion.moved(captured)),
            None => job,
        })
    }

    /// Ends a loan with what the detector found in it. An error, or an impossible detection, covers nothing. Returns the
    /// list's memory, for [`InStream::reuse`](crate::detect::InStream::reuse).
    pub fn observe(&mut self, job: DetectJob, found: Result<Vec<Detection>>) -> Vec<Detection> {
        let (ok, mut list) = (found.is_ok(), found.unwrap_or_default());
        self.take_back(job, ok.then_some(&list));
        list.clear();
        list
    }

    fn take_back(&mut self, job: DetectJob, found: Option<&Vec<Detection>>) {
        let captured = job.meta().captured;
        let Some(loan) = self.loan.take() else { return };
        let void = loan.void;
        let Some((frame, part, moved)) = job.end(&self.ticket) else {
            // Not our loan: its frame was scrubbed; ours is still out.
            self.loan = Some(loan);
            return;
        };
        if let Some(motion) = &mut self.motion {
            motion.take_back(moved);
        }
        let size = self.pool.format().size();
        match self.line.iter_mut().find(|w| w.meta.captured == captured) {
            Some(waiting) => waiting.frame = Some(frame),
            // Its deadline passed and a blank took its place: the buffer becomes the new reserve.
            None => self.spare = Some(frame.into_spare()),
        }
        if void {
            return;
        }
        let stale = self.tracker.newest().is_some_and(|newest| newest >= captured);
        // A part alone says nothing of the rest, unless what moves there is covered.
        let enough = part.is_none() || self.rules.policy.motion_cover();
        match found {
            Some(found) if !stale && enough && found.iter().all(is_possible) => {
                self.stats.observations += 1;
                self.tracker.observe(captured, found, part, &self.rules, size);
                if let Some(motion) = &mut self.motion {
                    motion.examined(captured, part);
                }
            }
            _ => self.stats.detector_errors += 1,
        }
    }

    /// The next frame that may be seen, in capture order (I4). Call until `None`, after every push and observation and
    /// when a deadline passes.
    pub fn release(&mut self, now: Timestamp) -> Option<RedactedFrame> {
        loop {
            self.settle_lost_loan();
            let front = self.line.front()?;
            let captured = front.meta.captured;
            self.tracker.forget(captured, &front.rules);
            let policy = &self.rules.policy;
            let age = now.since(front.arrived);
            let late = front.rules.iter().any(|r| r.policy.deadline().is_some_and(|limit| age >= limit));
            let on_loan = self.loan.as_ref().is_some_and(|l| !l.void && l.captured == captured);
            let crowded = self.line.len() > policy.max_waiting();
            let verdict = if front.obscure || late || (front.frame.is_none() && !on_loan) {
                Verdict::Never
            } else if on_loan {
                Verdict::Wait
            } else {
                self.tracker.cover(
                    captured,
                    &front.rules,
                    self.pool.format().size(),
                    self.finished || crowded,
                    self.motion.as_mut(),
                )
            };
            let color = policy.obscure_color();
            let cover = match verdict {
                Verdict::Wait => return None,
                Verdict::Cover(cover) => {
                    self.mosaics.forget_tracks(|track| self.tracker.has(track));
                    cover
                }
                Verdict::Never if late && policy.on_deadline() == OnDeadline::Drop && !front.obscure => {
                    self.line.pop_front();
                    self.left(captured);
                    self.stats.dropped += 1;
                    continue;
                }
                Verdict::Never => Tracker::whole(color),
            };
            let waiting = self.line.pop_front()?;
            self.left(captured);
            let frame = match (waiting.frame, self.spare.take()) {
                (Some(frame), spare) => {
                    self.spare = spare;
                    frame.redact(&cover, &mut self.mosaics)
                }
                (None, Some(spare)) => FramePool::blank(spare, waiting.meta, |view| paint_whole(view, color)),
                (None, None) => {
                    // The reserve is out too: withhold rather than guess.
                    self.stats.dropped += 1;
                    continue;
                }
            };
            let list = self.tracker.reuse(cover);
            if let Some(motion) = &mut self.motion {
                motion.take_back_cover(list);
            }
            match frame.outcome() {
                Outcome::Covered => self.stats.covered += 1,
                Outcome::Obscured => self.stats.obscured += 1,
            }
            return Some(frame);
        }
    }

    /// Exchanges the policy. Frames that wait are hidden by the old and the new one. If the new one hides other classes,
    /// or no longer covers what moves, observing starts anew, and frames are obscured until the first detection.
    ///
    /// # Errors
    /// [`PolicyError::NoDetector`]; the old policy stays in force.
    pub fn set_policy(&mut self, policy: Policy) -> Result<(), PolicyError> {
        check_offers(&policy, &self.offers)?;
        if policy == self.rules.policy {
            return Ok(());
        }
        // Without motion cover, an observation of a part of the picture is none.
        let uncovered = self.rules.policy.motion_cover() && !policy.motion_cover();
        let anew = uncovered || !policy.classes().eq(self.rules.policy.classes());
        self.rules = Arc::new(Rules::new(policy, self.pool.format()));
        self.fresh = Arc::from([Arc::clone(&self.rules)]);
        self.mosaics.clear();
        for waiting in &mut self.line {
            waiting.obscure |= anew || waiting.rules.len() >= MOST_POLICIES;
            if !waiting.obscure {
                waiting.rules = waiting.rules.iter().chain([&self.rules]).cloned().collect();
            }
        }
        if anew {
            self.tracker = Tracker::default();
            self.motion = None;
            self.void_loan();
        }
        Ok(())
    }

    /// Privacy mode: everything is obscured, at once, waiting frames included. Frames taken in before it ends stay obscured.
    pub fn set_privacy(&mut self, on: bool) {
        self.privacy = on;
        if on {
            self.mosaics.clear();
            if let Some(motion) = &mut self.motion {
                motion.clear();
            }
            self.line.iter_mut().for_each(|w| w.obscure = true);
        }
    }

    /// A picture of one colour, made of nothing, for when privacy mode is on and no frame comes: it replaces what a target
    /// showed last. It bears `meta`, which must be later than every frame before. `None` unless privacy mode is on, the line
    /// is empty and a buffer is free.
    pub fn blank(&mut self, meta: FrameMeta) -> Option<RedactedFrame> {
        if !self.privacy
            || !self.line.is_empty()
            || self.last_pushed.is_some_and(|last| meta.captured <= last)
        {
            return None;
        }
        self.settle_lost_loan();
        let color = self.rules.policy.obscure_color();
        let frame = FramePool::blank(self.spare.take()?, meta, |view| paint_whole(view, color));
        self.last_pushed = Some(meta.captured);
        self.stats.obscured += 1;
        Some(frame)
    }

    /// No frame and no observation will come any more: what is covered by now leaves covered, the rest obscured.
    pub fn finish(&mut self) {
        self.finished = true;
        self.void_loan();
    }

    /// When the oldest waiting frame must leave, whatever is known by then; call [`Engine::release`] no later.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.line.front().and_then(|front| Some(front.arrived + self.rules.policy.deadline()?))
    }

    /// Whether privacy mode is on.
    pub fn privacy(&self) -> bool {
        self.privacy
    }

    /// Counters so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.rules.policy
    }

    /// The frame of that time has left the line.
    fn left(&mut self, captured: Timestamp) {
        let on_loan = self.loan.as_ref().map(|l| l.captured);
        if let Some(motion) = &mut self.motion {
            motion.leave(captured, on_loan);
        }
    }

    fn void_loan(&mut self) {
        if let Some(loan) = &mut self.loan {
            loan.void = true;
        }
    }

    /// A job that was dropped covers nothing; its frame is gone, and another one may be lent.
    fn settle_lost_loan(&mut self) {
        if self.loan.is_some() && Arc::strong_count(&self.ticket) == 1 {
            self.loan = None;
            self.stats.lost_jobs += 1;
        }
        if self.spare.is_none() {
            self.spare = self.pool.spare();
        }
    }
}

fn check_offers(policy: &Policy, offers: &[Class]) -> Result<(), PolicyError> {
    match policy.classes().find(|c| !offers.contains(c)) {
        Some(class) => Err(PolicyError::NoDetector(class)),
        None => Ok(()),
    }
}

fn is_possible(d: &Detection) -> bool {
    d.score.is_finite() && d.slack.is_finite() && d.slack >= 0.0
}
