//! From flags to what is opened.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgMatches, Command, FromArgMatches};
use milkglass::detect::ModelStore;
use milkglass::lock::OwnerPublicKey;
use milkglass::opening::OpeningBuilder;
use milkglass::picture::PixelFormat;
use milkglass::policy::ZoneEntry;
use milkglass::policy::{KEYS, Key, Kind, Scope};
use milkglass::{FrameFormat, Opening};

use crate::args::{HidingArgs, RuntimeArgs};
use crate::outcome::Failure;
use crate::still::Picture;

/// Keys whose flags are in [`RuntimeArgs`], because commands without a policy have them too.
const OF_RUNTIME: [&str; 2] = ["backend", "threads"];

/// The flags of policy keys, as the table of keys has them; those for live pictures alone, or all others.
#[derive(Clone, Debug, Default)]
pub struct KeyFlags<const LIVE: bool> {
    /// Flag, key, text.
    given: Vec<(String, &'static str, String)>,
}

impl<const LIVE: bool> KeyFlags<LIVE> {
    fn keys() -> impl Iterator<Item = (&'static Key, &'static str)> {
        let keys =
            KEYS.iter().filter(|key| (key.scope == Scope::Live) == LIVE && !OF_RUNTIME.contains(&key.name));
        keys.filter_map(|key| Some((key, key.flag?)))
    }

    /// Sets a key as its flag would.
    pub fn set(&mut self, key: &'static str, text: &str) {
        self.given.push((flag(key), key, text.into()));
    }

    /// Lays what was given over a policy.
    pub fn over(&self, mut builder: OpeningBuilder) -> OpeningBuilder {
        for (flag, key, text) in &self.given {
            builder = builder.set(flag.as_str(), *key, text.as_str());
        }
        builder
    }
}

fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// What a flag does, what may be written, and what holds without it.
fn help(key: &Key) -> String {
    let mut text = key.meaning.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let kind = match key.kind {
        Kind::Switch => String::new(),
        kind => format!(": {kind}"),
    };
    let more =
        if key.help.is_empty() { String::new() } else { format!(". {}", key.help.trim_end_matches('.')) };
    format!("{text}{kind}{more} [default: {}]", key.default.replace('"', ""))
}

impl<const LIVE: bool> clap::Args for KeyFlags<LIVE> {
    fn augment_args(command: Command) -> Command {
        Self::keys().fold(command, |command, (key, value)| {
            let long = flag(key.name).trim_start_matches('-').to_owned();
            let arg = Arg::new(key.name).long(long).value_name(value).help(help(key)).help_heading("Hiding");
            command.arg(match key.kind {
                Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                _ => arg,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const LIVE: bool> FromArgMatches for KeyFlags<LIVE> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = KeyFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (key, _) in Self::keys() {
            if let Some(text) = matches.get_one::<String>(key.name) {
                self.set(key.name, text);
            }
        }
        Ok(())
    }
}

/// Reads policy and lock, lays the flags over them and checks the whole; `with` adds what one command alone has.
pub fn open(
    args: &HidingArgs,
    with: impl FnOnce(OpeningBuilder) -> OpeningBuilder,
) -> Result<Opening, Failure> {
    crate::memory::set_bound(args.runtime.max_memory.as_deref())?;
    let mut builder = args.keys.over(Opening::builder()).pixel_aspect(args.pixel_aspect);
    let runtime = &args.runtime;
    let threads = runtime.threads.map(|n| n.to_string());
    for (key, text) in OF_RUNTIME.into_iter().zip([runtime.backend.as_ref(), threads.as_ref()]) {
        if let Some(text) = text {
            builder = builder.set(flag(key), key, text.as_str());
        }
    }
    for zone in &args.zone {
        let zone: ZoneEntry = zone.parse().map_err(|e| Failure::new(format!("--zone: {e}")))?;
        builder = builder.zone(zone);
    }
    if let Some(path) = &args.policy {
        builder = builder.policy_file(path);
    }
    if let Some(folder) = &runtime.models {
        builder = builder.models(folder);
    }
    if let Some(path) = &args.lock {
        builder = builder.lock(path);
        if let Some(path) = &args.owner_key {
            builder = builder.owner_key(owner_key(path)?);
        }
        if std::env::var_os("MILKGLASS_FFMPEG").is_some_and(|folder: OsString| !folder.is_empty()) {
            return Err(Failure::new(
                "MILKGLASS_FFMPEG is set, and names the program that decodes clips: clear it, the policy is locked",
            ));
        }
    }
    Ok(with(builder).read()?)
}

/// The same for recordings, which whoever has them hands over with their lock.
pub fn open_recorded(args: &HidingArgs, export_regions: bool) -> Result<Opening, Failure> {
    open(args, |builder| builder.forgetful().export_regions(export_regions))
}

/// The format of a still, whose file may tell the shape of its pixels.
pub fn still_format(opening: &Opening, picture: &Picture) -> Result<FrameFormat, Failure> {
    let (width, height) = picture.pixels.dimensions();
    Ok(opening.shaped(FrameFormat::new(PixelFormat::Rgb24, width, height)?, &picture.shapes))
}

/// Reads an owner's public key.
pub fn owner_key(path: &Path) -> Result<OwnerPublicKey, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(format!("{}: the owner's key cannot be read: {e}", path.display())))?;
    Ok(OwnerPublicKey::parse(&text)?)
}

/// The bound on threads: what was asked for, else every core.
pub fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Where the models are, from the flag or the usual places.
pub fn store(args: &RuntimeArgs) -> Result<ModelStore, Failure> {
    Ok(args.models.as_ref().map(ModelStore::new).map_or_else(ModelStore::locate, Ok)?)
}
