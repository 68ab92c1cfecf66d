//! Whether one policy protects at least as much as another: anybody may strengthen a locked policy.
//!
//! Keys are compared by what they come to ([`Derived`]), and zones by what is drawn over each sample: nothing, a mosaic with
//! cells of some size, or one colour, whichever zones that comes from.

use std::time::Duration;

use super::keys::find;
use super::{Color, Derived, Direction, KEYS, Key, OnDeadline, PolicyError, PolicyFile, RegionShape, Zone};
use crate::detect::{Class, Settings};
use crate::frame::FrameFormat;
use crate::redact::{Mask, rasterise};

/// Something that a changed policy would protect less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakening {
    /// The key, as in [`KEYS`](super::KEYS).
    pub key: &'static str,
    /// What was, what would be, and which way is allowed.
    pub what: String,
}

impl std::fmt::Display for Weakening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// What a key comes to once defaults were filled in.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Switch(bool),
    /// A time; `None` for a key that sets no bound.
    Time(Option<Duration>),
    Word(&'static str),
    Words(Vec<&'static str>),
    Color(Color),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Most were written in half the digits.
            Value::Number(n) if f64::from(*n as f32) == *n => write!(f, "{}", *n as f32),
            Value::Number(n) => write!(f, "{n}"),
            Value::Switch(b) => write!(f, "{b}"),
            Value::Time(Some(Duration::ZERO)) => f.write_str("0s"),
            Value::Time(Some(t)) => write!(f, "{t:?}"),
            Value::Time(None) => f.write_str("none"),
            Value::Word(w) => f.write_str(w),
            Value::Words(w) => write!(f, "[{}]", w.join(", ")),
            Value::Color(c) => write!(f, "{c}"),
        }
    }
}

/// Which of two policies a value belongs to: a preset stands for several scores, of which the one that proves least counts.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Base,
    New,
}

impl PolicyFile {
    /// Everything in which `self` protects less than `base`; empty when it is at least as strong. Zones are compared by what
    /// is drawn in a picture of `format`, sample by sample: a larger cell is stronger, and one colour is strongest.
    ///
    /// # Errors
    /// One of the two is no acceptable policy.
    pub fn weakenings(&self, base: &PolicyFile, format: &FrameFormat) -> Result<Vec<Weakening>, PolicyError> {
        let mut all = Vec::new();
        let (was_all, is_all) = (base.derive()?, self.derive()?);
        let plain = KEYS.iter().filter(|k| !k.in_zone() && k.direction != Direction::AddOnly);
        for key in plain {
            let (was, is) = (value(&was_all, key.name, Side::Base), value(&is_all, key.name, Side::New));
            let as_strong = match key.name {
                "min_score" => scores_as_low(&was_all, &is_all),
                "grow" => grown_as_much(&was_all, &is_all),
                _ => at_least(key.direction, was.as_ref(), is.as_ref()),
            };
            if !as_strong {
                all.push(weakened(key, was.as_ref(), is.as_ref()));
            }
        }
        zones(base, self, format, &mut all)?;
        Ok(all)
    }

    /// What a key outside of zones comes to, defaults filled in and keys that imply it worked out, for people to read; `None`
    /// for an unknown key, and for a policy that cannot be accepted.
    pub fn effective(&self, key: &str) -> Option<String> {
        let own = match key {
            "min_score" => self.min_score.is_none(),
            "grow" => self.grow.is_none(),
            _ => false,
        };
        match own {
            true => Some("the preset's own".into()),
            false => value(&self.derive().ok()?, key, Side::Base).map(|v| v.to_string()),
        }
    }
}

