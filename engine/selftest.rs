//! Whether the detector still finds people: a known person, drawn into a picture of the camera's format, must come out
//! covered, and the same picture without her must not.
//!
//! Place, size, side and brightness are drawn anew each time, so that no fixed answer passes. A detector that always says the
//! same fails whatever it says: what it hides of the person it also hides where nobody is. Pool and engine belong to the test
//! alone: nothing of it reaches a sink. It says that the detector is alive, not how good it is.

use std::fmt;
use std::time::{Duration, Instant};

use crate::class::Class;
use crate::detect::{Detection, Detector, Proof};
use crate::draw::{Draw, from_kernel};
use crate::engine::Engine;
use crate::error::{Error, ModelError, ModelKind, Result};
use crate::frame::{FrameMeta, FramePool, RedactedFrame};
use crate::geometry::{PixelRect, Rect};
use crate::picture::{FrameFormat, PixelFormat, View, ViewMut};
use crate::policy::{Color, Policy, Style};
use crate::redact::Outcome;
use crate::time::Timestamp;

/// The person: engine/selftest/README.md.
const PERSON: &[u8] = include_bytes!("selftest/person.pgm");
const PERSON_SIZE: (u32, u32) = (120, 160);
/// Her face, and what of her any detector of persons covers: shares of the picture.
const FACE: [f32; 4] = [39.0 / 120.0, 36.0 / 160.0, 76.0 / 120.0, 75.0 / 160.0];
const BODY: [f32; 4] = [0.2, 0.2, 0.8, 0.95];
/// Her height, in shares of the picture's shorter side.
const HEIGHT: (f32, f32) = (0.5, 0.95);
/// So much of the face, or of the body, must be hidden.
const COVERED: f32 = 0.9;
/// So much of it may be hidden where nobody is, and so much of the whole picture.
const SAME_PLACE: f32 = 0.5;
const EMPTY: f32 = 0.2;
/// Smaller pictures (shorter side, in square pixels) have no room for a face that can be found: the test shows larger ones
/// then.
const LEAST_SIDE: f64 = 96.0;
/// A network sees a picture shrunk to its longer side, and whoever fills the height of a strip becomes as small as if far
/// away. So the test shows a part of a strip, at most so many times as long as it is wide.
const MOST_TIMES: f64 = 3.0;
/// Her height, for a face of one pixel.
const HEIGHT_OF_FACE: f32 = 1.0 / (FACE[3] - FACE[1]);
/// How many times the smallest face is as high in the first pictures of [`admit`].
const FACES: [f32; 2] = [1.0, 1.6];
/// Time to the next attempt after one that failed.
const RETRY: Duration = Duration::from_secs(1);
/// The picture is never darker than `DARKEST`; black, which hides, never lighter than `BLACKEST`.
const DARKEST: f32 = 40.0;
const BLACKEST: u8 = 30;

/// Why a self-test failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The known one did not come out covered.
    Unseen(Class),
    /// Something was hidden where nobody is.
    Blotted(Class),
    /// The detector, or something else, failed.
    Failed(Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unseen(class) => write!(f, "a known {class} did not come out covered"),
            Fault::Blotted(class) => {
                write!(f, "a picture without anybody came out covered, as if a {class} were there")
            }
            Fault::Failed(e) => write!(f, "{e}"),
        }
    }
}

/// Runs the test on a detector, one picture at a time, so that frames wait for one more detection at the most.
pub(crate) struct SelfTest {
    format: FrameFormat,
    /// Time between tests, and what must be found, with the growth of its boxes. `None`: switched off.
    plan: Option<(Duration, Vec<(Class, f32)>)>,
    /// Whether the detectors could find her at all ([`Proof::Impossible`]).
    possible: bool,
    /// Seed of everything random, for tests; else from the kernel.
    seed: Option<u64>,
    /// The picture with the person, which was passed; the same without her is next.
    half: Option<Scene>,
    due: Instant,
}

