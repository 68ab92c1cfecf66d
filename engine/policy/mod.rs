//! What to hide, how, and for how long: checked once, before the first frame.

#[cfg(feature = "config")]
mod canonical;
#[cfg(feature = "config")]
mod derived;
#[cfg(feature = "config")]
mod file;
#[cfg(feature = "config")]
pub(crate) mod keys;
#[cfg(feature = "config")]
pub(crate) mod schema;
#[cfg(feature = "config")]
mod settings;
#[cfg(feature = "config")]
mod value;
mod zone;
#[cfg(feature = "config")]
mod zone_entry;

use std::fmt;
use std::time::Duration;

#[cfg(feature = "config")]
pub use derived::{Derived, Look, Media};
#[cfg(feature = "config")]
pub use file::PolicyFile;
#[cfg(feature = "config")]
pub use keys::{Direction, KEYS, Key, Kind, Range, Scope};
#[cfg(feature = "config")]
pub use schema::{policy_dictionary, policy_schema, policy_table};
#[cfg(all(test, feature = "models"))]
pub(crate) use settings::TILE;
#[cfg(feature = "config")]
pub use settings::{Pass, Settings};
#[cfg(feature = "config")]
pub use value::{BackendChoice, Preset, StyleName, Value};
#[cfg(any(feature = "config", feature = "evidence"))]
pub use zone::canonical_zones;
pub use zone::{Polygon, Zone};
#[cfg(feature = "config")]
pub use zone_entry::ZoneEntry;

use crate::class::Class;

/// An opaque colour, as 8-bit R'G'B'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Color {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
}

impl Color {
    /// Black, the default of `Fill`.
    pub const BLACK: Color = Color { r: 0, g: 0, b: 0 };

    /// From `#rrggbb`.
    pub fn from_hex(text: &str) -> Option<Color> {
        let hex = text.strip_prefix('#')?;
        if hex.len() != 6 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let [_, r, g, b] = u32::from_str_radix(hex, 16).ok()?.to_be_bytes();
        Some(Color { r, g, b })
    }
}

/// As `#rrggbb`.
impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.r, self.g, self.b)
    }
}

/// How something is hidden.
///
/// What each does *not* protect against: `Fill` keeps place and size, by which a program told five people apart
/// ([`RegionShape::Padded`] blurs those too). `Pixelate` and `Blur` are cosmetic: they hide nothing from a program, which
/// told the same people apart by them as well as by their faces (docs/THREAT-MODEL.md has the figures).
/// [`PolicyBuilder::reversible`] forbids both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Style {
    /// One colour. Keeps nothing.
    Fill(Color),
    /// Cosmetic: a mosaic of `cells` (2 to 6) squares along the longer side. Hides nothing from a program.
    Pixelate {
        /// The most cells along the longer side of the hidden region. Zones that touch count as one, and their cells are
        /// those of a lattice of the whole picture: its longer side halved up to four times, so never less than 1/16 of it.
        cells: u8,
    },
    /// Cosmetic: a smooth picture drawn from the cells that `Pixelate` would show. Hides nothing from a program.
    Blur {
        /// The most cells along the longer side of the hidden region; as for `Pixelate`.
        cells: u8,
    },
}

impl Default for Style {
    fn default() -> Self {
        Style::Fill(Color::BLACK)
    }
}

impl Style {
    /// The fewest cells that still make a mosaic.
    pub const MIN_CELLS: u8 = 2;
    /// The most cells that a mosaic may have (see [`Style`]).
    pub const MAX_CELLS: u8 = 6;

    /// How much is left to see in a region of a given size: 0 for nothing, else the cells along its longer side. Where
    /// regions of different sizes overlap, the larger cells win.
    pub fn weakness(&self) -> u8 {
        self.cells().unwrap_or(0)
    }

    /// Cells along the longer side, of a style that keeps some.
    pub(crate) fn cells(&self) -> Option<u8> {
        match *self {
            Style::Fill(_) => None,
            Style::Pixelate { cells } | Style::Blur { cells } => Some(cells),
        }
    }

    /// Whether it looks hidden to people alone: a program can tell who is behind it.
    pub fn is_cosmetic(&self) -> bool {
        match self {
            Style::Fill(_) => false,
            Style::Pixelate { .. } | Style::Blur { .. } => true,
        }
    }

