//! The one way from what somebody asks for to what runs: policy file or text, flags over it, the owner's lock and what the
//! device remembers of it, in; policies, detectors with their ladder, the admitted lock and the text that is hashed, out.
//!
//! The command, the C interface and the GStreamer element open what they run by this and nothing else, so that the same words
//! mean the same at every door.
//!
//! ```no_run
//! # #[cfg(feature = "models")] fn main() -> milkglass::Result<()> {
//! use milkglass::{Media, Opening};
//!
//! let opening = Opening::builder().policy_text("preset = 'fast'", "policy").read()?;
//! let (detectors, loaded) = opening.load(Media::Live, opening.threads())?;
//! let policy = opening.policy(Media::Live);
//! # drop((detectors, loaded, policy)); Ok(()) }
//! # #[cfg(not(feature = "models"))] fn main() {}
//! ```

use std::path::PathBuf;
#[cfg(feature = "models")]
use std::sync::OnceLock;

#[cfg(feature = "models")]
use crate::detect::backend::{Allowed, Backend, Processors};
use crate::detect::{Detector, LoadedModel, Proof};
#[cfg(feature = "models")]
use crate::detect::{Ensemble, ModelStore};
use crate::error::Result;
use crate::geometry::PixelAspect;
#[cfg(feature = "lock")]
use crate::lock::{Lock, OwnerPublicKey, RollbackGuard};
use crate::picture::FrameFormat;
use crate::policy::{Derived, Look, Media, Policy, PolicyError, PolicyFile, ZoneEntry};

/// What somebody asks for. Made by [`Opening::builder`]; [`OpeningBuilder::read`] checks the whole.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct OpeningBuilder {
    text: Option<(String, String)>,
    file: Option<PathBuf>,
    flags: Vec<(String, String, String)>,
    zones: Vec<ZoneEntry>,
    #[cfg(feature = "lock")]
    lock: LockAsked,
    models: Option<PathBuf>,
    #[cfg(feature = "models")]
    pin: Option<Processors>,
    pixel_aspect: Option<PixelAspect>,
    export_regions: bool,
}

#[cfg(feature = "lock")]
#[derive(Clone, Debug, Default, PartialEq)]
struct LockAsked {
    file: Option<PathBuf>,
    owner: Option<OwnerPublicKey>,
    state: Option<PathBuf>,
    forgetful: bool,
}

