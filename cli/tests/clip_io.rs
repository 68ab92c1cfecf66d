//! Clips through decoder and encoder, frame by frame, against `ffmpeg` and `ffprobe` on their own.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use milkglass_cli::clip::*;
use tempfile::TempDir;

const NEEDED: &str = "these tests need ffmpeg and ffprobe: apt-get install ffmpeg";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn tools() -> Tools {
    static FOUND: OnceLock<Tools> = OnceLock::new();
    let launcher = || Some(env!("CARGO_BIN_EXE_milkglass").into());
    let folder = std::env::var_os("MILKGLASS_FFMPEG").map(PathBuf::from);
    let find = || Tools::find_in(folder.as_deref(), launcher(), Limits::default());
    FOUND.get_or_init(|| find().expect(NEEDED)).clone()
}

fn run(program: &str, args: &[&str], file: Option<&OsStr>) -> Vec<u8> {
    let mut command = Command::new(program);
    if program == "ffmpeg" {
        command.args(["-nostdin", "-hide_banner", "-v", "error", "-y"]);
    } else {
        command.args(["-v", "error"]);
    }
    let output = command.args(args).args(file).output().expect(NEEDED);
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

const PICTURE: &[&str] = &["-f", "lavfi", "-i", "testsrc2=s=160x120:r=10:d=1.2"];

/// A clip of 12 frames made with `args` after the picture.
fn make(folder: &TempDir, name: &str, args: &[&str]) -> PathBuf {
    let path = folder.path().join(name);
    run("ffmpeg", &[PICTURE, args].concat(), Some(path.as_os_str()));
    path
}

fn show(file: &Path, entries: &str) -> String {
    let args = ["-of", "default=nk=1:nw=1", "-select_streams", "v:0", "-show_entries", entries];
    let text = String::from_utf8(run("ffprobe", &args, Some(file.as_os_str()))).unwrap();
    // A stream that is part of a program is listed twice.
    let (first, second) = text.split_at(text.len() / 2);
    if first == second { first.to_owned() } else { text }
}

/// Times of all shown frames in seconds, as `ffprobe` prints them.
fn times(file: &Path) -> Vec<f64> {
    show(file, "frame=best_effort_timestamp_time")
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

/// All frames as `ffmpeg` decodes them, turned upright by itself, in the range they have.
fn pixels(file: &Path) -> Vec<u8> {
    let range = if show(file, "stream=color_range").trim() == "pc" { "full" } else { "limited" };
    let filter = format!("scale=in_range={range}:out_range={range},format=yuv420p");
    let args = ["-i", file.to_str().unwrap(), "-map", "0:v:0", "-fps_mode", "passthrough", "-vf", &filter];
    run("ffmpeg", &[&args[..], &["-f", "rawvideo", "-"]].concat(), None)
}

struct Decoded {
    info: ClipInfo,
    frames: Vec<(i64, Vec<u8>)>,
    end: DecodeEnd,
}

impl Decoded {
    fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|(_, data)| data.clone()).collect()
    }
}

fn decode(input: &Path) -> Result<Decoded, ClipError> {
    let tools = tools();
    let info = probe(&tools, input)?;
    let mut decoder = Decoder::open(&tools, input, &info, &tools.limits)?;
    let mut frames = Vec::new();
    while let Some(head) = decoder.next_frame()? {
        let mut data = vec![0; head.len as usize];
        // Row by row, as the pool is filled.
        for row in rows_mut(&mut data, info.width as usize, info.height as usize) {
            decoder.read_exact_row(row)?;
        }
        frames.push((head.pts, data));
    }
    Ok(Decoded { info, frames, end: decoder.finish()? })
}

fn rows_mut(data: &mut [u8], width: usize, height: usize) -> impl Iterator<Item = &mut [u8]> {
    let (luma, chroma) = data.split_at_mut(width * height);
    luma.chunks_exact_mut(width).chain(chroma.chunks_exact_mut(width.div_ceil(2)))
}

fn encode(
    decoded: &Decoded,
    output: &Path,
    options: &EncodeOptions,
    sound: Option<Sound>,
) -> Result<EncodeEnd, ClipError> {
    let tools = tools();
    let info = &decoded.info;
    let container = Container::of(output)?;
    let mut encoder = Encoder::open(&tools, output, container, info, options, sound, &tools.limits)?;
    let width = info.width as usize;
    for (pts, data) in &decoded.frames {
        let (luma, chroma) = data.split_at(width * info.height as usize);
        let rows = luma.chunks_exact(width).chain(chroma.chunks_exact(width.div_ceil(2)));
        encoder.write_frame(*pts, rows)?;
    }
    encoder.finish()
}

