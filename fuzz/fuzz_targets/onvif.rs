//! Privacy masks as a camera's XML has them: what is taken from them is a policy that reads, and makes the same masks again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milkglass::policy::PolicyFile;
use milkglass_parsers::onvif::{self, Kind, Mask};

fuzz_target!(|xml: &str| {
    if xml.len() as u64 > onvif::MAX_BYTES {
        return;
    }
    let Ok(masks) = onvif::read(xml) else { return };
    assert!(!masks.is_empty());
    // A mask may have too few corners for a zone, or another's name; nothing else may be wrong with the file.
    let file = PolicyFile::parse(&onvif::policy_text(&masks), "masks");
    if let Ok(file) = &file {
        assert_eq!(file.zones.len(), masks.len());
    }
    let mut names: Vec<&str> = masks.iter().map(|mask| mask.token.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let plain = |mask: &Mask| mask.corners == [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)] && !mask.token.is_empty();
    if masks.iter().all(plain) && names.len() == masks.len() {
        file.and_then(|file| file.check()).expect("what plain masks say is a policy");
    }

    let written = onvif::write(&masks);
    let again = onvif::read(&written).expect("what was written can be read");
    assert_eq!(again.len(), masks.len(), "{written}");
    for (was, is) in masks.iter().zip(&again) {
        assert_eq!(
            (was.kind, was.enabled, was.corners.len()),
            (is.kind, is.enabled, is.corners.len()),
            "{written}"
        );
        for (was, is) in was.corners.iter().zip(&is.corners) {
            assert!((was.0 - is.0).abs() < 1e-9 && (was.1 - is.1).abs() < 1e-9, "{written}");
        }
        if let (Some(was), Some(is), Kind::Color) = (was.color, is.color, was.kind) {
            assert!(was.iter().zip(is).all(|(was, is)| was.abs_diff(is) <= 1), "{written}");
        }
    }
});
