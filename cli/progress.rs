//! What the user sees while it runs: a bar on a terminal, log lines that do not tear it, and Ctrl-C.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use libc::SIGPWR;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};

use crate::outcome::Failure;

static BARS: OnceLock<MultiProgress> = OnceLock::new();
static CANCEL: OnceLock<Arc<AtomicBool>> = OnceLock::new();

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        // Other crates talk about their own insides; only ours is meant for the user, unless asked for everything.
        let ours = record.target().starts_with("milkglass");
        if self.enabled(record.metadata()) && (ours || log::max_level() >= log::LevelFilter::Trace) {
            let word = record.level().as_str().to_ascii_lowercase();
            say(&format!("{word}: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

static LOGGER: Logger = Logger;

/// Lines on their way to stderr, for a program that must not wait for whoever reads it.
static DETACHED: OnceLock<SyncSender<Line>> = OnceLock::new();

enum Line {
    Text(String),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// From here on nobody waits for stderr: a pipe that is full and unread costs lines, not the time of whoever logs.
pub fn detach() {
    let (queue, lines) = sync_channel(256);
    std::thread::spawn(move || {
        for line in lines {
            match line {
                Line::Text(line) => {
                    let _ = writeln!(std::io::stderr().lock(), "{line}");
                }
                Line::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
    });
    let _ = DETACHED.set(queue);
}

/// Waits a moment for what was said to be written.
pub fn flush() {
    let (done, written) = sync_channel(1);
    if DETACHED.get().is_some_and(|queue| queue.try_send(Line::Flush(done)).is_ok()) {
        let _ = written.recv_timeout(Duration::from_millis(200));
    }
}

/// Prints a line on stderr, above any bar.
pub fn say(line: &str) {
    if let Some(queue) = DETACHED.get() {
        let _ = queue.try_send(Line::Text(line.to_owned()));
        return;
    }
    let print = || {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    };
    match BARS.get() {
        Some(bars) => bars.suspend(print),
        None => print(),
    }
}

/// Sets up logging, bars and, with `cancels`, the signals that end a run.
pub fn start(quiet: bool, verbose: u8, cancels: bool) -> Result<(), Failure> {
    let level = match (quiet, verbose) {
        (true, _) => log::LevelFilter::Error,
        (false, 0) => log::LevelFilter::Warn,
        (false, 1) => log::LevelFilter::Info,
        (false, 2) => log::LevelFilter::Debug,
        (false, _) => log::LevelFilter::Trace,
    };
    log::set_max_level(level);
    log::set_logger(&LOGGER).map_err(|e| Failure::new(e.to_string()))?;
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    BARS.get_or_init(|| MultiProgress::with_draw_target(target));
    if cancels {
        watch_signals().map_err(|e| Failure::new(format!("signals cannot be caught: {e}")))?;
    }
    Ok(())
}

/// Whatever would end the program makes it clean up and end, be it a terminal that is closed. A second Ctrl-C, or a second
/// SIGTERM, ends it at once: there is nothing to clean up but on file systems without nameless files.
fn watch_signals() -> std::io::Result<()> {
    for signal in ends_a_program() {
        if matches!(signal, SIGINT | SIGTERM) {
            signal_hook::flag::register_conditional_shutdown(signal, 130, cancel())?;
        }
        signal_hook::flag::register(signal, cancel())?;
    }
    // A file that may not grow any more is an error of writing, which says so.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    Ok(())
}

/// Signals whose default is to end a program, and that somebody else or a limit sends. Those that were ignored at the start
/// stay so (`nohup`, a shell's background jobs), but for the two that are asked for by name.
pub fn ends_a_program() -> impl Iterator<Item = i32> {
    let ignored = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let all = [
        SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2, SIGIO,
        SIGPWR,
    ];
    let asked = |signal: &i32| matches!(*signal, SIGINT | SIGTERM);
    all.into_iter().filter(move |signal| asked(signal) || ignored & (1 << (signal - 1)) == 0)
}

/// Set by Ctrl-C, and by whatever else ends a run.
pub fn cancel() -> Arc<AtomicBool> {
    Arc::clone(CANCEL.get_or_init(Arc::default))
}

/// True once the user pressed Ctrl-C.
pub fn cancelled() -> bool {
    cancel().load(Ordering::Relaxed)
}

/// A bar of `total` things, or one without an end when nobody knows how many there are.
pub fn bar(total: Option<u64>, unit: &str, message: &str) -> ProgressBar {
    let bar = match total {
        Some(total) => {
            let style = format!("{{msg}} [{{bar:30}}] {{pos}}/{{len}} {unit} {{per_sec:.1}} {{eta}} left");
            ProgressBar::new(total).with_style(
                ProgressStyle::with_template(&style).unwrap_or_else(|_| ProgressStyle::default_bar()),
            )
        }
        None => {
            let style = format!("{{msg}} {{spinner}} {{pos}} {unit} {{per_sec:.1}}");
            ProgressBar::no_length().with_style(
                ProgressStyle::with_template(&style).unwrap_or_else(|_| ProgressStyle::default_spinner()),
            )
        }
    };
    let bar = match BARS.get() {
        Some(bars) => bars.add(bar),
        None => bar,
    };
    bar.set_message(message.to_string());
    bar
}
