//! Clips through the binary: a clip goes in, a redacted clip comes out.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const QUICK: [&str; 2] = ["--encoder-preset", "ultrafast"];

/// Redacts `input` into `dir` with the fast preset.
#[track_caller]
fn redact(input: &Path, output: &Path, flags: &[&str]) -> Ran {
    run(milkglass().arg("redact").arg(input).arg("-o").arg(output).args(["--preset", "fast"]).args(flags))
}

#[test]
fn default_flags_hide_every_face_of_the_example() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.mp4");
    let ran = run(milkglass().arg("redact").arg(example()).arg("-o").arg(&output)).done();
    assert_eq!(ran.err, "", "neither warnings nor a bar without a terminal");
    assert!(ran.out.is_empty());
    decode(&output).hides(truth(), "default flags");
    let (before, after) = (probe(&example()), probe(&output));
    for key in [
        "width",
        "height",
        "pix_fmt",
        "nb_read_frames",
        "avg_frame_rate",
        "r_frame_rate",
        "duration",
        "start_time",
        "time_base",
        "color_range",
        "color_space",
        "color_transfer",
        "color_primaries",
        "sample_aspect_ratio",
    ] {
        assert_eq!(video(&before)[key], video(&after)[key], "{key}");
    }
    holds(dir.path(), &["out.mp4"]);
}

#[test]
fn every_container_and_codec_that_is_promised() {
    let dir = tempfile::tempdir().unwrap();
    let truth = small_truth();
    let kinds: [(&str, &str, &str); 8] = [
        ("h264.mp4", "-c:v libx264 -preset veryfast -crf 12", "out.mp4"),
        ("hevc.mov", "-c:v libx265 -preset ultrafast -crf 12 -x265-params log-level=none", "out.mov"),
        ("vp9.mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0", "out.mkv"),
        ("mjpeg.avi", "-c:v mjpeg -q:v 3", "out.avi"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0", "out.webm"),
        ("h264.ts", "-c:v libx264 -preset veryfast -crf 12", "out.ts"),
        ("av1.mkv", "-c:v libaom-av1 -usage realtime -cpu-used 8 -crf 25 -b:v 0", "out.m4v"),
        ("mpeg4.avi", "-c:v mpeg4 -q:v 3", "out.flv"),
    ];
    for (name, encoder, out) in kinds {
        let (input, output) = (dir.path().join(name), dir.path().join(format!("{name}-{out}")));
        let mut args = words("-i {} -an", &[&small()]);
        args.extend(words(encoder, &[]));
        args.push(input.clone().into());
        ffmpeg(args);
        let flags: &[&str] = if out.ends_with("webm") { &["--encoder-preset", "8"] } else { &QUICK };
        let ran = redact(&input, &output, flags).ended(0);
        assert!(!ran.err.contains("error:"), "{name}: {}", ran.err);
        decode(&output).hides(&truth, name);
        let (before, after) = (probe(&input), probe(&output));
        for key in ["width", "height", "nb_read_frames"] {
            assert_eq!(video(&before)[key], video(&after)[key], "{name}: {key}");
        }
        let length = |of: &Value| of["format"]["duration"].as_str().unwrap().parse::<f64>().unwrap();
        assert!((length(&before) - length(&after)).abs() < 0.06, "{name}: duration");
    }
}

#[test]
fn other_encoders_are_taken_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let truth = small_truth();
    for (encoder, preset, codec) in [("libx265", "ultrafast", "hevc"), ("mjpeg", "", "mjpeg")] {
        let output = dir.path().join(format!("{encoder}.mkv"));
        let preset: &[&str] = if preset.is_empty() { &[] } else { &["--encoder-preset", preset] };
        let crf = if encoder == "mjpeg" { "3" } else { "20" };
        redact(&small(), &output, &[&["--encoder", encoder, "--crf", crf], preset].concat()).done();
        assert_eq!(video(&probe(&output))["codec_name"], codec);
        decode(&output).hides(&truth, encoder);
    }
    let output = dir.path().join("x.mp4");
    redact(&small(), &output, &["--encoder", "libnothing"]).failed(1, &["libnothing", "--encoder"]);
    redact(&small(), &output, &["--encoder", "-evil"]).ended(1);
    redact(&small(), &output, &["--lossless"]).failed(1, &["--lossless", ".mkv"]);
    redact(&small(), &dir.path().join("x.xyz"), &[]).failed(1, &["x.xyz", ".mp4"]);
    holds(dir.path(), &["libx265.mkv", "mjpeg.mkv"]);
}

