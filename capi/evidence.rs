//! The evidence log of a stream.

#[cfg(feature = "evidence")]
pub(crate) use with::{Evidence, Opened};
#[cfg(not(feature = "evidence"))]
pub(crate) use without::{Evidence, Opened};

use std::time::Duration;

/// How long a checkpoint, and the end of a stream, wait for the disk.
#[cfg_attr(not(feature = "evidence"), allow(dead_code, reason = "there is no log to wait for"))]
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(feature = "evidence")]
mod with {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};

    use milkglass::Opening;
    use milkglass::evidence::{EvidenceLog, EvidenceSettings, EvidenceWriter, device_key};
    use milkglass::opening::Loaded;

    use super::PATIENCE;
    use crate::fault::Fault;
    use crate::stream::Counted;
    use crate::text::optional;
    use crate::types::{milkglass_config, milkglass_status};

    /// Name and version.
    const PROGRAM: &str = concat!("libmilkglass ", env!("CARGO_PKG_VERSION"));

    /// The log, if one was asked for, before the stream runs.
    pub(crate) struct Opened(Option<EvidenceLog>);

    /// The log of a running stream.
    pub(crate) struct Evidence(Mutex<Option<EvidenceWriter>>);

    impl Opened {
        /// Nothing is written yet.
        ///
        /// # Safety
        /// Texts in `config` are NULL or end with zero.
        pub unsafe fn open(
            config: &milkglass_config,
            opening: &Opening,
            loaded: &Loaded,
        ) -> Result<Opened, Fault> {
            // SAFETY: the caller's promise.
            let (dir, key) = unsafe {
                (optional(config.evidence, "evidence")?, optional(config.device_key, "device_key")?)
            };
            let Some(dir) = dir else {
                return match key.is_some() || config.evidence_max_mb != 0 {
                    true => Err(Fault::argument("device_key or evidence_max_mb is set, but evidence is not")),
                    false => Ok(Opened(None)),
                };
            };
            let key = device_key(&key.map_or_else(|| Path::new(dir).join("device.key"), Into::into))?;
            let mut settings = EvidenceSettings::new(dir, key, opening.identity(PROGRAM, loaded));
            // SAFETY: the caller's promise.
            if let Some(state) = unsafe { optional(config.state_dir, "state_dir") }? {
                settings = settings.remembering(Path::new(state));
            }
            if config.evidence_max_mb != 0 {
                settings.max_bytes = u64::from(config.evidence_max_mb) << 20;
            }
            Ok(Opened(Some(EvidenceLog::open(settings)?)))
        }

        /// Lets it follow the stream.
        pub fn start(self, counted: &Arc<Counted>) -> Result<Evidence, Fault> {
            let counted = Arc::clone(counted);
            let writer =
                self.0.map(|log| EvidenceWriter::start(log, move || counted.status())).transpose()?;
            Ok(Evidence(Mutex::new(writer)))
        }
    }

    impl Evidence {
        /// Another policy is in force.
        pub fn changed(&self, opening: &Opening, loaded: &Loaded) {
            self.ask(|writer| writer.changed(opening.identity(PROGRAM, loaded)));
        }

        /// A line to be sent off the device.
        pub fn checkpoint(&self) -> Result<String, Fault> {
            let line = self.ask(|writer| writer.checkpoint(PATIENCE));
            let line = line.ok_or_else(|| Fault::argument("the stream keeps no evidence log (evidence)"))?;
            let why = "the evidence log cannot be written, or its disk does not answer";
            line.ok_or_else(|| Fault::new(milkglass_status::CAMERA, why))
        }

        /// Attempts to write that failed, whether nothing can be written now, and whether the log was found changed.
        pub fn figures(&self) -> (u64, bool, bool) {
            let figures = self.ask(EvidenceWriter::figures).unwrap_or_default();
            let flag = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
            (figures.errors.load(Ordering::Relaxed), flag(&figures.trouble), flag(&figures.damaged))
        }

        /// Writes the last records.
        pub fn end(&self) {
            let writer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(writer) = writer
                && writer.end(PATIENCE).is_none()
            {
                log::error!("the last records of the evidence log could not be written");
            }
        }

        fn ask<T>(&self, question: impl FnOnce(&EvidenceWriter) -> T) -> Option<T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(question)
        }
    }
}

#[cfg(not(feature = "evidence"))]
mod without {
    use std::sync::Arc;

    use milkglass::Opening;
    use milkglass::opening::Loaded;

    use crate::fault::Fault;
    use crate::stream::Counted;
    use crate::text::optional;
    use crate::types::milkglass_config;

    /// In a library without the feature `evidence`, whoever asks for a log is refused.
    pub(crate) struct Opened;
    pub(crate) struct Evidence;

    impl Opened {
        /// # Safety
        /// Texts in `config` are NULL or end with zero.
        pub unsafe fn open(config: &milkglass_config, _: &Opening, _: &Loaded) -> Result<Opened, Fault> {
            // SAFETY: the caller's promise.
            match unsafe { optional(config.evidence, "evidence") }? {
                Some(_) => Err(none()),
                None => Ok(Opened),
            }
        }

        pub fn start(self, _: &Arc<Counted>) -> Result<Evidence, Fault> {
            Ok(Evidence)
        }
    }

    impl Evidence {
        pub fn changed(&self, _: &Opening, _: &Loaded) {}

        pub fn checkpoint(&self) -> Result<String, Fault> {
            Err(none())
        }

        pub fn figures(&self) -> (u64, bool, bool) {
            (0, false, false)
        }

        pub fn end(&self) {}
    }

    fn none() -> Fault {
        Fault::argument("this build of the library keeps no evidence log (feature `evidence`)")
    }
}
