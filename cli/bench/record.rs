//! What was measured, as it is written and read again.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::timing::{Memory, Timing};
use crate::outcome::Failure;

/// The version of the keys; benches/README.md lists them.
pub const SCHEMA: u32 = 1;

/// One run of `milkglass bench`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub schema: u32,
    pub milkglass: String,
    pub commit: String,
    /// `release` or `debug`.
    pub build: String,
    pub quick: bool,
    pub threads: usize,
    /// The set of kernels in use.
    pub kernels: String,
    pub machine: Machine,
    pub backends: Vec<BackendUsed>,
    pub models: Vec<ModelUsed>,
    pub memory: Vec<Memory>,
    pub rows: Vec<Row>,
    pub verdicts: Vec<Verdict>,
    pub missing: Vec<Missing>,
}

/// A backend, the best one first.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct BackendUsed {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library_sha256: Option<String>,
}

/// A model.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ModelUsed {
    pub name: String,
    pub sha256: String,
}

/// What could not be measured, why, and how to get it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Missing {
    pub what: String,
    pub why: String,
    pub how: String,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    Kernel,
    Path,
    Detect,
    Live,
    Clip,
}

impl Group {
    pub const ALL: [Group; 5] = [Group::Kernel, Group::Path, Group::Detect, Group::Live, Group::Clip];
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub group: Group,
    #[serde(flatten)]
    pub timing: Timing,
    /// Luma pixels of one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<u64>,
    /// Median of reading and writing the same bytes once, measured by turns with this row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ns: Option<f64>,
    /// Frames per second of one stream, or of a clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_per_second: Option<f64>,
    /// Live: share of the captured frames that left covered, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered: Option<f64>,
    /// Live: the longest time between two looks at the same stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_gap_ns: Option<f64>,
    /// CPU time of all threads per frame, detection included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ns_per_frame: Option<f64>,
    /// Clips: wall time in units of plain ffmpeg's with the same encoder, median of the rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against_ffmpeg: Option<f64>,
}

impl Row {
    pub fn new(name: impl Into<String>, group: Group, timing: Timing) -> Row {
        Row {
            name: name.into(),
            group,
            timing,
            pixels: None,
            limit_ns: None,
            frames_per_second: None,
            covered: None,
            longest_gap_ns: None,
            cpu_ns_per_frame: None,
            against_ffmpeg: None,
        }
    }

    /// The memory limit in units of the measured time: 1 is as fast as memory.
    pub fn limit_share(&self) -> Option<f64> {
        self.limit_ns.map(|limit| limit / self.timing.median_ns.max(1.0))
    }
}

/// What this machine can do with a preset, computed from what was measured.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Verdict {
    pub preset: String,
    pub size: String,
    pub streams: u32,
    /// One detection while the others run too, 99th percentile.
    pub detection_ns: f64,
    /// Frames per second of each stream when every frame is looked at.
    pub every_frame_fps: f64,
    /// The smallest `max_gap` that holds at 30 frames per second.
    pub exposure_ns: f64,
    /// The age at which frames leave at 30 frames per second, at most.
    pub delay_ns: f64,
    /// Whether 30 frames per second hold with the default `max_gap`.
    pub holds_30_fps: bool,
    /// The same, measured: share of frames that left covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_covered: Option<f64>,
}

impl Record {
    /// Reads a file that [`Record::write_json`] wrote.
    pub fn read(path: &Path) -> Result<Record, Failure> {
        let about = |why: String| Failure::new(why).about(path);
        let text = std::fs::read_to_string(path).map_err(|e| about(e.to_string()))?;
        let record: Record = serde_json::from_str(&text).map_err(|e| {
            about(format!("it is no record of `milkglass bench` ({e}); write one with --json FILE"))
        })?;
        if record.schema != SCHEMA {
            let found = record.schema;
            return Err(about(format!("its keys are of version {found}, not {SCHEMA}; measure it again")));
        }
        let times = |t: &Timing| [t.min_ns, t.median_ns, t.p95_ns, t.p99_ns];
        let bad = record.rows.iter().find(|r| times(&r.timing).iter().any(|t| !t.is_finite() || *t <= 0.0));
        match bad {
            Some(row) => {
                Err(about(format!("the times of {} are not above zero; measure it again", row.name)))
            }
            None => Ok(record),
        }
    }

    pub fn write_json(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Failure::new(e.to_string()))?;
        write(path, &(text + "\n"))
    }

    /// One line for each row; empty cells where a figure has no meaning.
    pub fn write_csv(&self, path: &Path) -> Result<(), Failure> {
        let mut text = String::from(
            "name,group,samples,min_ns,median_ns,p95_ns,p99_ns,pixels,limit_ns,limit_share,frames_per_second,covered,\
             longest_gap_ns,cpu_ns_per_frame,against_ffmpeg\n",
        );
        for row in &self.rows {
            let t = &row.timing;
            let cell = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
            let group = serde_json::to_value(row.group).ok();
            let group = group.as_ref().and_then(|g| g.as_str()).unwrap_or_default();
            let mut cells =
                vec![row.name.replace([',', '"', '\n'], " "), group.to_string(), t.samples.to_string()];
            cells.extend([t.min_ns, t.median_ns, t.p95_ns, t.p99_ns].map(|v| v.to_string()));
            cells.push(row.pixels.map(|p| p.to_string()).unwrap_or_default());
            cells.extend([row.limit_ns, row.limit_share(), row.frames_per_second, row.covered].map(cell));
            cells.extend([row.longest_gap_ns, row.cpu_ns_per_frame, row.against_ffmpeg].map(cell));
            text += &(cells.join(",") + "\n");
        }
        write(path, &text)
    }
}

/// Writes a file beside its target first, so that it never exists half.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("cannot be written: {e}")).about(path);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut partial = tempfile::Builder::new();
    // Records are read by others, unlike what tempfile expects.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut partial = partial.permissions(permissions).tempfile_in(folder).map_err(failed)?;
    partial.write_all(text.as_bytes()).map_err(failed)?;
    partial.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
