//! The kernel's side of a camera: requests, mapped buffers, the queue. All unsafe code of this source is in this file; what
//! leaves it is plain values, and bytes borrowed for as long as the driver leaves them alone.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::mm::{MapFlags, ProtFlags};
use v4l::v4l_sys as raw;
use v4l::v4l2::{self, vidioc};

use super::format::{Fourcc, Memory, Negotiated};
use crate::time::Timestamp;

/// The most memory planes of a buffer.
const MAX_PLANES: usize = raw::VIDEO_MAX_PLANES as usize;
/// More entries than this come from a driver that does not end its lists.
const MAX_ENTRIES: u32 = 1024;

/// Which of the two capture interfaces a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One memory plane for a picture.
    Single,
    /// One or more.
    Multi,
}

impl Kind {
    fn buffer_type(self) -> u32 {
        match self {
            Kind::Single => raw::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE,
            Kind::Multi => raw::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
        }
    }
}

/// What a device says of itself. `kind` is `None` when it does not capture video into mapped buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub driver: String,
    pub card: String,
    pub bus_info: String,
    pub kind: Option<Kind>,
}

/// Sizes of a format, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameSize {
    /// Exactly this width and height.
    Discrete(u32, u32),
    /// From the least to the greatest width and height, in these steps.
    Range {
        /// Least width and height.
        min: (u32, u32),
        /// Greatest width and height.
        max: (u32, u32),
        /// Steps between them.
        step: (u32, u32),
    },
}

/// Structures of integers, and unions and pointers of such, for which all zeros is a valid value.
///
/// # Safety
/// Only for types of which that is true.
unsafe trait Plain: Copy {
    fn zeroed() -> Self {
        // SAFETY: the trait's promise.
        unsafe { std::mem::zeroed() }
    }
}
macro_rules! plain {
    ($($name:ident),*) => {
        // SAFETY: integers, arrays and unions of integers, null pointers.
        $(unsafe impl Plain for raw::$name {})*
    };
}
plain!(v4l2_capability, v4l2_fmtdesc, v4l2_frmsizeenum, v4l2_format, v4l2_streamparm);
plain!(v4l2_requestbuffers, v4l2_buffer, v4l2_plane);