impl OpeningBuilder {
    /// The policy as text; `name` stands in errors.
    pub fn policy_text(mut self, text: impl Into<String>, name: impl Into<String>) -> Self {
        self.text = Some((text.into(), name.into()));
        self
    }
    /// The policy as a file. Without text and file it is the lock's, else the default policy.
    pub fn policy_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }
    /// Leaves out text and file that were named before.
    pub fn no_policy(mut self) -> Self {
        (self.text, self.file) = (None, None);
        self
    }
    /// Sets a key over the policy, from the text of a flag or property; `flag` stands in errors.
    pub fn set(mut self, flag: impl Into<String>, key: impl Into<String>, text: impl Into<String>) -> Self {
        self.flags.push((flag.into(), key.into(), text.into()));
        self
    }
    /// Adds a zone.
    pub fn zone(mut self, zone: ZoneEntry) -> Self {
        self.zones.push(zone);
        self
    }
    /// The owner's lock file: all else may only strengthen it.
    #[cfg(feature = "lock")]
    pub fn lock(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock.file = Some(path.into());
        self
    }
    /// The only key whose locks are accepted. Without one it is the lock's own, which the device remembers.
    #[cfg(feature = "lock")]
    pub fn owner_key(mut self, key: OwnerPublicKey) -> Self {
        self.lock.owner = Some(key);
        self
    }
    /// Where the device remembers its owner, the newest lock and the strongest policy. On a device that was ever locked nothing
    /// is opened without a lock.
    #[cfg(feature = "lock")]
    pub fn state_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.lock.state = Some(folder.into());
        self
    }
    /// A lock is good for this one opening, and nothing is remembered: for recordings, which whoever has them hands over with
    /// their lock. Otherwise a lock needs [`OpeningBuilder::state_dir`].
    #[cfg(feature = "lock")]
    pub fn forgetful(mut self) -> Self {
        self.lock.forgetful = true;
        self
    }
    /// Where the models are; without it, where [`ModelStore::locate`](crate::detect::ModelStore::locate) finds them.
    pub fn models(mut self, folder: impl Into<PathBuf>) -> Self {
        self.models = Some(folder.into());
        self
    }
    /// The processors of inference.
    #[cfg(feature = "models")]
    pub fn pin(mut self, pin: Option<Processors>) -> Self {
        self.pin = pin;
        self
    }
    /// Width to height of a pixel, by whoever runs this.
    pub fn pixel_aspect(mut self, aspect: Option<PixelAspect>) -> Self {
        self.pixel_aspect = aspect;
        self
    }
    /// Lets redacted frames tell where they were hidden.
    pub fn export_regions(mut self, export: bool) -> Self {
        self.export_regions = export;
        self
    }

    /// Reads lock and policy, lays the flags over it, and checks the whole.
    ///
    /// # Errors
    /// [`PolicyError`]: what cannot be read or accepted, or would weaken what the owner locked.
    pub fn read(self) -> Result<Opening, PolicyError> {
        #[cfg(feature = "lock")]
        let (lock, guard) = self.lock.read()?;
        #[cfg(feature = "lock")]
        let locked = lock.as_ref().map(|lock| lock.policy().clone());
        #[cfg(not(feature = "lock"))]
        let locked: Option<PolicyFile> = None;

        let named = self.text.is_some() || self.file.is_some();
        let mut file = match (&self.text, &self.file, &locked) {
            (Some(_), Some(_), _) => {
                return Err(PolicyError::File(
                    "the policy is set both as text and as a file: set one".into(),
                ));
            }
            (Some((text, name)), None, _) => PolicyFile::parse(text, name)?,
            (None, Some(path), _) => PolicyFile::read(path)?,
            (None, None, Some(locked)) => locked.clone(),
            (None, None, None) => PolicyFile::default(),
        };
        let mut says_nothing = file.says_nothing();
        for (flag, key, text) in &self.flags {
            file.set(key, text)
                .map_err(|error| PolicyError::At { place: flag.clone(), error: Box::new(error) })?;
        }
        file.zones.extend(self.zones.iter().cloned());
        says_nothing &= file.says_nothing();
        if named && says_nothing {
            let name = self.text.as_ref().map(|(_, name)| name.clone());
            let name = name.or_else(|| self.file.as_ref().map(|path| path.display().to_string()));
            log::warn!(
                "{} says nothing: the default policy hides faces, and no zone",
                name.unwrap_or_default()
            );
        }
        let mut stills = file.still_preset();
        // Where the owner's lock leaves it open, stills are looked at carefully: a flag or file may only ask for more.
        if let Some(locked) = locked.as_ref().map(PolicyFile::still_preset).filter(|locked| stills < *locked)
        {
            stills = locked;
            log::info!("stills are looked at with the preset {stills}, because the lock names no other");
        }
        let opening = Opening {
            derived: file.derive_with(stills)?,
            says_nothing,
            #[cfg(feature = "lock")]
            lock,
            #[cfg(feature = "lock")]
            guard,
            #[cfg(feature = "models")]
            chosen: OnceLock::new(),
            asked: self,
        };
        #[cfg(feature = "lock")]
        if opening.lock.is_some() {
            // Before the real format is known, and so that what passes is the same everywhere.
            opening.check(&Lock::compared()?)?;
        }
        Ok(opening)
    }
}

