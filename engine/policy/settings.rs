//! How detectors look: what the presets stand for, and what a policy's keys change of it.

use super::keys::{DETECT_EVERY, MIN_SCORE, TILES};
use super::{PolicyFile, Preset};
use crate::class::Class;

/// Size of a tile, in pixels of the network's input: with the whole at 320 pixels no more work than the whole at 960.
pub(crate) const TILE: (u32, u32) = (640, 640);

/// One look at the picture by one network at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// Name of the model's manifest.
    pub model: String,
    /// What it looks for.
    pub class: Class,
    /// The picture's longer side at the network's input: the picture's own in square pixels, but within these bounds.
    pub long_side: (u32, u32),
    /// From this score on a detection is sure.
    pub score: f32,
    /// From this share of `score` on, a detection carries on a track that was sure at some other time.
    pub keep: f32,
    /// Boxes smaller than this (geometric mean of the sides, pixels of the network's input) are left to another pass.
    pub min_box: f32,
    /// Looks at one tile of this size (pixels of the network's input) of each picture; `None` for all of the picture.
    pub tile: Option<(u32, u32)>,
}

/// What a preset stands for. Fields may be changed one by one.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The passes over each picture.
    pub passes: Vec<Pass>,
    /// Growth of face boxes.
    pub face_grow: f32,
    /// Growth of person boxes.
    pub person_grow: f32,
    /// In a clip, every how many frames to look.
    pub detect_every: u32,
}

impl Preset {
    /// The passes for the classes asked for, and what goes with them. How they were found: models/README.md.
    pub fn settings(self, classes: &[Class]) -> Settings {
        let face = |model: &str, long_side, score, min_box| Pass {
            model: model.into(),
            class: Class::Face,
            long_side,
            score,
            keep: 0.4,
            min_box,
            tile: None,
        };
        // YuNet knows faces of 10 to 300 pixels: the small passes are there for those that fill the picture.
        let yunet = |most, score| {
            let close = [face("yunet", (192, 192), score, 48.0), face("yunet", (320, 320), score, 32.0)];
            close.into_iter().chain([face("yunet", (640, most), score, 0.0)])
        };
        let person = |side, score| Pass {
            model: "yolox-nano".into(),
            class: Class::Person,
            long_side: (side, side),
            score,
            keep: 0.5,
            min_box: 0.0,
            tile: None,
        };
        let mut passes = Vec::new();
        if classes.contains(&Class::Face) {
            match self {
                Preset::Fast => passes.extend(yunet(800, 0.25)),
                Preset::Balanced => passes.extend(yunet(1152, 0.25)),
                Preset::Careful => {
                    passes.extend(yunet(1920, 0.2));
                    passes.push(face("centerface", (640, 1280), 0.12, 0.0));
                }
            }
        }
        if classes.contains(&Class::Person) {
            match self {
                Preset::Fast => passes.push(person(416, 0.1)),
                Preset::Balanced => passes.extend([person(416, 0.1), person(640, 0.1)]),
                Preset::Careful => passes.extend([person(416, 0.1), person(640, 0.1), person(960, 0.2)]),
            }
        }
        let detect_every = match self {
            Preset::Fast => 4,
            Preset::Balanced => 3,
            Preset::Careful => 1,
        };
        Settings { passes, face_grow: 1.16, person_grow: 1.2, detect_every }
    }
}

impl Settings {
    /// How a policy looks with `preset`, its own or a rung of its ladder.
    pub fn of(file: &PolicyFile, preset: Preset, classes: &[Class]) -> Settings {
        let mut settings = preset.settings(classes);
        if file.switch(&TILES) == Some(true) {
            settings = settings.in_tiles();
        }
        if let Some(score) = file.number(&MIN_SCORE) {
            settings.passes.iter_mut().filter(|p| p.class == Class::Face).for_each(|p| p.score = score);
        }
        if let Some(n) = file.whole(&DETECT_EVERY) {
            settings.detect_every = n;
        }
        settings
    }

    /// Looks for faces at one tile of each picture at full resolution, and at the whole reduced to 320 pixels for those
    /// that are larger than a tile is responsible for. Together a little less work than the whole at 960 pixels.
    pub fn in_tiles(mut self) -> Settings {
        let Some(first) = self.passes.iter().find(|p| p.class == Class::Face) else { return self };
        let pass = |long_side, tile| Pass {
            model: "yunet".into(),
            class: Class::Face,
            long_side,
            score: first.score,
            keep: first.keep,
            min_box: 0.0,
            tile,
        };
        let passes = [pass((320, 320), None), pass((640, 1920), Some(TILE))];
        self.passes.retain(|p| p.class != Class::Face);
        self.passes.extend(passes);
        self.detect_every = 1;
        self
    }
}
