//! From a camera to a Y4M stream with every face hidden, as short as it gets.
//!
//!     cargo run --release --features v4l2 --example quickstart -- /dev/video0 | ffplay -
//!
//! It needs the models (they come with the project) and is faster with ONNX Runtime (models/fetch-onnxruntime.sh). On a
//! slow machine it refuses to start, and says what it needs: name a policy file as a second argument, with the worst-case
//! exposure that you can bear (`max_gap = "2s"`) and whatever else is to be hidden (docs/POLICY.md).

use std::io::{BufWriter, stdout};

use milkglass::sink::Y4mSink;
use milkglass::v4l2::{V4l2Config, V4l2Source};
use milkglass::{Media, Opening, Pipeline, Result};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let device = arguments.next().unwrap_or("/dev/video0".into());
    let asked = match arguments.next() {
        Some(file) => Opening::builder().policy_file(file),
        None => Opening::builder().policy_text("preset = 'fast'", "policy"),
    };
    let opening = asked.read()?;
    let (detectors, _) = opening.load(Media::Live, opening.threads())?;

    let (source, format) = V4l2Source::open(&V4l2Config::new(device))?;
    let fps = source.fps().unwrap_or(30.0);
    let sink = Y4mSink::new(BufWriter::new(stdout()), &format, ((fps * 1000.0) as u32, 1000))?;
    let pipeline = Pipeline::builder(opening.policy(Media::Live), format, source).fps(fps);
    pipeline.ladder(detectors).sink("stdout", sink).start()?.wait().map(drop)
}
