//! What went wrong so far, and how often it is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use milkglass_common::Seldom;

/// Counters of a [`V4l2Source`](super::V4l2Source), readable from any thread while it runs. Clones show the same figures.
#[derive(Clone, Debug, Default)]
pub struct V4l2Counters(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    counts: [AtomicU64; Trouble::COUNT],
    reopened: AtomicU64,
    connected: AtomicBool,
}

/// What can go wrong without ending the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Timeout,
    Corrupt,
    Missed,
    NoBuffer,
    OddTime,
    Lost,
}

impl Trouble {
    const COUNT: usize = Trouble::Lost as usize + 1;

    fn text(self) -> &'static str {
        match self {
            Trouble::Timeout => "no picture came in time",
            Trouble::Corrupt => "a damaged picture was withheld",
            Trouble::Missed => "pictures were left out by the driver",
            Trouble::NoBuffer => "pictures were skipped because all buffers are in use",
            Trouble::OddTime => "a picture's time was impossible; its arrival is taken instead",
            Trouble::Lost => "the camera is gone or failed; it will be opened again",
        }
    }
}

impl V4l2Counters {
    /// Waits of half a second without a picture.
    pub fn timeouts(&self) -> u64 {
        self.count(Trouble::Timeout)
    }
    /// Pictures withheld because the driver marked them, or because they were too short or no JPEG.
    pub fn corrupt(&self) -> u64 {
        self.count(Trouble::Corrupt)
    }
    /// Pictures that the driver left out: gaps in its numbers.
    pub fn missed(&self) -> u64 {
        self.count(Trouble::Missed)
    }
    /// Pictures skipped because no buffer of the pool was free.
    pub fn no_buffer(&self) -> u64 {
        self.count(Trouble::NoBuffer)
    }
    /// Pictures whose time could not be true.
    pub fn odd_times(&self) -> u64 {
        self.count(Trouble::OddTime)
    }
    /// Times that the camera was gone, failed or stalled and was closed.
    pub fn lost(&self) -> u64 {
        self.count(Trouble::Lost)
    }
    /// Times that it was found and opened again.
    pub fn reopened(&self) -> u64 {
        self.0.reopened.load(Relaxed)
    }
    /// Whether it is open now.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Relaxed)
    }

    fn count(&self, trouble: Trouble) -> u64 {
        self.0.counts[trouble as usize].load(Relaxed)
    }
    pub(super) fn set_connected(&self, connected: bool) {
        self.0.connected.store(connected, Relaxed);
    }
    pub(super) fn add_reopened(&self) {
        self.0.reopened.fetch_add(1, Relaxed);
    }
}

/// Counts trouble and logs it, not too often.
#[derive(Debug)]
pub(super) struct Journal {
    pub counters: V4l2Counters,
    name: String,
    /// When it was said, and how much there was by then.
    said: [(Seldom, u64); Trouble::COUNT],
}

impl Journal {
    pub fn new(name: String) -> Journal {
        Journal { counters: V4l2Counters::default(), name, said: Default::default() }
    }

    /// `n` more of the same trouble; `why` is asked for when it is said.
    pub fn note(&mut self, trouble: Trouble, n: u64, why: impl FnOnce() -> String) {
        let count = self.counters.0.counts[trouble as usize].fetch_add(n, Relaxed) + n;
        let said = &mut self.said[trouble as usize];
        if n == 0 || !said.0.due() {
            return;
        }
        let since = count - std::mem::replace(&mut said.1, count);
        let (why, text) = (why(), trouble.text());
        let colon = if why.is_empty() { "" } else { ": " };
        log::warn!("{}: {text} ({since} more, {count} in all){colon}{why}", self.name);
    }
}
