//! The socket of a ring, and those who are connected to it. Nothing here waits.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, Stat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use super::wire;

/// Connections that wait to be let in.
const BACKLOG: i32 = 16;
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Waits for consumers at a path; the file goes with it.
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// The file that was made here; another one in its place is somebody else's.
    file: (u64, u64),
}

impl Listener {
    /// Makes the socket's file, for its owner alone. One that was left behind is replaced.
    pub fn new(path: PathBuf) -> io::Result<Listener> {
        let address = SocketAddrUnix::new(&path)?;
        let socket = seqpacket()?;
        match rustix::net::bind(&socket, &address) {
            Err(Errno::ADDRINUSE) => {
                is_left_behind(&path, &address)?;
                rustix::fs::unlink(&path)?;
                rustix::net::bind(&socket, &address)?;
            }
            bound => bound?,
        }
        let file = identity(&rustix::fs::lstat(&path)?);
        let listener = Listener { socket, path, file };
        // Nobody can connect before it listens.
        rustix::fs::chmod(&listener.path, Mode::RUSR | Mode::WUSR)?;
        rustix::net::listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// The next who wants to be let in, if any.
    pub fn accept(&self) -> Option<OwnedFd> {
        rustix::net::accept_with(&self.socket, FLAGS).ok()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if rustix::fs::lstat(&self.path).is_ok_and(|found| identity(&found) == self.file) {
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

fn seqpacket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)
}

fn identity(file: &Stat) -> (u64, u64) {
    (file.st_dev, file.st_ino)
}

/// Whether what lies at the path is a socket that nobody listens at; the error says what it is instead.
fn is_left_behind(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    if !FileType::from_raw_mode(rustix::fs::lstat(path)?.st_mode).is_socket() {
        return Err(io::Error::other(
            "a file that is no socket lies there; move it away, or name another path",
        ));
    }
    match rustix::net::connect(seqpacket()?, address) {
        Err(Errno::CONNREFUSED) => Ok(()),
        Err(Errno::AGAIN | Errno::PROTOTYPE) | Ok(()) => {
            Err(io::Error::other("another program listens there; end it, or name another path"))
        }
        Err(e) => Err(e.into()),
    }
}

/// Somebody who is connected.
pub struct Consumer {
    socket: OwnedFd,
    /// Generations of the frames that were sent and not released.
    held: Vec<u64>,
    /// Frames that it did not get since the last that it got.
    lost: u32,
}

impl Consumer {
    /// Greets whoever has connected, and sends the descriptor. Fails for those who have gone again.
    pub fn greet(
        socket: OwnedFd,
        hello: &[u8],
        memory: BorrowedFd<'_>,
        credit: usize,
    ) -> io::Result<Consumer> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let rights = [memory];
        if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::net::sendmsg(&socket, &[IoSlice::new(hello)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(Consumer { socket, held: Vec::with_capacity(credit), lost: 0 })
    }

    /// Takes back what it has released. False when it has gone, or says what no consumer says.
    pub fn listen(&mut self) -> bool {
        // A byte more, so that a longer message is told from a release. Each turn but the last takes one from `held`, so it
        // ends, however much is sent.
        let mut message = [0; wire::RELEASE + 1];
        loop {
            match rustix::net::recv(&self.socket, &mut message[..], RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
                Ok((_, len)) => {
                    let generation = message.get(..len).and_then(wire::released);
                    match generation.and_then(|g| self.held.iter().position(|held| *held == g)) {
                        Some(at) => self.held.swap_remove(at),
                        None => return false,
                    };
                }
            }
        }
    }

    /// Whether it may have another frame.
    pub fn has_credit(&self, credit: usize) -> bool {
        self.held.len() < credit
    }

    /// Whether it has this frame and has not released it.
    pub fn holds(&self, generation: u64) -> bool {
        self.held.contains(&generation)
    }

    /// How many frames it has and has not released.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// A frame passes it by.
    pub fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// Sends a message made for so many lost frames. False when it has gone; one who has no room loses the frame.
    pub fn tell(&mut self, generation: u64, message: impl FnOnce(u32) -> [u8; wire::FRAME]) -> bool {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(&self.socket, &message(self.lost), flags) {
            Ok(_) => {
                self.lost = 0;
                self.held.push(generation);
                true
            }
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR) => {
                self.lose();
                true
            }
            Err(_) => false,
        }
    }
}