impl SelfTest {
    /// As the policy says; the first one is due at once. Where the camera's pictures are too small for it, or strips, it shows
    /// enlarged ones, or a part.
    pub fn new(policy: &Policy, format: FrameFormat, seed: Option<u64>) -> SelfTest {
        let format = with_room(&format, LEAST_SIDE);
        let mut test = SelfTest { format, plan: None, possible: true, seed, half: None, due: Instant::now() };
        test.follow(policy);
        test
    }

    /// Goes on as another policy says.
    pub fn follow(&mut self, policy: &Policy) {
        let classes = classes(policy);
        let plan = policy
            .self_test()
            .filter(|_| self.possible && !classes.is_empty())
            .map(|period| (period, classes));
        if self.plan != plan {
            (self.plan, self.half, self.due) = (plan, None, Instant::now());
        }
    }

    /// Switches it off for good: the detectors cannot find known persons.
    pub fn give_up(&mut self) {
        (self.possible, self.plan, self.half) = (false, None, None);
    }

    /// Whether there is anything to test.
    pub fn is_on(&self) -> bool {
        self.plan.is_some()
    }

    /// Time until the next picture is due; `None` when it is off.
    pub fn wait(&self) -> Option<Duration> {
        self.is_on().then(|| self.due.saturating_duration_since(Instant::now()))
    }

    /// Another detector is in use: it is tested at once.
    pub fn begin(&mut self) {
        (self.half, self.due) = (None, Instant::now());
    }

    /// Shows the detector one picture. The verdict comes with the second one, or with the first that fails.
    pub fn step(&mut self, detector: &mut dyn Detector) -> Option<Result<(), Fault>> {
        let (period, classes) = self.plan.clone()?;
        let (scene, first) = match self.half.take() {
            Some(scene) => (scene.without_person(), false),
            None => match self.random() {
                Ok(seed) => (Scene::new(&self.format, seed), true),
                Err(e) => return Some(self.fail(period, Fault::Failed(e))),
            },
        };
        match show(&scene, &self.format, &classes, detector) {
            Err(fault) => Some(self.fail(period, fault)),
            Ok(()) if first => {
                self.half = Some(scene);
                None
            }
            Ok(()) => {
                self.due = Instant::now() + period;
                Some(Ok(()))
            }
        }
    }

    /// The whole test.
    pub fn run(&mut self, detector: &mut dyn Detector) -> Result<(), Fault> {
        self.begin();
        while self.is_on() {
            if let Some(verdict) = self.step(detector) {
                return verdict;
            }
        }
        Ok(())
    }

    fn fail(&mut self, period: Duration, fault: Fault) -> Result<(), Fault> {
        self.due = Instant::now() + RETRY.min(period);
        Err(fault)
    }

    fn random(&mut self) -> Result<u64> {
        if let Some(seed) = &mut self.seed {
            *seed += 1;
            return Ok(*seed);
        }
        from_kernel()
    }
}

/// Has every detector that wants it find known persons before the first picture, in pictures of `format`: faces as small as
/// it promises, larger ones, and nobody where nobody is. One attempt. True if one of them is untested, which is also logged.
/// [`Pipeline`](crate::Pipeline) does so by itself; whoever drives a [`LockStep`](crate::lockstep::LockStep) or an
/// [`Engine`] does it first.
///
/// # Errors
/// [`Error::Model`]: one does not find them, or fails.
pub fn admit(detectors: &mut [Box<dyn Detector>], policy: &Policy, format: &FrameFormat) -> Result<bool> {
    let classes = classes(policy);
    let mut untested = false;
    for detector in detectors.iter_mut().filter(|_| !classes.is_empty()) {
        match detector.proof() {
            Proof::Given => {}
            Proof::Untested | Proof::Impossible => untested = true,
            Proof::Wanted { smallest_face } => {
                prove(detector.as_mut(), format, &classes, smallest_face).map_err(|fault| {
                    let why = format!(
                        "the detector was not admitted, so nothing was looked at: {fault}, with faces down to {smallest_face} \
                         pixels; mend it, promise larger faces, or declare it untested"
                    );
                    ModelError::new(ModelKind::NotAdmitted, why)
                })?;
            }
        }
    }
    if untested {
        log::warn!(
            "a detector is untested: no known person, or none as small as presets promise, was shown to it"
        );
    }
    Ok(untested)
}

