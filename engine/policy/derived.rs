//! What a policy file comes to once presets, defaults and keys that imply others are worked out.
//!
//! This is the one place where a value follows from others: the ratchet compares what is here, `policy explain` prints it, and
//! the command and the GStreamer element work by it. Whoever reads a key of the file itself instead may compare or show what
//! is not done: `tiles` alone means a look at every frame, whatever the preset says.

use std::time::Duration;

use super::{PolicyBuilder, PolicyDefaults, PolicyError, PolicyFile, Preset, StyleName};
use crate::detect::{Class, Settings};

/// Frames of a clip that may wait for the look-ahead: above it the pool alone would take hundreds of megabytes.
const MOST_AHEAD: f64 = 64.0;
/// The shortest and the longest gap between two looks that a clip is let out over.
const CLIP_GAP: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A policy file, worked out. Made by [`PolicyFile::derive`].
#[derive(Clone, Debug)]
pub struct Derived {
    pub(super) file: PolicyFile,
    classes: Vec<Class>,
    settings: Settings,
    rungs: Vec<(Preset, Settings)>,
    pub(super) still: PolicyBuilder,
    pub(super) live: PolicyBuilder,
}

impl PolicyFile {
    /// Works out what the file comes to.
    ///
    /// # Errors
    /// As [`PolicyFile::check`].
    pub fn derive(&self) -> Result<Derived, PolicyError> {
        let preset = self.preset.unwrap_or_default();
        let classes: Vec<Class> =
            Class::ALL.into_iter().filter(|class| self.style(*class) != StyleName::Off).collect();
        let settings = Settings::of(self, preset, &classes);
        let defaults = PolicyDefaults {
            face_grow: settings.face_grow,
            person_grow: settings.person_grow,
            ..PolicyDefaults::default()
        };
        let rungs = self.ladder.iter().flatten().map(|rung| (*rung, Settings::of(self, *rung, &classes)));
        let still = self.builder(&defaults)?;
        Ok(Derived {
            rungs: rungs.collect(),
            live: self.live(still.clone()),
            still,
            file: self.clone(),
            classes,
            settings,
        })
    }
}

impl Derived {
    /// The file that this was worked out from.
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }
    /// What detectors look for.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }
    /// How they look for it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    /// How they look on each rung of the ladder, the best first.
    pub fn rungs(&self) -> &[(Preset, Settings)] {
        &self.rungs
    }
    /// Frames from one look to the next in a clip, at least 1.
    pub fn detect_every(&self) -> u32 {
        self.settings.detect_every
    }

    /// The policy for single pictures.
    pub fn still(&self) -> PolicyBuilder {
        self.still.clone()
    }

    /// The policy for a live source.
    pub fn live(&self) -> PolicyBuilder {
        self.live.clone()
    }

    /// The policy for a clip of `fps` frames per second, or another source that waits: it looks ahead as far as it holds, as
    /// long as the frames that wait meanwhile fit into the pool.
    pub fn clip(&self, fps: f64) -> PolicyBuilder {
        let hold = self.still.policy.hold;
        let frames = (hold.as_secs_f64() * fps).ceil().clamp(0.0, MOST_AHEAD) as usize;
        let every = self.detect_every();
        let gap = Duration::from_secs_f64(f64::from(every) * 2.0 / fps.max(0.1));
        self.still()
            .look_ahead(hold)
            .max_waiting(frames + every as usize)
            .max_gap(gap.clamp(CLIP_GAP.0, CLIP_GAP.1))
    }
}
