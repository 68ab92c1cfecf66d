//! How a picture lies in memory: its format, and rows to read or to write. Nothing here owns pixels.

mod color;
mod format;
mod view;

pub use color::Ycbcr;
pub use format::{
    ColorMatrix, ColorRange, FrameFormat, MAX_PIXELS, MAX_SIDE, PixelFormat, PlaneLayout, ROW_ALIGNMENT,
};
pub use view::{View, ViewMut};
