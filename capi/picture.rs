//! Planes in C's memory: checked against a format, then copied row by row.

use milkglass::{FrameFormat, PixelFormat, PlaneLayout, View, ViewMut};

use crate::fault::Fault;
use crate::types::*;

/// The format that a code of V4L2 names.
pub(crate) fn pixel_format(fourcc: u32) -> Result<PixelFormat, Fault> {
    match fourcc {
        MILKGLASS_NV12 => Ok(PixelFormat::Nv12),
        MILKGLASS_YU12 => Ok(PixelFormat::I420),
        MILKGLASS_YUYV => Ok(PixelFormat::Yuyv),
        MILKGLASS_RGB3 => Ok(PixelFormat::Rgb24),
        0 => Err(Fault::argument("fourcc is not set: a MILKGLASS_ format code is needed")),
        other => Err(Fault::argument(format!(
            "fourcc {other:#010x} is not supported; there are NV12, YU12, YUYV and RGB3"
        ))),
    }
}

/// V4L2's code of a format.
pub(crate) fn fourcc(format: &FrameFormat) -> u32 {
    match format.pixel() {
        PixelFormat::Nv12 => MILKGLASS_NV12,
        PixelFormat::I420 => MILKGLASS_YU12,
        PixelFormat::Yuyv => MILKGLASS_YUYV,
        PixelFormat::Rgb24 => MILKGLASS_RGB3,
        _ => 0,
    }
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
        let (width, height) = format.size();
        if (picture.fourcc, picture.width, picture.height) != (fourcc(format), width, height) {
            return Err(Fault::argument(format!(
                "the picture is {}x{} of format {:#010x}, the stream {width}x{height} of {:#010x}: open a stream for it",
                picture.width,
                picture.height,
                picture.fourcc,
                fourcc(format)
            )));
        }
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
        if stride < layout.row_bytes() {
            return Err(Fault::argument(format!(
                "stride[{n}] is {stride}, a row has {} bytes",
                layout.row_bytes()
            )));
        }
        let needed = extent(layout, stride).filter(|needed| *needed <= isize::MAX as usize);
        match needed {
            Some(extent) if extent <= length => planes[n] = Some(Plane { first, stride, extent }),
            Some(needed) => {
                return Err(Fault::argument(format!(
                    "length[{n}] is {length}, the plane takes {needed} bytes"
                )));
            }
            None => return Err(Fault::argument(format!("stride[{n}] is {stride}: no memory is that large"))),
        }
    }
    Ok(Planes { planes })
}

/// Bytes from the first row to the end of the last; padding behind it need not exist.
fn extent(layout: &PlaneLayout, stride: usize) -> Option<usize> {
    (layout.height as usize - 1).checked_mul(stride)?.checked_add(layout.row_bytes())
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
