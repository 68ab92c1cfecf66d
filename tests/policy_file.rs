//! The policy file: what is accepted, what is refused and in which words, and that the schema says the same.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use milkglass::policy::{
    BackendChoice, Color, OnDeadline, PolicyError, PolicyFile, Polygon, Preset, RegionShape, Style,
    StyleName, Zone, ZoneEntry,
};
use milkglass::policy::{Direction, KEYS, Kind, Value, policy_dictionary, policy_schema, policy_table};
use milkglass::{Class, Media, Policy};
use proptest::prelude::*;
use serde_json::Value as Json;

fn parse(text: &str) -> Result<PolicyFile, PolicyError> {
    PolicyFile::parse(text, "p.toml")
}

fn good(text: &str) -> PolicyFile {
    parse(text).unwrap_or_else(|e| panic!("{text}\nis refused: {e}"))
}

fn policy(file: &PolicyFile) -> Result<Policy, PolicyError> {
    Ok(file.derive()?.policy(Media::Scene))
}

/// The message of the error, also as seen by whoever builds the policy.
fn refused(text: &str) -> String {
    match parse(text).and_then(|file| policy(&file)) {
        Ok(_) => panic!("{text}\nis accepted"),
        Err(e) => e.to_string(),
    }
}

const TRIANGLE: &str = "area = [[0, 0], [0.5, 0], [0.5, 1]]";

fn zone(lines: &str) -> String {
    format!("[[zone]]\nname = \"door\"\n{lines}\n")
}

#[test]
fn the_empty_file_is_the_default_policy() {
    let file = good("");
    assert_eq!(file, PolicyFile::default());
    let expected =
        Policy::builder().hide_grown(Class::Face, Style::Fill(Color::BLACK), 1.16).build().unwrap();
    assert_eq!(policy(&file).unwrap(), expected);
    let live = expected.to_builder().self_test(Some(Duration::from_secs(300))).build().unwrap();
    assert_eq!(file.derive().unwrap().policy(Media::Live), live);
    assert_eq!(good("\u{feff}# only a remark\r\n"), file);
}

#[test]
fn every_key_arrives() {
    let text = r##"
        preset = "careful"
        faces = "pixelate"
        persons = "blur"
        reversible = true
        shape = "padded"
        color = "#0a0B0c"
        cells = 3
        min_score = 0.6
        grow = 1.1
        hold = "1500ms"
        speed = 4
        motion_cover = true
        tiles = true
        detect_every = 2
        backend = "rten"
        threads = 2
        look_ahead = 0.25
        deadline = "2s"
        on_deadline = "drop"
        max_gap = "0.4s"
        max_exposure = 1
        self_test = "60s"
        ladder = ["balanced", "fast"]
        [[zone]]
        name = "a"
        area = [[0, 0], [1, 0.5], [0.25, 1.0]]
        [[zone]]
        name = "b"
        area = [[0, 0], [1, 0], [0, 1]]
        style = "blur"
        color = "#ffffff"
        cells = 2
        inverted = true
        enabled = false
    "##;
    let file = good(text);
    for key in KEYS {
        assert!(
            text.contains(&format!("{} = ", key.short())) || key.name == "zone",
            "{} is not tried",
            key.name
        );
    }
    assert_eq!(file.preset(), Some(Preset::Careful));
    assert_eq!((file.style(Class::Face), file.style(Class::Person)), (StyleName::Pixelate, StyleName::Blur));
    assert_eq!((file.threads(), file.backend()), (2, BackendChoice::Rten));
    assert_eq!(file.ladder(), [Preset::Balanced, Preset::Fast]);
    assert_eq!(file.get("max_exposure"), Some(&Value::Time(Duration::from_secs(1))));
    assert_eq!(file.get("detect_every"), Some(&Value::Whole(2)));
    let b = &file.zones[1];
    assert_eq!((b.style, b.cells, b.inverted, b.enabled), (Some(StyleName::Blur), Some(2), true, false));

    assert_eq!(good(&file.to_toml()), file, "written out and read again");

    let a = Polygon::new([(0.0, 0.0), (1.0, 0.5), (0.25, 1.0)]).unwrap();
    let fill = Style::Fill(Color { r: 10, g: 11, b: 12 });
    let clip = Policy::builder()
        .hide_grown(Class::Face, Style::Pixelate { cells: 3 }, 1.1)
        .hide_grown(Class::Person, Style::Blur { cells: 3 }, 1.1)
        .zone(Zone::new("a", a, fill).unwrap())
        .hold(Duration::from_millis(1500))
        .speed(4.0)
        .shape(RegionShape::Padded)
        .motion_cover(true)
        .obscure_color(Color { r: 10, g: 11, b: 12 });
    let derived = file.derive().unwrap();
    assert_eq!(derived.policy(Media::Scene), clip.clone().build().unwrap());
    assert!(
        derived.look(Media::Live).settings.passes.iter().all(|p| p.class == Class::Person || p.score == 0.6)
    );
    let live = clip
        .look_ahead(Duration::from_millis(250))
        .max_gap(Duration::from_millis(400))
        .deadline(Duration::from_secs(2), OnDeadline::Drop)
        .self_test(Some(Duration::from_secs(60)));
    assert_eq!(derived.policy(Media::Live), live.build().unwrap());
}

