//! Every key of the policy file: type, default, meaning, and which change of it protects more.

use std::fmt;

/// Which change of a key's value makes the protection stronger. Values are compared after defaults were filled in.
///
/// A later lock lets anybody strengthen a policy and only its owner weaken it, so each key must know its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Direction {
    /// A larger value protects at least as much.
    StrongerWhenLarger,
    /// A smaller value protects at least as much.
    StrongerWhenSmaller,
    /// `true` protects more than `false`.
    StrongerWhenTrue,
    /// `false` protects more than `true`.
    StrongerWhenFalse,
    /// A shorter list protects at least as much.
    StrongerWhenShorter,
    /// The values by strength, weakest first.
    Ordered(&'static [&'static str]),
    /// Styles: `off`, then `blur` and `pixelate` alike (of these, fewer cells are stronger), then `fill`.
    Style,
    /// Stronger when more of the picture is hidden, compared sample by sample.
    Cover,
    /// Entries may be added; taking one away weakens.
    AddOnly,
    /// Neither way is stronger: only the owner may change it.
    Frozen,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::StrongerWhenLarger => "larger",
            Direction::StrongerWhenSmaller => "smaller",
            Direction::StrongerWhenTrue => "true",
            Direction::StrongerWhenFalse => "false",
            Direction::StrongerWhenShorter => "shorter",
            Direction::Ordered(values) => return f.write_str(&values.join(" < ")),
            Direction::Style => "off < blur, pixelate < fill",
            Direction::Cover => "hides more",
            Direction::AddOnly => "added to",
            Direction::Frozen => "(neither)",
        })
    }
}

/// One key of the policy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name; keys of a zone are written `zone.NAME`.
    pub name: &'static str,
    /// What may be written, in words.
    pub kind: &'static str,
    /// What holds when the key is absent: a TOML value, or words where it is no constant.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Which change protects more.
    pub direction: Direction,
}

impl Key {
    /// The name as written in its table.
    pub fn short(&self) -> &'static str {
        self.name.strip_prefix(ZONE).unwrap_or(self.name)
    }
    /// Whether it belongs into a `[[zone]]` table.
    pub fn in_zone(&self) -> bool {
        self.name.starts_with(ZONE)
    }
}

pub(super) const ZONE: &str = "zone.";

/// The policy file as a JSON schema (draft 2020-12), for editors and other programs.
pub const SCHEMA: &str = include_str!("schema.json");

const fn key(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    direction: Direction,
    meaning: &'static str,
) -> Key {
    Key { name, kind, default, meaning, direction }
}

const STYLE_OR_OFF: &str = "\"fill\", \"pixelate\", \"blur\" or \"off\"";
const CELLS: &str = "a whole number from 2 to 6";
const COLOR: &str = "a colour, \"#rrggbb\"";
const TEN_SECONDS: &str = "a time of at most 10 s, such as \"1s\", \"800ms\" or a number of seconds";
const SWITCH: &str = "true or false";

