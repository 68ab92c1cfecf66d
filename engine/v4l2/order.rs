//! Numbers and times of frames, made dependable: numbers only grow, times strictly increase and are never made up from a
//! clock that is off. And their pace, for cameras that know one rate alone.

use std::time::Duration;

use crate::frame::FrameMeta;
use crate::time::Timestamp;

/// A driver's time that lies further back than this is wrong: no picture waits so long in four buffers.
const OLDEST: Duration = Duration::from_secs(2);
/// Drivers reckon the end of a picture and may be a little ahead; further ahead the clock is another one.
const AHEAD: Duration = Duration::from_millis(250);

/// What was made of a buffer's number and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    pub meta: FrameMeta,
    /// Pictures that the driver left out just before this one.
    pub missed: u64,
    /// The driver's time could not be used; the time of arrival stands in its place.
    pub odd_time: bool,
}

#[derive(Debug, Default)]
pub(super) struct Order {
    next: u64,
    /// The driver's last number; `None` at the start of a stream.
    number: Option<u32>,
    last: Option<Timestamp>,
}

impl Order {
    /// The driver starts counting anew; frames go on being counted.
    pub fn restart(&mut self) {
        self.number = None;
    }

    /// Places one buffer. `captured` is the driver's time on the monotonic clock, if it has one.
    ///
    /// Of the driver's time it is asked that it lies within the two seconds before `arrived`, and after the last frame's.
    /// Otherwise the time of arrival is taken: times squeezed together behind one that was too late would make frames look
    /// closer to a detection than they are. For the same reason no time lies beyond the arrival.
    pub fn place(&mut self, number: u32, captured: Option<Timestamp>, arrived: Timestamp) -> Ordered {
        let step = self.number.map_or(1, |last| number.wrapping_sub(last));
        // Backwards or the same: the driver counts anew.
        let step = if step == 0 || step > u32::MAX / 2 { 1 } else { u64::from(step) };
        self.number = Some(number);
        let sequence = self.next + step - 1;
        self.next = sequence + 1;

        let after_last = |t: &Timestamp| self.last.is_none_or(|last| *t > last);
        let near = |t: &Timestamp| *t <= arrived + AHEAD && arrived.since(*t) <= OLDEST;
        let good = captured.filter(near).map(|t| t.min(arrived)).filter(after_last);
        // The last resort is for a clock that did not advance between two frames.
        let least = self.last.map_or(Timestamp::ZERO, |last| last + Duration::from_nanos(1));
        let time = good.unwrap_or(arrived).max(least);
        self.last = Some(time);
        Ordered {
            meta: FrameMeta { sequence, captured: time },
            missed: step - 1,
            odd_time: captured.is_some() && good.is_none(),
        }
    }
}

/// Lets no more pictures through than are wanted, where a camera has no rate so slow.
#[derive(Debug)]
pub(super) struct Pace {
    period: Option<Duration>,
    /// When the next picture is wanted.
    due: Timestamp,
}

impl Pace {
    /// The pace, and the rate that frames will have. A camera that is a tenth faster than wanted is left alone.
    pub fn new(wanted: Option<f64>, granted: Option<f64>) -> (Pace, Option<f64>) {
        let slower = wanted.filter(|w| granted.is_some_and(|g| g > 1.1 * w));
        let period = slower.and_then(|fps| Duration::try_from_secs_f64(1.0 / fps).ok());
        (Pace { period, due: Timestamp::ZERO }, slower.or(granted))
    }

    /// Whether a picture comes too early to be wanted. Counts those that do not.
    pub fn is_early(&mut self, captured: Timestamp) -> bool {
        let Some(period) = self.period else { return false };
        // A little before its time is good enough, or a jitter would cost a whole period.
        if captured + period / 8 < self.due {
            return true;
        }
        let missed = captured > self.due + period;
        self.due = if missed { captured } else { self.due } + period;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(t: u64) -> Timestamp {
        Timestamp::from_millis(t)
    }

    #[test]
    fn numbers_tell_of_gaps_wrap_and_never_fall() {
        let mut order = Order::default();
        let mut place = |n, t| {
            let placed = order.place(n, None, ms(t));
            (placed.meta.sequence, placed.missed)
        };
        assert_eq!(place(7, 1), (0, 0));
        assert_eq!(place(8, 2), (1, 0));
        assert_eq!(place(11, 3), (4, 2));
        assert_eq!(place(u32::MAX, 4), (5, 0), "backwards by less than half the range");
        assert_eq!(place(1, 5), (7, 1), "wrapped");
        assert_eq!(place(1, 6), (8, 0), "a repeated number");
        order.restart();
        assert_eq!(order.place(500, None, ms(7)).meta.sequence, 9);
    }

    #[test]
    fn a_faster_camera_is_slowed_down_on_average() {
        let count = |wanted, camera: u64| {
            let (mut pace, fps) = Pace::new(Some(wanted), Some(camera as f64));
            // Ten seconds from 5 s on, each picture up to 2 ms late.
            let times = (0..10 * camera).map(|i| 5000 + 1000 * i / camera + i % 3);
            (times.filter(|t| !pace.is_early(ms(*t))).count(), fps.unwrap())
        };
        let about = |(n, fps): (usize, f64), frames: usize, rate| n.abs_diff(frames) <= 1 && fps == rate;
        assert!(about(count(2.0, 60), 20, 2.0));
        assert!(about(count(25.0, 60), 250, 25.0));
        assert!(about(count(30.0, 30), 300, 30.0));
        assert!(about(count(30.0, 32), 320, 32.0));
        assert!(about(count(30.0, 10), 100, 10.0));
        let (mut pace, _) = Pace::new(Some(2.0), Some(30.0));
        let early = [0, 100, 500, 5000, 5100, 5500].map(|t| pace.is_early(ms(t)));
        assert_eq!(early, [false, true, false, false, true, false], "a gap is not made up for");
        assert_eq!(Pace::new(None, Some(60.0)).1, Some(60.0));
        assert_eq!(Pace::new(Some(2.0), None).1, None);
    }

    #[test]
    fn the_drivers_time_is_used_while_it_can_be_true() {
        let mut order = Order::default();
        let mut place = |captured: Option<u64>, arrived| {
            let placed = order.place(0, captured.map(ms), ms(arrived));
            (placed.meta.captured, placed.odd_time)
        };
        assert_eq!(place(Some(9_970), 10_000), (ms(9_970), false));
        assert_eq!(place(Some(10_003), 10_033), (ms(10_003), false));
        assert_eq!(place(Some(1), 10_066), (ms(10_066), true), "far back");
        assert_eq!(place(Some(99_000), 10_100), (ms(10_100), true), "in the future");
        assert_eq!(place(Some(10_090), 10_133), (ms(10_133), true), "before the last frame");
        assert_eq!(place(Some(10_136), 10_166), (ms(10_136), false), "and back to normal at once");
        assert_eq!(place(Some(10_210), 10_180), (ms(10_180), false), "a little ahead");
        assert_eq!(place(None, 10_200), (ms(10_200), false), "no monotonic time");
        assert_eq!(place(None, 10_200), (ms(10_200) + Duration::from_nanos(1), false));
    }
}
