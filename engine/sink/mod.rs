//! Where redacted frames go. An integrator's own target implements [`FrameSink`]; it cannot take a raw frame.

#[cfg(feature = "ring")]
mod ring;
mod y4m;

#[cfg(feature = "ring")]
pub use ring::{RingCounters, RingSink};
pub use y4m::Y4mSink;

use crate::error::Result;
use crate::frame::RedactedFrame;

/// Takes redacted frames, on a thread of its own.
pub trait FrameSink: Send {
    /// Takes one frame, in capture order. May be slow: while it works, older frames for it are dropped and nobody else
    /// waits.
    ///
    /// # Errors
    /// Any error ([`Error::other`](crate::Error::other)) ends this target alone.
    fn send(&mut self, frame: &RedactedFrame) -> Result<()>;

    /// Nothing of what was sent before may be shown any more: privacy mode began. Targets that keep frames (a snapshot, an
    /// encoder's queue) drop them. Told on the target's own thread between two frames, so the last of them may come after
    /// [`Pipeline::set_privacy`](crate::Pipeline::set_privacy) has returned.
    fn forget(&mut self) {}
}

impl<F: FnMut(&RedactedFrame) -> Result<()> + Send> FrameSink for F {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        self(frame)
    }
}
