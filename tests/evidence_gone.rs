//! What is gone from an evidence log is told for ever: whatever somebody takes out, moves or doubles, and however often the
//! device starts again and however much falls to its limit afterwards. What the device deleted itself is no forgery.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use milkglass::evidence::{
    DeviceSecretKey, EvidenceLog, EvidenceSettings, Identity, Limit, Moment, Note, Report, Tampering,
    read_folder, verify,
};
use milkglass::pipeline::Status;

const LEAST: u64 = EvidenceSettings::LEAST_BYTES;

/// Names and contents of a folder's files.
type Files = BTreeMap<String, Vec<u8>>;

fn key() -> DeviceSecretKey {
    DeviceSecretKey::parse(&"07".repeat(32)).unwrap()
}

/// Long records, so that few of them come to the limit.
fn identity(n: u64) -> Identity {
    Identity { policy: format!("{n:09000}"), ..Identity::default() }
}

fn settings(dir: &Path) -> EvidenceSettings {
    EvidenceSettings { max_bytes: LEAST, ..EvidenceSettings::new(dir, key(), identity(0)) }
}

/// A program that starts, is given so many policies, and ends.
fn run(settings: EvidenceSettings, policies: u64) {
    let mut log = EvidenceLog::open(settings).unwrap();
    let at =
        |n: u64| Moment { wall: UNIX_EPOCH + Duration::from_secs(10 * n), up: Duration::from_secs(10 * n) };
    log.record(&Status::default(), at(0));
    for n in 1..=policies {
        log.set_identity(identity(n));
        log.record(&Status::default(), at(n));
    }
    log.end(&Status::default(), at(policies + 1)).unwrap();
    assert_eq!((log.errors(), log.trouble()), (0, None));
}

/// So that a failure says after what.
fn run_after(what: &str, settings: EvidenceSettings, policies: u64) {
    let done = std::panic::catch_unwind(|| run(settings, policies));
    assert!(done.is_ok(), "after: {what}");
}

/// In memory where that can be had: each record is synced, and there are thousands of logs.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn read(dir: &Path) -> Files {
    let read = |(path, bytes): (String, Vec<u8>)| (path.rsplit('/').next().unwrap().to_owned(), bytes);
    read_folder(dir).unwrap().into_iter().map(read).collect()
}

fn write(dir: &Path, files: &Files) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("evidence-") {
            fs::remove_file(path).unwrap();
        }
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn check(dir: &Path, checkpoint: Option<&str>) -> Report {
    verify(&read_folder(dir).unwrap(), Some(&key().public()), checkpoint).unwrap()
}

fn name(index: usize) -> String {
    format!("evidence-{index:08}.jsonl")
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').collect()
}

fn last_line(files: &Files) -> String {
    String::from_utf8(lines(files.values().last().unwrap()).last().unwrap().to_vec()).unwrap()
}

/// Five files of five programs; the second was killed.
fn five_files() -> Files {
    let dir = folder();
    for n in 0..5 {
        run(settings(dir.path()), 2);
        if n == 1 {
            let path = dir.path().join(name(1));
            let bytes = fs::read(&path).unwrap();
            let whole = lines(&bytes);
            fs::write(path, whole[..whole.len() - 2].concat()).unwrap();
        }
    }
    let files = read(dir.path());
    assert_eq!(files.len(), 5);
    assert_eq!(check(dir.path(), Some(&last_line(&files))).findings, []);
    files
}

