//! What the C interface costs over a [`Pipeline`] of one's own, for a frame of 1080p NV12.
//!
//!     cargo bench --package milkglass-capi
//!
//! Both roads hide one zone and need no detector. A round pushes one frame and waits until it is there: in Rust in the
//! target's hands, in C in the caller's memory. Rounds of both alternate, with a plain copy of a frame between them, made of
//! memory that was written just before, as a redacted frame is. What counts is the CPU time of the whole program in a round,
//! all threads together: how long threads wait for a core says more about the machine. Exit code 1 when C takes more than
//! 1.1 copies longer.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, unsafe_code)]

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use milkglass::frame::{FrameMeta, FramePool, RedactedFrame};
use milkglass::picture::PixelFormat;
use milkglass::source::Captured;
use milkglass::time::Timestamp;
use milkglass::{FrameFormat, FrameSource, Media, Opening, Pipeline, Result};
use milkglass_capi::*;
use rustix::time::{ClockId, clock_gettime};

const SIZE: (usize, usize) = (1920, 1080);
const LUMA: usize = SIZE.0 * SIZE.1;
const LENGTH: usize = LUMA * 3 / 2;
const ROUNDS: usize = 400;
const MOST_COPIES: f64 = 1.1;
const POLICY: &str = "faces = 'off'\n[[zone]]\nname = 'a'\narea = [[0, 0], [0.1, 0], [0.1, 0.1], [0, 0.1]]\n";

/// Copies a picture in, as a camera of one's own does.
struct Camera {
    pictures: Receiver<(u64, &'static [u8])>,
}

impl FrameSource for Camera {
    fn capture(&mut self, pool: &FramePool) -> Result<Captured> {
        let Ok((sequence, picture)) = self.pictures.recv() else { return Ok(Captured::End) };
        let meta = FrameMeta { sequence, captured: Timestamp::from_millis(sequence + 1) };
        let filled = pool.fill(meta, |view| {
            view.copy_plane(0, &picture[..LUMA], SIZE.0);
            view.copy_plane(1, &picture[LUMA..], SIZE.0);
            Ok(())
        })?;
        Ok(filled.map_or(Captured::Skipped, Captured::Frame))
    }
}

/// CPU time of all threads so far.
fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() -> ExitCode {
    let raw: &'static [u8] = vec![200u8; LENGTH].leak();

    let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0 as u32, SIZE.1 as u32).unwrap();
    let policy = Opening::builder().policy_text(POLICY, "policy").read().unwrap().policy(Media::Live);
    let (show, pictures) = sync_channel(4);
    let (sent, seen) = sync_channel(4);
    let sink = move |frame: &RedactedFrame| {
        // Looked at, not copied.
        assert!(frame.view().row(0, 0)[0] == 16 && frame.view().row(0, 0)[SIZE.0 - 1] == 200);
        let _ = sent.send(frame.meta().sequence);
        Ok(())
    };
    let pipeline = Pipeline::builder(policy, format, Camera { pictures }).fps(30.0).buffers(12);
    let pipeline = pipeline.sink("rust", sink).start().unwrap();

    let text = std::ffi::CString::new(POLICY).unwrap();
    // SAFETY: zeros are what C programs begin with; every field is valid for them.
    let mut config: milkglass_config = unsafe { std::mem::zeroed() };
    config.size = size_of::<milkglass_config>();
    config.policy = text.as_ptr();
    (config.fourcc, config.width, config.height) = (MILKGLASS_NV12, SIZE.0 as u32, SIZE.1 as u32);
    (config.fps, config.buffers) = (30.0, 12);
    let mut stream = 0;
    // SAFETY: configuration and number live on this stack.
    assert_eq!(unsafe { milkglass_open(&raw const config, &raw mut stream) }, milkglass_status::OK);
    let mut redacted = vec![0u8; LENGTH];
    let (luma, chroma) = redacted.split_at_mut(LUMA);
    let mut frame = milkglass_frame {
        size: size_of::<milkglass_frame>(),
        data: [luma.as_mut_ptr(), chroma.as_mut_ptr(), std::ptr::null_mut()],
        stride: [SIZE.0, SIZE.0, 0],
        length: [LUMA, LENGTH - LUMA, 0],
        captured: 0,
        sequence: 0,
        outcome: 0,
        reserved: 0,
    };
    let mut picture = milkglass_picture {
        size: size_of::<milkglass_picture>(),
        fourcc: MILKGLASS_NV12,
        width: SIZE.0 as u32,
        height: SIZE.1 as u32,
        reserved: 0,
        captured: 0,
        data: [raw.as_ptr(), raw[LUMA..].as_ptr(), std::ptr::null()],
        stride: [SIZE.0, SIZE.0, 0],
        length: [LUMA, LENGTH - LUMA, 0],
    };

    let (mut rust, mut c, mut copy) = (Vec::new(), Vec::new(), Vec::new());
    let (mut written, mut copied) = (vec![0u8; LENGTH], vec![0u8; LENGTH]);
    for n in 0..ROUNDS as u64 {
        let start = cpu();
        show.send((n, raw)).unwrap();
        assert_eq!(seen.recv().unwrap(), n);
        rust.push(cpu() - start);

        picture.captured = n + 1;
        let start = cpu();
        // SAFETY: the planes lie in `raw` and `redacted`, as lengths and strides say.
        unsafe {
            assert_eq!(milkglass_push(stream, &raw const picture), milkglass_status::OK);
            assert_eq!(milkglass_take(stream, &raw mut frame, -1), milkglass_status::OK);
        }
        c.push(cpu() - start);
        assert_eq!((frame.sequence, frame.outcome), (n, milkglass_outcome::COVERED as u32));
        assert!(redacted[0] == 16 && redacted[SIZE.0 - 1] == 200 && redacted[LENGTH - 1] == 200);

        written.copy_from_slice(raw);
        let start = cpu();
        copied.copy_from_slice(std::hint::black_box(&written));
        copy.push(cpu() - start);
        std::hint::black_box(&copied);
    }
    assert_eq!(milkglass_close(stream), milkglass_status::OK);
    drop(show);
    pipeline.wait().unwrap();

    let (rust, c, copy) = (median(rust), median(c), median(copy));
    let copies = (c.as_secs_f64() - rust.as_secs_f64()) / copy.as_secs_f64();
    println!("1080p NV12, CPU time, medians of {ROUNDS} rounds: Rust {rust:?}, C {c:?}, one copy {copy:?}");
    println!("C takes {copies:.2} copies longer (at most {MOST_COPIES})");
    if copies <= MOST_COPIES { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
