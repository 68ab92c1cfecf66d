//! Files while they are written. They have no name until they are complete, where the file system can do that
//! (`O_TMPFILE`): whatever ends this program, be it `kill -9`, leaves nothing behind. Elsewhere they have a hidden name and a
//! lock, and the next start removes what nobody holds any more.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat, openat};
use tempfile::{NamedTempFile, TempPath};

use crate::outcome::Failure;
use crate::sandbox;

/// How hidden names begin.
const PREFIX: &str = ".milkglass-";

/// A result that is being written: gone when dropped, and under its name when kept.
pub struct Partial {
    file: Arc<File>,
    /// How this program and its children open it.
    path: PathBuf,
    /// Its hidden name, where the file system knows no files without one.
    name: Option<TempPath>,
    target: PathBuf,
    overwrite: bool,
}

impl Partial {
    /// Creates it, and the target's folder if need be.
    pub fn create(target: &Path, overwrite: bool) -> Result<Partial, Failure> {
        let wrong = |why: String| Failure::new(format!("cannot be written: {why}")).about(target);
        refuse_existing(target, overwrite)?;
        let dir = folder(target);
        std::fs::create_dir_all(dir).map_err(|e| wrong(format!("its folder cannot be made: {e}")))?;
        remove_abandoned(dir);
        let unwritable =
            |e: io::Error| wrong(format!("{}; is the folder writable and the disk not full?", plain(&e)));
        let (file, name) = match nameless(dir, OFlags::empty(), 0o666) {
            Some(file) => (file, None),
            None => named(dir, target).map(|(file, name)| (file, Some(name))).map_err(unwritable)?,
        };
        sandbox::lend(&file);
        let file = Arc::new(file);
        let path = name.as_deref().map_or_else(|| sandbox::hand_over(&file), Path::to_owned);
        Ok(Partial { file, path, name, target: target.to_path_buf(), overwrite })
    }

    /// How it can be opened now, by this program and by a child that is told this very path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To write into.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it the target's name.
    pub fn keep(self) -> Result<(), Failure> {
        let Partial { file, path, name, target, overwrite } = self;
        sandbox::take_back(&file);
        let kept = match name {
            Some(name) if overwrite => name.persist(&target).map_err(|e| e.error),
            Some(name) => name.persist_noclobber(&target).map_err(|e| e.error),
            None => give_name(&path, &target, overwrite),
        };
        drop(file);
        kept.map_err(|e| Failure::new(format!("cannot be written: {e}")).about(&target))
    }
}

/// `None` where the file system cannot do it, or where there is no `/proc` to open or name it by.
fn nameless(dir: &Path, more: OFlags, mode: u32) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | more;
    let file = openat(CWD, dir, flags, Mode::from_raw_mode(mode)).ok().map(File::from)?;
    let reachable = sandbox::descriptor(&file).metadata().is_ok_and(|found| {
        file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
    });
    reachable.then_some(file)
}

/// A file with a hidden name, and with a lock for as long as this program uses it.
fn named(dir: &Path, target: &Path) -> io::Result<(File, TempPath)> {
    // Some programs tell the kind of a file by its extension.
    let extension = target.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    loop {
        let made = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(&format!(".partial{extension}"))
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir)?;
        let (file, name) = made.into_parts();
        // A file system without locks cannot say that nobody uses it any more: there it is not removed by others either.
        let _ = flock(&file, FlockOperation::LockExclusive);
        // Another start of ours may have found it before it was locked.
        if file.metadata()?.nlink() > 0 {
            return Ok((file, name));
        }
    }
}

/// A link to the file itself; one that replaces another file gets there by a hidden name, since links do not replace.
fn give_name(path: &Path, target: &Path, overwrite: bool) -> io::Result<()> {
    let link = |to: &Path| linkat(CWD, path, CWD, to, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from);
    match link(target) {
        Err(error) if overwrite && error.kind() == io::ErrorKind::AlreadyExists => {
            let hidden: NamedTempFile<()> =
                tempfile::Builder::new().prefix(PREFIX).suffix(".partial").make_in(folder(target), link)?;
            hidden.persist(target).map_err(|e| e.error)
        }
        linked => linked,
    }
}

