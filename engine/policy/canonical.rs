//! A policy in one form that everybody can write again, to be hashed: every default and derived value is written out.
//!
//! docs/POLICY.md describes it byte for byte, and tests/canonical.py writes it from that description.

use std::fmt::Write as _;
use std::time::Duration;

use super::keys::{GROW, Kind, MIN_SCORE, PRESET};
use super::zone::{canonical_zones, quoted};
use super::{Derived, Look, Media, Value};
use crate::class::Class;
use crate::geometry::PixelAspect;

/// The first line: another form has another number.
const FORM: &str = "canonical = 1\n";

impl Derived {
    /// The policy with every default and derived value written out, as TOML in one form only: keys, then how detectors look,
    /// then zones ([`canonical_zones`]). What the evidence log and reports hash. docs/POLICY.md has the form byte for byte.
    /// `own_aspect`: the shape of pixels by whoever runs this; `own_detector`: how a program's own detector looks, nobody but
    /// the program knows, so nothing is said of it.
    pub fn canonical(&self, own_aspect: Option<PixelAspect>, own_detector: bool) -> String {
        let mut text = self.canonical_keys();
        let aspect = own_aspect.map_or_else(|| "as told".into(), |own| own.to_string());
        let _ = writeln!(text, "pixel_aspect = {}", quoted(&aspect));
        if own_detector {
            let _ = writeln!(text, "detector = \"own\"");
            return text + &canonical_zones(self.live.zones());
        }
        let stills = [("stills", self.look(Media::Still))];
        let looks = [("moving", self.look(Media::Live))].into_iter().chain(stills);
        for (what, look) in looks.chain(self.rungs().iter().map(|rung| ("rung", rung))) {
            write_look(&mut text, what, look);
        }
        text + &canonical_zones(self.live.zones())
    }

    fn canonical_keys(&self) -> String {
        let mut text = FORM.to_owned();
        let told_by_looks = [PRESET, MIN_SCORE, GROW];
        for key in self.file().keys() {
            if key.in_zone() || matches!(key.kind, Kind::Zones) || told_by_looks.contains(key) {
                continue;
            }
            let value = self.value(key).map_or_else(|| quoted("none"), |value| written(&value));
            let _ = writeln!(text, "{} = {value}", key.name);
        }
        for class in Class::ALL {
            let grow = self.live.rule(class).map_or_else(|| quoted("none"), |rule| number(rule.grow));
            let _ = writeln!(text, "grow_{class} = {grow}");
        }
        text
    }
}

fn write_look(text: &mut String, what: &str, Look { preset, settings }: &Look) {
    let _ = writeln!(text, "\n[[look]]\nof = {}\npreset = {}", quoted(what), quoted(preset.as_str()));
    for pass in &settings.passes {
        let _ = writeln!(
            text,
            "[[look.pass]]\nmodel = {}\nclass = {}\nlong_side = [{}, {}]\nscore = {}\nkeep = {}\nmin_box = {}",
            quoted(&pass.model),
            quoted(&pass.class.to_string()),
            pass.long_side.0,
            pass.long_side.1,
            number(pass.score),
            number(pass.keep),
            number(pass.min_box)
        );
        let tile = pass.tile.map_or_else(|| quoted("none"), |(w, h)| format!("[{w}, {h}]"));
        let _ = writeln!(text, "tile = {tile}");
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::Number(x) => number(*x),
        Value::Time(t) => seconds(*t),
        Value::Word(word) => quoted(word),
        Value::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("[{}]", words.join(", "))
        }
        Value::Color(color) => quoted(&color.to_string()),
        Value::Switch(_) | Value::Whole(_) => value.to_string(),
    }
}

/// Nine digits after the point, of the shortest decimal number that stands for the same single-precision one: .2, not
/// .200000003.
fn number(x: f32) -> String {
    format!("{:.9}", x.to_string().parse::<f64>().unwrap_or(f64::from(x)))
}

fn seconds(t: Duration) -> String {
    format!("{}.{:09}", t.as_secs(), t.subsec_nanos())
}
