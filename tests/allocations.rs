//! No memory is asked for on the live path in the steady state, from the camera's dequeue to the targets: every allocation
//! in the process is counted while a pipeline runs.
//!
//! One test, because the counter sees all threads.
#![cfg(feature = "ort")]
#![allow(clippy::print_stdout, clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use milkglass::detect::InStream;
use milkglass::frame::{DetectJob, FrameMeta, FramePool, RedactedFrame};
use milkglass::geometry::Rect;
use milkglass::picture::{PixelFormat, View};
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::source::Captured;
use milkglass::stats::Stats;
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, Detector, FrameFormat, FrameSource, Pipeline, Policy, Result};

const FRAMES: u64 = 700;
/// Until every buffer and list has its size.
const WARM: u64 = 300;
const SIZE: (u32, u32) = (320, 240);

static COUNT: AtomicU64 = AtomicU64::new(0);
/// Of those, where it was looked at, the ones that neither the inference library nor its binding asked for.
static OURS: AtomicU64 = AtomicU64::new(0);
/// Whether to look who asks: slow.
static ASK_WHO: AtomicBool = AtomicBool::new(false);

thread_local! {
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all memory comes from the system's allocator and goes back to it, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; the memory came from there.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise; the memory came from there.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn count() {
    if ASKING.get() {
        return;
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
    if ASK_WHO.load(Ordering::Relaxed) {
        ASKING.set(true);
        let trace = std::backtrace::Backtrace::force_capture().to_string();
        if !is_theirs(&trace) {
            OURS.fetch_add(1, Ordering::Relaxed);
        }
        ASKING.set(false);
    }
}

/// Whether the innermost function that is neither the standard library's nor this test's belongs to an inference library.
fn is_theirs(trace: &str) -> bool {
    let names = trace.lines().filter_map(|line| line.trim_start().split_once(": ")).map(|(_, name)| name);
    let library = |name: &str| ["ort::", "<ort::", "rten", "<rten"].iter().any(|l| name.starts_with(l));
    let ours = |name: &str| name.contains("milkglass::");
    names.into_iter().find(|name| library(name) || ours(name)).is_some_and(library)
}

/// Frames with a bright square that wanders.
struct Camera {
    next: u64,
    pace: Duration,
    /// What was counted from the end of the warm-up to the last frame: all, and ours.
    counted: Arc<[AtomicU64; 2]>,
    frames: u64,
    warm: u64,
    size: (u32, u32),
}

impl FrameSource for Camera {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        let n = self.next;
        self.next += 1;
        if n == self.warm {
            COUNT.store(0, Ordering::Relaxed);
            OURS.store(0, Ordering::Relaxed);
        }
        if n == self.frames {
            self.counted[0].store(COUNT.load(Ordering::Relaxed), Ordering::Relaxed);
            self.counted[1].store(OURS.load(Ordering::Relaxed), Ordering::Relaxed);
            return Ok(Captured::End);
        }
        std::thread::sleep(self.pace);
        let meta = FrameMeta { sequence: n, captured: Timestamp::from_millis(33 * n) };
        let filled = pool.fill(meta, |view| {
            let (x, y) = ((7 * n % 280) as usize, (5 * n % 200) as u32);
            for row in 0..self.size.1 {
                let row_of_square = (y..y + 40).contains(&row);
                view.row_mut(0, row).fill(40);
                view.row_mut(0, row)[x..x + 40].fill(if row_of_square { 220 } else { 40 });
            }
            Ok(())
        })?;
        Ok(filled.map_or(Captured::Skipped, Captured::Frame))
    }
}

/// Knows some faces that wander, and one that comes and goes; fills the list that it is given back.
#[derive(Default)]
struct Stub {
    list: Vec<Detection>,
    calls: u64,
}

impl Detector for Stub {
    fn classes(&self) -> &[Class] {
        &[Class::Face]
    }

    fn detect(&mut self, _: &View<'_>) -> Result<Vec<Detection>> {
        self.calls += 1;
        let faces = if (self.calls / 40).is_multiple_of(2) { 5 } else { 6 };
        let mut list = std::mem::take(&mut self.list);
        list.extend((0..faces).map(|i| {
            let x = ((self.calls * (i + 1)) % 250) as f32;
            Detection::new(Class::Face, Rect::new(x, 35.0 * i as f32, 24.0, 30.0).unwrap(), 0.9)
        }));
        Ok(list)
    }

    fn in_stream(&mut self) -> Option<&mut dyn InStream> {
        Some(self)
    }
}

impl InStream for Stub {
    fn look(&mut self, job: &mut DetectJob) -> Result<Vec<Detection>> {
        self.detect(&job.view())
    }

    fn reuse(&mut self, list: Vec<Detection>) {
        self.list = list;
    }
}

/// What a run does besides.
#[derive(Clone, Copy)]
struct What {
    size: (u32, u32),
    /// Covers what moves.
    motion: bool,
    /// Asks for memory once a frame in each target.
    wasteful: bool,
}

