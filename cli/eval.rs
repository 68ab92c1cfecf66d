//! `milkglass eval`: how much stays visible, and how much is hidden needlessly, on labelled pictures.
//!
//! Measured on the pixels that redaction really changed: every picture goes through the engine with `fill` in a colour
//! that pictures hardly hold, and a pixel counts as hidden if it has that colour afterwards and had not before. Rows with
//! `video` and `frame` are played as clips, tracker included; with `--scene` stills are played as a live picture that does
//! not move.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use image::RgbImage;
use milkglass::detect::Ensemble;
use milkglass::frame::{FrameMeta, FramePool, RawFrame, RedactedFrame};
use milkglass::{Media, Opening, Policy};
use serde::{Deserialize, Serialize};

use crate::args::EvalArgs;
use crate::clips::PICTURE_PERIOD;
use crate::lockstep::{self, Clock, FrameIn};
use crate::opening::{open_recorded, still_format};
use crate::outcome::{Exit, Failure};
use crate::{progress, still};

/// Hardly a pixel of any picture has it.
const MARK: &str = "#01fe02";
const MARK_RGB: [u8; 3] = [0x01, 0xfe, 0x02];
/// A labelled object that is covered less than this leaks.
const LEAK: f64 = 0.9;
/// Covered less than this it is fully visible.
const VISIBLE: f64 = 0.1;
/// What the rows of faces and persons are called: of every picture or frame, and of the last frames of scenes.
const CLASSES: [&str; 2] = ["faces", "persons"];
const AT_THE_END: [&str; 2] = ["faces at the end", "persons at the end"];
/// Names and upper bounds of the sizes (shorter side of the label, in pixels).
const SIZES: [(&str, f64); 4] = [("<16", 16.0), ("16-32", 32.0), ("32-64", 64.0), (">=64", f64::INFINITY)];

/// A row of the labels. `null` means not annotated.
#[derive(Deserialize)]
struct Label {
    image: String,
    #[serde(default)]
    frame: Option<u64>,
    #[serde(default)]
    video: Option<String>,
    #[serde(default)]
    faces: Option<Vec<Vec<serde_json::Value>>>,
    #[serde(default)]
    persons: Option<Vec<Vec<serde_json::Value>>>,
    #[serde(default)]
    partial: bool,
    #[serde(default)]
    source: Option<String>,
}

/// A labelled object: x, y, width, height, and whether it counts neither way.
struct Object {
    rect: [f64; 4],
    ignore: bool,
}

/// Figures of one class.
#[derive(Default, Serialize)]
struct Score {
    pictures: u64,
    objects: u64,
    /// Share of objects covered less than 90 %.
    leak: f64,
    /// Share of objects covered less than 10 %.
    fully_visible: f64,
    /// Mean share of the picture that is hidden outside every label; absent when no row is labelled completely.
    over_redaction: Option<f64>,
    /// Mean share of the picture that is hidden, needlessly or not; known for partly labelled rows too.
    hidden: f64,
    /// Frames of the longest run in which an object of a clip was fully visible.
    longest_visible_run: Option<u64>,
    by_size: BTreeMap<&'static str, SizeScore>,
    #[serde(skip)]
    over: Vec<f64>,
    #[serde(skip)]
    run: u64,
}

#[derive(Default, Serialize)]
struct SizeScore {
    objects: u64,
    leak: f64,
    fully_visible: f64,
}

