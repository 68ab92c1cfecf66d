//! From a configuration of C to a running stream.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use milkglass::detect::Proof;
use milkglass::geometry::{Orientation, PixelAspect};
use milkglass::opening::{Loaded, OpeningBuilder};
use milkglass::picture::{ColorMatrix, ColorRange};
use milkglass::source::FrameSender;
use milkglass::{Detector, FrameFormat, FrameSink, FrameSource, Media, Opening, Pipeline};

use crate::detector::{Callback, Gate};
use crate::evidence::Opened;
use crate::fault::Fault;
use crate::picture::pixel_format;
use crate::stream::{Counted, Stream, Watched};
use crate::text::optional;
use crate::types::*;

/// The most frames per second; more is a time in milliseconds, or a mistake.
const MOST_FPS: f64 = 1000.0;
/// The fewest buffers that can be asked for, and the most.
const BUFFERS: std::ops::RangeInclusive<u32> = 4..=256;
/// What a callback promises that says nothing else: brow to chin, in pixels of the frame.
const SMALLEST_FACE: u32 = 32;
/// The rate that is assumed of a camera that tells none.
#[cfg(feature = "v4l2")]
const USUAL_FPS: f64 = 30.0;

/// What a configuration asks for.
///
/// # Safety
/// Texts are NULL or end with zero.
unsafe fn asked(config: &milkglass_config) -> Result<OpeningBuilder, Fault> {
    let mut asked = Opening::builder().pixel_aspect(pixel_aspect(config)?);
    // SAFETY: the caller's promise.
    let (text, file) =
        unsafe { (optional(config.policy, "policy")?, optional(config.policy_file, "policy_file")?) };
    asked = with_policy(asked, text, file)?;
    // SAFETY: the caller's promise.
    if let Some(folder) = unsafe { optional(config.models, "models") }? {
        asked = asked.models(folder);
    }
    // SAFETY: the caller's promise.
    let texts = unsafe { (optional(config.lock, "lock")?, optional(config.owner_key, "owner_key")?) };
    // SAFETY: the caller's promise.
    let state = unsafe { optional(config.state_dir, "state_dir") }?;
    with_lock(asked, texts.0, texts.1, state)
}

/// The same with a policy from a text or a file.
pub(crate) fn with_policy(
    asked: OpeningBuilder,
    text: Option<&str>,
    file: Option<&str>,
) -> Result<OpeningBuilder, Fault> {
    match (text, file) {
        (Some(_), Some(_)) => Err(Fault::argument("policy and policy_file are both set: set one")),
        (Some(text), None) => Ok(asked.policy_text(text, "policy")),
        (None, Some(name)) => Ok(asked.policy_file(name)),
        (None, None) => Ok(asked),
    }
}

#[cfg(feature = "lock")]
fn with_lock(
    mut asked: OpeningBuilder,
    lock: Option<&str>,
    key: Option<&str>,
    state: Option<&str>,
) -> Result<OpeningBuilder, Fault> {
    if state.is_none() && (lock.is_some() || key.is_some()) {
        let why = "without it an older lock file would be as good as the newest";
        return Err(Fault::argument(format!("lock or owner_key is set, but state_dir is not: {why}")));
    }
    if let Some(path) = lock {
        asked = asked.lock(path);
    }
    if let Some(key) = key {
        asked = asked.owner_key(milkglass::lock::OwnerPublicKey::parse(key)?);
    }
    Ok(state.map(|folder| asked.clone().state_dir(folder)).unwrap_or(asked))
}

/// In a library without the feature `lock` no policy is locked, and whoever asks for it is refused.
#[cfg(not(feature = "lock"))]
fn with_lock(
    asked: OpeningBuilder,
    lock: Option<&str>,
    key: Option<&str>,
    state: Option<&str>,
) -> Result<OpeningBuilder, Fault> {
    for (text, name) in [(lock, "lock"), (key, "owner_key"), (state, "state_dir")] {
        if text.is_some() {
            let why = "is set, but this build of the library knows no locks (feature `lock`)";
            return Err(Fault::new(milkglass_status::POLICY, format!("{name} {why}")));
        }
    }
    Ok(asked)
}

