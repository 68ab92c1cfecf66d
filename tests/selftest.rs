//! The self-test in a running pipeline: a detector that is dead, blind or constant shows nothing, from the first frame on or
//! within one period, and the pictures of the test reach no target.

#![cfg(any(feature = "ort", feature = "rten"))]
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore, Settings};
use milkglass::frame::{FrameMeta, FramePool, Outcome, RedactedFrame};
use milkglass::geometry::Rect;
use milkglass::picture::{PixelFormat, View};
use milkglass::pipeline::{PipelineBuilder, State};
use milkglass::policy::{BackendChoice, Preset, Style};
use milkglass::source::Captured;
use milkglass::time::Timestamp;
use milkglass::{
    Class, Detection, Detector, Error, FrameFormat, FrameSink, FrameSource, Pipeline, Policy, Result,
};

const SIZE: (u32, u32) = (320, 240);
/// What every frame of the camera is filled with; the pictures of the self-test are darker, what hides them is black.
const BRIGHT: u8 = 250;
const PERIOD: Duration = Duration::from_secs(1);

/// A camera of ten frames per second that sees nobody.
struct Camera {
    start: Instant,
    next: u64,
}

impl FrameSource for Camera {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        let at = Duration::from_millis(100 * self.next);
        std::thread::sleep(at.saturating_sub(self.start.elapsed()));
        let meta = FrameMeta { sequence: self.next, captured: Timestamp::ZERO + at };
        self.next += 1;
        let frame = pool.fill(meta, |view| {
            (0..SIZE.1).for_each(|y| view.row_mut(0, y).fill(BRIGHT));
            Ok(())
        })?;
        Ok(frame.map_or(Captured::Skipped, Captured::Frame))
    }
}

/// What left: when, and whether covered. Holds every sample to be the camera's or black.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(Instant, Outcome)>>>, Arc<AtomicU64>);

impl Seen {
    fn sink(&self) -> Vec<(String, Box<dyn FrameSink>)> {
        let seen = self.clone();
        let sink = move |frame: &RedactedFrame| {
            let odd = |y| frame.view().row(0, y).iter().filter(|v| **v != BRIGHT && **v > 20).count() as u64;
            seen.1.fetch_add((0..SIZE.1).map(odd).sum(), Ordering::SeqCst);
            seen.0.lock().unwrap().push((Instant::now(), frame.outcome()));
            Ok(())
        };
        vec![("test".into(), Box::new(sink))]
    }
    fn covered_after(&self, since: Instant) -> usize {
        let seen = self.0.lock().unwrap();
        seen.iter().filter(|(at, outcome)| *at > since && *outcome == Outcome::Covered).count()
    }
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A real detector behind a switch.
struct Switched {
    inner: Ensemble,
    fault: Arc<Mutex<Fault>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Blind,
    Dead,
    Whole,
    Constant,
    Hangs,
}

impl Detector for Switched {
    fn classes(&self) -> &[Class] {
        self.inner.classes()
    }
    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        let fault = *self.fault.lock().unwrap();
        let face = |x, y, w, h| Detection::new(Class::Face, Rect::new(x, y, w, h).unwrap(), 1.0);
        match fault {
            Fault::None => self.inner.detect(view),
            Fault::Blind => Ok(vec![]),
            Fault::Dead => Err(Error::other("dead")),
            Fault::Whole => Ok(vec![face(0.0, 0.0, SIZE.0 as f32, SIZE.1 as f32)]),
            Fault::Constant => Ok(vec![face(100.0, 80.0, 40.0, 50.0)]),
            Fault::Hangs => {
                let since = Instant::now();
                while *self.fault.lock().unwrap() == fault && since.elapsed() < Duration::from_secs(20) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(Error::other("hung"))
            }
        }
    }
}

fn detector(fault: Fault) -> (Box<dyn Detector>, Arc<Mutex<Fault>>) {
    let store = ModelStore::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models"));
    let backend = Backend::choose(BackendChoice::Auto, 1).unwrap();
    let mut settings: Settings = Preset::Fast.settings(&[Class::Face]);
    settings.passes.retain(|pass| pass.long_side.1 == 320);
    let inner = Ensemble::load(&store, &backend, &settings).unwrap();
    let fault = Arc::new(Mutex::new(fault));
    (Box::new(Switched { inner, fault: Arc::clone(&fault) }), fault)
}

fn policy(every: Option<Duration>) -> Policy {
    let policy = Policy::builder().hide(Class::Face, Style::default()).self_test(every);
    policy.max_gap(Duration::from_secs(2)).build().unwrap()
}

fn builder(policy: Policy) -> PipelineBuilder {
    let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1).unwrap();
    Pipeline::builder(policy, format, Camera { start: Instant::now(), next: 0 })
}

fn run(seen: &Seen, detectors: Vec<Box<dyn Detector>>, every: Option<Duration>) -> Pipeline {
    builder(policy(every)).fps(10.0).buffers(80).ladder(detectors).sinks(seen.sink()).start().unwrap()
}

