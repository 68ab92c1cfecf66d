//! Several passes of one or more networks over one picture, joined to one list of detections.

use super::InStream;
use super::admission;
use super::backend::{Backend, Network, Processors};
use super::decode::{self, Candidate, DecoderKind};
use super::letterbox::Letterbox;
use super::manifest::{Input, Manifest, ModelStore};
use super::pass_input::PassInput;
use super::{Detection, Detector, LoadedModel, Proof};
use crate::class::Class;
use crate::error::{DetectorError, DetectorKind, ModelError, ModelKind, Result};
use crate::frame::DetectJob;
use crate::picture::{FrameFormat, View};
use crate::policy::{Pass, Settings};

/// Boxes of different passes that overlap by more are one thing.
const ACROSS_PASSES_IOU: f32 = 0.7;
/// How far off a box may be, in pixels of the network's input.
const SLACK: f32 = 2.0;
/// A box that ends so near to the edge of a tile is cut by it.
const TILE_EDGE: f32 = 4.0;

/// The detector of this crate: the passes of some [`Settings`], run one after the other.
pub struct Ensemble {
    models: Vec<Model>,
    passes: Vec<Prepared>,
    classes: Vec<Class>,
    /// Memory that is used again at every look.
    all: Vec<(Detection, f32)>,
    candidates: Vec<Candidate>,
    list: Vec<Detection>,
    pin: Option<Processors>,
}

struct Model {
    manifest: Manifest,
    network: Box<dyn Network>,
    classes: Vec<Class>,
    class_index: Vec<usize>,
}

struct Prepared {
    pass: Pass,
    model: usize,
    sight: Option<PassInput>,
}

impl Ensemble {
    /// Loads every model that the passes name, its hash checked, and shows each pass known persons: an ensemble that does
    /// not find them, down to the size that it promises, or finds somebody where nobody is, does not come to be. That takes
    /// about four looks, once per process, for the same manifests, models, runtime and passes.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) when one is missing, altered, not what its manifest says, or does not find the
    /// known persons.
    pub fn load(store: &ModelStore, backend: &Backend, settings: &Settings) -> Result<Ensemble> {
        let mut ensemble = Self::load_unasked(store, backend, settings)?;
        let library = backend.library().map(|(_, sha256)| sha256).unwrap_or_default();
        admission::admit(&mut ensemble, &format!("{} {library}", backend.name()))?;
        for less in ensemble.models().filter(|m| m.promises_less()) {
            log::warn!(
                "the model {} is untested for the smallest: its manifest promises less than the presets (`smallest`)",
                less.name
            );
        }
        Ok(ensemble)
    }

    /// The same, before anything is asked of it.
    pub(super) fn load_unasked(
        store: &ModelStore,
        backend: &Backend,
        settings: &Settings,
    ) -> Result<Ensemble> {
        let mut models: Vec<Model> = Vec::new();
        let mut passes = Vec::new();
        for pass in &settings.passes {
            let known = models.iter().position(|m| m.manifest.name == pass.model);
            let model = match known {
                Some(at) => at,
                None => {
                    models.push(Model::load(store, backend, &pass.model)?);
                    models.len() - 1
                }
            };
            passes.push(Prepared { pass: pass.clone(), model, sight: None });
        }
        let mut classes: Vec<Class> = models.iter().flat_map(|m| m.classes.iter().copied()).collect();
        classes.sort_unstable();
        classes.dedup();
        Ok(Ensemble {
            models,
            passes,
            classes,
            all: Vec::new(),
            candidates: Vec::new(),
            list: Vec::new(),
            pin: backend.pin().cloned(),
        })
    }

    /// Name, file hash and licence of each model in use.
    pub fn models(&self) -> impl Iterator<Item = &Manifest> {
        self.models.iter().map(|m| &m.manifest)
    }

    /// Each model in use, as locks, reports and evidence name it.
    pub fn loaded(&self) -> impl Iterator<Item = LoadedModel> {
        self.models().map(|m| LoadedModel {
            name: m.name.clone(),
            sha256: m.sha256.clone(),
            manifest_sha256: m.canonical_sha256(),
            untested: m.promises_less(),
        })
    }

    /// How many passes there are.
    pub(super) fn passes(&self) -> usize {
        self.passes.len()
    }

    /// A pass, with the manifest of its model.
    pub(super) fn pass(&self, at: usize) -> (&Manifest, &Pass) {
        let prepared = &self.passes[at];
        (&self.models[prepared.model].manifest, &prepared.pass)
    }

