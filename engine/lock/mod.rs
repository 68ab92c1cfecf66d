//! A policy that its owner has locked: signed with an Ed25519 key, so that anybody may strengthen it and only the owner
//! can weaken it.
//!
//! The file holds the policy's text, the owner's public key, a running number, and the hashes of the models and of the
//! inference runtime. [`RollbackGuard`] remembers the owner and the highest number on the device, so that neither an older file nor
//! another owner's takes its place.

mod environment;
mod ratchet;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use milkglass_common::keys::{PublicKey, SecretKey};
use milkglass_common::{files, hex, unhex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::detect::LoadedModel;
use crate::detect::backend::Allowed;
use crate::picture::{FrameFormat, PixelFormat};
use crate::policy::{PolicyError, PolicyFile};
pub use ratchet::Weakening;

/// What the signature is over begins with this, so that it can never be taken for one of something else.
const PURPOSE: &str = "milkglass policy lock, version ";
/// What is signed today. Version 1, of milkglass 0.1, bound neither manifests nor what may go untested.
const VERSION: u32 = 2;

/// The owner's public key: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerPublicKey(PublicKey);

impl OwnerPublicKey {
    /// From 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`PolicyError::Locked`]: they are no Ed25519 public key.
    pub fn parse(text: &str) -> Result<OwnerPublicKey, PolicyError> {
        let key = PublicKey::parse(&text.to_ascii_lowercase()).map(OwnerPublicKey);
        key.ok_or_else(|| {
            locked("an owner's public key is 64 hexadecimal digits, as `milkglass policy keygen` prints them")
        })
    }
}

impl std::fmt::Display for OwnerPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The owner's secret key. Its `Debug` output says nothing; it is wiped when dropped.
pub struct OwnerSecretKey(SecretKey);

impl std::fmt::Debug for OwnerSecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnerSecretKey")
    }
}

impl OwnerSecretKey {
    /// A new key, from the kernel's random numbers.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn generate() -> Result<OwnerSecretKey, PolicyError> {
        let key = SecretKey::generate().map(OwnerSecretKey);
        key.map_err(|e| locked(format!("no random numbers for a key: {e}")))
    }

    /// From the text of a key file: 64 hexadecimal digits.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<OwnerSecretKey, PolicyError> {
        let key = SecretKey::parse(&text.to_ascii_lowercase()).map(OwnerSecretKey);
        key.ok_or_else(|| {
            locked("an owner's secret key is 64 hexadecimal digits, as `milkglass policy keygen` writes them")
        })
    }

    /// The text of a key file. Whoever has it can weaken the policy.
    pub fn to_text(&self) -> String {
        self.0.to_text()
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> OwnerPublicKey {
        OwnerPublicKey(self.0.public())
    }
}

/// What is bound to the policy besides its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Grows with every file that the owner signs; an older one is refused.
    pub serial: u64,
    /// SHA-256 of the inference runtime's library, in hexadecimal; no other may be loaded. `None`: any.
    #[serde(default)]
    pub runtime: Option<String>,
    /// SHA-256 of each model by name, in hexadecimal; no other model may be used. Empty: any.
    #[serde(default)]
    pub models: BTreeMap<String, String>,
    /// SHA-256 of each model's manifest by the model's name, in hexadecimal
    /// ([`Manifest::canonical_sha256`](crate::detect::Manifest::canonical_sha256)); no other manifest may be used. Empty: any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub manifests: BTreeMap<String, String>,
    /// Models, by name, that may be used although nobody as small as the presets promise could be shown to them; `detector`
    /// stands for a program's own detector. Whatever is not named here is refused.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untested: BTreeSet<String>,
}

/// A locked policy whose signature was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    policy: PolicyFile,
    owner: OwnerPublicKey,
    bound: Bound,
    version: u32,
    hash: String,
}

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Files of milkglass 0.1 have none.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    version: u32,
    owner: String,
    signature: String,
    policy: String,
    bound: Bound,
}

fn first_version() -> u32 {
    1
}

fn is_first_version(version: &u32) -> bool {
    *version == 1
}

impl Lock {
    /// The name in [`Bound::untested`] of a detector that is the program's own.
    pub const OWN_DETECTOR: &str = "detector";

    /// Signs a policy's text. The result is the text of a lock file.
    ///
    /// # Errors
    /// The policy is not acceptable by itself, or a name or hash in `bound` is none.
    pub fn sign(policy: &str, bound: &Bound, owner: &OwnerSecretKey) -> Result<String, PolicyError> {
        PolicyFile::parse(policy, "the policy")?.check()?;
        let signature = owner.0.sign(&message(VERSION, policy, bound)?);
        let written = Written {
            version: VERSION,
            owner: owner.public().to_string(),
            signature: hex(signature),
            policy: policy.into(),
            bound: bound.clone(),
        };
        let text = toml::to_string(&written).map_err(|e| locked(format!("it cannot be written: {e}")))?;
        Ok(format!("# A policy locked by its owner. `milkglass policy verify` tells what it says.\n{text}"))
    }