/// Opens what a configuration describes.
///
/// # Safety
/// Texts are NULL or end with zero; function and context are good until the stream is closed.
pub(crate) unsafe fn open(config: &milkglass_config) -> Result<Stream, Fault> {
    // SAFETY: the caller's promise.
    let camera = unsafe { optional(config.camera, "camera") }?;
    // SAFETY: the caller's promise.
    let ring = unsafe { optional(config.ring, "ring") }?;
    if config.reserved != 0 {
        return Err(Fault::argument("config.reserved is not zero: set the whole structure to zero first"));
    }
    if config.buffers != 0 && !BUFFERS.contains(&config.buffers) {
        return Err(Fault::argument(format!("buffers is {}: 4 to 256, or 0", config.buffers)));
    }
    let orientation = Orientation::from_exif(config.orientation.max(1).try_into().unwrap_or(0));
    let orientation = orientation
        .ok_or_else(|| Fault::argument(format!("orientation is {}: 1 to 8", config.orientation)))?;
    // SAFETY: the caller's promise.
    let opening = unsafe { asked(config) }?.read()?;
    // Before the camera: a mistake in it is told sooner, and the camera is not switched on for nothing.
    // SAFETY: the caller's promise.
    let (detectors, loaded) = unsafe { detectors(config, &opening) }?;
    // SAFETY: the caller's promise.
    let evidence = unsafe { Opened::open(config, &opening, &loaded) }?;

    let gate = Gate::new();
    let detectors: Detectors = detectors.into_iter().map(|d| gate.guard(d)).collect();
    let (format, fps, source, sender) = match camera {
        Some(device) => {
            let (source, format, fps) = capture(config, device, orientation)?;
            (format, fps, source, None)
        }
        None => {
            let format = pushed(config)?.with_orientation(orientation);
            let (sender, source) = FrameSender::new(0);
            (format, rate(config.fps)?, source, Some(sender))
        }
    };
    let format = opening.shaped(format, format.pixel_aspects());
    opening.check(&format)?;
    let alive = Arc::new(());
    let watched = Arc::downgrade(&alive);
    let mut sinks: Vec<(String, Box<dyn FrameSink>)> = Vec::new();
    if let Some(path) = ring {
        sinks.push((format!("ring:{path}"), share(path, &format)?));
    }
    let policy = opening.policy(Media::Live);
    let (pipeline, receiver) = Pipeline::builder(policy, format, Watched { source, _alive: alive })
        .fps(fps)
        .buffers((config.buffers != 0).then_some(config.buffers as usize))
        .locked_memory(config.lock_memory != 0)
        .privacy(config.privacy != 0)
        .ladder(detectors)
        .sinks(sinks)
        .start_with_receiver()?;
    let begin = || {
        // Once it is in force, and not before: nobody could go back from a policy that the detector is too slow for.
        opening.remember(&format)?;
        let counted = Arc::new(Counted::new(pipeline));
        let evidence = evidence.start(&counted)?;
        Ok((counted, evidence))
    };
    // By then the callback may run; when this returns an error, it does not any more, and never will.
    let (counted, evidence) = begin().inspect_err(|_: &Fault| gate.close())?;
    Ok(Stream {
        format,
        fps,
        loaded,
        evidence,
        receiver,
        closed: AtomicBool::new(false),
        gate,
        sender,
        counted,
        exchange: Mutex::new(opening),
        source: watched,
    })
}

#[cfg(feature = "ring")]
fn share(path: &str, format: &FrameFormat) -> Result<Box<dyn FrameSink>, Fault> {
    /// Frames that the shared memory holds.
    const SLOTS: usize = 8;
    Ok(Box::new(milkglass::sink::RingSink::open(path, format, SLOTS)?))
}

#[cfg(not(feature = "ring"))]
fn share(_: &str, _: &FrameFormat) -> Result<Box<dyn FrameSink>, Fault> {
    Err(Fault::argument("this build of the library shares no frames (feature `ring`): take them instead"))
}

fn rate(fps: f64) -> Result<f64, Fault> {
    match fps > 0.0 && fps <= MOST_FPS {
        true => Ok(fps),
        false => Err(Fault::argument(format!("fps is {fps}: above 0, at most {MOST_FPS}"))),
    }
}

/// What the program says of the shape of its pixels.
fn pixel_aspect(config: &milkglass_config) -> Result<Option<PixelAspect>, Fault> {
    let (width, height) = (config.pixel_aspect_width, config.pixel_aspect_height);
    if (width, height) == (0, 0) {
        return Ok(None);
    }
    let wrong = || Fault::argument(format!("pixel_aspect is {width}:{height}: 1:8 to 8:1, or 0 and 0"));
    PixelAspect::new(width, height).map(Some).ok_or_else(wrong)
}

