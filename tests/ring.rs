//! Consumers of a ring: honest, dead, stalled, talking rubbish, intruding. Some are programs in C, made with gcc.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs::{self, File};
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use milkglass::engine::Engine;
use milkglass::frame::{FramePool, Outcome, RedactedFrame};
use milkglass::picture::{PixelFormat, View};
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::sink::RingSink;
use milkglass::{FrameFormat, FrameSink, Policy};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use support::{FORMATS, canary_frame, is_canary, ms};
use tempfile::TempDir;

const SLOTS: usize = 6;
const CREDIT: usize = SLOTS - 2;
/// Nothing that is waited for takes longer.
const LONG: Duration = Duration::from_secs(60);

/// One test at a time: some count the descriptors of this program.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pictures full of canaries, of which a zone hides the left `share`.
struct Camera {
    pool: FramePool,
    engine: Engine,
    next: u64,
}

impl Camera {
    fn new(format: FrameFormat, share: f64) -> Camera {
        let area = Polygon::new(vec![(0.0, 0.0), (share, 0.0), (share, 1.0), (0.0, 1.0)]).unwrap();
        let zone = Zone::new("left", area, Style::default()).unwrap();
        let policy = Policy::builder().zone(zone).build().unwrap();
        let pool = FramePool::new(format, 4);
        Camera { engine: Engine::new(policy, pool.clone(), &[]).unwrap(), pool, next: 0 }
    }

    fn shoot(&mut self) -> RedactedFrame {
        self.next += 1;
        let at = ms(self.next * 10);
        self.engine.push(canary_frame(&self.pool, self.next, at).unwrap(), at).unwrap();
        let frame = self.engine.release(at).unwrap();
        assert_eq!(frame.outcome(), Outcome::Covered);
        frame
    }
}

/// A frame's samples without padding.
fn samples(view: View<'_>) -> Vec<u8> {
    let planes = view.format().planes().iter().enumerate();
    planes.flat_map(|(i, plane)| (0..plane.height).flat_map(move |y| view.row(i, y).to_vec())).collect()
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..][..N]);
    u64::from_le_bytes(wide)
}

/// A consumer that reads the bytes of the messages as the documentation has them.
struct Peer {
    socket: OwnedFd,
    memory: File,
    hello: Vec<u8>,
}

#[derive(Debug, PartialEq)]
struct Told {
    slot: u64,
    generation: u64,
    offset: u64,
    sequence: u64,
    captured: u64,
    outcome: u64,
    lost: u64,
}

fn connect(path: &Path) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

impl Peer {
    /// Takes the greeting on a connection that has been let in.
    fn greeted(socket: OwnedFd) -> Peer {
        let mut hello = vec![0; 200];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let part = &mut [IoSliceMut::new(&mut hello)];
        let got = rustix::net::recvmsg(&socket, part, &mut control, RecvFlags::DONTWAIT).unwrap();
        hello.truncate(got.bytes);
        let memory = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Peer { socket, memory: memory.unwrap().into(), hello }
    }

    fn told(&self) -> Option<Told> {
        let mut message = [0; 200];
        match rustix::net::recv(&self.socket, &mut message[..], RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => None,
            got => {
                let m = &message[..got.unwrap().1];
                assert_eq!((m.len(), number::<2>(m, 0), number::<2>(m, 2)), (48, 2, 48));
                Some(Told {
                    slot: number::<4>(m, 4),
                    generation: number::<8>(m, 8),
                    offset: number::<8>(m, 16),
                    sequence: number::<8>(m, 24),
                    captured: number::<8>(m, 32),
                    outcome: number::<4>(m, 40),
                    lost: number::<4>(m, 44),
                })
            }
        }
    }