/// Everything that is done to the log: what, the files afterwards, and whether it does no more than take off its end.
fn all_changes(files: &Files) -> Vec<(String, Files, bool)> {
    let mut all = Vec::new();
    let mut add = |what: String, changed: Files, end: bool| all.push((what, changed, end));
    let without = |gone: usize| {
        let mut left = files.clone();
        left.remove(&name(gone));
        left
    };
    for f in 0..5 {
        let bytes = files[&name(f)].clone();
        add(format!("file {f} removed"), without(f), f == 4);
        let mut empty = files.clone();
        empty.insert(name(f), Vec::new());
        add(format!("file {f} emptied"), empty, false);
        for to in (f + 1..5).chain([6, 99_999_999]) {
            let mut moved = without(f);
            // Two that change places, or one that goes where none is.
            if let Some(other) = moved.insert(name(to), bytes.clone()) {
                moved.insert(name(f), other);
            }
            // To the number that is next it would be the same log.
            add(format!("file {f} moved to {to}"), moved, false);
        }
        for to in
            [name(5), name(6), name(99_999_999), "evidence-00000002b.jsonl".into(), "evidence-1.jsonl".into()]
        {
            let mut doubled = files.clone();
            doubled.insert(to.clone(), bytes.clone());
            add(format!("file {f} doubled as {to}"), doubled, false);
        }
        let of = lines(&bytes);
        for l in 0..of.len() {
            let last = f == 4 && l + 1 == of.len();
            let mut less = of.clone();
            less.remove(l);
            let changed = |lines: &[&[u8]]| {
                let mut changed = files.clone();
                changed.insert(name(f), lines.concat());
                changed
            };
            add(format!("line {f}.{l} removed"), changed(&less), last);
            if l > 0 {
                add(format!("first {l} lines of file {f} removed"), changed(&of[l..]), false);
                add(format!("file {f} cut to {l} lines"), changed(&of[..l]), f == 4);
            }
            // Half a record at the end of all is a power cut.
            let half = [&of[..l], &[&of[l][..of[l].len() / 2]]].concat();
            add(format!("file {f} cut in line {l}"), changed(&half), f == 4);
            let places = [(0, 0), (2, 3), (4, usize::MAX)];
            for (to, place) in places {
                for doubled in [false, true] {
                    let mut changed = if doubled { files.clone() } else { changed(&less) };
                    let target = changed[&name(to)].clone();
                    let mut target = lines(&target);
                    target.insert(place.min(target.len()), of[l]);
                    changed.insert(name(to), target.concat());
                    if changed != *files {
                        add(format!("line {f}.{l} to {to}.{place}, doubled: {doubled}"), changed, false);
                    }
                }
            }
        }
    }
    // What came first, up to every line, with and without the files that are empty then.
    let whole: Vec<(usize, &[u8])> =
        (0..5).flat_map(|f| lines(&files[&name(f)]).into_iter().map(move |l| (f, l))).collect();
    for k in 1..whole.len() {
        let mut left: Files = (0..5).map(|f| (name(f), Vec::new())).collect();
        for (f, line) in &whole[k..] {
            left.get_mut(&name(*f)).unwrap().extend_from_slice(line);
        }
        add(format!("first {k} lines removed, files emptied"), left.clone(), false);
        left.retain(|_, bytes| !bytes.is_empty());
        add(format!("first {k} lines removed"), left, false);
    }
    all
}

/// All records are there and in order, and yet not as the device put them.
#[test]
fn files_under_other_names_and_lines_in_the_file_behind_are_told() {
    let files = five_files();
    let dir = folder();
    for policies in [0, 8] {
        let mut moved = files.clone();
        let whole = moved[&name(3)].clone();
        let of = lines(&whole);
        moved.insert(name(3), of[..of.len() - 1].concat());
        moved.insert(name(4), [of[of.len() - 1], &files[&name(4)][..]].concat());
        let mut renamed = files.clone();
        let last = renamed.remove(&name(4)).unwrap();
        renamed.insert(name(6), last);
        for changed in [moved, renamed] {
            write(dir.path(), &changed);
            for starts in 0..=3 {
                assert_ne!(check(dir.path(), None).findings, [], "{starts} starts with {policies} policies");
                run(settings(dir.path()), policies);
            }
        }
    }
}

#[test]
fn whatever_is_done_to_a_log_is_told_however_often_the_device_starts_again() {
    let files = five_files();
    let sent = last_line(&files);
    let dir = folder();
    let (mut looked_at, mut untold) = (0, Vec::new());
    // Programs that add little, and programs whose records drive the oldest files out.
    for policies in [0, 8] {
        // Nobody did anything: nothing is found, and what fell to the limit is told as such.
        write(dir.path(), &files);
        for starts in 0..=2 {
            let report = check(dir.path(), Some(&sent));
            assert_eq!(report.findings, [], "{starts} starts with {policies} policies");
            assert_eq!(report.deleted.is_some(), starts > 0 && policies > 0);
            run(settings(dir.path()), policies);
        }
        for (what, changed, end) in all_changes(&files) {
            write(dir.path(), &changed);
            for starts in 0..=2 {
                if policies > 0 && starts == 0 {
                    run_after(&what, settings(dir.path()), policies);
                    continue;
                }
                let told = |checkpoint| {
                    let report = check(dir.path(), checkpoint);
                    !report.findings.is_empty() || report.records == 0
                };
                looked_at += 1;
                // What is found without a checkpoint is found with one.
                if !(told(None) || (end && told(Some(&sent)))) {
                    untold.push(format!("{what}, {starts} starts with {policies} policies"));
                }
                if starts < 2 {
                    run_after(&what, settings(dir.path()), policies);
                }
            }
        }
    }
    assert!(looked_at > 2000, "{looked_at}");
    assert!(untold.is_empty(), "{} of {looked_at} not told:\n{}", untold.len(), untold.join("\n"));
}

