//! A detector of your own: the place of an NPU's. This one "finds" whatever is much brighter than the picture's mean.
//!
//!     ffmpeg -v error -i examples/people.mp4 -f yuv4mpegpipe - | cargo run --example custom_detector > redacted.y4m
//!
//! A detector is lent raw pixels, so it is as trusted as the engine. An error covers nothing and releases nothing: never
//! return an empty list instead of one.

use std::io::{BufReader, BufWriter, stdin, stdout};
use std::time::Duration;

use milkglass::geometry::Rect;
use milkglass::picture::View;
use milkglass::policy::{OnDeadline, Style};
use milkglass::sink::Y4mSink;
use milkglass::source::Y4mSource;
use milkglass::{Class, Detection, Detector, Pipeline, Policy, Result};

/// Looks for bright cells of 32 x 32 pixels.
struct BrightCells;

const CELL: u32 = 32;

impl Detector for BrightCells {
    fn classes(&self) -> &[Class] {
        &[Class::Face]
    }

    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        let (width, height) = view.format().size();
        let mut found = Vec::new();
        for y in (0..height.saturating_sub(CELL)).step_by(CELL as usize) {
            for x in (0..width.saturating_sub(CELL)).step_by(CELL as usize) {
                let cell = x as usize..(x + CELL) as usize;
                let rows = y..y + CELL;
                let sum: u64 =
                    rows.flat_map(|r| view.row(0, r)[cell.clone()].iter()).map(|v| u64::from(*v)).sum();
                let mean = sum / u64::from(CELL * CELL);
                if mean > 190
                    && let Some(rect) = Rect::new(x as f32, y as f32, CELL as f32, CELL as f32)
                {
                    found.push(Detection::new(Class::Face, rect, mean as f32 / 255.0));
                }
            }
        }
        Ok(found)
    }
}

fn main() -> Result<()> {
    let source = Y4mSource::open(BufReader::new(stdin()), true)?;
    let (format, fps, rate) = (source.format()?, source.fps(), source.header().frame_rate);
    let policy = Policy::builder()
        .hide(Class::Face, Style::Pixelate { cells: 3 })
        .deadline(Duration::from_millis(800), OnDeadline::Obscure)
        .build()?;
    let sink = Y4mSink::new(BufWriter::new(stdout()), &format, rate)?;
    let pipeline = Pipeline::builder(policy, format, source)
        .fps(fps)
        .detector(BrightCells)
        .sink("stdout", sink)
        .start()?;
    pipeline.wait().map(drop)
}