/// Runs the command.
pub fn run(args: &EvalArgs) -> Result<Exit, Failure> {
    let mut hiding_args = args.hiding.clone();
    hiding_args.keys.set("color", MARK);
    let hiding = open_recorded(&hiding_args, false)?;
    let mut scores: BTreeMap<&'static str, Score> = BTreeMap::new();
    let mut rows = Vec::new();
    for path in &args.labels {
        rows.extend(read_labels(path)?);
    }
    rows.retain(|(l, _)| {
        args.source.is_empty() || l.source.as_ref().is_some_and(|s| args.source.contains(s))
    });
    if rows.is_empty() {
        return Err(Failure::new("no labelled picture is left; check the files and --source"));
    }
    let (clips, stills): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(l, _)| l.video.is_some());
    let bar = progress::bar(Some((clips.len() + stills.len()) as u64), "pictures", "evaluating");
    let policy = hiding.policy(Media::Still);
    // Stills that are played are looked at as a camera's pictures.
    let (plays, looks) =
        (!clips.is_empty() || args.scene.is_some(), !stills.is_empty() && args.scene.is_none());
    let mut of_clips = plays.then(|| hiding.detector(Media::Live, hiding.threads())).transpose()?;
    let mut of_stills = looks.then(|| hiding.detector(Media::Still, hiding.threads())).transpose()?;
    for (label, path) in &stills {
        check_cancel()?;
        if let (Some(frames), Some((detector, _))) = (args.scene, &mut of_clips) {
            scene(&hiding, detector, (label, path), frames, &mut scores)?;
            bar.inc(1);
            continue;
        }
        let Some((detector, _)) = &mut of_stills else { continue };
        let picture = still::read(path)?;
        let format = still_format(&hiding, &picture)?;
        let picture = picture.pixels;
        let redacted = still::redact(&picture, format, &policy, detector)?;
        if let Some(reason) = redacted.detector_error {
            return Err(Failure::new(format!("detection failed: {reason}")).about(path));
        }
        let hidden = hidden(&picture, &redacted.frame);
        add(&mut scores, CLASSES, label, &hidden, &policy, &mut BTreeMap::new())?;
        bar.inc(1);
    }
    let mut by_clip: BTreeMap<String, Vec<(Label, PathBuf)>> = BTreeMap::new();
    for (label, path) in clips {
        by_clip.entry(label.video.clone().unwrap_or_default()).or_default().push((label, path));
    }
    for frames in by_clip.values_mut() {
        let Some((detector, _)) = &mut of_clips else { continue };
        frames.sort_by_key(|(l, _)| l.frame);
        clip(&hiding, detector, frames, &mut scores, &mut || bar.inc(1))?;
    }
    bar.finish_and_clear();
    let backend =
        of_stills.as_ref().or(of_clips.as_ref()).map_or("none", |(_, loaded)| loaded.runtime.as_str());
    let preset = match (plays, looks, hiding.look(Media::Live).preset, hiding.look(Media::Still).preset) {
        (true, true, clips, stills) if clips != stills => format!("{stills} (stills), {clips} (clips)"),
        (true, _, preset, _) | (_, _, _, preset) => preset.to_string(),
    };
    print(args, &preset, backend, &scores)?;
    Ok(Exit::Done)
}

fn check_cancel() -> Result<(), Failure> {
    if progress::cancelled() { Err(Failure::interrupted()) } else { Ok(()) }
}

fn read_labels(path: &Path) -> Result<Vec<(Label, PathBuf)>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(format!("cannot be read: {e}")).about(path))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let parsed = lines.map(|(i, line)| {
        let label: Label = serde_json::from_str(line)
            .map_err(|e| Failure::new(format!("line {} is no label: {e}", i + 1)).about(path))?;
        let picture = base.join(&label.image);
        Ok((label, picture))
    });
    parsed.collect()
}