    /// Checks the signature and reads the policy. `owner`: the only key that is accepted; `None`: the file's own, which says
    /// no more than that the file is whole. `name` stands in errors.
    ///
    /// # Errors
    /// [`PolicyError::Locked`] with what is wrong; else as [`PolicyFile::parse`].
    pub fn parse(text: &str, name: &str, owner: Option<&OwnerPublicKey>) -> Result<Lock, PolicyError> {
        let wrong = |why: &str| locked(format!("{name}: {why}"));
        if text.len() > 2 * PolicyFile::MAX_BYTES {
            return Err(wrong("a lock file of more than 2 MiB is refused"));
        }
        let written: Written = toml::from_str(text)
            .map_err(|e| wrong(&format!("no lock file: {}", e.message().replace('\n', ", "))))?;
        let key = OwnerPublicKey::parse(&written.owner)?;
        if owner.is_some_and(|owner| *owner != key) {
            return Err(wrong("it is signed by somebody who is not this device's owner"));
        }
        let signature = unhex(&written.signature.to_ascii_lowercase())
            .ok_or_else(|| wrong("its signature is no signature"))?;
        if !(1..=VERSION).contains(&written.version) {
            return Err(wrong("it is of a version that this program does not know: update the program"));
        }
        let signed = message(written.version, &written.policy, &written.bound)?;
        if !key.0.has_signed(&signed, &signature) {
            return Err(wrong("the signature does not fit: it was altered after the owner signed it"));
        }
        let policy = PolicyFile::parse(&written.policy, name)?;
        policy.check()?;
        let hash = hex(Sha256::digest(&signed));
        Ok(Lock { policy, owner: key, bound: written.bound, version: written.version, hash })
    }

    /// Reads and checks a file; see [`Lock::parse`].
    ///
    /// # Errors
    /// [`PolicyError`]: it cannot be read, or is not what it should be.
    pub fn read(path: &Path, owner: Option<&OwnerPublicKey>) -> Result<Lock, PolicyError> {
        let name = path.display().to_string().replace(char::is_control, "?");
        let text =
            read_text(path).map_err(|e| locked(format!("{name}: the lock file cannot be read: {e}")))?;
        Lock::parse(&text, &name, owner)
    }

    /// The policy as the owner signed it: the least that must hold.
    pub fn policy(&self) -> &PolicyFile {
        &self.policy
    }
    /// Whose lock it is.
    pub fn owner(&self) -> &OwnerPublicKey {
        &self.owner
    }
    /// What else is bound.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }
    /// The version of the file: 1 for those of milkglass 0.1, which bind no manifests and say nothing of what is untested.
    pub fn version(&self) -> u32 {
        self.version
    }
    /// What it leaves open, each in a few words; nothing for a lock that binds all it can.
    pub fn leaves_open(&self) -> Vec<&'static str> {
        let bound = &self.bound;
        let open = [
            (bound.models.is_empty(), "the models"),
            (bound.manifests.is_empty(), "the models' manifests, which say how they see"),
            (bound.runtime.is_none(), "the inference runtime"),
            (self.version < 2, "detectors that no known person could be shown to"),
        ];
        open.into_iter().filter_map(|(is_open, what)| is_open.then_some(what)).collect()
    }
    /// SHA-256 of everything that is signed, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Lets a policy pass that protects at least as much, in pictures of `format` and in large ones.
    ///
    /// # Errors
    /// [`PolicyError::Locked`] that names everything it would weaken.
    pub fn admit(&self, policy: &PolicyFile, format: &FrameFormat) -> Result<(), PolicyError> {
        at_least(policy, &self.policy, format)
    }

    /// Which library of ONNX Runtime may be loaded: the one that is named, else any, but for one that `ORT_DYLIB_PATH` names and
    /// this version does not know.
    pub fn allowed_runtime(&self) -> Allowed<'_> {
        let named = std::env::var_os("ORT_DYLIB_PATH").is_some_and(|path| !path.is_empty());
        match (self.bound.runtime.as_deref(), named) {
            (Some(hash), _) => Allowed::Only(hash),
            (None, true) => Allowed::Pinned,
            (None, false) => Allowed::Any,
        }
    }

    /// Lets these models ([`Ensemble::loaded`](crate::detect::Ensemble::loaded)) and this runtime (SHA-256 in hexadecimal)
    /// pass.
    ///
    /// # Errors
    /// [`PolicyError::Locked`]: another model, manifest or runtime than the owner named, or one that is untested.
    pub fn admit_detector<'a>(
        &self,
        models: impl IntoIterator<Item = &'a LoadedModel>,
        runtime: Option<&str>,
    ) -> Result<(), PolicyError> {
        for LoadedModel { name, sha256, manifest_sha256, untested } in models {
            let allows = |known: &BTreeMap<String, String>, hash: &str| {
                known.is_empty() || known.get(name).is_some_and(|known| known.eq_ignore_ascii_case(hash))
            };
            if !allows(&self.bound.models, sha256) {
                return Err(locked(format!(
                    "the model {name} with the SHA-256 {sha256} is not one that the owner allowed"
                )));
            }
            if self.bound.models.is_empty() {
                environment::admit_model(name, sha256, std::env::var_os("MILKGLASS_MODELS").as_deref())?;
            }
            if !allows(&self.bound.manifests, manifest_sha256) {
                return Err(locked(format!(
                    "the manifest {name}.toml (canonical SHA-256 {manifest_sha256}) is not the one that the owner allowed: \
                     restore it, or ask the owner for a new lock file"
                )));
            }
            if *untested {
                self.admit_untested(name)?;
            }
        }
        match (&self.bound.runtime, runtime) {
            (Some(known), Some(hash)) if known.eq_ignore_ascii_case(hash) => Ok(()),
            (Some(_), found) => Err(locked(format!(
                "the inference runtime ({}) is not the one that the owner allowed",
                found.unwrap_or("a built-in one")
            ))),
            (None, _) => Ok(()),
        }
    }
}

