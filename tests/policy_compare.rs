//! Whether one policy protects at least as much as another, against what is really drawn and really done: no weaker one passes,
//! and no stronger one is refused. Ways to weaken are generated over all keys and all pairs of keys, not written by hand.
#![cfg(feature = "lock")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use milkglass::geometry::Orientation;
use milkglass::picture::PixelFormat;
use milkglass::policy::{Direction, KEYS, Key, Kind, Settings, Value as PolicyValue, policy_schema};
use milkglass::policy::{PolicyFile, Preset, Style, StyleName, Zone, ZoneEntry};
use milkglass::{Class, FrameFormat, Media, Policy};
use serde_json::Value;

#[path = "support/drawn.rs"]
mod drawn;
#[path = "support/weaker.rs"]
#[allow(dead_code)]
mod weaker;

/// A small generator of numbers, so that a red run can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

fn parse(text: &str) -> PolicyFile {
    let file = PolicyFile::parse(text, "p.toml").unwrap_or_else(|e| panic!("{text}\nis refused: {e}"));
    file.check().unwrap_or_else(|e| panic!("{text}\nis refused: {e}"));
    file
}

fn small() -> FrameFormat {
    FrameFormat::new(PixelFormat::Rgb24, 32, 24).unwrap()
}

/// What the file's zones come to.
fn zones(file: &PolicyFile) -> Vec<Zone> {
    file.zones.iter().filter(|z| z.enabled).map(|z| z.zone(file).unwrap()).collect()
}

fn passes(new: &PolicyFile, base: &PolicyFile, format: &FrameFormat) -> bool {
    new.weakenings(base, format).unwrap().is_empty()
}

/// A rectangle as a zone.
fn rect(name: &str, (x0, y0, x1, y1): (f64, f64, f64, f64), style: StyleName, cells: u8) -> ZoneEntry {
    let mut zone: ZoneEntry = format!("{name}:{x0},{y0};{x1},{y0};{x1},{y1};{x0},{y1}").parse().unwrap();
    (zone.style, zone.cells) = (Some(style), Some(cells));
    zone
}

/// A zone in `n` by `n` parts with `gap` between them; the first keeps its name.
fn split(zone: (f64, f64, f64, f64), n: u32, gap: f64, style: StyleName, cells: u8) -> Vec<ZoneEntry> {
    let (x0, y0, x1, y1) = zone;
    let at = |from: f64, to: f64, i: u32| from + (to - from) * f64::from(i) / f64::from(n);
    let parts = (0..n * n).map(|i| {
        let (col, row) = (i % n, i / n);
        let name = if i == 0 { "a".into() } else { format!("a{i}") };
        let right = if col + 1 < n { at(x0, x1, col + 1) - gap } else { x1 };
        let lower = if row + 1 < n { at(y0, y1, row + 1) - gap } else { y1 };
        rect(&name, (at(x0, x1, col), at(y0, y1, row), right, lower), style, cells)
    });
    parts.collect()
}

fn with(zones: Vec<ZoneEntry>) -> PolicyFile {
    let mut file = parse("");
    file.zones = zones;
    file.check().unwrap();
    file
}

const WHOLE: (f64, f64, f64, f64) = (0.0, 0.0, 1.0, 1.0);

