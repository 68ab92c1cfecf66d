//! The policy file: TOML in, checked values out. The keys are listed in [`KEYS`](super::KEYS).
//!
//! The file is read by hand and not by a derived deserializer: an error has to name the place, the nearest known key
//! and what may be written instead.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{
    BACKEND, CELLS, COLOR, FACES, KEYS, Key, Kind, LADDER, MAX_EXPOSURE, MAX_GAP, MOTION_COVER, PERSONS,
    PRESET, REVERSIBLE, THREADS, TILES, ZONES,
};
use super::value::{
    BackendChoice, Choice, Fault, Preset, StyleName, Value, Written, in_order, place, unknown,
};
use super::zone_entry::{DEFAULT_CELLS, ZoneEntry};
use super::{Color, PolicyError, forbidden};
use crate::class::Class;

/// What a policy file says. What it comes to, presets, defaults and implied values worked out, is told by
/// [`PolicyFile::derive`].
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFile {
    /// What is known of keys; [`KEYS`].
    keys: &'static [Key],
    values: BTreeMap<&'static str, Value>,
    /// The zones, disabled ones too, in the order of the file.
    pub zones: Vec<ZoneEntry>,
}

impl Default for PolicyFile {
    fn default() -> Self {
        PolicyFile { keys: KEYS, values: BTreeMap::new(), zones: Vec::new() }
    }
}

impl PolicyFile {
    /// The largest file that is read, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The most zones of one file.
    pub const MAX_ZONES: usize = 64;

    /// True when no key says anything, as in an empty file. That is the default policy, which hides faces.
    pub fn says_nothing(&self) -> bool {
        self.values.is_empty() && self.zones.is_empty()
    }

    /// Whether it may be put in the place of a policy that is in force: what says nothing may not. A text that was never set
    /// or a file that was emptied would drop every zone without a word. One list for the command, C and GStreamer.
    ///
    /// # Errors
    /// [`PolicyError::File`].
    pub fn check_exchange(&self) -> Result<(), PolicyError> {
        let why = "the new policy says nothing, and would drop every zone: write faces = \"fill\" if faces alone are to be hidden";
        if self.says_nothing() { Err(PolicyError::File(why.into())) } else { Ok(()) }
    }

    /// What this policy hides and `later` does not, by name, to be told when it is exchanged.
    pub fn left_out(&self, later: &PolicyFile) -> Option<String> {
        let off = |file: &PolicyFile, class| file.style(class) == StyleName::Off;
        let classes = Class::ALL.into_iter().filter(|class| !off(self, *class) && off(later, *class));
        let hides = |name: &str| later.zones.iter().any(|zone| zone.enabled && zone.name == name);
        let zones = self.zones.iter().filter(|zone| zone.enabled && !hides(&zone.name));
        let names = classes.map(|class| format!("{class}s")).chain(zones.map(|z| format!("zone {}", z.name)));
        let names: Vec<String> = names.collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Reads a file of at most [`PolicyFile::MAX_BYTES`].
    ///
    /// # Errors
    /// [`PolicyError::File`] when it cannot be read, else as [`PolicyFile::parse`].
    pub fn read(path: &Path) -> Result<PolicyFile, PolicyError> {
        let name: String =
            path.display().to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let refuse = |why: String| PolicyError::File(format!("{name}: {why}"));
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(Self::MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(|e| refuse(format!("the policy file cannot be read: {e}")))?;
        if bytes.len() > Self::MAX_BYTES {
            return Err(refuse(TOO_LARGE.into()));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => PolicyFile::parse(text, &name),
            Err(e) => {
                let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                Err(PolicyError::File(format!(
                    "{name}:{line}: this is not UTF-8 text; save the file as UTF-8"
                )))
            }
        }
    }

    /// Parses the text of a file; `name` stands in errors before line and column. An empty text is a valid policy
    /// ([`PolicyFile::says_nothing`]).
    ///
    /// # Errors
    /// The first thing in the file that cannot be accepted, as [`PolicyError::At`] its place. Whether the whole makes
    /// sense is checked by [`PolicyFile::check`], since flags may come on top.
    pub fn parse(text: &str, name: &str) -> Result<PolicyFile, PolicyError> {
        Self::parse_by(KEYS, text, name)
    }

    pub(crate) fn parse_by(keys: &'static [Key], text: &str, name: &str) -> Result<PolicyFile, PolicyError> {
        let placed = |fault: Fault| PolicyError::At {
            place: place(text, name, fault.at),
            error: Box::new(fault.error),
        };
        if text.len() > Self::MAX_BYTES {
            return Err(PolicyError::At {
                place: name.into(),
                error: Box::new(PolicyError::File(TOO_LARGE.into())),
            });
        }
        let root = DeTable::parse(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start);
            placed(Fault::new(at, not_toml(text, at, e.message())))
        })?;
        let mut file = PolicyFile { keys, ..PolicyFile::default() };
        file.take(&root).map_err(placed)?;
        Ok(file)
    }

