//! Redacted frames for other programs of this machine, in memory that they share: a descriptor once, a small message for
//! each frame.

mod memory;
mod socket;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use self::memory::{Memory, PIXELS};
use self::socket::{Consumer, Listener};
use super::FrameSink;
use milkglass_common::Seldom;

use crate::error::{Error, Result, SinkError, SinkKind};
use crate::frame::RedactedFrame;
use crate::picture::{FrameFormat, ViewMut};
use crate::policy::Color;
use crate::redact::paint_whole;

/// Slots that are left when one consumer has as many frames as it may.
const ALWAYS_FREE: usize = 2;
/// The most consumers at a time.
const MOST_CONSUMERS: usize = 16;

/// Hands redacted frames to other programs without their pixels going through a pipe: a ring of slots in sealed memory.
///
/// Programs connect to a unix socket (SEQPACKET). The first message brings a descriptor of the memory, to be mapped for
/// reading; nobody but this target can write it, and nobody can change its size. Each further message names the slot of one
/// frame, which the consumer gives back by a message of its own. docs/INTEGRATING.md has the messages and the rules.
///
/// The memory is the ring's own and is written from redacted frames alone (I8). Nothing ever waits for a consumer: one that
/// does not release its frames gets no further ones until it does, and when no slot is free, the oldest is taken from those
/// who have it, no sooner than after as many frames as there are slots, less one. A consumer finds that out by the slot's
/// generation, which it compares before and after it reads. When privacy mode begins, every slot is painted black.
///
/// Whoever may write to the socket's file may connect. It is made for its owner alone (mode 0600), in a folder in which
/// nobody else should be able to write.
pub struct RingSink {
    format: FrameFormat,
    memory: Memory,
    listener: Listener,
    consumers: Vec<Consumer>,
    /// What is in each slot; 0 before the first frame.
    generations: Vec<u64>,
    newest: u64,
    /// Frames that were lost.
    lost: Unsaid,
    /// Consumers that were sent away.
    refused: Unsaid,
    counters: RingCounters,
}

/// Counters of a [`RingSink`], readable from any thread while it runs, as of its last frame. Clones show the same figures.
#[derive(Clone, Debug, Default)]
pub struct RingCounters(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    consumers: AtomicUsize,
    held: AtomicUsize,
    lost: AtomicU64,
}

impl RingCounters {
    /// Consumers that are connected.
    pub fn consumers(&self) -> usize {
        self.0.consumers.load(Relaxed)
    }
    /// Frames that consumers have and have not released; one that several have counts for each.
    pub fn held(&self) -> usize {
        self.0.held.load(Relaxed)
    }
    /// Frames that a consumer did not get, because it had as many as it may, or left its messages unread; one that several
    /// did not get counts for each.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }
}

impl RingSink {
    /// The least and the most slots.
    pub const SLOTS: std::ops::RangeInclusive<usize> = 4..=16;

    /// Makes the memory, and listens at `path`; its folder must be there. A socket that was left behind is replaced. `slots`
    /// says how many frames the memory holds; each consumer may have two fewer unreleased. A slot takes memory when it is
    /// first used, and those that come first are used first.
    ///
    /// # Errors
    /// [`Error::Sink`] when `slots` is out of range; [`Error::Io`] when the memory cannot be made and sealed (it takes Linux
    /// 5.1 and /proc), or the path not be listened at: another program does, or what lies there is no socket.
    pub fn open(path: impl Into<PathBuf>, format: &FrameFormat, slots: usize) -> Result<RingSink> {
        let path = path.into();
        if !Self::SLOTS.contains(&slots) {
            let why = format!("a ring of {slots} slots: 4 to 16");
            return Err(SinkError::new(SinkKind::Unsupported, why).into());
        }
        let memory = Memory::new(slots, format.buffer_len());
        let memory =
            memory.map_err(|e| Error::io("making sealed memory (Linux 5.1 or later, and /proc)", e))?;
        let context = format!("listening at {}", path.display());
        let listener = Listener::new(path).map_err(|e| Error::io(context, e))?;
        Ok(RingSink {
            format: *format,
            memory,
            listener,
            consumers: Vec::with_capacity(MOST_CONSUMERS),
            generations: vec![0; slots],
            newest: 0,
            lost: Unsaid::default(),
            refused: Unsaid::default(),
            counters: RingCounters::default(),
        })
    }

    /// Counters that can be read while it runs.
    pub fn counters(&self) -> RingCounters {
        self.counters.clone()
    }

    /// Consumers that are connected, as of the last frame.
    pub fn consumers(&self) -> usize {
        self.consumers.len()
    }

