//! The cage around `ffmpeg`: our own executable is started again as a small launcher that gives up what the child
//! does not need and then becomes the child.
//!
//! A second start of ourselves, instead of code between fork and exec, needs no unsafe code and has no locks or
//! threads to fear.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::thread::{UnshareFlags, set_no_new_privs};

/// First argument of the launcher.
pub const SUBCOMMAND: &str = "__child";

/// What the launcher writes to stderr when the kernel grants no network namespace.
pub(super) const NO_NAMESPACE: &str = "[sandbox] no network namespace";

/// What a child may reach beside its pipes; never more than one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Files, to read them.
    Reads,
    /// Files, to read and write them.
    WritesFiles,
    /// The network, and files to read them.
    Network,
}

impl Access {
    const ALL: [Access; 3] = [Access::Reads, Access::WritesFiles, Access::Network];

    /// The word for it in the launcher's arguments.
    fn word(self) -> &'static str {
        match self {
            Access::Reads => "reads",
            Access::WritesFiles => "writes",
            Access::Network => "network",
        }
    }
}

/// What a child may still do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cage {
    /// Bytes of address space.
    pub address_space: u64,
    /// What it may reach.
    pub access: Access,
}

/// Our own executable. The link stays right even when the file is replaced while we run.
pub(crate) const OURSELVES: &str = "/proc/self/exe";

/// `program` inside the cage, or bare when there is no launcher (only tests do without).
pub(crate) fn command(launcher: Option<&Path>, cage: Cage, program: &Path) -> Command {
    let mut command = match launcher {
        None => Command::new(program),
        Some(launcher) => {
            let mut command = Command::new(launcher);
            command.arg(SUBCOMMAND);
            command.arg(std::process::id().to_string());
            command.arg(cage.address_space.to_string());
            command.arg(cage.access.word());
            command.arg(program);
            command
        }
    };
    // An empty environment: no preloaded library, no report file, no locale. One arena per thread would eat the
    // address space on machines of many cores.
    command.env_clear();
    command.envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C"), ("AV_LOG_FORCE_NOCOLOR", "1")]);
    command.env("MALLOC_ARENA_MAX", "4");
    // Ctrl-C in a terminal reaches the whole group: the children must not end before we tell them to.
    command.process_group(0);
    command
}

/// The launcher: `args` are what follows [`SUBCOMMAND`]. Returns only when it failed, with the exit code.
pub fn child_main(args: &[OsString]) -> u8 {
    let [parent, address_space, access, program, rest @ ..] = args else {
        return fail("this subcommand is for milkglass itself");
    };
    let access = Access::ALL.into_iter().find(|known| access == known.word());
    let (Some(parent), Some(address_space), Some(access)) = (number(parent), number(address_space), access)
    else {
        return fail("unreadable limits");
    };
    if let Err(error) = enter(parent, address_space, access) {
        return fail(&error);
    }
    let error = Command::new(program).args(rest).exec();
    fail(&format!("{}: {error}", Path::new(program).display()))
}

fn enter(parent: u64, address_space: u64, access: Access) -> Result<(), String> {
    let step =
        |what: &str, result: rustix::io::Result<()>| result.map_err(|error| format!("{what}: {error}"));
    step("death signal", set_parent_process_death_signal(Some(Signal::KILL)))?;
    // Had the parent died before the line above, nobody would ever end us.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(parent).ok() {
        return Err("the parent is gone".to_owned());
    }
    step("no_new_privs", set_no_new_privs(true))?;
    if access != Access::Network && !unshare_network() {
        // Not fatal: the protocol list of the command line opens no network either.
        write_line(NO_NAMESPACE);
    }
    let limit = |resource, most: u64| {
        let result = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
        step("limit", result)
    };
    limit(Resource::Core, 0)?;
    limit(Resource::As, address_space)?;
    if access != Access::WritesFiles {
        limit(Resource::Fsize, 0)?;
    }
    Ok(())
}

/// Root may leave the network alone; others need a user namespace for it, which a kernel may forbid.
#[allow(
    deprecated,
    reason = "the safe form; what is unsafe about unshare is FILES, which is not asked for here"
)]
fn unshare_network() -> bool {
    rustix::thread::unshare(UnshareFlags::NEWNET).is_ok()
        || rustix::thread::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET).is_ok()
}

fn number(text: &OsStr) -> Option<u64> {
    text.to_str()?.parse().ok()
}

fn fail(what: &str) -> u8 {
    write_line(&format!("[fatal] sandbox: {what}"));
    127
}

fn write_line(line: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}