/// Without a lock, too: a zone in parts, with hairlines between them or without, in whatever order and shape, shows no more
/// than in one piece.
#[test]
fn a_zone_in_parts_shows_no_more_than_in_one_piece() {
    for (width, height) in [(64, 48), (48, 64), (97, 61)] {
        let format = FrameFormat::new(PixelFormat::Nv12, width, height).unwrap();
        for style in [StyleName::Blur, StyleName::Pixelate] {
            for area in [WHOLE, (0.1, 0.2, 0.9, 0.8), (0.25, 0.0, 0.75, 0.4)] {
                let whole = with(vec![rect("a", area, style, 4)]);
                for n in [2, 3, 8] {
                    // Gaps are filled: what shows in them raw is nobody's detail of the zone.
                    for gap in [0.0, 0.004, 0.02] {
                        let mut parts = split(area, n, gap, style, 4);
                        if gap > 0.0 {
                            let covered = zones(&with(parts.clone()));
                            let (was, is) = (zones(&whole), covered);
                            assert!(
                                only_raw_is_finer(&was, &is, &format),
                                "{n} parts with a gap of {gap} in {width}x{height}"
                            );
                            continue;
                        }
                        let file = with(parts.clone());
                        let finer = drawn::finer(&zones(&whole), &zones(&file), &format);
                        assert_eq!(finer, None, "{n} parts of {area:?} in {width}x{height}");
                        assert!(passes(&file, &whole, &format), "{n} parts of {area:?} are refused");
                        parts.reverse();
                        let finer = drawn::finer(&zones(&whole), &zones(&with(parts)), &format);
                        assert_eq!(finer, None, "{n} parts of {area:?}, the last first");
                    }
                }
            }
        }
    }
}

/// Whether everything that `new` shows more of is shown raw.
fn only_raw_is_finer(base: &[Zone], new: &[Zone], format: &FrameFormat) -> bool {
    let (was, is) = (drawn::detail(base, format), drawn::detail(new, format));
    was.iter().zip(&is).all(|(was, is)| !is.is_finer_than(was) || is.is_raw())
}

/// Thin strips have their cells along the longer side; side by side they must not be lines of a picture.
#[test]
fn strips_and_combs_are_as_coarse_as_the_area_they_make() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 64, 48).unwrap();
    let whole = zones(&with(vec![rect("a", WHOLE, StyleName::Pixelate, 4)]));
    for n in [6, 12, 24] {
        let n = f64::from(n);
        let strips = (0..n as u32).map(|i| {
            let y = f64::from(i) / n;
            let name = if i == 0 { "a".into() } else { format!("a{i}") };
            rect(&name, (0.0, y, 1.0, y + 1.0 / n), StyleName::Pixelate, 4)
        });
        assert_eq!(drawn::finer(&whole, &zones(&with(strips.collect())), &format), None, "{n} strips");
    }
    // Two combs whose teeth lie in each other's gaps, and two grids that are shifted by half a cell.
    let comb = |x: f64| {
        let mut corners = vec![(0.0, 0.0), (1.0, 0.0)];
        for i in (0..8).rev() {
            let (left, right) = (f64::from(i) / 8.0 + x, f64::from(i) / 8.0 + x + 1.0 / 16.0);
            corners.extend([(right, 0.02), (right, 1.0), (left, 1.0), (left, 0.02)]);
        }
        corners.dedup();
        corners
    };
    for shift in [0.0, 1.0 / 16.0] {
        let text: Vec<String> = comb(shift).iter().map(|(x, y)| format!("{},{y}", x.min(1.0))).collect();
        let zone: ZoneEntry = format!("c:{}:pixelate", text.join(";")).parse().unwrap();
        let other = rect("b", (0.03, 0.05, 1.0, 1.0), StyleName::Pixelate, 4);
        let both = zones(&with(vec![rect("a", WHOLE, StyleName::Blur, 4), zone, other]));
        assert_eq!(drawn::finer(&whole, &both, &format), None);
    }
}

/// However small zones are drawn, and however many cells they name, what lies behind them is never finer than 1/16 of the
/// picture's longer side.
#[test]
fn a_zone_has_a_least_cell() {
    // Cells have at least 16 pixels.
    for (width, height) in [(256, 192), (192, 256)] {
        let format = FrameFormat::new(PixelFormat::Rgb24, width, height).unwrap();
        for n in [1, 3, 8] {
            let parts = zones(&with(split(WHOLE, n, 0.0, StyleName::Pixelate, 6)));
            assert!(drawn::detail(&parts, &format).iter().all(|seen| !seen.tells(8)), "{n}");
        }
        let far = zones(&with(vec![rect("a", (0.4, 0.4, 0.43, 0.43), StyleName::Blur, 6)]));
        let seen = drawn::detail(&far, &format);
        assert!(seen.iter().any(|s| !s.tells(8)) && seen.iter().all(|s| !s.tells(8) || s.is_raw()));
    }
}