    /// `name`: `what`, as it stands in a policy file.
    fn check(self, what: &str, name: &str, reversible: bool) -> Result<Style, PolicyError> {
        if self.is_cosmetic() && !reversible {
            return Err(forbidden(name));
        }
        match self {
            Style::Pixelate { cells } | Style::Blur { cells }
                if !(Self::MIN_CELLS..=Self::MAX_CELLS).contains(&cells) =>
            {
                Err(PolicyError::Weak {
                    what: format!("cells = {cells} for {what}"),
                    why: "fewer than 2 cells are one colour, and more than 6 hide nothing from people either; use `fill`, \
                          or 2 to 6, which hide nothing from a program",
                })
            }
            style => Ok(style),
        }
    }
}

/// A cosmetic style where the policy says `reversible = false`; `what`: the setting that asks for it.
fn forbidden(what: &str) -> PolicyError {
    PolicyError::Weak {
        what: what.into(),
        why: "reversible = false forbids pixelate and blur, because they hide nothing from a program; use fill",
    }
}

/// Which region is hidden for a face or person that was found. Zones are hidden as they were drawn. This list is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegionShape {
    /// The box itself, grown. Its size and height tell people apart at one place.
    #[default]
    Box,
    /// All of the box and at least as much again: sides are rounded up to steps, and what they have room for is shared out
    /// to both sides, as drawn anew for each track. Hides about six times the area.
    Padded,
}

/// What happens to a frame whose deadline passes before detection has covered it. There is no third way, on purpose:
/// this list is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadline {
    /// A picture made without reading the pixels takes its place.
    #[default]
    Obscure,
    /// The frame is discarded.
    Drop,
}

/// A policy that cannot be accepted: what, why, what to do. Raised before the first frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Nothing would be hidden.
    #[error(
        "the policy hides nothing: name at least one of faces, persons or a zone (a passthrough does not exist)"
    )]
    HidesNothing,
    /// A setting that would not protect.
    #[error("{what} is refused: {why}")]
    Weak {
        /// The setting.
        what: String,
        /// Why it is refused, and what to use.
        why: &'static str,
    },
    /// A value that makes no sense.
    #[error("{what} is out of range: {why}")]
    Range {
        /// The setting.
        what: String,
        /// The range.
        why: &'static str,
    },
    /// A zone that is no area.
    #[error("zone {zone:?}: {why}")]
    Zone {
        /// The zone's name.
        zone: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// Corners that enclose no area, of a zone whose name is not known yet: what is wrong and what to do.
    #[error("{0}")]
    Area(String),
    /// The detector looks at a part of each picture, and nothing covers what moves elsewhere.
    #[error(
        "tiles without motion cover are refused: whoever comes into a tile that is not looked at would be seen; \
         set motion_cover = true"
    )]
    PartsUncovered,
    /// A class that no detector offers.
    #[error("the policy hides {0}s, but no loaded model finds {0}s: load one that does, or turn {0}s off")]
    NoDetector(Class),
    /// What cannot be changed while a camera runs.
    #[error("{0} is read at the start alone: start anew to change it")]
    AtStart(&'static str),
    /// A policy file that cannot be read, or has something in it that means nothing.
    #[error("{0}")]
    File(String),
    /// The owner has locked the policy, and this would weaken it; or the lock is not what it should be.
    #[error("the owner's lock: {0}")]
    Locked(String),
    /// Any of these, found at a place in a file.
    #[error("{place}: {error}")]
    At {
        /// The file, with line and column where they are known.
        place: String,
        /// What is wrong there.
        error: Box<PolicyError>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rule {
    pub style: Style,
    pub grow: f32,
}

/// What to hide and how. Made by [`Policy::builder`]; every value was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    rules: [Option<Rule>; Class::COUNT],
    reversible: bool,
    shape: RegionShape,
    zones: Vec<Zone>,
    hold: Duration,
    look_ahead: Duration,
    speed: f32,
    max_gap: Duration,
    max_waiting: usize,
    deadline: Option<Duration>,
    on_deadline: OnDeadline,
    obscure_color: Color,
    motion_cover: bool,
    export_regions: bool,
    self_test: Option<Duration>,
}

impl Policy {
    /// A builder that hides nothing yet; see [`PolicyBuilder`] for the defaults.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }

    pub(crate) fn rule(&self, class: Class) -> Option<Rule> {
        self.rules[class.index()]
    }
    /// How a class is hidden; `None` when it is not.
    pub fn style(&self, class: Class) -> Option<Style> {
        self.rule(class).map(|r| r.style)
    }
    /// Whether [`Style::Pixelate`] and [`Style::Blur`] are allowed.
    pub fn reversible(&self) -> bool {
        self.reversible
    }
    /// Which region is hidden for what was found.
    pub fn shape(&self) -> RegionShape {
        self.shape
    }
    /// The classes this policy hides.
    pub fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        Class::ALL.into_iter().filter(|c| self.rule(*c).is_some())
    }
    /// The zones.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }
    /// How long something stays hidden after it was last detected.
    pub fn hold(&self) -> Duration {
        self.hold
    }
    /// How far past a frame's time detection must have come before the frame leaves.
    pub fn look_ahead(&self) -> Duration {
        self.look_ahead
    }
    /// The fastest motion that is covered without a partner, in box widths per second.
    pub fn speed(&self) -> f32 {
        self.speed
    }
    /// The longest time between two detections whose frames may leave as covered: the worst-case exposure.
    pub fn max_gap(&self) -> Duration {
        self.max_gap
    }
    /// How many frames may wait before the oldest leaves, covered if it can be, else obscured.
    pub fn max_waiting(&self) -> usize {
        self.max_waiting
    }
    /// The age at which a frame is given up.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }
    /// What happens then.
    pub fn on_deadline(&self) -> OnDeadline {
        self.on_deadline
    }
    /// The colour of obscured frames.
    pub fn obscure_color(&self) -> Color {
        self.obscure_color
    }
    /// Time between two self-tests of the detector in a live pipeline; `None` without them.
    pub fn self_test(&self) -> Option<Duration> {
        self.self_test
    }
    /// Whether what changed since a detector last looked is covered until it has been examined.
    pub fn motion_cover(&self) -> bool {
        self.motion_cover
    }
    /// The same policy, with redacted frames that tell where they were hidden, or that do not.
    #[cfg(feature = "config")]
    pub(crate) fn telling_regions(mut self, tell: bool) -> Policy {
        self.export_regions = tell;
        self
    }
    /// A builder that starts from this policy.
    pub fn to_builder(&self) -> PolicyBuilder {
        PolicyBuilder { policy: self.clone() }
    }
    /// Whether redacted frames tell where they were hidden.
    pub fn export_regions(&self) -> bool {
        self.export_regions
    }
}

