//! Detection beside the bare inference library: the same network, the same tensor, the same process.
//!
//!     cargo bench --package milkglass-benches --bench detect -- [--rounds N]
//!
//! For each model and size, one after the other in every round, in CPU time: ONNX Runtime alone (tensors bound once, outputs not read);
//! the network with its outputs decoded and suppressed; the letterbox from 1080p NV12; the same detection with rten. One
//! thread each. The two sides must find equally many boxes, give or take one. Exit code 1 when the median of the
//! rounds' ratios to the bare library is above the bar.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};

use milkglass::FrameFormat;
use milkglass::detect::ModelStore;
use milkglass::detect::backend::Backend;
use milkglass::internal::Inference;
use milkglass::picture::PixelFormat;
use milkglass::policy::BackendChoice;
use rustix::time::{ClockId, clock_gettime};

/// Model, longer side at its input, least score: what the presets take.
const CASES: [(&str, u32, f32); 7] = [
    ("yunet", 320, 0.1),
    ("yunet", 640, 0.1),
    ("yunet", 1152, 0.1),
    ("centerface", 640, 0.048),
    ("centerface", 1280, 0.048),
    ("yolox-nano", 416, 0.05),
    ("yolox-nano", 640, 0.05),
];
/// Time of a detection, in times of the bare library.
const BAR: f64 = 1.03;
const SIZE: (u32, u32) = (1920, 1080);

fn picture() -> Vec<u8> {
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/people.mp4");
    let scale = format!("scale={}:{}", SIZE.0, SIZE.1);
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-ss", "2", "-i", clip, "-vf", &scale])
        .args(["-pix_fmt", "nv12", "-f", "rawvideo", "-frames:v", "1", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is missing: apt-get install ffmpeg");
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(bytes.len(), (SIZE.0 * SIZE.1 * 3 / 2) as usize);
    bytes
}

/// Milliseconds of CPU that one call took, all threads together: what else the machine does counts less than in wall time.
fn time(mut run: impl FnMut()) -> f64 {
    let now = || {
        let t = clock_gettime(ClockId::ProcessCPUTime);
        t.tv_sec as f64 * 1e3 + t.tv_nsec as f64 / 1e6
    };
    let start = now();
    run();
    now() - start
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip_while(|a| a != "--rounds").skip(1);
    let rounds: usize = args.next().map_or(40, |n| n.parse().expect("--rounds takes a number"));
    let store = ModelStore::locate().unwrap();
    let ort = Backend::choose(BackendChoice::Ort, 1).unwrap();
    let rten = Backend::choose(BackendChoice::Rten, 1).unwrap();
    let picture = picture();
    let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1).unwrap();
    println!(
        "| model, input | bare ms | detection / bare (median, of minima) | letterbox ms | rten / ONNX Runtime |"
    );
    println!("|---|---|---|---|---|");
    let mut missed = false;
    for (model, long_side, least) in CASES {
        let load = |backend| {
            let paint = |view: &mut milkglass::picture::ViewMut<'_>| {
                let mut rows = picture.chunks_exact(SIZE.0 as usize);
                for plane in 0..2 {
                    for y in 0..view.format().planes()[plane].height {
                        view.row_mut(plane, y).copy_from_slice(rows.next().unwrap());
                    }
                }
                Ok(())
            };
            Inference::new(&store, backend, model, (format, long_side), least, paint).unwrap()
        };
        let (mut ours, mut other) = (load(&ort), load(&rten));
        let (a, b) = (ours.detect().unwrap(), other.detect().unwrap());
        assert!(
            a > 0 && a.abs_diff(b) <= 1,
            "{model} at {long_side}: {a} boxes with ONNX Runtime, {b} with rten"
        );
        let (mut bare, mut detect, mut letterbox, mut slow) = (vec![], vec![], vec![], vec![]);
        // The first rounds are for caches and clocks.
        for round in 0..rounds + 3 {
            // Whoever comes second finds warm caches: they take turns.
            let mut early = 0.0;
            if round % 2 == 0 {
                early = time(|| assert!(ours.bare().unwrap()));
            }
            let y = time(|| assert_eq!(ours.detect().unwrap(), a));
            let x = if round % 2 == 0 { early } else { time(|| assert!(ours.bare().unwrap())) };
            if round >= 3 {
                bare.push(x);
                detect.push(y);
                letterbox.push(time(|| ours.letterbox()));
                if round % 8 == 3 {
                    slow.push(time(|| assert_eq!(other.detect().unwrap(), b)));
                }
            }
        }
        let least = |v: &[f64]| v.iter().copied().fold(f64::MAX, f64::min);
        let minima = least(&detect) / least(&bare);
        let mut ratios: Vec<f64> = detect.iter().zip(&bare).map(|(d, b)| d / b).collect();
        let ratio = median(&mut ratios);
        let (w, h) = ours.size();
        let (bare, slow) = (median(&mut bare), median(&mut slow));
        println!(
            "| {model} {w}x{h} | {bare:.2} | {ratio:.3}, {minima:.3} | {:.2} | {:.1} |",
            median(&mut letterbox),
            slow / bare
        );
        missed |= ratio > BAR;
    }
    println!("\nbar: detection at most {BAR} x the bare library");
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
