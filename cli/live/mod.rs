//! `milkglass live`: a camera in, redacted frames out to every target, and the owner's signals in between.

mod address;
mod camera;
mod control;
mod devices;
mod evidence;
mod fed_child;
mod ffmpeg;
mod http;
mod journal;
mod privacy;
mod raw;
#[cfg(feature = "rtsp-server")]
pub mod rtsp_server;
mod target;

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use milkglass::opening::Loaded;
use milkglass::pipeline::{State, Status};
use milkglass::policy::PolicyFile;
use milkglass::{Media, Opening, Pipeline};
use milkglass_common::Seldom;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::args::LiveArgs;
use crate::memory;
use crate::opening;
use crate::outcome::{Exit, Failure};
use crate::progress;
use crate::sandbox;
use camera::Camera;
use control::Control;
pub use devices::devices;
use evidence::Evidence;
use privacy::Remembered;
use target::{Stream, Target};

/// Time between two looks at how it goes.
const BEAT: Duration = Duration::from_millis(250);
/// Signals that are no further apart count as sent together.
const TOGETHER: Duration = Duration::from_millis(20);
/// So many are enough to act on, or a flood of signals would put it off for ever.
const MOST_TOGETHER: usize = 8;
/// A detector that has had its frame for so long hangs: the watchdog is no longer fed.
const HANGS: Duration = Duration::from_secs(10);

/// Name and version, for the evidence log.
const PROGRAM: &str = concat!("milkglass ", env!("CARGO_PKG_VERSION"));

/// Runs the command until the camera's stream or the program is ended.
pub fn run(args: &LiveArgs) -> Result<Exit, Failure> {
    let targets = args.to.iter().map(|to| to.parse()).collect::<Result<Vec<Target>, _>>()?;
    let targets = Target::check(targets)?;
    // Before the folder's lock, which tells others that we are here.
    let caught = caught()?;
    let remembered = Remembered::open(args)?;
    // Before there are threads: each keeps what it has when it is made.
    let starter = stay_in(args, &targets, &remembered)?;
    progress::detach();
    sandbox::announce();
    let started = Arc::new(AtomicBool::new(false));
    let signals = signals(caught, Arc::clone(&started));
    let mut opening = open(args, remembered.folder())?;
    let policy = opening.policy(Media::Live);
    let camera = Camera::open(args, &opening)?;

    let stream = Stream { format: camera.format, rate: camera.rate, threads: opening.threads() };
    let fps = stream.fps();
    opening.check(&stream.format)?;
    if let Some(lock) = opening.lock() {
        log::info!("the policy is locked by {}, number {}", lock.owner(), lock.bound().serial);
    }
    let state = remembered.folder().to_owned();
    let control = Arc::new(Control::new(remembered, args.privacy, camera.counters, stream));
    control.set_reversible(policy.reversible());
    let mut sinks = Vec::new();
    for target in &targets {
        sinks.push((target.to_string(), target.open(args, &stream, &control)?));
        log::info!("target {target}");
    }
    // The models and their runtime are loaded without it.
    sandbox::leave_network(starter);
    let (detectors, loaded) = opening.load(Media::Live, opening.threads())?;
    if !detectors.is_empty() {
        log::info!("preset {}, inference by {}", opening.look(Media::Live).preset, loaded.runtime);
    }
    let evidence = evidence::open(args, opening.identity(PROGRAM, &loaded), &state)?;
    let pipeline = Pipeline::builder(policy, stream.format, camera.source)
        .fps(fps)
        .buffers(memory::of_a_pipeline(&stream.format, opening.look(Media::Live).preset)?)
        .locked_memory(args.lock_memory)
        .privacy(control.privacy())
        .ladder(detectors)
        .sinks(sinks)
        .start()?;
    control.start(pipeline)?;
    opening.remember(&stream.format)?;
    let evidence = evidence.map(|log| Evidence::start(log, Arc::clone(&control))).transpose()?;
    started.store(true, Ordering::SeqCst);
    notify(&[NotifyState::Ready]);

    let mut watch = Watch::default();
    loop {
        for signal in together(&signals) {
            match signal {
                SIGUSR1 | SIGUSR2 => match control.set_privacy(signal == SIGUSR1) {
                    Ok(()) => {}
                    Err(e) => log::error!("{e}"),
                },
                SIGHUP => match reload(args, &opening, &control, &loaded) {
                    Ok(now) => {
                        if let Some(evidence) = &evidence {
                            evidence.changed(now.identity(PROGRAM, &loaded));
                        }
                        opening = now;
                    }
                    Err(e) => log::error!("the policy stays as it was: {e}"),
                },
                _ => {
                    notify(&[NotifyState::Stopping]);
                    return finish(&control, evidence).map(|()| Exit::Done);
                }
            }
        }
        let status = control.status();
        if status.state == State::Stopped {
            return finish(&control, evidence).map(|()| Exit::Done);
        }
        if status.targets_lost as usize == targets.len() {
            finish(&control, evidence)?;
            return Err(Failure::new("every target has ended; start again with targets that work"));
        }
        watch.look(&status);
    }
}

