//! Sound that is kept: nothing of how it was coded comes along, in no container, and it stays the same sound.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;

/// What must not come out: too long to arise by chance, and short enough to take the place of an encoder's name.
const CANARY: &[u8] = b"CANARY-5und";

const ALL: [&str; 8] = ["o.mp4", "o.mov", "o.mkv", "l.mkv", "o.webm", "o.ts", "o.avi", "o.flv"];

const QUICK: [&str; 4] = ["--preset", "fast", "--encoder-preset", "ultrafast"];

/// The pictures of every clip here: nobody is in them.
const PICTURE: &str = "-f lavfi -i color=gray:s=64x64:r=10:d=1 ";
const TONE: &str = "-f lavfi -i sine=frequency=440:sample_rate=44100:duration=1 ";

fn count(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).filter(|w| *w == what).count()
}

/// The file, and its packets and headers out of the container, one after the other.
fn laid_bare(file: &Path) -> Vec<u8> {
    let mut all = fs::read(file).unwrap();
    let mut nut = Command::new("ffmpeg");
    nut.args(["-nostdin", "-v", "error", "-i"]).arg(file).args(["-map", "0", "-c", "copy", "-f", "nut", "-"]);
    all.extend(nut.output().unwrap().stdout);
    let mut shown = Command::new("ffprobe");
    shown.args(["-v", "error", "-show_format", "-show_streams", "-show_chapters"]).arg(file);
    all.extend(shown.output().unwrap().stdout);
    all
}

/// The sound as 44.1 kHz mono, in 16 bits.
fn samples(file: &Path) -> Vec<i16> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(file);
    command.args(["-map", "0:a:0", "-ac", "1", "-ar", "44100", "-f", "s16le", "-"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.as_chunks().0.iter().map(|&bytes| i16::from_le_bytes(bytes)).collect()
}

/// A second of 440 Hz: as long, as loud (a tenth at least, since a mix of many channels into one is quieter), and most of it of that pitch.
#[track_caller]
fn is_the_tone(file: &Path) {
    let all = samples(file);
    assert!((40_000..60_000).contains(&all.len()), "{}: {} samples", file.display(), all.len());
    let middle: Vec<f64> = all[8_000..30_000].iter().map(|&v| f64::from(v)).collect();
    let power = middle.iter().map(|v| v * v).sum::<f64>() / middle.len() as f64;
    assert!(power.sqrt() > 300.0, "{}: only {}", file.display(), power.sqrt());
    let turn = |n: usize| std::f64::consts::TAU * 440.0 * n as f64 / 44_100.0;
    let (mut sin, mut cos) = (0.0, 0.0);
    for (n, v) in middle.iter().enumerate() {
        sin += v * turn(n).sin();
        cos += v * turn(n).cos();
    }
    let pitched = 2.0 * (sin * sin + cos * cos) / (middle.len() as f64).powi(2);
    assert!(pitched > 0.9 * power, "{}: {pitched} of {power}", file.display());
}

/// Redacts into containers and searches what comes out.
#[track_caller]
fn comes_out_bare(input: &Path, outputs: &[&str]) {
    let before = laid_bare(input);
    assert!(count(&before, CANARY) > 0, "{} holds no canary: it proves nothing", input.display());
    let dir = tempfile::tempdir().unwrap();
    for &name in outputs {
        let output = dir.path().join(name);
        let mut flags: Vec<&str> = QUICK.to_vec();
        match name {
            "l.mkv" => flags[2] = "--lossless",
            "o.webm" => flags[3] = "8",
            _ => {}
        }
        flags.truncate(if name == "l.mkv" { 3 } else { 4 });
        let mut command = milkglass();
        command.arg("redact").arg(input).arg("-o").arg(&output).arg("--keep-audio").args(flags);
        run(&mut command).done();
        assert_eq!(count(&laid_bare(&output), CANARY), 0, "{} to {name}", input.display());
        is_the_tone(&output);
    }
    assert!(listing(dir.path()).iter().all(|name| !name.starts_with('.')), "{:?}", listing(dir.path()));
}

/// An AVI whose sound's private data ends in the canary.
fn with_private_data(avi: &mut Vec<u8>) {
    let at = |avi: &[u8], what: &[u8], from: usize| {
        from + avi[from..].windows(what.len()).position(|w| w == what).unwrap()
    };
    let size = |avi: &[u8], at: usize| u32::from_le_bytes(avi[at..at + 4].try_into().unwrap());
    let grow = |avi: &mut Vec<u8>, at: usize, by: u32| {
        let grown = size(avi, at) + by;
        avi[at..at + 4].copy_from_slice(&grown.to_le_bytes());
    };
    let canary = [CANARY, b"\0"].concat();
    let by = canary.len() as u32;
    // RIFF, LIST hdrl, LIST strl of the sound, strf of the sound.
    let stream = at(avi, b"auds", 0);
    let list = avi[..stream].windows(4).rposition(|w| w == b"LIST").unwrap();
    let format = at(avi, b"strf", stream);
    let length = size(avi, format + 4) as usize;
    let mut end = format + 8 + length;
    if length == 16 {
        // Without a count of private bytes: now with one.
        avi.splice(end..end, [0, 0]);
        [4, 16, list + 4, format + 4].iter().for_each(|at| grow(avi, *at, 2));
        end += 2;
    }
    let private = format + 8 + 16;
    let count = u16::from_le_bytes([avi[private], avi[private + 1]]);
    assert_eq!(end, private + 2 + usize::from(count), "private data to the end");
    avi[private..private + 2].copy_from_slice(&(count + by as u16).to_le_bytes());
    avi.splice(end..end, canary);
    [4, 16, list + 4, format + 4].iter().for_each(|at| grow(avi, *at, by));
}

#[test]
fn private_data_of_every_coding_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    for coding in ["libmp3lame", "pcm_s16le", "flac", "ac3", "wmav2"] {
        let input = dir.path().join(format!("{coding}.avi"));
        ffmpeg(words(&format!("{PICTURE}{TONE}-c:v mpeg4 -c:a {coding} {{}}"), &[&input]));
        let mut bytes = fs::read(&input).unwrap();
        with_private_data(&mut bytes);
        fs::write(&input, bytes).unwrap();
        comes_out_bare(&input, &["o.mkv", "o.avi"]);
    }
}

