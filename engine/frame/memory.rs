//! The memory of raw pictures: pages of its own, so that the kernel can be told to leave them out of core dumps and of
//! programs that this one forks, and to keep them out of swap. All unsafe code of the pool.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mlock, mmap_anonymous, munmap};

/// Zeroed bytes that start a page.
pub(super) struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory, owned by this value; nothing about it belongs to a thread.
unsafe impl Send for Memory {}
// SAFETY: a shared reference gives out `&[u8]` alone.
unsafe impl Sync for Memory {}

impl Memory {
    /// `len` bytes; like any allocation, ends the program when there is no memory.
    pub fn new(len: usize) -> Memory {
        if len == 0 {
            return Memory::default();
        }
        // SAFETY: a new mapping at an address of the kernel's choice, so no other memory is touched.
        let mapped = unsafe {
            mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let Some(start) = mapped.ok().and_then(|start| NonNull::new(start.cast())) else {
            handle_alloc_error(Layout::from_size_align(len, 1).unwrap_or(Layout::new::<u8>()))
        };
        let memory = Memory { start, len };
        memory.keep_to_this_program();
        memory
    }

    /// Not in core dumps; zeros in a forked program. Kernels before 4.14 know the first alone.
    fn keep_to_this_program(&self) {
        #[cfg(target_os = "linux")]
        for advice in [rustix::mm::Advice::LinuxDontDump, rustix::mm::Advice::LinuxWipeOnFork] {
            // SAFETY: these two change nothing in this program, and the pages are this value's alone.
            if let Err(error) = unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.len, advice) } {
                log::debug!("memory of frames: {advice:?}: {error}");
            }
        }
    }

    /// Keeps it out of swap until it is dropped.
    pub fn lock(&self) -> io::Result<()> {
        // SAFETY: only the kernel's bookkeeping of this value's own pages changes.
        unsafe { mlock(self.start.as_ptr().cast(), self.len) }.map_err(io::Error::from)
    }
}

/// No bytes.
impl Default for Memory {
    fn default() -> Memory {
        Memory { start: NonNull::dangling(), len: 0 }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` are mapped, zeroed at first, until drop (or `len` is 0); whoever could write them
        // needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` keeps everybody else off.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: mapped in `new`, and every borrow of it has ended.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel knows of the mapping that holds an address: two letters for each flag.
    #[cfg(target_os = "linux")]
    fn flags(at: *const u8) -> Option<String> {
        let at = at as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let (mut ours, bound) = (false, |text: &str| usize::from_str_radix(text, 16).ok());
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range.and_then(|(from, to)| bound(from).zip(bound(to))) {
                ours = (from..to).contains(&at);
            } else if let (true, Some(flags)) = (ours, line.strip_prefix("VmFlags:")) {
                return Some(flags.to_owned());
            }
        }
        None
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn pages_of_frames_are_left_out_of_dumps_and_forks_and_locked_when_asked() {
        let memory = Memory::new(100_000);
        assert!(memory.as_ptr().addr().is_multiple_of(4096) && memory.iter().all(|v| *v == 0));
        let Some(before) = flags(memory.as_ptr()) else {
            #[allow(clippy::print_stderr, reason = "says why nothing was tested")]
            return eprintln!("skipped: this kernel does not tell the flags of memory");
        };
        assert!(before.contains(" dd") && before.contains(" wf") && !before.contains(" lo"), "{before}");
        if let Err(why) = memory.lock() {
            #[allow(clippy::print_stderr, reason = "says why the rest was not tested")]
            return eprintln!("not locked: {why}");
        }
        let after = flags(memory.as_ptr()).unwrap();
        assert!(after.contains(" dd") && after.contains(" lo"), "{after}");
    }

    #[test]
    fn nothing_is_nothing() {
        let mut nothing = Memory::new(0);
        assert!(nothing.is_empty() && nothing.first_mut().is_none());
    }
}
