//! From a camera to a Y4M stream with every face hidden, as short as it gets.
//!
//!     cargo run --release --features v4l2 --example quickstart -- /dev/video0 | ffplay -
//!
//! It needs the models (they come with the project) and is faster with ONNX Runtime (models/fetch-onnxruntime.sh). On a
//! slow machine it refuses to start, and says what it needs: give the worst-case exposure that you can bear, in
//! milliseconds, as a second argument.

use std::io::{BufWriter, stdout};
use std::time::Duration;

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore};
use milkglass::v4l2::{V4l2Config, V4l2Source};
use milkglass::{BackendChoice, Class, Pipeline, Policy, Preset, Result, Style, Y4mSink};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let device = arguments.next().unwrap_or("/dev/video0".into());
    let exposure = arguments.next().and_then(|ms| ms.parse().ok()).unwrap_or(500);
    let (source, format) = V4l2Source::open(&V4l2Config::new(device))?;
    let fps = source.fps().unwrap_or(30.0);

    let policy = Policy::builder().hide(Class::Face, Style::default());
    let policy = policy.max_gap(Duration::from_millis(exposure)).build()?;
    let backend = Backend::choose(BackendChoice::Auto, 1)?;
    let settings = Preset::Fast.settings(&[Class::Face]);
    let detector = Ensemble::load(&ModelStore::locate()?, &backend, &settings)?;

    let sink = Y4mSink::new(BufWriter::new(stdout()), &format, ((fps * 1000.0) as u32, 1000))?;
    let pipeline = Pipeline::builder(policy, format, source).fps(fps).detector(detector).sink("stdout", sink);
    pipeline.start()?.wait().map(drop)
}
