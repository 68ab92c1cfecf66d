//! Listens and serves, on one thread. Everything that a client could make grow is bounded.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{interval, sleep, timeout};

use super::hub::Hub;
use super::routes::{self, Site};
use super::socket::{Blocked, Socket};

/// Connections at a time.
const MOST_CONNECTIONS: u32 = 64;
/// Time for the lines that head a request, and for keeping an idle connection.
const HEAD: Duration = Duration::from_secs(5);
/// Bytes of a request's head, and of what waits for a client in here.
const BUFFER: usize = 16 << 10;
/// Bytes that the system may keep for a client: what lies there cannot be forgotten.
const SYSTEM_BUFFER: u32 = 128 << 10;
/// A client that takes nothing for so long is let go.
const STALLED: Duration = Duration::from_secs(10);
/// The same, when what waits for it has had to be forgotten.
const STALLED_FORGOTTEN: Duration = Duration::from_millis(250);
/// Time for streams to end when the pipeline does.
const GRACE: Duration = Duration::from_millis(300);

/// Listens at the first of `addresses` that it can, tells which or why not, and serves until the hub ends.
pub fn run(site: Site, addresses: &[SocketAddr], bound: &Sender<Result<SocketAddr, String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            let _ = bound.send(Err(e.to_string()));
            return;
        }
    };
    runtime.block_on(async {
        let listened = listen(addresses).and_then(|l| Ok((l.local_addr()?, l)));
        // The receiver waits for this, so sending cannot fail.
        match listened {
            Ok((local, listener)) => {
                let _ = bound.send(Ok(local));
                serve(site, &listener).await;
            }
            Err(e) => {
                let _ = bound
                    .send(Err(format!("{e}; end what listens there, or choose another port or address")));
            }
        }
    });
    // A change of privacy mode that is under way is not waited for: the pipeline is ending.
    runtime.shutdown_timeout(GRACE);
}

fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let listen = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            // Accepted connections inherit it.
            socket.set_send_buffer_size(SYSTEM_BUFFER)?;
            socket.bind(*address)?;
            socket.listen(MOST_CONNECTIONS)
        };
        match listen() {
            Ok(listener) => return Ok(listener),
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn serve(site: Site, listener: &TcpListener) {
    let hub = Arc::clone(&site.hub);
    let router = routes::router(site);
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS as usize));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hub.ended() => break,
        };
        match (accepted, Arc::clone(&connections).try_acquire_owned()) {
            (Ok((stream, _)), Ok(permit)) => {
                tokio::spawn(connection(stream, router.clone(), Arc::clone(&hub), permit));
            }
            (Ok((stream, _)), Err(_)) => {
                // Whoever has one of the 64 can go on; this one hears why, if it is quick.
                let _ = stream.try_write(
                    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                );
            }
            // Out of descriptors, most likely: some will be free again.
            (Err(e), _) => {
                log::debug!("a connection was not accepted: {e}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Everybody hears of the end; who does not take it in is cut off.
    let _ = timeout(GRACE, connections.acquire_many(MOST_CONNECTIONS)).await;
}

async fn connection(stream: TcpStream, router: Router, hub: Arc<Hub>, _permit: OwnedSemaphorePermit) {
    let Ok(local) = stream.local_addr() else { return };
    // A picture's last bytes must not wait for an acknowledgement of its first ones.
    let _ = stream.set_nodelay(true);
    let blocked = Blocked::default();
    let socket = TokioIo::new(Socket::new(stream, blocked.clone()));
    let service = TowerToHyperService::new(router.layer(Extension(local)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(socket, service);
    let mut connection = pin!(connection);
    let mut ended = pin!(hub.ended());
    let mut ending = false;
    let mut look = interval(STALLED_FORGOTTEN);
    loop {
        tokio::select! {
            // Rubbish, a client that left, an end that came too early: none of it is our trouble.
            _ = connection.as_mut() => return,
            () = &mut ended, if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = look.tick() => if blocked.since().is_some_and(|since| is_hopeless(since, hub.forgot())) {
                return;
            }
        }
    }
}

/// Whether a client that has taken nothing since then is let go.
fn is_hopeless(since: Instant, forgot: Option<Instant>) -> bool {
    let outdated = forgot.is_some_and(|at| since <= at && at.elapsed() >= STALLED_FORGOTTEN);
    outdated || since.elapsed() >= STALLED
}
