//! `milkglass detect`: where faces and persons are, because the owner asked for it by name.

use std::io::Write;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use imageproc::drawing::draw_hollow_rect_mut;
use imageproc::rect::Rect as Drawn;
use milkglass::geometry::PixelRect;
use milkglass::{Class, Detection, Media, Opening};
use serde::Serialize;

use crate::args::DetectArgs;
use crate::clips::{self, Clip};
use crate::inputs::{self, Input, Kind};
use crate::memory::Encoding;
use crate::opening::{open_recorded, still_format};
use crate::outcome::{Exit, Failure};
use crate::{progress, still};

/// One line of the output.
#[derive(Serialize)]
struct Row<'a> {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    width: u32,
    height: u32,
    faces: Vec<[f32; 5]>,
    persons: Vec<[f32; 5]>,
    /// What `redact` hides with the same flags, beside zones: x, y, width, height.
    regions: &'a [[u32; 4]],
}

/// Runs the command.
pub fn run(args: &DetectArgs) -> Result<Exit, Failure> {
    let hiding = open_recorded(&args.hiding, true)?;
    let found = inputs::find(&args.inputs, args.draw.as_deref())?;
    for path in &found.unknown {
        log::warn!("{}: not understood, so it was not read", path.display());
    }
    let mut out: Box<dyn Write> = match &args.json {
        Some(path) => {
            let file = std::fs::File::create(path);
            let file = file.map_err(|e| Failure::new(format!("cannot be written: {e}")).about(path))?;
            Box::new(std::io::BufWriter::new(file))
        }
        None => Box::new(std::io::stdout().lock()),
    };
    let mut exit = Exit::Done;
    for failure in &found.failed {
        log::error!("{failure}");
        exit = exit.max(failure.exit);
    }
    // Each is loaded when it is needed: stills are looked at more carefully.
    let (mut of_stills, mut of_clips) = (None, None);
    for input in &found.files {
        if progress::cancelled() {
            return Err(Failure::interrupted());
        }
        let drawing = args.draw.as_deref();
        let (detector, media) = match input.kind {
            Kind::Still => (&mut of_stills, Media::Still),
            Kind::Clip => (&mut of_clips, Media::Clip { fps: 0.0 }),
        };
        let detector = match detector {
            Some(detector) => detector,
            none => none.insert(hiding.detector(media, hiding.threads())?.0),
        };
        let done = match input.kind {
            Kind::Still => still_rows(&hiding, detector, input, drawing, &mut out),
            Kind::Clip => clip_rows(&hiding, detector, input, drawing, &mut out),
        };
        if let Err(failure) = done {
            let failure = failure.about(&input.path);
            log::error!("{failure}");
            exit = exit.max(failure.exit);
        }
    }
    out.flush().map_err(|e| Failure::new(format!("the boxes cannot be written: {e}")))?;
    Ok(exit)
}

fn still_rows(
    hiding: &Opening,
    detector: &mut milkglass::detect::Ensemble,
    input: &Input,
    drawing: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let read = still::read(&input.path)?;
    for warning in &read.warnings {
        log::warn!("{}: {warning}", input.path.display());
    }
    let format = still_format(hiding, &read)?;
    let picture = read.pixels;
    hiding.check(&format)?;
    let redacted = still::redact(&picture, format, &hiding.policy(Media::Still), detector)?;
    if let Some(reason) = &redacted.detector_error {
        return Err(Failure::new(format!("detection failed: {reason}")));
    }
    let regions = redacted.frame.regions().unwrap_or_default();
    write_row(out, input, None, picture.dimensions(), &redacted.detections, regions)?;
    if let Some(dir) = drawing {
        // Boxes are drawn on the redacted picture: a drawing is an output too.
        let picture = still::to_image(&redacted.frame)?;
        draw(picture, &redacted.detections, &drawn_path(dir, input, None))?;
    }
    Ok(())
}

fn clip_rows(
    hiding: &Opening,
    detector: &mut milkglass::detect::Ensemble,
    input: &Input,
    drawing: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let tools = clips::tools(hiding.threads(), hiding.is_locked())?;
    let clip = Clip::open(Some(&tools), &input.path, hiding, &[Encoding::Not])?;
    let policy = hiding.policy(Media::Clip { fps: clip.fps() });
    let size = (clip.info.width, clip.info.height);
    let every = hiding.detect_every();
    let (totals, _, damage) = clip.run(&policy, detector, every, &mut |frame| {
        let number = frame.frame.meta().sequence;
        let detections = frame.detections.as_deref();
        let regions = frame.frame.regions().unwrap_or_default();
        write_row(out, input, Some(number), size, detections.unwrap_or_default(), regions)?;
        match (drawing, detections) {
            (Some(dir), Some(detections)) => {
                let picture = clips::to_image(&frame.frame)?;
                draw(picture, detections, &drawn_path(dir, input, Some(number)))
            }
            _ => Ok(()),
        }
    })?;
    if let Some((reason, count)) = totals.detector_errors {
        return Err(Failure::new(format!("detection failed {count} times, first: {reason}")));
    }
    match damage {
        Some(damage) => Err(Failure::damaged(format!("the clip is damaged: {damage}"))),
        None => Ok(()),
    }
}

fn write_row(
    out: &mut dyn Write,
    input: &Input,
    frame: Option<u64>,
    (width, height): (u32, u32),
    detections: &[Detection],
    regions: &[PixelRect],
) -> Result<(), Failure> {
    let boxes = |class: Class| -> Vec<[f32; 5]> {
        let of_class = detections.iter().filter(|d| d.class == class && !d.tentative);
        of_class.map(|d| [d.rect.x0(), d.rect.y0(), d.rect.width(), d.rect.height(), d.score]).collect()
    };
    let regions: Vec<[u32; 4]> = regions.iter().map(|r| [r.x0, r.y0, r.width(), r.height()]).collect();
    let image = input.path.display().to_string();
    let row = Row {
        image,
        frame,
        width,
        height,
        faces: boxes(Class::Face),
        persons: boxes(Class::Person),
        regions: &regions,
    };
    let line = serde_json::to_string(&row).map_err(|e| Failure::new(e.to_string()))?;
    writeln!(out, "{line}").map_err(|e| Failure::new(format!("the boxes cannot be written: {e}")))
}

fn drawn_path(dir: &Path, input: &Input, frame: Option<u64>) -> PathBuf {
    match frame {
        None => dir.join(input.relative.with_extension("png")),
        Some(n) => dir.join(input.relative.with_extension(format!("{n:06}.png"))),
    }
}

fn draw(mut picture: RgbImage, detections: &[Detection], target: &Path) -> Result<(), Failure> {
    for d in detections.iter().filter(|d| !d.tentative) {
        let color = match d.class {
            Class::Person => Rgb([255, 176, 0]),
            _ => Rgb([0, 220, 90]),
        };
        let (w, h) = (d.rect.width().ceil().max(1.0) as u32, d.rect.height().ceil().max(1.0) as u32);
        let rect = Drawn::at(d.rect.x0() as i32, d.rect.y0() as i32).of_size(w, h);
        draw_hollow_rect_mut(&mut picture, rect, color);
    }
    still::write(&picture, target, image::ImageFormat::Png, true)
}
