//! What moves is covered until a detector has looked at it: between two observations, and where only a part of each picture
//! is examined. Hiding everything is no pass: every test also asserts what stays visible.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::VecDeque;

use milkglass::engine::Engine;
use milkglass::frame::{FramePool, Outcome, RedactedFrame};
use milkglass::geometry::PixelRect;
use milkglass::picture::PixelFormat;
use milkglass::policy::{OnDeadline, Style};
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, Error, FrameFormat, Policy};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use support::*;

const SIZE: (u32, u32) = (224, 128);
const FRAME: u64 = 33;

/// Somebody: a square that is at some place in some frames, `by` levels brighter than what is behind it.
#[derive(Clone, Copy, Debug)]
struct Visitor {
    at: (i32, i32),
    side: i32,
    by: i32,
}

impl Visitor {
    fn holds(&self, x: u32, y: u32) -> bool {
        let inside = |v: u32, from: i32| (v as i32) >= from && (v as i32) < from + self.side;
        inside(x, self.at.0) && inside(y, self.at.1)
    }

    fn detection(&self) -> Detection {
        let (x, y, s) = (self.at.0 as f32, self.at.1 as f32, self.side as f32);
        face(x, y, x + s, y + s)
    }

    /// Whether enough of it is in the picture to be told from noise: 8 by 8 pixels.
    fn shows(&self) -> bool {
        let within = |from: i32, side: u32| (from + self.side).min(side as i32) - from.max(0) >= 8;
        within(self.at.0, SIZE.0) && within(self.at.1, SIZE.1)
    }

    fn touches(&self, part: PixelRect) -> bool {
        let d = self.detection().rect;
        d.x0() < part.x1 as f32
            && d.x1() > part.x0 as f32
            && d.y0() < part.y1 as f32
            && d.y1() > part.y0 as f32
    }
}

/// Noise of a sensor: the sum of four even numbers, near enough to a bell. `sigma` in levels.
fn noise(sequence: u64, plane: usize, x: u32, y: u32, c: usize, sigma: f32) -> f32 {
    let mut key = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (u64::from(x) << 40)
        ^ (u64::from(y) << 20)
        ^ ((plane as u64) << 8)
        ^ c as u64;
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^= key >> 31;
    let sum: f32 = (0..4).map(|i| ((key >> (16 * i)) & 0xffff) as f32 / 65535.0 - 0.5).sum();
    // Each has a variance of 1/12.
    sum * sigma / (4.0f32 / 12.0).sqrt()
}

/// A room, and whoever is in it.
fn picture(
    pool: &FramePool,
    sequence: u64,
    t: Timestamp,
    light: f32,
    sigma: f32,
    who: &[Visitor],
) -> milkglass::frame::RawFrame {
    let shifts: Vec<_> = pool.format().planes().iter().map(|p| p.shift).collect();
    painted(pool, sequence, t, |plane, x, y, c| {
        let (px, py) = (x << shifts[plane].0, y << shifts[plane].1);
        let room = 90.0 + light + (px % 40) as f32 + (py / 8 % 5) as f32 * 6.0;
        let by: i32 = who.iter().filter(|v| v.holds(px, py)).map(|v| v.by).sum();
        (room + by as f32 + noise(sequence, plane, x, y, c, sigma)).round().clamp(30.0, 250.0) as u8
    })
    .unwrap()
}

/// Hidden pixels: black, which no picture here holds.
fn hidden(frame: &RedactedFrame) -> Vec<bool> {
    let mut hidden = vec![false; (SIZE.0 * SIZE.1) as usize];
    samples(frame.view(), |s| {
        if s.plane == 0 {
            // Of a YUYV macropixel, the luma of its two pixels.
            let step = if s.bytes.len() == 4 { 2 } else { 1 };
            let black = s.bytes.iter().step_by(step).all(|v| *v <= 16);
            (s.luma[0]..s.luma[2]).for_each(|x| hidden[(s.luma[1] * SIZE.0 + x) as usize] = black);
        }
    });
    hidden
}

fn is_hidden(frame: &RedactedFrame, who: &Visitor) -> bool {
    let hidden = hidden(frame);
    let at = |i: u32| (i % SIZE.0, i / SIZE.0);
    (0..SIZE.0 * SIZE.1).all(|i| !who.holds(at(i).0, at(i).1) || hidden[i as usize])
}

