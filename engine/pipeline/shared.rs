//! Redacted frames that several targets share. An `Arc` for each would do, but would ask for memory at every frame; those
//! here are used again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::frame::RedactedFrame;

/// Places for frames.
pub(super) struct SharedFrames {
    places: Vec<Arc<Place>>,
}

#[derive(Default)]
struct Place {
    /// `None` when nobody has a share, so that the buffer is back in the pool at once.
    frame: RwLock<Option<RedactedFrame>>,
    shares: AtomicUsize,
}

/// One target's share of a frame.
pub(super) struct Share(Arc<Place>);

impl SharedFrames {
    /// With `count` places to begin with: one for each buffer, and for each target one that it is about to leave.
    pub fn new(count: usize) -> SharedFrames {
        SharedFrames { places: (0..count).map(|_| Arc::default()).collect() }
    }

    /// The first share of a frame; the others are its clones.
    pub fn share(&mut self, frame: RedactedFrame) -> Share {
        let unused = self.places.iter_mut().position(|place| Arc::get_mut(place).is_some());
        let at = unused.unwrap_or_else(|| {
            self.places.push(Arc::default());
            self.places.len() - 1
        });
        let place = &self.places[at];
        *place.frame.write().unwrap_or_else(PoisonError::into_inner) = Some(frame);
        place.shares.store(1, Ordering::Relaxed);
        Share(Arc::clone(place))
    }
}

impl Share {
    /// Shows the frame.
    pub fn show<R>(&self, look: impl FnOnce(&RedactedFrame) -> R) -> Option<R> {
        self.0.frame.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }
}

impl Clone for Share {
    fn clone(&self) -> Share {
        self.0.shares.fetch_add(1, Ordering::Relaxed);
        Share(Arc::clone(&self.0))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.0.shares.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.0.frame.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::{FrameMeta, FramePool};
    use crate::picture::{FrameFormat, PixelFormat};
    use crate::time::Timestamp;

    #[test]
    fn a_buffer_is_free_when_the_last_share_is_gone_and_its_place_is_used_again() {
        let format = FrameFormat::new(PixelFormat::Nv12, 16, 16).unwrap();
        let pool = FramePool::new(format, 2);
        let mut shared = SharedFrames::new(1);
        for sequence in 0..5 {
            let meta = FrameMeta { sequence, captured: Timestamp::ZERO };
            let first = shared.share(FramePool::blank(pool.spare().unwrap(), meta, |_| {}));
            let second = first.clone();
            assert_eq!(pool.free(), 1);
            drop(first);
            assert_eq!(second.show(|f| f.meta().sequence), Some(sequence));
            assert_eq!(pool.free(), 1);
            drop(second);
            assert_eq!(pool.free(), 2);
        }
        assert_eq!(shared.places.len(), 1);
    }
}
