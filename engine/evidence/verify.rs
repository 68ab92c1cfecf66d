//! Whether a log is what the device wrote: every line is checked, and whatever is wrong is named with its place.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use milkglass_common::hex;

use super::files;
use super::record::{
    Account, Damage, DevicePublicKey, Frames, Limit, MAX_LINE, NO_HASH, NoRecord, Opened, Record, Upgraded,
    What, hash,
};
use crate::error::{Error, EvidenceError, EvidenceKind, Result};

/// What was done to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tampering {
    /// A line is not what the device signed.
    Edited,
    /// A line stands where there was none.
    Inserted,
    /// Records from the first number to the last are missing.
    Removed(u64, u64),
    /// A record does not stand in its place.
    Reordered,
    /// A record stands here a second time.
    Repeated,
    /// A record of this device that belongs to another log of it, such as one that was rewritten or restored.
    Spliced,
    /// A record of another device.
    Foreign,
    /// The log once went as far as this record; its end was taken off.
    Truncated(u64),
    /// Another record bore the number of this one when the checkpoint left the device.
    Rewritten,
    /// The checkpoint's record is not in the log, and was not deleted by the device.
    Unmatched(u64),
    /// The device itself found files changed before it deleted them.
    Damaged(Damage),
    /// A file that the device did not put there, or one that stands under another name than it had.
    StrangeFile,
}

/// Something that was done to the log, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was done.
    pub kind: Tampering,
    /// Number of the record that it was done to or noticed at, as far as it is known.
    pub record: Option<u64>,
    /// File and line, where there is one.
    pub place: Option<(String, usize)>,
    at: usize,
}

/// Something that a reader should know and that is no sign of tampering.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The log begins with this record; the device deleted what was older, to keep to its limit.
    BeginsAt(u64),
    /// The last line is half a record.
    Torn,
    /// It is not known to have ended after this record: it still runs, the power failed, or its end was taken off.
    Open(u64),
    /// The program was started again after this record without having ended, as after a power cut, or its end was taken off
    /// before that start.
    Restarted(u64),
    /// The log could not be written for a while before this record.
    Gap(u64, String),
    /// The device's clock was set back before this record.
    ClockBack(u64),
    /// The checkpoint is older than the oldest record that is left, by the word of version 0.1, which did not say why records
    /// went: it proves nothing here.
    CheckpointTooOld(u64),
    /// The device signed that it deleted the checkpoint's record, to keep to its limit: nothing was found against the log, and
    /// nothing about what the checkpoint stands for can be told.
    CheckpointDeleted(u64),
    /// Nothing up to this record was changed since the checkpoint left the device.
    CheckpointHolds(u64),
}

/// What the device deleted of its log on purpose, as it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// The oldest record that it did not delete.
    pub first: u64,
    /// Files that it deleted.
    pub files: u64,
    /// The limit that it kept to.
    pub limit: Option<Limit>,
    /// The log was begun by version 0.1, which said only how far back it reached.
    pub upgraded: Option<Upgraded>,
}

/// What was found out about a log.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Whose log it is.
    pub key: Option<DevicePublicKey>,
    /// Records that verify.
    pub records: u64,
    /// The first and last of these: number and time.
    pub span: Option<((u64, String), (u64, String))>,
    /// All frames that they count. `ms`, `state` and `changes` mean nothing here.
    pub frames: Frames,
    /// File and line of the last checkpoint in the log.
    pub checkpoint: Option<(String, usize)>,
    /// What the device deleted; `None` when it deleted nothing, and for logs of version 0.1.
    pub deleted: Option<Deleted>,
    /// What was done to it; empty for a log that is whole.
    pub findings: Vec<Finding>,
    /// What else a reader should know.
    pub notes: Vec<Note>,
}