fn prove(
    detector: &mut dyn Detector,
    format: &FrameFormat,
    classes: &[(Class, f32)],
    smallest: u32,
) -> Result<(), Fault> {
    // Where the picture has no room for the whole of her with the smallest face that is promised, an enlarged one has.
    let wanted = f64::from(FACES[0] * smallest as f32 * HEIGHT_OF_FACE / HEIGHT.1);
    let format = &with_room(format, wanted.max(LEAST_SIDE));
    let (width, height) = square_size(format);
    let most = HEIGHT.1 * width.min(height) as f32;
    let heights = FACES.map(|times| Some((times * smallest as f32 * HEIGHT_OF_FACE).min(most)));
    for height in heights.into_iter().chain([None]) {
        let seed = from_kernel().map_err(Fault::Failed)?;
        let scene = match height {
            Some(height) => Scene::of_height(format, Draw(seed), height),
            None => Scene::new(format, seed),
        };
        show(&scene, format, classes, detector)?;
        show(&scene.without_person(), format, classes, detector)?;
    }
    Ok(())
}

/// What a policy hides, with the growth of its boxes.
fn classes(policy: &Policy) -> Vec<(Class, f32)> {
    policy.classes().filter_map(|class| Some((class, policy.rule(class)?.grow))).collect()
}

/// Width and height of a format's pictures, as stored, in square pixels.
fn square_size(format: &FrameFormat) -> (f64, f64) {
    let squares = format.pixel_aspect().squares();
    (f64::from(format.width()) * squares.0, f64::from(format.height()) * squares.1)
}

/// The same format in a size whose shorter side has at least `side` square pixels, and whose longer side is at most
/// [`MOST_TIMES`] as long.
fn with_room(format: &FrameFormat, side: f64) -> FrameFormat {
    let (width, height) = square_size(format);
    let short = width.min(height);
    let times = (side / short).ceil().max(1.0);
    if times <= 1.0 && width.max(height) <= MOST_TIMES * short {
        return *format;
    }
    let most = MOST_TIMES * short;
    let stored = |n: u32, squares: f64| ((f64::from(n).min((most / squares).ceil())) * times) as u32;
    let squares = format.pixel_aspect().squares();
    let (width, height) = (stored(format.width(), squares.0), stored(format.height(), squares.1));
    FrameFormat::new(format.pixel(), width, height).map_or(*format, |larger| {
        larger
            .with_color(format.range(), format.matrix())
            .with_orientation(format.orientation())
            .with_possible_aspects(format.pixel_aspects())
    })
}

/// Runs one picture through the detector, and what it finds through an engine for each class; looks at what comes out.
fn show(
    scene: &Scene,
    format: &FrameFormat,
    classes: &[(Class, f32)],
    detector: &mut dyn Detector,
) -> Result<(), Fault> {
    let mut found: Option<Vec<Detection>> = None;
    for &(class, grow) in classes {
        let frame = redacted(scene, format, class, grow, &mut found, detector).map_err(Fault::Failed)?;
        let hidden = |area: PixelRect| hidden(frame.view(), area);
        let area = scene.area(class);
        let share = hidden(area);
        if scene.person {
            if frame.outcome() != Outcome::Covered || share < COVERED {
                return Err(Fault::Unseen(class));
            }
        } else if frame.outcome() != Outcome::Covered
            || share > SAME_PLACE
            || hidden(PixelRect::whole(format.width(), format.height())) > EMPTY
        {
            return Err(Fault::Blotted(class));
        }
    }
    Ok(())
}