/// Vorbis keeps its comments, cover art among them, in the headers that Matroska calls private data.
#[test]
fn comments_of_vorbis_stay_behind() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("vorbis.mkv");
    ffmpeg(words(&format!("{PICTURE}{TONE}-c:v libx264 -c:a libvorbis {{}}"), &[&input]));
    let mut bytes = fs::read(&input).unwrap();
    let header = bytes.windows(7).position(|w| w == b"\x03vorbis").unwrap();
    let length = usize::from(bytes[header + 7]);
    assert!(length >= CANARY.len(), "the name of the encoder has {length} bytes");
    bytes[header + 11..header + 11 + CANARY.len()].copy_from_slice(CANARY);
    fs::write(&input, bytes).unwrap();
    comes_out_bare(&input, &ALL);
}

/// A data stream element in front of each frame of AAC, which every decoder steps over.
#[test]
fn data_inside_aac_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (adts, input) = (dir.path().join("a.aac"), dir.path().join("aac.ts"));
    ffmpeg(words(&format!("{TONE}-c:a aac -f adts {{}}"), &[&adts]));
    let (old, mut new) = (fs::read(&adts).unwrap(), Vec::new());
    let mut at = 0;
    while at < old.len() {
        let head = &old[at..at + 7];
        let length = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
        let grown = length + 2 + CANARY.len();
        let mut head = head.to_vec();
        head[3] = head[3] & !3 | (grown >> 11) as u8;
        head[4] = (grown >> 3) as u8;
        head[5] = head[5] & 31 | (grown << 5) as u8;
        // Element 4, instance 0, aligned; its length; its bytes.
        new.extend([&head[..], &[0x81, CANARY.len() as u8], CANARY, &old[at + 7..at + length]].concat());
        at += length;
    }
    fs::write(&adts, new).unwrap();
    let line = format!("{PICTURE}-i {{}} -map 0:v -map 1:a -c:v libx264 -c:a copy {{}}");
    ffmpeg(words(&line, &[&adts, &input]));
    comes_out_bare(&input, &["o.ts", "o.mp4"]);
    let mp4 = dir.path().join("aac.mp4");
    ffmpeg(words(&line, &[&adts, &mp4]));
    comes_out_bare(&mp4, &["o.mkv", "o.flv"]);
}

