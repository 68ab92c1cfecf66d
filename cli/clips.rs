//! Clips: decoder child (or Y4M), reader thread, engine, writer thread, encoder child (or Y4M).
//!
//! ```text
//! decoder -> [reader] -raw frames-> lockstep (this thread) -redacted frames-> [writer] -> encoder -> partial file
//! ```

use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use milkglass::detect::Ensemble;
use milkglass::frame::{FrameMeta, FramePool, RawFrame, RedactedFrame};
use milkglass::geometry::PixelAspect;
use milkglass::picture::Ycbcr;
use milkglass::y4m::{self, Y4mHeader};
use milkglass::{FrameFormat, Media, Opening, Policy};

use crate::clip::{
    self, ClipError, ClipInfo, Container, DecodeEnd, Decoder, EncodeOptions, Encoder, Limits, Tools,
};
use crate::inputs::is_dash;
use crate::lockstep::{self, Clock, FrameIn, FrameOut, Totals};
use crate::memory::{self, ClipMemory, Encoding};
use crate::outcome::Failure;
use crate::partial::Partial;
use crate::progress;
use crate::report::FileReport;

/// Frames between two threads.
const QUEUE: usize = 2;
/// The fewest frames that wait for a detection: less would leave no look-ahead at all.
const LEAST_WAITING: usize = 4;

/// How a clip is to be redacted and written.
pub struct ClipJob<'a> {
    /// What to hide.
    pub hiding: &'a Opening,
    /// How to encode.
    pub options: EncodeOptions,
    /// Keep the sound, encoded anew.
    pub keep_audio: bool,
    /// Replace the target.
    pub overwrite: bool,
    /// Keep the redacted part of a damaged clip.
    pub keep_partial: bool,
}

impl From<ClipError> for Failure {
    fn from(e: ClipError) -> Failure {
        match e {
            ClipError::Damaged { .. } => Failure::damaged(e.to_string()),
            ClipError::Interrupted => Failure::interrupted(),
            _ if progress::cancelled() => Failure::interrupted(),
            _ => Failure::new(e.to_string()),
        }
    }
}

/// Children are stopped by Ctrl-C and share the bound on threads.
pub fn tools(threads: usize, locked: bool) -> Result<Tools, Failure> {
    let limits = Limits {
        cancel: progress::cancel(),
        threads: u32::try_from(threads).ok(),
        memory: memory::of_a_probe(),
        ..Limits::default()
    };
    Ok(Tools::find(limits, locked)?)
}

/// An opened clip: what it is, and where its frames come from.
pub struct Clip {
    /// Size, colours, times.
    pub info: ClipInfo,
    /// The format of its frames.
    pub format: FrameFormat,
    frames: Frames,
    /// Threads of each child, and how the frames are encoded again: both take memory.
    threads: usize,
    encoding: Encoding,
}

enum Frames {
    Decoder(Box<Decoder>),
    Y4m(BufReader<std::io::Stdin>),
}

/// What the source said at its end.
struct SourceEnd {
    damage: Option<String>,
    warnings: Vec<String>,
}

impl Clip {
    /// Opens a clip with ffmpeg, or standard input as Y4M for `-`. `tools` is not needed for the latter. Refuses one whose
    /// frames do not fit into memory, before any is decoded: of the ways to encode them the first that fits is taken.
    pub fn open(
        tools: Option<&Tools>,
        input: &Path,
        hiding: &Opening,
        ways: &[Encoding],
    ) -> Result<Clip, Failure> {
        let threads = tools.map_or(1, Tools::threads);
        if is_dash(input) {
            let mut stdin = BufReader::with_capacity(1 << 18, std::io::stdin());
            let header = y4m::read_header(&mut stdin)?;
            let mut info = ClipInfo::of_y4m(&header);
            let format = shaped(y4m::format(&header)?, &mut info, hiding);
            let (_, encoding) = least_memory(&format, threads, ways)?;
            return Ok(Clip { info, format, frames: Frames::Y4m(stdin), threads, encoding });
        }
        let tools = tools.ok_or_else(|| Failure::new("clips need ffmpeg"))?;
        let mut info = clip::probe(tools, input)?;
        let matrix = info.color_space.as_deref();
        let format = lockstep::clip_format(info.width, info.height, info.full_range, matrix)?;
        let (shares, encoding) = least_memory(&format, threads, ways)?;
        let tools = tools.with_memory(shares.decoder);
        let decoder = Decoder::open(&tools, input, &info, &tools.limits)?;
        let format = shaped(format, &mut info, hiding);
        Ok(Clip { info, format, frames: Frames::Decoder(Box::new(decoder)), threads, encoding })
    }

