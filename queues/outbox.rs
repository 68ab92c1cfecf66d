//! The queue between the redact thread and one target: a few frames, the oldest dropped, never waits.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Frames, or rather shares of them, that wait for a target.
pub struct Outbox<F> {
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

impl<F> Waiting<F> {
    fn is_idle(&self) -> bool {
        self.frames.is_empty() && !self.forget && !self.closed
    }

    fn take(&mut self) -> Option<Taken<F>> {
        let forget = std::mem::take(&mut self.forget);
        let frame = self.frames.pop_front();
        (forget || frame.is_some()).then_some(Taken { forget, frame })
    }
}

/// What a target has to do next: forget what it keeps, then show a frame.
#[derive(Debug)]
pub struct Taken<F> {
    /// Drop whatever was kept, before the frame is shown.
    pub forget: bool,
    /// The next frame, if one waits.
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
        self.changed.notify_all();
    }

    /// The source has ended: the frames that it left, no more than the pool holds, all wait for the target together.
    pub fn keep_all(&self) {
        self.lock().capacity = usize::MAX;
    }

    /// No more frames; what waits is still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for something to do; `None` at the end.
    pub fn take(&self) -> Option<Taken<F>> {
        let waiting = self.lock();
        let idle = |s: &mut Waiting<F>| s.is_idle();
        let mut state = self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        state.take()
    }

    /// The same without waiting.
    pub fn poll(&self) -> Poll<Option<Taken<F>>> {
        let mut state = self.lock();
        if state.is_idle() { Poll::Pending } else { Poll::Ready(state.take()) }
    }

    /// Waits for something to do, `None` without end; false when there is nothing by then. Several may wait.
    pub fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.is_idle() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => return false,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        true
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
