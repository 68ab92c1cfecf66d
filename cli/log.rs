//! `milkglass log`: makes device keys, checks evidence logs, and takes a checkpoint out of one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use milkglass::evidence::{DevicePublicKey, Note, Report, Tampering, device_key, read_folder, verify};

use crate::outcome::{Exit, Failure};

/// What to do with evidence logs.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Make a device key and print its public half, which belongs off the device
    Keygen {
        /// The file to make; it must not exist
        file: PathBuf,
    },
    /// Check a log; exit code 3 when anything was done to it
    Verify {
        /// The folder of the log, or its files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A checkpoint that left the device earlier: a file whose last line is one of the log
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The device's public key, as digits or in a file; without it the log's own is believed
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Print the newest checkpoint of a log, to be kept somewhere else
    Checkpoint {
        /// The folder of the log, or its files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// The most findings that are listed.
const MOST_LISTED: usize = 20;

/// Runs the command; the answer goes to `out`.
///
/// # Errors
/// A file cannot be read, a key or checkpoint is none, or there is no log.
pub fn run(command: &LogCommand, out: &mut impl Write) -> Result<Exit, Failure> {
    match command {
        LogCommand::Keygen { file } => {
            if file.exists() {
                let why = "is there already, and was left alone: a log under it could not go on without it";
                return Err(Failure::new(format!("{} {why}", file.display())));
            }
            let key = device_key(file)?;
            say(out, &key.public().to_string())?;
            Ok(Exit::Done)
        }
        LogCommand::Verify { files, checkpoint, key } => {
            let given = key.as_deref().map(public).transpose()?;
            let checkpoint = checkpoint.as_deref().map(last_line).transpose()?;
            let report = verify(&read(files)?, given.as_ref(), checkpoint.as_deref())?;
            let believed = given.is_none() && checkpoint.is_none();
            say(out, &words(&report, believed, checkpoint.is_some()))?;
            Ok(verdict(&report))
        }
        LogCommand::Checkpoint { files } => {
            let read = read(files)?;
            let report = verify(&read, None, None)?;
            if let Some(finding) = report.findings.first() {
                return Err(Failure::damaged(format!("no checkpoint of a log that was changed: {finding}")));
            }
            let place = report.checkpoint.as_ref();
            let line = place.and_then(|(name, line)| {
                let (_, bytes) = read.iter().find(|file| file.0 == *name)?;
                String::from_utf8(bytes.split(|b| *b == b'\n').nth(line - 1)?.to_vec()).ok()
            });
            say(out, &line.ok_or_else(|| Failure::new("there is no checkpoint in this log yet"))?)?;
            Ok(Exit::Done)
        }
    }
}

fn verdict(report: &Report) -> Exit {
    if !report.findings.is_empty() || report.records == 0 {
        return Exit::Damaged;
    }
    let gone = |note: &Note| matches!(note, Note::CheckpointDeleted(_) | Note::CheckpointTooOld(_));
    if report.notes.iter().any(gone) { Exit::Untold } else { Exit::Done }
}

/// A reader that left early is no error.
fn say(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("the answer could not be written: {e}")))
        }
        _ => Ok(()),
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut all = Vec::new();
    for path in files {
        if path.is_dir() {
            all.extend(read_folder(path)?);
        } else {
            all.push((path.display().to_string(), fs::read(path).map_err(|e| about(path, &e.to_string()))?));
        }
    }
    match all.is_empty() {
        true => Err(about(
            &files[0],
            "no evidence-*.jsonl in here: it is the folder that `live --evidence` was given",
        )),
        false => Ok(all),
    }
}

fn about(path: &Path, why: &str) -> Failure {
    Failure::new(format!("{}: {why}", path.display()))
}

fn public(text: &str) -> Result<DevicePublicKey, Failure> {
    let from_file = || fs::read_to_string(text).ok().and_then(|text| DevicePublicKey::parse(&text));
    DevicePublicKey::parse(text).or_else(from_file).ok_or_else(|| {
        Failure::new("--key: not a device's public key: 64 hexadecimal digits, as `milkglass log keygen` prints them, or a file of them")
    })
}

fn last_line(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|e| about(path, &e.to_string()))?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map(str::to_owned).ok_or_else(|| about(path, "there is no checkpoint in this file"))
}

/// The verdict, then what was done to the log, then what else there is to know.
fn words(report: &Report, believed: bool, checkpoint: bool) -> String {
    let mut lines = Vec::new();
    let count = report.findings.len();
    lines.push(match count {
        0 if report.records == 0 => "EMPTY: there is no whole record, so nothing is proved".to_owned(),
        _ if report.records == 0 && report.findings.iter().all(|f| f.kind == Tampering::Foreign) => {
            "FOREIGN: no record was signed with this key: another device's log, or the wrong key".to_owned()
        }
        0 if verdict(report) == Exit::Untold => {
            "UNTOLD: nothing was found against the log, but the device deleted the checkpoint's record"
                .to_owned()
        }
        0 => "OK: every record is as the device wrote it, and none is missing between the first and the last"
            .to_owned(),
        1 => "CHANGED: something was done to this log".to_owned(),
        n => format!("CHANGED: {n} things were done to this log, or one that shows in {n} places"),
    });
    if report.records == 0 {
        return lines.join("\n");
    }
    lines.extend(report.findings.iter().take(MOST_LISTED).map(|finding| format!("  {finding}")));
    if count > MOST_LISTED {
        lines.push(format!("  and {} more", count - MOST_LISTED));
    }
    if let Some(((first, from), (last, to))) = &report.span {
        lines.push(format!("records {first} to {last}, {from} to {to}"));
    }
    let f = &report.frames;
    lines.push(format!(
        "frames in them: {} received; {} left covered, {} obscured whole; {} dropped, {} skipped",
        f.received, f.covered, f.obscured, f.dropped, f.skipped
    ));
    lines.push(format!("self-tests: {} passed, {} failed", f.self_tests[0], f.self_tests[1]));
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(report.deleted.iter().map(|deleted| format!("note: {deleted}")));
    if let Some(key) = &report.key {
        lines.push(format!("device key: {key}"));
        if believed {
            lines.push(
                "note: this key was taken from the log itself; compare it with the device's, or give --key"
                    .into(),
            );
        }
    }
    if !checkpoint && !report.notes.iter().any(|note| matches!(note, Note::Open(_))) {
        lines.push(
            "note: without --checkpoint nobody can tell whether later records, from here to the end, were taken off".into(),
        );
    }
    lines.join("\n")
}
