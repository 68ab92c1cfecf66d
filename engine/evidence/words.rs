//! What was found out about a log, in words.

use std::fmt;

use super::record::Limit;
use super::verify::{Deleted, Finding, Note, Tampering};

fn numbers(from: u64, to: u64) -> String {
    if from == to { format!("record {from}") } else { format!("records {from} to {to}") }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.place {
            write!(f, "{file}:{line}: ")?;
        }
        let n = self.record.map_or_else(|| "a record".to_owned(), |n| format!("record {n}"));
        match &self.kind {
            Tampering::Edited => write!(f, "EDITED: {n} is not what the device signed"),
            Tampering::Inserted => f.write_str("INSERTED: this line was never part of the log"),
            Tampering::Removed(from, to) => write!(f, "REMOVED: {} before this line", numbers(*from, *to)),
            Tampering::Reordered => write!(f, "REORDERED: {n} does not belong here"),
            Tampering::Repeated => write!(f, "REPEATED: {n} stands in the log more than once"),
            Tampering::Spliced => {
                write!(
                    f,
                    "SPLICED: {n} does not follow on the one before; it comes from another log of this device"
                )
            }
            Tampering::Foreign => f.write_str("SPLICED: this record was signed by another device"),
            Tampering::Truncated(n) => {
                let from = self.record.unwrap_or_default();
                write!(f, "TRUNCATED: {} once existed, as the checkpoint proves", numbers(from, *n))
            }
            Tampering::Rewritten => {
                write!(
                    f,
                    "REWRITTEN: {n} was another one when the checkpoint left the device, so the log up to here is not \
                           the one of then"
                )
            }
            Tampering::Unmatched(n) => write!(
                f,
                "UNMATCHED: {} once existed, as the checkpoint proves, and is not in the log; the device did not delete it",
                numbers(*n, *n)
            ),
            Tampering::Damaged(damage) => write!(
                f,
                "DAMAGED: of {}, which fell to the limit, {} were missing or altered by then and {} lines did not belong there",
                numbers(damage.from, damage.to),
                damage.missing,
                damage.strange
            ),
            Tampering::StrangeFile => {
                f.write_str("FILE: the device gave no file this name here, or those before it are gone")
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::BeginsAt(n) => {
                write!(f, "begins at record {n}: what is older was deleted to keep to the limit")
            }
            Note::Torn => f.write_str("the last line is half a record: power cut or truncated"),
            Note::Open(n) => write!(
                f,
                "does not end with record {n}: it still runs, the power failed, or later records were taken off (only a \
                 checkpoint that left the device can tell)"
            ),
            Note::Restarted(n) => {
                write!(
                    f,
                    "after record {n} the program was started again without having ended: power cut, crash or kill, or later \
                     records were taken off before that start (only a checkpoint that left the device can tell)"
                )
            }
            Note::Gap(n, why) => {
                write!(f, "before record {n} the log could not be written for a while: {why}")
            }
            Note::ClockBack(n) => write!(f, "before record {n} the device's clock was set back"),
            Note::CheckpointTooOld(n) => {
                write!(
                    f,
                    "the checkpoint is of record {n}, which was gone when this device began to sign for what it deletes (by \
                     the word of version 0.1, to keep to its limit); it proves nothing here"
                )
            }
            Note::CheckpointDeleted(n) => {
                write!(
                    f,
                    "the checkpoint is of record {n}, which the device has deleted since, to keep to its limit, as it signed; \
                     what it said cannot be told any more"
                )
            }
            Note::CheckpointHolds(n) => {
                write!(f, "the checkpoint holds: nothing up to record {n} was changed since")
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Bytes(bytes) => write!(f, "{} KiB", bytes >> 10),
        }
    }
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(last), Some(limit)) = (self.first.checked_sub(1), &self.limit) {
            write!(
                f,
                "{} were deleted by the device, in {} files, to keep to its limit of {limit}, as it signed",
                numbers(0, last),
                self.files
            )?;
        }
        let Some(upgraded) = &self.upgraded else { return Ok(()) };
        if self.limit.is_some() {
            f.write_str("; ")?;
        }
        write!(
            f,
            "before record {} the log was kept by version 0.1, which did not sign for what it deleted",
            upgraded.at
        )?;
        match upgraded.gone.checked_sub(1) {
            Some(last) => write!(f, ": that {} went to the limit then is its word alone", numbers(0, last)),
            None => Ok(()),
        }
    }
}
