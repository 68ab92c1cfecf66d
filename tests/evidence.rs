//! The evidence log: what was done to it is found and named, at every place; what happened to the device is no forgery.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use milkglass::evidence::{
    DeviceSecretKey, EvidenceLog, EvidenceSettings, Identity, Moment, Note, Report, Tampering, read_folder,
    verify,
};
use milkglass::pipeline::Status;

fn key(seed: &str) -> DeviceSecretKey {
    DeviceSecretKey::parse(&seed.repeat(32)).unwrap()
}

fn identity(policy: &str) -> Identity {
    Identity { program: "test 1".into(), policy: policy.into(), ..Identity::default() }
}

fn at(seconds: u64) -> Moment {
    let wall: SystemTime = UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
    Moment { wall, up: Duration::from_secs(seconds) }
}

fn settings(dir: &Path, seed: &str) -> EvidenceSettings {
    EvidenceSettings { checkpoint_every: 3, ..EvidenceSettings::new(dir, key(seed), identity("p")) }
}

/// Status is made by a pipeline alone; its default is enough for a log.
fn status() -> Status {
    Status::default()
}

/// Runs of a program that ends in order, or is killed.
fn run(dir: &Path, seed: &str, from: u64, periods: u64, end: bool) {
    let mut log = EvidenceLog::open(settings(dir, seed)).unwrap();
    for n in 0..=periods {
        log.record(&status(), Moment { up: Duration::from_secs(10 * n), ..at(from + 10 * n) });
    }
    if end {
        log.end(&status(), at(from + 10 * periods + 5));
    }
    assert_eq!(log.errors(), 0);
}

/// Three runs of one device, in three files.
fn recorded(seed: &str, from: u64) -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), seed, from, 4, true);
    run(dir.path(), seed, from + 1000, 3, false);
    run(dir.path(), seed, from + 2000, 5, true);
    let files = read_folder(dir.path()).unwrap();
    assert_eq!(files.len(), 3);
    files.into_iter().map(|(path, bytes)| (path.rsplit('/').next().unwrap().to_owned(), bytes)).collect()
}

/// The lines of all files, each with the file that it stands in.
fn lines(files: &[(String, Vec<u8>)]) -> Vec<(usize, Vec<u8>)> {
    let of = |(i, f): (usize, &(String, Vec<u8>))| {
        let lines = f.1.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        lines.map(|l| (i, l.to_vec())).collect::<Vec<_>>()
    };
    files.iter().enumerate().flat_map(of).collect()
}

