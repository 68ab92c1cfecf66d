//! Typed values out of TOML. Each error says where, what was written and what may be written instead.

use std::fmt;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{Key, Kind, Range, nearest};
use super::{Color, OnDeadline, PolicyError, RegionShape};

/// What stands for no time at all.
pub(super) const OFF: &str = "off";

/// An error and the byte of the file it belongs to.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub error: PolicyError,
}

impl Fault {
    pub fn new(at: usize, message: impl Into<String>) -> Fault {
        Fault { at, error: PolicyError::File(message.into()) }
    }
}

/// What the words of a key stand for.
pub(super) trait Choice: Copy + 'static {
    const CHOICES: &'static [(&'static str, Self)];

    fn of(word: &str) -> Option<Self> {
        Self::CHOICES.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice)
    }
}

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$each])* $variant,)+ }

        impl $name {
            /// The word in the policy file.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl Choice for $name {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($text, $name::$variant)),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

choices! {
    /// How carefully to look, weakest first.
    #[derive(Default)]
    Preset {
        /// For small boards and quick looks.
        Fast = "fast",
        /// For most uses.
        #[default]
        Balanced = "balanced",
        /// As many faces as the models can find, whatever it costs.
        Careful = "careful",
    }
}

choices! {
    /// A style by its name. Colour and cells stand in keys of their own.
    StyleName {
        /// Left visible. Not for zones.
        Off = "off",
        /// [`Style::Blur`](super::Style::Blur), cosmetic.
        Blur = "blur",
        /// [`Style::Pixelate`](super::Style::Pixelate), cosmetic.
        Pixelate = "pixelate",
        /// [`Style::Fill`](super::Style::Fill).
        Fill = "fill",
    }
}

choices! {
    /// Which inference backend to use.
    #[derive(Default)]
    BackendChoice {
        /// ONNX Runtime if its library is found, else rten; the choice is logged.
        #[default]
        Auto = "auto",
        /// ONNX Runtime, or an error.
        Ort = "ort",
        /// rten, pure Rust.
        Rten = "rten",
    }
}

impl Choice for RegionShape {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("box", RegionShape::Box), ("padded", RegionShape::Padded)];
}

impl Choice for OnDeadline {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("obscure", OnDeadline::Obscure), ("drop", OnDeadline::Drop)];
}

/// What a key was given, checked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Whole(u32),
    /// A number.
    Number(f32),
    /// A time.
    Time(Duration),
    /// One of the words of the key's kind.
    Word(&'static str),
    /// A list of them.
    Words(Vec<&'static str>),
    /// A colour.
    Color(Color),
}

/// For people to read.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Switch(b) => write!(f, "{b}"),
            Value::Whole(n) => write!(f, "{n}"),
            Value::Number(x) => write!(f, "{x}"),
            Value::Time(Duration::ZERO) => f.write_str("0s"),
            Value::Time(t) => write!(f, "{t:?}"),
            Value::Word(w) => f.write_str(w),
            Value::Words(w) => write!(f, "[{}]", w.join(", ")),
            Value::Color(c) => write!(f, "{c}"),
        }
    }
}

/// As it stands in a file.
impl From<&Value> for toml::Value {
    fn from(value: &Value) -> toml::Value {
        match value {
            Value::Switch(b) => (*b).into(),
            Value::Whole(n) => i64::from(*n).into(),
            // Through its shortest text, so that 0.2 is not written as 0.20000000298.
            Value::Number(x) => x.to_string().parse::<f64>().unwrap_or(f64::from(*x)).into(),
            Value::Time(t) => t.as_secs_f64().into(),
            Value::Word(w) => (*w).into(),
            Value::Words(words) => words.iter().map(|w| toml::Value::from(*w)).collect::<Vec<_>>().into(),
            Value::Color(c) => c.to_string().into(),
        }
    }
}

