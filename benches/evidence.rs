//! What evidence costs: CPU time of the log's records, hashed and signed, and bytes a day.
//!
//!     cargo bench --package milkglass-benches --bench evidence
//!
//! The disk is left out: records are written where the system's temporary files lie, and waiting for a disk is no work. The
//! log is verified at the end. No bar is held: a share of a processor that is this small has none.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::{Duration, SystemTime};

use milkglass::evidence::{
    DeviceSecretKey, EvidenceLog, EvidenceSettings, Identity, Moment, read_folder, verify,
};
use milkglass::pipeline::Status;
use milkglass::policy::Preset;
use rustix::time::{ClockId, clock_gettime};

const RECORDS: u32 = 600;
const DAY: u32 = 24 * 3600;

fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn main() {
    let dir = std::env::temp_dir().join(format!("milkglass-evidence-{}", std::process::id()));
    let key = DeviceSecretKey::generate().unwrap();
    let hash = "ab".repeat(32);
    let identity = Identity {
        program: "milkglass 0.1.0".into(),
        policy: hash.clone(),
        zones: hash.clone(),
        models: Preset::Balanced
            .settings(&milkglass::Class::ALL)
            .passes
            .iter()
            .map(|p| (p.model.clone(), hash.clone()))
            .collect(),
        runtime: hash,
        ..Identity::default()
    };
    let settings = EvidenceSettings::new(&dir, key.clone(), identity);
    let period = settings.period;
    let mut log = EvidenceLog::open(settings).unwrap();
    let at = |n: u32| Moment { wall: SystemTime::UNIX_EPOCH + period * n, up: period * n };
    let start = cpu();
    for n in 0..=RECORDS {
        log.record(&Status::default(), at(n));
    }
    let each = (cpu() - start) / RECORDS;
    let files = read_folder(&dir).unwrap();
    let report = verify(&files, Some(&key.public()), None).unwrap();
    assert!(report.findings.is_empty() && report.records >= u64::from(RECORDS) && log.errors() == 0);
    drop(log);
    std::fs::remove_dir_all(&dir).unwrap();

    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let periods = DAY / period.as_secs() as u32;
    println!(
        "a period of {} s: {each:?} of CPU time, checkpoints included: {:.4} % of one processor",
        period.as_secs(),
        each.as_secs_f64() / period.as_secs_f64() * 100.0
    );
    println!(
        "{} bytes for each: {:.1} MB a day",
        bytes / RECORDS as usize,
        bytes as f64 / f64::from(RECORDS) * f64::from(periods) / 1e6
    );
}