/// Removes what an earlier start had to leave in this folder: files of this user with our hidden names that no process has
/// locked. Once for each folder.
fn remove_abandoned(dir: &Path) {
    static DONE: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !done.get_or_insert_default().insert(dir.to_path_buf()) {
        return;
    }
    drop(done);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && (name.contains(".partial") || name.ends_with(".sound")) {
            remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(path: &Path) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(CWD, path, flags, Mode::empty()).map(File::from) else { return };
    let ours = |m: std::fs::Metadata| m.is_file() && m.uid() == rustix::process::geteuid().as_raw();
    let abandoned =
        file.metadata().is_ok_and(ours) && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    if abandoned && std::fs::remove_file(path).is_ok() {
        log::info!("{}: left by a run that was killed, and removed", path.display());
    }
}

fn folder(target: &Path) -> &Path {
    target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The system's reason without the partial file's name, which means nothing to anybody.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or_default().to_owned()
}

/// A target that exists is kept, unless the user said otherwise.
pub fn refuse_existing(target: &Path, overwrite: bool) -> Result<(), Failure> {
    if !overwrite && std::fs::symlink_metadata(target).is_ok() {
        return Err(
            Failure::new("exists already; use --overwrite to replace it, or another -o").about(target)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_result_has_no_name_before_it_is_complete_and_replaces_only_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.mp4");
        let write = |text: &str, overwrite| {
            let partial = Partial::create(&target, overwrite).unwrap();
            // By its path, as a child does.
            std::fs::write(partial.path(), text).unwrap();
            (names(dir.path()), partial)
        };
        let (seen, partial) = write("one", false);
        assert!(seen.is_empty(), "{seen:?}");
        partial.keep().unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "one");
        assert!(Partial::create(&target, false).is_err());
        drop(write("lost", true));
        write("two", true).1.keep().unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "two");
        assert_eq!(names(dir.path()), ["out.mp4"]);

        // Somebody else takes the name meanwhile.
        let other = dir.path().join("other.mp4");
        let partial = Partial::create(&other, false).unwrap();
        std::fs::write(&other, "theirs").unwrap();
        assert!(partial.keep().is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "theirs");
        assert_eq!(names(dir.path()), ["other.mp4", "out.mp4"]);
    }

    #[test]
    fn what_nobody_holds_is_removed_and_what_somebody_holds_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (held, held_name) = named(dir.path(), Path::new("x.mp4")).unwrap();
        for left in [".milkglass-aaaaaa.partial.mp4", ".milkglass-bbbbbb.sound", "mine.partial.mp4"] {
            std::fs::write(at(left), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("mine.partial.mp4"), at(".milkglass-cccccc.partial.mp4")).unwrap();
        remove_abandoned(dir.path());
        let held_as = held_name.file_name().unwrap().to_str().unwrap();
        let mut expected = vec![held_as, ".milkglass-cccccc.partial.mp4", "mine.partial.mp4"];
        expected.sort_unstable();
        assert_eq!(names(dir.path()), expected);
        drop(held);
        remove_if_abandoned(&held_name);
        assert!(!held_name.exists());
    }

    #[test]
    fn a_named_result_is_kept_too() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.png");
        let (mut file, name) = named(dir.path(), &target).unwrap();
        file.write_all(b"x").unwrap();
        assert!(name.extension().unwrap() == "png");
        let partial = Partial {
            file: Arc::new(file),
            path: name.to_path_buf(),
            name: Some(name),
            target: target.clone(),
            overwrite: false,
        };
        partial.keep().unwrap();
        assert_eq!(names(dir.path()), ["out.png"]);
    }
}
