//! The kernel's side of a camera or an output device: requests here, mapped buffers in `buffers.rs`. All unsafe code for
//! V4L2 is in these two files; what leaves them is plain values, and bytes borrowed for as long as the driver leaves them
//! alone.
#![allow(unsafe_code)]

mod buffers;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use v4l::v4l_sys as raw;
use v4l::v4l2::{self, vidioc};

pub(crate) use buffers::{Filled, Playback, Stream};

use super::format::{ColorCodes, Fourcc, Memory, Negotiated, PixelShape};

/// More entries than this come from a driver that does not end its lists.
const MAX_ENTRIES: u32 = 1024;

/// The kinds of video queues: pictures that come from the device or go to it, in one memory plane each or in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Capture,
    CapturePlanes,
    Output,
    OutputPlanes,
}

impl Kind {
    fn buffer_type(self) -> u32 {
        match self {
            Kind::Capture => raw::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE,
            Kind::CapturePlanes => raw::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
            Kind::Output => raw::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_OUTPUT,
            Kind::OutputPlanes => raw::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
        }
    }

    fn has_planes(self) -> bool {
        matches!(self, Kind::CapturePlanes | Kind::OutputPlanes)
    }

    fn is_output(self) -> bool {
        matches!(self, Kind::Output | Kind::OutputPlanes)
    }
}

/// How a camera's buffers are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Import {
    /// Mapped from the device. The kernel readies each picture for the processor when it hands it over.
    #[default]
    Mmap,
    /// Exported by the driver as DMABUFs (`VIDIOC_EXPBUF`), which are mapped for reading and announced to the kernel
    /// around each picture; mapped as above where the driver exports none. The same memory by a longer way: for a
    /// driver that readies its pictures in this way alone.
    Dmabuf,
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub driver: String,
    pub card: String,
    pub bus_info: String,
    /// `None` when it does not capture video into mapped buffers.
    pub capture: Option<Kind>,
    /// `None` when no video can be put out to it.
    pub output: Option<Kind>,
    /// Mapped buffers can be used.
    pub streams: bool,
    /// Pictures can be put out with plain writing.
    pub writes: bool,
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
plain!(v4l2_requestbuffers, v4l2_buffer, v4l2_plane, v4l2_exportbuffer, v4l2_cropcap, v4l2_crop);

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
pub(crate) struct Device {
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
        cropcap = VIDIOC_CROPCAP(raw::v4l2_cropcap);
        g_crop = VIDIOC_G_CROP(raw::v4l2_crop);
        reqbufs = VIDIOC_REQBUFS(raw::v4l2_requestbuffers);
        querybuf = VIDIOC_QUERYBUF(raw::v4l2_buffer);
        expbuf = VIDIOC_EXPBUF(raw::v4l2_exportbuffer);
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
        let can = |capability| caps & capability != 0;
        let streams = can(raw::V4L2_CAP_STREAMING);
        let capture = match () {
            () if !streams => None,
            () if can(raw::V4L2_CAP_VIDEO_CAPTURE) => Some(Kind::Capture),
            () if can(raw::V4L2_CAP_VIDEO_CAPTURE_MPLANE) => Some(Kind::CapturePlanes),
            () => None,
        };
        let output = match () {
            () if can(raw::V4L2_CAP_VIDEO_OUTPUT) => Some(Kind::Output),
            () if can(raw::V4L2_CAP_VIDEO_OUTPUT_MPLANE) => Some(Kind::OutputPlanes),
            () => None,
        };
        let writes = can(raw::V4L2_CAP_READWRITE) && output == Some(Kind::Output);
        let (driver, card, bus_info) = (text(&cap.driver), text(&cap.card), text(&cap.bus_info));
        Ok(Identity { driver, card, bus_info, capture, output, streams, writes })
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
    /// Of the colours, cameras say what they are, and output devices are told.
    pub fn set_format(
        &self,
        kind: Kind,
        fourcc: Fourcc,
        size: (u32, u32),
        color: ColorCodes,
    ) -> io::Result<Negotiated> {
        let mut f = raw::v4l2_format { type_: kind.buffer_type(), ..Plain::zeroed() };
        let (pixelformat, field) = (u32::from_le_bytes(fourcc.0), raw::v4l2_field_V4L2_FIELD_NONE);
        if kind.has_planes() {
            f.fmt.pix_mp.width = size.0;
            f.fmt.pix_mp.height = size.1;
            f.fmt.pix_mp.pixelformat = pixelformat;
            f.fmt.pix_mp.field = field;
            f.fmt.pix_mp.colorspace = color.colorspace;
            f.fmt.pix_mp.__bindgen_anon_1.ycbcr_enc = color.ycbcr_enc as u8;
            f.fmt.pix_mp.quantization = color.quantization as u8;
        } else {
            f.fmt.pix.width = size.0;
            f.fmt.pix.height = size.1;
            f.fmt.pix.pixelformat = pixelformat;
            f.fmt.pix.field = field;
            f.fmt.pix.colorspace = color.colorspace;
            f.fmt.pix.__bindgen_anon_1.ycbcr_enc = color.ycbcr_enc;
            f.fmt.pix.quantization = color.quantization;
            // Without it, the colour fields beyond `colorspace` are neither read nor written.
            f.fmt.pix.priv_ = raw::V4L2_PIX_FMT_PRIV_MAGIC;
        }
        self.s_fmt(&mut f)?;
        Ok(negotiated(kind, &f))
    }

