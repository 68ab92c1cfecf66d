//! Privacy mode, remembered across restarts and power cuts: a file that exists while it is on.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::args::LiveArgs;
use crate::outcome::Failure;

/// Where privacy mode is remembered.
#[derive(Debug)]
pub struct Remembered {
    folder: PathBuf,
    file: PathBuf,
    /// Locked, so that no second program remembers under the same name.
    _lock: File,
}

impl Remembered {
    /// Finds the folder, makes it if need be, and proves that it can be written: better refused now than forgotten later.
    pub fn open(args: &LiveArgs) -> Result<Remembered, Failure> {
        let folder = match &args.state_dir {
            Some(folder) => folder.clone(),
            None => usual().ok_or_else(|| {
                Failure::new("there is no folder to remember privacy mode in: name one with --state-dir")
            })?,
        };
        // The links below /dev/v4l/ and what they lead to are one camera.
        let device = fs::canonicalize(&args.from).unwrap_or_else(|_| args.from.clone());
        let device = device.to_string_lossy();
        let name: String = device.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        Self::at(folder, &format!("privacy{}", if name.starts_with('-') { name } else { format!("-{name}") }))
    }

    fn at(folder: PathBuf, name: &str) -> Result<Remembered, Failure> {
        let refuse = |e: io::Error| {
            Failure::new(format!(
                "privacy mode cannot be remembered in {}: {e}; name another folder with --state-dir",
                folder.display()
            ))
        };
        fs::create_dir_all(&folder).map_err(refuse)?;
        let lock = File::create(folder.join(format!("{name}.lock"))).map_err(refuse)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Failure::new(format!(
                "another milkglass runs with this camera and {}; give each its own --state-dir",
                folder.display()
            ))
        })?;
        let file = folder.join(name);
        Ok(Remembered { folder, file, _lock: lock })
    }

    /// The folder, in which the device remembers more than this.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it was on at the end of the last run. What cannot be found out counts as on.
    pub fn is_on(&self) -> bool {
        self.file.try_exists().unwrap_or(true)
    }

    /// Stores it; returns when it would survive a power cut.
    pub fn store(&self, on: bool) -> Result<(), Failure> {
        let stored = match on {
            true => File::create(&self.file).and_then(|f| f.sync_all()),
            false => match fs::remove_file(&self.file) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        stored.and_then(|()| sync(&self.folder)).map_err(|e| {
            let state = if on { "on, but would be forgotten by a restart" } else { "still on" };
            Failure::new(format!("privacy mode is {state}: {}: {e}", self.file.display()))
        })
    }
}

/// A new or removed name is safe once its folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn usual() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    // systemd may name several, separated by colons; ours is one.
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|p| p.join("milkglass")))
        .or_else(|| variable("HOME").map(|p| p.join(".local/state/milkglass")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_and_forgotten_as_often_as_one_likes() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Remembered::at(folder.path().join("deep/er"), "privacy-cam").unwrap();
        assert!(!open().is_on());
        for on in [true, true, false, false, true] {
            open().store(on).unwrap();
            assert_eq!(open().is_on(), on);
        }
    }

    #[test]
    fn two_programs_do_not_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Remembered::at(folder.path().into(), "privacy-cam");
        let first = open().unwrap();
        assert!(open().unwrap_err().message.contains("another milkglass"));
        drop(first);
        open().unwrap();
    }

    #[test]
    fn a_folder_that_takes_no_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = Remembered::at(file.path().join("x"), "privacy").unwrap_err();
        assert!(refused.message.contains("--state-dir"), "{refused}");
    }
}
