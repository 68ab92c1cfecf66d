//! Planes in C's memory, or in DMABUFs: checked against a format, then copied row by row.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

use milkglass::FrameFormat;
use milkglass::picture::{PixelFormat, PlaneLayout, View, ViewMut};
use milkglass::source::{Dmabuf, DmabufPlane};

use crate::fault::Fault;
use crate::types::*;

/// The format that a code of V4L2 names.
pub(crate) fn pixel_format(fourcc: u32) -> Result<PixelFormat, Fault> {
    if fourcc == 0 {
        return Err(Fault::argument("fourcc is not set: a MILKGLASS_ format code is needed"));
    }
    let known = PixelFormat::ALL.into_iter().find(|pixel| u32::from_le_bytes(pixel.fourcc()) == fourcc);
    known.ok_or_else(|| {
        Fault::argument(format!(
            "fourcc {fourcc:#010x} is not supported; there are NV12, YU12, YUYV and RGB3"
        ))
    })
}

/// V4L2's code of a format: one of the `MILKGLASS_` constants.
pub(crate) fn fourcc(format: &FrameFormat) -> u32 {
    u32::from_le_bytes(format.pixel().fourcc())
}

/// One plane in C's memory, checked: every row of the format lies within it.
#[derive(Clone, Copy)]
struct Plane<P> {
    first: P,
    stride: usize,
    /// Bytes from the first row to the end of the last.
    extent: usize,
}

/// A whole picture in C's memory.
pub(crate) struct Planes<P> {
    planes: [Option<Plane<P>>; 3],
}

/// Memory that may be read, and memory that may be written.
pub(crate) type Source = Planes<*const u8>;
pub(crate) type Target = Planes<*mut u8>;

impl Source {
    pub fn check(picture: &milkglass_picture, format: &FrameFormat) -> Result<Source, Fault> {
        check_kind((picture.fourcc, picture.width, picture.height), format)?;
        let at = |plane: usize| (picture.data[plane], picture.stride[plane], picture.length[plane]);
        check(format, at, |p| p.is_null())
    }

    /// # Safety
    /// What was promised of the memory when it was checked still holds, and `view` has the same format.
    pub unsafe fn read(&self, view: &mut ViewMut<'_>) {
        for (n, plane) in self.planes.iter().enumerate() {
            let Some(plane) = plane else { continue };
            // SAFETY: every row lies within the plane's length ([`check`]), and nobody writes there meanwhile.
            let from = unsafe { std::slice::from_raw_parts(plane.first, plane.extent) };
            view.copy_plane(n, from, plane.stride);
        }
    }
}

/// The DMABUFs of a picture, imported for one call.
pub(crate) struct Buffers {
    /// One for each plane of the format; `None` where the plane is in that of an earlier one.
    imported: Vec<Option<Dmabuf>>,
}

impl Buffers {
    pub fn import(picture: &milkglass_dmabuf, format: &FrameFormat) -> Result<Buffers, Fault> {
        check_kind((picture.fourcc, picture.width, picture.height), format)?;
        let mut buffers = Buffers { imported: Vec::with_capacity(3) };
        for (n, layout) in format.planes().iter().enumerate() {
            let (fd, offset, stride) = (picture.fd[n], picture.offset[n], picture.stride[n]);
            let extent = check_stride(n, layout, stride)?;
            let imported = if first(picture, n) == n { Some(import(n, fd)?) } else { None };
            buffers.imported.push(imported);
            let length = buffers.of(picture, n).map_or(0, Dmabuf::size);
            if offset.checked_add(extent).is_none_or(|end| end > length) {
                return Err(Fault::argument(format!(
                    "fd[{n}] has {length} bytes, the plane takes {extent} from offset[{n}], {offset}, on"
                )));
            }
        }
        Ok(buffers)
    }

    /// The planes, in the format's order.
    pub fn planes(&self, picture: &milkglass_dmabuf) -> Vec<DmabufPlane<'_>> {
        let plane = |n: usize| {
            let (offset, stride) = (picture.offset[n], picture.stride[n]);
            Some(DmabufPlane { buffer: self.of(picture, n)?, offset, stride })
        };
        (0..self.imported.len()).filter_map(plane).collect()
    }

    fn of(&self, picture: &milkglass_dmabuf, plane: usize) -> Option<&Dmabuf> {
        self.imported.get(first(picture, plane))?.as_ref()
    }
}

