//! A target behind a sandboxed child that is given redacted frames through its stdin, and nothing else: network code in C
//! runs in such children. A slow one loses frames, a dead or hanging one is started again; the camera waits for neither.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use milkglass::FrameSink;
use milkglass::frame::RedactedFrame;
use milkglass::time::Timestamp;
use milkglass::yuv420::Yuv420;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::journal::Journal;
use super::target::Stream;
use crate::clip::Limits;
use crate::clip::child::{Running, TimedPipe};
use crate::outcome::Failure;
use milkglass_parsers::nut::{NutError, VideoStream, Writer};

/// Ticks of a second in what the children get: RTP's, and exact for the usual frame rates.
pub const CLOCK: u32 = 90_000;

/// A child that takes no byte for so long hangs.
const STALL: Duration = Duration::from_secs(10);
/// A child that still takes bytes after so long works.
const SETTLED: Duration = Duration::from_secs(5);
/// Pauses before the next start.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A child that has not dropped its frames by then is killed.
const FORGETTING: Duration = Duration::from_millis(200);
/// At the end: for the frame that is on its way, and for the child to close what it writes.
const LAST_FRAME: Duration = Duration::from_millis(100);
const CLOSING: Duration = Duration::from_millis(700);

/// What the child is, and what it leaves behind.
pub trait Recipe: Send {
    /// The next start, with whatever it needs put in place.
    fn command(&mut self) -> Result<Command, Failure>;

    /// Bytes that the child reads before the frames.
    fn preamble(&self) -> &[u8] {
        &[]
    }

    /// Whether the child answers an empty frame with a byte on its stdout, once it has dropped all frames before it.
    fn forgets(&self) -> bool {
        false
    }

    /// The child's own words, without secrets.
    fn plain(&self, words: &str) -> String {
        words.to_owned()
    }

    /// The child has ended. `forget`: nothing that it wrote may be shown any more.
    fn tidy(&mut self, forget: bool) {
        let _ = forget;
    }
}

/// The sink: planar 4:2:0 in NUT, even sides, timestamps of the capture.
pub struct FedChild {
    recipe: Box<dyn Recipe>,
    limits: Limits,
    stream: VideoStream,
    /// The longest that one frame may keep this target from the next.
    patience: Duration,
    feeding: Option<Feeding>,
    /// When the next start is due, and the pause after it.
    due: Instant,
    pause: Duration,
    journal: Journal,
}

/// A running child and the bytes on their way to it.
struct Feeding {
    child: Running,
    pipe: ChildStdin,
    /// Where it says that it has forgotten, if it can.
    answers: Option<TimedPipe<ChildStdout>>,
    frames: Writer<Vec<u8>>,
    /// Bytes of `frames` that the pipe has taken.
    sent: usize,
    begun: Instant,
    /// When the pipe took something last.
    moved: Instant,
    first: Option<Timestamp>,
    last_pts: i64,
}

impl FedChild {
    /// Nothing is started before the first frame. `name` is what the log calls the target.
    pub fn new(name: String, recipe: Box<dyn Recipe>, stream: &Stream) -> FedChild {
        let (width, height) = stream.format.size();
        let aspect = stream.format.pixel_aspect();
        let square = aspect.is_square();
        FedChild {
            recipe,
            limits: Limits { stall: FORGETTING, ..Limits::default() },
            stream: VideoStream {
                width: width.next_multiple_of(2),
                height: height.next_multiple_of(2),
                time_base: (1, CLOCK),
                sample_aspect_ratio: if square { (0, 0) } else { (aspect.width(), aspect.height()) },
                frame_rate: Some(stream.rate),
                fourcc: *b"I420",
            },
            patience: Duration::from_secs_f64((1.0 / stream.fps()).clamp(0.01, 0.1)),
            feeding: None,
            due: Instant::now(),
            pause: BACK_OFF.0,
            journal: Journal::new(name),
        }
    }

    fn start(&mut self) -> Result<Feeding, String> {
        let mut command = self.recipe.command().map_err(|e| e.to_string())?;
        command.stdin(Stdio::piped());
        let mut child =
            Running::spawn(&mut command, "target's child", &self.limits).map_err(|e| e.to_string())?;
        let pipe = child.stdin_that_never_waits().map_err(|e| e.to_string())?;
        let answers = self.recipe.forgets().then(|| child.stdout());
        let answers = answers.transpose().map_err(|e| e.to_string())?;
        let frames =
            Writer::open(self.recipe.preamble().to_vec(), &self.stream).map_err(|e| e.to_string())?;
        let now = Instant::now();
        let (sent, first, last_pts) = (0, None, -1);
        Ok(Feeding { child, pipe, answers, frames, sent, begun: now, moved: now, first, last_pts })
    }

    /// The child is of no use any more: it ends, and another one is due after a pause.
    fn give_up(&mut self, mut feeding: Feeding, error: &io::Error) {
        let settled = feeding.settled();
        let reason = if error.kind() == io::ErrorKind::TimedOut {
            format!("it took nothing for {} s", STALL.as_secs())
        } else {
            // A broken pipe says little; the child's last words say why.
            match feeding.child.stop() {
                Ok(end) => self.recipe.plain(&end.reason()),
                Err(_) => error.to_string(),
            }
        };
        drop(feeding);
        self.recipe.tidy(false);
        if settled {
            self.pause = BACK_OFF.0;
        }
        self.back_off(reason);
    }

