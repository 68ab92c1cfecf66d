//! Policy files: what is accepted reads the same after it was written, and protects no less than itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milkglass::picture::PixelFormat;
use milkglass::policy::{PolicyFile, ZoneEntry};
use milkglass::{FrameFormat, Media};

fuzz_target!(|text: &str| {
    // The same text as the value of a flag.
    let _ = text.parse::<ZoneEntry>();
    if let Some((key, value)) = text.split_once('=') {
        let _ = PolicyFile::default().set(key.trim(), value.trim());
    }
    let Ok(file) = PolicyFile::parse(text, "p.toml") else { return };
    let written = file.to_toml();
    let again = PolicyFile::parse(&written, "again.toml").expect("what was written can be read");
    assert_eq!(again, file, "{written}");
    // One that hides nothing is refused, and so are values that do not go together.
    let Ok(derived) = file.derive() else { return };
    for media in [Media::Still, Media::Scene, Media::Clip { fps: 25.0 }, Media::Live] {
        derived.policy(media).to_builder().build().expect("a policy is a policy");
    }
    assert!(derived.canonical(None, false).starts_with("canonical = 1\n"));
    let format = FrameFormat::new(PixelFormat::Nv12, 33, 21).expect("a format");
    let weaker = file.weakenings(&file, &format).expect("a checked file can be compared");
    assert!(weaker.is_empty(), "weaker than itself: {weaker:?}");
});
