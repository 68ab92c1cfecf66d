//! The sandbox around `ffmpeg`: our own executable is started again as a small launcher that gives up what the child
//! does not need (`sandbox/`, limits, a network of its own) and then becomes the child.
//!
//! A second start of ourselves, instead of code between fork and exec, needs no unsafe code and has no locks or
//! threads to fear.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::thread::set_no_new_privs;

use crate::sandbox::{self, Access, Network};

/// First argument of the launcher.
pub const SUBCOMMAND: &str = "__child";

/// What the launcher writes to stderr when the kernel grants no network namespace.
pub(crate) const NO_NAMESPACE: &str = "[sandbox] no network namespace";

/// What the launcher writes to stderr when it gets no file system of its own.
pub(crate) const NO_ROOT: &str = "[sandbox] no file system of its own";

/// What the launcher writes to stderr when the kernel filters no system calls. Once for all it is a warning of ours.
pub(crate) const NO_FILTER: &str = "[sandbox] no filter";

/// What a child may still do.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    /// Bytes of address space.
    pub address_space: u64,
    /// Bytes that it may fill.
    pub memory: u64,
    /// What it may reach.
    pub access: Access,
}

/// Our own executable. The link stays right even when the file is replaced while we run.
pub(crate) const OURSELVES: &str = "/proc/self/exe";

/// `program` inside the sandbox, or bare when there is no launcher (only tests do without).
pub(crate) fn command(launcher: Option<&Path>, sandbox: Sandbox, program: &Path) -> Command {
    let mut command = match launcher {
        None => Command::new(program),
        Some(launcher) => {
            let mut command = Command::new(launcher);
            command.arg(SUBCOMMAND);
            command.arg(std::process::id().to_string());
            command.args([sandbox.address_space, sandbox.memory].map(|bytes| bytes.to_string()));
            command.args(words(&sandbox.access));
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

/// Whether children of ours have a file system of their own here: one is started to find out.
pub(crate) fn has_own_root() -> bool {
    let sandbox = Sandbox { address_space: u64::MAX, memory: u64::MAX, access: Access::nothing() };
    let mut command = command(Some(Path::new(OURSELVES)), sandbox, Path::new(OURSELVES));
    command.arg("--version").stdin(Stdio::null());
    let ended = command.output();
    ended.is_ok_and(|o| o.status.success() && !String::from_utf8_lossy(&o.stderr).contains(NO_ROOT))
}

/// The launcher: `args` are what follows [`SUBCOMMAND`]. Returns only when it failed, with the exit code.
pub fn child_main(args: &[OsString]) -> u8 {
    let [parent, address_space, memory, rest @ ..] = args else {
        return fail("this subcommand is for milkglass itself");
    };
    let (Some(parent), Some(address_space), Some(memory), Some((access, [program, rest @ ..]))) =
        (number(parent), number(address_space), number(memory), understood(rest))
    else {
        return fail("unreadable limits");
    };
    let program = Path::new(program);
    if let Err(error) = enter(parent, [address_space, memory], &access, program) {
        return fail(&error);
    }
    let error = Command::new(program).args(rest).exec();
    fail(&format!("{}: {error}", program.display()))
}

/// What ends the launcher's own arguments.
const END: &str = "--";

/// The launcher's arguments for this access.
fn words(access: &Access) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    match access.network {
        Network::None => {}
        Network::Connects => words.push("connects".into()),
        Network::Serves(port) => words.extend(["serves".into(), port.to_string().into()]),
    }
    if access.devices {
        words.push("devices".into());
    }
    access.reads.iter().for_each(|path| words.extend(["reads".into(), path.into()]));
    access.writes.iter().for_each(|path| words.extend(["writes".into(), path.into()]));
    words.push(END.into());
    words
}

/// The reverse of [`words`], and what follows them.
fn understood(mut words: &[OsString]) -> Option<(Access, &[OsString])> {
    let mut access = Access::nothing();
    loop {
        let (word, rest) = words.split_first()?;
        words = rest;
        match word.to_str()? {
            END => return Some((access, words)),
            "connects" => access.network = Network::Connects,
            "devices" => access.devices = true,
            with_value => {
                let (value, rest) = words.split_first()?;
                words = rest;
                match with_value {
                    "serves" => access.network = Network::Serves(value.to_str()?.parse().ok()?),
                    "reads" => access.reads.push(value.into()),
                    "writes" => access.writes.push(value.into()),
                    _ => return None,
                }
            }
        }
    }
}

fn enter(
    parent: u64,
    [address_space, memory]: [u64; 2],
    access: &Access,
    program: &Path,
) -> Result<(), String> {
    let step =
        |what: &str, result: rustix::io::Result<()>| result.map_err(|error| format!("{what}: {error}"));
    step("death signal", set_parent_process_death_signal(Some(Signal::KILL)))?;
    // Had the parent died before the line above, nobody would ever end us.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(parent).ok() {
        return Err("the parent is gone".to_owned());
    }
    step("no_new_privs", set_no_new_privs(true))?;
    let apart = sandbox::set_apart(access, program)?;
    if access.network == Network::None && !apart.network {
        // Not fatal: the protocol list of the command line opens no network either, nor does the filter below.
        write_line(NO_NAMESPACE);
    }
    if !apart.root {
        // Not fatal: Landlock and the filter hold, but names of files can be asked for.
        write_line(NO_ROOT);
    }
    sandbox::stop_being_root(access)?;
    // Who becomes another user loses it.
    step("death signal", set_parent_process_death_signal(Some(Signal::KILL)))?;
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(parent).ok() {
        return Err("the parent is gone".to_owned());
    }
    let limit = |resource, most: u64| {
        let result = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
        step("limit", result)
    };
    step("core dumps", sandbox::forbid_core_dumps())?;
    limit(Resource::As, address_space)?;
    if memory != u64::MAX {
        limit(Resource::Data, memory)?;
    }
    if access.writes.is_empty() {
        limit(Resource::Fsize, 0)?;
    }
    sandbox::confine_child(access, program)?;
    if let Err(why) = sandbox::for_child(access) {
        // Not fatal: some kernels have none, and the parent has said what that means.
        write_line(&format!("{NO_FILTER}: {why}"));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_understands_what_it_is_told_and_nothing_else() {
        let access = Access::nothing().reads("/a b").reads("reads").writes("--").for_encoder("h264_v4l2m2m");
        let mut told = words(&access);
        told.push("--".into());
        assert_eq!(understood(&told), Some((access, &["--".into()][..])));
        let serves = Access::network(Network::Serves(8554));
        assert_eq!(understood(&words(&serves)), Some((serves, &[][..])));
        for wrong in [&["reads"][..], &["serves", "x", "--"], &["runs", "x", "--"], &["/bin/true"]] {
            let wrong: Vec<OsString> = wrong.iter().map(Into::into).collect();
            assert_eq!(understood(&wrong), None, "{wrong:?}");
        }
    }
}
