//! What this program and its children give up before they touch a byte of anybody else's: files and ports by Landlock
//! (`files.rs`), system calls by seccomp (`calls.rs`). Both are asked for always and take effect where the kernel has them;
//! [`announce`] says where it has not.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod allowed;
mod calls;
mod files;
mod handing;
pub mod launcher;
mod privileges;
mod root;
mod starter;

use std::path::PathBuf;
use std::sync::Once;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

pub(crate) use calls::{for_all_threads, for_child, for_this_thread};
pub(crate) use files::{confine_child, without_tcp, write_only_to};
pub(crate) use handing::{descriptor, hand_over, lend, take_back};
pub(crate) use privileges::stop_being_root;
pub(crate) use root::set_apart;
pub(crate) use starter::{keep_a_starter, start};

/// What a child may reach beside its pipes and the system's libraries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// The network; never together with files to write.
    pub network: Network,
    /// Files and folders to read.
    pub reads: Vec<PathBuf>,
    /// Files and folders to write.
    pub writes: Vec<PathBuf>,
    /// Device files, cameras among them: encoders in hardware are reached through them.
    pub devices: bool,
}

/// How much of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Network {
    /// None.
    #[default]
    None,
    /// It connects to others, and nobody to it.
    Connects,
    /// Others connect to this port.
    Serves(u16),
}

impl Access {
    /// Its pipes alone.
    pub fn nothing() -> Access {
        Access::default()
    }

    /// One more file or folder to read.
    pub fn reads(mut self, path: impl Into<PathBuf>) -> Access {
        self.reads.push(path.into());
        self
    }

    /// One more file to write, which exists, or one more folder.
    pub fn writes(mut self, path: impl Into<PathBuf>) -> Access {
        self.writes.push(path.into());
        self
    }

    /// The network, and no file to write.
    pub fn network(network: Network) -> Access {
        Access { network, ..Access::default() }
    }

    /// What `ffmpeg`'s encoder of this name needs.
    pub fn for_encoder(mut self, name: &str) -> Access {
        const IN_HARDWARE: [&str; 8] =
            ["_v4l2m2m", "_vaapi", "_qsv", "_nvenc", "_rkmpp", "_omx", "_vulkan", "_amf"];
        self.devices = IN_HARDWARE.iter().any(|ending| name.ends_with(ending));
        self
    }
}

/// Raw frames lie in our memory: no core dump may hold them, and no other program of this user may look there.
pub(crate) fn close_memory() -> Result<(), String> {
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable).and_then(|()| forbid_core_dumps());
    closed.map_err(|error| format!("this program cannot close its memory to others: {error}"))
}

/// Holds for all that is started from here on, too. Less than a page is no dump. Where the kernel pipes dumps to a program,
/// 0 would not forbid them, but 1 does; 0 stays where it is the most that is allowed.
pub(crate) fn forbid_core_dumps() -> rustix::io::Result<()> {
    let most = getrlimit(Resource::Core).maximum.map_or(1, |most| most.min(1));
    setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) })
}

/// Takes the network from this program, now that what it listens at is open. With a `starter`, the one thread that starts
/// children for the network keeps it, and so do those that were started before.
pub(crate) fn leave_network(starter: bool) {
    let filtered = if starter { for_this_thread() } else { for_all_threads() };
    for given_up in [filtered, without_tcp()] {
        // Where the kernel has none of it, `announce` has said so.
        given_up.unwrap_or_else(|why| log::debug!("the network is not given up: {why}"));
    }
}

/// What the kernel can hold us to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Support {
    /// Landlock's version, 0 without.
    pub landlock: u32,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
}

/// The version of Landlock from which on it knows TCP ports.
const PORTS: u32 = 4;

impl Support {
    /// Asks the kernel, on a thread that is given up for it.
    pub fn ask() -> Support {
        let asked = std::thread::spawn(|| Support {
            landlock: files::version(),
            seccomp: calls::for_this_thread().is_ok(),
        });
        asked.join().unwrap_or(Support { landlock: 0, seccomp: false })
    }

    /// What is missing and what that means; `None` when nothing is.
    pub fn missing(&self) -> Option<String> {
        let mut lines = Vec::new();
        if !self.seccomp {
            lines.push(
                "no seccomp: code that took over this program, or a child for clips, could open network connections",
            );
        }
        if self.landlock == 0 {
            lines
                .push("no Landlock: code that took over a child could read and write whatever this user may");
        } else if self.landlock < PORTS {
            lines.push("Landlock before version 4: TCP ports are not restricted one by one");
        }
        (!lines.is_empty()).then(|| format!("this kernel has {}", lines.join("; it has ")))
    }
}

/// Says once, as a warning, what this kernel cannot hold us to.
pub(crate) fn announce() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(missing) = Support::ask().missing() {
            log::warn!("{missing} (docs/THREAT-MODEL.md)");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_and_what_it_means() {
        let said = |landlock, seccomp| Support { landlock, seccomp }.missing();
        assert_eq!(said(4, true), None);
        assert!(said(3, true).unwrap().contains("TCP ports"));
        assert!(said(0, true).unwrap().contains("read and write whatever"));
        let all = said(0, false).unwrap();
        assert!(all.contains("no seccomp") && all.contains("no Landlock"), "{all}");
    }

    #[test]
    fn encoders_in_hardware_alone_see_devices() {
        assert!(Access::nothing().for_encoder("h264_v4l2m2m").devices);
        assert!(!Access::nothing().for_encoder("libx264").devices);
    }
}