#[test]
fn what_the_file_leaves_open_is_the_presets_own() {
    let settings = Preset::Balanced.settings(&[]);
    let (face, person) = (settings.face_grow, settings.person_grow);
    let fill = Style::default();
    let with = |face, person| {
        Policy::builder().hide_grown(Class::Face, fill, face).hide_grown(Class::Person, fill, person)
    };
    assert_eq!(policy(&good("persons = \"fill\"")).unwrap(), with(face, person).build().unwrap());
    let said = policy(&good("persons = \"fill\"\ngrow = 2\nhold = 0")).unwrap();
    assert_eq!(said, with(2.0, 2.0).hold(Duration::ZERO).build().unwrap());
}

#[test]
fn a_bound_on_exposure_lowers_the_default_gap() {
    let live = good("max_exposure = \"200ms\"").derive().unwrap().policy(Media::Live);
    assert_eq!(live.max_gap(), Duration::from_millis(200));
}

#[test]
fn unknown_keys_name_the_nearest() {
    assert_eq!(
        refused("min_scor = 0.1"),
        "p.toml:1:1: unknown key: \"min_scor\"; did you mean \"min_score\"?"
    );
    assert_eq!(
        refused("\n  min-score = 1"),
        "p.toml:2:3: unknown key: \"min-score\"; did you mean \"min_score\"?"
    );
    for (written, meant) in [("colour", "color"), ("face", "faces"), ("Hold", "hold"), ("zones", "zone")] {
        let message = refused(&format!("{written} = 1"));
        assert!(message.ends_with(&format!("\"{written}\"; did you mean \"{meant}\"?")), "{message}");
    }
    let message = refused("password = 1");
    assert!(
        message.starts_with("p.toml:1:1: unknown key: \"password\"; known are preset, faces, persons, "),
        "{message}"
    );
    assert!(message.ends_with(", ladder, self_test, zone"), "{message}");
    assert_eq!(
        refused(&zone(&format!("{TRIANGLE}\nstile = \"fill\""))),
        "p.toml:4:1: unknown key in [[zone]]: \"stile\"; did you mean \"style\"?"
    );
    // The commonest mistake with TOML: a key below a table belongs to that table.
    assert_eq!(
        refused(&zone(&format!("{TRIANGLE}\nhold = 1"))),
        "p.toml:4:1: unknown key in [[zone]]: \"hold\"; it belongs above the first [[zone]]"
    );
    assert_eq!(refused(TRIANGLE), "p.toml:1:1: unknown key: \"area\"; it belongs into a [[zone]]");
    // The uppermost mistake is named, whatever the alphabet says, and long or odd keys stay on one short line.
    assert!(refused("zzz = 1\naaa = 2").contains("\"zzz\""));
    let message = refused(&format!("\"\\u001b[2J\\n{}\" = 1", "x".repeat(100_000)));
    assert!(
        message.starts_with("p.toml:1:1: unknown key: \"\\u{1b}[2J\\nxxx") && message.len() < 500,
        "{message}"
    );
}

