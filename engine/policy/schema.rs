//! What other programs are told of the table of keys: a JSON schema, a table for the documentation, words for the fuzzer.

use std::fmt::Write as _;

use super::PolicyFile;
use super::keys::{KEYS, Key, Kind, Range, ZONE};
use super::zone::Polygon;

/// The policy file as a JSON schema (draft 2020-12), for editors and other programs.
pub fn policy_schema() -> String {
    schema(KEYS)
}

/// The keys as a table in Markdown, for the documentation.
pub fn policy_table() -> String {
    markdown(KEYS)
}

/// Names and words of the keys as a dictionary of libFuzzer.
pub fn policy_dictionary() -> String {
    dictionary(KEYS)
}

pub(crate) fn schema(keys: &[Key]) -> String {
    let (zone, top): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|key| key.in_zone());
    let top: Vec<String> = top.into_iter().map(|key| property(key, &zone, 4)).collect();
    format!(
        r##"{{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "milkglass policy file",
  "description": "What milkglass hides, how, and for how long. Every key has a default; the empty file hides faces.",
  "type": "object",
  "additionalProperties": false,
  "$defs": {{
    "color": {{ "type": "string", "pattern": "^#[0-9a-fA-F]{{6}}$" }},
    "time": {{
      "description": "A number of seconds, or text such as \"1s\" or \"800ms\".",
      "type": ["number", "string"],
      "minimum": 0,
      "pattern": "^[0-9]+(\\.[0-9]+)?m?s$"
    }},
    "unit": {{ "type": "number", "minimum": 0, "maximum": 1 }}
  }},
  "properties": {{
{}
  }}
}}
"##,
        top.join(",\n")
    )
}

/// One key: its kind and range, what it does, and its default where that is a constant.
fn property(key: &Key, zone: &[&Key], indent: usize) -> String {
    let mut about = key.meaning.to_owned();
    if let Some(first) = about.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let default = constant(key);
    if default.is_none() && key.default != REQUIRED {
        let _ = write!(about, ". Default: {}", key.default);
    }
    let default = default.map_or_else(String::new, |value| format!(", \"default\": {value}"));
    let kind = kind(&key.kind, zone, indent);
    format!(
        "{:indent$}{}: {{ \"description\": {}, {kind}{default} }}",
        "",
        quoted(key.short()),
        quoted(&about)
    )
}

fn kind(kind: &Kind, zone: &[&Key], indent: usize) -> String {
    let words = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|w| quoted(w)).collect();
        format!("\"type\": \"string\", \"enum\": [{}]", words.join(", "))
    };
    match kind {
        Kind::Switch => "\"type\": \"boolean\"".into(),
        Kind::Word(all) => words(all),
        Kind::Words(all) => format!("\"type\": \"array\", \"items\": {{ {} }}", words(all)),
        Kind::Color => "\"$ref\": \"#/$defs/color\"".into(),
        Kind::Whole(range) => format!("\"type\": \"integer\", {}", bounds(range)),
        Kind::Number(range) => format!("\"type\": \"number\", {}", bounds(range)),
        Kind::Time(range) => format!("\"$ref\": \"#/$defs/time\", {}", bounds(range)),
        Kind::TimeOrOff(range) => {
            format!(
                "\"anyOf\": [{{ \"const\": \"off\" }}, {{ \"$ref\": \"#/$defs/time\", {} }}]",
                bounds(range)
            )
        }
        Kind::Name => "\"type\": \"string\", \"minLength\": 1, \"maxLength\": 64".into(),
        Kind::Corners => format!(
            "\"type\": \"array\", \"minItems\": 3, \"maxItems\": {}, \
             \"items\": {{ \"type\": \"array\", \"items\": {{ \"$ref\": \"#/$defs/unit\" }}, \"minItems\": 2, \"maxItems\": 2 }}",
            Polygon::MAX_POINTS + 1
        ),
        Kind::Zones => {
            let needed: Vec<String> =
                zone.iter().filter(|k| k.default == REQUIRED).map(|k| quoted(k.short())).collect();
            let keys: Vec<String> = zone.iter().map(|key| property(key, &[], indent + 4)).collect();
            format!(
                "\"type\": \"array\", \"maxItems\": {},\n{:indent$}  \"items\": {{ \"type\": \"object\", \
                 \"additionalProperties\": false, \"required\": [{}], \"properties\": {{\n{}\n{:indent$}  }} }}",
                PolicyFile::MAX_ZONES,
                "",
                needed.join(", "),
                keys.join(",\n"),
                ""
            )
        }
    }
}

/// What stands as the default of a key that must be written.
const REQUIRED: &str = "required";

fn bounds(range: &Range) -> String {
    let least = if range.above { "exclusiveMinimum" } else { "minimum" };
    format!("\"{least}\": {}, \"maximum\": {}", range.least, range.most)
}

/// The default as JSON, where it is a value and no words. TOML writes such values alike.
fn constant(key: &Key) -> Option<&'static str> {
    toml::de::DeValue::parse(key.default).ok().map(|_| key.default)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

pub(crate) fn markdown(keys: &[Key]) -> String {
    let mut text = String::from(
        "| key | what it does | what may be written | default | stronger when |\n|---|---|---|---|---|\n",
    );
    for key in keys {
        let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            key.name,
            cell(key.meaning),
            cell(&key.kind.to_string()),
            cell(key.default),
            cell(&key.stronger())
        );
    }
    text
}

pub(crate) fn dictionary(keys: &[Key]) -> String {
    let mut text =
        String::from("# Keys and values of policy files, from the table in engine/policy/keys.rs.\n");
    let mut words: Vec<&str> =
        keys.iter().map(|key| key.name.strip_prefix(ZONE).unwrap_or(key.name)).collect();
    for key in keys {
        if let Kind::Word(all) | Kind::Words(all) = key.kind {
            words.extend(all);
        }
    }
    words.extend(["[[zone]]\\x0a", "true", "false", "1s", "800ms", "#102030", "off"]);
    let mut told: Vec<&str> = Vec::new();
    for word in words {
        if !told.contains(&word) {
            told.push(word);
            let _ = writeln!(text, "\"{word}\"");
        }
    }
    text
}
