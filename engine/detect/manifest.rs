//! Model manifests: what a model file is, what it wants and what it offers. Any model with a known decoder can be used
//! by writing one (models/README.md).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use milkglass_common::hex;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::admission::SMALLEST;
use crate::class::Class;
use crate::error::{Error, ModelError, ModelKind, Result};

/// Larger files are no models for a camera.
const MAX_MODEL_BYTES: u64 = 512 << 20;

/// The least and the most that a manifest may promise as the smallest face, and person, that its network finds.
const LEAST_SMALLEST: u32 = 8;
const MOST_SMALLEST: [u32; 2] = [48, 128];

/// Below, one of two people whose boxes touch is dropped: YOLOX-Nano leaks .327 of 793 labelled persons at .1, .550 at 0, .235 at
/// its own .45.
const LEAST_NMS: f32 = 0.1;

/// The layout of a network's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DecoderKind {
    /// YuNet as published: `cls_S`, `obj_S`, `bbox_S` for strides 8, 16, 32.
    Yunet,
    /// YuNet with one output `head_S` for each stride, as models/prepare.py leaves it.
    YunetMerged,
    /// CenterFace as published: heat map, scale and offset at stride 4.
    Centerface,
    /// CenterFace with all of them in one output `maps`, as models/prepare.py leaves it.
    CenterfaceMerged,
    /// YOLOX: one row per anchor, grids of stride 8, 16, 32 one after the other.
    Yolox,
}

impl DecoderKind {
    /// As manifests write it.
    fn name(self) -> &'static str {
        match self {
            DecoderKind::Yunet => "yunet",
            DecoderKind::YunetMerged => "yunet-merged",
            DecoderKind::Centerface => "centerface",
            DecoderKind::CenterfaceMerged => "centerface-merged",
            DecoderKind::Yolox => "yolox",
        }
    }
}

/// Order of the tensor's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// What the network wants to see.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the input.
    pub name: String,
    /// Order of the channels.
    pub channels: ChannelOrder,
    /// Value of the letterbox's border, 0 to 255.
    pub pad: u8,
    /// Both sides of the tensor are a multiple of this.
    pub multiple: u32,
    /// Per channel, in the tensor's order: tensor = (value - mean) * scale.
    pub mean: [f32; 3],
    /// See `mean`.
    pub scale: [f32; 3],
}

/// Defaults of the model's authors, used where a preset says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Least score of a detection, 0 to 1.
    pub score: f32,
    /// Two boxes of one network that overlap by more (IoU) are one, 0.1 to 1.
    pub nms: f32,
}

/// One model's manifest, as read from `NAME.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name by which presets and policies ask for it.
    pub name: String,
    /// The model file, beside the manifest.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal; checked at every load.
    pub sha256: String,
    /// How its outputs are read.
    pub decoder: DecoderKind,
    /// What it finds: `face` or `person`.
    pub classes: Vec<String>,
    /// What it wants.
    pub input: Input,
    /// Defaults.
    pub thresholds: Thresholds,
    /// Names of the outputs in the decoder's order, where they are not the usual ones.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Details of the decoder.
    #[serde(default)]
    pub decoder_options: DecoderOptions,
    /// How its boxes differ from what they should hold.
    #[serde(default)]
    pub calibration: Calibration,
    /// The smallest face, brow to chin (for a network of persons alone: person, head to waist), that it promises to find, in
    /// pixels of the network's input: 8 to 48, for persons alone to 128. What it does not say is what the presets promise: 14, and 64. One that
    /// promises less is called untested, and a lock has to allow it by name.
    #[serde(default)]
    pub smallest: Option<u32>,
    /// Where it comes from; for people, not read by the engine.
    #[serde(default)]
    pub origin: toml::Table,
}

/// Moves each edge of the network's boxes outward by a share of the box's size, before anything else grows it: networks
/// draw faces from the hair line to above the chin, while what must be hidden reaches from brow to below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// Left and right edge, in box widths.
    pub sides: f32,
    /// Upper edge, in box heights (upright).
    pub top: f32,
    /// Lower edge, in box heights (upright).
    pub bottom: f32,
}

/// Details of a decoder.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderOptions {
    /// Index of each class among the network's own classes (YOLOX).
    #[serde(default)]
    pub class_index: std::collections::BTreeMap<String, usize>,
}