/// Bytes that no decoder looks at, between the frames' data of MP3.
#[test]
fn what_fills_up_mp3_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (mp3, input) = (dir.path().join("a.mp3"), dir.path().join("mp3.mp4"));
    // At the highest rate there is nothing to say with most of the bits, and the encoder writes its name over and over.
    ffmpeg(words(&format!("{TONE}-c:a libmp3lame -b:a 320k -write_xing 0 -id3v2_version 0 {{}}"), &[&mp3]));
    let mut bytes = fs::read(&mp3).unwrap();
    let name = b"LAME3.100";
    let mut at = 0;
    let mut written = 0;
    while let Some(next) = bytes[at..].windows(name.len()).position(|w| w == name) {
        at += next;
        let free = bytes[at + name.len()..].iter().take_while(|&&b| b == 0xaa || b == 0x55).count();
        if free + name.len() >= CANARY.len() {
            bytes[at..at + CANARY.len()].copy_from_slice(CANARY);
            written += 1;
        }
        at += name.len();
    }
    assert!(written > 0, "no room was found");
    fs::write(&mp3, bytes).unwrap();
    ffmpeg(words(
        &format!("{PICTURE}-i {{}} -map 0:v -map 1:a -c:v libx264 -c:a copy {{}}"),
        &[&mp3, &input],
    ));
    comes_out_bare(&input, &["o.mp4", "o.avi", "o.flv"]);
}

/// Tags and covers of the containers themselves.
#[test]
fn tags_and_covers_stay_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (cover, canary) = (dir.path().join("cover.jpg"), String::from_utf8(CANARY.to_vec()).unwrap());
    ffmpeg(words("-f lavfi -i testsrc=s=64x64:d=1 -frames:v 1 -update 1 {}", &[&cover]));
    let mut jpeg = fs::read(&cover).unwrap();
    jpeg.splice(2..2, [&[0xff, 0xfe, 0, CANARY.len() as u8 + 2][..], CANARY].concat());
    fs::write(&cover, jpeg).unwrap();
    for (name, coding) in [("a.mp4", "alac"), ("a.mkv", "flac"), ("a.mov", "pcm_s24le")] {
        let input = dir.path().join(name);
        let line = format!(
            "{PICTURE}{TONE}-i {{}} -map 0 -map 1 -map 2 -c:v:0 libx264 -c:a {coding} -c:v:1 copy -disposition:v:1 attached_pic \
             -metadata:s:a title={canary} -metadata comment={canary} {{}}"
        );
        let line = match name {
            "a.mkv" => line.replace("-map 2", "").replace("-c:v:1 copy -disposition:v:1 attached_pic", ""),
            "a.mov" => line
                .replace("-i {} ", "")
                .replace("-map 2", "")
                .replace("-c:v:1 copy -disposition:v:1 attached_pic", ""),
            _ => line,
        };
        let paths: &[&Path] = if name == "a.mov" { &[&input] } else { &[&cover, &input] };
        ffmpeg(words(&line, paths));
        comes_out_bare(&input, &["o.mp4", "o.mkv"]);
    }
}

fn keep(input: &Path, output: &Path, flags: &[&str]) -> Ran {
    let mut command = milkglass();
    command.args(["redact", "--preset", "fast", "--keep-audio"]).arg(input).arg("-o").arg(output).args(flags);
    run(&mut command)
}

fn tone(dir: &Path, name: &str, sound: &str, coding: &str) -> PathBuf {
    let input = dir.join(name);
    ffmpeg(words(
        &format!("{PICTURE}-f lavfi -i {sound} -c:v libx264 -preset ultrafast -c:a {coding} {{}}"),
        &[&input],
    ));
    input
}