/// The scene as an engine that hides one class lets it out.
fn redacted(
    scene: &Scene,
    format: &FrameFormat,
    class: Class,
    grow: f32,
    found: &mut Option<Vec<Detection>>,
    detector: &mut dyn Detector,
) -> Result<RedactedFrame> {
    // Memory for two frames, as long as it takes.
    let pool = FramePool::new(*format, 2);
    let policy = Policy::builder().hide_grown(class, Style::Fill(Color::BLACK), grow).build()?;
    let mut engine = Engine::new(policy, pool.clone(), &[class])?;
    let missing = || Error::other("the self-test's engine lost its picture");
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    let frame = pool.fill(meta, |view| {
        scene.draw(view);
        Ok(())
    })?;
    engine.push(frame.ok_or_else(missing)?, Timestamp::ZERO)?;
    let job = engine.next_job().ok_or_else(missing)?;
    let all = match found {
        Some(all) => all.clone(),
        None => found.insert(detector.detect(&job.view()).map_err(Error::of_detector)?).clone(),
    };
    engine.observe(job, Ok(all));
    engine.finish();
    engine.release(Timestamp::ZERO).ok_or_else(missing)
}

/// The share of an area that is hidden.
fn hidden(view: View<'_>, area: PixelRect) -> f32 {
    let (first, step) = luma(view.format().pixel());
    let rows = area.y0..area.y1;
    let count: usize = rows
        .map(|y| {
            let row = view.row(0, y)[first..].iter().step_by(step);
            row.skip(area.x0 as usize).take(area.width() as usize).filter(|v| **v < BLACKEST).count()
        })
        .sum();
    count as f32 / (area.width() * area.height()).max(1) as f32
}

/// Where the first luma sample of a row lies, and how far apart they are.
fn luma(pixel: PixelFormat) -> (usize, usize) {
    match pixel {
        PixelFormat::Nv12 | PixelFormat::I420 => (0, 1),
        PixelFormat::Yuyv => (0, 2),
        PixelFormat::Rgb24 => (0, 3),
    }
}

/// A grey picture: soft shades, and the person somewhere in it.
#[derive(Clone, Debug)]
struct Scene {
    format: FrameFormat,
    person: bool,
    /// Where she is in the upright picture: left, top, width, height.
    place: [f32; 4],
    mirrored: bool,
    contrast: f32,
    shade: f32,
    /// How much lighter it gets to the right and downward, over the whole picture.
    slope: (f32, f32),
}

/// Width and height of an upright pixel of this format, in square pixels.
fn upright_squares(format: &FrameFormat) -> (f32, f32) {
    let squares = format.upright_squares(format.pixel_aspect());
    (squares.0 as f32, squares.1 as f32)
}

impl Scene {
    fn new(format: &FrameFormat, seed: u64) -> Scene {
        let mut random = Draw(seed);
        let (width, height) = format.upright_size();
        let squares = upright_squares(format);
        let side = (width as f32 * squares.0).min(height as f32 * squares.1);
        let tall = side * random.between(HEIGHT.0, HEIGHT.1);
        Scene::of_height(format, random, tall)
    }

    /// With somebody as high as `tall` square pixels.
    fn of_height(format: &FrameFormat, mut random: Draw, tall: f32) -> Scene {
        let mut draw = |from: f32, to: f32| random.between(from, to);
        let (width, height) = format.upright_size();
        let (width, height) = (width as f32, height as f32);
        // She looks as through a camera whose pixels have this shape.
        let squares = upright_squares(format);
        let wide = tall * PERSON_SIZE.0 as f32 / PERSON_SIZE.1 as f32;
        let (wide, tall) = (wide / squares.0, tall / squares.1);
        Scene {
            format: *format,
            person: true,
            place: [draw(0.0, width - wide), draw(0.0, height - tall), wide, tall],
            mirrored: draw(0.0, 1.0) < 0.5,
            contrast: draw(0.65, 0.8),
            shade: draw(90.0, 170.0),
            slope: (draw(-40.0, 40.0), draw(-40.0, 40.0)),
        }
    }