#[test]
fn bad_values_say_what_is_allowed() {
    for (text, message) in [
        (
            "cells = 1",
            "1:9: cells = 1 is out of range: fewer than 2 cells are one colour; use the style \"fill\", or 2 to 6, which \
             hide nothing from a program",
        ),
        (
            "cells = 7",
            "1:9: cells = 7 is refused: so fine a mosaic hides nothing from people either; use the style \"fill\", or 2 to 6, \
             which hide nothing from a program",
        ),
        (
            "faces = \"fill\"\nmin_score = 0.7",
            "2:13: min_score = 0.7 is refused: people that the detector is less sure of would stay visible; \
             use 0.6 or less",
        ),
        ("min_score = 0", "1:13: min_score = 0 is out of range: use more than 0, at most 0.6"),
        ("min_score = nan", "1:13: min_score = NaN is out of range: use more than 0, at most 0.6"),
        (
            "grow = 1.0",
            "1:8: grow = 1 is refused: detectors draw boxes tightly, so hair, chin and the frames' small \
             errors would show; \
             use 1.1 to 10",
        ),
        ("grow = inf", "1:8: grow = inf is out of range: use 1.1 to 10"),
        (
            "detect_every = 31",
            "1:16: detect_every = 31 is refused: somebody could come and go between two looks; use 1 (every \
             frame) to 30",
        ),
        ("detect_every = 0", "1:16: detect_every = 0 is out of range: use 1 (every frame) to 30"),
        ("threads = 0", "1:11: threads = 0 is out of range: use 1 to 256, or leave it out for one per core"),
        ("speed = 0", "1:9: speed = 0 is out of range: use more than 0, at most 100"),
        ("hold = \"11s\"", "1:8: hold = 11s is out of range: use at most 10 s"),
        ("deadline = 0", "1:12: deadline = 0ns is out of range: use more than 0"),
        ("deadline = 61", "1:12: deadline = 61s is out of range: use at most 60 s"),
        (
            "max_gap = 10.5",
            "1:11: max_gap = 10.5s is refused: somebody could be seen for as long; use at most 10 s",
        ),
        (
            "faces = \"pixellate\"",
            "1:9: faces = \"pixellate\" cannot be used; write \"fill\", \"pixelate\", \"blur\" or \"off\" \
             (did you mean \
             \"pixelate\"?)",
        ),
        (
            "persons = \"hide\"",
            "1:11: persons = \"hide\" cannot be used; write \"fill\", \"pixelate\", \"blur\" or \"off\"",
        ),
        (
            "faces = false",
            "1:9: faces = false cannot be used; write \"fill\", \"pixelate\", \"blur\" or \"off\"",
        ),
        ("preset = 3", "1:10: preset = 3 cannot be used; write \"fast\", \"balanced\" or \"careful\""),
        ("cells = 4.0", "1:9: cells = 4.0 cannot be used; write a whole number from 2 to 6"),
        ("cells = \"4\"", "1:9: cells = \"4\" cannot be used; write a whole number from 2 to 6"),
        ("grow = \"2\"", "1:8: grow = \"2\" cannot be used; write a number from 1.1 to 10"),
        ("color = \"red\"", "1:9: color = \"red\" cannot be used; write a colour, \"#rrggbb\""),
        (
            "hold = \"1 minute\"",
            "1:8: hold = \"1 minute\" cannot be used; write a time of at most 10 s, such as \"1s\", \
             \"800ms\" or a number of \
             seconds",
        ),
        (
            "max_gap = [1]",
            "1:11: max_gap = (an array) cannot be used; write a time above 0, at most 10 s, such as \"1s\", \
             \"800ms\" or a \
             number of seconds",
        ),
        (
            "backend = { a = 1 }",
            "1:11: backend = (a table) cannot be used; write \"auto\", \"ort\" or \"rten\"",
        ),
        (
            "ladder = [\"fast\", \"slow\"]",
            "1:19: ladder = \"slow\" cannot be used; write a list of presets, each weaker than the one \
             before, such as \
             [\"balanced\", \"fast\"]",
        ),
        ("[zone]\nname = \"a\"", "1:1: zone = (a table) cannot be used; write [[zone]] tables, at most 64"),
        (
            "faces = fill",
            "1:9: this is not TOML: \"fill\" must stand in double quotes, or be a number, true or false",
        ),
        ("faces", "1:6: this is not TOML: key with no value, expected `=`"),
        ("hold = 1\nhold = 2", "2:1: this is not TOML: duplicate key"),
    ] {
        assert_eq!(refused(text), format!("p.toml:{message}"), "{text}");
    }
    let message = refused("cells = 99999999999999999999999999");
    assert!(message.contains("is refused: so fine a mosaic"), "{message}");
    assert!(
        matches!(parse("cells = 7"), Err(PolicyError::At { error, .. }) if matches!(*error, PolicyError::Weak { .. }))
    );
}

