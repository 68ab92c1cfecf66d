//! Before its first picture an ensemble shows that it sees: each pass by itself must find known persons, down to the size
//! that it promises, clear, dark and faint, and nobody where nobody is.
//!
//! [`Ensemble::load`] asks this, so no road leads around it: pictures, clips, cameras, C, GStreamer, programs in Rust. The
//! manifest decides what a network is shown and how it is read, and nobody signs it; a scale of .1, two channels exchanged or
//! another network's decoder leave every hash of the model as it was. What is looked for is therefore found only by a network
//! that is used as it was meant: small, dark and faint faces are the first that a wrong manifest loses.
//!
//! One attempt, no second one. What was admitted once in a process, with the same manifest, model, runtime and settings, is
//! not asked again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use milkglass_common::hex;
use sha2::{Digest, Sha256};

use super::ensemble::Ensemble;
use super::manifest::Manifest;
use super::{Detection, Detector};
use crate::class::Class;
use crate::draw::Draw;
use crate::error::{Error, ModelError, ModelKind, Result};
use crate::frame::{FrameMeta, FramePool};
use crate::geometry::Rect;
use crate::picture::{FrameFormat, PixelFormat};
use crate::policy::Pass;
use crate::time::Timestamp;

/// A photograph, 120x160 in colour: engine/detect/admission/README.md.
struct Photo {
    bytes: &'static [u8],
    /// The face from brow to chin: left, top, right, lower edge, in pixels of the photograph.
    face: [f32; 4],
}

const PHOTO: (u32, u32) = (120, 160);
const COLLINS: Photo =
    Photo { bytes: include_bytes!("admission/collins.ppm"), face: [38.75, 35.8, 75.8, 74.6] };
const HOPPER: Photo = Photo { bytes: include_bytes!("admission/hopper.ppm"), face: [36.3, 41.3, 83.7, 88.3] };

/// Contrast and brightness of a photograph: value = contrast * value + brightness.
type Tone = (f32, f32);
const CLEAR: Tone = (1.0, 0.0);
const DARK: Tone = (0.25, 10.0);
const FAINT: Tone = (0.3, 100.0);
/// At the ends of what a sensor gives: what a mean or a factor shifts out of a network's reach.
const NIGHT: Tone = (0.15, 5.0);
const BRIGHT: Tone = (0.6, 100.0);
const PALE: Tone = (0.35, 160.0);
/// Darker still: what is taken off such values leaves nothing.
const DEEP: Tone = (0.1, 3.0);

