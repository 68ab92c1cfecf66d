//! The `milkglass` command.

use std::process::ExitCode;

#[allow(dead_code, unused_imports, reason = "the commands that use it come next")]
mod clip;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.split_first() {
        Some((first, rest)) if first == clip::sandbox::SUBCOMMAND => clip::sandbox::child_main(rest).into(),
        _ => ExitCode::SUCCESS,
    }
}
