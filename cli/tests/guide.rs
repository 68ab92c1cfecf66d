//! docs/INTEGRATING.md: every block of commands, every file and every program in C in it is run as it stands, or says
//! that it was not. (Programs in Rust are documentation tests of the engine, those in C and their commands are run by
//! capi/tests, that with DMABUFs by tests/v4l2, the commands for ARM by tests/arm/guide.sh, the pipeline of GStreamer
//! by gst/tests/launch.rs.)
//!
//! The machine of a reader is a folder: `/var/lib` and `/run` are made part of it, and its camera, `/dev/video0`, is a pipe in
//! which a clip plays.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use milkglass::policy::PolicyFile;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

mod common;

/// A fenced block, and the comment above it.
struct Block {
    language: &'static str,
    comment: &'static str,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn blocks() -> Vec<Block> {
    let guide: &'static str = include_str!("../../docs/INTEGRATING.md");
    let (mut blocks, mut open, mut above) = (Vec::<Block>::new(), false, "");
    for line in guide.lines() {
        match line.strip_prefix("```") {
            Some(language) if !open => {
                blocks.push(Block { language, comment: above, text: String::new() });
                open = true;
            }
            Some(_) => open = false,
            None if open => {
                let block = blocks.last_mut().unwrap();
                block.text += line;
                block.text.push('\n');
            }
            None => {}
        }
        above = line;
    }
    assert!(!open && blocks.len() > 15, "{} blocks", blocks.len());
    blocks
}

/// The one block of commands in which these words are.
fn commands(words: &str) -> String {
    let mut found = blocks().into_iter().filter(|b| b.language == "sh" && b.text.contains(words));
    let block = found.next().unwrap_or_else(|| panic!("no commands with {words}"));
    assert!(found.next().is_none(), "more commands with {words}");
    block.text
}

/// What runs which commands: this file's tests and capi/tests/programs.rs by their words, others by their comment.
const RUN_HERE: &[&str] = &[
    "cc redact.c",
    "ring_consumer.c",
    "policy keygen",
    "--to rtsp-server://",
    "use_wallclock_as_timestamps",
    "--to rtsp://127.0.0.1:8554/cam",
    "log keygen",
    "log verify",
];

#[test]
fn every_block_is_run_somewhere_or_says_that_it_was_not() {
    let examples = ["capi/examples/redact.c", "capi/examples/firmware.c", "capi/examples/npu.c"];
    let sources: String = examples
        .iter()
        .chain(&["capi/tests/c/dmabuf.c"])
        .map(|file| fs::read_to_string(root().join(file)).unwrap())
        .collect();
    for block in blocks() {
        let run = match block.language {
            "rust" | "rust,no_run" => true,
            "c" => sources.contains(&block.text),
            "toml" => block.text.starts_with("[dependencies]"),
            "sh" => {
                ["<!-- run: tests/arm/guide.sh -->", "<!-- run: gst/tests/launch.rs -->"]
                    .contains(&block.comment)
                    || RUN_HERE.iter().any(|words| block.text.contains(words))
            }
            "yaml" => block.comment.starts_with("<!-- not run: "),
            _ => false,
        };
        assert!(run, "nobody runs this block of the guide ({}):\n{}", block.language, block.text);
    }
}

