//! Slow, many and broken clients: nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::camera::{Live, TOKEN, wait};
use crate::client::{Pictures, ask, connect, fetch, is_blank, left_half_is_hidden, request};

#[test]
fn a_client_that_never_reads_stalls_nobody_and_is_let_go() {
    let live = Live::start(&[]);
    let mut lazy = lazy_viewer(&live);
    let mut pictures = Pictures::of(live.address).flatten();
    let mut seen = 0;
    // Until long after the lazy one's buffers are full. Ten seconds later it is let go: the streams tell.
    wait("the lazy client is let go", || {
        left_half_is_hidden(&pictures.next().unwrap());
        seen += 1;
        (metric(&live, "milkglass_http_streams") == 1.0).then_some(())
    });
    assert!(seen > 20, "{seen} pictures");
    assert!(ends(&mut lazy), "the lazy client was not let go");
}

#[test]
fn what_waits_for_a_slow_client_is_forgotten_in_privacy_mode() {
    let live = Live::with_token("127.0.0.1:0");
    let mut lazy = lazy_viewer(&live);
    let opened = Instant::now();
    let mut pictures = Pictures::of(live.address).flatten();
    wait("the lazy client is behind", || {
        pictures.next();
        // More than the buffers of both ends hold.
        (metric(&live, "milkglass_frames_total{outcome=\"covered\"}") > 100.0).then_some(())
    });
    let bearer = format!("Bearer {TOKEN}");
    let on = request(live.address, "POST", "/privacy", &[("Authorization", &bearer)], "{\"on\":true}");
    assert_eq!(on.status, 200);
    let confirmed = opened.elapsed();
    assert!(pictures.any(|picture| is_blank(&picture)));
    wait("the lazy client is let go", || (metric(&live, "milkglass_http_streams") == 1.0).then_some(()));
    // Ten seconds of taking nothing would have ended it too. It was not that, unless the machine crawls.
    let elapsed = opened.elapsed();
    assert!(confirmed > Duration::from_secs(6) || elapsed < Duration::from_secs(10), "{elapsed:?}");
    assert!(ends(&mut lazy));
}

#[test]
fn many_connections_cost_little_memory_and_do_not_lock_out_for_long() {
    let live = Live::start(&[]);
    let mut pictures = Pictures::of(live.address).flatten();
    left_half_is_hidden(&pictures.next().unwrap());
    let before = live.memory();
    let crowd: Vec<TcpStream> = (0..300)
        .map(|i| {
            let mut stream = TcpStream::connect(live.address).unwrap();
            if i % 2 == 0 {
                let _ = write!(stream, "GET /stream.mjpg HTTP/1.1\r\nHost: {}\r\n\r\n", live.address);
            }
            stream
        })
        .collect();
    for _ in 0..50 {
        left_half_is_hidden(&pictures.next().unwrap());
    }
    let grown = live.memory().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB for 300 connections");
    drop(crowd);
    wait("there is room again", || {
        ask(
            live.address,
            format!("GET /status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", live.address).as_bytes(),
        )
        .filter(|answer| answer.status == 200)
    });
}

#[test]
fn streams_are_limited_so_that_the_page_has_room() {
    let live = Live::start(&[]);
    let streams: Vec<Pictures> = (0..16).map(|_| Pictures::of(live.address)).collect();
    let refused = fetch(live.address, "/stream.mjpg");
    assert!(refused.status == 503 && refused.text().contains("16 streams"), "{refused:?}");
    // On a busy machine the first picture comes after all these clients.
    wait("a still beside them", || (fetch(live.address, "/snapshot.jpg").status == 200).then_some(()));
    drop(streams);
    wait("a stream is free", || (metric(&live, "milkglass_http_streams") == 0.0).then_some(()));
    assert!(Pictures::of(live.address).flatten().next().is_some());
}

#[test]
fn rubbish_is_refused_and_hurts_nobody() {
    let live = Live::start(&[]);
    let host = format!("Host: {}\r\n", live.address);
    let long = format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(5000));
    let noise: Vec<u8> = (0..20_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let rubbish: [&[u8]; 10] = [
        b"\r\n\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /privacy HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /privacy HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        long.as_bytes(),
        many.as_bytes(),
        &noise,
    ];
    for bytes in rubbish {
        // Closed for sending, so that an unfinished request ends as well.
        let mut stream = connect(live.address);
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
        assert_eq!(fetch(live.address, "/status").status, 200);
    }
    for path in ["/../../etc/passwd", "/%2e%2e/x", "/stream.mjpg/", "//", "/%00", "/?x=/snapshot.jpg"] {
        let status = fetch(live.address, path).status;
        assert_eq!(status, if path.starts_with("/?") { 200 } else { 404 }, "{path}");
    }
}

#[test]
fn a_request_that_never_ends_is_cut_off() {
    let live = Live::with_token("127.0.0.1:0");
    let mut silent = connect(live.address);
    let mut dripping = connect(live.address);
    let mut unfinished = connect(live.address);
    let head =
        format!("POST /privacy HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n", live.address);
    write!(unfinished, "{head}Content-Length: 12\r\n\r\n{{\"on\"").unwrap();
    let mut answer = [0; 12];
    unfinished.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    assert!(ends(&mut silent), "a silent connection stays");
    dripping.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    dripping.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    wait("the dripping client is cut off", || {
        let dripped = dripping.write_all(b"A: b\r\n");
        let mut byte = [0];
        (dripped.is_err() || matches!(dripping.read(&mut byte), Ok(0))).then_some(())
    });
}

/// Asks for the stream and never reads it; its receive buffer is filled in no time.
fn lazy_viewer(live: &Live) -> TcpStream {
    let mut lazy = connect(live.address);
    rustix::net::sockopt::set_socket_recv_buffer_size(&lazy, 4096).unwrap();
    write!(lazy, "GET /stream.mjpg HTTP/1.1\r\nHost: {}\r\n\r\n", live.address).unwrap();
    wait("the stream is open", || (metric(live, "milkglass_http_streams") >= 1.0).then_some(()));
    lazy
}

/// Reads to the end of a connection, however it ends.
fn ends(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 65536];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

fn metric(live: &Live, name: &str) -> f64 {
    let metrics = fetch(live.address, "/metrics");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}
