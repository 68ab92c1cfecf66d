//! What the signals, the page and the metrics may ask of the running pipeline: figures, privacy mode, another policy. Never
//! pixels, never places.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use milkglass::evidence::Figures;
use milkglass::pipeline::{State, Status};
use milkglass::sink::RingCounters;
use milkglass::stats::Stats;
use milkglass::v4l2::V4l2Counters;
use milkglass::{Pipeline, Policy};

use super::privacy::Remembered;
use super::target::Stream;
use crate::outcome::Failure;

/// The pipeline, shared by whoever may steer it.
pub struct Control {
    /// None while nothing has begun.
    pipeline: OnceLock<Pipeline>,
    /// Held while privacy mode changes, so that what is stored and what is in force never differ for long.
    remembered: Mutex<Remembered>,
    privacy: AtomicBool,
    /// Whether the policy in force allows cosmetic styles.
    reversible: AtomicBool,
    camera: Option<V4l2Counters>,
    rings: Mutex<Vec<RingCounters>>,
    stream: Stream,
    evidence: OnceLock<Arc<Figures>>,
}

impl Control {
    /// Nothing runs yet. Privacy mode is on when it was at the end of the last run, or `privacy` asks for it.
    pub fn new(
        remembered: Remembered,
        privacy: bool,
        camera: Option<V4l2Counters>,
        stream: Stream,
    ) -> Control {
        let privacy = AtomicBool::new(privacy || remembered.is_on());
        Control {
            pipeline: OnceLock::new(),
            remembered: Mutex::new(remembered),
            privacy,
            reversible: AtomicBool::new(true),
            camera,
            rings: Mutex::default(),
            stream,
            evidence: OnceLock::new(),
        }
    }

    /// Gives it the pipeline, in privacy mode if that was asked for meanwhile.
    ///
    /// # Errors
    /// The pipeline has ended already.
    pub fn start(&self, pipeline: Pipeline) -> Result<(), Failure> {
        // Whoever asks for privacy mode meanwhile waits, and then finds the pipeline.
        let _one = lock(&self.remembered);
        let pipeline = self.pipeline.get_or_init(|| pipeline);
        if self.privacy() {
            pipeline.set_privacy(true)?;
        }
        Ok(())
    }

    /// Figures of this moment.
    pub fn status(&self) -> Status {
        self.pipeline.get().map(Pipeline::status).unwrap_or_default()
    }

    /// The pipeline, unless it has ended.
    fn running(&self) -> Option<&Pipeline> {
        self.pipeline.get().filter(|pipeline| pipeline.status().state != State::Stopped)
    }

    /// Counters of the camera; `None` when the frames come from a pipe.
    pub fn camera(&self) -> Option<&V4l2Counters> {
        self.camera.as_ref()
    }

    /// One more target is a ring.
    pub fn add_ring(&self, counters: RingCounters) {
        lock(&self.rings).push(counters);
    }

    /// Counters of every ring.
    pub fn rings(&self) -> Vec<RingCounters> {
        lock(&self.rings).clone()
    }

    /// Where the evidence log tells how it fares; told once.
    pub fn set_evidence(&self, figures: Arc<Figures>) {
        let _ = self.evidence.set(figures);
    }

    /// How the evidence log fares; `None` without one.
    pub fn evidence(&self) -> Option<&Figures> {
        self.evidence.get().map(Arc::as_ref)
    }

    /// Format and rate of the frames.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether privacy mode is on, or about to be.
    pub fn privacy(&self) -> bool {
        self.privacy.load(Ordering::SeqCst)
    }

    /// Privacy mode on or off. On: covered first, then remembered, then confirmed by returning. Off: forgotten first. So
    /// whatever fails, and whenever the power goes, the picture is covered rather than not.
    ///
    /// # Errors
    /// What could not be done; the picture is covered then.
    pub fn set_privacy(&self, on: bool) -> Result<(), Failure> {
        let remembered = lock(&self.remembered);
        if on {
            self.privacy.store(true, Ordering::SeqCst);
        }
        let Some(pipeline) = self.running() else {
            // What begins later begins covered; what is on stays on.
            if on {
                remembered.store(true)?;
            }
            return Err(Failure::new("the pipeline does not run yet, or no more; nothing is confirmed"));
        };
        if !on {
            remembered.store(false)?;
        }
        let told = pipeline.set_privacy(on);
        if on {
            // Also when the pipeline has just ended by itself: the next one begins covered.
            remembered.store(true)?;
        }
        told?;
        self.privacy.store(on, Ordering::SeqCst);
        log::info!("privacy mode is {}", if on { "on" } else { "off" });
        Ok(())
    }

