//! Redacted frames for a program that comes and takes them.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Outbox, lock};
use crate::frame::RedactedFrame;

/// The end of a [`Pipeline`](crate::Pipeline) that a program takes redacted frames from, on a thread of its own: in place of a
/// [`FrameSink`](crate::FrameSink), which a thread of the pipeline calls. Its clones are the same receiver.
///
/// Who does not take loses the oldest frames ([`Status::target_drops`](crate::pipeline::Status::target_drops)) and holds nobody up.
#[derive(Clone)]
pub struct FrameReceiver {
    outbox: Arc<Outbox>,
    /// Held while a frame is shown, so that privacy mode can wait for whoever looks at an earlier one.
    showing: Arc<Mutex<()>>,
}

/// How asking an [`FrameReceiver`] for a frame ended. Complete on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<R> {
    /// A frame was shown; what came of it.
    Frame(R),
    /// None came in time.
    TimedOut,
    /// None will come any more.
    Ended,
}

impl FrameReceiver {
    pub(super) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.outbox)
    }

    pub(super) fn new(outbox: Arc<Outbox>) -> FrameReceiver {
        FrameReceiver { outbox, showing: Arc::default() }
    }

    /// Shows the next frame to `look`, which may copy it; waits for one at most as long as `patience`, `None` without end.
    /// One frame is shown at a time. `look` must not call [`Pipeline::set_privacy`](crate::Pipeline::set_privacy), which
    /// waits for it.
    pub fn take<R>(&self, patience: Option<Duration>, look: impl FnOnce(&RedactedFrame) -> R) -> Taken<R> {
        // A time beyond the clock's end is no limit either.
        let until = patience.and_then(|p| Instant::now().checked_add(p));
        loop {
            {
                // First, so that no frame is between the outbox and its showing when `settle` has come through.
                let _showing = lock(&self.showing);
                match self.outbox.poll() {
                    Poll::Ready(None) => return Taken::Ended,
                    // An order to forget alone: nothing is kept here.
                    Poll::Ready(Some(taken)) if taken.frame.is_none() => continue,
                    Poll::Ready(Some(taken)) => {
                        if let Some(Some(shown)) = taken.frame.map(|frame| frame.show(look)) {
                            return Taken::Frame(shown);
                        }
                        // Never: a share has its frame.
                        return Taken::Ended;
                    }
                    Poll::Pending => {}
                }
            }
            if !self.outbox.wait(until) {
                return Taken::TimedOut;
            }
        }
    }

    /// Throws away what waits; nothing is shown any more once this has returned, and whoever asks is told that it has ended.
    pub fn shut(&self) {
        self.outbox.close();
        self.outbox.clear();
        self.settle();
    }

    /// Waits for whoever looks at a frame.
    pub(super) fn settle(&self) {
        drop(lock(&self.showing));
    }
}
