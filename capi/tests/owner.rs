//! The owner's lock and the evidence log through the C interface: tests/c/owner.c makes the calls, under AddressSanitizer and
//! once under valgrind; what comes of them is judged here.
#![cfg(all(feature = "lock", feature = "evidence"))]
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use milkglass::evidence::{DevicePublicKey, Note, Report, Tampering, device_key, read_folder, verify};
use milkglass::lock::{Bound, Lock, OwnerSecretKey};

mod support;
use support::{Link, SANITIZED, build, output, valgrind};
#[path = "../../tests/support/weaker.rs"]
mod weaker;
use weaker::{OWNERS, WEAKER};

const OK: &str = "0 ";
const ARGUMENT: &str = "-1 ";
const POLICY: &str = "-3 ";
const CAMERA: &str = "-5 ";

fn secret(byte: u8) -> OwnerSecretKey {
    OwnerSecretKey::parse(&format!("{byte:02x}").repeat(32)).unwrap()
}

/// A folder with what the program reads.
struct Device(tempfile::TempDir);

impl Device {
    fn new() -> Device {
        Device(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file's name, after it was written.
    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn lock(&self, name: &str, policy: &str, serial: u64, by: &OwnerSecretKey) -> String {
        // The program's detector finds marks, and could not be shown a person.
        let untested = [Lock::OWN_DETECTOR.into()].into();
        self.file(name, &Lock::sign(policy, &Bound { serial, untested, ..Bound::default() }, by).unwrap())
    }

    /// The calls that name the owner of this device, and its folder.
    fn owned(&self) -> String {
        format!("key {}\nstate {}\n", secret(1).public(), self.path("state").display())
    }
}

/// What came of the calls, a line each.
fn calls(script: &str) -> Vec<String> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build("tests/c/owner.c", "asan", Link::Shared, SANITIZED));
    played(&mut Command::new(program), script)
}

fn played(command: &mut Command, script: &str) -> Vec<String> {
    let output = output(command, script.as_bytes());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{script}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said.lines().map(str::to_owned).collect()
}

#[track_caller]
fn expect(said: &[String], wanted: &[(&str, &str)]) {
    assert_eq!(said.len(), wanted.len(), "{said:#?}");
    for (line, (status, text)) in said.iter().zip(wanted) {
        assert!(line.starts_with(status) && line.contains(text), "{status}{text} in {said:#?}");
    }
}

/// Both at the start and while the stream runs, and the stream goes on covering.
#[test]
fn every_way_to_weaken_a_locked_policy_is_refused_and_named() {
    let device = Device::new();
    let lock = device.lock("camera.lock", OWNERS, 1, &secret(1));
    let mut script = format!("{}lock {lock}\nopen\npush\n", device.owned());
    let mut starts = script.clone();
    for (n, (from, to, _)) in WEAKER.iter().enumerate() {
        // In pictures as small as these, a hundredth is less than a sample.
        let changed = OWNERS.replacen(from, &to.replace("0.49", "0.45"), 1);
        assert_ne!(changed, OWNERS, "{from}");
        let file = device.file(&format!("{n}.toml"), &changed);
        script += &format!("set {file}\n");
        starts += &format!("open {file}\n");
    }
    script += "push\nclose\n";
    for (said, last) in [(calls(&script), 2), (calls(&starts), 0)] {
        let (first, rest) = said.split_at(2);
        expect(first, &[(OK, ""), (OK, "covered")]);
        let (ways, rest) = rest.split_at(WEAKER.len());
        for (line, (from, to, key)) in ways.iter().zip(WEAKER) {
            let named = line.starts_with(POLICY) && line.contains(&format!("{key}: "));
            assert!(named, "{from} -> {to}: {line}");
        }
        expect(rest, &[(OK, "covered"), (OK, "")][..last]);
    }
}

