//! ONNX Runtime, loaded at run time from a library we find and hash ourselves.

#[cfg(feature = "internal")]
mod bound;
mod library;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use library::Sealed;
use ndarray::ArrayView4;
use ort::environment::Environment;
use ort::ep;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

#[cfg(feature = "internal")]
pub(crate) use bound::Bound;

use super::{Allowed, Network};
use crate::detect::decode::{MOST_OUTPUTS, Output};
use crate::error::{Cause, DetectorError, DetectorKind, Error, ModelError, ModelKind, Result};
use crate::policy::PolicyError;

/// The builds that models/fetch-onnxruntime.sh fetches: version, architecture, SHA-256.
const PINNED: [(&str, &str, &str); 2] = [
    ("1.31.0", "x86_64", "21901b1b02233484b80888c16f4f5473742f796bf5528d5d0c4073dbe9802001"),
    ("1.31.0", "aarch64", "b79d2fcf36b8870f4b2da95784a6ad846c47f05511ffa7be409c79a44f9dc9a4"),
];

/// ONNX Runtime allows one environment in a process, for ever.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

struct Loaded {
    runtime: Runtime,
    environment: Environment,
    /// Kept open: the loader knows the library by its descriptor, whose number must not become another file's.
    _copy: Sealed,
}

/// The library that was loaded.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    pub path: PathBuf,
    pub sha256: String,
    /// It was loaded from the very bytes that were hashed.
    pub sealed: bool,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = PINNED.iter().find(|(_, _, hash)| *hash == self.sha256);
        let what =
            known.map_or("a build unknown to us".into(), |(v, arch, _)| format!("the pinned {v} for {arch}"));
        write!(f, "ONNX Runtime {}, {what}, SHA-256 {}", self.path.display(), self.sha256)
    }
}

impl Runtime {
    /// Finds the library, compares it with what is `allowed`, and only then loads it: once per process, from the very bytes
    /// that were compared.
    pub fn load(allowed: Allowed<'_>) -> Result<Runtime> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Loaded { runtime, .. }) = &*loaded {
            runtime.admit(allowed)?;
            return Ok(runtime.clone());
        }
        let path = library::find()?;
        let wrong = |why: String| {
            let text = format!(
                "{} is no usable ONNX Runtime (1.24 or newer is needed): {why}; models/fetch-onnxruntime.sh fetches one",
                path.display()
            );
            Error::from(ModelError::new(ModelKind::Runtime, text).about(path.display().to_string()))
        };
        let copy = Sealed::copy(&path).map_err(|e| wrong(e.to_string()))?;
        let mut runtime = Runtime { path: path.clone(), sha256: copy.sha256.clone(), sealed: true };
        // Before a byte of it runs: a library runs code when it is loaded.
        runtime.admit(allowed)?;
        let builder = match ort::init_from(copy.path()) {
            Err(ort::LoadDynamicError::Dlopen { error, .. }) if allowed == Allowed::Any => {
                let builder = ort::init_from(&path).map_err(|e| wrong(e.to_string()))?;
                runtime.sealed = false;
                log::warn!(
                    "{}: it could not be loaded from a copy in memory ({error}), so it was opened again by its name: what runs \
                     may be another file than the one whose hash is told",
                    path.display()
                );
                builder
            }
            Err(ort::LoadDynamicError::Dlopen { error, .. }) => {
                return Err(wrong(format!(
                    "it cannot be loaded from a copy in memory ({error}), and a locked policy allows no other way: let this \
                     program execute memory files (sysctl vm.memfd_noexec, SELinux), mount /proc, and use a build that needs no \
                     libraries beside it"
                )));
            }
            built => built.map_err(|e| wrong(e.to_string()))?,
        };
        let environment =
            builder.with_name("milkglass").with_telemetry(false).build().map_err(|e| wrong(e.to_string()))?;
        // Its errors come back to us as values; on stderr they would be said twice.
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        *loaded = Some(Loaded { runtime: runtime.clone(), environment, _copy: copy });
        Ok(runtime)
    }

    fn admit(&self, allowed: Allowed<'_>) -> Result<()> {
        let refused = |why: &str| {
            let (path, hash) = (self.path.display(), &self.sha256);
            let what = format!("the inference runtime {path} with the SHA-256 {hash} {why}");
            Err(PolicyError::Locked(what).into())
        };
        match allowed {
            Allowed::Any => Ok(()),
            _ if !self.sealed => refused("was loaded by its name before there was a lock; start anew"),
            Allowed::Pinned if PINNED.iter().any(|(_, _, hash)| *hash == self.sha256) => Ok(()),
            Allowed::Pinned => refused(
                "is named by ORT_DYLIB_PATH, and the locked policy allows no runtime by its hash: clear the variable, or ask the \
                 owner for a lock that names it (`milkglass policy lock --bind-runtime`)",
            ),
            Allowed::Only(hash) if hash.eq_ignore_ascii_case(&self.sha256) => Ok(()),
            Allowed::Only(_) => refused("is not the one that the owner allowed, and was not loaded"),
        }
    }
}

