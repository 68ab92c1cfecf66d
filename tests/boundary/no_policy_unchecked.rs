//! A policy comes from the builder, which checks it.
use milkglass::engine::{Engine};
use milkglass::frame::{FramePool};
use milkglass::{Policy};

fn skip(pool: FramePool) {
    let _ = Policy { zones: Vec::new() };
    let _ = Policy::default();
    let _ = Engine::new(Policy::builder(), pool, &[]);
}

fn main() {}
