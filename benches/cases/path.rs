//! All that the engine does to a frame beside looking at it: copied in, pushed, observed, covered, released.

use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool, Outcome, RedactedFrame};
use milkglass::geometry::Rect;
use milkglass::picture::PixelFormat;
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::time::Timestamp;
use milkglass::{Class, Detection, Error, FrameFormat, Policy, Result};

use super::{Case, InstructionSet};

const SIZE: (u32, u32) = (1920, 1080);
/// Left, top and side of each face.
const FACES: [(f32, f32, f32); 5] =
    [(300., 300., 200.), (700., 350., 160.), (1000., 500., 120.), (1300., 400., 100.), (1500., 700., 60.)];
/// Corners of the zones, as shares of the picture.
const ZONES: [[(f64, f64); 3]; 2] =
    [[(0.0, 0.0), (0.2, 0.0), (0.1, 0.3)], [(0.8, 0.7), (1.0, 0.6), (1.0, 1.0)]];
/// No sample of the synthetic picture has the luma of what is hidden.
const DARKEST: u8 = 40;
const HIDDEN: u8 = 16;
const TICK: u64 = 33_000_000;

/// One case: regions are drawn with the set that the program has chosen, so other sets have none.
pub(super) fn cases(set: InstructionSet) -> Vec<Case> {
    if set != InstructionSet::chosen() {
        return Vec::new();
    }
    case().into_iter().collect()
}

fn case() -> Result<Case> {
    let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1)?;
    let pixels = u64::from(SIZE.0) * u64::from(SIZE.1);
    let bytes = pixels * 3 / 2;
    let (mut timed, mut checked) = (Path::new(format)?, Path::new(format)?);
    Ok(Case::new(
        "path/engine-nv12-1920x1080-5-faces-2-zones",
        (pixels, bytes, bytes),
        move || drop(timed.frame()),
        move || check(&checked.frame().map_err(|e| e.to_string())?),
    ))
}

struct Path {
    engine: Engine,
    pool: FramePool,
    /// What the camera delivers: rows without padding.
    picture: Vec<u8>,
    detections: Vec<Detection>,
    next: u64,
}

impl Path {
    fn new(format: FrameFormat) -> Result<Path> {
        let mut policy = Policy::builder().hide(Class::Face, Style::default());
        for (name, area) in ["left", "right"].into_iter().zip(ZONES) {
            let area = Polygon::new(area)?;
            policy = policy.zone(Zone::new(name, area, Style::default())?);
        }
        let pool = FramePool::new(format, 4);
        let engine = Engine::new(policy.build()?, pool.clone(), &[Class::Face])?;
        let len: usize = format.planes().iter().map(|p| p.row_bytes() * p.height as usize).sum();
        let picture = (0..len).map(|n| DARKEST + (n * 7 % 200) as u8).collect();
        let face = |&(x, y, side): &(f32, f32, f32)| {
            Rect::new(x, y, side, side).map(|rect| Detection::new(Class::Face, rect, 0.9))
        };
        Ok(Path { engine, pool, picture, detections: FACES.iter().filter_map(face).collect(), next: 0 })
    }

    fn frame(&mut self) -> Result<RedactedFrame> {
        let wrong = |what: &str| Error::other(format!("the benchmark of the path: {what}"));
        self.next += 1;
        let now = Timestamp::from_nanos(self.next * TICK);
        let picture = &self.picture;
        let filled = self.pool.fill(FrameMeta { sequence: self.next, captured: now }, |view| {
            let mut rest = picture.as_slice();
            for plane in 0..view.format().planes().len() {
                let layout = view.format().planes()[plane];
                let (now, later) = rest.split_at(layout.row_bytes() * layout.height as usize);
                view.copy_plane(plane, now, layout.row_bytes());
                rest = later;
            }
            Ok(())
        })?;
        self.engine.push(filled.ok_or_else(|| wrong("no buffer is free"))?, now)?;
        let job = self.engine.next_job().ok_or_else(|| wrong("no job"))?;
        self.engine.observe(job, Ok(self.detections.clone()));
        self.engine.release(now).ok_or_else(|| wrong("no frame left"))
    }
}

/// It left covered, faces and zones are filled, and the rest is as it was.
fn check(frame: &RedactedFrame) -> std::result::Result<(), String> {
    if frame.outcome() != Outcome::Covered {
        return Err("the frame did not leave covered".into());
    }
    let view = frame.view();
    let luma = |x: f32, y: f32| view.row(0, y as u32)[x as usize];
    for (x, y, side) in FACES {
        for (dx, dy) in [(0.0, 0.0), (0.99, 0.0), (0.5, 0.5), (0.0, 0.99), (0.99, 0.99)] {
            if luma(x + dx * side, y + dy * side) != HIDDEN {
                return Err(format!("the face of {side} pixels is not hidden"));
            }
        }
    }
    let (w, h) = (SIZE.0 as f32, SIZE.1 as f32);
    if luma(0.1 * w, 0.1 * h) != HIDDEN || luma(0.95 * w, 0.75 * h) != HIDDEN {
        return Err("a zone is not hidden".into());
    }
    let open = |x: f32, y: f32| luma(x * w, y * h) >= DARKEST;
    if !open(0.5, 0.1) || !open(0.1, 0.9) || !open(0.6, 0.9) {
        return Err("something is hidden that should not be".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_hides_faces_and_zones_and_keeps_the_rest() {
        let mut case = case().unwrap();
        case.check().unwrap();
        (0..10).for_each(|_| case.run());
        case.check().unwrap();
    }

    #[test]
    fn a_face_that_is_not_hidden_is_noticed() {
        let mut path = Path::new(FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1).unwrap()).unwrap();
        path.detections.pop();
        assert!(check(&path.frame().unwrap()).is_err());
    }
}
