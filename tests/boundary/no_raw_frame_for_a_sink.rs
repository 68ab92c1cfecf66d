//! A sink takes redacted frames; raw ones and loans are not such.
use milkglass::frame::{DetectJob, RawFrame, RedactedFrame};

fn sink(_: &RedactedFrame) {}

fn leak(frame: RawFrame, job: DetectJob) {
    sink(&frame);
    sink(&job);
    let _: RedactedFrame = frame.into();
}

fn main() {}
