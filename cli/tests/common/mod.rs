//! What the tests of the binary share: running it, making clips with ffmpeg, looking at pixels.
#![allow(dead_code, missing_docs, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The binary, with the models of this checkout and nothing of the caller's environment that would change what it does.
pub fn milkglass() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milkglass"));
    command.env("MILKGLASS_MODELS", models()).env_remove("MILKGLASS_FFMPEG").stdin(Stdio::null());
    command
}

pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").canonicalize().unwrap()
}

/// How a run ended.
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let err = String::from_utf8(output.stderr).expect("stderr is UTF-8");
        let ran = Ran { code: output.status.code().unwrap_or(-1), out: output.stdout, err };
        for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!ran.err.contains(word), "{}", ran.err);
        }
        ran
    }
}

impl Ran {
    /// The run ended with this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{}", self.err);
        self
    }

    /// Everything was done, and nothing was said beside warnings.
    #[track_caller]
    pub fn done(self) -> Ran {
        let ran = self.ended(0);
        assert!(ran.err.lines().all(|line| line.starts_with("warn: ")), "{}", ran.err);
        ran
    }

    /// The run failed with this code and said so in exactly one line, which holds all of `words`.
    #[track_caller]
    pub fn failed(self, code: i32, words: &[&str]) -> Ran {
        let ran = self.ended(code);
        let (errors, rest): (Vec<&str>, Vec<&str>) = ran.err.lines().partition(|l| l.starts_with("error: "));
        let [error] = errors[..] else { panic!("not one line of error:\n{}", ran.err) };
        assert!(rest.iter().all(|line| line.starts_with("warn: ")), "{}", ran.err);
        assert!(error.len() > 20 && error.len() < 500, "{error}");
        for word in words {
            assert!(error.contains(word), "`{word}` is missing in: {error}");
        }
        ran
    }

    /// The run said a warning that holds all of `words`.
    #[track_caller]
    pub fn warned(self, words: &[&str]) -> Ran {
        let all = |line: &str| line.starts_with("warn: ") && words.iter().all(|word| line.contains(word));
        assert!(self.err.lines().any(all), "no warning with {words:?} in:\n{}", self.err);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// Stdout as JSON Lines.
    pub fn rows(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn run(command: &mut Command) -> Ran {
    command.output().expect("the binary starts").into()
}

/// The ffmpeg child of a running milkglass whose command line holds a word.
pub fn child_with(parent: u32, word: &str) -> Option<i32> {
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let ppid: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let program = line.split('\0').next()?;
        (ppid == parent && program.ends_with("/ffmpeg") && line.contains(word)).then_some(pid)
    });
    children.into_iter().next()
}

/// `milkglass ARGS` in a folder.
pub fn milkglass_in(dir: &Path, args: &[&str]) -> Ran {
    run(milkglass().current_dir(dir).args(args))
}

/// `ffmpeg ARGS`; panics with what it said when it fails.
#[track_caller]
pub fn ffmpeg<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I) {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-v", "error", "-y"]).args(args);
    let output = command.output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Words of a command line that hold no blanks themselves, with paths put in for `{}`.
pub fn words(line: &str, paths: &[&Path]) -> Vec<OsString> {
    let mut paths = paths.iter();
    let word = |w: &str| if w == "{}" { paths.next().unwrap().as_os_str().into() } else { OsString::from(w) };
    line.split_whitespace().map(word).collect()
}

pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/people.mp4").canonicalize().unwrap()
}

/// A box: x, y, width, height.
pub type Rect = [f64; 4];

/// The faces in every frame of the example.
pub fn truth() -> &'static [Vec<Rect>] {
    static TRUTH: OnceLock<Vec<Vec<Rect>>> = OnceLock::new();
    TRUTH.get_or_init(|| {
        let text = std::fs::read_to_string(example().with_file_name("people.truth.json")).unwrap();
        let faces = |line: &str| {
            let row: Value = serde_json::from_str(line).unwrap();
            serde_json::from_value(row["faces"].clone()).unwrap()
        };
        text.lines().map(faces).collect()
    })
}

/// Frames of the example that the small clip holds: one man walks up to the camera.
pub const FIRST: usize = 160;
pub const FRAMES: usize = 24;

/// The faces of the small clip.
pub fn small_truth() -> Vec<Vec<Rect>> {
    let frames = &truth()[FIRST..FIRST + FRAMES];
    frames.iter().map(|faces| faces.iter().map(|face| face.map(|v| v / 2.0)).collect()).collect()
}

