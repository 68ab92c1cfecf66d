//! The live path as a camera drives it: from the moment a picture is dequeued to the moment a target gets it.
//!
//!     cargo bench --package milkglass-benches --bench glass_to_sink -- [--seconds N] [--preset fast|balanced|careful] [--threads N]
//!
//! Frames of examples/people.mp4, enlarged to 1080p NV12, come at 30 frames/s into a [`Pipeline`] with a real detector, one
//! zone and a target that only looks at the clock. Measured in the same run: how long a detection takes (D), the time from
//! dequeue to hand-over, and the CPU time of everything that is not detection. What leaves is checked: the zone must be
//! filled in every frame, and most frames must be covered. Exit code 1 when a bar is missed.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore};
use milkglass::frame::{FrameMeta, FramePool, Outcome, RedactedFrame};
use milkglass::picture::{PixelFormat, View};
use milkglass::policy::{BackendChoice, Polygon, Preset, Style, Zone};
use milkglass::source::Captured;
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, Detector, FrameFormat, FrameSource, Pipeline, Policy, Result};
use rustix::time::{ClockId, clock_gettime};

const SIZE: (u32, u32) = (1920, 1080);
const FPS: u32 = 30;
/// Pictures that are kept in memory and shown in turn, to and fro.
const PICTURES: usize = 60;
/// CPU time per frame outside detection that is allowed: issue "Live".
const MOST_CPU: Duration = Duration::from_micros(1500);

/// What the run leaves behind.
#[derive(Default)]
struct Log {
    /// When each picture was dequeued, by its number.
    dequeued: Vec<Instant>,
    latency: Vec<Duration>,
    detections: Vec<Duration>,
    detection_cpu: Duration,
    covered: u64,
    unfilled: u64,
}

struct Camera {
    pictures: Vec<Vec<u8>>,
    started: Option<Instant>,
    next: u64,
    frames: u64,
    log: Arc<Mutex<Log>>,
}

impl FrameSource for Camera {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        let n = self.next;
        if n == self.frames {
            return Ok(Captured::End);
        }
        self.next += 1;
        let at = Duration::from_secs(n) / FPS;
        let start = *self.started.get_or_insert_with(Instant::now);
        std::thread::sleep((start + at).saturating_duration_since(Instant::now()));
        self.log.lock().unwrap().dequeued.push(Instant::now());
        let round = 2 * (PICTURES - 1);
        let turn = n as usize % round;
        let picture = &self.pictures[turn.min(round - turn)];
        let meta = FrameMeta { sequence: n, captured: Timestamp::ZERO + at };
        let filled = pool.fill(meta, |view| {
            let mut rows = picture.chunks_exact(SIZE.0 as usize);
            for plane in 0..2 {
                for y in 0..view.format().planes()[plane].height {
                    view.row_mut(plane, y).copy_from_slice(rows.next().unwrap());
                }
            }
            Ok(())
        })?;
        Ok(filled.map_or(Captured::Skipped, Captured::Frame))
    }
}

struct Timed {
    detector: Ensemble,
    log: Arc<Mutex<Log>>,
}

impl Detector for Timed {
    fn classes(&self) -> &[Class] {
        self.detector.classes()
    }
    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        let (start, cpu) = (Instant::now(), cpu(ClockId::ThreadCPUTime));
        let found = self.detector.detect(view);
        let mut log = self.log.lock().unwrap();
        // The first ones measure on a blank picture, before the camera runs.
        if !log.dequeued.is_empty() {
            log.detections.push(start.elapsed());
            log.detection_cpu += self::cpu(ClockId::ThreadCPUTime) - cpu;
        }
        found
    }
}

fn cpu(clock: ClockId) -> Duration {
    let t = clock_gettime(clock);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share).round() as usize]
}

fn pictures() -> Vec<Vec<u8>> {
    let scale = format!("scale={}:{}", SIZE.0, SIZE.1);
    let mut child = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-ss",
            "2",
            "-i",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/people.mp4"),
            "-vf",
            &scale,
        ])
        .args(["-pix_fmt", "nv12", "-f", "rawvideo", "-frames:v", &PICTURES.to_string(), "-"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is missing: apt-get install ffmpeg");
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success());
    let all: Vec<_> = bytes.chunks_exact((SIZE.0 * SIZE.1 * 3 / 2) as usize).map(<[u8]>::to_vec).collect();
    assert_eq!(all.len(), PICTURES);
    all
}