#[test]
fn values_must_agree_with_one_another() {
    for (text, message) in [
        (
            "faces = \"off\"",
            "the policy hides nothing: name at least one of faces, persons or a zone (a passthrough does not exist)",
        ),
        (
            "max_gap = 1\nmax_exposure = \"500ms\"",
            "max_gap = 1s above max_exposure = 500ms is out of range: lower max_gap, or raise max_exposure",
        ),
        (
            "preset = \"fast\"\nladder = [\"balanced\"]",
            "ladder: \"balanced\" after \"fast\" is out of range: each rung must be a preset weaker than \
             the one before",
        ),
    ] {
        assert_eq!(refused(text), message);
    }
    let disabled = format!("faces = \"off\"\n{}enabled = false", zone(TRIANGLE));
    assert!(refused(&disabled).starts_with("the policy hides nothing"));
    assert!(policy(&good(&format!("faces = \"off\"\n{}", zone(TRIANGLE)))).is_ok());
}

#[test]
fn bad_zones_say_what_is_wrong() {
    for (lines, message) in [
        (
            "area = [[0, 0], [1, 1]]",
            "3:8: zone \"door\": an area needs at least 3 different corners, this has 2",
        ),
        (
            "area = [[0, 0], [1, 1], [1, 0], [0, 1]]",
            "3:8: zone \"door\": the edges after corners 1 and 3 cross; draw the outline without crossings, \
             or two zones",
        ),
        (
            "area = [[0, 0], [1, 0], [1, 1.5]]",
            "3:25: zone \"door\": corner (1, 1.5) is outside the picture; coordinates go from 0 to 1",
        ),
        (
            "area = [[0, 0], [1], [1, 1]]",
            "3:17: zone.area = (an array) cannot be used; write a list of at least 3 corners [x, y], each \
             coordinate from 0 \
             to 1",
        ),
        (
            "area = \"all\"",
            "3:8: zone.area = \"all\" cannot be used; write a list of at least 3 corners [x, y], each \
             coordinate from 0 to 1",
        ),
        ("", "1:1: zone 1 has no area; add area = [[0, 0], [0.5, 0], [0.5, 1]]"),
    ] {
        assert_eq!(refused(&zone(lines)), format!("p.toml:{message}"), "{lines}");
    }
    for (lines, message) in [
        (
            "style = \"off\"",
            "4:9: zone \"door\": style = \"off\" is not for zones; write enabled = false, or remove the zone",
        ),
        (
            "cells = 9",
            "4:9: zone.cells = 9 is refused: so fine a mosaic hides nothing from people either; use the style \"fill\", or 2 to 6, \
             which hide nothing from a program",
        ),
        ("inverted = 1", "4:12: zone.inverted = 1 cannot be used; write true or false"),
    ] {
        assert_eq!(refused(&zone(&format!("{TRIANGLE}\n{lines}"))), format!("p.toml:{message}"));
    }
    let twice = zone(TRIANGLE) + &zone(TRIANGLE);
    assert_eq!(refused(&twice), "p.toml:4:1: zone \"door\": another zone has this name; give each its own");
    assert_eq!(
        refused(&format!("[[zone]]\n{TRIANGLE}")),
        "p.toml:1:1: zone 1 has no name; add name = \"door\""
    );
    assert_eq!(
        refused(&format!("[[zone]]\nname = \"a\\u0007\"\n{TRIANGLE}")),
        "p.toml:2:8: zone \"a\\u{7}\": a name has 1 to 64 printable characters"
    );
    let many: String = (0..65).map(|i| format!("[[zone]]\nname = \"{i}\"\n{TRIANGLE}\n")).collect();
    assert_eq!(refused(&many), "p.toml:193:1: the number of zones is out of range: use at most 64");
}

