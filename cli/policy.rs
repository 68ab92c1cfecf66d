//! `milkglass policy`: checks a policy file and says in words what it does; prints the schema and the keys.

mod locking;
mod onvif;

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use milkglass::policy::{Color, Derived, OnDeadline, PolicyError, PolicyFile, RegionShape, Style, Zone};
use milkglass::policy::{KEYS, Policy, policy_schema};
use milkglass::{Class, Media};

use crate::outcome::{Exit, Failure};

/// What to do with policy files.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check a policy file and say in words what it does
    Check {
        /// The policy file (TOML)
        file: PathBuf,
    },
    /// Print what every key of a policy comes to, defaults filled in, and what it means
    Explain {
        /// The policy file (TOML), or a lock file
        file: PathBuf,
        /// Print the text that reports and the evidence log hash instead (docs/POLICY.md): `... | sha256sum` is the hash
        #[arg(long)]
        canonical: bool,
    },
    /// Print the JSON schema of policy files
    Schema,
    /// Print every key with its type, default, meaning and the change that makes it stronger
    Keys,
    /// Make the key pair that an owner locks policies with
    Keygen {
        /// Where the secret key goes; the public one gets the ending .pub
        file: PathBuf,
    },
    /// Lock a policy with the owner's key: anybody may strengthen it then, nobody else can weaken it
    Lock(locking::LockArgs),
    /// Check the signature of a lock file and say what it binds
    Verify {
        /// The lock file
        file: PathBuf,
        /// The public key that it must be signed with
        #[arg(long, value_name = "FILE")]
        owner_key: Option<PathBuf>,
    },
    /// Tell what one policy protects less than another; exit code 1 when anything
    Compare {
        /// The policy or lock file that must hold at the least
        base: PathBuf,
        /// The policy that is to take its place
        new: PathBuf,
        /// Size of the picture in which zones are compared [default: large ones, wide, less wide and upright]
        #[arg(long, value_name = "WxH")]
        size: Option<String>,
    },
    /// Make zones of the privacy masks of an ONVIF camera, the XML of its answer to GetMasks (Media2); prints a policy file
    FromOnvif {
        /// The XML, or - for standard input
        file: PathBuf,
    },
    /// Print the zones of a policy as ONVIF privacy masks
    ToOnvif {
        /// The policy file (TOML), or a lock file
        file: PathBuf,
    },
}

/// Runs the command; the answer goes to `out`. `Compare` fails without an error when something is weaker.
///
/// # Errors
/// What was asked for cannot be done, or `out` does not take the answer. A reader that left early is no error.
pub fn run(command: &PolicyCommand, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let text = match command {
        PolicyCommand::Check { file } => describe(file)?,
        PolicyCommand::Explain { file, canonical: true } => {
            locking::either(file)?.derive()?.canonical(None, false)
        }
        PolicyCommand::Explain { file, .. } => explain(&locking::either(file)?)?,
        PolicyCommand::Schema => policy_schema(),
        PolicyCommand::Keys => keys(),
        PolicyCommand::Keygen { file } => locking::keygen(file)?,
        PolicyCommand::Lock(args) => locking::lock(args)?,
        PolicyCommand::Verify { file, owner_key } => locking::verify(file, owner_key.as_deref())?,
        PolicyCommand::Compare { base, new, size } => {
            let (text, as_strong) = locking::compare(base, new, size.as_deref())?;
            if !as_strong {
                exit = Exit::Failed;
            }
            text
        }
        PolicyCommand::FromOnvif { file } => onvif::from_onvif(&xml(file)?)?,
        PolicyCommand::ToOnvif { file } => {
            let policy = locking::either(file)?;
            for zone in policy.zones.iter().filter(|zone| onvif::is_left_out(zone)) {
                log::warn!(
                    "zone {:?} is left out: it is off, and no ONVIF mask hides the outside of its area",
                    zone.name
                );
            }
            onvif::to_onvif(&policy)?
        }
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("the answer could not be written: {e}")))
        }
        _ => Ok(exit),
    }
}