impl Lock {
    /// Lets a detector pass that no known person could be shown to, or none as small as the presets promise: a model by its
    /// name, a program's own as [`Lock::OWN_DETECTOR`]. Locks of version 1 said nothing of it, and let it pass.
    ///
    /// # Errors
    /// [`PolicyError::Locked`]: the owner did not name it.
    pub fn admit_untested(&self, name: &str) -> Result<(), PolicyError> {
        if self.version < 2 || self.bound.untested.contains(name) {
            return Ok(());
        }
        Err(locked(format!(
            "{name} is untested: it could not be shown the known persons; use one that can, or ask the owner for a lock file \
             that allows it by name (--allow-untested {name})"
        )))
    }
}

/// Remembers on the device whose locks it takes, the newest that it has seen, and the strongest policy that was in force
/// under it: a ratchet. What anybody has strengthened, only the owner's next lock can loosen.
#[derive(Debug)]
pub struct RollbackGuard {
    file: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Anchored {
    owner: String,
    serial: u64,
    hash: String,
    policy: String,
}

impl RollbackGuard {
    /// In this folder, which only the device's own programs should be able to write.
    pub fn new(folder: &Path) -> RollbackGuard {
        RollbackGuard { file: folder.join("owner.toml") }
    }

    /// Whether a lock was ever admitted here: from then on nothing runs without one. What cannot be found out counts as yes.
    pub fn is_set(&self) -> bool {
        self.file.try_exists().unwrap_or(true)
    }

    /// Admits a lock of the same owner as before, no older than the newest so far, and a policy that protects at least as
    /// much as it, and as whatever was in force under it, in pictures of `format`. All of it is remembered, in a way that
    /// survives a power cut, before this returns. The first lock sets the owner.
    ///
    /// # Errors
    /// [`PolicyError::Locked`]: another owner, an older file, a weaker policy, or the memory cannot be read or written.
    pub fn admit(&self, lock: &Lock, policy: &PolicyFile, format: &FrameFormat) -> Result<(), PolicyError> {
        let Some(news) = self.news(lock, policy, format)? else { return Ok(()) };
        let text = toml::to_string(&news).map_err(|e| locked(e.to_string()))?;
        self.store(&text).map_err(|e| locked(format!("{} cannot be written: {e}", self.shown())))
    }

    /// Whether [`RollbackGuard::admit`] would; nothing is remembered. For a policy that something else may still refuse: what never
    /// was in force must not be what nobody can go back from.
    ///
    /// # Errors
    /// As [`RollbackGuard::admit`], but for writing.
    pub fn check(&self, lock: &Lock, policy: &PolicyFile, format: &FrameFormat) -> Result<(), PolicyError> {
        self.news(lock, policy, format).map(|_| ())
    }

