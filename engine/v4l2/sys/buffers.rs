//! Mapped buffers, and the queues through which they go to the driver and come back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::mm::{MapFlags, ProtFlags};
use v4l::v4l_sys as raw;

use super::{Device, Import, Kind, Plain};
use crate::source::dmabuf::{Descriptor, reading};
use crate::time::Timestamp;

/// The most memory planes of a buffer.
const MAX_PLANES: usize = raw::VIDEO_MAX_PLANES as usize;
const BROKEN: PollFlags = PollFlags::ERR.union(PollFlags::HUP).union(PollFlags::NVAL);

impl Device {
    /// Maps `count` buffers (the driver may give others), queues them and starts the camera.
    pub fn start(self, kind: Kind, count: u32, import: Import) -> io::Result<Stream> {
        let mut queue = Queue::new(self, kind, count, ProtFlags::READ)?;
        if import == Import::Dmabuf
            && let Err(why) = queue.import()
        {
            log::info!("the driver exports no DMABUFs ({why}): its buffers are mapped as usual");
        }
        for index in 0..queue.buffers.len() {
            queue.enqueue(index as u32, &[])?;
        }
        queue.device.streamon(&mut kind.buffer_type().cast_signed())?;
        Ok(Stream { queue })
    }

    /// Maps `count` buffers (the driver may give others) and starts the output device; it waits for pictures.
    pub fn start_output(self, kind: Kind, count: u32) -> io::Result<Playback> {
        let queue = Queue::new(self, kind, count, ProtFlags::READ | ProtFlags::WRITE)?;
        queue.device.streamon(&mut kind.buffer_type().cast_signed())?;
        let free = (0..queue.buffers.len() as u32).collect();
        Ok(Playback { queue, free })
    }

    fn map(&self, kind: Kind, index: u32, protection: ProtFlags) -> io::Result<Vec<Mapping>> {
        let (b, planes) = self.with_buffer(kind, index, &[], |device, b| device.querybuf(b))?;
        if kind.has_planes() {
            let used = planes.iter().take(b.length as usize);
            // SAFETY: a union of integers and pointers; for mapped buffers of this kind the kernel fills `mem_offset`.
            used.map(|p| Mapping::new(self.fd.as_fd(), p.length, unsafe { p.m.mem_offset }, protection))
                .collect()
        } else {
            // SAFETY: as above, with `offset`.
            Ok(vec![Mapping::new(self.fd.as_fd(), b.length, unsafe { b.m.offset }, protection)?])
        }
    }

    /// A memory plane of a buffer, exported as a DMABUF and mapped for reading through it.
    fn export(&self, kind: Kind, index: u32, plane: u32) -> io::Result<Mapping> {
        let flags = (OFlags::CLOEXEC | OFlags::RDONLY).bits();
        let type_ = kind.buffer_type();
        let mut e = raw::v4l2_exportbuffer { type_, index, plane, flags, ..Plain::zeroed() };
        self.expbuf(&mut e)?;
        // SAFETY: the kernel has made it for this call, so nobody else owns it; a failed request has returned above.
        let export = Descriptor::new(unsafe { OwnedFd::from_raw_fd(e.fd) })?;
        let len = u32::try_from(export.len()).map_err(io::Error::other)?;
        let mut mapping = Mapping::new(export.as_fd(), len, 0, ProtFlags::READ)?;
        mapping.export = Some(export);
        Ok(mapping)
    }

    /// One buffer request, with the structures it needs. `used`: the bytes of each memory plane that hold the picture, where
    /// it goes to the driver.
    fn with_buffer(
        &self,
        kind: Kind,
        index: u32,
        used: &[usize],
        request: impl FnOnce(&Device, &mut raw::v4l2_buffer) -> io::Result<()>,
    ) -> io::Result<(raw::v4l2_buffer, [raw::v4l2_plane; MAX_PLANES])> {
        let mut planes = [raw::v4l2_plane::zeroed(); MAX_PLANES];
        let (memory, field) = (raw::v4l2_memory_V4L2_MEMORY_MMAP, raw::v4l2_field_V4L2_FIELD_NONE);
        let mut b = raw::v4l2_buffer { index, type_: kind.buffer_type(), memory, field, ..Plain::zeroed() };
        if kind.has_planes() {
            planes.iter_mut().zip(used).for_each(|(p, used)| p.bytesused = *used as u32);
            b.m.planes = planes.as_mut_ptr();
            b.length = MAX_PLANES as u32;
        } else {
            b.bytesused = used.first().map_or(0, |used| *used as u32);
        }
        request(self, &mut b)?;
        Ok((b, planes))
    }
}

