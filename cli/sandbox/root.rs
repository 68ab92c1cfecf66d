//! A file system of the child's own: the system's programs and libraries, what it was given to read and write, and nothing
//! else, not even the names of other files (Landlock forbids to open them, but not to ask whether they are there).

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, getgid, getuid, pivot_root};
use rustix::thread::UnshareFlags;

use super::files::{DEVICES, MACHINE, NAMES, SYSTEM, own_places};
use super::{Access, Network};

/// Where the new root is built, before it becomes the root.
const BASES: [&str; 9] = ["/mnt", "/srv", "/media", "/tmp", "/run", "/boot", "/home", "/root", "/var"];
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// What the child has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Apart {
    /// A network, where it is to have none.
    pub network: bool,
    /// The file system, shared memory and queues, the host's name.
    pub root: bool,
}

/// Leaves the namespaces of everybody else, as far as the kernel lets us, and builds the private root.
pub(crate) fn set_apart(access: &Access, program: &Path) -> Result<Apart, String> {
    let network = access.network == Network::None;
    let net = if network { UnshareFlags::NEWNET } else { UnshareFlags::empty() };
    let all = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | net;
    // A port that only root may bind is out of reach from a user namespace.
    let privileged = matches!(access.network, Network::Serves(port) if port < 1024);
    let ids = (getuid().as_raw(), getgid().as_raw());
    if leave(all) || (!privileged && leave(all | UnshareFlags::NEWUSER) && mapped(ids)) {
        let root = build(access, program).map_err(|error| format!("a file system of its own: {error}"))?;
        return Ok(Apart { network, root });
    }
    let network = network && (leave(net) || leave(net | UnshareFlags::NEWUSER));
    Ok(Apart { network, root: false })
}

/// Root may do so alone; others need a user namespace for it, which a kernel may forbid.
#[allow(
    deprecated,
    reason = "the safe form; what is unsafe about unshare is FILES, which is not asked for here"
)]
fn leave(namespaces: UnshareFlags) -> bool {
    rustix::thread::unshare(namespaces).is_ok()
}

/// The user and group stay the same ones.
fn mapped((user, group): (u32, u32)) -> bool {
    let write = |file: &str, text: String| fs::write(Path::new("/proc/self").join(file), text).is_ok();
    write("setgroups", "deny".into())
        && write("uid_map", format!("{user} {user} 1"))
        && write("gid_map", format!("{group} {group} 1"))
}

/// One thing of the old root that is there in the new one too.
struct Place {
    /// As it is named.
    at: PathBuf,
    /// As it is, links followed.
    from: PathBuf,
    writable: bool,
}

/// `false` when the kernel, or something above it, does not let us; then nothing has changed.
fn build(access: &Access, program: &Path) -> io::Result<bool> {
    let folder = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let places = places(access, program, &folder);
    // Nothing that is needed may lie below: it is out of sight from here on.
    let free = |base: &&Path| base.is_dir() && !places.iter().any(|place| place.from.starts_with(base));
    let Some(base) = BASES.map(Path::new).into_iter().find(free) else { return Ok(false) };
    let old = base.join("old");
    let filled = || -> io::Result<()> {
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        mount("tmpfs", base, "tmpfs", FLAGS, c"size=1m,mode=755")?;
        places.iter().try_for_each(|place| bind(base, place))?;
        // Relative names go on meaning what they meant.
        fs::create_dir_all(below(base, &folder))?;
        fs::create_dir(&old)?;
        Ok(pivot_root(base, &old)?)
    };
    if filled().is_err() {
        // Not there when it was the very first step that failed.
        let _ = unmount(base, UnmountFlags::DETACH);
        return Ok(false);
    }
    chdir("/")?;
    unmount("/old", UnmountFlags::DETACH)?;
    fs::remove_dir("/old")?;
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY | FLAGS, c"")?;
    chdir(&folder)?;
    Ok(true)
}

/// What the child finds, folders before what lies in them.
fn places(access: &Access, program: &Path, folder: &Path) -> Vec<Place> {
    let fixed = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut read = fixed(&SYSTEM);
    read.extend(fixed(&MACHINE));
    read.extend(own_places(program));
    if access.network == Network::Connects {
        read.extend(fixed(&NAMES));
    }
    read.extend(access.reads.iter().cloned());
    let mut write = access.writes.clone();
    write.push("/dev/null".into());
    if access.devices {
        write.extend(fixed(&DEVICES));
    }
    let process = fs::read_link("/proc/self").unwrap_or_default();
    let read = read.into_iter().map(|path| (path, false));
    let all = read.chain(write.into_iter().map(|path| (path, true)));
    // Files without a name are open already.
    let named = all.filter(|(path, _)| !path.starts_with("/proc/self"));
    let found = named.filter_map(|(path, writable)| {
        Some(Place { from: path.canonicalize().ok()?, at: plain(&folder.join(path)), writable })
    });
    let mut places: Vec<Place> = found.collect();
    let (from, at) = (Path::new("/proc").join(process), "/proc/self".into());
    places.push(Place { from, at, writable: true });
    places.sort_by_key(|place| (place.at.components().count(), place.at.clone(), place.writable));
    let mut kept: Vec<Place> = Vec::new();
    for place in places {
        // What lies in a folder that is there for reading is there already.
        let there = kept.iter().any(|outer| {
            place.at.starts_with(&outer.at)
                && place.from.starts_with(&outer.from)
                && (outer.writable || !place.writable)
        });
        if !there {
            kept.push(place);
        }
    }
    kept
}

/// A name without `.` and `..`: there are no links in the new root that they could follow.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
        plain
    })
}

fn below(base: &Path, path: &Path) -> PathBuf {
    base.join(path.strip_prefix("/").unwrap_or(path))
}

fn bind(base: &Path, place: &Place) -> io::Result<()> {
    let at = &below(base, &place.at);
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    if place.from.is_dir() {
        fs::create_dir_all(at)?;
    } else if !at.exists() {
        fs::File::create(at)?;
    }
    mount_bind_recursive(&place.from, at)?;
    if !place.writable {
        // Flags that were set by whoever mounted it cannot be taken away, and have to be named.
        let had = statvfs(at)?.f_flag;
        let mut flags = MountFlags::BIND | MountFlags::RDONLY;
        for (had_it, flag) in [
            (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
            (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
            (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
            (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        ] {
            if had.contains(had_it) {
                flags |= flag;
            }
        }
        mount_remount(at, flags, c"")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_folder_is_there_with_it_and_what_is_written_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir(dir.join("sub")).unwrap();
        for file in ["a.mp4", "sub/b.mp4", "out.mp4"] {
            fs::write(dir.join(file), "x").unwrap();
        }
        let access =
            Access::nothing().reads(&dir).reads("sub/../a.mp4").reads("gone").writes(dir.join("out.mp4"));
        let places = places(&access, Path::new("/usr/bin/true"), &dir);
        let mine: Vec<_> = places.iter().filter(|p| p.at.starts_with(&dir)).collect();
        let seen: Vec<_> = mine.iter().map(|p| (p.at.clone(), p.writable)).collect();
        assert_eq!(seen, [(dir.clone(), false), (dir.join("out.mp4"), true)]);
        assert!(places.iter().filter(|p| p.at.starts_with("/usr")).count() == 1, "/usr holds its programs");
    }

    #[test]
    fn names_without_dots_mean_the_same() {
        assert_eq!(plain(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(plain(Path::new("/../../x")), Path::new("/x"));
    }
}
