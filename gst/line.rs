//! The line between the engine and the source pad: redacted frames and serialized events, in the order in which they came in.
//!
//! A task of the source pad takes from it, so a slow downstream never holds up what redacts. A live line is bounded, and the
//! oldest frame makes room; one for files makes its filler wait instead.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use milkglass::frame::{Outcome, RedactedFrame};

use crate::picture::Writer;

/// What a frame brings along: its times travel beside it, since the engine has a clock of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    pub sequence: u64,
    pub pts: Option<gst::ClockTime>,
    pub dts: Option<gst::ClockTime>,
    pub duration: Option<gst::ClockTime>,
}

/// What the task has to do next.
pub(crate) enum Next {
    Buffer(gst::Buffer),
    Event(gst::Event),
    /// Nothing for now.
    Idle,
    /// The pad is flushed or shut down.
    Flushing,
}

struct Frame {
    sequence: u64,
    covered: bool,
    buffer: gst::Buffer,
}

struct Waiting {
    /// The last frame that came in before it; 0 when none did.
    after: u64,
    /// From here on it waits for no frame: all have left the engine, or never will.
    due: Instant,
    event: gst::Event,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Frame>,
    events: VecDeque<Waiting>,
    /// The event that was taken last, while the task pushes it: a pad that is flushed meanwhile may refuse it.
    leaving: Option<gst::Event>,
    stamps: VecDeque<Stamp>,
    /// Frames of other sources than this one are thrown away.
    source: u64,
    capacity: usize,
    /// Whether whoever fills it waits for room.
    patient: bool,
    /// The last frame that was numbered, and the last that came in.
    numbered: u64,
    taken: u64,
    /// The last frame that came out of the engine and is in the line, or will never be.
    seen: u64,
    /// Frames up to here leave no more: an event that follows them has left.
    passed: u64,
    /// Covered frames before this one leave no more: privacy mode.
    covered_from: u64,
    /// Engine's and stream's time of the last frame, for pictures that no frame brought.
    last: Option<(Duration, gst::ClockTime)>,
    gap: bool,
    missed: u64,
    flushing: bool,
    failed: Option<gst::FlowError>,
}

#[derive(Default)]
pub(crate) struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

impl Line {
    /// Starts taking frames of another source; those of earlier ones are thrown away from here on. Returns its number, and
    /// the number of its first frame.
    pub fn open(&self, capacity: usize, patient: bool) -> (u64, u64) {
        let mut state = self.lock();
        state.source += 1;
        (state.capacity, state.patient) = (capacity, patient);
        state.stamps.clear();
        state.last = None;
        (state.source, state.numbered + 1)
    }

    /// How many frames may wait.
    pub fn bound(&self, capacity: usize) {
        self.lock().capacity = capacity;
    }

    /// The number of the next frame.
    pub fn next_sequence(&self) -> u64 {
        self.lock().numbered + 1
    }

    /// A frame that is about to go into the engine.
    pub fn announce(&self, stamp: Stamp) {
        let mut state = self.lock();
        state.numbered = stamp.sequence;
        state.stamps.push_back(stamp);
    }

    /// It went in, or did not.
    pub fn settle(&self, sequence: u64, taken: bool) {
        let mut state = self.lock();
        match taken {
            true => state.taken = sequence,
            false => state.stamps.retain(|s| s.sequence != sequence),
        }
    }

    /// Takes a redacted frame. When it returns, it waits in a buffer of its own, or was thrown away.
    pub fn put(&self, source: u64, frame: &RedactedFrame, writer: &Writer) -> milkglass::Result<()> {
        let put = self.wait_in_line(source, frame, writer);
        // Only now: an event that waits for this frame would overtake it while it is copied.
        let mut state = self.lock();
        if state.source == source {
            state.seen = state.seen.max(frame.meta().sequence);
        }
        self.changed.notify_all();
        put
    }

