//! Frames that are pushed: copied into the pipeline's own buffers on the caller's thread, then handed to its source.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Mutex, PoisonError};

use milkglass::{Captured, FrameMeta, FramePool, FrameSource, RawFrame, Result, Timestamp};

use crate::fault::Fault;
use crate::picture::Source;
use crate::types::milkglass_status;

/// The caller's end.
pub(crate) struct Inlet {
    pool: FramePool,
    /// Held while a frame is copied, so that frames keep the order of the calls.
    open: Mutex<Open>,
}

struct Open {
    /// `None` when nothing may be pushed any more.
    frames: Option<Sender<RawFrame>>,
    next: u64,
}

/// The pipeline's end.
pub(crate) struct Outlet {
    frames: Receiver<RawFrame>,
    /// Tells the pool, which the pipeline makes, at the first capture.
    pool: Option<SyncSender<FramePool>>,
}

/// Both ends; the inlet needs the pool that the outlet tells.
pub(crate) fn pair(pool: SyncSender<FramePool>) -> (Sender<RawFrame>, Outlet) {
    let (sender, frames) = channel();
    (sender, Outlet { frames, pool: Some(pool) })
}

impl Inlet {
    pub fn new(pool: FramePool, frames: Sender<RawFrame>) -> Inlet {
        Inlet { pool, open: Mutex::new(Open { frames: Some(frames), next: 0 }) }
    }

    /// Copies a picture in. `Skipped` when no buffer is free, `End` when it is shut, `Stopped` when the pipeline is gone.
    ///
    /// # Safety
    /// What was promised of the picture's memory still holds.
    pub unsafe fn push(&self, picture: &Source, captured: Timestamp) -> Result<milkglass_status, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { frames: Some(frames), next } = &mut *open else { return Ok(milkglass_status::END) };
        let meta = FrameMeta { sequence: *next, captured };
        *next += 1;
        let filled = self.pool.fill(meta, |view| {
            // SAFETY: by the caller's promise; the pool's format is the one that was checked.
            unsafe { picture.read(view) };
            Ok(())
        })?;
        match filled.map(|frame| frames.send(frame)) {
            Some(Ok(())) => Ok(milkglass_status::OK),
            Some(Err(_)) => Ok(milkglass_status::STOPPED),
            None => Ok(milkglass_status::SKIPPED),
        }
    }

    /// No more frames.
    pub fn shut(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).frames = None;
    }
}

impl FrameSource for Outlet {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        if let Some(tell) = self.pool.take() {
            // Nobody listens when opening has failed meanwhile; then the inlet is gone too.
            let _ = tell.send(pool.clone());
        }
        // Without a limit: the inlet is always shut before the pipeline is waited for.
        Ok(self.frames.recv().map_or(Captured::End, Captured::Frame))
    }
}