pub(super) struct OrtNetwork {
    session: Session,
    outputs: Vec<String>,
}

impl OrtNetwork {
    /// An empty list of outputs means the model's first one.
    pub fn load(
        _loaded: &Runtime,
        bytes: &[u8],
        input: &str,
        mut outputs: Vec<String>,
        threads: usize,
    ) -> Result<OrtNetwork, Cause> {
        let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(loaded) = &*loaded else { return Err("the library is not loaded".into()) };
        let session = session(&loaded.environment, bytes, threads)?;
        // With one input alone its name need not be looked up at every run.
        if session.inputs().len() != 1 || session.inputs()[0].name() != input {
            return Err(format!("its one input is not `{input}`").into());
        }
        if outputs.is_empty() {
            outputs.extend(session.outputs().first().map(|o| o.name().to_string()));
        }
        if let Some(name) = outputs.iter().find(|n| !session.outputs().iter().any(|o| o.name() == n.as_str()))
        {
            return Err(format!("it has no output `{name}`").into());
        }
        Ok(OrtNetwork { session, outputs })
    }
}

fn session(environment: &Environment, bytes: &[u8], threads: usize) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        // Spinning burns the core that the encoder needs.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // The pattern keeps the largest plan of every shape: 30 MB more at 1280x736, and no faster.
        .with_memory_pattern(false)?
        .with_execution_providers([ep::CPU::default().with_arena_allocator(true).build()])?
        .commit_from_memory(bytes)
}

impl Network for OrtNetwork {
    fn run(
        &mut self,
        input: ArrayView4<'_, f32>,
        read: &mut dyn FnMut(&[Output<'_>]) -> Result<()>,
    ) -> Result<()> {
        let failed =
            |why: String| DetectorError::new(DetectorKind::Inference, format!("ONNX Runtime: {why}"));
        let ran = |e: ort::Error| failed(e.to_string()).caused_by(e);
        let (n, c, h, w) = input.dim();
        let data = input.as_slice().ok_or_else(|| failed("the tensor is not contiguous".into()))?;
        let tensor = TensorRef::from_array_view(([n, c, h, w], data)).map_err(ran)?;
        let outputs = self.session.run([SessionInputValue::from(tensor)]).map_err(ran)?;
        let mut shown = [Output::default(); MOST_OUTPUTS];
        for (name, place) in self.outputs.iter().zip(&mut shown) {
            let value = outputs.get(name).ok_or_else(|| failed(format!("output `{name}` is missing")))?;
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(ran)?;
            let sides = shape.iter().map(|&d| usize::try_from(d).unwrap_or(0));
            *place = Output::new(sides, data)
                .ok_or_else(|| failed(format!("output `{name}` has {} sides", shape.len())))?;
        }
        read(&shown[..self.outputs.len().min(MOST_OUTPUTS)])
    }
}
