//! Pictures in somebody else's DMABUF, memory that a driver or another program shares by a descriptor. It is mapped for
//! reading alone, and what is read is copied into the pool at once; no descriptor and no address of it leave this file
//! but for [`v4l2`](super::v4l2)'s own buffers. All unsafe code for it. Linux.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::{fmt, io};

use rustix::fs::{SeekFrom, fstatfs, seek};
use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::error::{Error, Result, SourceError, SourceKind};
use crate::picture::{PlaneLayout, ViewMut};

/// The file systems that DMABUFs lie in: their own, and before Linux 5.3 that of files without a name.
const DMA_BUF_MAGIC: u32 = 0x444d_4142;
const ANON_INODE_FS_MAGIC: u32 = 0x0904_1934;

/// Flags of `DMA_BUF_IOCTL_SYNC`, and its request with the one number that it takes.
const READ_START: u64 = 1;
const READ_END: u64 = 1 | 4;
const SYNC: u32 = opcode::write::<u64>(b'b', 0) as u32;

/// A DMABUF of somebody else, mapped for reading until it is dropped.
///
/// Whoever exported it, and whoever else has a descriptor of it, can read and write it all the while: what is raw in it
/// is not this program's to hide. Frames are copied out of it and redacted in memory of their own, never in here.
pub struct Dmabuf {
    descriptor: Descriptor,
    start: NonNull<u8>,
}

// SAFETY: a mapping of this value's own; nothing about it belongs to a thread.
unsafe impl Send for Dmabuf {}
// SAFETY: a shared reference copies bytes out, and does no more.
unsafe impl Sync for Dmabuf {}

impl Dmabuf {
    /// Imports the DMABUF behind a descriptor, which stays the caller's and may be closed at once: a copy of it is
    /// kept, since each read has to be announced through one. Costs a mapping, so keep the result where a ring of
    /// buffers comes round.
    ///
    /// # Errors
    /// [`Error::Io`] when it is closed, no DMABUF, or one that cannot be mapped for reading. Nothing but a DMABUF is
    /// taken: its size is fixed for good, whereas a file or a memfd could be cut off by whoever holds it, and reading
    /// beyond its end would kill this program (SIGBUS).
    pub fn import(fd: impl AsFd) -> Result<Dmabuf> {
        let import = || {
            let descriptor = Descriptor::new(rustix::io::fcntl_dupfd_cloexec(fd, 0)?)?;
            // SAFETY: a new mapping at an address of the kernel's choice, so no other memory is touched.
            let start = unsafe {
                let fd = descriptor.as_fd();
                mmap(ptr::null_mut(), descriptor.len, ProtFlags::READ, MapFlags::SHARED, fd, 0)
            }?;
            let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(Dmabuf { descriptor, start })
        };
        let imported: Dmabuf = import().map_err(|e| Error::io("importing a DMABUF", e))?;
        // As for the pool's own pages; a forked program could not be given zeros here, so it gets nothing.
        for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
            // SAFETY: these two change nothing in this program, and the mapping is this value's alone.
            if let Err(error) = unsafe { madvise(imported.start.as_ptr().cast(), imported.size(), advice) } {
                log::debug!("memory of a DMABUF: {advice:?}: {error}");
            }
        }
        Ok(imported)
    }

    /// Its size in bytes, above 0.
    pub fn size(&self) -> usize {
        self.descriptor.len
    }
}

/// Says how large it is, and nothing of what is in it.
impl fmt::Debug for Dmabuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dmabuf").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Drop for Dmabuf {
    fn drop(&mut self) {
        // SAFETY: mapped in `import`; no address of it is left.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.size()) };
    }
}

/// Where the rows of one plane of a picture lie in a DMABUF. Planes may share one, at different offsets.
#[derive(Clone, Copy, Debug)]
pub struct DmabufPlane<'a> {
    /// The memory.
    pub buffer: &'a Dmabuf,
    /// Bytes from its start to the first row.
    pub offset: usize,
    /// Bytes from one row to the next, at least a row's.
    pub stride: usize,
}

