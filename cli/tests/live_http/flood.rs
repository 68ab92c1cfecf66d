//! Those without the token try to keep the owner from the privacy switch: by all connections, and as long as they like.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::camera::{LEFT_HALF, Live, TOKEN, token_file, wait};
use crate::client::{ask, request};
use crate::common::small;

/// The longest that the owner waits for privacy mode.
const BEARABLE: Duration = Duration::from_secs(2);
/// Connections that one attacker holds.
const HELD: usize = 300;

const HEAD: &str = "GET / HTTP/1.1\r\nHost: ";
const BODY: &str = "POST /privacy HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n{";
const WRONG: &str =
    "POST /login HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer wrong-wrong-wrong-wrong\r\n\r\n";
const STREAM: &str = "GET /stream.mjpg HTTP/1.1\r\nHost: {}\r\n\r\n";
const PAGE: &str = "GET / HTTP/1.1\r\nHost: {}\r\n\r\n";

/// One attack from one address and one from many, with connections that send this and then nothing.
#[track_caller]
fn withstands(live: &Live, sends: &[u8], pause: Duration) {
    let mut stream = TcpStream::connect(live.address).unwrap();
    let host = live.address;
    write!(stream, "GET /stream.mjpg HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
        .unwrap();
    stream.set_read_timeout(Some(crate::camera::PATIENCE)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let one = |_| Ipv4Addr::LOCALHOST;
        let many = |n: usize| Ipv4Addr::new(127, 0, (n / 250 % 250) as u8, (n % 250 + 2) as u8);
        for from in [one as fn(usize) -> Ipv4Addr, many] {
            let stop = &stop;
            scope.spawn(move || attack(live.address, from, sends, pause, stop));
        }
        // Until it has all that it wants to hold.
        std::thread::sleep(Duration::from_millis(500));
        let waits: Vec<Option<Duration>> = (0..30).map(|n| switch(live, n % 2 == 0)).collect();
        stop.store(true, Ordering::SeqCst);
        // A machine with more to do than its processors can is slower without an attack too, by as much.
        let bearable = BEARABLE.mul_f64(busy().max(1.0));
        let served = waits.iter().flatten().filter(|wait| **wait <= bearable).count();
        assert_eq!(served, 30, "of 30 requests of the owner were served; {waits:?}");
    });
    // What the owner looks at goes on as well.
    let mut picture = vec![0; 1 << 16];
    stream.read_exact(&mut picture).unwrap();
    wait("the owner's stream goes on", || (stream.read(&mut picture).unwrap() > 0).then_some(()));
}

/// How many programs want each processor, of the last minute.
fn busy() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let load: f64 = load.split(' ').next().unwrap().parse().unwrap();
    load / std::thread::available_parallelism().unwrap().get() as f64
}

/// How long the owner's request took, over a connection of its own, or over another one if that was cut off before its head
/// was read; `None` when both failed.
fn switch(live: &Live, on: bool) -> Option<Duration> {
    let begun = Instant::now();
    (switched(live, on) || switched(live, on)).then(|| begun.elapsed())
}

fn switched(live: &Live, on: bool) -> bool {
    let body = format!("{{\"on\":{on}}}");
    let text = format!(
        "POST /privacy HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        live.address,
        body.len()
    );
    ask(live.address, text.as_bytes()).is_some_and(|answer| answer.status == 200)
}

fn attack(to: SocketAddr, from: fn(usize) -> Ipv4Addr, sends: &[u8], pause: Duration, stop: &AtomicBool) {
    let mut held = VecDeque::new();
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        if let Some(stream) = connect_from(from(n), to) {
            stream.set_nonblocking(true).unwrap();
            let _ = (&stream).write(sends);
            held.push_back(stream);
        }
        if held.len() > HELD {
            held.pop_front();
        }
        std::thread::sleep(pause);
    }
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    bind(&socket, &SocketAddrV4::new(from, 0)).ok()?;
    connect(&socket, &to).ok()?;
    Some(socket.into())
}

fn with_pipeline() -> Live {
    let live = Live::with_token("127.0.0.1:0");
    wait("the pipeline runs", || switch(&live, true));
    live
}

#[test]
fn half_sent_heads_do_not_keep_the_owner_out() {
    withstands(&with_pipeline(), HEAD.as_bytes(), Duration::from_millis(2));
}

#[test]
fn connections_that_say_nothing_or_noise_do_not_keep_the_owner_out() {
    let live = with_pipeline();
    withstands(&live, b"", Duration::from_millis(2));
    withstands(&live, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Duration::from_millis(2));
}

#[test]
fn slow_bodies_and_wrong_tokens_do_not_keep_the_owner_out() {
    let live = with_pipeline();
    for text in [BODY, WRONG] {
        withstands(&live, text.replace("{}", &live.address.to_string()).as_bytes(), Duration::from_millis(2));
    }
}

#[test]
fn those_who_never_read_do_not_keep_the_owner_out() {
    let live = with_pipeline();
    for text in [STREAM.to_owned(), PAGE.repeat(200)] {
        withstands(&live, text.replace("{}", &live.address.to_string()).as_bytes(), Duration::from_millis(2));
    }
}

#[test]
fn a_storm_of_connections_does_not_keep_the_owner_out() {
    withstands(&with_pipeline(), HEAD.as_bytes(), Duration::ZERO);
}

#[test]
fn one_address_holds_64_connections_and_no_more() {
    let live = with_pipeline();
    let held: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(live.address).unwrap();
            write!(stream, "GET /stat").unwrap();
            stream
        })
        .collect();
    let ended = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        match stream.read(&mut [0]) {
            Ok(n) => n == 0,
            Err(e) => e.kind() != std::io::ErrorKind::WouldBlock,
        }
    };
    wait("those above 64 are sent away", || (held.iter().filter(|s| ended(s)).count() >= 36).then_some(()));
    assert!(ended(&held[0]), "whoever waited longest goes first");
    // Long before anybody would be let go who takes nothing.
    wait("no head takes longer than 2 s", || held.iter().all(ended).then_some(()));
}

#[test]
fn behind_a_proxy_everybody_needs_the_token_and_is_counted_by_the_proxys_word() {
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(folder.path(), TOKEN);
    let more = ["--token-file", file.to_str().unwrap(), "--trusted-proxy", "127.0.0.1"];
    let live = Live::of(&small(), "127.0.0.1:0", &[&LEFT_HALF[..], &more].concat());
    let bearer = format!("Bearer {TOKEN}");
    let of = |address: &'static str| ("X-Forwarded-For", address);
    let status = |headers: &[(&str, &str)]| request(live.address, "GET", "/status", headers, "").status;
    assert_eq!(status(&[of("192.0.2.7")]), 401);
    assert_eq!(status(&[of("192.0.2.7"), ("Authorization", &bearer)]), 200);
    assert_eq!(status(&[("Authorization", &bearer)]), 200);
    wait("the pipeline runs", || switch(&live, true));
    // All connections come from one address, and behind them is one client with many, who says that he is somebody else.
    let head = "GET / HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 198.51.100.1, 192.0.2.66\r\n\r\n";
    let head = head.repeat(200).replace("{}", &live.address.to_string());
    withstands(&live, head.as_bytes(), Duration::from_millis(2));
    withstands(&live, HEAD.as_bytes(), Duration::from_millis(2));
}
