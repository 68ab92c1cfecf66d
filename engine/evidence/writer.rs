//! A log that follows a running pipeline, on a thread of its own: a slow disk keeps nobody waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::{EvidenceLog, Identity, Moment};
use crate::error::{Error, Result};
use crate::pipeline::Status;

/// Time between two looks at the pipeline.
const BEAT: Duration = Duration::from_millis(250);
/// Wishes that may wait for a disk that hangs.
const QUEUE: usize = 8;

enum Told {
    Identity(Box<Identity>),
    Checkpoint(SyncSender<Option<String>>),
    End(SyncSender<Option<String>>),
}

/// How the log fares.
#[derive(Debug, Default)]
pub struct Figures {
    /// Attempts to write that failed.
    pub errors: AtomicU64,
    /// Whether nothing can be written now; also once the log's thread has ended by itself.
    pub trouble: AtomicBool,
    /// Whether the log turned out to have been changed ([`EvidenceLog::is_damaged`]).
    pub damaged: AtomicBool,
}

/// A thread that ends other than by an order leaves a log that does not go on, and the figures say so.
struct Alive(Arc<Figures>);

impl Drop for Alive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.trouble.store(true, Ordering::Relaxed);
            log::error!("evidence: the log does not go on; redaction does");
        }
    }
}

/// The log and its thread. Dropped, it writes its last records as after [`EvidenceWriter::end`], and nobody waits for them.
#[derive(Debug)]
pub struct EvidenceWriter {
    told: SyncSender<Told>,
    thread: JoinHandle<()>,
    figures: Arc<Figures>,
}

impl EvidenceWriter {
    /// Lets the log follow what `status` tells.
    ///
    /// # Errors
    /// [`Error::Io`]: no thread can be had.
    pub fn start(
        mut log: EvidenceLog,
        status: impl Fn() -> Status + Send + 'static,
    ) -> Result<EvidenceWriter> {
        let (told, news) = sync_channel(QUEUE);
        let figures = Arc::new(Figures::default());
        let kept = Arc::clone(&figures);
        let run = move || {
            let _alive = Alive(Arc::clone(&kept));
            let start = Instant::now();
            loop {
                let news = news.recv_timeout(BEAT);
                let now = Moment { wall: SystemTime::now(), up: start.elapsed() };
                match news {
                    Ok(Told::Identity(identity)) => log.set_identity(*identity),
                    // Who asked may have stopped waiting.
                    Ok(Told::Checkpoint(reply)) => drop(reply.send(log.checkpoint(now))),
                    Err(RecvTimeoutError::Timeout) => log.record(&status(), now),
                    Ok(Told::End(reply)) => return drop(reply.send(log.end(&status(), now))),
                    Err(RecvTimeoutError::Disconnected) => return drop(log.end(&status(), now)),
                }
                kept.errors.store(log.errors(), Ordering::Relaxed);
                kept.trouble.store(log.trouble().is_some(), Ordering::Relaxed);
                kept.damaged.store(log.is_damaged(), Ordering::Relaxed);
            }
        };
        let thread = std::thread::Builder::new().name("evidence".into()).spawn(run);
        Ok(EvidenceWriter { told, thread: thread.map_err(|e| Error::io("starting a thread", e))?, figures })
    }

    /// How it fares, for metrics.
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Another policy is in force.
    pub fn changed(&self, identity: Identity) {
        if self.told.try_send(Told::Identity(Box::new(identity))).is_err() {
            log::error!("evidence: the log hangs and was not told of the new policy");
        }
    }

    /// A checkpoint of this moment, to be sent off the device; `None` when the disk does not answer within `patience`, or not
    /// well.
    pub fn checkpoint(&self, patience: Duration) -> Option<String> {
        let (reply, line) = sync_channel(1);
        self.told.try_send(Told::Checkpoint(reply)).ok()?;
        line.recv_timeout(patience).ok()?
    }

    /// Writes the last records, and returns their checkpoint; waits no longer than `patience`.
    pub fn end(self, patience: Duration) -> Option<String> {
        let (reply, line) = sync_channel(1);
        self.told.try_send(Told::End(reply)).ok()?;
        let line = line.recv_timeout(patience).ok();
        // Only to have its folder free for whoever comes next.
        if line.is_some() {
            let _ = self.thread.join();
        }
        line.flatten()
    }
}