    /// Exchanges the policy; an error leaves the old one in force.
    pub fn set_policy(&self, policy: Policy) -> Result<(), Failure> {
        let reversible = policy.reversible();
        self.pipeline
            .get()
            .ok_or_else(|| Failure::new("the pipeline does not run yet"))?
            .set_policy(policy)?;
        self.set_reversible(reversible);
        Ok(())
    }

    /// Whether the policy allows cosmetic styles: for the page, so that it offers none that would be refused.
    pub fn reversible(&self) -> bool {
        self.reversible.load(Ordering::Relaxed)
    }

    /// Tells of the policy in force whether it allows cosmetic styles.
    pub fn set_reversible(&self, reversible: bool) {
        self.reversible.store(reversible, Ordering::Relaxed);
    }

    /// Ends the pipeline and waits for it.
    ///
    /// # Errors
    /// Why it ended by itself, if it did.
    pub fn stop(&self) -> Result<Stats, Failure> {
        Ok(self.pipeline.get().map(Pipeline::close).transpose()?.unwrap_or_default())
    }
}

/// The state in words, for the log, systemd and the page.
pub fn describe(status: &Status) -> String {
    let text = match status.state {
        State::Starting => "starting: everything is covered until the first detection",
        State::Covered => "running: what the policy names is covered",
        State::Degraded => "degraded: the picture is covered whole, detection does not keep up or fails",
        State::Privacy => "privacy mode: everything is covered",
        State::SelfTestFailed => {
            "self-test failed: the picture is covered whole, the detector does not find a known person"
        }
        State::NoCamera => "no camera: nothing is shown until it is back",
        _ => "stopped",
    };
    match status.level {
        0 => text.into(),
        level => format!("{text} (rung {level} of the ladder)"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use clap::Parser as _;
    use milkglass::frame::FramePool;
    use milkglass::picture::PixelFormat;
    use milkglass::policy::{Polygon, Style, Zone};
    use milkglass::source::Captured;
    use milkglass::{FrameFormat, FrameSource};

    use super::*;
    use crate::args::{Cli, Command};

    /// A camera that is gone at once.
    struct Gone;

    impl FrameSource for Gone {
        fn capture(&mut self, _: &FramePool) -> milkglass::Result<Captured> {
            Ok(Captured::End)
        }
    }

    fn remembered(folder: &Path) -> Remembered {
        let folder = folder.to_str().unwrap();
        let cli = ["milkglass", "live", "--from", "-", "--to", "-", "--state-dir", folder];
        match Cli::parse_from(cli).command {
            Command::Live(args) => Remembered::open(&args).unwrap(),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn privacy_mode_is_stored_also_when_the_pipeline_has_just_ended() {
        let folder = tempfile::tempdir().unwrap();
        let format = FrameFormat::new(PixelFormat::Nv12, 64, 48).unwrap();
        let area = Polygon::new([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]).unwrap();
        let policy = Policy::builder().zone(Zone::new("z", area, Style::default()).unwrap()).build();
        let pipeline = Pipeline::builder(policy.unwrap(), format, Gone).fps(25.0).start();
        let stream = Stream { format, rate: (25, 1), threads: 1 };
        let control = Control::new(remembered(folder.path()), false, None, stream);
        control.start(pipeline.unwrap()).unwrap();
        // It has ended, and nobody has taken it away yet.
        let begun = Instant::now();
        while control.status().state != State::Stopped {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(control.set_privacy(true).is_err(), "confirmed by a pipeline that is no more");
        drop(control);
        assert!(remembered(folder.path()).is_on(), "the next one would begin without it");
    }
}
