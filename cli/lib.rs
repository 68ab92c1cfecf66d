//! The `milkglass` command, as a library so that its parts can be tested from outside. Not a stable interface: integrators
//! use the crate `milkglass`.

mod args;
mod bench;
pub mod clip;
mod clips;
mod detect;
mod doctor;
mod eval;
mod inputs;
mod live;
mod lockstep;
mod log;
mod memory;
mod opening;
mod outcome;
mod partial;
mod pixel_shape;
mod policy;
mod progress;
mod redact;
mod report;
mod sandbox;
mod still;

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use outcome::Exit;

/// Runs the command with the arguments of this program.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Asking for help is no failure; a wrong flag is exit code 1 as documented, not clap's 2.
            let _ = e.print();
            return if e.use_stderr() { Exit::Failed } else { Exit::Done }.into();
        }
    };
    if let Command::Child(child) = &cli.command {
        return ExitCode::from(sandbox::launcher::child_main(&child.args));
    }
    #[cfg(feature = "rtsp-server")]
    if let Command::RtspServer(args) = &cli.command {
        return live::rtsp_server::child::run(args);
    }
    if cli.command.is_locked() {
        without_folders_of_libraries();
    }
    // A camera runs unwatched: its log says what it does.
    let live = matches!(cli.command, Command::Live(_));
    let verbose = cli.verbose + u8::from(live);
    let closed = sandbox::close_memory().map_err(outcome::Failure::new);
    // A camera's command gives the network up when it has opened its targets.
    if !live {
        let _ = sandbox::for_this_thread();
    }
    let ran =
        closed.and_then(|()| progress::start(cli.quiet, verbose, !live)).and_then(|()| match &cli.command {
            Command::Redact(args) => redact::run(args),
            Command::Detect(args) => detect::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Live(args) => live::run(args),
            Command::Devices => live::devices(&mut std::io::stdout().lock()),
            Command::Policy(command) => policy::run(command, &mut std::io::stdout().lock()),
            Command::Log(command) => log::run(command, &mut std::io::stdout().lock()),
            Command::Doctor(args) => doctor::run(args),
            Command::Bench(args) => bench::run(args),
            // Both have been told apart above.
            Command::Child(_) => Ok(Exit::Failed),
            #[cfg(feature = "rtsp-server")]
            Command::RtspServer(_) => Ok(Exit::Failed),
        });
    let exit = match ran {
        Ok(exit) => exit,
        Err(failure) => {
            progress::say(&format!("error: {failure}"));
            failure.exit
        }
    };
    progress::flush();
    exit.into()
}

/// The loader has taken `LD_LIBRARY_PATH` in by now, and would look for the runtime's own libraries there. With a locked policy
/// this program begins anew without it. Where that cannot be done, the lock refuses what it can see.
fn without_folders_of_libraries() {
    const FOLDERS: &str = "LD_LIBRARY_PATH";
    if std::env::var_os(FOLDERS).is_none() {
        return;
    }
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    let _ = again.args(arguments).env_remove(FOLDERS).exec();
}
