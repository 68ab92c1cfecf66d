//! Open files that children inherit, since they have no name that could be told them.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::fchown;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Gid, Uid, getegid, geteuid};

/// Who runs our children when we are root.
pub(crate) const NOBODY: u32 = 65_534;

static HANDED: Mutex<Vec<(RawFd, Weak<File>)>> = Mutex::new(Vec::new());
/// Held while a child is started: no other one is born while descriptors are open to it.
static STARTING: Mutex<()> = Mutex::new(());

/// Where a process finds its own open file.
pub(crate) fn descriptor(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// From here on a child whose arguments name the path that is returned inherits the file, and no other does.
pub(crate) fn hand_over(file: &Arc<File>) -> PathBuf {
    let mut handed = HANDED.lock().unwrap_or_else(PoisonError::into_inner);
    handed.retain(|(_, file)| file.strong_count() > 0);
    handed.push((file.as_raw_fd(), Arc::downgrade(file)));
    descriptor(file)
}

/// Runs `start` while the files that the command names are open to the child.
pub(super) fn with_files_of<T>(command: &mut Command, start: impl FnOnce(&mut Command) -> T) -> T {
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let files = named_by(command);
    // A descriptor that stays closed is missed by the child, which says so.
    let open_to_children = |flags: FdFlags| {
        for file in &files {
            let _ = fcntl_setfd(file, flags);
        }
    };
    open_to_children(FdFlags::empty());
    let started = start(command);
    open_to_children(FdFlags::CLOEXEC);
    started
}

fn named_by(command: &Command) -> Vec<Arc<File>> {
    let handed = HANDED.lock().unwrap_or_else(PoisonError::into_inner);
    let named = |number: RawFd| {
        let path = format!("/proc/self/fd/{number}");
        let mut words = command.get_args().filter_map(|word| word.to_str());
        words
            .any(|word| word.strip_suffix(&path).is_some_and(|before| before.is_empty() || before == "file:"))
    };
    handed.iter().filter(|(number, _)| named(*number)).filter_map(|(_, file)| file.upgrade()).collect()
}

/// Our children are not root when we are, and must be able to open what they are handed.
pub(crate) fn lend(file: &File) {
    give(file, NOBODY, NOBODY);
}

/// The reverse of [`lend`].
pub(crate) fn take_back(file: &File) {
    give(file, geteuid().as_raw(), getegid().as_raw());
}

/// Where a file system knows no owners, a child is given what it needs by `privileges.rs`.
fn give(file: &File, user: u32, group: u32) {
    if geteuid().is_root()
        && let Err(error) = fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
    {
        log::debug!("a file keeps its owner: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_child_that_names_a_file_has_it_and_others_have_not() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let path = hand_over(&file);
        let start = |word: &std::path::Path| {
            let mut command = Command::new("test");
            command.arg("-e").arg(word).stdout(Stdio::null());
            super::super::start(&mut command).unwrap().wait().unwrap().success()
        };
        assert!(start(&path));
        let mut other = Command::new("sh");
        other.args(["-c", &format!("test ! -e {}", path.display())]);
        assert!(super::super::start(&mut other).unwrap().wait().unwrap().success());
    }
}
