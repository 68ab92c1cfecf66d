//! One loan, one observation.
use milkglass::frame::{DetectJob};
use milkglass::engine::{Engine};

fn twice(engine: &mut Engine, job: DetectJob) {
    engine.observe(job, Ok(Vec::new()));
    engine.observe(job, Ok(Vec::new()));
}

fn main() {}