/// A clip with everything that tells who, where and when.
fn telling(dir: &Path) -> PathBuf {
    let (subtitles, chapters) = (dir.join("s.srt"), dir.join("c.txt"));
    fs::write(&subtitles, "1\n00:00:00,000 --> 00:00:00,900\nSecretSubtitle\n").unwrap();
    let text = ";FFMETADATA1\nartist=SecretArtist\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=SecretChapter\n";
    fs::write(&chapters, text).unwrap();
    let cover = dir.join("cover.png");
    still(100, &cover);
    let clip = dir.join("telling.mkv");
    let mut args =
        words("-i {} -i {} -i {} -map 0 -map 1 -map_metadata 2", &[&small(), &subtitles, &chapters]);
    args.extend(words("-map_chapters 2 -c:v libx264 -preset ultrafast -crf 15 -c:a copy -c:s srt", &[]));
    args.extend(words(
        "-vf setsar=4/3,setparams=color_primaries=smpte170m:color_trc=smpte170m:colorspace=smpte170m",
        &[],
    ));
    args.extend(words(
        "-metadata title=SecretTitle -metadata:s:v:0 title=SecretStream -attach {}",
        &[&cover],
    ));
    args.extend(words("-metadata:s:t mimetype=image/png", &[]));
    args.push(clip.clone().into());
    ffmpeg(args);
    clip
}

#[test]
fn facts_are_kept_and_everything_that_tells_is_stripped() {
    let dir = tempfile::tempdir().unwrap();
    let input = telling(dir.path());
    for name in ["out.mkv", "out.mp4", "out.mov", "out.ts"] {
        let output = dir.path().join(name);
        redact(&input, &output, &QUICK).ended(0).warned(&["subtitles dropped"]);
        let (before, after) = (probe(&input), probe(&output));
        for key in [
            "width",
            "height",
            "sample_aspect_ratio",
            "color_range",
            "color_space",
            "color_transfer",
            "color_primaries",
        ] {
            assert_eq!(video(&before)[key], video(&after)[key], "{name}: {key}");
        }
        assert_eq!(after["streams"].as_array().unwrap().len(), 1, "{name}: one stream");
        assert_eq!(after["chapters"].as_array().unwrap().len(), 0, "{name}: chapters");
        let harmless = [
            "major_brand",
            "minor_version",
            "compatible_brands",
            "handler_name",
            "vendor_id",
            "language",
            "DURATION",
        ];
        for tags in [&after["format"]["tags"], &video(&after)["tags"]] {
            for (key, value) in tags.as_object().into_iter().flatten() {
                // Matroska must name a program; it gets no version.
                let nameless =
                    key.eq_ignore_ascii_case("encoder") && (value == "Lavf" || value == "Lavc libx264");
                assert!(nameless || harmless.contains(&key.as_str()), "{name}: {key} = {value}");
            }
        }
        let bytes = fs::read(&output).unwrap();
        for secret in ["Secret", "telling", "2020-02", "+52.5"] {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{name} holds {secret}");
        }
    }
}

#[test]
fn sound_is_dropped_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (quiet, loud) = (dir.path().join("quiet.mp4"), dir.path().join("loud.mp4"));
    redact(&small(), &quiet, &QUICK).done();
    redact(&small(), &loud, &["--keep-audio", "--encoder-preset", "ultrafast"]).done();
    assert_eq!(probe(&quiet)["streams"].as_array().unwrap().len(), 1);
    assert_eq!(probe(&loud)["streams"].as_array().unwrap().len(), 2);
    decode(&loud).hides(&small_truth(), "with sound");
    holds(dir.path(), &["quiet.mp4", "loud.mp4"]);
}

/// The matrix in the first video track's header of an MP4, as big-endian 16.16 numbers a, b, c, d.
fn set_matrix(mp4: &Path, matrix: [i32; 4]) {
    let mut bytes = fs::read(mp4).unwrap();
    let tkhd = bytes.windows(4).position(|w| w == b"tkhd").unwrap();
    // Version 0: flags 4, times and ids 20, reserved 8, layer to volume 6, reserved 2, then nine numbers.
    assert_eq!(bytes[tkhd + 4], 0);
    let at = tkhd + 4 + 40;
    let [a, b, c, d] = matrix;
    for (i, value) in [a, b, 0, c, d, 0, 0, 0].into_iter().enumerate() {
        bytes[at + 4 * i..at + 4 * i + 4].copy_from_slice(&(value << 16).to_be_bytes());
    }
    fs::write(mp4, bytes).unwrap();
}

