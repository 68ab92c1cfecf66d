//! From a configuration of C to a running stream.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

#[cfg(feature = "models")]
use milkglass::detect::{Ensemble, ModelStore, Settings};
use milkglass::{
    Class, ColorMatrix, ColorRange, Detector, FrameFormat, FrameSink, FrameSource, Inlet, Orientation,
    Pipeline, PixelAspect, Policy, PolicyDefaults, PolicyFile, Proof,
};

use crate::detector::{Callback, Gate};
use crate::evidence::Opened;
use crate::fault::Fault;
use crate::owner::{self, Lock, Owner};
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

/// What is hidden, and what it was at the start.
pub(crate) struct Hiding {
    pub file: PolicyFile,
    defaults: PolicyDefaults,
    pub loaded: Loaded,
}

/// The detectors, as far as an owner and an auditor want to know.
#[derive(Default)]
#[cfg_attr(not(any(feature = "lock", feature = "evidence")), allow(dead_code, reason = "nobody asks"))]
pub(crate) struct Loaded {
    /// It is the program's own.
    pub foreign: bool,
    /// It is the program's own, and no known person could be shown to it.
    pub untested: bool,
    /// Our models.
    #[cfg(feature = "models")]
    pub models: Vec<milkglass::detect::LoadedModel>,
    /// What runs them.
    pub runtime: String,
    /// SHA-256 of its library, if it is one.
    pub library: Option<String>,
}

impl Loaded {
    /// Whether there are models of ours.
    #[cfg_attr(not(feature = "lock"), allow(dead_code, reason = "nobody asks"))]
    pub fn ours(&self) -> bool {
        #[cfg(feature = "models")]
        return !self.models.is_empty();
        #[cfg(not(feature = "models"))]
        false
    }
}

impl Hiding {
    fn new(file: PolicyFile) -> Hiding {
        #[cfg(feature = "models")]
        let defaults = {
            let settings = file.preset.unwrap_or_default().settings(&[]);
            PolicyDefaults {
                face_grow: settings.face_grow,
                person_grow: settings.person_grow,
                ..PolicyDefaults::default()
            }
        };
        #[cfg(not(feature = "models"))]
        let defaults = PolicyDefaults::default();
        Hiding { file, defaults, loaded: Loaded::default() }
    }

    fn policy(&self, file: &PolicyFile) -> Result<Policy, Fault> {
        let still = file.builder(&self.defaults)?;
        Ok(file.live(still).build()?)
    }

    /// Everything that decides what is hidden, as text; for a policy without a detector of ours its keys alone.
    pub fn rules(&self, file: &PolicyFile, policy: &Policy) -> String {
        #[cfg(feature = "models")]
        if !self.loaded.foreign {
            let classes: Vec<Class> = policy.classes().collect();
            let settings = Settings::of(file, file.preset.unwrap_or_default(), &classes);
            return format!("{file:?}|{settings:?}");
        }
        let _ = policy;
        format!("{file:?}")
    }

    /// The policy of another file, if only what can be exchanged differs.
    pub fn exchanged(&self, file: &PolicyFile) -> Result<Policy, Fault> {
        match self.file.needs_loading(file) {
            Some(key) => Err(Fault::new(
                milkglass_status::POLICY,
                format!("{key} is read at the start alone: open a new stream to change it"),
            )),
            None => self.policy(file),
        }
    }
}

/// A policy from a text or a file. Neither is that of the lock, or the default policy; that is only good when a stream is
/// opened: one that is `in_force` is not dropped for nothing.
pub(crate) fn read_policy(
    text: Option<&str>,
    file: Option<&str>,
    lock: Option<&Lock>,
    in_force: bool,
) -> Result<PolicyFile, Fault> {
    let named = text.is_some() || file.is_some();
    if in_force && !named && lock.is_none() {
        return Err(Fault::argument(
            "policy and policy_file are both NULL: set one; policy \"faces = 'fill'\" hides faces and drops every zone",
        ));
    }
    let file = match (text, file) {
        (Some(_), Some(_)) => return Err(Fault::argument("policy and policy_file are both set: set one")),
        (Some(text), None) => PolicyFile::parse(text, "policy")?,
        (None, Some(name)) => PolicyFile::read(Path::new(name))?,
        (None, None) => lock.map(owner::policy_of).cloned().unwrap_or_default(),
    };
    file.check()?;
    if named && in_force {
        file.check_exchange()?;
    } else if named && file.says_nothing() {
        log::warn!("the policy says nothing: the default policy hides faces, and no zone");
    }
    Ok(file)
}

