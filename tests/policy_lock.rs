//! A locked policy: anybody may strengthen it, nobody but its owner can weaken it, and no older or foreign lock takes its
//! place.
#![cfg(feature = "lock")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;

use milkglass::FrameFormat;
use milkglass::detect::LoadedModel;
use milkglass::geometry::Orientation;
use milkglass::lock::{Bound, Lock, OwnerPublicKey, OwnerSecretKey, RollbackGuard};
use milkglass::picture::PixelFormat;
use milkglass::policy::{KEYS, PolicyFile, ZoneEntry};

#[path = "support/weaker.rs"]
mod weaker;
use weaker::{OWNERS, WEAKER};

/// What protects at least as much.
const STRONGER: &[(&str, &str)] = &[
    ("", ""),
    ("preset = \"balanced\"", ""),
    ("preset = \"balanced\"", "preset = \"careful\""),
    ("faces = \"pixelate\"", "faces = \"fill\""),
    ("faces = \"pixelate\"", "faces = \"blur\""),
    ("persons = \"blur\"", "persons = \"fill\""),
    (
        "faces = \"pixelate\"\npersons = \"blur\"\nshape = \"padded\"",
        "persons = \"fill\"\nshape = \"padded\"",
    ),
    ("cells = 4\n", "cells = 2\n"),
    ("min_score = 0.2", "min_score = 0.1"),
    ("grow = 1.3", "grow = 2.0"),
    ("hold = \"1s\"", "hold = \"2s\""),
    ("hold = \"1s\"", ""),
    ("speed = 4.0", "speed = 8"),
    ("detect_every = 3", "detect_every = 1"),
    ("look_ahead = \"100ms\"", "look_ahead = \"200ms\""),
    ("max_gap = \"300ms\"", "max_gap = \"200ms\""),
    ("max_exposure = \"400ms\"", "max_exposure = \"300ms\""),
    ("[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]", "[[0.5, 0], [1, 0], [1, 0.6], [0.5, 0.6]]"),
    ("cells = 3", "cells = 2"),
    ("style = \"pixelate\"\ncells = 3", "style = \"fill\""),
    ("[0.95, 0.95], [0.05, 0.95]]", "[0.9, 0.9], [0.05, 0.95]]"),
    (
        "inverted = true",
        "inverted = true\n[[zone]]\nname = \"new\"\narea = [[0, 0], [1, 0], [1, 1]]\ncolor = \"#ff0000\"",
    ),
];

fn parse(text: &str) -> PolicyFile {
    let file = PolicyFile::parse(text, "p.toml").unwrap_or_else(|e| panic!("{text}\nis refused: {e}"));
    file.check().unwrap_or_else(|e| panic!("{text}\nis refused: {e}"));
    file
}

fn edited(from: &str, to: &str) -> PolicyFile {
    assert!(OWNERS.contains(from), "{from}");
    parse(&OWNERS.replacen(from, to, 1))
}

fn format() -> FrameFormat {
    FrameFormat::new(PixelFormat::Nv12, 1920, 1080).unwrap()
}

