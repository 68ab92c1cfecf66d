//! The guarantee, played at random: whatever a camera, a detector and an owner do, nothing raw leaves inside the faces
//! that detection reported or inside the zones.
//!
//! Every sample of every raw frame is a canary: a value that no style paints, and which tells frame and place. So any raw
//! sample that turns up is recognised, inside a face, in a zone, from another frame or in the padding. What must be hidden
//! is worked out here again, from the script alone: from the times at which detection succeeded, not from the engine.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{HashMap, VecDeque};

use milkglass::{
    Class, DetectJob, Detection, Engine, Error, FrameFormat, FramePool, OnDeadline, Orientation, Outcome,
    PixelFormat, Policy, PolicyBuilder, Polygon, RedactedFrame, Stats, Style, Timestamp, Zone,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use support::*;

/// Everything that stays the same in one play.
#[derive(Clone, Debug)]
struct Scene {
    pixel: PixelFormat,
    size: (u32, u32),
    exif: u8,
    style: Style,
    walkers: Vec<Walker>,
    zones: [Drawn; 2],
    /// The first zone is in force from the start; the second can come later.
    zoned: bool,
    speed: f32,
    hold: u64,
    look_ahead: u64,
    max_gap: u64,
    max_waiting: usize,
    deadline: Option<u64>,
    on_deadline: OnDeadline,
    buffers: usize,
    ghosts: bool,
}

/// A zone: corners in the upright picture.
#[derive(Clone, Debug)]
struct Drawn {
    corners: Vec<(f64, f64)>,
    inverted: bool,
}

#[derive(Clone, Debug)]
enum Act {
    Push(u64),
    Lend,
    Return,
    ReturnError,
    ReturnNan,
    LoseJob,
    Wait(u64),
    Release,
    AddZone(bool),
    Persons(bool),
    Privacy(bool),
    PushForeign,
    PushTooEarly,
    ReturnForeign,
    KeepOutput(bool),
}

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
    (picture, style, walkers, [drawn(), drawn()], policy, line, (prop::bool::weighted(0.4), any::<bool>()))
        .prop_map(|((pixel, size, exif), style, walkers, zones, policy, line, (zoned, ghosts))| {
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
            }
        })
}

impl Scene {
    fn format(&self) -> FrameFormat {
        let format = FrameFormat::new(self.pixel, self.size.0, self.size.1).unwrap();
        format.with_orientation(Orientation::from_exif(self.exif).unwrap())
    }

    fn policy(&self, zones: [bool; 2], persons: bool) -> Policy {
        let mut b = faces(self.style)
            .speed(self.speed)
            .hold(millis(self.hold))
            .look_ahead(millis(self.look_ahead))
            .max_gap(millis(self.max_gap))
            .max_waiting(self.max_waiting);
        if let Some(deadline) = self.deadline {
            b = b.deadline(millis(deadline), self.on_deadline);
        }
        if persons {
            b = b.hide_grown(Class::Person, Style::default(), PolicyBuilder::MIN_GROW);
        }
        for (zone, _) in self.zones.iter().zip(zones).filter(|(_, in_force)| *in_force) {
            let area = Polygon::new(zone.corners.clone()).unwrap();
            b = b.zone(Zone::new("zone", area, self.style).unwrap().inverted(zone.inverted));
        }
        b.build().unwrap()
    }

    fn detect(&self, t: Timestamp) -> Vec<Detection> {
        let mut found: Vec<Detection> = self.walkers.iter().filter_map(|w| w.seen(t, self.size)).collect();
        let dice = fnv1a(t.as_nanos().to_le_bytes());
        if self.ghosts && dice.is_multiple_of(3) {
            // Something that is not there: it comes and goes, and may be taken for a partner.
            let at = ((dice >> 8) % 40) as f32;
            found.push(Detection {
                tentative: dice.is_multiple_of(2),
                ..face(at, at / 2.0, at + 7.0, at / 2.0 + 7.0)
            });
        }
        found
    }
}

impl Drawn {
    /// Whether a pixel of the stored picture must be hidden: any of 5 x 5 points in it.
    fn hides(&self, x: u32, y: u32, scene: &Scene) -> bool {
        let step = |i: u32| (f64::from(i) + 0.5) / 5.0;
        (0..25).any(|i| {
            let p = upright((f64::from(x) + step(i % 5), f64::from(y) + step(i / 5)), scene);
            inside(&self.corners, p) != self.inverted
        })
    }
}

