//! The pictures that detectors look at: one that is built in, and frames of a clip kept in memory.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use image::imageops::{FilterType, resize};
use milkglass::geometry::PixelAspect;
use milkglass::picture::{ColorMatrix, ColorRange, PixelFormat, ViewMut};
use milkglass::y4m;
use milkglass::{Class, Detection, FrameFormat};
use milkglass_parsers::y4m::{Y4mError, begin_frame};

use crate::clip::{self, Decoder};
use crate::outcome::Failure;
use crate::{clips, lockstep};

/// Frame 64 of examples/people.mp4, in the public domain like the photographs it is made of: boards often have no ffmpeg.
const PEOPLE: &[u8] = include_bytes!("people.jpg");
const SIZE: (u32, u32) = (1280, 720);
/// Its faces, as in examples/people.truth.json: x, y, width, height.
const FACES: [[f32; 4]; 3] = [[405., 503., 30., 31.], [905., 358., 90., 95.], [1108., 377., 131., 130.]];
/// Faces smaller than this at the network's input need not be found.
const SMALLEST: f32 = 14.0;
/// Frames of a clip are kept in so much memory at most.
const MOST_BYTES: usize = 96 << 20;
const MOST_FRAMES: usize = 60;

/// Frames in memory, rows without padding.
#[derive(Clone)]
pub struct Frames {
    pub format: FrameFormat,
    pub fps: f64,
    pictures: Arc<Vec<Vec<u8>>>,
    /// The one picture sways from side to side, so that detection and tracking have work to do.
    sways: bool,
}

impl Frames {
    /// The built-in picture as NV12 of this size.
    pub fn people(size: (u32, u32)) -> Result<Frames, Failure> {
        let picture = image::load_from_memory(PEOPLE).map_err(|e| Failure::new(e.to_string()))?.into_rgb8();
        let picture =
            if size == SIZE { picture } else { resize(&picture, size.0, size.1, FilterType::Triangle) };
        let format = FrameFormat::new(PixelFormat::Nv12, size.0, size.1)?;
        let format = format.with_color(ColorRange::Limited, ColorMatrix::Bt709);
        Ok(Frames { format, fps: 30.0, pictures: Arc::new(vec![nv12(&picture)]), sways: true })
    }

    /// The first frames of a clip (through ffmpeg) or of a Y4M file.
    pub fn read(path: &Path, threads: usize) -> Result<Frames, Failure> {
        let y4m = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("y4m"));
        let frames = if y4m { Self::read_y4m(path) } else { Self::read_clip(path, threads) };
        let frames = frames.map_err(|f| f.about(path))?;
        match frames.pictures.is_empty() {
            true => Err(Failure::damaged("it holds no frame").about(path)),
            false => Ok(frames),
        }
    }

    fn read_y4m(path: &Path) -> Result<Frames, Failure> {
        let file = File::open(path).map_err(|e| Failure::new(e.to_string()))?;
        let mut input = BufReader::with_capacity(1 << 18, file);
        let header = y4m::read_header(&mut input)?;
        let format = y4m::format(&header)?;
        let mut pictures = Vec::new();
        while pictures.len() < most(&format) {
            let broken = |e: Y4mError| Failure::damaged(e.to_string());
            if !begin_frame(&mut input).map_err(broken)? {
                break;
            }
            let mut picture = vec![0; len(&format)];
            input.read_exact(&mut picture).map_err(|e| broken(Y4mError::CutOff(e)))?;
            pictures.push(picture);
        }
        let fps = f64::from(header.frame_rate.0) / f64::from(header.frame_rate.1);
        Ok(Frames { format, fps, pictures: Arc::new(pictures), sways: false })
    }

    fn read_clip(path: &Path, threads: usize) -> Result<Frames, Failure> {
        let tools = clips::tools(threads, false)?;
        let info = clip::probe(&tools, path)?;
        let matrix = info.color_space.as_deref();
        let format = lockstep::clip_format(info.width, info.height, info.full_range, matrix)?;
        let (width, height) = info.sample_aspect_ratio;
        let format = format.with_told_aspects(PixelAspect::new(width, height).as_slice());
        let mut decoder = Decoder::open(&tools, path, &info, &tools.limits)?;
        let mut pictures = Vec::new();
        while pictures.len() < most(&format) && decoder.next_frame()?.is_some() {
            let mut picture = vec![0; len(&format)];
            decoder.read_exact_row(&mut picture)?;
            pictures.push(picture);
        }
        let fps = info.fps().filter(|f| f.is_finite() && *f > 0.0).unwrap_or(30.0);
        Ok(Frames { format, fps, pictures: Arc::new(pictures), sways: false })
    }

    /// Writes frame `n` into a buffer, to and fro without end.
    pub fn write(&self, n: u64, view: &mut ViewMut<'_>) {
        let count = self.pictures.len() as u64;
        let picture = &self.pictures[to_and_fro(n, count - 1) as usize];
        let shift = self.shift(n);
        let mut rest = picture.as_slice();
        for plane in 0..view.format().planes().len() {
            for y in 0..view.format().planes()[plane].height {
                let row = view.row_mut(plane, y);
                let (now, later) = rest.split_at(row.len());
                // A shift of an even number of pixels is as many bytes in the plane of Cb and Cr.
                let (left, right) = row.split_at_mut(shift);
                right.copy_from_slice(&now[..now.len() - shift]);
                left.copy_from_slice(&now[now.len() - shift..]);
                rest = later;
            }
        }
    }

    fn shift(&self, n: u64) -> usize {
        if self.sways { 2 * to_and_fro(n, u64::from(self.format.width()) / 64) as usize } else { 0 }
    }

    /// The middles of the faces in frame `n`, in luma pixels, where they are known.
    pub fn middles(&self, n: u64) -> Vec<(u32, u32)> {
        if !self.sways {
            return Vec::new();
        }
        let (sx, sy) = self.scale();
        let shift = self.shift(n) as f32;
        FACES
            .iter()
            .map(|[x, y, w, h]| (((x + w / 2.) * sx + shift) as u32, ((y + h / 2.) * sy) as u32))
            .collect()
    }

    fn scale(&self) -> (f32, f32) {
        let (w, h) = self.format.size();
        (w as f32 / SIZE.0 as f32, h as f32 / SIZE.1 as f32)
    }

    /// Checks what a detector with an input of `long_side` says about frame 0 of the built-in picture.
    pub fn check(&self, found: &[Detection], class: Class, long_side: u32) -> Result<(), Failure> {
        let (sx, sy) = self.scale();
        let shrunk = long_side as f32 / self.format.width() as f32;
        let sure = || found.iter().filter(|d| d.class == class && !d.tentative);
        for [x, y, w, h] in FACES {
            let (w, h) = (w * sx, h * sy);
            let (cx, cy) = (x * sx + w / 2., y * sy + h / 2.);
            // A person holds the face; a face's box is about as large as the face.
            let hit = sure().any(|d| {
                let r = &d.rect;
                let size = (r.x1() - r.x0()) / w;
                let right_size = class == Class::Person || (0.5..2.0).contains(&size);
                right_size && (r.x0()..r.x1()).contains(&cx) && (r.y0()..r.y1()).contains(&cy)
            });
            let small = w * shrunk < if class == Class::Person { 24.0 } else { SMALLEST };
            if !hit && !small {
                let width = w.round();
                return Err(Failure::new(format!(
                    "the {class} with a face of {width} pixels in the built-in picture was not found: times of a detector \
                     that does not detect mean nothing; `milkglass doctor` checks models and runtime"
                )));
            }
        }
        if sure().count() > 4 * FACES.len() {
            return Err(Failure::new(format!("{} detections in a picture of 3 people", sure().count())));
        }
        Ok(())
    }
}

