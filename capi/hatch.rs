//! The serving hatch between a pipeline's target thread and whoever takes frames.
//!
//! The target thread keeps a redacted frame in hand until somebody asks, and then writes it to the memory that they hold
//! out. So a frame is copied once, and no memory but the caller's ever holds the copy.

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

#[derive(Default)]
struct State {
    /// Somebody asks; others wait for their turn.
    busy: bool,
    /// The memory that is held out.
    wanted: Option<Target>,
    served: Option<Served>,
    /// Times that everything was forgotten: a frame in hand from before is thrown away.
    forgotten: u64,
    ended: bool,
    closed: bool,
}

#[derive(Default)]
pub(crate) struct Hatch {
    state: Mutex<State>,
    /// For the target thread: somebody asks, or nobody will.
    asked: Condvar,
    /// For those who ask.
    answered: Condvar,
}

impl Hatch {
    /// Asks for the next frame. `None` waits without end.
    pub fn ask(&self, target: Target, patience: Option<Duration>) -> Asked {
        // A time beyond the clock's end is no limit either.
        let until = patience.and_then(|p| Instant::now().checked_add(p));
        let mut state = self.lock();
        while state.busy && !state.closed {
            match self.wait(state, until) {
                Some(woken) => state = woken,
                None => return Asked::Timeout,
            }
        }
        if state.closed {
            return Asked::Closed;
        }
        state.busy = true;
        state.wanted = Some(target);
        self.asked.notify_one();
        loop {
            let over = match state.served.take() {
                Some(served) => Some(Asked::Served(served)),
                None if state.closed => Some(Asked::Closed),
                None if state.ended => Some(Asked::Ended),
                None => None,
            };
            if let Some(over) = over {
                return self.leave(state, over);
            }
            match self.wait(state, until) {
                Some(woken) => state = woken,
                None => {
                    // Between the time running out and the lock, it may have been served.
                    let mut state = self.lock();
                    let served = state.served.take();
                    return self.leave(state, served.map_or(Asked::Timeout, Asked::Served));
                }
            }
        }
    }

    /// Takes the memory back: from here on nobody writes to it.
    fn leave(&self, mut state: MutexGuard<'_, State>, with: Asked) -> Asked {
        state.wanted = None;
        state.busy = false;
        self.answered.notify_all();
        with
    }

    /// The frame in hand is not to be served any more.
    pub fn forget(&self) {
        self.lock().forgotten += 1;
        self.asked.notify_one();
    }

    /// Nobody will ask any more, and whoever does is sent away.
    pub fn close(&self) {
        self.lock().closed = true;
        self.asked.notify_one();
        self.answered.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> Option<MutexGuard<'a, State>> {
        let Some(until) = until else {
            return Some(self.answered.wait(state).unwrap_or_else(PoisonError::into_inner));
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        Some(self.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pipeline's end of the hatch. When it is dropped, no frame will come any more.
pub(crate) struct Server(pub Arc<Hatch>);

impl FrameSink for Server {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        let hatch = &self.0;
        let state = hatch.lock();
        let before = state.forgotten;
        let nobody = |s: &mut State| s.wanted.is_none() && !s.closed && s.forgotten == before;
        let mut state = hatch.asked.wait_while(state, nobody).unwrap_or_else(PoisonError::into_inner);
        if state.closed || state.forgotten != before {
            return Ok(());
        }
        if let Some(target) = state.wanted.take() {
            // SAFETY: `wanted` is there only while its owner waits in `ask`, and the lock is held. Both formats are the
            // stream's.
            unsafe { target.write(&frame.view()) };
            state.served = Some((frame.meta(), frame.outcome()));
            hatch.answered.notify_all();
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.answered.notify_all();
    }
}