impl Manifest {
    /// Reads and checks a manifest. `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::Model`] with what is wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Manifest> {
        let wrong = |why: String| {
            let why = format!("model manifest {origin}: {why}");
            Error::from(ModelError::new(ModelKind::Manifest, why).about(origin))
        };
        let m: Manifest = toml::from_str(text).map_err(|e: toml::de::Error| {
            let line = |at: usize| text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
            let place = e.span().map(|span| format!("line {}: ", line(span.start))).unwrap_or_default();
            wrong(format!("{place}{}", e.message().replace('\n', ", ")))
        })?;
        let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "..";
        if !plain(&m.file) || !plain(&m.name) {
            return Err(wrong(
                "`name` and `file` must be plain names; put the model beside the manifest".into(),
            ));
        }
        if m.sha256.len() != 64 || !m.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong("`sha256` must be 64 hexadecimal digits; print them with `sha256sum`".into()));
        }
        if m.classes.is_empty() || m.classes.iter().any(|c| Class::from_name(c).is_none()) {
            return Err(wrong("`classes` must name `face` or `person`".into()));
        }
        let unit = |v: f32| (0.0..=1.0).contains(&v);
        if !unit(m.thresholds.score) || !unit(m.thresholds.nms) {
            return Err(wrong("thresholds go from 0 to 1".into()));
        }
        if !(1..=128).contains(&m.input.multiple) || m.input.name.is_empty() {
            return Err(wrong(
                "`input.multiple` goes from 1 to 128, and `input.name` must not be empty".into(),
            ));
        }
        if m.input.mean.iter().chain(&m.input.scale).any(|v| !v.is_finite()) {
            return Err(wrong("`input.mean` and `input.scale` must be finite numbers".into()));
        }
        if m.thresholds.nms < LEAST_NMS {
            return Err(wrong(format!(
                "`thresholds.nms` goes from {LEAST_NMS} to 1: with less, who stands beside somebody is taken for the same one"
            )));
        }
        let edges = m.calibration;
        if [edges.sides, edges.top, edges.bottom].iter().any(|v| !(-0.2..=1.0).contains(v)) {
            return Err(wrong("`calibration` moves an edge by -0.2 to 1 box sizes".into()));
        }
        let most = MOST_SMALLEST[usize::from(!m.classes().any(|class| class == Class::Face))];
        if m.smallest.is_some_and(|n| !(LEAST_SMALLEST..=most).contains(&n)) {
            return Err(wrong(format!(
                "`smallest` is a height of 8 to {most} pixels of the network's input"
            )));
        }
        if m.outputs.iter().any(String::is_empty) {
            return Err(wrong("an output's name is empty".into()));
        }
        let wanted = super::decode::output_names(m.decoder).len().max(1);
        if !m.outputs.is_empty() && m.outputs.len() != wanted {
            return Err(wrong(format!("`outputs` names {}; its decoder reads {wanted}", m.outputs.len())));
        }
        Ok(m)
    }

    /// SHA-256, in hexadecimal, of [`Manifest::canonical`].
    pub fn canonical_sha256(&self) -> String {
        hex(Sha256::digest(self.canonical().as_bytes()))
    }

    /// Everything in it that decides what is found, as one text: what locks, reports and evidence name by its hash. Every key
    /// has a line `key = value` in this order, whether the file has it or not, each ended by a line feed; `origin` and the
    /// name of the model's file are left out. Text is in double quotes, with `\\` and `"` behind a `\\` and every other
    /// control character as `\\u{` its number in hexadecimal `}`; lists are in brackets, separated by a comma and a space;
    /// numbers are the shortest decimal ones that are read back as the same 32-bit float, without an exponent.
    /// models/README.md shows one.
    pub fn canonical(&self) -> String {
        let text = |s: &str| {
            let escaped = s.chars().fold(String::new(), |mut all, c| {
                match c {
                    '\\' | '"' => all.extend(['\\', c]),
                    c if c.is_control() => drop(write!(all, "\\u{{{:x}}}", c as u32)),
                    c => all.push(c),
                }
                all
            });
            format!("\"{escaped}\"")
        };
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        // Zero has one sign.
        let number = |v: f32| (v + 0.0).to_string();
        let smallest =
            self.classes().map(|class| format!("{} = {}", class, number(self.smallest(class)))).collect();
        let index =
            self.decoder_options.class_index.iter().map(|(name, at)| format!("{} = {at}", text(name)));
        let usual = || super::decode::output_names(self.decoder).iter().map(|s| text(s)).collect();
        let outputs = match self.outputs.is_empty() {
            true => usual(),
            false => self.outputs.iter().map(|s| text(s)).collect(),
        };
        let channels = match self.input.channels {
            ChannelOrder::Rgb => "rgb",
            ChannelOrder::Bgr => "bgr",
        };
        let (i, t, c) = (&self.input, &self.thresholds, &self.calibration);
        let lines = [
            ("manifest", "1".into()),
            ("name", text(&self.name)),
            ("sha256", text(&self.sha256.to_ascii_lowercase())),
            ("decoder", text(self.decoder.name())),
            ("classes", list(self.classes.iter().map(|s| text(s)).collect())),
            ("smallest", list(smallest)),
            ("class_index", list(index.collect())),
            ("outputs", list(outputs)),
            ("input.name", text(&i.name)),
            ("input.channels", text(channels)),
            ("input.pad", i.pad.to_string()),
            ("input.multiple", i.multiple.to_string()),
            ("input.mean", list(i.mean.map(number).into())),
            ("input.scale", list(i.scale.map(number).into())),
            ("thresholds.score", number(t.score)),
            ("thresholds.nms", number(t.nms)),
            ("calibration.sides", number(c.sides)),
            ("calibration.top", number(c.top)),
            ("calibration.bottom", number(c.bottom)),
        ];
        lines.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
    }

    /// The smallest of a class that it promises to find, in pixels of the network's input.
    pub(super) fn smallest(&self, class: Class) -> f32 {
        let usual = SMALLEST.iter().find(|(of, _)| *of == class).map_or(0.0, |(_, n)| *n);
        let own = self.smallest.filter(|_| class == Class::Face || !self.classes().any(|c| c == Class::Face));
        own.map_or(usual, |n| n as f32)
    }

    /// Whether it promises less than the presets do.
    pub(super) fn promises_less(&self) -> bool {
        let usual = |class| SMALLEST.iter().find(|(of, _)| *of == class).map_or(0.0, |(_, n)| *n);
        self.classes().any(|class| self.smallest(class) > usual(class))
    }

    /// What the model finds.
    pub fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        self.classes.iter().filter_map(|c| Class::from_name(c))
    }
}

