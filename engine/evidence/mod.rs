//! A log that tells afterwards whether the camera redacted, and whether anybody changed what it says.
//!
//! One record a line, as JSON: frames per outcome every ten seconds, changes of state, hashes of policy, zones, models and
//! runtime. Each record names the hash of the one before and is signed with the device's key, so a record that was edited,
//! removed, moved or brought in is found by [`verify`](verify()). Lines taken off the end are found by a *checkpoint*: any line of the log
//! that left the device before. No pixels, no coordinates, no counts of people.
//!
//! Like the engine, a log has no threads and no clock. It does write to a disk, and waits for it: call it from a thread that
//! no frame waits for, or let a [`EvidenceWriter`] do so. When the disk fails, nothing else does: the trouble is told and counted, it is tried again, and a
//! record says what is missing.

mod account;
mod files;
mod record;
#[cfg(test)]
mod tests;
mod verify;
mod words;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{EvidenceError, EvidenceKind, Result};
use crate::pipeline::{State, Status};
use account::Kept;
use files::{Disk, Folder, Head, Joint};
use milkglass_common::files::create_secret;
use milkglass_common::hex;
pub use record::{
    Account, Damage, DevicePublicKey, DeviceSecretKey, Frames, Gap, Identity, Limit, OWN_DETECTOR, Opened,
    Record, Upgraded, What,
};
use record::{NO_HASH, hash, utc};
pub use verify::{Deleted, Finding, Note, Report, Tampering, read_folder, verify};
pub use writer::{EvidenceWriter, Figures};

/// The most changes of state that one record names.
const MOST_CHANGES: usize = 16;
/// Longest wait for the lock of the folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// A file is closed when it is as large as this share of the whole, within these bounds.
const SHARE: u64 = 8;
const SEGMENT_BYTES: (u64, u64) = (32 << 10, 4 << 20);

/// When something is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the device's clock: what records tell.
    pub wall: SystemTime,
    /// Since the start, by a clock that is never set: what periods are measured by.
    pub up: Duration,
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct EvidenceSettings {
    /// The folder of its files; the log has it for itself.
    pub dir: PathBuf,
    /// What signs the records.
    pub key: DeviceSecretKey,
    /// What decides which pictures leave.
    pub identity: Identity,
    /// The most bytes that the files take together, at least [`EvidenceSettings::LEAST_BYTES`]; the oldest file goes.
    pub max_bytes: u64,
    /// Time between two records of frames.
    pub period: Duration,
    /// A checkpoint comes after so many other records.
    pub checkpoint_every: u64,
    /// A file outside `dir` that holds the newest checkpoint, so that the next start notices when the log's end, or all of it,
    /// was taken off. `None`: only a checkpoint that left the device tells. [`EvidenceSettings::remembering`] names one.
    pub remembered: Option<PathBuf>,
}

impl EvidenceSettings {
    /// The least bound on disk use.
    pub const LEAST_BYTES: u64 = 256 << 10;

    /// A record every ten seconds, a checkpoint every minute, 64 MiB.
    pub fn new(dir: impl Into<PathBuf>, key: DeviceSecretKey, identity: Identity) -> EvidenceSettings {
        EvidenceSettings {
            dir: dir.into(),
            key,
            identity,
            max_bytes: 64 << 20,
            period: Duration::from_secs(10),
            checkpoint_every: 6,
            remembered: None,
        }
    }

    /// Remembers the newest checkpoint in this folder, under a name of this log's own: several logs may share the folder.
    pub fn remembering(mut self, folder: &Path) -> EvidenceSettings {
        let dir = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let known_by = format!("{}\n{}", self.key.public(), dir.display());
        self.remembered = Some(folder.join(format!("evidence-{}", &hex(hash(known_by.as_bytes()))[..16])));
        self
    }
}

/// A log being written.
pub struct EvidenceLog {
    settings: EvidenceSettings,
    disk: Box<dyn Disk>,
    /// Held as long as the log lives: two writers would break the chain.
    _lock: File,
    head: Option<Head>,
    /// Size of the file being written; `None` when the next record needs a new one.
    open: Option<u64>,
    started: bool,
    since_checkpoint: u64,
    /// Figures at the end of the last period that was written.
    told: Status,
    told_at: Duration,
    state: State,
    changes: Vec<(u64, String)>,
    more_changes: u64,
    /// Settings that are in force and not yet told.
    news: bool,
    trouble: Option<Gap>,
    tried_at: Duration,
    errors: u64,
    damaged: bool,
    /// What the newest file says of those that were deleted.
    kept: Option<Kept>,
}