/// Decodes, encodes with the defaults, and checks what holds for every clip.
fn through(folder: &TempDir, input: &Path, name: &str) -> (Decoded, EncodeEnd, PathBuf) {
    let decoded = decode(input).unwrap();
    assert_eq!(decoded.end.damage, None, "{}", input.display());
    let output = folder.path().join(name);
    let options = EncodeOptions { lossless: name.ends_with(".mkv"), ..Default::default() };
    let end = encode(&decoded, &output, &options, None).unwrap();
    assert_eq!(end.frames, decoded.end.frames);
    let again = decode(&output).unwrap();
    assert_eq!(again.end.damage, None, "{}", output.display());
    assert_eq!(again.end.frames, end.frames);
    (decoded, end, output)
}

fn close(a: &[u8], b: &[u8], mean: f64) {
    assert_eq!(a.len(), b.len());
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let found = sum as f64 / a.len() as f64;
    assert!(found <= mean, "mean difference {found}");
}

#[test]
fn every_container_and_codec_goes_through() {
    let folder = folder();
    let clips: &[(&str, &str, &[&str])] = &[
        ("h264.mp4", "h264", &["-c:v", "libx264", "-bf", "2"]),
        ("h264.mov", "h264", &["-c:v", "libx264"]),
        ("hevc.mkv", "hevc", &["-c:v", "libx265", "-x265-params", "log-level=none"]),
        ("mjpeg.avi", "mjpeg", &["-c:v", "mjpeg", "-q:v", "3"]),
        ("mpeg4.avi", "mpeg4", &["-c:v", "mpeg4", "-q:v", "3"]),
        ("vp9.webm", "vp9", &["-c:v", "libvpx-vp9", "-cpu-used", "8", "-deadline", "realtime"]),
        ("av1.mp4", "av1", &["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"]),
        ("h264.ts", "h264", &["-c:v", "libx264"]),
    ];
    for (name, codec, args) in clips {
        let input = make(&folder, name, &[args, &["-pix_fmt", "yuv420p"][..]].concat());
        let (decoded, _, output) = through(&folder, &input, &format!("{name}.out.mkv"));
        assert_eq!((decoded.info.codec.as_str(), decoded.end.frames), (*codec, 12), "{name}");
        assert_eq!(decoded.end.warnings, [""; 0], "{name}");
        // FFV1 is lossless, so the whole way is exact.
        assert!(pixels(&output) == pixels(&input), "{name}");
    }
    let input = folder.path().join("h264.mp4");
    for name in ["a.mp4", "a.mov", "a.webm", "a.ts", "a.avi", "a.flv"] {
        let (_, end, output) = through(&folder, &input, name);
        assert_eq!(end.warnings, [""; 0], "{name}");
        close(&pixels(&output), &pixels(&input), 3.0);
        let (first, last) = (times(&output)[0], *times(&output).last().unwrap());
        assert!((last - first - 1.1).abs() < 0.002, "{name}: {first} {last}");
    }
    for encoder in ["libx265", "libsvtav1", "libaom-av1", "mpeg4"] {
        let output = folder.path().join(format!("{encoder}.mp4"));
        let options = EncodeOptions { encoder: Some(encoder.to_owned()), ..Default::default() };
        let end = encode(&decode(&input).unwrap(), &output, &options, None).unwrap();
        assert_eq!(count_frames(&tools(), &output).unwrap(), end.frames, "{encoder}");
        assert_eq!(times(&output), times(&input), "{encoder}");
    }
}

#[test]
fn variable_frame_rate_stays_exact() {
    let folder = folder();
    // Intervals of one to eleven tenths of a second and some odd ticks.
    let vary = ["-vf", "settb=1/90000,setpts=(N*N*4500+N*7)", "-fps_mode", "passthrough"];
    let vary = [&vary[..], &["-enc_time_base", "1:90000", "-c:v", "libx264", "-bf", "2"]].concat();
    for (name, out) in [("v.mp4", "o.mp4"), ("v.mkv", "o2.mp4"), ("v.mkv", "o.mkv"), ("v.ts", "o3.mp4")] {
        let scale = [&vary[..], &["-video_track_timescale", "90000"]].concat();
        let input = make(&folder, name, if name.ends_with("mp4") { &scale } else { &vary });
        let (decoded, end, output) = through(&folder, &input, out);
        let before = times(&input);
        let shift = if name.ends_with(".mkv") || name.ends_with(".ts") { before[0] } else { 0.0 };
        let after = times(&output);
        assert_eq!((before.len(), after.len()), (12, 12));
        // What is printed is rounded to microseconds.
        let same = before.iter().zip(&after).all(|(before, after)| (before - shift - after).abs() < 2.1e-6);
        assert!(same, "{name} to {out}: {before:?} {after:?}");
        assert!(end.warnings.is_empty() && decoded.end.warnings.is_empty(), "{:?}", end.warnings);
        if name == "v.mp4" {
            assert_eq!(decoded.info.time_base, (1, 90_000));
            let ticks: Vec<i64> = decoded.frames.iter().map(|(pts, _)| *pts).collect();
            assert_eq!(ticks, (0..12).map(|n| n * n * 4500 + n * 7).collect::<Vec<i64>>());
            assert_eq!(show(&input, "frame=pts"), show(&output, "frame=pts"));
        }
    }
    // AVI cannot, and says so.
    let decoded = decode(&folder.path().join("v.mp4")).unwrap();
    let end = encode(&decoded, &folder.path().join("o.avi"), &EncodeOptions::default(), None).unwrap();
    assert!(end.warnings[0].contains("AVI cannot hold"), "{:?}", end.warnings);
}

