//! A policy comes from the builder, which checks it.
use milkglass::{Engine, FramePool, Policy};

fn skip(pool: FramePool) {
    let _ = Policy { zones: Vec::new() };
    let _ = Policy::default();
    let _ = Engine::new(Policy::builder(), pool, &[]);
}

fn main() {}