    /// What the driver says of the shape of a pixel, before it scales and in what it scales; `None` when it does not tell.
    pub fn pixel_shape(&self, kind: Kind) -> Option<PixelShape> {
        let mut c = raw::v4l2_cropcap { type_: kind.buffer_type(), ..Plain::zeroed() };
        self.cropcap(&mut c).ok()?;
        let mut crop = raw::v4l2_crop { type_: kind.buffer_type(), ..Plain::zeroed() };
        let scaled = if self.g_crop(&mut crop).is_ok() { crop.c } else { c.defrect };
        // Of V4L2's fraction the upper part is the height.
        let aspect = (c.pixelaspect.denominator, c.pixelaspect.numerator);
        Some(PixelShape { aspect, scaled: (scaled.width, scaled.height) })
    }

    /// Asks for a frame rate, or for nothing; returns the one in force, if the driver tells.
    pub fn set_rate(&self, kind: Kind, fps: Option<f64>) -> Option<f64> {
        let mut p = raw::v4l2_streamparm { type_: kind.buffer_type(), ..Plain::zeroed() };
        self.g_parm(&mut p).ok()?;
        // SAFETY: integers, valid in any case; the kernel fills this member for capture, and for output one of the same layout
        // as far as it is used here.
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

    /// Starts a device that is written to without mapped buffers.
    pub fn start_writing(&self, kind: Kind) -> io::Result<()> {
        self.streamon(&mut kind.buffer_type().cast_signed())
    }

    /// Writes one picture; `None` when the device takes none now.
    pub fn write(&self, picture: &[u8]) -> io::Result<Option<usize>> {
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, picture)) {
            Ok(written) => Ok(Some(written)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits until one of `events` has come, or an error; what has come, which is nothing when time is up.
    pub fn wait(&self, events: PollFlags, patience: Duration) -> io::Result<PollFlags> {
        let timeout =
            Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.fd, events)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) => Ok(fds[0].revents()),
            Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
            Err(e) => Err(e.into()),
        }
    }
}

fn negotiated(kind: Kind, f: &raw::v4l2_format) -> Negotiated {
    if kind.has_planes() {
        // SAFETY: a union of structures of integers: any bytes are a value, and for this type the kernel filled `pix_mp`.
        let (p, ycbcr_enc) = unsafe { (f.fmt.pix_mp, f.fmt.pix_mp.__bindgen_anon_1.ycbcr_enc) };
        let planes = p.plane_fmt;
        let memory = |p: &raw::v4l2_plane_pix_format| {
            let (stride, len) = (p.bytesperline, p.sizeimage);
            Memory { stride: stride as usize, len: len as usize }
        };
        let (ycbcr_enc, quantization) = (ycbcr_enc.into(), p.quantization.into());
        Negotiated {
            fourcc: Fourcc(p.pixelformat.to_le_bytes()),
            size: (p.width, p.height),
            progressive: p.field == raw::v4l2_field_V4L2_FIELD_NONE,
            memory: planes.iter().take(p.num_planes.into()).map(memory).collect(),
            color: ColorCodes { colorspace: p.colorspace, ycbcr_enc, quantization },
        }
    } else {
        // SAFETY: as above, with `pix`.
        let (p, ycbcr_enc) = unsafe { (f.fmt.pix, f.fmt.pix.__bindgen_anon_1.ycbcr_enc) };
        Negotiated {
            fourcc: Fourcc(p.pixelformat.to_le_bytes()),
            size: (p.width, p.height),
            progressive: p.field == raw::v4l2_field_V4L2_FIELD_NONE,
            memory: vec![Memory { stride: p.bytesperline as usize, len: p.sizeimage as usize }],
            color: ColorCodes { colorspace: p.colorspace, ycbcr_enc, quantization: p.quantization },
        }
    }
}

/// A text field of the kernel: up to its first zero byte.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
