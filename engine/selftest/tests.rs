//! Drawn scenes, and detectors that must pass or fail.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::detect::backend::Backend;
use crate::detect::{Ensemble, ModelStore};
use crate::geometry::Orientation;
use crate::policy::{BackendChoice, Preset};

const BOTH: [Class; 2] = [Class::Face, Class::Person];

fn ours(preset: Preset, classes: &[Class]) -> Ensemble {
    let store = ModelStore::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models"));
    let backend = Backend::choose(BackendChoice::Auto, 2).unwrap();
    Ensemble::load(&store, &backend, &preset.settings(classes)).unwrap()
}

fn test(pixel: PixelFormat, size: (u32, u32), classes: &[Class], seed: u64) -> SelfTest {
    let hide = |builder, class: &Class| crate::policy::PolicyBuilder::hide(builder, *class, Style::default());
    let policy = classes.iter().fold(Policy::builder(), hide).self_test(Some(Duration::from_secs(60)));
    let format = FrameFormat::new(pixel, size.0, size.1).unwrap();
    SelfTest::new(&policy.build().unwrap(), format, Some(seed))
}

/// A detector made of a function, which knows how many pictures it has seen.
struct Stub<F>(F, u64);

impl<F: FnMut(u64, &View<'_>) -> Result<Vec<Detection>> + Send> Detector for Stub<F> {
    fn classes(&self) -> &[Class] {
        &BOTH
    }
    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        self.1 += 1;
        (self.0)(self.1, view)
    }
}

fn stub<F: FnMut(u64, &View<'_>) -> Result<Vec<Detection>> + Send>(f: F) -> Stub<F> {
    Stub(f, 0)
}

fn faces(boxes: &[[f32; 4]]) -> Vec<Detection> {
    let face = |b: &[f32; 4]| Detection::new(Class::Face, Rect::new(b[0], b[1], b[2], b[3]).unwrap(), 1.0);
    boxes.iter().map(face).collect()
}

#[test]
fn a_scene_is_the_same_in_every_format_and_orientation() {
    let upright = FrameFormat::new(PixelFormat::Nv12, 161, 121).unwrap();
    let grey = |format: FrameFormat| {
        let pool = FramePool::new(format, 1);
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        let scene = Scene::new(&format, 5);
        let frame = pool.fill(meta, |view| {
            scene.draw(view);
            Ok(())
        });
        let job = frame.unwrap().unwrap().lend(std::sync::Arc::default());
        let (first, step) = luma(format.pixel());
        let at = |x: u32, y: u32| {
            let stored = format.orientation().to_stored((x as f64 + 0.5, y as f64 + 0.5), format.size());
            job.view().row(0, stored.1 as u32)[first + step * stored.0 as usize]
        };
        (0..121).flat_map(|y| (0..161).map(move |x| (x, y))).map(|(x, y)| at(x, y)).collect::<Vec<u8>>()
    };
    let expected = grey(upright);
    assert!(expected.iter().all(|v| (40..=235).contains(v)));
    for tag in 1..=8 {
        let turn = Orientation::from_exif(tag).unwrap();
        let (w, h) = if turn.transpose { (121, 161) } else { (161, 121) };
        for pixel in [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24] {
            let format = FrameFormat::new(pixel, w, h).unwrap().with_orientation(turn);
            assert!(grey(format) == expected, "{pixel:?}, orientation {tag}");
        }
    }
}

#[test]
fn no_two_tests_show_the_same() {
    let format = FrameFormat::new(PixelFormat::Nv12, 1280, 720).unwrap();
    let mut test = test(PixelFormat::Nv12, (1280, 720), &[Class::Face], 0);
    test.seed = None;
    let scenes: Vec<Scene> = (0..40).map(|_| Scene::new(&format, test.random().unwrap())).collect();
    for (i, a) in scenes.iter().enumerate() {
        assert!(scenes[..i].iter().all(|b| a.place != b.place), "drawn from the kernel's random numbers");
        let area = a.area(Class::Face);
        assert!(!area.is_empty() && area.x1 <= 1280 && area.y1 <= 720);
    }
    assert!(scenes.iter().any(|s| s.mirrored) && scenes.iter().any(|s| !s.mirrored));
    let middles: Vec<u32> = scenes.iter().map(|s| s.area(Class::Face).x0).collect();
    assert!(middles.iter().max().unwrap() - middles.iter().min().unwrap() > 500);
}

#[test]
fn a_detector_that_sees_passes_in_every_format() {
    let mut detector = ours(Preset::Fast, &BOTH);
    for (seed, pixel) in
        [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24].iter().enumerate()
    {
        for classes in [&BOTH[..1], &BOTH[1..], &BOTH[..]] {
            let verdict = test(*pixel, (320, 240), classes, seed as u64).run(&mut detector);
            assert!(verdict.is_ok(), "{pixel:?}, {classes:?}: {}", verdict.unwrap_err());
        }
    }
}

