//! The policy file: TOML in, checked values out. The keys are listed in [`KEYS`](super::KEYS).
//!
//! The file is read by hand and not by a derived deserializer: an error has to name the place, the nearest known key
//! and what may be written instead.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::find;
use super::limits::{cells, detect_every, grow, min_score, speed, threads, time};
use super::value::{BackendChoice, Fault, Preset, StyleName, Value, in_order, place, unknown};
use super::zone_entry::{ZoneEntry, style};
use super::{Color, OnDeadline, PolicyBuilder, PolicyError, RegionShape, forbidden};
use crate::detect::Class;

/// What a policy file says; `None` where it says nothing.
///
/// Fields are open so that flags can be laid over a file, and are checked again by [`PolicyFile::check`]. The
/// meaning, range and default of each is in [`KEYS`](super::KEYS) under the same name.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "KEYS documents each under the same name")]
#[non_exhaustive]
pub struct PolicyFile {
    pub preset: Option<Preset>,
    pub faces: Option<StyleName>,
    pub persons: Option<StyleName>,
    pub reversible: Option<bool>,
    pub shape: Option<RegionShape>,
    pub color: Option<Color>,
    pub cells: Option<u8>,
    pub min_score: Option<f32>,
    pub grow: Option<f32>,
    pub hold: Option<Duration>,
    pub speed: Option<f32>,
    pub motion_cover: Option<bool>,
    pub tiles: Option<bool>,
    pub detect_every: Option<u32>,
    pub backend: Option<BackendChoice>,
    pub threads: Option<u32>,
    pub look_ahead: Option<Duration>,
    pub deadline: Option<Duration>,
    pub on_deadline: Option<OnDeadline>,
    pub max_gap: Option<Duration>,
    pub max_exposure: Option<Duration>,
    pub ladder: Option<Vec<Preset>>,
    /// Zero stands for `"off"`.
    pub self_test: Option<Duration>,
    /// The zones, disabled ones too, in the order of the file.
    pub zones: Vec<ZoneEntry>,
}

/// What holds where a policy file says nothing: the preset's own values.
#[derive(Clone, Debug)]
pub struct PolicyDefaults {
    /// How many times their size faces are hidden, at least [`PolicyBuilder::MIN_GROW`].
    pub face_grow: f32,
    /// The same for persons.
    pub person_grow: f32,
    /// Everything else.
    pub base: PolicyBuilder,
}

impl Default for PolicyDefaults {
    fn default() -> Self {
        PolicyDefaults { face_grow: 1.3, person_grow: 1.1, base: PolicyBuilder::default() }
    }
}

impl PolicyFile {
    /// The largest file that is read, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The most zones of one file.
    pub const MAX_ZONES: usize = 64;

