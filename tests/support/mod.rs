//! What the integration tests share: pictures made of canaries, faces on straight roads, and short ways to drive an engine.

#![allow(dead_code, clippy::unwrap_used)]

use std::time::Duration;

use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool, Outcome, RawFrame, RedactedFrame};
use milkglass::geometry::Rect;
use milkglass::picture::{PixelFormat, View};
use milkglass::policy::{PolicyBuilder, Style};
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, FrameFormat, Policy};

pub const FORMATS: [PixelFormat; 4] =
    [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24];

/// Values that no style paints: fills are black (0, 16 or 128), mosaics and blurs stay within 4 to 252. So a sample with
/// one of these values is a raw one, wherever it turns up.
const CANARIES: [u8; 6] = [1, 2, 3, 253, 254, 255];

pub fn is_canary(v: u8) -> bool {
    CANARIES.contains(&v)
}

/// A canary that depends on the frame and the place, so that a leftover of another frame is told from the frame's own.
pub fn canary(sequence: u64, plane: usize, x: u32, y: u32, channel: usize) -> u8 {
    let place = (u64::from(x) << 40) ^ (u64::from(y) << 20) ^ ((plane as u64) << 8) ^ channel as u64;
    let mut h = place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sequence.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Low and high alternate, so that the mean of two neighbours is like neither.
    let high = if (x + y).is_multiple_of(2) { 3 } else { 0 };
    CANARIES[high + ((h >> 33) % 3) as usize]
}

pub fn ms(t: u64) -> Timestamp {
    Timestamp::from_millis(t)
}

pub fn millis(t: u64) -> Duration {
    Duration::from_millis(t)
}

/// A raw frame full of canaries; `None` when the pool is empty.
pub fn canary_frame(pool: &FramePool, sequence: u64, captured: Timestamp) -> Option<RawFrame> {
    painted(pool, sequence, captured, |plane, x, y, c| canary(sequence, plane, x, y, c))
}

/// A raw frame painted sample by sample: `paint(plane, x, y, channel)`, in samples of the plane.
pub fn painted(
    pool: &FramePool,
    sequence: u64,
    captured: Timestamp,
    paint: impl Fn(usize, u32, u32, usize) -> u8,
) -> Option<RawFrame> {
    let write = |view: &mut milkglass::picture::ViewMut<'_>| {
        let format = *view.format();
        for (i, plane) in format.planes().iter().enumerate() {
            for y in 0..plane.height {
                for (at, v) in view.row_mut(i, y).iter_mut().enumerate() {
                    *v = paint(i, (at / plane.channels) as u32, y, at % plane.channels);
                }
            }
        }
        Ok(())
    };
    pool.fill(FrameMeta { sequence, captured }, write).unwrap()
}

/// One sample of a plane, and the luma pixels that it stands for (half-open, within the picture).
pub struct Sample<'a> {
    pub plane: usize,
    pub x: u32,
    pub y: u32,
    pub bytes: &'a [u8],
    pub luma: [u32; 4],
}

impl Sample<'_> {
    /// Whether any luma pixel under it fulfils `test(x, y)`.
    pub fn any(&self, test: impl Fn(u32, u32) -> bool) -> bool {
        let [x0, y0, x1, y1] = self.luma;
        (y0..y1).any(|y| (x0..x1).any(|x| test(x, y)))
    }

    /// Whether it is what [`canary_frame`] painted here.
    pub fn is_raw_of(&self, sequence: u64) -> bool {
        (0..).zip(self.bytes).all(|(c, &v)| v == canary(sequence, self.plane, self.x, self.y, c))
    }
}

/// Calls `look` with every sample of every plane.
pub fn samples(view: View<'_>, mut look: impl FnMut(Sample<'_>)) {
    let (width, height) = view.format().size();
    for (i, plane) in view.format().planes().iter().enumerate() {
        let (sx, sy) = plane.shift;
        for y in 0..plane.height {
            for (x, bytes) in (0..).zip(view.row(i, y).chunks_exact(plane.channels)) {
                let luma = [x << sx, y << sy, ((x + 1) << sx).min(width), ((y + 1) << sy).min(height)];
                look(Sample { plane: i, x, y, bytes, luma });
            }
        }
    }
}

/// True when every byte beyond a row's samples is zero (I6).
pub fn padding_is_zero(view: View<'_>) -> bool {
    view.format().planes().iter().enumerate().all(|(i, plane)| {
        view.plane(i).chunks_exact(plane.stride).all(|row| row[plane.row_bytes()..].iter().all(|&v| v == 0))
    })
}

/// Which luma pixels of a frame of canaries are hidden: true where no plane shows anything raw. Asserts on the way that
/// the planes agree: a sample shows its own raw value or nothing raw at all.
pub struct Hidden {
    width: u32,
    hidden: Vec<bool>,
}

