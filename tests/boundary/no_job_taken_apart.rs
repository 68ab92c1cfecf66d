//! The frame on loan comes back to the engine, and to nobody else.
use std::sync::Arc;

use milkglass::frame::{DetectJob, RawFrame};

fn take(job: DetectJob) -> RawFrame {
    job.frame
}

fn end(job: DetectJob) -> Option<RawFrame> {
    job.end(&Arc::new(()))
}

fn main() {}