fn files(lines: &[(usize, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let count = lines.iter().map(|l| l.0 + 1).max().unwrap_or(0);
    (0..count)
        .map(|i| {
            let of: Vec<u8> =
                lines.iter().filter(|l| l.0 == i).flat_map(|l| [&l.1[..], b"\n"].concat()).collect();
            (format!("evidence-{i:08}.jsonl"), of)
        })
        .collect()
}

fn check(lines: &[(usize, Vec<u8>)]) -> Report {
    verify(&files(lines), Some(&key("07").public()), None).unwrap()
}

fn kinds(report: &Report) -> Vec<(&Tampering, Option<u64>)> {
    report.findings.iter().map(|f| (&f.kind, f.record)).collect()
}

/// The line of the last record, as if it had been sent away.
fn sent(lines: &[(usize, Vec<u8>)], n: usize) -> String {
    String::from_utf8(lines[n].1.clone()).unwrap()
}

#[test]
fn a_log_that_nobody_touched_verifies() {
    let files = recorded("07", 0);
    let all = lines(&files);
    let report = verify(&files, None, Some(&sent(&all, all.len() - 1))).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.key, Some(key("07").public()));
    assert_eq!(report.records as usize, all.len());
    let last = all.len() as u64 - 1;
    let (first, end) = report.span.clone().unwrap();
    assert_eq!((first.0, end.0), (0, last));
    assert_eq!(first.1, "2027-01-15T08:00:00Z");
    // The second run was killed.
    let killed = all.iter().rposition(|l| l.0 == 1).unwrap() as u64;
    assert_eq!(report.notes, [Note::Restarted(killed), Note::CheckpointHolds(last)]);
    assert_eq!(
        report.checkpoint,
        Some(("evidence-00000002.jsonl".into(), all.iter().filter(|l| l.0 == 2).count()))
    );
}

#[test]
fn removing_any_record_is_found_and_named() {
    let all = lines(&recorded("07", 0));
    let last = all.len() - 1;
    for from in 0..all.len() {
        for to in [from, from + 3] {
            if to >= last {
                continue;
            }
            let mut cut = all.clone();
            cut.drain(from..=to);
            let report = check(&cut);
            assert_eq!(
                kinds(&report),
                [(&Tampering::Removed(from as u64, to as u64), Some(from as u64))],
                "{from}..={to}"
            );
        }
    }
    // A whole file, in the middle or the first.
    for file in [0, 1] {
        let cut: Vec<_> = all.iter().filter(|l| l.0 != file).cloned().collect();
        assert!(matches!(kinds(&check(&cut))[..], [(Tampering::Removed(..), _)]), "file {file}");
    }
}

#[test]
fn editing_any_record_is_found_and_named() {
    let all = lines(&recorded("07", 0));
    for n in 0..all.len() {
        for byte in [1, 6, 30, 60, all[n].1.len() / 2, all[n].1.len() - 40, all[n].1.len() - 1] {
            let mut edited = all.clone();
            edited[n].1[byte] ^= 1;
            let report = check(&edited);
            assert_eq!(kinds(&report), [(&Tampering::Edited, Some(n as u64))], "record {n}, byte {byte}");
        }
        let mut both = all.clone();
        both[n].1[8] ^= 1;
        let m = (n + 5) % all.len();
        both[m].1[8] ^= 1;
        assert_eq!(check(&both).findings.len(), 2, "records {n} and {m}");
    }
}

#[test]
fn reordering_is_found_and_named_wherever_it_happens() {
    let all = lines(&recorded("07", 0));
    let swap = |a: usize, b: usize| {
        let mut swapped = all.clone();
        let line = swapped[a].1.clone();
        swapped[a].1 = std::mem::replace(&mut swapped[b].1, line);
        swapped
    };
    for a in 0..all.len() {
        for b in a + 1..all.len() {
            let report = check(&swap(a, b));
            let named = kinds(&report);
            assert!(
                named
                    .iter()
                    .any(|(kind, n)| **kind == Tampering::Reordered
                        && (a as u64..=b as u64).contains(&n.unwrap())),
                "{a} and {b}: {named:?}"
            );
            assert!(named.iter().all(|(kind, _)| **kind == Tampering::Reordered), "{a} and {b}: {named:?}");
        }
    }
}

#[test]
fn repeating_any_record_is_found_and_named() {
    let all = lines(&recorded("07", 0));
    for n in 0..all.len() {
        for to in 0..all.len() {
            let mut more = all.clone();
            more.insert(to + 1, (all[to].0, all[n].1.clone()));
            let report = check(&more);
            let named = kinds(&report);
            assert_eq!(named, [(&Tampering::Repeated, Some(n as u64))], "record {n} after {to}");
        }
    }
}

#[test]
fn splicing_in_any_record_of_another_log_is_found_and_named() {
    let all = lines(&recorded("07", 0));
    let other_log = lines(&recorded("07", 50_000));
    let other_device = lines(&recorded("08", 0));
    for n in 0..all.len() {
        let mut spliced = all.clone();
        spliced[n].1.clone_from(&other_log[n].1);
        // The first record of every log names nothing before it, so the joint shows behind it.
        let shows = if n == 0 { 1 } else { n as u64 };
        assert_eq!(kinds(&check(&spliced)), [(&Tampering::Spliced, Some(shows))], "record {n} replaced");

        let mut spliced = all.clone();
        spliced.splice(n.., other_log[n..].iter().cloned());
        if n > 0 {
            assert_eq!(
                kinds(&check(&spliced)),
                [(&Tampering::Spliced, Some(n as u64))],
                "from record {n} on"
            );
        }

        let mut spliced = all.clone();
        spliced[n].1.clone_from(&other_device[n].1);
        assert_eq!(kinds(&check(&spliced)), [(&Tampering::Foreign, Some(n as u64))], "device, record {n}");

        for to in 0..all.len() {
            let mut spliced = all.clone();
            spliced.insert(to + 1, (all[to].0, other_log[n].1.clone()));
            let report = check(&spliced);
            let named = kinds(&report);
            assert_eq!(named, [(&Tampering::Spliced, Some(n as u64))], "record {n} brought in after {to}");
        }
        let mut more = all.clone();
        more.insert(n, (all[n].0, b"{\"n\":1}".to_vec()));
        let expected = [(&Tampering::Inserted, None)];
        assert_eq!(kinds(&check(&more)), expected, "a line of nothing before record {n}");
    }
}

#[test]
fn truncation_is_found_back_to_the_checkpoint_that_left_the_device() {
    let all = lines(&recorded("07", 0));
    let key = key("07").public();
    let last = all.len() - 1;
    for kept in 0..last {
        let cut = files(&all[..=kept]);
        let report = verify(&cut, Some(&key), None).unwrap();
        assert_eq!(report.findings, [], "nothing can be known without a checkpoint");
        for checkpoint in [kept, kept + 1, last] {
            let report = verify(&cut, Some(&key), Some(&sent(&all, checkpoint))).unwrap();
            if checkpoint == kept {
                assert_eq!(report.findings, []);
                continue;
            }
            let expected = [(&Tampering::Truncated(checkpoint as u64), Some(kept as u64 + 1))];
            assert_eq!(kinds(&report), expected, "{kept} kept, {checkpoint} sent");
        }
    }
    let nothing = verify(&[], Some(&key), Some(&sent(&all, 4))).unwrap();
    assert_eq!(kinds(&nothing), [(&Tampering::Truncated(4), Some(0))]);
    let another = recorded("07", 50_000);
    let rewritten = verify(&another, Some(&key), Some(&sent(&all, 4))).unwrap();
    assert_eq!(kinds(&rewritten), [(&Tampering::Rewritten, Some(4))]);
}

#[test]
fn a_checkpoint_of_another_device_or_a_broken_one_is_refused() {
    let all = recorded("07", 0);
    let foreign = sent(&lines(&recorded("08", 0)), 3);
    let key = key("07").public();
    let error = verify(&all, Some(&key), Some(&foreign)).unwrap_err().to_string();
    assert_eq!(error, "the checkpoint was signed by another device than the log");
    assert!(verify(&all, Some(&key), Some(&foreign[1..])).unwrap_err().to_string().contains("not whole"));
    // Without a key the checkpoint's own is believed, because it left the device: the log is the foreign one.
    let report = verify(&all, None, Some(&foreign)).unwrap();
    assert!(report.findings.iter().any(|f| f.kind == Tampering::Foreign));
}

#[test]
fn half_a_record_at_the_end_reads_as_a_power_cut_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "07", 0, 4, false);
    let path = dir.path().join("evidence-00000000.jsonl");
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let records = whole.iter().filter(|b| **b == b'\n').count() as u64;
    for cut in [last, last + 1, last + 100, whole.len() - 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let report = verify(&read_folder(dir.path()).unwrap(), None, None).unwrap();
        assert_eq!(report.findings, []);
        let torn = if cut == last { vec![] } else { vec![Note::Torn] };
        assert_eq!(report.notes, [torn, vec![Note::Open(records - 2)]].concat(), "cut at {cut}");

        run(dir.path(), "07", 100, 2, true);
        let files = read_folder(dir.path()).unwrap();
        let report = verify(&files, None, None).unwrap();
        assert_eq!(
            (report.findings, report.notes),
            (vec![], vec![Note::Restarted(records - 2)]),
            "cut at {cut}"
        );
        assert!(String::from_utf8_lossy(&files[1].1).contains(&format!("\"cut\":{}", cut != last)));
        // Somebody who cuts a file that is not the last is found by the one behind it.
        let mut shorter = files.clone();
        shorter[0].1.truncate(last - 30);
        assert!(!verify(&shorter, None, None).unwrap().findings.is_empty());
        fs::remove_file(dir.path().join("evidence-00000001.jsonl")).unwrap();
    }
    // Zeros, as some file systems leave them.
    fs::write(&path, [&whole[..last], &[0; 700][..]].concat()).unwrap();
    run(dir.path(), "07", 100, 2, true);
    let report = verify(&read_folder(dir.path()).unwrap(), None, None).unwrap();
    assert_eq!((report.findings, report.notes), (vec![], vec![Note::Restarted(records - 2)]));
}

