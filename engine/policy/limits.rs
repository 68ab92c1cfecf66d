//! The range of each number in a policy file. Weak settings are refused with the reason.

use std::time::Duration;

use super::{PolicyBuilder, PolicyError, Style};

fn weak<T>(what: String, why: &'static str) -> Result<T, PolicyError> {
    Err(PolicyError::Weak { what, why })
}

fn range<T>(what: String, why: &'static str) -> Result<T, PolicyError> {
    Err(PolicyError::Range { what, why })
}

pub(super) fn cells(n: i64) -> Result<u8, PolicyError> {
    match u8::try_from(n) {
        Ok(n @ Style::MIN_CELLS..=Style::MAX_CELLS) => Ok(n),
        _ if n < Style::MIN_CELLS.into() => range(
            format!("cells = {n}"),
            "fewer than 2 cells are one colour; use the style \"fill\", or 2 to 6, which hide nothing from a program",
        ),
        _ => weak(
            format!("cells = {n}"),
            "so fine a mosaic hides nothing from people either; use the style \"fill\", or 2 to 6, which hide nothing from a \
             program",
        ),
    }
}

pub(super) fn min_score(x: f32) -> Result<f32, PolicyError> {
    // Each range is written so that NaN fails.
    if x > 0.6 {
        weak(
            format!("min_score = {x}"),
            "people that the detector is less sure of would stay visible; use 0.6 or less",
        )
    } else if x > 0.0 {
        Ok(x)
    } else {
        range(format!("min_score = {x}"), "use more than 0, at most 0.6")
    }
}

pub(super) fn grow(x: f32) -> Result<f32, PolicyError> {
    if x < PolicyBuilder::MIN_GROW {
        weak(
            format!("grow = {x}"),
            "detectors draw boxes tightly, so hair, chin and the frames' small errors would show; use 1.1 to 10",
        )
    } else if x <= 10.0 {
        Ok(x)
    } else {
        range(format!("grow = {x}"), "use 1.1 to 10")
    }
}

pub(super) fn speed(x: f32) -> Result<f32, PolicyError> {
    if x > 0.0 && x <= 100.0 { Ok(x) } else { range(format!("speed = {x}"), "use more than 0, at most 100") }
}

pub(super) fn detect_every(n: i64) -> Result<u32, PolicyError> {
    match u32::try_from(n) {
        Ok(n @ 1..=30) => Ok(n),
        _ if n < 1 => range(format!("detect_every = {n}"), "use 1 (every frame) to 30"),
        _ => weak(
            format!("detect_every = {n}"),
            "somebody could come and go between two looks; use 1 (every frame) to 30",
        ),
    }
}

pub(super) fn threads(n: i64) -> Result<u32, PolicyError> {
    match u32::try_from(n) {
        Ok(n @ 1..=256) => Ok(n),
        _ => range(format!("threads = {n}"), "use 1 to 256, or leave it out for one per core"),
    }
}

/// The times, by the name of their key.
pub(super) fn time(name: &str, t: Duration) -> Result<Duration, PolicyError> {
    let what = || format!("{name} = {t:?}");
    match name {
        "hold" | "look_ahead" if t > Duration::from_secs(10) => range(what(), "use at most 10 s"),
        "hold" | "look_ahead" => Ok(t),
        "self_test" if !(1..=3600).contains(&t.as_secs()) || t > Duration::from_secs(3600) => {
            range(what(), "use 1 s to 3600 s, or \"off\"")
        }
        _ if t.is_zero() => range(what(), "use more than 0"),
        "deadline" if t > Duration::from_secs(60) => range(what(), "use at most 60 s"),
        "max_gap" | "max_exposure" if t > Duration::from_secs(10) => {
            weak(what(), "somebody could be seen for as long; use at most 10 s")
        }
        _ => Ok(t),
    }
}
