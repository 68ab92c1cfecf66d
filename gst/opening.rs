//! From the element's properties to policies and detectors.

use std::sync::Arc;

use milkglass::geometry::PixelAspect;
use milkglass::lock::OwnerPublicKey;
use milkglass::opening::Loaded;
use milkglass::policy::{BackendChoice, PolicyError, Preset};
use milkglass::{Detector, Media, Opening, Result};

/// Makes an integrator's own detectors: the best one first, then weaker ones for when it is too slow.
pub type MakeDetectors = dyn Fn() -> Result<Vec<Box<dyn Detector>>> + Send + Sync;

/// What the properties say; `None` where nothing was set.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    pub policy: Option<String>,
    pub policy_file: Option<String>,
    pub lock: Option<String>,
    pub owner_key: Option<String>,
    pub state_dir: Option<String>,
    pub preset: Option<Preset>,
    pub backend: Option<BackendChoice>,
    pub threads: Option<u32>,
    pub models: Option<String>,
    /// Width to height of a pixel.
    pub pixel_aspect: Option<(u32, u32)>,
    pub detectors: Option<Arc<MakeDetectors>>,
}

impl Asked {
    /// What was asked for, read and checked.
    pub fn read(&self) -> Result<Opening> {
        let mut asked = Opening::builder().pixel_aspect(self.pixel_aspect.map(read_aspect).transpose()?);
        if let Some(text) = &self.policy {
            asked = asked.policy_text(text.as_str(), "policy");
        }
        if let Some(path) = &self.policy_file {
            asked = asked.policy_file(path);
        }
        let threads = self.threads.map(|n| n.to_string());
        let preset = self.preset.map(Preset::as_str);
        let backend = self.backend.map(BackendChoice::as_str);
        for (key, text) in [("preset", preset), ("backend", backend), ("threads", threads.as_deref())] {
            if let Some(text) = text {
                asked = asked.set(key, key, text);
            }
        }
        if self.state_dir.is_none() && (self.lock.is_some() || self.owner_key.is_some()) {
            let why = "lock or owner-key is set, but state-dir is not: an older lock would be as good as the newest";
            return Err(PolicyError::File(why.into()).into());
        }
        if let Some(path) = &self.lock {
            asked = asked.lock(path);
        }
        if let Some(key) = &self.owner_key {
            asked = asked.owner_key(OwnerPublicKey::parse(key)?);
        }
        if let Some(folder) = &self.state_dir {
            asked = asked.state_dir(folder);
        }
        if let Some(folder) = &self.models {
            asked = asked.models(folder);
        }
        let opening = asked.read()?;
        // Told before models are loaded that nobody would use.
        if self.detectors.is_some() {
            opening.own(&[])?;
        }
        Ok(opening)
    }

    /// The program's own detectors, or the models that the policy needs with the ladder below them; none when zones alone are
    /// hidden.
    pub fn detectors(&self, opening: &Opening) -> Result<(Vec<Box<dyn Detector>>, Loaded)> {
        if let Some(make) = &self.detectors {
            let detectors = make()?;
            let loaded = opening.own(&detectors)?;
            return Ok((detectors, loaded));
        }
        opening.load(Media::Live, opening.threads())
    }
}

/// Whether a policy may follow another while frames pass. A file is looked at with its own rhythm from the start on.
pub(crate) fn follows(now: &Opening, before: &Opening, loaded: &Loaded) -> Result<(), PolicyError> {
    now.follows(before, loaded)?;
    match now.detect_every() == before.detect_every() {
        true => Ok(()),
        false => Err(PolicyError::AtStart("detect_every")),
    }
}

fn read_aspect((width, height): (u32, u32)) -> Result<PixelAspect> {
    let what = format!("pixel-aspect = {width}/{height}");
    let why = "a pixel's width is from 1/8 to 8 of its height";
    Ok(PixelAspect::new(width, height).ok_or(PolicyError::Range { what, why })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(policy: &str) -> Opening {
        let asked = Asked { policy: Some(policy.into()), ..Asked::default() };
        asked.read().expect("an accepted policy")
    }

    #[test]
    fn a_file_is_looked_at_as_often_as_its_policy_comes_to() {
        assert_eq!(read("").detect_every(), 3);
        assert_eq!(read("tiles = true").detect_every(), 1);
        assert_eq!(read("tiles = true\ndetect_every = 3").detect_every(), 3);
        let gap = |policy: &str| read(policy).policy(Media::Clip { fps: 5.0 }).max_gap();
        assert_eq!(gap("").as_millis(), 1200);
        assert_eq!(gap("tiles = true").as_millis(), 500);
    }

    #[test]
    fn a_policy_that_comes_to_another_rhythm_needs_a_new_start() {
        let tiled = read("tiles = true");
        let follows = |text: &str| follows(&read(text), &tiled, &Loaded::default());
        assert!(follows("tiles = true\ndetect_every = 1").is_ok());
        let refused = follows("tiles = true\ndetect_every = 2").expect_err("another rhythm");
        assert!(refused.to_string().starts_with("detect_every is read at the start alone"), "{refused}");
        // What is written out is no change.
        assert!(follows("tiles = true\npreset = \"balanced\"\nbackend = \"auto\"\nladder = []").is_ok());
    }
}