    fn back_off(&mut self, reason: String) {
        self.journal.down(&reason);
        self.due = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(BACK_OFF.1);
    }
}

impl FrameSink for FedChild {
    /// Never fails and never waits for long: what cannot be handed over is lost, and counted.
    fn send(&mut self, frame: &RedactedFrame) -> milkglass::Result<()> {
        if self.feeding.is_none() && Instant::now() >= self.due {
            match self.start() {
                Ok(feeding) => self.feeding = Some(feeding),
                Err(reason) => self.back_off(reason),
            }
        }
        match self.feeding.take() {
            None => self.journal.lost(),
            Some(mut feeding) => match feeding.feed(frame, &self.stream, self.patience) {
                Ok(taken) => {
                    let settled = feeding.settled();
                    self.feeding = Some(feeding);
                    if !taken {
                        self.journal.lost();
                    }
                    if settled {
                        self.journal.works();
                    }
                }
                Err(error) => {
                    self.journal.lost();
                    self.give_up(feeding, &error);
                }
            },
        }
        Ok(())
    }

    /// Frames wait in the pipe and in the child. Unless it says that they are gone, only its end is a proof.
    fn forget(&mut self) {
        if let Some(mut feeding) = self.feeding.take() {
            if feeding.has_forgotten() {
                self.feeding = Some(feeding);
                return;
            }
            drop(feeding);
            self.due = Instant::now();
            self.pause = BACK_OFF.0;
        }
        self.recipe.tidy(true);
    }
}

impl Drop for FedChild {
    fn drop(&mut self) {
        let Some(mut feeding) = self.feeding.take() else {
            // What was put in place for a start that never came.
            return self.recipe.tidy(false);
        };
        // Whoever does not take it now is killed.
        let _ = feeding.drain(Instant::now() + LAST_FRAME);
        let Feeding { mut child, pipe, .. } = feeding;
        drop(pipe);
        if child.wait(CLOSING).is_err() {
            log::debug!("{}: its child had to be killed", self.journal.name());
        }
        drop(child);
        self.recipe.tidy(false);
    }
}

impl Feeding {
    /// Whether the pipe took the last frame and this one has been put behind it.
    fn feed(&mut self, frame: &RedactedFrame, stream: &VideoStream, patience: Duration) -> io::Result<bool> {
        let until = Instant::now() + patience;
        if !self.drain(until)? {
            return Ok(false);
        }
        let captured = frame.meta().captured;
        let since = captured.since(*self.first.get_or_insert(captured));
        let ticks = since.as_nanos() * u128::from(CLOCK) / 1_000_000_000;
        let pts = i64::try_from(ticks).unwrap_or(i64::MAX >> 2).max(self.last_pts + 1);
        self.last_pts = pts;
        put_frame(&mut self.frames, frame, stream, pts).map_err(io::Error::other)?;
        self.drain(until)?;
        Ok(true)
    }

    /// Hands over what is left of a frame. `false` when the time was not enough.
    fn drain(&mut self, until: Instant) -> io::Result<bool> {
        loop {
            let left = &self.frames.output_mut()[self.sent..];
            if left.is_empty() {
                break;
            }
            match self.pipe.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    self.sent += taken;
                    self.moved = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.moved.elapsed() > STALL {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(false);
                    }
                    let wait = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
                    match poll(&mut [PollFd::new(&self.pipe, PollFlags::OUT)], Some(&wait)) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                Err(e) => return Err(e),
            }
        }
        self.frames.output_mut().clear();
        self.sent = 0;
        Ok(true)
    }

    fn has_forgotten(&mut self) -> bool {
        let until = Instant::now() + FORGETTING;
        // The rest of a frame must be read before the child can know where the next one begins.
        if self.answers.is_none() || !self.drain(until).unwrap_or(false) {
            return false;
        }
        self.last_pts += 1;
        let told = self.frames.begin_frame(self.last_pts, 0).is_ok() && self.drain(until).unwrap_or(false);
        told && self.answers.as_mut().is_some_and(|answers| answers.read_exact(&mut [0]).is_ok())
    }

    fn settled(&self) -> bool {
        self.moved.duration_since(self.begun) >= SETTLED
    }
}

/// One frame; odd sides are made even by repeating the last column and row.
fn put_frame(
    out: &mut Writer<Vec<u8>>,
    frame: &RedactedFrame,
    stream: &VideoStream,
    pts: i64,
) -> Result<(), NutError> {
    let (width, height) = frame.format().size();
    let (wide, high) = (stream.width as usize, stream.height);
    let rows = Yuv420::new(frame);
    out.begin_frame(pts, wide as u64 * u64::from(high) * 3 / 2)?;
    let mut row = vec![0; wide];
    for y in 0..high {
        rows.luma(y.min(height - 1), &mut row[..width as usize]);
        row[wide - 1] = row[width as usize - 1];
        out.write(&row)?;
    }
    // Chroma has the same size with and without the repeated column and row.
    let mut cr = vec![0; wide / 2 * high as usize / 2];
    for (y, cr) in (0..).zip(cr.chunks_exact_mut(wide / 2)) {
        rows.chroma(y, &mut row[..wide / 2], cr);
        out.write(&row[..wide / 2])?;
    }
    out.write(&cr)
}
