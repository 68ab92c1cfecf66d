//! Policy files: what is accepted reads the same after it was written, and protects no less than itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milkglass::{FrameFormat, PixelFormat, PolicyDefaults, PolicyFile, ZoneEntry};

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
    if file.check().is_err() {
        return;
    }
    let builder = file.builder(&PolicyDefaults::default()).expect("a checked file makes a policy");
    let live = file.live(builder.clone());
    for builder in [builder, live] {
        // Some ranges depend on one another (deadline, look_ahead), and one that hides nothing is refused.
        if let Ok(policy) = builder.build() {
            policy.to_builder().build().expect("a policy is a policy");
        }
    }
    let format = FrameFormat::new(PixelFormat::Nv12, 33, 21).expect("a format");
    let weaker = file.weakenings(&file, &format).expect("a checked file can be compared");
    assert!(weaker.is_empty(), "weaker than itself: {weaker:?}");
});
