//! Privacy mode, remembered across restarts and power cuts: a file that exists while it is on.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use milkglass_common::files::sync_names;
use rustix::fs::{FlockOperation, flock};

use crate::args::LiveArgs;
use crate::outcome::Failure;

/// Where privacy mode is remembered.
#[derive(Debug)]
pub struct Remembered {
    folder: PathBuf,
    /// What the camera is called: as it was given, and what that leads to now. Nodes are numbered anew at every start of
    /// the system, so either name alone would be forgotten.
    names: Vec<String>,
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
        Self::of(folder, &args.from)
    }

    fn of(folder: PathBuf, device: &Path) -> Result<Remembered, Failure> {
        let leads_to = fs::canonicalize(device).unwrap_or_else(|_| device.to_owned());
        let mut names = vec![name(&leads_to), name(device)];
        names.dedup();
        Self::at(folder, names)
    }

    fn at(folder: PathBuf, names: Vec<String>) -> Result<Remembered, Failure> {
        let refuse = |e: io::Error| {
            Failure::new(format!(
                "privacy mode cannot be remembered in {}: {e}; name another folder with --state-dir",
                folder.display()
            ))
        };
        fs::create_dir_all(&folder).map_err(refuse)?;
        // By what it leads to: two names are one camera.
        let lock = File::create(folder.join(format!("{}.lock", names[0]))).map_err(refuse)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Failure::new(format!(
                "another milkglass runs with this camera and {}; give each its own --state-dir",
                folder.display()
            ))
        })?;
        Ok(Remembered { folder, names, _lock: lock })
    }

    /// The folder, in which the device remembers more than this.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it was on at the end of the last run. What cannot be found out counts as on.
    pub fn is_on(&self) -> bool {
        self.names.iter().any(|name| self.folder.join(name).try_exists().unwrap_or(true))
    }

    /// Stores it; returns when it would survive a power cut.
    pub fn store(&self, on: bool) -> Result<(), Failure> {
        let all = self.all_names().join("\n");
        let stored = match on {
            true => self.names.iter().try_for_each(|name| {
                // Not by way of a second file: on a full disk even an empty one counts as on.
                let mut file = File::create(self.folder.join(name))?;
                // So that they are forgotten together, also when one of them leads elsewhere by then.
                file.write_all(all.as_bytes())?;
                file.sync_all()
            }),
            false => {
                self.all_names().iter().try_for_each(|name| match fs::remove_file(self.folder.join(name)) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                })
            }
        };
        stored.and_then(|()| sync_names(&self.folder)).map_err(|e| {
            let state = if on { "on, but would be forgotten by a restart" } else { "still on" };
            Failure::new(format!(
                "privacy mode is {state}: {}: {e}",
                self.folder.join(&self.names[0]).display()
            ))
        })
    }

    /// The camera's names, and those that its link led to before: what another camera has stored there since is not ours to
    /// forget. A node alone tells nothing of others, since it may be another camera's by now.
    fn all_names(&self) -> Vec<String> {
        let mut all = self.names.clone();
        if let [_, link] = &self.names[..] {
            let before = self.stored(link).into_iter().filter(|name| !self.names.contains(name));
            all.extend(before.filter(|name| self.stored(name).contains(link)));
        }
        all
    }

    /// What is stored under a name: those that it was stored with.
    fn stored(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        // What nobody but us writes there is a name, and no path.
        text.lines().filter(|line| is_name(line)).map(str::to_owned).collect()
    }
}

/// The name of a file for this camera.
fn name(device: &Path) -> String {
    let device = device.to_string_lossy();
    let plain: String = device.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("privacy{}{plain}", if plain.starts_with('-') { "" } else { "-" })
}

fn is_name(text: &str) -> bool {
    text.starts_with("privacy-") && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
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
        let open = || Remembered::of(folder.path().join("deep/er"), Path::new("cam")).unwrap();
        assert!(!open().is_on());
        for on in [true, true, false, false, true] {
            open().store(on).unwrap();
            assert_eq!(open().is_on(), on);
        }
    }

    #[test]
    fn a_camera_that_is_numbered_anew_stays_private_and_is_forgotten_under_all_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let link = |to: &str| {
            let _ = fs::remove_file(path("by-id"));
            fs::write(path(to), "").unwrap();
            std::os::unix::fs::symlink(path(to), path("by-id")).unwrap();
        };
        let open = |device: &str| Remembered::of(path("state"), &path(device)).unwrap();
        link("video0");
        open("by-id").store(true).unwrap();
        assert!(open("video0").is_on());
        link("video2");
        assert!(open("by-id").is_on(), "it leads to another node now");
        // Asked for once more.
        open("by-id").store(true).unwrap();
        link("video4");
        open("by-id").store(false).unwrap();
        for device in ["by-id", "video0", "video2", "video4"] {
            assert!(!open(device).is_on(), "{device}");
        }
    }

    #[test]
    fn a_camera_that_takes_the_number_of_another_forgets_nothing_for_that_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let link = |from: &str, to: &str| {
            let _ = fs::remove_file(path(from));
            fs::write(path(to), "").unwrap();
            std::os::unix::fs::symlink(path(to), path(from)).unwrap();
        };
        let open = |device: &str| Remembered::of(path("state"), &path(device)).unwrap();
        // As it was given, and a link.
        for other in ["other", "video2"] {
            link("one", "video0");
            link("other", "video2");
            open("one").store(true).unwrap();
            open(other).store(true).unwrap();
            link("one", "video2");
            link("other", "video0");
            open("one").store(false).unwrap();
            assert!(!open("one").is_on());
            // Whoever is named by its number alone is another one by now.
            assert_eq!(open(other).is_on(), other == "other");
            open(other).store(false).unwrap();
            assert!(!open(other).is_on());
        }
        link("one", "video0");
        link("other", "video2");
        open("one").store(true).unwrap();
        link("one", "video4");
        open("video0").store(true).unwrap();
        open("one").store(false).unwrap();
        assert!(open("video0").is_on(), "it was turned on for another one");
        open("one").store(true).unwrap();
        open("video0").store(false).unwrap();
        assert!(open("one").is_on(), "it was turned off for another one");
    }

    #[test]
    fn two_programs_do_not_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Remembered::of(folder.path().into(), Path::new("cam"));
        let first = open().unwrap();
        assert!(open().unwrap_err().message.contains("another milkglass"));
        drop(first);
        open().unwrap();
    }

    #[test]
    fn a_folder_that_takes_no_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = Remembered::of(file.path().join("x"), Path::new("cam")).unwrap_err();
        assert!(refused.message.contains("--state-dir"), "{refused}");
    }
}
