//! Random scripts of what a camera, a detector and an owner do to the engine, with the judge of tests/guarantee.rs: a frame
//! leaves covered only after observations around it, with everybody hidden whom they saw, and every zone, or it leaves
//! obscured; in order, at most once, in time; and every buffer comes back.
#![no_main]

#[path = "../../tests/support/play.rs"]
mod play;
#[path = "../../tests/support/mod.rs"]
mod support;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use milkglass::policy::{OnDeadline, Polygon, RegionShape, Style};
use play::{Act, Drawn, Play, Scene};
use support::{FORMATS, Walker};

#[derive(Arbitrary, Debug)]
struct Script {
    pixel: u8,
    size: (u8, u8),
    exif: u8,
    style: u8,
    walkers: Vec<Walks>,
    zones: [([(u8, u8); 3], bool); 2],
    zoned: bool,
    speed: u8,
    hold: u16,
    look_ahead: u8,
    max_gap: u16,
    max_waiting: u8,
    deadline: Option<u16>,
    drop: bool,
    buffers: u8,
    ghosts: bool,
    motion_cover: bool,
    padded: bool,
    acts: Vec<Move>,
}

#[derive(Arbitrary, Debug)]
struct Walks {
    start: (i8, i8),
    size: (u8, u8),
    /// In shares of the greatest speed, along x and y.
    pace: (i8, i8),
}

#[derive(Arbitrary, Debug)]
enum Move {
    Push(u8),
    /// What a camera and a detector that keep up do.
    Look(u8),
    Lend,
    Return,
    ReturnError,
    ReturnNan,
    LoseJob,
    Wait(u8),
    Release,
    AddZone(bool),
    Persons(bool),
    Privacy(bool),
    PushForeign,
    PushTooEarly,
    ReturnForeign,
    KeepOutput(bool),
}

impl Move {
    fn acts(&self) -> Vec<Act> {
        vec![match *self {
            Move::Push(later) => Act::Push(u64::from(later) + 1),
            Move::Look(later) => {
                return vec![Act::Push(u64::from(later) + 1), Act::Lend, Act::Return, Act::Release];
            }
            Move::Lend => Act::Lend,
            Move::Return => Act::Return,
            Move::ReturnError => Act::ReturnError,
            Move::ReturnNan => Act::ReturnNan,
            Move::LoseJob => Act::LoseJob,
            Move::Wait(later) => Act::Wait(u64::from(later)),
            Move::Release => Act::Release,
            Move::AddZone(on) => Act::AddZone(on),
            Move::Persons(on) => Act::Persons(on),
            Move::Privacy(on) => Act::Privacy(on),
            Move::PushForeign => Act::PushForeign,
            Move::PushTooEarly => Act::PushTooEarly,
            Move::ReturnForeign => Act::ReturnForeign,
            Move::KeepOutput(on) => Act::KeepOutput(on),
        }]
    }
}

impl Script {
    /// The scene, if its zones have an area.
    fn scene(&self) -> Option<Scene> {
        let speed = 0.1 + f32::from(self.speed) / 16.0;
        let walkers = self.walkers.iter().take(4).map(|w| {
            let size = (f64::from(w.size.0 % 24) + 1.0, f64::from(w.size.1 % 24) + 1.0);
            // Nobody is faster than the policy allows for: that is what it promises.
            let pace = (f64::from(w.pace.0) / 128.0, f64::from(w.pace.1) / 128.0);
            let length = pace.0.hypot(pace.1).max(1.0);
            let most = 0.95 * f64::from(speed) * size.0 / length;
            Walker {
                start: (f64::from(w.start.0) / 2.0, f64::from(w.start.1) / 2.0),
                size,
                velocity: (pace.0 * most, pace.1 * most),
            }
        });
        let mut zones = self.zones.iter().map(|(corners, inverted)| {
            let corners = corners.map(|(x, y)| (f64::from(x) / 255.0, f64::from(y) / 255.0)).to_vec();
            Polygon::new(corners.clone()).ok()?;
            Some(Drawn { corners, inverted: *inverted })
        });
        Some(Scene {
            pixel: FORMATS[usize::from(self.pixel) % 4],
            // Even, which every format has.
            size: (2 * (u32::from(self.size.0) % 20 + 2), 2 * (u32::from(self.size.1) % 16 + 2)),
            exif: self.exif % 8 + 1,
            style: match self.style % 12 {
                cells @ 0..5 => Style::Pixelate { cells: cells + 2 },
                cells @ 5..10 => Style::Blur { cells: cells - 3 },
                _ => Style::default(),
            },
            walkers: walkers.collect(),
            zones: [zones.next()??, zones.next()??],
            zoned: self.zoned,
            speed,
            hold: u64::from(self.hold) % 1000,
            look_ahead: u64::from(self.look_ahead),
            max_gap: u64::from(self.max_gap) % 1000 + 1,
            max_waiting: usize::from(self.max_waiting) % 20 + 1,
            deadline: self.deadline.map(|d| u64::from(self.look_ahead) + 1 + u64::from(d) % 1000),
            on_deadline: if self.drop { OnDeadline::Drop } else { OnDeadline::Obscure },
            buffers: usize::from(self.buffers) % 12 + 2,
            ghosts: self.ghosts,
            motion_cover: self.motion_cover,
            shape: if self.padded { RegionShape::Padded } else { RegionShape::Box },
        })
    }
}

fuzz_target!(|script: Script| {
    let Some(scene) = script.scene() else { return };
    let mut play = Play::new(&scene);
    for act in script.acts.iter().take(150).flat_map(Move::acts) {
        if let Err(why) = play.act(&act) {
            panic!("{why}");
        }
    }
    match play.finish() {
        Ok((tally, stats)) => assert_eq!((stats.covered, stats.obscured), (tally.covered, tally.obscured)),
        Err(why) => panic!("{why}"),
    }
});
