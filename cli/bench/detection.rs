//! How long networks and presets take for one look at a picture, checked to find the people in it.

use std::time::{Duration, Instant};

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore, Pass, Settings};
use milkglass::engine::Engine;
use milkglass::frame::{DetectJob, FrameMeta, FramePool};
use milkglass::policy::{Preset, Style};
use milkglass::time::Timestamp;
use milkglass::{Class, Detector, Policy};

use super::picture::Frames;
use super::record::{Group, Row};
use super::timing::Timing;
use crate::outcome::Failure;
use crate::progress;

/// The presets by name, fastest first.
pub const PRESETS: [(&str, Preset); 3] =
    [("fast", Preset::Fast), ("balanced", Preset::Balanced), ("careful", Preset::Careful)];
/// The sizes of frames that verdicts are given for.
pub const SIZES: [(u32, u32); 2] = [(1280, 720), (1920, 1080)];

/// One measurement that could be made.
pub struct Look {
    pub name: String,
    pub size: (u32, u32),
    backend: Backend,
    settings: Settings,
    class: Class,
}

/// One network at one size, for each backend, then the presets at each size of frame.
pub fn looks(backends: &[Backend], quick: bool) -> Vec<Look> {
    let mut looks = Vec::new();
    let networks: &[(&str, Class, u32)] = if quick {
        &[("yunet", Class::Face, 640), ("centerface", Class::Face, 640), ("yolox-nano", Class::Person, 416)]
    } else {
        &[
            ("yunet", Class::Face, 640),
            ("yunet", Class::Face, 960),
            ("yunet", Class::Face, 1280),
            ("yunet", Class::Face, 1920),
            ("centerface", Class::Face, 640),
            ("centerface", Class::Face, 1280),
            ("yolox-nano", Class::Person, 416),
            ("yolox-nano", Class::Person, 640),
        ]
    };
    // The best backend comes first; a quick run leaves it at that.
    for backend in backends.iter().take(if quick { 1 } else { usize::MAX }) {
        for &(model, class, side) in networks {
            let mut settings = Preset::Balanced.settings(&[class]);
            // The preset's own pass where it has one: its thresholds are tuned for the model.
            let score =
                if model == "centerface" { 0.2 } else { settings.passes.last().map_or(0.2, |p| p.score) };
            settings.passes = vec![Pass {
                model: model.into(),
                class,
                long_side: (side, side),
                score,
                keep: 0.5,
                min_box: 0.0,
                tile: None,
            }];
            let name = format!("detect/{model}-{side}/{}", backend.name());
            looks.push(Look { name, size: SIZES[1], backend: backend.clone(), settings, class });
        }
        for size in SIZES {
            for (name, preset) in PRESETS {
                let settings = preset.settings(&[Class::Face]);
                let name = preset_row(name, size, backend.name());
                looks.push(Look { name, size, backend: backend.clone(), settings, class: Class::Face });
            }
        }
    }
    looks
}

/// The name of the row of a preset at a size of frame.
pub fn preset_row(preset: &str, (w, h): (u32, u32), backend: &str) -> String {
    format!("detect/preset-{preset}-{w}x{h}/{backend}")
}

impl Look {
    /// The models it needs.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.settings.passes.iter().map(|p| p.model.as_str())
    }

    /// Loads the models, checks what they find, then looks again and again. With no budget: only the check.
    pub fn run(&self, store: &ModelStore, budget: Option<Duration>) -> Result<Option<Row>, Failure> {
        let people = Frames::people(self.size)?;
        let mut detector = Ensemble::load(store, &self.backend, &self.settings)?;
        let job = lend(&people)?;
        let found = detector.detect(&job.view())?;
        let sides = self.settings.passes.iter().map(|p| self.size.0.clamp(p.long_side.0, p.long_side.1));
        people
            .check(&found, self.class, sides.max().unwrap_or(0))
            .map_err(|f| Failure { message: format!("{}: {}", self.name, f.message), ..f })?;
        let Some(budget) = budget else { return Ok(None) };
        detector.detect(&job.view())?;
        let (start, mut samples) = (Instant::now(), Vec::new());
        while samples.len() < 3 || (start.elapsed() < budget && samples.len() < 1000) {
            if progress::cancelled() {
                return Err(Failure::interrupted());
            }
            let look = Instant::now();
            detector.detect(&job.view())?;
            samples.push(look.elapsed().as_nanos() as f64);
        }
        let timing = Timing::of(samples).ok_or_else(|| Failure::new("nothing was measured"))?;
        let pixels = u64::from(self.size.0) * u64::from(self.size.1);
        Ok(Some(Row { pixels: Some(pixels), ..Row::new(&self.name, Group::Detect, timing) }))
    }
}

/// Frame 0, on loan as a detector gets it.
fn lend(people: &Frames) -> Result<DetectJob, Failure> {
    let pool = FramePool::new(people.format, 2);
    let policy = Policy::builder().hide(Class::Face, Style::default()).build()?;
    let mut engine = Engine::new(policy, pool.clone(), &[Class::Face])?;
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    let frame = pool.fill(meta, |view| {
        people.write(0, view);
        Ok(())
    })?;
    let frame = frame.ok_or_else(|| Failure::new("no buffer is free"))?;
    engine.push(frame, Timestamp::ZERO)?;
    engine.next_job().ok_or_else(|| Failure::new("the engine lent no frame"))
}
