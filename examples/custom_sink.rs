//! A target of your own. It gets redacted frames and cannot be given others: the program would not compile.
//!
//!     ffmpeg -v error -i examples/people.mp4 -f yuv4mpegpipe - | cargo run --example custom_sink
//!
//! This one prints the mean brightness of each frame and whether it was covered.
#![allow(clippy::print_stdout)]

use std::io::{BufReader, stdin};

use milkglass::frame::RedactedFrame;
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::source::Y4mSource;
use milkglass::{FrameSink, Pipeline, Policy, Result};

struct Brightness;

impl FrameSink for Brightness {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        let (width, height) = frame.format().size();
        let view = frame.view();
        let sum: u64 = (0..height).flat_map(|y| view.row(0, y)).map(|v| u64::from(*v)).sum();
        let mean = sum / (u64::from(width) * u64::from(height));
        println!("frame {}: {:?}, mean brightness {mean}", frame.meta().sequence, frame.outcome());
        Ok(())
    }
}

fn main() -> Result<()> {
    let source = Y4mSource::open(BufReader::new(stdin()), true)?;
    let (format, fps) = (source.format()?, source.fps());
    let left = Polygon::new([(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)])?;
    let policy = Policy::builder().zone(Zone::new("left half", left, Style::default())?).build()?;
    let pipeline =
        Pipeline::builder(policy, format, source).fps(fps).sink("brightness", Brightness).start()?;
    pipeline.wait().map(drop)
}
