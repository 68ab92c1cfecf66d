//! The `milkglass` command.

fn main() -> std::process::ExitCode {
    milkglass_cli::run()
}
