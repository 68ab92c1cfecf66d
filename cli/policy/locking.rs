//! `milkglass policy keygen|lock|verify|compare`: policies that their owner has locked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use milkglass::detect::ModelStore;
use milkglass::detect::backend::Backend;
use milkglass::lock::{Bound, Lock, OwnerSecretKey};
use milkglass::picture::PixelFormat;
use milkglass::policy::{BackendChoice, PolicyFile, Preset};
use milkglass::{Class, FrameFormat};
use milkglass_common::files::create_secret;

use crate::opening::owner_key;
use crate::outcome::Failure;
use crate::report;

/// `milkglass policy lock`
#[derive(Args, Clone, Debug)]
pub struct LockArgs {
    /// The policy to lock (TOML)
    pub file: PathBuf,
    /// The owner's secret key, from `milkglass policy keygen`
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The lock file to write
    #[arg(short, long, value_name = "FILE.lock")]
    pub output: PathBuf,
    /// Its number; a device refuses one below the newest that it has seen [default: seconds since 1970]
    #[arg(long, value_name = "N")]
    pub serial: Option<u64>,
    /// Allow no other models than those that are here for the policy's preset and stronger ones, nor other manifests of
    /// theirs (scale, decoder, thresholds, calibration), by hash [default: any]
    #[arg(long)]
    pub bind_models: bool,
    /// Allow a model that promises less than the presets (by its name), or a program's own detector that cannot be shown the
    /// known persons (`detector`); may be given again [default: neither]
    #[arg(long, value_name = "NAME")]
    pub allow_untested: Vec<String>,
    /// Folder of the models
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Allow no other inference runtime than this library of ONNX Runtime, by hash; without a file, the one that is found
    /// here. A file is only read: it may be for another processor [default: any]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub bind_runtime: Option<Option<PathBuf>>,
}

/// Makes a key pair: the secret at `path`, for its owner's eyes alone, and the public key beside it.
pub fn keygen(path: &Path) -> Result<String, Failure> {
    let secret = OwnerSecretKey::generate()?;
    let public = path.with_extension("pub");
    let wrong = |path: &Path, e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
    create_secret(path, format!("{}\n", secret.to_text()).as_bytes()).map_err(|e| wrong(path, e))?;
    fs::write(&public, format!("{}\n", secret.public())).map_err(|e| wrong(&public, e))?;
    Ok(format!(
        "{}: the secret key. Keep it off the device: whoever has it can weaken the policy.\n{}: the public key, {}\n",
        path.display(),
        public.display(),
        secret.public()
    ))
}

