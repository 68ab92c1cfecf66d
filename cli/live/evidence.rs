//! The evidence log of the running pipeline.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milkglass::evidence::{EvidenceLog, EvidenceSettings, EvidenceWriter, Identity, device_key};

use super::control::Control;
use crate::args::LiveArgs;
use crate::outcome::Failure;

/// How long the end of the program waits for the log's last records.
const PATIENCE: Duration = Duration::from_millis(100);

/// The log and its thread.
pub struct Evidence(EvidenceWriter);

/// Opens the log that the flags ask for, or none. Its newest checkpoint is remembered in the folder `state`.
///
/// # Errors
/// The folder or the key cannot be used.
pub fn open(args: &LiveArgs, identity: Identity, state: &Path) -> Result<Option<EvidenceLog>, Failure> {
    let Some(dir) = &args.evidence else { return Ok(None) };
    let key = device_key(&args.device_key.clone().unwrap_or_else(|| dir.join("device.key")))?;
    let max_bytes = args.evidence_max_mb << 20;
    let settings =
        EvidenceSettings { max_bytes, ..EvidenceSettings::new(dir, key, identity) }.remembering(state);
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
    pub fn start(log: EvidenceLog, control: Arc<Control>) -> Result<Evidence, Failure> {
        let followed = Arc::clone(&control);
        let writer = EvidenceWriter::start(log, move || followed.status())?;
        control.set_evidence(writer.figures());
        Ok(Evidence(writer))
    }

    /// Another policy is in force.
    pub fn changed(&self, identity: Identity) {
        self.0.changed(identity);
    }

    /// Writes the last records; waits for them no longer than the end of the program can bear.
    pub fn end(self) {
        if let Some(line) = self.0.end(PATIENCE) {
            log::info!("evidence: last checkpoint {line}");
        }
    }
}