    /// Frames per second, guessed where the clip does not tell.
    pub fn fps(&self) -> f64 {
        self.info.fps().filter(|f| f.is_finite() && *f > 0.0).unwrap_or(30.0)
    }

    /// The policy with as many waiting frames as the memory holds, and what to tell when those are fewer than it wants.
    fn fit(&self, policy: Policy, detect_every: u32) -> Result<(Policy, Option<String>), Failure> {
        let wanted = policy.max_waiting().min(256);
        let least = LEAST_WAITING.max(detect_every as usize + 1).min(wanted);
        let shares = memory::of_a_clip(&self.format, self.threads, least, wanted, self.encoding)?;
        if shares.waiting >= wanted {
            return Ok((policy, None));
        }
        let warning = format!(
            "memory holds {} waiting frames instead of {wanted}: who appears is hidden for as many frames before being \
             found; --max-memory gives more",
            shares.waiting
        );
        Ok((policy.to_builder().max_waiting(shares.waiting).build()?, Some(warning)))
    }

    /// Runs the clip through the engine. `sink` gets every redacted frame in order.
    pub fn run(
        self,
        policy: &Policy,
        detector: &mut Ensemble,
        detect_every: u32,
        sink: &mut dyn FnMut(FrameOut) -> Result<(), Failure>,
    ) -> Result<(Totals, Vec<String>, Option<String>), Failure> {
        let (policy, shorter) = self.fit(policy.clone(), detect_every)?;
        let policy = &policy;
        let pool = lockstep::pool(self.format, policy);
        let bar = progress::bar(self.info.frames, "frames", "redacting");
        let (sender, receiver) = sync_channel(QUEUE);
        let time_base = self.info.time_base;
        let frames = self.frames;
        let (totals, end) = std::thread::scope(|scope| {
            let reader_pool = pool.clone();
            let reader = scope.spawn(move || read(frames, time_base, &reader_pool, &sender));
            let mut source = Queue { receiver };
            let totals = lockstep::run(&mut source, &pool, policy, detector, detect_every, &mut |out| {
                bar.inc(1);
                sink(out)
            });
            // A reader that waits for a place in the queue must notice that nobody listens any more.
            drop(source);
            let end =
                reader.join().map_err(|_| Failure::new("the reader thread panicked; nothing more left it"));
            (totals, end)
        });
        bar.finish_and_clear();
        if progress::cancelled() {
            return Err(Failure::interrupted());
        }
        let totals = totals?;
        let mut end = end?.unwrap_or(SourceEnd { damage: None, warnings: Vec::new() });
        end.warnings.extend(shorter);
        Ok((totals, end.warnings, end.damage))
    }
}

/// What a clip takes at the least, and the first way to encode it for which there is enough.
fn least_memory(
    format: &FrameFormat,
    threads: usize,
    ways: &[Encoding],
) -> Result<(ClipMemory, Encoding), Failure> {
    let shares = |encoding| memory::of_a_clip(format, threads, LEAST_WAITING, LEAST_WAITING, encoding);
    let (last, others) = ways.split_last().unwrap_or((&Encoding::Not, &[]));
    let first = others.iter().find_map(|way| Some((shares(*way).ok()?, *way)));
    first.map_or_else(|| Ok((shares(*last)?, *last)), Ok)
}

/// The format with the shape of its pixels: as the clip tells, unless its owner knows better. Then the output tells that too.
fn shaped(format: FrameFormat, info: &mut ClipInfo, hiding: &Opening) -> FrameFormat {
    let (width, height) = info.sample_aspect_ratio;
    let told = PixelAspect::new(width, height);
    if told.is_none() && width != height {
        info.warnings.push(format!(
            "its pixels are said to be {width}:{height}, which nobody could watch: they are taken for square \
             (--pixel-aspect)"
        ));
    }
    if let Some(own) = hiding.pixel_aspect() {
        info.sample_aspect_ratio = (own.width(), own.height());
    }
    let frames = PixelAspect::new(info.frames_aspect.0, info.frames_aspect.1);
    let told: Vec<PixelAspect> = told.into_iter().chain(frames).collect();
    hiding.shaped(format, &told)
}