fn share(frame: &RedactedFrame) -> f64 {
    hidden(frame).iter().filter(|h| **h).count() as f64 / f64::from(SIZE.0 * SIZE.1)
}

fn policy() -> milkglass::policy::PolicyBuilder {
    faces(Style::default()).motion_cover(true).max_gap(millis(400))
}

/// The left and the right half.
const HALVES: [PixelRect; 2] =
    [PixelRect { x0: 0, y0: 0, x1: 112, y1: SIZE.1 }, PixelRect { x0: 112, y0: 0, x1: SIZE.0, y1: SIZE.1 }];

/// Plays frames. `who(n)` is there in frame n; `look(n)`: what is examined in it, if it is looked at.
fn play(
    pixel: PixelFormat,
    policy: Policy,
    frames: u64,
    sigma: f32,
    light: impl Fn(u64) -> f32,
    who: impl Fn(u64) -> Vec<Visitor>,
    look: impl Fn(u64) -> Option<Option<PixelRect>>,
) -> Vec<RedactedFrame> {
    let format = FrameFormat::new(pixel, SIZE.0, SIZE.1).unwrap();
    let pool = FramePool::new(format, frames as usize + 3);
    let mut engine = Engine::new(policy, pool.clone(), &[Class::Face]).unwrap();
    let mut out = Vec::new();
    for n in 0..frames {
        let t = ms(n * FRAME + 1);
        engine.push(picture(&pool, n, t, light(n), sigma, &who(n)), t).unwrap();
        if let Some(part) = look(n) {
            let mut job = engine.next_job().unwrap();
            let everybody = who(n);
            let seen = everybody.iter().filter(|v| part.is_none_or(|p| v.touches(p)));
            let found = seen.map(Visitor::detection).collect();
            if let Some(part) = part {
                job.examined_only(part);
            }
            engine.observe(job, Ok(found));
        }
        while let Some(frame) = engine.release(t) {
            out.push(frame);
        }
    }
    out
}

/// Somebody who appears where nobody looks is covered at once, and not more than needed.
#[test]
fn someone_in_an_unexamined_tile_is_covered_until_examined() {
    for pixel in FORMATS {
        let visitor = Visitor { at: (150, 41), side: 25, by: 70 };
        let who = |n| if n >= 20 { vec![visitor] } else { vec![] };
        // The right half is examined early, and then not before frame 26.
        let look = |n| Some(Some(HALVES[usize::from(n == 1 || n >= 26)]));
        let out = play(pixel, policy().build().unwrap(), 36, 3.0, |_| 0.0, who, look);
        assert_eq!(out.len(), 36);
        for (n, frame) in (0..).zip(&out) {
            assert_eq!(frame.outcome(), Outcome::Covered, "{pixel:?} frame {n}");
            if n >= 20 {
                assert!(is_hidden(frame, &visitor), "{pixel:?}: visible in frame {n}");
            }
            let most = match n {
                0 => 0.58,
                2..20 => 0.005,
                20..26 => 0.25,
                26.. => 0.06,
                _ => 0.1,
            };
            assert!(share(frame) <= most, "{pixel:?}: {} hidden in frame {n}", share(frame));
        }
    }
}

/// Whoever comes and goes between two looks at the whole picture is covered in every frame.
#[test]
fn passers_by_between_two_observations_are_covered() {
    let walker = |n: u64| Visitor { at: ((n % 6) as i32 * 40 - 20, 50), side: 24, by: 60 };
    let who = |n: u64| if n.is_multiple_of(6) { vec![] } else { vec![walker(n)] };
    let look = |n: u64| n.is_multiple_of(6).then_some(None);
    let without = policy().motion_cover(false).build().unwrap();
    let seen = play(PixelFormat::Nv12, without, 25, 4.0, |_| 0.0, who, look);
    assert!(!is_hidden(&seen[1], &walker(1)), "the test shows nothing");
    let out = play(PixelFormat::Nv12, policy().build().unwrap(), 25, 4.0, |_| 0.0, who, look);
    assert_eq!(out.len(), 25);
    for (n, frame) in (0..).zip(&out) {
        assert_eq!(frame.outcome(), Outcome::Covered);
        let most = if n % 6 == 0 { 0.0 } else { 0.25 };
        assert!(n % 6 == 0 || is_hidden(frame, &walker(n)), "visible in frame {n}");
        assert!(share(frame) <= most, "{} hidden in frame {n}", share(frame));
    }
}