/// A point of the stored picture in 0..=1 of the upright one, as EXIF 2.32 draws the eight orientations.
fn upright((x, y): (f64, f64), scene: &Scene) -> (f64, f64) {
    let (x, y) = (x / f64::from(scene.size.0), y / f64::from(scene.size.1));
    match scene.exif {
        1 => (x, y),
        2 => (1.0 - x, y),
        3 => (1.0 - x, 1.0 - y),
        4 => (x, 1.0 - y),
        5 => (y, x),
        6 => (1.0 - y, x),
        7 => (1.0 - y, 1.0 - x),
        _ => (y, 1.0 - x),
    }
}

fn inside(corners: &[(f64, f64)], (x, y): (f64, f64)) -> bool {
    let edges = corners.iter().zip(corners.iter().cycle().skip(1));
    let crossed =
        edges.filter(|(a, b)| (a.1 > y) != (b.1 > y) && x < (b.0 - a.0) * (y - a.1) / (b.1 - a.1) + a.0);
    crossed.count() % 2 == 1
}

/// What the script knows of a frame that it pushed.
struct Pushed {
    captured: Timestamp,
    arrived: Timestamp,
    /// The zones in force, for every policy it lived under.
    zones: Vec<[bool; 2]>,
    /// It must leave obscured.
    obscure: bool,
}

/// One play, and everything needed to judge what comes out.
struct Play<'a> {
    scene: &'a Scene,
    pool: FramePool,
    engine: Engine,
    now: Timestamp,
    sequence: u64,
    pushed: VecDeque<(u64, Pushed)>,
    jobs: Option<DetectJob>,
    /// The job was lent before observing started anew.
    stale: bool,
    /// Successful observations since observing started anew.
    observed: Vec<Timestamp>,
    zones: [bool; 2],
    persons: bool,
    privacy: bool,
    kept: Vec<RedactedFrame>,
    /// Which luma pixels each zone hides.
    masks: [Vec<bool>; 2],
    tally: Tally,
}

/// What happened, over many plays: a guarantee kept by hiding everything would show here.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    covered: u64,
    obscured: u64,
    hidden_faces: u64,
    raw_samples: u64,
    samples: u64,
    dropped: u64,
    lost: u64,
    failed: u64,
}

macro_rules! claim {
    ($cond:expr, $($why:tt)*) => { if !$cond { return Err(TestCaseError::fail(format!($($why)*))) } };
}