    /// Has one pass alone asked, at a score of `highest` at most; keeps nothing of what it was shown.
    pub(super) fn alone<T>(&mut self, at: usize, highest: f32, ask: impl FnOnce(&mut Ensemble) -> T) -> T {
        let mut one = self.passes.remove(at);
        let score = one.pass.score;
        one.pass.score = score.min(highest);
        let others = std::mem::replace(&mut self.passes, vec![one]);
        let answer = ask(self);
        let one = std::mem::replace(&mut self.passes, others).pop();
        self.passes.extend(one.map(|one| Prepared { pass: Pass { score, ..one.pass }, sight: None, ..one }));
        let last = self.passes.len() - 1;
        self.passes[at..=last].rotate_right(1);
        answer
    }
}

impl Model {
    fn load(store: &ModelStore, backend: &Backend, name: &str) -> Result<Model> {
        let manifest = store.manifest(name)?;
        if manifest.name != name {
            let why = format!(
                "the model manifest {name}.toml calls itself {}; a model that goes by another's name would stand for it, so \
                 give file and `name` one name",
                manifest.name
            );
            return Err(ModelError::new(ModelKind::Manifest, why).about(name).into());
        }
        let network = backend.load(&manifest, store.read(&manifest)?)?;
        let classes: Vec<Class> = manifest.classes().collect();
        let index =
            |c: &Class| manifest.decoder_options.class_index.get(&c.to_string()).copied().unwrap_or(0);
        let class_index = classes.iter().map(index).collect();
        log::info!("model {} ({}), SHA-256 {}", manifest.name, manifest.file, manifest.sha256);
        Ok(Model { manifest, network, classes, class_index })
    }
}

impl Detector for Ensemble {
    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn proof(&self) -> Proof {
        match self.models().any(Manifest::promises_less) {
            true => Proof::Untested,
            false => Proof::Given,
        }
    }

    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        self.all(view, None)
    }

    fn in_stream(&mut self) -> Option<&mut dyn InStream> {
        Some(self)
    }
}

impl InStream for Ensemble {
    fn look(&mut self, job: &mut DetectJob) -> Result<Vec<Detection>> {
        let Some(tiled) = self.passes.iter_mut().find(|p| p.pass.tile.is_some()) else {
            return self.detect(&job.view());
        };
        let input = &self.models[tiled.model].manifest.input;
        let tiles = &mut tiled.sight(job.view().format(), input).tiles;
        if tiles.count() == 1 {
            return self.detect(&job.view());
        }
        let tile = tiles.next(|area| job.moved(area));
        let inner = tiles.inner(tile);
        let found = self.all(&job.view(), Some(tile))?;
        job.examined_only(inner);
        Ok(found)
    }

    fn looks_in_parts(&self) -> bool {
        self.passes.iter().any(|p| p.pass.tile.is_some())
    }

    fn start(&mut self) {
        if let Some(pin) = &self.pin {
            pin.pin_thread();
        }
    }

    fn reuse(&mut self, list: Vec<Detection>) {
        self.list = list;
        self.list.clear();
    }

    /// The letterboxes go, and are made again when there is a picture. What the runtime keeps is out of reach.
    fn forget(&mut self) {
        self.passes.iter_mut().for_each(|prepared| prepared.sight = None);
    }
}

impl Ensemble {
    /// Every pass; of the tiles, all or one.
    fn all(&mut self, view: &View<'_>, tile: Option<usize>) -> Result<Vec<Detection>> {
        let (all, candidates) = (&mut self.all, &mut self.candidates);
        all.clear();
        // One read of the frame serves all passes, but for tiles that take turns on one tensor.
        for band in 0..Letterbox::bands(view.format()) {
            for prepared in &mut self.passes {
                let sight = prepared.sight(view.format(), &self.models[prepared.model].manifest.input);
                if let Some(only) = sight.only(tile) {
                    (0..sight.shapes()).for_each(|shape| sight.aim(shape, only).1.load_band(view, band));
                }
            }
        }
        let mut more_than_one = self.passes.len() > 1;
        for prepared in &mut self.passes {
            let model = &mut self.models[prepared.model];
            let sight = prepared.sight(view.format(), &model.manifest.input);
            let shapes = sight.shapes();
            more_than_one |= shapes > 1;
            if let Some(only) = sight.only(tile) {
                for shape in 0..shapes {
                    prepared.run(model, view, (shape, only), candidates, all)?;
                }
                continue;
            }
            let count = sight.tiles.count();
            for at in (0..shapes).flat_map(|shape| (0..count).map(move |tile| (shape, tile))) {
                prepared.sight(view.format(), &model.manifest.input).aim(at.0, at.1).1.load(view);
                prepared.run(model, view, at, candidates, all)?;
            }
        }
        if more_than_one {
            let overlap =
                |a: &Detection, b: &Detection| if a.class == b.class { a.rect.iou(&b.rect) } else { 0.0 };
            // Scores of different networks are comparable only in units of their thresholds, so a sure box is never
            // suppressed by a tentative one.
            decode::suppress(all, ACROSS_PASSES_IOU, |d| d.1, |a, b| overlap(&a.0, &b.0));
        }
        let mut list = std::mem::take(&mut self.list);
        list.extend(all.iter().map(|(d, _)| d));
        Ok(list)
    }
}