#[test]
fn what_the_device_deleted_itself_is_told_with_its_limit_and_no_forgery() {
    let dir = folder();
    let mut sent = Vec::new();
    for _ in 0..12 {
        run(settings(dir.path()), 2);
        sent.push(last_line(&read(dir.path())));
    }
    let report = check(dir.path(), None);
    assert_eq!(report.findings, []);
    let deleted = report.deleted.clone().unwrap();
    let first = report.span.unwrap().0.0;
    assert!(deleted.first == first && first > 20 && deleted.files >= 3, "{deleted:?}");
    assert_eq!((deleted.limit, deleted.upgraded), (Some(Limit::Bytes(LEAST)), None));
    // One checkpoint a file: of what is deleted, of the very last that was, and of what is there.
    for (file, line) in (0..).zip(&sent) {
        let report = check(dir.path(), Some(line));
        assert_eq!(report.findings, [], "file {file}");
        let n = line.split([':', ',']).nth(1).unwrap().parse().unwrap();
        let expected = match file + 1 < deleted.files {
            true => Note::CheckpointDeleted(n),
            false => Note::CheckpointHolds(n),
        };
        assert!(report.notes.contains(&expected), "file {file}: {:?}", report.notes);
    }
    // Of another log with the same numbers, the very last that was deleted shows.
    let other = folder();
    for n in 0..12 {
        run(EvidenceSettings { identity: identity(9), ..settings(other.path()) }, 2);
        if n + 1 == deleted.files {
            let report = check(dir.path(), Some(&last_line(&read(other.path()))));
            assert!(matches!(report.findings[0].kind, Tampering::Rewritten), "{:?}", report.findings);
        }
    }
}

#[test]
fn a_power_cut_between_signing_and_deleting_is_no_forgery() {
    let dir = folder();
    for _ in 0..7 {
        run(settings(dir.path()), 2);
    }
    let before = read(dir.path());
    run(settings(dir.path()), 8);
    let after = read(dir.path());
    let gone: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    assert!(gone.len() >= 2, "{gone:?}");
    // None of them was deleted, or the first was, and so on.
    for from in 0..gone.len() {
        let mut left = after.clone();
        left.extend(gone[from..].iter().map(|name| ((*name).clone(), before[*name].clone())));
        write(dir.path(), &left);
        assert_eq!(check(dir.path(), None).findings, [], "{from} deleted");
        for _ in 0..2 {
            run(settings(dir.path()), 2);
            let report = check(dir.path(), None);
            assert_eq!(report.findings, [], "{from} deleted, started again");
            assert!(gone.iter().all(|name| !dir.path().join(name).exists()), "they go at the next start");
        }
    }
}

/// Who fills the folder must not make the device delete what it wrote.
#[test]
fn files_of_others_neither_stop_the_log_nor_drive_its_own_out() {
    let files = five_files();
    let last = name(4);
    let junk = vec![b'x'; 3 << 20];
    let planted: [(String, Vec<u8>); 6] = [
        (name(5), Vec::new()),
        (name(99_999_999), Vec::new()),
        (format!("evidence-{}.jsonl", u64::MAX), Vec::new()),
        ("evidence-+7.jsonl".into(), Vec::new()),
        (name(7), junk.clone()),
        (last.clone(), [&files[&last][..], &junk[..]].concat()),
    ];
    for (name, bytes) in planted {
        let dir = folder();
        write(dir.path(), &files);
        fs::write(dir.path().join(&name), bytes).unwrap();
        let told = |when: &str| {
            let report = check(dir.path(), None);
            let torn = name == last && report.notes.contains(&Note::Torn);
            // Bytes without an end behind the last record are a power cut, also after the next start.
            assert!(!report.findings.is_empty() || torn || name == last, "{name} {when}: {report:?}");
        };
        told("at once");
        for _ in 0..2 {
            run(settings(dir.path()), 0);
            told("after a start");
        }
        let left = read(dir.path());
        for (name, bytes) in &files {
            assert!(left[name].starts_with(bytes), "{name} fell to somebody else's bytes");
        }
        let report = check(dir.path(), Some(&last_line(&files)));
        assert_eq!(report.notes.iter().filter(|n| matches!(n, Note::CheckpointHolds(_))).count(), 1);
    }
    // What is no file at all.
    let dir = folder();
    write(dir.path(), &files);
    fs::create_dir(dir.path().join(name(5))).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join(name(6))).unwrap();
    for _ in 0..2 {
        run(settings(dir.path()), 0);
        assert!(check(dir.path(), None).findings.iter().any(|f| f.kind == Tampering::StrangeFile));
    }
}