/// One clip as pictures in a row, through the same loop as a clip from a file.
fn clip(
    hiding: &Opening,
    detector: &mut Ensemble,
    frames: &[(Label, PathBuf)],
    scores: &mut BTreeMap<&'static str, Score>,
    step: &mut dyn FnMut(),
) -> Result<(), Failure> {
    let Some((_, first)) = frames.first() else { return Ok(()) };
    let format = still_format(hiding, &still::read(first)?)?;
    let policy = hiding.policy(Media::Clip { fps: 1.0 / PICTURE_PERIOD.as_secs_f64() });
    let pool = lockstep::pool(format, &policy);
    let mut source = Pictures { frames, next: 0, pool: pool.clone(), clock: Clock::new((1, 30)) };
    let mut runs = BTreeMap::new();
    let every = hiding.detect_every();
    let totals = lockstep::run(&mut source, &pool, &policy, detector, every, &mut |out| {
        let at = usize::try_from(out.frame.meta().sequence).unwrap_or(usize::MAX);
        let (label, path) = frames.get(at).ok_or_else(|| Failure::new("a frame too many"))?;
        let picture = still::read(path)?;
        let hidden = hidden(&picture.pixels, &out.frame);
        step();
        add(scores, CLASSES, label, &hidden, &policy, &mut runs)
    })?;
    match totals.detector_errors {
        Some((reason, count)) => {
            Err(Failure::new(format!("detection failed {count} times, first: {reason}")))
        }
        None => Ok(()),
    }
}

/// A still as a live picture that does not move: detection looks at every frame, and nothing looks ahead.
fn scene(
    hiding: &Opening,
    detector: &mut Ensemble,
    (label, path): (&Label, &Path),
    frames: u32,
    scores: &mut BTreeMap<&'static str, Score>,
) -> Result<(), Failure> {
    let picture = still::read(path)?;
    let policy = hiding.policy(Media::Scene);
    let pool = FramePool::new(still_format(hiding, &picture)?, 8);
    let picture = picture.pixels;
    let mut source =
        Scene { picture: &picture, next: 0, frames, pool: pool.clone(), clock: Clock::new((1, 30)) };
    let totals = lockstep::run(&mut source, &pool, &policy, detector, 1, &mut |out| {
        let hidden = hidden(&picture, &out.frame);
        add(scores, CLASSES, label, &hidden, &policy, &mut BTreeMap::new())?;
        if out.frame.meta().sequence + 1 == u64::from(frames) {
            add(scores, AT_THE_END, label, &hidden, &policy, &mut BTreeMap::new())?;
        }
        Ok(())
    })?;
    match totals.detector_errors {
        Some((reason, _)) => Err(Failure::new(format!("detection failed: {reason}")).about(path)),
        None => Ok(()),
    }
}

struct Scene<'a> {
    picture: &'a RgbImage,
    next: u32,
    frames: u32,
    pool: FramePool,
    clock: Clock,
}

impl FrameIn for Scene<'_> {
    fn next(&mut self) -> Result<Option<(RawFrame, i64)>, Failure> {
        check_cancel()?;
        if self.next == self.frames {
            return Ok(None);
        }
        let pts = i64::from(self.next);
        self.next += 1;
        let meta = FrameMeta { sequence: pts as u64, captured: self.clock.captured(pts) };
        Ok(Some((raw(&self.pool, meta, self.picture)?, pts)))
    }
}

/// A picture as a raw frame.
fn raw(pool: &FramePool, meta: FrameMeta, picture: &RgbImage) -> Result<RawFrame, Failure> {
    let row_bytes = 3 * picture.width() as usize;
    let write = |view: &mut milkglass::picture::ViewMut<'_>| {
        view.copy_plane(0, picture.as_raw(), row_bytes);
        Ok(())
    };
    lockstep::fill(pool, meta, write, &progress::cancelled)
}

struct Pictures<'a> {
    frames: &'a [(Label, PathBuf)],
    next: usize,
    pool: FramePool,
    clock: Clock,
}

impl FrameIn for Pictures<'_> {
    fn next(&mut self) -> Result<Option<(RawFrame, i64)>, Failure> {
        check_cancel()?;
        let Some((_, path)) = self.frames.get(self.next) else { return Ok(None) };
        let picture = still::read(path)?.pixels;
        if picture.dimensions() != self.pool.format().size() {
            return Err(Failure::new("has another size than the clip's first picture").about(path));
        }
        let pts = i64::try_from(self.next).unwrap_or(i64::MAX);
        let meta = FrameMeta { sequence: self.next as u64, captured: self.clock.captured(pts) };
        self.next += 1;
        Ok(Some((raw(&self.pool, meta, &picture)?, pts)))
    }
}