impl DmabufPlane<'_> {
    /// Whether every row of a plane like `layout` lies within the DMABUF.
    ///
    /// # Errors
    /// [`Error::Source`], in words.
    pub fn check(&self, layout: &PlaneLayout) -> Result<()> {
        let DmabufPlane { buffer, offset, stride } = *self;
        end(layout, offset, stride, buffer.size()).map(|_| ()).map_err(damaged)
    }
}

/// Bytes from a buffer's start to the end of the last row; padding behind it need not exist. The error says why the
/// rows cannot lie in `len` bytes.
fn end(layout: &PlaneLayout, offset: usize, stride: usize, len: usize) -> Result<usize, String> {
    let row = layout.row_bytes();
    if stride < row {
        return Err(format!("the stride is {stride}, a row has {row} bytes"));
    }
    let last = (layout.height as usize).checked_sub(1).and_then(|last| last.checked_mul(stride));
    let end = last.and_then(|last| last.checked_add(row)?.checked_add(offset));
    match end {
        Some(end) if end <= len => Ok(end),
        Some(end) => Err(format!("the DMABUF has {len} bytes, the plane ends at {end}")),
        None => Err(format!("no memory holds rows {stride} bytes apart from byte {offset} on")),
    }
}

/// Copies a picture out of its DMABUFs. An error leaves `view` half-written.
pub(crate) fn copy(planes: &[DmabufPlane<'_>], view: &mut ViewMut<'_>) -> Result<()> {
    let layouts = view.format().planes();
    if planes.len() != layouts.len() {
        let (given, needed) = (planes.len(), layouts.len());
        return Err(damaged(format!("{given} planes were given, its format has {needed}")));
    }
    planes.iter().zip(layouts).try_for_each(|(plane, layout)| plane.check(layout))?;
    let first = |n: &usize| !planes[..*n].iter().any(|p| ptr::eq(p.buffer, planes[*n].buffer));
    let buffers = (0..planes.len()).filter(first).map(|n| &planes[n].buffer.descriptor);
    let copied = reading(buffers, || {
        for (n, plane) in planes.iter().enumerate() {
            for y in 0..layouts[n].height {
                let row = view.row_mut(n, y);
                // SAFETY: every row lies within the mapping ([`DmabufPlane::check`]), whose size is fixed, and a pool's
                // row is nobody else's. No reference to the mapping is made: its exporter may write to it meanwhile, by
                // mistake or malice, and then the copy is a mixture of two pictures and nothing worse.
                unsafe {
                    let from = plane.buffer.start.as_ptr().add(plane.offset + y as usize * plane.stride);
                    ptr::copy_nonoverlapping(from, row.as_mut_ptr(), row.len());
                }
            }
        }
    });
    copied.map_err(|e| {
        SourceError::new(SourceKind::Damaged, format!("its DMABUF cannot be read: {e}")).caused_by(e).into()
    })
}

fn damaged(why: String) -> Error {
    SourceError::new(SourceKind::Damaged, why).into()
}

/// Reads while the kernel keeps these DMABUFs readable: their writers are waited for, and what the processor's caches
/// hold of them is brought up to date. What was read is worth nothing when this fails.
pub(crate) fn reading<'a, T>(
    mut buffers: impl Iterator<Item = &'a Descriptor>,
    read: impl FnOnce() -> T,
) -> io::Result<T> {
    let Some(buffer) = buffers.next() else { return Ok(read()) };
    buffer.sync(READ_START)?;
    let result = reading(buffers, read);
    buffer.sync(READ_END)?;
    result
}

/// A descriptor of our own that was found to be a DMABUF's.
pub(crate) struct Descriptor {
    fd: OwnedFd,
    len: usize,
}

impl Descriptor {
    /// Takes a DMABUF's descriptor and refuses any other.
    pub fn new(fd: OwnedFd) -> io::Result<Descriptor> {
        let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        // Asked first: files of a user's own file system (FUSE) could answer to any request below.
        let magic = fstatfs(&fd)?.f_type as u32;
        let mut descriptor = Descriptor { fd, len: 0 };
        if ![DMA_BUF_MAGIC, ANON_INODE_FS_MAGIC].contains(&magic) || descriptor.sync(READ_START).is_err() {
            return refuse("it is no DMABUF");
        }
        descriptor.sync(READ_END)?;
        descriptor.len = usize::try_from(seek(&descriptor.fd, SeekFrom::End(0))?).unwrap_or(usize::MAX);
        if descriptor.len == 0 || descriptor.len > isize::MAX as usize {
            return refuse("it has no size that can be mapped");
        }
        Ok(descriptor)
    }