/// Gives up changing files elsewhere than where we remember and record, and keeps a thread that starts children if some of
/// them need the network; true if so.
fn stay_in(args: &LiveArgs, targets: &[Target], remembered: &Remembered) -> Result<bool, Failure> {
    let mut folders = vec![remembered.folder().to_owned()];
    if let Some(evidence) = &args.evidence {
        // Whether that can be done is told when the log is opened.
        let _ = std::fs::create_dir_all(evidence);
        folders.push(evidence.clone());
        if let Some(folder) = args.device_key.as_deref().and_then(Path::parent) {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let _ = std::fs::create_dir_all(folder);
            folders.push(folder.to_owned());
        }
    }
    // A container may have its devices elsewhere than below /dev.
    let devices = targets.iter().filter_map(Target::device).chain([args.from.as_path()]);
    let is_device = |path: &&Path| std::fs::metadata(path).is_ok_and(|m| m.file_type().is_char_device());
    folders.extend(devices.filter(is_device).map(Path::to_owned));
    folders.extend(targets.iter().filter_map(Target::folder));
    if let Err(why) = sandbox::write_only_to(&folders) {
        log::warn!("this program may change any file that its user may: {why}");
    }
    let starter = targets.iter().any(Target::has_child_for_network);
    if starter {
        sandbox::keep_a_starter().map_err(|e| Failure::new(format!("no thread can be started: {e}")))?;
    }
    Ok(starter)
}

/// From here on the owner's signals wait to be dealt with.
fn caught() -> Result<Signals, Failure> {
    Signals::new([SIGUSR1, SIGUSR2, SIGHUP].into_iter().chain(progress::ends_a_program()))
        .map_err(|e| Failure::new(format!("signals cannot be caught: {e}")))
}

/// The owner's signals, from a thread that waits for them. Before anything has `started`, those that end the program do so
/// at once: opening a camera can take for ever.
fn signals(mut signals: Signals, started: Arc<AtomicBool>) -> Receiver<i32> {
    let (caught, received) = channel();
    std::thread::spawn(move || {
        signals.forever().all(|signal| {
            if !matches!(signal, SIGUSR1 | SIGUSR2 | SIGHUP) && !started.load(Ordering::SeqCst) {
                std::process::exit(Exit::Interrupted.code().into());
            }
            caught.send(signal).is_ok()
        })
    });
    received
}

/// The signals that come next, within a beat. Which of several came first is not to be known: the system keeps a set of
/// them. So privacy mode, if it was asked for among others, is switched on, never off, and before anything that takes time.
fn together(signals: &Receiver<i32>) -> Vec<i32> {
    let Ok(first) = signals.recv_timeout(BEAT) else { return Vec::new() };
    let mut all = vec![first];
    while all.len() < MOST_TOGETHER
        && let Ok(next) = signals.recv_timeout(TOGETHER)
    {
        all.push(next);
    }
    if all.contains(&SIGUSR1) {
        all.retain(|signal| *signal != SIGUSR2);
    }
    all.sort_by_key(|signal| [SIGUSR1, SIGUSR2, SIGHUP].iter().position(|s| s == signal).unwrap_or(3));
    all.dedup();
    all
}

