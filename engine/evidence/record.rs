//! One record of the log: what it says, how it is written as a line, chained and signed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

pub use milkglass_common::keys::{PublicKey as DevicePublicKey, SecretKey as DeviceSecretKey};
use milkglass_common::{hex, unhex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::detect::LoadedModel;
use crate::policy::{Zone, canonical_zones};

/// What the signature is over begins with this, so that it can never be taken for one of something else.
const PURPOSE: &[u8] = b"milkglass evidence, version 1\n";
/// Between what is signed and the signature.
const SIGNED: &str = ",\"sig\":\"";
/// The longest line that is looked at.
pub(super) const MAX_LINE: usize = 16 << 10;
/// The greatest number of a record. No log comes near it, and whoever checks one can count on from it.
const MOST: u64 = u64::MAX / 2;
/// What the first record of a log names as the hash of the one before.
pub(super) const NO_HASH: [u8; 32] = [0; 32];

/// What stands in [`Identity::untested`] for a program's own detector.
pub const OWN_DETECTOR: &str = "detector";

/// What decides which pictures leave: hashes alone, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Name and version of the program.
    pub program: String,
    /// Hash of the policy in force, defaults and flags included.
    pub policy: String,
    /// Hash of its zones.
    pub zones: String,
    /// Hash of each model file, by name.
    pub models: BTreeMap<String, String>,
    /// Hash of each model's manifest, by the model's name: how it is shown pictures and read. Logs of milkglass 0.1 have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub manifests: BTreeMap<String, String>,
    /// Models, by name, that nobody as small as the presets promise could be shown to; `detector` for a program's own one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untested: BTreeSet<String>,
    /// Hash of the inference runtime's library, or the runtime's name where it is part of the program.
    pub runtime: String,
}

impl Identity {
    /// Of a program (name and version), all that decides what is hidden as text ([`Opening::canonical`](crate::Opening::canonical)),
    /// and the zones among it. Models and runtime
    /// are for whoever loaded them to add.
    pub fn new(program: &str, rules: &str, zones: &[Zone]) -> Identity {
        Identity {
            program: program.into(),
            policy: hex(hash(rules.as_bytes())),
            zones: hex(hash(canonical_zones(zones).as_bytes())),
            ..Identity::default()
        }
    }

    /// Adds a model in use.
    pub fn add(&mut self, model: &LoadedModel) {
        self.models.insert(model.name.clone(), model.sha256.clone());
        self.manifests.insert(model.name.clone(), model.manifest_sha256.clone());
        if model.untested {
            self.untested.insert(model.name.clone());
        }
    }
}

/// How a file of the log begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// The oldest record that the device has not deleted; records 0 to the one before fell to the limit on disk use.
    pub first: u64,
    /// The file before ends in half a record: the power failed while it was written, or the disk was full.
    pub cut: bool,
    /// What decides which pictures leave.
    pub identity: Identity,
    /// What the device knows of the records that it deleted; `None` in files that version 0.1 wrote, which kept no account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}

/// What a log says of what is no longer in it. It is signed *before* anything is deleted, and handed on from file to file, so
/// that what the device deleted is told from what vanished, by whoever never saw the log before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The running number of this file, as its name tells it.
    pub file: u64,
    /// SHA-256 of the last record that was deleted, which the oldest one left names; zeros when none was.
    pub hash: String,
    /// Files that were deleted since the log began.
    pub files: u64,
    /// The limit that was kept to when a file was last deleted; `None` when none was.
    pub limit: Option<Limit>,
    /// Bytes on disk of all files before this one since the log began, each rounded up to blocks of 4 KiB. The limit is
    /// reckoned by this, and not by the size of files that somebody else may have blown up.
    pub space: u64,
    /// What the device found wrong with files when it deleted them.
    pub damage: Option<Damage>,
    /// The log was begun by version 0.1.
    pub upgraded: Option<Upgraded>,
}

/// A limit that records fall to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Limit {
    /// The most bytes that the files may take together.
    Bytes(u64),
}

/// Records that were not there as the device had written them when it came to delete them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// The first record of the first file in question.
    pub from: u64,
    /// The last record of the last one.
    pub to: u64,
    /// How many records among these were missing, or not as written.
    pub missing: u64,
    /// How many lines stood there that were none of them, or none in its place.
    pub strange: u64,
}

/// That a log of version 0.1, which said how far back it reached but not why, goes on with an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgraded {
    /// The record that begins the account.
    pub at: u64,
    /// Records below this number were gone by then.
    pub gone: u64,
}

/// Frames of one period, by outcome: counts of frames, never of people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frames {
    /// Length of the period, in milliseconds.
    pub ms: u64,
    /// Frames that came from the source.
    pub received: u64,
    /// Frames that left covered.
    pub covered: u64,
    /// Frames that left obscured whole.
    pub obscured: u64,
    /// Frames discarded at their deadline.
    pub dropped: u64,
    /// Pictures that the source had to skip.
    pub skipped: u64,
    /// Self-tests that passed and failed.
    pub self_tests: [u64; 2],
    /// The state at the end of the period.
    pub state: String,
    /// Changes of state in the period: milliseconds from its beginning, and the new state.
    pub changes: Vec<(u64, String)>,
    /// Changes beyond the most that one record names.
    pub more_changes: u64,
}

