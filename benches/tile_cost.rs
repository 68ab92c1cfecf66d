//! What a look at one tile costs against one look of the same network at the whole picture at 960 pixels: both in one
//! program, by turns, CPU time, the least of many rounds. Asserts that a tile
//! costs no more, with all that motion cover adds.
//!
//!     cargo bench --package milkglass-benches --bench tile_cost
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore, Pass, Settings};
use milkglass::{
    BackendChoice, Class, Detector, Engine, FrameFormat, FrameMeta, FramePool, PixelFormat, Policy, Preset,
    Style, Timestamp,
};

const ROUNDS: u64 = 60;

/// An engine that detects in every frame, and what each part of it took.
struct Side {
    pool: FramePool,
    engine: Engine,
    detector: Ensemble,
    look: Duration,
    rest: Duration,
}

impl Side {
    fn new(settings: &Settings, motion: bool) -> Side {
        let format = FrameFormat::new(PixelFormat::Nv12, 1920, 1080).unwrap();
        let pool = FramePool::new(format, 4);
        let policy =
            Policy::builder().hide(Class::Face, Style::default()).motion_cover(motion).build().unwrap();
        let backend = Backend::choose(BackendChoice::Auto, 1).unwrap();
        let detector = Ensemble::load(&ModelStore::locate().unwrap(), &backend, settings).unwrap();
        let engine = Engine::new(policy, pool.clone(), detector.classes()).unwrap();
        Side { pool, engine, detector, look: Duration::MAX, rest: Duration::MAX }
    }

    fn round(&mut self, n: u64) {
        let t = Timestamp::from_millis(33 * n + 1);
        let paint = |view: &mut milkglass::ViewMut<'_>| {
            for y in 0..1080 {
                let row = view.row_mut(0, y);
                row.iter_mut().enumerate().for_each(|(x, v)| *v = (x as u32 * 7 / 3 + y * 5 / 2) as u8);
            }
            (0..540).for_each(|y| view.row_mut(1, y).fill(128));
            Ok(())
        };
        let frame = self.pool.fill(FrameMeta { sequence: n, captured: t }, paint).unwrap().unwrap();
        let start = cpu_time();
        self.engine.push(frame, t).unwrap();
        let mut job = self.engine.next_job().unwrap();
        let lent = cpu_time();
        let found = self.detector.look(&mut job);
        let looked = cpu_time();
        self.engine.observe(job, found);
        drop(self.engine.release(t).unwrap());
        self.look = self.look.min(looked - lent);
        self.rest = self.rest.min(lent - start + (cpu_time() - looked));
    }
}

/// CPU time of the whole program so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn main() {
    let faces = Preset::Balanced.settings(&[Class::Face]);
    let whole = Pass { long_side: (960, 960), min_box: 0.0, tile: None, ..faces.passes[0].clone() };
    let whole = Settings { passes: vec![whole], ..faces.clone() };
    let (mut tiles, mut whole) = (Side::new(&faces.in_tiles(), true), Side::new(&whole, false));
    for n in 0..ROUNDS {
        tiles.round(n);
        whole.round(n);
    }
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let ratio = ms(tiles.look) / ms(whole.look);
    println!(
        "a look at a tile {:.2} ms, at the whole at 960 pixels {:.2} ms: {ratio:.3}",
        ms(tiles.look),
        ms(whole.look)
    );
    println!(
        "the engine's part with motion cover {:.2} ms, without {:.2} ms",
        ms(tiles.rest),
        ms(whole.rest)
    );
    let all = ms(tiles.look + tiles.rest) / ms(whole.look + whole.rest);
    println!("both together: {all:.3}");
    assert!(all <= 1.0, "a look at a tile, motion cover included, costs more than the whole at 960 pixels");
}
