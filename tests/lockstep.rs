//! Recordings: every frame comes out, the right ones are looked at, and what no look stands for leaves obscured.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use milkglass::detect::InStream;
use milkglass::frame::{DetectJob, FramePool, Outcome};
use milkglass::lockstep::LockStep;
use milkglass::picture::{PixelFormat, View};
use milkglass::policy::{PolicyError, Style};
use milkglass::{Class, Detection, Detector, Error, FrameFormat, Result};
use support::*;

struct Parts;

impl Detector for Parts {
    fn classes(&self) -> &[Class] {
        &[Class::Face]
    }
    fn detect(&mut self, _: &View<'_>) -> Result<Vec<Detection>> {
        Ok(Vec::new())
    }
    fn in_stream(&mut self) -> Option<&mut dyn InStream> {
        Some(self)
    }
}

impl InStream for Parts {
    fn look(&mut self, job: &mut DetectJob) -> Result<Vec<Detection>> {
        self.detect(&job.view())
    }
    fn looks_in_parts(&self) -> bool {
        true
    }
}

/// Plays frames at `times` (milliseconds); returns which were looked at, and how each left.
fn play(times: &[u64], every: u32, detect: impl Fn(usize) -> Result<()>) -> (Vec<usize>, Vec<Outcome>) {
    struct Whole;
    impl Detector for Whole {
        fn classes(&self) -> &[Class] {
            &[Class::Face]
        }
        fn detect(&mut self, _: &View<'_>) -> Result<Vec<Detection>> {
            Ok(Vec::new())
        }
    }
    let format = FrameFormat::new(PixelFormat::Nv12, 32, 16).unwrap();
    let pool = FramePool::new(format, 40);
    let policy = faces(Style::default()).max_gap(millis(400)).hold(millis(100)).look_ahead(millis(100));
    let mut lock = LockStep::new(policy.build().unwrap(), pool.clone(), Some(&mut Whole), every).unwrap();
    let (mut looked, mut out) = (Vec::new(), Vec::new());
    for (n, t) in times.iter().enumerate() {
        lock.push(canary_frame(&pool, n as u64, ms(*t)).unwrap()).unwrap();
        lock.look(times.get(n + 1).map(|t| ms(*t)), |_| {
            looked.push(n);
            detect(n).map(|()| Vec::new())
        });
        out.extend(std::iter::from_fn(|| lock.release()).map(|f| f.outcome()));
    }
    (looked, out)
}

#[test]
fn every_nth_frame_is_looked_at_and_the_last_and_those_before_gaps() {
    let (looked, out) = play(&[0, 40, 80, 120, 160, 200, 240, 280], 3, |_| Ok(()));
    assert_eq!(looked, [0, 3, 6, 7]);
    assert_eq!(out, [Outcome::Covered; 8]);
    // Half a second passes after the third frame: more than max_gap. The fourth would leave the fifth too far from the third.
    let (looked, out) = play(&[0, 40, 80, 580, 620, 660, 700], 3, |_| Ok(()));
    assert_eq!(looked, [0, 2, 3, 6]);
    assert_eq!(out.len(), 7);
}

#[test]
fn a_failed_look_is_made_up_for_by_the_next_frame() {
    let fails = |n| if n == 3 { Err(Error::other("broken")) } else { Ok(()) };
    let (looked, out) = play(&[0, 40, 80, 120, 160, 200], 3, fails);
    assert_eq!(looked, [0, 3, 4, 5]);
    assert_eq!(out, [Outcome::Covered; 6]);
    let (_, out) = play(&[0, 40, 80], 1, |_| Err(Error::other("broken")));
    assert_eq!(out, [Outcome::Obscured; 3]);
}

#[test]
fn a_detector_that_looks_at_parts_needs_motion_cover() {
    let format = FrameFormat::new(PixelFormat::Nv12, 32, 16).unwrap();
    let policy = |cover| faces(Style::default()).motion_cover(cover).build().unwrap();
    let open = |cover| LockStep::new(policy(cover), FramePool::new(format, 40), Some(&mut Parts), 1);
    assert!(matches!(open(false), Err(Error::Policy(PolicyError::PartsUncovered))));
    open(true).unwrap();
}
