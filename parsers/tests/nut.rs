//! The NUT reader and writer against themselves, against broken streams and against `ffmpeg`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Read;
use std::process::{Command, Stdio};

use milkglass_parsers::nut::{NutError, Reader, VideoStream, Writer};
use proptest::prelude::*;

type Frames = Vec<(i64, Vec<u8>)>;

fn write(stream: &VideoStream, frames: &Frames) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::open(&mut bytes, stream).unwrap();
    for (pts, data) in frames {
        writer.begin_frame(*pts, data.len() as u64).unwrap();
        let (head, tail) = data.split_at(data.len() / 3);
        writer.write(head).unwrap();
        writer.write(tail).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn read(bytes: impl Read, most: u64) -> Result<(VideoStream, Frames), NutError> {
    let mut reader = Reader::open(bytes, most)?;
    let mut frames = Vec::new();
    while let Some(head) = reader.next_frame()? {
        assert!(head.len <= most && head.pts >= 0);
        let mut data = vec![0; head.len as usize];
        reader.read_exact(&mut data)?;
        frames.push((head.pts, data));
    }
    Ok((reader.stream().clone(), frames))
}

fn small(time_base: (u32, u32)) -> VideoStream {
    VideoStream {
        width: 4,
        height: 2,
        time_base,
        sample_aspect_ratio: (4, 3),
        frame_rate: None,
        fourcc: *b"I420",
    }
}

prop_compose! {
    fn streams()(
        width in 1u32..65536, height in 1u32..65536, num in 1u32..1 << 31, den in 1u32..1 << 31,
        sample_aspect_ratio in prop_oneof![Just((0, 0)), (1u32..1000, 1u32..1000)], fourcc: [u8; 4],
    ) -> VideoStream {
        VideoStream { width, height, time_base: (num, den), sample_aspect_ratio, frame_rate: None, fourcc }
    }
}

fn frames() -> impl Strategy<Value = Frames> {
    // Elision in ffmpeg's streams concerns short frames, so short ones are wanted too.
    let data = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), 4000usize..9000).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let pts = prop_oneof![0i64..1000, 0..1i64 << 62];
    proptest::collection::vec((pts, data), 0..6)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(stream in streams(), rate in any::<bool>(), frames in frames()) {
        let written = VideoStream { frame_rate: rate.then_some((30000, 1001)), ..stream.clone() };
        prop_assert_eq!(read(&write(&written, &frames)[..], 10_000).unwrap(), (stream, frames));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes[..], 10_000);
        let mut stream = write(&small((1, 25)), &vec![]);
        stream.extend(bytes);
        let _ = read(&stream[..], 10_000);
    }

    #[test]
    fn altered_and_cut_streams_never_panic(
        frames in frames(), at: prop::sample::Index, with: u8, cut: prop::sample::Index, ours: bool,
    ) {
        let mut bytes = if ours { write(&small((1, 25)), &frames) } else { FROM_FFMPEG.to_vec() };
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        let _ = read(&bytes[..], 10_000);
        bytes.truncate(cut.index(bytes.len()));
        let _ = read(&bytes[..], 10_000);
    }

    /// Behind a right checksum, every field of the headers may be anything.
    #[test]
    fn headers_with_right_checksums_never_panic(
        main in proptest::collection::vec(any::<u8>(), 0..60),
        stream in proptest::collection::vec(any::<u8>(), 0..40),
        valid_main: bool,
        rest in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let good = write(&small((1, 25)), &vec![]);
        let second = good.windows(2).position(|two| two == b"NS").unwrap();
        let mut bytes = good[..25].to_vec();
        if valid_main {
            bytes = good[..second].to_vec();
        } else {
            bytes.extend(packet(0x4E4D_7A56_1F5F_04AD, &main));
        }
        bytes.extend(packet(0x4E53_1140_5BF2_F9DB, &stream));
        bytes.extend(packet(0x4E4B_E4AD_EECA_4569, &rest));
        bytes.extend(rest);
        let _ = read(&bytes[..], 10_000);
    }
}

fn packet(code: u64, body: &[u8]) -> Vec<u8> {
    let mut sum = 0u32;
    for byte in body {
        sum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            sum = if sum >> 31 == 1 { sum << 1 ^ 0x04C1_1DB7 } else { sum << 1 };
        }
    }
    let mut bytes = code.to_be_bytes().to_vec();
    bytes.push(body.len() as u8 + 4);
    bytes.extend(body);
    bytes.extend(sum.to_be_bytes());
    bytes
}

#[test]
fn sizes_and_times_beyond_the_bounds_are_refused() {
    let frames = vec![(5, vec![7; 5000])];
    let bytes = write(&small((1, 25)), &frames);
    assert!(matches!(read(&bytes[..], 4999), Err(NutError::Invalid(_))));
    assert_eq!(read(&bytes[..], 5000).unwrap().1, frames);
    assert!(matches!(read(&bytes[..bytes.len() - 1], 5000), Err(NutError::Io(_))));
    let mut out = Vec::new();
    let mut writer = Writer::open(&mut out, &small((1, 25))).unwrap();
    assert!(writer.begin_frame(-1, 4).is_err());
    writer.begin_frame(0, 4).unwrap();
    assert!(writer.write(&[0; 5]).is_err());
    assert!(writer.finish().is_err());
}

