//! vivid's HDMI outputs as targets. What is put out is captured again at the HDMI input by another program, v4l2-ctl, and
//! compared with what the frames were made of.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use milkglass::engine::Engine;
use milkglass::error::SinkKind;
use milkglass::frame::{FrameMeta, FramePool, RedactedFrame};
use milkglass::picture::PixelFormat;
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::source::Captured;
use milkglass::time::Timestamp;
use milkglass::v4l2::V4l2Output;
use milkglass::v4l2::{Import, V4l2Config, V4l2Source};
use milkglass::{Error, FrameFormat, FrameSink, FrameSource, Policy};

use crate::rig::{await_that, loop_hdmi, set};

const SIZE: (u32, u32) = (640, 480);
/// Captured frames that are compared.
const CAPTURED: usize = 60;
const ARRIVED: &str = "/tmp/arrived.raw";

pub fn frames_arrive_single_planar() {
    for (pixel, fourcc) in [
        (PixelFormat::Nv12, "NV12"),
        (PixelFormat::I420, "YU12"),
        (PixelFormat::Yuyv, "YUYV"),
        (PixelFormat::Rgb24, "RGB3"),
    ] {
        frames_arrive(3, 2, pixel, fourcc);
    }
}

pub fn frames_arrive_multi_planar() {
    frames_arrive(5, 4, PixelFormat::Nv12, "NV12");
    frames_arrive(5, 4, PixelFormat::Rgb24, "RGB3");
}

fn frames_arrive(output: u32, input: u32, pixel: PixelFormat, fourcc: &str) {
    loop_hdmi(output, input, fourcc, SIZE);
    let mut frames = Frames::new(pixel);
    let mut target = V4l2Output::open(format!("/dev/video{output}"), &frames.format(), 30.0).unwrap();
    arrives(&mut frames, &mut target, input);
    let counters = target.counters();
    assert!(counters.is_connected() && counters.lost() == 0, "{counters:?}");
}

/// v4l2loopback takes plain writing, and its readers open the same device.
pub fn frames_arrive_through_v4l2loopback() {
    for pixel in [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24] {
        let mut frames = Frames::new(pixel);
        let mut target = V4l2Output::open("/dev/video9", &frames.format(), 30.0).unwrap();
        arrives(&mut frames, &mut target, 9);
        let counters = target.counters();
        assert!(counters.lost() == 0 && counters.dropped() == 0, "{counters:?}");
    }
}

/// v4l2loopback exports none.
pub fn buffers_are_mapped_where_none_are_exported() {
    let mut frames = Frames::new(PixelFormat::Nv12);
    let mut target = V4l2Output::open("/dev/video9", &frames.format(), 30.0).unwrap();
    target.send(&frames.next()).unwrap();
    let config = V4l2Config { import: Import::Dmabuf, ..V4l2Config::new("/dev/video9") };
    let (mut camera, format) = V4l2Source::open(&config).unwrap();
    assert_eq!(camera.import(), Import::Mmap);
    let pool = FramePool::new(format, 2);
    await_that("capturing a picture all the same", || {
        target.send(&frames.next()).unwrap();
        matches!(camera.capture(&pool).unwrap(), Captured::Frame(_))
    });
}

