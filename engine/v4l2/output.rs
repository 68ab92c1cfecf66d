//! Redacted frames for an output device of Video4Linux, such as v4l2loopback's: other programs see it as a camera.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use milkglass_common::Seldom;

use super::CameraFormat;
use super::format::{ColorCodes, Negotiated, Rows, write_rows};
use super::sys::{Device, Identity, Kind, Playback};
use crate::error::{Error, Result, SinkError, SinkKind};
use crate::frame::RedactedFrame;
use crate::picture::FrameFormat;
use crate::sink::FrameSink;

/// Buffers asked of a driver that does not take plain writing.
const BUFFERS: u32 = 4;
/// The longest wait for room for a frame; then the frame is dropped.
const PATIENCE: Duration = Duration::from_millis(200);
/// A device that took no frame for so long is opened anew.
const STALLED: Duration = Duration::from_secs(5);
/// Waits between attempts to open a lost device: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Puts redacted frames out to a V4L2 device.
///
/// Each frame is copied into memory of the driver's, which never held anything else (I8), with the driver's strides. A
/// device that fails, vanishes or takes nothing any more is closed and opened again, with growing waits; the frames meanwhile
/// are dropped and counted, and nobody waits for it. When privacy mode begins, what the device holds stays there until the
/// next frame, which is blank, takes its place.
pub struct V4l2Output {
    path: PathBuf,
    format: FrameFormat,
    fps: f64,
    /// `None` while it is lost.
    open: Option<Opened>,
    /// When it may be tried again, and how long the wait was.
    retry: (Instant, Duration),
    /// When the device last took a frame, or was opened.
    alive: Instant,
    /// When its loss was last logged.
    said: Seldom,
    counters: V4l2OutputCounters,
}

/// Counters of a [`V4l2Output`], readable from any thread while it runs. Clones show the same figures.
#[derive(Clone, Debug, Default)]
pub struct V4l2OutputCounters(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    written: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
    reopened: AtomicU64,
    connected: AtomicBool,
}

impl V4l2OutputCounters {
    /// Frames that the device took.
    pub fn written(&self) -> u64 {
        self.0.written.load(Relaxed)
    }
    /// Frames that it did not take: it was lost, or had no room.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }
    /// Times that it failed, vanished or stalled and was closed.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }
    /// Times that it was opened again.
    pub fn reopened(&self) -> u64 {
        self.0.reopened.load(Relaxed)
    }
    /// Whether it is open now.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Relaxed)
    }
}

impl V4l2Output {
    /// Opens the output device `path` for frames of `format` at `fps` frames per second. The rate is told to the device for
    /// its readers; a device that wants none is fine.
    ///
    /// # Errors
    /// [`Error::Sink`] when it is no output device, or does not take frames of this format and size; [`Error::Io`] when it
    /// cannot be opened or started.
    pub fn open(path: impl Into<PathBuf>, format: &FrameFormat, fps: f64) -> Result<V4l2Output> {
        let path = path.into();
        let opened = Opened::new(&path, format, fps)?;
        let counters = V4l2OutputCounters::default();
        counters.0.connected.store(true, Relaxed);
        log::info!("{}", opened.name);
        let (open, now) = (Some(opened), Instant::now());
        let (retry, alive, said) = ((now, RETRY.0), now, Seldom::default());
        Ok(V4l2Output { path, format: *format, fps, open, retry, alive, said, counters })
    }

    /// Counters that go on showing this target's figures when it has been handed to a pipeline.
    pub fn counters(&self) -> V4l2OutputCounters {
        self.counters.clone()
    }

    /// Opens a lost device when it is time to.
    fn reopen(&mut self) {
        if self.retry.0 > Instant::now() {
            return;
        }
        match Opened::new(&self.path, &self.format, self.fps) {
            Ok(opened) => {
                self.open = Some(opened);
                self.alive = Instant::now();
                self.counters.0.reopened.fetch_add(1, Relaxed);
                self.counters.0.connected.store(true, Relaxed);
            }
            Err(e) => {
                self.wait();
                self.say(&e.to_string());
            }
        }
    }

    fn lose(&mut self, why: &io::Error) {
        self.open = None;
        self.counters.0.lost.fetch_add(1, Relaxed);
        self.counters.0.connected.store(false, Relaxed);
        self.wait();
        self.say(&why.to_string());
    }

    /// Every attempt waits longer, until a frame is taken: a device may open well and fail at once.
    fn wait(&mut self) {
        self.retry.0 = Instant::now() + self.retry.1;
        self.retry.1 = (self.retry.1 * 2).min(RETRY.1);
    }

    fn say(&mut self, why: &str) {
        if !self.said.due() {
            return;
        }
        let (dropped, path) = (self.counters.dropped(), self.path.display());
        log::warn!(
            "{path}: the output device is lost and will be opened again ({dropped} frames dropped): {why}"
        );
    }
}