#[test]
fn what_anybody_strengthened_only_the_owner_loosens() {
    const LIVE: &str = "max_gap = \"1s\"\ndeadline = \"5s\"\n";
    let device = Device::new();
    let signed = |serial, by: u8| device.lock(&format!("{serial}-{by}.lock"), LIVE, serial, &secret(by));
    let (first, second) = (signed(1, 1), signed(2, 1));
    let more = device.file("more.toml", &format!("{LIVE}hold = \"3s\"\n"));
    let plain = device.file("plain.toml", LIVE);
    let owned = device.owned();
    let said = calls(&format!("{owned}lock {first}\nopen\nset {more}\nset {plain}\nset\npush\nclose\n"));
    let weaker = (POLICY, "hold: 1s instead of 3s");
    expect(&said, &[(OK, ""), (OK, ""), weaker, weaker, (OK, "covered"), (OK, "")]);
    // The next start knows it too, and nothing runs without the lock.
    let elsewhere = format!("{}lock {first}\nopen\nclose\n", owned.replace("state", "state2"));
    let said =
        calls(&format!("{owned}lock {first}\nopen {plain}\nopen {more}\nclose\nkey\nlock\nopen {more}\n"));
    expect(&said, &[weaker, (OK, ""), (OK, ""), (POLICY, "name the lock file")]);
    expect(&calls(&elsewhere.replace("state2", "state")), &[weaker, ("-2 ", "")]);
    // Somebody else's lock, however new; then the owner's, after which the older one is refused.
    let foreign = signed(99, 2);
    let said = calls(&format!(
        "{owned}lock {foreign}\nopen\nlock {second}\nopen {plain}\nclose\nlock {first}\nopen\n"
    ));
    expect(&said, &[(POLICY, "not this device's owner"), (OK, ""), (OK, ""), (POLICY, "older")]);
    // Without a key in the program, the owner is the one that the folder knows.
    let keyless = format!("state {}\n", device.path("state").display());
    expect(&calls(&format!("{keyless}lock {foreign}\nopen\n")), &[(POLICY, "not this device's owner")]);
}

/// A policy that the detector cannot hold is refused, and does not count as having been in force.
#[test]
fn what_never_was_in_force_binds_nobody() {
    let device = Device::new();
    let lock = device.lock("a.lock", "max_gap = \"1s\"\ndeadline = \"5s\"\n", 1, &secret(1));
    let tight = device.file("tight.toml", "max_gap = \"10ms\"\ndeadline = \"5s\"\n");
    let script =
        format!("{}lock {lock}\nopen {tight}\nopen\nset {tight}\nset\nclose\nopen\nclose\n", device.owned());
    let refused = (POLICY, "max_gap = 10 ms");
    expect(&calls(&script), &[refused, (OK, ""), refused, (OK, ""), (OK, ""), (OK, ""), (OK, "")]);
}

/// A program frees its callback's context when opening has failed.
#[test]
fn the_callback_is_not_called_any_more_when_opening_has_failed_late() {
    let device = Device::new();
    let policy = "max_gap = \"1s\"\ndeadline = \"5s\"\nself_test = \"1s\"\n";
    let lock = device.lock("a.lock", policy, 1, &secret(1));
    let mut program = Command::new(build("tests/c/late.c", "asan", Link::Shared, SANITIZED));
    program.args([&lock, &secret(1).public().to_string()]).arg(device.path("state"));
    assert_eq!(played(&mut program, ""), ["done"]);
}

/// Nothing but its word says that the program's detector sees anybody: the owner has to have allowed that.
#[test]
fn a_lock_has_to_allow_an_untested_detector_by_name() {
    let device = Device::new();
    let policy = "max_gap = \"1s\"\ndeadline = \"5s\"\n";
    let strict = device.file("strict.lock", &Lock::sign(policy, &Bound::default(), &secret(1)).unwrap());
    let allows = device.lock("allows.lock", policy, 1, &secret(1));
    let script = format!("{}lock {strict}\nopen\nlock {allows}\nopen\n", device.owned());
    expect(&calls(&script), &[(POLICY, "detector is untested"), (OK, "")]);
}