/// The names and contents of the files of a log in its folder.
///
/// # Errors
/// [`Error::Io`].
///
/// Files that only look like a log's are among them, since [`verify()`] is to tell; one that cannot be read as a file (a pipe, a
/// link) as an empty one.
pub fn read_folder(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let fails = |e| Error::io(format!("reading {}", dir.display()), e);
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(fails)? {
        let entry = entry.map_err(fails)?;
        if !files::alike(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let ordinary = entry.file_type().map_err(fails)?.is_file();
        let bytes = if ordinary { fs::read(entry.path()).map_err(fails)? } else { Vec::new() };
        all.push((entry.path().display().to_string(), bytes));
    }
    all.sort();
    Ok(all)
}

/// Checks the files of one log (name and content; they are taken in the order of their names) and, if there is one, a checkpoint that left the device
/// earlier: any whole line of the log. `key` is the device's public key; without it the log's own first key is taken, and
/// somebody who replaced the whole log has replaced that too.
///
/// # Errors
/// [`Error::Evidence`]: the checkpoint is none, or of another device.
pub fn verify(
    files: &[(String, Vec<u8>)],
    key: Option<&DevicePublicKey>,
    checkpoint: Option<&str>,
) -> Result<Report> {
    let checkpoint = checkpoint.map(str::trim_end).filter(|line| !line.is_empty());
    let key = key.copied().or_else(|| checkpoint.and_then(|line| own_key(line.as_bytes())));
    let key = key.or_else(|| sorted(files).into_iter().flat_map(|f| lines(&f.1)).find_map(own_key));
    let mut check = Check::new(key, files);
    for at in 0..check.entries.len() {
        check.line(at);
    }
    check.end();
    if let Some(line) = checkpoint {
        check.checkpoint(line)?;
    }
    // A file that is missing or moved shows by its records, if it had any.
    if check.report.findings.is_empty() {
        check.names(files);
    }
    check.report.findings.sort_by_key(|f| f.at);
    Ok(check.report)
}

fn own_key(line: &[u8]) -> Option<DevicePublicKey> {
    DevicePublicKey::parse(&Record::parse(line, None).ok()?.key)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n')
}

/// By name, whatever folder they are in: names hold the running number.
fn sorted(files: &[(String, Vec<u8>)]) -> Vec<&(String, Vec<u8>)> {
    let mut all: Vec<_> = files.iter().collect();
    all.sort_by_key(|(path, _)| Path::new(path).file_name());
    all
}

/// A line of the log.
struct Entry {
    place: (String, usize),
    what: Line,
}

enum Line {
    Record(Box<Record>, [u8; 32]),
    Strange(NoRecord),
    /// The last line of a file, without its end.
    Torn,
}

struct Check {
    entries: Vec<Entry>,
    /// Where each number stands: places in `entries`.
    places: BTreeMap<u64, Vec<usize>>,
    report: Report,
    /// The last record in its place, and its hash where it is known.
    last: Option<(u64, Option<[u8; 32]>)>,
    /// Lines since then that are no records.
    strange: Vec<usize>,
    /// The file before ends in half a record.
    torn: Option<usize>,
    /// Whether the first record opens a file, its number, and the hash of the one before that it names.
    first: Option<(bool, u64, String)>,
    /// What the newest file says of those that were deleted, and the record that says it.
    kept: Option<(u64, Opened)>,
    time: String,
    ended: bool,
}

impl Check {
    fn new(key: Option<DevicePublicKey>, files: &[(String, Vec<u8>)]) -> Check {
        let mut entries = Vec::new();
        let mut places: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut kept: Option<(u64, Opened)> = None;
        for (name, bytes) in sorted(files) {
            let whole = bytes.iter().filter(|b| **b == b'\n').count();
            for (at, line) in lines(bytes).enumerate() {
                let what = if at == whole {
                    if line.is_empty() { continue } else { Line::Torn }
                } else if line.len() > MAX_LINE {
                    Line::Strange(NoRecord::Altered)
                } else {
                    match Record::parse(line, key.as_ref()) {
                        Ok(record) => {
                            if let Some(opened) = record.what.opens()
                                && kept.as_ref().is_none_or(|(n, _)| *n < record.n)
                            {
                                kept = Some((record.n, opened.clone()));
                            }
                            places.entry(record.n).or_default().push(entries.len());
                            Line::Record(Box::new(record), hash(line))
                        }
                        Err(why) => Line::Strange(why),
                    }
                };
                entries.push(Entry { place: (name.to_owned(), at + 1), what });
            }
        }
        Check {
            entries,
            places,
            report: Report { key, ..Report::default() },
            last: None,
            strange: Vec::new(),
            torn: None,
            first: None,
            kept,
            time: String::new(),
            ended: false,
        }
    }

    fn find(&mut self, kind: Tampering, record: Option<u64>, at: usize) {
        let place = self.entries.get(at).map(|e| e.place.clone());
        self.report.findings.push(Finding { kind, record, place, at });
    }

    fn line(&mut self, at: usize) {
        let (record, hash) = match &self.entries[at].what {
            Line::Record(record, hash) => (Record::clone(record), *hash),
            Line::Strange(_) => return self.strange.push(at),
            Line::Torn => {
                // Two in a row: files without a record between them.
                self.torn.get_or_insert(at);
                return;
            }
        };
        if self.out_of_place(at, &record, &hash) {
            let kind = self.why_here(at, &record, &hash);
            self.settle(None);
            return self.find(kind, Some(record.n), at);
        }
        if let Some(torn) = self.torn.take()
            && !record.what.opens().is_some_and(|opened| opened.cut)
        {
            self.find(Tampering::Edited, None, torn);
        }
        match self.last {
            None => {
                self.first = Some((
                    record.what.opens().is_some(),
                    record.n - self.strange.len().min(record.n as usize) as u64,
                    record.prev.clone(),
                ));
                self.settle(Some(record.n));
            }
            Some((n, known)) => {
                let gap = record.n - n - 1;
                let strange = self.strange.len() as u64;
                self.settle(Some(record.n));
                if gap > strange {
                    self.missing(n + 1 + strange, record.n - 1, at);
                } else if gap == 0 && known.is_some_and(|hash| record.prev != hex(hash)) {
                    self.find(Tampering::Spliced, Some(record.n), at);
                }
            }
        }
        if record.n == 0 && record.prev != hex(NO_HASH) {
            self.find(Tampering::Spliced, Some(0), at);
        }
        let spliced = self.report.findings.last().is_some_and(|f| f.at == at && f.kind == Tampering::Spliced);
        let adjoins = self.last.is_some_and(|(n, _)| n + 1 == record.n);
        self.last = Some((record.n, (!spliced).then_some(hash)));
        self.read(&record, adjoins);
    }

    /// Whether the record does not stand in its place: before the last one, or the next record goes on where the last was.
    fn out_of_place(&self, at: usize, record: &Record, hash: &[u8; 32]) -> bool {
        let next = self.entries[at + 1..].iter().find_map(|e| match &e.what {
            Line::Record(next, _) => Some(next),
            _ => None,
        });
        match self.last {
            None => next.is_some_and(|next| next.n < record.n),
            Some((n, _)) if record.n <= n => true,
            Some((n, Some(last))) => {
                // The next one lies nearer to the last one, or follows on it and not on this one.
                let nearer = next.is_some_and(|next| next.n > n && next.n < record.n);
                let follows =
                    |next: &Record| next.n == n + 1 && next.prev == hex(last) && next.prev != hex(hash);
                nearer || next.is_some_and(|next| follows(next))
            }
            Some(_) => false,
        }
    }

    /// What a record that is out of place is.
    fn why_here(&self, at: usize, record: &Record, hash: &[u8; 32]) -> Tampering {
        let others = |n: u64| {
            let places = self.places.get(&n).into_iter().flatten().filter(move |place| **place != at);
            places.filter_map(|place| match &self.entries[*place].what {
                Line::Record(record, hash) => Some((record, hash)),
                _ => None,
            })
        };
        if others(record.n).any(|(_, other)| other == hash) {
            Tampering::Repeated
        } else if others(record.n).next().is_some() {
            Tampering::Spliced
        } else if record.n > 0 && others(record.n - 1).any(|(_, before)| record.prev == hex(before))
            || others(record.n + 1).any(|(after, _)| after.prev == hex(hash))
        {
            Tampering::Reordered
        } else {
            Tampering::Spliced
        }
    }

    /// Says what the lines without a record are, before the record `next`: as many were edited as are missing, the others
    /// were brought in.
    fn settle(&mut self, next: Option<u64>) {
        let strange = std::mem::take(&mut self.strange);
        let count = strange.len() as u64;
        let (start, places) = match (self.last, next) {
            (Some((n, _)), Some(next)) => (n + 1, next - n - 1),
            (None, Some(next)) => (next.saturating_sub(count), next.min(count)),
            (Some((n, _)), None) => (n + 1, 0),
            (None, None) => (0, 0),
        };
        for (i, at) in (0..).zip(strange) {
            let kind = match self.entries[at].what {
                Line::Strange(NoRecord::Foreign) => Tampering::Foreign,
                _ if i < places => Tampering::Edited,
                _ => Tampering::Inserted,
            };
            self.find(kind, (i < places).then_some(start + i), at);
        }
    }

    /// Notes a gap in the numbers, except for records that stand somewhere else.
    fn missing(&mut self, from: u64, to: u64, at: usize) {
        // Of what the device had signed for, the power may have failed before all of it was deleted.
        let from = from.max(self.deleted_below());
        if from > to {
            return;
        }
        let elsewhere: Vec<u64> = self.places.range(from..=to).map(|(n, _)| *n).collect();
        let mut start = from;
        for n in elsewhere.into_iter().chain([to + 1]) {
            if start < n {
                self.find(Tampering::Removed(start, n - 1), Some(start), at);
            }
            start = n + 1;
        }
    }

    /// Takes in what a record says that stands in its place. `adjoins`: the one before it was read, too, so what did not end
    /// there did not end.
    fn read(&mut self, record: &Record, adjoins: bool) {
        let report = &mut self.report;
        report.records += 1;
        let here = (record.n, record.time.clone());
        report.span = Some((report.span.take().map_or(here.clone(), |span| span.0), here));
        if record.time < self.time {
            report.notes.push(Note::ClockBack(record.n));
        }
        self.time.clone_from(&record.time);
        match &record.what {
            What::Start(_) if adjoins && !self.ended => report.notes.push(Note::Restarted(record.n - 1)),
            What::Gap(gap) => report.notes.push(Note::Gap(record.n, gap.reason.clone())),
            What::Frames(frames) => {
                let all = &mut report.frames;
                // Saturating: a key of one's own signs any count.
                for (sum, more) in [
                    (&mut all.received, frames.received),
                    (&mut all.covered, frames.covered),
                    (&mut all.obscured, frames.obscured),
                    (&mut all.dropped, frames.dropped),
                    (&mut all.skipped, frames.skipped),
                ] {
                    *sum = sum.saturating_add(more);
                }
                all.self_tests = [0, 1].map(|i| all.self_tests[i].saturating_add(frames.self_tests[i]));
            }
            _ => {}
        }
        self.ended = match record.what {
            What::End => true,
            What::Checkpoint => self.ended,
            _ => false,
        };
    }

    fn end(&mut self) {
        // Nothing follows them, so they stand for records.
        let after = self.last.map_or(0, |(n, _)| n + 1) + self.strange.len() as u64;
        self.settle(self.last.is_some().then_some(after));
        self.settle(None);
        if self.torn.is_some() {
            self.report.notes.push(Note::Torn);
        }
        self.beginning();
        if let Some((n, _)) = self.last
            && !self.ended
        {
            self.report.notes.push(Note::Open(n));
        }
        let newest = self.entries.iter().rev().find_map(|e| match &e.what {
            Line::Record(record, _) if matches!(record.what, What::Checkpoint) => Some(e.place.clone()),
            _ => None,
        });
        self.report.checkpoint = newest;
    }

    /// The number of the oldest record that the device did not delete, as it signed; 0 of version 0.1.
    fn deleted_below(&self) -> u64 {
        let opened = self.kept.as_ref().filter(|(_, opened)| opened.account.is_some());
        opened.map_or(0, |(_, opened)| opened.first)
    }

    /// Whether the log begins where the device says, and what it says of what went before.
    fn beginning(&mut self) {
        let Some((opens, first, prev)) = self.first.clone() else { return };
        let (n, kept, account) = match self.kept.clone() {
            Some((n, opened)) => (n, opened.first, opened.account),
            None => (0, 0, None),
        };
        if first > kept {
            self.missing(kept, first - 1, 0);
        } else if !opens && first > 0 {
            self.find(Tampering::Removed(first - 1, first - 1), Some(first - 1), 0);
        } else if first == kept && first > 0 && account.as_ref().is_some_and(|a| a.hash != prev) {
            self.find(Tampering::Spliced, Some(first), 0);
        } else if first > 0 {
            self.report.notes.insert(0, Note::BeginsAt(first));
        }
        let Some(account) = account else { return };
        if let Some(damage) = account.damage {
            let at = self.places.get(&n).and_then(|places| places.first()).copied().unwrap_or_default();
            self.find(Tampering::Damaged(damage), Some(n), at);
        }
        if kept > 0 || account.upgraded.is_some() {
            let (files, limit, upgraded) = (account.files, account.limit, account.upgraded);
            self.report.deleted = Some(Deleted { first: kept, files, limit, upgraded });
        }
    }

    /// Finds files that the device did not put there. Files that were given under names of one's own are taken as they are.
    fn names(&mut self, files: &[(String, Vec<u8>)]) {
        let mut firsts: BTreeMap<&str, &Record> = BTreeMap::new();
        for entry in &self.entries {
            if let Line::Record(record, _) = &entry.what {
                firsts.entry(&entry.place.0).or_insert(record);
            }
        }
        let (mut strange, mut before, mut accounted) = (Vec::new(), None::<u64>, false);
        for (name, _) in sorted(files) {
            let own = name.rsplit('/').next().unwrap_or(name);
            if !files::alike(own) {
                return;
            }
            let index = files::index(own);
            let opened = firsts.get(name.as_str()).map(|record| record.what.opens());
            let account = opened.flatten().and_then(|opened| opened.account.as_ref());
            accounted |= account.is_some();
            let as_written = match (opened, account) {
                (_, Some(account)) => index == Some(account.file),
                (Some(opened), None) => {
                    opened.is_some() && before.is_none_or(|before| index == Some(before + 1))
                }
                // Version 0.1 made a file before it had a record for it, and the power can fail between the two.
                (None, _) => !accounted,
            };
            if index.is_none() || !as_written {
                strange.push(name.clone());
            }
            before = index.or(before);
        }
        for name in strange {
            let (kind, at) = (Tampering::StrangeFile, self.entries.len());
            self.report.findings.push(Finding { kind, record: None, place: Some((name, 1)), at });
        }
    }

    fn checkpoint(&mut self, line: &str) -> Result<()> {
        let about = |why: &str| {
            Err(EvidenceError::new(EvidenceKind::Checkpoint, format!("the checkpoint {why}")).into())
        };
        let record = match Record::parse(line.as_bytes(), self.report.key.as_ref()) {
            Ok(record) => record,
            Err(NoRecord::Altered) => {
                return about("is not whole: it must be one line of a log, as it was sent");
            }
            Err(NoRecord::Foreign) => return about("was signed by another device than the log"),
        };
        let hash = hash(line.as_bytes());
        let here = self.places.get(&record.n).into_iter().flatten();
        let known: Vec<(usize, bool)> = here
            .map(|at| (*at, matches!(&self.entries[*at].what, Line::Record(_, other) if *other == hash)))
            .collect();
        match (known.first(), self.last) {
            (Some(_), _) if known.iter().any(|k| k.1) => {
                self.report.notes.push(Note::CheckpointHolds(record.n));
            }
            (Some((at, _)), _) => self.find(Tampering::Rewritten, Some(record.n), *at),
            (None, Some((last, _))) if record.n > last => {
                self.find(Tampering::Truncated(record.n), Some(last + 1), self.entries.len());
            }
            (None, None) => self.find(Tampering::Truncated(record.n), Some(0), self.entries.len()),
            (None, Some(_)) => self.unmatched(record.n, &hash),
        }
        Ok(())
    }

    /// The checkpoint's record lies before the last one, and is not there.
    fn unmatched(&mut self, n: u64, hash: &[u8; 32]) {
        let Some((_, opened)) = self.kept.clone().filter(|(_, opened)| n < opened.first) else {
            return self.find(Tampering::Unmatched(n), Some(n), self.entries.len());
        };
        let gone = |account: &Account| account.upgraded.as_ref().is_some_and(|upgraded| n < upgraded.gone);
        match &opened.account {
            // The very last that was deleted: the account names its hash.
            Some(account) if n + 1 == opened.first && account.hash == hex(hash) => {
                self.report.notes.push(Note::CheckpointHolds(n));
            }
            Some(account) if n + 1 == opened.first && !gone(account) => {
                self.find(Tampering::Rewritten, Some(n), self.entries.len());
            }
            Some(account) if !gone(account) => self.report.notes.push(Note::CheckpointDeleted(n)),
            _ => self.report.notes.push(Note::CheckpointTooOld(n)),
        }
    }
}
