//! Pictures with a marked face, a detector that finds it, and the element in a harness.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gstmilkglass::MilkGlass;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_check::Harness;
use gstreamer_video as video;
use milkglass::detect::InStream;
use milkglass::frame::DetectJob;
use milkglass::geometry::Rect;
use milkglass::picture::View;
use milkglass::{Class, Detection, Detector, Error, Result};

/// Every byte of the face has this value, and no other sample has.
pub const MARK: u8 = 211;
/// The background of every plane.
pub const BACK: u8 = 60;
pub const FACE: (usize, usize, usize, usize) = (30, 18, 20, 24);
/// Calls before the first frame: a live pipeline measures the detector on a blank picture.
pub const MEASURING: u64 = 4;
/// Without a self-test, which the detector below would fail.
pub const POLICY: &str = "self_test = \"off\"\nmax_gap = \"400ms\"\ndeadline = \"500ms\"\n";

pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstmilkglass::plugin_register_static().unwrap();
    });
}

/// Finds the face by its mark, after doing what the script says for that call.
pub struct Finder {
    script: Arc<dyn Fn(u64) -> Result<()> + Send + Sync>,
    calls: Arc<AtomicU64>,
    forgot: Arc<AtomicU64>,
}

impl InStream for Finder {
    fn look(&mut self, job: &mut DetectJob) -> Result<Vec<Detection>> {
        self.detect(&job.view())
    }

    fn forget(&mut self) {
        self.forgot.fetch_add(1, Ordering::SeqCst);
    }
}

impl Detector for Finder {
    fn in_stream(&mut self) -> Option<&mut dyn InStream> {
        Some(self)
    }

    fn classes(&self) -> &[Class] {
        &[Class::Face]
    }

    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        (self.script)(self.calls.fetch_add(1, Ordering::SeqCst))?;
        let (x, y, w, h) = FACE;
        let plane = view.format().planes()[0];
        if plane.height as usize <= y || view.row(0, y as u32)[(x >> plane.shift.0) * plane.channels] != MARK
        {
            return Ok(Vec::new());
        }
        let rect = Rect::new(x as f32, y as f32, w as f32, h as f32).unwrap();
        Ok(vec![Detection::new(Class::Face, rect, 0.9)])
    }
}

pub fn broken() -> Result<()> {
    Err(Error::other("broken"))
}

/// An element whose detector does what `script` says at each call.
pub fn element(script: impl Fn(u64) -> Result<()> + Send + Sync + 'static) -> MilkGlass {
    element_that_forgets(script).0
}

/// The same, and how often its detector was told to forget what it saw.
pub fn element_that_forgets(
    script: impl Fn(u64) -> Result<()> + Send + Sync + 'static,
) -> (MilkGlass, Arc<AtomicU64>) {
    init();
    let element = gst::ElementFactory::make("milkglass").build().unwrap().downcast::<MilkGlass>().unwrap();
    let script: Arc<dyn Fn(u64) -> Result<()> + Send + Sync> = Arc::new(script);
    let (calls, forgot) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let told = Arc::clone(&forgot);
    element.set_detectors(move || {
        let (script, calls, forgot) = (Arc::clone(&script), Arc::clone(&calls), Arc::clone(&told));
        Ok(vec![Box::new(Finder { script, calls, forgot })])
    });
    element.set_property("policy", POLICY);
    element.set_bus(Some(&gst::Bus::new()));
    (element, forgot)
}

pub fn harness(element: &MilkGlass) -> Harness {
    Harness::with_element(element, Some("sink"), Some("src"))
}

/// The element in a harness whose upstream waits (`live` false) or does not.
pub fn running(element: &MilkGlass, live: bool, info: &video::VideoInfo) -> Harness {
    element.set_property_from_str("pace", if live { "live" } else { "wait" });
    let mut h = harness(element);
    h.set_src_caps(info.to_caps().unwrap());
    h
}

pub fn info(format: video::VideoFormat, width: u32, height: u32) -> video::VideoInfo {
    init();
    video::VideoInfo::builder(format, width, height).fps(gst::Fraction::new(100, 1)).build().unwrap()
}

pub fn nv12() -> video::VideoInfo {
    info(video::VideoFormat::Nv12, 96, 64)
}

/// How a plane lies: luma pixels per sample across and down, bytes of a sample, samples of a row, rows.
pub fn planes(info: &video::VideoInfo) -> Vec<(usize, usize, usize, usize, usize)> {
    let (w, h) = (info.width() as usize, info.height() as usize);
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    match info.format() {
        video::VideoFormat::Nv12 => vec![(1, 1, 1, w, h), (2, 2, 2, cw, ch)],
        video::VideoFormat::I420 => vec![(1, 1, 1, w, h), (2, 2, 1, cw, ch), (2, 2, 1, cw, ch)],
        video::VideoFormat::Yuy2 => vec![(2, 1, 4, cw, h)],
        _ => vec![(1, 1, 3, w, h)],
    }
}