#[test]
fn files_follow_each_other_without_breaking_the_chain_and_stay_below_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let least = EvidenceSettings::LEAST_BYTES;
    let mut log =
        EvidenceLog::open(EvidenceSettings { max_bytes: least, ..settings(dir.path(), "07") }).unwrap();
    let mut checkpoint = None;
    for n in 0..1500 {
        log.record(&status(), at(10 * n));
        if n == 1200 {
            checkpoint = log.checkpoint(at(10 * n));
        }
        let size: u64 = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(size <= least, "{size} bytes after {n} periods");
    }
    assert_eq!(log.errors(), 0);
    let files = read_folder(dir.path()).unwrap();
    assert!((4..=8).contains(&files.len()), "{} files", files.len());
    let report = verify(&files, None, checkpoint.as_deref()).unwrap();
    assert_eq!(report.findings, []);
    let first = report.span.unwrap().0.0;
    assert!(first > 500);
    assert_eq!(report.notes[0], Note::BeginsAt(first));
    assert!(matches!(report.notes[2], Note::CheckpointHolds(_)), "{:?}", report.notes);
    // That the device deleted older files is signed; that somebody did is told from it.
    let report = verify(&files[1..], None, None).unwrap();
    assert!(matches!(kinds(&report)[..], [(Tampering::Removed(from, _), _)] if *from == first));
}