    /// The first key that is read when the detectors are loaded and that `later` changes: such a policy cannot follow this
    /// one while a camera runs. One list for the command, C and GStreamer.
    pub fn needs_loading(&self, later: &PolicyFile) -> Option<&'static str> {
        // What a key that is left out stands for is no change.
        let rungs = |file: &PolicyFile| file.ladder.clone().unwrap_or_default();
        let keys = [
            ("preset", self.preset.unwrap_or_default() != later.preset.unwrap_or_default()),
            ("tiles", self.tiles.unwrap_or(false) != later.tiles.unwrap_or(false)),
            ("min_score", self.min_score != later.min_score),
            ("ladder", rungs(self) != rungs(later)),
            ("backend", self.backend.unwrap_or_default() != later.backend.unwrap_or_default()),
            ("threads", self.threads != later.threads),
        ];
        keys.into_iter().find_map(|(key, differs)| differs.then_some(key))
    }

    /// True when no key says anything, as in an empty file. That is the default policy, which hides faces.
    pub fn says_nothing(&self) -> bool {
        *self == PolicyFile::default()
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
        let mut file = PolicyFile::default();
        for (key, value) in in_order(root.get_ref()) {
            file.take_entry(key, value).map_err(placed)?;
        }
        Ok(file)
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

    fn take_entry<'a>(
        &mut self,
        written: &Spanned<DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Result<(), Fault> {
        let name = written.get_ref().as_ref();
        let Some(key) = find(name).filter(|k| !k.in_zone()) else { return Err(unknown(written, false)) };
        let value = Value::new(key, value);
        match name {
            "preset" => self.preset = Some(value.choice()?),
            "faces" => self.faces = Some(value.choice()?),
            "persons" => self.persons = Some(value.choice()?),
            "reversible" => self.reversible = Some(value.switch()?),
            "shape" => self.shape = Some(value.choice()?),
            "color" => self.color = Some(value.color()?),
            "cells" => self.cells = Some(value.place(cells(value.whole()?))?),
            "min_score" => self.min_score = Some(value.place(min_score(value.number()? as f32))?),
            "grow" => self.grow = Some(value.place(grow(value.number()? as f32))?),
            "hold" => self.hold = Some(value.place(time("hold", value.time()?))?),
            "speed" => self.speed = Some(value.place(speed(value.number()? as f32))?),
            "motion_cover" => self.motion_cover = Some(value.switch()?),
            "tiles" => self.tiles = Some(value.switch()?),
            "detect_every" => self.detect_every = Some(value.place(detect_every(value.whole()?))?),
            "backend" => self.backend = Some(value.choice()?),
            "threads" => self.threads = Some(value.place(threads(value.whole()?))?),
            "look_ahead" => self.look_ahead = Some(value.place(time("look_ahead", value.time()?))?),
            "deadline" => self.deadline = Some(value.place(time("deadline", value.time()?))?),
            "on_deadline" => self.on_deadline = Some(value.choice()?),
            "max_gap" => self.max_gap = Some(value.place(time("max_gap", value.time()?))?),
            "max_exposure" => self.max_exposure = Some(value.place(time("max_exposure", value.time()?))?),
            "self_test" => {
                let off = value.text().is_ok_and(|text| text == "off");
                let every = if off { Duration::ZERO } else { value.place(time(name, value.time()?))? };
                self.self_test = Some(every);
            }
            "ladder" => {
                self.ladder = Some(value.list()?.map(|rung| rung.choice()).collect::<Result<_, _>>()?)
            }
            "zone" => self.take_zones(value)?,
            _ => return Err(unknown(written, false)),
        }
        Ok(())
    }

    fn take_zones(&mut self, list: Value<'_>) -> Result<(), Fault> {
        for (i, entry) in list.list()?.enumerate() {
            if i == Self::MAX_ZONES {
                return entry.place(Err(too_many_zones()));
            }
            let zone = ZoneEntry::from_table(entry, i + 1)?;
            entry.place(no_twin(&zone, &self.zones))?;
            self.zones.push(zone);
        }
        Ok(())
    }

    /// Checks every value again, and the values against each other.
    ///
    /// # Errors
    /// The first that cannot be accepted.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.cells.map_or(Ok(0), |n| cells(n.into()))?;
        self.min_score.map_or(Ok(0.0), min_score)?;
        self.grow.map_or(Ok(0.0), grow)?;
        self.speed.map_or(Ok(0.0), speed)?;
        self.detect_every.map_or(Ok(0), |n| detect_every(n.into()))?;
        self.threads.map_or(Ok(0), |n| threads(n.into()))?;
        for (name, value) in [
            ("hold", self.hold),
            ("look_ahead", self.look_ahead),
            ("deadline", self.deadline),
            ("max_gap", self.max_gap),
            ("max_exposure", self.max_exposure),
        ] {
            value.map_or(Ok(Duration::ZERO), |t| time(name, t))?;
        }
        let self_test = self.self_test.filter(|every| !every.is_zero());
        self_test.map_or(Ok(Duration::ZERO), |t| time("self_test", t))?;
        if let (Some(gap), Some(most)) = (self.max_gap, self.max_exposure)
            && gap > most
        {
            let what = format!("max_gap = {gap:?} above max_exposure = {most:?}");
            return Err(PolicyError::Range { what, why: "lower max_gap, or raise max_exposure" });
        }
        self.check_styles()?;
        if self.tiles == Some(true) && self.motion_cover == Some(false) {
            return Err(PolicyError::PartsUncovered);
        }
        let mut above = self.preset.unwrap_or(Preset::Balanced);
        for &rung in self.ladder.iter().flatten() {
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
        let mut table = toml::Table::new();
        let mut put = |key: &str, value: Option<toml::Value>| {
            table.extend(value.map(|value| (key.to_string(), value)));
        };
        let word = |w: &str| toml::Value::String(w.into());
        let time = |t: Option<Duration>| t.map(|t| t.as_secs_f64().into());
        // Through their shortest text, so that 0.2 is not written as 0.20000000298.
        let number = |x: Option<f32>| x.and_then(|x| x.to_string().parse::<f64>().ok()).map(Into::into);
        put("preset", self.preset.map(|p| word(p.as_str())));
        put("faces", self.faces.map(|s| word(s.as_str())));
        put("persons", self.persons.map(|s| word(s.as_str())));
        put("reversible", self.reversible.map(Into::into));
        let shape = self.shape.map(|shape| match shape {
            RegionShape::Box => word("box"),
            RegionShape::Padded => word("padded"),
        });
        put("shape", shape);
        put("color", self.color.map(|c| c.to_string().into()));
        put("cells", self.cells.map(|n| i64::from(n).into()));
        put("min_score", number(self.min_score));
        put("grow", number(self.grow));
        put("hold", time(self.hold));
        put("speed", number(self.speed));
        put("motion_cover", self.motion_cover.map(Into::into));
        put("tiles", self.tiles.map(Into::into));
        put("detect_every", self.detect_every.map(|n| i64::from(n).into()));
        put("backend", self.backend.map(|b| word(b.as_str())));
        put("threads", self.threads.map(|n| i64::from(n).into()));
        put("look_ahead", time(self.look_ahead));
        put("deadline", time(self.deadline));
        let on_deadline = self.on_deadline.map(|then| match then {
            OnDeadline::Obscure => word("obscure"),
            OnDeadline::Drop => word("drop"),
        });
        put("on_deadline", on_deadline);
        put("max_gap", time(self.max_gap));
        put("max_exposure", time(self.max_exposure));
        let rungs = |ladder: &Vec<Preset>| ladder.iter().map(|p| word(p.as_str())).collect::<Vec<_>>().into();
        put("ladder", self.ladder.as_ref().map(rungs));
        let off = |every: Duration| if every.is_zero() { Some(word("off")) } else { time(Some(every)) };
        put("self_test", self.self_test.and_then(off));
        let zones: Vec<toml::Value> = self.zones.iter().map(|z| z.to_table().into()).collect();
        put("zone", (!zones.is_empty()).then(|| zones.into()));
        table.to_string()
    }

    /// No cosmetic style where the file forbids them; a zone that is off has none.
    fn check_styles(&self) -> Result<(), PolicyError> {
        if self.reversible != Some(false) {
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
        self.preset.unwrap_or(Preset::Careful)
    }

    /// How a class is to be hidden: the file's word, else `fill` for faces and `off` for persons.
    pub fn style(&self, class: Class) -> StyleName {
        match class {
            Class::Face => self.faces.unwrap_or(StyleName::Fill),
            Class::Person => self.persons.unwrap_or(StyleName::Off),
        }
    }

    /// Whether what moves is covered: the file's word, else with the preset careful and with tiles.
    pub fn covers_motion(&self) -> bool {
        let usual = self.preset == Some(Preset::Careful) || self.tiles == Some(true);
        self.motion_cover.unwrap_or(usual)
    }

    /// The engine's policy for recorded clips and stills: everything but the keys that are for live pictures.
    ///
    /// # Errors
    /// As [`PolicyFile::check`]; [`PolicyBuilder::build`] checks the rest.
    pub fn builder(&self, defaults: &PolicyDefaults) -> Result<PolicyBuilder, PolicyError> {
        self.check()?;
        let mut builder = defaults.base.clone();
        for class in Class::ALL {
            let own = match class {
                Class::Face => defaults.face_grow,
                Class::Person => defaults.person_grow,
            };
            if let Some(style) = style(self.style(class), self.color, self.cells) {
                builder = builder.hide_grown(class, style, self.grow.unwrap_or(own));
            }
        }
        for entry in self.zones.iter().filter(|z| z.enabled) {
            builder = builder.zone(entry.zone(self)?);
        }
        let policy = &mut builder.policy;
        set(&mut policy.reversible, self.reversible);
        set(&mut policy.shape, self.shape);
        set(&mut policy.hold, self.hold);
        set(&mut policy.speed, self.speed);
        policy.motion_cover = self.motion_cover.unwrap_or(policy.motion_cover || self.covers_motion());
        set(&mut policy.obscure_color, self.color);
        Ok(builder)
    }

    /// How often the file asks for a self-test: five minutes where it says nothing.
    pub(super) fn self_test_every(&self) -> Option<Duration> {
        Some(self.self_test.unwrap_or(Duration::from_secs(300))).filter(|every| !every.is_zero())
    }

    /// Adds the keys for live pictures. Without a `max_gap` of its own, the builder's is lowered to `max_exposure`;
    /// whoever chooses a deadline for a file that names none passes [`PolicyFile::on_deadline`] with it.
    pub fn live(&self, mut builder: PolicyBuilder) -> PolicyBuilder {
        let policy = &mut builder.policy;
        set(&mut policy.look_ahead, self.look_ahead);
        set(&mut policy.max_gap, self.max_gap);
        policy.max_gap = policy.max_gap.min(self.max_exposure.unwrap_or(Duration::MAX));
        policy.deadline = self.deadline.or(policy.deadline);
        set(&mut policy.on_deadline, self.on_deadline);
        policy.self_test = self.self_test_every();
        builder
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

fn set<T: Clone>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}
