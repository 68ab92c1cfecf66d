//! The queue between the redact thread and one target: a few frames, the oldest dropped, never waits.
//!
//! tests/threads.rs runs this very file under every interleaving of a few threads, hence `super::sync`.

use std::collections::VecDeque;

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Frames, or rather shares of them, that wait for a target.
pub(super) struct Outbox<F> {
    state: Mutex<Waiting<F>>,
    changed: Condvar,
}

struct Waiting<F> {
    frames: VecDeque<F>,
    forget: bool,
    closed: bool,
    dropped: u64,
    capacity: usize,
}

/// What a target has to do next: forget what it keeps, then show a frame.
pub(super) struct Taken<F> {
    pub forget: bool,
    pub frame: Option<F>,
}

impl<F: Clone> Outbox<F> {
    /// A queue for `capacity` frames.
    pub fn new(capacity: usize) -> Outbox<F> {
        let frames = VecDeque::with_capacity(capacity);
        let state = Waiting { frames, forget: false, closed: false, dropped: 0, capacity };
        Outbox { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds a frame; the oldest makes room.
    pub fn put(&self, frame: &F) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.frames.len() >= state.capacity {
            state.frames.pop_front();
            state.dropped += 1;
        }
        state.frames.push_back(frame.clone());
        self.changed.notify_one();
    }

    /// Discards what waits, and has the target forget what it keeps.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.frames.clear();
        state.forget = true;
        self.changed.notify_one();
    }

    /// The source has ended: the frames that it left, no more than the pool holds, all wait for the target together.
    pub fn keep_all(&self) {
        self.lock().capacity = usize::MAX;
    }

    /// No more frames; what waits is still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for something to do; `None` at the end.
    pub fn take(&self) -> Option<Taken<F>> {
        let waiting = self.lock();
        let idle = |s: &mut Waiting<F>| s.frames.is_empty() && !s.forget && !s.closed;
        let mut state = self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        let forget = std::mem::take(&mut state.forget);
        let frame = state.frames.pop_front();
        (forget || frame.is_some()).then_some(Taken { forget, frame })
    }

    /// Frames that were dropped because the target was too slow.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Every state is a good one, so a poisoned lock is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, Waiting<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
