//! From flags and a policy file to what the engine and the detector need.

use std::path::Path;
use std::sync::OnceLock;

use milkglass::detect::backend::{Backend, Processors};
use milkglass::detect::{Ensemble, LoadedModel, ModelStore, Settings};
use milkglass::evidence::Identity;
use milkglass::{
    BackendChoice, Derived, FrameFormat, Lock, OwnerKey, PixelAspect, PixelFormat, Policy, PolicyFile,
    Preset, ZoneEntry,
};
use milkglass_common::hex;
use sha2::{Digest, Sha256};

use crate::args::{HidingArgs, RuntimeArgs};
use crate::outcome::Failure;
use crate::still::Picture;

/// Everything that was asked for, checked.
pub struct Hiding {
    /// The flags laid over the policy file.
    pub file: PolicyFile,
    /// How to look at clips and live.
    pub moving: Looking,
    /// How to look at stills, for which there is time.
    pub stills: Looking,
    /// Width to height of a pixel, by whoever runs this.
    pub pixel_aspect: Option<PixelAspect>,
    /// The processors of inference.
    pub pin: Option<Processors>,
    /// The bound on all threads.
    pub threads: usize,
    backend: BackendChoice,
    /// What `backend` came to, so that its reasons are told once.
    chosen: OnceLock<BackendChoice>,
    store: Option<ModelStore>,
    export_regions: bool,
    /// The owner's, which everything above was held against.
    lock: Option<Lock>,
}

/// How to look.
pub struct Looking {
    pub preset: Preset,
    /// What the preset and the flags amount to.
    pub settings: Settings,
    derived: Derived,
}

impl Looking {
    fn new(file: &PolicyFile, preset: Preset) -> Result<Looking, Failure> {
        let mut file = file.clone();
        file.preset = Some(preset);
        let derived = file.derive()?;
        derived.still().build()?;
        Ok(Looking { preset, settings: derived.settings().clone(), derived })
    }
}

impl Hiding {
    /// Reads the policy file, lays the flags over it and checks the whole. `export_regions`: the owner asked for places.
    pub fn resolve(args: &HidingArgs, export_regions: bool) -> Result<Hiding, Failure> {
        Self::resolve_with(args, [], export_regions)
    }

    /// The same for `milkglass live`, whose own flags come as well: flag, key, value.
    pub fn resolve_with<const N: usize>(
        args: &HidingArgs,
        more: [(&str, &str, Option<String>); N],
        export_regions: bool,
    ) -> Result<Hiding, Failure> {
        crate::memory::set_bound(args.runtime.max_memory.as_deref())?;
        let lock = locked(args)?;
        let mut file = match (&args.policy, &lock) {
            (Some(path), _) => PolicyFile::read(path)?,
            (None, Some(lock)) => lock.policy().clone(),
            (None, None) => PolicyFile::default(),
        };
        let text = |v: &Option<f32>| v.map(|v| v.to_string());
        let flags: [(&str, &str, Option<String>); 15] = [
            ("--preset", "preset", args.preset.clone()),
            ("--faces", "faces", args.faces.clone()),
            ("--persons", "persons", args.persons.clone()),
            ("--reversible", "reversible", args.reversible.map(|v| v.to_string())),
            ("--shape", "shape", args.shape.clone()),
            ("--color", "color", args.color.clone()),
            ("--cells", "cells", args.cells.map(|v| v.to_string())),
            ("--min-score", "min_score", text(&args.min_score)),
            ("--grow", "grow", text(&args.grow)),
            ("--hold", "hold", args.hold.clone()),
            ("--motion-cover", "motion_cover", args.motion_cover.map(|v| v.to_string())),
            ("--tiles", "tiles", args.tiles.map(|v| v.to_string())),
            ("--detect-every", "detect_every", args.detect_every.map(|v| v.to_string())),
            ("--backend", "backend", args.runtime.backend.clone()),
            ("--threads", "threads", args.runtime.threads.map(|v| v.to_string())),
        ];
        for (flag, key, value) in flags.into_iter().chain(more) {
            if let Some(value) = value {
                file.set(key, &value).map_err(|e| Failure::new(format!("{flag}: {e}")))?;
            }
        }
        for zone in &args.zone {
            let zone: ZoneEntry = zone.parse().map_err(|e| Failure::new(format!("--zone: {e}")))?;
            file.zones.push(zone);
        }
        file.check()?;
        if let Some(path) = args.policy.as_ref().filter(|_| file.says_nothing()) {
            log::warn!("{} says nothing: the default policy hides faces, and no zone", path.display());
        }
        if let Some(lock) = &lock {
            let (width, height) = COMPARED;
            lock.admit(&file, &FrameFormat::new(PixelFormat::Nv12, width, height)?)?;
        }
        let moving = file.preset.unwrap_or_default();
        let mut stills = file.still_preset();
        // Where the owner's lock leaves it open, stills are looked at carefully: a flag or file may only ask for more.
        if let Some(lock) = &lock
            && stills < lock.policy().still_preset()
        {
            stills = lock.policy().still_preset();
            log::info!("stills are looked at with the preset {stills}, because the lock names no other");
        }
        Ok(Hiding {
            moving: Looking::new(&file, moving)?,
            stills: Looking::new(&file, stills)?,
            threads: threads(file.threads.map(|n| n as usize)),
            backend: file.backend.unwrap_or_default(),
            chosen: OnceLock::new(),
            pixel_aspect: args.pixel_aspect,
            pin: None,
            store: args.runtime.models.as_ref().map(ModelStore::new),
            export_regions,
            file,
            lock,
        })
    }