#[test]
fn files_that_cannot_be_read() {
    let folder = std::env::temp_dir().join(format!("milkglass-policy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let try_bytes = |bytes: &[u8]| {
        let path = folder.join("p.toml");
        std::fs::write(&path, bytes).unwrap();
        PolicyFile::read(&path).map_err(|e| e.to_string().replace(&folder.display().to_string(), ""))
    };
    assert_eq!(try_bytes(b"cells = 3").unwrap().cells(), 3);
    let message = try_bytes(b"# fine\nfaces = \"\xff\"").unwrap_err();
    assert_eq!(message, "/p.toml:2: this is not UTF-8 text; save the file as UTF-8");
    let message = try_bytes(&vec![b'\n'; PolicyFile::MAX_BYTES + 1]).unwrap_err();
    assert_eq!(message, "/p.toml: a policy file of more than 1 MiB is refused; write a smaller one");
    assert!(try_bytes(&vec![b'\n'; PolicyFile::MAX_BYTES]).is_ok());
    assert!(try_bytes(b"cells = 7").unwrap_err().starts_with("/p.toml:1:9: cells = 7 is refused"));
    let message = PolicyFile::read(&folder).unwrap_err().to_string();
    assert!(message.contains(": the policy file cannot be read: "), "{message}");
    std::fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_every_error_is_one_short_line(text in text()) {
        if let Err(e) = parse(&text).and_then(|file| policy(&file)) {
            let message = e.to_string();
            prop_assert!(!message.contains(char::is_control) && message.chars().count() < 500, "{message:?}");
        }
    }
}

/// Random text, and the example with random text in place of a part.
fn text() -> impl Strategy<Value = String> {
    let example: &str = include_str!("../examples/policy.toml");
    let piece = prop_oneof!["\\PC{0,8}", "[\\[\\]{}=.\"'#\n\r\t\u{0}\u{7}\u{1b}a-z0-9_-]{0,6}"];
    let spoilt = (0..example.len(), 0..12usize, piece).prop_map(move |(start, length, piece)| {
        let end = (start + length).min(example.len());
        let (head, tail) = (example.get(..start).unwrap_or(""), example.get(end..).unwrap_or(""));
        format!("{head}{piece}{tail}")
    });
    prop_oneof![".{0,40}", spoilt]
}

#[test]
fn times() {
    for (text, ms) in
        [("\"1s\"", 1000), ("\"800ms\"", 800), ("\"1.5s\"", 1500), ("2", 2000), ("0.25", 250), ("0", 0)]
    {
        assert_eq!(
            policy(&good(&format!("hold = {text}"))).unwrap().hold(),
            Duration::from_millis(ms),
            "{text}"
        );
    }
    for text in [
        "\"\"", "\"s\"", "\"1\"", "\"-1s\"", "\"1e1s\"", "\"1.s\"", "\".5s\"", "\"infs\"", "-1", "nan",
        "inf", "1e300",
    ] {
        assert!(refused(&format!("hold = {text}")).contains("cannot be used; write a time"), "{text}");
    }
}

#[test]
fn flags_lie_over_the_file() {
    let mut file = good("cells = 3\nhold = 2\nfaces = \"off\"");
    for (key, text) in [
        ("faces", "pixelate"),
        ("hold", "500ms"),
        ("color", "#ff0000"),
        ("ladder", "[\"fast\"]"),
        ("cells", "2"),
    ] {
        file.set(key, text).unwrap();
    }
    assert_eq!(policy(&file).unwrap().style(Class::Face), Some(Style::Pixelate { cells: 2 }));
    assert_eq!(policy(&file).unwrap().hold(), Duration::from_millis(500));
    assert_eq!(file.color(), Color { r: 255, g: 0, b: 0 });
    assert_eq!(
        file.set("min_score", "0.9").unwrap_err().to_string(),
        "min_score = 0.9 is refused: people that the detector is less sure of would stay visible; use 0.6 or less"
    );
    assert_eq!(
        file.set("hold", "soon").unwrap_err().to_string(),
        "hold = \"soon\" cannot be used; write a time of at most 10 s, such as \"1s\", \"800ms\" or a \
         number of seconds"
    );
    assert!(file.set("min_scor", "0.1").unwrap_err().to_string().contains("did you mean"));
    assert!(matches!(file.set("grow", "1.0"), Err(PolicyError::Weak { .. })));
}

#[test]
fn zones_from_flags() {
    let zone: ZoneEntry = "door:0,0;0.5,0;0.5,1".parse().unwrap();
    assert_eq!(zone, good(&self::zone(TRIANGLE)).zones[0]);
    let zone: ZoneEntry = "front door:0,0; .5,0; 0.5,1:blur".parse().unwrap();
    assert_eq!((zone.name.as_str(), zone.style), ("front door", Some(StyleName::Blur)));
    for (text, part) in [
        ("door", "a name, corners and at most a style are separated by colons; write NAME:x,y;x,y;x,y"),
        ("door:0,0;1:fill", "a corner is two numbers, x,y; write "),
        ("door:0,0;1,1", "zone \"door\": an area needs at least 3 different corners, this has 2"),
        ("door:0,0;1,0;1,nan", "is outside the picture"),
        (":0,0;1,0;1,1", "a name has 1 to 64 printable characters"),
        ("door:0,0;1,0;1,1:fil", "did you mean \"fill\"?"),
        ("door:0,0;1,0;1,1:off", "style = \"off\" is not for zones"),
    ] {
        let message = text.parse::<ZoneEntry>().unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
    let mut file = good(&self::zone(TRIANGLE));
    file.zones.push("door:0,0;1,0;1,1".parse().unwrap());
    assert_eq!(
        policy(&file).unwrap_err().to_string(),
        "zone \"door\": another zone has this name; give each its own"
    );
}

#[test]
fn the_example_is_accepted() {
    let file = good(include_str!("../examples/policy.toml"));
    let live = file.derive().unwrap().policy(Media::Live);
    assert_eq!(live.zones().len(), 2);
    assert_eq!(live.max_gap(), Duration::from_millis(300));
}

#[test]
fn the_keys_and_the_schema_name_the_same() {
    let schema: Json = serde_json::from_str(&policy_schema()).unwrap();
    let top = schema["properties"].as_object().unwrap();
    let zone = schema["properties"]["zone"]["items"]["properties"].as_object().unwrap();
    let mut named: Vec<_> = top.keys().cloned().chain(zone.keys().map(|k| format!("zone.{k}"))).collect();
    let mut keys: Vec<_> = KEYS.iter().map(|k| k.name.to_string()).collect();
    named.sort();
    keys.sort();
    assert_eq!(named, keys);
    for key in KEYS {
        let entry = if key.in_zone() { &zone[key.short()] } else { &top[key.name] };
        let about = entry["description"].as_str().unwrap().to_lowercase();
        assert!(
            about.starts_with(&key.meaning.split(';').next().unwrap().to_lowercase()),
            "{}: {about}",
            key.name
        );
        // A default is a TOML value in KEYS and the same JSON value in the schema, or a constant in neither.
        match format!("x = {}", key.default).parse::<toml::Table>() {
            Ok(table) => {
                assert_eq!(serde_json::to_value(&table["x"]).unwrap(), entry["default"], "{}", key.name)
            }
            Err(_) => assert!(entry.get("default").is_none(), "{}", key.name),
        }
    }
    let named = schema["properties"]["zone"]["items"]["required"].as_array().unwrap();
    let needed = KEYS.iter().filter(|k| k.default == "required").map(|k| Json::from(k.short()));
    assert_eq!(*named, needed.collect::<Vec<_>>());
}

/// The table in docs/POLICY.md and the fuzzer's dictionary are made of the table of keys; MILKGLASS_BLESS=1 makes them anew.
#[test]
fn what_is_written_elsewhere_comes_from_the_table() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = root.join("docs/POLICY.md");
    let text = std::fs::read_to_string(&docs).unwrap();
    let (before, rest) = text.split_once("<!-- keys -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of keys -->").unwrap();
    let docs_now = format!("{before}<!-- keys -->\n{}<!-- end of keys -->{after}", policy_table());
    for (path, now) in [(docs, docs_now), (root.join("fuzz/dictionaries/policy.txt"), policy_dictionary())] {
        if std::env::var_os("MILKGLASS_BLESS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), now, "{}: set MILKGLASS_BLESS=1", path.display());
    }
}

#[test]
fn the_defaults_are_the_engines() {
    let written: String = KEYS
        .iter()
        .filter(|k| !k.in_zone() && k.name != "zone")
        .map(|k| format!("{} = {}\n", k.name, k.default))
        .filter(|line| line.parse::<toml::Table>().is_ok())
        .collect();
    let (written, empty) = (good(&written), good(""));
    let live = |file: &PolicyFile| file.derive().unwrap().policy(Media::Live);
    assert_eq!(live(&written), live(&empty));
    for key in KEYS.iter().filter(|k| k.direction == Direction::Ordered) {
        let Kind::Word(values) = key.kind else { panic!("{} has no order", key.name) };
        for value in values {
            good(&format!("{} = \"{value}\"", key.name));
        }
    }
}

/// As much of JSON schema as ours uses; an unknown keyword fails the test.
fn fits(value: &Json, schema: &Json, root: &Json) -> bool {
    schema.as_object().unwrap().iter().all(|(word, rule)| {
        let number =
            |holds: fn(f64, f64) -> bool| value.as_f64().is_none_or(|x| holds(x, rule.as_f64().unwrap()));
        let length = |n: Option<usize>, least: bool| {
            let bound = rule.as_u64().unwrap() as usize;
            n.is_none_or(|n| if least { n >= bound } else { n <= bound })
        };
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" => true,
            "$ref" => {
                fits(value, root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(), root)
            }
            "type" => {
                let one = |name: &Json| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64(),
                    other => panic!("type {other}"),
                };
                rule.as_array().map_or_else(|| one(rule), |names| names.iter().any(one))
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|s| fits(value, s, root)),
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => number(|x, bound| x >= bound),
            "maximum" => number(|x, bound| x <= bound),
            "exclusiveMinimum" => number(|x, bound| x > bound),
            "minLength" => length(value.as_str().map(|s| s.chars().count()), true),
            "maxLength" => length(value.as_str().map(|s| s.chars().count()), false),
            "minItems" => length(value.as_array().map(Vec::len), true),
            "maxItems" => length(value.as_array().map(Vec::len), false),
            "items" => value.as_array().is_none_or(|a| a.iter().all(|v| fits(v, rule, root))),
            "required" => rule.as_array().unwrap().iter().all(|k| value.get(k.as_str().unwrap()).is_some()),
            "properties" => {
                rule.as_object().unwrap().iter().all(|(k, s)| value.get(k).is_none_or(|v| fits(v, s, root)))
            }
            "additionalProperties" => {
                value.as_object().unwrap().keys().all(|k| schema["properties"].get(k).is_some())
            }
            "pattern" => value.as_str().is_none_or(|text| match rule.as_str().unwrap() {
                "^#[0-9a-fA-F]{6}$" => Color::from_hex(text).is_some(),
                "^[0-9]+(\\.[0-9]+)?m?s$" => {
                    let number =
                        text.strip_suffix('s').map(|t| t.strip_suffix('m').unwrap_or(t)).unwrap_or("");
                    let parts: Vec<_> = number.split('.').collect();
                    parts.len() <= 2
                        && parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
                }
                other => panic!("pattern {other}"),
            }),
            other => panic!("keyword {other}"),
        }
    })
}

