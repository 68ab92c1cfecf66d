//! From the element's properties to policies and detectors.

use std::path::Path;
use std::sync::Arc;

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, LoadedModel, ModelStore};
use milkglass::{
    Anchor, BackendChoice, Derived, Detector, FrameFormat, Lock, OwnerKey, PixelAspect, PixelFormat, Policy,
    PolicyError, PolicyFile, Preset, Proof, Result,
};

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

/// What was asked for, read and checked.
pub(crate) struct Hiding {
    asked: Asked,
    file: PolicyFile,
    /// What the file comes to.
    derived: Derived,
    /// No policy was named, or one without a key.
    says_nothing: bool,
    /// The owner's, and where the device remembers the newest one.
    lock: Option<(Lock, Anchor)>,
    pixel_aspect: Option<PixelAspect>,
}

/// The picture in which zones are compared with the owner's.
const COMPARED: (u32, u32) = (3840, 2160);

impl Hiding {
    pub fn read(asked: &Asked) -> Result<Hiding> {
        let lock = read_lock(asked)?;
        let named = asked.policy.is_some() || asked.policy_file.is_some();
        let mut file = match (&asked.policy, &asked.policy_file, &lock) {
            (Some(_), Some(_), _) => {
                return Err(PolicyError::File("policy and policy-file are both set: set one".into()).into());
            }
            (Some(text), None, _) => PolicyFile::parse(text, "policy")?,
            (None, Some(path), _) => PolicyFile::read(Path::new(path))?,
            (None, None, Some((lock, _))) => lock.policy().clone(),
            (None, None, None) => PolicyFile::default(),
        };
        let says_nothing = named && file.says_nothing();
        if says_nothing {
            log::warn!("the policy says nothing: the default policy hides faces, and no zone");
        }
        let pixel_aspect = asked.pixel_aspect.map(read_aspect).transpose()?;
        file.preset = asked.preset.or(file.preset);
        file.backend = asked.backend.or(file.backend);
        file.threads = asked.threads.or(file.threads);
        file.check()?;
        if let Some((lock, anchor)) = &lock {
            let (width, height) = COMPARED;
            anchor.check(lock, &file, &FrameFormat::new(PixelFormat::Nv12, width, height)?)?;
            let bound = lock.bound();
            if asked.detectors.is_some() && (bound.runtime.is_some() || !bound.models.is_empty()) {
                let why =
                    "the owner allowed certain models alone, and what another detector is cannot be told";
                return Err(PolicyError::File(why.into()).into());
            }
        }
        let derived = file.derive()?;
        derived.still().build()?;
        Ok(Hiding {
            asked: asked.clone(),
            file,
            derived,
            says_nothing: says_nothing || !named,
            lock,
            pixel_aspect,
        })
    }

    /// The policy for a live source.
    pub fn live(&self) -> Result<Policy, PolicyError> {
        self.derived.live().build()
    }

    /// The policy for a source that waits: it looks ahead as far as it holds, as long as that fits into the pool.
    pub fn clip(&self, fps: f64) -> Result<Policy, PolicyError> {
        self.derived.clip(fps).build()
    }

    /// Whether the owner allows it in pictures of this format.
    pub fn check(&self, format: &FrameFormat) -> Result<()> {
        let Some((lock, anchor)) = &self.lock else { return Ok(()) };
        Ok(anchor.check(lock, &self.file, format)?)
    }

    /// It is in force: from here on only the owner can weaken it.
    pub fn remember(&self, format: &FrameFormat) -> Result<()> {
        let Some((lock, anchor)) = &self.lock else { return Ok(()) };
        Ok(anchor.admit(lock, &self.file, format)?)
    }

    /// Frames from one detection to the next in a file.
    pub fn detect_every(&self) -> u32 {
        self.derived.detect_every()
    }

    /// A picture's format with the shape of its pixels, of which the caps told these.
    pub fn shaped(&self, format: FrameFormat) -> FrameFormat {
        format.with_own_aspect(self.pixel_aspect, format.pixel_aspects(), self.lock.is_some())
    }

    /// What `before` hides and this policy does not.
    pub fn leaves_out(&self, before: &Hiding) -> Option<String> {
        before.file.left_out(&self.file)
    }

    /// Whether a policy of these settings may follow one of `before` without new detectors. Says which key forbids it.
    pub fn follows(&self, before: &Hiding) -> Result<(), PolicyError> {
        if self.says_nothing && !before.says_nothing && self.lock.is_none() {
            PolicyFile::default().check_exchange()?;
        }
        if before.asked.pixel_aspect != self.asked.pixel_aspect {
            return Err(PolicyError::File(
                "pixel-aspect is read at the start alone: set the element to READY first".into(),
            ));
        }
        let at_the_start = |asked: &Asked| {
            [&asked.lock, &asked.owner_key, &asked.state_dir, &asked.models].map(Option::<String>::clone)
        };
        if at_the_start(&before.asked) != at_the_start(&self.asked) {
            return Err(PolicyError::File(
                "lock, owner-key, state-dir and models are read at the start alone: set the element to READY first".into(),
            ));
        }
        // A file is looked at with its own rhythm from the start on.
        let rhythm = (before.detect_every() != self.detect_every()).then_some("detect_every");
        match before.file.needs_loading(&self.file).or(rhythm) {
            Some(key) => Err(PolicyError::File(format!(
                "{key} is read at the start alone: set the element to READY first"
            ))),
            None => Ok(()),
        }
    }

