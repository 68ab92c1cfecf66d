//! Programs that take frames from a ring, and what they may do to it: come, go, close one direction, release what they have,
//! what they do not have yet or no more, and say rubbish. A model of the rules in docs/INTEGRATING.md is played beside it, so
//! whatever the ring does is foreseen: who stays connected, who gets which message, which slot is written, and that every
//! other slot keeps its bytes. A call that waits for a consumer would never return: libFuzzer's time limit finds it.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use milkglass::engine::Engine;
use milkglass::frame::{FramePool, RedactedFrame};
use milkglass::picture::{PixelFormat, PlaneLayout};
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::sink::RingSink;
use milkglass::{FrameFormat, FrameSink, Policy};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};
use support::{FORMATS, canary_frame, ms};

/// The most consumers at a time.
const MOST: usize = 16;
/// Bytes of a slot before its pixels.
const PIXELS: usize = 64;

#[derive(Arbitrary, Debug)]
struct Script {
    pixel: u8,
    size: (u8, u8),
    slots: u8,
    acts: Vec<Act>,
}

#[derive(Arbitrary, Debug)]
enum Act {
    Connect,
    Frame,
    /// Several frames, of which one consumer takes and releases each.
    Follow(u8, u8),
    /// One message from the ring.
    Take(u8),
    /// A release of a frame that the consumer was told of, the n-th last.
    Release(u8, u8),
    /// A release of any frame: generations from the newest, and some that will never be.
    Forge(u8, i8),
    /// A release whose head has other bytes.
    Damaged(u8, u8, u8),
    Say(u8, Vec<u8>),
    Long(u8, u16),
    Flood(u8, u8),
    /// A release that brings a descriptor.
    Descriptor(u8, u8),
    StopWriting(u8),
    StopReading(u8),
    Leave(u8),
    Privacy,
}

fuzz_target!(|script: Script| {
    let before = descriptors();
    let mut play = Play::new(&script);
    for act in script.acts.iter().take(100) {
        play.act(act);
    }
    (0..play.peers.len()).for_each(|who| while play.take(who) {});
    drop(play);
    assert_eq!(descriptors(), before, "a descriptor was left behind");
});

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("there is /proc").count()
}

/// A message of the ring, as it is foreseen.
#[derive(Debug)]
enum Expected {
    Hello,
    Frame(Vec<u8>),
}

/// A message of a consumer, as the rules read it.
enum Said {
    Release(u64),
    Rubbish,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Has connected, and was not let in yet.
    Waits,
    Within,
    Gone,
}

/// A consumer, and all that the ring should know of it.
struct Peer {
    socket: Option<OwnedFd>,
    place: Place,
    /// It takes no messages any more.
    deaf: bool,
    /// It sends none, or has left.
    silent: bool,
    said: VecDeque<Said>,
    held: Vec<u64>,
    lost: u32,
    expected: VecDeque<Expected>,
    /// Generations that it has read of.
    known: Vec<u64>,
}

struct Play {
    path: PathBuf,
    sink: RingSink,
    format: FrameFormat,
    pool: FramePool,
    engine: Engine,
    sequence: u64,
    newest: u64,
    /// What is in each slot.
    generations: Vec<u64>,
    slot: usize,
    reading: File,
    /// The memory as it should be.
    memory: Vec<u8>,
    peers: Vec<Peer>,
    lost: u64,
    /// Those who wait to be let in, in the order in which they came.
    waiting: VecDeque<usize>,
}

