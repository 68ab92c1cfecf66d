//! A fixed set of buffers: the back-pressure of the whole engine. Nothing here grows.

use std::sync::Arc;
use std::time::Duration;

use milkglass_queues::FreeList;

use super::memory::Memory;
use super::{FrameMeta, RawFrame, RedactedFrame};
use crate::error::{Error, Result};
use crate::picture::{FrameFormat, View, ViewMut};

/// Fixed buffers of one format. Clones share the buffers.
///
/// A buffer that held raw samples is overwritten with zeros before anybody can get it again. None is part of a core dump, or
/// of a program that this one forks, where the kernel can leave it out.
#[derive(Clone)]
pub struct FramePool {
    shared: Arc<Shared>,
}

struct Shared {
    format: FrameFormat,
    count: usize,
    free: FreeList<Memory>,
}

/// One buffer out of the pool; goes back when dropped, scrubbed if it is raw.
pub(super) struct Lease {
    bytes: Memory,
    shared: Arc<Shared>,
    raw: bool,
}

/// A buffer set aside, so that a blank frame can be made when everything else is in use.
pub(crate) struct Spare(Lease);

impl FramePool {
    /// `count` buffers of `format`, allocated at once; memory is never asked for again.
    pub fn new(format: FrameFormat, count: usize) -> Self {
        Self::of(format, (0..count).map(|_| Memory::new(format.buffer_len())).collect())
    }

    /// The same, locked: the kernel never writes these buffers to swap.
    ///
    /// # Errors
    /// [`Error::Io`] when the system does not let this program lock as much memory.
    pub fn locked(format: FrameFormat, count: usize) -> Result<Self> {
        let buffers: Vec<Memory> = (0..count).map(|_| Memory::new(format.buffer_len())).collect();
        if let Err(error) = buffers.iter().try_for_each(Memory::lock) {
            let kib = |bytes: usize| bytes.div_ceil(1024);
            let allowed = match rustix::process::getrlimit(rustix::process::Resource::Memlock).current {
                Some(bytes) => format!("{} KiB are allowed", bytes >> 10),
                None => "there is no limit".to_owned(),
            };
            return Err(Error::io(
                format!(
                    "locking {count} frames of {} KiB in memory ({allowed}: raise it with LimitMEMLOCK= in a systemd unit \
                     or `ulimit -l`, or do without locking)",
                    kib(format.buffer_len())
                ),
                error,
            ));
        }
        Ok(Self::of(format, buffers))
    }

    fn of(format: FrameFormat, buffers: Vec<Memory>) -> Self {
        let count = buffers.len();
        FramePool { shared: Arc::new(Shared { format, count, free: FreeList::new(buffers.into_iter()) }) }
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

impl Lease {
    pub(super) fn format(&self) -> &FrameFormat {
        &self.shared.format
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.shared.format, &self.bytes)
    }

    pub(super) fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut::new(&self.shared.format, &mut self.bytes)
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
            self.bytes.fill(0);
            self.raw = false;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.scrub();
        self.shared.free.give(std::mem::take(&mut self.bytes));
    }
}
