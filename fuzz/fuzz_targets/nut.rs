//! The NUT reader, whose bytes come from a decoder that a clip may have taken over. Whatever it makes of them must also
//! survive being written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milkglass_parsers::nut::{FrameHead, NutError, Reader, VideoStream, Writer};

/// A small picture: frames above it must be refused before anything is done for them.
const MAX_FRAME: u64 = 1 << 12;

fuzz_target!(|data: &[u8]| {
    let Ok((stream, frames)) = read(data) else { return };
    assert!((1..=65535).contains(&stream.width) && (1..=65535).contains(&stream.height), "{stream:?}");
    assert!(stream.time_base.0 > 0 && stream.time_base.1 > 0, "{stream:?}");
    let mut written = Vec::new();
    write(&mut written, &stream, &frames).expect("what was read can be written");
    // A ratio with a zero in it is written as the unknown one.
    let (w, h) = stream.sample_aspect_ratio;
    let sample_aspect_ratio = if w == 0 || h == 0 { (0, 0) } else { (w, h) };
    let again = read(&written).expect("what was written can be read");
    assert_eq!(again, (VideoStream { sample_aspect_ratio, ..stream }, frames));
});

type Frames = Vec<(FrameHead, Vec<u8>)>;

/// The stream and its frames, up to the first fault in them.
fn read(data: &[u8]) -> Result<(VideoStream, Frames), NutError> {
    let mut reader = Reader::open(data, MAX_FRAME)?;
    let mut frames = Vec::new();
    while let Ok(Some(head)) = reader.next_frame() {
        assert!(head.len <= MAX_FRAME && head.pts >= 0, "{head:?}");
        // Every third frame is left in the pipe, and skipped by the next call.
        if frames.len() % 3 == 2 && head.pts % 2 == 1 {
            continue;
        }
        let mut bytes = vec![0; head.len as usize];
        let (front, back) = bytes.split_at_mut(head.len as usize / 2);
        if reader.read_exact(front).and_then(|()| reader.read_exact(back)).is_err() {
            break;
        }
        assert!(reader.read_exact(&mut [0]).is_err(), "more than the frame holds");
        frames.push((head, bytes));
    }
    Ok((reader.stream().clone(), frames))
}

fn write(to: &mut Vec<u8>, stream: &VideoStream, frames: &Frames) -> Result<(), NutError> {
    let mut writer = Writer::open(to, stream)?;
    for (head, bytes) in frames {
        writer.begin_frame(head.pts, head.len)?;
        writer.write(bytes)?;
    }
    writer.finish()
}