#[test]
fn turned_and_mirrored_clips_hide_the_same_place_of_the_upright_picture() {
    let dir = tempfile::tempdir().unwrap();
    // What undoes the turn of the display matrix is done to the pixels that are stored.
    let ways: [(&str, &str, [i32; 4]); 8] = [
        ("upright", "null", [1, 0, 0, 1]),
        ("clockwise", "transpose=dir=cclock", [0, 1, -1, 0]),
        ("half", "hflip,vflip", [-1, 0, 0, -1]),
        ("counterclockwise", "transpose=dir=clock", [0, -1, 1, 0]),
        ("mirrored", "hflip", [-1, 0, 0, 1]),
        ("upside-down", "vflip", [1, 0, 0, -1]),
        ("transposed", "transpose=dir=cclock_flip", [0, 1, 1, 0]),
        ("anti-transposed", "transpose=dir=clock_flip", [0, -1, -1, 0]),
    ];
    let mut upright: Option<Vec<[usize; 4]>> = None;
    for (name, filter, matrix) in ways {
        let (input, output) =
            (dir.path().join(format!("{name}.mp4")), dir.path().join(format!("{name}.mkv")));
        let mut args = words("-i {} -an -frames:v 12 -c:v libx264 -preset ultrafast -qp 0 -vf", &[&small()]);
        args.push(filter.into());
        args.push(input.clone().into());
        ffmpeg(args);
        set_matrix(&input, matrix);
        redact(&input, &output, &["--lossless"]).done();
        let frames = decode(&output);
        assert_eq!((frames.width, frames.height), (640, 360), "{name}: the output is upright");
        frames.hides(&small_truth()[..12], name);
        let boxes: Vec<[usize; 4]> = (0..12).map(|n| black_box(&frames, n)).collect();
        let first = upright.get_or_insert_with(|| boxes.clone());
        for (n, (own, first)) in boxes.iter().zip(first).enumerate() {
            let off = own.iter().zip(&*first).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(off <= 2, "{name}: frame {n}: {own:?} instead of {first:?}");
        }
    }
}

/// Left, top, right and bottom of what is exactly the colour of `fill`.
fn black_box(frames: &Frames, n: usize) -> [usize; 4] {
    let mut found = [usize::MAX, usize::MAX, 0, 0];
    for y in 0..frames.height {
        for x in 0..frames.width {
            if frames.luma(n, x, y) == 16 && frames.chroma(n, x, y) == [128, 128] {
                found = [found[0].min(x), found[1].min(y), found[2].max(x), found[3].max(y)];
            }
        }
    }
    found
}

/// The regions of every frame, as `detect` with the same flags tells them.
fn regions(input: &Path, flags: &[&str]) -> Vec<Vec<[usize; 4]>> {
    let ran = run(milkglass().arg("detect").arg(input).args(["--preset", "fast"]).args(flags)).done();
    ran.rows().iter().map(|row| serde_json::from_value(row["regions"].clone()).unwrap()).collect()
}

fn inside(regions: &[[usize; 4]], x: usize, y: usize, margin: usize) -> bool {
    let near = |v: usize, lo: usize, n: usize| v + margin >= lo && v < lo + n + margin;
    regions.iter().any(|[rx, ry, w, h]| near(x, *rx, *w) && near(y, *ry, *h))
}

