//! The serving hatch between a pipeline's target thread and whoever takes frames.
//!
//! The target thread holds a redacted frame out until somebody takes it, or it is of no use any more. Whoever takes it copies
//! it on their own thread to their own memory. So a frame is copied once, by the thread that wants it.

use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use milkglass::{FrameMeta, FrameSink, Outcome, RedactedFrame, Result};

use crate::picture::Target;

/// What is known of a frame that was handed over.
pub(crate) type Served = (FrameMeta, Outcome);

/// How asking for a frame ended.
pub(crate) enum Asked {
    Served(Served),
    Timeout,
    /// No frame will come any more.
    Ended,
    /// The stream was closed.
    Closed,
}

/// A frame that the target thread holds out.
struct HeldOut(NonNull<RedactedFrame>);

// SAFETY: shared, it is only read, and a `RedactedFrame` may be read by every thread (checked below).
unsafe impl Send for HeldOut {}
const _: fn() = || {
    fn readable_by_all<T: Sync>() {}
    readable_by_all::<RedactedFrame>();
};

#[derive(Default)]
struct State {
    /// There only while the target thread waits in [`Server::send`].
    held_out: Option<HeldOut>,
    /// Whatever comes is from before privacy mode, until the target thread is told to forget.
    stale: bool,
    /// Privacy mode: whatever shows anything is from before it.
    private: bool,
    /// Nothing is served any more: what still comes is thrown away.
    dry: bool,
    ended: bool,
    closed: bool,
}

impl State {
    fn serves(&self, outcome: Outcome) -> bool {
        let shows = outcome != Outcome::Obscured;
        !(self.closed || self.dry || self.stale || self.private && shows)
    }
}

#[derive(Default)]
pub(crate) struct Hatch {
    state: Mutex<State>,
    /// For the target thread: its frame was taken, or nobody may have it.
    answered: Condvar,
    /// For those who ask.
    offered: Condvar,
}

impl Hatch {
    /// Takes the next frame, as a copy in `target`. `None` waits without end.
    pub fn ask(&self, target: &Target, patience: Option<Duration>) -> Asked {
        // A time beyond the clock's end is no limit either.
        let until = patience.and_then(|p| Instant::now().checked_add(p));
        let mut state = self.lock();
        loop {
            if state.closed {
                return Asked::Closed;
            }
            if let Some(HeldOut(frame)) = &state.held_out {
                // SAFETY: the target thread keeps it until it has the lock again and finds that it is gone.
                let frame = unsafe { frame.as_ref() };
                let served = (frame.meta(), frame.outcome());
                if state.serves(served.1) {
                    // SAFETY: the caller keeps the memory good while it asks. Both formats are the stream's.
                    unsafe { target.write(&frame.view()) };
                    state.held_out = None;
                    self.answered.notify_one();
                    return Asked::Served(served);
                }
            }
            if state.ended {
                return Asked::Ended;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return Asked::Timeout,
                Some(left) => {
                    self.offered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.offered.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Has frames thrown away until the pipeline tells its target to forget: between its queue and [`Server::send`] there
    /// may be one that no queue can empty.
    pub fn hold(&self) {
        self.change(|state| (state.stale, state.private) = (true, true));
    }

    /// Privacy mode is over.
    pub fn allow(&self) {
        self.lock().private = false;
    }

    /// Waits until it has, so that the next [`Hatch::hold`] is not ended by this one's.
    pub fn wait_fresh(&self) {
        let state = self.lock();
        let waits = |s: &mut State| s.stale && !s.ended && !s.closed;
        drop(self.offered.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner));
    }

    /// Nothing that still comes is to be served.
    pub fn dry_up(&self) {
        self.change(|state| state.dry = true);
    }

    /// Nobody will ask any more, and whoever does is sent away.
    pub fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.answered.notify_all();
        self.offered.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pipeline's end of the hatch. When it is dropped, no frame will come any more.
pub(crate) struct Server(pub Arc<Hatch>);

impl FrameSink for Server {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        let mut state = self.0.lock();
        state.held_out = Some(HeldOut(NonNull::from(frame)));
        self.0.offered.notify_all();
        let waits = |s: &mut State| s.held_out.is_some() && s.serves(frame.outcome());
        let mut state = self.0.answered.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        state.held_out = None;
        Ok(())
    }

    fn forget(&mut self) {
        self.0.change(|state| state.stale = false);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.change(|state| state.ended = true);
    }
}