impl<'a> Play<'a> {
    fn new(scene: &'a Scene) -> Play<'a> {
        let pool = FramePool::new(scene.format(), scene.buffers);
        let zones = [scene.zoned, false];
        let engine = Engine::new(scene.policy(zones, false), pool.clone(), &Class::ALL).unwrap();
        let (w, h) = scene.size;
        let masks =
            [0, 1].map(|z| (0..w * h).map(|i| scene.zones[z as usize].hides(i % w, i / w, scene)).collect());
        Play {
            scene,
            pool,
            engine,
            now: ms(10),
            sequence: 0,
            pushed: VecDeque::new(),
            jobs: None,
            stale: false,
            observed: Vec::new(),
            zones,
            persons: false,
            privacy: false,
            kept: Vec::new(),
            masks,
            tally: Tally::default(),
        }
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match *act {
            Act::Push(later) => {
                self.now = self.now + millis(later);
                self.sequence += 1;
                if let Some(frame) = canary_frame(&self.pool, self.sequence, self.now) {
                    self.engine.push(frame, self.now).unwrap();
                    let (zones, obscure) = (vec![self.zones], self.privacy);
                    let pushed = Pushed { captured: self.now, arrived: self.now, zones, obscure };
                    self.pushed.push_back((self.sequence, pushed));
                }
            }
            Act::Lend => {
                if let Some(job) = self.engine.next_job() {
                    claim!(self.jobs.is_none(), "two jobs are out");
                    self.jobs = Some(job);
                    self.stale = false;
                }
            }
            Act::Return => {
                if let Some(job) = self.jobs.take() {
                    let t = job.meta().captured;
                    self.engine.observe(job, Ok(self.scene.detect(t)));
                    if !self.stale {
                        self.observed.push(t);
                    }
                }
            }
            Act::ReturnError => {
                if let Some(job) = self.jobs.take() {
                    self.engine.observe(job, Err(Error::Detector("it is ill".into())));
                }
            }
            Act::ReturnNan => {
                if let Some(job) = self.jobs.take() {
                    let mut found = self.scene.detect(job.meta().captured);
                    found.push(Detection { score: f32::NAN, ..face(1.0, 1.0, 4.0, 4.0) });
                    self.engine.observe(job, Ok(found));
                }
            }
            Act::LoseJob => self.jobs = None,
            Act::Wait(later) => self.now = self.now + millis(later),
            Act::Release => self.release()?,
            Act::AddZone(on) => {
                self.zones[1] = on;
                self.set_policy();
            }
            Act::Persons(on) => {
                let anew = self.persons != on;
                self.persons = on;
                self.set_policy();
                if anew {
                    self.observed.clear();
                    self.stale = true;
                    self.pushed.iter_mut().for_each(|(_, p)| p.obscure = true);
                }
            }
            Act::Privacy(on) => {
                self.privacy = on;
                self.engine.set_privacy(on);
                if on {
                    self.pushed.iter_mut().for_each(|(_, p)| p.obscure = true);
                }
            }
            Act::PushForeign => {
                let pool = FramePool::new(self.scene.format(), 2);
                let frame = canary_frame(&pool, 999, self.now + millis(1)).unwrap();
                claim!(
                    matches!(self.engine.push(frame, self.now), Err(Error::ForeignFrame)),
                    "a foreign frame"
                );
            }
            Act::PushTooEarly => {
                if let Some((_, last)) = self.pushed.back()
                    && let Some(frame) = canary_frame(&self.pool, 999, last.captured)
                {
                    let refused = self.engine.push(frame, self.now);
                    claim!(matches!(refused, Err(Error::TimeOrder { .. })), "a frame out of order");
                }
            }
            Act::ReturnForeign => {
                // A job of another engine, with a frame of the same time: it must not count here.
                let pool = FramePool::new(self.scene.format(), 2);
                let policy = faces(Style::default()).build().unwrap();
                let mut other = Engine::new(policy, pool.clone(), &Class::ALL).unwrap();
                let t = self.jobs.as_ref().map_or(self.now, |j| j.meta().captured);
                other.push(canary_frame(&pool, 999, t).unwrap(), self.now).unwrap();
                self.engine.observe(other.next_job().unwrap(), Ok(Vec::new()));
            }
            Act::KeepOutput(true) => {}
            Act::KeepOutput(false) => self.kept.clear(),
        }
        if !matches!(act, Act::KeepOutput(_)) && self.kept.len() > 3 {
            self.kept.clear();
        }
        Ok(())
    }

    fn set_policy(&mut self) {
        self.engine.set_policy(self.scene.policy(self.zones, self.persons)).unwrap();
        for (_, p) in &mut self.pushed {
            p.zones.push(self.zones);
        }
    }

    fn release(&mut self) -> Result<(), TestCaseError> {
        while let Some(frame) = self.engine.release(self.now) {
            self.judge(&frame)?;
            self.kept.push(frame);
        }
        Ok(())
    }

    /// Everything that must be true of a frame that left.
    fn judge(&mut self, frame: &RedactedFrame) -> Result<(), TestCaseError> {
        let meta = frame.meta();
        // I4: in order, each at most once. Those before it were dropped.
        let pushed = loop {
            let Some((sequence, pushed)) = self.pushed.pop_front() else {
                return Err(TestCaseError::fail(format!("{frame:?} out of order, or twice")));
            };
            if sequence == meta.sequence {
                break pushed;
            }
        };
        claim!(pushed.captured == meta.captured, "{frame:?} changed its time");
        claim!(padding_is_zero(frame.view()), "I6: {frame:?} has padding");
        let mut around = None;
        if frame.outcome() == Outcome::Covered {
            self.tally.covered += 1;
            claim!(!pushed.obscure, "{frame:?} should be obscured");
            let before = self.observed.iter().rfind(|o| **o <= meta.captured);
            let after = self.observed.iter().find(|o| **o >= meta.captured);
            let (Some(&before), Some(&after)) = (before, after) else {
                return Err(TestCaseError::fail(format!("I2: {frame:?} without observations around it")));
            };
            claim!(after.since(before) <= millis(self.scene.max_gap), "I2: {frame:?} in too large a gap");
            let age = self.now.since(pushed.arrived);
            claim!(self.scene.deadline.is_none_or(|d| age < millis(d)), "I5: {frame:?} is too old");
            around = Some([before, after]);
        } else {
            self.tally.obscured += 1;
        }
        self.judge_samples(frame, &pushed, around)
    }

    fn judge_samples(
        &mut self,
        frame: &RedactedFrame,
        pushed: &Pushed,
        around: Option<[Timestamp; 2]>,
    ) -> Result<(), TestCaseError> {
        let (t, size) = (frame.meta().captured, self.scene.size);
        // Detection promises those whom either observation around the frame saw.
        let seen = |w: &&Walker| around.is_some_and(|a| a.iter().any(|o| w.seen(*o, size).is_some()));
        let faces: Vec<_> = self.scene.walkers.iter().filter(seen).map(|w| w.at(t)).collect();
        // Of several inverted zones, a pixel is visible if it lies in one of them.
        let (drawn, masks) = (&self.scene.zones, &self.masks);
        let zoned = |in_force: &[bool; 2], x: u32, y: u32| {
            let hides = |z: usize| masks[z][(y * size.0 + x) as usize];
            let of = |inverted| (0..2).filter(move |&z| in_force[z] && drawn[z].inverted == inverted);
            of(false).any(hides) || (of(true).count() > 0 && of(true).all(hides))
        };
        let zone = |x: u32, y: u32| pushed.zones.iter().any(|z| zoned(z, x, y));
        let mut wrong = None;
        let (mut raw_samples, mut total, mut hidden) = (0, 0, 0);
        samples(frame.view(), |s| {
            total += 1;
            let raw = s.is_raw_of(frame.meta().sequence);
            let at_face = s.any(|x, y| faces.iter().any(|f| touches(f, x, y)));
            if at_face || around.is_none() || s.any(zone) {
                // Hidden: not one byte of it may be raw, of this frame or any other.
                hidden += u64::from(at_face);
                if s.bytes.iter().any(|&v| is_canary(v)) {
                    wrong = Some(format!("raw sample {}, {} of plane {} in {frame:?}", s.x, s.y, s.plane));
                }
            } else if raw {
                raw_samples += 1;
            } else if s.bytes.iter().any(|&v| is_canary(v)) {
                wrong = Some(format!("leftover at {}, {} of plane {} in {frame:?}", s.x, s.y, s.plane));
            }
        });
        if around.is_some() {
            self.tally.samples += total;
            self.tally.raw_samples += raw_samples;
            self.tally.hidden_faces += u64::from(hidden > 0);
        }
        wrong.map_or(Ok(()), |why| Err(TestCaseError::fail(why)))
    }

    fn finish(mut self) -> Result<(Tally, Stats), TestCaseError> {
        self.release()?;
        self.engine.finish();
        self.release()?;
        claim!(self.engine.next_job().is_none(), "a job after the end");
        claim!(self.engine.release(self.now).is_none(), "a frame after the last");
        // Nothing is left in the line: every buffer but the engine's reserve comes back.
        self.kept.clear();
        self.jobs = None;
        drop(self.engine.release(self.now));
        claim!(
            self.pool.free() + 1 == self.pool.count(),
            "{} of {} are free",
            self.pool.free(),
            self.pool.count()
        );
        let stats = self.engine.stats();
        self.tally.dropped += stats.dropped;
        self.tally.lost += stats.lost_jobs;
        self.tally.failed += stats.detector_errors;
        drop(self.engine);
        // A buffer that was raw is scrubbed before anybody gets it again.
        Ok((self.tally, stats))
    }
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
            play.act(act)?;
        }
        let (tally, stats) = play.finish()?;
        claim!(stats.covered == tally.covered && stats.obscured == tally.obscured, "wrong counts: {stats:?}");
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
    let failed = pool.fill(milkglass::FrameMeta { sequence: 2, captured: ms(2) }, |view| {
        view.row_mut(0, 3).fill(255);
        Err(Error::Source("cut off".into()))
    });
    assert!(failed.is_err());
    for sequence in 0..4 {
        let meta = milkglass::FrameMeta { sequence, captured: ms(2) };
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
