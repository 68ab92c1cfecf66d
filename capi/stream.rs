//! An open stream: a pipeline, its sender, its receiver, and how they end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use milkglass::frame::{FramePool, Outcome};
use milkglass::opening::Loaded;
use milkglass::pipeline::{FrameReceiver, State, Status, Taken};
use milkglass::source::{Captured, FrameSender, Pushed};
use milkglass::time::Timestamp;
use milkglass::{Error, FrameFormat, FrameSource, Media, Opening, Pipeline, Result};

use crate::detector::Gate;
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::opening::with_policy;
use crate::picture::{self, Buffers, Source, Target};
use crate::types::*;

/// How long closing waits for a camera to be given back; it looks up every half second.
const PARTING: Duration = Duration::from_secs(2);

/// A stream. All its methods may be called from every thread.
pub struct Stream {
    pub(crate) format: FrameFormat,
    pub(crate) fps: f64,
    pub(crate) loaded: Loaded,
    pub(crate) evidence: Evidence,
    pub(crate) receiver: FrameReceiver,
    /// By the program: whoever waits for a frame is told so.
    pub(crate) closed: AtomicBool,
    pub(crate) gate: Gate,
    /// `None`: the library captures.
    pub(crate) sender: Option<FrameSender>,
    pub(crate) counted: Arc<Counted>,
    /// What is in force. One exchange of it, or of privacy mode, at a time.
    pub(crate) exchange: Mutex<Opening>,
    /// Dead when the source is gone.
    pub(crate) source: Weak<()>,
}

/// A stream's pipeline as its figures see it: shared with the evidence log.
pub(crate) struct Counted {
    pipeline: Pipeline,
    /// Frames that could not be pushed.
    skipped: AtomicU64,
}

impl Counted {
    pub fn new(pipeline: Pipeline) -> Counted {
        Counted { pipeline, skipped: AtomicU64::new(0) }
    }

    /// Figures of this moment.
    pub fn status(&self) -> Status {
        let mut status = self.pipeline.status();
        status.skipped += self.skipped.load(Ordering::Relaxed);
        status
    }
}

impl Stream {
    /// # Safety
    /// The planes of `picture` are readable as it says.
    pub(crate) unsafe fn push(&self, picture: &milkglass_picture) -> Result<milkglass_status, Fault> {
        let sender = self.sender()?;
        let planes = Source::check(picture, &self.format)?;
        let pushed = sender.push(Timestamp::from_nanos(picture.captured), |view| {
            // SAFETY: by the caller's promise; the view has the format that was checked.
            unsafe { planes.read(view) };
            Ok(())
        });
        self.pushed(pushed?)
    }

    pub(crate) fn push_dmabuf(&self, picture: &milkglass_dmabuf) -> Result<milkglass_status, Fault> {
        let sender = self.sender()?;
        let buffers = Buffers::import(picture, &self.format)?;
        self.pushed(sender.push_dmabuf(Timestamp::from_nanos(picture.captured), &buffers.planes(picture))?)
    }

    fn sender(&self) -> Result<&FrameSender, Fault> {
        let captures = "the library captures this stream's frames from a camera itself";
        self.sender.as_ref().ok_or_else(|| Fault::argument(captures))
    }

    fn pushed(&self, pushed: Pushed) -> Result<milkglass_status, Fault> {
        match pushed {
            Pushed::Taken(_) => Ok(milkglass_status::OK),
            Pushed::Skipped => {
                self.counted.skipped.fetch_add(1, Ordering::Relaxed);
                Ok(milkglass_status::SKIPPED)
            }
            Pushed::Shut => Ok(milkglass_status::END),
            Pushed::Ended => Err(self.counted.pipeline.failure().unwrap_or(Error::Ended).into()),
        }
    }

    /// # Safety
    /// The planes of `frame` are writable as it says.
    pub(crate) unsafe fn take(
        &self,
        frame: &mut milkglass_frame,
        timeout_ms: i32,
    ) -> Result<milkglass_status, Fault> {
        let target = Target::check(frame, &self.format)?;
        let patience = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        let taken = self.receiver.take(patience, |redacted| {
            // SAFETY: the caller keeps the memory good while it asks. Both formats are the stream's.
            unsafe { target.write(&redacted.view()) };
            (redacted.meta(), redacted.outcome())
        });
        match taken {
            Taken::Frame((meta, outcome)) => {
                frame.captured = meta.captured.as_nanos();
                frame.sequence = meta.sequence;
                frame.outcome = match outcome {
                    Outcome::Covered => milkglass_outcome::COVERED,
                    _ => milkglass_outcome::OBSCURED,
                } as u32;
                frame.reserved = 0;
                Ok(milkglass_status::OK)
            }
            Taken::TimedOut => Ok(milkglass_status::TIMEOUT),
            Taken::Ended if self.closed.load(Ordering::SeqCst) => {
                Err(Fault::new(milkglass_status::NO_STREAM, "the stream was closed meanwhile"))
            }
            Taken::Ended => Ok(self.counted.pipeline.wait().map(|_| milkglass_status::END)?),
        }
    }

