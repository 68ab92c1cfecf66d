//! `milkglass redact`: the main job.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::ImageFormat;
use indicatif::ProgressBar;
use milkglass::detect::Ensemble;
use milkglass::frame::Outcome;
use milkglass::opening::Loaded;
use milkglass::{Media, Opening};

use crate::args::RedactArgs;
use crate::clip::{Container, EncodeOptions};
use crate::clips::{self, ClipJob};
use crate::inputs::{self, Input, Inputs, Kind};
use crate::opening::{open_recorded, still_format};
use crate::outcome::{Exit, Failure};
use crate::partial;
use crate::progress;
use crate::report::{FileReport, Report, file_hash};
use crate::still;

/// Runs the command.
pub fn run(args: &RedactArgs) -> Result<Exit, Failure> {
    let hiding = open_recorded(&args.hiding, false)?;
    let format = match &args.format {
        Some(name) => Some(still::format_from_name(name).ok_or_else(|| {
            Failure::new(format!("--format {name} is not known; use png, jpeg, webp, bmp or tiff"))
        })?),
        None => None,
    };
    let streams = args.inputs.iter().any(|p| inputs::is_dash(p)) || inputs::is_dash(&args.output);
    // A wrong name is told before models are loaded.
    let found = if streams { Inputs::default() } else { inputs::find(&args.inputs, Some(&args.output))? };
    let mut loaded = Loaded::default();
    let mut files = Vec::new();
    let mut exit = Exit::Done;
    if streams {
        let [input] = args.inputs.as_slice() else {
            return Err(Failure::new("`-` goes with one input and one output"));
        };
        let job = clip_job(args, &hiding);
        let mut detector = load(&hiding, &mut loaded)?;
        let (mut file, failure) =
            settle(clips::redact(&job, input, &args.output, &mut detector), input, &args.output);
        file.preset = hiding.look(Media::Live).preset.as_str();
        note(&mut exit, &file, failure, args.strict);
        files.push(file);
    } else {
        for failure in &found.failed {
            log::error!("{failure}");
            exit = exit.max(failure.exit);
        }
        for path in &found.unknown {
            log::warn!("{}: not understood, so it was neither read nor copied", path.display());
        }
        let targets = inputs::targets(&found, &args.output, &|f| rename(f, format, args.lossless))?;
        for (input, target) in found.files.iter().zip(&targets) {
            if input.kind == Kind::Still {
                check_picture_name(target, format)?;
            }
            partial::refuse_existing(target, args.overwrite)?;
        }
        // Whatever is missing for the clips is told before the stills are begun. Stills have time: theirs is another one.
        let mut detector = match found.files.iter().any(|f| f.kind == Kind::Clip) {
            true => Some(load(&hiding, &mut loaded)?),
            false => None,
        };
        for (file, failure) in stills(args, &hiding, format, &found, &targets, &mut loaded)? {
            note(&mut exit, &file, failure, args.strict);
            files.push(file);
        }
        for (input, target) in found.files.iter().zip(&targets).filter(|(f, _)| f.kind == Kind::Clip) {
            let Some(detector) = &mut detector else { break };
            if progress::cancelled() {
                return Err(Failure::interrupted());
            }
            let job = clip_job(args, &hiding);
            let (mut file, failure) =
                settle(clips::redact(&job, &input.path, target, detector), &input.path, target);
            file.preset = hiding.look(Media::Live).preset.as_str();
            note(&mut exit, &file, failure, args.strict);
            files.push(file);
        }
    }
    if let Some(path) = &args.report {
        for file in &mut files {
            let (input, output) = &file.paths;
            file.input_sha256 = file_hash(input);
            file.output_sha256 = file.output.as_ref().and_then(|_| file_hash(output));
        }
        Report::new(&hiding, loaded, files).write(path)?;
    }
    Ok(exit)
}

/// Loads the models for clips, and remembers them for the report.
fn load(opening: &Opening, loaded: &mut Loaded) -> Result<Ensemble, Failure> {
    let (detector, now) = opening.detector(Media::Clip { fps: 0.0 }, opening.threads())?;
    loaded.join(now);
    Ok(detector)
}

fn clip_job<'a>(args: &'a RedactArgs, hiding: &'a Opening) -> ClipJob<'a> {
    ClipJob {
        hiding,
        options: EncodeOptions {
            encoder: args.encoder.clone(),
            crf: args.crf,
            preset: args.encoder_preset.clone(),
            lossless: args.lossless,
            short: false,
        },
        keep_audio: args.keep_audio,
        overwrite: args.overwrite,
        keep_partial: args.keep_partial,
    }
}

/// The name of a result inside the output folder.
fn rename(input: &Input, format: Option<ImageFormat>, lossless: bool) -> PathBuf {
    match (input.kind, format) {
        (Kind::Still, Some(f)) => input.relative.with_extension(still::extension_of(f)),
        (Kind::Still, None) if still::format_of(&input.relative).is_none() => {
            input.relative.with_extension("png")
        }
        (Kind::Clip, _) if lossless => input.relative.with_extension("mkv"),
        // Containers that can be read but not written.
        (Kind::Clip, _) if Container::of(&input.relative).is_err() => input.relative.with_extension("mkv"),
        _ => input.relative.clone(),
    }
}

