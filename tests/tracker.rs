//! What the tracker hides between detections, seen from outside: frames of canaries through an [`Engine`].

#![allow(clippy::unwrap_used)]

mod support;

use milkglass::engine::Engine;
use milkglass::frame::{FramePool, Outcome, RedactedFrame};
use milkglass::geometry::PixelAspect;
use milkglass::picture::PixelFormat;
use milkglass::policy::{PolicyBuilder, Style};
use milkglass::{Class, Detection, FrameFormat, Policy};
use proptest::prelude::*;
use support::*;

const SIZE: (u32, u32) = (160, 90);
const FILL: Style = Style::Fill(milkglass::policy::Color::BLACK);

/// Frames at the times given; the detector answers for those that `found` has an answer for. No frame leaves before the
/// last answer, unless the engine lets it.
fn play(
    policy: PolicyBuilder,
    times: &[u64],
    found: impl Fn(u64) -> Option<Vec<Detection>>,
) -> Vec<RedactedFrame> {
    let format = FrameFormat::new(PixelFormat::Rgb24, SIZE.0, SIZE.1).unwrap();
    play_in(format, policy, times, found)
}

fn play_in(
    format: FrameFormat,
    policy: PolicyBuilder,
    times: &[u64],
    found: impl Fn(u64) -> Option<Vec<Detection>>,
) -> Vec<RedactedFrame> {
    let pool = FramePool::new(format, times.len() + 1);
    let mut engine =
        Engine::new(policy.build().unwrap(), pool.clone(), &[Class::Face, Class::Person]).unwrap();
    let mut out = Vec::new();
    for (sequence, &t) in (0..).zip(times) {
        engine.push(canary_frame(&pool, sequence, ms(t)).unwrap(), ms(t)).unwrap();
        if let Some(found) = found(t) {
            let job = engine.next_job().unwrap();
            assert_eq!(job.meta().captured, ms(t));
            engine.observe(job, Ok(found));
        }
        out.extend(std::iter::from_fn(|| engine.release(ms(t))));
    }
    engine.finish();
    out.extend(std::iter::from_fn(|| engine.release(ms(times[times.len() - 1]))));
    out
}

fn every(n: u64, from: u64, to: u64) -> Vec<u64> {
    (from..=to).step_by(n as usize).collect()
}

fn outcomes(frames: &[RedactedFrame]) -> Vec<bool> {
    frames.iter().map(|f| f.outcome() == Outcome::Covered).collect()
}

#[test]
fn a_walking_face_is_covered_between_detections() {
    let walker = Walker { start: (20.0, 30.0), size: (20.0, 24.0), velocity: (37.0, 11.0) };
    let times = every(40, 0, 1600);
    let frames = play(faces(FILL).speed(2.0), &times, |t| {
        (t % 200 == 0).then(|| walker.seen(ms(t), SIZE).into_iter().collect())
    });
    assert_eq!(frames.len(), times.len());
    for frame in &frames {
        assert_eq!(frame.outcome(), Outcome::Covered);
        let hidden = Hidden::of(frame);
        assert!(hidden.holds(&walker.at(frame.meta().captured)), "{frame:?}");
        // A matched pair hides its hull and no more than that: 7.4 pixels of motion, 2 of growth.
        assert!(hidden.count() < 34 * 34, "{} pixels for a face of 480", hidden.count());
    }
}

#[test]
fn a_face_that_is_lost_is_followed_in_every_direction() {
    // Seen at 0, gone at 400: within its reach of 2 widths per second it may have gone anywhere.
    let times = every(40, 0, 400);
    let frames = play(faces(FILL).speed(2.0).hold(millis(0)), &times, |t| match t {
        0 => Some(vec![face(60.0, 30.0, 80.0, 50.0)]),
        400 => Some(vec![]),
        _ => None,
    });
    for frame in &frames[..frames.len() - 1] {
        let moved = 40.0 * frame.meta().captured.as_nanos() as f32 / 1e9;
        let hidden = Hidden::of(frame);
        for (dx, dy) in [(moved, moved), (-moved, moved), (moved, -moved), (-moved, -moved)] {
            assert!(hidden.holds(&rect(60.0 + dx, 30.0 + dy, 80.0 + dx, 50.0 + dy)), "{frame:?}");
        }
    }
    // Detection says that it is gone, and nothing is held.
    assert_eq!(Hidden::of(&frames[frames.len() - 1]).count(), 0);
}

