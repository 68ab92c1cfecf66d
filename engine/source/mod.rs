//! Where frames come from. An integrator's own camera implements [`FrameSource`].

#[cfg(feature = "dmabuf")]
pub(crate) mod dmabuf;
mod sender;
mod y4m;

#[cfg(feature = "dmabuf")]
pub use dmabuf::{Dmabuf, DmabufPlane};
pub use sender::{FrameSender, Pushed};
pub use y4m::Y4mSource;

use crate::error::Result;
use crate::frame::{FramePool, RawFrame};

/// What a source has to say. Complete on purpose: a source delivers, delivers nothing now, or is at its end.
#[derive(Debug)]
pub enum Captured {
    /// A frame.
    Frame(RawFrame),
    /// No frame this time: the pool was empty, the picture damaged, or none came in time. Counted.
    Skipped,
    /// Nothing will come any more.
    End,
}

/// Captures frames. It sees raw pixels by nature: keep it as trusted as the engine (docs/THREAT-MODEL.md).
pub trait FrameSource: Send {
    /// Waits for the next frame and fills a buffer of the pool with it. Must return within about a second, with
    /// [`Captured::Skipped`] when nothing came, so that the pipeline can stop.
    ///
    /// # Errors
    /// Any error ([`Error::other`](crate::Error::other)) ends the pipeline. A source that can recover (a camera plugged in again) does so itself and returns
    /// [`Captured::Skipped`] meanwhile.
    fn capture(&mut self, pool: &FramePool) -> Result<Captured>;
}

impl<S: FrameSource + ?Sized> FrameSource for Box<S> {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        (**self).capture(pool)
    }
}
