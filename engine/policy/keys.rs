//! The table of policy keys: everything that is known of a key stands in its one entry here.
//!
//! From it come the parser's errors, the JSON schema, `milkglass policy keys`, the command's flags and their help, the table in
//! docs/INTEGRATING.md, the fuzzer's dictionary, which way a locked policy may be changed, and what a running camera can take
//! over. What a key *does* is read where it is done, by its constant: `file.time(&HOLD)`.

use std::fmt;

use super::{PolicyError, Style};

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
    /// The words of the key's kind, weakest first.
    Ordered,
    /// Styles: `off`, then `blur` and `pixelate` alike (of these, fewer cells are stronger), then `fill`.
    Style,
    /// Stronger when more of the picture is hidden, compared sample by sample.
    Cover,
    /// Entries may be added; taking one away weakens.
    AddOnly,
    /// Neither way is stronger: only the owner may change it.
    Frozen,
}

/// What may be written for a key. Printed, it says so in words.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of such words.
    Words(&'static [&'static str]),
    /// `#rrggbb`.
    Color,
    /// A whole number.
    Whole(Range),
    /// A number.
    Number(Range),
    /// A time: seconds, or text such as `1s` or `800ms`.
    Time(Range),
    /// A time, or `off`.
    TimeOrOff(Range),
    /// The `[[zone]]` tables.
    Zones,
    /// A zone's name.
    Name,
    /// A zone's outline.
    Corners,
}

/// What numbers (for a time: seconds) are accepted, and what is said of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least.
    pub least: f64,
    /// The least itself is too little.
    pub above: bool,
    /// The most.
    pub most: f64,
    low: Refusal,
    high: Refusal,
}

/// Why a value is refused, and what to write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refusal {
    /// It makes no sense.
    Range(&'static str),
    /// It would not protect.
    Weak(&'static str),
}

impl Range {
    pub(crate) const fn new(least: f64, most: f64, why: &'static str) -> Range {
        Range { least, above: false, most, low: Refusal::Range(why), high: Refusal::Range(why) }
    }
    const fn above(mut self) -> Range {
        self.above = true;
        self
    }
    const fn weak_below(mut self, why: &'static str) -> Range {
        self.low = Refusal::Weak(why);
        self
    }
    pub(crate) const fn weak_beyond(mut self, why: &'static str) -> Range {
        self.high = Refusal::Weak(why);
        self
    }
    const fn low(mut self, why: &'static str) -> Range {
        self.low = Refusal::Range(why);
        self
    }

    /// Written so that what is no number is refused; `shown`: the value as it was written.
    pub(crate) fn check(&self, name: &str, value: f64, shown: &str) -> Result<(), PolicyError> {
        let enough = if self.above { value > self.least } else { value >= self.least };
        let refusal = match (enough, value <= self.most) {
            (true, true) => return Ok(()),
            (true, false) => self.high,
            (false, _) => self.low,
        };
        let what = format!("{name} = {shown}");
        Err(match refusal {
            Refusal::Range(why) => PolicyError::Range { what, why },
            Refusal::Weak(why) => PolicyError::Weak { what, why },
        })
    }
}

/// Which pictures a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Recorded clips.
    Clips,
    /// Live pictures.
    Live,
}

/// One key of the policy file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// The name; keys of a zone are written `zone.NAME`.
    pub name: &'static str,
    /// What may be written.
    pub kind: Kind,
    /// What holds when the key is absent: a TOML value, or words where it is no constant.
    pub default: &'static str,
    /// Which change protects more.
    pub direction: Direction,
    /// What it does.
    pub meaning: &'static str,
    /// Which pictures it is for.
    pub scope: Scope,
    /// The command has a flag for it (its name with hyphens), and calls the flag's value this.
    pub flag: Option<&'static str>,
    /// What the flag's help says besides.
    pub help: &'static str,
    /// It is read when the detectors are loaded, and cannot be changed while a camera runs.
    pub at_start: bool,
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

    /// Which change of its value protects more, in words.
    pub fn stronger(&self) -> String {
        let text = match (self.direction, self.kind) {
            (Direction::Ordered, Kind::Word(words)) => return words.join(" < "),
            (Direction::StrongerWhenLarger, _) => "larger",
            (Direction::StrongerWhenSmaller, _) => "smaller",
            (Direction::StrongerWhenTrue, _) => "true",
            (Direction::StrongerWhenFalse, _) => "false",
            (Direction::StrongerWhenShorter, _) => "shorter",
            (Direction::Style, _) => "off < blur, pixelate < fill",
            (Direction::Cover, _) => "hides more",
            (Direction::AddOnly, _) => "added to",
            (Direction::Frozen | Direction::Ordered, _) => "(neither)",
        };
        text.into()
    }

    pub(crate) const fn flag(mut self, value: &'static str) -> Key {
        self.flag = Some(value);
        self
    }
    const fn help(mut self, help: &'static str) -> Key {
        self.help = help;
        self
    }
    const fn only(mut self, scope: Scope) -> Key {
        self.scope = scope;
        self
    }
    pub(crate) const fn at_start(mut self) -> Key {
        self.at_start = true;
        self
    }
}

