//! Finding faces and persons. An integrator's own detector implements [`Detector`].

use std::fmt;

use crate::error::Result;
use crate::frame::{DetectJob, View};
use crate::geometry::Rect;

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
mod sight;
#[cfg(feature = "models")]
mod tiles;

#[cfg(feature = "models")]
pub use ensemble::{Ensemble, LoadedModel, Pass, Settings};
#[cfg(feature = "internal")]
pub(crate) use letterbox::Letterbox;
#[cfg(feature = "internal")]
pub(crate) use manifest::{ChannelOrder, Input};
#[cfg(feature = "models")]
pub use manifest::{Manifest, ModelStore};

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

/// What can be found and hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// A face, from brow to chin.
    Face,
    /// A whole person.
    Person,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 2] = [Class::Face, Class::Person];
    pub(crate) const COUNT: usize = Self::ALL.len();

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// From its name in manifests and policies.
    pub fn from_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|c| c.to_string() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Face => "face",
            Class::Person => "person",
        })
    }
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
    /// Any error covers nothing, so nothing is released by this attempt. Never return an empty list instead.
    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>>;

    /// What it shows before the first picture. One that says nothing is *untested*: it is believed, [`Status`](crate::Status)
    /// and the evidence log say so, and an owner's lock has to allow it by name.
    fn proof(&self) -> Proof {
        Proof::Untested
    }

    /// Looks at a frame on loan. A detector that examines only a part of each picture does so here, and says which
    /// ([`DetectJob::examined_only`]); every other one need not care.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    fn look(&mut self, job: &mut DetectJob) -> Result<Vec<Detection>> {
        self.detect(&job.view())
    }

    /// Whether [`Detector::look`] examines parts. Then a policy without motion cover is refused.
    fn looks_in_parts(&self) -> bool {
        false
    }

    /// Takes back the memory of a list that [`detect`](Detector::detect) returned, empty. One that fills it again next time
    /// asks for no memory in the steady state; one that does not may ignore it.
    fn reuse(&mut self, _list: Vec<Detection>) {}

    /// Called once by [`Pipeline`](crate::Pipeline), on the thread on which `detect` is called from then on: the place for
    /// what belongs to a thread, such as the processors that it may run on.
    fn start(&mut self) {}

    /// Overwrites what it keeps of pictures that it has seen. Called by [`Pipeline`](crate::Pipeline) when there was nothing to
    /// look at for a while, in privacy mode for instance, and at the end.
    fn forget(&mut self) {}
}