/// What is asked for on a device that remembers its owner's lock in `state`.
fn open(args: &LiveArgs, state: &Path) -> Result<Opening, Failure> {
    let pin = args.pin.as_ref().map(|p| p.parse()).transpose();
    let pin = pin.map_err(|e: String| Failure::new(format!("--pin: {e}")))?;
    opening::open(&args.hiding, |builder| args.keys.over(builder).state_dir(state).pin(pin))
}

/// Reads the policy file again. What is loaded at the start (models, thresholds, the ladder) cannot be exchanged.
fn reload(args: &LiveArgs, before: &Opening, control: &Control, loaded: &Loaded) -> Result<Opening, Failure> {
    if let Some(path) = &args.hiding.policy {
        let about = |why: &str| Failure::new(format!("{}: {why}", path.display()));
        let file = std::fs::metadata(path).map_err(|e| about(&e.to_string()))?;
        if !file.is_file() {
            return Err(about("it is no ordinary file, and could be waited for without end"));
        }
        if file.len() == 0 {
            return Err(about("it is empty: half written? Move a finished file to its place"));
        }
        PolicyFile::read(path)?.check_exchange().map_err(|e| about(&e.to_string()))?;
    }
    let now = before.again().read()?;
    now.follows(before, loaded)?;
    now.check(&control.stream().format)?;
    control.set_policy(now.policy(Media::Live))?;
    if let Err(e) = now.remember(&control.stream().format) {
        log::error!("the new policy is in force, but would be forgotten by a restart: {e}");
    }
    if let Some(names) = now.leaves_out(before) {
        log::warn!("no longer hidden by the new policy: {names}");
    }
    let exposure = control.status().exposure.as_millis();
    log::info!("the policy was read again and is in force: worst-case exposure {exposure} ms");
    Ok(now)
}

/// Ends the pipeline: what is covered leaves, then the targets close.
fn finish(control: &Control, evidence: Option<Evidence>) -> Result<(), Failure> {
    let stats = control.stop();
    if let Some(evidence) = evidence {
        evidence.end();
    }
    let stats = stats?;
    log::info!(
        "{} frames covered, {} obscured, {} dropped, {} failed detections",
        stats.covered,
        stats.obscured,
        stats.dropped,
        stats.detector_errors
    );
    Ok(())
}

/// Tells a change of state to the log and to systemd, and feeds systemd's watchdog while everything moves.
#[derive(Default)]
struct Watch {
    said: Option<(State, usize)>,
    said_at: Seldom,
    heartbeat: Option<(u64, Instant)>,
}

impl Watch {
    fn look(&mut self, status: &Status) {
        let now = (status.state, status.level);
        // A detector at its limit is too slow now and then: that is not told each time.
        let flutters = |s: State| matches!(s, State::Covered | State::Degraded);
        let quiet = self.said_at.has_been_quiet(Seldom::QUIET);
        let again = |said: (State, usize)| said != now && (quiet || !flutters(said.0) || !flutters(now.0));
        if self.said.is_none_or(again) {
            self.said = Some(now);
            self.said_at.said();
            let text = control::describe(status);
            match status.state {
                State::Degraded | State::SelfTestFailed | State::NoCamera => log::warn!("{text}"),
                _ => log::info!("{text}"),
            }
            notify(&[NotifyState::Status(&text)]);
        }
        let beats = self.heartbeat.is_some_and(|(beat, _)| beat != status.heartbeat);
        if self.heartbeat.is_none() || beats {
            self.heartbeat = Some((status.heartbeat, Instant::now()));
        }
        let alive = self.heartbeat.is_some_and(|(_, at)| at.elapsed() < HANGS);
        if alive && status.detecting < HANGS {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Without systemd nobody listens, which is no trouble.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        log::debug!("systemd was not told: {e}");
    }
}
