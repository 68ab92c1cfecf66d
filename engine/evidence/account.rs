//! What is gone from a log, and why: which files fall to the limit, and what had been done to them by then.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use milkglass_common::{hex, unhex};

use super::files::{self, Joint, Own, on_disk};
use super::record::{Account, Damage, DevicePublicKey, Limit, NO_HASH, Opened, Record, Upgraded, hash};

/// How far back the log reaches, and its account of what is gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// The oldest record that was not deleted on purpose.
    pub first: u64,
    pub account: Account,
}

impl Kept {
    /// What the newest file says that can still be read; `next`: the number of the record that will be written next.
    pub fn carried(own: &[Own], next: u64) -> Kept {
        let newest = own.iter().filter_map(|f| Some((f, f.opened.as_ref()?))).max_by_key(|(f, _)| f.first);
        let Some((file, opened)) = newest else {
            // No log, or one whose files have all lost their beginning: then nothing is known to have been deleted.
            let account = Account { hash: hex(NO_HASH), space: 0, ..Account::default() };
            return Kept { first: 0, account };
        };
        let account = match &opened.account {
            Some(account) => {
                Account { space: account.space.saturating_add(on_disk(length(file))), ..account.clone() }
            }
            None => Account {
                // Unknown where the record is missing, and then it counts as damage when its file is deleted.
                hash: hex(own.iter().find(|f| f.first == opened.first).map_or(NO_HASH, |f| f.begins.hash)),
                space: own.iter().map(|f| on_disk(f.size)).sum(),
                upgraded: Some(Upgraded { at: next, gone: opened.first }),
                ..Account::default()
            },
        };
        Kept { first: opened.first, account }
    }

    /// The place behind the last record that was deleted.
    fn joint(&self) -> Joint {
        Joint { n: self.first, hash: unhex(&self.account.hash).unwrap_or(NO_HASH) }
    }

    /// Takes files off the beginning until `room` more bytes stay below `most`, and says in the account what they were. `end`
    /// is where the chain goes on. Returns what must be deleted once the account is signed.
    ///
    /// # Errors
    /// A file cannot be read now.
    pub fn shorten(
        &mut self,
        own: &[Own],
        end: Joint,
        most: u64,
        room: u64,
        key: &DevicePublicKey,
    ) -> io::Result<Vec<PathBuf>> {
        let sizes = sizes(own, self.account.space);
        let mut total = sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size));
        let mut gone = Vec::new();
        for (i, file) in own.iter().enumerate() {
            let behind = own.get(i + 1).map_or(end, |next| next.begins);
            // The power failed after it was signed for, and before it was deleted.
            let left_over = behind.n <= self.first;
            if total.saturating_add(room) <= most && !left_over {
                break;
            }
            let torn = own.get(i + 1).is_none_or(|next| next.opened.as_ref().is_some_and(|o| o.cut));
            let from = match &file.opened {
                Some(_) if file.first < self.first => file.begins,
                _ => self.joint(),
            };
            let content = files::content(&file.path)?;
            if let Some(damage) =
                examine(&content, from, behind, torn, key).or_else(|| misplaced(file, behind))
            {
                log::error!(
                    "evidence: {} was changed before it fell to the limit; the log says so from here on",
                    file.path.display()
                );
                self.account.damage = Some(add(self.account.damage.take(), damage));
            }
            if behind.n > self.first {
                (self.first, self.account.hash) = (behind.n, hex(behind.hash));
            }
            if !left_over {
                self.account.files = self.account.files.saturating_add(1);
                self.account.limit = Some(Limit::Bytes(most));
            }
            total = total.saturating_sub(sizes[i]);
            gone.push(file.path.clone());
        }
        Ok(gone)
    }
}

/// Whether a file begins as the device began it, under the name that it was given. Version 0.1 did not sign for names.
fn in_its_place(file: &Own) -> bool {
    let named = |opened: &Opened| opened.account.as_ref().is_none_or(|account| account.file == file.index);
    file.opened.as_ref().is_some_and(named)
}

/// What is wrong with a file whose records are all there, if it is not in its place.
fn misplaced(file: &Own, behind: Joint) -> Option<Damage> {
    let to = behind.n.saturating_sub(1).max(file.first);
    (!in_its_place(file)).then_some(Damage { from: file.first, to, missing: 0, strange: 0 })
}

/// Bytes that each file takes, as signed: who blows up a file must not make others fall to the limit. Files of version 0.1
/// count as they are.
fn sizes(own: &[Own], space: u64) -> Vec<u64> {
    let signed = |file: &Own| file.opened.as_ref()?.account.as_ref().map(|account| account.space);
    let size = |(i, file): (usize, &Own)| match (signed(file), &file.opened) {
        (Some(before), _) => {
            let after = own[i + 1..].iter().find_map(signed).unwrap_or(space);
            after.saturating_sub(before)
        }
        (None, Some(_)) => on_disk(file.size),
        // It lost its beginning: what it takes is counted with the file before.
        (None, None) => 0,
    };
    own.iter().enumerate().map(size).collect()
}

