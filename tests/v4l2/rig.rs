//! What the scenarios share: vivid's controls, a pipeline on a camera, and the comparison of what leaves it.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use milkglass::frame::{Outcome, RedactedFrame};
use milkglass::geometry::PixelRect;
use milkglass::picture::View;
use milkglass::policy::{OnDeadline, Style};
use milkglass::v4l2::{V4l2Config, V4l2Counters, V4l2Source};
use milkglass::{Class, Detector, FrameSink, Pipeline, Policy, Result};

/// Log lines go where the results go.
pub struct Printer;
pub static PRINTER: Printer = Printer;

impl log::Log for Printer {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        println!("  {} {}", record.level(), record.args());
    }
    fn flush(&self) {}
}

/// Runs v4l2-ctl; panics when it fails.
pub fn v4l2_ctl(device: u32, arguments: &[&str]) {
    let output = Command::new("v4l2-ctl").arg(format!("-d{device}")).args(arguments).output().unwrap();
    assert!(output.status.success(), "v4l2-ctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sets controls of vivid: `name=value,name=value`.
pub fn set(device: u32, controls: &str) {
    v4l2_ctl(device, &["-c", controls]);
}

/// Has the HDMI input `input` show what the HDMI output `output` is given, byte for byte; both belong to one device of vivid.
pub fn loop_hdmi(output: u32, input: u32, fourcc: &str, (width, height): (u32, u32)) {
    // Timing 0 is 640x480 at 59.94 frames/s.
    for device in [output, input] {
        v4l2_ctl(device, &["--set-dv-bt-timings=index=0"]);
    }
    set(input, "osd_text_mode=2");
    // A quarter of it is scaled up and down again without loss.
    let format = format!("width={width},height={height},pixelformat={fourcc},field=none");
    v4l2_ctl(output, &[&format!("--set-fmt-video-out={format}")]);
    v4l2_ctl(input, &[&format!("--set-fmt-video={format}")]);
    // Linux 6.12 replaced the switch by a choice of output.
    let mut switch = Command::new("v4l2-ctl");
    switch.arg(format!("-d{input}")).args(["-c", "loop_video=1"]).stderr(Stdio::null());
    if !switch.status().is_ok_and(|s| s.success()) {
        set(input, "hdmi_000_0_is_connected_to=2");
    }
}

/// A child that ends with its owner, whatever happens.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The tag of a played picture: blocks of luma in the upper left corner, one for each bit of its number.
const BLOCK: usize = 16;
const BITS: usize = 8;
/// The luma row that tags are read from.
pub const PLAYED_ROW: usize = BLOCK / 2;

/// Writes the number of a picture into it. Luma comes first in it, in rows of `width`.
pub fn write_tag(picture: &mut [u8], width: usize, n: u32) {
    for (bit, y) in (0..BITS).flat_map(|bit| (0..BLOCK).map(move |y| (bit, y))) {
        picture[y * width + bit * BLOCK..][..BLOCK].fill(40 + 100 * (n >> bit & 1) as u8);
    }
}

/// The number of a picture, from its row [`PLAYED_ROW`]; `None` when the blocks are not clear.
pub fn tag(row: &[u8]) -> Option<u32> {
    (0..BITS).try_fold(0, |n, bit| match row[bit * BLOCK + BLOCK / 2] {
        40 => Some(n),
        140 => Some(n | 1 << bit),
        _ => None,
    })
}

/// Whether blocks of the tag are hidden by `fill`, and all others as they were written.
pub fn partly_hidden(row: &[u8], fill: u8) -> bool {
    let blocks = || (0..BITS).map(|bit| row[bit * BLOCK + BLOCK / 2]);
    blocks().all(|luma| [40, 140, fill].contains(&luma)) && blocks().any(|luma| luma == fill)
}

/// Asks until it is so.
pub fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}: it did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What left the pipeline, and the first complaint about it.
#[derive(Clone, Default)]
pub struct Seen {
    covered: Arc<AtomicU64>,
    obscured: Arc<AtomicU64>,
    complaint: Arc<Mutex<Option<String>>>,
}

impl Seen {
    pub fn covered(&self) -> u64 {
        self.covered.load(Ordering::SeqCst)
    }
    pub fn complain(&self, what: String) {
        self.complaint.lock().unwrap().get_or_insert(what);
    }
    pub fn assert_clean(&self) {
        if let Some(what) = self.complaint.lock().unwrap().as_deref() {
            panic!("{what}");
        }
    }

    /// Waits until `n` more frames have left covered.
    pub fn await_covered(&self, n: u64) {
        let (target, end) = (self.covered() + n, Instant::now() + Duration::from_secs(40));
        while self.covered() < target {
            self.assert_clean();
            assert!(Instant::now() < end, "only {} of {target} frames were covered", self.covered());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A target that has each frame looked at by `check`, and counts it.
    pub fn sink(
        &self,
        check: impl Fn(&RedactedFrame) -> Result<(), String> + Send + 'static,
    ) -> Box<dyn FrameSink> {
        let seen = self.clone();
        let mut last = None;
        Box::new(move |frame: &RedactedFrame| {
            if last.is_some_and(|l| l >= frame.meta().sequence) {
                seen.complain(format!("frame {} came after {last:?}", frame.meta().sequence));
            }
            last = Some(frame.meta().sequence);
            let checked = match frame.outcome() {
                Outcome::Covered => check(frame),
                _ => one_colour(frame),
            };
            if let Err(what) = checked {
                seen.complain(format!("frame {}: {what}", frame.meta().sequence));
            }
            let counter = if frame.outcome() == Outcome::Covered { &seen.covered } else { &seen.obscured };
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }
}

/// A camera's pipeline.
pub struct Running {
    pub pipeline: Pipeline,
    pub counters: V4l2Counters,
    pub seen: Seen,
    /// The rate that the camera granted.
    pub fps: f64,
}

impl Running {
    /// Starts one; `parts` makes the detector and the target.
    pub fn start(
        config: &V4l2Config,
        seen: Seen,
        detector: Box<dyn Detector>,
        sink: Box<dyn FrameSink>,
    ) -> Running {
        let (source, format) = V4l2Source::open(config).unwrap();
        assert_eq!(source.import(), config.import);
        let fps = source.fps().unwrap();
        let counters = source.counters();
        let deadline = Duration::from_secs(4);
        let policy = Policy::builder()
            .hide(Class::Face, Style::default())
            .max_gap(Duration::from_secs(3))
            .deadline(deadline, OnDeadline::Obscure)
            .max_waiting(400)
            .export_regions(true)
            .build()
            .unwrap();
        let count = (fps * deadline.as_secs_f64()).ceil() as usize + 8;
        let pipeline = Pipeline::builder(policy, format, source).fps(fps).buffers(count).ladder([detector]);
        let pipeline = pipeline.sinks([("checked".into(), sink)]).start();
        Running { pipeline: pipeline.unwrap(), counters, seen, fps }
    }

    /// Stops, and asserts that all that left was right.
    pub fn finish(self) {
        self.pipeline.close().unwrap();
        self.seen.assert_clean();
    }
}

/// Compares a covered frame with the picture it was made of: equal outside the hidden regions, one colour inside.
pub fn compare(frame: &RedactedFrame, raw: &[Vec<u8>], face: PixelRect) -> Result<(), String> {
    let regions = frame.regions().unwrap_or(&[]);
    let holds = |r: &PixelRect| r.x0 <= face.x0 && r.y0 <= face.y0 && r.x1 >= face.x1 && r.y1 >= face.y1;
    if !regions.iter().any(holds) {
        return Err(format!("no region hides {face:?}: {regions:?}"));
    }
    for (p, plane) in frame.format().planes().iter().enumerate() {
        let hidden: Vec<PixelRect> =
            regions.iter().map(|r| r.in_plane(plane.shift, plane.width, plane.height)).collect();
        let mut colour: Option<Vec<u8>> = None;
        for y in 0..plane.height {
            let row = frame.view().row(p, y);
            let before = &raw[p][y as usize * row.len()..][..row.len()];
            for (x, (sample, was)) in
                row.chunks(plane.channels).zip(before.chunks(plane.channels)).enumerate()
            {
                let inside = |r: &&PixelRect| (r.x0..r.x1).contains(&(x as u32)) && (r.y0..r.y1).contains(&y);
                let expected = match hidden.iter().find(inside) {
                    Some(_) => colour.get_or_insert_with(|| sample.to_vec()).as_slice(),
                    None => was,
                };
                if sample != expected {
                    return Err(format!("plane {p} at {x}, {y} is {sample:?} instead of {expected:?}"));
                }
            }
        }
    }
    Ok(())
}

/// An obscured frame shows nothing of the picture.
fn one_colour(frame: &RedactedFrame) -> Result<(), String> {
    for (p, plane) in frame.format().planes().iter().enumerate() {
        let first = &frame.view().row(p, 0)[..plane.channels];
        let same = |y| frame.view().row(p, y).chunks(plane.channels).all(|s| s == first);
        if !(0..plane.height).all(same) {
            return Err(format!("plane {p} of an obscured frame is not of one colour"));
        }
    }
    Ok(())
}

/// The samples of every plane, without padding.
pub fn samples(view: &View<'_>) -> Vec<Vec<u8>> {
    let planes = view.format().planes().iter().enumerate();
    planes.map(|(p, plane)| (0..plane.height).flat_map(|y| view.row(p, y).to_vec()).collect()).collect()
}
