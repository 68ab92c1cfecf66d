//! A running child: its pipes with time limits, its stderr drained and bounded, its end explained.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::turns::Turns;
use super::{ClipError, Limits};
use crate::sandbox;
use crate::sandbox::launcher::{NO_FILTER, NO_NAMESPACE, NO_ROOT};

/// Longest wait between two looks at the cancel flag.
const SLICE: Duration = Duration::from_millis(200);
/// Most lines of stderr that are kept from the beginning, and from the end.
const LINES: usize = 24;
/// Bytes of a line that are kept.
const LINE: usize = 300;

/// A child that is killed when dropped.
pub(crate) struct Running {
    child: Child,
    name: &'static str,
    limits: Limits,
    stderr: Option<JoinHandle<Log>>,
    turns: Arc<Turns>,
}

/// How a child ended.
pub(crate) struct End {
    pub status: ExitStatus,
    pub log: Log,
}

impl Running {
    /// Starts the child. `name` is what messages call it.
    pub fn spawn(command: &mut Command, name: &'static str, limits: &Limits) -> Result<Self, ClipError> {
        command.stderr(Stdio::piped());
        let path = command.get_program().into();
        let mut child = sandbox::start(command).map_err(|source| ClipError::Io { path, source })?;
        let turns = Arc::new(Turns::default());
        let heard = turns.clone();
        let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || Log::drain(pipe, &heard)));
        Ok(Running { child, name, limits: limits.clone(), stderr, turns })
    }

    /// What it says of the way up of each frame, where its filters tell that.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The child's stdout, to be taken once.
    pub fn stdout(&mut self) -> io::Result<TimedPipe<ChildStdout>> {
        let pipe = self.child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        TimedPipe::new(pipe, &self.limits)
    }

    /// The child's stdout as another child reads it, to be taken once.
    pub fn stdout_for_another(&mut self) -> io::Result<ChildStdout> {
        let pipe = self.child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, 1 << 20);
        Ok(pipe)
    }

    /// The child's stdin, to be taken once.
    pub fn stdin(&mut self) -> io::Result<TimedPipe<ChildStdin>> {
        let pipe = self.child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        TimedPipe::new(pipe, &self.limits)
    }

    /// The child's stdin without a time limit: writes that would wait fail with `WouldBlock`. To be taken once.
    pub fn stdin_that_never_waits(&mut self) -> io::Result<ChildStdin> {
        self.stdin().map(|timed| timed.pipe)
    }

    /// Id of the process, for tests that kill it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the child to end by itself, at most `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<End, ClipError> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            let waited = self.child.try_wait().map_err(|error| self.died(error.to_string()))?;
            if let Some(status) = waited {
                break status;
            }
            if self.limits.cancelled() {
                return Err(ClipError::Interrupted);
            }
            if begun.elapsed() > patience {
                return Err(ClipError::Stalled { child: self.name, seconds: patience.as_secs() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        };
        Ok(End { status, log: self.log() })
    }

    /// Ends the child now, if it still runs, and returns how it ended.
    pub fn stop(&mut self) -> Result<End, ClipError> {
        // A pipe that broke means the child is about to end: its own last words are worth a moment.
        if let Ok(end) = self.wait(Duration::from_millis(500)) {
            return Ok(end);
        }
        // It has ended meanwhile when this fails.
        let _ = self.child.kill();
        let status = self.child.wait().map_err(|error| self.died(error.to_string()))?;
        Ok(End { status, log: self.log() })
    }

    /// What a failed read or write of a pipe means; `None` when the child's own end tells more.
    pub fn explain(&self, error: &io::Error) -> Option<ClipError> {
        if self.limits.cancelled() {
            return Some(ClipError::Interrupted);
        }
        let seconds = self.limits.stall.as_secs();
        (error.kind() == io::ErrorKind::TimedOut).then_some(ClipError::Stalled { child: self.name, seconds })
    }

    /// An unexpected end, told by `reason`.
    pub fn died(&self, reason: String) -> ClipError {
        ClipError::ChildDied { child: self.name, reason }
    }

    fn log(&mut self) -> Log {
        self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended already; the wait removes its entry from the process table.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log();
    }
}

impl End {
    /// The signal that ended the child, as a reason.
    pub fn killed(&self) -> Option<String> {
        let signal = self.status.signal()?;
        let hint = match signal {
            6 => " (abort)",
            9 => " (kill)",
            11 => " (segmentation fault)",
            15 => " (terminate)",
            _ => "",
        };
        Some(format!("ended by signal {signal}{hint}"))
    }

    /// The best explanation of a failure: the first error on stderr, or the exit code.
    pub fn reason(&self) -> String {
        let first = self.log.errors.first().cloned();
        self.killed().or(first).unwrap_or_else(|| match self.status.code() {
            Some(code) => format!("exit code {code}"),
            None => "no exit code".to_owned(),
        })
    }
}

