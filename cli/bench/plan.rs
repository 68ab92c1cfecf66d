//! What can be measured here, by name, and what is missing for the rest.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use milkglass::Class;
use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore};
use milkglass::policy::{BackendChoice, Preset};
use milkglass_benches::{Case, InstructionSet, cases};

use super::clip::ClipRun;
use super::detection::{Look, PRESETS, SIZES, looks};
use super::live::Origin;
use super::picture::Frames;
use super::record::{BackendUsed, Missing, ModelUsed};
use super::verdict::live_row;
use crate::args::BenchArgs;
use crate::outcome::Failure;
use crate::{clips, opening};

const MODELS: [&str; 3] = ["yunet", "centerface", "yolox-nano"];
const STREAMS: [u32; 3] = [1, 2, 4];

/// Everything that will be measured.
pub struct Plan {
    pub kernels: Vec<(InstructionSet, Vec<Case>)>,
    pub looks: Vec<Look>,
    pub lives: Vec<Live>,
    pub clips: Vec<ClipRun>,
    pub missing: Vec<Missing>,
    pub store: Option<ModelStore>,
    pub models: Option<PathBuf>,
    pub models_used: Vec<ModelUsed>,
    pub threads: usize,
    backends: Vec<Backend>,
    /// Frames of the clip or Y4M file, decoded once.
    real: Option<Origin>,
    from: Option<PathBuf>,
}

/// Some streams through pipelines of their own.
pub struct Live {
    pub name: String,
    pub streams: u32,
    pub time: Duration,
    preset: Preset,
    /// `None`: the real source.
    size: Option<(u32, u32)>,
}

impl Plan {
    /// Looks at what this machine has.
    pub fn new(args: &BenchArgs) -> Result<Plan, Failure> {
        let threads = opening::threads(args.runtime.threads);
        let mut plan = Plan {
            kernels: Vec::new(),
            looks: Vec::new(),
            lives: Vec::new(),
            clips: Vec::new(),
            missing: Vec::new(),
            store: None,
            models: args.runtime.models.clone(),
            models_used: Vec::new(),
            threads,
            backends: Vec::new(),
            real: None,
            from: None,
        };
        let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|glob| matches(glob, name));
        let sets =
            if args.all_kernels { InstructionSet::available() } else { vec![InstructionSet::chosen()] };
        for set in sets {
            let mut all = cases(set);
            all.retain(|c| wanted(&super::kernel_row(&c.name, set)));
            plan.kernels.push((set, all));
        }
        plan.find_backends(args)?;
        plan.find_models(args);
        plan.find_real(args)?;
        if plan.store.is_some() && !plan.backends.is_empty() {
            let have = |model: &str| plan.models_used.iter().any(|m| m.name == model);
            plan.looks = looks(&plan.backends, args.quick);
            plan.looks.retain(|look| wanted(&look.name) && look.models().all(have));
            if have("yunet") {
                plan.lives = lives(args.quick, plan.from.as_deref());
                plan.lives.retain(|live| wanted(&live.name));
                plan.find_clips(args.quick);
                plan.clips.retain(|clip| wanted(&clip.name));
            }
        }
        let nothing = plan.names().next().is_none();
        match nothing {
            true if !args.only.is_empty() => Err(Failure::new(format!(
                "--only {}: nothing that can be measured here has such a name; --list tells the names",
                args.only.join(" ")
            ))),
            _ => Ok(plan),
        }
    }

    /// The names of all rows, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let kernels = self.kernels.iter();
        let kernels = kernels.flat_map(|(set, cases)| cases.iter().map(|c| super::kernel_row(&c.name, *set)));
        let looks = self.looks.iter().map(|l| l.name.clone());
        let lives = self.lives.iter().map(|l| l.name.clone());
        kernels.chain(looks).chain(lives).chain(self.clips.iter().map(|c| c.name.clone()))
    }

    fn miss(&mut self, what: &str, why: &dyn std::fmt::Display, how: &str) {
        let why = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        self.missing.push(Missing { what: what.into(), why, how: how.into() });
    }

    fn find_backends(&mut self, args: &BenchArgs) -> Result<(), Failure> {
        let asked = args.runtime.backend.as_deref().unwrap_or("auto");
        if !["auto", "ort", "rten"].contains(&asked) {
            return Err(Failure::new(format!("--backend {asked}: there are ort, rten and auto")));
        }
        let all = [("ort", BackendChoice::Ort), ("rten", BackendChoice::Rten)];
        for (name, choice) in all.into_iter().filter(|(name, _)| asked == "auto" || asked == *name) {
            match Backend::choose(choice, self.threads) {
                Ok(backend) => self.backends.push(backend),
                Err(e) => self.miss(
                    &format!("detection with {name}"),
                    &e,
                    "models/fetch-onnxruntime.sh fetches ONNX Runtime; ORT_DYLIB_PATH names a library that is elsewhere",
                ),
            }
        }
        Ok(())
    }

    fn find_models(&mut self, args: &BenchArgs) {
        let how =
            "models/reproduce.sh makes the models; --models DIR or MILKGLASS_MODELS says where they are";
        let store = match opening::store(&args.runtime) {
            Ok(store) => store,
            Err(e) => return self.miss("detection, live and clips", &e, how),
        };
        for name in MODELS {
            match store.manifest(name).and_then(|m| store.read(&m).map(|_| m)) {
                Ok(m) => self.models_used.push(ModelUsed { name: m.name, sha256: m.sha256 }),
                Err(e) => self.miss(&format!("detection with {name}"), &e, how),
            }
        }
        self.store = Some(store);
    }

    /// The real source: what `--from` names, else the demo clip.
    fn find_real(&mut self, args: &BenchArgs) -> Result<(), Failure> {
        self.from = match &args.from {
            Some(path) if !path.exists() => {
                return Err(Failure::new(format!(
                    "--from {}: there is no such file or camera; `milkglass devices` lists the cameras",
                    path.display()
                )));
            }
            Some(path) => Some(path.clone()),
            None => {
                let beside = self.store.as_ref().map(|s| s.dir().join("../examples/people.mp4"));
                let found =
                    beside.into_iter().chain([PathBuf::from("examples/people.mp4")]).find(|p| p.is_file());
                if found.is_none() {
                    let why = "examples/people.mp4 is not beside the models";
                    self.miss("a real source, clips", &why, "--from takes a camera, a Y4M file or a clip");
                }
                found
            }
        };
        let Some(path) = self.from.clone().filter(|p| kind(p) == "clip") else { return Ok(()) };
        if let Err(e) = clips::tools(self.threads, false) {
            self.miss("clips", &e, "apt-get install ffmpeg");
            self.from = None;
            if args.from.is_some() {
                return Err(e.about(&path));
            }
        }
        Ok(())
    }

    fn find_clips(&mut self, quick: bool) {
        let Some(clip) = self.from.clone().filter(|p| kind(p) == "clip") else { return };
        let (encoder_preset, rounds) = if quick { ("veryfast", 1) } else { ("medium", 3) };
        for preset in if quick { &["balanced"][..] } else { &["fast", "balanced"] } {
            let name = format!("clip/redact-{preset}-{encoder_preset}");
            self.clips.push(ClipRun { name, clip: clip.clone(), preset, encoder_preset, rounds });
        }
    }

    /// The frames of a run.
    pub fn origin(&mut self, live: &Live) -> Result<Origin, Failure> {
        if let Some(size) = live.size {
            return Ok(Origin::Frames(Frames::people(size)?));
        }
        if let Some(real) = &self.real {
            return Ok(real.clone());
        }
        let path = self.from.as_deref().ok_or_else(|| Failure::new("there is no real source"))?;
        let real = match kind(path) {
            "camera" => Origin::Camera(path.into()),
            _ => Origin::Frames(Frames::read(path, self.threads)?),
        };
        self.real = Some(real.clone());
        Ok(real)
    }

    /// A detector for each stream of a run; the threads are shared between them.
    pub fn detectors(&self, live: &Live) -> Result<Vec<Ensemble>, Failure> {
        let (Some(store), Some(backend)) = (&self.store, self.backends.first()) else {
            return Ok(Vec::new());
        };
        let choice = if backend.name() == "ort" { BackendChoice::Ort } else { BackendChoice::Rten };
        let backend = Backend::choose(choice, self.threads / live.streams as usize)?;
        let settings = live.preset.settings(&[Class::Face]);
        (0..live.streams).map(|_| Ok(Ensemble::load(store, &backend, &settings)?)).collect()
    }

    /// The backends for the record.
    pub fn backends_used(&self) -> Vec<BackendUsed> {
        let used = |b: &Backend| BackendUsed {
            name: b.name().into(),
            library_sha256: b.library().map(|(_, sha256)| sha256),
        };
        self.backends.iter().map(used).collect()
    }
}