fn xml(path: &Path) -> Result<String, Failure> {
    let about = |e: io::Error| Failure::new(format!("{}: it cannot be read: {e}", path.display()));
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().lock().take(onvif::MAX_BYTES).read_to_string(&mut text),
        false => std::fs::File::open(path).map_err(about)?.take(onvif::MAX_BYTES).read_to_string(&mut text),
    };
    read.map_err(about)?;
    Ok(text)
}

/// A table of key, value and meaning.
fn explain(file: &PolicyFile) -> Result<String, PolicyError> {
    let (derived, usual) = (file.derive()?, PolicyFile::default().derive()?);
    let rows: Vec<(&str, String, &str)> = KEYS
        .iter()
        .filter(|key| !key.in_zone())
        .map(|key| {
            let value = derived.effective(key.name).unwrap_or_else(|| format!("{} zones", file.zones.len()));
            let own = usual.effective(key.name).filter(|own| *own != value);
            let value = own.map(|own| format!("{value} (default {own})")).unwrap_or(value);
            (key.name, value, key.meaning)
        })
        .collect();
    let (a, b) = rows.iter().fold((3, 5), |(a, b), (name, value, _)| (a.max(name.len()), b.max(value.len())));
    let mut text = format!("{:a$}  {:b$}  MEANING\n", "KEY", "VALUE");
    for (name, value, meaning) in rows {
        text += &format!("{name:a$}  {value:b$}  {meaning}\n");
    }
    for entry in &file.zones {
        text += &match entry.enabled {
            true => zone_words(&entry.zone(file)?),
            false => format!("zone {:?}: disabled, hides nothing", entry.name),
        };
        text.push('\n');
    }
    Ok(text)
}

fn keys() -> String {
    let rows = KEYS.iter().map(|k| (k.name, k.default, k.stronger()));
    let (a, b, c) = rows.clone().fold((3, 7, 13), |(a, b, c), (name, default, direction)| {
        (a.max(name.len()), b.max(default.len()), c.max(direction.len()))
    });
    let mut text = format!("{:a$}  {:b$}  {:c$}  MEANING\n", "KEY", "DEFAULT", "STRONGER WHEN");
    for (key, (name, default, direction)) in KEYS.iter().zip(rows) {
        text += &format!("{name:a$}  {default:b$}  {direction:c$}  {} ({})\n", key.meaning, key.kind);
    }
    text
}

/// One line per thing that the policy does.
fn describe(path: &Path) -> Result<String, PolicyError> {
    let file = PolicyFile::read(path)?;
    // Errors between several keys have no line, but the file should be named.
    let place: String =
        path.display().to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let named = |error| PolicyError::At { place: place.clone(), error: Box::new(error) };
    let derived = file.derive().map_err(named)?;
    let (policy, live) = (derived.policy(Media::Scene), derived.policy(Media::Live));
    let own = |key: &str| file.get(key).map(ToString::to_string);

    let mut lines = vec![format!("preset: {}", derived.effective("preset").unwrap_or_default())];
    for class in Class::ALL {
        let grown = match own("grow") {
            Some(factor) => format!("boxes grown to {factor} times their size"),
            None => "boxes grown as the preset says".into(),
        };
        lines.push(match policy.style(class) {
            Some(style) => format!("{class}s: {}; {grown}", words(style)),
            None => format!("{class}s: left visible"),
        });
    }
    if policy.shape() == RegionShape::Padded && policy.classes().next().is_some() {
        lines.push(
            "regions padded: place and size of what was found are blurred too, in about six times the area"
                .into(),
        );
    }
    for entry in &file.zones {
        lines.push(match entry.enabled {
            true => zone_words(&entry.zone(&file).map_err(named)?),
            false => format!("zone {:?}: disabled, hides nothing", entry.name),
        });
    }
    if policy.classes().next().is_some() {
        lines.push(match own("min_score") {
            Some(score) => format!("hidden from a score of {score}"),
            None => "hidden from the preset's own score".into(),
        });
        lines.push(format!(
            "hidden for {:?} after the last detection; motion covered up to {} box widths per second",
            policy.hold(),
            policy.speed()
        ));
        if policy.motion_cover() {
            lines.push(
                "what changed since a detector last looked is covered until it has been examined".into(),
            );
        }
        if derived.look(Media::Live).settings.passes.iter().any(|pass| pass.tile.is_some()) {
            lines.push(
                "faces are looked for in one part of each picture at a time, at full resolution".into(),
            );
        }
        lines.push(match derived.detect_every() {
            1 => "clips: the detector looks at every frame".into(),
            n => format!("clips: the detector looks at one frame in {n}"),
        });
        lines.extend(live_words(&derived, &live));
    }
    if let Some(backend) = own("backend") {
        lines.push(format!("backend: {backend}"));
    }
    if let Some(threads) = own("threads") {
        lines.push(format!("at most {threads} threads"));
    }
    let weak = policy.classes().filter_map(|c| policy.style(c)).chain(policy.zones().iter().map(Zone::style));
    if weak.into_iter().any(|s| s.is_cosmetic()) {
        lines.push(
            "note: pixelate and blur are cosmetic: they hide nothing from a program; reversible = false refuses them"
                .into(),
        );
    }
    if !policy.reversible() {
        lines.push("pixelate and blur are refused, because they hide nothing from a program".into());
    }
    Ok(lines.join("\n") + "\n")
}

