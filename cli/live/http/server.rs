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
use tokio::task::{JoinSet, yield_now};
use tokio::time::{interval, sleep, timeout};

use super::hub::Hub;
use super::places::{Places, Visit};
use super::routes::{self, Site};
use super::socket::{Blocked, Socket};

/// Connections that wait to be accepted: a burst of them must not fill it, or the owner's is not heard.
const BACKLOG: u32 = 1024;
/// Time for the lines that head a request, and for keeping an idle connection.
const HEAD: Duration = Duration::from_secs(2);
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
            socket.listen(BACKLOG)
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
    let places = Arc::new(Places::new(&site.proxies));
    let router = routes::router(site);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = hub.ended() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Ok(local) = stream.local_addr() {
                    let visit = places.enter(peer, local);
                    connections.spawn(connection(stream, router.clone(), Arc::clone(&hub), visit));
                }
                // However many wait to be accepted: what this one has sent already is read first.
                yield_now().await;
            }
            // Out of descriptors, most likely: some will be free again.
            Err(e) => {
                log::debug!("a connection was not accepted: {e}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Everybody hears of the end; who does not take it in is cut off.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, router: Router, hub: Arc<Hub>, visit: Visit) {
    let visit = Arc::new(visit);
    // A picture's last bytes must not wait for an acknowledgement of its first ones.
    let _ = stream.set_nodelay(true);
    let blocked = Blocked::default();
    let socket = TokioIo::new(Socket::new(stream, blocked.clone()));
    let service = TowerToHyperService::new(router.layer(Extension(Arc::clone(&visit))));
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
            () = visit.sent_away() => return,
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