/// Somebody to be found: the photograph, the height of the face or of the whole photograph in units of the smallest that is
/// promised, and how the picture is toned.
type Known = (&'static Photo, f32, Tone);

/// For passes that look for faces of every size: the smallest first. What each network is sure of by a wide margin, when its
/// manifest is right, and loses when it is not, was measured: admission/README.md.
const FACES: [Known; 28] = [
    (&COLLINS, 1.22, CLEAR),
    (&HOPPER, 1.22, CLEAR),
    (&COLLINS, 1.45, CLEAR),
    (&HOPPER, 1.45, CLEAR),
    (&HOPPER, 1.45, DARK),
    (&HOPPER, 1.45, FAINT),
    (&COLLINS, 1.72, FAINT),
    (&HOPPER, 1.72, FAINT),
    (&HOPPER, 1.72, DARK),
    (&COLLINS, 2.3, CLEAR),
    (&HOPPER, 2.3, CLEAR),
    (&COLLINS, 2.3, DARK),
    (&COLLINS, 2.3, FAINT),
    (&HOPPER, 2.3, FAINT),
    (&COLLINS, 4.6, FAINT),
    (&HOPPER, 4.6, FAINT),
    (&HOPPER, 4.6, DARK),
    (&HOPPER, 1.72, NIGHT),
    (&COLLINS, 2.3, NIGHT),
    (&HOPPER, 2.3, DEEP),
    (&COLLINS, 4.6, DEEP),
    (&HOPPER, 4.6, DEEP),
    (&HOPPER, 1.45, BRIGHT),
    (&COLLINS, 1.72, BRIGHT),
    (&COLLINS, 1.72, PALE),
    (&HOPPER, 1.72, PALE),
    (&COLLINS, 7.0, CLEAR),
    (&HOPPER, 7.0, FAINT),
];
/// For passes that leave small faces to others.
const CLOSE: [Known; 8] = [
    (&COLLINS, 1.0, CLEAR),
    (&HOPPER, 1.0, DARK),
    (&HOPPER, 1.0, FAINT),
    (&COLLINS, 1.25, FAINT),
    (&COLLINS, 1.25, DARK),
    (&HOPPER, 1.25, CLEAR),
    (&COLLINS, 1.25, DEEP),
    (&HOPPER, 1.0, NIGHT),
];
const PERSONS: [Known; 15] = [
    (&COLLINS, 1.0, CLEAR),
    (&HOPPER, 1.0, CLEAR),
    (&HOPPER, 1.5, DARK),
    (&COLLINS, 1.5, DARK),
    (&COLLINS, 1.5, CLEAR),
    (&HOPPER, 1.5, CLEAR),
    (&COLLINS, 1.5, FAINT),
    (&HOPPER, 2.0, FAINT),
    (&COLLINS, 3.0, FAINT),
    (&HOPPER, 3.0, DARK),
    (&HOPPER, 3.0, FAINT),
    (&COLLINS, 2.0, DEEP),
    (&HOPPER, 2.0, DEEP),
    (&HOPPER, 2.0, NIGHT),
    (&COLLINS, 3.0, NIGHT),
];

/// The smallest face and the smallest person (head to waist) that is asked for, in pixels of the network's input, unless the
/// manifest says otherwise.
pub(super) const SMALLEST: [(Class, f32); 2] = [(Class::Face, 14.0), (Class::Person, 64.0)];
/// A pass that leaves boxes below `min_box` to others is shown faces so many times as high.
const ABOVE_MIN_BOX: f32 = 1.4;
/// Width and height of the pictures, where a pass does not take smaller or larger ones.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
/// Lower by this, so that no network's step divides the height and the letterbox has a border.
const ODD: u32 = 10;
/// Pictures with somebody in them, at most. With the empty one no more than four looks.
const SHEETS: usize = 3;
/// So much of somebody must be hidden by one box, grown as every policy grows it at least.
const COVERED: f32 = 0.9;
const GROWN: f32 = 1.16;
/// That box is not larger than so many times what it must hide: a box around everything finds nobody.
const LOOSEST: f32 = 4.0;
/// The edges of the network's boxes lie on average no further inside what must be hidden, in shares of its size: sides, upper
/// and lower edge. A manifest's calibration moves them.
const INSIDE: [(Class, [f32; 3]); 2] =
    [(Class::Face, [0.035, 0.0, 0.02]), (Class::Person, [0.05, 0.09, 0.05])];
/// Of the empty picture so much may be hidden.
const EMPTY: f32 = 0.02;
/// A policy may ask for higher scores (`min_score`); then it sees less, as its owner wants. The network is asked at these.
const HIGHEST_SCORE: f32 = 0.25;
/// Of somebody known a network is so many times as sure as it has to be of anybody. The least that the right YuNet gave was twice
/// its threshold.
const SURE: f32 = 1.3;

/// What was admitted in this process: hashes of manifest, model, runtime and pass.
static ADMITTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Admits each pass of an ensemble. `runtime` says what runs the networks.
///
/// # Errors
/// [`Error::Model`] that names the first pass that does not see what it should.
pub(super) fn admit(ensemble: &mut Ensemble, runtime: &str) -> Result<()> {
    for at in 0..ensemble.passes() {
        let (manifest, pass) = ensemble.pass(at);
        let key = format!("{}|{}|{runtime}|{pass:?}", manifest.canonical_sha256(), manifest.sha256);
        let key = hex(Sha256::digest(key.as_bytes()));
        if ADMITTED.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            continue;
        }
        let (name, shown) = (manifest.name.clone(), manifest.canonical_sha256());
        let begun = Instant::now();
        let sheets = Sheet::all(pass, manifest, &mut Draw::from_kernel()?);
        ensemble.alone(at, HIGHEST_SCORE, |one| examine(one, &sheets)).map_err(|fault| {
            // A runtime's reasons have lines.
            let fault = fault.split_whitespace().collect::<Vec<_>>().join(" ");
            let why = format!(
                "the model {name} was not admitted, so nothing was looked at: {fault}; its manifest (SHA-256 {shown}), its file \
                 and the runtime do not belong together: restore them, and run `milkglass doctor`"
            );
            ModelError::new(ModelKind::NotAdmitted, why).about(&name)
        })?;
        log::debug!("the model {name} found everybody known to it in {} ms", begun.elapsed().as_millis());
        ADMITTED.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }
    Ok(())
}

/// Shows one pass everything.
fn examine(detector: &mut Ensemble, sheets: &[Sheet]) -> Result<(), String> {
    if sheets.iter().all(|sheet| sheet.placed.is_empty()) {
        return Err("its input is too small for anybody known that it must find".into());
    }
    let mut edges = Edges::default();
    let mut class = Class::Face;
    for sheet in sheets {
        let found = sheet.show(detector).map_err(|e| e.to_string())?;
        sheet.judge(&found, &mut edges)?;
        class = sheet.class;
    }
    edges.judge(class)
}