#[test]
fn odd_rates_and_layouts_find_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let at = |rate: u32, layout: &str| {
        format!("sine=frequency=440:sample_rate={rate}:duration=1,aformat=channel_layouts={layout}")
    };
    let cases = [
        ("a.mkv", at(8000, "mono"), "pcm_u8", "a.webm"),
        ("b.mkv", at(192_000, "stereo"), "pcm_s32le", "b.mp4"),
        ("c.mkv", at(48_000, "5.1(side)"), "ac3", "c.webm"),
        ("d.mkv", at(44_100, "quad"), "flac", "d.mp4"),
        ("e.mkv", at(22_050, "3.0"), "flac", "e.avi"),
        ("f.mkv", at(48_000, "7.1"), "flac", "f.flv"),
        ("g.mkv", at(11_025, "mono"), "libmp3lame", "g.ts"),
    ];
    for (name, sound, coding, out) in cases {
        let input = tone(dir.path(), name, &sound, coding);
        let flags: &[&str] = if out.ends_with("webm") {
            &["--encoder-preset", "8"]
        } else {
            &["--encoder-preset", "ultrafast"]
        };
        let output = dir.path().join(out);
        keep(&input, &output, flags).done();
        is_the_tone(&output);
    }
}

#[test]
fn lossless_is_lossless_for_the_sound_too() {
    let dir = tempfile::tempdir().unwrap();
    let noise = "anoisesrc=d=1:r=44100:a=0.9:seed=7";
    for (coding, format) in [("pcm_s16le", "s16le"), ("pcm_s24le", "s24le")] {
        let input = tone(dir.path(), &format!("{coding}.mkv"), noise, coding);
        let output = dir.path().join(format!("{coding}.out.mkv"));
        keep(&input, &output, &["--lossless"]).done();
        let raw = |file: &Path| {
            let mut command = Command::new("ffmpeg");
            command
                .args(["-nostdin", "-v", "error", "-i"])
                .arg(file)
                .args(["-map", "0:a:0", "-f", format, "-"]);
            command.output().unwrap().stdout
        };
        assert!(raw(&input).len() > 80_000);
        assert!(raw(&input) == raw(&output), "{coding}: samples changed");
    }
}

#[test]
fn sound_that_cannot_be_decoded_is_told_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let input = tone(dir.path(), "a.avi", "sine=d=1", "pcm_s16le");
    let mut bytes = fs::read(&input).unwrap();
    // A coding that nobody has: its number in the sound's format.
    let stream = bytes.windows(4).position(|w| w == b"auds").unwrap();
    let format = stream + bytes[stream..].windows(4).position(|w| w == b"strf").unwrap() + 8;
    bytes[format..format + 2].copy_from_slice(&[0x34, 0x12]);
    fs::write(&input, bytes).unwrap();
    keep(&input, &dir.path().join("o.mp4"), &[])
        .failed(1, &["a.avi", "its sound cannot be decoded", "--keep-audio"]);
    holds(dir.path(), &["a.avi"]);
    // Without the sound there is nothing to decode.
    let mut command = milkglass();
    command.current_dir(dir.path()).args(["redact", "a.avi", "-o", "o.mp4", "--preset", "fast"]);
    run(&mut command).done();
}

#[test]
fn the_report_says_what_became_of_the_sound() {
    let dir = tempfile::tempdir().unwrap();
    let input = tone(dir.path(), "a.mp4", "sine=d=1", "aac");
    let report = dir.path().join("r.json");
    let report_flag = report.to_str().unwrap();
    let said = || {
        let report: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        report["files"][0]["sound"].clone()
    };
    keep(&input, &dir.path().join("o.mp4"), &["--report", report_flag]).done();
    assert_eq!(said(), "encoded anew");
    let mut command = milkglass();
    command
        .current_dir(dir.path())
        .args(["redact", "a.mp4", "-o", "p.mp4", "--preset", "fast", "--report", "r.json"]);
    run(&mut command).done();
    assert_eq!(said(), "dropped");
}
