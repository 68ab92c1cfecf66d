//! Memory does not grow: 20,000 frames on a simulated clock, with faces that come and go, late detections, policies that
//! change and privacy mode now and then.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool};
use milkglass::geometry::Rect;
use milkglass::picture::PixelFormat;
use milkglass::policy::{OnDeadline, Polygon, Style, Zone};
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, Error, FrameFormat, Policy};

const FRAMES: u64 = 20_000;
/// Frames until every buffer, table and cache has its size.
const WARM: u64 = 2_000;

/// Resident memory of this program, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn policy(n: u64) -> Policy {
    let x = 0.1 + 0.01 * (n % 50) as f64;
    let zone = Polygon::new([(x, 0.0), (x + 0.2, 0.1), (x, 0.9)]).unwrap();
    Policy::builder()
        .hide(Class::Face, Style::Pixelate { cells: 4 })
        .motion_cover(true)
        .zone(Zone::new("z", zone, Style::default()).unwrap())
        .deadline(Duration::from_millis(250), OnDeadline::Obscure)
        .build()
        .unwrap()
}

#[test]
fn twenty_thousand_frames_leave_memory_as_it_was() {
    let format = FrameFormat::new(PixelFormat::Nv12, 320, 240).unwrap();
    let pool = FramePool::new(format, 16);
    let mut engine = Engine::new(policy(0), pool.clone(), &[Class::Face]).unwrap();
    let (mut before, mut out) = (0, 0u64);
    for n in 0..FRAMES {
        if n == WARM {
            before = resident();
        }
        let now = Timestamp::from_millis(33 * n + 33);
        let meta = FrameMeta { sequence: n, captured: now };
        let filled = pool.fill(meta, |view| {
            (0..240).for_each(|y| view.row_mut(0, y).fill((n % 251) as u8));
            Ok(())
        });
        if let Some(frame) = filled.unwrap() {
            engine.push(frame, now).unwrap();
        }
        match n {
            n if n % 500 == 0 => engine.set_policy(policy(n / 500)).unwrap(),
            n if n % 700 < 5 => engine.set_privacy(n % 700 < 4),
            _ => {}
        }
        // Up to twenty faces that wander; every eleventh detection fails, every seventh comes too late.
        if n % 7 != 0
            && let Some(job) = engine.next_job()
        {
            let faces = (0..n / 40 % 20).map(|i| {
                let (x, y) = ((n * (i + 1) % 300) as f32, (i * 12) as f32);
                Detection::new(Class::Face, Rect::new(x, y, 24.0, 30.0).unwrap(), 0.8)
            });
            let found = if n % 11 == 0 { Err(Error::other("scripted")) } else { Ok(faces.collect()) };
            engine.observe(job, found);
        }
        while engine.release(now).is_some() {
            out += 1;
        }
    }
    let grown = resident().saturating_sub(before);
    let stats = engine.stats();
    assert!(stats.covered > FRAMES / 2 && stats.obscured > 0 && out > FRAMES * 9 / 10, "{stats:?}");
    assert!(grown < 1 << 20, "{grown} bytes more after {FRAMES} frames than after {WARM}");
}