    pub(crate) fn finish(&self) {
        match &self.sender {
            // Its source ends after what was pushed before.
            Some(sender) => sender.shut(),
            None => self.counted.pipeline.stop(),
        }
    }

    pub(crate) fn set_privacy(&self, on: bool) -> Result<(), Fault> {
        let _one = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.counted.pipeline.set_privacy(on)?)
    }

    /// The lock file is read again too: a newer one of its owner may allow what the one before did not.
    pub(crate) fn set_policy(&self, text: Option<&str>, file: Option<&str>) -> Result<(), Fault> {
        let mut in_force = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let named = text.is_some() || file.is_some();
        let now = with_policy(in_force.again().no_policy(), text, file)?.read()?;
        if !named && !now.is_locked() {
            return Err(Fault::argument(
                "policy and policy_file are both NULL: set one; policy \"faces = 'fill'\" hides faces and drops every zone",
            ));
        }
        if named {
            now.file().check_exchange()?;
        }
        now.follows(&in_force, &self.loaded)?;
        now.check(&self.format)?;
        self.counted.pipeline.set_policy(now.policy(Media::Live))?;
        self.evidence.changed(&now, &self.loaded);
        let remembered = now.remember(&self.format).map_err(|e| {
            let Fault { status, text } = Fault::from(e);
            Fault::new(status, format!("the policy is in force, but a restart would forget it: {text}"))
        });
        let left_out = now.leaves_out(&in_force);
        *in_force = now;
        // The program's function is called without a lock of ours.
        drop(in_force);
        if let Some(names) = left_out {
            log::warn!("no longer hidden by the new policy: {names}");
        }
        remembered
    }

    pub(crate) fn checkpoint(&self) -> Result<String, Fault> {
        self.evidence.checkpoint()
    }

    pub(crate) fn layout(&self) -> milkglass_layout {
        let mut layout = milkglass_layout {
            size: size_of::<milkglass_layout>(),
            fourcc: picture::fourcc(&self.format),
            width: self.format.width(),
            height: self.format.height(),
            planes: 0,
            row_bytes: [0; 3],
            rows: [0; 3],
            fps: self.fps,
            pixel_aspect_width: self.format.pixel_aspect().width(),
            pixel_aspect_height: self.format.pixel_aspect().height(),
        };
        for (n, plane) in self.format.planes().iter().enumerate() {
            layout.planes += 1;
            (layout.row_bytes[n], layout.rows[n]) = (plane.row_bytes(), plane.height as usize);
        }
        layout
    }

    pub(crate) fn stats(&self) -> milkglass_stats {
        let status = self.counted.status();
        let (evidence_errors, evidence_trouble, evidence_changed) = self.evidence.figures();
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        milkglass_stats {
            size: size_of::<milkglass_stats>(),
            state: match status.state {
                State::Starting => milkglass_state::STARTING,
                State::Covered => milkglass_state::COVERED,
                State::Privacy => milkglass_state::PRIVACY,
                State::NoCamera => milkglass_state::NO_CAMERA,
                State::SelfTestFailed => milkglass_state::SELF_TEST_FAILED,
                State::Stopped => milkglass_state::STOPPED,
                _ => milkglass_state::DEGRADED,
            } as u32,
            level: u32::try_from(status.level).unwrap_or(u32::MAX),
            pushed: status.stats.pushed,
            covered: status.stats.covered,
            obscured: status.stats.obscured,
            dropped: status.stats.dropped,
            skipped: status.skipped,
            missed: status.target_drops,
            observations: status.stats.observations,
            detector_errors: status.stats.detector_errors + status.stats.lost_jobs,
            exposure: nanos(status.exposure),
            detection: nanos(status.detection),
            detecting: nanos(status.detecting),
            latency: nanos(status.latency),
            heartbeat: status.heartbeat,
            self_tests_passed: status.self_tests_passed,
            self_tests_failed: status.self_tests_failed,
            evidence_errors,
            evidence_trouble: evidence_trouble.into(),
            evidence_changed: evidence_changed.into(),
            untested: status.untested.into(),
            reserved: 0,
        }
    }

    /// Ends it at once. Nothing of the program is touched afterwards.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.receiver.shut();
        if let Some(sender) = &self.sender {
            sender.shut();
        }
        self.counted.pipeline.stop();
        self.gate.close();
        // Whoever takes or pushes has been told why it ended, if it had a fault.
        let _ = self.counted.pipeline.close();
        self.evidence.end();
        let start = Instant::now();
        while self.source.strong_count() > 0 && start.elapsed() < PARTING {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A source whose end can be waited for.
pub(crate) struct Watched {
    pub source: Box<dyn FrameSource>,
    pub _alive: Arc<()>,
}

impl FrameSource for Watched {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        self.source.capture(pool)
    }
}
