//! What was done, as JSON: counts and hashes. No coordinates, no counts of people, no device or host name.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use milkglass::detect::LoadedModel;
use milkglass::opening::Loaded;
use milkglass::{Media, Opening};
use milkglass_common::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::inputs::is_dash;
use crate::outcome::Failure;

/// The whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this program.
    pub milkglass: &'static str,
    /// `fast`, `balanced` or `careful`; of the clips, if there are any, else of the stills. Each file tells its own.
    pub preset: &'static str,
    /// SHA-256 of the policy in its canonical form (docs/POLICY.md).
    pub policy_sha256: String,
    /// `ort` or `rten`.
    pub backend: String,
    /// SHA-256 of the runtime's library, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_sha256: Option<String>,
    /// The models in use.
    pub models: Vec<ModelReport>,
    /// Those of them that nobody as small as the presets promise could be shown to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untested: Vec<String>,
    /// One entry per file.
    pub files: Vec<FileReport>,
}

/// A model in use.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ModelReport {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// SHA-256 of its manifest, in the canonical form of models/README.md.
    pub manifest_sha256: String,
}

impl From<LoadedModel> for ModelReport {
    fn from(LoadedModel { name, sha256, manifest_sha256, .. }: LoadedModel) -> Self {
        ModelReport { name, sha256, manifest_sha256 }
    }
}

/// What happened to one file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FileReport {
    /// As given or found.
    pub input: String,
    /// Where the result is; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How carefully this file was looked at.
    pub preset: &'static str,
    /// SHA-256 of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_sha256: Option<String>,
    /// SHA-256 of the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_sha256: Option<String>,
    /// Frames (pictures) read.
    pub frames_in: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Of these, redacted with everything that was found.
    pub covered: u64,
    /// Of these, obscured whole.
    pub obscured: u64,
    /// Something to hide was found, or a zone was hidden.
    pub found: bool,
    /// The input says that parts of it may be transparent: they are filled with black.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transparent: bool,
    /// What became of a clip's sound: `dropped` or `encoded anew`; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<&'static str>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Why there is no result, or an incomplete one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Input and output themselves: their names above may have lost bytes that are no UTF-8.
    #[serde(skip)]
    pub paths: (PathBuf, PathBuf),
}

impl Report {
    /// Of a run with these settings.
    pub fn new(opening: &Opening, loaded: Loaded, files: Vec<FileReport>) -> Report {
        let (clips, stills) = (opening.look(Media::Live).preset, opening.look(Media::Still).preset);
        let clip = files.iter().find(|f| f.preset == clips.as_str());
        let untested = loaded.models.iter().filter(|model| model.untested);
        Report {
            milkglass: env!("CARGO_PKG_VERSION"),
            preset: clip.map_or(stills, |_| clips).as_str(),
            policy_sha256: opening.sha256(&loaded),
            untested: untested.map(|model| model.name.clone()).collect(),
            backend: loaded.runtime,
            runtime_sha256: loaded.library,
            models: loaded.models.into_iter().map(ModelReport::from).collect(),
            files,
        }
    }

    /// Writes it as one JSON document.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Failure::new(e.to_string()))?;
        std::fs::write(path, text + "\n")
            .map_err(|e| Failure::new(format!("the report cannot be written: {e}")).about(path))
    }
}

/// SHA-256 of a file; `None` when it cannot be read, and for `-`.
pub fn file_hash(path: &Path) -> Option<String> {
    if is_dash(path) {
        return None;
    }
    let mut file = std::fs::File::open(path).ok()?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hex(hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}
