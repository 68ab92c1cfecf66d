//! `milkglass live --to ring:...` with the consumer of examples/: what it writes is what another target got.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SIZE: (usize, usize) = (64, 48);
const FRAME: usize = SIZE.0 * SIZE.1 * 3 / 2;
/// No frame that is filmed has this value in luma.
const BLACK: u8 = 16;
const LONG: Duration = Duration::from_secs(60);

#[track_caller]
fn until(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < LONG, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kill(child: &Child, signal: &str) {
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
}

/// Every frame another one, until nobody reads.
fn film(mut into: impl Write + Send + 'static) {
    std::thread::spawn(move || {
        let _ = into.write_all(b"YUV4MPEG2 W64 H48 F50:1 Ip A1:1 C420\n");
        for n in 0usize.. {
            let mut frame = b"FRAME\n".to_vec();
            frame.extend((0..FRAME).map(|at| 30 + ((at * (n % 90 + 7) + n) % 200) as u8));
            if into.write_all(&frame).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

/// The consumer, with its output in `NAME.raw` and what it says in `NAME.log`.
fn consumer(program: &Path, dir: &Path, name: &str) -> Child {
    let file = |suffix: &str| File::create(dir.join(format!("{name}.{suffix}"))).unwrap();
    let mut command = Command::new(program);
    command.arg("cam.sock").current_dir(dir).stdout(file("raw")).stderr(file("log")).spawn().unwrap()
}

#[test]
fn a_ring_hands_over_what_every_target_gets_and_privacy_mode_too() {
    let dir = TempDir::new().unwrap();
    let program = dir.path().join("consumer");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"]).arg("-o").arg(&program);
    gcc.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ring_consumer.c"));
    assert!(gcc.status().unwrap().success());

    let mut live = common::milkglass()
        .args(["live", "--from", "-", "--state-dir", "state", "--to", "-", "--to", "ring:cam.sock"])
        .args(["--faces", "off", "--zone", "left:0,0;0.5,0;0.5,1;0,1"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(dir.path().join("live.log")).unwrap())
        .spawn()
        .unwrap();
    film(live.stdin.take().unwrap());
    let mut stdout = live.stdout.take().unwrap();
    let y4m = std::thread::spawn(move || {
        let mut all = Vec::new();
        stdout.read_to_end(&mut all).map(|_| all)
    });
    let said = |name: &str| fs::read_to_string(dir.path().join(format!("{name}.log"))).unwrap();
    let frames = |name: &str, outcome: &str| said(name).lines().filter(|line| line.contains(outcome)).count();

    until("the socket", || dir.path().join("cam.sock").exists());
    let mut honest = consumer(&program, dir.path(), "honest");
    let mut killed = consumer(&program, dir.path(), "killed");
    let mut stopped = consumer(&program, dir.path(), "stopped");
    until("frames", || ["honest", "killed", "stopped"].iter().all(|name| frames(name, "covered") > 5));
    kill(&killed, "KILL");
    kill(&stopped, "STOP");
    killed.wait().unwrap();
    let so_far = frames("honest", "covered");
    until("frames after one died", || frames("honest", "covered") > so_far + 20);
    kill(&live, "USR1");
    until("privacy mode", || said("live").contains("privacy mode is on"));
    until("obscured frames", || frames("honest", "obscured") > 10);
    kill(&live, "TERM");
    assert_eq!(live.wait().unwrap().code(), Some(0), "{}", said("live"));
    assert!(honest.wait().unwrap().success(), "{}", said("honest"));
    assert!(!dir.path().join("cam.sock").exists());

    // Frame by frame, sample by sample, in order.
    let y4m = y4m.join().unwrap().unwrap();
    let header = y4m.iter().position(|b| *b == b'\n').unwrap() + 1;
    let mut others = y4m[header..].chunks_exact(6 + FRAME).map(|frame| &frame[6..]);
    let raw = fs::read(dir.path().join("honest.raw")).unwrap();
    let (mut visible, mut blank) = (0, 0);
    for frame in raw.chunks(FRAME) {
        assert!(others.any(|other| other == frame), "no such frame left by the other target");
        let luma = || frame[..SIZE.0 * SIZE.1].chunks_exact(SIZE.0);
        assert!(luma().all(|row| row[..SIZE.0 / 2].iter().all(|v| *v == BLACK)), "the zone is visible");
        match luma().flatten().all(|v| *v == BLACK) {
            true => blank += 1,
            false => {
                assert_eq!(blank, 0, "visible again in privacy mode");
                visible += 1;
            }
        }
    }
    assert!(visible > 20 && blank > 10, "{visible} visible and {blank} blank frames");

    // The one that slept through privacy mode: nothing that was taken back is told apart as whole.
    kill(&stopped, "CONT");
    assert!(stopped.wait().unwrap().success(), "{}", said("stopped"));
    let late = said("stopped");
    assert!(late.lines().any(|line| line.contains("taken back")), "{late}");
    assert_eq!(frames("stopped", "covered"), fs::read(dir.path().join("stopped.raw")).unwrap().len() / FRAME);
}

#[test]
fn a_ring_that_cannot_be_is_refused_before_the_first_frame() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("precious"), "text").unwrap();
    let frame = [b"YUV4MPEG2 W64 H48 F50:1 Ip A1:1 C420\nFRAME\n".to_vec(), vec![200; FRAME]].concat();
    fs::write(dir.path().join("film.y4m"), frame).unwrap();
    for (target, why) in [
        ("ring:", "ring:/run/milkglass/cam.sock"),
        ("ring:precious", "no socket"),
        ("ring:none/cam.sock", "none/cam.sock"),
    ] {
        let args = ["live", "--from", "film.y4m", "--state-dir", "state", "--faces", "off", "--to", target];
        let zone = ["--zone", "left:0,0;0.5,0;0.5,1;0,1"];
        let ran = common::milkglass_in(dir.path(), &[&args[..], &zone].concat());
        assert!(ran.code != 0 && ran.err.contains(why), "{target}: {}", ran.err);
    }
    assert_eq!(fs::read_to_string(dir.path().join("precious")).unwrap(), "text");
}