    /// What is to be remembered, if it is not yet.
    fn news(
        &self,
        lock: &Lock,
        policy: &PolicyFile,
        format: &FrameFormat,
    ) -> Result<Option<Anchored>, PolicyError> {
        lock.admit(policy, format)?;
        let now = Anchored {
            owner: lock.owner.to_string(),
            serial: lock.bound.serial,
            hash: lock.hash.clone(),
            policy: policy.to_toml(),
        };
        let Some(known) = self.known()? else { return Ok(Some(now)) };
        if known.owner != now.owner {
            return Err(locked("the lock file is signed by somebody who is not this device's owner"));
        }
        if now.serial < known.serial {
            return Err(locked(format!(
                "the lock file's number is {}, and number {} was in force: an older one is refused",
                now.serial, known.serial
            )));
        }
        if now.serial == known.serial {
            if known.hash != now.hash {
                return Err(locked(format!(
                    "another lock file with the number {} was in force; sign it with a larger one",
                    known.serial
                )));
            }
            at_least(policy, &PolicyFile::parse(&known.policy, &self.shown())?, format)?;
            if known.policy == now.policy {
                return Ok(None);
            }
        }
        Ok(Some(now))
    }

    fn known(&self) -> Result<Option<Anchored>, PolicyError> {
        if !self.is_set() {
            return Ok(None);
        }
        let text =
            read_text(&self.file).map_err(|e| locked(format!("{} cannot be read: {e}", self.shown())))?;
        match toml::from_str(&text) {
            Ok(known) => Ok(Some(known)),
            Err(_) => Err(locked(format!("{} is damaged", self.shown()))),
        }
    }

    fn shown(&self) -> String {
        self.file.display().to_string().replace(char::is_control, "?")
    }

    fn store(&self, text: &str) -> std::io::Result<()> {
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new(".")))?;
        files::replace(&self.file, text.as_bytes()).map(drop)
    }
}

/// What is signed. Lengths and one line per entry make it unambiguous.
fn message(version: u32, policy: &str, bound: &Bound) -> Result<Vec<u8>, PolicyError> {
    let is_hash = |s: &str| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit());
    let mut text = format!("{PURPOSE}{version}\nserial {}\n", bound.serial);
    let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
    let models = bound.models.iter().map(|(name, hash)| ("model", name, hash));
    let manifests = bound.manifests.iter().map(|(name, hash)| ("manifest", name, hash));
    for (what, name, hash) in models.chain(manifests) {
        if !is_name(name) || !is_hash(hash) {
            return Err(locked(format!(
                "a {what} needs a name without spaces and a SHA-256 of 64 hexadecimal digits"
            )));
        }
        text += &format!("{what} {name} {}\n", hash.to_ascii_lowercase());
    }
    for name in &bound.untested {
        if !is_name(name) {
            return Err(locked("what may be untested needs a name without spaces"));
        }
        text += &format!("untested {name}\n");
    }
    if version < 2 && !(bound.manifests.is_empty() && bound.untested.is_empty()) {
        return Err(locked("a lock of version 1 binds no manifests and allows nothing untested"));
    }
    if let Some(hash) = &bound.runtime {
        if !is_hash(hash) {
            return Err(locked("the runtime's SHA-256 has 64 hexadecimal digits"));
        }
        text += &format!("runtime {}\n", hash.to_ascii_lowercase());
    }
    text += &format!("policy {}\n{policy}", policy.len());
    Ok(text.into_bytes())
}

/// The picture in which zones are compared besides the one at hand, so that what passes in a small one passes in no larger one
/// alone: the same policy is let pass wherever the lock is.
const COMPARED: (u32, u32) = (3840, 2160);

impl Lock {
    /// A large picture, in which policies are compared before the real one is known.
    pub(crate) fn compared() -> Result<FrameFormat, PolicyError> {
        FrameFormat::new(PixelFormat::Nv12, COMPARED.0, COMPARED.1)
            .map_err(|e| locked(format!("zones cannot be compared: {e}")))
    }
}

fn at_least(policy: &PolicyFile, base: &PolicyFile, format: &FrameFormat) -> Result<(), PolicyError> {
    let mut weaker = policy.weakenings_but_of_stills(base, format)?;
    if weaker.is_empty() && format.size() != COMPARED {
        let large = Lock::compared()?;
        weaker = policy.weakenings_but_of_stills(base, &large.with_orientation(format.orientation()))?;
    }
    if weaker.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = weaker.iter().map(ToString::to_string).collect();
    Err(locked(format!("{}; strengthen it, or ask the owner for a new lock file", list.join("; "))))
}

fn locked(what: impl Into<String>) -> PolicyError {
    PolicyError::Locked(what.into())
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(2 * PolicyFile::MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
