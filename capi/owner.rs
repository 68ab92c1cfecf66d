//! The owner's lock of a stream, and what the device remembers of it.

use milkglass::{FrameFormat, PolicyFile};

use crate::fault::Fault;
use crate::text::optional;
use crate::types::{milkglass_config, milkglass_status};

#[cfg(feature = "lock")]
pub(crate) use milkglass::Lock;

#[cfg(feature = "lock")]
pub(crate) struct Owner {
    lock: Option<std::path::PathBuf>,
    key: Option<milkglass::OwnerKey>,
    anchor: Option<milkglass::Anchor>,
}

#[cfg(feature = "lock")]
impl Owner {
    /// # Safety
    /// Texts in `config` are NULL or end with zero.
    pub unsafe fn open(config: &milkglass_config) -> Result<Owner, Fault> {
        // SAFETY: the caller's promise.
        let (lock, key) =
            unsafe { (optional(config.lock, "lock")?, optional(config.owner_key, "owner_key")?) };
        // SAFETY: the caller's promise.
        let state = unsafe { optional(config.state_dir, "state_dir") }?;
        if state.is_none() && (lock.is_some() || key.is_some()) {
            let why = "without it an older lock file would be as good as the newest";
            return Err(Fault::argument(format!("lock or owner_key is set, but state_dir is not: {why}")));
        }
        if key.is_some() && lock.is_none() {
            return Err(Fault::new(
                milkglass_status::POLICY,
                "owner_key is set, but lock is not: name the lock file",
            ));
        }
        Ok(Owner {
            lock: lock.map(Into::into),
            key: key.map(milkglass::OwnerKey::parse).transpose()?,
            anchor: state.map(|folder| milkglass::Anchor::new(folder.as_ref())),
        })
    }

    /// The lock file as it is now. A device that was ever locked has to have one.
    pub fn lock(&self) -> Result<Option<Lock>, Fault> {
        match &self.lock {
            Some(path) => {
                let lock = Lock::read(path, self.key.as_ref())?;
                // The environment is the host's; the owner's word is the same in every program.
                Lock::admit_environment()?;
                Ok(Some(lock))
            }
            None if self.anchor.as_ref().is_some_and(milkglass::Anchor::is_set) => Err(Fault::new(
                milkglass_status::POLICY,
                "this device's policy is locked by its owner: name the lock file (lock)",
            )),
            None => Ok(None),
        }
    }

    /// Whether a policy may be put in force.
    pub fn check(&self, lock: Option<&Lock>, file: &PolicyFile, format: &FrameFormat) -> Result<(), Fault> {
        let (Some(lock), Some(anchor)) = (lock, &self.anchor) else { return Ok(()) };
        Ok(anchor.check(lock, file, format)?)
    }

    /// Remembers what is in force.
    pub fn remember(
        &self,
        lock: Option<&Lock>,
        file: &PolicyFile,
        format: &FrameFormat,
    ) -> Result<(), Fault> {
        let (Some(lock), Some(anchor)) = (lock, &self.anchor) else { return Ok(()) };
        Ok(anchor.admit(lock, file, format)?)
    }
}

/// What a policy that names nothing comes to.
#[cfg(feature = "lock")]
pub(crate) fn policy_of(lock: &Lock) -> &PolicyFile {
    lock.policy()
}

/// Chooses what runs the models, among what the owner allows.
#[cfg(all(feature = "models", feature = "lock"))]
pub(crate) fn backend(
    choice: milkglass::BackendChoice,
    threads: usize,
    lock: Option<&Lock>,
) -> Result<milkglass::detect::backend::Backend, Fault> {
    Ok(milkglass::detect::backend::Backend::choose_locked(choice, threads, lock)?)
}

/// Whether the owner allows what is loaded.
#[cfg(feature = "lock")]
pub(crate) fn admit(lock: &Lock, loaded: &crate::opening::Loaded) -> Result<(), Fault> {
    let bound = lock.bound();
    if loaded.foreign && (bound.runtime.is_some() || !bound.models.is_empty()) {
        let why = "the owner allowed certain models alone, and what is behind a callback cannot be told";
        return Err(Fault::new(milkglass_status::POLICY, format!("{why}; leave detect out")));
    }
    if loaded.untested {
        lock.admit_untested(Lock::OWN_DETECTOR)?;
    }
    match loaded.ours() {
        true => Ok(lock.admit_detector(&loaded.models, loaded.library.as_deref())?),
        false => Ok(()),
    }
}

/// In a library without the feature `lock` no policy is locked, and whoever asks for it is refused.
#[cfg(not(feature = "lock"))]
pub(crate) struct Owner;
#[cfg(not(feature = "lock"))]
pub(crate) enum Lock {}

#[cfg(not(feature = "lock"))]
impl Owner {
    /// # Safety
    /// Texts in `config` are NULL or end with zero.
    pub unsafe fn open(config: &milkglass_config) -> Result<Owner, Fault> {
        for (text, name) in
            [(config.lock, "lock"), (config.owner_key, "owner_key"), (config.state_dir, "state_dir")]
        {
            // SAFETY: the caller's promise.
            if unsafe { optional(text, name) }?.is_some() {
                let why = "is set, but this build of the library knows no locks (feature `lock`)";
                return Err(Fault::new(milkglass_status::POLICY, format!("{name} {why}")));
            }
        }
        Ok(Owner)
    }

    pub fn lock(&self) -> Result<Option<Lock>, Fault> {
        Ok(None)
    }

    pub fn check(&self, _: Option<&Lock>, _: &PolicyFile, _: &FrameFormat) -> Result<(), Fault> {
        Ok(())
    }

    pub fn remember(&self, _: Option<&Lock>, _: &PolicyFile, _: &FrameFormat) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(not(feature = "lock"))]
pub(crate) fn policy_of(lock: &Lock) -> &PolicyFile {
    match *lock {}
}

#[cfg(all(feature = "models", not(feature = "lock")))]
pub(crate) fn backend(
    choice: milkglass::BackendChoice,
    threads: usize,
    _: Option<&Lock>,
) -> Result<milkglass::detect::backend::Backend, Fault> {
    Ok(milkglass::detect::backend::Backend::choose(choice, threads)?)
}

#[cfg(not(feature = "lock"))]
pub(crate) fn admit(lock: &Lock, _: &crate::opening::Loaded) -> Result<(), Fault> {
    match *lock {}
}
