//! `milkglass live --evidence` and `milkglass log`, as an auditor uses them. Zones alone are hidden: no detector is needed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn milkglass(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_milkglass")).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a camera of some frames, and returns what was said.
fn live(folder: &Path, frames: usize, before: &str) -> String {
    let program = format!(
        "{before} exec {} live --from - --to - --faces off --zone 'all:0,0;1,0;1,1;0,1' --state-dir {f} --evidence {f}/log",
        env!("CARGO_BIN_EXE_milkglass"),
        f = folder.display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut camera = child.stdin.take().unwrap();
    camera.write_all(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n").unwrap();
    for _ in 0..frames {
        camera.write_all(&[b"FRAME\n".as_slice(), &[90; 64 * 48 * 3 / 2]].concat()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
    drop(camera);
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_camera_keeps_a_log_that_verifies_until_somebody_touches_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let log = log.to_str().unwrap();
    let first = live(folder.path(), 20, "");
    assert!(first.contains("evidence: last checkpoint {"), "{first}");
    live(folder.path(), 10, "");

    let key = milkglass(&["log", "verify", log]);
    let text = said(&key);
    assert_eq!(key.status.code(), Some(0), "{text}");
    assert!(text.starts_with("OK:") && text.contains("frames in them: 30 received"), "{text}");
    let key = text.split("device key: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(first.contains(&key), "it is told at the start");

    let checkpoint = folder.path().join("checkpoint");
    let sent = milkglass(&["log", "checkpoint", log]);
    assert_eq!(sent.status.code(), Some(0));
    fs::write(&checkpoint, &sent.stdout).unwrap();
    let args = ["log", "verify", log, "--key", &key, "--checkpoint", checkpoint.to_str().unwrap()];
    let verified = milkglass(&args);
    assert_eq!(verified.status.code(), Some(0));
    assert!(said(&verified).contains("the checkpoint holds"), "{}", said(&verified));

    let newest = folder.path().join("log/evidence-00000001.jsonl");
    let whole = fs::read_to_string(&newest).unwrap();
    for private in ["regions", "face", "person", "rect", "90"] {
        let lines = whole.lines().map(|l| l.split("\"prev\"").next().unwrap());
        assert!(lines.filter(|l| l.contains("frames")).all(|l| !l.contains(private)), "{private}");
    }
    let lines: Vec<&str> = whole.lines().collect();
    fs::write(&newest, lines[..lines.len() - 2].join("\n") + "\n").unwrap();
    let cut = milkglass(&args);
    assert_eq!(cut.status.code(), Some(3));
    assert!(said(&cut).contains("TRUNCATED: records"), "{}", said(&cut));
    fs::write(&newest, whole.replacen("\"received\":10", "\"received\":99", 1)).unwrap();
    let edited = milkglass(&args);
    assert_eq!(edited.status.code(), Some(3));
    assert!(said(&edited).contains("EDITED: record"), "{}", said(&edited));
    assert_eq!(milkglass(&["log", "checkpoint", log]).status.code(), Some(3), "no checkpoint of such a log");
}

#[test]
fn a_disk_that_is_full_from_the_start_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("log")).unwrap();
    let made = milkglass(&["log", "keygen", folder.path().join("log/device.key").to_str().unwrap()]);
    assert_eq!((made.status.code(), made.stdout.len()), (Some(0), 65));
    // No file may hold a byte.
    let text = live(folder.path(), 20, "trap '' XFSZ; ulimit -f 0;");
    assert!(text.contains("the evidence log cannot be written"), "{text}");
    assert!(text.contains("20 frames covered"), "{text}");
    let log = folder.path().join("log");
    assert_eq!(fs::read_dir(&log).unwrap().count(), 2, "the key and the lock");
}

#[test]
fn keys_and_folders_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let key = folder.path().join("key");
    let key = key.to_str().unwrap();
    assert_eq!(milkglass(&["log", "keygen", key]).status.code(), Some(0));
    let again = milkglass(&["log", "keygen", key]);
    assert!(again.status.code() == Some(1) && said(&again).contains("is there already"), "{}", said(&again));
    for (args, word) in [
        (&["log", "verify", path][..], "no evidence-*.jsonl"),
        (&["log", "verify", key, "--key", "12"], "not a device's public key"),
        (&["log", "verify", path, "--checkpoint", "/nowhere"], "/nowhere"),
    ] {
        let output = milkglass(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(said(&output).contains(word), "{args:?}: {}", said(&output));
    }
}

/// What the device deleted to keep to its limit is told from what somebody else did, by exit codes of their own.
#[test]
fn what_the_device_deleted_and_what_vanished_end_with_different_codes() {
    use milkglass::evidence::{EvidenceLog, EvidenceSettings, Identity, Moment, device_key};
    use milkglass::pipeline::Status;
    let folder = tempfile::tempdir().unwrap();
    let (log, sent) = (folder.path().join("log"), folder.path().join("sent"));
    let key = device_key(&folder.path().join("key")).unwrap();
    let start = || {
        let identity = Identity { policy: "p".repeat(12000), ..Identity::default() };
        let settings = EvidenceSettings::new(&log, key.clone(), identity);
        let settings = EvidenceSettings { max_bytes: 256 << 10, ..settings };
        // A child that another test is about to start holds the folder's lock until it is another program.
        let mut log =
            std::iter::repeat_with(|| EvidenceLog::open(settings.clone())).find_map(Result::ok).unwrap();
        let now = Moment { wall: std::time::SystemTime::now(), up: std::time::Duration::ZERO };
        log.record(&Status::default(), now);
        log.end(&Status::default(), now).unwrap()
    };
    let verify =
        || milkglass(&["log", "verify", log.to_str().unwrap(), "--checkpoint", sent.to_str().unwrap()]);
    fs::write(&sent, start()).unwrap();
    (0..4).for_each(|_| drop(start()));
    assert_eq!(verify().status.code(), Some(0));
    (0..12).for_each(|_| drop(start()));
    let told = verify();
    assert_eq!(told.status.code(), Some(5), "{}", said(&told));
    let text = said(&told);
    assert!(text.starts_with("UNTOLD:") && text.contains("its limit of 256 KiB, as it signed"), "{text}");
    fs::write(&sent, start()).unwrap();
    let oldest =
        fs::read_dir(&log).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some()).min();
    fs::remove_file(oldest.unwrap()).unwrap();
    for _ in 0..3 {
        let told = verify();
        assert_eq!(told.status.code(), Some(3), "{}", said(&told));
        // Once the next file falls to the limit, what went before it is told by the account.
        assert!(
            said(&told).contains("REMOVED: record") || said(&told).contains("DAMAGED: of record"),
            "{}",
            said(&told)
        );
        start();
    }
}