/// Opens what a configuration describes.
///
/// # Safety
/// Texts are NULL or end with zero; function and context are good until the stream is closed.
pub(crate) unsafe fn open(config: &milkglass_config) -> Result<Stream, Fault> {
    // SAFETY: the caller's promise.
    let (text, file) =
        unsafe { (optional(config.policy, "policy")?, optional(config.policy_file, "policy_file")?) };
    // SAFETY: the caller's promise.
    let (camera, models) =
        unsafe { (optional(config.camera, "camera")?, optional(config.models, "models")?) };
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
    let own_aspect = pixel_aspect(config)?;
    // SAFETY: the caller's promise.
    let owner = unsafe { Owner::open(config) }?;
    let lock = owner.lock()?;
    let mut hiding = Hiding::new(read_policy(text, file, lock.as_ref(), false)?);
    let policy = hiding.policy(&hiding.file)?;
    // Before the camera: a mistake in it is told sooner, and the camera is not switched on for nothing.
    // SAFETY: the caller's promise.
    let (detectors, loaded) = unsafe { detectors(config, &hiding.file, &policy, models, lock.as_ref()) }?;
    hiding.loaded = loaded;
    if let Some(lock) = &lock {
        owner::admit(lock, &hiding.loaded)?;
    }
    let rules = hiding.rules(&hiding.file, &policy);
    // SAFETY: the caller's promise.
    let evidence = unsafe { Opened::open(config, &hiding.loaded, &rules, policy.zones()) }?;

    let gate = Gate::new();
    let detectors: Detectors = detectors.into_iter().map(|d| gate.guard(d)).collect();
    let (format, fps, source, inlet) = match camera {
        Some(device) => {
            let (source, format, fps) = capture(config, device, orientation)?;
            (format, fps, source, None)
        }
        None => {
            let format = pushed(config)?.with_orientation(orientation);
            let (inlet, source) = Inlet::new(0);
            (format, rate(config.fps)?, source, Some(inlet))
        }
    };
    let format = format.with_own_aspect(own_aspect, format.pixel_aspects(), lock.is_some());
    owner.check(lock.as_ref(), &hiding.file, &format)?;
    let alive = Arc::new(());
    let watched = Arc::downgrade(&alive);
    let mut sinks: Vec<(String, Box<dyn FrameSink>)> = Vec::new();
    if let Some(path) = ring {
        sinks.push((format!("ring:{path}"), share(path, &format)?));
    }
    let (pipeline, outlet) = Pipeline::builder(policy, format, Watched { source, _alive: alive })
        .fps(fps)
        .buffers((config.buffers != 0).then_some(config.buffers as usize))
        .locked_memory(config.lock_memory != 0)
        .privacy(config.privacy != 0)
        .ladder(detectors)
        .sinks(sinks)
        .start_with_outlet()?;
    let begin = || {
        // Once it is in force, and not before: nobody could go back from a policy that the detector is too slow for.
        owner.remember(lock.as_ref(), &hiding.file, &format)?;
        let counted = Arc::new(Counted::new(pipeline));
        let evidence = evidence.start(&counted)?;
        Ok((counted, evidence))
    };
    // By then the callback may run; when this returns an error, it does not any more, and never will.
    let (counted, evidence) = begin().inspect_err(|_: &Fault| gate.close())?;
    let in_force = hiding.file.clone();
    Ok(Stream {
        format,
        fps,
        hiding,
        owner,
        evidence,
        outlet,
        closed: AtomicBool::new(false),
        gate,
        inlet,
        counted,
        exchange: Mutex::new(in_force),
        source: watched,
    })
}

#[cfg(feature = "ring")]
fn share(path: &str, format: &FrameFormat) -> Result<Box<dyn FrameSink>, Fault> {
    /// Frames that the shared memory holds.
    const SLOTS: usize = 8;
    Ok(Box::new(milkglass::RingSink::open(path, format, SLOTS)?))
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
unsafe fn detectors(
    config: &milkglass_config,
    file: &PolicyFile,
    policy: &Policy,
    models: Option<&str>,
    lock: Option<&Lock>,
) -> Result<(Detectors, Loaded), Fault> {
    if config.detect.is_none() {
        if config.detects != 0 || !config.context.is_null() {
            return Err(Fault::argument("detects or context is set, but detect is NULL"));
        }
        if config.untested != 0 || config.smallest_face != 0 {
            return Err(Fault::argument("untested or smallest_face is set, but detect is NULL"));
        }
        let classes: Vec<Class> = policy.classes().collect();
        return match classes.is_empty() {
            true => Ok(Default::default()),
            false => ours(file, &classes, models, lock),
        };
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
    let untested = config.untested != 0;
    let loaded = Loaded { foreign: true, untested, runtime: "callback".into(), ..Loaded::default() };
    Ok((vec![Box::new(callback)], loaded))
}

#[cfg(feature = "models")]
fn ours(
    file: &PolicyFile,
    classes: &[Class],
    models: Option<&str>,
    lock: Option<&Lock>,
) -> Result<(Detectors, Loaded), Fault> {
    let threads = file.threads.map_or_else(cores, |n| n as usize);
    let backend = owner::backend(file.backend.unwrap_or_default(), threads, lock)?;
    let store = models.map_or_else(ModelStore::locate, |dir| Ok(ModelStore::new(dir)))?;
    let rungs = [file.preset.unwrap_or_default()].into_iter().chain(file.ladder.iter().flatten().copied());
    let mut loaded = Loaded {
        runtime: backend.name().into(),
        library: backend.library().map(|(_, sha256)| sha256),
        ..Loaded::default()
    };
    let mut detectors: Detectors = Vec::new();
    for preset in rungs {
        let detector = Ensemble::load(&store, &backend, &Settings::of(file, preset, classes))?;
        loaded.models.extend(detector.loaded());
        detectors.push(Box::new(detector));
    }
    Ok((detectors, loaded))
}

#[cfg(feature = "models")]
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(not(feature = "models"))]
fn ours(
    _: &PolicyFile,
    _: &[Class],
    _: Option<&str>,
    _: Option<&Lock>,
) -> Result<(Detectors, Loaded), Fault> {
    Err(Fault::argument("this build of the library has no models (feature `rten` or `ort`): set detect"))
}
