//! Whether one policy protects at least as much as another: anybody may strengthen a locked policy.
//!
//! Keys are compared by what they come to ([`Derived`]), and zones by what is drawn over each sample: nothing, a mosaic with
//! cells of some size, or one colour, whichever zones that comes from.

use std::cmp::Ordering;

use crate::class::Class;
use crate::picture::FrameFormat;
use crate::policy::keys::{
    Direction, GROW, Key, Kind, MIN_SCORE, PRESET, ZONE_AREA, ZONE_COLOR, ZONE_ENABLED, ZONES,
};
use crate::policy::{Color, Derived, Media, PolicyError, PolicyFile, Preset, Settings, Value, Zone};
use crate::redact::{Mask, rasterise};

/// Something that a changed policy would protect less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakening {
    /// The key, as in [`KEYS`](crate::policy::KEYS).
    pub key: &'static str,
    /// What was, what would be, and which way is allowed.
    pub what: String,
}

impl std::fmt::Display for Weakening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

impl PolicyFile {
    /// Everything in which `self` protects less than `base`; empty when it is at least as strong. Zones are compared by what
    /// is drawn in a picture of `format`, sample by sample: a larger cell is stronger, and one colour is strongest.
    ///
    /// # Errors
    /// One of the two is no acceptable policy.
    pub fn weakenings(&self, base: &PolicyFile, format: &FrameFormat) -> Result<Vec<Weakening>, PolicyError> {
        let mut all = self.weaker_keys(base, true)?;
        zones(base, self, format, &mut all)?;
        Ok(all)
    }

    /// The same for whoever looks at stills with the stronger preset of the two.
    pub(super) fn weakenings_but_of_stills(
        &self,
        base: &PolicyFile,
        format: &FrameFormat,
    ) -> Result<Vec<Weakening>, PolicyError> {
        let mut all = self.weaker_keys(base, false)?;
        zones(base, self, format, &mut all)?;
        Ok(all)
    }

    fn weaker_keys(&self, base: &PolicyFile, with_stills: bool) -> Result<Vec<Weakening>, PolicyError> {
        let mut all = Vec::new();
        let (was, is) = (base.derive()?, self.derive()?);
        for key in base.keys().iter().filter(|k| !k.in_zone() && k.direction != Direction::AddOnly) {
            let (before, after) = (was.value(key), is.value(key));
            let as_strong = match key.name {
                name if name == MIN_SCORE.name => scores_as_low(&was, &is),
                name if name == GROW.name => grown_as_much(&was, &is),
                _ => at_least(key, before.as_ref(), after.as_ref()),
            };
            if !as_strong {
                all.push(weakened(key, &was.shown(key), &is.shown(key)));
            } else if with_stills && *key == PRESET {
                let still = |of: &Derived| of.look(Media::Still).preset;
                if still(&is) < still(&was) {
                    let words = |of: &Derived| format!("{} on stills", still(of));
                    all.push(weakened(key, &words(&was), &words(&is)));
                }
            }
        }
        Ok(all)
    }
}

/// Whether no pass for faces asks for a higher score, with the policy's own preset and on each rung of its ladder that both
/// may fall back to. Scores that are left to the presets by both are judged with the presets, which have an order.
fn scores_as_low(was: &Derived, is: &Derived) -> bool {
    if was.file().number(&MIN_SCORE).is_none() && is.file().number(&MIN_SCORE).is_none() {
        return true;
    }
    let own = |of: &Derived| of.look(Media::Live).preset;
    let both = is.rungs().iter().map(|rung| rung.preset);
    let both = both.filter(|rung| was.rungs().iter().any(|r| r.preset == *rung));
    both.map(|rung| (rung, rung)).chain([(own(was), own(is))]).all(|(before, after)| {
        let (least, most) = (scores(was, before).0, scores(is, after).1);
        most <= least
    })
}

/// The least and the greatest score that passes for faces ask for with a preset.
fn scores(of: &Derived, preset: Preset) -> (f32, f32) {
    let settings = Settings::of(of.file(), preset, &[Class::Face]);
    settings.passes.iter().fold((f32::INFINITY, 0.0), |(a, b), pass| (pass.score.min(a), pass.score.max(b)))
}

/// Whether every class that was hidden is grown as much.
fn grown_as_much(was: &Derived, is: &Derived) -> bool {
    let grow = |of: &Derived, class| of.live.rule(class).map(|rule| rule.grow);
    was.classes().iter().all(|class| grow(was, *class) <= grow(is, *class) || grow(is, *class).is_none())
}