#[cfg(feature = "lock")]
impl LockAsked {
    fn read(&self) -> Result<(Option<Lock>, Option<RollbackGuard>), PolicyError> {
        let refuse = |why: &str| Err(PolicyError::Locked(why.into()));
        let guard = self.state.as_deref().map(RollbackGuard::new);
        let Some(path) = &self.file else {
            return match (&self.owner, guard.as_ref().is_some_and(RollbackGuard::is_set)) {
                (Some(_), _) => refuse("owner_key is set, but lock is not: name the lock file"),
                (None, true) => {
                    refuse("this device's policy is locked by its owner: name the lock file (lock, --lock)")
                }
                (None, false) => Ok((None, guard)),
            };
        };
        if guard.is_none() && !self.forgetful {
            return refuse(
                "a lock needs a folder to be remembered in (state_dir): without it an older lock file would be as good as the \
                 newest",
            );
        }
        let lock = Lock::read(path, self.owner.as_ref())?;
        // The environment is the host's; the owner's word is the same in every program.
        Lock::admit_environment()?;
        Ok((Some(lock), guard))
    }
}

/// What was asked for, read and checked: all that a door needs to run.
#[derive(Debug)]
pub struct Opening {
    asked: OpeningBuilder,
    derived: Derived,
    /// No key says anything, and no zone is there.
    says_nothing: bool,
    #[cfg(feature = "lock")]
    lock: Option<Lock>,
    #[cfg(feature = "lock")]
    guard: Option<RollbackGuard>,
    /// What the policy's backend came to, so that its reasons are told once.
    #[cfg(feature = "models")]
    chosen: OnceLock<crate::policy::BackendChoice>,
}

/// What looks at the pictures, by what an owner and an auditor want to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// It is a program's own detector.
    pub own: bool,
    /// It is one that no known person could be shown to.
    pub untested: bool,
    /// Our models, each once.
    pub models: Vec<LoadedModel>,
    /// What runs them: `ort` or `rten`; empty without models.
    pub runtime: String,
    /// SHA-256 of the runtime's library, where it has one.
    pub library: Option<String>,
}

impl Loaded {
    /// Adds models, each once.
    pub fn add(&mut self, models: impl IntoIterator<Item = LoadedModel>) {
        for model in models {
            if !self.models.contains(&model) {
                self.models.push(model);
            }
        }
    }

    /// Adds what was loaded at another time.
    pub fn join(&mut self, other: Loaded) {
        self.own |= other.own;
        self.untested |= other.untested;
        self.add(other.models);
        self.runtime = other.runtime;
        self.library = other.library;
    }
}

impl Opening {
    /// A builder that asks for the default policy, which hides faces.
    pub fn builder() -> OpeningBuilder {
        OpeningBuilder::default()
    }

    /// What was asked for, to be read again: files as they are then.
    pub fn again(&self) -> OpeningBuilder {
        self.asked.clone()
    }