impl Hidden {
    /// Of an RGB24 frame made by [`canary_frame`].
    pub fn of(frame: &RedactedFrame) -> Hidden {
        let format = frame.format();
        assert_eq!(format.pixel(), PixelFormat::Rgb24);
        let mut hidden = vec![false; (format.width() * format.height()) as usize];
        samples(frame.view(), |s| {
            let raw = s.is_raw_of(frame.meta().sequence);
            assert!(raw || !s.bytes.iter().any(|&v| is_canary(v)), "a raw value of another place or frame");
            hidden[(s.y * format.width() + s.x) as usize] = !raw;
        });
        Hidden { width: format.width(), hidden }
    }

    pub fn at(&self, x: u32, y: u32) -> bool {
        self.hidden[(y * self.width + x) as usize]
    }

    pub fn count(&self) -> usize {
        self.hidden.iter().filter(|h| **h).count()
    }

    /// Whether every pixel that the rectangle touches is hidden.
    pub fn holds(&self, r: &Rect) -> bool {
        let height = self.hidden.len() as u32 / self.width;
        (0..height).all(|y| (0..self.width).all(|x| !touches(r, x, y) || self.at(x, y)))
    }

    /// The smallest rectangle around everything hidden, as (x0, y0, x1, y1).
    pub fn bounds(&self) -> Option<(u32, u32, u32, u32)> {
        let at: Vec<(u32, u32)> = (0..self.hidden.len() as u32)
            .filter(|&i| self.hidden[i as usize])
            .map(|i| (i % self.width, i / self.width))
            .collect();
        let xs = || at.iter().map(|p| p.0);
        let ys = || at.iter().map(|p| p.1);
        Some((xs().min()?, ys().min()?, xs().max()? + 1, ys().max()? + 1))
    }
}

/// Whether a rectangle overlaps a pixel.
pub fn touches(r: &Rect, x: u32, y: u32) -> bool {
    let (x, y) = (x as f32, y as f32);
    r.x0() < x + 1.0 && r.x1() > x && r.y0() < y + 1.0 && r.y1() > y
}

/// A face that goes straight on at an even pace.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    /// Left upper corner at time 0, in pixels.
    pub start: (f64, f64),
    pub size: (f64, f64),
    /// Pixels per second.
    pub velocity: (f64, f64),
}

impl Walker {
    pub fn at(&self, t: Timestamp) -> Rect {
        let s = t.as_nanos() as f64 / 1e9;
        let (x, y) = (self.start.0 + self.velocity.0 * s, self.start.1 + self.velocity.1 * s);
        Rect::from_corners(x as f32, y as f32, (x + self.size.0) as f32, (y + self.size.1) as f32).unwrap()
    }

    /// What a faultless detector says of it: nothing when it is outside the picture.
    pub fn seen(&self, t: Timestamp, size: (u32, u32)) -> Option<Detection> {
        let rect = self.at(t);
        rect.clipped(size.0, size.1).map(|_| Detection::new(Class::Face, rect, 0.9))
    }
}

pub fn rect(x0: f32, y0: f32, x1: f32, y1: f32) -> Rect {
    Rect::from_corners(x0, y0, x1, y1).unwrap()
}

pub fn face(x0: f32, y0: f32, x1: f32, y1: f32) -> Detection {
    Detection::new(Class::Face, rect(x0, y0, x1, y1), 0.9)
}

pub fn tentative(x0: f32, y0: f32, x1: f32, y1: f32) -> Detection {
    Detection { tentative: true, ..face(x0, y0, x1, y1) }
}

/// Faces with the least growth.
pub fn faces(style: Style) -> PolicyBuilder {
    Policy::builder().hide_grown(Class::Face, style, PolicyBuilder::MIN_GROW)
}

/// Pushes one frame of canaries, observes it and lets it out.
pub fn redact_one(format: FrameFormat, policy: Policy, found: Vec<Detection>) -> RedactedFrame {
    redact_picture(format, policy, found, |plane, x, y, c| canary(7, plane, x, y, c))
}

/// The same with a picture of your own; its sequence is 7.
pub fn redact_picture(
    format: FrameFormat,
    policy: Policy,
    found: Vec<Detection>,
    paint: impl Fn(usize, u32, u32, usize) -> u8,
) -> RedactedFrame {
    let pool = FramePool::new(format, 2);
    let mut engine = Engine::new(policy, pool.clone(), &Class::ALL).unwrap();
    engine.push(painted(&pool, 7, ms(1), paint).unwrap(), ms(1)).unwrap();
    if let Some(job) = engine.next_job() {
        engine.observe(job, Ok(found));
    }
    let frame = engine.release(ms(1)).unwrap();
    assert_eq!(frame.outcome(), Outcome::Covered);
    frame
}

/// 64-bit FNV-1a.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