/// Which pixels were hidden.
struct Hidden {
    width: usize,
    height: usize,
    pixels: Vec<bool>,
}

fn hidden(before: &RgbImage, after: &RedactedFrame) -> Hidden {
    let (width, height) = before.dimensions();
    let view = after.view();
    let mut pixels = Vec::with_capacity((width * height) as usize);
    for (y, old) in (0..height).zip(before.rows()) {
        let new = view.row(0, y).chunks_exact(3);
        pixels.extend(new.zip(old).map(|(new, old)| new == MARK_RGB && old.0 != MARK_RGB));
    }
    Hidden { width: width as usize, height: height as usize, pixels }
}

impl Hidden {
    /// The pixels whose centre lies in `lo..hi`, as the labels are meant.
    fn span(lo: f64, hi: f64, n: usize) -> (usize, usize) {
        let edge = |v: f64| (v - 0.5).ceil().max(0.0) as usize;
        (edge(lo).min(n), edge(hi).min(n))
    }

    fn covered(&self, [x, y, w, h]: [f64; 4]) -> f64 {
        let (x0, x1) = Self::span(x, x + w, self.width);
        let (y0, y1) = Self::span(y, y + h, self.height);
        if x1 <= x0 || y1 <= y0 {
            let at = y0.min(self.height - 1) * self.width + x0.min(self.width - 1);
            return f64::from(u8::from(self.pixels[at]));
        }
        let rows = (y0..y1).map(|y| &self.pixels[y * self.width + x0..y * self.width + x1]);
        let count: usize = rows.map(|row| row.iter().filter(|h| **h).count()).sum();
        count as f64 / ((x1 - x0) * (y1 - y0)) as f64
    }

    /// Share of the picture hidden outside all of these.
    fn outside(&self, objects: &[Object]) -> f64 {
        let mut pixels = self.pixels.clone();
        for Object { rect: [x, y, w, h], .. } in objects {
            let (x0, x1) = Self::span(*x, x + w, self.width);
            let (y0, y1) = Self::span(*y, y + h, self.height);
            for row in y0..y1 {
                if x0 < x1 {
                    pixels[row * self.width + x0..row * self.width + x1].fill(false);
                }
            }
        }
        pixels.iter().filter(|h| **h).count() as f64 / pixels.len() as f64
    }
}

fn objects(labels: &[Vec<serde_json::Value>]) -> Result<Vec<Object>, Failure> {
    let parsed = labels.iter().map(|label| {
        let numbers: Option<Vec<f64>> = label.iter().take(4).map(serde_json::Value::as_f64).collect();
        let rect = numbers.and_then(|n| <[f64; 4]>::try_from(n).ok());
        let rect = rect.ok_or_else(|| Failure::new("a label is not [x, y, width, height]"))?;
        let flag = label.get(4).and_then(|f| f.get("ignore")).and_then(serde_json::Value::as_bool);
        Ok(Object { rect, ignore: flag.unwrap_or(false) })
    });
    parsed.collect()
}