#[test]
fn without_loss_nothing_changes_outside_and_everything_inside_the_regions() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.mkv");
    redact(&small(), &output, &["--lossless"]).done();
    assert_eq!(video(&probe(&output))["codec_name"], "ffv1");
    let (before, after) = (decode(&small()), decode(&output));
    let regions = regions(&small(), &[]);
    assert_eq!(after.data.len(), FRAMES);
    assert_eq!(regions.len(), FRAMES);
    for (n, regions) in regions.iter().enumerate() {
        assert!(!regions.is_empty(), "frame {n}");
        for y in 0..after.height {
            for x in 0..after.width {
                if inside(regions, x, y, 0) {
                    assert!(after.is_black(n, x, y, 0), "frame {n}: {x},{y} is not hidden");
                } else {
                    assert_eq!(before.luma(n, x, y), after.luma(n, x, y), "frame {n}: luma at {x},{y}");
                    // A chroma sample that touches a region belongs to it.
                    if !inside(regions, x, y, 1) {
                        assert_eq!(
                            before.chroma(n, x, y),
                            after.chroma(n, x, y),
                            "frame {n}: chroma at {x},{y}"
                        );
                    }
                }
            }
        }
    }
    after.hides(&small_truth(), "lossless");
}

#[test]
fn styles_show_in_the_picture() {
    let dir = tempfile::tempdir().unwrap();
    let before = decode(&small());
    let made = |name: &str, flags: &[&str]| {
        let output = dir.path().join(format!("{name}.mkv"));
        redact(&small(), &output, &[flags, &["--lossless"]].concat()).done();
        decode(&output)
    };
    let face = small_truth()[12][0];
    let values = |frames: &Frames, [x, y, w, h]: Rect| {
        let (x, y, w, h) = (x as usize, y as usize, w as usize, h as usize);
        let pixels = (y..y + h).flat_map(|py| (x..x + w).map(move |px| (px, py)));
        pixels.map(|(px, py)| frames.luma(12, px, py)).collect::<std::collections::BTreeSet<u8>>()
    };
    let changed = |frames: &Frames| frames.share(face, |x, y| frames.luma(12, x, y) != before.luma(12, x, y));
    assert!(values(&before, face).len() > 100, "the face has many shades");
    let mosaic = made("pixelate", &["--faces", "pixelate", "--cells", "4"]);
    assert!(values(&mosaic, face).len() <= 16, "at most 4 by 4 cells: {:?}", values(&mosaic, face));
    assert!(values(&mosaic, face).len() >= 3, "more than one cell");
    assert!(changed(&mosaic) > 0.9);
    let blur = made("blur", &["--faces", "blur", "--cells", "3"]);
    assert!(changed(&blur) > 0.9);
    let mut steepest = 0;
    for y in face[1] as usize..(face[1] + face[3]) as usize {
        for x in face[0] as usize..(face[0] + face[2]) as usize - 1 {
            steepest = steepest.max(blur.luma(12, x, y).abs_diff(blur.luma(12, x + 1, y)));
        }
    }
    assert!(steepest <= 16, "a blurred face has no edges, but a step of {steepest}");
    let green = made("color", &["--color", "#00ff00"]);
    assert!(green.share(face, |x, y| green.luma(12, x, y) > 100 && green.chroma(12, x, y)[0] < 60) > 0.99);
    let zone = made("zone", &["--faces", "off", "--zone", "left:0,0;0.25,0;0.25,1;0,1"]);
    assert!(zone.share([0.0, 0.0, 160.0, 360.0], |x, y| zone.is_black(12, x, y, 0)) >= 1.0);
    assert!(
        zone.share([170.0, 0.0, 470.0, 360.0], |x, y| zone.luma(12, x, y) == before.luma(12, x, y)) >= 1.0
    );
    let mosaic_zone = made("zone-style", &["--zone", "left:0,0;0.25,0;0.25,1;0,1:pixelate"]);
    assert!(values(&mosaic_zone, [10.0, 10.0, 20.0, 20.0]).len() <= 4, "zones have a style of their own");
    mosaic_zone.hides(&small_truth(), "faces beside a zone");
    let person = made("persons", &["--faces", "off", "--persons", "fill"]);
    let area = |f: &Frames| f.share([0.0, 0.0, 640.0, 360.0], |x, y| f.is_black(12, x, y, 0));
    let faces = made("faces", &[]);
    assert!(area(&person) > 2.0 * area(&faces), "a person is larger: {} and {}", area(&person), area(&faces));
    person.hides(&small_truth(), "persons");
    let padded = made("padded", &["--shape", "padded"]);
    padded.hides(&small_truth(), "padded");
    assert!(area(&padded) > 2.0 * area(&faces), "padding: {} and {}", area(&padded), area(&faces));
}