#[test]
fn the_schema_and_the_parser_agree() {
    let schema: Json = serde_json::from_str(&policy_schema()).unwrap();
    let area = |corners: &str| zone(&format!("area = {corners}"));
    let with = |line: &str| zone(&format!("{TRIANGLE}\n{line}"));
    let accepted = [
        String::new(),
        include_str!("../examples/policy.toml").into(),
        "faces = \"blur\"\ncells = 2\npersons = \"pixelate\"".into(),
        "min_score = 0.6\ngrow = 1.1\nspeed = 100\ndetect_every = 30\nthreads = 256".into(),
        "hold = 0\nlook_ahead = \"10s\"\ndeadline = 60\nmax_gap = 0.001\nmax_exposure = \"1.25s\"".into(),
        "self_test = \"off\"".into(),
        "reversible = false\nshape = \"padded\"".into(),
        "self_test = 1".into(),
        "self_test = \"3600s\"".into(),
        "preset = \"careful\"\nladder = [\"balanced\", \"fast\"]\non_deadline = \"drop\"\nbackend = \"ort\""
            .into(),
        with("style = \"blur\"\ncolor = \"#00fFaA\"\ncells = 6\ninverted = true\nenabled = false"),
        area("[[0.0, 0], [1, 0], [1, 1.0], [0, 1]]"),
    ];
    let refused = [
        "colour = \"#000000\"".into(),
        "self_test = 0".into(),
        "self_test = \"never\"".into(),
        "self_test = 3601".into(),
        "faces = \"cover\"".into(),
        "reversible = \"no\"".into(),
        "shape = \"round\"".into(),
        "shape = true".into(),
        "faces = false".into(),
        "color = \"#12345\"".into(),
        "cells = 1".into(),
        "cells = 7".into(),
        "cells = 4.5".into(),
        "min_score = 0".into(),
        "min_score = 0.61".into(),
        "grow = 1".into(),
        "grow = 10.5".into(),
        "hold = -1".into(),
        "hold = 11".into(),
        "hold = \"1m\"".into(),
        "hold = \"1 s\"".into(),
        "hold = true".into(),
        "deadline = 0".into(),
        "deadline = 61".into(),
        "max_gap = 0".into(),
        "detect_every = 0".into(),
        "detect_every = 31".into(),
        "threads = 257".into(),
        "speed = 101".into(),
        "backend = \"cpu\"".into(),
        "on_deadline = \"pass\"".into(),
        "ladder = \"fast\"".into(),
        "ladder = [\"slow\"]".into(),
        "[zone]\nname = \"a\"".into(),
        "[[zone]]\nname = \"a\"".into(),
        format!("[[zone]]\n{TRIANGLE}"),
        format!("[[zone]]\nname = \"\"\n{TRIANGLE}"),
        format!("[[zone]]\nname = \"{}\"\n{TRIANGLE}", "x".repeat(65)),
        area("[[0, 0], [1, 1]]"),
        area("[[0, 0], [1, 1], [1]]"),
        area("[[0, 0], [1, 1], [1, 1.01]]"),
        with("style = \"off\""),
        with("enabled = \"no\""),
        with("hold = 1"),
    ];
    for (texts, expected) in [(&accepted[..], true), (&refused[..], false)] {
        for text in texts {
            let json = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
            assert_eq!(parse(text).is_ok(), expected, "parser: {text}");
            assert_eq!(fits(&json, &schema, &schema), expected, "schema: {text}");
        }
    }
}

