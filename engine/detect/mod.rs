//! Finding faces and persons. An integrator's own detector implements [`Detector`].

use crate::class::Class;
use crate::error::{Error, Result};
use crate::frame::DetectJob;
use crate::geometry::Rect;
use crate::picture::View;

#[cfg(feature = "models")]
mod admission;
#[cfg(feature = "models")]
pub mod backend;
#[cfg(feature = "models")]
pub(crate) mod decode;
#[cfg(feature = "models")]
mod ensemble;
#[cfg(feature = "models")]
mod letterbox;
#[cfg(feature = "models")]
mod manifest;
#[cfg(feature = "models")]
mod pass_input;
#[cfg(feature = "models")]
mod tiles;

#[cfg(feature = "config")]
pub use crate::policy::{Pass, Settings};
#[cfg(feature = "models")]
pub use ensemble::Ensemble;
#[cfg(feature = "internal")]
pub(crate) use letterbox::Letterbox;
#[cfg(feature = "internal")]
pub(crate) use manifest::{ChannelOrder, Input};
#[cfg(feature = "models")]
pub use manifest::{Manifest, ModelStore};

/// A model in use, by what decides what it finds: hashes in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedModel {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// SHA-256 of its manifest (models/README.md has its form).
    pub manifest_sha256: String,
    /// Nobody as small as the presets promise could be shown to it, because its manifest promises less.
    pub untested: bool,
}

/// What a detector shows before its first picture ([`Detector::proof`]): a detector that sees nothing, and says so, would
/// let everything out as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// It has found known persons already. The ensemble of this crate does not come to be otherwise.
    Given,
    /// It is to be shown known persons in pictures of the format that it will look at, with faces down to this height in
    /// pixels; unless it finds them, and nobody where nobody is, nothing starts.
    Wanted {
        /// Brow to chin, in pixels of the frame.
        smallest_face: u32,
    },
    /// It says nothing, and is untested; the policy's self-test, if it is on, is all that asks it.
    Untested,
    /// The known persons are nothing that it could find, as for a thermal camera: it is untested, and no self-test is shown to it.
    Impossible,
}

/// Something found in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// What it is.
    pub class: Class,
    /// Where it is, in luma pixels of the stored (not the upright) picture.
    pub rect: Rect,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// How far the box may be off on each side, in luma pixels: the hidden region grows by as much. A network that saw
    /// the picture shrunk knows its boxes only to a few of *its* pixels.
    pub slack: f32,
    /// Too weak to be hidden for itself, but enough to carry on a track that was sure at some other time.
    pub tentative: bool,
}

impl Detection {
    /// A sure detection without slack.
    pub fn new(class: Class, rect: Rect, score: f32) -> Detection {
        Detection { class, rect, score, slack: 0.0, tentative: false }
    }
}

/// Finds people in raw frames. It sees raw pixels by nature: keep it as trusted as the engine (docs/THREAT-MODEL.md).
pub trait Detector: Send {
    /// What it can find. A policy that names anything else is refused.
    fn classes(&self) -> &[Class];

    /// Looks at one frame. Boxes are in luma pixels of the stored picture; the upright picture is what
    /// [`FrameFormat::orientation`](crate::FrameFormat::orientation) makes of it, and how it is shown what
    /// [`FrameFormat::pixel_aspects`](crate::FrameFormat::pixel_aspects) may make of it.
    ///
    /// # Errors
    /// Any error ([`Error::other`](crate::Error::other)) covers nothing, so nothing is released by this attempt. Never return an empty list instead.
    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>>;

    /// What it shows before the first picture. One that says nothing is *untested*: it is believed, [`Status`](crate::pipeline::Status)
    /// and the evidence log say so, and an owner's lock has to allow it by name.
    fn proof(&self) -> Proof {
        Proof::Untested
    }

    /// What it can do besides with frames that come one after the other: see [`InStream`]. For detectors of this crate, and
    /// for what wraps them; every other one need not care.
    #[doc(hidden)]
    fn in_stream(&mut self) -> Option<&mut dyn InStream> {
        None
    }
}

/// What a detector may do besides with frames that come one after the other, if [`Detector::in_stream`] returns it: looking at a
/// part of each, asking for no memory, running where it is told to, and forgetting.
pub trait InStream {
    /// Looks at a frame on loan, or at a part of it, and then says which ([`DetectJob::examined_only`]). Whatever touches
    /// the part must be looked for.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    fn look(&mut self, job: &mut DetectJob) -> Result<Vec<Detection>>;

    /// Whether [`InStream::look`] examines parts. Then a policy without motion cover is refused.
    fn looks_in_parts(&self) -> bool {
        false
    }

    /// Takes back the memory of a list that it returned, empty, to fill it again.
    fn reuse(&mut self, _list: Vec<Detection>) {}

    /// Called once by [`Pipeline`](crate::Pipeline), on the thread on which it looks from then on: the place for what belongs
    /// to a thread, such as the processors that it may run on.
    fn start(&mut self) {}

    /// Overwrites what it keeps of pictures that it has seen. Called by [`Pipeline`](crate::Pipeline) when there was nothing to
    /// look at for a while, in privacy mode for instance, and at the end.
    fn forget(&mut self) {}
}

/// Has a detector look at a frame, or at the part of it whose turn it is. Whoever drives an [`Engine`](crate::engine::Engine) or a
/// [`LockStep`](crate::lockstep::LockStep) with a detector of this crate calls this, and not [`Detector::detect`].
///
/// # Errors
/// [`Error::Detector`], whatever the detector called it.
pub fn look(detector: &mut dyn Detector, job: &mut DetectJob) -> Result<Vec<Detection>> {
    let found = match detector.in_stream() {
        Some(detector) => detector.look(job),
        None => detector.detect(&job.view()),
    };
    found.map_err(Error::of_detector)
}

/// Whether it examines parts of frames.
pub(crate) fn looks_in_parts(detector: &mut dyn Detector) -> bool {
    detector.in_stream().is_some_and(|d| d.looks_in_parts())
}