impl Play {
    fn new(script: &Script) -> Play {
        let pixel = FORMATS[usize::from(script.pixel) % 4];
        let (width, height) =
            (2 * (u32::from(script.size.0) % 40 + 1), 2 * (u32::from(script.size.1) % 20 + 1));
        let format = FrameFormat::new(pixel, width, height).expect("a size that every format has");
        let area = Polygon::new(vec![(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]).expect("a polygon");
        let zone = Zone::new("left", area, Style::default()).expect("a zone");
        let policy = Policy::builder().zone(zone).build().expect("a policy");
        let pool = FramePool::new(format, 2);
        let engine = Engine::new(policy, pool.clone(), &[]).expect("zones need no detector");
        let path = std::env::temp_dir().join(format!("milkglass-fuzz-ring-{}", std::process::id()));
        let slots = usize::from(script.slots) % 13 + 4;
        let sink = RingSink::open(&path, &format, slots).expect("a ring");

        let slot = (PIXELS + format.buffer_len()).next_multiple_of(4096);
        let nobody = File::open("/dev/null").expect("there is /dev/null");
        let mut play = Play {
            path,
            sink,
            format,
            pool,
            engine,
            sequence: 0,
            newest: 0,
            generations: vec![0; slots],
            slot,
            reading: nobody,
            memory: vec![0; slot * slots],
            peers: Vec::new(),
            lost: 0,
            waiting: VecDeque::new(),
        };
        // The first one looks for the judge, who sees the memory as consumers do.
        play.connect();
        play.send();
        play.take(0);
        play
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Connect => self.connect(),
            Act::Frame => self.send(),
            Act::Follow(who, frames) => {
                let Some(who) = self.who(who) else { return };
                for _ in 0..frames % 8 + 1 {
                    self.send();
                    while self.take(who) {}
                    while let Some(generation) = self.peers[who].known.pop() {
                        self.say(who, &release(generation));
                    }
                }
            }
            Act::Take(who) => {
                let Some(who) = self.who(who) else { return };
                self.take(who);
            }
            Act::Release(who, which) => {
                let Some(who) = self.who(who) else { return };
                let known = &mut self.peers[who].known;
                if !known.is_empty() {
                    let generation = known.remove(known.len() - 1 - usize::from(which) % known.len());
                    self.say(who, &release(generation));
                }
            }
            Act::Forge(who, ahead) => {
                let Some(who) = self.who(who) else { return };
                self.say(who, &release(self.newest.wrapping_add_signed(i64::from(ahead))));
            }
            Act::Damaged(who, at, with) => {
                let Some(who) = self.who(who) else { return };
                let mut message = release(self.newest);
                message[usize::from(at) % 8] = with;
                self.say(who, &message);
            }
            Act::Say(who, ref message) => {
                let Some(who) = self.who(who) else { return };
                self.say(who, message);
            }
            Act::Long(who, len) => {
                let Some(who) = self.who(who) else { return };
                let mut message = release(self.newest).to_vec();
                message.resize(16 + usize::from(len), 0);
                self.say(who, &message);
            }
            Act::Flood(who, times) => {
                let Some(who) = self.who(who) else { return };
                (0..times).for_each(|_| self.say(who, &release(self.newest)));
            }
            Act::Descriptor(who, which) => {
                let Some(who) = self.who(who) else { return };
                let known = &self.peers[who].known;
                let at = known.len().checked_sub(1 + usize::from(which) % known.len().max(1));
                let generation = at.map_or(0, |at| known[at]);
                self.say_with(who, &release(generation), true);
            }
            Act::StopWriting(who) => self.stop(who, Shutdown::Write),
            Act::StopReading(who) => self.stop(who, Shutdown::Read),
            Act::Leave(who) => {
                let Some(who) = self.who(who) else { return };
                let peer = &mut self.peers[who];
                (peer.socket, peer.deaf, peer.silent) = (None, true, true);
            }
            Act::Privacy => self.forget(),
        }
    }

    fn who(&self, number: u8) -> Option<usize> {
        usize::from(number).checked_rem(self.peers.len())
    }

