//! Frames from a Y4M stream: a pipe from another program, or a file.

use std::io::BufRead;
use std::time::{Duration, Instant};

use super::{Captured, FrameSource};
use crate::error::Result;
use crate::frame::{FrameMeta, FramePool};
use crate::picture::FrameFormat;
use crate::time::Timestamp;
use crate::y4m::{self, Y4mHeader, read_frame};

/// Reads frames at the stream's own rate, as a camera would deliver them, or as fast as they can be taken.
pub struct Y4mSource<R> {
    input: R,
    header: Y4mHeader,
    sequence: u64,
    /// When the first frame was due; `None`: as fast as possible.
    started: Option<Instant>,
    paced: bool,
    /// The time of the last frame, where frames bear the time of their arrival.
    arrived: Option<Timestamp>,
}

impl<R: BufRead + Send> Y4mSource<R> {
    /// Reads the header. `paced`: deliver frames at the stream's rate.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source) when it is no Y4M that we read.
    pub fn open(mut input: R, paced: bool) -> Result<Self> {
        let header = y4m::read_header(&mut input)?;
        Ok(Y4mSource { input, header, sequence: 0, started: None, paced, arrived: None })
    }

    /// Frames bear the time of their arrival, or that of the frame before and a frame's time at the header's rate, whichever
    /// is later: for a camera behind a pipe, which may deliver fewer than it told, and several at once after a stall. Time
    /// between frames is never taken for shorter than it was, since how far somebody may have moved depends on it.
    #[must_use]
    pub fn timed_on_arrival(mut self) -> Self {
        self.arrived = Some(Timestamp::ZERO);
        self
    }

    /// The stream's header.
    pub fn header(&self) -> &Y4mHeader {
        &self.header
    }

    /// The format of its frames.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) for impossible sizes.
    pub fn format(&self) -> Result<FrameFormat> {
        y4m::format(&self.header)
    }

    /// Frames per second.
    pub fn fps(&self) -> f64 {
        let (n, d) = self.header.frame_rate;
        f64::from(n) / f64::from(d)
    }
}

impl<R: BufRead + Send> FrameSource for Y4mSource<R> {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        let at = Duration::from_secs_f64(self.sequence as f64 / self.fps());
        if self.paced {
            let start = *self.started.get_or_insert_with(Instant::now);
            std::thread::sleep((start + at).saturating_duration_since(Instant::now()));
        }
        // A pipe can wait: no frame of it is lost to a full pool.
        if !pool.wait(Duration::from_millis(500)) {
            return Ok(Captured::Skipped);
        }
        let meta = FrameMeta { sequence: self.sequence, captured: Timestamp::ZERO + at };
        let mut more = true;
        let period = Duration::from_secs_f64(1.0 / self.fps());
        let input = &mut self.input;
        let frame = pool.fill(meta, |view| {
            more = read_frame(input, view)?;
            Ok(())
        })?;
        match frame {
            _ if !more => Ok(Captured::End),
            None => Ok(Captured::Skipped),
            Some(mut frame) => {
                self.sequence += 1;
                if let Some(last) = &mut self.arrived {
                    let start = *self.started.get_or_insert_with(Instant::now);
                    let period = period.max(Duration::from_micros(1));
                    *last = (Timestamp::ZERO + start.elapsed()).max(*last + period);
                    frame.set_captured(*last);
                }
                Ok(Captured::Frame(frame))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_come_at_once_after_a_stall_are_not_taken_for_simultaneous() {
        let mut stream = b"YUV4MPEG2 W2 H2 F10:1 Ip A1:1 C420\n".to_vec();
        (0..4).for_each(|_| stream.extend_from_slice(b"FRAME\n123456"));
        let mut source = Y4mSource::open(stream.as_slice(), false).unwrap().timed_on_arrival();
        let pool = FramePool::new(source.format().unwrap(), 4);
        let mut times = Vec::new();
        for n in 0..4 {
            if n == 2 {
                std::thread::sleep(Duration::from_millis(350));
            }
            let Captured::Frame(frame) = source.capture(&pool).unwrap() else { panic!("no frame") };
            times.push(frame.meta().captured);
        }
        assert!(times.windows(2).all(|t| t[1].since(t[0]) >= Duration::from_millis(100)), "{times:?}");
        assert!(times[2].since(times[1]) >= Duration::from_millis(150), "the stall is lost: {times:?}");
    }
}
