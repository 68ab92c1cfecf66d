//! Cameras through Video4Linux (V4L2).
//!
//! [`V4l2Source`] maps four of the driver's buffers, copies each picture at once into a buffer of the pool (camera memory is
//! often uncached, and is never shared), and gives the driver's buffer back. What goes wrong ends in
//! [`Captured::Skipped`], a counter and a log line at most every ten seconds; a camera that is unplugged, fails or stalls is
//! closed, looked for where it was plugged in, and opened again. Sound is never captured.

mod counters;
mod devices;
mod format;
mod negotiate;
mod order;
mod output;
mod picture;
mod sys;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

pub use counters::V4l2Counters;
use counters::{Journal, Trouble};
use devices::Home;
pub use devices::{DeviceInfo, FormatInfo, devices};
pub use format::{CameraFormat, Fourcc};
use format::{ColorCodes, Negotiated};
use negotiate::settle;
use order::{Order, Pace};
pub use output::{V4l2Output, V4l2OutputCounters};
use picture::Picture;
use sys::{Device, Kind, Stream};
pub use sys::{FrameSize, Import};

use crate::error::{CameraError, CameraKind, Error, Result};
use crate::frame::FramePool;
use crate::geometry::Orientation;
use crate::geometry::PixelAspect;
use crate::picture::FrameFormat;
use crate::source::{Captured, FrameSource};
use crate::time::Timestamp;

/// Buffers asked of the driver.
const BUFFERS: u32 = 4;
/// The longest wait for a picture within one call.
const PATIENCE: Duration = Duration::from_millis(500);
/// Without a whole picture for so long, and for [`STALLED_PERIODS`] frames, the camera is opened anew.
const STALLED: Duration = Duration::from_secs(5);
const STALLED_PERIODS: f64 = 10.0;
/// Waits between attempts to open a lost camera: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Which camera, and what is wanted of it.
#[derive(Clone, Debug, PartialEq)]
pub struct V4l2Config {
    /// Device file, such as `/dev/video0`, or a link to one.
    pub device: PathBuf,
    /// Width and height in pixels, exactly; `None` for what the camera is set to.
    pub size: Option<(u32, u32)>,
    /// Frames per second, or the nearest that the camera can do; `None` for what it is set to. Of a camera that is faster,
    /// the pictures between are given back unread.
    pub fps: Option<f64>,
    /// Acceptable formats, best first ([`CameraFormat::fourccs`]). The first that reaches `fps` is taken, or else the one
    /// that comes nearest. Empty: any, in the order of [`CameraFormat::ALL`].
    pub formats: Vec<Fourcc>,
    /// How the pictures are turned upright.
    pub orientation: Orientation,
    /// How its buffers are read.
    pub import: Import,
}

impl V4l2Config {
    /// A camera as it is set, in any format, mounted upright, its buffers mapped.
    pub fn new(device: impl Into<PathBuf>) -> V4l2Config {
        let (device, orientation, import) = (device.into(), Orientation::UPRIGHT, Import::default());
        V4l2Config { device, size: None, fps: None, formats: Vec::new(), orientation, import }
    }
}

/// A camera.
pub struct V4l2Source {
    /// `None` while it is lost.
    stream: Option<Stream>,
    home: Home,
    fourcc: Fourcc,
    format: FrameFormat,
    /// As it was asked for.
    import: Import,
    fps: Option<f64>,
    picture: Picture,
    order: Order,
    pace: Pace,
    journal: Journal,
    /// No picture was asked for yet.
    fresh: bool,
    /// When the last whole picture came, or the stream was started.
    alive: Instant,
    retry: (Instant, Duration),
}