/// What the reader thread hands over; a failure ends the clip.
type Item = Result<(RawFrame, i64), Failure>;

struct Queue {
    receiver: Receiver<Item>,
}

impl FrameIn for Queue {
    fn next(&mut self) -> Result<Option<(RawFrame, i64)>, Failure> {
        self.receiver.recv().ok().transpose()
    }
}

/// The reader thread: fills pool buffers until the source ends, fails, or nobody listens.
fn read(
    frames: Frames,
    time_base: (u32, u32),
    pool: &FramePool,
    sender: &SyncSender<Item>,
) -> Option<SourceEnd> {
    let mut clock = Clock::new(time_base);
    let ended = match frames {
        Frames::Decoder(decoder) => read_decoder(*decoder, &mut clock, pool, sender),
        Frames::Y4m(stdin) => read_y4m(stdin, &mut clock, pool, sender),
    };
    match ended {
        Ok(end) => end,
        Err(failure) => {
            // Nobody listens when the engine has failed already.
            let _ = sender.send(Err(failure));
            None
        }
    }
}

fn read_decoder(
    mut decoder: Decoder,
    clock: &mut Clock,
    pool: &FramePool,
    sender: &SyncSender<Item>,
) -> Result<Option<SourceEnd>, Failure> {
    let mut sequence = 0;
    while let Some(head) = decoder.next_frame()? {
        let meta = FrameMeta { sequence, captured: clock.captured(head.pts) };
        sequence += 1;
        let mut broken: Option<ClipError> = None;
        let filled = lockstep::fill(
            pool,
            meta,
            |view| {
                for plane in 0..view.format().planes().len() {
                    for y in 0..view.format().planes()[plane].height {
                        if let Err(e) = decoder.read_exact_row(view.row_mut(plane, y)) {
                            let text = e.to_string();
                            broken = Some(e);
                            return Err(milkglass::Error::other(text));
                        }
                    }
                }
                Ok(())
            },
            &progress::cancelled,
        );
        if let Some(e) = broken {
            return Err(e.into());
        }
        if sender.send(Ok((filled?, head.pts))).is_err() {
            return Ok(None);
        }
    }
    let DecodeEnd { damage, warnings, .. } = decoder.finish()?;
    Ok(Some(SourceEnd { damage, warnings }))
}

fn read_y4m(
    mut stdin: BufReader<std::io::Stdin>,
    clock: &mut Clock,
    pool: &FramePool,
    sender: &SyncSender<Item>,
) -> Result<Option<SourceEnd>, Failure> {
    for sequence in 0.. {
        let pts = i64::try_from(sequence).unwrap_or(i64::MAX);
        let meta = FrameMeta { sequence, captured: clock.captured(pts) };
        let mut more = true;
        let frame = lockstep::fill(
            pool,
            meta,
            |view| {
                more = y4m::read_frame(&mut stdin, view)?;
                Ok(())
            },
            &progress::cancelled,
        );
        match frame {
            Ok(_) if !more => break,
            Ok(frame) => {
                if sender.send(Ok((frame, pts))).is_err() {
                    return Ok(None);
                }
            }
            Err(failure) if progress::cancelled() => return Err(failure),
            // What came before the damage is whole.
            Err(failure) => {
                return Ok(Some(SourceEnd { damage: Some(failure.message), warnings: Vec::new() }));
            }
        }
    }
    Ok(Some(SourceEnd { damage: None, warnings: Vec::new() }))
}