/// A cell takes nothing from what is filled, or lies under larger cells: a zone beside it must not tell what is in it.
#[test]
fn no_cell_is_sampled_from_what_something_stronger_hides() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 64, 48).unwrap();
    let filled = rect("f", (0.3, 0.3, 0.7, 0.7), StyleName::Fill, 2);
    for cells in [2, 6] {
        let around = rect("a", WHOLE, StyleName::Pixelate, cells);
        for order in [vec![filled.clone(), around.clone()], vec![around, filled.clone()]] {
            let zones = zones(&with(order));
            let shown = |secret: u8| {
                let policy = zones.iter().cloned().fold(Policy::builder(), |b, z| b.zone(z)).build().unwrap();
                let pool = milkglass::frame::FramePool::new(format, 2);
                let mut engine = milkglass::engine::Engine::new(policy, pool.clone(), &[]).unwrap();
                let at = milkglass::time::Timestamp::ZERO;
                let frame = pool.fill(milkglass::frame::FrameMeta { sequence: 0, captured: at }, |view| {
                    for y in 0..48 {
                        view.row_mut(0, y).fill(100);
                        if (15..33).contains(&y) {
                            view.row_mut(0, y)[3 * 20..3 * 44].fill(secret);
                        }
                    }
                    Ok(())
                });
                engine.push(frame.unwrap().unwrap(), at).unwrap();
                let frame = engine.release(at).unwrap();
                (0..48).flat_map(|y| frame.view().row(0, y).to_vec()).collect::<Vec<u8>>()
            };
            assert_eq!(shown(0), shown(255), "{cells} cells tell what is filled");
        }
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn random_zone(random: &mut Random, name: &str) -> ZoneEntry {
    let at = |random: &mut Random| random.below(17) as f64 / 16.0;
    loop {
        let corners = match random.below(3) {
            0 => vec![(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)],
            1 => {
                let (a, b, c, d) = (at(random), at(random), at(random), at(random));
                vec![(a, b), (c, b), (c, d), (a, d)]
            }
            _ => (0..3 + random.below(3)).map(|_| (at(random), at(random))).collect(),
        };
        let style = *random.one(&["fill", "pixelate", "pixelate", "blur", "blur"]);
        let corners: Vec<String> = corners.iter().map(|(x, y)| format!("{x},{y}")).collect();
        if let Ok(mut zone) = format!("{name}:{}:{style}", corners.join(";")).parse::<ZoneEntry>() {
            zone.cells = *random.one(&[None, Some(2), Some(3), Some(4), Some(6)]);
            zone.inverted = random.below(8) == 0;
            zone.enabled = random.below(12) != 0;
            return zone;
        }
    }
}

/// Changes a policy a little, more often so that it is stronger than so that it is weaker.
fn change(random: &mut Random, file: &mut PolicyFile) {
    let taken = file.zones.len();
    match random.below(10) {
        0 | 1 => {
            let name = format!("n{taken}");
            let zone = random_zone(random, &name);
            file.zones.push(zone);
        }
        2 if taken > 0 => {
            let at = random.below(taken as u64) as usize;
            file.zones[at].style = Some(StyleName::Fill);
        }
        3 if taken > 0 => {
            let at = random.below(taken as u64) as usize;
            file.zones[at].cells = Some(2);
        }
        4 if taken > 0 => {
            let at = random.below(taken as u64) as usize;
            (file.zones[at].enabled, file.zones[at].style) = (true, Some(StyleName::Blur));
        }
        5 if taken > 0 => {
            // In parts: of its bounds if it is no rectangle.
            let at = random.below(taken as u64) as usize;
            let zone = file.zones.remove(at);
            let points = zone.area.points();
            let least = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).fold(1.0, f64::min);
            let most = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).fold(0.0, f64::max);
            let bounds = (least(|p| p.0), least(|p| p.1), most(|p| p.0), most(|p| p.1));
            let n = 2 + random.below(3) as u32;
            let gap = *random.one(&[0.0, 0.0, 0.03]);
            for (i, mut part) in
                split(bounds, n, gap, zone.style.unwrap_or(StyleName::Fill), zone.cells.unwrap_or(4))
                    .into_iter()
                    .enumerate()
            {
                part.name = if i == 0 { zone.name.clone() } else { format!("{}{taken}p{i}", zone.name) };
                part.cells = zone.cells;
                file.zones.push(part);
            }
        }
        6 if taken > 1 => file.zones.reverse(),
        7 if taken > 0 => {
            let at = random.below(taken as u64) as usize;
            let name = file.zones[at].name.clone();
            file.zones[at] = random_zone(random, &name);
        }
        8 => file.set("cells", &(2 + random.below(5)).to_string()).unwrap(),
        9 if taken > 0 => {
            let at = random.below(taken as u64) as usize;
            let name = file.zones[at].name.clone();
            file.zones[at] = rect(&name, WHOLE, *random.one(&[StyleName::Blur, StyleName::Fill]), 3);
        }
        _ => {}
    }
}

