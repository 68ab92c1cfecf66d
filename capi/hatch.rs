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
    /// The target thread has a frame and waits for somebody to ask.
    in_hand: bool,
    /// The memory that is held out.
    wanted: Option<Target>,
    served: Option<Served>,
    /// Whatever comes is from before privacy mode, until the target thread is told to forget.
    stale: bool,
    /// Privacy mode: whatever shows anything is from before it.
    private: bool,
    /// Nothing is served any more: what still comes is thrown away.
    dry: bool,
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
            if over(until) {
                return Asked::Timeout;
            }
            state = self.wait(state, until);
        }
        if state.closed {
            return Asked::Closed;
        }
        state.busy = true;
        state.wanted = Some(target);
        self.asked.notify_one();
        let with = loop {
            match state.served.take() {
                Some(served) => break Asked::Served(served),
                None if state.closed => break Asked::Closed,
                None if state.ended => break Asked::Ended,
                // A frame in hand is as good as there, even for those who do not wait.
                None if state.in_hand => state = self.wait(state, None),
                None if over(until) => break Asked::Timeout,
                None => state = self.wait(state, until),
            }
        };
        self.leave(state, with)
    }

    /// Takes the memory back: from here on nobody writes to it.
    fn leave(&self, mut state: MutexGuard<'_, State>, with: Asked) -> Asked {
        state.wanted = None;
        state.busy = false;
        self.answered.notify_all();
        with
    }

    /// Has frames thrown away until the pipeline tells its target to forget: between its queue and [`Server::send`] there
    /// may be one that no queue can empty.
    pub fn hold(&self) {
        let mut state = self.lock();
        (state.stale, state.private) = (true, true);
        drop(state);
        self.asked.notify_one();
    }

    /// Privacy mode is over.
    pub fn allow(&self) {
        self.lock().private = false;
    }

    /// Waits until it has, so that the next [`Hatch::hold`] is not ended by this one's.
    pub fn wait_fresh(&self) {
        let state = self.lock();
        let waits = |s: &mut State| s.stale && !s.ended && !s.closed;
        drop(self.answered.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner));
    }

    /// Nothing that still comes is to be served.
    pub fn dry_up(&self) {
        self.lock().dry = true;
        self.asked.notify_one();
    }

    /// Nobody will ask any more, and whoever does is sent away.
    pub fn close(&self) {
        self.lock().closed = true;
        self.asked.notify_one();
        self.answered.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        let Some(until) = until else {
            return self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let left = until.saturating_duration_since(Instant::now());
        self.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

/// The pipeline's end of the hatch. When it is dropped, no frame will come any more.
pub(crate) struct Server(pub Arc<Hatch>);

impl FrameSink for Server {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        let hatch = &self.0;
        let mut state = hatch.lock();
        let covered = frame.outcome() != Outcome::Obscured;
        let useless = |s: &State| s.closed || s.dry || s.stale || (s.private && covered);
        state.in_hand = true;
        let nobody = |s: &mut State| s.wanted.is_none() && !useless(s);
        let mut state = hatch.asked.wait_while(state, nobody).unwrap_or_else(PoisonError::into_inner);
        state.in_hand = false;
        hatch.answered.notify_all();
        if useless(&state) {
            return Ok(());
        }
        if let Some(target) = state.wanted.take() {
            // SAFETY: `wanted` is there only while its owner waits in `ask`, and the lock is held. Both formats are the
            // stream's.
            unsafe { target.write(&frame.view()) };
            state.served = Some((frame.meta(), frame.outcome()));
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.0.lock().stale = false;
        self.0.answered.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.answered.notify_all();
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
        match hatch.ask(target, None) {
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