/// Every key of the policy file, in the order of the documentation.
pub const KEYS: &[Key] = &[
    key(
        "preset",
        "\"fast\", \"balanced\" or \"careful\"",
        "\"careful\" on stills, else \"balanced\"",
        Direction::Ordered(&["fast", "balanced", "careful"]),
        "how hard to look: models, input sizes, thresholds",
    ),
    key(
        "faces",
        STYLE_OR_OFF,
        "\"fill\"",
        Direction::Style,
        "how faces are hidden; pixelate and blur are cosmetic and hide nothing from a program",
    ),
    key(
        "persons",
        STYLE_OR_OFF,
        "\"off\"",
        Direction::Style,
        "how whole persons are hidden; pixelate and blur are cosmetic and hide nothing from a program",
    ),
    key(
        "reversible",
        SWITCH,
        "true",
        Direction::StrongerWhenFalse,
        "false: pixelate and blur, which hide nothing from a program, are refused for faces, persons and zones",
    ),
    key(
        "shape",
        "\"box\" or \"padded\"",
        "\"box\"",
        Direction::Ordered(&["box", "padded"]),
        "the region hidden for what was found; padded also blurs place and size, by which people can be told apart, \
         and takes about six times the area",
    ),
    key("color", COLOR, "\"#000000\"", Direction::Frozen, "the colour of fill and of obscured frames"),
    key(
        "cells",
        CELLS,
        "4",
        Direction::StrongerWhenSmaller,
        "the most cells that pixelate and blur leave along the longer side",
    ),
    key(
        "min_score",
        "a number above 0, at most 0.6",
        "the preset's own",
        Direction::StrongerWhenSmaller,
        "how sure a detector must be of a face for it to be hidden",
    ),
    key(
        "grow",
        "a number from 1.1 to 10",
        "the preset's own",
        Direction::StrongerWhenLarger,
        "how many times its size a detected box is hidden",
    ),
    key(
        "hold",
        TEN_SECONDS,
        "\"1s\"",
        Direction::StrongerWhenLarger,
        "how long something stays hidden after it was last detected; in clips also before it was first",
    ),
    key(
        "speed",
        "a number above 0, at most 100",
        "4.0",
        Direction::StrongerWhenLarger,
        "fastest motion covered for a face that only one of two detections saw, in box widths per second",
    ),
    key(
        "motion_cover",
        SWITCH,
        "true with the preset careful and with tiles, else false",
        Direction::StrongerWhenTrue,
        "cover what changed since a detector last looked at it, until it has been examined",
    ),
    key(
        "tiles",
        SWITCH,
        "false",
        Direction::Frozen,
        "look for faces at one part of each picture at full resolution, in turn, what moved first; needs motion_cover",
    ),
    key(
        "detect_every",
        "a whole number from 1 to 30",
        "the preset's own",
        Direction::StrongerWhenSmaller,
        "clips: every how many frames the detector looks",
    ),
    key("backend", "\"auto\", \"ort\" or \"rten\"", "\"auto\"", Direction::Frozen, "what runs the models"),
    key(
        "threads",
        "a whole number from 1 to 256",
        "one per core",
        Direction::Frozen,
        "the most threads at work",
    ),
    key(
        "look_ahead",
        TEN_SECONDS,
        "\"0s\"",
        Direction::StrongerWhenLarger,
        "live: how far past a frame detection must have come before it leaves; delays the picture (clips use hold)",
    ),
    key(
        "deadline",
        "a time above 0, at most 60 s, such as \"1s\", \"800ms\" or a number of seconds",
        "none",
        Direction::Frozen,
        "live: the age at which a frame that is not covered is given up",
    ),
    key(
        "on_deadline",
        "\"obscure\" or \"drop\"",
        "\"obscure\"",
        Direction::Frozen,
        "live: what happens to it then",
    ),
    key(
        "max_gap",
        "a time above 0, at most 10 s, such as \"1s\", \"800ms\" or a number of seconds",
        "\"500ms\"",
        Direction::StrongerWhenSmaller,
        "live: longest time between two detections whose frames may leave: the worst-case exposure",
    ),
    key(
        "max_exposure",
        "a time above 0, at most 10 s, such as \"1s\", \"800ms\" or a number of seconds",
        "none",
        Direction::StrongerWhenSmaller,
        "live: a bound on max_gap; starting is refused when it cannot be kept",
    ),
    key(
        "ladder",
        "a list of presets, each weaker than the one before, such as [\"balanced\", \"fast\"]",
        "[]",
        Direction::StrongerWhenShorter,
        "live: weaker presets to fall back to when the detector is too slow, instead of obscuring",
    ),
    key(
        "self_test",
        "\"off\", or a time from 1 s to 3600 s, such as \"300s\"",
        "\"300s\"",
        Direction::Frozen,
        "live: how often a known person is shown to the detector; not found, everything is obscured",
    ),
    key("zone", "[[zone]] tables, at most 64", "[]", Direction::AddOnly, "areas hidden in every frame"),
    key(
        "zone.name",
        "1 to 64 printable characters",
        "required",
        Direction::Frozen,
        "the zone's name, used once",
    ),
    key(
        "zone.area",
        "a list of at least 3 corners [x, y], each coordinate from 0 to 1",
        "required",
        Direction::Cover,
        "the outline in the upright picture: [0, 0] is the left upper corner, [1, 1] the right lower one",
    ),
    key(
        "zone.style",
        "\"fill\", \"pixelate\" or \"blur\"",
        "\"fill\"",
        Direction::Style,
        "how the zone is hidden; pixelate and blur are cosmetic and hide nothing from a program",
    ),
    key("zone.color", COLOR, "the file's color", Direction::Frozen, "the colour of fill in this zone"),
    key(
        "zone.cells",
        CELLS,
        "the file's cells",
        Direction::StrongerWhenSmaller,
        "as cells, for this zone and those that touch it; no cell is smaller than 1/16 of the picture's longer side",
    ),
    key("zone.inverted", SWITCH, "false", Direction::Cover, "hide everything outside the area instead"),
    key("zone.enabled", SWITCH, "true", Direction::StrongerWhenTrue, "false: the zone hides nothing for now"),
];

pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name)
}

/// The candidate that a writer most likely meant, if any comes near.
pub(super) fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Long text is no slip of the pen, and the distance of two texts costs their product.
    if written.chars().count() > 32 {
        return None;
    }
    let written = written.to_lowercase().replace('-', "_");
    candidates
        .map(|c| (strsim::osa_distance(&written, c), c))
        .filter(|(d, c)| *d <= (c.chars().count() / 3).max(1))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}
