//! Which way up each frame of a clip says it is. Its container and its first frames are asked before it is decoded
//! (`probe.rs`); what a later frame says is known only then, from what a filter of the decoder writes on stderr.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::probe::Orientation;

/// The filter: it passes frames on as they are, and writes lines about each.
pub(super) const FILTER: &str = "showinfo@turn=checksum=0";
/// How its lines begin.
const NAME: &str = "[showinfo@turn @";
/// Different words that are kept.
const MOST: usize = 8;

/// What was heard so far. One thread hears, another one asks.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    heard: Mutex<Heard>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    frames: u64,
    ended: bool,
    /// What the frame says whose lines are being heard.
    now: Option<Turn>,
    /// Each different word, `None` for silence, and the frame that was the first to say it.
    said: Vec<(Option<Turn>, u64)>,
}

/// Degrees against the clock: 0, 90, 180 or 270.
type Turn = u16;

impl Turns {
    /// Takes in a line of stderr; says whether it was one of the filter's.
    pub fn hear(&self, line: &str) -> bool {
        let Some((_, text)) = line.strip_prefix(NAME).and_then(|rest| rest.split_once(']')) else {
            return false;
        };
        let text = text.trim_start().trim_start_matches("[info]").trim_start();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if text.starts_with("n:") {
            heard.now = None;
        } else if let Some(turn) = text.strip_prefix("side data - displaymatrix: rotation of ") {
            let degrees: f64 = turn.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
            // Odd angles are not followed: the picture stays as it is stored.
            let quarters = degrees / 90.0;
            let even = (quarters - quarters.round()).abs() < 0.01;
            heard.now = Some(if even { 90 * (quarters.round() as i64).rem_euclid(4) as Turn } else { 0 });
        } else if text.starts_with("color_range:") {
            // The last line about a frame.
            let (now, at) = (heard.now.take(), heard.frames);
            if heard.said.len() < MOST && heard.said.iter().all(|(turn, _)| *turn != now) {
                heard.said.push((now, at));
            }
            heard.frames += 1;
            self.more.notify_all();
        }
        true
    }

    /// Nothing more will be heard.
    pub fn end(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.more.notify_all();
    }

    /// Waits until the first so many frames were heard of, and returns the first of all that asks for another turn than
    /// `orientation`, counted from 0. `alone` says that each frame speaks for itself; else what was said once holds until
    /// something else is said.
    ///
    /// # Errors
    /// When nothing is heard for so long.
    pub fn other_than(
        &self,
        orientation: Orientation,
        alone: bool,
        frames: u64,
        patience: Duration,
    ) -> Result<Option<u64>, ()> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let (heard, wait) = self
            .more
            .wait_timeout_while(heard, patience, |heard| heard.frames < frames && !heard.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() {
            return Err(());
        }
        let wanted = turn_of(orientation);
        let any = heard.said.iter().any(|(turn, _)| turn.is_some());
        let other = heard.said.iter().filter(|(turn, _)| match turn {
            Some(turn) => *turn != wanted,
            None => alone && any && orientation != Orientation::Upright,
        });
        Ok(other.map(|(_, at)| *at).min())
    }
}

/// The turn that the filter tells of a picture that is brought upright so. It tells none that is mirrored from the same that is
/// not.
fn turn_of(orientation: Orientation) -> Turn {
    match orientation {
        Orientation::Upright | Orientation::MirrorTopBottom => 0,
        Orientation::CounterClockwise | Orientation::AntiTranspose => 90,
        Orientation::HalfTurn | Orientation::MirrorLeftRight => 180,
        Orientation::Clockwise | Orientation::Transpose => 270,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(turns: &Turns, told: Option<&str>) {
        let say = |text: &str| assert!(turns.hear(&format!("[showinfo@turn @ 0x55f9] [info] {text}")));
        say(
            "n:   0 pts:      0 pts_time:0       pos:       48 fmt:yuv420p sar:1/1 s:640x360 i:P iskey:1 type:I",
        );
        if let Some(degrees) = told {
            say(&format!("  side data - displaymatrix: rotation of {degrees} degrees"));
        }
        say("color_range:unknown color_space:unknown color_primaries:unknown color_trc:unknown");
    }

    /// The first of these frames that asks for another turn.
    fn other(orientation: Orientation, alone: bool, told: &[Option<&str>]) -> Option<u64> {
        let turns = Turns::default();
        told.iter().for_each(|told| frame(&turns, *told));
        turns.other_than(orientation, alone, told.len() as u64, Duration::ZERO).unwrap()
    }

    #[test]
    fn the_first_frame_that_says_something_else_is_told() {
        use Orientation::{Clockwise, HalfTurn, Upright};
        let (none, quarter, half) = (None, Some("-90.00"), Some("-180.00"));
        for alone in [true, false] {
            assert_eq!(other(Upright, alone, &[none; 3]), None);
            assert_eq!(other(Clockwise, alone, &[none; 3]), None, "the container said so");
            assert_eq!(other(Clockwise, alone, &[quarter; 3]), None);
            assert_eq!(other(HalfTurn, alone, &[half, Some("180.00")]), None);
            assert_eq!(other(Upright, alone, &[none, Some("-0.00"), Some("17.00"), Some("nan")]), None);
            assert_eq!(other(Upright, alone, &[none, none, quarter]), Some(2));
            assert_eq!(other(Clockwise, alone, &[quarter, quarter, half]), Some(2));
        }
        assert_eq!(other(Clockwise, true, &[quarter, none]), Some(1));
        assert_eq!(other(Clockwise, false, &[quarter, none]), None, "it holds until something else is said");
    }

    #[test]
    fn who_asks_waits_for_the_frame_or_the_end() {
        let turns = Turns::default();
        assert!(!turns.hear("[h264 @ 0x1] [info] side data - displaymatrix: rotation of 90.00 degrees"));
        assert!(turns.other_than(Orientation::Upright, false, 1, Duration::from_millis(1)).is_err());
        std::thread::scope(|scope| {
            let asked =
                scope.spawn(|| turns.other_than(Orientation::Upright, false, 1, Duration::from_secs(60)));
            frame(&turns, Some("90.00"));
            assert_eq!(asked.join().unwrap(), Ok(Some(0)));
        });
        turns.end();
        assert_eq!(turns.other_than(Orientation::Clockwise, false, 9, Duration::ZERO), Ok(Some(0)));
    }
}
