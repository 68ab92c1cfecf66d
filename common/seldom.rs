//! Lines of the log that must not come at every frame.

use std::time::{Duration, Instant};

/// Lets something be said, and then nothing for a while.
#[derive(Debug, Default)]
pub struct Seldom(Option<Instant>);

impl Seldom {
    /// The usual while.
    pub const QUIET: Duration = Duration::from_secs(10);

    /// Whether it is to be said now: if so, it counts as said.
    pub fn due(&mut self) -> bool {
        let due = self.has_been_quiet(Self::QUIET);
        if due {
            self.said();
        }
        due
    }

    /// Whether nothing was said for so long.
    pub fn has_been_quiet(&self, time: Duration) -> bool {
        self.0.is_none_or(|at| at.elapsed() >= time)
    }

    /// It was said just now.
    pub fn said(&mut self) {
        self.0 = Some(Instant::now());
    }

    /// As if it had been said so long ago, for tests.
    pub fn said_before(&mut self, time: Duration) {
        self.0 = Instant::now().checked_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_said_again_after_a_while() {
        let mut seldom = Seldom::default();
        assert!(seldom.due() && !seldom.due());
        seldom.said_before(Seldom::QUIET);
        assert!(!seldom.has_been_quiet(2 * Seldom::QUIET) && seldom.due() && !seldom.due());
    }
}
