//! Counters of frames, never of people.

/// What happened to the frames so far. Counts frames and attempts, nothing that tells of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Frames taken in.
    pub pushed: u64,
    /// Frames that left covered.
    pub covered: u64,
    /// Frames that left obscured.
    pub obscured: u64,
    /// Frames discarded at their deadline.
    pub dropped: u64,
    /// Observations that succeeded.
    pub observations: u64,
    /// Detections that failed, or returned something impossible. They cover nothing.
    pub detector_errors: u64,
    /// Loans that never came back.
    pub lost_jobs: u64,
}