/// Builds a [`Policy`].
///
/// Defaults: cosmetic styles allowed, boxes not padded, hold 1 s, look-ahead 0, speed 4 box widths per second, largest gap 500 ms, no deadline, obscure in black, no
/// self-test.
#[derive(Clone, Debug)]
#[must_use]
pub struct PolicyBuilder {
    policy: Policy,
}

impl Default for PolicyBuilder {
    fn default() -> Self {
        PolicyBuilder {
            policy: Policy {
                rules: [None; Class::COUNT],
                reversible: true,
                shape: RegionShape::Box,
                zones: Vec::new(),
                hold: Duration::from_secs(1),
                look_ahead: Duration::ZERO,
                speed: 4.0,
                max_gap: Duration::from_millis(500),
                max_waiting: usize::MAX,
                deadline: None,
                on_deadline: OnDeadline::Obscure,
                obscure_color: Color::BLACK,
                motion_cover: false,
                export_regions: false,
                self_test: None,
            },
        }
    }
}

impl PolicyBuilder {
    /// The least growth of a detected box: detectors draw boxes tightly, from brow to chin.
    pub const MIN_GROW: f32 = 1.1;

    /// Hides a class, its boxes grown to 1.3 times (faces) or 1.1 times (persons) their size.
    pub fn hide(self, class: Class, style: Style) -> Self {
        let grow = match class {
            Class::Face => 1.3,
            Class::Person => 1.1,
        };
        self.hide_grown(class, style, grow)
    }
    /// Hides a class, its boxes grown to `grow` times their size (at least [`PolicyBuilder::MIN_GROW`]).
    pub fn hide_grown(mut self, class: Class, style: Style, grow: f32) -> Self {
        self.policy.rules[class.index()] = Some(Rule { style, grow });
        self
    }
    /// `false`: [`Style::Pixelate`] and [`Style::Blur`] are refused, for classes and zones, because they hide nothing from a
    /// program.
    pub fn reversible(mut self, reversible: bool) -> Self {
        self.policy.reversible = reversible;
        self
    }
    /// Which region is hidden for what was found; zones stay as they were drawn.
    pub fn shape(mut self, shape: RegionShape) -> Self {
        self.policy.shape = shape;
        self
    }
    /// Adds a zone.
    pub fn zone(mut self, zone: Zone) -> Self {
        self.policy.zones.push(zone);
        self
    }
    /// How long something stays hidden after it was last detected (at most 10 s).
    pub fn hold(mut self, hold: Duration) -> Self {
        self.policy.hold = hold;
        self
    }
    /// How far past a frame's time detection must have come before the frame leaves (at most 10 s). A recorded clip can
    /// afford as much as `hold`, so that somebody is hidden before the first detection too; a live picture is delayed.
    pub fn look_ahead(mut self, look_ahead: Duration) -> Self {
        self.policy.look_ahead = look_ahead;
        self
    }
    /// The fastest motion that is covered without a partner, in box widths per second (more than 0, at most 100).
    pub fn speed(mut self, speed: f32) -> Self {
        self.policy.speed = speed;
        self
    }
    /// The longest time between two detections whose frames may leave as covered (more than 0, at most 10 s).
    pub fn max_gap(mut self, max_gap: Duration) -> Self {
        self.policy.max_gap = max_gap;
        self
    }
    /// How many frames may wait (without one: any number). When one more waits, the oldest does not wait for the rest of
    /// its look-ahead, and if no detection has covered its time it is obscured. For clips, whose pool is fixed.
    pub fn max_waiting(mut self, frames: usize) -> Self {
        self.policy.max_waiting = frames;
        self
    }
    /// The age at which a frame that is not covered is given up, and what happens to it then. Without one, frames wait.
    pub fn deadline(mut self, deadline: Duration, then: OnDeadline) -> Self {
        self.policy.deadline = Some(deadline);
        self.policy.on_deadline = then;
        self
    }
    /// The colour of obscured frames.
    pub fn obscure_color(mut self, color: Color) -> Self {
        self.policy.obscure_color = color;
        self
    }
    /// Tests the detector in a live pipeline, at the start and then so often (1 s to 1 h): a known person must be found and
    /// nothing where nobody is, or everything is obscured until that is so. A detector that cannot find a person in a grey
    /// picture, such as one for other sensors, needs another way to be watched: leave it off.
    pub fn self_test(mut self, every: Option<Duration>) -> Self {
        self.policy.self_test = every;
        self
    }
    /// Covers blocks of 16 by 16 pixels that changed since a detector last looked at them, until it has examined them: so
    /// somebody who comes and goes between two detections is hidden too. Needed by detectors that look at a part of each
    /// picture. Filled in the colour of obscured frames.
    pub fn motion_cover(mut self, cover: bool) -> Self {
        self.policy.motion_cover = cover;
        self
    }
    /// Lets redacted frames tell where they were hidden ([`RedactedFrame::regions`](crate::frame::RedactedFrame::regions)).
    pub fn export_regions(mut self, export: bool) -> Self {
        self.policy.export_regions = export;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`PolicyError`], with what to do about it.
    pub fn build(self) -> Result<Policy, PolicyError> {
        let p = self.policy;
        if p.classes().next().is_none() && p.zones.is_empty() {
            return Err(PolicyError::HidesNothing);
        }
        for class in Class::ALL {
            if let Some(rule) = p.rule(class) {
                rule.style.check(&format!("{class}s"), &format!("the style of {class}s"), p.reversible)?;
                check_range(
                    &format!("grow = {}", rule.grow),
                    rule.grow,
                    Self::MIN_GROW,
                    10.0,
                    "use 1.1 to 10",
                )?;
            }
        }
        for zone in &p.zones {
            let name = format!("zone \"{}\"", zone.name);
            zone.style.check(&name, &format!("the style of {name}"), p.reversible)?;
        }
        let longest = Duration::from_secs(10);
        for (name, value, least) in [
            ("hold", p.hold, Duration::ZERO),
            ("look_ahead", p.look_ahead, Duration::ZERO),
            ("max_gap", p.max_gap, Duration::from_nanos(1)),
        ] {
            if value > longest || value < least {
                let what = format!("{name} = {} ms", value.as_millis());
                return Err(PolicyError::Range {
                    what,
                    why: "use at most 10 s, and more than 0 for max_gap",
                });
            }
        }
        check_range(
            &format!("speed = {}", p.speed),
            p.speed,
            f32::MIN_POSITIVE,
            100.0,
            "use more than 0, up to 100",
        )?;
        if let Some(every) = p.self_test
            && !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&every)
        {
            let what = format!("self_test = {every:?}");
            return Err(PolicyError::Range { what, why: "use 1 s to 1 h, or none" });
        }
        if let Some(d) = p.deadline
            && d <= p.look_ahead
        {
            let what = format!("deadline = {} ms", d.as_millis());
            return Err(PolicyError::Range {
                what,
                why: "it must be longer than look_ahead, or no frame could leave",
            });
        }
        Ok(p)
    }
}

fn check_range(what: &str, value: f32, least: f32, most: f32, why: &'static str) -> Result<(), PolicyError> {
    // Written so that NaN fails.
    if value >= least && value <= most { Ok(()) } else { Err(PolicyError::Range { what: what.into(), why }) }
}