/// A device with its buffers. Dropped, it stops; a device that is gone already is no reason to panic.
struct Queue {
    device: Device,
    kind: Kind,
    buffers: Vec<Vec<Mapping>>,
}

impl Queue {
    fn new(device: Device, kind: Kind, count: u32, protection: ProtFlags) -> io::Result<Queue> {
        let memory = raw::v4l2_memory_V4L2_MEMORY_MMAP;
        let mut r = raw::v4l2_requestbuffers { count, type_: kind.buffer_type(), memory, ..Plain::zeroed() };
        device.reqbufs(&mut r)?;
        if r.count < 2 {
            return Err(io::Error::other("the driver has too little memory for two buffers"));
        }
        let mut queue = Queue { device, kind, buffers: Vec::with_capacity(r.count as usize) };
        for index in 0..r.count {
            let mappings = queue.device.map(kind, index, protection)?;
            queue.buffers.push(mappings);
        }
        Ok(queue)
    }

    /// Has all buffers read as DMABUFs, or none.
    fn import(&mut self) -> io::Result<()> {
        let mut imported = Vec::with_capacity(self.buffers.len());
        for (index, mappings) in (0..).zip(&self.buffers) {
            let plane = |(plane, mapped): (u32, &Mapping)| {
                let mapping = self.device.export(self.kind, index, plane)?;
                let shorter = || io::Error::other("the DMABUF is shorter than the buffer");
                (mapping.len >= mapped.len).then_some(mapping).ok_or_else(shorter)
            };
            imported.push((0..).zip(mappings).map(plane).collect::<io::Result<_>>()?);
        }
        self.buffers = imported;
        Ok(())
    }

    /// The length of each memory plane of every buffer, at the least.
    fn capacity(&self, plane: usize) -> usize {
        self.buffers.iter().map(|b| b.get(plane).map_or(0, |m| m.len)).min().unwrap_or(0)
    }

    fn enqueue(&self, index: u32, used: &[usize]) -> io::Result<()> {
        self.device.with_buffer(self.kind, index, used, |device, b| device.qbuf(b)).map(|_| ())
    }

    /// Waits for a buffer that the driver is done with; `None` when none came in time.
    fn dequeue(
        &self,
        patience: Duration,
    ) -> io::Result<Option<(raw::v4l2_buffer, [raw::v4l2_plane; MAX_PLANES])>> {
        let ready = if self.kind.is_output() { PollFlags::OUT } else { PollFlags::IN };
        let came = self.device.wait(ready, patience)?;
        if came.is_empty() {
            return Ok(None);
        }
        match self.device.with_buffer(self.kind, 0, &[], |device, b| device.dqbuf(b)) {
            // A broken queue would be reported at once again and again.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !came.intersects(BROKEN) => Ok(None),
            result => result.map(Some),
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Fails when the device is gone, and then it has stopped.
        let _ = self.device.streamoff(&mut self.kind.buffer_type().cast_signed());
    }
}

/// A camera that streams.
pub(crate) struct Stream {
    queue: Queue,
}

/// A buffer that the driver has filled, and does not touch until it is requeued.
pub(crate) struct Filled<'a> {
    queue: &'a Queue,
    index: u32,
    /// For each memory plane: where the picture starts and ends.
    spans: [(usize, usize); MAX_PLANES],
    /// The driver says that the picture may be damaged.
    pub damaged: bool,
    pub sequence: u32,
    /// On the monotonic clock; `None` when the driver used another one, or none.
    pub captured: Option<Timestamp>,
}

impl Stream {
    /// The length of each memory plane of every buffer, at the least.
    pub fn capacity(&self, plane: usize) -> usize {
        self.queue.capacity(plane)
    }

    /// How the buffers are read.
    pub fn import(&self) -> Import {
        match self.queue.buffers.iter().flatten().all(|m| m.export.is_some()) {
            true => Import::Dmabuf,
            false => Import::Mmap,
        }
    }

    /// Gives buffers back unread that were filled before this call.
    pub fn discard(&mut self) -> io::Result<()> {
        // Not more than there are: a fast camera would fill them again and again.
        for _ in 0..self.queue.buffers.len() {
            match self.dequeue(Duration::ZERO)? {
                Some(filled) => filled.requeue()?,
                None => break,
            }
        }
        Ok(())
    }