impl Prepared {
    /// The sight for pictures of this format, with the turns that its tiles have taken.
    fn sight(&mut self, format: &FrameFormat, input: &Input) -> &mut PassInput {
        let fitting = self.sight.take().filter(|s| s.tiles.fits(format));
        self.sight.insert(fitting.unwrap_or_else(|| PassInput::new(&self.pass, format, input)))
    }

    /// Looks at one tile with pixels of one shape, whose tensor is loaded, and adds the detections to `all`, each with its
    /// score in units of the pass's threshold.
    fn run(
        &mut self,
        model: &mut Model,
        view: &View<'_>,
        (shape, tile): (usize, usize),
        found: &mut Vec<Candidate>,
        all: &mut Vec<(Detection, f32)>,
    ) -> Result<()> {
        let Pass { class: wanted, score: sure, keep, min_box, .. } = self.pass;
        let input = &model.manifest.input;
        let (tiles, letterbox) = self.sight(view.format(), input).aim(shape, tile);
        let Some(tensor) = letterbox.tensor() else {
            return Err(DetectorError::new(DetectorKind::Inference, "the tensor has no shape").into());
        };
        let (_, _, rows, cols) = tensor.dim();
        let least = sure * keep.min(1.0);
        let (decoder, class_index): (DecoderKind, &[usize]) = (model.manifest.decoder, &model.class_index);
        found.clear();
        model.network.run(tensor, &mut |outputs| {
            decode::decode(decoder, outputs, (cols, rows), class_index, least, found)
        })?;
        decode::suppress(found, model.manifest.thresholds.nms, |c| c.score, decode::iou);
        found.retain(|c| ((c.x1 - c.x0) * (c.y1 - c.y0)).sqrt() >= min_box);
        let pixel = letterbox.pixel_size();
        let slack = SLACK * pixel.0.min(pixel.1);
        // What it lacks where the network's pixels are wider or higher than that.
        let more = (SLACK * pixel.0 - slack, SLACK * pixel.1 - slack);
        let edge = (TILE_EDGE * pixel.0, TILE_EDGE * pixel.1);
        let edges = model.manifest.calibration;
        let detections = found.iter().filter_map(|c| {
            let (w, h) = (c.x1 - c.x0, c.y1 - c.y0);
            let (dx, top, bottom) = (w * edges.sides, h * edges.top, h * edges.bottom);
            let seen = letterbox.to_frame(c.x0, c.y0, c.x1, c.y1);
            if seen.is_some_and(|seen| tiles.cuts(tile, &seen, edge)) {
                return None;
            }
            let rect = letterbox.to_frame(c.x0 - dx, c.y0 - top, c.x1 + dx, c.y1 + bottom)?;
            let rect = rect.grown_by(1.0, more);
            let class = *model.classes.get(c.class).filter(|class| **class == wanted)?;
            let detection = Detection { class, rect, score: c.score, slack, tentative: c.score < sure };
            Some((detection, c.score / sure.max(f32::MIN_POSITIVE)))
        });
        all.extend(detections);
        Ok(())
    }
}

#[cfg(all(test, feature = "rten"))]
mod tests {
    use super::*;
    use crate::frame::{FrameMeta, FramePool};
    use crate::picture::PixelFormat;
    use crate::policy::BackendChoice;
    use crate::policy::Preset;
    use crate::time::Timestamp;

    #[test]
    fn letterboxes_go_when_there_is_nothing_to_look_at_and_come_back() {
        let store = ModelStore::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models"));
        let backend = Backend::choose(BackendChoice::Rten, 1).unwrap();
        let settings = Preset::Fast.settings(&[Class::Face]);
        let mut ensemble = Ensemble::load(&store, &backend, &settings).unwrap();
        let format = FrameFormat::new(PixelFormat::Nv12, 64, 48).unwrap();
        let pool = FramePool::new(format, 1);
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        let job = pool.fill(meta, |_| Ok(())).unwrap().unwrap().lend(std::sync::Arc::default());
        let kept = |ensemble: &Ensemble| ensemble.passes.iter().filter(|pass| pass.sight.is_some()).count();
        for _ in 0..2 {
            ensemble.detect(&job.view()).unwrap();
            assert_eq!(kept(&ensemble), ensemble.passes.len());
            ensemble.forget();
            assert_eq!(kept(&ensemble), 0);
        }
    }
}