/// Noise is no motion, in every format.
#[test]
fn noise_alone_covers_almost_nothing() {
    for pixel in FORMATS {
        for sigma in [3.0, 6.0] {
            let look = |n: u64| n.is_multiple_of(10).then_some(None);
            let out = play(pixel, policy().build().unwrap(), 41, sigma, |_| 0.0, |_| vec![], look);
            assert_eq!(out.len(), 41);
            let mean = out.iter().map(share).sum::<f64>() / 41.0;
            assert!(mean <= 0.002, "{pixel:?}, sigma {sigma}: {mean}");
        }
    }
}

/// Somebody who fades in by one level a frame is never much different from the frame before, and is covered all the same
/// as soon as the difference from what was examined can be told from noise.
#[test]
fn a_slow_drift_smuggles_nobody_in() {
    let at = |n: u64| Visitor { at: (150, 40), side: 32, by: (n as i32 - 10).max(0) };
    let look = |n: u64| Some(Some(HALVES[usize::from(n == 1)]));
    let who = |n| if n > 10 { vec![at(n)] } else { vec![] };
    let out = play(PixelFormat::Nv12, policy().build().unwrap(), 55, 3.0, |_| 0.0, who, look);
    for (n, frame) in (0..).zip(&out) {
        if n >= 18 {
            assert!(is_hidden(frame, &at(n)), "visible in frame {n}");
            assert!(share(frame) < 0.25, "{} hidden in frame {n}", share(frame));
        }
    }
    assert!(share(&out[8]) < 0.01);
}

/// A change of the light changes everything: covered until examined, tile by tile.
#[test]
fn another_light_covers_everything_until_it_is_examined() {
    let light = |n| if n >= 10 { 25.0 } else { 0.0 };
    let look = |n: u64| Some(Some(HALVES[usize::from(n % 2 == 1)]));
    let out = play(PixelFormat::Nv12, policy().build().unwrap(), 20, 3.0, light, |_| vec![], look);
    let shares: Vec<f64> = out.iter().map(share).collect();
    assert!(shares[2..10].iter().all(|s| *s < 0.005), "{shares:?}");
    assert!(shares[10] > 0.4 && shares[10] < 0.6, "{shares:?}");
    assert!(shares[11..].iter().all(|s| *s < 0.005), "{shares:?}");
}

/// What nobody has looked at for two seconds is covered, changed or not.
#[test]
fn an_old_look_counts_no_longer() {
    let look = |n: u64| Some(Some(HALVES[usize::from(n == 1)]));
    let out = play(PixelFormat::Rgb24, policy().build().unwrap(), 70, 3.0, |_| 0.0, |_| vec![], look);
    let shares: Vec<f64> = out.iter().map(share).collect();
    assert!(shares[2..60].iter().all(|s| *s < 0.005), "{shares:?}");
    assert!(shares[63..].iter().all(|s| *s > 0.45), "{shares:?}");
}

/// A part of the picture is no observation under a policy that does not cover motion.
#[test]
fn a_part_alone_covers_nothing() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 64, 64).unwrap();
    let pool = FramePool::new(format, 4);
    let without = faces(Style::default()).build().unwrap();
    let mut engine = Engine::new(without, pool.clone(), &[Class::Face]).unwrap();
    engine.push(canary_frame(&pool, 0, ms(0)).unwrap(), ms(0)).unwrap();
    let mut job = engine.next_job().unwrap();
    job.examined_only(PixelRect { x0: 0, y0: 0, x1: 64, y1: 32 });
    engine.observe(job, Ok(vec![]));
    assert!(engine.release(ms(0)).is_none());
    assert_eq!((engine.stats().observations, engine.stats().detector_errors), (0, 1));
}