fn weakened(key: &Key, was: &str, is: &str) -> Weakening {
    let allowed = match key.direction {
        Direction::Frozen => "only the owner may change it".into(),
        _ => format!("stronger is {}", key.stronger()),
    };
    Weakening { key: key.name, what: format!("{is} instead of {was} ({allowed})") }
}

/// Whether `is` protects at least as much as `was`; `None`: no bound. What cannot be compared does not.
fn at_least(key: &Key, was: Option<&Value>, is: Option<&Value>) -> bool {
    let order = || match (is, was) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a.partial_cmp(b),
        (Some(Value::Whole(a)), Some(Value::Whole(b))) => Some(a.cmp(b)),
        (Some(Value::Time(a)), Some(Value::Time(b))) => Some(a.cmp(b)),
        // No bound is the longest time.
        (None, None) => Some(Ordering::Equal),
        (None, Some(Value::Time(_))) => Some(Ordering::Greater),
        (Some(Value::Time(_)), None) => Some(Ordering::Less),
        _ => None,
    };
    let ranks = |words: &[&str]| {
        let rank = |v: Option<&Value>| match v {
            Some(Value::Word(word)) => words.iter().position(|w| w == word),
            _ => None,
        };
        rank(is).zip(rank(was))
    };
    match key.direction {
        Direction::StrongerWhenLarger => order().is_some_and(|o| o.is_ge()),
        Direction::StrongerWhenSmaller => order().is_some_and(|o| o.is_le()),
        Direction::StrongerWhenTrue => is == was || is == Some(&Value::Switch(true)),
        Direction::StrongerWhenFalse => is == was || is == Some(&Value::Switch(false)),
        Direction::StrongerWhenShorter => match (was, is) {
            (Some(Value::Words(was)), Some(Value::Words(is))) => is.iter().all(|w| was.contains(w)),
            _ => false,
        },
        Direction::Ordered => match key.kind {
            Kind::Word(words) => ranks(words).is_some_and(|(is, was)| is >= was),
            _ => false,
        },
        // Blur and pixelate show as much.
        Direction::Style => ranks(&["off", "blur", "pixelate", "fill"])
            .is_some_and(|(is, was)| is >= was || (is, was) == (1, 2)),
        Direction::Frozen => is == was,
        // Zones, which are compared by what they hide.
        Direction::Cover | Direction::AddOnly => false,
    }
}

/// How much is left to see of each luma sample that no detector decides about: 0 where it is filled, [`NOTHING_HIDDEN`] where
/// no zone lies, else the cells along the picture's longer side.
fn weakness(masks: &[Mask], format: &FrameFormat) -> Vec<u8> {
    let plane = &format.planes()[0];
    let width = plane.width as usize;
    let mut map = vec![NOTHING_HIDDEN; width * plane.height as usize];
    for mask in masks {
        for (y, row) in (0..).zip(map.chunks_exact_mut(width)) {
            for &(from, to) in mask.runs(plane, y) {
                let samples = &mut row[from as usize..to as usize];
                samples.iter_mut().for_each(|v| *v = (*v).min(mask.weakness()));
            }
        }
    }
    map
}

const NOTHING_HIDDEN: u8 = u8::MAX;

