//! How a run ends: exit codes, and errors that say what, why and what to do.

use std::fmt;
use std::process::ExitCode;

/// The documented ends of the program, from mild to grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// `--strict`, and nothing was found to hide.
    NothingFound,
    /// Done, but some frames were obscured whole.
    Obscured,
    /// `log verify`: nothing was found against the log, and the checkpoint's record was deleted by the device itself.
    Untold,
    /// The input is damaged, or frames out differ from frames in.
    Damaged,
    /// Something failed.
    Failed,
    /// Stopped by a signal.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::NothingFound => 2,
            Exit::Damaged => 3,
            Exit::Obscured => 4,
            Exit::Untold => 5,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a run, or one file of it, ended badly.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// One line: what, why, what to do.
    pub message: String,
}

impl Failure {
    /// The run failed.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, message: message.into() }
    }

    /// The input is damaged.
    pub fn damaged(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Damaged, message: message.into() }
    }

    /// The user stopped it.
    pub fn interrupted() -> Failure {
        Failure { exit: Exit::Interrupted, message: "interrupted; nothing half written was left".into() }
    }

    /// The same, with the file it is about in front.
    #[must_use]
    pub fn about(mut self, what: &std::path::Path) -> Failure {
        let name = what.display().to_string();
        if !self.message.contains(&name) {
            self.message = format!("{name}: {}", self.message);
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever a library put into its error.
        f.write_str(&self.message.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl From<milkglass::Error> for Failure {
    fn from(e: milkglass::Error) -> Failure {
        Failure::new(e.to_string())
    }
}

impl From<milkglass::policy::PolicyError> for Failure {
    fn from(e: milkglass::policy::PolicyError) -> Failure {
        Failure::new(e.to_string())
    }
}
