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

    /// The same samples, to read.
    pub fn as_view(&self) -> View<'_> {
        View { format: self.format, bytes: self.bytes }
    }
}