/// Signs a policy.
pub fn lock(args: &LockArgs) -> Result<String, Failure> {
    let read = |path: &Path| {
        fs::read_to_string(path)
            .map_err(|e| Failure::new(format!("{}: it cannot be read: {e}", path.display())))
    };
    let secret = OwnerSecretKey::parse(&read(&args.key)?)?;
    // Read as a policy first, for errors with line and column.
    let policy = PolicyFile::read(&args.file)?;
    let (models, manifests) = if args.bind_models { models(&policy, args)? } else { Default::default() };
    let runtime = match &args.bind_runtime {
        Some(Some(file)) => match report::file_hash(file) {
            Some(hash) => Some(hash),
            None => return Err(Failure::new("--bind-runtime: the library cannot be read").about(file)),
        },
        Some(None) => {
            let backend = Backend::choose(BackendChoice::Ort, 1)?;
            backend.library().map(|(_, hash)| hash)
        }
        None => None,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let untested = args.allow_untested.iter().cloned().collect();
    let bound = Bound { serial: args.serial.unwrap_or(now), models, runtime, manifests, untested };
    let text = Lock::sign(&read(&args.file)?, &bound, &secret)?;
    fs::write(&args.output, &text).map_err(|e| Failure::new(format!("{}: {e}", args.output.display())))?;
    let lock = Lock::parse(&text, "the lock", None)?;
    Ok(format!("{}: {}", args.output.display(), describe(&lock)))
}

/// The models, and their manifests, of the policy's preset, of those it may fall back to, and of stronger ones.
fn models(policy: &PolicyFile, args: &LockArgs) -> Result<(Hashes, Hashes), Failure> {
    let store = args.models.as_ref().map(ModelStore::new).map_or_else(ModelStore::locate, Ok)?;
    let used = policy.ladder().into_iter().chain([policy.preset().unwrap_or_default()]);
    let least = used.min().unwrap_or_default();
    let presets = [Preset::Fast, Preset::Balanced, Preset::Careful].into_iter().filter(|p| *p >= least);
    let (mut models, mut manifests) = (Hashes::new(), Hashes::new());
    for preset in presets {
        // Of every class: who strengthens the policy may hide more than it says.
        for pass in preset.settings(&Class::ALL).passes {
            let manifest = store.manifest(&pass.model)?;
            store.read(&manifest)?;
            manifests.insert(manifest.name.clone(), manifest.canonical_sha256());
            models.insert(manifest.name, manifest.sha256);
        }
    }
    Ok((models, manifests))
}

/// SHA-256 by the model's name.
type Hashes = BTreeMap<String, String>;

/// Checks a lock's signature and says what it binds.
pub fn verify(path: &Path, owner: Option<&Path>) -> Result<String, Failure> {
    let owner = owner.map(owner_key).transpose()?;
    let lock = Lock::read(path, owner.as_ref())?;
    let mut text = format!("{}: the signature fits; {}", path.display(), describe(&lock));
    if owner.is_none() {
        text += "note: whose key that is was not checked; name the one you expect with --owner-key\n";
    }
    Ok(text)
}

fn describe(lock: &Lock) -> String {
    let bound = lock.bound();
    let mut text = format!("number {}, owner {}\n", bound.serial, lock.owner());
    for (name, hash) in &bound.models {
        let _ = writeln!(text, "model {name}: only the one with the SHA-256 {hash}");
    }
    for (name, hash) in &bound.manifests {
        let _ = writeln!(text, "manifest {name}: only the one with the canonical SHA-256 {hash}");
    }
    for name in &bound.untested {
        let _ = writeln!(text, "untested {name}: allowed");
    }
    let open = lock.leaves_open();
    if !open.is_empty() {
        let again =
            if lock.version() < 2 { " (it is of version 1: lock the policy again to bind them)" } else { "" };
        let _ = writeln!(text, "it does not bind: {}{again}", open.join("; "));
    }
    match &bound.runtime {
        Some(hash) => drop(writeln!(text, "inference runtime: only the one with the SHA-256 {hash}")),
        None => text += "inference runtime: any\n",
    }
    text
}

/// Pictures in which zones are compared when nobody says in which: how large a cell is depends on their shape.
const COMPARED: [(u32, u32); 3] = [(3840, 2160), (2880, 2160), (2160, 3840)];

/// Tells what `new` would weaken of `base`, each a policy or a lock file; whether it weakens nothing.
pub fn compare(base: &Path, new: &Path, size: Option<&str>) -> Result<(String, bool), Failure> {
    let sides = |size: &str| {
        let sides = size.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        sides.ok_or_else(|| Failure::new(format!("--size {size}: write a width and a height, as 1920x1080")))
    };
    let sizes = size.map_or_else(|| Ok(COMPARED.to_vec()), |size| Ok::<_, Failure>(vec![sides(size)?]))?;
    let (base, new) = (either(base)?, either(new)?);
    for (width, height) in sizes {
        let weaker = new.weakenings(&base, &FrameFormat::new(PixelFormat::Nv12, width, height)?)?;
        if !weaker.is_empty() {
            return Ok((weaker.iter().map(|w| format!("weaker: {w}\n")).collect(), false));
        }
    }
    Ok(("it protects at least as much\n".into(), true))
}

/// A policy, from a policy or a lock file.
pub fn either(path: &Path) -> Result<PolicyFile, Failure> {
    match Lock::read(path, None) {
        Ok(lock) => Ok(lock.policy().clone()),
        Err(_) if path.extension().is_none_or(|e| e != "lock") => Ok(PolicyFile::read(path)?),
        Err(e) => Err(e.into()),
    }
}