#[test]
fn two_programs_do_not_write_to_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let first = EvidenceLog::open(settings(dir.path(), "07")).unwrap();
    let error = EvidenceLog::open(settings(dir.path(), "07")).err().unwrap().to_string();
    assert!(error.contains("another program writes there"), "{error}");
    drop(first);
    EvidenceLog::open(settings(dir.path(), "07")).unwrap();
}

/// A child that is not yet another program holds a copy of the lock for a moment after its parent has ended.
#[test]
fn a_lock_that_is_given_back_in_a_moment_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    drop(EvidenceLog::open(settings(dir.path(), "07")).unwrap());
    let held = fs::File::open(dir.path().join("lock")).unwrap();
    held.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            drop(held);
        });
        EvidenceLog::open(settings(dir.path(), "07")).unwrap();
    });
}

#[test]
fn a_log_of_another_key_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "07", 0, 2, true);
    let error = EvidenceLog::open(settings(dir.path(), "08")).err().unwrap().to_string();
    assert!(error.contains("another device key"), "{error}");
    run(dir.path(), "07", 100, 2, true);
}

#[test]
fn a_new_policy_is_told_before_the_frames_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = EvidenceLog::open(settings(dir.path(), "07")).unwrap();
    log.record(&status(), at(0));
    log.set_identity(identity("another"));
    log.record(&status(), at(10));
    drop(log);
    let text = String::from_utf8(read_folder(dir.path()).unwrap().remove(0).1).unwrap();
    let told: Vec<&str> = ["\"start\"", "checkpoint", "\"settings\"", "\"frames\""]
        .into_iter()
        .zip(text.lines())
        .map(|(what, line)| if line.contains(what) { what } else { line })
        .collect();
    assert_eq!(told, ["\"start\"", "checkpoint", "\"settings\"", "\"frames\""]);
    assert!(text.lines().nth(2).unwrap().contains("another"));
}