    fn credit(&self) -> usize {
        self.generations.len() - ALWAYS_FREE
    }

    /// Lets in who has connected since the last frame. No more than find room, at a time too: the rest is sent away.
    fn welcome(&mut self) {
        let shape = wire::Shape {
            memory: self.memory.len(),
            slot: self.memory.slot_len(),
            slots: self.generations.len(),
            credit: self.credit(),
            pixels: PIXELS,
        };
        for _ in 0..MOST_CONSUMERS {
            let Some(socket) = self.listener.accept() else { return };
            if self.consumers.len() == MOST_CONSUMERS {
                self.refused.count += 1;
                return;
            }
            let hello = wire::hello(&shape, &self.format);
            if let Ok(c) = Consumer::greet(socket, &hello, self.memory.reading(), shape.credit) {
                self.consumers.push(c);
            }
        }
    }

    /// A slot that nobody holds; else the oldest.
    fn choose(&self) -> usize {
        let held = |generation| self.consumers.iter().any(|c| c.holds(generation));
        let slots = || self.generations.iter().enumerate();
        let free = slots().find(|(_, generation)| !held(**generation));
        free.or_else(|| slots().min_by_key(|(_, generation)| **generation)).map_or(0, |(slot, _)| slot)
    }

    /// The generation that a slot is now written with.
    fn renew(&mut self, slot: usize) -> u64 {
        self.newest += 2;
        self.generations[slot] = self.newest;
        self.newest
    }

    /// Writes a frame to a slot, and tells those who may have it.
    fn hand_over(&mut self, frame: &RedactedFrame, credit: usize) {
        let slot = self.choose();
        let generation = self.renew(slot);
        let (view, format) = (frame.view(), &self.format);
        self.memory.write(slot, generation, |pixels| {
            for (i, plane) in format.planes().iter().enumerate() {
                let from = view.plane(i);
                pixels[plane.offset..][..from.len()].copy_from_slice(from);
            }
        });
        let offset = slot * self.memory.slot_len();
        let lost = &self.counters.0.lost;
        self.consumers.retain_mut(|consumer| {
            if !consumer.has_credit(credit) {
                return true;
            }
            let stays = consumer.tell(generation, |lost| wire::frame(frame, slot, offset, generation, lost));
            if stays && !consumer.holds(generation) {
                lost.fetch_add(1, Relaxed);
            }
            stays
        });
    }

    fn count(&self) {
        let figures = &self.counters.0;
        figures.consumers.store(self.consumers.len(), Relaxed);
        figures.held.store(self.consumers.iter().map(Consumer::held).sum(), Relaxed);
    }

    fn say(&mut self) {
        let path = self.listener.path().display();
        if let Some(lost) = self.lost.take() {
            log::warn!("{path}: a consumer is too slow and lost {lost} frames");
        }
        // Whoever is sent away may come again with every frame.
        if let Some(refused) = self.refused.take() {
            log::warn!("{path}: {MOST_CONSUMERS} consumers are the most; sent away: {refused}");
        }
    }
}

/// What happened since it was said last.
#[derive(Default)]
struct Unsaid {
    count: u64,
    said: Seldom,
}

impl Unsaid {
    /// The count, if there is one and it is time to say it.
    fn take(&mut self) -> Option<u64> {
        if self.count == 0 || !self.said.due() {
            return None;
        }
        Some(std::mem::take(&mut self.count))
    }
}

impl FrameSink for RingSink {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        if *frame.format() != self.format {
            let path = self.listener.path().display();
            let why = format!("{path}: the frame has another format");
            return Err(SinkError::new(SinkKind::Format, why).about(path.to_string()).into());
        }
        self.consumers.retain_mut(Consumer::listen);
        self.welcome();
        let credit = self.credit();
        for consumer in self.consumers.iter_mut().filter(|c| !c.has_credit(credit)) {
            consumer.lose();
            self.lost.count += 1;
            self.counters.0.lost.fetch_add(1, Relaxed);
        }
        self.say();
        if self.consumers.iter().any(|c| c.has_credit(credit)) {
            self.hand_over(frame, credit);
        }
        self.count();
        Ok(())
    }

    fn forget(&mut self) {
        for slot in 0..self.generations.len() {
            if self.generations[slot] == 0 {
                continue;
            }
            let generation = self.renew(slot);
            let format = &self.format;
            self.memory.write(slot, generation, |pixels| {
                let pixels = &mut pixels[..format.buffer_len()];
                paint_whole(&mut ViewMut::new(format, pixels), Color::BLACK);
            });
        }
    }
}
