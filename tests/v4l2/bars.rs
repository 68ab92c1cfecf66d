//! vivid's colour bars with a green square: the bars tell whether format and colours are right, the square is the face.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use milkglass::frame::FramePool;
use milkglass::geometry::{PixelRect, Rect};
use milkglass::picture::{ColorMatrix, ColorRange, PixelFormat, View};
use milkglass::source::Captured;
use milkglass::v4l2::{CameraFormat, Fourcc, FrameSize, Import, V4l2Config, V4l2Source, devices};
use milkglass::{Class, Detection, Detector, Error, FrameSource, Result};

use crate::rig::{Running, Seen, compare, samples, set, v4l2_ctl};

pub const SIZE: (u32, u32) = (320, 180);
/// The bars' colours, from the left.
const BARS: [[u8; 3]; 8] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
    [0, 0, 0],
];

pub fn devices_are_listed() {
    let found = devices();
    let paths: Vec<_> = found.iter().map(|d| d.path.to_string_lossy().into_owned()).collect();
    assert_eq!(
        paths,
        ["/dev/video0", "/dev/video1", "/dev/video2", "/dev/video4"],
        "output devices are no cameras"
    );
    assert_eq!((found[0].driver.as_str(), found[0].bus_info.as_str()), ("vivid", "platform:vivid-000"));
    for device in &found[..2] {
        let formats = &device.formats;
        for wanted in [CameraFormat::Nv12, CameraFormat::I420, CameraFormat::Yuyv, CameraFormat::Rgb24] {
            let info = formats.iter().find(|f| f.format == Some(wanted)).unwrap();
            assert!(info.sizes.contains(&FrameSize::Discrete(320, 180)), "{info:?}");
        }
        assert!(formats.iter().any(|f| f.format.is_none()), "unknown formats are listed too");
    }
}

pub fn impossible_wishes_are_refused() {
    let refused = |config: &V4l2Config| match V4l2Source::open(config) {
        Err(e) => e,
        Ok(_) => panic!("{config:?} was accepted"),
    };
    let camera = V4l2Config::new("/dev/video0");
    let size = V4l2Config { size: Some((333, 77)), ..camera.clone() };
    assert!(refused(&size).to_string().contains("the nearest size is"), "{}", refused(&size));
    let jpeg = V4l2Config { formats: CameraFormat::Mjpeg.fourccs().to_vec(), ..camera };
    assert!(refused(&jpeg).to_string().contains("offers YUYV"), "{}", refused(&jpeg));
    assert!(matches!(refused(&V4l2Config::new("/dev/video3")), Error::Camera(_)), "an output device");
    assert!(matches!(refused(&V4l2Config::new("/dev/null")), Error::Io { .. }));
    assert!(matches!(refused(&V4l2Config::new("/dev/video77")), Error::Io { .. }));
}