/// When motion is no longer covered, looks at parts of the picture count no longer.
#[test]
fn giving_up_motion_cover_starts_anew() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 64, 64).unwrap();
    let pool = FramePool::new(format, 4);
    let mut engine = Engine::new(policy().build().unwrap(), pool.clone(), &[Class::Face]).unwrap();
    engine.push(canary_frame(&pool, 0, ms(0)).unwrap(), ms(0)).unwrap();
    let mut job = engine.next_job().unwrap();
    job.examined_only(PixelRect { x0: 0, y0: 0, x1: 64, y1: 32 });
    engine.observe(job, Ok(vec![]));
    assert_eq!(engine.release(ms(0)).unwrap().outcome(), Outcome::Covered);
    engine.set_policy(policy().motion_cover(false).build().unwrap()).unwrap();
    engine.push(canary_frame(&pool, 1, ms(33)).unwrap(), ms(33)).unwrap();
    engine.push(canary_frame(&pool, 2, ms(66)).unwrap(), ms(66)).unwrap();
    let job = engine.next_job().unwrap();
    engine.observe(job, Ok(vec![]));
    assert_eq!(engine.release(ms(66)).unwrap().outcome(), Outcome::Obscured);
    assert_eq!(engine.release(ms(66)).unwrap().outcome(), Outcome::Covered);
}

/// A block that a mosaic hides whole is not blackened besides; one that it hides in part is.
#[test]
fn regions_keep_their_style() {
    let mosaic = Policy::builder().hide_grown(Class::Face, Style::Pixelate { cells: 4 }, 2.8);
    let policy = mosaic.motion_cover(true).build().unwrap();
    let who = |n: u64| vec![Visitor { at: (80 + n as i32 % 3, 40), side: 48, by: 60 }];
    let look = |n: u64| n.is_multiple_of(3).then_some(None);
    let out = play(PixelFormat::Nv12, policy, 7, 3.0, |_| 0.0, who, look);
    assert!(out.iter().all(|f| share(f) == 0.0), "{:?}", out.iter().map(share).collect::<Vec<_>>());
}

/// A detector learns what changed since it was examined, tile by tile.
#[test]
fn a_detector_is_told_what_moved() {
    let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1).unwrap();
    let pool = FramePool::new(format, 6);
    let mut engine = Engine::new(policy().build().unwrap(), pool.clone(), &[Class::Face]).unwrap();
    let visitor = Visitor { at: (150, 40), side: 32, by: 70 };
    let told = |engine: &mut Engine, n: u64, who: &[Visitor], part: Option<PixelRect>| {
        let t = ms(n * FRAME);
        engine.push(picture(&pool, n, t, 0.0, 3.0, who), t).unwrap();
        let mut job = engine.next_job().unwrap();
        let moved = HALVES.map(|half| job.moved(half));
        if let Some(part) = part {
            job.examined_only(part);
        }
        engine.observe(job, Ok(vec![]));
        while engine.release(t).is_some() {}
        moved
    };
    assert_eq!(told(&mut engine, 0, &[], Some(HALVES[0])), [1.0, 1.0]);
    assert_eq!(told(&mut engine, 1, &[], None), [0.0, 1.0]);
    let [left, right] = told(&mut engine, 2, &[visitor], Some(HALVES[0]));
    assert!(left == 0.0 && right > 0.05 && right < 0.3, "{left} {right}");
    // Still not examined: still told.
    assert_eq!(told(&mut engine, 3, &[visitor], Some(HALVES[1])), [0.0, right]);
    assert_eq!(told(&mut engine, 4, &[visitor], None), [0.0, 0.0]);
}

// --- random scripts

#[derive(Clone, Debug)]
enum Act {
    Push(u64),
    Lend,
    Return(usize),
    Fail,
    Lose,
    Release,
    Wait(u64),
    Move(usize, i32, i32),
    Light,
    Hold(u64),
    Privacy(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        30 => (10u64..60).prop_map(Act::Push),
        20 => Just(Act::Lend),
        20 => (0usize..7).prop_map(Act::Return),
        1 => Just(Act::Fail),
        1 => Just(Act::Lose),
        20 => Just(Act::Release),
        2 => (0u64..60).prop_map(Act::Wait),
        14 => (0usize..2, -30i32..230, -30i32..130).prop_map(|(i, x, y)| Act::Move(i, x, y)),
        1 => Just(Act::Light),
        1 => (0u64..300).prop_map(Act::Hold),
        1 => any::<bool>().prop_map(Act::Privacy),
    ]
}

