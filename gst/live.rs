//! A live source: frames are pushed into a [`Pipeline`], whose one target is the line. Nothing waits; what is late leaves
//! obscured, and what finds no buffer is skipped.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use milkglass::frame::RedactedFrame;
use milkglass::picture::ViewMut;
use milkglass::pipeline::Status;
use milkglass::source::{FrameSender, Pushed};
use milkglass::time::Timestamp;
use milkglass::{Detector, FrameSink, Pipeline, Policy, Result};

use crate::line::Line;
use crate::picture::{Stream, Writer};

/// Frames that the line has room for beyond those of a deadline, and the most in all.
const SPARE_FRAMES: usize = 4;
const MOST_FRAMES: usize = 64;

pub(crate) struct Live {
    pipeline: Pipeline,
    sender: FrameSender,
    ended: Arc<Ended>,
}

/// Told when the pipeline has handed over its last frame.
#[derive(Default)]
struct Ended {
    over: Mutex<bool>,
    changed: Condvar,
}

/// The pipeline's target.
struct Exit {
    line: Arc<Line>,
    source: u64,
    writer: Writer,
    ended: Arc<Ended>,
}

impl Live {
    /// Measures the detectors, and starts.
    pub fn start(
        policy: Policy,
        detectors: Vec<Box<dyn Detector>>,
        stream: &Stream,
        fps: f64,
        privacy: bool,
        line: &Arc<Line>,
    ) -> Result<Live> {
        let writer = Writer::new(stream)?;
        let (source, first) = line.open(MOST_FRAMES, false);
        let (sender, frames) = FrameSender::new(first);
        let ended = Arc::new(Ended::default());
        let exit = Exit { line: Arc::clone(line), source, writer, ended: Arc::clone(&ended) };
        let pipeline = Pipeline::builder(policy, stream.format, frames).fps(fps).privacy(privacy);
        let pipeline = pipeline.ladder(detectors).sink("source pad", exit).start()?;
        // A sink that keeps to the clock takes a frame only when its deadline has come.
        let waiting = (pipeline.status().deadline.as_secs_f64() * fps).ceil() as usize;
        line.bound((waiting + SPARE_FRAMES).min(MOST_FRAMES));
        Ok(Live { pipeline, sender, ended })
    }

    pub fn push(
        &self,
        captured: Timestamp,
        write: impl FnOnce(&mut ViewMut<'_>) -> Result<()>,
    ) -> Result<Pushed> {
        self.sender.push(captured, write)
    }

    /// No more frames: waits until all have reached the line, or `stop` says that nobody wants them.
    pub fn finish(&self, stop: impl Fn() -> bool) {
        self.sender.shut();
        let mut over = self.ended.over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over && !stop() {
            let waited = self.ended.changed.wait_timeout(over, Duration::from_millis(50));
            over = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        self.pipeline.set_policy(policy)
    }

    /// Returns when it holds. Nothing leaves a pipeline that has ended.
    pub fn set_privacy(&self, on: bool) {
        let _ = self.pipeline.set_privacy(on);
    }

    pub fn status(&self) -> Status {
        self.pipeline.status()
    }

    /// Ends it.
    ///
    /// # Errors
    /// The fault by which it had ended before, if it had.
    pub fn end(&self) -> Result<()> {
        self.sender.shut();
        self.pipeline.close().map(drop)
    }
}

impl FrameSink for Exit {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        self.line.put(self.source, frame, &self.writer)
    }

    fn forget(&mut self) {
        self.line.forget();
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        *self.ended.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.changed.notify_all();
    }
}
