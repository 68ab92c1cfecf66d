//! `milkglass doctor`: what is here, what is missing, and the command that mends it.

use std::io::Write;

use milkglass::Class;
use milkglass::detect::Ensemble;
use milkglass::detect::backend::Backend;
use milkglass::lock::Lock;
use milkglass::policy::{BackendChoice, Preset};

use rustix::process::{Resource, getrlimit};

use crate::args::DoctorArgs;
use crate::outcome::{Exit, Failure};
use crate::sandbox::Support;
use crate::sandbox::launcher::has_own_root;
use crate::{clips, opening};

/// Runs the command: 0 when everything that redaction needs is here, else 1.
pub fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    let mut missing = false;
    let mut line = |ok: bool, what: &str, text: String| {
        missing |= !ok;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(out, "{} {what:<14}{text}", if ok { "ok     " } else { "MISSING" })
            .map_err(|e| Failure::new(format!("cannot be printed: {e}")))
    };
    line(true, "milkglass", format!("{} for {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH))?;
    line(true, "cpu", cpu())?;
    line(true, "kernel", kernel())?;
    match clips::tools(opening::threads(args.runtime.threads), false) {
        Ok(tools) => line(true, "ffmpeg", format!("{} at {}", tools.version, tools.ffmpeg.display()))?,
        Err(e) => line(false, "ffmpeg", e.to_string())?,
    }
    if let Err(e) = Lock::admit_environment() {
        line(true, "environment", format!("with a locked policy nothing would start: {e}"))?;
    }
    let backend = match Backend::choose(BackendChoice::Ort, 1) {
        Ok(backend) => {
            let (path, hash) = backend.library().unwrap_or_default();
            let how = if backend.is_sealed() {
                "loaded from the bytes that were hashed"
            } else {
                "opened by its name"
            };
            line(true, "ONNX Runtime", format!("{}, SHA-256 {hash}, {how}", path.display()))?;
            let note = "without a lock that binds it (`policy lock --bind-runtime`) any other build would do";
            line(true, "", note.into())?;
            Some(backend)
        }
        Err(e) => {
            line(true, "ONNX Runtime", format!("not used: {e}"))?;
            None
        }
    };
    let rten = Backend::choose(BackendChoice::Rten, 1);
    line(true, "rten", if rten.is_ok() { "built in".into() } else { "not in this build".into() })?;
    match (opening::store(&args.runtime), backend.map_or(rten, Ok)) {
        (Err(e), _) => line(false, "models", e.to_string())?,
        (_, Err(e)) => line(false, "inference", e.to_string())?,
        (Ok(store), Ok(backend)) => {
            let settings = Preset::Careful.settings(&Class::ALL);
            let mut names: Vec<&str> = settings.passes.iter().map(|p| p.model.as_str()).collect();
            names.dedup();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let mut one = settings.clone();
                one.passes.retain(|p| p.model == name);
                match Ensemble::load(&store, &backend, &one) {
                    Ok(ensemble) => {
                        for m in ensemble.loaded() {
                            let (hash, manifest) = (m.sha256, m.manifest_sha256);
                            let dir = store.dir().display();
                            let seen = if m.untested { ", UNTESTED for the smallest faces" } else { "" };
                            line(
                                true,
                                "model",
                                format!(
                                    "{}, SHA-256 {hash}, manifest {manifest}, in {dir}; finds the known persons{seen}",
                                    m.name
                                ),
                            )?;
                        }
                    }
                    Err(e) => line(false, "model", e.to_string())?,
                }
            }
        }
    }
    if let Some(path) = &args.lock {
        match Lock::read(path, None) {
            Ok(lock) => line(true, "lock", told(&lock))?,
            Err(e) => line(false, "lock", e.to_string())?,
        }
    }
    Ok(if missing { Exit::Failed } else { Exit::Done })
}

/// What a lock binds, and what not.
fn told(lock: &Lock) -> String {
    let open = match lock.leaves_open().join("; ") {
        open if open.is_empty() => "it binds all that a lock can".into(),
        open => format!("it does not bind: {open}"),
    };
    let again = if lock.version() < 2 { "; it is of version 1: lock the policy again" } else { "" };
    format!("number {}, owner {}; {open}{again}", lock.bound().serial, lock.owner())
}

/// What the kernel can hold this program and its children to, and how much memory may be locked.
fn kernel() -> String {
    let support = Support::ask();
    let landlock = match support.landlock {
        0 => "no file sandbox".into(),
        version => format!("Landlock {version}"),
    };
    let seccomp = if support.seccomp { "seccomp" } else { "no filter of system calls" };
    let root = if has_own_root() {
        "namespaces"
    } else {
        "no namespaces for children (code that took one over could ask which files there are)"
    };
    let lock = match getrlimit(Resource::Memlock).current {
        None => "all memory may be locked".into(),
        Some(bytes) => format!("{} KiB of memory may be locked", bytes >> 10),
    };
    let missing = support.missing().map(|missing| format!("; {missing}")).unwrap_or_default();
    format!("{landlock}, {seccomp}, {root}, {lock}{missing}")
}

/// Name and features of the processor that the kernels and runtimes can use.
fn cpu() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[cfg(target_arch = "x86_64")]
    let features: Vec<&str> = [
        ("sse4.1", std::arch::is_x86_feature_detected!("sse4.1")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ]
    .into_iter()
    .filter_map(|(name, has)| has.then_some(name))
    .collect();
    #[cfg(target_arch = "aarch64")]
    let features: Vec<&str> = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ]
    .into_iter()
    .filter_map(|(name, has)| has.then_some(name))
    .collect();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let features: Vec<&str> = Vec::new();
    format!("{cores} cores, {}", features.join(" "))
}
