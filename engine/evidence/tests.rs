//! A disk that fails: nothing else does, the trouble is counted, and the log says what is missing.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::*;

/// A disk with room for so many bytes; what does not fit is written as far as it goes.
struct Full {
    folder: Folder,
    room: Arc<AtomicU64>,
    /// Whether the last bytes reach the disk though the write is said to have failed.
    lies: bool,
}

impl Full {
    /// Whether the line has room, is said to have none but reaches the disk, or how much of it does.
    fn take(&self, line: &[u8]) -> Result<(), usize> {
        let room = self.room.load(Ordering::SeqCst) as usize;
        let left = room.saturating_sub(line.len());
        self.room.store(left as u64, Ordering::SeqCst);
        if line.len() <= room { Ok(()) } else { Err(if self.lies { line.len() } else { room }) }
    }
}

impl Disk for Full {
    fn create(&mut self, path: &Path, line: &[u8]) -> io::Result<()> {
        let took = self.take(line);
        if took.map_or_else(|part| part == line.len(), |()| true) {
            self.folder.create(path, line)?;
        }
        took.map_err(|_| io::Error::other("no space left"))
    }
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let took = self.take(line);
        self.folder.append(&line[..took.err().unwrap_or(line.len())])?;
        took.map_err(|_| io::Error::other("no space left"))
    }
}

fn moment(seconds: u64) -> Moment {
    Moment { wall: UNIX_EPOCH + Duration::from_secs(seconds), up: Duration::from_secs(seconds) }
}

fn counted(frames: u64) -> Status {
    let mut status = Status::default();
    (status.stats.pushed, status.stats.covered) = (frames, frames);
    status
}

#[test]
fn a_full_disk_leaves_a_gap_and_no_broken_chain_wherever_it_begins() {
    let key = DeviceSecretKey::parse(&"07".repeat(32)).unwrap();
    for lies in [false, true] {
        for room in (0..6000).step_by(211) {
            let dir = tempfile::tempdir().unwrap();
            let settings = EvidenceSettings::new(dir.path(), key.clone(), Identity::default());
            let left = Arc::new(AtomicU64::new(room));
            let disk = Full { folder: Folder::default(), room: Arc::clone(&left), lies };
            let mut log = EvidenceLog::on(settings, Box::new(disk)).unwrap();
            for n in 0..12 {
                log.record(&counted(100 * n), moment(10 * n));
            }
            let failures = log.errors();
            assert!(failures > 0 && log.trouble() == Some("no space left"), "room for {room}");
            assert!(failures <= 12, "{failures} attempts in twelve periods");
            left.store(1 << 20, Ordering::SeqCst);
            log.record(&counted(1500), moment(125));
            log.record(&counted(1600), moment(135));
            log.end(&counted(1700), moment(145));
            assert_eq!((log.trouble(), log.errors()), (None, failures));
            drop(log);

            let report = verify(&read_folder(dir.path()).unwrap(), Some(&key.public()), None).unwrap();
            assert_eq!(report.findings, [], "room for {room}, lies: {lies}");
            let gaps = report.notes.iter().filter(|n| matches!(n, Note::Gap(..))).count();
            assert_eq!((gaps, report.notes.len()), (1, 1), "{:?}", report.notes);
            if !lies {
                assert_eq!(
                    report.frames.received, 1700,
                    "no frame is missing or told twice; room for {room}"
                );
            }
        }
    }
}

#[test]
fn a_folder_that_went_away_is_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let (place, away) = (dir.path().join("log"), dir.path().join("away"));
    let key = DeviceSecretKey::generate().unwrap();
    let mut log = EvidenceLog::open(EvidenceSettings::new(&place, key.clone(), Identity::default())).unwrap();
    log.record(&counted(0), moment(0));
    fs::rename(&place, &away).unwrap();
    log.record(&counted(1), moment(10));
    log.open = None;
    log.record(&counted(2), moment(20));
    assert_eq!((log.errors(), log.trouble().is_some()), (1, true));
    log.record(&counted(2), moment(25));
    assert_eq!(log.errors(), 1, "not tried again so soon");
    fs::rename(&away, &place).unwrap();
    log.record(&counted(3), moment(30));
    assert_eq!(log.trouble(), None);
    drop(log);
    let report = verify(&read_folder(&place).unwrap(), Some(&key.public()), None).unwrap();
    assert_eq!((report.findings, report.frames.received), (vec![], 3));
}