/// How far boxes reach beyond what they must hide: sums over all that is large enough to tell.
#[derive(Default)]
struct Edges {
    sums: [f32; 3],
    count: f32,
}

impl Edges {
    fn add(&mut self, found: &Rect, wanted: &Rect) {
        let (w, h) = (wanted.width(), wanted.height());
        let sides = (wanted.x0() - found.x0() + found.x1() - wanted.x1()) / 2.0;
        let beyond = [sides / w, (wanted.y0() - found.y0()) / h, (found.y1() - wanted.y1()) / h];
        self.sums.iter_mut().zip(beyond).for_each(|(sum, beyond)| *sum += beyond);
        self.count += 1.0;
    }

    fn means(&self) -> [f32; 3] {
        self.sums.map(|sum| sum / self.count.max(1.0))
    }

    fn judge(&self, class: Class) -> Result<(), String> {
        let least = INSIDE.iter().find(|(of, _)| *of == class).map_or([0.0; 3], |(_, least)| *least);
        let names = ["sides", "upper edges", "lower edges"];
        let short = self.means().into_iter().zip(least).zip(names).find(|((mean, least), _)| *mean < -least);
        match short {
            Some((_, name)) => Err(format!("the {name} of its boxes lie inside the known {class}s")),
            None => Ok(()),
        }
    }
}

/// One picture to be shown: who is where in it.
struct Sheet {
    class: Class,
    format: FrameFormat,
    placed: Vec<Placed>,
    /// The least score for each.
    least: f32,
    shade: f32,
    slope: (f32, f32),
}

/// Somebody in the picture.
struct Placed {
    photo: &'static Photo,
    tone: Tone,
    mirrored: bool,
    /// Pixels of the picture for one of the photograph.
    scale: f32,
    /// Where the photograph's upper left corner lies, seldom within the picture's own part of it.
    origin: (f32, f32),
    /// The part of the picture that the photograph fills: left, top, right, lower edge.
    cell: [u32; 4],
    /// What must be hidden.
    wanted: Rect,
    size: f32,
}

impl Sheet {
    /// The pictures for a pass, drawn anew: places, sides and shades are random, so that no fixed answer passes. The last one
    /// is empty.
    fn all(pass: &Pass, manifest: &Manifest, draw: &mut Draw) -> Vec<Sheet> {
        let (w, h) = size(pass);
        let Ok(format) = FrameFormat::new(PixelFormat::Rgb24, w, h) else { return Vec::new() };
        let mut sheet = || Sheet {
            class: pass.class,
            format,
            placed: Vec::new(),
            least: SURE * pass.score.min(HIGHEST_SCORE),
            shade: draw.between(95.0, 135.0),
            slope: (draw.between(-30.0, 30.0), draw.between(-20.0, 20.0)),
        };
        let mut sheets: Vec<Sheet> = (0..=SHEETS).map(|_| sheet()).collect();
        let smallest = manifest.smallest(pass.class);
        let (known, unit): (&[Known], f32) = match pass.class {
            Class::Face if pass.min_box > 0.0 => (&CLOSE, (pass.min_box * ABOVE_MIN_BOX).max(smallest)),
            Class::Face => (&FACES, smallest),
            Class::Person => (&PERSONS, smallest),
        };
        // The largest first: layouts of one height. What finds no room in the last picture is left out.
        let mut order: Vec<&Known> = known.iter().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut layouts: Vec<Layout> = (0..SHEETS).map(|_| Layout::default()).collect();
        for (photo, times, tone) in order {
            let mirrored = draw.between(0.0, 1.0) < 0.5;
            let slack = (draw.between(0.0, 4.0), draw.between(0.0, 4.0));
            let height = times * unit * draw.between(0.99, 1.03);
            let Some(placed) = Placed::new(photo, *tone, mirrored, height, pass.class) else { continue };
            let (cw, ch) = placed.needs();
            // In a small picture the large ones would leave no room for those that tell more.
            if pass.class == Class::Face && pass.min_box == 0.0 && ch > h / 2 {
                continue;
            }
            // What is dark has a picture of its own: beside lighter ones a network makes more of it.
            let dark = tone.1 < FAINT.1 && tone.0 < CLEAR.0;
            let own = if dark { SHEETS - 1..SHEETS } else { 0..SHEETS - 1 };
            let place = layouts
                .iter_mut()
                .enumerate()
                .filter(|(n, _)| own.contains(n))
                .find_map(|(n, shelf)| Some((n, shelf.place((cw, ch), (w, h))?)));
            if let Some((n, (x, y))) = place {
                sheets[n].placed.push(placed.at(x + slack.0 as u32, y + slack.1 as u32));
            }
        }
        sheets.retain({
            let mut n = 0;
            move |sheet| {
                n += 1;
                !sheet.placed.is_empty() || n > SHEETS
            }
        });
        sheets
    }

