//! What handing a frame to another program costs: into the ring's memory, told, taken and released, beside a plain copy of
//! the same bytes, which is the least that a copy can cost.
//!
//!     cargo bench --package milkglass-benches --bench ring
//!
//! The consumer is this program itself, on the same thread, so no time goes by until another one wakes up. What lies in the
//! shared memory is compared with the frame, sample by sample. No bar is held.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::hint::black_box;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool, RedactedFrame};
use milkglass::picture::PixelFormat;
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::sink::RingSink;
use milkglass::time::Timestamp;
use milkglass::{FrameFormat, FrameSink, Policy};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

const SIZE: (u32, u32) = (1920, 1080);
/// As `milkglass live` has them.
const SLOTS: usize = 8;
const RUNS: usize = 301;

fn frame(format: FrameFormat) -> RedactedFrame {
    let area = Polygon::new([(0.0, 0.0), (0.5, 0.0), (0.5, 0.5)]).unwrap();
    let policy = Policy::builder().zone(Zone::new("z", area, Style::default()).unwrap()).build().unwrap();
    let pool = FramePool::new(format, 2);
    let mut engine = Engine::new(policy, pool.clone(), &[]).unwrap();
    let meta = FrameMeta { sequence: 1, captured: Timestamp::from_millis(1) };
    let raw = pool.fill(meta, |view| {
        for (plane, layout) in format.planes().iter().enumerate() {
            for y in 0..layout.height {
                let row = view.row_mut(plane, y).iter_mut().enumerate();
                row.for_each(|(x, v)| *v = (x * 7 + y as usize * 13 + plane) as u8);
            }
        }
        Ok(())
    });
    engine.push(raw.unwrap().unwrap(), meta.captured).unwrap();
    engine.release(meta.captured).unwrap()
}

/// The next message, and the descriptor that came with it.
fn receive(socket: &OwnedFd, message: &mut [u8]) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let part = &mut [IoSliceMut::new(message)];
    rustix::net::recvmsg(socket, part, &mut control, RecvFlags::DONTWAIT).unwrap();
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    })
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Gives back a frame, as docs/INTEGRATING.md has it.
fn release(socket: &OwnedFd, generation: u64) {
    let head = [3u16, 16, 0, 0].map(u16::to_le_bytes);
    let message = [head.as_flattened(), &generation.to_le_bytes()].concat();
    rustix::net::send(socket, &message, SendFlags::NOSIGNAL).unwrap();
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1).unwrap();
    let frame = frame(format);
    let path = std::env::temp_dir().join(format!("milkglass-bench-ring-{}", std::process::id()));
    let mut ring = RingSink::open(&path, &format, SLOTS).unwrap();
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    ring.send(&frame).unwrap();
    let (mut hello, mut told) = ([0; 112], [0; 48]);
    let memory: File = receive(&socket, &mut hello).unwrap().into();
    receive(&socket, &mut told);
    release(&socket, number(&told[8..16]));

    let planes = || (0..format.planes().len()).map(|plane| frame.view().plane(plane));
    let mut copy = vec![0u8; planes().map(<[u8]>::len).sum()];
    let (mut copying, mut handing) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        // By turns, so that other work on the machine meets both.
        let start = Instant::now();
        let mut to = &mut copy[..];
        for from in planes() {
            let (now, rest) = to.split_at_mut(from.len());
            now.copy_from_slice(from);
            to = rest;
        }
        black_box(&copy);
        copying.push(start.elapsed());

        let start = Instant::now();
        ring.send(&frame).unwrap();
        receive(&socket, &mut told);
        release(&socket, number(&told[8..16]));
        handing.push(start.elapsed());
    }

    let slot = number(&told[16..24]);
    for (plane, layout) in format.planes().iter().enumerate() {
        let at = |i: usize| {
            u64::from(u32::from_le_bytes(hello[64 + 16 * plane + 4 * i..][..4].try_into().unwrap()))
        };
        let (offset, stride, bytes) = (at(0), at(1), at(2) as usize);
        for y in 0..layout.height {
            let mut row = vec![0; bytes];
            memory.read_exact_at(&mut row, slot + offset + u64::from(y) * stride).unwrap();
            assert!(row == frame.view().row(plane, y), "another row {y} of plane {plane}");
        }
    }
    let figures = ring.counters();
    ring.send(&frame).unwrap();
    assert_eq!((figures.consumers(), figures.held(), figures.lost()), (1, 1, 0));

    let (copying, handing) = (median(copying), median(handing));
    let ratio = handing.as_secs_f64() / copying.as_secs_f64();
    println!("one copy of a frame of {}x{}, NV12: {copying:?}", SIZE.0, SIZE.1);
    println!("handed over by descriptor, taken and released: {handing:?}, {ratio:.2} copies");
}