/// A fine clock and a slow clip: ffmpeg writes steps between frames that the format's text does not foresee.
#[test]
fn a_fine_time_base_of_a_slow_clip_is_read() {
    let folder = folder();
    let input = make(&folder, "fine.mp4", &["-video_track_timescale", "200000"]);
    let (decoded, _, output) = through(&folder, &input, "fine-again.mp4");
    assert_eq!(decoded.info.time_base, (1, 200_000));
    assert_eq!(decoded.frames[1].0 - decoded.frames[0].0, 20_000);
    assert_eq!(times(&input), times(&output));
}

#[test]
fn frames_with_one_timestamp_are_kept() {
    let folder = folder();
    let args = ["-vf", "settb=1/1000,setpts=floor(N/2)*200", "-fps_mode", "passthrough"];
    let input =
        make(&folder, "twice.mkv", &[&args[..], &["-enc_time_base", "1:1000", "-c:v", "ffv1"]].concat());
    let decoded = decode(&input).unwrap();
    assert_eq!((decoded.end.frames, decoded.end.damage.as_deref()), (12, None));
    for name in ["o.mp4", "o.mkv", "o.webm", "o.ts"] {
        let output = folder.path().join(name);
        let end = encode(&decoded, &output, &EncodeOptions::default(), None).unwrap();
        assert_eq!(count_frames(&tools(), &output).unwrap(), 12, "{name}");
        let warned = decoded.end.warnings.iter().chain(&end.warnings).any(|text| text.contains("forward"));
        assert!(warned, "{name}");
    }
}