/// Speed is in widths of a face as it is shown: where pixels are wider than high, that is more of them downward.
#[test]
fn a_face_is_followed_as_far_down_as_across_whatever_the_shape_of_its_pixels_is() {
    let times = every(40, 0, 400);
    let aspect = |w, h| PixelAspect::new(w, h).unwrap();
    let wide = aspect(2, 1);
    // Of several shapes that are possible, the one that it moves furthest in.
    for (aspects, down) in [
        (&[wide][..], 2.0),
        (&[aspect(1, 2), PixelAspect::SQUARE, wide], 2.0),
        (&[aspect(1, 2)], 0.5),
        (&[], 1.0),
    ] {
        let format = FrameFormat::new(PixelFormat::Rgb24, SIZE.0, SIZE.1).unwrap();
        let format = format.with_possible_aspects(aspects);
        let frames = play_in(format, faces(FILL).speed(2.0).hold(millis(0)), &times, |t| match t {
            0 => Some(vec![face(60.0, 40.0, 70.0, 50.0)]),
            400 => Some(vec![]),
            _ => None,
        });
        for frame in &frames[..frames.len() - 1] {
            let across = 20.0 * frame.meta().captured.as_nanos() as f32 / 1e9;
            let hidden = Hidden::of(frame);
            for (x, y) in [(across, across), (-across, across), (across, -across), (-across, -across)] {
                let moved = rect(60.0 + x, 40.0 + y * down, 70.0 + x, 50.0 + y * down);
                assert!(hidden.holds(&moved), "{aspects:?}: {frame:?}");
            }
            // And not much further: growth of a tenth, and whole pixels.
            let most = (10.0 * 1.1 + 2.0 * across + 2.0) * (10.0 * 1.1 + 2.0 * across * down + 2.0);
            assert!(hidden.count() as f32 <= most, "{aspects:?}: {} of {most}", hidden.count());
        }
    }
}

#[test]
fn a_face_that_appears_is_covered_before_it_was_seen() {
    let times = every(40, 0, 400);
    let frames = play(faces(FILL).speed(2.0).hold(millis(0)), &times, |t| match t {
        0 => Some(vec![]),
        400 => Some(vec![face(60.0, 30.0, 80.0, 50.0)]),
        _ => None,
    });
    assert_eq!(Hidden::of(&frames[0]).count(), 0);
    for frame in &frames[1..] {
        let moved = 40.0 * (0.4 - frame.meta().captured.as_nanos() as f32 / 1e9);
        let hidden = Hidden::of(frame);
        for (dx, dy) in [(moved, moved), (-moved, moved), (moved, -moved), (-moved, -moved)] {
            assert!(hidden.holds(&rect(60.0 + dx, 30.0 + dy, 80.0 + dx, 50.0 + dy)), "{frame:?}");
        }
    }
}

#[test]
fn nothing_leaves_covered_before_the_first_detection() {
    let frames = play(faces(FILL), &every(40, 0, 160), |t| (t >= 120).then(Vec::new));
    assert_eq!(outcomes(&frames), [false, false, false, true, true]);
    assert!(frames[..3].iter().all(|f| Hidden::of(f).count() == (SIZE.0 * SIZE.1) as usize));
}

#[test]
fn a_gap_of_detection_longer_than_max_gap_is_obscured() {
    let seen = |t| [0, 200, 401, 601].contains(&t).then(Vec::new);
    let times = [0, 100, 200, 300, 401, 500, 601];
    let frames = play(faces(FILL).max_gap(millis(200)), &times, seen);
    assert_eq!(outcomes(&frames), [true, true, true, false, true, true, true]);
}

#[test]
fn frames_after_the_last_detection_are_obscured_at_the_end() {
    let frames = play(faces(FILL), &every(40, 0, 160), |t| (t <= 80).then(Vec::new));
    assert_eq!(outcomes(&frames), [true, true, true, false, false]);
}

#[test]
fn hold_keeps_a_lost_face_hidden() {
    let times = every(50, 0, 600);
    let found = |t| Some(if t <= 100 { vec![face(60.0, 30.0, 80.0, 50.0)] } else { vec![] });
    let frames = play(faces(FILL).hold(millis(300)), &times, found);
    for (frame, &t) in frames.iter().zip(&times) {
        let hidden = Hidden::of(frame);
        if t <= 400 {
            assert!(hidden.holds(&rect(60.0, 30.0, 80.0, 50.0)), "{t} ms");
        } else {
            assert_eq!(hidden.count(), 0, "{t} ms");
        }
    }
}