/// A picture must not get a name that promises something else.
fn check_picture_name(target: &Path, format: Option<ImageFormat>) -> Result<(), Failure> {
    let why = match (still::format_of(target), format) {
        (None, None) => "does not tell a picture format; use .png, .jpg, .webp, .bmp or .tiff, or --format",
        (Some(by_name), Some(asked)) if by_name != asked => {
            "tells another format than --format; make them agree"
        }
        _ => return Ok(()),
    };
    Err(Failure::new(format!("the name {why}")).about(target))
}

/// Redacts every still, several at a time: each thread has a detector of its own.
fn stills(
    args: &RedactArgs,
    hiding: &Opening,
    format: Option<ImageFormat>,
    found: &Inputs,
    targets: &[PathBuf],
    loaded: &mut Loaded,
) -> Result<Vec<(FileReport, Option<Failure>)>, Failure> {
    let jobs: Vec<(&Input, &PathBuf)> =
        found.files.iter().zip(targets).filter(|(f, _)| f.kind == Kind::Still).collect();
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let bar = if jobs.len() > 1 {
        progress::bar(Some(jobs.len() as u64), "pictures", "redacting")
    } else {
        ProgressBar::hidden()
    };
    let workers = hiding.threads().min(jobs.len());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.map_err(|e| Failure::new(format!("threads cannot be started: {e}")))?;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, FileReport, Option<Failure>)>> = Mutex::new(Vec::new());
    let loaded = Mutex::new(loaded);
    let failed: Vec<Result<(), Failure>> = pool.broadcast(|_| {
        let policy = hiding.policy(Media::Still);
        let (mut detector, now) = hiding.detector(Media::Still, (hiding.threads() / workers).max(1))?;
        if let Ok(mut loaded) = loaded.lock() {
            loaded.join(now);
        }
        while let Some((at, (input, target))) = claim(&next, &jobs) {
            if progress::cancelled() {
                return Err(Failure::interrupted());
            }
            let target_format = format.or_else(|| still::format_of(target)).unwrap_or(ImageFormat::Png);
            let result = still::read(&input.path)
                .and_then(|picture| {
                    // The original, and with it the share of memory, is kept until the result is written.
                    let shaped = still_format(hiding, &picture)?;
                    hiding.check(&shaped)?;
                    let redacted = still::redact(&picture.pixels, shaped, &policy, &mut detector)?;
                    let result = still::to_image(&redacted.frame)?;
                    still::write(&result, target, target_format, args.overwrite)?;
                    Ok((picture, redacted))
                })
                .map(|(picture, redacted)| {
                    let obscured = redacted.frame.outcome() != Outcome::Covered;
                    let found =
                        redacted.detections.iter().any(|d| !d.tentative) || !policy.zones().is_empty();
                    let warnings = picture.warnings.into_iter().chain(redacted.detector_error).collect();
                    let (covered, obscured) = (u64::from(!obscured), u64::from(obscured));
                    let counts = FileReport {
                        frames_in: 1,
                        frames_out: 1,
                        covered,
                        obscured,
                        found,
                        transparent: picture.transparent,
                        warnings,
                        ..FileReport::default()
                    };
                    (counts, None)
                });
            let (mut file, failure) = settle(result, &input.path, target);
            file.preset = hiding.look(Media::Still).preset.as_str();
            bar.inc(1);
            if let Ok(mut done) = done.lock() {
                done.push((at, file, failure));
            }
        }
        Ok(())
    });
    bar.finish_and_clear();
    failed.into_iter().collect::<Result<Vec<()>, Failure>>()?;
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, ..)| *at);
    Ok(done.into_iter().map(|(_, file, failure)| (file, failure)).collect())
}

fn claim<'a, T>(next: &AtomicUsize, jobs: &'a [T]) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(at).map(|job| (at, job))
}

/// Fills in the names, and turns a failure into an entry of the report.
fn settle(
    result: Result<(FileReport, Option<Failure>), Failure>,
    input: &Path,
    target: &Path,
) -> (FileReport, Option<Failure>) {
    let (mut file, failure) = match result {
        Ok((file, failure)) => (FileReport { output: Some(target.display().to_string()), ..file }, failure),
        Err(failure) => (FileReport::default(), Some(failure)),
    };
    file.paths = (input.to_owned(), target.to_owned());
    file.input = input.display().to_string();
    file.error = failure.as_ref().map(|f| f.clone().about(input).to_string());
    (file, failure.map(|f| f.about(input)))
}

/// Says what happened to a file and remembers the gravest end.
fn note(exit: &mut Exit, file: &FileReport, failure: Option<Failure>, strict: bool) {
    for warning in &file.warnings {
        log::warn!("{}: {warning}", file.input);
    }
    let own = match failure {
        Some(failure) => {
            log::error!("{failure}");
            failure.exit
        }
        None if file.obscured > 0 => {
            log::warn!("{}: {} of {} frames were obscured whole", file.input, file.obscured, file.frames_out);
            Exit::Obscured
        }
        None if strict && !file.found => {
            log::error!("{}: nothing was found to hide (--strict)", file.input);
            Exit::NothingFound
        }
        None => Exit::Done,
    };
    if file.error.is_none() {
        log::info!(
            "{}: {} frames, {} covered, {} obscured, written to {}",
            file.input,
            file.frames_out,
            file.covered,
            file.obscured,
            file.output.as_deref().unwrap_or("nowhere")
        );
    }
    *exit = (*exit).max(own);
}