/// Whether no pass for faces asks for a higher score, with the policy's own preset and on each rung of its ladder that both
/// may fall back to. Scores that are left to the presets by both are judged with the presets, which have an order.
fn scores_as_low(was: &Derived, is: &Derived) -> bool {
    if was.file.min_score.is_none() && is.file.min_score.is_none() {
        return true;
    }
    let rungs =
        is.file.ladder.iter().flatten().filter(|rung| was.file.ladder.iter().flatten().any(|r| r == *rung));
    let own = |of: &Derived| of.file.preset.unwrap_or_default();
    rungs.map(|rung| (*rung, *rung)).chain([(own(was), own(is))]).all(|(before, after)| {
        let (least, most) = (scores(was, before).0, scores(is, after).1);
        most <= least
    })
}

/// The least and the greatest score that passes for faces ask for with a preset.
fn scores(of: &Derived, preset: super::Preset) -> (f32, f32) {
    let settings = Settings::of(&of.file, preset, &[Class::Face]);
    settings.passes.iter().fold((f32::INFINITY, 0.0), |(a, b), pass| (pass.score.min(a), pass.score.max(b)))
}

/// Whether every class that was hidden is grown as much.
fn grown_as_much(was: &Derived, is: &Derived) -> bool {
    let grow = |of: &Derived, class| of.still.policy.rule(class).map(|rule| rule.grow);
    was.classes().iter().all(|class| grow(was, *class) <= grow(is, *class) || grow(is, *class).is_none())
}

fn weakened(key: &'static Key, was: Option<&Value>, is: Option<&Value>) -> Weakening {
    let show = |v: Option<&Value>| v.map_or_else(|| "unknown".into(), Value::to_string);
    let allowed = match key.direction {
        Direction::Frozen => "only the owner may change it".into(),
        direction => format!("stronger is {direction}"),
    };
    Weakening { key: key.name, what: format!("{} instead of {} ({allowed})", show(is), show(was)) }
}

/// Whether `is` protects at least as much as `was`. What cannot be compared does not.
fn at_least(direction: Direction, was: Option<&Value>, is: Option<&Value>) -> bool {
    let (Some(was), Some(is)) = (was, is) else { return false };
    let order = |a: &Value, b: &Value| match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
        // No bound is the longest time.
        (Value::Time(a), Value::Time(b)) => Some(a.unwrap_or(Duration::MAX).cmp(&b.unwrap_or(Duration::MAX))),
        _ => None,
    };
    match direction {
        Direction::StrongerWhenLarger => order(is, was).is_some_and(|o| o.is_ge()),
        Direction::StrongerWhenSmaller => order(is, was).is_some_and(|o| o.is_le()),
        Direction::StrongerWhenTrue => is == was || *is == Value::Switch(true),
        Direction::StrongerWhenFalse => is == was || *is == Value::Switch(false),
        Direction::StrongerWhenShorter => match (was, is) {
            (Value::Words(was), Value::Words(is)) => is.iter().all(|w| was.contains(w)),
            _ => false,
        },
        Direction::Ordered(words) => {
            let rank = |v: &Value| words.iter().position(|w| *v == Value::Word(w));
            rank(is).zip(rank(was)).is_some_and(|(is, was)| is >= was)
        }
        Direction::Style => {
            let rank = |v: &Value| match v {
                Value::Word("off") => Some(0),
                Value::Word("blur" | "pixelate") => Some(1),
                Value::Word("fill") => Some(2),
                _ => None,
            };
            rank(is).zip(rank(was)).is_some_and(|(is, was)| is >= was)
        }
        Direction::Frozen => is == was,
        // Zones, which are compared by what they hide.
        Direction::Cover | Direction::AddOnly => false,
    }
}