macro_rules! requests {
    ($($name:ident = $request:ident($argument:ty);)*) => {
        $(fn $name(&self, argument: &mut $argument) -> io::Result<()> {
            let argument = ptr::from_mut(argument).cast();
            loop {
                // SAFETY: the kernel defines this request for exactly this structure, borrowed for the call. A buffer's
                // pointer to planes is set by `with_buffer` alone, which owns MAX_PLANES of them.
                match unsafe { v4l2::ioctl(self.fd.as_raw_fd(), vidioc::$request, argument) } {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            }
        })*
    };
}

/// An open device, not streaming.
pub(super) struct Device {
    fd: OwnedFd,
}

impl Device {
    requests! {
        query_cap = VIDIOC_QUERYCAP(raw::v4l2_capability);
        enum_fmt = VIDIOC_ENUM_FMT(raw::v4l2_fmtdesc);
        enum_framesizes = VIDIOC_ENUM_FRAMESIZES(raw::v4l2_frmsizeenum);
        g_fmt = VIDIOC_G_FMT(raw::v4l2_format);
        s_fmt = VIDIOC_S_FMT(raw::v4l2_format);
        g_parm = VIDIOC_G_PARM(raw::v4l2_streamparm);
        s_parm = VIDIOC_S_PARM(raw::v4l2_streamparm);
        reqbufs = VIDIOC_REQBUFS(raw::v4l2_requestbuffers);
        querybuf = VIDIOC_QUERYBUF(raw::v4l2_buffer);
        qbuf = VIDIOC_QBUF(raw::v4l2_buffer);
        dqbuf = VIDIOC_DQBUF(raw::v4l2_buffer);
        streamon = VIDIOC_STREAMON(i32);
        streamoff = VIDIOC_STREAMOFF(i32);
    }

    pub fn open(path: &Path) -> io::Result<Device> {
        let fd = rustix::fs::open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Device { fd })
    }

    pub fn identity(&self) -> io::Result<Identity> {
        let mut cap = raw::v4l2_capability::zeroed();
        self.query_cap(&mut cap)?;
        let node = cap.capabilities & raw::V4L2_CAP_DEVICE_CAPS != 0;
        let caps = if node { cap.device_caps } else { cap.capabilities };
        let kind = match caps {
            _ if caps & raw::V4L2_CAP_STREAMING == 0 => None,
            _ if caps & raw::V4L2_CAP_VIDEO_CAPTURE != 0 => Some(Kind::Single),
            _ if caps & raw::V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0 => Some(Kind::Multi),
            _ => None,
        };
        Ok(Identity { driver: text(&cap.driver), card: text(&cap.card), bus_info: text(&cap.bus_info), kind })
    }

    /// The formats on offer, each with the driver's description.
    pub fn formats(&self, kind: Kind) -> Vec<(Fourcc, String)> {
        let one = |index| {
            let mut d = raw::v4l2_fmtdesc { index, type_: kind.buffer_type(), ..Plain::zeroed() };
            self.enum_fmt(&mut d).ok().map(|()| (Fourcc(d.pixelformat.to_le_bytes()), text(&d.description)))
        };
        (0..MAX_ENTRIES).map_while(one).collect()
    }

    /// The sizes of a format; empty when the driver does not tell.
    pub fn sizes(&self, fourcc: Fourcc) -> Vec<FrameSize> {
        let one = |index| {
            let pixel_format = u32::from_le_bytes(fourcc.0);
            let mut s = raw::v4l2_frmsizeenum { index, pixel_format, ..Plain::zeroed() };
            self.enum_framesizes(&mut s).ok()?;
            // SAFETY: both members are integers, so either reading is defined; the kernel filled the one `type_` names.
            Some(unsafe {
                if s.type_ == raw::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
                    let d = s.__bindgen_anon_1.discrete;
                    FrameSize::Discrete(d.width, d.height)
                } else {
                    let r = s.__bindgen_anon_1.stepwise;
                    let (min, max) = ((r.min_width, r.min_height), (r.max_width, r.max_height));
                    FrameSize::Range { min, max, step: (r.step_width, r.step_height) }
                }
            })
        };
        let mut sizes = Vec::new();
        for size in (0..MAX_ENTRIES).map_while(one) {
            sizes.push(size);
            if matches!(size, FrameSize::Range { .. }) {
                break;
            }
        }
        sizes
    }

    /// The format in force.
    pub fn format(&self, kind: Kind) -> io::Result<Negotiated> {
        let mut f = raw::v4l2_format { type_: kind.buffer_type(), ..Plain::zeroed() };
        self.g_fmt(&mut f)?;
        Ok(negotiated(kind, &f))
    }

    /// Asks for a format; what comes back may be another. Strides and sizes are left to the driver: it would keep old ones.
    pub fn set_format(&self, kind: Kind, fourcc: Fourcc, size: (u32, u32)) -> io::Result<Negotiated> {
        let mut f = raw::v4l2_format { type_: kind.buffer_type(), ..Plain::zeroed() };
        let (pixelformat, field) = (u32::from_le_bytes(fourcc.0), raw::v4l2_field_V4L2_FIELD_NONE);
        match kind {
            Kind::Single => {
                f.fmt.pix.width = size.0;
                f.fmt.pix.height = size.1;
                f.fmt.pix.pixelformat = pixelformat;
                f.fmt.pix.field = field;
                // Without it, the colour fields beyond `colorspace` are neither read nor written.
                f.fmt.pix.priv_ = raw::V4L2_PIX_FMT_PRIV_MAGIC;
            }
            Kind::Multi => {
                f.fmt.pix_mp.width = size.0;
                f.fmt.pix_mp.height = size.1;
                f.fmt.pix_mp.pixelformat = pixelformat;
                f.fmt.pix_mp.field = field;
            }
        }
        self.s_fmt(&mut f)?;
        Ok(negotiated(kind, &f))
    }

    /// Asks for a frame rate, or for nothing; returns the one in force, if the driver tells.
    pub fn set_rate(&self, kind: Kind, fps: Option<f64>) -> Option<f64> {
        let mut p = raw::v4l2_streamparm { type_: kind.buffer_type(), ..Plain::zeroed() };
        self.g_parm(&mut p).ok()?;
        // SAFETY: integers, valid in any case; for capture types the kernel fills this member.
        let can_set = unsafe { p.parm.capture.capability } & raw::V4L2_CAP_TIMEPERFRAME != 0;
        if let (true, Some(fps)) = (can_set, fps) {
            let (numerator, denominator) = (1000, (fps * 1000.0).round().clamp(1.0, 1e9) as u32);
            p.parm.capture.timeperframe = raw::v4l2_fract { numerator, denominator };
            self.s_parm(&mut p).ok()?;
        }
        // SAFETY: as above.
        let t = unsafe { p.parm.capture.timeperframe };
        (t.numerator > 0 && t.denominator > 0).then(|| f64::from(t.denominator) / f64::from(t.numerator))
    }

    /// Maps `count` buffers (the driver may give others), queues them and starts the camera.
    pub fn start(self, kind: Kind, count: u32) -> io::Result<Stream> {
        let memory = raw::v4l2_memory_V4L2_MEMORY_MMAP;
        let mut r = raw::v4l2_requestbuffers { count, type_: kind.buffer_type(), memory, ..Plain::zeroed() };
        self.reqbufs(&mut r)?;
        if r.count < 2 {
            return Err(io::Error::other("the driver has too little memory for two buffers"));
        }
        let mut stream = Stream { device: self, kind, buffers: Vec::with_capacity(r.count as usize) };
        for index in 0..r.count {
            let mappings = stream.device.map(kind, index)?;
            stream.buffers.push(mappings);
        }
        for index in 0..r.count {
            stream.device.with_buffer(kind, index, |device, b| device.qbuf(b))?;
        }
        stream.device.streamon(&mut kind.buffer_type().cast_signed())?;
        Ok(stream)
    }

    fn map(&self, kind: Kind, index: u32) -> io::Result<Vec<Mapping>> {
        let (b, planes) = self.with_buffer(kind, index, |device, b| device.querybuf(b))?;
        match kind {
            // SAFETY: a union of integers and pointers; for mapped buffers of this kind the kernel fills `offset`.
            Kind::Single => Ok(vec![Mapping::new(&self.fd, b.length, unsafe { b.m.offset })?]),
            Kind::Multi => {
                let used = planes.iter().take(b.length as usize);
                // SAFETY: as above, per plane.
                used.map(|p| Mapping::new(&self.fd, p.length, unsafe { p.m.mem_offset })).collect()
            }
        }
    }

    /// One buffer request, with the structures it needs.
    fn with_buffer(
        &self,
        kind: Kind,
        index: u32,
        request: impl FnOnce(&Device, &mut raw::v4l2_buffer) -> io::Result<()>,
    ) -> io::Result<(raw::v4l2_buffer, [raw::v4l2_plane; MAX_PLANES])> {
        let mut planes = [raw::v4l2_plane::zeroed(); MAX_PLANES];
        let memory = raw::v4l2_memory_V4L2_MEMORY_MMAP;
        let mut b = raw::v4l2_buffer { index, type_: kind.buffer_type(), memory, ..Plain::zeroed() };
        if kind == Kind::Multi {
            b.m.planes = planes.as_mut_ptr();
            b.length = MAX_PLANES as u32;
        }
        request(self, &mut b)?;
        Ok((b, planes))
    }
}