impl FrameSink for V4l2Output {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        if *frame.format() != self.format {
            let path = self.path.display();
            let why = format!("{path}: the frame has another format");
            return Err(SinkError::new(SinkKind::Format, why).about(path.to_string()).into());
        }
        if self.open.is_none() {
            self.reopen();
        }
        match self.open.as_mut().map(|o| o.put(frame)) {
            Some(Ok(true)) => {
                (self.alive, self.retry.1) = (Instant::now(), RETRY.0);
                self.counters.0.written.fetch_add(1, Relaxed);
                return Ok(());
            }
            Some(Ok(false)) if self.alive.elapsed() >= STALLED => {
                self.lose(&io::Error::new(io::ErrorKind::TimedOut, "it takes no frames any more"));
            }
            Some(Err(e)) => self.lose(&e),
            Some(Ok(false)) | None => {}
        }
        self.counters.0.dropped.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// A device that takes frames.
struct Opened {
    name: String,
    rows: Vec<Rows>,
    road: Road,
}

/// How frames come into the driver's memory.
enum Road {
    /// The kernel copies the picture, which is put together here.
    Written { device: Device, picture: [Vec<u8>; 1] },
    /// Into mapped buffers of the driver's; `used` are the bytes of a picture in each memory plane.
    Mapped { playback: Playback, used: Vec<usize> },
}

impl Opened {
    fn new(path: &Path, format: &FrameFormat, fps: f64) -> Result<Opened> {
        let io = |what: &'static str| move |e| Error::io(format!("{what} {}", path.display()), e);
        let device = Device::open(path).map_err(io("opening the output device"))?;
        let identity = device.identity().map_err(io("asking what is behind"))?;
        let refuse = |why: String| {
            let why = format!("{} ({}): {why}", path.display(), identity.card);
            Err(SinkError::new(SinkKind::Unsupported, why).about(path.display().to_string()).into())
        };
        let Some(kind) = identity.output else {
            return refuse("it is no output device; make one with the module v4l2loopback".into());
        };
        let (negotiated, rows) = match settle(&device, kind, format) {
            Ok(settled) => settled,
            Err(why) => return refuse(why),
        };
        device.set_rate(kind, Some(fps));
        let used: Vec<usize> = negotiated.memory.iter().map(|m| m.len).collect();
        let Identity { writes, streams, driver, card, .. } = &identity;
        let road = match used[..] {
            // vivid offers writing and then refuses it, so mapped buffers come first. v4l2loopback's are those that its
            // readers read, and it hands out the newest one again.
            [len] if *writes && (!streams || driver == "v4l2 loopback") => {
                if *streams {
                    // Or v4l2loopback does not notice when its writer has gone, and lets no other one in.
                    device.start_writing(kind).map_err(io("starting the output device"))?;
                }
                // It names whole pages as a picture's size, and hands on as many bytes as were written.
                let ends =
                    rows.iter().zip(format.planes()).map(|(r, p)| r.offset + r.stride * p.height as usize);
                Road::Written { device, picture: [vec![0; ends.max().unwrap_or(len).min(len)]] }
            }
            _ if *streams => {
                let playback =
                    device.start_output(kind, BUFFERS).map_err(io("starting the output device"))?;
                if used.iter().enumerate().any(|(i, len)| playback.capacity(i) < *len) {
                    return refuse("its buffers are smaller than a picture".into());
                }
                Road::Mapped { playback, used }
            }
            _ => return refuse("it takes pictures neither by writing nor in mapped buffers".into()),
        };
        let (fourcc, (width, height)) = (negotiated.fourcc, negotiated.size);
        let name = format!("{} ({card}, {driver}): puts out {fourcc} {width}x{height}", path.display());
        Ok(Opened { name, rows, road })
    }

    /// Copies one frame into the driver's memory; false when there is no room for it.
    fn put(&mut self, frame: &RedactedFrame) -> io::Result<bool> {
        let (rows, view) = (&self.rows, frame.view());
        match &mut self.road {
            Road::Written { device, picture } => {
                write_rows(rows, &view, picture);
                // Asked first, some drivers say that there is no room until the first picture is there.
                let mut written = device.write(&picture[0])?;
                if written.is_none() {
                    device.wait(PollFlags::OUT, PATIENCE)?;
                    written = device.write(&picture[0])?;
                }
                match written {
                    Some(n) if n < picture[0].len() => {
                        Err(io::Error::other("it took a part of a frame only"))
                    }
                    written => Ok(written.is_some()),
                }
            }
            Road::Mapped { playback, used } => {
                playback.play(used, PATIENCE, |memory| write_rows(rows, &view, memory))
            }
        }
    }
}

/// Sets the frame's format; the error says what the device would take instead.
fn settle(device: &Device, kind: Kind, format: &FrameFormat) -> Result<(Negotiated, Vec<Rows>), String> {
    let stored = |f: &CameraFormat| *f != CameraFormat::Mjpeg && f.pixel_format() == format.pixel();
    let mut refused = Vec::new();
    for fourcc in CameraFormat::ALL.into_iter().filter(stored).flat_map(CameraFormat::fourccs) {
        match device.set_format(kind, *fourcc, format.size(), ColorCodes::of(format)) {
            Ok(n) if n.fourcc == *fourcc && n.size == format.size() && n.progressive => {
                match n.rows(format) {
                    Ok(rows) => return Ok((n, rows)),
                    Err(why) => refused.push(why),
                }
            }
            Ok(n) => {
                refused.push(format!("asked for {fourcc}, it sets {} {}x{}", n.fourcc, n.size.0, n.size.1))
            }
            Err(e) => refused.push(format!("asked for {fourcc}: {e}")),
        }
    }
    let (width, height) = format.size();
    Err(format!("it does not take frames of {width}x{height} ({})", refused.join("; ")))
}