/// Bytes of a file's records, as far as they follow on each other.
fn length(file: &Own) -> u64 {
    let bytes = files::content(&file.path).unwrap_or_default();
    let mut at = file.begins;
    let mut length = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let Some(next) = follows(line.strip_suffix(b"\n").unwrap_or(line), at) else { continue };
        (at, length) = (next, length + line.len() as u64);
    }
    length
}

/// Where the chain is behind this line, if the line goes on there.
fn follows(line: &[u8], at: Joint) -> Option<Joint> {
    let record = Record::unchecked(line)?;
    (record.n == at.n && record.prev == hex(at.hash)).then(|| Joint { n: at.n + 1, hash: hash(line) })
}

/// What is wrong with a file that should lead from one place of the chain to another. `torn`: half a record may end it.
///
/// No signature need be checked as long as the hashes lead to `to`, which stands in a record whose signature was.
fn examine(bytes: &[u8], from: Joint, to: Joint, torn: bool, key: &DevicePublicKey) -> Option<Damage> {
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let lines = || bytes[..whole].split_inclusive(|b| *b == b'\n').map(|line| &line[..line.len() - 1]);
    let end = lines().try_fold(from, |at, line| follows(line, at));
    if end == Some(to) && (torn || whole == bytes.len()) {
        return None;
    }
    let (mut there, mut strange) = (BTreeSet::new(), u64::from(whole < bytes.len() && !torn));
    for line in lines() {
        let record = Record::parse(line, Some(key)).ok();
        let new = record.is_some_and(|r| (from.n..to.n).contains(&r.n) && there.insert(r.n));
        strange += u64::from(!new);
    }
    let to_n = to.n.max(from.n);
    Some(Damage {
        from: from.n,
        to: to_n.saturating_sub(1).max(from.n),
        missing: to_n - from.n - there.len() as u64,
        strange,
    })
}

/// Both together.
fn add(before: Option<Damage>, more: Damage) -> Damage {
    let Some(before) = before else { return more };
    Damage {
        from: before.from.min(more.from),
        to: before.to.max(more.to),
        missing: before.missing.saturating_add(more.missing),
        strange: before.strange.saturating_add(more.strange),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::evidence::record::{DeviceSecretKey, What};

    #[test]
    fn a_file_is_as_written_or_what_is_wrong_with_it_is_counted() {
        let key = DeviceSecretKey::parse(&"07".repeat(32)).unwrap();
        let mut prev = NO_HASH;
        let mut lines = Vec::new();
        for n in 0..6 {
            let record = Record {
                n,
                time: String::new(),
                what: What::Checkpoint,
                prev: hex(prev),
                key: key.public().to_string(),
            };
            let line = record.sign(&key).unwrap();
            prev = hash(&line[..line.len() - 1]);
            lines.push(line);
        }
        let joint = |n: usize| Joint {
            n: n as u64,
            hash: n.checked_sub(1).map_or(NO_HASH, |n| hash(&lines[n][..lines[n].len() - 1])),
        };
        let found = |lines: &[&[u8]], torn| {
            examine(&lines.concat(), joint(1), joint(5), torn, &key.public()).map(|d| (d.missing, d.strange))
        };
        let all: Vec<&[u8]> = lines[1..5].iter().map(Vec::as_slice).collect();
        assert_eq!(found(&all, false), None);
        assert_eq!(found(&[&all[..], &[b"{\"n\""]].concat(), true), None, "half a record");
        assert_eq!(found(&[&all[..], &[b"{\"n\""]].concat(), false), Some((0, 1)), "half a record, not told");
        assert_eq!(found(&[], false), Some((4, 0)), "empty");
        for i in 0..4 {
            let mut less = all.clone();
            less.remove(i);
            assert_eq!(found(&less, true), Some((1, 0)), "{i} removed");
            let mut more = all.clone();
            more.insert(i, all[(i + 1) % 4]);
            assert_eq!(found(&more, true), Some((0, 1)), "{i} doubled");
            let edited =
                String::from_utf8(all[i].to_vec()).unwrap().replacen("\"time\":\"\"", "\"time\":\"1\"", 1);
            let mut other = all.clone();
            other[i] = edited.as_bytes();
            assert_eq!(found(&other, true), Some((1, 1)), "{i} edited");
        }
        let mut swapped = all.clone();
        swapped.swap(1, 2);
        assert_eq!(found(&swapped, true), Some((0, 0)), "all there, and not in their places");
    }
}