/// What stands in a file for a key.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub key: &'a Key,
    pub at: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Written<'a> {
    pub fn new(key: &'a Key, value: &'a Spanned<DeValue<'a>>) -> Written<'a> {
        Written { key, at: value.span().start, value: value.get_ref() }
    }

    /// That something else was written than may be.
    pub fn wrong(&self) -> Fault {
        let (kind, written) = (self.key.kind, show(self.value));
        Fault::new(self.at, format!("{} = {written} cannot be used; write {kind}", self.key.name))
    }

    /// Gives an error of another check this value's place.
    pub fn place<T>(&self, result: Result<T, PolicyError>) -> Result<T, Fault> {
        result.map_err(|error| Fault { at: self.at, error })
    }

    /// The value, of the key's kind and in its range.
    pub fn value(&self) -> Result<Value, Fault> {
        let in_range =
            |range: &Range, value: f64, shown: &str| self.place(range.check(self.key.name, value, shown));
        Ok(match &self.key.kind {
            Kind::Switch => Value::Switch(self.value.as_bool().ok_or_else(|| self.wrong())?),
            Kind::Word(words) => Value::Word(self.word(words)?),
            Kind::Words(words) => {
                Value::Words(self.list()?.map(|w| w.word(words)).collect::<Result<_, _>>()?)
            }
            Kind::Color => Value::Color(Color::from_hex(self.text()?).ok_or_else(|| self.wrong())?),
            Kind::Whole(range) => {
                let n = self.whole()?;
                in_range(range, n as f64, &n.to_string())?;
                Value::Whole(u32::try_from(n).map_err(|_| self.wrong())?)
            }
            Kind::Number(range) => {
                let x = self.number()? as f32;
                // As it was written, and not as the nearest that a computer knows.
                in_range(range, x.to_string().parse().unwrap_or(f64::from(x)), &x.to_string())?;
                Value::Number(x)
            }
            Kind::TimeOrOff(_) if self.text().is_ok_and(|text| text == OFF) => Value::Word(OFF),
            Kind::Time(range) | Kind::TimeOrOff(range) => {
                let t = self.time()?;
                in_range(range, t.as_secs_f64(), &format!("{t:?}"))?;
                Value::Time(t)
            }
            Kind::Name => return Err(self.wrong()),
            Kind::Zones | Kind::Corners => return Err(self.wrong()),
        })
    }

    pub fn text(&self) -> Result<&'a str, Fault> {
        self.value.as_str().ok_or_else(|| self.wrong())
    }

    pub fn list(&self) -> Result<impl ExactSizeIterator<Item = Written<'a>> + use<'a>, Fault> {
        let key = self.key;
        Ok(self.value.as_array().ok_or_else(|| self.wrong())?.iter().map(move |v| Written::new(key, v)))
    }

    pub fn table(&self) -> Result<&'a DeTable<'a>, Fault> {
        self.value.as_table().ok_or_else(|| self.wrong())
    }

    /// A whole number; one beyond `i64` becomes the nearest that fits, which every range refuses.
    fn whole(&self) -> Result<i64, Fault> {
        let n = self.value.as_integer().ok_or_else(|| self.wrong())?;
        let beyond = if n.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
        Ok(i64::from_str_radix(n.as_str(), n.radix()).unwrap_or(beyond))
    }

    /// A number, possibly infinite or NaN.
    pub fn number(&self) -> Result<f64, Fault> {
        match self.value {
            DeValue::Integer(_) => Ok(self.whole()? as f64),
            DeValue::Float(x) => x.as_str().parse().map_err(|_| self.wrong()),
            _ => Err(self.wrong()),
        }
    }

    /// A time: a number of seconds, or a number with `s` or `ms` behind it.
    fn time(&self) -> Result<Duration, Fault> {
        let seconds = match self.value {
            DeValue::String(text) => seconds(text).ok_or_else(|| self.wrong())?,
            _ => self.number()?,
        };
        Duration::try_from_secs_f64(seconds).map_err(|_| self.wrong())
    }

    fn word(&self, words: &'static [&'static str]) -> Result<&'static str, Fault> {
        let text = self.text()?;
        if let Some(found) = words.iter().find(|word| **word == text) {
            return Ok(found);
        }
        let mut fault = self.wrong();
        if let (Some(near), PolicyError::File(message)) =
            (nearest(text, words.iter().copied()), &mut fault.error)
        {
            *message += &format!(" (did you mean \"{near}\"?)");
        }
        Err(fault)
    }
}

fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| number.parse::<f64>().ok().map(|x| x * unit)).flatten()
}

/// A value for a message: as written, but never long and never with control characters.
fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", clip(text)),
        DeValue::Integer(n) => clip(&n.to_string()),
        DeValue::Float(x) => clip(x.as_str()),
        DeValue::Boolean(b) => b.to_string(),
        other => format!("({} {})", if other.is_array() { "an" } else { "a" }, other.type_str()),
    }
}

/// The beginning of a text, on one line.
pub(super) fn clip(text: &str) -> String {
    let mut short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        short.push_str("...");
    }
    short
}

/// Entries in the order of the file, so that the first error is the uppermost.
pub(super) fn in_order<'t, 'a>(
    table: &'t DeTable<'a>,
) -> Vec<(&'t Spanned<DeString<'a>>, &'t Spanned<DeValue<'a>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

pub(super) fn unknown(keys: &[Key], written: &Spanned<DeString<'_>>, in_zone: bool) -> Fault {
    let name = written.get_ref().as_ref();
    let here = || keys.iter().filter(move |k| k.in_zone() == in_zone).map(|k| k.short());
    let hint = if let Some(near) = nearest(name, here()) {
        format!("did you mean \"{near}\"?")
    } else if keys.iter().any(|k| k.short() == name) {
        match in_zone {
            true => "it belongs above the first [[zone]]".into(),
            false => "it belongs into a [[zone]]".into(),
        }
    } else {
        format!("known are {}", here().collect::<Vec<_>>().join(", "))
    };
    let place = if in_zone { "unknown key in [[zone]]" } else { "unknown key" };
    Fault::new(written.span().start, format!("{place}: \"{}\"; {hint}", clip(name)))
}

/// `name:line:column`, both counted from 1, the column in characters.
pub(super) fn place(text: &str, name: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("{name}:{line}:{column}")
}