#[test]
fn a_lock_that_is_no_lock_is_refused() {
    let device = Device::new();
    let text = Lock::sign("max_gap = \"1s\"\n", &Bound::default(), &secret(1)).unwrap();
    let good = device.file("good.lock", &text);
    let altered = device.file("altered.lock", &text.replace("1s", "2s"));
    let bound = Bound { models: [("yunet".into(), "ab".repeat(32))].into(), ..Bound::default() };
    let bound = device.file("bound.lock", &Lock::sign("max_gap = \"1s\"\n", &bound, &secret(1)).unwrap());
    let models = Path::new(support::HERE).join("../models").canonicalize().unwrap();
    let script = format!(
        "lock {good}\nopen\n{}lock {altered}\nopen\nlock /nonexistent\nopen\nlock\nopen\nlock {bound}\nopen\nmodels {}\nopen\n",
        device.owned(),
        models.display()
    );
    let ours = if cfg!(feature = "models") { (POLICY, "yunet") } else { (ARGUMENT, "no models") };
    expect(
        &calls(&script),
        &[
            (ARGUMENT, "state_dir"),
            (POLICY, "altered"),
            (POLICY, "/nonexistent"),
            (POLICY, "owner_key is set"),
            (POLICY, "behind a callback"),
            ours,
        ],
    );
    assert!(!device.path("state").exists(), "something was remembered");
}

fn checked(device: &Device, key: Option<&DevicePublicKey>, checkpoint: Option<&str>) -> Report {
    verify(&read_folder(&device.path("log")).unwrap(), key, checkpoint).unwrap()
}