fn lives(quick: bool, from: Option<&Path>) -> Vec<Live> {
    let time = Duration::from_secs(if quick { 3 } else { 8 });
    let mut all = Vec::new();
    let (presets, sizes) = if quick { (&PRESETS[1..2], &SIZES[1..]) } else { (&PRESETS[..2], &SIZES[..]) };
    for &(name, preset) in presets {
        for &size in sizes {
            for streams in STREAMS {
                let name = live_row("picture", name, size, streams);
                all.push(Live { name, streams, time, preset, size: Some(size) });
            }
        }
    }
    let Some(from) = from else { return all };
    let kind = kind(from);
    // A camera delivers one stream.
    for streams in STREAMS.into_iter().take(if quick || kind == "camera" { 1 } else { 3 }) {
        let s = if streams == 1 { "" } else { "s" };
        let name = format!("live/{kind}-balanced/{streams}-stream{s}");
        all.push(Live { name, streams, time, preset: Preset::Balanced, size: None });
    }
    all
}

fn kind(path: &Path) -> &'static str {
    let device = std::fs::metadata(path).is_ok_and(|m| m.file_type().is_char_device());
    match path.extension() {
        _ if device => "camera",
        Some(e) if e.eq_ignore_ascii_case("y4m") => "y4m",
        _ => "clip",
    }
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn matches(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((head, tail)) => {
            let Some(rest) = name.strip_prefix(head) else { return false };
            (0..=rest.len()).filter(|n| rest.is_char_boundary(*n)).any(|n| matches(tail, &rest[n..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(matches("*", "") && matches("detect/*", "detect/yunet-640/ort"));
        assert!(matches("*/ort", "detect/yunet-640/ort") && matches("a*b*c", "a-b-b-c"));
        assert!(!matches("detect", "detect/yunet-640/ort") && !matches("a*b*c", "a-c-b"));
    }

    #[test]
    fn a_camera_is_one_stream() {
        let names = |from| lives(false, Some(Path::new(from))).into_iter().map(|l| l.name);
        assert_eq!(names("/dev/null").filter(|n| n.starts_with("live/camera")).count(), 1);
        assert_eq!(names("a.y4m").filter(|n| n.starts_with("live/y4m")).count(), 3);
    }
}
