//! Model manifests. What is accepted keeps what the engine relies on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milkglass::detect::Manifest;

fuzz_target!(|text: &str| {
    let Ok(m) = Manifest::parse(text, "m.toml") else { return };
    // Joined to the model folder's path, so neither may lead out of it.
    for name in [&m.name, &m.file] {
        assert!(std::path::Path::new(name).components().count() == 1 && !name.contains(['/', '\\', '\0']));
        assert!(!matches!(name.as_str(), "" | ".."), "{name:?}");
    }
    assert!(m.sha256.len() == 64 && m.sha256.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(!m.classes.is_empty() && m.classes().count() == m.classes.len());
    assert!((0.0..=1.0).contains(&m.thresholds.score) && (0.0..=1.0).contains(&m.thresholds.nms));
    assert!((1..=128).contains(&m.input.multiple));
    assert!(m.input.mean.iter().chain(&m.input.scale).all(|v| v.is_finite()));
    let c = m.calibration;
    assert!([c.sides, c.top, c.bottom].iter().all(|v| (-0.2..=1.0).contains(v)), "{c:?}");
});