/// A clip of 640x360 and 24 frames with one face each, stored without loss, with sound and telling metadata.
pub fn small() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let clip = shared("small.mp4");
        let filter = format!(
            "trim=start_frame={FIRST}:end_frame={},setpts=PTS-STARTPTS,scale=640:360",
            FIRST + FRAMES
        );
        let mut args = words("-i {} -f lavfi -i sine=frequency=440:duration=0.96 -vf", &[&example()]);
        args.push(filter.into());
        args.extend(words("-c:v libx264 -qp 0 -preset veryfast -c:a aac -b:a 48k", &[]));
        args.extend(
            ["-metadata", "title=SecretTitle", "-metadata", "location=+52.5+13.4/"].map(OsString::from),
        );
        args.extend(["-metadata", "creation_time=2020-02-02T02:02:02Z"].map(OsString::from));
        args.push(clip.clone().into());
        ffmpeg(args);
        clip
    };
    MADE.get_or_init(make).clone()
}

/// A path for a file that all tests of one program share.
pub fn shared(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let program = program.file_stem().unwrap().to_string_lossy().into_owned();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(program);
    std::fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

/// The names in a folder.
pub fn listing(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[track_caller]
pub fn holds(dir: &Path, names: &[&str]) {
    assert_eq!(listing(dir), names.iter().map(|n| (*n).to_string()).collect());
}

pub fn sha256(path: &Path) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(std::fs::read(path).unwrap()).iter().map(|b| format!("{b:02x}")).collect()
}

/// ffprobe's answer about a file.
pub fn probe(path: &Path) -> Value {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "json", "-count_frames"]);
    command.args(["-show_format", "-show_streams", "-show_chapters"]).arg(path);
    let output = command.output().expect("ffprobe is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The first video stream in ffprobe's answer.
pub fn video(probed: &Value) -> &Value {
    let streams = probed["streams"].as_array().unwrap();
    streams.iter().find(|s| s["codec_type"] == "video").unwrap()
}

/// Decoded frames, 8-bit 4:2:0.
pub struct Frames {
    pub width: usize,
    pub height: usize,
    pub data: Vec<Vec<u8>>,
}

/// Decodes a clip without turning it.
#[track_caller]
pub fn decode(path: &Path) -> Frames {
    let facts = probe(path);
    let side = |name: &str| usize::try_from(video(&facts)[name].as_u64().unwrap()).unwrap();
    let (width, height) = (side("width"), side("height"));
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-noautorotate", "-i"]).arg(path);
    command.args(["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Frames::new(width, height, &output.stdout)
}

impl Frames {
    #[track_caller]
    pub fn new(width: usize, height: usize, bytes: &[u8]) -> Frames {
        let size = width * height + 2 * width.div_ceil(2) * height.div_ceil(2);
        assert_eq!(bytes.len() % size, 0, "whole frames of {width}x{height}");
        Frames { width, height, data: bytes.chunks_exact(size).map(<[u8]>::to_vec).collect() }
    }

    /// Reads Y4M.
    pub fn from_y4m(bytes: &[u8]) -> Frames {
        let line = |from: usize| from + bytes[from..].iter().position(|b| *b == b'\n').unwrap();
        let head = line(0);
        let text = std::str::from_utf8(&bytes[..head]).unwrap();
        let side = |key: char| text.split(' ').find_map(|w| w.strip_prefix(key)).unwrap().parse().unwrap();
        let (width, height): (usize, usize) = (side('W'), side('H'));
        let size = width * height + 2 * width.div_ceil(2) * height.div_ceil(2);
        let (mut at, mut data) = (head + 1, Vec::new());
        while at < bytes.len() {
            let start = line(at) + 1;
            data.push(bytes[start..start + size].to_vec());
            at = start + size;
        }
        Frames { width, height, data }
    }

    pub fn luma(&self, frame: usize, x: usize, y: usize) -> u8 {
        self.data[frame][y * self.width + x]
    }

    /// Cb and Cr at a luma position.
    pub fn chroma(&self, frame: usize, x: usize, y: usize) -> [u8; 2] {
        let (cw, ch) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let at = self.width * self.height + y / 2 * cw + x / 2;
        [self.data[frame][at], self.data[frame][at + cw * ch]]
    }

    /// Black up to what an encoder does to it, in all three planes.
    pub fn is_black(&self, frame: usize, x: usize, y: usize, tolerance: u8) -> bool {
        let [cb, cr] = self.chroma(frame, x, y);
        self.luma(frame, x, y) <= 16 + tolerance
            && cb.abs_diff(128) <= tolerance
            && cr.abs_diff(128) <= tolerance
    }

    /// The share of the pixels of a box for which `is` holds.
    pub fn share(&self, [x, y, w, h]: Rect, is: impl Fn(usize, usize) -> bool) -> f64 {
        let span =
            |lo: f64, n: f64, most: usize| lo.max(0.0) as usize..((lo + n).max(0.0) as usize).min(most);
        let pixels = span(y, h, self.height).flat_map(|py| span(x, w, self.width).map(move |px| (px, py)));
        let (mut all, mut hits) = (0_u32, 0_u32);
        for (px, py) in pixels {
            all += 1;
            hits += u32::from(is(px, py));
        }
        f64::from(hits) / f64::from(all.max(1))
    }

    /// Every face of every frame is black for at least 90 % of its box.
    #[track_caller]
    pub fn hides(&self, faces: &[Vec<Rect>], what: &str) {
        assert_eq!(self.data.len(), faces.len(), "{what}: frames");
        for (n, faces) in faces.iter().enumerate() {
            for face in faces {
                let share = self.share(*face, |x, y| self.is_black(n, x, y, 24));
                assert!(share >= 0.9, "{what}: frame {n}: only {share:.2} of the face {face:?} is hidden");
            }
        }
    }
}

/// Writes one frame of the example as a picture and returns its faces.
pub fn still(frame: usize, path: &Path) -> Vec<Rect> {
    let select = format!("select=eq(n\\,{frame})");
    let example = example();
    let mut args: Vec<OsString> = vec!["-i".into(), example.into(), "-vf".into(), select.into()];
    args.extend(["-frames:v", "1", "-update", "1"].map(OsString::from));
    args.push(path.into());
    ffmpeg(args);
    truth()[frame].clone()
}

/// The share of a box that is black in a picture.
pub fn black_share(picture: &image::RgbImage, [x, y, w, h]: Rect) -> f64 {
    let span = |lo: f64, n: f64, most: u32| lo.max(0.0) as u32..((lo + n).max(0.0) as u32).min(most);
    let (mut all, mut hits) = (0_u32, 0_u32);
    for py in span(y, h, picture.height()) {
        for px in span(x, w, picture.width()) {
            all += 1;
            hits += u32::from(picture.get_pixel(px, py).0.iter().all(|v| *v <= 24));
        }
    }
    f64::from(hits) / f64::from(all.max(1))
}

/// `redact` of one picture.
pub fn redact_still(dir: &Path, input: &Path, output: &str) -> Ran {
    let mut command = milkglass();
    command.current_dir(dir).arg("redact").arg(input).args(["-o", output, "--overwrite", "--preset", "fast"]);
    run(&mut command)
}

/// Two pictures of one size that differ by so many levels at most, in the mean of all samples.
#[track_caller]
pub fn same(a: &image::RgbImage, b: &image::RgbImage, mean: f64, what: &str) {
    assert_eq!(a.dimensions(), b.dimensions(), "{what}");
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let found = sum as f64 / a.as_raw().len() as f64;
    assert!(found <= mean, "{what}: differs by {found}");
}

/// Every face is black for at least 90 % of its box.
#[track_caller]
pub fn hidden_in(path: &Path, faces: &[Rect]) {
    let picture = image::open(path).unwrap().into_rgb8();
    assert!(!faces.is_empty());
    for face in faces {
        let share = black_share(&picture, *face);
        assert!(share >= 0.9, "{}: only {share:.2} of the face {face:?} is hidden", path.display());
    }
}

/// A little-endian TIFF of one strip, with these tags (sorted, each one short or several).
pub fn tiff(size: (u32, u32), tags: &[(u16, &[u16])], pixels: &[u8]) -> Vec<u8> {
    let mut all = vec![(256_u16, vec![size.0 as u16]), (257, vec![size.1 as u16])];
    all.extend(tags.iter().map(|(tag, values)| (*tag, values.to_vec())));
    all.sort();
    let count = all.len() + 3;
    let after = 8 + 2 + 12 * count + 4;
    let mut long = Vec::new();
    let mut entries = Vec::new();
    for (tag, values) in &all {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut entry = [&tag.to_le_bytes()[..], &[3, 0], &(values.len() as u32).to_le_bytes()].concat();
        if bytes.len() <= 4 {
            entry.extend(&bytes);
            entry.resize(12, 0);
        } else {
            entry.extend(((after + long.len()) as u32).to_le_bytes());
            long.extend(bytes);
        }
        entries.push((*tag, entry));
    }
    let at = (after + long.len()) as u32;
    for (tag, value) in [(273_u16, at), (278, size.1), (279, pixels.len() as u32)] {
        entries.push((tag, [&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat()));
    }
    entries.sort();
    let directory: Vec<u8> = entries.into_iter().flat_map(|(_, entry)| entry).collect();
    let head = [b"II*\0\x08\0\0\0", &(count as u16).to_le_bytes()[..]].concat();
    [&head[..], &directory, &[0; 4], &long, pixels].concat()
}

/// A PNG with one more chunk, after its header or before its end.
pub fn png_with_chunk(png: &[u8], kind: &[u8; 4], data: &[u8], late: bool) -> Vec<u8> {
    let body = [kind, data].concat();
    let crc = !body.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    let chunk = [&(data.len() as u32).to_be_bytes()[..], &body, &crc.to_be_bytes()].concat();
    let at = if late { png.len() - 12 } else { 33 };
    [&png[..at], &chunk, &png[at..]].concat()
}
