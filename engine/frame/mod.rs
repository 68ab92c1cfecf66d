//! THE TRUST BOUNDARY. Raw frames go in, redacted frames come out; the one function between them is
//! `RawFrame::redact`, and it wants a `Cover`, which only the tracker builds (tests/imports.rs sees to it).
//!
//! Review this file line by line.

mod memory;
mod pool;
mod room;

use std::fmt;
use std::sync::Arc;

pub use pool::FramePool;
pub(crate) use pool::Spare;
pub use room::available_memory;

use crate::geometry::PixelRect;
use crate::motion::Moved;
use crate::picture::{FrameFormat, View};
pub use crate::redact::Outcome;
use crate::redact::{self, Cover, Mosaics};
use crate::time::Timestamp;
use pool::Lease;

/// What is known of a frame beside its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// Running number given by the source; gaps mean skipped pictures. A blank that stands for a camera that is gone, in
    /// privacy mode, repeats the last one.
    pub sequence: u64,
    /// When the picture was taken.
    pub captured: Timestamp,
}

/// A frame as the camera saw it. It cannot be cloned, and nobody outside the engine can read its pixels; a detector
/// gets them on loan, as a [`DetectJob`].
pub struct RawFrame {
    lease: Lease,
    meta: FrameMeta,
}

/// Raw pixels on loan to a detector. No sink accepts it, and at most one is out. Dropped instead of returned, it
/// covers nothing and its frame is lost.
pub struct DetectJob {
    frame: RawFrame,
    ticket: Arc<()>,
    moved: Moved,
    examined: Option<PixelRect>,
}

/// A frame that may be seen. It has no public constructor (I1).
pub struct RedactedFrame {
    lease: Lease,
    meta: FrameMeta,
    outcome: Outcome,
    regions: Option<Vec<PixelRect>>,
}

impl RawFrame {
    /// What is known of the frame beside its pixels.
    pub fn meta(&self) -> FrameMeta {
        self.meta
    }

    /// The frame's format.
    pub fn format(&self) -> &FrameFormat {
        self.lease.format()
    }

    /// Moves its time: the source's clock was set back.
    pub(crate) fn set_captured(&mut self, captured: Timestamp) {
        self.meta.captured = captured;
    }

    /// The only road from raw to redacted (I1). Consumes the frame: its raw pixels exist no longer.
    pub(crate) fn redact(self, cover: &Cover, mosaics: &mut Mosaics) -> RedactedFrame {
        let RawFrame { mut lease, meta } = self;
        redact::hide(&mut lease.view_mut(), cover, mosaics, meta.captured);
        lease.mark_redacted();
        RedactedFrame { lease, meta, outcome: cover.outcome(), regions: cover.exported_regions() }
    }

    /// Lends the pixels to a detector.
    pub(crate) fn lend(self, ticket: Arc<()>) -> DetectJob {
        DetectJob { frame: self, ticket, moved: Moved::default(), examined: None }
    }

    /// Shows the pixels to the engine itself, which sums them up (`motion`).
    pub(crate) fn look(&self, look: impl FnOnce(View<'_>)) {
        look(self.lease.view());
    }

    /// Gives up the picture and keeps the scrubbed buffer in reserve.
    pub(crate) fn into_spare(self) -> Spare {
        self.lease.into_spare()
    }
}

impl DetectJob {
    /// The raw pixels, as stored. Whoever implements a detector sees raw pixels by nature (docs/THREAT-MODEL.md).
    pub fn view(&self) -> View<'_> {
        self.frame.lease.view()
    }

    /// Which frame this is.
    pub fn meta(&self) -> FrameMeta {
        self.frame.meta
    }

    /// The share of an area, in luma pixels of the stored picture, that changed since a detector last examined it: 0 to 1.
    /// 1 as long as nothing is known of it, as without [`PolicyBuilder::motion_cover`](crate::policy::PolicyBuilder::motion_cover).
    pub fn moved(&self, area: PixelRect) -> f32 {
        self.moved.share(area)
    }

    /// Says that only this part of the picture was examined: whatever touches it was looked for. Without a word all of it
    /// was. What lies elsewhere stays covered from when it changes until it is examined, so the policy must have
    /// [`motion_cover`](crate::policy::PolicyBuilder::motion_cover); under another one a part covers nothing.
    pub fn examined_only(&mut self, part: PixelRect) {
        self.examined = Some(part);
    }

    pub(crate) fn with_moved(self, moved: Moved) -> DetectJob {
        DetectJob { moved, ..self }
    }

    /// Ends the loan: the frame, what was said to be examined, and the marks. `None` when the loan was made by another
    /// engine: the frame is scrubbed.
    pub(crate) fn end(self, ticket: &Arc<()>) -> Option<(RawFrame, Option<PixelRect>, Moved)> {
        Arc::ptr_eq(&self.ticket, ticket).then_some((self.frame, self.examined, self.moved))
    }
}

impl RedactedFrame {
    fn obscured(lease: Lease, meta: FrameMeta) -> RedactedFrame {
        RedactedFrame { lease, meta, outcome: Outcome::Obscured, regions: None }
    }

    /// The redacted pixels, as stored.
    pub fn view(&self) -> View<'_> {
        self.lease.view()
    }

    /// The frame's format.
    pub fn format(&self) -> &FrameFormat {
        self.lease.format()
    }

    /// What is known of the frame beside its pixels.
    pub fn meta(&self) -> FrameMeta {
        self.meta
    }

    /// What was done to it.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The hidden rectangles in stored luma pixels, zones not included. `None` unless the policy asks for them by name
    /// ([`PolicyBuilder::export_regions`](crate::policy::PolicyBuilder::export_regions)): where people are is private too (I7).
    pub fn regions(&self) -> Option<&[PixelRect]> {
        self.regions.as_deref()
    }
}

// Debug prints what is public anyway: never a pixel, never a coordinate.
impl fmt::Debug for RawFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawFrame").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl fmt::Debug for DetectJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetectJob").field("meta", &self.frame.meta).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedactedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_struct("RedactedFrame");
        d.field("meta", &self.meta).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