/// Redacts one clip. A damaged clip with `keep_partial` is both a result and a failure.
pub fn redact(
    job: &ClipJob<'_>,
    input: &Path,
    output: &Path,
    detector: &mut Ensemble,
) -> Result<(FileReport, Option<Failure>), Failure> {
    let needs_ffmpeg = !is_dash(input) || !is_dash(output);
    let tools = if needs_ffmpeg { Some(tools(job.hiding.threads(), job.hiding.is_locked())?) } else { None };
    if job.keep_audio && (is_dash(input) || is_dash(output)) {
        return Err(Failure::new("--keep-audio: Y4M carries no sound; use files on both sides"));
    }
    let ways: &[Encoding] = match is_dash(output) {
        true => &[Encoding::Not],
        false if job.options.can_be_short(output) => &[Encoding::Fully, Encoding::Shortly],
        false => &[Encoding::Fully],
    };
    let clip = Clip::open(tools.as_ref(), input, job.hiding, ways)?;
    job.hiding.check(&clip.format)?;
    if is_dash(output) && !is_dash(input) && !clip::can_be_fitted(&clip.info) {
        // Whether something changes midway is known at the end alone, when the frames have left.
        return Err(Failure::new(
            "a clip of odd width or height cannot be handed on frame by frame: name a file as the output",
        ));
    }
    let policy = job.hiding.policy(Media::Clip { fps: clip.fps() });
    let mut warnings = clip.info.warnings.clone();
    if clip.encoding == Encoding::Shortly {
        warnings.push(
            "memory is short for frames of this size, so the encoder looks less far ahead and the file is a little larger; \
             --max-memory gives more"
                .to_owned(),
        );
    }
    let transparent = clip.info.transparent;
    let sound = clip.info.has_audio.then_some(if job.keep_audio { "encoded anew" } else { "dropped" });
    let mut target = Target::open(job, tools.as_ref(), input, output, &clip)?;
    let (sender, receiver) = sync_channel::<(RedactedFrame, i64)>(QUEUE);
    let mut refused = false;
    let (ran, written) = std::thread::scope(|scope| {
        let writer_target = &mut target.writer;
        let writer = scope.spawn(move || write(writer_target, &receiver));
        let ran = clip.run(&policy, detector, job.hiding.detect_every(), &mut |out| {
            sender.send((out.frame, out.pts)).map_err(|_| {
                refused = true;
                Failure::new("the target took no more frames")
            })
        });
        drop(sender);
        (ran, writer.join().map_err(|_| Failure::new("the writer thread panicked; nothing more left it")))
    });
    if progress::cancelled() {
        return Err(Failure::interrupted());
    }
    let written =
        written?.map_err(|failure| about_target(failure, target.partial.as_ref().map(Partial::path), output));
    // A writer that took no more frames is why the rest failed; else it failed because the rest did.
    let (totals, more, damage) =
        if refused { written.and(ran)? } else { ran.and_then(|ran| written.map(|()| ran))? };
    warnings.extend(more);
    let (frames_out, more) = target.finish(tools.as_ref(), |counted| match &damage {
        Some(_) => job.keep_partial,
        None => counted.is_none_or(|n| n == totals.frames_in),
    })?;
    warnings.extend(more);
    if let Some((reason, count)) = &totals.detector_errors {
        warnings.push(format!("detection failed {count} times, first: {reason}"));
    }
    let damaged = damage.is_some();
    let failure = match (damage, frames_out) {
        (Some(damage), _) => {
            let kept = if job.keep_partial {
                "what could be read was redacted and kept"
            } else {
                "nothing was written; --keep-partial keeps the redacted part"
            };
            Some(Failure::damaged(format!("the clip is damaged ({damage}): {kept}")))
        }
        (None, Some(n)) if n != totals.frames_in => Some(Failure::damaged(format!(
            "{n} frames came out of the encoder, but {} went in: the result was not kept",
            totals.frames_in
        ))),
        _ => None,
    };
    let kept = damaged && job.keep_partial;
    if let (Some(failure), false) = (&failure, kept) {
        return Err(failure.clone());
    }
    let report = FileReport {
        frames_in: totals.frames_in,
        frames_out: frames_out.unwrap_or(totals.covered + totals.obscured),
        covered: totals.covered,
        obscured: totals.obscured,
        found: totals.found,
        transparent,
        sound,
        warnings,
        ..FileReport::default()
    };
    Ok((report, failure))
}

/// Puts the target's name where the partial file's stands, which means nothing to anybody.
fn about_target(mut failure: Failure, partial: Option<&Path>, output: &Path) -> Failure {
    if let Some(partial) = partial {
        let (from, to) = (partial.display().to_string(), output.display().to_string());
        failure.message = failure.message.replace(&from, &to);
    }
    failure
}

/// Where redacted frames go.
struct Target {
    writer: Writer,
    /// The file while it is written.
    partial: Option<Partial>,
}

enum Writer {
    Encoder(Option<Box<Encoder>>, Vec<String>),
    Y4m(BufWriter<std::io::Stdout>),
}

