//! The guarantee, played at random: whatever a camera, a detector and an owner do, nothing raw leaves inside the faces
//! that detection reported or inside the zones. What is played, and who judges it: support/play.rs.

#![allow(clippy::unwrap_used)]

#[path = "support/play.rs"]
mod play;
mod support;

use std::collections::HashMap;

use milkglass::engine::Engine;
use milkglass::frame::{FramePool, Outcome};
use milkglass::picture::PixelFormat;
use milkglass::policy::{OnDeadline, Polygon, RegionShape, Style, Zone};
use milkglass::{Class, Detection, Error, FrameFormat, Policy};
use play::*;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use support::*;

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        40 => (5u64..70).prop_map(Act::Push),
        25 => Just(Act::Lend),
        25 => Just(Act::Return),
        2 => Just(Act::ReturnError),
        2 => Just(Act::ReturnNan),
        2 => Just(Act::LoseJob),
        6 => (0u64..80).prop_map(Act::Wait),
        20 => Just(Act::Release),
        1 => any::<bool>().prop_map(Act::AddZone),
        1 => any::<bool>().prop_map(Act::Persons),
        1 => prop::bool::weighted(0.2).prop_map(Act::Privacy),
        1 => Just(Act::PushForeign),
        1 => Just(Act::PushTooEarly),
        1 => Just(Act::ReturnForeign),
        2 => any::<bool>().prop_map(Act::KeepOutput),
    ]
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let corner = || (0.0..1.0f64, 0.0..1.0f64);
    let triangle = (corner(), corner(), corner()).prop_map(|(a, b, c)| vec![a, b, c]);
    let whole = triangle.prop_filter("an area", |c| Polygon::new(c.clone()).is_ok());
    (whole, prop::bool::weighted(0.3)).prop_map(|(corners, inverted)| Drawn { corners, inverted })
}

fn scene() -> impl Strategy<Value = Scene> {
    let picture = (prop::sample::select(&FORMATS[..]), (21u32..49, 17u32..39), 1u8..=8);
    let style = prop_oneof![
        2 => Just(Style::default()),
        1 => (2u8..=6).prop_map(|cells| Style::Pixelate { cells }),
        1 => (2u8..=6).prop_map(|cells| Style::Blur { cells }),
    ];
    let walker = (
        (-8.0..48.0, -8.0..38.0),
        (3u32..7, 3u32..7),
        (0.0..std::f64::consts::TAU, 0.0..0.95),
        any::<bool>(),
    );
    let walkers = prop::collection::vec(walker, 0..4);
    let policy = (1.0f32..6.0, 0u64..400, prop_oneof![2 => Just(0), 1 => 0u64..150], 60u64..500);
    let line = (prop::option::of(160u64..600), any::<bool>(), 2usize..14, prop_oneof![Just(99), 1usize..8]);
    (
        picture,
        style,
        walkers,
        [drawn(), drawn()],
        policy,
        line,
        (prop::bool::weighted(0.4), any::<bool>(), prop::bool::weighted(0.2)),
    )
        .prop_map(
            |((pixel, size, exif), style, walkers, zones, policy, line, (zoned, ghosts, padded))| {
                let (speed, hold, look_ahead, max_gap) = policy;
                let (deadline, drop, buffers, max_waiting) = line;
                let walkers = walkers.into_iter().map(|(start, (w, h), (angle, pace), on_grid)| {
                    // Odd corners and odd sizes: the worst for planes at half the size.
                    let odd = |v: f64| if on_grid { (v / 2.0).floor() * 2.0 + 1.0 } else { v };
                    let size = (f64::from(2 * w - 1), f64::from(2 * h - 1));
                    let pace = if on_grid { 0.0 } else { pace * f64::from(speed) * size.0 };
                    let velocity = (pace * angle.cos(), pace * angle.sin());
                    Walker { start: (odd(start.0), odd(start.1)), size, velocity }
                });
                Scene {
                    pixel,
                    size,
                    exif,
                    style,
                    walkers: walkers.collect(),
                    zones,
                    zoned,
                    speed,
                    hold,
                    look_ahead,
                    max_gap,
                    max_waiting,
                    deadline,
                    on_deadline: if drop { OnDeadline::Drop } else { OnDeadline::Obscure },
                    buffers,
                    ghosts,
                    // tests/motion.rs has scripts of its own.
                    motion_cover: false,
                    shape: if padded { RegionShape::Padded } else { RegionShape::Box },
                }
            },
        )
}