    fn show(&self, detector: &mut Ensemble) -> Result<Vec<Detection>> {
        let pool = FramePool::new(self.format, 1);
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        let pixels = self.pixels();
        let frame = pool.fill(meta, |view| {
            view.copy_plane(0, &pixels, 3 * self.format.width() as usize);
            Ok(())
        })?;
        let frame = frame.ok_or(Error::PoolTooSmall { count: pool.count(), needed: 1 })?;
        detector.detect(&frame.lend(std::sync::Arc::default()).view())
    }

    fn judge(&self, found: &[Detection], edges: &mut Edges) -> Result<(), String> {
        let sure: Vec<&Detection> = found.iter().filter(|d| d.class == self.class && !d.tentative).collect();
        if self.placed.is_empty() {
            let area: f32 = sure.iter().map(|d| hidden(d)).map(|r| r.width() * r.height()).sum();
            let whole = (self.format.width() * self.format.height()) as f32;
            return match area <= EMPTY * whole {
                true => Ok(()),
                false => Err(format!("it finds a {} in a picture of nobody", self.class)),
            };
        }
        for known in &self.placed {
            let best = sure
                .iter()
                .filter(|d| d.score >= self.least && known.fits(d))
                .max_by(|a, b| known.wanted.iou(&a.rect).total_cmp(&known.wanted.iou(&b.rect)));
            match best {
                Some(best) if known.size >= 20.0 => edges.add(&best.rect, &known.wanted),
                Some(_) => {}
                None => {
                    return Err(format!(
                        "a known {} of {:.0} pixels at the network's input was not found, or not where it is",
                        self.class, known.size
                    ));
                }
            }
        }
        Ok(())
    }

    /// Rows of red, green and blue.
    fn pixels(&self) -> Vec<u8> {
        let (w, h) = self.format.size();
        let mut pixels = Vec::with_capacity(3 * (w * h) as usize);
        for y in 0..h {
            for x in 0..w {
                let across = self.slope.0 * (x as f32 / w as f32 - 0.5);
                let down = self.slope.1 * (y as f32 / h as f32 - 0.5);
                pixels.extend([(self.shade + across + down) as u8; 3]);
            }
        }
        for known in &self.placed {
            known.draw(&mut pixels, w);
        }
        pixels
    }
}

/// Width and height of the pictures for a pass: as the network's input, so that sizes mean the same in both. With tiles two
/// of them.
fn size(pass: &Pass) -> (u32, u32) {
    let (least, most) = pass.long_side;
    match pass.tile {
        Some((w, h)) => ((w + w / 4).clamp(least, most), h.min(HEIGHT) - ODD),
        None => (WIDTH.clamp(least, most), WIDTH.clamp(least, most).min(HEIGHT) - ODD),
    }
}

/// What a policy hides of a detection at least.
fn hidden(d: &Detection) -> Rect {
    d.rect.grown(GROWN, d.slack)
}

impl Placed {
    /// Somebody whose face (or who as a whole) is `height` pixels high; not in a place yet.
    fn new(photo: &'static Photo, tone: Tone, mirrored: bool, height: f32, class: Class) -> Option<Placed> {
        let [x0, y0, x1, y1] = photo.face;
        let (x0, x1) = if mirrored { (PHOTO.0 as f32 - x1, PHOTO.0 as f32 - x0) } else { (x0, x1) };
        let (scale, part, wanted) = match class {
            Class::Face => {
                // Head and shoulders.
                let (tall, cx, cy) = (y1 - y0, (x0 + x1) / 2.0, (y0 + y1) / 2.0);
                let part = [
                    (cx - tall).max(0.0),
                    (cy - tall).max(0.0),
                    (cx + tall).min(PHOTO.0 as f32),
                    (cy + 1.2 * tall).min(PHOTO.1 as f32),
                ];
                (height / tall, part, [x0, y0, x1, y1])
            }
            Class::Person => {
                let whole = [0.0, 0.0, PHOTO.0 as f32, PHOTO.1 as f32];
                (height / PHOTO.1 as f32, whole, whole)
            }
        };
        let size = (((part[2] - part[0]) * scale) as u32, ((part[3] - part[1]) * scale) as u32);
        let origin = (-part[0] * scale, -part[1] * scale);
        let at = |x: f32, y: f32| (origin.0 + x * scale, origin.1 + y * scale);
        let ((wx0, wy0), (wx1, wy1)) = (at(wanted[0], wanted[1]), at(wanted[2], wanted[3]));
        let wanted = Rect::from_corners(wx0, wy0, wx1, wy1)?;
        Some(Placed {
            photo,
            tone,
            mirrored,
            scale,
            origin,
            cell: [0, 0, size.0, size.1],
            wanted,
            size: height,
        })
    }