#[test]
fn look_ahead_hides_a_face_before_its_first_detection() {
    let times = every(50, 0, 600);
    let found = |t| Some(if t >= 400 { vec![face(60.0, 30.0, 80.0, 50.0)] } else { vec![] });
    let frames = play(faces(FILL).hold(millis(0)).look_ahead(millis(200)), &times, found);
    for (frame, &t) in frames.iter().zip(&times) {
        assert_eq!(Hidden::of(frame).holds(&rect(60.0, 30.0, 80.0, 50.0)), t >= 200, "{t} ms");
    }
}

#[test]
fn a_missed_detection_is_bridged() {
    let walker = Walker { start: (20.0, 30.0), size: (20.0, 24.0), velocity: (35.0, -9.0) };
    let times = every(40, 0, 1200);
    let frames = play(faces(FILL).speed(2.0).look_ahead(millis(400)), &times, |t| {
        let seen = [0, 200, 600, 800, 1200].contains(&t);
        (t % 200 == 0).then(|| if seen { vec![walker.seen(ms(t), SIZE).unwrap()] } else { vec![] })
    });
    for frame in &frames {
        assert!(Hidden::of(frame).holds(&walker.at(frame.meta().captured)), "{frame:?}");
    }
}

#[test]
fn tentative_detections_hide_only_what_was_sure_once() {
    let times = every(40, 0, 240);
    let weak = |_| Some(vec![tentative(60.0, 30.0, 80.0, 50.0)]);
    let frames = play(faces(FILL), &times, weak);
    assert!(frames.iter().all(|f| Hidden::of(f).count() == 0));

    // Sure at 80 ms: with look-ahead, the weak ones before count; the weak ones after count anyway.
    let found = |t| {
        Some(vec![if t == 80 { face(60.0, 30.0, 80.0, 50.0) } else { tentative(60.0, 30.0, 80.0, 50.0) }])
    };
    let frames = play(faces(FILL).hold(millis(0)).look_ahead(millis(80)), &times, found);
    assert!(frames.iter().all(|f| Hidden::of(f).holds(&rect(60.0, 30.0, 80.0, 50.0))));
    let frames = play(faces(FILL).hold(millis(0)), &times, found);
    let hidden: Vec<bool> = frames.iter().map(|f| Hidden::of(f).count() > 0).collect();
    assert_eq!(hidden, [false, false, true, true, true, true, true]);
}

#[test]
fn a_matched_pair_is_covered_with_its_growth_and_slack() {
    let walker = Walker { start: (20.0, 30.0), size: (20.0, 24.0), velocity: (37.0, 11.0) };
    let policy = Policy::builder().hide_grown(Class::Face, FILL, 1.4).speed(2.0);
    let frames = play(policy, &every(40, 0, 400), |t| {
        let seen = walker.seen(ms(t), SIZE).unwrap();
        (t % 200 == 0).then(|| vec![Detection { slack: 3.0, ..seen }])
    });
    for frame in &frames {
        let t = frame.meta().captured;
        assert!(Hidden::of(frame).holds(&walker.at(t).grown(1.399, 2.99)), "{frame:?}");
    }
}

#[test]
fn a_face_first_seen_where_another_was_lost_is_covered() {
    // A is lost after 0. B comes up from far below, unnoticed at 200, and is seen where A's track takes it for A: the way
    // from A to B is not the way that B took.
    let b = Walker { start: (75.0, 82.0), size: (20.0, 20.0), velocity: (0.0, -75.0) };
    let times = every(40, 0, 600);
    let frames = play(faces(FILL).speed(4.0), &times, |t| match t {
        0 => Some(vec![face(60.0, 30.0, 80.0, 50.0)]),
        200 => Some(vec![]),
        600 => Some(vec![b.seen(ms(600), SIZE).unwrap()]),
        _ => None,
    });
    for frame in frames.iter().filter(|f| f.meta().captured > ms(200)) {
        assert!(Hidden::of(frame).holds(&b.at(frame.meta().captured)), "{frame:?}");
    }
}

#[test]
fn slack_widens_the_region() {
    let found = |_| Some(vec![Detection { slack: 5.0, ..face(60.0, 30.0, 80.0, 50.0) }]);
    let frames = play(faces(FILL), &[0], found);
    assert_eq!(Hidden::of(&frames[0]).bounds(), Some((54, 24, 86, 56)));
}

#[test]
fn slack_without_measure_hides_more_not_less() {
    // The box is lost at 200 ms, so its region is grown once more: infinitely wide, it must not turn into nothing.
    let frames = play(faces(FILL), &[0, 100, 200], |t| match t {
        0 => Some(vec![Detection { slack: f32::MAX, ..face(60.0, 30.0, 80.0, 50.0) }]),
        200 => Some(vec![]),
        _ => None,
    });
    assert!(Hidden::of(&frames[0]).holds(&rect(60.0, 30.0, 80.0, 50.0)));
    assert!(Hidden::of(&frames[1]).holds(&rect(60.0, 30.0, 80.0, 50.0)));
}