    fn take<'a>(&mut self, root: &'a Spanned<DeTable<'a>>) -> Result<(), Fault> {
        in_order(root.get_ref()).into_iter().try_for_each(|(key, value)| self.take_entry(key, value))
    }

    /// Sets one key from the text of a flag or property. The text is read as in the file, but words need no quotes.
    ///
    /// # Errors
    /// As [`PolicyFile::parse`], without a place.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), PolicyError> {
        let whole = 0..text.len();
        let value = DeValue::parse(text)
            .unwrap_or_else(|_| Spanned::new(whole.clone(), DeValue::String(text.into())));
        self.take_entry(&Spanned::new(whole, key.into()), &value).map_err(|fault| fault.error)
    }

    /// Leaves a key out again, so that its default holds.
    pub fn unset(&mut self, key: &str) {
        self.values.remove(key);
    }

    /// What the file says of a key outside of zones; `None` where it says nothing.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    pub(crate) fn keys(&self) -> &'static [Key] {
        self.keys
    }
    pub(crate) fn switch(&self, key: &Key) -> Option<bool> {
        if let Some(Value::Switch(on)) = self.get(key.name) { Some(*on) } else { None }
    }
    pub(crate) fn whole(&self, key: &Key) -> Option<u32> {
        if let Some(Value::Whole(n)) = self.get(key.name) { Some(*n) } else { None }
    }
    pub(crate) fn number(&self, key: &Key) -> Option<f32> {
        if let Some(Value::Number(x)) = self.get(key.name) { Some(*x) } else { None }
    }
    pub(crate) fn time(&self, key: &Key) -> Option<Duration> {
        if let Some(Value::Time(t)) = self.get(key.name) { Some(*t) } else { None }
    }
    pub(super) fn choice<T: Choice>(&self, key: &Key) -> Option<T> {
        if let Some(Value::Word(word)) = self.get(key.name) { T::of(word) } else { None }
    }

    /// The preset of clips and cameras, where the file names one.
    pub fn preset(&self) -> Option<Preset> {
        self.choice(&PRESET)
    }
    /// The presets to fall back to, the best first.
    pub fn ladder(&self) -> Vec<Preset> {
        match self.get(LADDER.name) {
            Some(Value::Words(words)) => words.iter().filter_map(|word| Preset::of(word)).collect(),
            _ => Vec::new(),
        }
    }
    /// What runs the models.
    pub fn backend(&self) -> BackendChoice {
        self.choice(&BACKEND).unwrap_or_default()
    }
    /// The bound on threads: the file's, else one for each core.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.whole(&THREADS).map_or_else(cores, |n| n as usize)
    }
    /// The colour of `fill`: the file's word, else black.
    pub fn color(&self) -> Color {
        if let Some(Value::Color(color)) = self.get(COLOR.name) { *color } else { Color::BLACK }
    }
    /// The cells of cosmetic styles: the file's word, else 4.
    pub fn cells(&self) -> u8 {
        self.whole(&CELLS).and_then(|n| u8::try_from(n).ok()).unwrap_or(DEFAULT_CELLS)
    }

    fn take_entry<'a>(
        &mut self,
        written: &Spanned<DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Result<(), Fault> {
        let name = written.get_ref().as_ref();
        let Some(key) = self.keys.iter().find(|k| k.name == name && !k.in_zone()) else {
            return Err(unknown(self.keys, written, false));
        };
        let value = Written::new(key, value);
        match key.kind {
            Kind::Zones => self.take_zones(value)?,
            _ => drop(self.values.insert(key.name, value.value()?)),
        }
        Ok(())
    }

    fn take_zones(&mut self, list: Written<'_>) -> Result<(), Fault> {
        for (i, entry) in list.list()?.enumerate() {
            if i == Self::MAX_ZONES {
                return entry.place(Err(too_many_zones()));
            }
            let zone = ZoneEntry::from_table(self.keys, entry, i + 1)?;
            entry.place(no_twin(&zone, &self.zones))?;
            self.zones.push(zone);
        }
        Ok(())
    }

    /// Checks the values against each other; each for itself was checked when it was read.
    ///
    /// # Errors
    /// The first that cannot be accepted.
    pub fn check(&self) -> Result<(), PolicyError> {
        if let (Some(gap), Some(most)) = (self.time(&MAX_GAP), self.time(&MAX_EXPOSURE))
            && gap > most
        {
            let what = format!("max_gap = {gap:?} above max_exposure = {most:?}");
            return Err(PolicyError::Range { what, why: "lower max_gap, or raise max_exposure" });
        }
        self.check_styles()?;
        if self.switch(&TILES) == Some(true) && self.switch(&MOTION_COVER) == Some(false) {
            return Err(PolicyError::PartsUncovered);
        }
        let mut above = self.preset().unwrap_or_default();
        for rung in self.ladder() {
            if rung >= above {
                let what = format!("ladder: \"{rung}\" after \"{above}\"");
                return Err(PolicyError::Range {
                    what,
                    why: "each rung must be a preset weaker than the one before",
                });
            }
            above = rung;
        }
        if self.zones.len() > Self::MAX_ZONES {
            return Err(too_many_zones());
        }
        for (i, zone) in self.zones.iter().enumerate() {
            no_twin(zone, &self.zones[..i])?;
        }
        Ok(())
    }

    /// The same policy as the text of a file.
    pub fn to_toml(&self) -> String {
        let mut table: toml::Table =
            self.values.iter().map(|(key, value)| (key.to_string(), value.into())).collect();
        let zones: Vec<toml::Value> = self.zones.iter().map(|z| z.to_table().into()).collect();
        if !zones.is_empty() {
            table.insert(ZONES.name.into(), zones.into());
        }
        table.to_string()
    }

    /// No cosmetic style where the file forbids them; a zone that is off has none.
    fn check_styles(&self) -> Result<(), PolicyError> {
        if self.switch(&REVERSIBLE) != Some(false) {
            return Ok(());
        }
        let cosmetic = |style: StyleName| matches!(style, StyleName::Pixelate | StyleName::Blur);
        for class in Class::ALL {
            let style = self.style(class);
            if cosmetic(style) {
                return Err(forbidden(&format!("{class}s = \"{style}\"")));
            }
        }
        for zone in self.zones.iter().filter(|z| z.enabled) {
            if let Some(style) = zone.style.filter(|style| cosmetic(*style)) {
                return Err(forbidden(&format!("zone \"{}\": style = \"{style}\"", zone.name)));
            }
        }
        Ok(())
    }

    /// How carefully to look at stills: the file's word, else `careful`, since nobody waits for a still.
    pub fn still_preset(&self) -> Preset {
        self.preset().unwrap_or(Preset::Careful)
    }

    /// How a class is to be hidden: the file's word, else `fill` for faces and `off` for persons.
    pub fn style(&self, class: Class) -> StyleName {
        match class {
            Class::Face => self.choice(&FACES).unwrap_or(StyleName::Fill),
            Class::Person => self.choice(&PERSONS).unwrap_or(StyleName::Off),
        }
    }
}

const TOO_LARGE: &str = "a policy file of more than 1 MiB is refused; write a smaller one";

fn not_toml(text: &str, at: usize, message: &str) -> String {
    let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let word: String = rest.chars().take_while(char::is_ascii_alphanumeric).take(40).collect();
    // The parser takes every bare word for a misspelt `true` or `false`.
    match before.trim_end_matches(' ').ends_with('=') && !word.is_empty() {
        true => {
            format!("this is not TOML: \"{word}\" must stand in double quotes, or be a number, true or false")
        }
        false => format!("this is not TOML: {}", message.replace('\n', ", ")),
    }
}

fn no_twin(zone: &ZoneEntry, before: &[ZoneEntry]) -> Result<(), PolicyError> {
    match before.iter().any(|z| z.name == zone.name) {
        false => Ok(()),
        true => Err(PolicyError::Zone {
            zone: zone.name.clone(),
            why: "another zone has this name; give each its own".into(),
        }),
    }
}

fn too_many_zones() -> PolicyError {
    PolicyError::Range { what: "the number of zones".into(), why: "use at most 64" }
}