/// 10,000 random pairs: one that counts as at least as strong lets nothing be told that the other does not.
#[test]
fn what_counts_as_strong_shows_no_more() {
    let mut random = Random(11);
    let formats = [
        small(),
        FrameFormat::new(PixelFormat::Nv12, 24, 32).unwrap(),
        FrameFormat::new(PixelFormat::I420, 32, 24)
            .unwrap()
            .with_orientation(Orientation::from_exif(6).unwrap()),
    ];
    let (mut accepted, mut parted) = (0, 0);
    for pair in 0..10_000 {
        let mut base = parse("");
        for name in &NAMES[..1 + random.below(3) as usize] {
            base.zones.push(random_zone(&mut random, name));
        }
        let mut new = base.clone();
        for _ in 0..1 + random.below(3) {
            change(&mut random, &mut new);
        }
        if new.check().is_err() {
            continue;
        }
        let format = &formats[if pair % 8 == 0 { 1 + pair / 8 % 2 } else { 0 }];
        if passes(&new, &base, format) {
            accepted += 1;
            parted += usize::from(new.zones.len() > base.zones.len() + 2);
            if let Some(finer) = drawn::finer(&zones(&base), &zones(&new), format) {
                panic!("pair {pair}, {finer}\n{}\n\nto\n\n{}", base.to_toml(), new.to_toml());
            }
        }
    }
    assert!(accepted > 3000 && parted > 200, "{accepted} of 10000 were compared, {parted} of them in parts");
}

/// What may be written for a key, from the schema, and that it is left out (`None`).
fn values(key: &str) -> Vec<Option<String>> {
    let schema: Value = serde_json::from_str(&policy_schema()).unwrap();
    let own = match key.strip_prefix("zone.") {
        Some(short) => &schema["properties"]["zone"]["items"]["properties"][short],
        None => &schema["properties"][key],
    };
    assert!(own.is_object(), "{key} is not in the schema");
    let mut all: Vec<Option<String>> = of_type(own, &schema).into_iter().map(Some).collect();
    assert!(all.len() >= 2, "{key} has no two values: {all:?}");
    all.push(None);
    all
}