    fn is_gone(&self) -> bool {
        let mut message = [0; 200];
        loop {
            match rustix::net::recv(&self.socket, &mut message[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    fn say(&self, message: &[u8]) {
        rustix::net::send(&self.socket, message, SendFlags::NOSIGNAL).unwrap();
    }

    fn release(&self, generation: u64) {
        self.say(&release(generation));
    }

    fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    /// The samples of a frame; `None` when it was taken back.
    fn read(&self, told: &Told) -> Option<Vec<u8>> {
        let is_there = || number::<8>(&self.bytes(told.offset, 8), 0) == told.generation;
        if !is_there() {
            return None;
        }
        let mut samples = Vec::new();
        for plane in 0..number::<4>(&self.hello, 56) as usize {
            let field = |i: usize| number::<4>(&self.hello, 64 + 16 * plane + 4 * i);
            let (offset, stride, row, rows) = (field(0), field(1), field(2), field(3));
            for y in 0..rows {
                samples.extend(self.bytes(told.offset + offset + y * stride, row as usize));
            }
        }
        is_there().then_some(samples)
    }

    /// The pixels of every slot, padding included.
    fn slots(&self) -> Vec<Vec<u8>> {
        let slot = number::<8>(&self.hello, 16);
        let slots = number::<4>(&self.hello, 24);
        (0..slots).map(|i| self.bytes(i * slot + 64, slot as usize - 64)).collect()
    }
}

fn release(generation: u64) -> Vec<u8> {
    [&3u16.to_le_bytes()[..], &16u16.to_le_bytes(), &[0; 4], &generation.to_le_bytes()].concat()
}

struct Ring {
    dir: TempDir,
    sink: RingSink,
    camera: Camera,
}

impl Ring {
    fn new(pixel: PixelFormat, share: f64) -> Ring {
        let dir = TempDir::new().unwrap();
        let format = FrameFormat::new(pixel, 67, 51).unwrap();
        let sink = RingSink::open(dir.path().join("cam.sock"), &format, SLOTS).unwrap();
        Ring { dir, sink, camera: Camera::new(format, share) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cam.sock")
    }

    /// Sends one more frame, and returns its number and samples.
    fn send(&mut self) -> (u64, Vec<u8>) {
        let frame = self.camera.shoot();
        self.sink.send(&frame).unwrap();
        (frame.meta().sequence, samples(frame.view()))
    }

    /// One more consumer, who gets the next frame.
    fn join(&mut self) -> (Peer, (u64, Vec<u8>)) {
        let socket = connect(&self.path());
        let sent = self.send();
        (Peer::greeted(socket), sent)
    }
}

#[test]
fn frames_arrive_sample_by_sample_in_every_format() {
    let _alone = alone();
    for pixel in FORMATS {
        let mut ring = Ring::new(pixel, 0.5);
        let (peer, mut sent) = ring.join();
        let hello = |at| number::<4>(&peer.hello, at);
        assert_eq!(peer.hello.len(), 112);
        assert_eq!((number::<2>(&peer.hello, 0), number::<2>(&peer.hello, 2), hello(4)), (1, 112, 1));
        assert_eq!((hello(24), hello(28)), (SLOTS as u64, CREDIT as u64));
        assert_eq!((hello(36), hello(40), hello(44), hello(48), hello(52)), (67, 51, 1, 0, 601));
        assert_eq!(number::<8>(&peer.hello, 8), peer.memory.metadata().unwrap().len());
        for _ in 0..20 {
            let told = peer.told().unwrap();
            assert_eq!((told.sequence, told.captured), (sent.0, sent.0 * 10_000_000));
            assert_eq!((told.outcome, told.lost), (1, 0));
            assert!(peer.read(&told).unwrap() == sent.1, "{pixel:?}: other samples");
            assert!(sent.1.iter().any(|v| is_canary(*v)), "nothing is visible");
            peer.release(told.generation);
            sent = ring.send();
        }
    }
}

#[test]
fn who_does_not_release_loses_frames_and_nobody_else_does() {
    let _alone = alone();
    let mut ring = Ring::new(PixelFormat::Nv12, 0.5);
    // What one keeps is left to it: there are slots for the others.
    let (first, kept) = ring.join();
    let (quick, mut sent) = ring.join();
    let mut follow = |ring: &mut Ring| {
        for _ in 0..50 {
            let told = quick.told().unwrap();
            assert_eq!((told.sequence, told.lost), (sent.0, 0));
            assert!(quick.read(&told).unwrap() == sent.1, "other samples");
            quick.release(told.generation);
            sent = ring.send();
        }
    };
    follow(&mut ring);
    let told = first.told().unwrap();
    assert!(first.read(&told).unwrap() == kept.1, "a held frame was overwritten though slots were free");
    // A second one who keeps all it may have needs some of them.
    let second = connect(&ring.path());
    follow(&mut ring);
    let second = Peer::greeted(second);
    // No more were sent than they could hold; the first one's were needed, and it finds out.
    assert_eq!(first.read(&told), None);
    first.release(told.generation);
    for _ in 1..CREDIT {
        first.release(first.told().unwrap().generation);
    }
    assert_eq!(first.told(), None);
    assert_eq!(std::iter::from_fn(|| second.told()).count(), CREDIT);
    // Awake again, it gets the next frame and is told what it missed.
    quick.release(quick.told().unwrap().generation);
    let (number, samples) = ring.send();
    let told = first.told().unwrap();
    assert_eq!((told.sequence, told.lost), (number, number - 1 - CREDIT as u64));
    assert!(first.read(&told).unwrap() == samples, "other samples");
    assert_eq!(ring.sink.consumers(), 3);
}

#[test]
fn counters_tell_who_is_there_what_they_hold_and_what_they_lost() {
    let _alone = alone();
    let mut ring = Ring::new(PixelFormat::Nv12, 0.5);
    let counters = ring.sink.counters();
    let figures = || (counters.consumers(), counters.held(), counters.lost());
    ring.send();
    assert_eq!(figures(), (0, 0, 0));
    let (slow, _) = ring.join();
    assert_eq!(figures(), (1, 1, 0));
    let (quick, _) = ring.join();
    for _ in 2..CREDIT + 3 {
        quick.release(quick.told().unwrap().generation);
        ring.send();
    }
    assert_eq!(figures(), (2, CREDIT + 1, 3));
    slow.release(slow.told().unwrap().generation);
    quick.release(quick.told().unwrap().generation);
    ring.send();
    assert_eq!(figures(), (2, CREDIT + 1, 3));
    drop(slow);
    ring.send();
    assert_eq!(figures(), (1, 2, 3));
}

#[test]
fn a_frame_stays_for_as_many_frames_as_there_are_slots_less_one() {
    let _alone = alone();
    let mut ring = Ring::new(PixelFormat::Rgb24, 0.5);
    let mut peers = Vec::new();
    for _ in 0..40 {
        // Always somebody new who never releases, the worst for those who were there before.
        if peers.len() < 14 {
            peers.push(ring.join().0);
        }
        let (peer, (number, samples)) = ring.join();
        let told = peer.told().unwrap();
        for _ in 1..SLOTS {
            assert!(peer.read(&told).unwrap() == samples, "frame {number} was overwritten too soon");
            ring.send();
        }
    }
}

#[test]
fn rubbish_ends_its_sender_alone() {
    let _alone = alone();
    let mut ring = Ring::new(PixelFormat::I420, 0.5);
    let (honest, _) = ring.join();
    honest.release(honest.told().unwrap().generation);
    let mut good = release(0);
    good[0] = 2;
    let messages = [vec![], vec![0; 1], vec![0xff; 16], vec![3; 4000], release(0), release(u64::MAX), good];
    for (i, rubbish) in messages.iter().enumerate() {
        let (peer, _) = ring.join();
        peer.say(rubbish);
        honest.release(honest.told().unwrap().generation);
        let (number, samples) = ring.send();
        assert!(peer.is_gone(), "message {i} was accepted");
        let told = honest.told().unwrap();
        assert_eq!(told.sequence, number);
        assert!(honest.read(&told).unwrap() == samples, "other samples");
        honest.release(told.generation);
    }
    // Released twice; and another's frame.
    let (twice, _) = ring.join();
    let told = twice.told().unwrap();
    twice.release(told.generation);
    twice.release(told.generation);
    honest.release(honest.told().unwrap().generation);
    let (thief, (number, _)) = ring.join();
    assert!(twice.is_gone());
    thief.release(told.generation);
    let told = honest.told().unwrap();
    assert_eq!(told.sequence, number);
    ring.send();
    assert!(thief.is_gone());
    assert!(honest.read(&told).is_some(), "its frame was given away");
    assert_eq!(ring.sink.consumers(), 1);
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_hundred_consumers_come_and_go_and_leave_no_descriptor_behind() {
    let _alone = alone();
    let mut ring = Ring::new(PixelFormat::Nv12, 0.5);
    ring.send();
    let before = descriptors();
    for i in 0..100 {
        let socket = connect(&ring.path());
        // One in three goes before it is greeted, one sends us a descriptor.
        if i % 3 == 0 {
            drop(socket);
            ring.send();
            continue;
        }
        ring.send();
        let peer = Peer::greeted(socket);
        if i % 3 == 1 {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let rights = [peer.memory.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
            let message = release(peer.told().unwrap().generation);
            rustix::net::sendmsg(&peer.socket, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)
                .unwrap();
        }
        drop(peer);
    }
    ring.send();
    assert_eq!((ring.sink.consumers(), descriptors()), (0, before));
    // More than find room are sent away.
    let sockets: Vec<OwnedFd> = (0..16).map(|_| connect(&ring.path())).collect();
    ring.send();
    let peers: Vec<Peer> = sockets.into_iter().map(Peer::greeted).collect();
    let late = connect(&ring.path());
    ring.send();
    assert_eq!(rustix::net::recv(&late, &mut [0; 200][..], RecvFlags::DONTWAIT).unwrap().1, 0);
    assert!(peers.iter().all(|p| p.told().is_some()));
}

/// Warnings of who was sent away.
static SENT_AWAY: AtomicUsize = AtomicUsize::new(0);

struct Ears;

impl log::Log for Ears {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string().contains("sent away") {
            SENT_AWAY.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

/// They are told to connect again, so they do, with every frame.
#[test]
fn those_who_are_sent_away_again_and_again_do_not_fill_the_log() {
    let _alone = alone();
    log::set_logger(&Ears).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let mut ring = Ring::new(PixelFormat::Nv12, 0.5);
    let _sockets: Vec<OwnedFd> = (0..16).map(|_| connect(&ring.path())).collect();
    ring.send();
    for _ in 0..50 {
        let late = connect(&ring.path());
        ring.send();
        assert_eq!(rustix::net::recv(&late, &mut [0; 200][..], RecvFlags::DONTWAIT).unwrap().1, 0);
    }
    log::set_max_level(log::LevelFilter::Off);
    assert_eq!(SENT_AWAY.load(Ordering::SeqCst), 1);
}

#[test]
fn no_raw_sample_is_ever_in_the_memory() {
    let _alone = alone();
    for pixel in FORMATS {
        // Everything is hidden, so that no canary may be there, whenever one looks.
        let mut ring = Ring::new(pixel, 1.0);
        let (peer, _) = ring.join();
        let told = peer.told().unwrap();
        peer.release(told.generation);
        let (stalled, _) = ring.join();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut looks = 0;
                while !done.load(Ordering::Relaxed) || looks < 3 {
                    for slot in peer.slots() {
                        assert!(!slot.into_iter().any(is_canary), "{pixel:?}: a raw sample is in the memory");
                    }
                    looks += 1;
                }
                looks
            });
            for i in 0..300 {
                ring.send();
                if let Some(told) = peer.told() {
                    peer.release(told.generation);
                }
                if i % 50 == 49 {
                    ring.sink.forget();
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(looks.join().unwrap() >= 3);
        });
        drop(stalled);
    }
}

#[test]
fn privacy_mode_takes_back_every_frame_before_it_returns() {
    let _alone = alone();
    for (pixel, black) in
        [(PixelFormat::Nv12, [16, 128]), (PixelFormat::I420, [16, 128]), (PixelFormat::Rgb24, [0, 0])]
    {
        let mut ring = Ring::new(pixel, 0.5);
        let (peer, _) = ring.join();
        for _ in 0..SLOTS {
            ring.send();
        }
        let told: Vec<Told> = std::iter::from_fn(|| peer.told()).collect();
        assert_eq!(told.len(), CREDIT);
        assert!(told.iter().all(|t| peer.read(t).is_some()));
        ring.sink.forget();
        assert!(told.iter().all(|t| peer.read(t).is_none()), "a frame seems to be there still");
        for slot in peer.slots() {
            assert!(slot.iter().all(|v| black.contains(v) || *v == 0), "{pixel:?}: something is left");
        }
        told.iter().for_each(|t| peer.release(t.generation));
        let (number, samples) = ring.send();
        let next = peer.told().unwrap();
        assert_eq!(next.sequence, number);
        assert!(peer.read(&next).unwrap() == samples, "other samples");
    }
}

#[test]
fn the_socket_is_its_owners_and_replaces_only_what_nobody_listens_at() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let (path, format) = (dir.path().join("cam.sock"), FrameFormat::new(PixelFormat::Nv12, 64, 48).unwrap());
    let open = |path: &Path| RingSink::open(path, &format, SLOTS).map_err(|e| format!("{e}"));
    let sink = open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(open(&path).err().unwrap().contains("another program listens"));
    drop(sink);
    assert!(!path.exists());

    // Left behind: a listener that ended without removing its file.
    let gone = connectable(&path);
    drop(gone);
    assert!(path.exists());
    let sink = open(&path).unwrap();
    connect(&path);
    // Another's file in its place is left alone.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(sink);
    assert!(open(&path).err().unwrap().contains("no socket"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();

    // Somebody listens, in another way.
    let _stream = UnixListener::bind(&path).unwrap();
    assert!(open(&path).err().unwrap().contains("another program listens"));
    assert!(open(&dir.path().join("none/cam.sock")).err().unwrap().contains("none/cam.sock"));
    assert!(open(&dir.path().join("x".repeat(200))).is_err());
    assert!(RingSink::open(dir.path().join("b"), &format, 3).is_err());
    assert!(RingSink::open(dir.path().join("b"), &format, 17).is_err());
}

fn connectable(path: &Path) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&socket, 1).unwrap();
    socket
}

/// A program in C, with every warning.
fn compile(source: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(source.file_stem().unwrap());
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]);
    let output = gcc.arg(&source).arg("-o").arg(&program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn start(program: &Path, args: &[&str]) -> Child {
    Command::new(program).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads what a program writes, so that it can go on.
fn drain(child: &mut Child) -> JoinHandle<std::io::Result<Vec<u8>>> {
    let mut out = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        out.read_to_end(&mut all).map(|_| all)
    })
}

/// Sends frames until something is the case.
#[track_caller]
fn send_until(ring: &mut Ring, sent: &mut Vec<(u64, Vec<u8>)>, mut what: impl FnMut(&Ring) -> bool) {
    let begun = Instant::now();
    while !what(ring) {
        assert!(begun.elapsed() < LONG, "waited too long");
        sent.push(ring.send());
        std::thread::sleep(Duration::from_millis(3));
    }
}

#[test]
fn an_intruder_can_read_and_nothing_else() {
    let _alone = alone();
    let program = compile("tests/ring_intruder.c");
    let mut ring = Ring::new(PixelFormat::Nv12, 0.5);
    let mut child = start(&program, &[ring.path().to_str().unwrap()]);
    let mut sent = Vec::new();
    send_until(&mut ring, &mut sent, |_| child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == b"done\n", "{output:?}");
}

#[test]
fn the_consumer_in_c_writes_what_was_sent_and_may_die_or_stop_at_any_time() {
    let _alone = alone();
    let program = compile("examples/ring_consumer.c");
    let mut ring = Ring::new(PixelFormat::I420, 0.5);
    let path = ring.path();
    let path = path.to_str().unwrap();
    let mut sent = Vec::new();

    let mut killed = start(&program, &[path]);
    let mut stopped = start(&program, &[path]);
    send_until(&mut ring, &mut sent, |ring| ring.sink.consumers() == 2);
    let signal = |child: &Child, name| {
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    };
    signal(&stopped, "STOP");
    signal(&killed, "KILL");
    killed.wait().unwrap();
    send_until(&mut ring, &mut sent, |ring| ring.sink.consumers() == 1);

    // Beside the stopped one a third gets everything.
    let mut third = start(&program, &[path, "30"]);
    let (pixels, rest) = (drain(&mut third), drain(&mut stopped));
    send_until(&mut ring, &mut sent, |_| third.try_wait().unwrap().is_some());
    let (pixels, output) = (pixels.join().unwrap().unwrap(), third.wait_with_output().unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with("YU12 67x51, 6 slots\n"), "{said}");
    let told: Vec<u64> = said.lines().filter(|line| line.contains("covered")).map(sequence).collect();
    assert!(told.len() > 20 && told.is_sorted(), "{said}");
    let frames: Vec<&[u8]> = pixels.chunks(sent[0].1.len()).collect();
    assert_eq!(frames.len(), told.len());
    for (number, pixels) in told.iter().zip(frames) {
        assert!(sent.iter().any(|(n, samples)| n == number && samples == pixels), "frame {number} differs");
    }

    // The stopped one goes on where it can.
    signal(&stopped, "CONT");
    send_until(&mut ring, &mut sent, |ring| ring.sink.consumers() == 1);
    let more = sent.len() + 20;
    send_until(&mut ring, &mut Vec::new(), |ring| ring.camera.next as usize > more);
    drop(ring);
    let output = stopped.wait_with_output().unwrap();
    assert!(output.status.success() && !rest.join().unwrap().unwrap().is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.lines().last().unwrap();
    assert!(sequence(last) as usize > more - 10, "{said}");
    assert!(
        said.lines().any(|line| !line.contains(" 0 lost before") && line.contains("lost before")),
        "{said}"
    );
}

fn sequence(line: &str) -> u64 {
    line.split(' ').nth(1).unwrap().parse().unwrap()
}
