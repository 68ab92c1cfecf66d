//! Measuring: [`cases`] is what `milkglass bench`, the benches of this package and the instruction counts (tests/arm/count.sh)
//! run. What it needs of the engine's inside is `milkglass::internal`.

mod cases;

pub use cases::{Case, InstructionSet, cases};