pub(crate) const ZONE: &str = "zone.";

pub(crate) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    direction: Direction,
    meaning: &'static str,
) -> Key {
    Key { name, kind, default, direction, meaning, scope: Scope::All, flag: None, help: "", at_start: false }
}

const STYLES: Kind = Kind::Word(&["fill", "pixelate", "blur", "off"]);
const CELLS_KIND: Kind = Kind::Whole(
    Range::new(
        Style::MIN_CELLS as f64,
        Style::MAX_CELLS as f64,
        "fewer than 2 cells are one colour; use the style \"fill\", or 2 to 6, which hide nothing from a program",
    )
    .weak_beyond(
        "so fine a mosaic hides nothing from people either; use the style \"fill\", or 2 to 6, which hide nothing from a program",
    ),
);
const TEN_SECONDS: Kind = Kind::Time(Range::new(0.0, 10.0, "use at most 10 s"));
const EXPOSURE: Kind = Kind::Time(
    Range::new(0.0, 10.0, "use more than 0")
        .above()
        .weak_beyond("somebody could be seen for as long; use at most 10 s"),
);

/// One constant for each key, and [`KEYS`] of all.
macro_rules! table {
    ($($name:ident = $key:expr;)+) => {
        $(pub(crate) const $name: Key = $key;)+
        /// Every key of the policy file, in the order of the documentation.
        pub const KEYS: &[Key] = &[$($name),+];
    };
}

