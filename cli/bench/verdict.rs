//! What this machine can do with a preset, computed from measured detection times by the rules of docs/ARCHITECTURE.md.

use super::detection::{PRESETS, SIZES, preset_row};
use super::record::{Record, Row, Verdict};

/// The default of `max_gap`, in nanoseconds.
const MAX_GAP: f64 = 500e6;
const FPS: f64 = 30.0;
const STREAMS: [u32; 3] = [1, 2, 4];

/// For every preset, size and number of streams whose detection was measured with the best backend.
pub fn verdicts(record: &Record) -> Vec<Verdict> {
    let Some(backend) = record.backends.first() else { return Vec::new() };
    let mut all = Vec::new();
    for (preset, _) in PRESETS {
        for size in SIZES {
            let name = preset_row(preset, size, &backend.name);
            let Some(row) = record.rows.iter().find(|r| r.name == name) else { continue };
            for streams in STREAMS {
                all.push(verdict(record, row, preset, size, streams));
            }
        }
    }
    all
}

fn verdict(record: &Record, row: &Row, preset: &str, size: (u32, u32), streams: u32) -> Verdict {
    let crowd = crowd(record, streams);
    let (p99, usual) = (row.timing.p99_ns * crowd, row.timing.median_ns * crowd);
    let exposure = p99 + 2e9 / FPS;
    let live = record.rows.iter().find(|r| r.name == live_row("picture", preset, size, streams));
    Verdict {
        preset: preset.into(),
        size: format!("{}x{}", size.0, size.1),
        streams,
        detection_ns: p99,
        every_frame_fps: 1e9 / usual,
        exposure_ns: exposure,
        delay_ns: 2.0 * p99 + 2e9 / FPS,
        holds_30_fps: exposure <= MAX_GAP,
        measured_covered: live.and_then(|r| r.covered),
    }
}

/// How much longer a detection takes when every stream wants one at the same time. Each was measured with `threads`
/// threads and may use as many; beyond the cores they share.
fn crowd(record: &Record, streams: u32) -> f64 {
    let wanted = f64::from(streams) * record.threads as f64;
    (wanted / record.machine.cores.max(1) as f64).max(1.0)
}

/// The name of the row of the whole path.
pub fn live_row(source: &str, preset: &str, (w, h): (u32, u32), streams: u32) -> String {
    format!("live/{source}-{preset}-{w}x{h}/{streams}-stream{}", if streams == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    #[test]
    fn verdicts_follow_from_the_slowest_detections() {
        let mut record = record();
        (record.threads, record.machine.cores) = (2, 2);
        let verdicts = verdicts(&record);
        let of = |streams| verdicts.iter().find(|v| v.preset == "balanced" && v.streams == streams).unwrap();
        // 40 ms at the median, 50 ms at the 99th percentile: see `record`.
        assert_eq!(of(1).every_frame_fps.round(), 25.0);
        assert_eq!((of(1).exposure_ns / 1e6).round(), 117.0);
        assert_eq!((of(1).delay_ns / 1e6).round(), 167.0);
        assert_eq!((of(4).detection_ns / 1e6).round(), 200.0);
        assert!(of(4).holds_30_fps);
    }

    #[test]
    fn a_detector_beyond_max_gap_does_not_hold() {
        let mut record = record();
        for row in &mut record.rows {
            row.timing.p99_ns *= 10.0;
        }
        assert!(verdicts(&record).iter().all(|v| !v.holds_30_fps));
    }
}
