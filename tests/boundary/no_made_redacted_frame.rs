//! A redacted frame has no constructor.
#![allow(unreachable_code)]

use milkglass::frame::{FrameMeta, Outcome, RedactedFrame};
use milkglass::time::{Timestamp};

fn main() {
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    let _ = RedactedFrame { meta, outcome: Outcome::Covered };
    let _ = RedactedFrame::obscured(todo!(), meta);
}