/// A device that streams. Dropped, it stops; a device that is gone already is no reason to panic.
pub(super) struct Stream {
    device: Device,
    kind: Kind,
    buffers: Vec<Vec<Mapping>>,
}

/// A buffer that the driver has filled, and does not touch until it is requeued.
pub(super) struct Filled<'a> {
    stream: &'a Stream,
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
        self.buffers.iter().map(|b| b.get(plane).map_or(0, |m| m.len)).min().unwrap_or(0)
    }

    /// Waits for a filled buffer; `None` when none came in time. Another call may follow.
    pub fn dequeue(&mut self, patience: Duration) -> io::Result<Option<Filled<'_>>> {
        let timeout =
            Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.device.fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let broken = fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        let (b, planes) = match self.device.with_buffer(self.kind, 0, |device, b| device.dqbuf(b)) {
            // A broken queue would be reported at once again and again.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !broken => return Ok(None),
            result => result?,
        };
        let mut spans = [(0, 0); MAX_PLANES];
        match self.kind {
            Kind::Single => spans[0] = (0, b.bytesused as usize),
            Kind::Multi => {
                for (span, p) in spans.iter_mut().zip(&planes).take(b.length as usize) {
                    *span = (p.data_offset as usize, p.bytesused as usize);
                }
            }
        }
        let monotonic = b.flags & raw::V4L2_BUF_FLAG_TIMESTAMP_MASK == raw::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        Ok(Some(Filled {
            stream: self,
            index: b.index,
            spans,
            damaged: b.flags & raw::V4L2_BUF_FLAG_ERROR != 0,
            sequence: b.sequence,
            captured: if monotonic { nanos(b.timestamp.tv_sec, b.timestamp.tv_usec) } else { None },
        }))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Fails when the device is gone, and then it has stopped.
        let _ = self.device.streamoff(&mut self.kind.buffer_type().cast_signed());
    }
}

