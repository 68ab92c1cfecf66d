//! From a camera to a Y4M stream with every face hidden, as short as it gets.
//!
//!     cargo run --release --features v4l2 --example quickstart -- /dev/video0 | ffplay -
//!
//! It needs the models (they come with the project) and is faster with ONNX Runtime (models/fetch-onnxruntime.sh).

use std::io::{BufWriter, stdout};

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore};
use milkglass::v4l2::{V4l2Config, V4l2Source};
use milkglass::{BackendChoice, Class, Pipeline, Policy, Preset, Result, Setup, Style, Y4mSink};

fn main() -> Result<()> {
    let device = std::env::args().nth(1).unwrap_or("/dev/video0".into());
    let (source, format) = V4l2Source::open(&V4l2Config::new(device))?;
    let fps = source.fps().unwrap_or(30.0);

    let policy = Policy::builder().hide(Class::Face, Style::default()).build()?;
    let backend = Backend::choose(BackendChoice::Auto, 1)?;
    let settings = Preset::Fast.settings(&[Class::Face]);
    let detector = Ensemble::load(&ModelStore::locate()?, &backend, &settings)?;

    let sink = Y4mSink::new(BufWriter::new(stdout()), &format, ((fps * 1000.0) as u32, 1000))?;
    Pipeline::spawn(Setup {
        policy,
        format,
        buffers: None,
        privacy: false,
        source: Box::new(source),
        detectors: vec![Box::new(detector)],
        sinks: vec![("stdout".into(), Box::new(sink))],
        fps,
    })?
    .join()
    .map(drop)
}