#[test]
fn faces_between_two_looks_are_hidden_too() {
    let dir = tempfile::tempdir().unwrap();
    for every in ["1", "5", "12"] {
        let output = dir.path().join(format!("{every}.mp4"));
        redact(&small(), &output, &["--detect-every", every, "--encoder-preset", "ultrafast"]).done();
        decode(&output).hides(&small_truth(), &format!("every {every} frames"));
    }
    let ran =
        run(milkglass().arg("detect").arg(small()).args(["--preset", "fast", "--detect-every", "5"])).done();
    let looked = ran.rows().iter().filter(|row| !row["faces"].as_array().unwrap().is_empty()).count();
    assert!((5..=8).contains(&looked), "looked at {looked} of {FRAMES} frames");
    let regions = |row: &Value| row["regions"].as_array().unwrap().len();
    assert!(ran.rows().iter().all(|row| regions(row) > 0), "every frame has a region");
}

#[test]
fn y4m_goes_through_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let y4m = dir.path().join("in.y4m");
    ffmpeg(words("-i {} -an -f yuv4mpegpipe {}", &[&small(), &y4m]));
    let from_stdin = |output: &str| {
        let mut command = milkglass();
        command.current_dir(dir.path()).stdin(File::open(&y4m).unwrap());
        run(command.args(["redact", "-", "-o", output, "--preset", "fast"])).done()
    };
    let ran = from_stdin("-");
    assert!(ran.out.starts_with(b"YUV4MPEG2 W640 H360 F25:1 "));
    let frames = Frames::from_y4m(&ran.out);
    frames.hides(&small_truth(), "stdin to stdout");
    assert!(from_stdin("out.mp4").out.is_empty());
    decode(&dir.path().join("out.mp4")).hides(&small_truth(), "stdin to a file");
    let ran = run(milkglass().arg("redact").arg(small()).args(["-o", "-", "--preset", "fast"])).done();
    Frames::from_y4m(&ran.out).hides(&small_truth(), "a file to stdout");
    let ran = from_stdin("-");
    // No ffmpeg is needed between two pipes.
    let mut command = milkglass();
    command.env("MILKGLASS_FFMPEG", dir.path()).stdin(File::open(&y4m).unwrap());
    let bare = run(command.args(["redact", "-", "-o", "-", "--preset", "fast"])).done();
    assert!(bare.out == ran.out, "the same twice");
}

#[test]
fn the_report_counts_and_hashes_and_tells_no_place() {
    let dir = tempfile::tempdir().unwrap();
    let (output, report) = (dir.path().join("out.mp4"), dir.path().join("report.json"));
    redact(&small(), &output, &["--encoder-preset", "ultrafast", "--report", report.to_str().unwrap()])
        .done();
    let text = fs::read_to_string(&report).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let file = &report["files"][0];
    assert_eq!(file["input"], small().to_str().unwrap());
    assert_eq!(file["output"], output.to_str().unwrap());
    assert_eq!(file["input_sha256"], sha256(&small()));
    assert_eq!(file["output_sha256"], sha256(&output));
    for (key, value) in [("frames_in", 24), ("frames_out", 24), ("covered", 24), ("obscured", 0)] {
        assert_eq!(file[key], value, "{key}");
    }
    assert_eq!(file["warnings"].as_array().unwrap().len(), 0);
    assert!(file.get("error").is_none());
    assert_eq!(report["preset"], "fast");
    assert_eq!(report["models"][0]["name"], "yunet");
    assert_eq!(report["models"][0]["sha256"], sha256(&models().join("yunet.onnx")));
    assert_eq!(report["policy_sha256"].as_str().unwrap().len(), 64);
    // Numbers are counts alone, and no key speaks of a place, a person or a machine.
    let known = [
        "milkglass",
        "preset",
        "policy_sha256",
        "backend",
        "runtime_sha256",
        "models",
        "files",
        "name",
        "sha256",
        "manifest_sha256",
        "sound",
        "input",
        "output",
        "input_sha256",
        "output_sha256",
        "frames_in",
        "frames_out",
        "covered",
        "obscured",
        "found",
        "transparent",
        "sound",
        "warnings",
        "error",
    ];
    fn walk(value: &Value, key: &str, known: &[&str]) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                assert!(known.contains(&key.as_str()), "{key}");
                walk(value, key, known);
            }),
            Value::Array(list) => list.iter().for_each(|value| walk(value, key, known)),
            Value::Number(_) => {
                assert!(["frames_in", "frames_out", "covered", "obscured"].contains(&key), "{key}")
            }
            _ => {}
        }
    }
    walk(&report, "", &known);
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname") {
        assert!(host.trim().len() < 4 || !text.contains(host.trim()), "the report names the machine");
    }
    // Other settings have another hash; the same settings the same.
    let other = dir.path().join("other.json");
    let flags = ["--encoder-preset", "ultrafast", "--overwrite", "--report", other.to_str().unwrap()];
    let hash = |more: &[&str]| {
        redact(&small(), &output, &[&flags[..], more].concat()).done();
        let report: Value = serde_json::from_str(&fs::read_to_string(&other).unwrap()).unwrap();
        report["policy_sha256"].clone()
    };
    assert_eq!(hash(&[]), report["policy_sha256"]);
    assert_ne!(hash(&["--grow", "1.5"]), report["policy_sha256"]);
}