fn of_type(own: &Value, schema: &Value) -> Vec<String> {
    if let Some(any) = own["anyOf"].as_array() {
        return any.iter().flat_map(|one| of_type(one, schema)).collect();
    }
    if let Some(only) = own.get("const") {
        return vec![only.to_string()];
    }
    let reference = own["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
    let shared = reference.map_or(&Value::Null, |name| &schema["$defs"][name]);
    let get = |what: &str| own.get(what).or_else(|| shared.get(what));
    if let Some(words) = get("enum").and_then(Value::as_array) {
        return words.iter().map(Value::to_string).collect();
    }
    if get("pattern").and_then(Value::as_str).is_some_and(|p| p.starts_with("^#")) {
        return vec!["\"#000000\"".into(), "\"#202020\"".into(), "\"#ff0000\"".into()];
    }
    match get("type") {
        Some(Value::String(kind)) if kind == "boolean" => vec!["true".into(), "false".into()],
        Some(Value::String(kind)) if kind == "array" => {
            // Lists of words: none, one, and two that go down.
            let words = of_type(&own["items"], schema);
            let pair = format!("[{}, {}]", words[1], words[0]);
            ["[]".into(), pair].into_iter().chain(words.iter().map(|w| format!("[{w}]"))).collect()
        }
        Some(kind) => {
            let most = get("maximum").and_then(Value::as_f64).unwrap();
            let open = get("exclusiveMinimum").is_some();
            let least = if open { 0.0 } else { get("minimum").and_then(Value::as_f64).unwrap() };
            let shares = [0.0, 1.0 / 16.0, 1.0 / 3.0, 1.0].into_iter().filter(|share| !open || *share > 0.0);
            let numbers = shares.map(|share| least + (most - least) * share);
            let whole = kind == "integer";
            let mut texts: Vec<String> =
                numbers.map(|n| if whole { format!("{}", n.round()) } else { format!("{n}") }).collect();
            texts.dedup();
            texts
        }
        None => panic!("a value of no type: {own}"),
    }
}

/// A policy with a key changed, or left out; `None` when that is none.
fn changed(file: &PolicyFile, key: &str, value: Option<&str>) -> Option<PolicyFile> {
    let text = file.to_toml();
    let (top, tables) = text.find("[[zone]]").map_or((text.as_str(), ""), |at| text.split_at(at));
    let without = |text: &str, short: &str| -> String {
        let other = |line: &&str| !line.starts_with(&format!("{short} = "));
        text.lines().filter(other).map(|line| format!("{line}\n")).collect()
    };
    let line = |short: &str| value.map(|v| format!("{short} = {v}\n")).unwrap_or_default();
    let text = match key.strip_prefix("zone.") {
        None => format!("{}{}{tables}", line(key), without(top, key)),
        // The first zone that there is.
        Some(short) => {
            let rest = tables.strip_prefix("[[zone]]\n")?;
            let (first, others) = rest.find("[[zone]]").map_or((rest, ""), |at| rest.split_at(at));
            format!("{top}[[zone]]\n{}{}{others}", line(short), without(first, short))
        }
    };
    let file = PolicyFile::parse(&text, "p").ok()?;
    file.check().ok()?;
    builds(&file).then_some(file)
}

/// Whether the doors would take it.
fn builds(file: &PolicyFile) -> bool {
    file.derive().is_ok()
}

/// All changes of a policy's keys, each with its key. Those of zones are more than the schema says.
fn changes(file: &PolicyFile) -> Vec<(String, PolicyFile)> {
    let mut all = Vec::new();
    for key in KEYS {
        match key.name {
            "zone.name" => {
                let renamed = changed(file, key.name, Some("\"another\""));
                all.extend(renamed.map(|f| (format!("{} renamed", key.name), f)));
            }
            "zone.area" => {
                for area in ["[[0, 0], [1, 0], [1, 1], [0, 1]]", "[[0.1, 0.1], [0.5, 0.1], [0.3, 0.6]]"] {
                    let moved = changed(file, key.name, Some(area));
                    all.extend(moved.map(|f| (format!("{} = {area}", key.name), f)));
                }
            }
            "zone" => {
                let first = file.zones.first().cloned();
                let mut fewer = file.clone();
                fewer.zones.truncate(fewer.zones.len().saturating_sub(1));
                let mut more = file.clone();
                more.zones.push(rect("more", (0.2, 0.2, 0.6, 0.9), StyleName::Pixelate, 6));
                let mut parts = file.clone();
                if let Some(first) = first.filter(|z| z.area.points().len() == 4 && !z.inverted) {
                    let p = first.area.points();
                    let style = first.style.unwrap_or(StyleName::Fill);
                    let cells = first.cells.unwrap_or(file.cells());
                    let mut split = split((p[0].0, p[0].1, p[2].0, p[2].1), 4, 0.0, style, cells);
                    split[0].name = first.name;
                    split.iter_mut().for_each(|part| part.color = first.color);
                    parts.zones.splice(..1, split);
                }
                all.extend(
                    [("zone fewer", fewer), ("zone more", more), ("zone parts", parts)]
                        .map(|(n, f)| (n.into(), f)),
                );
            }
            name => {
                for value in values(name) {
                    let label = format!("{name} = {}", value.as_deref().unwrap_or("(left out)"));
                    all.extend(changed(file, name, value.as_deref()).map(|f| (label, f)));
                }
            }
        }
    }
    all.retain(|(_, file)| file.check().is_ok() && builds(file));
    all
}

const BASES: [&str; 7] = [
    "",
    "tiles = true",
    "tiles = true\nfaces = \"off\"\npersons = \"fill\"",
    "preset = \"careful\"\nladder = [\"balanced\", \"fast\"]\nmin_score = 0.2\npersons = \"blur\"\ntiles = true",
    "preset = \"careful\"\nladder = [\"balanced\"]\nmin_score = 0.22\nmax_exposure = \"1s\"",
    "preset = \"fast\"\ncells = 3\ngrow = 1.18\n[[zone]]\nname = \"a\"\narea = [[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]\n\
     style = \"blur\"\n[[zone]]\nname = \"b\"\narea = [[0.5, 0], [1, 0], [1, 0.5], [0.5, 0.5]]\nstyle = \"pixelate\"",
    weaker::OWNERS,
];

/// What the engine does with a policy, worked out here and not by what compares policies.
struct Done {
    policy: Policy,
    settings: Settings,
}

impl Done {
    fn new(file: &PolicyFile) -> Done {
        let preset = file.preset().unwrap_or_default();
        let classes: Vec<Class> =
            Class::ALL.into_iter().filter(|c| file.style(*c) != StyleName::Off).collect();
        let settings = Settings::of(file, preset, &classes);
        Done { policy: file.derive().unwrap().policy(Media::Live), settings }
    }
}

/// In what `new` protects less than `base`, by what is done and drawn; `None`: in nothing.
fn really_weaker(base: &PolicyFile, new: &PolicyFile) -> Option<String> {
    let (was, is) = (Done::new(base), Done::new(new));
    let weakness = |style: Option<Style>| style.map_or(u8::MAX, |style| style.weakness());
    for class in Class::ALL {
        if weakness(is.policy.style(class)) > weakness(was.policy.style(class)) {
            return Some(format!("{class}s are hidden less"));
        }
    }
    let preset = |file: &PolicyFile| file.preset().unwrap_or_default();
    if preset(new) < preset(base) {
        return Some("a weaker preset".into());
    }
    // Passes of one preset can be compared one by one; a stronger preset that keeps its own scores was measured to find more.
    let faces = was.policy.style(Class::Face).is_some();
    let scores = |file: &PolicyFile, preset: Preset| {
        let passes = Settings::of(file, preset, &[Class::Face]).passes;
        passes.iter().map(|pass| pass.score).collect::<Vec<_>>()
    };
    let higher = |a: Preset, b: Preset| {
        let (was, is) = (scores(base, a), scores(new, b));
        match a == b && was.len() == is.len() {
            true => was.iter().zip(&is).any(|(was, is)| is > was),
            false if base.get("min_score").is_none() && new.get("min_score").is_none() => false,
            false => is.iter().any(|is| was.iter().any(|was| is > was)),
        }
    };
    if faces && higher(preset(base), preset(new)) {
        return Some("a higher score".into());
    }
    for rung in &new.ladder() {
        if !base.ladder().contains(rung) {
            return Some(format!("falls back to {rung}"));
        }
        if faces && higher(*rung, *rung) {
            return Some(format!("a higher score on the rung {rung}"));
        }
    }
    let looks = |done: &Done| done.settings.detect_every;
    if was.policy.classes().next().is_some() && looks(&is) > looks(&was) {
        return Some(format!("a look every {} frames instead of {}", looks(&is), looks(&was)));
    }
    let grow = |done: &Done, file: &PolicyFile, class| {
        let own = if class == Class::Face { done.settings.face_grow } else { done.settings.person_grow };
        match file.get("grow") {
            Some(PolicyValue::Number(x)) => *x,
            _ => own,
        }
    };
    if was.policy.classes().any(|class| grow(&is, new, class) < grow(&was, base, class)) {
        return Some("grown less".into());
    }
    let most = |file: &PolicyFile| match file.get("max_exposure") {
        Some(PolicyValue::Time(t)) => *t,
        _ => Duration::MAX,
    };
    let tiles = |file: &PolicyFile| file.get("tiles") == Some(&PolicyValue::Switch(true));
    let (a, b) = (&was.policy, &is.policy);
    let less = [
        ("hold", b.hold() < a.hold()),
        ("speed", b.speed() < a.speed()),
        ("look_ahead", b.look_ahead() < a.look_ahead()),
        ("max_gap", b.max_gap() > a.max_gap()),
        ("max_exposure", most(new) > most(base)),
        ("motion_cover", a.motion_cover() && !b.motion_cover()),
        ("deadline", (b.deadline(), b.on_deadline()) != (a.deadline(), a.on_deadline())),
        ("self_test", b.self_test() != a.self_test()),
        ("color", b.obscure_color() != a.obscure_color()),
        ("tiles", tiles(new) != tiles(base)),
        ("backend", new.backend() != base.backend()),
        ("threads", new.get("threads") != base.get("threads")),
    ];
    if let Some((what, _)) = less.iter().find(|(_, less)| *less) {
        return Some((*what).into());
    }
    for zone in &base.zones {
        if !new.zones.iter().any(|z| z.name == zone.name && (z.enabled || !zone.enabled)) {
            return Some(format!("the zone {:?} is gone", zone.name));
        }
    }
    match base.zones == new.zones && base.cells() == new.cells() {
        true => None,
        false => drawn::finer(&zones(base), &zones(new), &small()),
    }
}

/// Every change of every key, and every two together, of several policies: what passes is weaker in nothing.
#[test]
fn no_change_of_a_key_or_of_two_passes_that_weakens() {
    let (mut tried, mut passed) = (0, 0);
    for base in BASES {
        let base = parse(base);
        let singles = changes(&base);
        let mut check = |label: &str, new: &PolicyFile| {
            tried += 1;
            if passes(new, &base, &small()) {
                passed += 1;
                if let Some(weaker) = really_weaker(&base, new) {
                    panic!("{label} passes: {weaker}\n{}\n\nto\n\n{}", base.to_toml(), new.to_toml());
                }
            }
        };
        for (label, new) in &singles {
            check(label, new);
        }
        // What a pair allows can be seen at one value of each key of a few; all values of the first with all of the second.
        for (first, half) in &singles {
            let key = |label: &str| label.split(' ').next().unwrap_or_default().to_string();
            for (second, new) in pairs(half, &key(first)) {
                check(&format!("{first}, {second}"), &new);
            }
        }
    }
    assert!(tried > 10_000 && passed > 500, "{tried} tried, {passed} passed");
}

/// The changes of keys that come after this one.
fn pairs(file: &PolicyFile, key: &str) -> Vec<(String, PolicyFile)> {
    let at = KEYS.iter().position(|k| k.name == key).unwrap();
    let mut all = Vec::new();
    for key in KEYS[at + 1..].iter().filter(|k| !matches!(k.name, "zone" | "zone.name" | "zone.area")) {
        for value in values(key.name) {
            let label = format!("{} = {}", key.name, value.as_deref().unwrap_or("(left out)"));
            all.extend(changed(file, key.name, value.as_deref()).map(|f| (label, f)));
        }
    }
    all
}

fn number(text: &str) -> Option<f64> {
    let text = text.trim_matches('"');
    let time = text.strip_suffix("ms").map(|t| (t, 0.001)).or(text.strip_suffix('s').map(|t| (t, 1.0)));
    let (text, unit) = time.unwrap_or((text, 1.0));
    text.parse::<f64>().ok().map(|n| n * unit)
}

/// Whether a value is stronger than another, by what [`KEYS`] says of the key.
fn is_stronger(Key { direction, kind, .. }: &Key, was: &str, is: &str) -> bool {
    let numbers = number(was).zip(number(is));
    match direction {
        Direction::StrongerWhenLarger => numbers.is_some_and(|(was, is)| is > was),
        Direction::StrongerWhenSmaller => numbers.is_some_and(|(was, is)| is < was),
        Direction::StrongerWhenTrue => (was, is) == ("false", "true"),
        Direction::StrongerWhenFalse => (was, is) == ("true", "false"),
        Direction::StrongerWhenShorter => is == "[]" && was != "[]",
        Direction::Ordered => {
            let Kind::Word(words) = kind else { panic!("words have an order") };
            let rank = |text: &str| words.iter().position(|w| format!("\"{w}\"") == text);
            rank(is) > rank(was)
        }
        Direction::Style => {
            let rank = |text: &str| {
                ["\"off\"", "\"blur\"", "\"pixelate\"", "\"fill\""].iter().position(|w| *w == text)
            };
            rank(is) > rank(was)
        }
        // Compared by what is drawn; what may be added is tried below.
        _ => false,
    }
}

/// Every strengthening of a single key is let pass.
#[test]
fn every_strengthening_of_one_key_passes() {
    let mut tried = std::collections::BTreeMap::new();
    for base in BASES {
        let start = parse(base);
        for key in KEYS.iter().filter(|k| !matches!(k.name, "zone" | "zone.name" | "zone.area")) {
            for was in values(key.name).into_iter().flatten() {
                let Some(from) = changed(&start, key.name, Some(&was)) else { continue };
                for is in values(key.name).into_iter().flatten() {
                    let Some(to) = changed(&from, key.name, Some(&is)) else { continue };
                    if is_stronger(key, &was, &is) {
                        *tried.entry(key.name).or_insert(0) += 1;
                        let weaker = to.weakenings(&from, &small()).unwrap();
                        assert!(
                            weaker.is_empty(),
                            "{}: {was} to {is}: {weaker:?}\n{}",
                            key.name,
                            from.to_toml()
                        );
                    }
                }
            }
        }
        // Added, enlarged, turned on.
        let mut random = Random(5);
        for i in 0..200 {
            let mut from = start.clone();
            for name in &NAMES[..(i % 4)] {
                from.zones.push(random_zone(&mut random, &format!("x{name}")));
            }
            let mut to = from.clone();
            let kind = if from.zones.is_empty() { 0 } else { random.below(2) };
            match kind {
                0 => {
                    let mut zone = random_zone(&mut random, "added");
                    zone.inverted = false;
                    to.zones.push(zone);
                }
                _ => {
                    let at = random.below(to.zones.len() as u64) as usize;
                    if to.zones[at].inverted {
                        continue;
                    }
                    to.zones[at].area = rect("all", WHOLE, StyleName::Fill, 2).area;
                }
            }
            let weaker = to.weakenings(&from, &small()).unwrap();
            assert!(weaker.is_empty(), "{weaker:?}\n{}\n\nto\n\n{}", from.to_toml(), to.to_toml());
        }
    }
    let directed =
        |k: &&Key| !matches!(k.direction, Direction::Frozen | Direction::Cover | Direction::AddOnly);
    for key in KEYS.iter().filter(directed) {
        assert!(tried.contains_key(key.name), "{} was never strengthened", key.name);
    }
}

#[test]
fn a_look_at_every_frame_that_follows_from_tiles_is_what_is_compared_and_shown() {
    let base = parse("tiles = true");
    for every in ["2", "3", "30"] {
        let found =
            parse(&format!("tiles = true\ndetect_every = {every}")).weakenings(&base, &small()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].to_string(), format!("detect_every: {every} instead of 1 (stronger is smaller)"));
    }
    assert!(passes(&parse("tiles = true\ndetect_every = 1"), &base, &small()));
    assert_eq!(base.derive().unwrap().effective("detect_every").as_deref(), Some("1"));
    assert_eq!(parse("").derive().unwrap().effective("detect_every").as_deref(), Some("3"));
    // Persons are not looked for in tiles.
    assert_eq!(
        parse("tiles = true\nfaces = \"off\"\npersons = \"fill\"")
            .derive()
            .unwrap()
            .effective("detect_every")
            .as_deref(),
        Some("3")
    );
}
