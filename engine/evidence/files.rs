//! The files of a log: one after the other, only ever appended to, the oldest deleted when there are too many.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use milkglass_common::files::replace;
use milkglass_common::unhex;

use super::record::{DevicePublicKey, MAX_LINE, Opened, Record, hash};

/// A small file takes this much of a disk.
const BLOCK: u64 = 4096;
/// So much of a file's end is looked at for its last record.
const TAIL: u64 = 4 * MAX_LINE as u64;
/// No file that the device wrote is larger.
pub(super) const MOST_BYTES: u64 = (4 << 20) + TAIL;
/// The highest number of a file: eight digits. A device that starts every second comes to it in three years.
pub(super) const LAST_INDEX: u64 = 99_999_999;

/// Where the chain has got to: a record and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub n: u64,
    pub hash: [u8; 32],
}

/// A place between two records: the number of the one behind it, and the hash of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joint {
    pub n: u64,
    pub hash: [u8; 32],
}

impl From<Head> for Joint {
    fn from(head: Head) -> Joint {
        Joint { n: head.n + 1, hash: head.hash }
    }
}

/// A file of the folder that bears a log's name.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub index: u64,
    pub size: u64,
}

/// A file with at least one record that this device signed.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub path: PathBuf,
    pub index: u64,
    pub size: u64,
    /// Before its first record.
    pub begins: Joint,
    /// What its first record says, if that opens a file.
    pub opened: Option<Opened>,
    pub first: u64,
    pub last: Head,
    /// It ends in half a record, or in something else.
    pub cut: bool,
}

/// What files are written to. Tests put a disk that fails in its place.
pub(super) trait Disk: Send {
    /// Creates a file that begins with this line, and returns when both are on the disk.
    fn create(&mut self, path: &Path, line: &[u8]) -> io::Result<()>;
    /// Appends a line to the file created last, and returns when it is on the disk.
    fn append(&mut self, line: &[u8]) -> io::Result<()>;
}

/// The real one.
#[derive(Default)]
pub(super) struct Folder(Option<File>);

impl Disk for Folder {
    fn create(&mut self, path: &Path, line: &[u8]) -> io::Result<()> {
        self.0 = Some(replace(path, line)?);
        Ok(())
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

/// The running number of a file by its name; `None` for a name that the device does not give.
pub(super) fn index(file_name: &str) -> Option<u64> {
    let index = file_name.strip_prefix("evidence-")?.strip_suffix(".jsonl")?.parse().ok()?;
    (index <= LAST_INDEX && name(index) == file_name).then_some(index)
}

/// Whether a name pretends to be one of a log's.
pub(super) fn alike(file_name: &str) -> bool {
    file_name.starts_with("evidence-") && file_name.ends_with(".jsonl")
}

/// The files of a folder, oldest first. What is no ordinary file is none of the log's.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(index) = entry.file_name().to_str().and_then(index) else { continue };
        // It may be gone by now.
        let Ok(about) = entry.metadata() else { continue };
        if about.is_file() {
            segments.push(Segment { path: entry.path(), index, size: about.len() });
        }
    }
    segments.sort_by_key(|s| s.index);
    Ok(segments)
}

/// Those of the files that hold records of this device. Others are left alone: they neither count nor fall to the limit.
pub(super) fn own(segments: &[Segment], key: &DevicePublicKey) -> io::Result<Vec<Own>> {
    let mut all = Vec::new();
    for segment in segments {
        match look(segment, key) {
            Ok(own) => all.extend(own),
            // Somebody else's, or made so.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            // A disk that fails now may have it later; to go on without would be another chain.
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

fn look(segment: &Segment, key: &DevicePublicKey) -> io::Result<Option<Own>> {
    let mut file = File::open(&segment.path)?;
    let mut start = Vec::new();
    (&mut file).take(TAIL.min(segment.size)).read_to_end(&mut start)?;
    let mut end = start.clone();
    if segment.size > TAIL {
        file.seek(SeekFrom::Start(segment.size - TAIL))?;
        end.clear();
        file.take(TAIL).read_to_end(&mut end)?;
    }
    let read = |line: &[u8]| Some((Record::parse(line, Some(key)).ok()?, hash(line)));
    let whole = end.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let first = start.split(|b| *b == b'\n').find_map(read);
    let last = end[..whole].split(|b| *b == b'\n').rev().find_map(read);
    let (Some((first, _)), Some((last, hash))) = (first, last) else { return Ok(None) };
    Ok(Some(Own {
        path: segment.path.clone(),
        index: segment.index,
        size: segment.size,
        begins: Joint { n: first.n, hash: unhex(&first.prev).unwrap_or_default() },
        opened: first.what.opens().cloned(),
        first: first.n,
        last: Head { n: last.n, hash },
        cut: whole < end.len(),
    }))
}

/// Whether there are records, and none of them was signed with this key.
pub(super) fn foreign(segments: &[Segment], key: &DevicePublicKey) -> io::Result<bool> {
    if !own(segments, key)?.is_empty() {
        return Ok(false);
    }
    let any = |s: &Segment| {
        let mut bytes = Vec::new();
        File::open(&s.path)?.take(MAX_LINE as u64).read_to_end(&mut bytes)?;
        Ok(bytes.split(|b| *b == b'\n').any(|line| Record::parse(line, None).is_ok()))
    };
    segments.iter().map(any).find(|found| !matches!(found, Ok(false))).unwrap_or(Ok(false))
}

/// The content of a file, as far as the device can have written it.
pub(super) fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What so many bytes take of a disk.
pub(super) fn on_disk(size: u64) -> u64 {
    size.min(MOST_BYTES).next_multiple_of(BLOCK).max(BLOCK)
}
