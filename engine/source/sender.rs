//! Frames that somebody pushes: copied into the pipeline's own buffers on the caller's thread, then handed to its capture
//! thread.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Captured, FrameSource};
use crate::error::Result;
use crate::frame::{FrameMeta, FramePool, RawFrame};
use crate::picture::ViewMut;
use crate::time::Timestamp;

/// How long the pipeline's thread may take to ask for its first frame.
const START: Duration = Duration::from_secs(10);

/// The caller's end of a source that is pushed into.
pub struct FrameSender {
    /// Held while a frame is copied, so that frames keep the order of the calls.
    open: Mutex<Open>,
}

struct Open {
    /// `None` when nothing may be pushed any more.
    frames: Option<Sender<RawFrame>>,
    /// The pipeline makes its pool itself, and tells it at its first capture.
    pool: Option<FramePool>,
    told: Receiver<FramePool>,
    next: u64,
}

/// What became of a frame that was pushed. Complete on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was taken in under this number.
    Taken(u64),
    /// No buffer was free: the frame was discarded. Its number stays unused.
    Skipped,
    /// The sender is shut.
    Shut,
    /// The pipeline has ended by itself; [`Pipeline::failure`](crate::Pipeline::failure) says why.
    Ended,
}

struct Feed {
    frames: Receiver<RawFrame>,
    tell: Option<SyncSender<FramePool>>,
}

impl FrameSender {
    /// An sender, and the source behind it for a [`Pipeline`](crate::Pipeline). Frames are numbered from `first` on. Shut the sender
    /// before the pipeline is waited for.
    pub fn new(first: u64) -> (FrameSender, Box<dyn FrameSource>) {
        let (sender, frames) = channel();
        let (tell, told) = sync_channel(1);
        let open = Open { frames: Some(sender), pool: None, told, next: first };
        (FrameSender { open: Mutex::new(open) }, Box::new(Feed { frames, tell: Some(tell) }))
    }

    /// Copies a picture into a free buffer and hands it on. Never waits for a detection or for a buffer.
    ///
    /// # Errors
    /// Whatever `write` returns; the half-written buffer is scrubbed.
    pub fn push(
        &self,
        captured: Timestamp,
        write: impl FnOnce(&mut ViewMut<'_>) -> Result<()>,
    ) -> Result<Pushed> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { frames: Some(frames), pool, told, next } = &mut *open else { return Ok(Pushed::Shut) };
        if pool.is_none() {
            *pool = told.recv_timeout(START).ok();
        }
        let Some(pool) = pool else { return Ok(Pushed::Ended) };
        let meta = FrameMeta { sequence: *next, captured };
        *next += 1;
        match pool.fill(meta, write)?.map(|frame| frames.send(frame)) {
            Some(Ok(())) => Ok(Pushed::Taken(meta.sequence)),
            Some(Err(_)) => Ok(Pushed::Ended),
            None => Ok(Pushed::Skipped),
        }
    }

    /// The same for a picture in memory that others share: it is copied out of its DMABUFs before this returns, and
    /// nothing of them is kept. `planes` has as many as the pipeline's format, in its order. Waits for the writers that
    /// the kernel knows of, a processor of graphics for instance, to have finished.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source) when a plane does not lie within its DMABUF, their number is wrong, or
    /// the kernel cannot make them readable; the half-written buffer is scrubbed.
    #[cfg(feature = "dmabuf")]
    pub fn push_dmabuf(
        &self,
        captured: Timestamp,
        planes: &[super::dmabuf::DmabufPlane<'_>],
    ) -> Result<Pushed> {
        self.push(captured, |view| super::dmabuf::copy(planes, view))
    }

    /// No more frames: the source ends after those that were pushed.
    pub fn shut(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).frames = None;
    }
}

impl FrameSource for Feed {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        if let Some(tell) = self.tell.take() {
            // Nobody listens when the sender is gone.
            let _ = tell.send(pool.clone());
        }
        // Without a limit: the sender is always shut, or dropped, before the pipeline is waited for.
        Ok(self.frames.recv().map_or(Captured::End, Captured::Frame))
    }
}