/// A camera runs from when it is opened. What it filled its buffers with before the first picture is asked for is old, and
/// whatever comes next would follow with a leap; beyond two seconds a picture's own time is not believed any more.
pub fn the_first_picture_is_new() {
    let (mut camera, format) = V4l2Source::open(&V4l2Config::new("/dev/video0")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let pool = FramePool::new(format, 2);
    let mut times = Vec::new();
    while times.len() < 7 {
        match camera.capture(&pool).unwrap() {
            Captured::Frame(frame) => times.push(frame.meta().captured),
            Captured::Skipped => {}
            Captured::End => panic!("a camera has no end"),
        }
    }
    let leap = times.windows(2).map(|t| t[1].since(t[0])).max().unwrap();
    assert!(leap < Duration::from_secs(2), "{leap:?} between two pictures");
    assert_eq!(camera.counters().odd_times(), 0);
}

pub fn every_format_single_planar() {
    every_format(0, &["NV12", "YU12", "YUYV", "RGB3"], Import::Mmap);
}

pub fn every_format_multi_planar() {
    every_format(1, &["NM12", "YM12", "NV12", "YU12", "YUYV", "RGB3"], Import::Mmap);
}

/// vivid exports its buffers, so that mapped ones are not what is tested here.
pub fn every_format_through_dmabufs() {
    every_format(0, &["NV12", "YU12", "YUYV", "RGB3"], Import::Dmabuf);
    every_format(1, &["NM12", "YM12", "NV12"], Import::Dmabuf);
}

fn every_format(device: u32, fourccs: &[&str], import: Import) {
    for fourcc in fourccs {
        let running = start_with(device, fourcc, import);
        running.seen.await_covered(5);
        assert!(running.counters.is_connected());
        assert_eq!(running.counters.corrupt() + running.counters.lost(), 0);
        running.finish();
    }
}

pub fn an_old_stride_is_not_kept() {
    prepare(0);
    v4l2_ctl(0, &["--set-fmt-video=width=320,height=180,pixelformat=YUYV,bytesperline=1024"]);
    let running = start(0, "YUYV");
    running.seen.await_covered(3);
    running.finish();
}

pub fn colours_are_as_the_driver_says() {
    // Colour space 1 is SMPTE 170M, 3 is Rec. 709; quantisation 1 is full range.
    for (controls, range, matrix) in [
        ("colorspace=0,quantization=0", ColorRange::Limited, ColorMatrix::Bt601),
        ("colorspace=1,quantization=0", ColorRange::Limited, ColorMatrix::Bt709),
        ("colorspace=1,quantization=1", ColorRange::Full, ColorMatrix::Bt709),
    ] {
        prepare(0);
        set(0, controls);
        let config = V4l2Config { size: Some(SIZE), ..V4l2Config::new("/dev/video0") };
        let (_, format) = V4l2Source::open(&config).unwrap();
        assert_eq!((format.range(), format.matrix()), (range, matrix), "{controls}");
    }
    prepare(0);
}

/// Bars and square, standing still, and every fault off.
pub fn prepare(device: u32) {
    set(device, "test_pattern=0,osd_text_mode=2,show_square=1,colorspace=2,quantization=0");
    set(device, "percentage_of_dropped_buffers=0,wrap_timestamp=0");
}

/// A pipeline on a camera that shows the bars.
pub fn start(device: u32, fourcc: &str) -> Running {
    start_with(device, fourcc, Import::Mmap)
}

/// The same, its buffers read in this way.
pub fn start_with(device: u32, fourcc: &str, import: Import) -> Running {
    prepare(device);
    let config = V4l2Config {
        size: Some(SIZE),
        fps: Some(10.0),
        formats: vec![Fourcc(fourcc.as_bytes().try_into().unwrap())],
        import,
        ..V4l2Config::new(format!("/dev/video{device}"))
    };
    let (seen, raw) = (Seen::default(), Raw::default());
    let detector = Finder { raw: raw.clone(), seen: seen.clone() };
    let sink = seen.sink(move |frame| match &*raw.lock().unwrap() {
        Some((samples, face)) => compare(frame, samples, *face),
        None => Err("it is covered before the detector saw one".into()),
    });
    let running = Running::start(&config, seen, Box::new(detector), sink);
    assert!(running.fps == 10.0, "{} frames/s", running.fps);
    running
}

/// The one picture, and where its square is.
type Raw = Arc<Mutex<Option<(Vec<Vec<u8>>, PixelRect)>>>;

/// Finds the square, and complains of every picture that is not the one expected.
struct Finder {
    raw: Raw,
    seen: Seen,
}

impl Detector for Finder {
    fn classes(&self) -> &[Class] {
        &[Class::Face]
    }

    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        let samples = samples(view);
        if samples.iter().flatten().all(|s| *s == 0) {
            // The blank picture that the pipeline measures with.
            return Ok(Vec::new());
        }
        let mut raw = self.raw.lock().unwrap();
        let (first, face) = raw.get_or_insert_with(|| {
            if let Err(what) = check_bars(view) {
                self.seen.complain(what);
            }
            let face = square(view);
            (samples.clone(), face)
        });
        if *first != samples {
            self.seen.complain("a raw picture differs from the first".into());
        }
        let rect = Rect::from_corners(face.x0 as f32, face.y0 as f32, face.x1 as f32, face.y1 as f32);
        Ok(rect.map(|r| Detection::new(Class::Face, r, 0.9)).into_iter().collect())
    }
}

fn check_bars(view: &View<'_>) -> Result<(), String> {
    for (i, bar) in BARS.iter().enumerate() {
        let (x, y) = (20 + 40 * i as u32, 10);
        let got = rgb(view, x, y);
        if got.iter().zip(bar).any(|(a, b)| a.abs_diff(*b) > 6) {
            return Err(format!("bar {i} is {got:?} instead of {bar:?}"));
        }
    }
    Ok(())
}

/// The pixels that are wholly green.
fn square(view: &View<'_>) -> PixelRect {
    let mut found = PixelRect { x0: u32::MAX, y0: u32::MAX, x1: 0, y1: 0 };
    for (x, y) in (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| (x, y))) {
        let [r, g, b] = rgb(view, x, y);
        if g > 230 && r < 40 && b < 40 {
            found.x0 = found.x0.min(x);
            found.y0 = found.y0.min(y);
            found.x1 = found.x1.max(x + 1);
            found.y1 = found.y1.max(y + 1);
        }
    }
    found
}

/// A pixel as red, green and blue, by the textbook.
fn rgb(view: &View<'_>, x: u32, y: u32) -> [u8; 3] {
    let sample = |plane: usize, y: u32, at: u32| f32::from(view.row(plane, y)[at as usize]);
    let (luma, cb, cr) = match view.format().pixel() {
        PixelFormat::Nv12 => (sample(0, y, x), sample(1, y / 2, x / 2 * 2), sample(1, y / 2, x / 2 * 2 + 1)),
        PixelFormat::I420 => (sample(0, y, x), sample(1, y / 2, x / 2), sample(2, y / 2, x / 2)),
        PixelFormat::Yuyv => (sample(0, y, 2 * x), sample(0, y, x / 2 * 4 + 1), sample(0, y, x / 2 * 4 + 3)),
        _ => return [0, 1, 2].map(|c| sample(0, y, 3 * x + c) as u8),
    };
    let (kr, kb) = view.format().matrix().luma_weights();
    let (luma, scale) = match view.format().range() {
        ColorRange::Full => (luma, 255.0),
        ColorRange::Limited => ((luma - 16.0) * 255.0 / 219.0, 224.0),
    };
    let (cb, cr) = ((cb - 128.0) / scale * 255.0, (cr - 128.0) / scale * 255.0);
    let (r, b) = (luma + 2.0 * (1.0 - kr) * cr, luma + 2.0 * (1.0 - kb) * cb);
    let g = (luma - kr * r - kb * b) / (1.0 - kr - kb);
    [r, g, b].map(|v| v.round().clamp(0.0, 255.0) as u8)
}