fn live_words(derived: &Derived, live: &Policy) -> Vec<String> {
    let mut lines = vec![format!("live: worst-case exposure {:?}", live.max_gap())];
    if let Some(most) = derived.file().get("max_exposure") {
        lines.push(format!("live: refuses to start when the worst-case exposure would be above {most}"));
    }
    if !live.look_ahead().is_zero() {
        lines.push(format!("live: looks {:?} ahead, so the picture is late by as much", live.look_ahead()));
    }
    if let Some(deadline) = live.deadline() {
        lines.push(match live.on_deadline() {
            OnDeadline::Obscure => {
                format!("live: a frame that is not covered after {deadline:?} is obscured")
            }
            OnDeadline::Drop => format!("live: a frame that is not covered after {deadline:?} is dropped"),
        });
    }
    if let Some(every) = live.self_test().filter(|_| live.classes().next().is_some()) {
        lines.push(format!("live: the detector is tested every {every:?}"));
    }
    let rungs: Vec<_> = derived.rungs().iter().map(|rung| rung.preset.as_str()).collect();
    if !rungs.is_empty() {
        lines.push(format!("live: falls back to {} when the detector is too slow", rungs.join(", then ")));
    }
    lines
}

fn zone_words(zone: &Zone) -> String {
    let corners = zone.area().points().len();
    let part = if zone.is_inverted() { "outside" } else { "inside" };
    format!("zone {:?}: {part} its {corners} corners {}", zone.name(), words(zone.style()))
}

