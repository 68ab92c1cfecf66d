//! What to hide in one frame, and the policies that say so.

use std::sync::Arc;

use super::{Mask, MosaicKey, rasterise};
use crate::geometry::PixelRect;
use crate::picture::FrameFormat;
use crate::policy::{Color, Policy, Style};

/// What was done to a frame before it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Detections on both sides in time (I2) and the zones are hidden; the rest is as captured.
    Covered,
    /// Nothing of the picture is left.
    Obscured,
}

/// A policy made ready for one frame format.
pub(crate) struct Rules {
    pub policy: Policy,
    masks: Vec<Mask>,
    /// Square pixels per pixel along rows and columns, for each shape that pixels may have, the likeliest first.
    pub squares: Vec<(f32, f32)>,
}

impl Rules {
    pub fn new(policy: Policy, format: &FrameFormat) -> Rules {
        let masks = rasterise(policy.zones(), format);
        let squares = format.pixel_aspects().iter().map(|aspect| aspect.squares());
        let squares = squares.map(|(x, y)| (x as f32, y as f32)).collect();
        Rules { policy, masks, squares }
    }

    /// The same with the likeliest shape.
    pub fn likeliest(&self) -> (f32, f32) {
        self.squares.first().copied().unwrap_or((1.0, 1.0))
    }
}

/// All policies that a frame lived under, the newest last.
pub(crate) type RuleSet = Arc<[Arc<Rules>]>;

/// What to hide in one frame: the ticket that lets it out. Only the tracker builds one (I1, I2); tests/imports.rs fails when
/// anybody else does.
pub(crate) struct Cover {
    outcome: Outcome,
    regions: Vec<Region>,
    /// Blocks that nobody has examined since they changed.
    motion: Vec<PixelRect>,
    rules: Option<RuleSet>,
    obscure_color: Color,
    export: bool,
}

/// A rectangle to hide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub area: PixelRect,
    pub style: Style,
    pub key: MosaicKey,
}

impl Cover {
    /// What detections and zones hide, in a frame that leaves covered.
    pub fn covered(
        regions: Vec<Region>,
        motion: Vec<PixelRect>,
        rules: Option<RuleSet>,
        obscure_color: Color,
        export: bool,
    ) -> Cover {
        Cover { outcome: Outcome::Covered, regions, motion, rules, obscure_color, export }
    }
    /// Everything, in a frame that leaves obscured.
    pub fn whole(obscure_color: Color) -> Cover {
        Cover {
            outcome: Outcome::Obscured,
            regions: Vec::new(),
            motion: Vec::new(),
            rules: None,
            obscure_color,
            export: false,
        }
    }
    /// The vectors, to be used again.
    pub fn into_parts(self) -> (Vec<Region>, Vec<PixelRect>) {
        (self.regions, self.motion)
    }
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }
    pub fn obscure_color(&self) -> Color {
        self.obscure_color
    }
    /// What moved and was not examined; filled in the colour of obscured frames.
    pub fn motion(&self) -> &[PixelRect] {
        &self.motion
    }
    /// The zones of every policy that the frame lived under (I3).
    pub fn masks(&self) -> impl Iterator<Item = &Mask> {
        self.rules.iter().flat_map(|rules| rules.iter()).flat_map(|r| &r.masks)
    }
    /// The hidden rectangles, if the owner asked for them by name (I7).
    pub fn exported_regions(&self) -> Option<Vec<PixelRect>> {
        self.export.then(|| self.regions.iter().map(|r| r.area).chain(self.motion.iter().copied()).collect())
    }
}
