//! A fixed set of buffers: the back-pressure of the whole engine. Nothing here grows.

use std::sync::Arc;
use std::time::Duration;

use super::format::{FrameFormat, ROW_ALIGNMENT};
use super::free_list::FreeList;
use super::view::{View, ViewMut};
use super::{FrameMeta, RawFrame, RedactedFrame};
use crate::error::Result;

/// Fixed buffers of one format. Clones share the buffers.
///
/// A buffer that held raw samples is overwritten with zeros before anybody can get it again.
#[derive(Clone)]
pub struct FramePool {
    shared: Arc<Shared>,
}

struct Shared {
    format: FrameFormat,
    count: usize,
    free: FreeList<Bytes>,
}

/// Memory of one frame, aligned without unsafe code by starting a little later.
struct Bytes {
    memory: Vec<u8>,
    start: usize,
}

/// One buffer out of the pool; goes back when dropped, scrubbed if it is raw.
pub(super) struct Lease {
    bytes: Bytes,
    shared: Arc<Shared>,
    raw: bool,
}

/// A buffer set aside, so that a blank frame can be made when everything else is in use.
pub(crate) struct Spare(Lease);

impl FramePool {
    /// `count` buffers of `format`, allocated at once; memory is never asked for again.
    pub fn new(format: FrameFormat, count: usize) -> Self {
        let free = FreeList::new((0..count).map(|_| Bytes::new(format.buffer_len())));
        FramePool { shared: Arc::new(Shared { format, count, free }) }
    }

    /// The format of every frame of this pool.
    pub fn format(&self) -> &FrameFormat {
        &self.shared.format
    }

    /// Buffers in the pool, in use or not.
    pub fn count(&self) -> usize {
        self.shared.count
    }

    /// Buffers that nobody uses now.
    pub fn free(&self) -> usize {
        self.shared.free.len()
    }

    /// Waits until a buffer is free, at most `patience`; true when one is. For sources that can wait, such as files.
    pub fn wait(&self, patience: Duration) -> bool {
        self.shared.free.wait(patience)
    }

    /// Fills a free buffer with a raw picture; `None` when no buffer is free (skip the picture and count it).
    ///
    /// # Errors
    /// Whatever `write` returns; the half-written buffer is scrubbed. A panic in `write` scrubs it too.
    pub fn fill(
        &self,
        meta: FrameMeta,
        write: impl FnOnce(&mut ViewMut<'_>) -> Result<()>,
    ) -> Result<Option<RawFrame>> {
        let Some(mut lease) = self.take() else { return Ok(None) };
        lease.raw = true;
        write(&mut lease.view_mut())?;
        Ok(Some(RawFrame { lease, meta }))
    }

    /// Sets a buffer aside; `None` when none is free.
    pub(crate) fn spare(&self) -> Option<Spare> {
        self.take().map(Spare)
    }

    /// A picture of one colour, made without any raw frame (I1).
    pub(crate) fn blank(
        spare: Spare,
        meta: FrameMeta,
        paint: impl FnOnce(&mut ViewMut<'_>),
    ) -> RedactedFrame {
        let Spare(mut lease) = spare;
        paint(&mut lease.view_mut());
        RedactedFrame::obscured(lease, meta)
    }

    /// True when the frame's buffer comes from this pool.
    pub(crate) fn owns(&self, frame: &RawFrame) -> bool {
        Arc::ptr_eq(&self.shared, &frame.lease.shared)
    }

    fn take(&self) -> Option<Lease> {
        let bytes = self.shared.free.take()?;
        Some(Lease { bytes, shared: Arc::clone(&self.shared), raw: false })
    }
}

impl Bytes {
    fn new(len: usize) -> Self {
        let memory = vec![0; len + ROW_ALIGNMENT - 1];
        let start = memory.as_ptr().align_offset(ROW_ALIGNMENT).min(ROW_ALIGNMENT - 1);
        Bytes { memory, start }
    }
}

impl Lease {
    pub(super) fn format(&self) -> &FrameFormat {
        &self.shared.format
    }

    pub(super) fn view(&self) -> View<'_> {
        let format = &self.shared.format;
        View::new(format, &self.bytes.memory[self.bytes.start..][..format.buffer_len()])
    }

    pub(super) fn view_mut(&mut self) -> ViewMut<'_> {
        let format = &self.shared.format;
        ViewMut::new(format, &mut self.bytes.memory[self.bytes.start..][..format.buffer_len()])
    }

    /// From here on the content may be seen. Only the boundary calls this, after the cover was applied.
    pub(super) fn mark_redacted(&mut self) {
        self.raw = false;
    }

    /// Takes the buffer back for reuse as a spare: scrubbed first.
    pub(super) fn into_spare(mut self) -> Spare {
        self.scrub();
        Spare(self)
    }

    fn scrub(&mut self) {
        if self.raw {
            self.bytes.memory.fill(0);
            self.raw = false;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.scrub();
        let bytes = std::mem::replace(&mut self.bytes, Bytes { memory: Vec::new(), start: 0 });
        self.shared.free.give(bytes);
    }
}