/// A picture with the face in every plane, laid out as `offsets` and `strides` say; all bytes between the rows are marked.
pub fn picture(info: &video::VideoInfo, offsets: &[usize], strides: &[i32], size: usize) -> Vec<u8> {
    let mut bytes = vec![MARK; size];
    let (fx, fy, fw, fh) = FACE;
    for (n, (sx, sy, channels, width, height)) in planes(info).into_iter().enumerate() {
        for y in 0..height {
            let row = &mut bytes[offsets[n] + y * strides[n] as usize..][..width * channels];
            for (x, sample) in row.chunks_exact_mut(channels).enumerate() {
                let inside = (x + 1) * sx > fx && x * sx < fx + fw && (y + 1) * sy > fy && y * sy < fy + fh;
                sample.fill(if inside { MARK } else { BACK });
            }
        }
    }
    bytes
}

pub fn frame(info: &video::VideoInfo, n: u64) -> gst::Buffer {
    let bytes = picture(info, info.offset(), info.stride(), info.size());
    stamped(bytes, n)
}

pub fn stamped(bytes: Vec<u8>, n: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let b = buffer.get_mut().unwrap();
    b.set_pts(gst::ClockTime::from_mseconds(n * 10));
    b.set_duration(gst::ClockTime::from_mseconds(10));
    buffer
}

/// Pushes frames in real time.
pub fn push(h: &mut Harness, info: &video::VideoInfo, numbers: std::ops::Range<u64>) {
    for n in numbers {
        h.push(frame(info, n)).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    Covered,
    Obscured,
}

/// Looks at a frame: it must hold no marked byte anywhere, and has a background or is hidden whole.
pub fn look(buffer: &gst::Buffer, info: &video::VideoInfo) -> Shows {
    let map = buffer.map_readable().unwrap();
    assert_eq!(map.len(), info.size());
    assert!(!map.contains(&MARK), "a marked byte left");
    // The lower left corner of the first plane.
    let (_, _, channels, _, height) = planes(info)[0];
    let corner = &map[info.offset()[0] + (height - 1) * info.stride()[0] as usize..][..channels];
    if corner.iter().all(|v| *v == BACK) { Shows::Covered } else { Shows::Obscured }
}

/// Takes frames until none has come for `patience`.
pub fn take(h: &mut Harness, patience: Duration) -> Vec<gst::Buffer> {
    let mut frames = Vec::new();
    let mut last = Instant::now();
    while last.elapsed() < patience {
        match h.try_pull_now() {
            Some(buffer) => {
                frames.push(buffer);
                last = Instant::now();
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    frames
}

pub trait PullNow {
    fn try_pull_now(&mut self) -> Option<gst::Buffer>;
}

impl PullNow for Harness {
    fn try_pull_now(&mut self) -> Option<gst::Buffer> {
        if self.buffers_in_queue() == 0 { None } else { self.try_pull() }
    }
}

/// Takes frames until the stream ends; panics when it does not.
pub fn take_all(h: &mut Harness) -> Vec<gst::Buffer> {
    let mut frames = Vec::new();
    let start = Instant::now();
    loop {
        let ended = events(h).iter().any(|e| e.type_() == gst::EventType::Eos);
        while let Some(buffer) = h.try_pull_now() {
            frames.push(buffer);
        }
        if ended {
            return frames;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no end of the stream");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn events(h: &mut Harness) -> Vec<gst::Event> {
    (0..h.events_in_queue()).filter_map(|_| h.try_pull_event()).collect()
}

pub fn end(h: &mut Harness) -> Vec<gst::Buffer> {
    assert!(h.push_event(gst::event::Eos::new()));
    take_all(h)
}

pub fn count(frames: &[gst::Buffer], info: &video::VideoInfo, shows: Shows) -> usize {
    frames.iter().filter(|b| look(b, info) == shows).count()
}

pub fn stat(element: &MilkGlass, name: &str) -> u64 {
    element.property::<gst::Structure>("stats").get(name).unwrap()
}

pub fn messages(element: &MilkGlass) -> Vec<gst::Message> {
    let bus = element.bus().unwrap();
    std::iter::from_fn(|| bus.pop()).collect()
}

/// The texts of errors and warnings on the bus.
pub fn complaints(element: &MilkGlass) -> Vec<String> {
    let text = |m: gst::Message| match m.view() {
        gst::MessageView::Error(e) => Some(e.error().message().to_owned()),
        gst::MessageView::Warning(w) => Some(w.error().message().to_owned()),
        _ => None,
    };
    messages(element).into_iter().filter_map(text).collect()
}