#[test]
fn an_altered_byte_in_a_head_is_noticed() {
    let bytes = write(&small((1, 25)), &vec![(3, vec![9; 12])]);
    for at in 0..bytes.len() - 12 {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        // A packet with an unknown start is skipped by the rules of the format; then the frame has a wrong time
        // or is missing. Nothing else may come back.
        if let Ok((_, frames)) = read(&altered[..], 100) {
            assert!(frames.is_empty() || frames == [(3, vec![9; 12])], "byte {at}");
        }
    }
}

/// Three frames and an index from `ffmpeg`: the source
/// `color=s=16x16:r=10:d=0.3,format=yuv420p,geq=lum='if(eq(X+Y,0),255,250)':cb=250:cr=0`, raw and bit-exact.
const FROM_FFMPEG: &[u8] = include_bytes!("data/short-frames.nut");

#[test]
fn short_frames_of_ffmpeg_are_read() {
    let (stream, frames) = read(FROM_FFMPEG, 10_000).unwrap();
    assert_eq!((stream.width, stream.height, &stream.fourcc), (16, 16, b"I420"));
    assert_eq!(frames.len(), 3);
    let picture: Vec<u8> = [vec![255], vec![250; 255], vec![250; 64], vec![0; 64]].concat();
    for (index, (_, data)) in frames.iter().enumerate() {
        assert_eq!(data, &picture, "frame {index}");
    }
}

#[test]
fn elided_start_bytes_come_back() {
    let mut main = vec![3, 1, 0x82, 0x80, 0, 1, 1, 25];
    // Code 1: key frame, one tick later, size in the head, starting with the elided header 1; the others are unused.
    main.extend([0xC0, 0, 6, 0, 1, 0, 0, 0, 1]);
    main.extend([0x21, 8, 1, 1, 0, 0, 0, 1, 0, 1]);
    main.extend([0xC0, 0, 6, 0, 1, 0, 0, 0, 0x81, 0x7D]);
    main.extend([1, 2, 0xFF, 0xFA]);
    let good = write(&small((1, 25)), &vec![]);
    let second = good.windows(2).position(|two| two == b"NS").unwrap();
    let mut bytes = [&good[..25], &packet(0x4E4D_7A56_1F5F_04AD, &main), &good[second..]].concat();
    bytes.extend([1, 5, 1, 2, 3]);
    bytes.extend([1, 2]);
    let frames = vec![(1, vec![0xFF, 0xFA, 1, 2, 3]), (2, vec![0xFF, 0xFA])];
    assert_eq!(read(&bytes[..], 100).unwrap().1, frames);
    // A frame shorter than its start bytes.
    bytes.extend([1, 1]);
    assert!(matches!(read(&bytes[..], 100), Err(NutError::Invalid(_))));
}

#[test]
fn ffmpeg_reads_what_is_written() {
    let stream = VideoStream {
        width: 34,
        height: 18,
        time_base: (1, 90_000),
        sample_aspect_ratio: (16, 11),
        frame_rate: Some((25, 1)),
        fourcc: *b"I420",
    };
    let len = 34 * 18 * 3 / 2;
    let frames: Frames =
        [0, 7, 8, 4000, 90_001, 7_200_000_011].iter().map(|&pts| (pts, vec![pts as u8; len])).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ours.nut");
    std::fs::write(&file, write(&stream, &frames)).unwrap();
    let shown = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries"])
        .arg("packet=pts:stream=width,height,sample_aspect_ratio,time_base,r_frame_rate,pix_fmt")
        .arg(&file)
        .output()
        .expect("ffprobe is needed: apt-get install ffmpeg");
    let shown = String::from_utf8(shown.stdout).unwrap();
    let lines: Vec<_> = shown.lines().map(|line| line.trim_end_matches(',')).collect();
    assert_eq!(lines[..6], ["0", "7", "8", "4000", "90001", "7200000011"], "{shown}");
    assert_eq!(lines[6], "34,18,16:11,yuv420p,25/1,1/90000", "{shown}");
    // And back again, through ffmpeg's own writer.
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-copyts", "-i"])
        .arg(&file)
        .args(["-c", "copy", "-f", "nut", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (copied, again) = read(child.stdout.take().unwrap(), len as u64).unwrap();
    child.wait().unwrap();
    assert_eq!((copied.width, copied.height, copied.sample_aspect_ratio), (34, 18, (16, 11)));
    let ticks = i64::from(copied.time_base.1) / 90_000;
    let again: Frames = again.into_iter().map(|(pts, data)| (pts / ticks, data)).collect();
    assert_eq!(again, frames);
}
