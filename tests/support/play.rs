//! A play: a random script of what a camera, a detector and an owner do, and a judge of every frame that leaves. Scripts
//! come from tests/guarantee.rs and from the fuzzer.
//!
//! Every sample of every raw frame is a canary: a value that no style paints, and which tells frame and place. So any raw
//! sample that turns up is recognised, inside a face, in a zone, from another frame or in the padding. What must be hidden
//! is worked out here again, from the script alone: from the times at which detection succeeded, not from the engine.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use milkglass::engine::Engine;
use milkglass::frame::{DetectJob, FramePool, Outcome, RedactedFrame};
use milkglass::geometry::Orientation;
use milkglass::picture::PixelFormat;
use milkglass::policy::{OnDeadline, PolicyBuilder, Polygon, RegionShape, Style, Zone};
use milkglass::stats::Stats;
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, Error, FrameFormat, Policy};

use crate::support::*;

/// Everything that stays the same in one play.
#[derive(Clone, Debug)]
pub struct Scene {
    pub pixel: PixelFormat,
    pub size: (u32, u32),
    pub exif: u8,
    pub style: Style,
    pub walkers: Vec<Walker>,
    pub zones: [Drawn; 2],
    /// The first zone is in force from the start; the second can come later.
    pub zoned: bool,
    pub speed: f32,
    pub hold: u64,
    pub look_ahead: u64,
    pub max_gap: u64,
    pub max_waiting: usize,
    pub deadline: Option<u64>,
    pub on_deadline: OnDeadline,
    pub buffers: usize,
    pub ghosts: bool,
    pub motion_cover: bool,
    pub shape: RegionShape,
}

/// A zone: corners in the upright picture.
#[derive(Clone, Debug)]
pub struct Drawn {
    pub corners: Vec<(f64, f64)>,
    pub inverted: bool,
}

#[derive(Clone, Debug)]
pub enum Act {
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
            .max_waiting(self.max_waiting)
            .motion_cover(self.motion_cover)
            .shape(self.shape);
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
pub struct Play<'a> {
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
pub struct Tally {
    pub covered: u64,
    pub obscured: u64,
    pub hidden_faces: u64,
    pub raw_samples: u64,
    pub samples: u64,
    pub dropped: u64,
    pub lost: u64,
    pub failed: u64,
}

macro_rules! claim {
    ($cond:expr, $($why:tt)*) => { if !$cond { return Err(format!($($why)*)) } };
}

impl<'a> Play<'a> {
    pub fn new(scene: &'a Scene) -> Play<'a> {
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

    pub fn act(&mut self, act: &Act) -> Result<(), String> {
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
                    self.engine.observe(job, Err(Error::other("it is ill")));
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

    fn release(&mut self) -> Result<(), String> {
        while let Some(frame) = self.engine.release(self.now) {
            self.judge(&frame)?;
            self.kept.push(frame);
        }
        Ok(())
    }

    /// Everything that must be true of a frame that left.
    fn judge(&mut self, frame: &RedactedFrame) -> Result<(), String> {
        let meta = frame.meta();
        // I4: in order, each at most once. Those before it were dropped.
        let pushed = loop {
            let Some((sequence, pushed)) = self.pushed.pop_front() else {
                return Err(format!("{frame:?} out of order, or twice"));
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
                return Err(format!("I2: {frame:?} without observations around it"));
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
    ) -> Result<(), String> {
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
        wrong.map_or(Ok(()), Err)
    }

    pub fn finish(mut self) -> Result<(Tally, Stats), String> {
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