#[test]
fn nothing_raw_leaves_whatever_happens() {
    let config = ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let sum = std::cell::RefCell::new((Tally::default(), HashMap::new()));
    let plays = (scene(), prop::collection::vec(act(), 40..220));
    let result = runner.run(&plays, |(scene, acts)| {
        let mut play = Play::new(&scene);
        for act in &acts {
            play.act(act).map_err(TestCaseError::fail)?;
        }
        let (tally, stats) = play.finish().map_err(TestCaseError::fail)?;
        prop_assert!(
            stats.covered == tally.covered && stats.obscured == tally.obscured,
            "wrong counts: {stats:?}"
        );
        let (sum, formats) = &mut *sum.borrow_mut();
        *formats.entry(scene.pixel).or_insert(0) += tally.covered;
        sum.covered += tally.covered;
        sum.obscured += tally.obscured;
        sum.hidden_faces += tally.hidden_faces;
        sum.raw_samples += tally.raw_samples;
        sum.samples += tally.samples;
        sum.dropped += tally.dropped;
        sum.lost += tally.lost;
        sum.failed += tally.failed;
        Ok(())
    });
    let (sum, formats) = sum.into_inner();
    if let Err(failure) = result {
        panic!("{failure}");
    }
    // Hiding everything, or letting nothing out, is no pass.
    assert!(sum.covered > 12_000, "{sum:?}");
    assert!(sum.hidden_faces > 5_000, "{sum:?}");
    assert!(sum.raw_samples * 100 > sum.samples * 20, "{sum:?}");
    assert!(formats.len() == FORMATS.len() && formats.values().all(|&n| n > 2_000), "{formats:?}");
    // The rare events did happen.
    assert!(sum.obscured > 2_000 && sum.dropped > 500 && sum.lost > 200 && sum.failed > 500, "{sum:?}");
}

/// Boxes on odd corners with the least growth, in every format: all of the box, and nothing beyond the next whole samples.
#[test]
fn odd_boxes_are_hidden_whole_and_no_more() {
    for pixel in FORMATS {
        for style in [Style::default(), Style::Pixelate { cells: 6 }, Style::Blur { cells: 6 }] {
            for (x0, y0) in [(1, 1), (5, 7), (9, 3), (22, 18), (-1, -1)] {
                for size in [3, 5, 9] {
                    let (x0, y0) = (x0 as f32, y0 as f32);
                    let at = rect(x0, y0, x0 + size as f32, y0 + size as f32);
                    let format = FrameFormat::new(pixel, 25, 21).unwrap();
                    let found = vec![Detection::new(Class::Face, at, 0.5)];
                    let frame = redact_one(format, faces(style).build().unwrap(), found);
                    let grown = at.grown(1.1, 0.0).outward(25, 21);
                    samples(frame.view(), |s| {
                        let inside =
                            s.any(|x, y| x >= grown.x0 && x < grown.x1 && y >= grown.y0 && y < grown.y1);
                        let raw = s.bytes.iter().any(|&v| is_canary(v));
                        let place = (s.plane, s.x, s.y);
                        assert_eq!(raw, !inside, "{pixel:?} {style:?} {at:?}, sample {place:?}");
                    });
                }
            }
        }
    }
}

