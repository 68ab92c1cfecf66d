//! Frames of our own, played into vivid's HDMI output and captured at its HDMI input, byte for byte. A tag in the pixels
//! tells which frame one is, so every covered frame is compared with what was played, whichever were skipped or repeated.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milkglass::frame::RedactedFrame;
use milkglass::geometry::{PixelRect, Rect};
use milkglass::picture::View;
use milkglass::v4l2::{CameraFormat, Import, V4l2Config};
use milkglass::{Class, Detection, Detector, Result};

use crate::rig::{Killed, PLAYED_ROW, Running, Seen, compare, loop_hdmi, samples, tag, write_tag};

const SIZE: (u32, u32) = (640, 480);
/// Frames of the clip; the face goes to and fro, so the end joins the beginning.
const FRAMES: u32 = 32;
const FACE: (u32, u32) = (80, 100);
/// The luma of the face; the background stays far below.
const SKIN: u8 = 220;

pub fn played_frames_come_out_redacted() {
    redacted(Import::Mmap);
}

/// The same pictures, byte for byte, from buffers that the driver exports.
pub fn played_frames_come_through_dmabufs() {
    redacted(Import::Dmabuf);
}

fn redacted(import: Import) {
    let clip: Vec<Vec<Vec<u8>>> = (0..FRAMES).map(picture).collect();
    let _player = play(&clip);
    let config = V4l2Config {
        size: Some(SIZE),
        formats: CameraFormat::Nv12.fourccs().to_vec(),
        import,
        ..V4l2Config::new("/dev/video2")
    };
    let seen = Seen::default();
    let known = clip.clone();
    let detector = Reader { clip, seen: seen.clone() };
    let sink = seen.sink(move |frame| {
        let n = number(&frame.view()).ok_or("its tag cannot be read")?;
        compare(frame, &known[n as usize], face(n))?;
        not_hidden_whole(frame)
    });
    let running = Running::start(&config, seen, Box::new(detector), sink);
    running.seen.await_covered(60);
    assert_eq!(running.counters.corrupt() + running.counters.lost(), 0);
    running.finish();
}

pub fn a_faster_camera_is_slowed_down() {
    loop_hdmi(3, 2, "NV12", SIZE);
    let config = V4l2Config {
        size: Some(SIZE),
        fps: Some(5.0),
        formats: CameraFormat::Nv12.fourccs().to_vec(),
        ..V4l2Config::new("/dev/video2")
    };
    let seen = Seen::default();
    let times = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&times);
    let sink = seen.sink(move |frame| {
        kept.lock().unwrap().push(frame.meta().captured);
        Ok(())
    });
    let running = Running::start(&config, seen, Box::new(Nobody), sink);
    assert_eq!(running.fps, 5.0, "an HDMI input has the rate of its signal, near 60");
    running.seen.await_covered(12);
    assert_eq!(running.counters.timeouts(), 0);
    running.finish();
    let times = times.lock().unwrap();
    // One that is late is not waited for, so it is the sum that counts, less an eighth of a period.
    let took = times[times.len() - 1].since(times[0]);
    let least = Duration::from_millis(200 * (times.len() as u64 - 1) - 25);
    assert!(took >= least, "{} pictures in {took:?}", times.len());
}

/// Finds nothing.
struct Nobody;

impl Detector for Nobody {
    fn classes(&self) -> &[Class] {
        &[Class::Face]
    }
    fn detect(&mut self, _: &View<'_>) -> Result<Vec<Detection>> {
        Ok(Vec::new())
    }
}

/// Some of the picture must be left, or the comparison says little.
fn not_hidden_whole(frame: &RedactedFrame) -> Result<(), String> {
    let hidden: u32 = frame.regions().unwrap_or(&[]).iter().map(|r| r.width() * r.height()).sum();
    if hidden < SIZE.0 * SIZE.1 / 2 { Ok(()) } else { Err(format!("{hidden} pixels are hidden")) }
}

fn play(clip: &[Vec<Vec<u8>>]) -> Killed {
    std::fs::write("/tmp/played.nv12", clip.iter().flatten().flatten().copied().collect::<Vec<u8>>())
        .unwrap();
    loop_hdmi(3, 2, "NV12", SIZE);
    let player = Command::new("v4l2-ctl")
        .args(["-d3", "--stream-out-mmap=4", "--stream-from=/tmp/played.nv12", "--stream-loop"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let player = Killed(player.unwrap());
    // Until it plays, vivid shows noise.
    std::thread::sleep(std::time::Duration::from_secs(3));
    player
}

/// Where the face is in frame `n`.
fn face(n: u32) -> PixelRect {
    let step = if n < FRAMES / 2 { n } else { FRAMES - n };
    let (x0, y0) = (200 + 2 * step, 180 + step);
    PixelRect { x0, y0, x1: x0 + FACE.0, y1: y0 + FACE.1 }
}

/// Frame `n`: a texture that differs from frame to frame, the tag, the face.
fn picture(n: u32) -> Vec<Vec<u8>> {
    let face = face(n);
    let inside = |x: u32, y: u32| (face.x0..face.x1).contains(&x) && (face.y0..face.y1).contains(&y);
    let mut luma = Vec::with_capacity((SIZE.0 * SIZE.1) as usize);
    for (x, y) in (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| (x, y))) {
        luma.push(if inside(x, y) { SKIN } else { 32 + ((x * 7 + y * 13 + n * 31) % 120) as u8 });
    }
    write_tag(&mut luma, SIZE.0 as usize, n);
    let chroma = |y: u32, x: u32| [100 + ((x + n) % 50) as u8, 110 + ((y + 3 * n) % 40) as u8];
    let chroma = (0..SIZE.1 / 2).flat_map(|y| (0..SIZE.0 / 2).flat_map(move |x| chroma(y, x))).collect();
    vec![luma, chroma]
}

/// The frame's number; `None` when it cannot be read.
fn number(view: &View<'_>) -> Option<u32> {
    tag(view.row(0, PLAYED_ROW as u32))
}

/// Knows the face's place by the tag, and complains of every picture that was not played.
struct Reader {
    clip: Vec<Vec<Vec<u8>>>,
    seen: Seen,
}

impl Detector for Reader {
    fn classes(&self) -> &[Class] {
        &[Class::Face]
    }

    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        if view.row(0, 0).iter().all(|s| *s == 0) {
            return Ok(Vec::new());
        }
        let Some(n) = number(view).filter(|n| *n < FRAMES) else {
            self.seen.complain("a raw picture without a tag".into());
            return Ok(Vec::new());
        };
        if samples(view) != self.clip[n as usize] {
            self.seen.complain(format!("raw picture {n} differs from what was played"));
        }
        let at = face(n);
        let rect = Rect::from_corners(at.x0 as f32, at.y0 as f32, at.x1 as f32, at.y1 as f32);
        Ok(rect.map(|r| Detection::new(Class::Face, r, 0.9)).into_iter().collect())
    }
}