/// Adds one picture to the figures. `runs` counts for each object of a clip how long it has been visible.
fn add(
    scores: &mut BTreeMap<&'static str, Score>,
    [faces, persons]: [&'static str; 2],
    label: &Label,
    hidden: &Hidden,
    policy: &Policy,
    runs: &mut BTreeMap<(&'static str, usize), u64>,
) -> Result<(), Failure> {
    let classes =
        [(faces, &label.faces, milkglass::Class::Face), (persons, &label.persons, milkglass::Class::Person)];
    for (name, labels, class) in classes {
        let (Some(labels), Some(_)) = (labels, policy.style(class)) else { continue };
        let objects = objects(labels)?;
        let score = scores.entry(name).or_default();
        score.pictures += 1;
        score.hidden += hidden.outside(&[]);
        for (i, object) in objects.iter().enumerate().filter(|(_, o)| !o.ignore) {
            let covered = hidden.covered(object.rect);
            let short = object.rect[2].min(object.rect[3]);
            let (size, _) = SIZES.iter().find(|(_, most)| short < *most).unwrap_or(&SIZES[3]);
            let by_size = score.by_size.entry(size).or_default();
            let (leak, visible) =
                (f64::from(u8::from(covered < LEAK)), f64::from(u8::from(covered < VISIBLE)));
            score.objects += 1;
            score.leak += leak;
            score.fully_visible += visible;
            by_size.objects += 1;
            by_size.leak += leak;
            by_size.fully_visible += visible;
            if label.video.is_some() {
                let run = runs.entry((name, i)).or_default();
                *run = if covered < VISIBLE { *run + 1 } else { 0 };
                score.run = score.run.max(*run);
                score.longest_visible_run = Some(score.run);
            }
        }
        if !label.partial {
            score.over.push(hidden.outside(&objects));
        }
    }
    Ok(())
}

fn print(
    args: &EvalArgs,
    preset: &str,
    backend: &str,
    scores: &BTreeMap<&'static str, Score>,
) -> Result<(), Failure> {
    let mut finished: BTreeMap<&'static str, Score> = BTreeMap::new();
    for (name, sums) in scores {
        let share = |sum: f64, n: u64| sum / n.max(1) as f64;
        let by_size = sums.by_size.iter().map(|(size, s)| {
            let (leak, fully_visible) = (share(s.leak, s.objects), share(s.fully_visible, s.objects));
            (*size, SizeScore { objects: s.objects, leak, fully_visible })
        });
        let mean = sums.over.iter().sum::<f64>() / sums.over.len().max(1) as f64;
        finished.insert(
            *name,
            Score {
                pictures: sums.pictures,
                objects: sums.objects,
                leak: share(sums.leak, sums.objects),
                fully_visible: share(sums.fully_visible, sums.objects),
                hidden: share(sums.hidden, sums.pictures),
                over_redaction: (!sums.over.is_empty()).then_some(mean),
                longest_visible_run: sums.longest_visible_run,
                by_size: by_size.collect(),
                ..Score::default()
            },
        );
    }
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        let document = serde_json::json!({
            "milkglass": env!("CARGO_PKG_VERSION"), "preset": preset, "backend": backend, "scores": finished,
        });
        writeln!(out, "{document:#}")
    } else {
        table(&mut out, &finished)
    };
    written.map_err(|e| Failure::new(format!("the figures cannot be printed: {e}")))
}

fn table(out: &mut dyn Write, scores: &BTreeMap<&'static str, Score>) -> std::io::Result<()> {
    let columns = ["objects", "leak", "fully visible", "over-redaction", "longest visible run"];
    writeln!(out, "{:<20}{}", "", columns.map(|c| format!("{c:>20}")).concat())?;
    for (name, s) in scores {
        let over = s.over_redaction.map_or("-".into(), |o| format!("{o:.4}"));
        let run = s.longest_visible_run.map_or("-".into(), |r| format!("{r} frames"));
        writeln!(
            out,
            "{name:<20}{:>20}{:>20.4}{:>20.4}{over:>20}{run:>20}",
            s.objects, s.leak, s.fully_visible
        )?;
        for (size, _) in SIZES {
            if let Some(b) = s.by_size.get(size) {
                let size = format!("  {size} px");
                writeln!(out, "{size:<20}{:>20}{:>20.4}{:>20.4}", b.objects, b.leak, b.fully_visible)?;
            }
        }
    }
    Ok(())
}
