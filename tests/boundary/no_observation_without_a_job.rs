//! Nobody can say that nothing was found without having been lent the picture.
use milkglass::engine::{Engine};
use milkglass::frame::{FrameMeta};
use milkglass::time::{Timestamp};

fn claim(engine: &mut Engine) {
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    engine.observe(meta, Ok(Vec::new()));
}

fn main() {}