impl V4l2Source {
    /// Opens a camera and starts it. The format is the one that the pool's frames must have.
    ///
    /// # Errors
    /// [`Error::Camera`] when it is no camera, or has neither such a size nor such a format (the message names what there
    /// is); [`Error::Io`] when it cannot be opened or started; [`Error::Format`] for impossible sizes.
    pub fn open(config: &V4l2Config) -> Result<(V4l2Source, FrameFormat)> {
        let path = &config.device;
        let io = |what: &'static str| move |e| Error::io(format!("{what} {}", path.display()), e);
        let device = Device::open(path).map_err(io("opening the camera"))?;
        let identity = device.identity().map_err(io("asking what is behind"))?;
        let settled = settle(&device, &identity, config)?;
        let format = settled.negotiated.frame_format()?.with_orientation(config.orientation);
        let format = format.with_told_aspects(told(&device, settled.kind, format.size()).as_slice());
        let stream = device.start(settled.kind, BUFFERS, config.import).map_err(io("starting the camera"))?;
        let picture = Picture::new(&settled.negotiated, &format, &stream)?;
        let (pace, fps) = Pace::new(config.fps, settled.fps);
        let journal = Journal::new(format!("{} ({})", path.display(), identity.card));
        journal.counters.set_connected(true);
        let Negotiated { fourcc, size, .. } = settled.negotiated;
        log::info!(
            "{} ({}, {}): {fourcc} {}x{}, {} frames/s",
            path.display(),
            identity.card,
            identity.driver,
            size.0,
            size.1,
            fps.map_or("unknown".into(), |f| format!("{f:.3}"))
        );
        let source = V4l2Source {
            stream: Some(stream),
            home: Home::of(path, &identity),
            fourcc,
            format,
            import: config.import,
            fps,
            picture,
            order: Order::default(),
            pace,
            journal,
            fresh: true,
            alive: Instant::now(),
            retry: (Instant::now(), RETRY.0),
        };
        Ok((source, format))
    }

    /// The rate of the frames, in frames per second: what the camera granted, or what was wanted of a faster one. `None` when
    /// the driver does not tell.
    pub fn fps(&self) -> Option<f64> {
        self.fps
    }

    /// The camera's own format.
    pub fn fourcc(&self) -> Fourcc {
        self.fourcc
    }

    /// How its buffers are read: [`Import::Mmap`] too where the driver exports none, and while the camera is lost.
    pub fn import(&self) -> Import {
        self.stream.as_ref().map_or(Import::Mmap, Stream::import)
    }

    /// Counters that go on showing this source's figures when it has been handed to a pipeline.
    pub fn counters(&self) -> V4l2Counters {
        self.journal.counters.clone()
    }

    /// Waits for one picture. An error means that the stream is of no more use.
    fn picture(&mut self, stream: &mut Stream, pool: &FramePool) -> std::io::Result<Captured> {
        if std::mem::take(&mut self.fresh) {
            // It runs since it was opened, and these have waited while the detector was measured: too old to show.
            stream.discard()?;
        }
        let end = Instant::now() + PATIENCE;
        let (filled, placed) = loop {
            let Some(filled) = stream.dequeue(PATIENCE)? else {
                self.journal.note(Trouble::Timeout, 1, String::new);
                return self.stalled();
            };
            let placed = self.order.place(filled.sequence, filled.captured, now());
            self.journal.note(Trouble::Missed, placed.missed, String::new);
            self.journal.note(Trouble::OddTime, placed.odd_time.into(), String::new);
            if filled.damaged || !self.pace.is_early(placed.meta.captured) {
                break (filled, placed);
            }
            filled.requeue()?;
            self.alive = Instant::now();
            if self.alive > end {
                return Ok(Captured::Skipped);
            }
        };
        let taken = self.picture.take(filled, placed.meta, pool)?;
        match taken {
            Ok(captured) => {
                self.alive = Instant::now();
                if matches!(captured, Captured::Skipped) {
                    self.journal.note(Trouble::NoBuffer, 1, String::new);
                }
                Ok(captured)
            }
            Err(why) => {
                self.journal.note(Trouble::Corrupt, 1, || why);
                self.stalled()
            }
        }
    }

