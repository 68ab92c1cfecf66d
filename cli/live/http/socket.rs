//! A client's connection that knows whether its other end takes what it is given.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Since when a connection has taken nothing of what waits for it.
#[derive(Clone, Default)]
pub struct Blocked(Arc<Mutex<Option<Instant>>>);

impl Blocked {
    /// `None`: it has taken everything.
    pub fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(&self, poll: Poll<T>) -> Poll<T> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = if poll.is_pending() { since.or_else(|| Some(Instant::now())) } else { None };
        poll
    }
}

/// A TCP connection that keeps its [`Blocked`] up to date. Given up while it blocks, it discards what waits in the system.
pub struct Socket {
    stream: TcpStream,
    blocked: Blocked,
}

impl Socket {
    pub fn new(stream: TcpStream, blocked: Blocked) -> Socket {
        Socket { stream, blocked }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.blocked.since().is_some() {
            // Fails only for a connection that is gone.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.blocked.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.blocked.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