fn option<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut args = std::env::args().skip_while(|a| a != name).skip(1);
    args.next().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name} {v}: not understood")))
}

fn main() -> ExitCode {
    let frames = option("--seconds", 30u64) * u64::from(FPS);
    let preset = match option("--preset", String::from("fast")).as_str() {
        "fast" => Preset::Fast,
        "balanced" => Preset::Balanced,
        "careful" => Preset::Careful,
        other => panic!("--preset {other}: there are fast, balanced and careful"),
    };
    let log = Arc::new(Mutex::new(Log::default()));
    let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1).unwrap();
    let backend = Backend::choose(BackendChoice::Auto, option("--threads", 1)).unwrap();
    let settings = preset.settings(&[Class::Face]);
    let detector = Ensemble::load(&ModelStore::locate().unwrap(), &backend, &settings).unwrap();
    let zones = [[(0.0, 0.0), (0.2, 0.0), (0.1, 0.3)], [(0.8, 0.7), (1.0, 0.6), (1.0, 1.0)]];
    let mut policy = Policy::builder().hide(Class::Face, Style::default());
    for (name, area) in ["left", "right"].into_iter().zip(zones) {
        policy = policy.zone(Zone::new(name, Polygon::new(area).unwrap(), Style::default()).unwrap());
    }
    let sink = {
        let log = Arc::clone(&log);
        move |frame: &RedactedFrame| {
            let now = Instant::now();
            let mut log = log.lock().unwrap();
            let taken = now - log.dequeued[frame.meta().sequence as usize];
            log.latency.push(taken);
            log.covered += u64::from(frame.outcome() == Outcome::Covered);
            log.unfilled += u64::from(frame.view().row(0, 2)[20..300].iter().any(|v| *v != 16));
            Ok(())
        }
    };
    let source = Camera { pictures: pictures(), started: None, next: 0, frames, log: Arc::clone(&log) };
    let detector = Timed { detector, log: Arc::clone(&log) };
    let pipeline = Pipeline::builder(policy.build().unwrap(), format, source);
    let pipeline = pipeline.fps(f64::from(FPS)).detector(detector).sink("clock", sink).start().unwrap();
    let before = cpu(ClockId::ProcessCPUTime);
    let stats = pipeline.wait().unwrap();
    let spent = cpu(ClockId::ProcessCPUTime) - before;

    let mut log = log.lock().unwrap();
    let log = &mut *log;
    assert_eq!(log.unfilled, 0, "a frame left without its zone");
    assert!(
        log.covered * 10 >= frames * 9,
        "only {} of {frames} frames left covered: {stats:?}",
        log.covered
    );
    let d = percentile(&mut log.detections, 0.99);
    let (median, p99) = (percentile(&mut log.latency, 0.5), percentile(&mut log.latency, 0.99));
    let bar = 2 * d + Duration::from_secs(1) / FPS + Duration::from_millis(3);
    let outside = spent.saturating_sub(log.detection_cpu) / stats.pushed as u32;
    let detection = log.detection_cpu / log.detections.len() as u32;
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!("preset {preset}, {}, 1080p NV12 at {FPS} frames/s, {frames} frames", backend.name());
    println!("frames                            {} covered, {} obscured", stats.covered, stats.obscured);
    println!("detections                        {}, CPU {:.2} ms each", log.detections.len(), ms(detection));
    println!("detection, p99 (D)                {:.2} ms", ms(d));
    println!("dequeue to hand-over, median      {:.2} ms", ms(median));
    println!(
        "dequeue to hand-over, p99         {:.2} ms (bar: 2 D + 1/fps + 3 ms = {:.2})",
        ms(p99),
        ms(bar)
    );
    println!("CPU per frame outside detection   {:.2} ms (bar: {:.2})", ms(outside), ms(MOST_CPU));
    let missed = p99 > bar || outside > MOST_CPU;
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