fn wait(pipeline: &Pipeline, what: &str, until: impl Fn(State) -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !until(pipeline.status().state) {
        assert!(Instant::now() < end, "never {what}: {:?}", pipeline.status());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_leaves_covered_by_a_detector_that_fails_at_the_start() {
    for fault in [Fault::Blind, Fault::Whole, Fault::Constant] {
        let (seen, start) = (Seen::default(), Instant::now());
        let (detector, switch) = detector(fault);
        let pipeline = run(&seen, vec![detector], Some(PERIOD));
        assert_eq!(pipeline.status().self_tests_failed, 1, "{fault:?}: before the first frame");
        wait(&pipeline, "failed", |state| state == State::SelfTestFailed);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(seen.count() >= 10, "{fault:?}: the stream stays alive");
        assert_eq!(seen.covered_after(start), 0, "{fault:?}");
        *switch.lock().unwrap() = Fault::None;
        wait(&pipeline, "trusted again", |state| state == State::Covered);
        pipeline.close().unwrap();
        assert_eq!(seen.1.load(Ordering::SeqCst), 0, "{fault:?}: samples of the self-test at a target");
    }
}

#[test]
fn a_detector_that_fails_later_is_found_out_within_a_period_and_trusted_again_when_it_works() {
    for fault in [Fault::Blind, Fault::Whole, Fault::Constant, Fault::Dead, Fault::Hangs] {
        let seen = Seen::default();
        let (detector, switch) = detector(Fault::None);
        let pipeline = run(&seen, vec![detector], Some(PERIOD));
        wait(&pipeline, "covered", |state| state == State::Covered);
        *switch.lock().unwrap() = fault;
        let dead = [Fault::Dead, Fault::Hangs].contains(&fault);
        // The dead release nothing from then on; the others within a period.
        wait(&pipeline, "found out", |state| {
            state == State::SelfTestFailed || fault == Fault::Hangs && state == State::Degraded
        });
        // What was released by then may still be on its way.
        let found_out = Instant::now() + Duration::from_millis(100);
        std::thread::sleep(PERIOD + Duration::from_millis(500));
        assert_eq!(seen.covered_after(found_out), 0, "{fault:?}");
        if dead {
            assert!(pipeline.status().stats.detector_errors > 0 || fault == Fault::Hangs);
        }
        *switch.lock().unwrap() = Fault::None;
        wait(&pipeline, "trusted again", |state| state == State::Covered);
        pipeline.close().unwrap();
        assert_eq!(seen.1.load(Ordering::SeqCst), 0, "{fault:?}: samples of the self-test at a target");
    }
}

#[test]
fn without_a_self_test_a_blind_detector_is_believed() {
    let seen = Seen::default();
    let (detector, _) = detector(Fault::Blind);
    let pipeline = run(&seen, vec![detector], None);
    wait(&pipeline, "covered", |state| state == State::Covered);
    assert_eq!(pipeline.status().self_tests_failed, 0);
}

#[test]
fn the_owners_privacy_and_the_self_test_hide_independently() {
    let seen = Seen::default();
    let (detector, switch) = detector(Fault::Blind);
    let pipeline = run(&seen, vec![detector], Some(PERIOD));
    pipeline.set_privacy(true).unwrap();
    wait(&pipeline, "private", |state| state == State::Privacy);
    let start = Instant::now();
    pipeline.set_privacy(false).unwrap();
    wait(&pipeline, "failed", |state| state == State::SelfTestFailed);
    pipeline.set_privacy(true).unwrap();
    *switch.lock().unwrap() = Fault::None;
    let passed = |p: &Pipeline| p.status().self_tests_passed > 0;
    while !passed(&pipeline) && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(passed(&pipeline), "it is tested in privacy mode too");
    assert_eq!(seen.covered_after(start), 0, "privacy mode stays");
    pipeline.set_privacy(false).unwrap();
    wait(&pipeline, "covered", |state| state == State::Covered);
}

#[test]
fn a_policy_may_switch_it_off_and_on() {
    let seen = Seen::default();
    let (detector, _) = detector(Fault::Blind);
    let pipeline = run(&seen, vec![detector], Some(PERIOD));
    wait(&pipeline, "failed", |state| state == State::SelfTestFailed);
    pipeline.set_policy(policy(None)).unwrap();
    wait(&pipeline, "believed", |state| state == State::Covered);
    pipeline.set_policy(policy(Some(PERIOD))).unwrap();
    wait(&pipeline, "failed", |state| state == State::SelfTestFailed);
}

#[test]
fn a_rung_that_fails_is_taken_off_the_ladder() {
    let seen = Seen::default();
    let (good, blind) = (detector(Fault::None).0, detector(Fault::Blind).0);
    let pipeline = run(&seen, vec![good, blind], Some(PERIOD));
    wait(&pipeline, "covered", |state| state == State::Covered);
    assert_eq!(pipeline.status().self_tests_failed, 0);
}

#[test]
fn times_leave_room_for_the_self_test() {
    /// Finds nothing and takes 40 ms.
    struct Slow;
    impl Detector for Slow {
        fn classes(&self) -> &[Class] {
            &[Class::Face]
        }
        fn detect(&mut self, _: &View<'_>) -> Result<Vec<Detection>> {
            std::thread::sleep(Duration::from_millis(40));
            Ok(vec![])
        }
    }
    // At 100 frames/s, two detections and two frames take 100 ms and a little, three take 140 ms.
    let spawn = |every, deadline| {
        let policy = policy(every).to_builder().deadline(Duration::from_millis(deadline), Default::default());
        builder(policy.build().unwrap()).fps(100.0).detector(Slow).start()
    };
    let refused = |every, deadline| match spawn(every, deadline) {
        Ok(_) => None,
        Err(e) => Some(e.to_string()),
    };
    let with = refused(Some(PERIOD), 139).unwrap();
    assert!(with.contains("deadline = 139 ms") && with.contains("self-test included"), "{with}");
    let without = refused(None, 99).unwrap();
    assert!(!without.contains("self-test"), "{without}");
    // A detector cannot be faster than it sleeps; a busy machine only makes it slower.
    assert_eq!(refused(None, 30_000), None);
    assert_eq!(refused(Some(PERIOD), 30_000), None);
}