/// Run it with more seeds, in release mode, when a preset, a model or the picture changes.
#[test]
fn every_preset_passes_wherever_the_person_stands() {
    let seeds: u64 = std::env::var("MILKGLASS_SELFTEST_SEEDS").map_or(1, |n| n.parse().unwrap());
    for preset in [Preset::Fast, Preset::Balanced, Preset::Careful] {
        let mut detector = ours(preset, &BOTH);
        for size in [(128, 96), (320, 240), (640, 480), (1280, 720), (1920, 1080), (720, 1280)] {
            let mut failed = Vec::new();
            for seed in 0..seeds {
                if size.0 > 720 && seeds == 1 {
                    continue;
                }
                if let Err(fault) = test(PixelFormat::Nv12, size, &BOTH, 1000 * seed).run(&mut detector) {
                    failed.push((seed, fault.to_string()));
                }
            }
            assert!(failed.is_empty(), "{preset} at {size:?}: {} of {seeds}: {failed:?}", failed.len());
        }
    }
}

#[test]
fn the_dead_the_blind_and_the_constant_fail_whatever_is_drawn() {
    let whole = faces(&[[0.0, 0.0, 320.0, 240.0]]);
    for seed in 0..200 {
        let fault = |detector: &mut dyn Detector| {
            let verdict = test(PixelFormat::Nv12, (320, 240), &BOTH[..1], seed).run(detector);
            verdict.expect_err("it must not pass").to_string()
        };
        assert_eq!(fault(&mut stub(|_, _| Ok(vec![]))), "a known face did not come out covered");
        let dead = fault(&mut stub(|_, _| Err(Error::other("dead"))));
        assert!(dead.ends_with("covers nothing: dead"), "{dead}");
        let blotted = fault(&mut stub(|_, _| Ok(whole.clone())));
        assert!(blotted.starts_with("a picture without anybody"), "{blotted}");
        fault(&mut stub(|_, _| Ok(faces(&[[100.0, 60.0, 40.0, 50.0]]))));
        // Many boxes, all over the picture but for less than a fifth of it.
        let many: Vec<[f32; 4]> =
            (0..60).map(|i| [(i % 10) as f32 * 32.0, (i / 10) as f32 * 40.0, 12.0, 14.0]).collect();
        fault(&mut stub(|_, _| Ok(faces(&many))));
        // One that knows exactly where the person stands, and always says so.
        let scene = Scene::new(&FrameFormat::new(PixelFormat::Nv12, 320, 240).unwrap(), seed + 1);
        let area = scene.area(Class::Face);
        let here = [area.x0 as f32, area.y0 as f32, area.width() as f32, area.height() as f32];
        let same = fault(&mut stub(|_, _| Ok(faces(&[here]))));
        assert!(same.starts_with("a picture without anybody"), "{same}");
    }
}

#[test]
fn one_that_knows_the_picture_by_heart_fails_the_next_time() {
    let mut first: Option<Vec<u8>> = None;
    let mut detector = stub(move |_, view: &View<'_>| {
        let picture = view.plane(0).to_vec();
        let scene = Scene::new(view.format(), 8);
        let area = scene.area(Class::Face);
        let known = first.get_or_insert_with(|| picture.clone());
        let here = [area.x0 as f32, area.y0 as f32, area.width() as f32, area.height() as f32];
        Ok(if *known == picture { faces(&[here]) } else { vec![] })
    });
    let mut test = test(PixelFormat::Nv12, (320, 240), &BOTH[..1], 7);
    assert!(test.run(&mut detector).is_ok(), "it knows this one");
    for _ in 0..50 {
        assert!(test.run(&mut detector).is_err());
    }
}

#[test]
fn boxes_of_one_class_do_not_stand_for_another() {
    let scene = Scene::new(&FrameFormat::new(PixelFormat::Nv12, 320, 240).unwrap(), 4);
    let mut shown = 0;
    let mut detector = stub(move |_, _: &View<'_>| {
        shown += 1;
        let area = scene.area(Class::Person);
        let rect = Rect::new(area.x0 as f32, area.y0 as f32, area.width() as f32, area.height() as f32);
        let person = Detection::new(Class::Person, rect.unwrap(), 1.0);
        Ok(if shown == 1 { vec![person] } else { vec![] })
    });
    let verdict = test(PixelFormat::Nv12, (320, 240), &BOTH, 3).run(&mut detector);
    assert_eq!(verdict.unwrap_err().to_string(), "a known face did not come out covered");
}

#[test]
fn pictures_without_room_for_a_face_do_not_switch_it_off() {
    let mut detector = ours(Preset::Fast, &BOTH[..1]);
    for size in [(320, 95), (95, 95), (64, 48), (16, 16), (96, 2), (16_384, 2), (2, 2)] {
        assert!(test(PixelFormat::Nv12, size, &BOTH, 0).is_on());
        let blind = test(PixelFormat::Nv12, size, &BOTH[..1], 3).run(&mut stub(|_, _| Ok(vec![])));
        assert!(blind.is_err(), "a blind detector passes at {size:?}");
        let verdict = test(PixelFormat::Nv12, size, &BOTH[..1], 3).run(&mut detector);
        assert!(verdict.is_ok(), "{size:?}: {}", verdict.unwrap_err());
    }
    let mut off = test(PixelFormat::Nv12, (320, 240), &BOTH, 0);
    off.follow(&Policy::builder().hide(Class::Face, Style::default()).build().unwrap());
    assert!(!off.is_on() && off.wait().is_none());
}