#[test]
fn live_pictures_have_a_self_test_unless_the_file_says_off() {
    let every = |text: &str| {
        let file = good(text);
        file.derive().unwrap().policy(Media::Live).self_test()
    };
    assert_eq!(every(""), Some(Duration::from_secs(300)));
    assert_eq!(every("self_test = 90"), Some(Duration::from_secs(90)));
    assert_eq!(every("self_test = \"off\""), None);
    for bad in ["0", "0.5", "3601", "\"never\"", "true"] {
        let text = format!("self_test = {bad}");
        assert!(PolicyFile::parse(&text, "p").is_err(), "{text}");
    }
}

/// Motion is covered where the preset is careful or tiles need it, unless the file says otherwise; tiles without are refused.
#[test]
fn motion_cover_comes_with_careful_and_tiles() {
    for (text, covered) in [
        ("", false),
        ("motion_cover = true", true),
        ("preset = \"careful\"", true),
        ("preset = \"careful\"\nmotion_cover = false", false),
        ("tiles = true", true),
    ] {
        assert_eq!(policy(&good(text)).unwrap().motion_cover(), covered, "{text}");
    }
    let refused = good("tiles = true\nmotion_cover = false").check().unwrap_err().to_string();
    assert!(refused.contains("tiles without motion cover"), "{refused}");
}