    fn connect(&mut self) {
        if self.peers.len() >= 40 {
            return;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let socket = socket.expect("a socket");
        let address = SocketAddrUnix::new(&self.path).expect("a short path");
        match rustix::net::connect(&socket, &address) {
            // As many wait as may.
            Err(Errno::AGAIN) => return,
            connected => connected.expect("somebody listens"),
        }
        self.waiting.push_back(self.peers.len());
        self.peers.push(Peer {
            socket: Some(socket),
            place: Place::Waits,
            deaf: false,
            silent: false,
            said: VecDeque::new(),
            held: Vec::new(),
            lost: 0,
            expected: VecDeque::new(),
            known: Vec::new(),
        });
    }

    fn stop(&mut self, who: u8, how: Shutdown) {
        let Some(who) = self.who(who) else { return };
        let peer = &mut self.peers[who];
        let Some(socket) = &peer.socket else { return };
        if rustix::net::shutdown(socket, how).is_ok() {
            peer.deaf |= how == Shutdown::Read;
            peer.silent |= how == Shutdown::Write;
        }
    }

    fn say(&mut self, who: usize, message: &[u8]) {
        self.say_with(who, message, false);
    }

    fn say_with(&mut self, who: usize, message: &[u8], descriptor: bool) {
        let peer = &mut self.peers[who];
        let Some(socket) = &peer.socket else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let rights = [self.reading.as_fd()];
        assert!(!descriptor || control.push(SendAncillaryMessage::ScmRights(&rights)));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        // What finds no room, or nobody, was not said.
        if rustix::net::sendmsg(socket, &[IoSlice::new(message)], &mut control, flags).is_ok() {
            peer.said.push_back(match message {
                [3, 0, 16, 0, 0, 0, 0, 0, generation @ ..] => {
                    generation.try_into().map_or(Said::Rubbish, |g| Said::Release(u64::from_le_bytes(g)))
                }
                _ => Said::Rubbish,
            });
        }
    }

    /// Takes a message, which has to be the one foreseen. False when there is none.
    fn take(&mut self, who: usize) -> bool {
        let peer = &mut self.peers[who];
        let Some(socket) = &peer.socket else { return false };
        if peer.deaf {
            return false;
        }
        let mut message = [0; 200];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let part = &mut [IoSliceMut::new(&mut message)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut got = rustix::net::recvmsg(socket, part, &mut control, flags);
        if got.as_ref().is_err_and(|e| *e == Errno::CONNRESET) {
            // Told once, and before the messages that still wait.
            assert!(peer.place == Place::Gone, "reset");
            got = rustix::net::recvmsg(socket, part, &mut control, flags);
        }
        let len = match (got, peer.place) {
            (Err(Errno::AGAIN), Place::Waits | Place::Within) => 0,
            (Ok(got), Place::Gone) if got.bytes == 0 => 0,
            (Ok(got), _) if got.bytes > 0 => got.bytes,
            (got, _) => panic!("consumer {who} is told {:?}", got.map(|got| got.bytes)),
        };
        let memory = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        match peer.expected.pop_front() {
            None => assert!(len == 0 && memory.is_none(), "consumer {who} is told what nobody foresaw"),
            Some(Expected::Hello) => {
                assert_eq!(message[..len], hello(&self.format, self.slot, self.generations.len()));
                self.reading = memory.expect("a greeting without the memory").into();
            }
            Some(Expected::Frame(foreseen)) => {
                assert!(message[..len] == foreseen && memory.is_none(), "consumer {who}: another message");
                peer.known.push(u64::from_le_bytes(foreseen[8..16].try_into().expect("8 bytes")));
            }
        }
        len > 0
    }

    fn shoot(&mut self) -> RedactedFrame {
        self.sequence += 1;
        let at = ms(self.sequence * 10);
        let raw = canary_frame(&self.pool, self.sequence, at).expect("every buffer is back");
        self.engine.push(raw, at).expect("times rise");
        self.engine.release(at).expect("zones wait for nobody")
    }

    /// One more frame; then everything is as it was foreseen.
    fn send(&mut self) {
        let frame = self.shoot();
        self.listen();
        self.welcome();
        let credit = self.generations.len() - 2;
        let (mut served, within) = (Vec::new(), |p: &Peer| p.place == Place::Within);
        for (who, peer) in self.peers.iter_mut().enumerate().filter(|(_, p)| within(p)) {
            match peer.held.len() < credit {
                true => served.push(who),
                false => (peer.lost, self.lost) = (peer.lost + 1, self.lost + 1),
            }
        }
        self.sink.send(&frame).expect("a ring takes every frame");
        if !served.is_empty() {
            let slot = self.free_slot();
            let generation = self.renew(slot);
            let start = slot * self.slot + PIXELS;
            for (i, plane) in self.format.planes().iter().enumerate() {
                for y in 0..plane.height {
                    let row = frame.view().row(i, y);
                    self.memory[start + plane.offset + y as usize * plane.stride..][..row.len()]
                        .copy_from_slice(row);
                }
            }
            for who in served {
                let message = told(&frame, slot, self.slot, generation, self.peers[who].lost);
                let peer = &mut self.peers[who];
                if peer.deaf {
                    peer.place = Place::Gone;
                    continue;
                }
                peer.expected.push_back(Expected::Frame(message));
                peer.held.push(generation);
                peer.lost = 0;
            }
        }
        let (counters, within) =
            (self.sink.counters(), || self.peers.iter().filter(|p| p.place == Place::Within));
        let figures = (counters.consumers(), counters.held(), counters.lost());
        assert_eq!(figures, (within().count(), within().map(|p| p.held.len()).sum(), self.lost));
        self.compare();
    }

    /// What has been said until now counts, up to the first thing that nobody may say.
    fn listen(&mut self) {
        for peer in self.peers.iter_mut().filter(|p| p.place == Place::Within) {
            while let Some(said) = peer.said.pop_front() {
                let at = match said {
                    Said::Release(generation) => peer.held.iter().position(|held| *held == generation),
                    Said::Rubbish => None,
                };
                let Some(at) = at else {
                    peer.place = Place::Gone;
                    break;
                };
                peer.held.remove(at);
            }
            if peer.silent {
                peer.place = Place::Gone;
            }
        }
    }

    /// Lets in those who wait; one who finds no room is sent away, and whoever comes after waits for the next frame.
    fn welcome(&mut self) {
        for _ in 0..MOST {
            let Some(who) = self.waiting.pop_front() else { return };
            let full = self.within() == MOST;
            let peer = &mut self.peers[who];
            if full || peer.deaf {
                peer.place = Place::Gone;
            } else {
                peer.place = Place::Within;
                peer.expected.push_back(Expected::Hello);
            }
            if full {
                return;
            }
        }
    }

    fn within(&self) -> usize {
        self.peers.iter().filter(|p| p.place == Place::Within).count()
    }

    /// The slot that has to be written: one that nobody holds, if there is one; of several, and else, the rules name one.
    fn free_slot(&self) -> usize {
        let held = |generation: u64| {
            self.peers.iter().any(|p| p.place == Place::Within && p.held.contains(&generation))
        };
        match self.generations.iter().position(|generation| !held(*generation)) {
            Some(free) => free,
            None => {
                let oldest = self.generations.iter().min().copied().unwrap_or(0);
                assert!(self.newest - oldest >= 2 * (self.generations.len() as u64 - 1), "taken too soon");
                self.generations.iter().position(|g| *g == oldest).expect("there are slots")
            }
        }
    }

    fn renew(&mut self, slot: usize) -> u64 {
        self.newest += 2;
        self.generations[slot] = self.newest;
        self.memory[slot * self.slot..][..8].copy_from_slice(&self.newest.to_le_bytes());
        self.newest
    }

    /// Privacy mode: every slot that has been used is black and has another generation.
    fn forget(&mut self) {
        self.sink.forget();
        for slot in
            (0..self.generations.len()).filter(|slot| self.generations[*slot] != 0).collect::<Vec<_>>()
        {
            self.renew(slot);
            let start = slot * self.slot + PIXELS;
            for (i, plane) in self.format.planes().iter().enumerate() {
                let black: &[u8] = match (self.format.pixel(), i) {
                    (PixelFormat::Rgb24, _) => &[0],
                    (PixelFormat::Yuyv, _) => &[16, 128],
                    (_, 0) => &[16],
                    _ => &[128],
                };
                for y in 0..plane.height as usize {
                    let row = &mut self.memory[start + plane.offset + y * plane.stride..][..row_bytes(plane)];
                    row.iter_mut().zip(black.iter().cycle()).for_each(|(to, from)| *to = *from);
                }
            }
        }
        self.compare();
    }

    fn compare(&self) {
        assert_eq!(self.sink.consumers(), self.within(), "others are connected than should be");
        // Until the first greeting was taken there is nothing to look through.
        if self.sequence > 1 {
            let mut memory = vec![0; self.memory.len()];
            self.reading.read_exact_at(&mut memory, 0).expect("the memory is there");
            let slot = (0..self.generations.len())
                .find(|i| memory[i * self.slot..][..self.slot] != self.memory[i * self.slot..][..self.slot]);
            assert_eq!(slot, None, "a slot is not what it should be; generations {:?}", self.generations);
        }
    }
}

fn row_bytes(plane: &PlaneLayout) -> usize {
    plane.width as usize * plane.channels
}

/// The messages, written from the tables of docs/INTEGRATING.md.
fn release(generation: u64) -> [u8; 16] {
    let mut message = [3, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    message[8..].copy_from_slice(&generation.to_le_bytes());
    message
}

fn told(frame: &RedactedFrame, slot: usize, slot_len: usize, generation: u64, lost: u32) -> Vec<u8> {
    let mut message = vec![2, 0, 48, 0];
    message.extend((slot as u32).to_le_bytes());
    for number in
        [generation, (slot * slot_len) as u64, frame.meta().sequence, frame.meta().captured.as_nanos()]
    {
        message.extend(number.to_le_bytes());
    }
    message.extend([1u32, lost].map(u32::to_le_bytes).as_flattened());
    message
}

fn hello(format: &FrameFormat, slot: usize, slots: usize) -> Vec<u8> {
    let mut message = vec![1, 0, 112, 0, 1, 0, 0, 0];
    message.extend([slot * slots, slot].map(|v| (v as u64).to_le_bytes()).as_flattened());
    message.extend([slots as u32, slots as u32 - 2].map(u32::to_le_bytes).as_flattened());
    message.extend(match format.pixel() {
        PixelFormat::Nv12 => b"NV12",
        PixelFormat::I420 => b"YU12",
        PixelFormat::Yuyv => b"YUYV",
        _ => b"RGB3",
    });
    let planes = format.planes().len() as u32;
    message
        .extend([format.width(), format.height(), 1, 0, 601, planes, 0].map(u32::to_le_bytes).as_flattened());
    for plane in format.planes() {
        let numbers = [PIXELS + plane.offset, plane.stride, row_bytes(plane), plane.height as usize];
        message.extend(numbers.map(|v| (v as u32).to_le_bytes()).as_flattened());
    }
    message.resize(112, 0);
    message
}