/// What a key comes to. Every key outside of zones has a line here; one that is forgotten counts as weakened.
fn value(of: &Derived, key: &str, side: Side) -> Option<Value> {
    let file = &of.file;
    let preset = file.preset.unwrap_or_default();
    let live = &of.live.policy;
    let time = |t: Duration| Value::Time(Some(t));
    Some(match key {
        "preset" => Value::Word(preset.as_str()),
        "faces" => Value::Word(file.style(Class::Face).as_str()),
        "persons" => Value::Word(file.style(Class::Person).as_str()),
        "reversible" => Value::Switch(live.reversible),
        "shape" => Value::Word(match live.shape {
            RegionShape::Box => "box",
            RegionShape::Padded => "padded",
        }),
        "color" => Value::Color(live.obscure_color),
        "cells" => Value::Number(f64::from(file.cells.unwrap_or(super::zone_entry::DEFAULT_CELLS))),
        "min_score" => {
            let (least, most) = scores(of, preset);
            Value::Number(f64::from(if side == Side::Base { least } else { most }))
        }
        "grow" => {
            let (face, person) = (of.settings().face_grow, of.settings().person_grow);
            let own = if side == Side::Base { face.max(person) } else { face.min(person) };
            Value::Number(f64::from(file.grow.unwrap_or(own)))
        }
        "hold" => time(live.hold),
        "speed" => Value::Number(f64::from(live.speed)),
        "motion_cover" => Value::Switch(live.motion_cover),
        "tiles" => Value::Switch(file.tiles.unwrap_or(false)),
        "detect_every" => Value::Number(f64::from(of.detect_every())),
        "backend" => Value::Word(file.backend.unwrap_or_default().as_str()),
        "threads" => file.threads.map_or(Value::Word("all"), |n| Value::Number(f64::from(n))),
        "look_ahead" => time(live.look_ahead),
        "deadline" => Value::Time(live.deadline),
        "on_deadline" => Value::Word(match live.on_deadline {
            OnDeadline::Obscure => "obscure",
            OnDeadline::Drop => "drop",
        }),
        "max_gap" => time(live.max_gap),
        "max_exposure" => Value::Time(file.max_exposure),
        "ladder" => Value::Words(of.rungs().iter().map(|(rung, _)| rung.as_str()).collect()),
        "self_test" => Value::Time(live.self_test),
        _ => return None,
    })
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
    let add = |all: &mut Vec<Weakening>, key: &str, what: String| {
        all.extend(find(key).map(|key| Weakening { key: key.name, what }));
    };
    for was in &base.zones {
        let Some(is) = new.zones.iter().find(|z| z.name == was.name) else {
            add(all, "zone", format!("{:?} is gone; zones may be added, never taken away", was.name));
            continue;
        };
        let color = |entry: Option<Color>, file: &PolicyFile| entry.or(file.color).unwrap_or(Color::BLACK);
        let (was_color, is_color) = (color(was.color, base), color(is.color, new));
        if was_color != is_color {
            let what =
                format!("{:?}: {is_color} instead of {was_color} (only the owner may change it)", was.name);
            add(all, "zone.color", what);
        }
        if was.enabled && !is.enabled {
            add(all, "zone.enabled", format!("{:?}: false instead of true (stronger is true)", was.name));
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
            add(all, "zone.area", what);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_key_can_be_compared() {
        for key in KEYS.iter().filter(|k| !k.in_zone() && k.direction != Direction::AddOnly) {
            for side in [Side::Base, Side::New] {
                let default = value(&PolicyFile::default().derive().unwrap(), key.name, side);
                assert!(default.is_some(), "{} would count as weakened whatever it is", key.name);
                assert!(at_least(key.direction, default.as_ref(), default.as_ref()), "{}", key.name);
            }
        }
    }

    /// As files and `milkglass policy keys` write it.
    #[test]
    fn no_time_is_shown_in_seconds() {
        assert_eq!(PolicyFile::default().effective("look_ahead").as_deref(), Some("0s"));
    }

    #[test]
    fn what_is_unknown_is_weaker() {
        let known = Value::Number(1.0);
        for direction in [Direction::Frozen, Direction::StrongerWhenLarger, Direction::Style] {
            assert!(!at_least(direction, Some(&known), None));
            assert!(!at_least(direction, None, Some(&known)));
        }
        assert!(!at_least(Direction::Ordered(&["a", "b"]), Some(&Value::Word("a")), Some(&Value::Word("c"))));
        assert!(!at_least(Direction::StrongerWhenLarger, Some(&known), Some(&Value::Number(f64::NAN))));
    }
}
