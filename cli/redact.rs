//! `milkglass redact`: the main job.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::ImageFormat;
use indicatif::ProgressBar;
use milkglass::Outcome;
use milkglass::detect::Ensemble;
use milkglass::detect::backend::Backend;

use crate::args::RedactArgs;
use crate::clip::{Container, EncodeOptions};
use crate::clips::{self, ClipJob};
use crate::hiding::Hiding;
use crate::inputs::{self, Input, Inputs, Kind};
use crate::outcome::{Exit, Failure};
use crate::progress;
use crate::report::{FileReport, ModelReport, Report, file_hash};
use crate::still;

/// Runs the command.
pub fn run(args: &RedactArgs) -> Result<Exit, Failure> {
    let hiding = Hiding::resolve(&args.hiding, false)?;
    let format = match &args.format {
        Some(name) => Some(still::format_from_name(name).ok_or_else(|| {
            Failure::new(format!("--format {name} is not known; use png, jpeg, webp, bmp or tiff"))
        })?),
        None => None,
    };
    let streams = args.inputs.iter().any(|p| inputs::is_dash(p)) || inputs::is_dash(&args.output);
    // A wrong name is told before models are loaded.
    let found = if streams { Inputs::default() } else { inputs::find(&args.inputs, Some(&args.output))? };
    let (mut detector, backend) = hiding.detector(hiding.threads)?;
    let mut files = Vec::new();
    let mut exit = Exit::Done;
    if streams {
        let [input] = args.inputs.as_slice() else {
            return Err(Failure::new("`-` goes with one input and one output"));
        };
        let job = clip_job(args, &hiding);
        let (file, failure) =
            settle(clips::redact(&job, input, &args.output, &mut detector), input, &args.output);
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
            still::refuse_existing(target, args.overwrite)?;
        }
        stills(args, &hiding, format, &found, &targets, &mut files, &mut exit)?;
        for (input, target) in found.files.iter().zip(&targets).filter(|(f, _)| f.kind == Kind::Clip) {
            if progress::cancelled() {
                return Err(Failure::interrupted());
            }
            let job = clip_job(args, &hiding);
            let (file, failure) =
                settle(clips::redact(&job, &input.path, target, &mut detector), &input.path, target);
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
        report(&hiding, &backend, &detector, files).write(path)?;
    }
    Ok(exit)
}

fn clip_job<'a>(args: &'a RedactArgs, hiding: &'a Hiding) -> ClipJob<'a> {
    ClipJob {
        hiding,
        options: EncodeOptions {
            encoder: args.encoder.clone(),
            crf: args.crf,
            preset: args.encoder_preset.clone(),
            lossless: args.lossless,
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
    hiding: &Hiding,
    format: Option<ImageFormat>,
    found: &Inputs,
    targets: &[PathBuf],
    files: &mut Vec<FileReport>,
    exit: &mut Exit,
) -> Result<(), Failure> {
    let jobs: Vec<(&Input, &PathBuf)> =
        found.files.iter().zip(targets).filter(|(f, _)| f.kind == Kind::Still).collect();
    if jobs.is_empty() {
        return Ok(());
    }
    let bar = if jobs.len() > 1 {
        progress::bar(Some(jobs.len() as u64), "pictures", "redacting")
    } else {
        ProgressBar::hidden()
    };
    let workers = hiding.threads.min(jobs.len());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.map_err(|e| Failure::new(format!("threads cannot be started: {e}")))?;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, FileReport, Option<Failure>)>> = Mutex::new(Vec::new());
    let failed: Vec<Result<(), Failure>> = pool.broadcast(|_| {
        let policy = hiding.still_policy()?;
        let (mut detector, _) = hiding.detector((hiding.threads / workers).max(1))?;
        while let Some((at, (input, target))) = claim(&next, &jobs) {
            if progress::cancelled() {
                return Err(Failure::interrupted());
            }
            let target_format = format.or_else(|| still::format_of(target)).unwrap_or(ImageFormat::Png);
            let result = still::read(&input.path)
                .and_then(|picture| hiding.admit_still(picture.dimensions()).map(|()| picture))
                .and_then(|picture| still::redact(&picture, &policy, &mut detector))
                .and_then(|redacted| {
                    let picture = still::to_image(&redacted.frame)?;
                    still::write(&picture, target, target_format, args.overwrite)?;
                    Ok(redacted)
                })
                .map(|redacted| {
                    let obscured = redacted.frame.outcome() != Outcome::Covered;
                    let found =
                        redacted.detections.iter().any(|d| !d.tentative) || !policy.zones().is_empty();
                    let warnings = redacted.detector_error.into_iter().collect();
                    let (covered, obscured) = (u64::from(!obscured), u64::from(obscured));
                    let counts = FileReport {
                        frames_in: 1,
                        frames_out: 1,
                        covered,
                        obscured,
                        found,
                        warnings,
                        ..FileReport::default()
                    };
                    (counts, None)
                });
            let (file, failure) = settle(result, &input.path, target);
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
    for (_, file, failure) in done {
        note(exit, &file, failure, args.strict);
        files.push(file);
    }
    Ok(())
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

fn report(hiding: &Hiding, backend: &Backend, detector: &Ensemble, files: Vec<FileReport>) -> Report {
    Report {
        milkglass: env!("CARGO_PKG_VERSION"),
        preset: hiding.preset.as_str().into(),
        policy_sha256: hiding.hash(),
        backend: backend.name(),
        runtime_sha256: backend.library().map(|(_, hash)| hash),
        models: detector
            .models()
            .map(|m| ModelReport { name: m.name.clone(), sha256: m.sha256.clone() })
            .collect(),
        files,
    }
}
