//! The ratchet of locked policies, on three policies that differ in a few keys: one that counts as no weaker than another
//! really hides at least as much, judged by what the engine does with it; and nobody gets in two steps what they do not get
//! in one.
#![no_main]

#[path = "../zoned.rs"]
mod zoned;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use milkglass::picture::PixelFormat;
use milkglass::policy::Settings;
use milkglass::policy::{PolicyFile, RegionShape, ZoneEntry};
use milkglass::{Class, FrameFormat, Media, Policy};
use zoned::{RAW, zoned};

#[derive(Arbitrary, Debug)]
struct Three {
    base: Vec<Change>,
    second: Vec<Change>,
    third: Vec<Change>,
}

#[derive(Arbitrary, Debug)]
enum Change {
    Key(u8, u8),
    /// Leaves a key to its default.
    Open(u8),
    /// Draws a zone, in place of the one of this name if there is one.
    Zone(u8, Drawn),
    Remove(u8),
}

#[derive(Arbitrary, Debug)]
struct Drawn {
    /// On a grid of eight.
    corners: [(u8, u8); 4],
    style: u8,
    cells: u8,
    inverted: bool,
    disabled: bool,
    color: bool,
}

/// Keys, each with texts that are accepted.
const KEYS: [(&str, &[&str]); 21] = [
    ("preset", &["fast", "balanced", "careful"]),
    ("faces", &["off", "blur", "pixelate", "fill"]),
    ("persons", &["off", "blur", "pixelate", "fill"]),
    ("reversible", &["true", "false"]),
    ("shape", &["box", "padded"]),
    ("color", &["\"#000000\"", "\"#102030\""]),
    ("cells", &["2", "4", "6"]),
    ("min_score", &["0.12", "0.2", "0.25", "0.6"]),
    ("grow", &["1.1", "1.16", "1.2", "2"]),
    ("hold", &["0s", "1s", "5s"]),
    ("speed", &["0.5", "4", "100"]),
    ("motion_cover", &["true", "false"]),
    ("tiles", &["true", "false"]),
    ("detect_every", &["1", "3", "4", "30"]),
    ("look_ahead", &["0s", "200ms", "2s"]),
    ("deadline", &["500ms", "5s"]),
    ("on_deadline", &["obscure", "drop"]),
    ("max_gap", &["100ms", "500ms", "2s"]),
    ("max_exposure", &["100ms", "500ms", "3s"]),
    ("ladder", &["[]", "[\"balanced\"]", "[\"fast\"]", "[\"balanced\", \"fast\"]"]),
    ("self_test", &["off", "10s", "300s"]),
];
const NAMES: [&str; 3] = ["a", "b", "c"];

fuzz_target!(|three: Three| {
    let mut file = PolicyFile::default();
    let mut files = Vec::new();
    for changes in [&three.base, &three.second, &three.third] {
        changes.iter().take(12).for_each(|change| change.make(&mut file));
        if file.derive().is_err() {
            return;
        }
        files.push(file.clone());
    }
    let format = FrameFormat::new(PixelFormat::I420, 27, 23).expect("a format");
    let weaker = |new: &PolicyFile, base: &PolicyFile| {
        new.weakenings(base, &format).expect("checked files can be compared")
    };
    for file in &files {
        assert_eq!(weaker(file, file), [], "{file:?}");
    }
    let [a, b, c] = &files[..] else { return };
    for (base, new) in [(a, b), (b, c), (a, c), (b, a), (c, b)] {
        if weaker(new, base).is_empty() {
            compare(base, new, &format);
        }
    }
    if weaker(b, a).is_empty() && weaker(c, b).is_empty() {
        let weaker = weaker(c, a);
        assert!(
            weaker.is_empty(),
            "in two steps {weaker:?}\n{}\n\n{}\n\n{}",
            a.to_toml(),
            b.to_toml(),
            c.to_toml()
        );
    }
});