    /// The policy file with the flags over it.
    pub fn file(&self) -> &PolicyFile {
        self.derived.file()
    }
    /// What it comes to.
    pub fn derived(&self) -> &Derived {
        &self.derived
    }
    /// The policy for `media`.
    pub fn policy(&self, media: Media) -> Policy {
        self.derived.policy(media).telling_regions(self.asked.export_regions)
    }
    /// How detectors look at `media`, when they are fast enough.
    pub fn look(&self, media: Media) -> &Look {
        self.derived.look(media)
    }
    /// Frames from one look to the next in a clip, at least 1.
    pub fn detect_every(&self) -> u32 {
        self.derived.detect_every()
    }
    /// The bound on threads.
    pub fn threads(&self) -> usize {
        self.file().threads()
    }
    /// Width to height of a pixel, by whoever runs this.
    pub fn pixel_aspect(&self) -> Option<PixelAspect> {
        self.asked.pixel_aspect
    }
    /// The owner's lock.
    #[cfg(feature = "lock")]
    pub fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }
    /// Whether the owner has locked the policy.
    pub fn is_locked(&self) -> bool {
        #[cfg(feature = "lock")]
        return self.lock.is_some();
        #[cfg(not(feature = "lock"))]
        false
    }

    /// A picture's format with the shape of its pixels, of which its file or camera told these.
    pub fn shaped(&self, format: FrameFormat, told: &[PixelAspect]) -> FrameFormat {
        format.with_own_aspect(self.asked.pixel_aspect, told, self.is_locked())
    }

    /// Whether the owner lets the policy pass in pictures of this format, now that it is known; nothing is remembered.
    ///
    /// # Errors
    /// [`PolicyError::Locked`].
    pub fn check(&self, format: &FrameFormat) -> Result<(), PolicyError> {
        #[cfg(feature = "lock")]
        match (&self.lock, &self.guard) {
            (Some(lock), Some(guard)) => return guard.check(lock, self.file(), format),
            (Some(lock), None) => return lock.admit(self.file(), format),
            (None, _) => {}
        }
        let _ = format;
        Ok(())
    }

    /// It is in force: from here on only the owner can weaken it. Not before, or nobody could go back from a policy that the
    /// detector turns out to be too slow for.
    ///
    /// # Errors
    /// [`PolicyError::Locked`]: it cannot be remembered, and a restart would forget it.
    pub fn remember(&self, format: &FrameFormat) -> Result<(), PolicyError> {
        #[cfg(feature = "lock")]
        if let (Some(lock), Some(guard)) = (&self.lock, &self.guard) {
            return guard.admit(lock, self.file(), format);
        }
        let _ = format;
        Ok(())
    }

    /// Whether it may take the place of `before`, with the detectors that were `loaded` for that, while a camera runs.
    ///
    /// # Errors
    /// [`PolicyError::AtStart`] for what is read at the start alone; [`PolicyError::File`] for a policy that says nothing and
    /// would drop every zone without a word; [`PolicyError::Locked`] when a newer lock allows other models than the loaded.
    pub fn follows(&self, before: &Opening, loaded: &Loaded) -> Result<(), PolicyError> {
        if self.says_nothing && !self.is_locked() && !before.says_nothing {
            self.file().check_exchange()?;
        }
        let (was, is) = (&before.asked, &self.asked);
        #[cfg(feature = "lock")]
        if was.lock != is.lock {
            return Err(PolicyError::AtStart("the lock (with the owner's key and the state's folder)"));
        }
        if was.models != is.models {
            return Err(PolicyError::AtStart("models"));
        }
        if was.pixel_aspect != is.pixel_aspect {
            return Err(PolicyError::AtStart("pixel_aspect"));
        }
        match before.derived.needs_loading(&self.derived) {
            Some(key) => Err(PolicyError::AtStart(key)),
            None => self.admit(loaded),
        }
    }

    /// What `before` hides and this policy does not, by name.
    pub fn leaves_out(&self, before: &Opening) -> Option<String> {
        before.file().left_out(self.file())
    }

    /// Whether the owner allows what looks at the pictures.
    ///
    /// # Errors
    /// [`PolicyError::Locked`].
    pub fn admit(&self, loaded: &Loaded) -> Result<(), PolicyError> {
        #[cfg(feature = "lock")]
        if let Some(lock) = &self.lock {
            if loaded.own && (lock.bound().runtime.is_some() || !lock.bound().models.is_empty()) {
                let why = "the owner allowed certain models alone, and what is behind a callback, or another detector, \
                           cannot be told: leave it out";
                return Err(PolicyError::Locked(why.into()));
            }
            if loaded.own && loaded.untested {
                lock.admit_untested(Lock::OWN_DETECTOR)?;
            }
            if !loaded.models.is_empty() {
                lock.admit_detector(&loaded.models, loaded.library.as_deref())?;
            }
        }
        let _ = loaded;
        Ok(())
    }

    /// What is told of a program's own detectors, if the owner allows them.
    ///
    /// # Errors
    /// [`PolicyError::Locked`].
    pub fn own(&self, detectors: &[Box<dyn Detector>]) -> Result<Loaded, PolicyError> {
        let untested = detectors.iter().any(|d| matches!(d.proof(), Proof::Untested | Proof::Impossible));
        let loaded = Loaded { own: true, untested, runtime: "callback".into(), ..Loaded::default() };
        self.admit(&loaded)?;
        Ok(loaded)
    }

    /// Loads the models for `media`, with the ladder below them for live pictures; none when zones alone are hidden. Each
    /// network uses `threads` threads.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model): they cannot be loaded, or do not find known persons;
    /// [`Error::Policy`](crate::Error::Policy): the owner allows others alone.
    #[cfg(feature = "models")]
    pub fn load(&self, media: Media, threads: usize) -> Result<(Vec<Box<dyn Detector>>, Loaded)> {
        if self.derived.classes().is_empty() {
            return Ok(Default::default());
        }
        let rungs = if media == Media::Live { self.derived.rungs() } else { &[] };
        let (detectors, loaded) = self.load_looks(std::iter::once(self.look(media)).chain(rungs), threads)?;
        Ok((detectors.into_iter().map(|d| Box::new(d) as Box<dyn Detector>).collect(), loaded))
    }

    /// Loads the models for `media` without a ladder; a detector that looks for nothing when zones alone are hidden.
    ///
    /// # Errors
    /// As [`Opening::load`].
    #[cfg(feature = "models")]
    pub fn detector(&self, media: Media, threads: usize) -> Result<(Ensemble, Loaded)> {
        let look = self.look(media);
        let (mut detectors, loaded) = self.load_looks([look], threads)?;
        let none = || crate::error::Error::other(format!("the preset {} loads nothing", look.preset));
        Ok((detectors.pop().ok_or_else(none)?, loaded))
    }

    #[cfg(feature = "models")]
    fn load_looks<'a>(
        &self,
        looks: impl IntoIterator<Item = &'a Look>,
        threads: usize,
    ) -> Result<(Vec<Ensemble>, Loaded)> {
        let (mut detectors, mut loaded) = (Vec::new(), Loaded::default());
        let backend = self.backend(threads)?;
        loaded.runtime = backend.name().into();
        loaded.library = backend.library().map(|(_, sha256)| sha256);
        let store =
            self.asked.models.as_ref().map_or_else(ModelStore::locate, |dir| Ok(ModelStore::new(dir)))?;
        for look in looks {
            let detector = Ensemble::load(&store, &backend, &look.settings)?;
            loaded.add(detector.loaded());
            self.admit(&loaded)?;
            detectors.push(detector);
        }
        Ok((detectors, loaded))
    }

    #[cfg(feature = "models")]
    fn backend(&self, threads: usize) -> Result<Backend> {
        use crate::policy::BackendChoice;
        let choice = self.chosen.get().copied().unwrap_or_else(|| self.file().backend());
        #[cfg(feature = "lock")]
        let allowed = self.lock.as_ref().map_or(Allowed::Any, Lock::allowed_runtime);
        #[cfg(not(feature = "lock"))]
        let allowed = Allowed::Any;
        let backend = Backend::choose_allowed(choice, threads, allowed)?;
        #[cfg(feature = "lock")]
        if let (Some(lock), None) = (&self.lock, backend.library()) {
            // A runtime that the owner bound is not replaced by a built-in one.
            lock.admit_detector([], None)?;
        }
        self.chosen
            .get_or_init(|| if backend.name() == "ort" { BackendChoice::Ort } else { BackendChoice::Rten });
        Ok(backend.pinned(self.asked.pin.clone()))
    }

    /// All that decides what is hidden, as text in one form ([`Derived::canonical`]): what the evidence log and reports hash.
    pub fn canonical(&self, loaded: &Loaded) -> String {
        self.derived.canonical(self.asked.pixel_aspect, loaded.own)
    }

    /// SHA-256 of [`Opening::canonical`], in hexadecimal.
    #[cfg(feature = "models")]
    pub fn sha256(&self, loaded: &Loaded) -> String {
        use sha2::{Digest as _, Sha256};
        milkglass_common::hex(Sha256::digest(self.canonical(loaded)))
    }

    /// What the evidence log says of it; `program`: name and version.
    #[cfg(feature = "evidence")]
    pub fn identity(&self, program: &str, loaded: &Loaded) -> crate::evidence::Identity {
        use crate::evidence::{Identity, OWN_DETECTOR};
        let mut identity =
            Identity::new(program, &self.canonical(loaded), self.derived.policy(Media::Live).zones());
        identity.runtime = loaded.library.clone().unwrap_or_else(|| loaded.runtime.clone());
        loaded.models.iter().for_each(|model| identity.add(model));
        if loaded.own && loaded.untested {
            identity.untested.insert(OWN_DETECTOR.into());
        }
        identity
    }
}