/// Zones: each of the base's must still be there under its name and in its colour, and no sample may be hidden less.
fn zones(
    base: &PolicyFile,
    new: &PolicyFile,
    format: &FrameFormat,
    all: &mut Vec<Weakening>,
) -> Result<(), PolicyError> {
    let add = |all: &mut Vec<Weakening>, key: Key, what: String| all.push(Weakening { key: key.name, what });
    for was in &base.zones {
        let Some(is) = new.zones.iter().find(|z| z.name == was.name) else {
            add(all, ZONES, format!("{:?} is gone; zones may be added, never taken away", was.name));
            continue;
        };
        let color = |entry: Option<Color>, file: &PolicyFile| entry.unwrap_or(file.color());
        let (was_color, is_color) = (color(was.color, base), color(is.color, new));
        if was_color != is_color {
            let what =
                format!("{:?}: {is_color} instead of {was_color} (only the owner may change it)", was.name);
            add(all, ZONE_COLOR, what);
        }
        if was.enabled && !is.enabled {
            add(all, ZONE_ENABLED, format!("{:?}: false instead of true (stronger is true)", was.name));
        }
    }
    // The luma plane alone: chroma is rounded outward from it, so what hides more of it hides more of all.
    let enabled = |file: &PolicyFile| {
        let zones = file.zones.iter().filter(|z| z.enabled);
        zones.map(|z| Ok((z.name.clone(), z.zone(file)?))).collect::<Result<Vec<_>, PolicyError>>()
    };
    let (was, is) = (enabled(base)?, enabled(new)?);
    let only = |zones: &[(String, Zone)]| zones.iter().map(|(_, z)| z.clone()).collect::<Vec<_>>();
    let before = weakness(&rasterise(&only(&was), format), format);
    let after = weakness(&rasterise(&only(&is), format), format);
    if before.iter().zip(&after).all(|(before, after)| after <= before) {
        return Ok(());
    }
    // Which zone it was: the inverted ones make one mask together.
    let normal = was.iter().filter(|(_, z)| !z.is_inverted());
    let mut parts: Vec<(String, Vec<Zone>)> =
        normal.map(|(name, zone)| (format!("{name:?}"), vec![zone.clone()])).collect();
    let inverted: Vec<_> = was.iter().filter(|(_, z)| z.is_inverted()).map(|(_, z)| z.clone()).collect();
    if !inverted.is_empty() {
        parts.push(("what the inverted zones hide".into(), inverted));
    }
    for (name, zones) in parts {
        let of_part = weakness(&rasterise(&zones, format), format);
        let places = before.iter().zip(&after).zip(&of_part);
        let lost = places.filter(|((b, a), part)| **part < NOTHING_HIDDEN && a > b).count();
        if lost > 0 {
            let what = format!(
                "{name}: {lost} samples would be hidden less: not at all, or by smaller cells (it may be enlarged \
                 or hidden more strongly)"
            );
            add(all, ZONE_AREA, what);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::policy::keys::{FACES, KEYS, Range, SHAPE, key};

    #[test]
    fn every_key_is_as_strong_as_itself() {
        let default = PolicyFile::default().derive().unwrap();
        for key in KEYS.iter().filter(|k| !k.in_zone() && k.direction != Direction::AddOnly) {
            let value = default.value(key);
            assert!(
                value.is_some() || key.default.chars().all(|c| c != '"'),
                "{} comes to nothing",
                key.name
            );
            if ![GROW, MIN_SCORE].contains(key) {
                assert!(at_least(key, value.as_ref(), value.as_ref()), "{}", key.name);
            }
        }
    }

    #[test]
    fn what_is_unknown_is_weaker() {
        let number = Value::Number(1.0);
        for key in [MIN_SCORE, GROW] {
            assert!(!at_least(&key, Some(&number), None) && !at_least(&key, None, Some(&number)));
            assert!(!at_least(&key, Some(&number), Some(&Value::Number(f32::NAN))));
        }
        let word = Value::Word("box");
        assert!(
            !at_least(&SHAPE, Some(&word), None) && !at_least(&SHAPE, Some(&word), Some(&Value::Word("c")))
        );
        assert!(!at_least(&FACES, Some(&Value::Word("off")), None));
    }

    /// A key costs its entry in the table: it is read, refused, written, explained, described and compared by that alone.
    #[test]
    fn a_key_is_one_entry() {
        let range = Range::new(0.0, 5.0, "use at most 5").weak_beyond("more shows; use at most 5");
        let smoke =
            key("smoke", Kind::Whole(range), "2", Direction::StrongerWhenLarger, "how much smoke").flag("N");
        let table: &'static [Key] = KEYS.iter().copied().chain([smoke.at_start()]).collect::<Vec<_>>().leak();
        let read = |text: &str| PolicyFile::parse_by(table, text, "p");

        let (little, much) = (read("").unwrap(), read("smoke = 4").unwrap());
        assert!(much.to_toml().contains("smoke = 4"), "{}", much.to_toml());
        assert_eq!(read(&much.to_toml()).unwrap(), much);
        let refused = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(refused("smoke = 6"), "p:1:9: smoke = 6 is refused: more shows; use at most 5");
        assert_eq!(
            refused("smoke = true"),
            "p:1:9: smoke = true cannot be used; write a whole number from 0 to 5"
        );
        assert!(refused("smokes = 1").contains("did you mean \"smoke\"?"));
        let format = FrameFormat::new(crate::picture::PixelFormat::Nv12, 64, 64).unwrap();
        assert!(much.weakenings(&little, &format).unwrap().is_empty());
        assert_eq!(
            little.weakenings(&much, &format).unwrap()[0].to_string(),
            "smoke: 2 instead of 4 (stronger is larger)"
        );
        let (little, much) = (little.derive().unwrap(), much.derive().unwrap());
        assert_eq!(much.effective("smoke").as_deref(), Some("4"));
        assert_eq!(little.needs_loading(&much), Some("smoke"));
        assert!(much.canonical(None, false).contains("smoke = 4\n"));
        assert!(crate::policy::schema::schema(table).contains("\"smoke\""));
        assert!(crate::policy::schema::markdown(table).contains("| `smoke` |"));
        assert!(crate::policy::schema::dictionary(table).contains("\"smoke\""));
    }
}
