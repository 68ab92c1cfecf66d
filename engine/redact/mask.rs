//! Zones as spans of samples, rasterised once per policy and format.
//!
//! Rounded outward: a sample is hidden if the zone touches it anywhere (inverted zones inward). A pixel that a polygon
//! touches is either crossed by an edge, or lies wholly inside; so the cover of a row of pixels is the extent of every
//! edge within the row, joined with the inside of the polygon along the row's middle.

use super::lattice::{Level, Touched, settle};
use crate::geometry::PixelRect;
use crate::picture::{FrameFormat, PlaneLayout};
use crate::policy::{Polygon, Style, Zone};

/// Half-open runs of samples of one row, sorted, neither touching nor overlapping.
type Runs = Vec<(u32, u32)>;

/// The samples of one plane that are hidden, row by row.
#[derive(Debug)]
struct PlaneMask {
    shift: (u32, u32),
    /// Runs of all rows, and where each row's begin.
    runs: Runs,
    starts: Vec<u32>,
}

/// One zone, or all inverted ones together: what is hidden in each plane, and how.
#[derive(Debug)]
pub(crate) struct Mask {
    pub(crate) style: Style,
    /// The cells of its mosaic.
    pub(crate) level: Level,
    /// The hidden part lies in here (luma pixels).
    pub(crate) bounds: PixelRect,
    pub(super) touched: Touched,
    planes: Vec<PlaneMask>,
}

impl Mask {
    /// How much is left to see under it: 0 for nothing, else the cells along the picture's longer side.
    #[cfg(feature = "lock")]
    pub(crate) fn weakness(&self) -> u8 {
        self.style.cells().map_or(0, |_| self.level.along() as u8)
    }

    /// The hidden runs of samples in a row of a plane.
    pub(crate) fn runs(&self, plane: &PlaneLayout, y: u32) -> &[(u32, u32)] {
        match self.planes.iter().find(|p| p.shift == plane.shift) {
            Some(p) => &p.runs[p.starts[y as usize] as usize..p.starts[y as usize + 1] as usize],
            None => &[],
        }
    }

    fn new(style: Style, luma: &[Runs], format: &FrameFormat) -> Mask {
        let mut planes: Vec<PlaneMask> = Vec::new();
        for plane in format.planes() {
            if planes.iter().all(|p| p.shift != plane.shift) {
                planes.push(PlaneMask::new(luma, plane));
            }
        }
        let mut bounds = PixelRect { x0: u32::MAX, y0: u32::MAX, x1: 0, y1: 0 };
        for (y, row) in (0..).zip(luma) {
            if let (Some(first), Some(last)) = (row.first(), row.last()) {
                bounds.x0 = bounds.x0.min(first.0);
                bounds.x1 = bounds.x1.max(last.1);
                bounds.y0 = bounds.y0.min(y);
                bounds.y1 = y + 1;
            }
        }
        let touched = Touched::new(luma, format.size());
        Mask { style, level: Level::default(), bounds, touched, planes }
    }
}

impl PlaneMask {
    /// A sample is hidden if any luma pixel under it is.
    fn new(luma: &[Runs], plane: &PlaneLayout) -> PlaneMask {
        let (sx, sy) = plane.shift;
        let mut runs = Runs::new();
        let mut starts = vec![0];
        for y in 0..plane.height {
            let top = (y << sy) as usize;
            let under = &luma[top..(top + (1 << sy)).min(luma.len())];
            let rounded =
                under.iter().flatten().map(|&(a, b)| (a >> sx, b.div_ceil(1 << sx).min(plane.width)));
            runs.extend(union(rounded.collect()));
            starts.push(runs.len() as u32);
        }
        PlaneMask { shift: plane.shift, runs, starts }
    }
}