/// A buffer that held a raw picture shows nothing of it when the next picture does not fill it.
#[test]
fn buffers_are_scrubbed_before_they_are_used_again() {
    let format = FrameFormat::new(PixelFormat::Nv12, 33, 17).unwrap();
    let pool = FramePool::new(format, 2);
    drop(canary_frame(&pool, 1, ms(1)));
    let failed = pool.fill(milkglass::frame::FrameMeta { sequence: 2, captured: ms(2) }, |view| {
        view.row_mut(0, 3).fill(255);
        Err(Error::other("cut off"))
    });
    assert!(failed.is_err());
    for sequence in 0..4 {
        let meta = milkglass::frame::FrameMeta { sequence, captured: ms(2) };
        let frame = pool.fill(meta, |view| {
            samples(view.as_view(), |s| assert!(s.bytes.iter().all(|&v| v == 0)));
            Ok(())
        });
        assert!(frame.unwrap().is_some());
    }
}

/// A frame that waits while the policy goes from a fine mosaic to a coarse one gets the coarse one.
#[test]
fn the_strongest_mosaic_wins_when_the_policy_changes() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 64, 64).unwrap();
    let colours = |first: Style, second: Option<Style>| {
        let pool = FramePool::new(format, 3);
        let mut engine = Engine::new(faces(first).build().unwrap(), pool.clone(), &[Class::Face]).unwrap();
        engine.push(painted(&pool, 0, ms(0), |_, x, y, _| (x * 3 + y) as u8).unwrap(), ms(0)).unwrap();
        if let Some(second) = second {
            engine.set_policy(faces(second).build().unwrap()).unwrap();
        }
        let job = engine.next_job().unwrap();
        engine.observe(job, Ok(vec![face(12.0, 12.0, 52.0, 52.0)]));
        let frame = engine.release(ms(0)).unwrap();
        let inside = (12..52).flat_map(|y| frame.view().row(0, y)[36..156].to_vec());
        inside.collect::<std::collections::HashSet<u8>>().len()
    };
    let (coarse, fine) = (Style::Pixelate { cells: 2 }, Style::Pixelate { cells: 6 });
    assert!(colours(fine, None) > 8);
    assert!(colours(coarse, None) <= 4);
    assert!(colours(fine, Some(coarse)) <= 4);
    assert!(colours(coarse, Some(fine)) <= 4);
}

/// The strictest of all policies that a frame lived under decides when and how it leaves.
#[test]
fn a_laxer_policy_does_not_loosen_what_waits() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 32, 32).unwrap();
    let lax = || faces(Style::default()).look_ahead(millis(0)).max_gap(millis(500)).export_regions(true);
    let strict: [(&str, Policy); 4] = [
        ("max_gap", lax().max_gap(millis(100)).build().unwrap()),
        ("look_ahead", lax().look_ahead(millis(300)).build().unwrap()),
        ("deadline", lax().deadline(millis(150), OnDeadline::Obscure).build().unwrap()),
        ("export", lax().export_regions(false).build().unwrap()),
    ];
    for (name, strict) in strict {
        let pool = FramePool::new(format, 5);
        let mut engine = Engine::new(strict, pool.clone(), &[Class::Face]).unwrap();
        let mut outcomes = Vec::new();
        for (sequence, t) in (0..).zip([0, 100, 200]) {
            engine.push(canary_frame(&pool, sequence, ms(t)).unwrap(), ms(t)).unwrap();
            if t == 100 {
                engine.set_policy(lax().build().unwrap()).unwrap();
            } else {
                let job = engine.next_job().unwrap();
                engine.observe(job, Ok(vec![face(8.0, 8.0, 16.0, 16.0)]));
            }
            while let Some(f) = engine.release(ms(t)) {
                outcomes.push((f.meta().sequence, f.outcome() == Outcome::Covered, f.regions().is_some()));
            }
        }
        let expected: &[(u64, bool, bool)] = match name {
            "max_gap" => &[(0, true, true), (1, false, false), (2, true, true)],
            "look_ahead" => &[],
            "deadline" => &[(0, true, true), (1, true, true), (2, true, true)],
            _ => &[(0, true, false), (1, true, false), (2, true, true)],
        };
        assert_eq!(outcomes, expected, "{name}");
        if name == "look_ahead" {
            engine.push(canary_frame(&pool, 3, ms(400)).unwrap(), ms(400)).unwrap();
            let job = engine.next_job().unwrap();
            engine.observe(job, Ok(Vec::new()));
            assert!(engine.release(ms(400)).is_some_and(|f| f.outcome() == Outcome::Covered));
        }
    }
}