    fn wait_in_line(&self, source: u64, frame: &RedactedFrame, writer: &Writer) -> milkglass::Result<()> {
        let meta = frame.meta();
        let covered = frame.outcome() != Outcome::Obscured;
        let mut state = self.lock();
        if !state.wants(source, meta.sequence, covered) {
            return Ok(());
        }
        let captured = Duration::from_nanos(meta.captured.as_nanos());
        let stamp = state.stamp(meta.sequence, captured);
        drop(state);
        let mut buffer = writer.write(&frame.view())?;
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(stamp.pts);
            buffer.set_dts(stamp.dts);
            buffer.set_duration(stamp.duration);
        }
        let full = |s: &mut State| {
            s.patient && s.frames.len() >= s.capacity && s.wants(source, meta.sequence, covered)
        };
        let mut state = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if !state.wants(source, meta.sequence, covered) {
            return Ok(());
        }
        if state.frames.len() >= state.capacity {
            state.frames.pop_front();
            (state.missed, state.gap) = (state.missed + 1, true);
        }
        state.frames.push_back(Frame { sequence: meta.sequence, covered, buffer });
        Ok(())
    }

    /// Puts an event behind the frames that came in before it, for which it waits at most `patience`.
    pub fn follow(&self, event: gst::Event, patience: Duration) {
        let mut state = self.lock();
        let after = state.taken;
        state.events.push_back(Waiting { after, due: Instant::now() + patience, event });
        self.changed.notify_all();
    }

    /// What leaves next. Waits for it, but no longer than `patience`.
    pub fn next(&self, patience: Duration) -> Next {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        state.leaving = None;
        loop {
            if state.flushing {
                return Next::Flushing;
            }
            let now = Instant::now();
            if let Some(next) = state.take(now) {
                self.changed.notify_all();
                return next;
            }
            if now >= until {
                return Next::Idle;
            }
            let due = state.events.front().map_or(until, |e| e.due.min(until));
            let wait = due.saturating_duration_since(now).max(Duration::from_millis(1));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Privacy mode: covered frames that came in up to now leave no more. Those that come in later neither, until
    /// [`Line::uncover`].
    pub fn hide_covered(&self) {
        self.lock().covered_from = u64::MAX;
        self.changed.notify_all();
    }

    /// Covered frames that come in from now on may leave.
    pub fn uncover(&self) {
        let mut state = self.lock();
        state.covered_from = state.numbered + 1;
    }

    /// Throws covered frames away that wait: they are not to be trusted any more.
    pub fn forget(&self) {
        let mut state = self.lock();
        state.frames.retain(|frame| !frame.covered);
        state.gap = true;
        self.changed.notify_all();
    }

    /// Throws everything away, and lets nothing in or out until [`Line::flow`]. What says which stream it is, and of which
    /// format, is kept: upstream does not send it again.
    pub fn flush(&self) {
        let mut state = self.lock();
        state.flushing = true;
        state.source += 1;
        state.frames.clear();
        let waiting = std::mem::take(&mut state.events).into_iter().map(|waiting| waiting.event);
        let events = state.leaving.take().into_iter().chain(waiting).filter(|event| {
            use gst::EventType::{Eos, Segment, StreamGroupDone};
            event.is_sticky() && !matches!(event.type_(), Eos | Segment | StreamGroupDone)
        });
        // No frame that they waited for will come any more.
        let now = Instant::now();
        state.events = events.map(|event| Waiting { after: 0, due: now, event }).collect();
        state.stamps.clear();
        self.changed.notify_all();
    }

    /// Ends a flush.
    pub fn flow(&self) {
        let mut state = self.lock();
        (state.flushing, state.failed) = (false, None);
        state.gap = true;
    }

    pub fn is_flushing(&self) -> bool {
        self.lock().flushing
    }

    /// Downstream wants no more: what still comes is thrown away, and upstream is told why.
    pub fn fail(&self, why: gst::FlowError) {
        let mut state = self.lock();
        state.failed = Some(why);
        state.frames.clear();
        self.changed.notify_all();
    }

    /// Why frames are of no use.
    pub fn failed(&self) -> Option<gst::FlowError> {
        let state = self.lock();
        if state.flushing { Some(gst::FlowError::Flushing) } else { state.failed }
    }

    /// Frames that made room because downstream was too slow.
    pub fn missed(&self) -> u64 {
        self.lock().missed
    }

    /// Before another run: nothing is left of the one before.
    pub fn reset(&self) {
        let mut state = self.lock();
        state.missed = 0;
        state.events.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wants(&self, source: u64, sequence: u64, covered: bool) -> bool {
        self.source == source
            && !self.flushing
            && self.failed.is_none()
            && sequence > self.passed
            && (!covered || sequence >= self.covered_from)
    }

    /// The times of a frame. A picture that the engine made because no frame came continues those of the last one.
    fn stamp(&mut self, sequence: u64, captured: Duration) -> Stamp {
        while self.stamps.front().is_some_and(|s| s.sequence < sequence) {
            self.stamps.pop_front();
        }
        let own = self.stamps.front().is_some_and(|s| s.sequence == sequence);
        let mut stamp = if own { self.stamps.pop_front().unwrap_or_default() } else { Stamp::default() };
        if let (false, Some((then, pts))) = (own, self.last) {
            let since = captured.saturating_sub(then);
            stamp.pts = Some(pts + gst::ClockTime::from_nseconds(since.as_nanos() as u64));
        }
        self.last = stamp.pts.map(|pts| (captured, pts)).or(self.last);
        stamp
    }

    fn take(&mut self, now: Instant) -> Option<Next> {
        loop {
            let frame = self.frames.front().map(|f| f.sequence);
            if let Some(event) = self.events.front() {
                let first = match frame {
                    Some(sequence) => sequence > event.after,
                    None => self.seen >= event.after || now >= event.due,
                };
                if first {
                    self.passed = self.passed.max(event.after);
                    self.leaving = self.events.pop_front().map(|waiting| waiting.event);
                    return self.leaving.clone().map(Next::Event);
                }
            }
            let mut frame = self.frames.pop_front()?;
            if frame.covered && frame.sequence < self.covered_from {
                self.gap = true;
                continue;
            }
            if std::mem::take(&mut self.gap)
                && let Some(buffer) = frame.buffer.get_mut()
            {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
            return Some(Next::Buffer(frame.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the task has taken, and the pad refused because it was flushed just then.
    #[test]
    fn new_caps_on_their_way_outlive_a_flush() {
        gst::init().unwrap();
        let line = Line::default();
        let next = || line.next(Duration::ZERO);
        let caps = gst::event::Caps::new(&gst::Caps::new_empty_simple("video/x-raw"));
        for event in [caps, gst::event::Eos::new()] {
            line.follow(event, Duration::ZERO);
        }
        assert!(matches!(next(), Next::Event(e) if e.type_() == gst::EventType::Caps));
        line.flush();
        assert!(matches!(next(), Next::Flushing));
        line.flow();
        assert!(matches!(next(), Next::Event(e) if e.type_() == gst::EventType::Caps));
        assert!(matches!(next(), Next::Idle));
        // It has left.
        line.flush();
        line.flow();
        assert!(matches!(next(), Next::Idle));
    }
}