/// A time in which the log could not be written. Frames went on being redacted, and are counted in the next period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// When the first record could not be written, UTC.
    pub since: String,
    /// Attempts that failed.
    pub failures: u64,
    /// Why the first did, in the system's words.
    pub reason: String,
}

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum What {
    /// The program was started. The first record of a file.
    Start(Opened),
    /// The log goes on in a new file. The first record of a file.
    Continues(Opened),
    /// Frames of one period.
    Frames(Frames),
    /// Another policy is in force.
    Settings(Identity),
    /// The log could not be written for a while.
    Gap(Gap),
    /// A line to send off the device: alone it proves everything up to here.
    Checkpoint,
    /// The program ended in order.
    End,
}

impl What {
    pub(super) fn opens(&self) -> Option<&Opened> {
        match self {
            What::Start(opened) | What::Continues(opened) => Some(opened),
            _ => None,
        }
    }
}

/// One line of the log, without its signature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Running number; never starts again as long as the log is there.
    pub n: u64,
    /// When it was written, UTC, by the device's clock.
    pub time: String,
    /// What it tells.
    pub what: What,
    /// SHA-256 of the line before, in hexadecimal; zeros for the first.
    pub prev: String,
    /// The device's public key.
    pub key: String,
}

/// Why a line is no record of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRecord {
    /// It is no record at all, or its signature does not fit what it says.
    Altered,
    /// A record of another device.
    Foreign,
}

impl Record {
    /// The line with its signature, newline included.
    pub(super) fn sign(&self, key: &DeviceSecretKey) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.pop();
        let signature = key.sign(&[PURPOSE, &line].concat());
        line.extend_from_slice(SIGNED.as_bytes());
        line.extend_from_slice(hex(signature).as_bytes());
        line.extend_from_slice(b"\"}\n");
        Ok(line)
    }

    /// Reads a line without its newline and checks its signature. `key`: the only key accepted, else the record's own.
    pub(super) fn parse(line: &[u8], key: Option<&DevicePublicKey>) -> Result<Record, NoRecord> {
        let altered = NoRecord::Altered;
        let (signed, signature, record) = Record::split(line).ok_or(altered)?;
        let own = DevicePublicKey::parse(&record.key).ok_or(altered)?;
        let message = [PURPOSE, signed.as_bytes()].concat();
        // A fuzzer cannot sign; what lies behind a good signature is what it is to look at.
        if !own.has_signed(&message, &signature) && !cfg!(fuzzing) {
            return Err(altered);
        }
        if key.is_some_and(|key| *key != own) { Err(NoRecord::Foreign) } else { Ok(record) }
    }

    /// What a line says, whoever signed it: for lines that a chain of hashes leads to from one whose signature was checked.
    pub(super) fn unchecked(line: &[u8]) -> Option<Record> {
        Record::split(line).map(|(_, _, record)| record)
    }

    fn split(line: &[u8]) -> Option<(&str, [u8; 64], Record)> {
        let (signed, rest) = std::str::from_utf8(line).ok()?.rsplit_once(SIGNED)?;
        let signature = rest.strip_suffix("\"}").and_then(unhex::<64>)?;
        let record: Record = serde_json::from_str(&format!("{signed}}}")).ok()?;
        (record.n <= MOST).then_some((signed, signature, record))
    }
}

/// The hash by which the next line names this one (without its newline).
pub(super) fn hash(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}

/// A time as `2026-11-25T16:40:00Z`; before 1970 as its beginning.
pub(super) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, in eras of 400 years (days from 0000-03-01).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + later;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_625_461, "2026-11-25T16:51:01Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_line_verifies_as_written_and_in_no_other_way() {
        let key = DeviceSecretKey::parse(&"07".repeat(32)).expect("a key");
        let record = Record {
            n: 7,
            time: utc(UNIX_EPOCH),
            what: What::Gap(Gap {
                since: utc(UNIX_EPOCH),
                failures: 1,
                reason: "a \",\"sig\":\" in it".into(),
            }),
            prev: hex(NO_HASH),
            key: key.public().to_string(),
        };
        let mut line = record.sign(&key).expect("signed");
        assert_eq!(line.pop(), Some(b'\n'));
        assert_eq!(Record::parse(&line, None), Ok(record));
        let other = DeviceSecretKey::parse(&"08".repeat(32)).expect("a key");
        assert_eq!(Record::parse(&line, Some(&other.public())), Err(NoRecord::Foreign));
        for at in 0..line.len() {
            let mut changed = line.clone();
            changed[at] ^= 1;
            assert_eq!(Record::parse(&changed, None), Err(NoRecord::Altered), "byte {at}");
            assert_eq!(Record::parse(&line[..at], None), Err(NoRecord::Altered), "cut to {at}");
        }
    }
}