/// A deadline that was promised to a frame holds, even when a later policy has none.
#[test]
fn a_promised_deadline_holds() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 32, 32).unwrap();
    let pool = FramePool::new(format, 4);
    let hurried = faces(Style::default()).deadline(millis(100), OnDeadline::Obscure).build().unwrap();
    let mut engine = Engine::new(hurried, pool.clone(), &[Class::Face]).unwrap();
    engine.push(canary_frame(&pool, 0, ms(0)).unwrap(), ms(0)).unwrap();
    engine.set_policy(faces(Style::default()).build().unwrap()).unwrap();
    assert!(engine.release(ms(99)).is_none());
    assert_eq!(engine.release(ms(100)).unwrap().outcome(), Outcome::Obscured);
}

/// However often the policy changes while a frame waits, no more masks pile up than a few; then it is obscured.
#[test]
fn endless_changes_of_policy_obscure_what_waits() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 32, 32).unwrap();
    let pool = FramePool::new(format, 3);
    let policy = |hold| faces(Style::default()).hold(millis(hold)).build().unwrap();
    for (changes, outcome) in [(1, Outcome::Covered), (200, Outcome::Obscured)] {
        let mut engine = Engine::new(policy(0), pool.clone(), &[Class::Face]).unwrap();
        engine.push(canary_frame(&pool, 0, ms(0)).unwrap(), ms(0)).unwrap();
        let job = engine.next_job().unwrap();
        (1..=changes).for_each(|i| engine.set_policy(policy(i)).unwrap());
        // The same policy again is no change.
        (0..200).for_each(|_| engine.set_policy(policy(changes)).unwrap());
        engine.observe(job, Ok(Vec::new()));
        assert_eq!(engine.release(ms(0)).unwrap().outcome(), outcome);
    }
}

/// At most one job is out, whatever is changed while it is.
#[test]
fn never_two_jobs_at_once() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 32, 32).unwrap();
    let pool = FramePool::new(format, 4);
    let mut engine =
        Engine::new(faces(Style::default()).build().unwrap(), pool.clone(), &Class::ALL).unwrap();
    engine.push(canary_frame(&pool, 0, ms(0)).unwrap(), ms(0)).unwrap();
    let job = engine.next_job().unwrap();
    engine.set_policy(Policy::builder().hide(Class::Person, Style::default()).build().unwrap()).unwrap();
    engine.push(canary_frame(&pool, 1, ms(1)).unwrap(), ms(1)).unwrap();
    assert!(engine.next_job().is_none());
    // The frame on loan is replaced at once; what the job found counts no longer.
    assert_eq!(engine.release(ms(1)).unwrap().outcome(), Outcome::Obscured);
    engine.observe(job, Ok(Vec::new()));
    assert_eq!(engine.stats().observations, 0);
    assert!(engine.release(ms(1)).is_none());
    let job = engine.next_job().unwrap();
    engine.finish();
    assert_eq!(engine.release(ms(1)).unwrap().outcome(), Outcome::Obscured);
    engine.observe(job, Ok(Vec::new()));
    assert!(engine.next_job().is_none());
    assert_eq!(engine.stats().observations, 0);
}

/// Zones alone need no detector, and nothing else is touched.
#[test]
fn zones_alone_need_no_detector() {
    let format = FrameFormat::new(PixelFormat::I420, 15, 11).unwrap();
    let area = Polygon::new([(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]).unwrap();
    let policy = Policy::builder().zone(Zone::new("door", area, Style::default()).unwrap()).build().unwrap();
    let frame = redact_one(format, policy, vec![]);
    samples(frame.view(), |s| {
        assert_eq!(s.is_raw_of(7), !s.any(|x, _| x < 8), "{}, {} of plane {}", s.x, s.y, s.plane);
    });
}
