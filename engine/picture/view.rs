//! Borrowed looks at a frame's rows.

use super::format::{FrameFormat, PlaneLayout};

/// A frame's samples, to read. Rows never include padding.
#[derive(Clone, Copy)]
pub struct View<'a> {
    format: &'a FrameFormat,
    bytes: &'a [u8],
}

/// A frame's samples, to write. Rows never include padding, so padding stays zero (I6).
pub struct ViewMut<'a> {
    format: &'a FrameFormat,
    bytes: &'a mut [u8],
}

#[inline]
fn span(p: &PlaneLayout, y: u32) -> std::ops::Range<usize> {
    assert!(y < p.height, "row {y} of a plane with {} rows", p.height);
    let start = p.offset + y as usize * p.stride;
    start..start + p.row_bytes()
}

impl<'a> View<'a> {
    pub(crate) fn new(format: &'a FrameFormat, bytes: &'a [u8]) -> Self {
        View { format, bytes }
    }

    /// The frame's format.
    pub fn format(&self) -> &'a FrameFormat {
        self.format
    }

    /// The samples of row `y` of plane `plane`: `width * channels` bytes. Panics beyond the last plane or row.
    #[inline]
    pub fn row(&self, plane: usize, y: u32) -> &'a [u8] {
        &self.bytes[span(&self.format.planes()[plane], y)]
    }

    /// The bytes of a whole plane, padding included: `stride * height` bytes.
    pub fn plane(&self, plane: usize) -> &'a [u8] {
        let p = &self.format.planes()[plane];
        &self.bytes[p.offset..p.offset + p.stride * p.height as usize]
    }

    /// Copies the samples of plane `plane` to memory where its rows begin `stride` bytes apart. What lies between the rows
    /// is left as it is. Panics when `to` ends before the last row does, or rows would overlap.
    pub fn copy_plane(&self, plane: usize, to: &mut [u8], stride: usize) {
        let p = &self.format.planes()[plane];
        match whole(p, stride) {
            Some(len) => to[..len].copy_from_slice(&self.bytes[p.offset..][..len]),
            None => (0..p.height).for_each(|y| {
                to[y as usize * stride..][..p.row_bytes()].copy_from_slice(self.row(plane, y));
            }),
        }
    }
}

/// The bytes of a plane without padding, here and where `stride` says how far its rows are apart: one copy instead of a
/// thousand, which takes about half the time.
fn whole(p: &PlaneLayout, stride: usize) -> Option<usize> {
    assert!(stride >= p.row_bytes(), "rows of {} bytes that begin {stride} bytes apart", p.row_bytes());
    (p.stride == p.row_bytes() && stride == p.stride).then(|| stride * p.height as usize)
}

impl<'a> ViewMut<'a> {
    pub(crate) fn new(format: &'a FrameFormat, bytes: &'a mut [u8]) -> Self {
        ViewMut { format, bytes }
    }

    /// The frame's format.
    pub fn format(&self) -> &'a FrameFormat {
        self.format
    }

    /// The samples of row `y` of plane `plane`, to write. Panics beyond the last plane or row.
    #[inline]
    pub fn row_mut(&mut self, plane: usize, y: u32) -> &mut [u8] {
        let span = span(&self.format.planes()[plane], y);
        &mut self.bytes[span]
    }

    /// Fills plane `plane` from memory where its rows begin `stride` bytes apart. Panics when `from` ends before the last
    /// row does, or rows would overlap.
    pub fn copy_plane(&mut self, plane: usize, from: &[u8], stride: usize) {
        let p = &self.format.planes()[plane];
        match whole(p, stride) {
            Some(len) => self.bytes[p.offset..][..len].copy_from_slice(&from[..len]),
            None => (0..p.height).for_each(|y| {
                self.row_mut(plane, y).copy_from_slice(&from[y as usize * stride..][..p.row_bytes()]);
            }),
        }
    }

    /// The same samples, to read.
    pub fn as_view(&self) -> View<'_> {
        View { format: self.format, bytes: self.bytes }
    }
}