/// What a child said on stderr, sorted and bounded.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Lines of level error and worse, the first few and the last few.
    pub errors: Vec<String>,
    /// Number of lines of level error and worse.
    pub error_count: u64,
    /// Warnings, the first few.
    pub warnings: Vec<String>,
    /// Sizes of the pictures that entered the filters, in order, repeats left out, the first few.
    pub sizes: Vec<(u32, u32)>,
    /// Shapes of the pixels that entered the filter [`FIT`], width to height (1:1 when unknown), in the same way.
    pub aspects: Vec<(u32, u32)>,
}

/// The name of the filter that brings every frame to the size and shape of the first.
pub const FIT: &str = "scale@fit";

impl Log {
    fn drain(pipe: impl Read, turns: &Turns) -> Log {
        let mut log = Log::default();
        let mut last = VecDeque::new();
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            // Longer lines come in pieces; memory stays bounded.
            match pipe.by_ref().take(4096).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {
                    let line = String::from_utf8_lossy(&line);
                    if !turns.hear(&line) {
                        log.add(&line, &mut last);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        turns.end();
        log.errors.extend(last);
        log
    }

    fn add(&mut self, line: &str, last: &mut VecDeque<String>) {
        let line: String = line.trim().chars().filter(|c| !c.is_control()).take(LINE).collect();
        if line.starts_with(NO_NAMESPACE) {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| log::debug!("the kernel grants no network namespace to the ffmpeg children"));
        } else if line.starts_with(NO_ROOT) {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                log::debug!("the kernel grants no file system of their own to the ffmpeg children")
            });
        } else if line.starts_with(NO_FILTER) {
            log::debug!("{line}");
        } else if let Some(size) = filter_input(&line) {
            if self.sizes.last() != Some(&size) && self.sizes.len() < LINES {
                self.sizes.push(size);
            }
        } else if let Some(aspect) = fitted_aspect(&line) {
            if self.aspects.last() != Some(&aspect) && self.aspects.len() < LINES {
                self.aspects.push(aspect);
            }
        } else if ["[error]", "[fatal]", "[panic]"].iter().any(|level| line.contains(level)) {
            self.error_count += 1;
            let line = plain(&line);
            if self.errors.len() < LINES {
                if !self.errors.contains(&line) {
                    self.errors.push(line);
                }
            } else if last.back() != Some(&line) {
                last.push_back(line);
                if last.len() > LINES {
                    last.pop_front();
                }
            }
        } else if (line.contains("[warning]") || line.contains("concealing")) && self.warnings.len() < LINES {
            self.warnings.push(plain(&line));
        }
    }
}

/// `[h264 @ 0x55…] [error] text` without address and level.
fn plain(line: &str) -> String {
    let mut rest = line;
    let mut from = None;
    while let Some((tag, after)) = rest.strip_prefix('[').and_then(|tagged| tagged.split_once(']')) {
        if let Some((name, _)) = tag.split_once(" @ ") {
            from = Some(name);
        }
        rest = after.trim_start();
    }
    match from {
        Some(from) if !rest.is_empty() => format!("{from}: {rest}"),
        _ => rest.to_owned(),
    }
}

/// The picture size in the line that announces what enters the filters.
fn filter_input(line: &str) -> Option<(u32, u32)> {
    let fields = line.strip_prefix("[graph ")?.split_once(" input from stream ")?.1;
    let field = |name: &str| {
        let value = fields.split_once(name)?.1;
        value.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some((field(" w:")?, field(" h:")?))
}

/// The shape of pixels in the line in which [`FIT`] says what comes in and what goes out.
fn fitted_aspect(line: &str) -> Option<(u32, u32)> {
    let (before, _) = line.strip_prefix('[')?.strip_prefix(FIT)?.split_once(" -> ")?;
    let (width, height) = before.split_once(" sar:")?.1.split_once('/')?;
    let (width, height) = (width.parse().ok()?, height.trim().parse().ok()?);
    Some(if width == 0 || height == 0 { (1, 1) } else { (width, height) })
}

/// A pipe whose reads and writes fail with `TimedOut` when nothing moves for too long, and that watches the cancel
/// flag meanwhile.
pub(crate) struct TimedPipe<P> {
    pipe: P,
    limits: Limits,
}

impl<P: AsFd> TimedPipe<P> {
    fn new(pipe: P, limits: &Limits) -> io::Result<Self> {
        // Larger pipes cost fewer wake-ups; a kernel that refuses is no reason to stop.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, 1 << 20);
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(TimedPipe { pipe, limits: limits.clone() })
    }

    /// Waits until the pipe takes or has bytes, or is closed at the other end.
    fn ready(&self, events: PollFlags) -> io::Result<()> {
        let begun = Instant::now();
        let slice = Timespec { tv_sec: 0, tv_nsec: SLICE.as_nanos() as _ };
        loop {
            if self.limits.cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            match poll(&mut [PollFd::new(&self.pipe, events)], Some(&slice)) {
                Ok(0) if begun.elapsed() > self.limits.stall => return Err(io::ErrorKind::TimedOut.into()),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<P: Read + AsFd> Read for TimedPipe<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.pipe.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(PollFlags::IN)?,
                other => return other,
            }
        }
    }
}

impl<P: Write + AsFd> Write for TimedPipe<P> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match self.pipe.write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(PollFlags::OUT)?,
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}
