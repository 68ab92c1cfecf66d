//! `shape = "padded"`: at least what the boxes would hide, and little of where and how large they are.

#![allow(clippy::unwrap_used)]

mod support;

use milkglass::engine::Engine;
use milkglass::frame::{FramePool, Outcome, RedactedFrame};
use milkglass::picture::PixelFormat;
use milkglass::policy::{PolicyBuilder, RegionShape, Style};
use milkglass::{Class, Detection, FrameFormat};
use proptest::prelude::*;
use support::*;

const SIZE: (u32, u32) = (160, 90);

fn padded(builder: PolicyBuilder) -> PolicyBuilder {
    builder.shape(RegionShape::Padded)
}

/// Frames 40 ms apart, each `every`-th of them looked at.
fn play(
    policy: PolicyBuilder,
    frames: u64,
    every: u64,
    found: impl Fn(u64) -> Vec<Detection>,
) -> Vec<RedactedFrame> {
    let format = FrameFormat::new(PixelFormat::Rgb24, SIZE.0, SIZE.1).unwrap();
    let pool = FramePool::new(format, frames as usize + 1);
    let mut engine = Engine::new(policy.build().unwrap(), pool.clone(), &Class::ALL).unwrap();
    let mut out = Vec::new();
    for (sequence, t) in (0..frames).map(|n| (n, n * 40)) {
        engine.push(canary_frame(&pool, sequence, ms(t)).unwrap(), ms(t)).unwrap();
        if sequence % every == 0 {
            let job = engine.next_job().unwrap();
            engine.observe(job, Ok(found(t)));
        }
        out.extend(std::iter::from_fn(|| engine.release(ms(t))));
    }
    engine.finish();
    out.extend(std::iter::from_fn(|| engine.release(ms(frames * 40))));
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// The lock takes padded for stronger, so every sample that a box hides must be hidden, in every frame, whoever moves how.
    #[test]
    fn it_hides_all_that_the_boxes_would(
        walkers in prop::collection::vec(((-20.0..150.0f64, -20.0..80.0f64), (4.0..40.0f64, 4.0..40.0f64),
            (-60.0..60.0f64, -60.0..60.0f64)), 1..4),
        every in 1u64..5,
        missed in 0u64..6,
        look_ahead in prop_oneof![Just(0u64), Just(200)],
    ) {
        let walkers: Vec<Walker> =
            walkers.into_iter().map(|(start, size, velocity)| Walker { start, size, velocity }).collect();
        let found = |t: u64| match t / 40 % 6 == missed {
            true => Vec::new(),
            false => walkers.iter().filter_map(|w| w.seen(ms(t), SIZE)).collect(),
        };
        let policy = || faces(Style::default()).hold(millis(400)).look_ahead(millis(look_ahead));
        let (plain, wide) = (play(policy(), 30, every, found), play(padded(policy()), 30, every, found));
        prop_assert_eq!(plain.len(), wide.len());
        for (plain, wide) in plain.iter().zip(&wide) {
            prop_assert_eq!(plain.outcome(), wide.outcome());
            if plain.outcome() != Outcome::Covered {
                continue;
            }
            let (plain, wide) = (Hidden::of(plain), Hidden::of(wide));
            for (x, y) in (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| (x, y))) {
                prop_assert!(wide.at(x, y) || !plain.at(x, y), "{x}, {y}");
            }
        }
    }
}

/// One region for each track, which stays where it is while a face trembles within it, and leaves some of the picture.
#[test]
fn a_trembling_box_does_not_show() {
    let found = |t: u64| {
        let tremble = (t / 40 % 5) as f32;
        vec![face(70.0 + tremble, 40.0 - tremble / 2.0, 82.0 + tremble, 55.0 + tremble / 2.0)]
    };
    let (mut moves, mut frames) = (0, 0);
    for _ in 0..20 {
        let shown = play(padded(faces(Style::default())), 25, 1, found);
        let bounds: Vec<_> = shown
            .iter()
            .filter(|f| f.outcome() == Outcome::Covered)
            .map(|f| {
                let hidden = Hidden::of(f);
                let (x0, y0, x1, y1) = hidden.bounds().unwrap();
                assert_eq!(hidden.count() as u32, (x1 - x0) * (y1 - y0), "one rectangle");
                assert!(hidden.count() < 66 * 78, "{:?} for a face of 12 by 15", (x0, y0, x1, y1));
                (x0, y0, x1, y1)
            })
            .collect();
        frames += bounds.len();
        moves += bounds.windows(2).filter(|w| w[0] != w[1]).count();
    }
    assert!(frames >= 20 * 24, "{frames} frames left covered");
    // The edge of a region can lie within the tremble of a face; then it moves once or twice.
    assert!(moves < 40, "{moves} moves in {frames} frames");
}

/// Two people of different sizes and heights at one place: over many visits, their regions are all but alike.
#[test]
fn place_and_size_hardly_tell_two_people_apart() {
    let [tall, small] = [face(72.0, 30.0, 84.0, 45.0), face(72.5, 34.0, 83.5, 47.0)];
    let middles = |who: Detection, policy: PolicyBuilder| -> Vec<(f32, f32)> {
        let visit = |_| {
            let shown = play(policy.clone(), 2, 1, |_| vec![who]);
            let (_, y0, _, y1) = Hidden::of(&shown[0]).bounds().unwrap();
            ((y0 + y1) as f32 / 2.0, (y1 - y0) as f32)
        };
        (0..300).map(visit).collect()
    };
    /// The best that a guess by one threshold can do, on either figure: 0.5 is chance.
    fn told_apart(a: &[(f32, f32)], b: &[(f32, f32)]) -> f32 {
        let by = |of: fn(&(f32, f32)) -> f32| {
            let best = a.iter().chain(b).map(of).map(|limit| {
                let below = |v: &[(f32, f32)]| v.iter().filter(|p| of(p) <= limit).count() as f32;
                (below(a) - below(b)).abs() / a.len() as f32
            });
            0.5 + best.fold(0.0, f32::max) / 2.0
        };
        by(|p| p.0).max(by(|p| p.1))
    }
    let plain = || faces(Style::default());
    let (a, b) = (middles(tall, plain()), middles(small, plain()));
    assert_eq!(told_apart(&a, &b), 1.0, "boxes tell them apart");
    let (a, b) = (middles(tall, padded(plain())), middles(small, padded(plain())));
    let told = told_apart(&a, &b);
    assert!(told < 0.8, "{told}");
}

/// Zones are hidden as they were drawn, and other styles are padded alike.
#[test]
fn zones_stay_and_mosaics_are_padded_too() {
    let area = milkglass::policy::Polygon::new([(0.0, 0.0), (0.25, 0.0), (0.25, 0.5), (0.0, 0.5)]).unwrap();
    let zone = milkglass::policy::Zone::new("z", area, Style::default()).unwrap();
    let shown = play(padded(faces(Style::default())).zone(zone), 3, 1, |_| Vec::new());
    assert_eq!(Hidden::of(&shown[1]).bounds(), Some((0, 0, 40, 45)));
    let policy = padded(faces(Style::Pixelate { cells: 4 }));
    let shown = play(policy, 3, 1, |_| vec![face(70.0, 40.0, 82.0, 55.0)]);
    assert!(Hidden::of(&shown[1]).count() >= 4 * 12 * 15, "{}", Hidden::of(&shown[1]).count());
}
