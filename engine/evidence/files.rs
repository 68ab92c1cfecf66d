//! The files of a log: one after the other, only ever appended to, the oldest deleted when there are too many.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::record::{DevicePublic, MAX_LINE, Record, hash};

/// A small file takes this much of a disk.
const BLOCK: u64 = 4096;
/// So much of a file's end is looked at for its last record.
const TAIL: u64 = 4 * MAX_LINE as u64;

/// Where the chain has got to: the last record and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub n: u64,
    pub hash: [u8; 32],
}

/// A file of the log.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub index: u64,
    pub size: u64,
}

/// What lines are written to. Tests put a disk that fails in its place.
pub(super) trait Disk: Send {
    /// Creates the file, which must not exist yet.
    fn create(&mut self, path: &Path) -> io::Result<()>;
    /// Appends a line to the file created last, and returns when it is on the disk.
    fn append(&mut self, line: &[u8]) -> io::Result<()>;
}

/// The real one.
#[derive(Default)]
pub(super) struct Folder(Option<File>);

impl Disk for Folder {
    fn create(&mut self, path: &Path) -> io::Result<()> {
        self.0 = Some(OpenOptions::new().append(true).create_new(true).open(path)?);
        // The name of the file has to last as well.
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let file = self.0.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(line)?;
        file.sync_data()
    }
}

/// The name of a file by its running number.
pub(super) fn name(index: u64) -> String {
    format!("evidence-{index:08}.jsonl")
}

/// The files of a folder, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let index = name.to_str().and_then(|n| n.strip_prefix("evidence-")?.strip_suffix(".jsonl"));
        if let Some(index) = index.and_then(|i| i.parse().ok()) {
            segments.push(Segment { path: entry.path(), index, size: entry.metadata()?.len() });
        }
    }
    segments.sort_by_key(|s| s.index);
    Ok(segments)
}

/// The last record on the disk, and whether half a record or something else follows it.
pub(super) fn last(segments: &[Segment], key: &DevicePublic) -> io::Result<(Option<Head>, bool)> {
    let mut cut = false;
    for segment in segments.iter().rev() {
        let mut file = File::open(&segment.path)?;
        file.seek(SeekFrom::Start(segment.size.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        cut |= end < bytes.len();
        for line in bytes[..end].split(|b| *b == b'\n').rev().filter(|line| !line.is_empty()) {
            if let Ok(record) = Record::parse(line, Some(key)) {
                return Ok((Some(Head { n: record.n, hash: hash(line) }), cut));
            }
        }
    }
    Ok((None, cut))
}

/// Whether there are records, and none of them was signed with this key.
pub(super) fn foreign(segments: &[Segment], key: &DevicePublic) -> io::Result<bool> {
    if last(segments, key)?.0.is_some() {
        return Ok(false);
    }
    let any = |s: &Segment| {
        let mut bytes = Vec::new();
        File::open(&s.path)?.take(MAX_LINE as u64).read_to_end(&mut bytes)?;
        Ok(bytes.split(|b| *b == b'\n').any(|line| Record::parse(line, None).is_ok()))
    };
    segments.iter().map(any).find(|found| !matches!(found, Ok(false))).unwrap_or(Ok(false))
}

/// The number of a file's first record.
fn first_record(path: &Path, key: &DevicePublic) -> Option<u64> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_LINE as u64).read_to_end(&mut bytes).ok()?;
    let line = bytes.split(|b| *b == b'\n').next()?;
    Record::parse(line, Some(key)).ok().map(|record| record.n)
}

/// Divides the files into those that must go, so that `room` more bytes stay below `most`, and the first record of those
/// that stay.
pub(super) fn over(
    segments: &[Segment],
    most: u64,
    room: u64,
    key: &DevicePublic,
) -> (Vec<PathBuf>, Option<u64>) {
    let on_disk = |s: &Segment| s.size.next_multiple_of(BLOCK).max(BLOCK);
    let mut total: u64 = segments.iter().map(on_disk).sum();
    let (mut gone, mut kept) = (Vec::new(), segments);
    while let Some((oldest, rest)) = kept.split_first()
        && total + room > most
    {
        total -= on_disk(oldest);
        gone.push(oldest.path.clone());
        kept = rest;
    }
    (gone, kept.iter().find_map(|s| first_record(&s.path, key)))
}
