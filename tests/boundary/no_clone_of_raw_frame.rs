//! A raw frame is one of a kind.
use milkglass::frame::{DetectJob, RawFrame};

fn copy(frame: &RawFrame, job: &DetectJob) -> (RawFrame, DetectJob) {
    (frame.clone(), job.clone())
}

fn main() {}