/// The dependency as it is written, in a program beside the checkout, which is the first one in the guide.
#[test]
fn the_dependency_compiles() {
    let blocks = blocks();
    let dependency = blocks.iter().find(|b| b.language == "toml").unwrap();
    let program = blocks.iter().find(|b| b.language == "rust").unwrap();
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::symlink(root(), folder.path().join("milkglass")).unwrap();
    let app = folder.path().join("app");
    fs::create_dir_all(app.join("src")).unwrap();
    let package = "[package]\nname = 'app'\nversion = '0.1.0'\nedition = '2024'\n[workspace]\n";
    fs::write(app.join("Cargo.toml"), format!("{package}{}", dependency.text)).unwrap();
    fs::write(app.join("src/main.rs"), &program.text).unwrap();
    fs::copy(root().join("Cargo.lock"), app.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--offline", "--quiet"]).current_dir(&app);
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A folder that is a reader's machine.
struct Machine(TempDir);

impl Machine {
    fn new() -> Machine {
        let machine = Machine(TempDir::new().unwrap());
        for folder in ["bin", "var/lib/milkglass", "run/milkglass", "work", "state"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        let camera = format!(
            "#!/bin/sh\ncase \"$*\" in *--from*) ffmpeg -v error -nostdin -re -stream_loop -1 -i {clip} -vf scale=640:360,fps=10 \
             -pix_fmt yuv420p -f yuv4mpegpipe - 2>/dev/null | exec {program} \"$@\" --state-dir {state};;\n\
             *) exec {program} \"$@\";;\nesac\n",
            clip = root().join("examples/people.mp4").display(),
            program = env!("CARGO_BIN_EXE_milkglass"),
            state = machine.path("state").display(),
        );
        let wrapper = machine.path("bin/milkglass");
        fs::write(&wrapper, camera).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        // Zones alone, so that no network has to be run.
        let policy = "faces = 'off'\nmax_gap = '2s'\ndeadline = '5s'\n\
                      [[zone]]\nname = 'left'\narea = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\n";
        fs::write(machine.path("work/camera.toml"), policy).unwrap();
        PolicyFile::read(&machine.path("work/camera.toml")).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Commands of the guide, whose machine this is.
    fn shell(&self, commands: &str) -> Command {
        let here = self.0.path().display();
        let commands = commands
            .replace("/dev/video0", "-")
            .replace(" /var/lib/", &format!(" {here}/var/lib/"))
            .replace(" /run/", &format!(" {here}/run/"));
        let path = format!("{here}/bin:{}", std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        // A group of its own, which can be ended with all its children.
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        shell.args(["-ec", &commands]).env("PATH", path).env("MILKGLASS_MODELS", common::models());
        shell.current_dir(self.path("work")).stdin(Stdio::null());
        shell
    }

    fn done(&self, commands: &str) -> String {
        let output = self.shell(commands).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{commands}\n{said}");
        said
    }

    /// Commands that go on until they are ended.
    fn start(&self, commands: &str) -> Running {
        Running(self.shell(commands).stderr(Stdio::piped()).spawn().unwrap())
    }
}

struct Running(Child);

impl Running {
    /// To its whole group, which it leads; none is left when all have ended.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.0), signal);
    }

    /// Ends it as its user would, and returns what it said.
    fn end(mut self) -> String {
        self.signal(Signal::TERM);
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}

#[track_caller]
fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}: it did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ports of the guide may be taken here: a free one stands in.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn answers(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The commands before and after a line that goes on.
fn around<'a>(commands: &'a str, words: &str) -> (&'a str, &'a str, &'a str) {
    let at = commands.find(words).unwrap();
    let mut end = at;
    loop {
        end += commands[end..].find('\n').unwrap() + 1;
        if !commands[..end].ends_with("\\\n") {
            return (&commands[..at], &commands[at..end], &commands[end..]);
        }
    }
}

#[test]
fn the_lock_of_the_guide_locks() {
    let machine = Machine::new();
    let commands = commands("policy keygen");
    // Nobody has the models of a zones-only policy, nor perhaps ONNX Runtime, to bind.
    let (before, live, after) = around(&commands, "milkglass live");
    let runtime =
        milkglass::detect::backend::Backend::choose(milkglass::policy::BackendChoice::Ort, 1).is_ok();
    let before = if runtime { before.to_owned() } else { before.replace(" --bind-runtime", "") };
    let said = machine.done(&before);
    assert!(said.contains("it protects at least as much") && said.contains("the signature fits"), "{said}");
    assert_eq!(after, "");
    let port = free_port();
    let running = machine.start(&live.replace("8080", &port.to_string()));
    await_that("the page", || answers(port));
    let said = running.end();
    assert!(said.contains("the policy is locked by"), "{said}");
}

#[test]
fn the_log_of_the_guide_verifies() {
    let machine = Machine::new();
    let on_device = commands("log keygen");
    let (before, live, after) = around(&on_device, "milkglass live");
    machine.done(before);
    let port = free_port();
    let running = machine.start(&live.replace("8080", &port.to_string()));
    await_that("the page", || answers(port));
    let log = machine.path("var/lib/milkglass/evidence");
    await_that("a record", || {
        fs::read_dir(&log).is_ok_and(|files| {
            files.flatten().any(|f| f.file_name() != "lock" && f.metadata().unwrap().len() > 0)
        })
    });
    let line = machine.done(after);
    assert!(line.len() < 600, "a checkpoint of {} bytes", line.len());
    fs::write(machine.path("work/checkpoint.txt"), line).unwrap();
    running.end();
    std::os::unix::fs::symlink(&log, machine.path("work/evidence")).unwrap();
    let said = machine.done(&commands("log verify"));
    assert!(said.contains("checkpoint"), "{said}");
}

/// What the recorder Frigate does with our RTSP server, by the arguments that it gives to ffmpeg.
#[cfg(feature = "rtsp-server")]
#[test]
fn a_recorder_pulls_what_is_redacted() {
    let machine = Machine::new();
    let port = free_port().to_string();
    let serve = commands("--to rtsp-server://").replace("8556", &port);
    let running = machine.start(&serve);
    await_that("the server", || answers(port.parse().unwrap()));
    machine.done(&commands("use_wallclock_as_timestamps").replace("8556", &port));
    running.end();
    let picture = machine.path("work/picture.gray");
    machine.done(&format!(
        "ffmpeg -v error -i segment.mp4 -frames:v 1 -pix_fmt gray -f rawvideo -y {}",
        picture.display()
    ));
    redacted(&fs::read(picture).unwrap());
}

/// The left half is black, within what an encoder leaves of it; the right half is not.
fn redacted(picture: &[u8]) {
    assert_eq!(picture.len(), 640 * 360);
    let mean = |from: usize, to: usize| {
        let samples = picture.chunks_exact(640).flat_map(|row| &row[from..to]);
        samples.map(|v| f64::from(*v)).sum::<f64>() / (360 * (to - from)) as f64
    };
    assert!(mean(0, 304) < 20.0 && mean(336, 640) > 40.0, "{} and {}", mean(0, 304), mean(336, 640));
}

#[test]
fn a_recorder_is_pushed_what_is_redacted() {
    let machine = Machine::new();
    let port = free_port().to_string();
    // What stands for go2rtc.
    let receive = format!(
        "ffmpeg -v error -rtsp_flags listen -i rtsp://127.0.0.1:{port}/cam -frames:v 1 -pix_fmt gray -f rawvideo -y got.gray"
    );
    let mut recorder = machine.shell(&receive).spawn().unwrap();
    let running = machine.start(&commands("--to rtsp://127.0.0.1:8554/cam").replace("8554", &port));
    await_that("a picture", || recorder.try_wait().unwrap().is_some());
    running.end();
    redacted(&fs::read(machine.path("work/got.gray")).unwrap());
}

/// Another program takes frames by the consumer of examples/.
#[test]
fn frames_for_another_program_arrive() {
    let machine = Machine::new();
    std::os::unix::fs::symlink(root().join("examples"), machine.path("work/examples")).unwrap();
    let socket = machine.path("run/milkglass/cam.sock");
    let live = "milkglass live --from /dev/video0 --policy camera.toml --to ring: /run/milkglass/cam.sock";
    let live = live.replace("ring: /run", &format!("ring:{}/run", machine.0.path().display()));
    let running = machine.start(&live);
    await_that("the socket", || socket.exists());
    machine.done(&commands("ring_consumer.c").replace(" 100 ", " 5 "));
    running.end();
    let frames = fs::read(machine.path("work/frames.raw")).unwrap();
    redacted(&frames[..640 * 360]);
}