    /// Loads the models that the policy needs, with the ladder below them; none when zones alone are hidden.
    pub fn detectors(&self) -> Result<Vec<Box<dyn Detector>>> {
        if let Some(make) = &self.asked.detectors {
            let detectors = make()?;
            if let Some((lock, _)) = &self.lock
                && detectors.iter().any(|d| matches!(d.proof(), Proof::Untested | Proof::Impossible))
            {
                lock.admit_untested(Lock::OWN_DETECTOR)?;
            }
            return Ok(detectors);
        }
        if self.derived.classes().is_empty() {
            return Ok(Vec::new());
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.file.threads.map_or_else(cores, |n| n as usize);
        let backend = Backend::choose_locked(
            self.file.backend.unwrap_or_default(),
            threads,
            self.lock.as_ref().map(|(lock, _)| lock),
        )?;
        let store =
            self.asked.models.as_ref().map_or_else(ModelStore::locate, |dir| Ok(ModelStore::new(dir)))?;
        let rungs = self.derived.rungs().iter().map(|(_, settings)| settings);
        let mut detectors: Vec<Box<dyn Detector>> = Vec::new();
        for settings in std::iter::once(self.derived.settings()).chain(rungs) {
            let detector = Ensemble::load(&store, &backend, settings)?;
            if let Some((lock, _)) = &self.lock {
                let models: Vec<LoadedModel> = detector.loaded().collect();
                lock.admit_detector(&models, backend.library().map(|(_, hash)| hash).as_deref())?;
            }
            detectors.push(Box::new(detector));
        }
        Ok(detectors)
    }
}

fn read_aspect((width, height): (u32, u32)) -> Result<PixelAspect> {
    let what = format!("pixel-aspect = {width}/{height}");
    let why = "a pixel's width is from 1/8 to 8 of its height";
    Ok(PixelAspect::new(width, height).ok_or(PolicyError::Range { what, why })?)
}

fn read_lock(asked: &Asked) -> Result<Option<(Lock, Anchor)>> {
    let refuse = |why: &str| Err(PolicyError::File(why.into()).into());
    let Some(folder) = &asked.state_dir else {
        return match (&asked.lock, &asked.owner_key) {
            (None, None) => Ok(None),
            _ => refuse(
                "lock or owner-key is set, but state-dir is not: an older lock would be as good as the newest",
            ),
        };
    };
    let anchor = Anchor::new(Path::new(folder));
    let Some(path) = &asked.lock else {
        return match anchor.is_set() || asked.owner_key.is_some() {
            true => {
                refuse("this device's policy is locked by its owner, or is to be: name the lock file (lock)")
            }
            false => Ok(None),
        };
    };
    let owner = asked.owner_key.as_deref().map(OwnerKey::parse).transpose()?;
    let lock = Lock::read(Path::new(path), owner.as_ref())?;
    Lock::admit_environment()?;
    Ok(Some((lock, anchor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(policy: &str) -> Hiding {
        let asked = Asked { policy: Some(policy.into()), ..Asked::default() };
        Hiding::read(&asked).expect("an accepted policy")
    }

    #[test]
    fn a_file_is_looked_at_as_often_as_its_policy_comes_to() {
        assert_eq!(read("").detect_every(), 3);
        assert_eq!(read("tiles = true").detect_every(), 1);
        assert_eq!(read("tiles = true\ndetect_every = 3").detect_every(), 3);
        let gap = |policy: &str| read(policy).clip(5.0).expect("a policy").max_gap();
        assert_eq!(gap("").as_millis(), 1200);
        assert_eq!(gap("tiles = true").as_millis(), 500);
    }

    #[test]
    fn a_policy_that_comes_to_another_rhythm_needs_a_new_start() {
        let tiled = read("tiles = true");
        assert!(read("tiles = true\ndetect_every = 1").follows(&tiled).is_ok());
        let refused = read("tiles = true\ndetect_every = 2").follows(&tiled).expect_err("another rhythm");
        assert!(refused.to_string().starts_with("detect_every is read at the start alone"), "{refused}");
        // What is written out is no change.
        assert!(
            read("tiles = true\npreset = \"balanced\"\nbackend = \"auto\"\nladder = []")
                .follows(&tiled)
                .is_ok()
        );
    }
}