table! {
    PRESET = key(
        "preset",
        Kind::Word(&["fast", "balanced", "careful"]),
        "\"careful\" on stills, else \"balanced\"",
        Direction::Ordered,
        "how hard to look: models, input sizes, thresholds",
    )
    .flag("PRESET")
    .at_start();
    FACES = key(
        "faces",
        STYLES,
        "\"fill\"",
        Direction::Style,
        "how faces are hidden; pixelate and blur are cosmetic and hide nothing from a program",
    )
    .flag("STYLE")
    .help(
        "Shares of five people's frames told apart: bare .84, 4 cells .82, 2 cells .77, blur .81; by chance .29; with fill .75 \
         by place and size, which --shape padded blurs too.",
    );
    PERSONS = key(
        "persons",
        STYLES,
        "\"off\"",
        Direction::Style,
        "how whole persons are hidden; pixelate and blur are cosmetic and hide nothing from a program",
    )
    .flag("STYLE");
    REVERSIBLE = key(
        "reversible",
        Kind::Switch,
        "true",
        Direction::StrongerWhenFalse,
        "false: pixelate and blur, which hide nothing from a program, are refused for faces, persons and zones",
    )
    .flag("BOOL");
    SHAPE = key(
        "shape",
        Kind::Word(&["box", "padded"]),
        "\"box\"",
        Direction::Ordered,
        "the region hidden for what was found; padded also blurs place and size, by which people can be told apart, \
         and takes about six times the area",
    )
    .flag("SHAPE");
    COLOR = key("color", Kind::Color, "\"#000000\"", Direction::Frozen, "the colour of fill and of obscured frames")
        .flag("#rrggbb");
    CELLS = key(
        "cells",
        CELLS_KIND,
        "4",
        Direction::StrongerWhenSmaller,
        "the most cells that pixelate and blur leave along the longer side",
    )
    .flag("N");
    MIN_SCORE = key(
        "min_score",
        Kind::Number(
            Range::new(0.0, 0.6, "use more than 0, at most 0.6")
                .above()
                .weak_beyond("people that the detector is less sure of would stay visible; use 0.6 or less"),
        ),
        "the preset's own",
        Direction::StrongerWhenSmaller,
        "how sure a detector must be of a face for it to be hidden",
    )
    .flag("SCORE")
    .at_start();
    GROW = key(
        "grow",
        Kind::Number(Range::new(1.1, 10.0, "use 1.1 to 10").weak_below(
            "detectors draw boxes tightly, so hair, chin and the frames' small errors would show; use 1.1 to 10",
        )),
        "the preset's own",
        Direction::StrongerWhenLarger,
        "how many times its size a detected box is hidden",
    )
    .flag("FACTOR");
    HOLD = key(
        "hold",
        TEN_SECONDS,
        "\"1s\"",
        Direction::StrongerWhenLarger,
        "how long something stays hidden after it was last detected; in clips also before it was first",
    )
    .flag("TIME");
    SPEED = key(
        "speed",
        Kind::Number(Range::new(0.0, 100.0, "use more than 0, at most 100").above()),
        "4.0",
        Direction::StrongerWhenLarger,
        "fastest motion covered for a face that only one of two detections saw, in box widths per second",
    );
    MOTION_COVER = key(
        "motion_cover",
        Kind::Switch,
        "true with the preset careful and with tiles, else false",
        Direction::StrongerWhenTrue,
        "cover what changed since a detector last looked at it, until it has been examined",
    )
    .flag("BOOL");
    TILES = key(
        "tiles",
        Kind::Switch,
        "false",
        Direction::Frozen,
        "look for faces at one part of each picture at full resolution, in turn, what moved first; needs motion_cover",
    )
    .flag("BOOL")
    .at_start();
    DETECT_EVERY = key(
        "detect_every",
        Kind::Whole(
            Range::new(1.0, 30.0, "use 1 (every frame) to 30")
                .weak_beyond("somebody could come and go between two looks; use 1 (every frame) to 30"),
        ),
        "the preset's own",
        Direction::StrongerWhenSmaller,
        "clips: every how many frames the detector looks",
    )
    .only(Scope::Clips)
    .flag("N")
    .help("A camera is looked at as often as the machine can.");
    BACKEND = key(
        "backend",
        Kind::Word(&["auto", "ort", "rten"]),
        "\"auto\"",
        Direction::Frozen,
        "what runs the models: ort is ONNX Runtime, rten pure Rust",
    )
    .flag("NAME")
    .at_start();
    THREADS = key(
        "threads",
        Kind::Whole(Range::new(1.0, 256.0, "use 1 to 256, or leave it out for one per core")),
        "one per core",
        Direction::Frozen,
        "the most threads at work",
    )
    .flag("N")
    .at_start();
    LOOK_AHEAD = key(
        "look_ahead",
        TEN_SECONDS,
        "\"0s\"",
        Direction::StrongerWhenLarger,
        "live: how far past a frame detection must have come before it leaves; delays the picture (clips use hold)",
    )
    .only(Scope::Live);
    DEADLINE = key(
        "deadline",
        Kind::Time(Range::new(0.0, 60.0, "use at most 60 s").above().low("use more than 0")),
        "none",
        Direction::Frozen,
        "live: the age at which a frame that is not covered is given up",
    )
    .only(Scope::Live)
    .flag("TIME");
    ON_DEADLINE = key(
        "on_deadline",
        Kind::Word(&["obscure", "drop"]),
        "\"obscure\"",
        Direction::Frozen,
        "live: what happens to it then",
    )
    .only(Scope::Live);
    MAX_GAP = key(
        "max_gap",
        EXPOSURE,
        "\"500ms\"",
        Direction::StrongerWhenSmaller,
        "live: longest time between two detections whose frames may leave: the worst-case exposure",
    )
    .only(Scope::Live)
    .flag("TIME");
    MAX_EXPOSURE = key(
        "max_exposure",
        EXPOSURE,
        "none",
        Direction::StrongerWhenSmaller,
        "live: a bound on max_gap; starting is refused when it cannot be kept",
    )
    .only(Scope::Live);
    LADDER = key(
        "ladder",
        Kind::Words(&["fast", "balanced", "careful"]),
        "[]",
        Direction::StrongerWhenShorter,
        "live: weaker presets to fall back to when the detector is too slow, instead of obscuring",
    )
    .only(Scope::Live)
    .at_start();
    SELF_TEST = key(
        "self_test",
        Kind::TimeOrOff(Range::new(1.0, 3600.0, "use 1 s to 3600 s, or \"off\"")),
        "\"300s\"",
        Direction::Frozen,
        "live: how often a known person is shown to the detector; not found, everything is obscured",
    )
    .only(Scope::Live)
    .flag("TIME");
    ZONES = key("zone", Kind::Zones, "[]", Direction::AddOnly, "areas hidden in every frame");
    ZONE_NAME = key("zone.name", Kind::Name, "required", Direction::Frozen, "the zone's name, used once");
    ZONE_AREA = key(
        "zone.area",
        Kind::Corners,
        "required",
        Direction::Cover,
        "the outline in the upright picture: [0, 0] is the left upper corner, [1, 1] the right lower one",
    );
    ZONE_STYLE = key(
        "zone.style",
        Kind::Word(&["fill", "pixelate", "blur"]),
        "\"fill\"",
        Direction::Style,
        "how the zone is hidden; pixelate and blur are cosmetic and hide nothing from a program",
    );
    ZONE_COLOR = key("zone.color", Kind::Color, "the file's color", Direction::Frozen, "the colour of fill in this zone");
    ZONE_CELLS = key(
        "zone.cells",
        CELLS_KIND,
        "the file's cells",
        Direction::StrongerWhenSmaller,
        "as cells, for this zone and those that touch it; no cell is smaller than 1/16 of the picture's longer side",
    );
    ZONE_INVERTED = key("zone.inverted", Kind::Switch, "false", Direction::Cover, "hide everything outside the area instead");
    ZONE_ENABLED = key(
        "zone.enabled",
        Kind::Switch,
        "true",
        Direction::StrongerWhenTrue,
        "false: the zone hides nothing for now",
    );
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = |f: &mut fmt::Formatter<'_>, what: &str, r: &Range| match (r.above, r.least) {
            (true, least) => write!(f, "a{what} above {least}, at most {}", r.most),
            (false, least) => write!(f, "a{what} from {least} to {}", r.most),
        };
        let time = |f: &mut fmt::Formatter<'_>, r: &Range| match (r.above, r.least) {
            (true, least) => write!(f, "a time above {least}, at most {} s", r.most),
            (false, 0.0) => write!(f, "a time of at most {} s", r.most),
            (false, least) => write!(f, "a time from {least} s to {} s", r.most),
        };
        match self {
            Kind::Switch => f.write_str("true or false"),
            Kind::Word(words) => {
                let quoted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
                match quoted.split_last() {
                    Some((last, [])) => f.write_str(last),
                    Some((last, first)) => write!(f, "{} or {last}", first.join(", ")),
                    None => Ok(()),
                }
            }
            Kind::Words(_) => f.write_str(
                "a list of presets, each weaker than the one before, such as [\"balanced\", \"fast\"]",
            ),
            Kind::Color => f.write_str("a colour, \"#rrggbb\""),
            Kind::Whole(r) => between(f, " whole number", r),
            Kind::Number(r) => between(f, " number", r),
            Kind::Time(r) => {
                time(f, r).and_then(|()| f.write_str(", such as \"1s\", \"800ms\" or a number of seconds"))
            }
            Kind::TimeOrOff(r) => {
                f.write_str("\"off\", or ")?;
                time(f, r)?;
                f.write_str(", such as \"300s\"")
            }
            Kind::Zones => write!(f, "[[zone]] tables, at most {}", super::PolicyFile::MAX_ZONES),
            Kind::Name => f.write_str("1 to 64 printable characters"),
            Kind::Corners => f.write_str("a list of at least 3 corners [x, y], each coordinate from 0 to 1"),
        }
    }
}

/// The candidate that a writer most likely meant, if any comes near.
pub(crate) fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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