#[test]
fn what_is_loaded_at_the_start_cannot_follow_while_a_camera_runs() {
    let before = good("").derive().unwrap();
    for (key, text) in [
        ("preset", "preset = 'careful'"),
        ("tiles", "tiles = true"),
        ("min_score", "min_score = 0.4"),
        ("ladder", "ladder = ['fast']"),
        ("backend", "backend = 'rten'"),
        ("threads", "threads = 1"),
    ] {
        let later = good(text).derive().unwrap();
        assert_eq!(before.needs_loading(&later), Some(key));
        assert_eq!(later.needs_loading(&later), None);
    }
    let style = good("faces = 'blur'").derive().unwrap();
    assert_eq!(before.needs_loading(&style), None, "a style is exchanged");
}

/// `reversible = false` forbids the cosmetic styles wherever they can be asked for: by name, by flag, in a zone, in Rust.
#[test]
fn what_hides_nothing_from_a_program_can_be_forbidden() {
    let blurred_zone = zone(&format!("{TRIANGLE}\nstyle = \"blur\""));
    for text in
        ["faces = \"pixelate\"", "faces = \"blur\"", "faces = \"off\"\npersons = \"blur\"", &blurred_zone]
    {
        let file = good(text);
        assert!(file.check().is_ok() && policy(&file).is_ok(), "{text}");
        let mut strict = file.clone();
        strict.set("reversible", "false").unwrap();
        for error in [strict.check().unwrap_err(), policy(&strict).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("reversible = false") && error.contains("use fill"), "{text}: {error}");
        }
    }
    // A zone that is off shows nothing, and fill is what is left.
    let off = format!("reversible = false\n{blurred_zone}\nenabled = false");
    for text in ["reversible = false", &off, "reversible = false\npersons = \"fill\"\ncells = 3"] {
        assert!(policy(&good(text)).is_ok(), "{text}");
    }
    let area = || Polygon::new([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]).unwrap();
    for style in [Style::Pixelate { cells: 2 }, Style::Blur { cells: 6 }] {
        let zone = Zone::new("z", area(), style).unwrap();
        for builder in [Policy::builder().hide(Class::Person, style), Policy::builder().zone(zone)] {
            assert!(builder.clone().build().is_ok());
            let error = builder.reversible(false).build().unwrap_err().to_string();
            assert!(error.contains("reversible = false"), "{error}");
        }
    }
}
