//! Zones without any detector or model: Y4M in, Y4M out.
//!
//!     ffmpeg -v error -i examples/people.mp4 -f yuv4mpegpipe - | cargo run --example zones_only > zones.y4m

use std::io::{BufReader, BufWriter, stdin, stdout};

use milkglass::policy::{Polygon, Style, Zone};
use milkglass::sink::Y4mSink;
use milkglass::source::Y4mSource;
use milkglass::{Pipeline, Policy, Result};

fn main() -> Result<()> {
    let source = Y4mSource::open(BufReader::new(stdin()), true)?;
    let (format, fps, rate) = (source.format()?, source.fps(), source.header().frame_rate);

    // Corners from (0, 0), left top, to (1, 1), right bottom.
    let window = Polygon::new([(0.6, 0.0), (1.0, 0.0), (1.0, 0.4), (0.7, 0.5)])?;
    let policy = Policy::builder().zone(Zone::new("window", window, Style::default())?).build()?;

    let sink = Y4mSink::new(BufWriter::new(stdout()), &format, rate)?;
    let pipeline = Pipeline::builder(policy, format, source).fps(fps).sink("stdout", sink).start()?;
    pipeline.wait().map(drop)
}