/// 0, 1 .. most .. 1, 0, 1 ..
fn to_and_fro(n: u64, most: u64) -> u64 {
    match most {
        0 => 0,
        _ => {
            let turn = n % (2 * most);
            turn.min(2 * most - turn)
        }
    }
}

fn len(format: &FrameFormat) -> usize {
    format.planes().iter().map(|p| p.row_bytes() * p.height as usize).sum()
}

fn most(format: &FrameFormat) -> usize {
    (MOST_BYTES / len(format).max(1)).clamp(2, MOST_FRAMES)
}

/// Limited-range BT.709, chroma from the mean of four pixels; even sizes.
fn nv12(picture: &RgbImage) -> Vec<u8> {
    let (w, h) = picture.dimensions();
    let luma = |[r, g, b]: [f32; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let rgb = |x: u32, y: u32| picture.get_pixel(x.min(w - 1), y.min(h - 1)).0.map(f32::from);
    let mut bytes = Vec::with_capacity((w * h * 3 / 2) as usize);
    for y in 0..h {
        bytes.extend((0..w).map(|x| (16.5 + luma(rgb(x, y)) * 219. / 255.) as u8));
    }
    for y in (0..h).step_by(2) {
        for x in (0..w).step_by(2) {
            let four = [rgb(x, y), rgb(x + 1, y), rgb(x, y + 1), rgb(x + 1, y + 1)];
            let mean = |c: usize| four.iter().map(|p| p[c]).sum::<f32>() / 4.;
            let [r, g, b] = [mean(0), mean(1), mean(2)];
            let y = luma([r, g, b]);
            bytes.push((128.5 + (b - y) / 1.8556 * 224. / 255.) as u8);
            bytes.push((128.5 + (r - y) / 1.5748 * 224. / 255.) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use milkglass::geometry::Rect;

    #[test]
    fn a_detector_that_misses_a_face_fails() {
        let people = Frames::people((1920, 1080)).unwrap();
        let face = |[x, y, w, h]: [f32; 4]| {
            let rect = Rect::new(x * 1.5, y * 1.5, w * 1.5, h * 1.5).unwrap();
            Detection::new(Class::Face, rect, 0.9)
        };
        let mut found: Vec<Detection> = FACES.into_iter().map(face).collect();
        people.check(&found, Class::Face, 1920).unwrap();
        let last = found.pop();
        assert!(people.check(&found, Class::Face, 1920).is_err());
        found.extend(last);
        // The smallest one may be missed by a network that sees it with 10 pixels.
        found.remove(0);
        people.check(&found, Class::Face, 416).unwrap();
        assert!(people.check(&found, Class::Face, 1920).is_err());
    }

    #[test]
    fn pictures_go_to_and_fro_without_a_jump() {
        let turns: Vec<u64> = (0..8).map(|n| to_and_fro(n, 3)).collect();
        assert_eq!(turns, [0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(to_and_fro(7, 0), 0);
    }
}