/// What a look examines: everything, a half, or one of four odd tiles.
fn part(which: usize) -> Option<PixelRect> {
    let rect = |x0, y0, x1, y1| Some(PixelRect { x0, y0, x1, y1 });
    match which {
        0 => None,
        1 | 2 => Some(HALVES[which - 1]),
        3 => rect(0, 0, 101, 70),
        4 => rect(101, 0, SIZE.0, 70),
        5 => rect(0, 70, 101, SIZE.1),
        _ => rect(101, 70, SIZE.0, SIZE.1),
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    covered: u64,
    visitors: u64,
    share: f64,
}

/// People jump about as they like, far faster than `speed`; tiles are looked at in any order. Not one pixel of anybody may
/// be visible in a frame that leaves covered, since a faultless detector reports whoever touches what it examines. The
/// oracle knows nothing but where everybody stood.
#[test]
fn nobody_is_seen_before_being_looked_for() {
    let config = ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let sum = std::cell::RefCell::new(Tally::default());
    let scene = (0usize..4, any::<bool>(), prop_oneof![Just(0u64), 1u64..200]);
    let result = runner.run(&(scene, prop::collection::vec(act(), 60..160)), |(scene, acts)| {
        let (which, deadline, look_ahead) = scene;
        let format = FrameFormat::new(FORMATS[which], SIZE.0, SIZE.1).unwrap();
        let pool = FramePool::new(format, 12);
        let policy = |hold: u64| {
            let p = policy().hold(millis(hold)).look_ahead(millis(look_ahead));
            let p = if deadline { p.deadline(millis(450), OnDeadline::Obscure) } else { p };
            p.build().unwrap()
        };
        let mut engine = Engine::new(policy(100), pool.clone(), &[Class::Face]).unwrap();
        let mut who =
            [Visitor { at: (20, 20), side: 26, by: 60 }, Visitor { at: (150, 60), side: 33, by: -50 }];
        let (mut now, mut n, mut light) = (ms(1), 0, 0.0);
        let mut pushed: VecDeque<(u64, [Visitor; 2])> = VecDeque::new();
        let mut lent = None;
        for act in acts {
            match act {
                Act::Push(later) => {
                    now = now + millis(later);
                    n += 1;
                    if pool.free() > 0 {
                        engine.push(picture(&pool, n, now, light, 3.0, &who), now).unwrap();
                        pushed.push_back((n, who));
                    }
                }
                Act::Lend => {
                    if let Some(job) = engine.next_job() {
                        let sequence = job.meta().sequence;
                        let (_, then) = pushed.iter().find(|(s, _)| *s == sequence).unwrap();
                        lent = Some((job, *then));
                    }
                }
                Act::Return(which) => {
                    if let Some((mut job, then)) = lent.take() {
                        let part = part(which);
                        let seen = then.iter().filter(|v| part.is_none_or(|p| v.touches(p)));
                        let found = seen.map(Visitor::detection).collect();
                        if let Some(part) = part {
                            job.examined_only(part);
                        }
                        engine.observe(job, Ok(found));
                    }
                }
                Act::Fail => {
                    if let Some((job, _)) = lent.take() {
                        engine.observe(job, Err(Error::other("it is ill")));
                    }
                }
                Act::Lose => lent = None,
                Act::Wait(later) => now = now + millis(later),
                Act::Move(i, x, y) => who[i].at = (x, y),
                Act::Light => light = 20.0 - light,
                Act::Hold(hold) => engine.set_policy(policy(hold)).unwrap(),
                Act::Privacy(on) => engine.set_privacy(on),
                Act::Release => {
                    while let Some(frame) = engine.release(now) {
                        let at = pushed.iter().position(|(s, _)| *s == frame.meta().sequence).unwrap();
                        let (_, then) = pushed[at];
                        pushed.drain(..=at);
                        let mut sum = sum.borrow_mut();
                        if frame.outcome() == Outcome::Covered {
                            sum.covered += 1;
                            sum.share += share(&frame);
                        }
                        for visitor in then.into_iter().filter(Visitor::shows) {
                            sum.visitors += 1;
                            if !is_hidden(&frame, &visitor) {
                                return Err(TestCaseError::fail(format!("{frame:?} shows {visitor:?}")));
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    });
    let sum = sum.into_inner();
    if let Err(failure) = result {
        panic!("{failure}");
    }
    // Nor is everything hidden, though people jump about all the time.
    let mean = sum.share / sum.covered as f64;
    assert!(sum.covered > 800 && sum.visitors > 2_000, "{sum:?}");
    assert!(mean < 0.6, "{mean} hidden: {sum:?}");
}
