//! The engine by hand, without threads: what a pipeline does, one call after the other.
//!
//!     cargo run --example step_by_step
//!
//! Eight frames of a picture with a bright square in it go in; a detector that finds the square looks at every third one;
//! the frames come out with the square hidden in all of them, also in those that nobody looked at.
#![allow(clippy::print_stdout)]

use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool, RawFrame, RedactedFrame};
use milkglass::geometry::Rect;
use milkglass::picture::{PixelFormat, View};
use milkglass::policy::Style;
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, FrameFormat, Policy, Result};

const SIDE: u32 = 12;

fn main() -> Result<()> {
    let format = FrameFormat::new(PixelFormat::Nv12, 64, 48)?;
    let pool = FramePool::new(format, 12);
    let policy = Policy::builder().hide(Class::Face, Style::default()).build()?;
    let mut engine = Engine::new(policy, pool.clone(), &[Class::Face])?;

    for n in 0..8 {
        let now = Timestamp::from_millis(33 * n);
        engine.push(picture(&pool, n, now)?, now)?;
        // Every third frame, and the last one: nothing leaves that no detection has come past.
        if (n % 3 == 0 || n == 7)
            && let Some(job) = engine.next_job()
        {
            let found = find_square(&job.view());
            println!("frame {n}: the detector found {} square(s)", found.len());
            engine.observe(job, Ok(found));
        }
        while let Some(frame) = engine.release(now) {
            report(&frame);
        }
    }
    engine.finish();
    while let Some(frame) = engine.release(Timestamp::from_millis(400)) {
        report(&frame);
    }
    println!("{:?}", engine.stats());
    Ok(())
}

/// A dark picture with a bright square that moves to the right.
fn picture(pool: &FramePool, n: u64, captured: Timestamp) -> Result<RawFrame> {
    let left = 6 + 3 * n as usize;
    let raw = pool.fill(FrameMeta { sequence: n, captured }, |view| {
        for y in 0..48 {
            view.row_mut(0, y).fill(30);
            if (16..16 + SIDE).contains(&y) {
                view.row_mut(0, y)[left..left + SIDE as usize].fill(240);
            }
        }
        (0..24).for_each(|y| view.row_mut(1, y).fill(128));
        Ok(())
    })?;
    raw.ok_or_else(|| milkglass::Error::other("no buffer is free"))
}

/// The place of a real detector.
fn find_square(view: &View<'_>) -> Vec<Detection> {
    let row = view.row(0, 20);
    let left = row.iter().position(|v| *v == 240);
    let rect = left.and_then(|x| Rect::new(x as f32, 16.0, SIDE as f32, SIDE as f32));
    rect.map(|rect| Detection::new(Class::Face, rect, 1.0)).into_iter().collect()
}

fn report(frame: &RedactedFrame) {
    let view = frame.view();
    let bright: usize = (0..48).map(|y| view.row(0, y).iter().filter(|v| **v == 240).count()).sum();
    println!("frame {}: {:?}, {bright} bright pixels are left", frame.meta().sequence, frame.outcome());
}