#[test]
fn boxes_as_wide_as_numbers_go_hide_everything() {
    let frames = play(faces(FILL), &[0, 100, 200], |t| match t {
        0 => Some(vec![face(-3e38, -3e38, 3e38, 3e38)]),
        200 => Some(vec![]),
        _ => None,
    });
    for frame in &frames[..2] {
        assert_eq!(Hidden::of(frame).count(), (SIZE.0 * SIZE.1) as usize);
    }
}

#[test]
fn a_lost_face_is_covered_up_to_the_next_detection_without_any_hold() {
    // Seen at 0 only. Frames up to 200 ms leave after the detection at 200 ms, one by one.
    let times = every(20, 0, 200);
    let frames = play(faces(FILL).hold(millis(0)), &times, |t| match t {
        0 => Some(vec![face(60.0, 30.0, 80.0, 50.0)]),
        200 => Some(vec![]),
        _ => None,
    });
    for frame in &frames[..frames.len() - 1] {
        assert!(Hidden::of(frame).holds(&rect(60.0, 30.0, 80.0, 50.0)), "{frame:?}");
    }
}

#[test]
fn faces_that_exchange_places_between_two_detections_are_covered() {
    // Each goes where the other was: the nearest partner is the wrong one, and its hull is not the way they took.
    let (a, b) = ((60.0, 30.0), (72.0, 42.0));
    let walk = |from: (f64, f64), to: (f64, f64)| Walker {
        start: from,
        size: (20.0, 20.0),
        velocity: ((to.0 - from.0) / 0.48, (to.1 - from.1) / 0.48),
    };
    let walkers = [walk(a, b), walk(b, a)];
    let times = every(40, 0, 480);
    let frames = play(faces(FILL).speed(2.0), &times, |t| {
        (t % 480 == 0).then(|| walkers.iter().map(|w| w.seen(ms(t), SIZE).unwrap()).collect())
    });
    for frame in &frames {
        let hidden = Hidden::of(frame);
        for w in &walkers {
            assert!(hidden.holds(&w.at(frame.meta().captured)), "{frame:?}");
        }
    }
}

#[test]
fn a_face_that_enters_near_a_held_one_is_covered() {
    // A stood near the border and was lost; B comes in, steeply, where A's track takes it for A.
    let b = Walker { start: (161.0, 40.0), size: (20.0, 20.0), velocity: (-35.0, 75.0) };
    let times = every(40, 0, 600);
    let frames = play(faces(FILL).speed(4.0), &times, |t| match t {
        0 => Some(vec![face(128.0, 40.0, 148.0, 60.0)]),
        200 => Some(vec![]),
        600 => Some(vec![b.seen(ms(600), SIZE).unwrap()]),
        _ => None,
    });
    for frame in &frames {
        let t = frame.meta().captured;
        if b.seen(t, SIZE).is_some() && t > ms(200) {
            assert!(Hidden::of(frame).holds(&b.at(t)), "{frame:?}");
        }
    }
}

#[test]
fn a_face_that_leaves_while_another_enters_is_covered() {
    // Only one box in each detection, near one another: they are taken for one face, but it is two.
    let a = Walker { start: (140.0, 30.0), size: (20.0, 20.0), velocity: (52.0, -45.0) };
    let b = Walker { start: (161.0, 55.0), size: (20.0, 20.0), velocity: (-52.0, -45.0) };
    let times = every(40, 0, 400);
    let frames = play(faces(FILL).speed(4.0), &times, |t| {
        (t % 400 == 0).then(|| [a, b].iter().filter_map(|w| w.seen(ms(t), SIZE)).collect())
    });
    for frame in &frames {
        let hidden = Hidden::of(frame);
        for w in [a, b] {
            let t = frame.meta().captured;
            assert!(w.seen(t, SIZE).is_none() || hidden.holds(&w.at(t)), "{frame:?}");
        }
    }
}

#[test]
fn a_face_cut_by_the_border_is_followed_as_the_whole_face() {
    // At 0 only 8 of its 40 columns are in the picture; it goes up along the border and out.
    let walker = Walker { start: (152.0, 40.0), size: (40.0, 30.0), velocity: (22.0, -72.0) };
    let times = every(40, 0, 400);
    let frames = play(faces(FILL).speed(2.0), &times, |t| {
        (t % 400 == 0).then(|| walker.seen(ms(t), SIZE).into_iter().collect())
    });
    assert!(walker.seen(ms(400), SIZE).is_none());
    for frame in &frames {
        let t = frame.meta().captured;
        assert!(walker.seen(t, SIZE).is_none() || Hidden::of(frame).holds(&walker.at(t)), "{frame:?}");
    }
}