/// Sets the display matrix in the picture track of an MP4.
fn patch_matrix(file: &Path, [a, b, c, d]: [i32; 4]) {
    let mut bytes = std::fs::read(file).unwrap();
    let upright: Vec<u8> = [65536i32, 0, 0, 0, 65536, 0, 0, 0, 1 << 30].map(i32::to_be_bytes).concat();
    let turned: Vec<u8> =
        [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30].map(i32::to_be_bytes).concat();
    let track = bytes.windows(4).position(|four| four == b"tkhd").unwrap();
    let at = bytes[track..].windows(36).position(|nine| nine == upright).unwrap() + track;
    bytes[at..at + 36].copy_from_slice(&turned);
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn all_eight_orientations_come_upright() {
    let folder = folder();
    let original = make(&folder, "o.mp4", &["-vf", "setsar=4/3", "-c:v", "libx264", "-pix_fmt", "yuv420p"]);
    let matrices = [
        ([1, 0, 0, 1], Orientation::Upright),
        ([0, 1, -1, 0], Orientation::Clockwise),
        ([-1, 0, 0, -1], Orientation::HalfTurn),
        ([0, -1, 1, 0], Orientation::CounterClockwise),
        ([-1, 0, 0, 1], Orientation::MirrorLeftRight),
        ([1, 0, 0, -1], Orientation::MirrorTopBottom),
        ([0, 1, 1, 0], Orientation::Transpose),
        ([0, -1, -1, 0], Orientation::AntiTranspose),
    ];
    for (matrix, orientation) in matrices {
        let input = folder.path().join("turned.mp4");
        std::fs::copy(&original, &input).unwrap();
        patch_matrix(&input, matrix);
        let names = ["turned.out.mkv", "turned.out.mp4"];
        for name in &names[..if orientation == Orientation::Clockwise { 2 } else { 1 }] {
            let (decoded, _, output) = through(&folder, &input, name);
            let (size, sar) =
                if orientation.swaps_sides() { ("120\n160", "3:4") } else { ("160\n120", "4:3") };
            assert_eq!(decoded.info.orientation, orientation);
            assert_eq!(
                show(&output, "stream=width,height,sample_aspect_ratio").trim(),
                format!("{size}\n{sar}")
            );
            assert_eq!(show(&output, "stream_side_data=rotation").trim(), "");
            // ffmpeg's own turning agrees, pixel by pixel.
            assert!(decoded.bytes() == pixels(&input), "{orientation:?}");
            if name.ends_with("mkv") {
                assert!(pixels(&output) == pixels(&input), "{orientation:?}");
            }
        }
    }
    patch_matrix(&original, [1, 1, -1, 1]);
    let decoded = decode(&original).unwrap();
    assert!(decoded.info.warnings[0].contains("odd angle"), "{:?}", decoded.info.warnings);
}

/// Raw planes of `file` in `pix_fmt`, which must be its own.
fn stored(file: &Path, pix_fmt: &str) -> Vec<u8> {
    let args = ["-i", file.to_str().unwrap(), "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"];
    run("ffmpeg", &args, None)
}

const TAGS: &str = "stream=color_range,color_space,color_transfer,color_primaries";

#[test]
fn range_matrix_and_other_tags_are_kept() {
    let folder = folder();
    let spaces = [
        ("tv", "bt709", "bt709", "bt709"),
        ("tv", "smpte170m", "smpte170m", "smpte170m"),
        ("pc", "bt470bg", "bt709", "bt470bg"),
        ("tv", "bt2020nc", "bt2020-10", "bt2020"),
    ];
    for (range, matrix, transfer, primaries) in spaces {
        let set = format!(
            "format=yuv420p,setparams=range={range}:colorspace={matrix}:color_trc={transfer}:color_primaries={primaries}"
        );
        let input = make(&folder, "tags.mp4", &["-vf", &set, "-c:v", "libx264"]);
        let wanted = format!("{range}\n{matrix}\n{transfer}\n{primaries}\n");
        assert_eq!(show(&input, TAGS), wanted);
        let names = ["o.mp4", "o.mov", "o.webm", "o.mkv", "o.ts"];
        for name in &names[..if range == "pc" { 5 } else { 1 }] {
            let (decoded, _, output) = through(&folder, &input, name);
            assert_eq!(show(&output, TAGS), wanted, "{name}");
            assert_eq!(decoded.info.full_range, range == "pc");
            let own = if range == "pc" { "yuvj420p" } else { "yuv420p" };
            assert!(decoded.bytes() == stored(&input, own), "{range} {matrix}: pixels changed");
        }
    }
    // MJPEG is full range by nature.
    let input = make(&folder, "full.avi", &["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]);
    let (decoded, _, output) = through(&folder, &input, "full.mkv");
    assert!(decoded.info.full_range && decoded.bytes() == stored(&input, "yuvj420p"));
    assert!(show(&output, TAGS).starts_with("pc\n"), "{}", show(&output, TAGS));
}

#[test]
fn other_pixel_layouts_become_8_bit_420_with_a_warning() {
    let folder = folder();
    let cases = [
        ("yuv420p10le", "10-bit input is converted"),
        ("yuv422p", "4:2:2 input is converted"),
        ("yuv444p", "4:4:4 input is converted"),
        ("yuv422p10le", "4:2:2 input is converted"),
        ("bgr0", "RGB input is converted"),
        ("gray", "gray input is converted"),
        ("yuva420p", "what is transparent in it is filled"),
    ];
    for (pix_fmt, warning) in cases {
        let input = make(&folder, "layout.mkv", &["-c:v", "ffv1", "-pix_fmt", pix_fmt]);
        let (decoded, _, output) = through(&folder, &input, "layout.out.mkv");
        let warned = decoded.info.warnings.iter().any(|text| text.starts_with(warning));
        assert!(warned, "{pix_fmt}: {:?}", decoded.info.warnings);
        assert_eq!(show(&output, "stream=pix_fmt").trim(), "yuv420p");
        // Shown on a screen, input and output look alike: range and matrix fit their tags.
        let args = |file: &Path| {
            let matrix = "scale=in_color_matrix=auto:out_range=full,format=rgb24";
            run("ffmpeg", &["-i", file.to_str().unwrap(), "-vf", matrix, "-f", "rawvideo", "-"], None)
        };
        close(&args(&input), &args(&output), 6.0);
    }
    let pq = "format=yuv420p10le,setparams=colorspace=bt2020nc:color_trc=smpte2084:color_primaries=bt2020:range=tv";
    let input = make(&folder, "pq.mkv", &["-vf", pq, "-c:v", "libx265", "-x265-params", "log-level=none"]);
    let (decoded, _, output) = through(&folder, &input, "pq.mp4");
    assert!(decoded.info.hdr && decoded.info.bit_depth == 10);
    assert!(decoded.info.warnings.iter().any(|text| text.contains("HDR")), "{:?}", decoded.info.warnings);
    assert_eq!(show(&output, TAGS), "tv\nbt2020nc\nsmpte2084\nbt2020\n");
}

#[test]
fn odd_sizes_stay_or_say_why_not() {
    let folder = folder();
    let input = folder.path().join("odd.mkv");
    let source = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=642x362:r=10:d=0.5,crop=641:361:0:0:exact=1",
        "-c:v",
        "ffv1",
        "-pix_fmt",
        "yuv420p",
    ];
    run("ffmpeg", &source, Some(input.as_os_str()));
    for (name, size) in [("o.mkv", "641\n361"), ("o.webm", "641\n361"), ("o.mp4", "642\n362")] {
        let (decoded, end, output) = through(&folder, &input, name);
        assert_eq!((decoded.info.width, decoded.info.height), (641, 361));
        assert_eq!(show(&output, "stream=width,height").trim(), size);
        assert!(decoded.bytes() == pixels(&input));
        assert_eq!(
            end.warnings.iter().filter(|text| text.contains("even sizes")).count(),
            usize::from(name == "o.mp4")
        );
        if name == "o.mp4" {
            let args =
                ["-i", output.to_str().unwrap(), "-vf", "crop=641:361:0:0:exact=1", "-f", "rawvideo", "-"];
            close(&run("ffmpeg", &args, None), &pixels(&input), 3.0);
        }
    }
    for size in ["1:1", "3:1", "1:16"] {
        let crop = format!("format=yuv444p,crop={size}:0:0:exact=1");
        let input = make(&folder, "tiny.mkv", &["-vf", &crop, "-c:v", "ffv1", "-pix_fmt", "yuv420p"]);
        through(&folder, &input, "tiny.out.mkv");
        through(&folder, &input, "tiny.out.mp4");
    }
}

#[test]
fn a_change_of_size_midway_is_scaled_and_told() {
    let folder = folder();
    let small = make(&folder, "small.ts", &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "4"]);
    let large = folder.path().join("large.ts");
    let source =
        ["-f", "lavfi", "-i", "testsrc2=s=320x176:r=10:d=1.2", "-c:v", "libx264", "-output_ts_offset", "1.2"];
    run("ffmpeg", &source, Some(large.as_os_str()));
    let both = folder.path().join("both.ts");
    std::fs::write(&both, [std::fs::read(small).unwrap(), std::fs::read(large).unwrap()].concat()).unwrap();
    let decoded = decode(&both).unwrap();
    assert_eq!((decoded.info.width, decoded.info.height), (160, 120));
    assert!(decoded.frames.iter().all(|(_, data)| data.len() == 160 * 120 * 3 / 2));
    assert_eq!(decoded.end.frames, 24);
    let told = decoded.end.warnings.iter().any(|text| text.contains("from 160x120 to 320x176"));
    assert!(told, "{:?}", decoded.end);
}

#[test]
fn cut_off_and_broken_clips_are_told() {
    let folder = folder();
    let long = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=10:d=6", "-c:v", "libx264", "-g", "10"];
    for (name, more) in
        [("c.mkv", &[][..]), ("c.mp4", &["-movflags", "+faststart"]), ("c.avi", &["-bf", "0"])]
    {
        let whole = folder.path().join(name);
        run("ffmpeg", &[&long[..], more].concat(), Some(whole.as_os_str()));
        let bytes = std::fs::read(&whole).unwrap();
        assert_eq!(decode(&whole).unwrap().end.damage, None, "{name}");
        for share in [50, 80, 97] {
            let cut = folder.path().join(format!("cut{share}-{name}"));
            std::fs::write(&cut, &bytes[..bytes.len() * share / 100]).unwrap();
            match decode(&cut) {
                Ok(decoded) => {
                    assert!(decoded.end.damage.is_some(), "{name} cut at {share} %: {:?}", decoded.end);
                    assert!(decoded.end.frames < 60, "{name} {share}");
                }
                Err(error) => assert!(matches!(error, ClipError::Damaged { .. }), "{name} {share}: {error}"),
            }
        }
        // Bytes in the middle of the pictures turned over.
        let mut broken = bytes.clone();
        for at in (bytes.len() / 2..bytes.len() / 2 + 400).step_by(3) {
            broken[at] ^= 0xA5;
        }
        let file = folder.path().join(format!("broken-{name}"));
        std::fs::write(&file, broken).unwrap();
        if let Ok(decoded) = decode(&file) {
            assert!(decoded.end.damage.is_some(), "{name} broken: {:?}", decoded.end);
        }
    }
    let late = make(&folder, "late-index.mp4", &["-c:v", "libx264"]);
    let bytes = std::fs::read(&late).unwrap();
    std::fs::write(&late, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let error = decode(&late).err().unwrap();
    assert!(matches!(error, ClipError::Damaged { .. }) && error.to_string().contains("moov"), "{error}");
}

#[test]
fn files_that_are_no_clips() {
    let folder = folder();
    let tools = tools();
    let error = |path: &Path| probe(&tools, path).err().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    assert!(matches!(error(&folder.path().join("none.mp4")), ClipError::Io { .. }));
    assert!(matches!(error(folder.path()), ClipError::NotAVideo { .. }));
    assert!(error(&file("empty.mp4", b"")).to_string().contains("empty"));
    assert!(matches!(error(&file("text.mp4", b"no clip at all\n")), ClipError::NotAVideo { .. }));
    let list = file("list.mp4", b"ffconcat version 1.0\nfile h.mp4\n");
    assert!(matches!(error(&list), ClipError::NotAVideo { .. }));
    let playlist = file("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nh.ts\n");
    assert!(matches!(error(&playlist), ClipError::NotAVideo { .. }));
    let sound = folder.path().join("sound.m4a");
    run("ffmpeg", &["-f", "lavfi", "-i", "sine=d=0.3"], Some(sound.as_os_str()));
    assert!(matches!(error(&sound), ClipError::NoVideoStream { .. }));
    for path in [list, playlist, sound] {
        assert!(!error(&path).to_string().contains('\n'));
    }
}

#[test]
fn awkward_names_are_only_names() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let plain = make(&folder, "plain.mp4", &["-c:v", "libx264"]);
    let names: [&[u8]; 6] =
        [b"-i.mp4", b"a b 'c' \"d\".mp4", b"http:x.mp4", b"%03d.mp4", b"caf\xe9.mp4", b"a|b;[0:v],c.mp4"];
    for name in names {
        let input = folder.path().join(OsStr::from_bytes(name));
        std::fs::copy(&plain, &input).unwrap();
        let decoded = decode(&input).unwrap();
        assert_eq!(decoded.end.frames, 12);
        let output = folder.path().join(OsStr::from_bytes(&[b"o-", name].concat()));
        encode(&decoded, &output, &EncodeOptions::default(), None).unwrap();
        assert_eq!(count_frames(&tools(), &output).unwrap(), 12);
    }
}

#[test]
fn nothing_but_pictures_is_kept() {
    let folder = folder();
    let secret = "geheim-1234";
    let chapters = folder.path().join("chapters.txt");
    std::fs::write(&chapters, ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle=geheim-1234\n")
        .unwrap();
    let subtitles = folder.path().join("s.srt");
    std::fs::write(&subtitles, "1\n00:00:00,000 --> 00:00:01,000\ngeheim-1234\n").unwrap();
    let args = [
        "-f",
        "lavfi",
        "-i",
        "sine=d=1.2",
        "-i",
        subtitles.to_str().unwrap(),
        "-i",
        chapters.to_str().unwrap(),
    ];
    let tags = [
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "2",
        "-map_chapters",
        "3",
        "-c:v",
        "libx264",
        "-c:a",
        "aac",
        "-attach",
        subtitles.to_str().unwrap(),
        "-metadata:s:t",
        "mimetype=text/plain",
        "-metadata",
        "title=geheim-1234",
        "-metadata",
        "location=+48.1+11.6/",
        "-metadata:s:a",
        "title=geheim-1234",
        "-metadata:s:v",
        "title=geheim-1234",
        "-metadata",
        "creation_time=2020-01-02T03:04:05Z",
    ];
    let input = make(&folder, "tags.mkv", &[&args[..], &tags[..]].concat());
    let decoded = decode(&input).unwrap();
    assert!(decoded.info.has_audio && decoded.info.warnings.contains(&"subtitles dropped".to_owned()));
    for name in ["o.mp4", "o.mkv", "o.webm", "o.mov", "o.ts"] {
        let output = folder.path().join(name);
        let container = Container::of(&output).unwrap();
        let tools = tools();
        let sound = read_sound(&tools, &input, &decoded.info, container, false, &tools.limits).unwrap();
        assert!(sound.is_some());
        encode(&decoded, &output, &EncodeOptions::default(), sound).unwrap();
        let bytes = std::fs::read(&output).unwrap();
        let all = String::from_utf8_lossy(&bytes);
        assert!(!all.contains(secret) && !all.contains("+48.1") && !all.contains("mimetype"), "{name}");
        let args = ["-show_streams", "-show_format", "-show_chapters"];
        let shown = String::from_utf8(run("ffprobe", &args, Some(output.as_os_str()))).unwrap();
        for word in [
            "creation_time=",
            "Lavf5",
            "Lavc5",
            "CHAPTER",
            "codec_type=subtitle",
            "codec_type=data",
            "TAG:location",
        ] {
            assert!(!shown.contains(word), "{name}: {word} in {shown}");
        }
        assert_eq!(shown.matches("codec_type=").count(), 2, "{name}");
    }
}

/// Start of the loud part of the sound in seconds, on the clock of the clip's pictures.
fn sound_starts(file: &Path) -> f64 {
    let args = ["-copyts", "-i", file.to_str().unwrap(), "-map", "0:a", "-af"];
    // The level of each 10 ms with its time.
    let level = "aresample=48000,asetnsamples=480,astats=metadata=1:reset=1,ametadata=print:file=-";
    let text = run("ffmpeg", &[&args[..], &[level, "-f", "null", "-"]].concat(), None);
    let text = String::from_utf8(text).unwrap();
    let mut time = 0.0;
    for line in text.lines() {
        if let Some((_, at)) = line.split_once("pts_time:") {
            time = at.trim().parse().unwrap();
        }
        if let Some(level) = line.strip_prefix("lavfi.astats.Overall.RMS_level=")
            && level.trim().parse::<f64>().is_ok_and(|level| level > -30.0)
        {
            return time;
        }
    }
    panic!("no sound in {}", file.display());
}

#[test]
fn sound_stays_in_step_with_the_pictures() {
    let folder = folder();
    // One second in, the sound begins and the pictures turn white; either stream may start half a second late.
    let white = "color=black:s=64x64:r=25:d=1.6,drawbox=c=white:t=fill:enable='gte(t,1)'";
    let beep = "aevalsrc='if(gte(t,1),sin(2*PI*440*t),0)':s=48000:d=1.6";
    let formats: &[(&str, &str, &str)] = &[
        ("a.mp4", "libx264", "aac"),
        ("a.mkv", "libx264", "libopus"),
        ("a.ts", "libx264", "aac"),
        ("a.mov", "libx264", "pcm_s16le"),
        ("a.webm", "libvpx-vp9", "libopus"),
    ];
    let step = |file: &Path| {
        let frames = pixels(file);
        let white = frames.chunks(64 * 64 * 3 / 2).position(|frame| frame[2080] > 128).unwrap();
        sound_starts(file) - times(file)[white]
    };
    for (picture_late, sound_late) in [("0", "0"), ("0.5", "0"), ("0", "0.5")] {
        for (name, video, audio) in formats {
            let input = folder.path().join(name);
            let inputs = [
                "-itsoffset",
                picture_late,
                "-f",
                "lavfi",
                "-i",
                white,
                "-itsoffset",
                sound_late,
                "-f",
                "lavfi",
                "-i",
                beep,
            ];
            let codecs = ["-c:v", video, "-c:a", audio, "-cpu-used", "8", "-deadline", "realtime"];
            let codecs = if *video == "libx264" { &codecs[..4] } else { &codecs[..] };
            run("ffmpeg", &[&inputs[..], codecs, &["-copyts"]].concat(), Some(input.as_os_str()));
            let wanted = step(&input);
            let decoded = decode(&input).unwrap();
            let tools = tools();
            let outputs: &[&str] = match *name {
                "a.mp4" => &["o.mp4", "o.mkv", "o.webm", "o.ts"],
                "a.mkv" => &["o.mkv"],
                _ => &["o.mp4"],
            };
            for out in outputs {
                let output = folder.path().join(out);
                let container = Container::of(&output).unwrap();
                let sound =
                    read_sound(&tools, &input, &decoded.info, container, false, &tools.limits).unwrap();
                let end = encode(&decoded, &output, &EncodeOptions::default(), sound).unwrap();
                assert_eq!(end.frames, decoded.end.frames);
                let found = step(&output);
                assert!((found - wanted).abs() < 0.025, "{name} to {out}: {found} instead of {wanted}");
            }
        }
    }
}

#[test]
fn a_killed_child_is_an_error() {
    let folder = folder();
    let tools = tools();
    let input = folder.path().join("large.mp4");
    let source =
        ["-f", "lavfi", "-i", "testsrc2=s=640x480:r=25:d=6", "-c:v", "libx264", "-preset", "ultrafast"];
    run("ffmpeg", &source, Some(input.as_os_str()));
    let info = probe(&tools, &input).unwrap();
    let kill = |id: u32| {
        assert!(Command::new("kill").args(["-9", &id.to_string()]).status().unwrap().success());
    };
    let mut decoder = Decoder::open(&tools, &input, &info, &tools.limits).unwrap();
    decoder.next_frame().unwrap().unwrap();
    kill(decoder.child_id());
    let result = loop {
        match decoder.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => break decoder.finish().map(|_| ()),
            Err(error) => break Err(error),
        }
    };
    assert!(
        matches!(&result, Err(ClipError::ChildDied { reason, .. }) if reason.contains("signal 9")),
        "{result:?}"
    );

    let output = folder.path().join("o.mp4");
    let options = EncodeOptions::default();
    let mut encoder =
        Encoder::open(&tools, &output, Container::Mp4, &info, &options, None, &tools.limits).unwrap();
    let row = vec![128; 640];
    let rows = || (0..480).map(|_| &row[..]).chain((0..480).map(|_| &row[..320]));
    encoder.write_frame(0, rows()).unwrap();
    kill(encoder.child_id());
    let failed = (1..100).find_map(|pts| encoder.write_frame(pts * 512, rows()).err());
    assert!(
        matches!(&failed, Some(ClipError::EncoderFailed { reason, .. }) if reason.contains("signal 9")),
        "{failed:?}"
    );

    // Killed only when everything is written.
    let mut encoder =
        Encoder::open(&tools, &output, Container::Mp4, &info, &options, None, &tools.limits).unwrap();
    encoder.write_frame(0, rows()).unwrap();
    let id = encoder.child_id();
    kill(id);
    assert!(encoder.finish().is_err());
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn silence_and_cancelling_end_a_child() {
    let folder = folder();
    let tools = tools();
    let input = make(&folder, "i.mp4", &["-c:v", "libx264"]);
    let info = probe(&tools, &input).unwrap();
    let output = folder.path().join("o.mkv");
    // A stopped encoder takes no more bytes once the pipe is full.
    let stopped = |limits: &Limits| {
        let options = EncodeOptions::default();
        let mut encoder =
            Encoder::open(&tools, &output, Container::Matroska, &info, &options, None, limits).unwrap();
        assert!(
            Command::new("kill").args(["-STOP", &encoder.child_id().to_string()]).status().unwrap().success()
        );
        let row = [0; 160];
        let rows = || (0..120).map(|_| &row[..]).chain((0..120).map(|_| &row[..80]));
        (0..1000).find_map(|pts| encoder.write_frame(pts, rows()).err()).unwrap()
    };
    let short = Limits { stall: Duration::from_millis(300), ..Limits::default() };
    assert!(matches!(stopped(&short), ClipError::Stalled { .. }));
    let cancelled = Limits::default();
    let flag = cancelled.cancel.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        flag.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(matches!(stopped(&cancelled), ClipError::Interrupted));
    thread.join().unwrap();
}

#[test]
fn encoders_that_cannot_say_so() {
    let folder = folder();
    let input = make(&folder, "i.mp4", &["-c:v", "libx264"]);
    let decoded = decode(&input).unwrap();
    let encode = |name: &str, options: EncodeOptions| {
        encode(&decoded, &folder.path().join(name), &options, None).err().unwrap()
    };
    let named = |encoder: &str| EncodeOptions { encoder: Some(encoder.to_owned()), ..Default::default() };
    assert!(encode("o.mp4", named("nonesuch")).to_string().contains("no encoder nonesuch"));
    assert!(matches!(encode("o.mp4", named("a;b")), ClipError::Unsupported(_)));
    assert!(matches!(encode("o.mp4", named("-i")), ClipError::Unsupported(_)));
    assert!(matches!(
        encode("o.mp4", EncodeOptions { lossless: true, ..Default::default() }),
        ClipError::Unsupported(_)
    ));
    assert!(matches!(encode("o.webm", named("libx264")), ClipError::EncoderFailed { .. }));
    assert!(matches!(
        encode("o.mp4", EncodeOptions { crf: Some(999), ..named("libvpx-vp9") }),
        ClipError::EncoderFailed { .. }
    ));
    assert!(matches!(encode("o.gif", named("gif")), ClipError::Unsupported(_)));
    assert!(matches!(encode("none/o.mp4", named("libx264")), ClipError::Io { .. }));

    // A full disk.
    let tools = tools();
    let full = Path::new("/dev/full");
    let options = EncodeOptions::default();
    let mut encoder =
        Encoder::open(&tools, full, Container::Matroska, &decoded.info, &options, None, &tools.limits)
            .unwrap();
    let (luma, chroma) = decoded.frames[0].1.split_at(160 * 120);
    let rows = || luma.chunks(160).chain(chroma.chunks(80));
    let failed = (0..12).find_map(|n| encoder.write_frame(n * 1024, rows()).err());
    let failed = failed.unwrap_or_else(|| encoder.finish().err().unwrap());
    assert!(failed.to_string().contains("no space left"), "{failed}");
}

#[test]
fn missing_and_old_tools_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let find = || Tools::find_in(Some(folder.path()), None, Limits::default());
    let error = find().err().unwrap();
    assert!(matches!(error, ClipError::ToolMissing { tool: "ffmpeg", .. }), "{error}");
    assert!(error.to_string().contains("apt-get install ffmpeg"));
    for tool in ["ffmpeg", "ffprobe"] {
        let path = folder.path().join(tool);
        std::fs::write(&path, format!("#!/bin/sh\necho {tool} version 4.4.2-0ubuntu0.22.04.1\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let error = find().err().unwrap();
    assert!(matches!(&error, ClipError::ToolTooOld { found, .. } if found.starts_with("4.4")), "{error}");
}

#[test]
fn children_live_in_a_sandbox() {
    let folder = folder();
    let input = folder.path().join("i.mp4");
    let source =
        ["-f", "lavfi", "-i", "testsrc2=s=640x480:r=25:d=4", "-c:v", "libx264", "-preset", "ultrafast"];
    run("ffmpeg", &source, Some(input.as_os_str()));
    let tools = tools();
    let info = probe(&tools, &input).unwrap();
    let mut decoder = Decoder::open(&tools, &input, &info, &tools.limits).unwrap();
    decoder.next_frame().unwrap().unwrap();
    let about = |what: &str| std::fs::read_to_string(format!("/proc/{}/{what}", decoder.child_id())).unwrap();
    assert!(about("status").contains("NoNewPrivs:\t1"));
    if Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        assert!(about("status").contains("Seccomp:\t2"), "{}", about("status"));
    }
    let limits = about("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[26..].split_whitespace().next().unwrap().to_owned()
    };
    // Too little for any dump, and unlike 0 it forbids those that are piped to a program.
    assert_eq!(limit("Max core file size"), "1");
    assert_eq!(limit("Max file size"), "0");
    assert_eq!(limit("Max address space"), tools.limits.address_space.to_string());
    let environment = about("environ");
    assert_eq!(environment.split('\0').filter(|text| !text.is_empty()).count(), 4, "{environment}");
    assert_eq!(about("comm").trim(), "ffmpeg");
    let id = decoder.child_id();
    drop(decoder);
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}