/// The masks of all zones; inverted ones make one mask together.
pub(crate) fn rasterise(zones: &[Zone], format: &FrameFormat) -> Vec<Mask> {
    let (width, height) = format.size();
    let mut masks: Vec<Mask> = Vec::new();
    let mut visible: Option<Vec<Runs>> = None;
    let mut outside = Style::default();
    for zone in zones {
        let corners = stored_corners(&zone.area, format);
        let rows = (0..height).map(|y| row_of(&corners, y, width));
        if zone.inverted {
            let inside: Vec<Runs> = rows.map(|r| difference(&r.inside, &r.edges)).collect();
            match &mut visible {
                None => {
                    visible = Some(inside);
                    outside = zone.style;
                }
                Some(seen) => {
                    for (row, more) in seen.iter_mut().zip(inside) {
                        *row = union(row.iter().copied().chain(more).collect());
                    }
                    // What is outside of all of them takes the strongest style named.
                    if zone.style.weakness() < outside.weakness() {
                        outside = zone.style;
                    }
                }
            }
        } else {
            let hidden: Vec<Runs> =
                rows.map(|r| union(r.inside.into_iter().chain(r.edges).collect())).collect();
            masks.push(Mask::new(zone.style, &hidden, format));
        }
    }
    if let Some(visible) = visible {
        let hidden: Vec<Runs> = visible.iter().map(|row| difference(&[(0, width)], row)).collect();
        masks.push(Mask::new(outside, &hidden, format));
    }
    settle(&mut masks, (width, height));
    masks
}

fn stored_corners(area: &Polygon, format: &FrameFormat) -> Vec<(f64, f64)> {
    let (w, h) = format.upright_size();
    let scaled = area.points().iter().map(|&(x, y)| (x * f64::from(w), y * f64::from(h)));
    scaled.map(|p| format.orientation().to_stored(p, format.size())).collect()
}

struct Row {
    /// Pixels that an edge passes through.
    edges: Runs,
    /// Pixels touched by the inside along the row's middle.
    inside: Runs,
}

fn row_of(corners: &[(f64, f64)], y: u32, width: u32) -> Row {
    let (top, middle, bottom) = (f64::from(y), f64::from(y) + 0.5, f64::from(y) + 1.0);
    let mut edges = Runs::new();
    let mut crossings: Vec<f64> = Vec::new();
    let outward = |a: f64, b: f64| (a.max(0.0).floor() as u32, (b.ceil() as u32).min(width));
    for (i, &a) in corners.iter().enumerate() {
        let b = corners[(i + 1) % corners.len()];
        let (upper, lower) = if a.1 <= b.1 { (a, b) } else { (b, a) };
        if lower.1 <= top || upper.1 >= bottom {
            // An edge along a row's border touches neither row's inside.
            continue;
        }
        let x_at = |y: f64| {
            let t = (y - upper.1) / (lower.1 - upper.1);
            if lower.1 > upper.1 { upper.0 + t.clamp(0.0, 1.0) * (lower.0 - upper.0) } else { upper.0 }
        };
        let horizontal = lower.1 == upper.1;
        let (x0, x1) = if horizontal { (a.0, b.0) } else { (x_at(top), x_at(bottom)) };
        edges.push(outward(x0.min(x1), x0.max(x1)));
        // Half-open in y, so that a corner on the line counts once.
        if upper.1 <= middle && middle < lower.1 {
            crossings.push(x_at(middle));
        }
    }
    crossings.sort_by(f64::total_cmp);
    let inside = crossings.chunks_exact(2).map(|pair| outward(pair[0], pair[1])).collect();
    Row { edges: union(edges), inside: union(inside) }
}

/// Sorts and joins runs; empty ones vanish.
fn union(mut runs: Runs) -> Runs {
    runs.retain(|r| r.0 < r.1);
    runs.sort_unstable();
    let mut joined = Runs::with_capacity(runs.len());
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.0 <= last.1 => last.1 = last.1.max(run.1),
            _ => joined.push(run),
        }
    }
    joined
}

/// The part of `a` outside `b`; both as [`union`] leaves them.
fn difference(a: &[(u32, u32)], b: &[(u32, u32)]) -> Runs {
    let mut left = Runs::new();
    for &(mut start, end) in a {
        for &(cut_start, cut_end) in b {
            if cut_end <= start || cut_start >= end {
                continue;
            }
            if cut_start > start {
                left.push((start, cut_start));
            }
            start = cut_end;
        }
        if start < end {
            left.push((start, end));
        }
    }
    left
}
