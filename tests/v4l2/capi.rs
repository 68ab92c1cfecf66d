//! A program in C whose library captures from the camera itself (capi/tests/c/camera.c): faults of camera, consumer and owner
//! in turn, on one stream. The program judges every frame; here is said what happens, and covered frames are waited for.
//! And one that pushes DMABUFs (capi/tests/c/dmabuf.c).

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::bars::prepare;
use crate::rig::{Killed, await_that, loop_hdmi, set};

/// States of `milkglass.h`.
const COVERED: u64 = 1;
const NO_CAMERA: u64 = 4;

/// What the program said last: frames covered and obscured, its state, and frames that nobody took.
#[derive(Clone, Copy, Default)]
struct Said {
    covered: u64,
    obscured: u64,
    state: u64,
    missed: u64,
}

struct Program {
    child: Killed,
    said: Arc<Mutex<Said>>,
    last_words: Arc<Mutex<String>>,
}

impl Program {
    fn start() -> Program {
        prepare(0);
        let mut child = Command::new("./camera");
        child.arg("/dev/video0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Killed(child.spawn().unwrap());
        let (said, last_words) = (Arc::<Mutex<Said>>::default(), Arc::<Mutex<String>>::default());
        let (figures, words) = (Arc::clone(&said), Arc::clone(&last_words));
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let numbers: Vec<u64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
                match numbers[..] {
                    [covered, obscured, state, missed] => {
                        *figures.lock().unwrap() = Said { covered, obscured, state, missed };
                    }
                    _ => *words.lock().unwrap() = line,
                }
            }
        });
        Program { child, said, last_words }
    }

    fn say(&mut self, letter: &str) {
        self.child.0.stdin.as_mut().unwrap().write_all(letter.as_bytes()).unwrap();
    }

    /// Waits, as long as the program lives.
    fn await_said(&mut self, what: &str, condition: impl Fn(Said) -> bool) {
        await_that(what, || {
            assert_eq!(self.child.0.try_wait().unwrap(), None, "{what}: the program has ended");
            condition(*self.said.lock().unwrap())
        });
    }

    fn covers_again(&mut self, after: &str) {
        let before = self.said.lock().unwrap().covered;
        self.await_said(after, |s| s.covered >= before + 3 && s.state == COVERED);
    }
}

pub fn a_program_in_c_survives_the_faults_of_live() {
    let mut program = Program::start();
    program.covers_again("the start");
    set(0, "inject_v4l2_buf_flag_error=1");
    program.covers_again("a damaged buffer");
    set(0, "percentage_of_dropped_buffers=100");
    program.await_said("a camera that freezes", |s| s.state == NO_CAMERA);
    set(0, "percentage_of_dropped_buffers=0");
    program.covers_again("a frozen camera");
    set(0, "inject_fatal_streaming_error=1");
    program.covers_again("a fatal error");
    set(0, "disconnect=1");
    program.covers_again("an unplugged camera");
    set(0, "inject_vidioc_reqbufs_error=1,inject_vidioc_streamon_error=1");
    set(0, "inject_vidioc_qbuf_error=1");
    program.covers_again("failing requests");

    program.say("p");
    let before = program.said.lock().unwrap().obscured;
    program.await_said("privacy mode", |s| s.obscured >= before + 5);
    program.say("q");
    program.covers_again("privacy mode");
    program.say("s");
    let before = program.said.lock().unwrap().missed;
    program.await_said("a consumer that does not take", |s| s.missed >= before + 10);
    program.say("t");
    program.covers_again("a consumer that did not take");
    program.say("b");
    program.covers_again("broken policies");
    for _ in 0..3 {
        program.say("c");
        program.covers_again("closing in the middle");
    }
    drop(program.child.0.stdin.take());
    assert!(program.child.0.wait().unwrap().success());
}

pub fn a_program_in_c_ends_when_the_format_changes() {
    let mut program = Program::start();
    program.covers_again("the start");
    program.say("x");
    program.covers_again("the word");
    set(0, "quantization=1");
    set(0, "disconnect=1");
    // Not `wait`, which ends its input.
    let mut status = None;
    await_that("the end", || {
        status = program.child.0.try_wait().unwrap();
        status.is_some()
    });
    set(0, "quantization=0");
    await_that("its last words", || program.last_words.lock().unwrap().contains("another format"));
    assert_eq!(status.and_then(|s| s.code()), Some(3));
}

/// Pictures of its own in buffers that output devices export, with planes in one DMABUF and in one each.
pub fn a_program_in_c_pushes_dmabufs() {
    for (output, input, fourcc) in [(3, 2, "NV12"), (5, 4, "NM12")] {
        loop_hdmi(output, input, fourcc, (640, 480));
        let ended = Command::new("./dmabuf").arg(format!("/dev/video{output}")).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{fourcc}: {said}");
        println!("  {fourcc}: {}", String::from_utf8_lossy(&ended.stdout).trim());
    }
}
