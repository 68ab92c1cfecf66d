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
                    // First, so that the target thread does not wake to wait for it.
                    drop(state);
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

#[cfg(test)]
mod tests {
    use super::*;
    use milkglass::{Engine, FrameFormat, FramePool, PixelFormat, Policy, Polygon, Style, Timestamp, Zone};

    use crate::types::milkglass_frame;

    const SIZE: usize = 16;

    /// Frames of an engine that hides a zone, covered or in privacy mode.
    fn frames() -> impl FnMut(bool) -> RedactedFrame {
        let area = Polygon::new([(0.0, 0.0), (1.0, 0.0), (1.0, 0.5)]).expect("a polygon");
        let zone = Zone::new("z", area, Style::default()).expect("a zone");
        let policy = Policy::builder().zone(zone).build().expect("a policy");
        let format = FrameFormat::new(PixelFormat::Rgb24, SIZE as u32, SIZE as u32).expect("a format");
        let pool = FramePool::new(format, 4);
        let mut engine = Engine::new(policy, pool.clone(), &[]).expect("zones need no detector");
        let mut sequence = 0;
        move |private| {
            sequence += 1;
            let now = Timestamp::from_millis(sequence);
            engine.set_privacy(private);
            let raw = pool.fill(FrameMeta { sequence, captured: now }, |_| Ok(()));
            engine.push(raw.expect("filled").expect("a buffer"), now).expect("times rise");
            engine.release(now).expect("zones wait for nobody")
        }
    }

    /// Asks once, as long as it takes, and says what it got.
    fn ask(hatch: &Hatch) -> Option<Outcome> {
        let mut pixels = [0u8; SIZE * SIZE * 3];
        let format = FrameFormat::new(PixelFormat::Rgb24, SIZE as u32, SIZE as u32).expect("a format");
        let nowhere = std::ptr::null_mut();
        let frame = milkglass_frame {
            size: size_of::<milkglass_frame>(),
            data: [pixels.as_mut_ptr(), nowhere, nowhere],
            stride: [SIZE * 3, 0, 0],
            length: [pixels.len(), 0, 0],
            captured: 0,
            sequence: 0,
            outcome: 0,
            reserved: 0,
        };
        let Ok(target) = Target::check(&frame, &format) else { return None };
        match hatch.ask(&target, None) {
            Asked::Served((_, outcome)) => Some(outcome),
            _ => None,
        }
    }

    /// What is served first, of a covered frame and an obscured one that come in this order once privacy mode is in force
    /// everywhere, and was ended again if `allowed`.
    fn first(allowed: bool) -> Option<Outcome> {
        let (hatch, mut frame) = (Arc::new(Hatch::default()), frames());
        let mut server = Server(Arc::clone(&hatch));
        hatch.hold();
        server.forget();
        hatch.wait_fresh();
        if allowed {
            hatch.allow();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| [false, true].map(|private| server.send(&frame(private)).is_ok()));
            let first = ask(&hatch);
            hatch.close();
            first
        })
    }

    /// The target thread may have taken it from its queue before the queue was emptied, and bring it afterwards.
    #[test]
    fn a_covered_frame_that_comes_after_privacy_mode_began_is_thrown_away() {
        assert_eq!(first(false), Some(Outcome::Obscured));
        assert_eq!(first(true), Some(Outcome::Covered));
    }
}