#[test]
fn quiet_is_silent_and_the_bar_is_for_terminals() {
    let dir = tempfile::tempdir().unwrap();
    let odd = odd_sized(dir.path());
    let quiet = redact(&odd, &dir.path().join("q.mp4"), &["-q"]).ended(0);
    assert_eq!(quiet.err, "");
    let plain = redact(&odd, &dir.path().join("p.mp4"), &[]).done().warned(&["even sizes"]);
    assert!(!plain.err.contains('\r') && !plain.err.contains("redacting"), "{:?}", plain.err);
    let verbose = redact(&odd, &dir.path().join("v.mp4"), &["-v"]).ended(0);
    assert!(verbose.err.contains("info: inference"), "{}", verbose.err);
    // `script` runs a program on a terminal of its own.
    let line = format!(
        "'{}' redact '{}' -o '{}' --preset fast",
        env!("CARGO_BIN_EXE_milkglass"),
        small().display(),
        dir.path().join("t.mp4").display()
    );
    let terminal = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("MILKGLASS_MODELS", models())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output();
    match terminal {
        Ok(shown) => {
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(shown.contains("redacting") && shown.contains("frames"), "{shown:?}");
        }
        Err(e) => eprintln!("no terminal could be tried, because `script` cannot be run: {e}"),
    }
}

/// An odd-sized clip, about which there is something to warn when it becomes MP4.
fn odd_sized(dir: &Path) -> PathBuf {
    let clip = dir.join("odd.mkv");
    if !clip.exists() {
        ffmpeg(words("-i {} -an -vf scale=321:181 -frames:v 4 -c:v ffv1 {}", &[&small(), &clip]));
    }
    clip
}

/// Waits until something is there.
fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "waited for too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running `redact` that encodes already, and is not done for a while.
fn encoding(command: &mut std::process::Command) -> std::process::Child {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| child_with(child.id(), "libx264"));
    std::thread::sleep(Duration::from_millis(500));
    child
}

/// A closed terminal, a shell's Ctrl-\, a limit, a signal that means nothing to it: it cleans up and says so. What it leaves
/// after `kill -9` never had a name.
#[test]
fn however_a_run_ends_it_leaves_nothing() {
    use Signal as S;
    for signal in [S::INT, S::TERM, S::HUP, S::QUIT, S::XCPU, S::USR1, S::ALARM, S::KILL] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = milkglass();
        command.arg("redact").arg(example()).arg("-o").arg(dir.path().join("out.mp4")).arg("--keep-audio");
        let child = encoding(&mut command);
        assert!(listing(dir.path()).is_empty(), "{:?}", listing(dir.path()));
        let encoder = child_with(child.id(), "libx264").unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let begun = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10), "took {:?} to stop", begun.elapsed());
        if signal == S::KILL {
            use std::os::unix::process::ExitStatusExt as _;
            assert_eq!(output.status.signal(), Some(9));
        } else {
            Ran::from(output).failed(130, &["interrupted"]);
        }
        holds(dir.path(), &[]);
        wait_for(|| (!Path::new(&format!("/proc/{encoder}/exe")).exists()).then_some(()));
    }
}

/// `nohup` and shells start programs with signals that mean nothing to them.
#[test]
fn a_hang_up_that_is_ignored_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.mp4");
    let own = milkglass();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(own.get_program()).arg("redact").arg(small());
    command.arg("-o").arg(&output).env("MILKGLASS_MODELS", models());
    let child = encoding(&mut command);
    let _ = kill_process(Pid::from_child(&child), Signal::HUP);
    Ran::from(child.wait_with_output().unwrap()).done();
    holds(dir.path(), &["out.mp4"]);
}

