//! What the measured detector and the frame rate ask of a policy's times, and of the buffers.

use std::time::Duration;

use crate::policy::{Policy, PolicyError};

/// The most buffers that are taken without being asked for; a longer line skips pictures.
const MOST_BUFFERS: usize = 64;
/// With fewer, hardly a frame gets through; where there is no memory for these, nothing starts.
pub(super) const LEAST_BUFFERS: usize = 10;
/// The most frames of one detection that an outbox has room for.
const MOST_BURST: usize = 16;

/// Whether a policy asks for self-tests and has anything to test.
pub(super) fn wants_test(policy: &Policy) -> bool {
    policy.self_test().is_some() && policy.classes().next().is_some()
}

/// How many detections a frame may have to wait for: that of the frame before, its own, and one of the self-test.
pub(super) fn detections(policy: &Policy) -> u32 {
    if policy.self_test().is_some() { 3 } else { 2 }
}

pub(super) fn check_parts(policy: &Policy, in_parts: bool) -> Result<(), PolicyError> {
    match in_parts && !policy.motion_cover() && policy.classes().next().is_some() {
        true => Err(PolicyError::PartsUncovered),
        false => Ok(()),
    }
}

/// Checks the times of a policy against the detector, and chooses a deadline where there is none. With one job in flight
/// the worst wait is twice a detection and two frames; three times where a self-test may come between.
pub(super) fn with_budget(policy: Policy, detection: Duration, fps: f64) -> Result<Policy, PolicyError> {
    if policy.classes().next().is_none() {
        return Ok(policy);
    }
    let two_frames = Duration::from_secs_f64(2.0 / fps.max(0.1));
    let (least_deadline, least_gap) = (
        detections(&policy) * detection + two_frames + policy.look_ahead(),
        (detections(&policy) - 1) * detection + two_frames,
    );
    let refuse = |name: &str, value: Duration, least: Duration| {
        let what = format!(
            "{name} = {} ms (this detector and rate need {} ms{})",
            value.as_millis(),
            least.as_millis(),
            if wants_test(&policy) { ", self-test included" } else { "" }
        );
        Err(PolicyError::Range { what, why: "raise it, lower the frame rate, or use a faster preset" })
    };
    if policy.max_gap() < least_gap {
        return refuse("max_gap", policy.max_gap(), least_gap);
    }
    match policy.deadline() {
        Some(deadline) if deadline < least_deadline => refuse("deadline", deadline, least_deadline),
        Some(_) => Ok(policy),
        // Twice the need, so that a slow moment does not black out the picture.
        None => {
            let then = policy.on_deadline();
            policy.to_builder().deadline(2 * least_deadline, then).build()
        }
    }
}

/// Frames that arrive during one detection: they are released together, and must not push each other out of an outbox.
pub(super) fn burst(detection: Duration, fps: f64) -> usize {
    ((detection.as_secs_f64() * fps).ceil() as usize).min(MOST_BURST)
}

/// Buffers for the frames of a deadline, those that wait at and in the targets (which share them), and those at the
/// engine's ends.
pub(super) fn needed(policy: &Policy, fps: f64, burst: usize, targets: usize) -> usize {
    let waiting = (policy.deadline().unwrap_or_default().as_secs_f64() * fps).ceil() as usize;
    (waiting + burst + 4 + 3 * targets).min(MOST_BUFFERS)
}

/// The longest detection that still meets the deadline, in nanoseconds.
pub(super) fn budget(policy: &Policy, fps: f64) -> u64 {
    let deadline = policy.deadline().unwrap_or(Duration::MAX);
    let room = deadline.saturating_sub(Duration::from_secs_f64(2.0 / fps.max(0.1)) + policy.look_ahead());
    u64::try_from((room / detections(policy)).min(policy.max_gap()).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;
    use crate::picture::{FrameFormat, PixelFormat};
    use crate::policy::Style;

    /// Every row of the table that integrators choose by is what happens at the start.
    #[test]
    fn the_numbers_in_the_guide_are_those_of_the_code() {
        let guide = include_str!("../../docs/INTEGRATING.md");
        let table = guide.split("<!-- numbers:begin -->").nth(1).unwrap();
        let table = table.split("<!-- numbers:end -->").next().unwrap();
        let millis = |d: Duration| d.as_secs_f64() * 1000.0;
        let mut rows = 0;
        for row in table.lines().skip(3) {
            let cells: Vec<f64> = row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
            let [fps, detection, gap, deadline, chosen, pool, memory] = cells[..] else {
                panic!("{row} has no seven numbers");
            };
            rows += 1;
            let detection = Duration::from_millis(detection as u64);
            let ms = |ms: f64| Duration::from_millis(ms as u64);
            let policy = |gap: f64, deadline: Option<f64>| {
                let builder = Policy::builder().hide(Class::Face, Style::default()).max_gap(ms(gap));
                let builder = builder.self_test(Some(Duration::from_secs(300)));
                let then = crate::policy::OnDeadline::Obscure;
                deadline.into_iter().fold(builder, |b, d| b.deadline(ms(d), then)).build().unwrap()
            };
            let fits = |gap, deadline| with_budget(policy(gap, deadline), detection, fps);
            assert!(fits(gap, Some(deadline)).is_ok(), "{row}");
            assert!(fits(gap - 1.0, Some(deadline)).is_err(), "max_gap of {row}");
            assert!(fits(gap, Some(deadline - 1.0)).is_err(), "deadline of {row}");
            let picked = fits(gap, None).unwrap();
            assert_eq!(millis(picked.deadline().unwrap()).ceil(), chosen, "{row}");
            let buffers = needed(&picked, fps, burst(detection, fps), 1);
            assert_eq!(buffers as f64, pool, "{row}");
            let format = FrameFormat::new(PixelFormat::Nv12, 1920, 1080).unwrap();
            assert_eq!((buffers as f64 * format.buffer_len() as f64 / 1e6).round(), memory, "{row}");
        }
        assert_eq!(rows, 9);
    }
}