#[test]
fn what_the_device_remembers_elsewhere_shows_that_the_end_or_all_was_taken_off() {
    let (dir, state) = (folder(), folder());
    let remembering = || settings(dir.path()).remembering(state.path());
    let start = || {
        let mut log = EvidenceLog::open(remembering()).unwrap();
        log.record(&Status::default(), Moment { wall: UNIX_EPOCH, up: Duration::ZERO });
        log.is_damaged()
    };
    for _ in 0..3 {
        run(remembering(), 2);
    }
    let files = read(dir.path());
    assert!(!start(), "nobody did anything");
    assert_eq!(check(dir.path(), None).findings, []);
    write(dir.path(), &files);
    let remembered = fs::read_dir(state.path()).unwrap().next().unwrap().unwrap();
    let at_the_end = last_line(&files);
    let mut left = files.clone();
    for cut in 0..=4 {
        if cut > 1 {
            left.pop_last();
        } else {
            let bytes = &files[&name(2)];
            let of = lines(bytes);
            left.insert(name(2), of[..of.len() - 1 - cut].concat());
        }
        write(dir.path(), &left);
        fs::write(remembered.path(), &at_the_end).unwrap();
        assert!(start(), "cut {cut}");
        let report = check(dir.path(), None);
        assert!(
            report.findings.iter().any(|f| matches!(f.kind, Tampering::Removed(..))),
            "cut {cut}: {report:?}"
        );
        // Whether the program had ended stood in what is missing.
        assert!(!report.notes.iter().any(|note| matches!(note, Note::Restarted(_))), "cut {cut}: {report:?}");
    }
    // What somebody else put there, or nobody reads, is not heeded.
    for rubbish in [&b""[..], b"{}", &at_the_end.as_bytes()[1..]] {
        write(dir.path(), &files);
        fs::write(remembered.path(), rubbish).unwrap();
        assert!(!start());
        assert_eq!(check(dir.path(), None).findings, []);
    }
}

/// tests/data/evidence-0.1 was written by the code of version 0.1: three runs, the second of which was killed.
#[test]
fn a_log_of_the_first_version_verifies_and_goes_on() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/evidence-0.1");
    let files = read(&source);
    assert_eq!(files.len(), 3);
    let dir = folder();
    write(dir.path(), &files);
    let sent = last_line(&files);
    let report = check(dir.path(), Some(&sent));
    assert_eq!((report.findings, report.deleted), (vec![], None));
    assert!(report.records > 20 && report.notes.iter().any(|n| matches!(n, Note::CheckpointHolds(_))));
    for _ in 0..2 {
        run(settings(dir.path()), 2);
        let report = check(dir.path(), Some(&sent));
        let upgraded = report.deleted.unwrap().upgraded.unwrap();
        assert_eq!((report.findings, upgraded.at, upgraded.gone), (vec![], 24, 0));
    }
    // Until all of it has fallen to the limit, as is told with the rest.
    for _ in 0..10 {
        run(settings(dir.path()), 2);
    }
    let report = check(dir.path(), None);
    let deleted = report.deleted.unwrap();
    assert_eq!(report.findings, []);
    assert!(deleted.first > 24 && deleted.upgraded.is_some(), "{deleted:?}");
    // Its beginning taken away: before the device starts with this version, and after.
    for starts in [0, 1] {
        write(dir.path(), &files);
        (0..starts).for_each(|_| run(settings(dir.path()), 0));
        fs::remove_file(dir.path().join(name(0))).unwrap();
        for _ in 0..3 {
            assert!(matches!(check(dir.path(), None).findings[0].kind, Tampering::Removed(0, _)));
            run(settings(dir.path()), 0);
        }
    }
}