    /// Room for it, with what it may be moved by.
    fn needs(&self) -> (u32, u32) {
        (self.cell[2] + 8, self.cell[3] + 8)
    }

    fn at(mut self, x: u32, y: u32) -> Placed {
        self.cell = [x, y, self.cell[2] + x, self.cell[3] + y];
        self.origin = (self.origin.0 + x as f32, self.origin.1 + y as f32);
        let w = &self.wanted;
        let (dx, dy) = (x as f32, y as f32);
        if let Some(moved) = Rect::new(w.x0() + dx, w.y0() + dy, w.width(), w.height()) {
            self.wanted = moved;
        }
        self
    }

    /// Whether a detection hides it, and little else.
    fn fits(&self, d: &Detection) -> bool {
        let (r, w) = (hidden(d), &self.wanted);
        let across = (r.x1().min(w.x1()) - r.x0().max(w.x0())).max(0.0);
        let down = (r.y1().min(w.y1()) - r.y0().max(w.y0())).max(0.0);
        let room = (w.width() + 2.0 * d.slack) * (w.height() + 2.0 * d.slack);
        across * down >= COVERED * w.width() * w.height() && r.width() * r.height() <= LOOSEST * room
    }

    fn draw(&self, pixels: &mut [u8], width: u32) {
        let [x0, y0, x1, y1] = self.cell;
        // So many samples on each side of a pixel that none of the photograph is passed over.
        let fine = (1.0 / self.scale).ceil().clamp(1.0, 16.0) as u32;
        for y in y0..y1 {
            for x in x0..x1 {
                let mut sum = [0.0_f32; 3];
                for i in 0..fine * fine {
                    let step = |n: u32| (n as f32 + 0.5) / fine as f32;
                    let u = (x as f32 + step(i % fine) - self.origin.0) / self.scale;
                    let v = (y as f32 + step(i / fine) - self.origin.1) / self.scale;
                    let u = if self.mirrored { PHOTO.0 as f32 - u } else { u };
                    let one = self.photo.at(u, v);
                    sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
                }
                let at = 3 * (y * width + x) as usize;
                let (contrast, brightness) = self.tone;
                for (to, sum) in pixels[at..at + 3].iter_mut().zip(sum) {
                    *to = (contrast * sum / (fine * fine) as f32 + brightness).clamp(0.0, 255.0) as u8;
                }
            }
        }
    }
}

impl Photo {
    /// Red, green and blue at a place in pixels, between its samples.
    fn at(&self, u: f32, v: f32) -> [f32; 3] {
        let pixels = &self.bytes[self.bytes.len() - 3 * (PHOTO.0 * PHOTO.1) as usize..];
        let (x, y) = (u - 0.5, v - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let one = |x: f32, y: f32, c: usize| {
            let x = x.clamp(0.0, PHOTO.0 as f32 - 1.0) as usize;
            let y = y.clamp(0.0, PHOTO.1 as f32 - 1.0) as usize;
            f32::from(pixels[3 * (y * PHOTO.0 as usize + x) + c])
        };
        let between = |a: f32, b: f32, t: f32| a + (b - a) * t;
        std::array::from_fn(|c| {
            let row = |y: f32| between(one(left, y, c), one(left + 1.0, y, c), x - left);
            between(row(top), row(top + 1.0), y - top)
        })
    }
}

/// Where the next one goes in a picture: from left to right, shelf below shelf.
#[derive(Default)]
struct Layout {
    x: u32,
    y: u32,
    height: u32,
}

impl Layout {
    fn place(&mut self, (w, h): (u32, u32), (width, height): (u32, u32)) -> Option<(u32, u32)> {
        if self.x + w > width && w <= width {
            (self.x, self.y, self.height) = (0, self.y + self.height, 0);
        }
        if w > width || self.y + h.max(self.height) > height {
            return None;
        }
        let at = (self.x, self.y);
        self.x += w;
        self.height = self.height.max(h);
        Some(at)
    }
}

#[cfg(test)]
mod tests;