fn words(style: Style) -> String {
    match style {
        Style::Fill(Color::BLACK) => "filled with black".into(),
        Style::Fill(color) => format!("filled with {color}"),
        Style::Pixelate { cells } => format!("pixelated to at most {cells} cells along the longer side"),
        Style::Blur { cells } => format!("blurred from at most {cells} cells along the longer side"),
        _ => "hidden".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn answer(command: &PolicyCommand) -> Result<String, String> {
        let mut out = Vec::new();
        run(command, &mut out).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(out).expect("the answer is text"))
    }

    fn check(text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("p.toml");
        fs::write(&file, text).expect("written");
        let place = file.display().to_string();
        answer(&PolicyCommand::Check { file }).map_err(|e| e.replace(&place, "p.toml"))
    }

    #[test]
    fn the_example_is_accepted_and_put_into_words() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policy.toml");
        let text = answer(&PolicyCommand::Check { file }).expect("accepted");
        for line in [
            "preset: balanced\n",
            "faces: filled with #1e1e1e; boxes grown as the preset says\n",
            "persons: left visible\n",
            "zone \"neighbour's window\": inside its 4 corners filled with #1e1e1e\n",
            "zone \"street\": inside its 4 corners pixelated to at most 3 cells along the longer side\n",
            "zone \"only the desk\": disabled, hides nothing\n",
            "live: worst-case exposure 300ms\n",
            "live: a frame that is not covered after 600ms is obscured\n",
            "note: pixelate and blur are cosmetic: they hide nothing from a program",
        ] {
            assert!(text.contains(line), "{line:?} is missing in\n{text}");
        }
    }

    #[test]
    fn the_empty_file_hides_faces() {
        let text = check("").expect("accepted");
        assert!(text.contains("faces: filled with black; boxes grown as the preset says\n"), "{text}");
        assert!(!text.contains("note:"), "{text}");
    }

    #[test]
    fn zones_alone_say_nothing_about_detection() {
        let text =
            check("faces = \"off\"\n[[zone]]\nname = \"a\"\narea = [[0,0],[1,0],[0,1]]\ninverted = true\n");
        let lines = "preset: balanced; careful on stills\nfaces: left visible\npersons: left visible\n\
                     zone \"a\": outside its 3 corners filled with black\n";
        assert_eq!(text.expect("accepted"), lines);
    }

    #[test]
    fn errors_are_one_line_that_names_the_place() {
        assert_eq!(
            check("faces = \"off\"").expect_err("hides nothing"),
            "p.toml: the policy hides nothing: name at least one of faces, persons or a zone \
             (a passthrough does not exist)"
        );
        assert_eq!(
            check("look_ahead = 2\ndeadline = 1").expect_err("late"),
            "p.toml: deadline = 1000 ms is out of range: it must be longer than look_ahead, or no frame could leave"
        );
        assert_eq!(
            check("\nmin_scor = 0.1").expect_err("unknown"),
            "p.toml:2:1: unknown key: \"min_scor\"; did you mean \"min_score\"?"
        );
        let missing =
            answer(&PolicyCommand::Check { file: "no/such/policy.toml".into() }).expect_err("missing");
        assert!(missing.starts_with("no/such/policy.toml: the policy file cannot be read: "), "{missing}");
    }

    #[test]
    fn compare_tells_what_is_drawn_and_what_follows() {
        let folder = tempfile::tempdir().expect("a folder");
        let compared = |base: &str, new: &str| {
            let [base, new] = [("base.toml", base), ("new.toml", new)].map(|(name, text)| {
                let file = folder.path().join(name);
                fs::write(&file, text).expect("written");
                file
            });
            answer(&PolicyCommand::Compare { base, new, size: None }).expect("compared")
        };
        let weaker = "weaker: detect_every: 3 instead of 1 (stronger is smaller)\n";
        assert_eq!(compared("tiles = true", "tiles = true\ndetect_every = 3"), weaker);
        let weaker = "weaker: min_score: 0.3 instead of 0.2 (stronger is smaller)\n";
        assert_eq!(compared("min_score = 0.2", "min_score = 0.3"), weaker, "as they were written");
        let zone = |name: &str, x: f64, side: f64| {
            let (left, right) = (x, x + side);
            format!(
                "[[zone]]\nname = \"{name}\"\nstyle = \"blur\"\ncells = 4\n\
                 area = [[{left}, 0], [{right}, 0], [{right}, {side}], [{left}, {side}]]\n"
            )
        };
        let large = zone("a", 0.0, 1.0);
        let parts = zone("a", 0.0, 0.5) + &zone("b", 0.5, 0.5);
        assert!(compared(&large, &parts).starts_with("weaker: zone.area: \"a\": "));
        assert_eq!(
            compared(&large, &(large.clone() + &parts.replace("\"a\"", "\"c\""))),
            "it protects at least as much\n"
        );
    }

    #[test]
    fn explain_and_check_tell_what_follows_from_other_keys() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("p.toml");
        fs::write(&file, "tiles = true").expect("written");
        let text =
            answer(&PolicyCommand::Explain { file: file.clone(), canonical: false }).expect("explained");
        let line = text.lines().find(|l| l.starts_with("detect_every ")).expect("a line");
        assert!(line.contains(" 1 (default 3) "), "{line}");
        let text = answer(&PolicyCommand::Check { file }).expect("accepted");
        assert!(text.contains("clips: the detector looks at every frame\n"), "{text}");
    }

    #[test]
    fn the_keys_are_a_table() {
        let text = answer(&PolicyCommand::Keys).expect("printed");
        assert_eq!(text.lines().count(), KEYS.len() + 1);
        for key in KEYS {
            assert!(
                text.lines().any(|l| l.starts_with(key.name) && l.ends_with(&format!("({})", key.kind))),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn a_reader_that_leaves_early_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(run(&PolicyCommand::Schema, &mut Closed).is_ok());
    }
}
