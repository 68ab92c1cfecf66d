//! The ticket that lets a frame out is the tracker's alone.
use milkglass::track::{Cover, Tracker};

fn main() {
    let _ = Cover { regions: Vec::new() };
    let _ = Tracker::default();
}
