//! A child is never root. When we are, it becomes "nobody", without groups and without privileges but those that it needs to
//! open the very files it was given, or to bind a port below 1024.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags};
use rustix::process::{Gid, Uid, geteuid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::handing::NOBODY;
use super::{Access, Network};

/// Stops being root; does nothing for everybody else.
pub(crate) fn stop_being_root(access: &Access) -> Result<(), String> {
    if !getuid().is_root() && !geteuid().is_root() {
        return Ok(());
    }
    become_nobody(access).map_err(|error| format!("it would run as root, and cannot become nobody: {error}"))
}

fn become_nobody(access: &Access) -> io::Result<()> {
    let wanted = wanted(access);
    for one in (0..64).filter_map(|bit| CapabilitySet::from_bits(1 << bit)) {
        if wanted.contains(one) {
            continue;
        }
        // Numbers that this kernel does not know.
        if remove_capability_from_bounding_set(one).is_err() {
            break;
        }
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_keep_capabilities(true)?;
    set_thread_res_uid(user, user, user)?;
    set_keep_capabilities(false)?;
    let none = CapabilitySet::empty();
    let held = |kept| CapabilitySets { effective: none, permitted: kept, inheritable: kept };
    // Nothing is in effect while the files are tried.
    set_capabilities(None, held(wanted))?;
    let needed = needed(access);
    set_capabilities(None, held(needed))?;
    for one in needed.iter() {
        configure_capability_in_ambient_set(one, true)?;
    }
    let kept = CapabilitySets { effective: needed, permitted: needed, inheritable: needed };
    set_capabilities(None, kept)?;
    Ok(())
}

/// What may be needed at most.
fn wanted(access: &Access) -> CapabilitySet {
    let port = match access.network {
        Network::Serves(port) if port < 1024 => CapabilitySet::NET_BIND_SERVICE,
        _ => CapabilitySet::empty(),
    };
    CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH | port
}

/// What is needed, now that nothing is in effect: files of root's own, folders that root alone may change.
fn needed(access: &Access) -> CapabilitySet {
    let mut needed = wanted(access) & CapabilitySet::NET_BIND_SERVICE;
    if access.reads.iter().any(|path| !opens(path, false)) {
        needed |= CapabilitySet::DAC_READ_SEARCH;
    }
    if access.writes.iter().any(|path| !opens(path, true)) {
        needed |= CapabilitySet::DAC_OVERRIDE;
    }
    needed
}

fn opens(path: &Path, to_write: bool) -> bool {
    if path.is_dir() {
        let may = if to_write {
            rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK
        } else {
            rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK
        };
        return rustix::fs::accessat(CWD, path, may, AtFlags::EACCESS).is_ok();
    }
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).write(to_write).custom_flags(flags).open(path);
    // What is not there is told by whoever misses it.
    opened.map_or_else(|error| error.kind() != io::ErrorKind::PermissionDenied, |_| true)
}
