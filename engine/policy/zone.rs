//! Zones that the owner drew: polygons of the upright picture.

#[cfg(any(feature = "config", feature = "evidence"))]
use std::fmt::Write as _;

use super::{PolicyError, Style};

/// A simple polygon in normalised coordinates of the upright picture: (0, 0) is the left upper corner, (1, 1) the right
/// lower one. At least three corners, none outside, no two edges crossing.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    points: Vec<(f64, f64)>,
}

impl Polygon {
    /// The most corners of a polygon.
    pub const MAX_POINTS: usize = 256;

    /// Checks the corners, in drawing order; the last is joined to the first.
    ///
    /// # Errors
    /// [`PolicyError::Area`]: what is wrong and what to do.
    pub fn new(points: impl Into<Vec<(f64, f64)>>) -> Result<Polygon, PolicyError> {
        Self::checked(points).map_err(PolicyError::Area)
    }

    /// The same; the error is of a zone whose name is known elsewhere.
    pub(super) fn checked(points: impl Into<Vec<(f64, f64)>>) -> Result<Polygon, String> {
        let mut points: Vec<(f64, f64)> = points.into();
        points.dedup();
        if points.len() > 1 && points.first() == points.last() {
            points.pop();
        }
        if points.len() < 3 {
            return Err(format!("an area needs at least 3 different corners, this has {}", points.len()));
        }
        if points.len() > Self::MAX_POINTS {
            return Err(format!("{} corners are too many; use at most {}", points.len(), Self::MAX_POINTS));
        }
        if let Some((x, y)) =
            points.iter().find(|(x, y)| !((0.0..=1.0).contains(x) && (0.0..=1.0).contains(y)))
        {
            return Err(format!("corner ({x}, {y}) is outside the picture; coordinates go from 0 to 1"));
        }
        let n = points.len();
        let edge = |i: usize| (points[i], points[(i + 1) % n]);
        for i in 0..n {
            for j in i + 1..n {
                let adjacent = j == i + 1 || (i == 0 && j == n - 1);
                let (a, b) = (edge(i), edge(j));
                if (!adjacent && cross(a, b)) || (adjacent && folded_back(a, b)) {
                    return Err(format!(
                        "the edges after corners {} and {} cross; draw the outline without crossings, or two zones",
                        i + 1,
                        j + 1
                    ));
                }
            }
        }
        let doubled: f64 = (0..n).map(edge).map(|((x0, y0), (x1, y1))| x0 * y1 - x1 * y0).sum();
        if doubled == 0.0 {
            return Err("it has no area".into());
        }
        Ok(Polygon { points })
    }

    /// The corners, in drawing order.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

type Segment = ((f64, f64), (f64, f64));

fn side((a, b): Segment, p: (f64, f64)) -> f64 {
    (b.0 - a.0) * (p.1 - a.1) - (b.1 - a.1) * (p.0 - a.0)
}

/// Two edges that do not follow one another may not even touch.
fn cross(s: Segment, t: Segment) -> bool {
    let (d1, d2, d3, d4) = (side(s, t.0), side(s, t.1), side(t, s.0), side(t, s.1));
    let overlap = |a: f64, b: f64, c: f64, d: f64| a.min(b) <= c.max(d) && c.min(d) <= a.max(b);
    d1 * d2 <= 0.0
        && d3 * d4 <= 0.0
        && overlap(s.0.0, s.1.0, t.0.0, t.1.0)
        && overlap(s.0.1, s.1.1, t.0.1, t.1.1)
}

/// Two edges that share a corner and run back over one another.
fn folded_back(a: Segment, b: Segment) -> bool {
    // The shared corner is the end of one and the start of the other, whichever way round they come.
    let (prev, shared, next) = if a.1 == b.0 { (a.0, a.1, b.1) } else { (b.0, b.1, a.1) };
    let dot = (prev.0 - shared.0) * (next.0 - shared.0) + (prev.1 - shared.1) * (next.1 - shared.1);
    side((prev, shared), next) == 0.0 && dot > 0.0
}

/// An area that is hidden in every frame that leaves (I3), whatever the detectors say.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    pub(crate) name: String,
    pub(crate) area: Polygon,
    pub(crate) style: Style,
    pub(crate) inverted: bool,
}

impl Zone {
    /// Hides the area with `style`; rounded outward to whole samples.
    ///
    /// # Errors
    /// [`PolicyError::Zone`] when the name is empty or longer than 64 characters.
    pub fn new(name: impl Into<String>, area: Polygon, style: Style) -> Result<Zone, PolicyError> {
        let name = name.into();
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            let why = "a name has 1 to 64 printable characters".into();
            return Err(PolicyError::Zone { zone: name, why });
        }
        Ok(Zone { name, area, style, inverted: false })
    }

    /// Hides everything outside the area instead (the area rounded inward). Of several inverted zones a sample is visible
    /// only if it lies in at least one of them, and in no normal zone.
    #[must_use]
    pub fn inverted(mut self, inverted: bool) -> Zone {
        self.inverted = inverted;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The area.
    pub fn area(&self) -> &Polygon {
        &self.area
    }
    /// How it is hidden.
    pub fn style(&self) -> Style {
        self.style
    }
    /// Whether the outside is hidden.
    pub fn is_inverted(&self) -> bool {
        self.inverted
    }
}

/// The zones that are hidden, by their corners, in one form only.
#[cfg(any(feature = "config", feature = "evidence"))]
pub fn canonical_zones(zones: &[Zone]) -> String {
    let mut text = String::new();
    for zone in zones {
        let corners: Vec<String> =
            zone.area().points().iter().map(|(x, y)| format!("[{x:.9}, {y:.9}]")).collect();
        let style = match zone.style() {
            Style::Fill(color) => format!("style = \"fill\"\ncolor = \"{color}\""),
            Style::Pixelate { cells } => format!("style = \"pixelate\"\ncells = {cells}"),
            Style::Blur { cells } => format!("style = \"blur\"\ncells = {cells}"),
        };
        let _ = writeln!(
            text,
            "\n[[zone]]\nname = {}\ninverted = {}\n{style}\ncorners = [{}]",
            quoted(zone.name()),
            zone.is_inverted(),
            corners.join(", ")
        );
    }
    text
}

/// Names have no control characters.
#[cfg(any(feature = "config", feature = "evidence"))]
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