    fn without_person(self) -> Scene {
        Scene { person: false, ..self }
    }

    /// What must be hidden of her, in pixels of the stored picture.
    fn area(&self, class: Class) -> PixelRect {
        let [x0, y0, x1, y1] = if class == Class::Face { FACE } else { BODY };
        let (x0, x1) = if self.mirrored { (1.0 - x1, 1.0 - x0) } else { (x0, x1) };
        let [left, top, wide, tall] = self.place;
        let corners = (left + x0 * wide, top + y0 * tall, left + x1 * wide, top + y1 * tall);
        let stored = self.format.size();
        Rect::from_corners(corners.0, corners.1, corners.2, corners.3)
            .and_then(|rect| self.format.orientation().rect_to_stored(&rect, stored))
            .map_or(PixelRect::default(), |rect| rect.outward(stored.0, stored.1))
    }

    fn draw(&self, view: &mut ViewMut<'_>) {
        let format = *view.format();
        let (first, step) = luma(format.pixel());
        let (width, height) = format.upright_size();
        let turn = format.orientation();
        for (i, plane) in format.planes().iter().enumerate() {
            for y in 0..plane.height {
                let row = view.row_mut(i, y);
                row.fill(128);
                if i > 0 {
                    continue;
                }
                for x in 0..format.width() {
                    let (u, v) = if turn.transpose { (y, x) } else { (x, y) };
                    let u = if turn.flip_x { width - 1 - u } else { u };
                    let v = if turn.flip_y { height - 1 - v } else { v };
                    let grey = self.grey(u as f32 + 0.5, v as f32 + 0.5, width as f32, height as f32);
                    let at = first + step * x as usize;
                    // An RGB sample is three of the same.
                    let end = if step == 3 { at + 3 } else { at + 1 };
                    row[at..end].fill(grey);
                }
            }
        }
    }

    fn grey(&self, x: f32, y: f32, width: f32, height: f32) -> u8 {
        let [left, top, wide, tall] = self.place;
        let (u, v) = ((x - left) / wide, (y - top) / tall);
        let inside = self.person && (0.0..1.0).contains(&u) && (0.0..1.0).contains(&v);
        let value = if inside {
            DARKEST + self.contrast * sample(if self.mirrored { 1.0 - u } else { u }, v)
        } else {
            self.shade + self.slope.0 * (x / width - 0.5) + self.slope.1 * (y / height - 0.5)
        };
        value.clamp(DARKEST, 235.0) as u8
    }
}

/// The picture of the person at a place from 0 to 1, between its samples.
fn sample(u: f32, v: f32) -> f32 {
    let pixels = &PERSON[PERSON.len() - (PERSON_SIZE.0 * PERSON_SIZE.1) as usize..];
    let (x, y) = (u * PERSON_SIZE.0 as f32 - 0.5, v * PERSON_SIZE.1 as f32 - 0.5);
    let at = |x: f32, y: f32| {
        let x = x.clamp(0.0, PERSON_SIZE.0 as f32 - 1.0) as usize;
        let y = y.clamp(0.0, PERSON_SIZE.1 as f32 - 1.0) as usize;
        f32::from(pixels[y * PERSON_SIZE.0 as usize + x])
    };
    let (left, top) = (x.floor(), y.floor());
    let between = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let row = |y: f32| between(at(left, y), at(left + 1.0, y), x - left);
    between(row(top), row(top + 1.0), y - top)
}

#[cfg(all(test, feature = "models"))]
mod tests;