/// A network sees a strip shrunk to its longer side: whoever fills its height would be six pixels of a face. A part is shown.
#[test]
fn an_honest_detector_passes_in_strips() {
    let mut detector = ours(Preset::Fast, &BOTH);
    let strips = [(1920, 96), (96, 1920), (1920, 200), (1600, 120), (640, 160), (2000, 500)];
    for (size, seed) in strips.into_iter().zip(0..) {
        for turn in [1, 6].map(|tag| Orientation::from_exif(tag).unwrap()) {
            let format = FrameFormat::new(PixelFormat::Nv12, size.0, size.1).unwrap().with_orientation(turn);
            let policy = BOTH.iter().fold(Policy::builder(), |b, class| b.hide(*class, Style::default()));
            let policy = policy.self_test(Some(Duration::from_secs(60))).build().unwrap();
            let mut test = SelfTest::new(&policy, format, Some(10 * seed));
            assert!(test.is_on());
            for _ in 0..3 {
                let verdict = test.run(&mut detector);
                assert!(verdict.is_ok(), "{size:?}, {turn:?}: {}", verdict.unwrap_err());
            }
            assert!(test.run(&mut stub(|_, _| Ok(vec![]))).is_err(), "a blind detector passes at {size:?}");
        }
    }
}

/// One that promises faces larger than the picture has room for is shown an enlarged one, not smaller faces than it promised.
#[test]
fn nobody_is_held_to_more_than_was_promised() {
    let policy = Policy::builder().hide(Class::Face, Style::default()).build().unwrap();
    for (size, smallest) in
        [((1920, 96), 32), ((96, 1920), 48), ((64, 48), 32), ((640, 480), 32), ((2, 2), 20)]
    {
        let format = FrameFormat::new(PixelFormat::I420, size.0, size.1).unwrap();
        let classes = classes(&policy);
        let (mut shown, mut room) = (0, f32::INFINITY);
        let mut ours = ours(Preset::Fast, &BOTH[..1]);
        let mut seeing = stub(|_, view: &View<'_>| {
            shown += 1;
            let (width, height) = view.format().size();
            room = room.min(HEIGHT.1 * width.min(height) as f32 / HEIGHT_OF_FACE);
            ours.detect(view)
        });
        let verdict = prove(&mut seeing, &format, &classes, smallest);
        assert!(verdict.is_ok(), "{size:?}: {}", verdict.unwrap_err());
        assert!(shown == 6 && room >= smallest as f32, "{size:?}: {shown} pictures with room for {room}");
    }
}

/// A detector that could not find her is not held to it, whatever policy comes.
#[test]
fn one_that_could_not_find_her_is_shown_nothing() {
    let mut given_up = test(PixelFormat::Nv12, (320, 240), &BOTH, 0);
    given_up.give_up();
    assert!(!given_up.is_on());
    let policy =
        Policy::builder().hide(Class::Person, Style::default()).self_test(Some(Duration::from_secs(7)));
    given_up.follow(&policy.build().unwrap());
    assert!(!given_up.is_on() && given_up.wait().is_none());
}

/// The person looks as through such a camera: as wide for her height as she is when it is shown.
#[test]
fn she_is_drawn_and_found_through_pixels_of_any_shape() {
    let mut detector = ours(Preset::Fast, &BOTH);
    for (seed, (aspect, size)) in
        [((2, 1), (320, 480)), ((1, 2), (704, 288)), ((64, 45), (720, 576)), ((8, 1), (96, 512))]
            .iter()
            .enumerate()
    {
        let aspect = crate::geometry::PixelAspect::new(aspect.0, aspect.1).unwrap();
        for turn in [1, 6].map(|tag| Orientation::from_exif(tag).unwrap()) {
            let format = FrameFormat::new(PixelFormat::Nv12, size.0, size.1).unwrap();
            let format = format.with_orientation(turn).with_pixel_aspect(aspect);
            let area = Scene::new(&format, seed as u64 + 1).area(Class::Person);
            let aspect = if turn.transpose { aspect.turned() } else { aspect };
            let (w, h) =
                if turn.transpose { (area.height(), area.width()) } else { (area.width(), area.height()) };
            let shown = f64::from(w) * aspect.ratio() / f64::from(h);
            // 0.6 of 120 by 0.75 of 160, rounded outward to pixels of up to 8.
            assert!((shown - 0.6).abs() < 0.12, "{aspect}: {shown}");
            let mut test = test(PixelFormat::Nv12, *size, &BOTH, seed as u64);
            test.format = format;
            let verdict = test.run(&mut detector);
            assert!(verdict.is_ok(), "{aspect}, {turn:?}: {}", verdict.unwrap_err());
        }
    }
}
