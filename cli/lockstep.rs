//! A clip through the engine, in step with its decoder, and what is known of each frame beside it.

use std::collections::VecDeque;

use milkglass::detect::{Ensemble, look};
use milkglass::frame::{FrameMeta, FramePool, Outcome, RawFrame, RedactedFrame};
use milkglass::lockstep::LockStep;
use milkglass::picture::{ColorMatrix, ColorRange, PixelFormat, ViewMut};
use milkglass::time::Timestamp;
use milkglass::{Detection, FrameFormat, Policy, Result as EngineResult};

use crate::memory;
use crate::outcome::Failure;

/// Frames that are out of the engine's line at one time: being read, queued, looked at ahead, written, in reserve.
const IN_FLIGHT: usize = memory::IN_FLIGHT;

/// Where raw frames come from, in order. `pts` is whatever the target wants to know of the frame's time.
pub trait FrameIn {
    /// The next frame, or `None` at the end.
    fn next(&mut self) -> Result<Option<(RawFrame, i64)>, Failure>;
}

/// A redacted frame and what belongs to it.
pub struct FrameOut {
    /// The frame.
    pub frame: RedactedFrame,
    /// Its time, as the source gave it.
    pub pts: i64,
    /// What the detector found in it, if it looked at this frame.
    pub detections: Option<Vec<Detection>>,
}

/// What happened to a clip.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Frames taken in.
    pub frames_in: u64,
    /// Frames handed on covered.
    pub covered: u64,
    /// Frames handed on obscured.
    pub obscured: u64,
    /// Something was found, or zones are hidden.
    pub found: bool,
    /// The first reason why a detection failed, and how many did.
    pub detector_errors: Option<(String, u64)>,
}

/// The pool that a clip needs under this policy.
pub fn pool(format: FrameFormat, policy: &Policy) -> FramePool {
    FramePool::new(format, policy.max_waiting().min(256) + IN_FLIGHT)
}

/// The frame format of decoded clips: 8-bit planar 4:2:0.
pub fn clip_format(
    width: u32,
    height: u32,
    full_range: bool,
    matrix: Option<&str>,
) -> EngineResult<FrameFormat> {
    let matrix = match matrix {
        Some("bt709") => ColorMatrix::Bt709,
        Some("bt2020nc" | "bt2020c") => ColorMatrix::Bt2020,
        Some("bt470bg" | "smpte170m" | "fcc") => ColorMatrix::Bt601,
        // Untagged clips: what players assume.
        _ if height >= 720 => ColorMatrix::Bt709,
        _ => ColorMatrix::Bt601,
    };
    let range = if full_range { ColorRange::Full } else { ColorRange::Limited };
    Ok(FrameFormat::new(PixelFormat::I420, width, height)?.with_color(range, matrix))
}

/// Nanoseconds of a time stamp, made strictly increasing.
pub struct Clock {
    first: Option<i64>,
    last: Option<Timestamp>,
    time_base: (u32, u32),
}

impl Clock {
    /// A tick lasts `time_base.0 / time_base.1` seconds.
    pub fn new(time_base: (u32, u32)) -> Clock {
        Clock { first: None, last: None, time_base }
    }

    /// The engine's time for a frame.
    pub fn captured(&mut self, pts: i64) -> Timestamp {
        let first = *self.first.get_or_insert(pts);
        let ticks = u128::try_from(i128::from(pts) - i128::from(first)).unwrap_or(0);
        let nanos =
            ticks * u128::from(self.time_base.0) * 1_000_000_000 / u128::from(self.time_base.1.max(1));
        let time = Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let time = match self.last {
            Some(last) if time <= last => Timestamp::from_nanos(last.as_nanos() + 1),
            _ => time,
        };
        self.last = Some(time);
        time
    }
}

/// Takes a free buffer, waiting for one, and fills it.
pub fn fill(
    pool: &FramePool,
    meta: FrameMeta,
    mut write: impl FnMut(&mut ViewMut<'_>) -> EngineResult<()>,
    stop: &dyn Fn() -> bool,
) -> Result<RawFrame, Failure> {
    loop {
        if stop() {
            return Err(Failure::interrupted());
        }
        if let Some(frame) = pool.fill(meta, &mut write)? {
            return Ok(frame);
        }
        pool.wait(std::time::Duration::from_millis(100));
    }
}

/// Runs a whole clip. `sink` gets every frame, in order.
pub fn run(
    source: &mut dyn FrameIn,
    pool: &FramePool,
    policy: &Policy,
    detector: &mut Ensemble,
    detect_every: u32,
    sink: &mut dyn FnMut(FrameOut) -> Result<(), Failure>,
) -> Result<Totals, Failure> {
    let mut lock = LockStep::new(policy.clone(), pool.clone(), Some(detector), detect_every)?;
    let mut totals = Totals { found: !policy.zones().is_empty(), ..Totals::default() };
    let mut waiting: VecDeque<(u64, i64, Option<Vec<Detection>>)> = VecDeque::new();
    let mut next = source.next()?;
    while let Some((frame, pts)) = next {
        next = source.next()?;
        totals.frames_in += 1;
        waiting.push_back((frame.meta().sequence, pts, None));
        lock.push(frame)?;
        lock.look(next.as_ref().map(|(after, _)| after.meta().captured), |job| {
            let found = look(detector, job);
            match &found {
                Ok(found) => {
                    totals.found |= found.iter().any(|d| !d.tentative);
                    if let Some(last) = waiting.back_mut() {
                        last.2 = Some(found.clone());
                    }
                }
                Err(e) => {
                    let errors = totals.detector_errors.get_or_insert_with(|| (e.to_string(), 0));
                    errors.1 += 1;
                }
            }
            found
        });
        while let Some(frame) = lock.release() {
            match frame.outcome() {
                Outcome::Covered => totals.covered += 1,
                _ => totals.obscured += 1,
            }
            let (_, pts, detections) =
                waiting.pop_front().ok_or_else(|| Failure::new("a frame left twice"))?;
            sink(FrameOut { frame, pts, detections })?;
        }
    }
    Ok(totals)
}