impl Filled<'_> {
    /// The picture's bytes in a memory plane; empty where there is none.
    pub fn memory(&self, plane: usize) -> &[u8] {
        let mapping = self.stream.buffers.get(self.index as usize).and_then(|b| b.get(plane));
        let (start, end) = self.spans.get(plane).copied().unwrap_or((0, 0));
        mapping.and_then(|m| m.bytes().get(start..end.min(m.len))).unwrap_or(&[])
    }

    /// Gives the buffer back to the driver.
    pub fn requeue(self) -> io::Result<()> {
        let Stream { device, kind, .. } = self.stream;
        device.with_buffer(*kind, self.index, |device, b| device.qbuf(b)).map(|_| ())
    }
}

/// A driver's buffer in our memory.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory, owned by this value; nothing about it belongs to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(fd: &OwnedFd, len: u32, offset: u32) -> io::Result<Mapping> {
        let (len, protection) = (len as usize, ProtFlags::READ);
        // SAFETY: a new mapping at an address of the kernel's choice, so no other memory is touched.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, fd.as_fd(), offset.into())
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, len })
    }

    /// Private to this file: only [`Filled`] may read, while the driver does not write.
    fn bytes(&self) -> &[u8] {
        // SAFETY: `start` maps `len` readable bytes until drop. They are reached through a dequeued buffer only, which the
        // driver leaves alone until `requeue` consumes it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and every borrow of it has ended.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

fn negotiated(kind: Kind, f: &raw::v4l2_format) -> Negotiated {
    match kind {
        Kind::Single => {
            // SAFETY: a union of structures of integers: any bytes are a value, and for this type the kernel filled `pix`.
            let (p, ycbcr_enc) = unsafe { (f.fmt.pix, f.fmt.pix.__bindgen_anon_1.ycbcr_enc) };
            Negotiated {
                fourcc: Fourcc(p.pixelformat.to_le_bytes()),
                size: (p.width, p.height),
                progressive: p.field == raw::v4l2_field_V4L2_FIELD_NONE,
                memory: vec![Memory { stride: p.bytesperline as usize, len: p.sizeimage as usize }],
                colorspace: p.colorspace,
                ycbcr_enc,
                quantization: p.quantization,
            }
        }
        Kind::Multi => {
            // SAFETY: as above, with `pix_mp`.
            let (p, ycbcr_enc) = unsafe { (f.fmt.pix_mp, f.fmt.pix_mp.__bindgen_anon_1.ycbcr_enc) };
            let planes = p.plane_fmt;
            let memory = |p: &raw::v4l2_plane_pix_format| {
                let (stride, len) = (p.bytesperline, p.sizeimage);
                Memory { stride: stride as usize, len: len as usize }
            };
            Negotiated {
                fourcc: Fourcc(p.pixelformat.to_le_bytes()),
                size: (p.width, p.height),
                progressive: p.field == raw::v4l2_field_V4L2_FIELD_NONE,
                memory: planes.iter().take(p.num_planes.into()).map(memory).collect(),
                colorspace: p.colorspace,
                ycbcr_enc: ycbcr_enc.into(),
                quantization: p.quantization.into(),
            }
        }
    }
}

fn nanos(seconds: impl TryInto<u64>, micros: impl TryInto<u64>) -> Option<Timestamp> {
    let (seconds, micros) = (seconds.try_into().ok()?, micros.try_into().ok()?);
    Some(Timestamp::from_nanos(seconds.checked_mul(1_000_000_000)?.checked_add(micros.checked_mul(1000)?)?))
}

/// A text field of the kernel: up to its first zero byte.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