#[test]
fn the_log_tells_what_the_stream_did() {
    let device = Device::new();
    let log = format!(
        "evidence {}\ndevice {}\n",
        device.path("log").display(),
        device.path("device.key").display()
    );
    let other = device.file("other.toml", "grow = 2.0\nmax_gap = \"1s\"\ndeadline = \"5s\"\n");
    let first = device.file("first.toml", "max_gap = \"1s\"\ndeadline = \"5s\"\n");
    let script = format!("{log}open {first}\npush\nset {other}\npush\ncheckpoint\nstats\nclose\n");
    let program = build("tests/c/owner.c", "plain", Link::Shared, &[]);
    let said = played(&mut valgrind(&program), &script);
    assert!(said.iter().all(|line| line.starts_with(OK)), "{said:#?}");
    let key = device_key(&device.path("device.key")).unwrap().public();
    let (checkpoint, covered) = (&said[4][2..], said[5].split(' ').nth(1).unwrap().parse::<u64>().unwrap());
    assert!(said[5].ends_with(" 0 0"), "the log had trouble: {}", said[5]);
    let report = checked(&device, Some(&key), Some(checkpoint));
    assert_eq!((&report.findings[..], report.frames.covered >= covered), (&[][..], true), "{report:?}");
    assert!(!report.notes.iter().any(|n| matches!(n, Note::Open(_) | Note::Torn)), "{:?}", report.notes);
    // Both policies by their hashes, and nothing of their text.
    let text = String::from_utf8(read_folder(&device.path("log")).unwrap().remove(0).1).unwrap();
    let hashes: Vec<&str> =
        text.split("\"policy\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(hashes.len() == 2 && hashes[0] != hashes[1], "{text}");
    assert!(text.contains("libmilkglass") && text.contains("\"runtime\":\"callback\""), "{text}");

    // A second run whose power is cut, and a third.
    let said = calls(&format!("{log}open {first}\npush\ncheckpoint\npower-cut\n"));
    assert!(said.iter().all(|line| line.starts_with(OK)), "{said:#?}");
    let cut = checked(&device, Some(&key), Some(&said[2][2..]));
    assert!(cut.findings.is_empty() && cut.notes.iter().any(|n| matches!(n, Note::Open(_))), "{cut:?}");
    calls(&format!("{log}open {first}\nclose\n"));
    let again = checked(&device, Some(&key), Some(&said[2][2..]));
    assert!(again.findings.is_empty(), "{again:?}");
    assert!(again.notes.iter().any(|n| matches!(n, Note::Restarted(_))), "{again:?}");

    // What is done to it afterwards.
    let files = read_folder(&device.path("log")).unwrap();
    let (name, bytes) = &files[0];
    fs::write(name, String::from_utf8(bytes.clone()).unwrap().replacen("covered", "coverED", 1)).unwrap();
    let edited = checked(&device, Some(&key), None);
    assert!(edited.findings.iter().any(|f| f.kind == Tampering::Edited), "{edited:?}");
    fs::write(name, bytes).unwrap();
    for (name, _) in &files[1..] {
        fs::remove_file(name).unwrap();
    }
    let short = checked(&device, Some(&key), Some(&said[2][2..]));
    assert!(short.findings.iter().any(|f| matches!(f.kind, Tampering::Truncated(_))), "{short:?}");
}

/// Zones need no model, so that this runs in every build; the zone is the left half.
#[test]
fn the_example_with_a_lock_redacts_and_keeps_evidence() {
    const ZONE: &str =
        "faces = 'off'\n[[zone]]\nname = 'left'\narea = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\n";
    let device = Device::new();
    let lock = device.lock("camera.lock", ZONE, 1, &secret(1));
    let plain = build("examples/firmware.c", "plain", Link::Shared, &[]);
    // Valgrind preloads itself into the program, which nobody may where the policy is locked.
    let mut slowly = valgrind(&plain);
    slowly.args([&lock, &secret(1).public().to_string()]).arg(device.path("slow"));
    let refused = output(&mut slowly, b"");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && why.contains("LD_PRELOAD is set"), "{why}");
    let mut program = Command::new(build("examples/firmware.c", "asan", Link::Shared, SANITIZED));
    program.args([&lock, &secret(1).public().to_string()]).arg(device.path("data"));
    let done = output(&mut program, &vec![200; 640 * 360 * 3 / 2 * 8]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    assert!(done.stdout.len() >= 640 * 360 * 3 / 2, "no frame came out: {said}");
    for row in done.stdout.chunks_exact(640 * 360 * 3 / 2).flat_map(|f| f[..640 * 360].chunks_exact(640)) {
        assert!(row[..320].iter().all(|v| *v == 16) && row[320..].iter().all(|v| *v == 200));
    }
    let log = read_folder(&device.path("data/evidence")).unwrap();
    let report = verify(&log, None, Some(&said)).unwrap();
    assert!(report.findings.is_empty() && report.frames.covered >= 1, "{report:?}");
    // Another owner's number in the firmware.
    let mut program = Command::new(plain);
    program.args([&lock, &secret(2).public().to_string()]).arg(device.path("data"));
    let refused = output(&mut program, b"");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("owner"));
}

#[test]
fn a_log_that_cannot_be_had_is_refused_and_one_that_breaks_stops_no_frame() {
    let device = Device::new();
    let policy = device.file("p.toml", "max_gap = \"1s\"\ndeadline = \"5s\"\n");
    let dir = device.path("log").display().to_string();
    let rubbish = device.file("rubbish", "rubbish");
    let script = format!(
        "device {rubbish}\nopen {policy}\nevidence {dir}\nopen {policy}\ndevice\nevidence /proc/none\nopen {policy}\n\
         evidence {dir}\nopen {policy}\nopen {policy}\n"
    );
    expect(
        &calls(&script),
        &[(ARGUMENT, "evidence"), (CAMERA, "rubbish"), (CAMERA, "/proc/none"), (OK, ""), (CAMERA, "in use")],
    );
    let none = calls(&format!("open {policy}\ncheckpoint\nclose\n"));
    expect(&none, &[(OK, ""), (ARGUMENT, "no evidence log"), (OK, "")]);
    let full = format!("evidence {dir}2\nopen {policy}\npush\ndisk-full\ncheckpoint\npush\nstats\nclose\n");
    let said = calls(&full);
    let covered = (OK, "covered");
    expect(&said, &[(OK, ""), covered, (CAMERA, "cannot be written"), covered, (OK, " 1"), (OK, "")]);
}
