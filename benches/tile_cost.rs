//! What a look at one tile costs against one look of the same network at the whole picture at 960 pixels: both in one
//! program, by turns, CPU time, the least and the median of many rounds. Asserts that a tile costs no more, with all that motion
//! cover adds.
//!
//!     cargo bench --package milkglass-benches --bench tile_cost
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore, Pass, Settings, look};
use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool};
use milkglass::picture::PixelFormat;
use milkglass::policy::{BackendChoice, Preset, Style};
use milkglass::time::Timestamp;
use milkglass::{Class, Detector, FrameFormat, Policy};

const ROUNDS: u64 = 120;

/// An engine that detects in every frame, and what each part of it took.
struct Side {
    pool: FramePool,
    engine: Engine,
    detector: Ensemble,
    /// In milliseconds, round by round.
    look: Vec<f64>,
    rest: Vec<f64>,
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
        Side { pool, engine, detector, look: Vec::new(), rest: Vec::new() }
    }

    fn round(&mut self, n: u64) {
        let t = Timestamp::from_millis(33 * n + 1);
        let paint = |view: &mut milkglass::picture::ViewMut<'_>| {
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
        let found = look(&mut self.detector, &mut job);
        let looked = cpu_time();
        self.engine.observe(job, found);
        drop(self.engine.release(t).unwrap());
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        self.look.push(ms(looked - lent));
        self.rest.push(ms(lent - start + (cpu_time() - looked)));
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
    let mut sides = [Side::new(&faces.in_tiles(), true), Side::new(&whole, false)];
    for n in 0..ROUNDS {
        sides.iter_mut().for_each(|side| side.round(n));
    }
    let [tiles, whole] = sides;
    println!("times are min / median in milliseconds, ratios those of the minima / of the medians");
    let row = |what: &str, a: &[f64], b: &[f64]| {
        let ([a, am], [b, bm]) = (figures(a), figures(b));
        println!(
            "{what}: a tile {a:.2} / {am:.2}, the whole at 960 pixels {b:.2} / {bm:.2}, ratio {:.3} / {:.3}",
            a / b,
            am / bm
        );
        am / bm
    };
    row("a look", &tiles.look, &whole.look);
    row("the engine, motion cover with tiles alone", &tiles.rest, &whole.rest);
    let all = |side: &Side| -> Vec<f64> { side.look.iter().zip(&side.rest).map(|(a, b)| a + b).collect() };
    let ratio = row("both together", &all(&tiles), &all(&whole));
    assert!(ratio <= 1.0, "a look at a tile, motion cover included, costs more than the whole at 960 pixels");
}

/// The least, and the median.
fn figures(times: &[f64]) -> [f64; 2] {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    [times[0], times[times.len() / 2]]
}