    /// A skipped picture, unless there was no whole one for too long.
    fn stalled(&self) -> std::io::Result<Captured> {
        let periods = Duration::from_secs_f64(STALLED_PERIODS / self.fps.unwrap_or(30.0).max(0.01));
        if self.alive.elapsed() < STALLED.max(periods) {
            return Ok(Captured::Skipped);
        }
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "it has stalled"))
    }

    /// Looks for the camera when it is time to.
    fn reopen(&mut self) -> Result<Captured> {
        let wait = self.retry.0.saturating_duration_since(Instant::now());
        std::thread::sleep(wait.min(PATIENCE));
        if wait > PATIENCE {
            return Ok(Captured::Skipped);
        }
        match self.find()? {
            Ok((stream, path)) => {
                self.stream = Some(stream);
                self.order.restart();
                (self.alive, self.retry.1) = (Instant::now(), RETRY.0);
                self.journal.counters.add_reopened();
                self.journal.counters.set_connected(true);
                log::info!("{}: the camera is back", path.display());
            }
            Err(why) => {
                log::debug!("the camera is not back: {why}");
                self.retry.1 = (self.retry.1 * 2).min(RETRY.1);
                self.retry.0 = Instant::now() + self.retry.1;
            }
        }
        Ok(Captured::Skipped)
    }

    /// Opens the same camera again, in the same format. The inner error may pass, the outer one does not.
    fn find(&mut self) -> Result<std::io::Result<(Stream, PathBuf)>> {
        let Some((path, device, identity)) = self.home.find() else {
            return Ok(Err(std::io::ErrorKind::NotFound.into()));
        };
        let kind = identity.capture.unwrap_or(Kind::Capture);
        let negotiated = match device.set_format(kind, self.fourcc, self.format.size(), ColorCodes::default())
        {
            Ok(negotiated) => negotiated,
            Err(e) => return Ok(Err(e)),
        };
        let aspect = told(&device, kind, negotiated.size);
        let format = negotiated
            .frame_format()
            .map(|f| f.with_orientation(self.format.orientation()).with_told_aspects(aspect.as_slice()));
        if !negotiated.progressive || format.as_ref().ok() != Some(&self.format) {
            let (width, height) = negotiated.size;
            let why = format!(
                "{} came back with another format, {} {width}x{height} in other colours, fields or pixels maybe; start \
                 again",
                path.display(),
                negotiated.fourcc
            );
            return Err(CameraError::new(CameraKind::Changed, why).about(path.display().to_string()).into());
        }
        device.set_rate(kind, self.fps);
        let stream = match device.start(kind, BUFFERS, self.import) {
            Ok(stream) => stream,
            Err(e) => return Ok(Err(e)),
        };
        self.picture = Picture::new(&negotiated, &self.format, &stream)?;
        Ok(Ok((stream, path)))
    }
}

impl FrameSource for V4l2Source {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        // Whoever is surer of the shape of its pixels than the driver may say so.
        if pool.format().with_possible_aspects(self.format.pixel_aspects()) != self.format {
            let why = "the pool's frames have another format than the camera's";
            return Err(CameraError::new(CameraKind::Changed, why).into());
        }
        let Some(mut stream) = self.stream.take() else { return self.reopen() };
        match self.picture(&mut stream, pool) {
            Ok(captured) => {
                self.stream = Some(stream);
                Ok(captured)
            }
            Err(e) => {
                // Closed at once: some drivers let nobody in while it is open.
                drop(stream);
                self.journal.counters.set_connected(false);
                self.journal.note(Trouble::Lost, 1, || e.to_string());
                self.retry.0 = Instant::now() + self.retry.1;
                Ok(Captured::Skipped)
            }
        }
    }
}

/// What the driver tells of the shape of pixels in pictures of this size.
fn told(device: &Device, kind: Kind, size: (u32, u32)) -> Option<PixelAspect> {
    device.pixel_shape(kind).and_then(|shape| shape.aspect(size))
}

/// Time on the clock that V4L2 drivers use.
fn now() -> Timestamp {
    let t = clock_gettime(ClockId::Monotonic);
    let whole = Duration::from_secs(t.tv_sec.try_into().unwrap_or(0));
    Timestamp::ZERO + whole + Duration::from_nanos(t.tv_nsec.try_into().unwrap_or(0))
}
