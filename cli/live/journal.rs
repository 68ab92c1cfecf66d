//! How a target fares, for the log: a line for each change, not more than one in ten seconds, with the frames lost since.

use std::time::Duration;

use log::Level;
use milkglass_common::Seldom;

/// Least time between two lines that say the same.
const AGAIN: Duration = Duration::from_secs(60);

/// What is the case, what was told last, and the frames lost since.
pub struct Journal {
    name: String,
    now: Now,
    told: Now,
    told_at: Seldom,
    lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Now {
    Starts,
    Works,
    Down,
}

impl Journal {
    /// `name` is what the log calls the target.
    pub fn new(name: String) -> Journal {
        Journal { name, now: Now::Starts, told: Now::Starts, told_at: Seldom::default(), lost: 0 }
    }

    /// What the log calls the target.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A frame was lost to it.
    pub fn lost(&mut self) {
        self.lost += 1;
    }

    /// It takes frames.
    pub fn works(&mut self) {
        self.now = Now::Works;
        if self.told == Now::Starts {
            // As expected, so no news; nobody waited for what was lost until now.
            self.told = Now::Works;
            self.lost = 0;
        }
        self.tell("");
    }

    /// It ended, hangs, or cannot be started.
    pub fn down(&mut self, reason: &str) {
        self.now = Now::Down;
        self.tell(reason);
    }

    fn tell(&mut self, reason: &str) {
        if let Some((level, line)) = self.line(reason) {
            log::log!(level, "{line}");
            self.told_at.said();
            (self.told, self.lost) = (self.now, 0);
        }
    }

    fn line(&self, reason: &str) -> Option<(Level, String)> {
        let quiet = |time| self.told_at.has_been_quiet(time);
        let news = self.told != self.now;
        let Journal { name, lost, .. } = self;
        match self.now {
            _ if !quiet(Seldom::QUIET) => None,
            Now::Down if news || quiet(AGAIN) => {
                Some((Level::Warn, format!("{name}: {reason}; it is tried again; {lost} frames were lost")))
            }
            Now::Works if news => {
                Some((Level::Info, format!("{name}: works again; {lost} frames were lost")))
            }
            Now::Works if *lost > 0 => {
                Some((Level::Warn, format!("{name}: too slow; {lost} frames were lost")))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_and_losses_are_told_and_not_too_often() {
        let mut journal = Journal::new("cam".into());
        journal.lost();
        journal.works();
        assert!(journal.told_at.has_been_quiet(Duration::MAX), "that it came up is no news");
        assert_eq!(journal.line(""), None, "nor are frames of its start");

        journal.lost();
        assert!(
            journal
                .line("")
                .is_some_and(|(level, line)| level == Level::Warn && line.contains("slow; 1 frames"))
        );
        journal.down("refused");
        assert!(!journal.told_at.has_been_quiet(Duration::MAX) && journal.lost == 0);
        journal.lost();
        journal.works();
        assert_eq!(journal.told, Now::Down, "too soon after the line before");

        let long_ago = |journal: &mut Journal, time| journal.told_at.said_before(time);
        long_ago(&mut journal, Seldom::QUIET);
        assert!(
            journal
                .line("")
                .is_some_and(|(level, line)| level == Level::Info && line.contains("works again; 1"))
        );
        journal.now = Now::Down;
        assert_eq!(journal.line("refused"), None, "the same is not told every ten seconds");
        long_ago(&mut journal, AGAIN);
        assert!(journal.line("refused").is_some_and(|(_, line)| line.contains("cam: refused")));
    }
}
