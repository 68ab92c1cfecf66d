//! Frames that a program takes by itself: in order, each once, none that privacy mode or the end has called back.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use milkglass::frame::Outcome;
use milkglass::picture::PixelFormat;
use milkglass::pipeline::{FrameReceiver, State, Taken};
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::source::{FrameSender, Pushed};
use milkglass::time::Timestamp;
use milkglass::{FrameFormat, Pipeline, Policy};

const SOON: Option<Duration> = Some(Duration::from_millis(200));
const LATE: Option<Duration> = Some(Duration::from_secs(20));
/// What is raw; obscured frames and zones are black.
const RAW: u8 = 200;

/// A pipeline that hides the left half and needs no detector.
struct Rig {
    pipeline: Pipeline,
    sender: FrameSender,
    receiver: FrameReceiver,
    next: u64,
}

impl Rig {
    fn start(privacy: bool) -> Rig {
        let left = Polygon::new([(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]).unwrap();
        let zone = Zone::new("left", left, Style::default()).unwrap();
        let (sender, source) = FrameSender::new(0);
        let policy = Policy::builder().zone(zone).build().unwrap();
        let format = FrameFormat::new(PixelFormat::Rgb24, 64, 16).unwrap();
        let pipeline = Pipeline::builder(policy, format, source).fps(25.0).buffers(12).privacy(privacy);
        let (pipeline, receiver) = pipeline.start_with_receiver().unwrap();
        Rig { pipeline, sender, receiver, next: 0 }
    }

    fn push(&mut self, count: u64) {
        for _ in 0..count {
            self.next += 1;
            let at = Timestamp::from_millis(40 * self.next);
            let pushed = self.sender.push(at, |view| {
                (0..16).for_each(|y| view.row_mut(0, y).fill(RAW));
                Ok(())
            });
            assert!(matches!(pushed, Ok(Pushed::Taken(_))));
        }
    }

    /// Frames have left the engine: so many, since it was started.
    fn wait_for(&self, frames: u64) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.pipeline.status().stats.covered < frames {
            assert!(Instant::now() < end, "{:?}", self.pipeline.status());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The number of a frame, and what it shows.
fn take(receiver: &FrameReceiver, patience: Option<Duration>) -> Taken<(u64, Outcome)> {
    receiver.take(patience, |frame| {
        let covered = frame.outcome() == Outcome::Covered;
        for y in 0..16 {
            let (left, right) = frame.view().row(0, y).split_at(96);
            assert!(left.iter().all(|v| *v == 0) && right.iter().all(|v| (*v == RAW) == covered));
        }
        (frame.meta().sequence, frame.outcome())
    })
}

#[test]
fn frames_are_taken_in_order_and_the_rest_of_them_after_the_end() {
    let mut rig = Rig::start(false);
    assert_eq!(take(&rig.receiver, Some(Duration::ZERO)), Taken::TimedOut);
    assert_eq!(take(&rig.receiver, SOON), Taken::TimedOut);
    for n in 0..5 {
        rig.push(1);
        assert_eq!(take(&rig.receiver, LATE), Taken::Frame((n, Outcome::Covered)));
    }
    rig.push(2);
    rig.sender.shut();
    rig.pipeline.wait().unwrap();
    assert_eq!(take(&rig.receiver, None), Taken::Frame((5, Outcome::Covered)));
    assert_eq!(take(&rig.receiver, None), Taken::Frame((6, Outcome::Covered)));
    assert_eq!(take(&rig.receiver, None), Taken::Ended);
}

#[test]
fn who_does_not_take_loses_the_oldest_and_holds_nobody_up() {
    let mut rig = Rig::start(false);
    for n in 1..=30 {
        rig.push(1);
        rig.wait_for(n);
    }
    let dropped = rig.pipeline.status().target_drops;
    let Taken::Frame((first, _)) = take(&rig.receiver, SOON) else { panic!("there are the newest") };
    // Figures are told after a frame was put there.
    assert!(first >= 26 && dropped.abs_diff(first) <= 1, "{first} after {dropped} were dropped");
}

#[test]
fn nothing_covered_is_shown_once_privacy_mode_holds() {
    let mut rig = Rig::start(false);
    for _ in 0..50 {
        rig.push(2);
        let counted = rig.next;
        rig.wait_for(rig.pipeline.status().stats.covered.max(1));
        rig.pipeline.set_privacy(true).unwrap();
        rig.push(1);
        let Taken::Frame((sequence, outcome)) = take(&rig.receiver, LATE) else { panic!("it goes on") };
        assert_eq!(outcome, Outcome::Obscured, "frame {sequence} of {counted}");
        while matches!(take(&rig.receiver, Some(Duration::ZERO)), Taken::Frame((_, Outcome::Obscured))) {}
        rig.pipeline.set_privacy(false).unwrap();
        // Frames that came in privacy mode leave obscured.
        rig.push(1);
        while !matches!(take(&rig.receiver, LATE), Taken::Frame((_, Outcome::Covered))) {}
    }
}

/// What the pipeline left behind when it ended cannot be obscured any more.
#[test]
fn privacy_mode_after_the_end_calls_back_what_still_waits() {
    let mut rig = Rig::start(false);
    rig.push(3);
    rig.sender.shut();
    let end = Instant::now() + Duration::from_secs(20);
    while rig.pipeline.status().state != State::Stopped {
        assert!(Instant::now() < end, "{:?}", rig.pipeline.status());
        std::thread::sleep(Duration::from_millis(1));
    }
    // The oldest may have made room.
    assert!(matches!(take(&rig.receiver, SOON), Taken::Frame((0 | 1, Outcome::Covered))));
    assert!(rig.pipeline.set_privacy(true).is_err());
    assert_eq!(take(&rig.receiver, SOON), Taken::Ended);
}

/// As long as somebody copies a covered frame, neither has happened.
#[test]
fn privacy_mode_and_the_end_wait_for_who_looks_at_a_frame() {
    for shut in [false, true] {
        let mut rig = Rig::start(false);
        rig.push(1);
        let (receiver, copied) = (rig.receiver.clone(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let (looks, begun) = channel();
            let copied = &copied;
            let other = receiver.clone();
            scope.spawn(move || {
                other.take(None, |_| {
                    looks.send(()).unwrap();
                    std::thread::sleep(Duration::from_millis(300));
                    copied.store(true, Ordering::SeqCst);
                })
            });
            begun.recv().unwrap();
            if shut {
                receiver.shut()
            } else {
                rig.pipeline.set_privacy(true).unwrap()
            }
            assert!(copied.load(Ordering::SeqCst), "shut: {shut}");
        });
    }
}

#[test]
fn all_who_wait_are_told_of_the_end_and_nothing_comes_after_it() {
    let mut rig = Rig::start(false);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| take(&rig.receiver, None))).collect();
        std::thread::sleep(Duration::from_millis(50));
        rig.receiver.shut();
        assert!(waiting.into_iter().all(|taker| taker.join().unwrap() == Taken::Ended));
    });
    rig.push(3);
    rig.wait_for(3);
    assert_eq!(take(&rig.receiver, SOON), Taken::Ended);
}

#[test]
fn several_who_take_get_every_frame_once() {
    let mut rig = Rig::start(false);
    let receiver = rig.receiver.clone();
    let all = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut own = Vec::new();
                    while let Taken::Frame((n, _)) = take(&receiver, None) {
                        own.push(n);
                    }
                    own
                })
            })
            .collect();
        for n in 1..=40 {
            rig.push(1);
            rig.wait_for(n);
        }
        rig.sender.shut();
        takers.into_iter().map(|taker| taker.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(all.iter().all(|own| own.is_sorted()), "{all:?}");
    let mut all: Vec<u64> = all.concat();
    all.sort_unstable();
    let dropped = rig.pipeline.wait().map(|_| 40 - all.len()).unwrap();
    all.dedup();
    assert!(all.len() + dropped == 40 && all.len() > 20, "{all:?}");
}