impl Change {
    fn make(&self, file: &mut PolicyFile) {
        match self {
            Change::Key(key, choice) => {
                let (key, texts) = KEYS[usize::from(*key) % KEYS.len()];
                file.set(key, texts[usize::from(*choice) % texts.len()]).expect("an accepted text");
            }
            Change::Open(key) => file.unset(KEYS[usize::from(*key) % KEYS.len()].0),
            Change::Zone(name, drawn) => {
                let name = NAMES[usize::from(*name) % NAMES.len()];
                let corners: Vec<String> = drawn
                    .corners
                    .iter()
                    .map(|(x, y)| format!("{},{}", f64::from(x % 9) / 8.0, f64::from(y % 9) / 8.0))
                    .collect();
                let style = ["fill", "pixelate", "blur"][usize::from(drawn.style) % 3];
                let Ok(mut zone) = format!("{name}:{}:{style}", corners.join(";")).parse::<ZoneEntry>()
                else {
                    return;
                };
                zone.cells = [None, Some(2), Some(6)][usize::from(drawn.cells) % 3];
                (zone.inverted, zone.enabled) = (drawn.inverted, !drawn.disabled);
                zone.color = drawn.color.then_some(milkglass::policy::Color::BLACK);
                file.zones.retain(|z| z.name != name);
                file.zones.push(zone);
            }
            Change::Remove(name) => {
                let name = NAMES[usize::from(*name) % NAMES.len()];
                file.zones.retain(|z| z.name != name);
            }
        }
    }
}

/// The engine's policy, live, with what its preset stands for; and the least and the greatest score that face passes ask for.
fn policy(file: &PolicyFile) -> Option<(Policy, (f32, f32))> {
    let settings = Settings::of(file, file.preset().unwrap_or_default(), &[Class::Face]);
    let policy = file.derive().ok()?.policy(Media::Live);
    let scores = || settings.passes.iter().map(|pass| pass.score);
    Some((policy, (scores().fold(1.0, f32::min), scores().fold(0.0, f32::max))))
}

/// `new` counts as no weaker than `base`. So it must not be.
fn compare(base: &PolicyFile, new: &PolicyFile, format: &FrameFormat) {
    let (Some((was, was_score)), Some((is, is_score))) = (policy(base), policy(new)) else { return };
    let why = format!("\n{}\n\nto\n\n{}", base.to_toml(), new.to_toml());
    for class in Class::ALL {
        match (was.style(class), is.style(class)) {
            (None, _) => {}
            (Some(was), Some(is)) => {
                assert!(is.weakness() <= was.weakness(), "{class}: {was:?}, {is:?}{why}")
            }
            (Some(_), None) => panic!("{class} is seen{why}"),
        }
    }
    // Presets of their own scores are ranked by what they were measured to find.
    let both_open = base.get("min_score").is_none() && new.get("min_score").is_none();
    assert!(both_open || is_score.1 <= was_score.0, "scores {was_score:?}, {is_score:?}{why}");
    assert!(new.preset().unwrap_or_default() >= base.preset().unwrap_or_default(), "{why}");
    // Of the classes that are really looked for: what `tiles` implies holds for faces alone.
    let looks = |file: &PolicyFile, policy: &Policy| {
        let classes: Vec<Class> = policy.classes().collect();
        Settings::of(file, file.preset().unwrap_or_default(), &classes).detect_every
    };
    assert!(was.classes().next().is_none() || looks(new, &is) <= looks(base, &was), "looks less often{why}");
    assert!(
        is.hold() >= was.hold() && is.speed() >= was.speed() && is.look_ahead() >= was.look_ahead(),
        "{why}"
    );
    assert!(is.max_gap() <= was.max_gap(), "{why}");
    assert!(was.reversible() || !is.reversible(), "{why}");
    assert!(was.shape() == RegionShape::Box || is.shape() == RegionShape::Padded, "{why}");
    assert!(is.motion_cover() || !was.motion_cover(), "{why}");
    assert_eq!(
        (is.deadline(), is.on_deadline(), is.self_test()),
        (was.deadline(), was.on_deadline(), was.self_test()),
        "{why}"
    );
    assert_eq!(is.obscure_color(), was.obscure_color(), "{why}");
    let (before, after) = (hidden(&was, format), hidden(&is, format));
    assert!(before.iter().zip(&after).all(|(before, after)| *after || !before), "a zone shrank{why}");
}

/// Which bytes of a frame its zones hide, in all planes.
fn hidden(policy: &Policy, format: &FrameFormat) -> Vec<bool> {
    let zones = policy.zones().iter().cloned();
    let Ok(zones) = zones.fold(Policy::builder(), |b, z| b.zone(z)).build() else { return Vec::new() };
    let frame = zoned(zones, format);
    let view = frame.view();
    let rows = format.planes().iter().enumerate().flat_map(|(n, p)| (0..p.height).map(move |y| (n, y)));
    rows.flat_map(|(n, y)| view.row(n, y).iter().map(|v| *v != RAW).collect::<Vec<_>>()).collect()
}
