//! What runs a network: ONNX Runtime where its library can be loaded, rten (pure Rust) elsewhere.

#[cfg(feature = "ort")]
mod ort;
mod pin;
#[cfg(feature = "rten")]
mod rten;

#[cfg(all(feature = "internal", feature = "ort"))]
pub(crate) use ort::Bound as OrtBound;

pub use pin::Processors;

use std::path::PathBuf;

use ndarray::ArrayView4;

use super::decode::{self, Output};
use super::manifest::Manifest;
use crate::error::{Cause, ModelError, ModelKind, Result};
use crate::policy::BackendChoice;

/// A network ready to run. Outputs come in the order of the decoder's names.
pub(crate) trait Network: Send {
    /// Runs it on a tensor 1 x 3 x height x width and shows the outputs to `read`.
    fn run(
        &mut self,
        input: ArrayView4<'_, f32>,
        read: &mut dyn FnMut(&[Output<'_>]) -> Result<()>,
    ) -> Result<()>;
}

/// A backend that can load networks, chosen once.
#[derive(Clone, Debug)]
pub struct Backend {
    kind: Kind,
    threads: usize,
    pin: Option<Processors>,
}

/// Which library of ONNX Runtime may be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed<'a> {
    /// Whichever is found.
    Any,
    /// One that this version knows.
    Pinned,
    /// The one with this SHA-256, in hexadecimal.
    Only(&'a str),
}

#[cfg(not(any(feature = "ort", feature = "rten")))]
compile_error!(
    "the features `models`, `lock` and `internal` need a backend: add `rten` (pure Rust) or `ort`"
);

#[derive(Clone, Debug)]
enum Kind {
    #[cfg(feature = "ort")]
    Ort(ort::Runtime),
    #[cfg(feature = "rten")]
    Rten,
}

impl Backend {
    /// Chooses a backend; each network it loads uses `threads` threads. Says in the log what was chosen.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) when what was asked for cannot be had.
    pub fn choose(choice: BackendChoice, threads: usize) -> Result<Backend> {
        Self::chosen(choice, threads, Allowed::Any)
    }

    /// Chooses a backend whose library is `allowed`: it is compared *before* it is loaded, since loading runs code of it.
    ///
    /// # Errors
    /// [`Error::Policy`](crate::Error::Policy) when another runtime alone is allowed; else as [`Backend::choose`].
    pub fn choose_allowed(choice: BackendChoice, threads: usize, allowed: Allowed<'_>) -> Result<Backend> {
        Self::chosen(choice, threads, allowed)
    }

    fn chosen(choice: BackendChoice, threads: usize, allowed: Allowed<'_>) -> Result<Backend> {
        let threads = threads.max(1);
        #[cfg(not(feature = "ort"))]
        let _ = allowed;
        #[cfg(feature = "ort")]
        let why_not = match choice {
            BackendChoice::Rten => None,
            _ => match ort::Runtime::load(allowed) {
                Ok(runtime) => {
                    log::info!("inference: {runtime}");
                    return Ok(Backend { kind: Kind::Ort(runtime), threads, pin: None });
                }
                // With a lock nothing slower takes the place of what was refused.
                Err(e) if choice == BackendChoice::Ort || matches!(e, crate::error::Error::Policy(_)) => {
                    return Err(e);
                }
                Err(e) => Some(e.to_string()),
            },
        };
        #[cfg(not(feature = "ort"))]
        let why_not = match choice {
            BackendChoice::Ort => {
                let why = "this build has no ONNX Runtime (feature `ort`)";
                return Err(ModelError::new(ModelKind::Runtime, why).into());
            }
            _ => None::<String>,
        };
        #[cfg(feature = "rten")]
        {
            if let Some(why) = why_not {
                log::warn!(
                    "inference: rten, pure Rust, several times slower than ONNX Runtime, because {why}"
                );
            } else {
                log::info!("inference: rten (pure Rust)");
            }
            Ok(Backend { kind: Kind::Rten, threads, pin: None })
        }
        #[cfg(not(feature = "rten"))]
        {
            let why = why_not.unwrap_or_default();
            let why = format!("no inference backend: {why}; this build has no rten (feature `rten`)");
            Err(ModelError::new(ModelKind::Runtime, why).into())
        }
    }

    /// Keeps inference on these processors: the threads of each network that is loaded from now on and, when the detector
    /// runs in a [`Pipeline`](crate::Pipeline), the thread that calls it. Nothing else is kept there, or off them.
    pub fn pinned(mut self, pin: Option<Processors>) -> Backend {
        self.pin = pin;
        self
    }

    pub(super) fn pin(&self) -> Option<&Processors> {
        self.pin.as_ref()
    }

    /// `ort` or `rten`.
    pub fn name(&self) -> &'static str {
        match self.kind {
            #[cfg(feature = "ort")]
            Kind::Ort(_) => "ort",
            #[cfg(feature = "rten")]
            Kind::Rten => "rten",
        }
    }

    /// The runtime's file and its SHA-256, where it has one.
    pub fn library(&self) -> Option<(PathBuf, String)> {
        match self.kind {
            #[cfg(feature = "ort")]
            Kind::Ort(ref runtime) => Some((runtime.path.clone(), runtime.sha256.clone())),
            #[cfg(feature = "rten")]
            Kind::Rten => None,
        }
    }

    /// Whether the runtime was loaded from the very bytes that [`Backend::library`] tells the hash of; not so where a copy in memory
    /// could not be loaded. `true` for a runtime that is part of the program.
    pub fn is_sealed(&self) -> bool {
        match self.kind {
            #[cfg(feature = "ort")]
            Kind::Ort(ref runtime) => runtime.sealed,
            #[cfg(feature = "rten")]
            Kind::Rten => true,
        }
    }

    /// The bare runtime with `values` bound to the model's input; `None` where there is none to compare with.
    #[cfg(all(feature = "internal", feature = "ort"))]
    pub(crate) fn bound(
        &self,
        bytes: &[u8],
        shape: [usize; 4],
        values: &[f32],
    ) -> Option<std::result::Result<ort::Bound, String>> {
        matches!(self.kind, Kind::Ort(_)).then(|| ort::Bound::new(bytes, shape, values, self.threads))
    }

    pub(crate) fn load(&self, manifest: &Manifest, bytes: Vec<u8>) -> Result<Box<dyn Network>> {
        match &self.pin {
            Some(pin) => pin
                .inherited(|| self.start(manifest, bytes))
                .map_err(|why| ModelError::new(ModelKind::Runtime, why))?,
            None => self.start(manifest, bytes),
        }
    }

    fn start(&self, manifest: &Manifest, bytes: Vec<u8>) -> Result<Box<dyn Network>> {
        let usual = decode::output_names(manifest.decoder).iter().map(|s| (*s).to_string());
        let outputs: Vec<String> =
            if manifest.outputs.is_empty() { usual.collect() } else { manifest.outputs.clone() };
        let wrong = |cause: Cause| {
            let why = format!("the model {} cannot be loaded with {}: {cause}", manifest.file, self.name());
            ModelError::new(ModelKind::Unusable, why).about(&manifest.name).caused_by(cause).into()
        };
        match self.kind {
            #[cfg(feature = "ort")]
            Kind::Ort(ref runtime) => {
                let network =
                    ort::OrtNetwork::load(runtime, &bytes, &manifest.input.name, outputs, self.threads);
                network.map(|n| Box::new(n) as _).map_err(wrong)
            }
            #[cfg(feature = "rten")]
            Kind::Rten => {
                let network = rten::RtenNetwork::load(bytes, &manifest.input.name, &outputs, self.threads);
                network.map(|n| Box::new(n) as _).map_err(wrong)
            }
        }
    }
}
