//! What the environment of a program decides, under a lock: refused, or bound by a hash.
//!
//! Whoever sets the environment of a device's program is not its owner. What only says where something lies that the lock knows
//! by its hash does no harm. What makes other code run, or the runtime compute otherwise, is refused.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::{Lock, PolicyError};

/// Variables by which the system's loader runs other code, or writes files.
const LOADER: [&str; 7] = [
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_PROFILE",
    "LD_DEBUG_OUTPUT",
    "LD_DYNAMIC_WEAK",
    "LD_ORIGIN_PATH",
    "OMP_TOOL_LIBRARIES",
];
/// The libraries that ONNX Runtime and this program need from the system, but for their versions.
const NEEDED: [&str; 12] = [
    "libstdc++.so",
    "libc++.so",
    "libc++abi.so",
    "libgcc_s.so",
    "libunwind.so",
    "libatomic.so",
    "libgomp.so",
    "libm.so",
    "libc.so",
    "libdl.so",
    "libpthread.so",
    "librt.so",
];
/// The models that come with this version, as models/*.toml say.
const MODELS: [&str; 3] = [
    "93639c40d0303609e0713c7d09c7be9a612523da6d8f0a377e561268f160931f",
    "d7dc63606178f3d6c095a2e4f04d6c07a372f74908f071de8e66e33afc0e456f",
    "32629a72b379db9220b2ec564de8f56ff99061d70a82ca69d39d2244c9e77791",
];
/// Below a folder for libraries, folders for certain processors, which the loader prefers.
const HARDWARE: [&str; 2] = ["glibc-hwcaps", "tls"];

impl Lock {
    /// Lets the environment of this process pass. Refused are `LD_PRELOAD` and its kin, which run other code in this process; an
    /// `LD_LIBRARY_PATH` with a folder that holds one of the libraries that ONNX Runtime takes from the system; and what ONNX
    /// Runtime itself reads (`ORT_*`, but for `ORT_DYLIB_PATH`, which is bound by the runtime's hash). Empty ones do not count.
    ///
    /// What `LD_PRELOAD` names has run by then, and may have hidden itself: this tells a mistake, and stops nobody who owns the
    /// process.
    ///
    /// # Errors
    /// [`PolicyError::Locked`] that names the variable.
    pub fn admit_environment() -> Result<(), PolicyError> {
        admit(std::env::vars_os())
    }
}

/// Lets a model pass that a lock does not name: where the environment says where models lie, those that come with this version.
pub(super) fn admit_model(name: &str, sha256: &str, folder: Option<&OsStr>) -> Result<(), PolicyError> {
    let named = folder.is_some_and(|folder| !folder.is_empty());
    if !named || MODELS.iter().any(|known| known.eq_ignore_ascii_case(sha256)) {
        return Ok(());
    }
    Err(PolicyError::Locked(format!(
        "the model {name} with the SHA-256 {sha256} comes from MILKGLASS_MODELS, and the locked policy names no models: clear \
         the variable, or ask the owner for a lock that names it (`milkglass policy lock --bind-models`)"
    )))
}

fn admit(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<(), PolicyError> {
    for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
        let Some(name) = name.to_str() else { continue };
        let why = match name {
            _ if LOADER.contains(&name) => "it can make other code run in this program",
            "LD_LIBRARY_PATH" if takes_the_place(&value) => {
                "it names a folder with a library that would take the place of the system's"
            }
            "ORT_DYLIB_PATH" => continue,
            _ if name.starts_with("ORT_") => "ONNX Runtime reads it",
            _ => continue,
        };
        return Err(PolicyError::Locked(format!("{name} is set, and {why}: clear it, the policy is locked")));
    }
    Ok(())
}

/// Whether a folder of the list holds a library that would otherwise be the system's. What cannot be looked at does not count:
/// the loader cannot either.
fn takes_the_place(folders: &OsStr) -> bool {
    let needed = |name: OsString| {
        let name = name.to_string_lossy().into_owned();
        HARDWARE.contains(&&*name)
            || name.starts_with("ld-linux")
            || NEEDED
                .iter()
                .any(|needed| name.strip_prefix(needed).is_some_and(|r| r.is_empty() || r.starts_with('.')))
    };
    let holds = |folder: &Path| {
        std::fs::read_dir(folder)
            .is_ok_and(|entries| entries.flatten().any(|entry| needed(entry.file_name())))
    };
    // An empty entry is the folder that the program was started in; a semicolon separates as well.
    folders
        .to_string_lossy()
        .split([':', ';'])
        .any(|folder| holds(Path::new(if folder.is_empty() { "." } else { folder })))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &Path) -> Option<String> {
        admit([(name.into(), value.into())].into_iter()).err().map(|e| e.to_string())
    }

    #[test]
    fn variables_that_run_other_code_are_refused_by_name_and_others_are_not() {
        let x = Path::new("/x");
        for name in [
            "LD_PRELOAD",
            "LD_AUDIT",
            "LD_PROFILE",
            "ORT_LOAD_CONFIG_FROM_MODEL",
            "ORT_X",
            "OMP_TOOL_LIBRARIES",
        ] {
            assert!(refused(name, x).unwrap().contains(name), "{name}");
            assert_eq!(refused(name, Path::new("")), None, "{name} is empty");
        }
        for name in [
            "PATH",
            "ORT_DYLIB_PATH",
            "MILKGLASS_KERNELS",
            "MILKGLASS_MODELS",
            "OMP_NUM_THREADS",
            "LD_LIBRARY_PATH",
        ] {
            assert_eq!(refused(name, x), None, "{name}");
        }
    }

    #[test]
    fn models_from_a_folder_that_the_environment_names_are_those_that_come_along() {
        let folder = Some(OsStr::new("/x"));
        for name in ["yunet", "centerface", "yolox-nano"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.toml"));
            let text = std::fs::read_to_string(path).unwrap();
            let hash =
                text.lines().find_map(|line| line.strip_prefix("sha256 = ")).unwrap().trim_matches('"');
            admit_model(name, hash, folder).unwrap();
        }
        let other = "ab".repeat(32);
        assert!(admit_model("yunet", &other, folder).unwrap_err().to_string().contains("MILKGLASS_MODELS"));
        for unnamed in [None, Some(OsStr::new(""))] {
            admit_model("yunet", &other, unnamed).unwrap();
        }
    }

    #[test]
    fn a_folder_of_libraries_is_refused_for_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, full) = (dir.path().join("empty"), dir.path().join("full"));
        std::fs::create_dir(&empty).unwrap();
        std::fs::write(dir.path().join("libstdc++-notes.txt"), "").unwrap();
        for name in [
            "libstdc++.so.6",
            "libgcc_s.so.1",
            "libm.so.6",
            "ld-linux-x86-64.so.2",
            "glibc-hwcaps",
            "libc.so",
        ] {
            std::fs::create_dir(&full).unwrap();
            std::fs::write(full.join(name), "").unwrap();
            for list in [full.clone(), format!("{}:{}", empty.display(), full.display()).into()] {
                assert!(refused("LD_LIBRARY_PATH", &list).unwrap().contains("LD_LIBRARY_PATH"), "{name}");
            }
            std::fs::remove_dir_all(&full).unwrap();
        }
        for folder in [&empty, &full, dir.path()] {
            assert_eq!(refused("LD_LIBRARY_PATH", folder), None, "{}", folder.display());
        }
    }
}
