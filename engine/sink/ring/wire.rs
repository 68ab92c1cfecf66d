//! The messages on a ring's socket: fixed sizes, little endian, one datagram each. docs/INTEGRATING.md has them as a table.

use crate::frame::RedactedFrame;
use crate::geometry::Orientation;
use crate::geometry::PixelAspect;
use crate::picture::{ColorMatrix, ColorRange, FrameFormat};
use crate::redact::Outcome;

/// Grows when a message changes its meaning or its size.
pub const VERSION: u32 = 1;
/// Bytes of each message.
pub const HELLO: usize = 112;
pub const FRAME: usize = 48;
pub const RELEASE: usize = 16;

/// The first two numbers of every message: what it is, and its size in bytes.
const KIND_HELLO: u16 = 1;
const KIND_FRAME: u16 = 2;
const KIND_RELEASE: u16 = 3;

/// What the memory is like.
pub struct Shape {
    pub memory: usize,
    pub slot: usize,
    pub slots: usize,
    /// Frames that a consumer may have without releasing them.
    pub credit: usize,
    /// Bytes from a slot's start to its pixels.
    pub pixels: usize,
}

/// The first message, which brings the descriptor.
pub fn hello(shape: &Shape, format: &FrameFormat) -> [u8; HELLO] {
    let mut message = Message::<HELLO>::new(KIND_HELLO);
    message.u32(VERSION).u64(shape.memory as u64).u64(shape.slot as u64);
    message.u32(shape.slots as u32).u32(shape.credit as u32);
    message.u32(u32::from_le_bytes(format.pixel().fourcc())).u32(format.width()).u32(format.height());
    message.u32(exif(format.orientation())).u32(u32::from(format.range() == ColorRange::Full));
    message.u32(matrix(format.matrix())).u32(format.planes().len() as u32).u32(pixel(format.pixel_aspect()));
    for plane in format.planes() {
        message.u32((shape.pixels + plane.offset) as u32).u32(plane.stride as u32);
        message.u32(plane.row_bytes() as u32).u32(plane.height);
    }
    message.bytes
}

/// Tells of a frame in a slot.
pub fn frame(frame: &RedactedFrame, slot: usize, offset: usize, generation: u64, lost: u32) -> [u8; FRAME] {
    let outcome = match frame.outcome() {
        Outcome::Covered => 1,
        Outcome::Obscured => 2,
    };
    let mut message = Message::<FRAME>::new(KIND_FRAME);
    message.u32(slot as u32).u64(generation).u64(offset as u64);
    message.u64(frame.meta().sequence).u64(frame.meta().captured.as_nanos());
    message.u32(outcome).u32(lost);
    message.bytes
}

/// The generation that a consumer's message releases; `None` when it is no such message.
pub fn released(message: &[u8]) -> Option<u64> {
    let message: &[u8; RELEASE] = message.try_into().ok()?;
    let (head, generation) = message.split_at(8);
    let wanted = Message::<RELEASE>::new(KIND_RELEASE).bytes;
    (head == &wanted[..8]).then_some(())?;
    Some(u64::from_le_bytes(generation.try_into().ok()?))
}

/// A message as it grows.
struct Message<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Message<N> {
    fn new(kind: u16) -> Self {
        let mut message = Message { bytes: [0; N], at: 0 };
        message.put(&kind.to_le_bytes()).put(&(N as u16).to_le_bytes());
        message
    }

    fn u32(&mut self, v: u32) -> &mut Self {
        self.put(&v.to_le_bytes())
    }

    fn u64(&mut self, v: u64) -> &mut Self {
        self.put(&v.to_le_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.at..][..bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }
}

fn exif(orientation: Orientation) -> u32 {
    (1..=8).find(|tag| Orientation::from_exif(*tag) == Some(orientation)).unwrap_or(1).into()
}

/// Width to height of a pixel, in the lower and upper half; 0 for square ones, as before there was a word for others.
fn pixel(aspect: PixelAspect) -> u32 {
    if aspect.is_square() { 0 } else { aspect.width() | aspect.height() << 16 }
}

fn matrix(matrix: ColorMatrix) -> u32 {
    match matrix {
        ColorMatrix::Bt601 => 601,
        ColorMatrix::Bt709 => 709,
        ColorMatrix::Bt2020 => 2020,
    }
}