    /// Bytes behind it.
    #[cfg(feature = "v4l2")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// For a mapping of it.
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn sync(&self, flags: u64) -> io::Result<()> {
        loop {
            // SAFETY: the kernel reads the one number that this request takes; other files refuse it, or are no
            // DMABUFs.
            match unsafe { ioctl(&self.fd, Setter::<{ SYNC as _ }, u64>::new(flags)) } {
                Err(Errno::INTR | Errno::AGAIN) => {}
                result => return result.map_err(io::Error::from),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use rustix::fs::{MemfdFlags, SealFlags, ftruncate, memfd_create};

    use super::*;
    use crate::frame::{FrameMeta, FramePool};
    use crate::picture::{FrameFormat, PixelFormat};
    use crate::time::Timestamp;

    #[test]
    fn the_request_is_the_kernels() {
        assert_eq!(SYNC, 0x4008_6200);
    }

    /// Each of them could be mapped or answer to a request; none is of a size that is fixed for good, but for the
    /// sealed one.
    #[test]
    fn what_is_no_dmabuf_is_refused() {
        let memfd = || {
            let fd = memfd_create("picture", MemfdFlags::ALLOW_SEALING).unwrap();
            ftruncate(&fd, 1 << 16).unwrap();
            fd
        };
        let sealed = memfd();
        rustix::fs::fcntl_add_seals(&sealed, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let others: [(&str, OwnedFd); 8] = [
            ("a memfd", memfd()),
            ("a sealed memfd", sealed),
            ("a pipe", std::io::pipe().unwrap().0.into()),
            ("/dev/null", File::open("/dev/null").unwrap().into()),
            ("/dev/zero", File::open("/dev/zero").unwrap().into()),
            ("a file", tempfile::tempfile().unwrap().into()),
            ("a folder", File::open("/").unwrap().into()),
            // In the file system that DMABUFs were in once.
            ("an eventfd", event),
        ];
        for (what, fd) in others {
            match Dmabuf::import(&fd) {
                Err(Error::Io { source, .. }) => assert_eq!(source.to_string(), "it is no DMABUF", "{what}"),
                other => panic!("{what}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_picture_with_too_few_planes_is_refused() {
        let pool = FramePool::new(FrameFormat::new(PixelFormat::Nv12, 100, 60).unwrap(), 1);
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        let why = pool.fill(meta, |view| copy(&[], view)).unwrap_err().to_string();
        assert!(why.ends_with("0 planes were given, its format has 2"), "{why}");
    }

    #[test]
    fn planes_that_do_not_fit_are_refused_before_a_byte_is_read() {
        let format = FrameFormat::new(PixelFormat::Nv12, 100, 60).unwrap();
        let (luma, chroma) = (&format.planes()[0], &format.planes()[1]);
        assert_eq!(end(luma, 0, 100, 6000), Ok(6000));
        assert_eq!(
            end(luma, 0, 128, 59 * 128 + 100),
            Ok(59 * 128 + 100),
            "the last row's padding need not exist"
        );
        assert_eq!(end(chroma, 6000, 100, 9000), Ok(9000));
        let refused = |layout, offset, stride, len, why: &str| {
            let said = end(layout, offset, stride, len).unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        refused(luma, 0, 100, 5999, "has 5999 bytes, the plane ends at 6000");
        refused(luma, 1, 100, 6000, "ends at 6001");
        refused(chroma, 6000, 100, 8999, "ends at 9000");
        refused(luma, 0, 99, 1 << 20, "the stride is 99, a row has 100 bytes");
        refused(luma, 0, 0, 1 << 20, "the stride is 0");
        refused(luma, usize::MAX, 100, usize::MAX, "no memory");
        refused(luma, usize::MAX - 5999, 100, usize::MAX, "no memory");
        refused(luma, 0, usize::MAX / 2, usize::MAX, "no memory");
        refused(luma, 0, usize::MAX / 59, usize::MAX, "no memory");
        refused(luma, 1 << 40, 100, 6000, "ends at");
    }
}
