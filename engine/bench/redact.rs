//! Styles and zones in frames of each format.

use super::{Case, InstructionSet};

pub(super) fn cases(_set: InstructionSet) -> Vec<Case> {
    Vec::new()
}
