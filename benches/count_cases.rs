//! Every case of `milkglass bench`, for a counter of executed instructions (tests/arm/count.sh): writes a line before one
//! run of a case, before two runs, and after them. What lies between two lines, less what lies between the lines
//! before, is one run: the line itself, and whatever else happens around it, cancels.
#![allow(clippy::print_stdout, missing_docs)]

use std::process::ExitCode;

use milkglass_benches::{InstructionSet, cases};

fn main() -> ExitCode {
    for set in InstructionSet::available() {
        for mut case in cases(set) {
            // Checked before it is counted; it has allocated, too, what it allocates once.
            if let Err(wrong) = case.check() {
                println!("{} with {}: {wrong}", case.name, set.name());
                return ExitCode::FAILURE;
            }
            case.run();
            println!("{} {} {}", case.name, set.name(), case.pixels);
            case.run();
            println!("{} {} {}", case.name, set.name(), case.pixels);
            case.run();
            case.run();
            println!("{} {} {}", case.name, set.name(), case.pixels);
        }
    }
    ExitCode::SUCCESS
}
