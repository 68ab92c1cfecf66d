//! The evidence log of the running pipeline: on a thread of its own, so that a slow disk keeps nobody waiting.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use milkglass::evidence::{EvidenceLog, EvidenceSettings, Identity, Moment, device_key};

use super::BEAT;
use super::control::Control;
use crate::args::LiveArgs;
use crate::outcome::Failure;

/// How long the end of the program waits for the log's last records.
const PATIENCE: Duration = Duration::from_millis(100);

enum Told {
    Identity(Box<Identity>),
    End,
}

/// How the log fares, for the metrics.
#[derive(Default)]
pub struct Figures {
    /// Attempts to write that failed.
    pub errors: AtomicU64,
    /// Whether nothing can be written now.
    pub trouble: AtomicBool,
}

/// The log and its thread.
pub struct Evidence {
    told: SyncSender<Told>,
    thread: JoinHandle<()>,
}

/// Opens the log that the flags ask for, or none.
///
/// # Errors
/// The folder or the key cannot be used.
pub fn open(args: &LiveArgs, identity: Identity) -> Result<Option<EvidenceLog>, Failure> {
    let Some(dir) = &args.evidence else { return Ok(None) };
    let key = device_key(&args.device_key.clone().unwrap_or_else(|| dir.join("device.key")))?;
    let max_bytes = args.evidence_max_mb << 20;
    let settings = EvidenceSettings { max_bytes, ..EvidenceSettings::new(dir, key, identity) };
    say(dir, &settings);
    Ok(Some(EvidenceLog::open(settings)?))
}

fn say(dir: &Path, settings: &EvidenceSettings) {
    log::info!(
        "evidence: {}, at most {} MiB; each record is synced, one every {} s, so a power cut loses no more; device key {}",
        dir.display(),
        settings.max_bytes >> 20,
        settings.period.as_secs(),
        settings.key.public()
    );
}

impl Evidence {
    /// Lets the log follow the running pipeline.
    pub fn start(mut log: EvidenceLog, control: Arc<Control>) -> Evidence {
        let (told, news) = sync_channel(8);
        let figures = control.evidence();
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            loop {
                let news = news.recv_timeout(BEAT);
                let now = Moment { wall: SystemTime::now(), up: start.elapsed() };
                match news {
                    Ok(Told::Identity(identity)) => log.set_identity(*identity),
                    Err(RecvTimeoutError::Timeout) => log.record(&control.status(), now),
                    Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => {
                        if let Some(line) = log.end(&control.status(), now) {
                            log::info!("evidence: last checkpoint {line}");
                        }
                        return;
                    }
                }
                figures.errors.store(log.errors(), Ordering::Relaxed);
                figures.trouble.store(log.trouble().is_some(), Ordering::Relaxed);
            }
        });
        Evidence { told, thread }
    }

    /// Another policy is in force.
    pub fn changed(&self, identity: Identity) {
        if self.told.try_send(Told::Identity(Box::new(identity))).is_err() {
            log::error!("evidence: the log hangs and was not told of the new policy");
        }
    }

    /// Writes the last records; waits for them no longer than the end of the program can bear.
    pub fn end(self) {
        let asked = Instant::now();
        let _ = self.told.try_send(Told::End);
        while !self.thread.is_finished() && asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