#[test]
fn a_record_names_a_bounded_number_of_changes() {
    let dir = tempfile::tempdir().unwrap();
    let key = DeviceSecretKey::generate().unwrap();
    let mut log = EvidenceLog::open(EvidenceSettings::new(dir.path(), key, Identity::default())).unwrap();
    log.record(&Status::default(), moment(0));
    for n in 1..=40 {
        let state = if n % 2 == 0 { State::Covered } else { State::Degraded };
        let status = Status { state, ..Status::default() };
        log.record(&status, Moment { up: Duration::from_millis(250 * n), ..moment(0) });
    }
    drop(log);
    let text = String::from_utf8(read_folder(dir.path()).unwrap().remove(0).1).unwrap();
    let frames = text.lines().nth(2).unwrap();
    assert_eq!(frames.matches("degraded").count(), 8, "{frames}");
    assert!(frames.contains("\"changes\":[[250,\"degraded\"],[500,\"covered\"],"), "{frames}");
    assert!(frames.contains("\"more_changes\":24"), "{frames}");
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deeper/device.key");
    let made = device_key(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(device_key(&path).unwrap().public(), made.public());
    fs::write(&path, "rubbish").unwrap();
    assert!(device_key(&path).unwrap_err().to_string().contains("is no key"));
}

/// Whoever has a key, such as one of their own, can sign any number.
#[test]
fn counts_and_numbers_at_the_end_of_their_range_break_nothing() {
    let key = DeviceSecretKey::parse(&"07".repeat(32)).unwrap();
    let line = |n, what| {
        let (time, prev) = (String::new(), hex(record::NO_HASH));
        Record { n, time, what, prev, key: key.public().to_string() }.sign(&key).unwrap()
    };
    let frames = |n| Frames { received: n, covered: n, self_tests: [n; 2], ..Frames::default() };
    let counted = [line(0, What::Frames(frames(u64::MAX))), line(1, What::Frames(frames(9)))].concat();
    let report = verify(&[("1.log".into(), counted)], None, None).unwrap();
    assert_eq!((report.frames.received, report.frames.self_tests), (u64::MAX, [u64::MAX; 2]));
    for n in [u64::MAX, u64::MAX - 1] {
        for lines in [vec![n], vec![n, 0], vec![0, n], vec![n - 1, n], vec![n, n]] {
            let bytes = lines.iter().flat_map(|n| line(*n, What::End)).collect();
            let files = [("1.log".into(), bytes)];
            assert!(!verify(&files, None, None).unwrap().findings.is_empty(), "{lines:?}");
            let last = String::from_utf8(line(n, What::Checkpoint)).unwrap();
            assert!(verify(&files, Some(&key.public()), Some(&last)).is_err());
        }
    }
}

/// A log of version 0.1 that had deleted what came before record 100: three files of ten records.
fn old_log(dir: &Path, key: &DeviceSecretKey) {
    let mut prev = NO_HASH;
    for file in 0..3 {
        let mut bytes = Vec::new();
        for n in 100 + 10 * file..110 + 10 * file {
            let opened = Opened { first: 100, cut: false, identity: Identity::default(), account: None };
            let what = if n % 10 == 0 { What::Continues(opened) } else { What::Checkpoint };
            let record =
                Record { n, time: utc(UNIX_EPOCH), what, prev: hex(prev), key: key.public().to_string() };
            let line = record.sign(key).unwrap();
            prev = hash(&line[..line.len() - 1]);
            bytes.extend(line);
        }
        fs::write(dir.join(files::name(7 + file)), bytes).unwrap();
    }
}

#[test]
fn a_log_of_the_first_version_goes_on_and_what_went_before_is_its_word_alone() {
    let key = DeviceSecretKey::parse(&"07".repeat(32)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    old_log(dir.path(), &key);
    let check = |checkpoint: Option<&str>| {
        verify(&read_folder(dir.path()).unwrap(), Some(&key.public()), checkpoint).unwrap()
    };
    let start = || {
        let settings = EvidenceSettings::new(dir.path(), key.clone(), Identity::default());
        let mut log = EvidenceLog::open(settings).unwrap();
        log.record(&counted(0), moment(0));
        log.end(&counted(0), moment(10)).unwrap();
        log.is_damaged()
    };
    let sent = |n| {
        let (time, prev) = (String::new(), hex(NO_HASH));
        let record = Record { n, time, what: What::Checkpoint, prev, key: key.public().to_string() };
        String::from_utf8(record.sign(&key).unwrap()).unwrap()
    };
    let report = check(Some(&sent(50)));
    assert_eq!((report.findings, report.deleted), (vec![], None));
    assert!(
        report.notes.contains(&Note::BeginsAt(100)) && report.notes.contains(&Note::CheckpointTooOld(50))
    );
    for _ in 0..2 {
        assert!(!start());
        let report = check(Some(&sent(50)));
        let deleted = report.deleted.unwrap();
        assert_eq!((report.findings, deleted.first, deleted.limit), (vec![], 100, None));
        assert_eq!(deleted.upgraded, Some(Upgraded { at: 130, gone: 100 }));
        assert!(report.notes.contains(&Note::CheckpointTooOld(50)), "{:?}", report.notes);
    }
    fs::remove_file(dir.path().join(files::name(7))).unwrap();
    for _ in 0..3 {
        let kinds: Vec<Tampering> = check(None).findings.into_iter().map(|f| f.kind).collect();
        assert_eq!(kinds, [Tampering::Removed(100, 109)]);
        start();
    }
}

/// What 0.1 wrote to the last file is not to be told apart from what it did not, but a file that says so is.
#[test]
fn an_empty_file_of_the_first_version_is_a_power_cut_and_a_later_one_is_none() {
    let key = DeviceSecretKey::parse(&"07".repeat(32)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    old_log(dir.path(), &key);
    fs::write(dir.path().join(files::name(10)), "").unwrap();
    let findings = || verify(&read_folder(dir.path()).unwrap(), None, None).unwrap().findings.len();
    let start = || {
        let settings = EvidenceSettings::new(dir.path(), key.clone(), Identity::default());
        EvidenceLog::open(settings).unwrap().record(&counted(0), moment(0));
    };
    assert_eq!(findings(), 0);
    start();
    assert_eq!(findings(), 0);
    assert!(dir.path().join(files::name(11)).exists());
    fs::write(dir.path().join(files::name(12)), "").unwrap();
    assert_eq!(findings(), 1);
    start();
    assert_eq!(findings(), 1);
}

/// A log whose thread has gone says so: nobody else would.
#[test]
fn a_thread_that_ends_by_itself_is_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let key = DeviceSecretKey::generate().unwrap();
    let log = EvidenceLog::open(EvidenceSettings::new(dir.path(), key, Identity::default())).unwrap();
    let writer = EvidenceWriter::start(log, || panic!("the pipeline's figures")).unwrap();
    let figures = writer.figures();
    let patience = std::time::Instant::now();
    while !figures.trouble.load(Ordering::Relaxed) && patience.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(figures.trouble.load(Ordering::Relaxed));
}