/// Sends frames until v4l2-ctl has captured enough of them, and compares those.
fn arrives(frames: &mut Frames, target: &mut V4l2Output, input: u32) {
    let counters = target.counters();
    let send = |frames: &mut Frames, target: &mut V4l2Output| {
        target.send(&frames.next()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    };
    // The driver shows noise until a second frame is there.
    let before = counters.written();
    await_that("writing the first frames", || {
        send(frames, target);
        counters.written() >= before + 4
    });
    let mut reader = capture(input);
    await_that("capturing them", || {
        send(frames, target);
        reader.try_wait().unwrap().is_some_and(|status| {
            assert!(status.success());
            true
        })
    });
    let bytes = std::fs::read(ARRIVED).unwrap();
    let picture: usize = frames.picture(0).iter().map(Vec::len).sum();
    assert_eq!(bytes.len(), CAPTURED * picture);
    let mut numbers: Vec<u8> = bytes.chunks(picture).map(|arrived| frames.check(arrived)).collect();
    numbers.dedup();
    assert!(numbers.len() >= 4, "only {} different frames arrived", numbers.len());
}

fn capture(input: u32) -> Child {
    let mut reader = Command::new("v4l2-ctl");
    reader.arg(format!("-d{input}")).arg("--stream-mmap=4").arg(format!("--stream-count={CAPTURED}"));
    reader.arg(format!("--stream-to={ARRIVED}")).stdout(Stdio::null()).stderr(Stdio::null());
    reader.spawn().unwrap()
}

pub fn a_lost_output_is_opened_again() {
    for (output, input) in [(3, 2), (5, 4)] {
        loop_hdmi(output, input, "NV12", SIZE);
        let mut frames = Frames::new(PixelFormat::Nv12);
        let mut target = V4l2Output::open(format!("/dev/video{output}"), &frames.format(), 30.0).unwrap();
        let counters = target.counters();
        for (n, fault) in [(1, "disconnect=1"), (2, "inject_fatal_streaming_error=1")] {
            await_that("writing", || {
                target.send(&frames.next()).unwrap();
                counters.written() >= 4 * n
            });
            set(output, fault);
            await_that("losing it and opening it again", || {
                target.send(&frames.next()).unwrap();
                counters.lost() == n && counters.reopened() == n
            });
            assert!(counters.dropped() >= n && counters.is_connected(), "{counters:?}");
            loop_hdmi(output, input, "NV12", SIZE);
            arrives(&mut frames, &mut target, input);
        }
    }
}

pub fn a_full_output_delays_nobody() {
    for (output, input) in [(3, 2), (5, 4)] {
        loop_hdmi(output, input, "NV12", SIZE);
        let mut frames = Frames::new(PixelFormat::Nv12);
        let mut target = V4l2Output::open(format!("/dev/video{output}"), &frames.format(), 30.0).unwrap();
        let counters = target.counters();
        await_that("writing", || {
            target.send(&frames.next()).unwrap();
            counters.written() >= 4
        });
        set(output, "percentage_of_dropped_buffers=100");
        let mut longest = Duration::ZERO;
        await_that("giving it up", || {
            let start = Instant::now();
            target.send(&frames.next()).unwrap();
            longest = longest.max(start.elapsed());
            counters.lost() == 1
        });
        assert!(counters.dropped() >= 5, "{counters:?}");
        assert!(longest < Duration::from_secs(5), "one frame took {longest:?}");
        set(output, "percentage_of_dropped_buffers=0");
        arrives(&mut frames, &mut target, input);
    }
}

pub fn impossible_outputs_are_refused() {
    let format = |w, h| FrameFormat::new(PixelFormat::Nv12, w, h).unwrap();
    let refused = |path: &str, w, h| match V4l2Output::open(path, &format(w, h), 30.0) {
        Err(e) => e,
        Ok(_) => panic!("{path} was accepted"),
    };
    let camera = refused("/dev/video0", 640, 480);
    assert!(
        matches!(&camera, Error::Sink(e) if e.kind() == SinkKind::Unsupported)
            && camera.to_string().contains("no output device"),
        "{camera}"
    );
    let size = refused("/dev/video3", 8, 8);
    assert!(size.to_string().contains("it sets NV12 "), "{size}");
    assert!(matches!(refused("/dev/null", 640, 480), Error::Io { .. }));
    assert!(matches!(refused("/dev/video77", 640, 480), Error::Io { .. }));
}

/// Frames of a texture that tells their number, with a zone over the lower right quarter.
struct Frames {
    engine: Engine,
    pool: FramePool,
    count: u64,
}

impl Frames {
    fn new(pixel: PixelFormat) -> Frames {
        let pool = FramePool::new(FrameFormat::new(pixel, SIZE.0, SIZE.1).unwrap(), 4);
        let quarter = Polygon::new([(0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0)]).unwrap();
        let zone = Zone::new("quarter", quarter, Style::default()).unwrap();
        let policy = Policy::builder().zone(zone).build().unwrap();
        Frames { engine: Engine::new(policy, pool.clone(), &[]).unwrap(), pool, count: 0 }
    }

    fn format(&self) -> FrameFormat {
        *self.pool.format()
    }

    fn next(&mut self) -> RedactedFrame {
        self.count += 1;
        let now = Timestamp::from_millis(self.count);
        let picture = self.picture(self.count as u8);
        let raw = self.pool.fill(FrameMeta { sequence: self.count, captured: now }, |view| {
            for (p, samples) in picture.iter().enumerate() {
                let row_bytes = view.format().planes()[p].row_bytes();
                for (y, row) in samples.chunks(row_bytes).enumerate() {
                    view.row_mut(p, y as u32).copy_from_slice(row);
                }
            }
            Ok(())
        });
        self.engine.push(raw.unwrap().unwrap(), now).unwrap();
        self.engine.release(now).unwrap()
    }

    /// The samples of every plane; the very first is the number.
    fn picture(&self, n: u8) -> Vec<Vec<u8>> {
        let texture = |p: usize, i: usize| (i * 7 + i / 251 * (n as usize + 3) + p * 89) as u8;
        let planes = self.pool.format().planes().iter().enumerate();
        let mut planes: Vec<Vec<u8>> = planes
            .map(|(p, plane)| (0..plane.row_bytes() * plane.height as usize).map(|i| texture(p, i)).collect())
            .collect();
        planes[0][0] = n;
        planes
    }

    /// The number of a picture that arrived. Panics when it is not as it was made, or its zone shows anything.
    fn check(&self, arrived: &[u8]) -> u8 {
        let n = arrived[0];
        let mut rest = arrived;
        for (p, (plane, raw)) in self.pool.format().planes().iter().zip(self.picture(n)).enumerate() {
            let (samples, behind) = rest.split_at(raw.len());
            let hidden = &samples[samples.len() - plane.channels..];
            let width = plane.width as usize;
            let pairs = samples.chunks(plane.channels).zip(raw.chunks(plane.channels)).enumerate();
            for (i, (sample, was)) in pairs {
                let (x, y) = (i % width, i / width);
                let inside = x >= width / 2 && y >= plane.height as usize / 2;
                let expected = if inside { hidden } else { was };
                assert!(sample == expected, "frame {n}, plane {p} at {x}, {y}: {sample:?}, not {expected:?}");
            }
            rest = behind;
        }
        n
    }
}