impl Target {
    fn open(
        job: &ClipJob<'_>,
        tools: Option<&Tools>,
        input: &Path,
        output: &Path,
        clip: &Clip,
    ) -> Result<Target, Failure> {
        if is_dash(output) {
            let mut stdout = BufWriter::with_capacity(1 << 18, std::io::stdout());
            let info = &clip.info;
            let header = Y4mHeader {
                width: info.width,
                height: info.height,
                frame_rate: info.frame_rate.unwrap_or((30, 1)),
                sample_aspect_ratio: info.sample_aspect_ratio,
                full_range: info.full_range,
            };
            y4m::write_header(&mut stdout, &header)?;
            return Ok(Target { writer: Writer::Y4m(stdout), partial: None });
        }
        let tools = tools.ok_or_else(|| Failure::new("clips need ffmpeg"))?;
        let container = Container::of(output)?;
        let partial = Partial::create(output, job.overwrite)?;
        let lossless = job.options.lossless;
        let sound = match job.keep_audio {
            true => clip::read_sound(tools, input, &clip.info, container, lossless, &tools.limits)?,
            false => None,
        };
        if clip.info.has_audio && !job.keep_audio {
            log::info!("{}: the sound is dropped (--keep-audio keeps it)", input.display());
        }
        let tools = &tools.with_memory(u64::MAX);
        let limits = &tools.limits;
        let name = partial.path().to_owned();
        let options = EncodeOptions { short: clip.encoding == Encoding::Shortly, ..job.options.clone() };
        let encoder = Encoder::open(tools, &name, container, &clip.info, &options, sound, limits)
            .map_err(|e| about_target(e.into(), Some(&name), output))?;
        let writer = Writer::Encoder(Some(Box::new(encoder)), Vec::new());
        Ok(Target { writer, partial: Some(partial) })
    }

    /// Renames the partial file if `keep` says so of the number of frames that the finished file holds, and says how many
    /// those are (where they can be counted) and what the encoder remarked.
    fn finish(
        self,
        tools: Option<&Tools>,
        keep: impl FnOnce(Option<u64>) -> bool,
    ) -> Result<(Option<u64>, Vec<String>), Failure> {
        let warnings = match self.writer {
            Writer::Encoder(_, warnings) => warnings,
            Writer::Y4m(_) => Vec::new(),
        };
        let counted = match (&self.partial, tools) {
            (Some(partial), Some(tools)) => Some(clip::count_frames(tools, partial.path())?),
            _ => None,
        };
        if let Some(partial) = self.partial
            && keep(counted)
        {
            partial.keep()?;
        }
        Ok((counted, warnings))
    }
}

/// The writer thread: redacted frames alone ever reach it.
fn write(writer: &mut Writer, frames: &Receiver<(RedactedFrame, i64)>) -> Result<(), Failure> {
    for (frame, pts) in frames {
        match writer {
            Writer::Encoder(Some(encoder), _) => {
                let view = frame.view();
                let planes = frame.format().planes().iter().enumerate();
                let rows = planes.flat_map(|(i, p)| (0..p.height).map(move |y| view.row(i, y)));
                encoder.write_frame(pts, rows)?;
            }
            Writer::Encoder(None, _) => return Err(Failure::new("the encoder ended early")),
            Writer::Y4m(stdout) => y4m::write_frame(stdout, &frame)?,
        }
    }
    match writer {
        Writer::Encoder(encoder, warnings) if !progress::cancelled() => {
            if let Some(encoder) = encoder.take() {
                warnings.extend(encoder.finish()?.warnings);
            }
        }
        Writer::Encoder(..) => {}
        Writer::Y4m(stdout) => {
            stdout.flush().map_err(|e| Failure::new(format!("standard output cannot be written: {e}")))?;
        }
    }
    Ok(())
}

/// How long a still scene is assumed to last between two pictures without times.
pub const PICTURE_PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 30);

/// A redacted I420 frame as an `image` picture, for drawings.
pub fn to_image(frame: &RedactedFrame) -> Result<image::RgbImage, Failure> {
    let format = frame.format();
    let view = frame.view();
    let ycbcr = Ycbcr::of(format);
    if format.planes().len() != 3 {
        return Err(Failure::new("only I420 frames are drawn"));
    }
    Ok(image::RgbImage::from_fn(format.width(), format.height(), |x, y| {
        let (x, y) = (x as usize, y);
        let sample = |plane: usize| f32::from(view.row(plane, y / 2)[x / 2]);
        let colors = ycbcr.colors([f32::from(view.row(0, y)[x]), sample(1), sample(2)]);
        image::Rgb(colors.map(|v| v.round().clamp(0.0, 255.0) as u8))
    }))
}