fn secret(byte: u8) -> OwnerSecretKey {
    OwnerSecretKey::parse(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn bound(serial: u64) -> Bound {
    let models = BTreeMap::from([("yunet".to_string(), "ab".repeat(32))]);
    let manifests = BTreeMap::from([("yunet".to_string(), "ef".repeat(32))]);
    Bound { serial, models, manifests, runtime: Some("cd".repeat(32)), ..Bound::default() }
}

fn lock(serial: u64) -> Lock {
    Lock::parse(&Lock::sign(OWNERS, &bound(serial), &secret(1)).unwrap(), "camera.lock", None).unwrap()
}

#[test]
fn every_way_to_weaken_it_is_refused_and_named() {
    let (base, lock) = (parse(OWNERS), lock(1));
    for (from, to, key) in WEAKER {
        let new = edited(from, to);
        let found = new.weakenings(&base, &format()).unwrap();
        assert!(found.iter().any(|w| w.key == *key), "{from} -> {to}: {key} is not among {found:?}");
        let refused = lock.admit(&new, &format()).unwrap_err().to_string();
        assert!(refused.contains(&format!("{key}: ")), "{refused}");
    }
    assert!(WEAKER.len() >= 30, "{} ways", WEAKER.len());
}

#[test]
fn every_key_has_a_way_to_be_weakened_in_this_test() {
    for key in KEYS {
        // A zone's name, style, cells and orientation show in what it hides.
        let name = match key.name {
            "zone.name" => "zone",
            "zone.style" | "zone.cells" | "zone.inverted" => "zone.area",
            name => name,
        };
        // What it forbids cannot stand beside it: it has a test of its own.
        let apart = key.name == "reversible";
        assert!(apart || WEAKER.iter().any(|(_, _, k)| *k == name), "{} is never weakened", key.name);
    }
}

/// Styles that hide nothing from a program stay forbidden, whichever way somebody asks for them.
#[test]
fn an_owner_can_forbid_cosmetic_styles_for_good() {
    let owners = "reversible = false\npersons = \"fill\"\n[[zone]]\nname = \"a\"\narea = [[0,0],[1,0],[1,1]]";
    let lock = Lock::parse(&Lock::sign(owners, &bound(1), &secret(1)).unwrap(), "camera.lock", None).unwrap();
    for open in ["", "reversible = true\n"] {
        let new = parse(&owners.replace("reversible = false\n", open));
        let refused = lock.admit(&new, &format()).unwrap_err().to_string();
        assert!(refused.contains("reversible: true instead of false (stronger is false)"), "{refused}");
    }
    lock.admit(&parse(owners), &format()).unwrap();
    for (from, to) in [
        ("persons = \"fill\"", "persons = \"blur\""),
        ("persons", "faces = \"pixelate\"\npersons"),
        ("area", "style = \"blur\"\narea"),
    ] {
        let new = PolicyFile::parse(&owners.replacen(from, to, 1), "p.toml").unwrap();
        assert!(new.check().unwrap_err().to_string().contains("reversible = false"), "{to}");
    }
    // Anybody may forbid them under a lock that does not.
    assert_eq!(parse(owners).weakenings(&parse(&owners[19..]), &format()).unwrap(), []);
    // And no owner signs what contradicts itself.
    assert!(Lock::sign("reversible = false\nfaces = \"blur\"", &bound(1), &secret(1)).is_err());
}

#[test]
fn whatever_protects_as_much_is_let_pass() {
    let lock = lock(1);
    for (from, to) in STRONGER {
        lock.admit(&edited(from, to), &format()).unwrap_or_else(|e| panic!("{from} -> {to}: {e}"));
    }
}

#[test]
fn a_score_left_to_the_preset_is_compared_with_every_pass_of_it() {
    let refused = |base: &str, new: &str| !parse(new).weakenings(&parse(base), &format()).unwrap().is_empty();
    // The careful preset looks with several scores; one for all of them must not be above the least.
    assert!(refused("preset = \"careful\"", "preset = \"careful\"\nmin_score = 0.2"));
    assert!(!refused("preset = \"careful\"", "preset = \"careful\"\nmin_score = 0.1"));
    assert!(refused("min_score = 0.2", ""));
    assert!(!refused("min_score = 0.3", ""));
}

#[test]
fn a_ladder_may_lose_rungs_and_gain_none() {
    let base = parse("preset = \"careful\"\nladder = [\"balanced\", \"fast\"]");
    let weaker = |new: &str| parse(new).weakenings(&base, &format()).unwrap();
    assert_eq!(weaker("preset = \"careful\"\nladder = [\"fast\"]"), []);
    assert_eq!(weaker("preset = \"careful\""), []);
    let one = parse("preset = \"careful\"\nladder = [\"balanced\"]");
    assert_eq!(base.weakenings(&one, &format()).unwrap()[0].key, "ladder");
}

#[test]
fn flags_count_as_much_as_the_file() {
    let lock = lock(1);
    let mut file = parse(OWNERS);
    file.set("persons", "off").unwrap();
    assert!(lock.admit(&file, &format()).is_err());
    let mut file = parse(OWNERS);
    file.set("persons", "fill").unwrap();
    file.zones.push("door:0,0;0.2,0;0.2,1".parse::<ZoneEntry>().unwrap());
    lock.admit(&file, &format()).unwrap();
}

#[test]
fn zones_are_compared_in_the_upright_picture() {
    let lock = lock(1);
    let turned = format().with_orientation(Orientation::from_exif(6).unwrap());
    lock.admit(&parse(OWNERS), &turned).unwrap();
    let smaller = edited("[0.9, 0.5], [0.6, 0.5]]", "[0.9, 0.49], [0.6, 0.5]]");
    assert!(lock.admit(&smaller, &turned).is_err());
}

#[test]
fn what_was_altered_after_signing_is_refused() {
    let text = Lock::sign(OWNERS, &bound(7), &secret(1)).unwrap();
    Lock::parse(&text, "l", None).unwrap();
    for (from, to) in [
        ("serial = 7", "serial = 8"),
        ("min_score = 0.2", "min_score = 0.3"),
        ("abab", "acab"),
        ("cdcd", "cecd"),
        ("efef", "eeef"),
        ("yunet", "yunez"),
        ("name = \"window\"", "name = \"windox\""),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let refused = Lock::parse(&text.replacen(from, to, 1), "l", None).unwrap_err().to_string();
        assert!(refused.contains("altered"), "{from}: {refused}");
    }
    // Bound hashes cannot be left out either.
    for left_out in ["runtime", "yunet = \"ab", "yunet = \"ef"] {
        let without = text.lines().filter(|l| !l.starts_with(left_out)).collect::<Vec<_>>().join("\n");
        assert!(without.len() < text.trim_end().len(), "{left_out} in {text}");
        assert!(Lock::parse(&without, "l", None).unwrap_err().to_string().contains("altered"));
    }
    assert!(Lock::parse(&text.replacen("version = 2", "version = 1", 1), "l", None).is_err());
    assert!(Lock::parse(&text.replacen("version = 2", "version = 3", 1), "l", None).is_err());
    // The file of another version, with what only this one binds taken out.
    let mut old: Vec<&str> = text.lines().filter(|l| !l.starts_with("version")).collect();
    old.retain(|l| !l.contains("manifests") && !l.contains("efef"));
    assert!(Lock::parse(&old.join("\n"), "l", None).unwrap_err().to_string().contains("altered"));
    for rubbish in ["", "owner = 1", "\u{0}", &"a".repeat(3 << 20), &text[..text.len() / 2]] {
        assert!(Lock::parse(rubbish, "l", None).is_err());
    }
}

#[test]
fn every_flipped_bit_of_the_signature_is_found() {
    let text = Lock::sign(OWNERS, &bound(7), &secret(1)).unwrap();
    let at = text.find("signature = \"").unwrap() + "signature = \"".len();
    for i in 0..128 {
        let mut bytes = text.clone().into_bytes();
        bytes[at + i] = if bytes[at + i] == b'0' { b'1' } else { b'0' };
        assert!(Lock::parse(std::str::from_utf8(&bytes).unwrap(), "l", None).is_err(), "digit {i}");
    }
}

#[test]
fn only_the_owners_signature_counts() {
    let text = Lock::sign(OWNERS, &bound(1), &secret(2)).unwrap();
    let owner = secret(1).public();
    assert!(
        Lock::parse(&text, "l", Some(&owner)).unwrap_err().to_string().contains("not this device's owner")
    );
    // The stranger's file with the owner's name on it.
    let forged = text.replace(&secret(2).public().to_string(), &owner.to_string());
    assert!(Lock::parse(&forged, "l", Some(&owner)).is_err());
    // A key that accepts anybody's signatures.
    for weak in ["00".repeat(32), format!("01{}", "00".repeat(31))] {
        assert!(OwnerPublicKey::parse(&weak).is_err(), "{weak}");
    }
}

#[test]
fn the_device_remembers_its_owner_and_takes_no_older_file() {
    let folder = tempfile::tempdir().unwrap();
    let guard = || RollbackGuard::new(folder.path());
    let admit = |lock: &Lock| guard().admit(lock, lock.policy(), &format());
    let refused = |lock: &Lock| admit(lock).unwrap_err().to_string();
    assert!(!guard().is_set());
    admit(&lock(5)).unwrap();
    assert!(guard().is_set());
    admit(&lock(5)).unwrap();
    admit(&lock(6)).unwrap();
    assert!(refused(&lock(5)).contains("older"));
    // The same number for something else.
    let other = Lock::sign("faces = \"fill\"", &bound(6), &secret(1)).unwrap();
    let other = Lock::parse(&other, "l", None).unwrap();
    assert!(refused(&other).contains("another lock file with the number 6"));
    // Somebody else's, however new.
    let foreign = Lock::sign(OWNERS, &bound(99), &secret(2)).unwrap();
    let foreign = Lock::parse(&foreign, "l", None).unwrap();
    assert!(refused(&foreign).contains("not this device's owner"));
    // What is only asked about is not remembered, and answered as it would be.
    let guard = guard();
    guard.check(&lock(8), lock(8).policy(), &format()).unwrap();
    guard.check(&lock(6), lock(6).policy(), &format()).unwrap();
    assert!(guard.check(&lock(5), lock(5).policy(), &format()).is_err());
    admit(&lock(7)).unwrap();
    // A memory that is damaged is no memory that is empty.
    fs::write(folder.path().join("owner.toml"), "rubbish").unwrap();
    assert!(refused(&lock(8)).contains("damaged"));
}

#[test]
fn what_anybody_strengthened_only_the_owner_can_loosen() {
    let folder = tempfile::tempdir().unwrap();
    let guard = || RollbackGuard::new(folder.path());
    let more = edited("hold = \"1s\"", "hold = \"2s\"");
    guard().admit(&lock(1), &parse(OWNERS), &format()).unwrap();
    guard().admit(&lock(1), &more, &format()).unwrap();
    let refused = guard().admit(&lock(1), &parse(OWNERS), &format()).unwrap_err().to_string();
    assert!(refused.contains("hold: 1s instead of 2s"), "{refused}");
    // A refused one changes nothing.
    guard().admit(&lock(1), &more, &format()).unwrap();
    guard().admit(&lock(2), &parse(OWNERS), &format()).unwrap();
}

#[test]
fn a_policy_written_out_is_the_same_policy() {
    let mut all = vec![parse(OWNERS), PolicyFile::default()];
    all.extend(WEAKER.iter().map(|(from, to, _)| edited(from, to)));
    all.extend(STRONGER.iter().map(|(from, to)| edited(from, to)));
    for file in all {
        let text = file.to_toml();
        let back = parse(&text);
        assert_eq!(back, file, "{text}");
    }
    let mut named = parse(OWNERS);
    named.zones[0].name = "quote \" back \\ umlaut \u{fc}".into();
    assert_eq!(parse(&named.to_toml()), named);
}

#[test]
fn models_and_runtime_are_part_of_the_lock() {
    let lock = lock(1);
    let (yunet, runtime) = ("ab".repeat(32), "cd".repeat(32));
    let manifest = "ef".repeat(32);
    let model = |name: &str, sha256: &str, manifest: &str, untested| LoadedModel {
        name: name.into(),
        sha256: sha256.into(),
        manifest_sha256: manifest.into(),
        untested,
    };
    lock.admit_detector([&model("yunet", &yunet, &manifest, false)], Some(&runtime)).unwrap();
    lock.admit_detector([], Some(&runtime.to_uppercase())).unwrap();
    for (model, runtime) in [
        (model("yunet", &runtime, &manifest, false), Some(runtime.as_str())),
        (model("other", &yunet, &manifest, false), Some(runtime.as_str())),
        // The same file, shown other pictures or read another way.
        (model("yunet", &yunet, &yunet, false), Some(runtime.as_str())),
        (model("yunet", &yunet, "", false), Some(runtime.as_str())),
        (model("yunet", &yunet, &manifest, true), Some(runtime.as_str())),
        (model("yunet", &yunet, &manifest, false), Some(yunet.as_str())),
        (model("yunet", &yunet, &manifest, false), None),
    ] {
        assert!(lock.admit_detector([&model], runtime).is_err(), "{model:?} {runtime:?}");
    }
    assert!(lock.admit_untested(Lock::OWN_DETECTOR).is_err());
    let bound = Bound { untested: ["yunet".to_string()].into(), ..bound(1) };
    let allows = Lock::parse(&Lock::sign(OWNERS, &bound, &secret(1)).unwrap(), "l", None).unwrap();
    allows.admit_detector([&model("yunet", &yunet, &manifest, true)], Some(&runtime)).unwrap();
    assert!(allows.admit_untested(Lock::OWN_DETECTOR).is_err(), "another one was allowed");
}

/// Made without this program, from what 0.1 signed: it binds what it bound, and says what it does not.
#[test]
fn a_lock_of_the_first_version_binds_what_it_bound() {
    let text = format!(
        "owner = \"{}\"\nsignature = \"77aa147b226c35f2ecdad7360205436e16a19bbc0a3238df203d386143dbb1da1f8d149566f65f480c5a49a2b7c8cecc9cd45aa410ec4b8c6eca5ee38037480b\"\n\
         policy = '''\nfaces = \"fill\"\n'''\n[bound]\nserial = 5\nruntime = \"{}\"\n[bound.models]\nyunet = \"{}\"\n",
        secret(1).public(),
        "cd".repeat(32),
        "ab".repeat(32)
    );
    let lock = Lock::parse(&text, "old.lock", Some(&secret(1).public())).unwrap();
    assert_eq!((lock.version(), lock.bound().serial), (1, 5));
    assert_eq!(lock.leaves_open().len(), 2, "{:?}", lock.leaves_open());
    let mut model = LoadedModel { name: "yunet".into(), sha256: "ab".repeat(32), ..LoadedModel::default() };
    lock.admit_detector([&model], Some(&"cd".repeat(32))).unwrap();
    model.sha256 = "ac".repeat(32);
    assert!(lock.admit_detector([&model], Some(&"cd".repeat(32))).is_err());
    // What the owner signs today binds all of it.
    assert_eq!(self::lock(1).version(), 2);
    assert!(self::lock(1).leaves_open().is_empty(), "{:?}", self::lock(1).leaves_open());
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    assert_eq!(format!("{:?}", secret(1)), "OwnerSecretKey");
    assert_ne!(OwnerSecretKey::generate().unwrap().to_text(), OwnerSecretKey::generate().unwrap().to_text());
}