    /// Waits for a filled buffer; `None` when none came in time. Another call may follow.
    pub fn dequeue(&mut self, patience: Duration) -> io::Result<Option<Filled<'_>>> {
        let Some((b, planes)) = self.queue.dequeue(patience)? else { return Ok(None) };
        let mut spans = [(0, 0); MAX_PLANES];
        if self.queue.kind.has_planes() {
            for (span, p) in spans.iter_mut().zip(&planes).take(b.length as usize) {
                *span = (p.data_offset as usize, p.bytesused as usize);
            }
        } else {
            spans[0] = (0, b.bytesused as usize);
        }
        let monotonic = b.flags & raw::V4L2_BUF_FLAG_TIMESTAMP_MASK == raw::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        Ok(Some(Filled {
            queue: &self.queue,
            index: b.index,
            spans,
            damaged: b.flags & raw::V4L2_BUF_FLAG_ERROR != 0,
            sequence: b.sequence,
            captured: if monotonic { nanos(b.timestamp.tv_sec, b.timestamp.tv_usec) } else { None },
        }))
    }
}

/// A filled buffer while it may be read.
#[derive(Clone, Copy)]
pub(crate) struct Readable<'a>(&'a Filled<'a>);

impl<'a> Readable<'a> {
    /// The picture's bytes in a memory plane; empty where there is none.
    pub fn memory(self, plane: usize) -> &'a [u8] {
        let mapping = self.0.memory().get(plane);
        let (start, end) = self.0.spans.get(plane).copied().unwrap_or((0, 0));
        mapping.and_then(|m| m.bytes().get(start..end.min(m.len))).unwrap_or(&[])
    }
}

impl Filled<'_> {
    fn memory(&self) -> &[Mapping] {
        self.queue.buffers.get(self.index as usize).map_or(&[], Vec::as_slice)
    }

    /// Has the picture read. What was read is worth nothing when this fails: the memory was or became unreadable.
    pub fn read<T>(&self, read: impl FnOnce(Readable<'_>) -> T) -> io::Result<T> {
        reading(self.memory().iter().filter_map(|m| m.export.as_ref()), || read(Readable(self)))
    }

    /// Gives the buffer back to the driver.
    pub fn requeue(self) -> io::Result<()> {
        self.queue.enqueue(self.index, &[])
    }
}

/// An output device that streams.
pub(crate) struct Playback {
    queue: Queue,
    /// Buffers that the driver does not hold.
    free: Vec<u32>,
}

impl Playback {
    /// The length of each memory plane of every buffer, at the least.
    pub fn capacity(&self, plane: usize) -> usize {
        self.queue.capacity(plane)
    }

    /// Has a free buffer's memory planes filled and queues it. `used` are their bytes that hold the picture. False when the
    /// driver gave no buffer back in time.
    pub fn play(
        &mut self,
        used: &[usize],
        patience: Duration,
        fill: impl FnOnce(&mut [Mapping]),
    ) -> io::Result<bool> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => match self.queue.dequeue(patience)? {
                Some((b, _)) => b.index,
                None => return Ok(false),
            },
        };
        let unknown = || io::Error::other("the driver gave back a buffer that it does not have");
        fill(self.queue.buffers.get_mut(index as usize).ok_or_else(unknown)?);
        self.queue.enqueue(index, used)?;
        Ok(true)
    }
}

/// A memory plane of a driver's buffer, in our memory.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// What it is a mapping of, if not of the device itself.
    export: Option<Descriptor>,
}

// SAFETY: plain memory, owned by this value; nothing about it belongs to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, len: u32, offset: u32, protection: ProtFlags) -> io::Result<Mapping> {
        let len = len as usize;
        // SAFETY: a new mapping at an address of the kernel's choice, so no other memory is touched.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, fd, offset.into())
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, len, export: None })
    }

    /// Private to this file: only [`Readable`] may read, while the driver does not write.
    fn bytes(&self) -> &[u8] {
        // SAFETY: `start` maps `len` readable bytes until drop. They are reached through a dequeued buffer only, which the
        // driver leaves alone until `requeue` consumes it; a DMABUF of it is nobody's but ours.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

/// To put out: [`Playback::play`] alone lends a mapping like this.
impl AsMut<[u8]> for Mapping {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; `Playback` maps its buffers writable, lends one that the driver does not hold, and queues it when
        // it has it back.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and every borrow of it has ended.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

fn nanos(seconds: impl TryInto<u64>, micros: impl TryInto<u64>) -> Option<Timestamp> {
    let (seconds, micros) = (seconds.try_into().ok()?, micros.try_into().ok()?);
    Some(Timestamp::from_nanos(seconds.checked_mul(1_000_000_000)?.checked_add(micros.checked_mul(1000)?)?))
}
