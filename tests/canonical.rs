//! What is hashed of a policy can be written by somebody else: a Python program does, from docs/POLICY.md alone.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use milkglass::Media;
use milkglass::geometry::PixelAspect;
use milkglass::policy::PolicyFile;
use milkglass::policy::canonical_zones;

const POLICIES: &[&str] = &[
    "",
    "preset = \"careful\"\nladder = [\"balanced\", \"fast\"]\npersons = \"blur\"\nmin_score = 0.22\nmax_exposure = \"250ms\"",
    "tiles = true\npersons = \"fill\"\ncolor = \"#a0B0c0\"\nthreads = 3\nhold = 1.5\nself_test = \"off\"\ngrow = 1.3",
    "tiles = true\nfaces = \"off\"\npersons = \"fill\"\ndeadline = \"700ms\"\nspeed = 3.3\nbackend = \"rten\"",
    "preset = \"fast\"\nfaces = \"pixelate\"\ncells = 3\nlook_ahead = \"30ms\"\nmax_gap = 0.4\ndetect_every = 2\nshape = \"padded\"\n\
     [[zone]]\nname = \"a \\\"b\\\" \\\\c\"\narea = [[0, 0], [0.123456789123, 0], [1, 0.1]]\nstyle = \"blur\"\n\
     [[zone]]\nname = \"off\"\narea = [[0, 0], [1, 0], [1, 1]]\nenabled = false\n\
     [[zone]]\nname = \"z\"\narea = [[0.3, 0.3], [0.7, 0.3], [0.5, 0.9]]\ninverted = true\ncolor = \"#FFFFFF\"",
    "faces = \"off\"\n[[zone]]\nname = \"door\"\narea = [[0, 0], [0.5, 0], [0.5, 1]]\nstyle = \"pixelate\"\ncells = 2",
];

fn python(policy: &Path, more: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/canonical.py");
    let out = Command::new("python3")
        .arg(script)
        .arg(policy)
        .args(more)
        .output()
        .expect("python3 (make setup-tests)");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn somebody_else_writes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    let example = include_str!("../examples/policy.toml");
    for text in POLICIES.iter().copied().chain([example]) {
        fs::write(&path, text).unwrap();
        let derived = PolicyFile::read(&path).unwrap().derive().unwrap();
        assert_eq!(derived.canonical(None, false), python(&path, &[]), "{text}");
        let aspect = PixelAspect::new(64, 45).unwrap();
        assert_eq!(
            derived.canonical(Some(aspect), true),
            python(&path, &["--pixel-aspect", "64:45", "--own-detector"]),
            "{text}"
        );
        assert_eq!(
            canonical_zones(derived.policy(Media::Live).zones()),
            python(&path, &["--zones"]),
            "{text}"
        );
        // It is TOML, too.
        derived.canonical(None, false).parse::<toml::Table>().unwrap();
    }
}

/// A hash that does not change with what decides would prove nothing.
#[test]
fn whatever_decides_is_in_it() {
    let canonical =
        |text: &str| PolicyFile::parse(text, "p").unwrap().derive().unwrap().canonical(None, false);
    let all: Vec<String> = POLICIES.iter().map(|text| canonical(text)).collect();
    for (i, one) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|other| other != one));
    }
    // What is written out is no change.
    assert_eq!(canonical("detect_every = 3\nmotion_cover = false\nself_test = 300\nhold = 1"), canonical(""));
    assert_ne!(canonical("preset = \"balanced\""), canonical(""), "stills are looked at less carefully");
}