fn pushed(config: &milkglass_config) -> Result<FrameFormat, Fault> {
    let matrix = match config.matrix {
        0 | 601 => ColorMatrix::Bt601,
        709 => ColorMatrix::Bt709,
        2020 => ColorMatrix::Bt2020,
        other => return Err(Fault::argument(format!("matrix is {other}: 0, 601, 709 or 2020"))),
    };
    let range = if config.full_range == 0 { ColorRange::Limited } else { ColorRange::Full };
    let format = FrameFormat::new(pixel_format(config.fourcc)?, config.width, config.height)?;
    Ok(format.with_color(range, matrix))
}

type Captured = (Box<dyn FrameSource>, FrameFormat, f64);

#[cfg(feature = "v4l2")]
fn capture(config: &milkglass_config, device: &str, orientation: Orientation) -> Result<Captured, Fault> {
    use milkglass::v4l2::{CameraFormat, V4l2Config, V4l2Source};
    let mut wanted = V4l2Config::new(device);
    wanted.orientation = orientation;
    wanted.size = match (config.width, config.height) {
        (0, 0) => None,
        size => Some(size),
    };
    wanted.fps = if config.fps == 0.0 { None } else { Some(rate(config.fps)?) };
    let pixel = match config.fourcc {
        0 => None,
        code => Some(pixel_format(code)?),
    };
    let fits = |c: &CameraFormat| pixel.is_none_or(|pixel| c.pixel_format() == pixel);
    wanted.formats =
        CameraFormat::ALL.into_iter().filter(fits).flat_map(CameraFormat::fourccs).copied().collect();
    let (source, format) = V4l2Source::open(&wanted)?;
    let fps = source.fps().unwrap_or(USUAL_FPS);
    Ok((Box::new(source), format, fps))
}

#[cfg(not(feature = "v4l2"))]
fn capture(_: &milkglass_config, _: &str, _: Orientation) -> Result<Captured, Fault> {
    Err(Fault::argument("this build of the library has no cameras (feature `v4l2`): push frames instead"))
}

type Detectors = Vec<Box<dyn Detector>>;

/// The program's detector, or our own with its ladder; none when zones alone are hidden.
///
/// # Safety
/// Function and context are good until the stream is closed.
unsafe fn detectors(config: &milkglass_config, opening: &Opening) -> Result<(Detectors, Loaded), Fault> {
    if config.detect.is_none() {
        if config.detects != 0 || !config.context.is_null() {
            return Err(Fault::argument("detects or context is set, but detect is NULL"));
        }
        if config.untested != 0 || config.smallest_face != 0 {
            return Err(Fault::argument("untested or smallest_face is set, but detect is NULL"));
        }
        return ours(opening);
    }
    if config.detects == 0 || config.detects & !(MILKGLASS_FACES | MILKGLASS_PERSONS) != 0 {
        let why = "it needs MILKGLASS_FACES, MILKGLASS_PERSONS or both";
        return Err(Fault::argument(format!("detects is {:#x}: {why}", config.detects)));
    }
    let proof = match (config.untested, config.smallest_face) {
        (0, 0) => Proof::Wanted { smallest_face: SMALLEST_FACE },
        (0, smallest_face) => Proof::Wanted { smallest_face },
        (_, 0) => Proof::Impossible,
        _ => return Err(Fault::argument("untested and smallest_face are both set: set one")),
    };
    // SAFETY: the caller's promise.
    let callback = unsafe { Callback::new(config.detect, config.context, config.detects, proof) };
    let detectors: Detectors = vec![Box::new(callback)];
    let loaded = opening.own(&detectors)?;
    Ok((detectors, loaded))
}

#[cfg(feature = "models")]
fn ours(opening: &Opening) -> Result<(Detectors, Loaded), Fault> {
    Ok(opening.load(Media::Live, opening.threads())?)
}

#[cfg(not(feature = "models"))]
fn ours(opening: &Opening) -> Result<(Detectors, Loaded), Fault> {
    match opening.derived().classes() {
        [] => Ok(Default::default()),
        _ => Err(Fault::argument(
            "this build of the library has no models (feature `rten` or `ort`): set detect",
        )),
    }
}