#[test]
fn an_interrupted_run_keeps_the_file_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.mp4");
    fs::write(&output, "what was there").unwrap();
    let mut command = milkglass();
    command.arg("redact").arg(example()).arg("-o").arg(&output).arg("--overwrite");
    let child = encoding(&mut command);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    Ran::from(child.wait_with_output().unwrap()).failed(130, &["interrupted"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), "what was there");
    holds(dir.path(), &["out.mp4"]);
}

/// What a run had to leave where files cannot be without a name.
#[test]
fn the_next_start_removes_what_a_killed_one_left() {
    let dir = tempfile::tempdir().unwrap();
    let (output, held) = (dir.path().join("out.mp4"), dir.path().join(".milkglass-cccccc.partial.mp4"));
    for name in [".milkglass-aaaaaa.partial.mp4", ".milkglass-bbbbbb.sound"] {
        fs::write(dir.path().join(name), "left").unwrap();
    }
    let file = File::create(&held).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    redact(&small(), &output, &QUICK).done();
    holds(dir.path(), &[".milkglass-cccccc.partial.mp4", "out.mp4"]);
}

#[test]
fn strict_says_when_there_was_nothing_to_hide() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.mp4");
    let source: Vec<OsString> = words("-f lavfi -i testsrc2=size=320x240:rate=10:duration=0.6 {}", &[&empty]);
    ffmpeg(source);
    let output = dir.path().join("out.mp4");
    redact(&empty, &output, &["--encoder-preset", "ultrafast"]).done();
    redact(&empty, &output, &["--strict", "--overwrite"]).failed(2, &["empty.mp4", "nothing", "--strict"]);
    assert_eq!(video(&probe(&output))["nb_read_frames"], "6", "the clip is written all the same");
    // A zone is something to hide, and so is a face.
    let zone = "door:0,0;0.5,0;0.5,0.5";
    redact(&empty, &output, &["--strict", "--overwrite", "--zone", zone]).done();
    redact(&small(), &output, &["--strict", "--overwrite"]).done();
}

#[test]
fn a_damaged_clip_is_kept_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.mkv");
    ffmpeg(words("-i {} -an -c:v libx264 -preset ultrafast -g 4 -crf 15 {}", &[&small(), &cut]));
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let (hash, output) = (sha256(&cut), dir.path().join("out.mp4"));
    redact(&cut, &output, &[]).failed(3, &["cut.mkv", "damaged", "--keep-partial"]);
    holds(dir.path(), &["cut.mkv"]);
    let report = dir.path().join("r.json");
    let flags = ["--keep-partial", "--report", report.to_str().unwrap()];
    redact(&cut, &output, &flags).failed(3, &["cut.mkv", "damaged", "kept"]);
    let frames = decode(&output);
    assert!((5..FRAMES).contains(&frames.data.len()), "{} frames", frames.data.len());
    frames.hides(&small_truth()[..frames.data.len()], "the part that is kept");
    let report: Value = serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
    assert_eq!(report["files"][0]["frames_out"], frames.data.len());
    assert!(report["files"][0]["error"].as_str().unwrap().contains("damaged"));
    assert_eq!(sha256(&cut), hash);
}

#[test]
fn variable_frame_rate_stays_exact() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("vfr.mkv"), dir.path().join("out.mkv"));
    let mut args =
        words("-i {} -an -frames:v 12 -fps_mode passthrough -c:v libx264 -preset ultrafast -vf", &[&small()]);
    args.push("setpts='(N*N*0.01+N*0.02)/TB'".into());
    args.push(input.clone().into());
    ffmpeg(args);
    redact(&input, &output, &QUICK).done();
    let times = |path: &Path| {
        let mut command = std::process::Command::new("ffprobe");
        command.args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_entries",
            "frame=pts_time",
            "-of",
            "csv=p=0",
        ]);
        let text = String::from_utf8(command.arg(path).output().unwrap().stdout).unwrap();
        text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect::<Vec<f64>>()
    };
    assert_eq!(times(&input), times(&output));
    assert_eq!(times(&input).len(), 12);
}