impl EvidenceLog {
    /// Opens or continues the log in a folder, which is made if it is not there. Nothing is written yet.
    ///
    /// # Errors
    /// [`Error::Evidence`](crate::Error::Evidence): the folder cannot be had, another program writes there, it holds a log of
    /// another key, or the bound is too small.
    pub fn open(settings: EvidenceSettings) -> Result<EvidenceLog> {
        Self::on(settings, Box::new(Folder::default()))
    }

    fn on(settings: EvidenceSettings, disk: Box<dyn Disk>) -> Result<EvidenceLog> {
        let dir = settings.dir.display();
        let fails = |what: &str, e: &dyn std::fmt::Display| {
            let why = format!("the evidence folder {dir} {what}: {e}; nothing was started");
            EvidenceError::new(EvidenceKind::Folder, why).about(dir.to_string())
        };
        if settings.max_bytes < EvidenceSettings::LEAST_BYTES {
            return Err(fails("needs room", &"allow it at least 256 KiB").into());
        }
        fs::create_dir_all(&settings.dir).map_err(|e| fails("cannot be made", &e).caused_by(e))?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(settings.dir.join("lock"));
        let lock = lock.map_err(|e| fails("cannot be written to", &e).caused_by(e))?;
        // Whoever was forked just before we were stopped holds a copy of the lock until it becomes another program.
        let patience = Instant::now() + LOCK_PATIENCE;
        while lock.try_lock().is_err() {
            if Instant::now() > patience {
                return Err(fails("is in use", &"another program writes there; give each its own").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let foreign = files::list(&settings.dir).and_then(|all| files::foreign(&all, &settings.key.public()));
        // What cannot be read now is tried again later.
        if foreign.is_ok_and(|foreign| foreign) {
            return Err(
                fails("holds a log of another device key", &"give that key, or another folder").into()
            );
        }
        Ok(EvidenceLog {
            settings,
            disk,
            _lock: lock,
            head: None,
            open: None,
            started: false,
            since_checkpoint: 0,
            told: Status::default(),
            told_at: Duration::ZERO,
            state: State::default(),
            changes: Vec::new(),
            more_changes: 0,
            news: false,
            trouble: None,
            tried_at: Duration::ZERO,
            errors: 0,
            damaged: false,
            kept: None,
        })
    }

    /// Tells the log how it goes. Call it a few times a second: changes of state are noticed here, and a record is written
    /// when a period is over. Waits for the disk then.
    pub fn record(&mut self, status: &Status, now: Moment) {
        if status.state != self.state {
            self.state = status.state;
            let at = now.up.saturating_sub(self.told_at).as_millis() as u64;
            match self.changes.len() < MOST_CHANGES {
                true => self.changes.push((at, status.state.name().into())),
                false => self.more_changes += 1,
            }
        }
        // Tried again no sooner than a period later when it failed.
        let due = |since: Duration| now.up.saturating_sub(since) >= self.settings.period;
        if !self.started && self.errors == 0 {
            self.checkpoint(now);
        } else if due(self.told_at) && (self.trouble.is_none() || due(self.tried_at)) {
            self.attempt(now, |log| log.write_period(status, now));
        }
    }

    /// Another policy is in force from here on; told with the next record.
    pub fn set_identity(&mut self, identity: Identity) {
        self.news |= identity != self.settings.identity;
        self.settings.identity = identity;
    }

    /// Writes a checkpoint now and returns its line, to be sent off the device; `None` when it could not be written.
    pub fn checkpoint(&mut self, now: Moment) -> Option<String> {
        let mut line = None;
        self.attempt(now, |log| {
            line = Some(log.write(What::Checkpoint, now)?);
            Ok(())
        });
        line
    }

    /// Writes the last figures, that the program ends, and a checkpoint, which is returned.
    pub fn end(&mut self, status: &Status, now: Moment) -> Option<String> {
        let mut line = None;
        self.attempt(now, |log| {
            log.write_period(status, now)?;
            log.write(What::End, now)?;
            line = Some(log.write(What::Checkpoint, now)?);
            Ok(())
        });
        line
    }

    /// Attempts that failed.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Whether the log turned out not to be what had been written: its end was gone at the start, or files were changed before
    /// they fell to the limit. It goes on, and [`verify`](verify()) tells what is known.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Why nothing can be written at the moment; `None` when it can.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|gap| gap.reason.as_str())
    }

    /// Does something with the disk. A failure is told, and nothing else happens.
    fn attempt(&mut self, now: Moment, work: impl FnOnce(&mut Self) -> io::Result<()>) {
        self.tried_at = now.up;
        if let Err(e) = work(self) {
            self.errors += 1;
            // Whatever of the line is in the file, nothing is appended to it any more.
            self.open = None;
            match &mut self.trouble {
                Some(gap) => gap.failures += 1,
                None => {
                    log::error!(
                        "the evidence log cannot be written: {e}; redaction goes on, the log will have a gap"
                    );
                    self.trouble = Some(Gap { since: utc(now.wall), failures: 1, reason: e.to_string() });
                }
            }
        }
    }

    fn write_period(&mut self, status: &Status, now: Moment) -> io::Result<()> {
        let (stats, told) = (&status.stats, &self.told);
        let frames = Frames {
            ms: now.up.saturating_sub(self.told_at).as_millis() as u64,
            received: stats.pushed.saturating_sub(told.stats.pushed),
            covered: stats.covered.saturating_sub(told.stats.covered),
            obscured: stats.obscured.saturating_sub(told.stats.obscured),
            dropped: stats.dropped.saturating_sub(told.stats.dropped),
            skipped: status.skipped.saturating_sub(told.skipped),
            self_tests: [
                status.self_tests_passed.saturating_sub(told.self_tests_passed),
                status.self_tests_failed.saturating_sub(told.self_tests_failed),
            ],
            state: status.state.name().into(),
            changes: self.changes.clone(),
            more_changes: self.more_changes,
        };
        self.write(What::Frames(frames), now)?;
        (self.told, self.told_at) = (*status, now.up);
        (self.changes, self.more_changes) = (Vec::new(), 0);
        if self.since_checkpoint >= self.settings.checkpoint_every {
            self.write(What::Checkpoint, now)?;
        }
        Ok(())
    }

    /// Writes a record, after what has to come before it.
    fn write(&mut self, what: What, now: Moment) -> io::Result<String> {
        let (least, most) = SEGMENT_BYTES;
        let full = (self.settings.max_bytes / SHARE).clamp(least, most);
        if self.open.is_some_and(|size| size >= full) {
            self.append(What::Checkpoint, now)?;
            self.open = None;
        }
        if self.open.is_none() {
            self.begin_file(full, now)?;
        }
        if let Some(gap) = self.trouble.clone() {
            self.append(What::Gap(gap), now)?;
            log::info!("the evidence log can be written again");
            self.trouble = None;
        }
        if self.news {
            self.append(What::Settings(self.settings.identity.clone()), now)?;
            self.news = false;
        }
        self.append(what, now)
    }

    /// Begins the next file where the chain has got to, signs for what is too much, and only then deletes it.
    fn begin_file(&mut self, room: u64, now: Moment) -> io::Result<()> {
        let public = self.settings.key.public();
        let segments = files::list(&self.settings.dir)?;
        let own = files::own(&segments, &public)?;
        let newest = own.iter().max_by_key(|file| file.last.n);
        let on_disk = newest.map(|file| file.last);
        // A record can be whole on the disk though writing it failed. One that has gone from the disk was still written.
        self.head = on_disk.into_iter().chain(self.head).chain(self.remembered()).max_by_key(|head| head.n);
        if self.head.is_some_and(|head| on_disk.is_none_or(|disk| disk.n < head.n)) {
            self.damaged("its end is gone: records that had been written are no longer there");
        }
        let joint = self.head.map_or(Joint { n: 0, hash: NO_HASH }, Joint::from);
        let mut kept = Kept::carried(&own, joint.n);
        // What it was when the file before was begun, should that be gone.
        if let Some(before) = self.kept.as_ref().filter(|before| before.first > kept.first) {
            kept = before.clone();
        }
        let too_much = kept.shorten(&own, joint, self.settings.max_bytes, room, &public)?;
        if kept.account.damage.is_some() {
            self.damaged("files of it were changed before they fell to the limit");
        }
        let index = self.next_file(newest.map(|file| file.index), own.first().map(|file| file.index))?;
        kept.account.file = index;
        let opened = Opened {
            first: kept.first,
            cut: newest.is_some_and(|file| file.cut),
            identity: self.settings.identity.clone(),
            account: Some(kept.account.clone()),
        };
        let what = if self.started { What::Continues(opened) } else { What::Start(opened) };
        let path = self.settings.dir.join(files::name(index));
        let (mut line, head) = self.line(what, now)?;
        if let Err(e) = self.disk.create(&path, &line) {
            // It may stand there though it could not be synced.
            let _ = fs::remove_file(&path);
            return Err(e);
        }
        self.written(head, &mut line, false);
        (self.started, self.news, self.kept) = (true, false, Some(kept));
        for path in too_much {
            if let Err(e) = fs::remove_file(&path) {
                self.errors += 1;
                log::warn!("the oldest evidence file {} cannot be deleted: {e}", path.display());
                // The others later, so that no file is missing between two.
                break;
            }
        }
        Ok(())
    }

    /// The first free number behind the newest file; files that somebody else put there are gone around. One that was given the
    /// last number of all is not gone behind, but stays where it shows.
    fn next_file(&self, newest: Option<u64>, oldest: Option<u64>) -> io::Result<u64> {
        let start =
            newest.into_iter().chain(oldest).map(|index| index + 1).find(|index| *index <= files::LAST_INDEX);
        for index in start.unwrap_or(0)..=files::LAST_INDEX {
            match fs::symlink_metadata(self.settings.dir.join(files::name(index))) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(index),
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other("no number for another file is left; move its files away"))
    }

    /// The record that the device remembers outside the log's folder.
    fn remembered(&self) -> Option<Head> {
        let line = fs::read(self.settings.remembered.as_ref()?).ok()?;
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let record = Record::parse(line, Some(&self.settings.key.public())).ok()?;
        Some(Head { n: record.n, hash: hash(line) })
    }

    fn remember(&self, line: &str) {
        let Some(path) = &self.settings.remembered else { return };
        let place = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            milkglass_common::files::replace(path, format!("{line}\n").as_bytes())
        };
        if let Err(e) = place() {
            log::warn!(
                "evidence: {} cannot be written: {e}; an end that is taken off may go unnoticed",
                path.display()
            );
        }
    }

    /// The log is not what was written. It goes on, and tells.
    fn damaged(&mut self, why: &str) {
        if !std::mem::replace(&mut self.damaged, true) {
            log::error!(
                "the evidence log in {} was changed: {why}; it goes on and says so (`milkglass log verify`)",
                self.settings.dir.display()
            );
        }
    }

    fn append(&mut self, what: What, now: Moment) -> io::Result<String> {
        let checkpoint = matches!(what, What::Checkpoint);
        let (mut line, head) = self.line(what, now)?;
        self.disk.append(&line)?;
        self.written(head, &mut line, checkpoint);
        let line = String::from_utf8(line).map_err(io::Error::other)?;
        if checkpoint {
            self.remember(&line);
        }
        Ok(line)
    }

    /// The next line, newline included, and what it will be known by.
    fn line(&self, what: What, now: Moment) -> io::Result<(Vec<u8>, Head)> {
        let record = Record {
            n: self.head.map_or(0, |head| head.n + 1),
            time: utc(now.wall),
            what,
            prev: hex(self.head.map_or(NO_HASH, |head| head.hash)),
            key: self.settings.key.public().to_string(),
        };
        let line = record.sign(&self.settings.key)?;
        let hash = hash(&line[..line.len() - 1]);
        Ok((line, Head { n: record.n, hash }))
    }

    /// It is on the disk.
    fn written(&mut self, head: Head, line: &mut Vec<u8>, checkpoint: bool) {
        self.open = Some(self.open.unwrap_or(0) + line.len() as u64);
        line.pop();
        self.head = Some(head);
        self.since_checkpoint = if checkpoint { 0 } else { self.since_checkpoint + 1 };
    }
}

/// Reads the device's key, or makes one that only its owner may read when `path` does not exist.
///
/// # Errors
/// [`Error::Evidence`](crate::Error::Evidence): it cannot be read or made, or is no key.
pub fn device_key(path: &Path) -> Result<DeviceSecretKey> {
    let shown = path.display();
    let fails = |what: &str| {
        let why = format!("the device key {shown} {what}");
        EvidenceError::new(EvidenceKind::Key, why).about(shown.to_string())
    };
    match fs::read_to_string(path) {
        Ok(text) => DeviceSecretKey::parse(&text).ok_or_else(|| {
            fails("is no key: 64 hexadecimal digits, as `milkglass log keygen` writes them").into()
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let make = || {
                let key = DeviceSecretKey::generate()?;
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                create_secret(path, format!("{}\n", key.to_text()).as_bytes())?;
                Ok(key)
            };
            make().map_err(|e: io::Error| fails(&format!("cannot be made: {e}")).caused_by(e).into())
        }
        Err(e) => Err(fails(&format!("cannot be read: {e}")).caused_by(e).into()),
    }
}
