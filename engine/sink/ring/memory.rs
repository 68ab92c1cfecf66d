//! The memory of a ring: made for it, sealed, writable through the one mapping that was there before it was sealed. All
//! unsafe code of a ring.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// Bytes from a slot's start to its pixels: the generation, and zeros up to the alignment of rows.
pub const PIXELS: usize = 64;
/// Slots start at multiples of this.
const PAGE: usize = 4096;

/// Slots that other programs may look into and nobody but us can write. It never held anything but redacted pictures (I8).
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
    slot: usize,
    /// What consumers are given: opened for reading.
    reading: OwnedFd,
}

// SAFETY: plain memory, owned by this value; nothing about it belongs to a thread.
unsafe impl Send for Memory {}

impl Memory {
    /// `count` slots for pictures of `len` bytes. Needs Linux 5.1 and /proc.
    pub fn new(count: usize, len: usize) -> io::Result<Memory> {
        let slot = (PIXELS + len).next_multiple_of(PAGE);
        let len = slot.checked_mul(count).ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Before Linux 6.3 there is no sealing against execution.
        let fd = match rustix::fs::memfd_create("milkglass", flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => rustix::fs::memfd_create("milkglass", flags),
            made => made,
        }?;
        rustix::fs::ftruncate(&fd, len as u64)?;
        let reading = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let reading = rustix::fs::open(reading, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice, so no other memory is touched.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, fd.as_fd(), 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let memory = Memory { start, len, slot, reading };
        // Whoever has a descriptor can open it anew for writing, so it is the seal that forbids it, for everybody, us
        // included. The mapping above is older.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals)?;
        Ok(memory)
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes from one slot to the next.
    pub fn slot_len(&self) -> usize {
        self.slot
    }

    /// What consumers are given.
    pub fn reading(&self) -> BorrowedFd<'_> {
        self.reading.as_fd()
    }

    /// Has `paint` write a slot's pixels. The slot's generation is odd meanwhile, and `generation` (an even number, never
    /// used before) afterwards, so that who has read it meanwhile finds out.
    pub fn write(&mut self, slot: usize, generation: u64, paint: impl FnOnce(&mut [u8])) {
        let first = slot * self.slot;
        assert!(first + self.slot <= self.len, "no such slot");
        // SAFETY: `start` maps `len` bytes until drop, and the slot lies within (just checked). A slot starts with its
        // generation, at a multiple of a page; that is reached in this way alone. No other process can write, and `&mut
        // self` keeps our own threads off, so what follows the generation is ours alone to change.
        let (current, pixels) = unsafe {
            let first = self.start.as_ptr().add(first);
            let pixels = std::slice::from_raw_parts_mut(first.add(PIXELS), self.slot - PIXELS);
            (AtomicU64::from_ptr(first.cast()), pixels)
        };
        current.store((generation - 1).to_le(), Ordering::Relaxed);
        fence(Ordering::Release);
        paint(pixels);
        current.store(generation.to_le(), Ordering::Release);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and every borrow of it has ended.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_odd_while_its_slot_is_written_and_slots_do_not_touch() {
        let mut memory = Memory::new(3, 100).unwrap();
        let reading = memory.reading().try_clone_to_owned().unwrap();
        let read = |at: usize, len: usize| {
            let mut bytes = vec![0; len];
            rustix::io::pread(&reading, &mut bytes[..], at as u64).unwrap();
            bytes
        };
        let (slot, len) = (memory.slot_len(), memory.len());
        assert!(slot >= PIXELS + 100 && len == 3 * slot);
        memory.write(1, 6, |pixels| {
            assert_eq!(read(slot, 8), 5u64.to_le_bytes());
            pixels.fill(9);
        });
        assert_eq!(read(slot, 8), 6u64.to_le_bytes());
        let all = read(0, len);
        assert!(all[..slot].iter().chain(&all[2 * slot..]).all(|v| *v == 0));
        assert!(all[slot + 8..][..PIXELS - 8].iter().all(|v| *v == 0));
        assert!(all[slot + PIXELS..2 * slot].iter().all(|v| *v == 9));
    }
}