const PLAIN: What = What { size: SIZE, motion: false, wasteful: false };

struct Counted {
    all: u64,
    ours: u64,
    stats: Stats,
}

/// Runs a pipeline with two zones, two targets and every style, and tells what was asked for after the warm-up.
fn run(detector: Box<dyn Detector>, (frames, warm): (u64, u64), pace: Duration, what: What) -> Counted {
    let counted: Arc<[AtomicU64; 2]> = Arc::default();
    let zone = |name: &str, x: f64, style| {
        Zone::new(name, Polygon::new([(x, 0.0), (x + 0.2, 0.1), (x, 0.9)]).unwrap(), style).unwrap()
    };
    let policy = Policy::builder()
        .hide(Class::Face, Style::Pixelate { cells: 4 })
        .zone(zone("a", 0.1, Style::default()))
        .zone(zone("b", 0.6, Style::Blur { cells: 3 }))
        .hold(Duration::from_millis(200))
        .motion_cover(what.motion)
        .build()
        .unwrap();
    let sink = move |frame: &RedactedFrame| {
        assert_eq!(frame.view().row(0, 0).len(), what.size.0 as usize);
        if what.wasteful {
            drop(std::hint::black_box(Box::new(frame.meta())));
        }
        Ok(())
    };
    let format = FrameFormat::new(PixelFormat::Nv12, what.size.0, what.size.1).unwrap();
    let camera = Camera { next: 0, pace, counted: Arc::clone(&counted), frames, warm, size: what.size };
    let pipeline = Pipeline::builder(policy, format, camera).fps(30.0).buffers(32).ladder([detector]);
    let stats = pipeline.sink("a", sink).sink("b", sink).start().unwrap().wait().unwrap();
    let [all, ours] = [0, 1].map(|i| counted[i].load(Ordering::Relaxed));
    Counted { all, ours, stats }
}

#[test]
fn frames_ask_for_no_memory_between_dequeue_and_hand_over() {
    let pace = Duration::from_millis(3);
    for motion in [false, true] {
        let what = What { motion, ..PLAIN };
        let counted = run(Box::new(Stub::default()), (FRAMES, WARM), pace, what);
        assert!(counted.stats.covered > FRAMES * 8 / 10, "motion {motion}: {:?}", counted.stats);
        let frames = FRAMES - WARM;
        assert_eq!(counted.all, 0, "motion {motion}, allocations in {frames} frames: {:?}", counted.stats);
    }

    // The counter counts: one box a frame in each of two targets is seen.
    let what = What { wasteful: true, ..PLAIN };
    let wasteful = run(Box::new(Stub::default()), (200, 100), pace, what);
    assert!(wasteful.all >= 100, "{} counted", wasteful.all);

    with_a_network();
}

/// Everything but the inference library and its binding, with a real network in the detector.
fn with_a_network() {
    use milkglass::detect::backend::Backend;
    use milkglass::detect::{Ensemble, ModelStore};
    use milkglass::policy::{BackendChoice, Preset};

    let Ok(backend) = Backend::choose(BackendChoice::Ort, 1) else {
        println!("no ONNX Runtime here: not counted with a network");
        return;
    };
    let store = ModelStore::locate().unwrap();
    let whole = Preset::Balanced.settings(&[Class::Face]);
    struct Asking(Ensemble, u64, u64);
    impl Detector for Asking {
        fn classes(&self) -> &[Class] {
            self.0.classes()
        }
        fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
            self.0.detect(view)
        }
        fn in_stream(&mut self) -> Option<&mut dyn InStream> {
            Some(self)
        }
    }
    impl InStream for Asking {
        fn look(&mut self, job: &mut DetectJob) -> Result<Vec<Detection>> {
            self.1 += 1;
            if self.1 == self.2 {
                ASK_WHO.store(true, Ordering::Relaxed);
            }
            self.0.look(job)
        }
        fn looks_in_parts(&self) -> bool {
            self.0.looks_in_parts()
        }
        fn reuse(&mut self, list: Vec<Detection>) {
            self.0.reuse(list);
        }
    }
    let (frames, warm) = (60, 40);
    for (tiles, settings) in [(false, whole.clone()), (true, whole.in_tiles())] {
        let detector = Ensemble::load(&store, &backend, &settings).unwrap();
        let what = What { motion: tiles, size: if tiles { (1280, 720) } else { SIZE }, ..PLAIN };
        let detector = Box::new(Asking(detector, 0, 15));
        let counted = run(detector, (frames, warm), Duration::from_millis(40), what);
        ASK_WHO.store(false, Ordering::Relaxed);
        println!(
            "with a network, tiles {tiles}, {} frames: {} allocations, {} of them ours",
            frames - warm,
            counted.all,
            counted.ours
        );
        assert!(counted.all > 0 && counted.ours == 0, "{} of {} are ours", counted.ours, counted.all);
    }
}
