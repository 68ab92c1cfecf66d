//! The runtime's file: found, copied into memory that nobody can change any more, and hashed there. What is loaded from that
//! memory is what was hashed, whatever happens to the file meanwhile.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use milkglass_common::hex;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::error::{ModelError, ModelKind, Result};

/// A library larger than this is none.
const MOST_BYTES: u64 = 1 << 30;

/// A copy of a library in memory that can neither be written nor resized, by anybody.
pub(super) struct Sealed {
    memory: OwnedFd,
    /// SHA-256 of what the memory holds, in hexadecimal.
    pub sha256: String,
}

impl Sealed {
    pub fn copy(path: &Path) -> io::Result<Sealed> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if !about.is_file() || about.len() > MOST_BYTES {
            return Err(io::Error::other("it is no ordinary file of at most 1 GiB"));
        }
        let mut memory = File::from(executable()?);
        io::copy(&mut file.take(MOST_BYTES), &mut memory)?;
        fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // Only now: before, another program of this user could have written to it.
        let mut hash = Sha256::new();
        memory.rewind()?;
        io::copy(&mut memory, &mut hash)?;
        Ok(Sealed { memory: memory.into(), sha256: hex(hash.finalize()) })
    }

    /// By what name the loader finds it, for as long as this lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.memory.as_raw_fd()).into()
    }
}

/// Memory that may be executed. Before Linux 6.3 nobody had to ask.
fn executable() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match memfd_create("onnxruntime", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create("onnxruntime", flags),
        made => made,
    };
    Ok(made?)
}

/// `ORT_DYLIB_PATH`; beside the executable, in `../lib`, and in the build's `onnxruntime` folder; the system's folders.
pub(super) fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()) {
        let path = PathBuf::from(path);
        return std::fs::canonicalize(&path).map_err(|e| {
            missing(format!("ORT_DYLIB_PATH names {}: {e}", path.display())).caused_by(e).into()
        });
    }
    let exe = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    let beside = exe.as_deref().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
    // target/release/milkglass and target/debug/deps/test-binary both find target/onnxruntime.
    let mut dirs: Vec<PathBuf> =
        [".", "../lib", "../onnxruntime", "../../onnxruntime"].iter().map(|d| beside.join(d)).collect();
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    dirs.extend([
        "/usr/local/lib".into(),
        PathBuf::from("/usr/lib").join(triple),
        "/usr/lib".into(),
        "/usr/lib64".into(),
    ]);
    for dir in dirs {
        for name in ["libonnxruntime.so.1", "libonnxruntime.so"] {
            if let Ok(path) = std::fs::canonicalize(dir.join(name)) {
                return Ok(path);
            }
        }
    }
    let why =
        "no libonnxruntime.so.1 was found; models/fetch-onnxruntime.sh fetches it, or set ORT_DYLIB_PATH";
    Err(missing(why.into()).into())
}

fn missing(why: String) -> ModelError {
    ModelError::new(ModelKind::Runtime, why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_copy_is_what_was_hashed_whatever_becomes_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lib.so");
        std::fs::write(&path, b"the one that was hashed").unwrap();
        let copy = Sealed::copy(&path).unwrap();
        assert_eq!(copy.sha256, hex(Sha256::digest(b"the one that was hashed")));
        std::fs::write(&path, b"another").unwrap();
        std::fs::rename(&path, dir.path().join("away")).unwrap();
        assert_eq!(std::fs::read(copy.path()).unwrap(), b"the one that was hashed");
        // Not even by opening it anew, as root or as the same user.
        let anew = File::options().write(true).open(copy.path());
        assert!(anew.and_then(|mut file| file.write_all(b"x")).is_err());
        assert!(File::options().write(true).truncate(true).open(copy.path()).is_err());
    }

    #[test]
    fn what_is_no_file_is_no_library() {
        for path in ["/dev/zero", "/proc", "/nowhere"] {
            assert!(Sealed::copy(Path::new(path)).is_err(), "{path}");
        }
    }
}
