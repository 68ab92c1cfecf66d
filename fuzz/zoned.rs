//! What zones hide, judged by what the engine does with a frame.

use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool, Outcome, RedactedFrame};
use milkglass::time::Timestamp;
use milkglass::{FrameFormat, Policy};

/// What a raw sample holds. Fills are black: 0, 16 or 128.
pub const RAW: u8 = 255;

/// A frame of raw samples alone, as it leaves the engine with a policy that needs no detector.
pub fn zoned(policy: Policy, format: &FrameFormat) -> RedactedFrame {
    let pool = FramePool::new(*format, 2);
    let mut engine = Engine::new(policy, pool.clone(), &[]).expect("zones need no detector");
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    let frame = pool.fill(meta, |view| {
        for (n, plane) in view.format().planes().to_vec().iter().enumerate() {
            (0..plane.height).for_each(|y| view.row_mut(n, y).fill(RAW));
        }
        Ok(())
    });
    engine.push(frame.expect("no fault").expect("a buffer"), Timestamp::ZERO).expect("the first frame");
    let frame = engine.release(Timestamp::ZERO).expect("zones need no detection");
    assert_eq!(frame.outcome(), Outcome::Covered);
    frame
}