/// A folder of manifests and models.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: PathBuf,
}

impl ModelStore {
    /// The folder with `NAME.toml` and the files they name.
    pub fn new(dir: impl Into<PathBuf>) -> ModelStore {
        ModelStore { dir: dir.into() }
    }

    /// Looks for the models: `MILKGLASS_MODELS`, then beside the executable (`models/`, `../share/milkglass/models`, and
    /// two folders up, where a build leaves it), then `/usr/local/share/milkglass/models` and `/usr/share/milkglass/models`.
    ///
    /// # Errors
    /// [`Error::Model`] that names every place looked at.
    pub fn locate() -> Result<ModelStore> {
        if let Some(dir) = std::env::var_os("MILKGLASS_MODELS") {
            return Ok(ModelStore::new(dir));
        }
        let exe = std::env::current_exe().and_then(std::fs::canonicalize).ok();
        let beside = exe.as_deref().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
        ModelStore::in_one_of(&usual_places(&beside))
    }

    fn in_one_of(places: &[PathBuf]) -> Result<ModelStore> {
        match places.iter().find(|dir| dir.join("yunet.toml").is_file()) {
            Some(dir) => Ok(ModelStore::new(dir)),
            None => {
                let list: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
                // Read by people at the command, and by those of a program in C or of a GStreamer pipeline.
                let why = format!(
                    "no models found; looked in {}: say where they are with MILKGLASS_MODELS, or with the setting `models` \
                     (--models DIR)",
                    list.join(", ")
                );
                Err(ModelError::new(ModelKind::Missing, why).into())
            }
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn manifest(&self, name: &str) -> Result<Manifest> {
        let path = self.dir.join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).map_err(|e| {
            let path = path.display();
            let why = format!(
                "cannot read the model manifest {path}: {e}; `milkglass doctor` tells what is missing"
            );
            ModelError::new(ModelKind::Missing, why).about(name).caused_by(e)
        })?;
        Manifest::parse(&text, &path.display().to_string())
    }

    /// Reads a model file and checks its hash.
    ///
    /// # Errors
    /// [`Error::Model`] when it is missing, too large or altered.
    pub fn read(&self, manifest: &Manifest) -> Result<Vec<u8>> {
        let path = self.dir.join(&manifest.file);
        let shown = path.display();
        let wrong = |kind, why: String| ModelError::new(kind, why).about(&manifest.name);
        let missing = |e| {
            let why = format!("cannot read the model {shown}: {e}; models/reproduce.sh makes it again");
            wrong(ModelKind::Missing, why).caused_by(e)
        };
        if std::fs::metadata(&path).map_err(missing)?.len() > MAX_MODEL_BYTES {
            let why = format!("the model {shown} is larger than 512 MiB; it was not loaded");
            return Err(wrong(ModelKind::Unusable, why).into());
        }
        let bytes = std::fs::read(&path).map_err(missing)?;
        let found = hex(Sha256::digest(&bytes));
        if !found.eq_ignore_ascii_case(&manifest.sha256) {
            let why = format!(
                "the model {shown} was altered: its SHA-256 is {found}, its manifest says {}; restore it, or update the \
                 manifest if the change is yours",
                manifest.sha256
            );
            return Err(wrong(ModelKind::Altered, why).into());
        }
        if bytes.windows(ELSEWHERE.len()).any(|part| part == ELSEWHERE) {
            let why = format!(
                "the model {shown} keeps weights in another file, which no hash covers; it was not loaded: put them into the model \
                 (onnx.save without external data)"
            );
            return Err(wrong(ModelKind::Unusable, why).into());
        }
        Ok(bytes)
    }
}

/// In an ONNX file, the key of the entry that names a file with weights.
const ELSEWHERE: &[u8] = b"\x0a\x08location";

/// Where models are looked for, beside a program and where `make install` puts them.
fn usual_places(beside: &Path) -> Vec<PathBuf> {
    // target/release/milkglass and target/debug/deps/test-binary: the checkout is two or three folders up.
    let beside =
        ["models", "../share/milkglass/models", "../../models", "../../../models"].map(|p| beside.join(p));
    let installed = ["/usr/local/share/milkglass/models", "/usr/share/milkglass/models"].map(PathBuf::from);
    beside.into_iter().chain(installed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime would read that file by its name, whatever is in it by then.
    #[test]
    fn a_model_is_one_file() {
        let dir = std::env::temp_dir().join(format!("milkglass-model-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap_or_default();
        let read = |bytes: &[u8]| {
            std::fs::write(dir.join("yunet.onnx"), bytes).unwrap_or_default();
            let text = include_str!("../../models/yunet.toml");
            let mut manifest = Manifest::parse(text, "yunet.toml")?;
            manifest.sha256 = hex(Sha256::digest(bytes));
            ModelStore::new(&dir).read(&manifest)
        };
        let tensor = b"\x6a\x18\x0a\x08location\x12\x0cweights.data\x70\x01";
        let said = read(tensor).map_err(|e| e.to_string());
        assert!(said.is_err_and(|said| said.contains("another file")));
        assert!(read(b"the location of a face").is_ok());
        let _ = std::fs::remove_dir_all(&dir);
    }

    /// The Makefile's own PREFIX is one of them, and whoever has none is told what to set, in whatever language.
    #[test]
    fn models_are_found_where_make_install_puts_them() {
        let makefile =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).unwrap_or_default();
        let prefix = makefile.lines().find_map(|line| line.strip_prefix("PREFIX ?= ")).unwrap_or_default();
        let places = usual_places(Path::new("/opt/app/bin"));
        for wanted in [&format!("{prefix}/share/milkglass/models"), "/usr/share/milkglass/models"] {
            assert!(places.contains(&PathBuf::from(wanted)), "{wanted} is not in {places:?}");
        }
        let said = ModelStore::in_one_of(&[]).map(|_| ()).map_err(|e| e.to_string());
        assert!(said.is_err_and(|said| said.contains("MILKGLASS_MODELS") && said.contains("`models`")));
    }
}