#[test]
fn a_policy_that_holds_less_does_not_uncover_what_waits() {
    let format = FrameFormat::new(PixelFormat::Rgb24, SIZE.0, SIZE.1).unwrap();
    let pool = FramePool::new(format, 8);
    let long = faces(FILL).hold(millis(500)).build().unwrap();
    let mut engine = Engine::new(long, pool.clone(), &[Class::Face]).unwrap();
    let mut frames = Vec::new();
    for (sequence, t) in (0..).zip([0, 100, 200]) {
        engine.push(canary_frame(&pool, sequence, ms(t)).unwrap(), ms(t)).unwrap();
        if t == 200 {
            engine.set_policy(faces(FILL).hold(millis(0)).build().unwrap()).unwrap();
        }
        let found = if t == 0 { vec![face(60.0, 30.0, 80.0, 50.0)] } else { vec![] };
        let job = engine.next_job().unwrap();
        engine.observe(job, Ok(found));
        frames.extend(engine.release(ms(t)));
    }
    assert_eq!(outcomes(&frames), [true; 3]);
    for frame in &frames {
        assert!(Hidden::of(frame).holds(&rect(60.0, 30.0, 80.0, 50.0)), "{frame:?}");
    }
}

#[test]
fn persons_and_faces_have_their_own_style_and_growth() {
    let policy = Policy::builder().hide_grown(Class::Person, FILL, 1.5).hide_grown(
        Class::Face,
        Style::Pixelate { cells: 2 },
        1.1,
    );
    let person = Detection::new(Class::Person, rect(20.0, 20.0, 40.0, 60.0), 0.8);
    let frames = play(policy, &[0], |_| Some(vec![face(100.0, 30.0, 120.0, 50.0), person]));
    let hidden = Hidden::of(&frames[0]);
    assert_eq!(hidden.bounds(), Some((15, 10, 121, 70)));
    assert!(hidden.at(15, 10) && hidden.at(44, 69) && hidden.at(99, 29) && !hidden.at(98, 29));
    let row = frames[0].view().row(0, 40);
    assert_eq!(&row[3 * 30..3 * 31], [0, 0, 0]);
    assert_ne!(&row[3 * 110..3 * 111], [0, 0, 0]);
}

#[test]
fn classes_that_the_policy_does_not_name_are_left_alone() {
    let person = Detection::new(Class::Person, rect(20.0, 20.0, 40.0, 60.0), 0.8);
    let frames = play(faces(FILL), &[0], |_| Some(vec![person]));
    assert_eq!(Hidden::of(&frames[0]).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(2),
        ..ProptestConfig::default()
    })]

    /// Any faces slower than `speed`, crossing, entering and leaving, detected in every n-th frame.
    #[test]
    fn faces_slower_than_speed_are_always_covered(
        walkers in prop::collection::vec(
            ((-30.0..170.0, -30.0..100.0), (8.0..24.0, 8.0..24.0), (0.0..std::f64::consts::TAU, 0.0..0.97)), 1..5),
        step in 20u64..60, n in 1u64..9, speed in 1.0f32..6.0,
    ) {
        let walkers: Vec<Walker> = walkers.into_iter().map(|(start, size, (angle, pace))| {
            // Until the picture is left, the road is straight.
            let pace = pace * f64::from(speed) * size.0;
            Walker { start, size, velocity: (pace * angle.cos(), pace * angle.sin()) }
        }).collect();
        let times = every(step, 0, step * 24);
        let frames = play(faces(FILL).speed(speed), &times, |t| {
            (t % (n * step) == 0).then(|| walkers.iter().filter_map(|w| w.seen(ms(t), SIZE)).collect())
        });
        let last = 24 / n * n * step;
        prop_assert_eq!(frames.len(), times.len());
        for frame in &frames {
            let t = frame.meta().captured;
            prop_assert_eq!(frame.outcome() == Outcome::Covered, t <= ms(last));
            if t > ms(last) {
                continue;
            }
            let hidden = Hidden::of(frame);
            // The detections around it: who only brushed the picture in between was never seen.
            let before = t.as_nanos() / 1_000_000 / (n * step) * (n * step);
            let around = [ms(before), ms((before + n * step).min(last))];
            for w in walkers.iter().filter(|w| around.iter().any(|o| w.seen(*o, SIZE).is_some())) {
                prop_assert!(hidden.holds(&w.at(t)), "{:?} of {:?}", frame, w);
            }
        }
    }
}