    /// The policy for single pictures.
    pub fn still_policy(&self) -> Result<Policy, Failure> {
        Ok(self.stills.derived.still().export_regions(self.export_regions).build()?)
    }

    /// The policy for a clip with `fps` frames per second: it looks ahead as far as it holds, as long as the frames that
    /// wait meanwhile fit into the pool.
    pub fn clip_policy(&self, fps: f64) -> Result<Policy, Failure> {
        Ok(self.moving.derived.clip(fps).export_regions(self.export_regions).build()?)
    }

    /// The policy for a picture that does not move, seen as a camera would.
    pub fn scene_policy(&self) -> Result<Policy, Failure> {
        Ok(self.moving.derived.still().export_regions(self.export_regions).build()?)
    }

    /// The policy for live pictures.
    pub fn live_policy(&self) -> Result<Policy, Failure> {
        Ok(self.moving.derived.live().export_regions(self.export_regions).build()?)
    }

    /// Whether the owner's lock lets the policy pass in pictures of this format, now that it is known.
    pub fn admit(&self, format: &FrameFormat) -> Result<(), Failure> {
        match &self.lock {
            Some(lock) => Ok(lock.admit(&self.file, format)?),
            None => Ok(()),
        }
    }

    /// A picture's format with the shape of its pixels, of which its file or camera told these.
    pub fn shaped(&self, format: FrameFormat, told: &[PixelAspect]) -> FrameFormat {
        format.with_own_aspect(self.pixel_aspect, told, self.lock.is_some())
    }

    /// The format of a still, whose file may tell the shape of its pixels.
    pub fn still_format(&self, picture: &Picture) -> Result<FrameFormat, Failure> {
        let (width, height) = picture.pixels.dimensions();
        Ok(self.shaped(FrameFormat::new(PixelFormat::Rgb24, width, height)?, &picture.shapes))
    }

    /// Loads the models of `looking`; each network uses `threads` threads.
    pub fn detector(&self, looking: &Looking, threads: usize) -> Result<(Ensemble, Backend), Failure> {
        self.load(&looking.settings, threads)
    }

    /// The detectors of the presets that may be used when this one's is too slow, best first.
    pub fn ladder(&self, threads: usize) -> Result<Vec<Ensemble>, Failure> {
        let rungs = self.moving.derived.rungs().iter();
        rungs.map(|(_, settings)| Ok(self.load(settings, threads)?.0)).collect()
    }

    fn load(&self, settings: &Settings, threads: usize) -> Result<(Ensemble, Backend), Failure> {
        let backend =
            Backend::choose_locked(*self.chosen.get().unwrap_or(&self.backend), threads, self.lock.as_ref())?;
        let backend = backend.pinned(self.pin.clone());
        self.chosen.get_or_init(|| match backend.name() {
            "ort" => BackendChoice::Ort,
            _ => BackendChoice::Rten,
        });
        let store = self.store.clone().map_or_else(ModelStore::locate, Ok)?;
        let detector = Ensemble::load(&store, &backend, settings)?;
        if let Some(lock) = &self.lock {
            let models: Vec<LoadedModel> = detector.loaded().collect();
            lock.admit_detector(&models, backend.library().map(|(_, hash)| hash).as_deref())?;
        }
        Ok((detector, backend))
    }

    /// The owner's lock, if there is one.
    pub fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// What the evidence log says of these settings; models and runtime stay as they are.
    pub fn identify(&self, before: Identity) -> Result<Identity, Failure> {
        let program = concat!("milkglass ", env!("CARGO_PKG_VERSION"));
        let identity = Identity::new(program, &self.rules(), self.live_policy()?.zones());
        let Identity { models, manifests, untested, runtime, .. } = before;
        Ok(Identity { models, manifests, untested, runtime, ..identity })
    }

    /// SHA-256 of everything that decides what is hidden: two reports with the same hash hid by the same rules.
    pub fn hash(&self) -> String {
        hex(Sha256::digest(format!("{}|{:?}", self.rules(), self.stills.settings)))
    }

    fn rules(&self) -> String {
        let own = self.pixel_aspect.map_or_else(String::new, |own| format!("|pixels {own}"));
        format!("{:?}|{:?}{own}", self.file, self.moving.settings)
    }
}

/// The picture in which zones are compared with the owner's before the real size is known.
const COMPARED: (u32, u32) = (3840, 2160);

fn locked(args: &HidingArgs) -> Result<Option<Lock>, Failure> {
    let Some(path) = &args.lock else { return Ok(None) };
    let owner = match &args.owner_key {
        Some(path) => Some(owner_key(path)?),
        None => None,
    };
    let lock = Lock::read(path, owner.as_ref())?;
    Lock::admit_environment()?;
    if std::env::var_os("MILKGLASS_FFMPEG").is_some_and(|folder| !folder.is_empty()) {
        return Err(Failure::new(
            "MILKGLASS_FFMPEG is set, and names the program that decodes clips: clear it, the policy is locked",
        ));
    }
    Ok(Some(lock))
}

/// Reads an owner's public key.
pub fn owner_key(path: &Path) -> Result<OwnerKey, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(format!("{}: the owner's key cannot be read: {e}", path.display())))?;
    Ok(OwnerKey::parse(&text)?)
}

/// The bound on threads: what was asked for, else every core.
pub fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Where the models are, from the flag or the usual places.
pub fn store(args: &RuntimeArgs) -> Result<ModelStore, Failure> {
    Ok(args.models.as_ref().map(ModelStore::new).map_or_else(ModelStore::locate, Ok)?)
}