/// The first plane that is in the DMABUF of this one.
fn first(picture: &milkglass_dmabuf, plane: usize) -> usize {
    picture.fd.iter().position(|fd| *fd == picture.fd[plane]).unwrap_or(plane)
}

fn import(plane: usize, fd: c_int) -> Result<Dmabuf, Fault> {
    if fd < 0 {
        return Err(Fault::argument(format!("fd[{plane}] is {fd}: no descriptor")));
    }
    // SAFETY: it is duplicated and nothing else; where the caller has closed it, the kernel says so.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let refuse = |e| Fault::argument(format!("fd[{plane}] is {}: {e}", fd.as_raw_fd()));
    Dmabuf::import(fd).map_err(refuse)
}

impl Target {
    pub fn check(frame: &milkglass_frame, format: &FrameFormat) -> Result<Target, Fault> {
        let at = |plane: usize| (frame.data[plane], frame.stride[plane], frame.length[plane]);
        check(format, at, |p| p.is_null())
    }

    /// # Safety
    /// What was promised of the memory when it was checked still holds, and `view` has the same format.
    pub unsafe fn write(&self, view: &View<'_>) {
        for (n, plane) in self.planes.iter().enumerate() {
            let Some(plane) = plane else { continue };
            // SAFETY: as above, and the bytes are only written to; the memory is no buffer of a pool, since no address of
            // one can be kept.
            let to = unsafe { std::slice::from_raw_parts_mut(plane.first, plane.extent) };
            view.copy_plane(n, to, plane.stride);
        }
    }
}

/// Whether a picture has the stream's code, width and height.
fn check_kind(picture: (u32, u32, u32), format: &FrameFormat) -> Result<(), Fault> {
    let (code, (width, height)) = (fourcc(format), format.size());
    if picture == (code, width, height) {
        return Ok(());
    }
    Err(Fault::argument(format!(
        "the picture is {}x{} of format {:#010x}, the stream {width}x{height} of {code:#010x}: open a stream for it",
        picture.1, picture.2, picture.0
    )))
}

fn check<P: Copy>(
    format: &FrameFormat,
    at: impl Fn(usize) -> (P, usize, usize),
    is_null: impl Fn(P) -> bool,
) -> Result<Planes<P>, Fault> {
    let mut planes = [None; 3];
    for (n, layout) in format.planes().iter().enumerate() {
        let (first, stride, length) = at(n);
        if is_null(first) {
            return Err(Fault::argument(format!("data[{n}] is NULL")));
        }
        let extent = check_stride(n, layout, stride)?;
        if extent > length {
            return Err(Fault::argument(format!("length[{n}] is {length}, the plane takes {extent} bytes")));
        }
        planes[n] = Some(Plane { first, stride, extent });
    }
    Ok(Planes { planes })
}

/// Bytes from the first row of plane `n` to the end of the last; padding behind it need not exist.
fn check_stride(n: usize, layout: &PlaneLayout, stride: usize) -> Result<usize, Fault> {
    let row = layout.row_bytes();
    if stride < row {
        return Err(Fault::argument(format!("stride[{n}] is {stride}, a row has {row} bytes")));
    }
    let extent = (layout.height as usize - 1).checked_mul(stride).and_then(|last| last.checked_add(row));
    extent
        .filter(|extent| *extent <= isize::MAX as usize)
        .ok_or_else(|| Fault::argument(format!("stride[{n}] is {stride}: no memory is that large")))
}

/// A picture on loan: its addresses are good for as long as `view` is.
pub(crate) fn lend(view: &View<'_>, captured: u64) -> milkglass_picture {
    let format = view.format();
    let mut picture = milkglass_picture {
        size: size_of::<milkglass_picture>(),
        fourcc: fourcc(format),
        width: format.width(),
        height: format.height(),
        reserved: 0,
        captured,
        data: [std::ptr::null(); 3],
        stride: [0; 3],
        length: [0; 3],
    };
    for (n, layout) in format.planes().iter().enumerate() {
        let bytes = view.plane(n);
        (picture.data[n], picture.stride[n], picture.length[n]) =
            (bytes.as_ptr(), layout.stride, bytes.len());
    }
    picture
}
