//! `milkglass live` as its owner runs it: frames from a pipe, signals, a policy that changes, systemd.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SIZE: (usize, usize) = (64, 48);
/// No frame has this value; `fill` leaves it.
const BLACK: u8 = 16;
const LEFT: &str = "left:0,0;0.5,0;0.5,1;0,1";

/// When a frame came out, and its first sample in the left and in the right half.
type PassInput = (Instant, u8, u8);

/// How a run ended: exit code, how long it took, what came out and what was said.
type End = (Option<i32>, Duration, Vec<PassInput>, String);

/// A running `milkglass live` with a camera of 25 frames/s in front and a target behind.
struct Live {
    child: Child,
    camera: Option<JoinHandle<()>>,
    off: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<PassInput>>>,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Live {
    fn start(folder: &Path, args: &[&str]) -> Live {
        Live::start_with(folder, args, |_| {})
    }

    fn start_with(folder: &Path, args: &[&str], more: impl FnOnce(&mut Command)) -> Live {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milkglass"));
        command.args(["live", "--from", "-", "--to", "-"]).args(args).arg("--state-dir").arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        more(&mut command);
        let mut child = command.spawn().unwrap();
        let off = Arc::new(AtomicBool::new(false));
        let camera = film(child.stdin.take().unwrap(), Arc::clone(&off));
        let (seen, said) = (Arc::<Mutex<_>>::default(), Arc::<Mutex<String>>::default());
        let watch = {
            let (stdout, seen) = (child.stdout.take().unwrap(), Arc::clone(&seen));
            std::thread::spawn(move || watch(stdout, &seen))
        };
        let listen = {
            let (stderr, said) = (child.stderr.take(), Arc::clone(&said));
            std::thread::spawn(move || {
                let Some(stderr) = stderr else { return };
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    *said.lock().unwrap() += &(line + "\n");
                }
            })
        };
        Live { child, camera: Some(camera), off, seen, said, readers: vec![watch, listen] }
    }

    fn signal(&self, name: &str) -> Instant {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
        Instant::now()
    }

    /// Waits until a frame has come out after `since` for which `good` holds.
    fn await_frame(&self, since: Instant, what: &str, good: impl Fn(u8, u8) -> bool) -> Instant {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.seen.lock().unwrap().iter().find(|s| s.0 > since && good(s.1, s.2)).map(|s| s.0);
            if let Some(at) = found {
                return at;
            }
            assert!(Instant::now() < end, "no frame that is {what}; it said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn await_words(&self, words: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.said().contains(words) {
            assert!(Instant::now() < end, "it never said {words:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits for the end, which was asked for at `since`.
    fn end(mut self, since: Instant) -> End {
        let end = Instant::now() + Duration::from_secs(20);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = since.elapsed();
        self.off.store(true, Ordering::SeqCst);
        self.camera.take().unwrap().join().unwrap();
        self.readers.drain(..).for_each(|r| r.join().unwrap());
        let seen = self.seen.lock().unwrap().clone();
        (status.code(), took, seen, self.said())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.off.store(true, Ordering::SeqCst);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Frames of one brightness each, never black, until it is switched off or nobody reads.
fn film(mut into: impl Write + Send + 'static, off: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let _ = into.write_all(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420\n");
        for n in 0u64.. {
            let mut frame = b"FRAME\n".to_vec();
            frame.resize(6 + SIZE.0 * SIZE.1, 60 + (n % 100) as u8);
            frame.resize(6 + SIZE.0 * SIZE.1 * 3 / 2, 128);
            if off.load(Ordering::SeqCst) || into.write_all(&frame).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    })
}

fn watch(stdout: impl Read, seen: &Mutex<Vec<PassInput>>) {
    let mut stdout = BufReader::new(stdout);
    let mut header = Vec::new();
    stdout.read_until(b'\n', &mut header).unwrap();
    let mut frame = vec![0; 6 + SIZE.0 * SIZE.1 * 3 / 2];
    while stdout.read_exact(&mut frame).is_ok() {
        assert!(frame.starts_with(b"FRAME\n"));
        let luma = &frame[6..];
        seen.lock().unwrap().push((Instant::now(), luma[0], luma[SIZE.0 - 1]));
    }
}

fn milkglass(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_milkglass")).args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_zone_is_hidden_live_and_the_rest_is_as_filmed() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let live = Live::start(folder.path(), &["--faces", "off", "--zone", LEFT]);
    let first = live.await_frame(start, "visible", |_, right| right != BLACK);
    live.await_frame(first + Duration::from_secs(1), "visible", |_, right| right != BLACK);
    let (code, took, seen, said) = {
        let at = live.signal("TERM");
        live.end(at)
    };
    assert_eq!(code, Some(0), "{said}");
    assert!(took < Duration::from_secs(3), "it took {took:?} to end");
    assert!(seen.iter().all(|s| s.1 == BLACK && s.2 >= 60), "{seen:?}");
    assert!(seen.len() >= 20, "{} frames", seen.len());
    assert!(said.contains("frames covered"), "{said}");
}

#[test]
fn privacy_mode_covers_everything_survives_a_restart_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--faces", "off", "--zone", LEFT];
    let live = Live::start(folder.path(), &args);
    live.await_frame(Instant::now(), "visible", |_, right| right != BLACK);
    // Twice is as good as once.
    let on = live.signal("USR1");
    live.signal("USR1");
    live.await_words("privacy mode is on");
    let confirmed = Instant::now();
    let blank = live.await_frame(on, "blank", |left, right| (left, right) == (BLACK, BLACK));
    live.await_frame(confirmed + Duration::from_millis(300), "blank", |_, right| right == BLACK);
    {
        let seen = live.seen.lock().unwrap();
        assert!(seen.iter().filter(|s| s.0 > blank).all(|s| s.2 == BLACK), "visible again after {blank:?}");
        assert!(blank - on < Duration::from_secs(2), "blank after {:?}", blank - on);
    }
    // Pull the plug.
    live.signal("KILL");
    live.end(Instant::now());

    let start = Instant::now();
    let live = Live::start(folder.path(), &args);
    live.await_frame(start, "blank", |_, right| right == BLACK);
    assert!(live.seen.lock().unwrap().iter().all(|s| s.2 == BLACK), "a restart showed the picture");
    let off = live.signal("USR2");
    live.await_words("privacy mode is off");
    live.await_frame(off, "visible", |left, right| left == BLACK && right != BLACK);
    let at = live.signal("TERM");
    assert_eq!(live.end(at).0, Some(0));

    let start = Instant::now();
    let live = Live::start(folder.path(), &args);
    live.await_frame(start, "visible", |_, right| right != BLACK);
}

#[test]
fn signals_in_quick_succession_end_covered_and_never_hang() {
    let folder = tempfile::tempdir().unwrap();
    let live = Live::start(folder.path(), &["--faces", "off", "--zone", LEFT]);
    live.await_frame(Instant::now(), "visible", |_, right| right != BLACK);
    let pid = live.child.id();
    for round in 1..=5 {
        // The system hands them out by number, so the order in which they were sent is lost.
        let both = format!("kill -STOP {pid}; kill -USR2 {pid}; kill -USR1 {pid}; kill -CONT {pid}");
        assert!(Command::new("sh").args(["-c", &both]).status().unwrap().success());
        let end = Instant::now() + Duration::from_secs(20);
        while live.said().matches("privacy mode is on").count() < round {
            assert!(Instant::now() < end, "round {round}: {}", live.said());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        let last = live.said().lines().rfind(|l| l.contains("privacy mode is")).map(str::to_owned);
        assert!(last.as_ref().is_some_and(|l| l.contains("is on")), "round {round}: {last:?}");
    }
    let at = live.signal("TERM");
    assert_eq!(live.end(at).0, Some(0));
}

#[test]
fn a_log_that_nobody_reads_keeps_it_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (reads, writes) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writes, 4096).unwrap();
    let live =
        Live::start_with(folder.path(), &["--faces", "off", "--zone", LEFT, "--policy", "none.toml"], |c| {
            fs::write(folder.path().join("none.toml"), "").unwrap();
            c.current_dir(folder.path()).stderr(writes);
        });
    live.await_frame(Instant::now(), "visible", |_, right| right != BLACK);
    // Each is answered with a line that the policy stays as it was.
    for _ in 0..80 {
        live.signal("HUP");
        std::thread::sleep(Duration::from_millis(30));
    }
    let on = live.signal("USR1");
    live.await_frame(on, "blank", |_, right| right == BLACK);
    let at = live.signal("TERM");
    assert_eq!(live.end(at).0, Some(0));
    drop(reads);
}

#[test]
fn it_ends_on_a_signal_before_anything_came() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_milkglass"))
        .args(["live", "--from", "-", "--to", "-", "--faces", "off", "--zone", LEFT, "--state-dir"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Its lock is there once it waits for the first frame, or just before.
    let end = Instant::now() + Duration::from_secs(20);
    while fs::read_dir(folder.path()).unwrap().next().is_none() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "it waits for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn privacy_mode_that_cannot_be_stored_is_never_confirmed_but_covers() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let live = Live::start(&state, &["--faces", "off", "--zone", LEFT]);
    live.await_frame(Instant::now(), "visible", |_, right| right != BLACK);
    fs::remove_dir_all(&state).unwrap();
    let on = live.signal("USR1");
    live.await_words("would be forgotten by a restart");
    live.await_frame(on, "blank", |_, right| right == BLACK);
    assert!(!live.said().contains("privacy mode is on\n"), "{}", live.said());
}

#[test]
fn a_policy_is_read_again_and_a_broken_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("camera.toml");
    let zone = |x0: f32, x1: f32| {
        let text = format!(
            "faces = \"off\"\n[[zone]]\nname = \"z\"\narea = [[{x0},0],[{x1},0],[{x1},1],[{x0},1]]\n"
        );
        fs::write(&policy, text).unwrap();
    };
    zone(0.0, 0.5);
    let live = Live::start(folder.path(), &["--policy", policy.to_str().unwrap()]);
    live.await_frame(Instant::now(), "half visible", |left, right| left == BLACK && right != BLACK);
    // What is dropped on purpose is said.
    let both = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, both.replace("\"z\"", "\"y\"")).unwrap();
    live.signal("HUP");
    live.await_words("no longer hidden by the new policy: zone z");
    zone(0.5, 1.0);
    let at = live.signal("HUP");
    let changed = live.await_frame(at, "hidden right", |left, right| left != BLACK && right == BLACK);
    fs::write(&policy, "faces = \"of").unwrap();
    live.signal("HUP");
    live.await_words("the policy stays as it was");
    fs::write(&policy, "").unwrap();
    live.signal("HUP");
    live.await_words("it is empty");
    // Nor does one drop the zone that says nothing, or is not there.
    fs::write(&policy, "# to be written\n\n").unwrap();
    live.signal("HUP");
    live.await_words("the new policy says nothing");
    fs::remove_file(&policy).unwrap();
    live.signal("HUP");
    live.await_words("No such file");
    fs::write(
        &policy,
        "faces = \"off\"\npreset = \"careful\"\n[[zone]]\nname = \"z\"\narea = [[0,0],[1,0],[1,1]]\n",
    )
    .unwrap();
    live.signal("HUP");
    live.await_words("preset is read at the start alone");
    fs::write(&policy, "faces = \"off\"").unwrap();
    live.signal("HUP");
    live.await_words("the policy hides nothing");
    let cosmetic = "faces = \"off\"\nreversible = false\n[[zone]]\nname = \"z\"\nstyle = \"blur\"\narea = [[0,0],[1,0],[1,1]]";
    fs::write(&policy, cosmetic).unwrap();
    live.signal("HUP");
    live.await_words("reversible = false forbids pixelate and blur");
    let now = Instant::now();
    live.await_frame(now, "hidden right", |left, right| left != BLACK && right == BLACK);
    let seen = live.seen.lock().unwrap().clone();
    assert!(seen.iter().filter(|s| s.0 > changed).all(|s| s.2 == BLACK), "the new zone was lost");
    assert!(live.said().contains("camera.toml:1:"), "{}", live.said());
}

#[test]
fn a_reload_cannot_weaken_a_locked_policy() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let zone = |name: &str, x0: f32, x1: f32| {
        format!("[[zone]]\nname = \"{name}\"\narea = [[{x0},0],[{x1},0],[{x1},1],[{x0},1]]\n")
    };
    let owners = format!("faces = \"off\"\n{}", zone("z", 0.0, 0.5));
    fs::write(at("owners.toml"), &owners).unwrap();
    let run = |args: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_milkglass")).arg("policy").args(args).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run(&["keygen", &at("owner.key")]);
    run(&["lock", &at("owners.toml"), "--key", &at("owner.key"), "-o", &at("camera.lock"), "--serial", "1"]);
    fs::write(at("camera.toml"), &owners).unwrap();
    let live = Live::start(folder.path(), &["--lock", &at("camera.lock"), "--policy", &at("camera.toml")]);
    live.await_frame(Instant::now(), "half visible", |left, right| left == BLACK && right != BLACK);
    // Weaker: the zone is smaller.
    fs::write(at("camera.toml"), format!("faces = \"off\"\n{}", zone("z", 0.0, 0.4))).unwrap();
    live.signal("HUP");
    live.await_words("zone.area: \"z\"");
    // Stronger: one more. Then not even that one can be taken away again.
    fs::write(at("camera.toml"), format!("{owners}{}", zone("more", 0.5, 1.0))).unwrap();
    let more = live.signal("HUP");
    let hidden = live.await_frame(more, "hidden", |left, right| left == BLACK && right == BLACK);
    fs::write(at("camera.toml"), &owners).unwrap();
    live.signal("HUP");
    live.await_words("zone: \"more\" is gone");
    // Only the owner's next lock can.
    run(&["lock", &at("owners.toml"), "--key", &at("owner.key"), "-o", &at("camera.lock"), "--serial", "2"]);
    let owner = live.signal("HUP");
    live.await_frame(owner, "half visible", |left, right| left == BLACK && right != BLACK);
    let seen = live.seen.lock().unwrap().clone();
    assert!(seen.iter().all(|s| s.1 == BLACK), "the owner's zone was lost");
    assert!(
        seen.iter().filter(|s| s.0 > hidden && s.0 < owner).all(|s| s.2 == BLACK),
        "the other one was lost"
    );
}

#[test]
fn a_device_that_was_locked_once_runs_no_more_without_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_milkglass")).args(args).stdin(Stdio::null()).output().unwrap()
    };
    let lock = |key: &str, serial: &str, output: &str| {
        fs::write(at("owners.toml"), "faces = \"off\"\n[[zone]]\nname = \"z\"\narea = [[0,0],[1,0],[1,1]]\n")
            .unwrap();
        let output = at(output);
        let args =
            ["policy", "lock", &at("owners.toml"), "--key", &at(key), "-o", &output, "--serial", serial];
        assert!(run(&args).status.success());
        output
    };
    for key in ["owner.key", "thief.key"] {
        assert!(run(&["policy", "keygen", &at(key)]).status.success());
        // A key is never replaced.
        assert_eq!(run(&["policy", "keygen", &at(key)]).status.code(), Some(1));
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(at("owner.key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let (old, new, foreign) = (
        lock("owner.key", "1", "1.lock"),
        lock("owner.key", "2", "2.lock"),
        lock("thief.key", "3", "3.lock"),
    );
    fs::write(
        at("one.y4m"),
        [b"YUV4MPEG2 W64 H48 F25:1 C420\nFRAME\n".as_slice(), &[80; 64 * 48 * 3 / 2]].concat(),
    )
    .unwrap();
    let live = |more: &[&str]| {
        let state = at("state");
        let clip = at("one.y4m");
        let args = ["live", "--from", &clip, "--to", "-", "--state-dir", &state];
        let done = run(&[&args, more].concat());
        (done.status.code(), done.stdout.len(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let open = ["--faces", "off", "--zone", "z:0,0;1,0;1,1"];
    assert_eq!(live(&open).0, Some(0));
    assert_eq!(live(&["--lock", &old]).0, Some(0));
    assert_eq!(live(&["--lock", &new]).0, Some(0));
    for (args, words) in [
        (&open[..], "name the lock file (lock, --lock)"),
        (&["--lock", &old], "an older one is refused"),
        (&["--lock", &foreign], "not this device's owner"),
        (&["--lock", &foreign, "--owner-key", &at("owner.pub")], "not this device's owner"),
        (&["--lock", &new, "--policy", "/dev/null"], "zone: \"z\" is gone"),
        (&["--lock", &new, "--backend", "rten"], "backend: rten instead of auto"),
    ] {
        let (code, bytes, said) = live(args);
        assert!(
            code == Some(1) && bytes == 0 && said.contains(words),
            "{args:?}: {code:?}, {bytes} bytes, {said}"
        );
    }
    // The board's library, which is not for this machine's processor: read, never loaded.
    fs::write(at("board.so"), "for another processor").unwrap();
    let bind = |library: &str| {
        let runtime = format!("--bind-runtime={library}");
        let args =
            ["policy", "lock", &at("owners.toml"), "--key", &at("owner.key"), "-o", &at("4.lock"), &runtime];
        let done = run(&args);
        (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    };
    let hash = "15b9934a5b4f72fa0a3be00d00048e6b51672f434c0dc9d2464afff261152a76";
    let bound = bind(&at("board.so"));
    assert!(bound.0 == Some(0) && bound.1.contains(hash), "{bound:?}");
    let missing = bind(&at("none.so"));
    assert!(missing.0 == Some(1) && missing.1.contains("none.so"), "{missing:?}");
    let stronger = live(&["--lock", &new, "--owner-key", &at("owner.pub"), "--zone", "door:0,0;0.5,1;0,1"]);
    assert_eq!(stronger.0, Some(0), "{}", stronger.2);
}

#[test]
fn faces_in_a_film_are_hidden_and_the_figures_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/people.mp4");
    let mut film = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-i"])
        .arg(&clip)
        .args(["-t", "4", "-vf", "scale=640:360", "-f", "yuv4mpegpipe", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_milkglass"))
        .args(["live", "--from", "-", "--to", "nv12:-", "--preset", "fast", "--color", "#00ff00"])
        .args(["--max-gap", "2s", "--models"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"))
        .arg("--state-dir")
        .arg(folder.path())
        .stdin(film.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(film.wait().unwrap().success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("worst-case exposure 2000 ms"), "{said}");
    let frames: Vec<&[u8]> = output.stdout.chunks_exact(640 * 360 * 3 / 2).collect();
    assert!(frames.len() >= 40, "{} frames; {said}", frames.len());
    // Pure green, #00ff00, is Y 145, Cb 54, Cr 34 in BT.601 of limited range; neither clip nor sky has it.
    let hidden = |f: &[u8]| f[..640 * 360].iter().filter(|v| (144..=146).contains(*v)).count();
    let masked = frames.iter().filter(|f| {
        f[640 * 360..].chunks_exact(2).filter(|c| c[0].abs_diff(54) < 2 && c[1].abs_diff(34) < 2).count()
            > 200
    });
    let masked = masked.filter(|f| hidden(f) > 800).count();
    let whole = frames.iter().filter(|f| hidden(f) == 640 * 360).count();
    assert!(masked >= frames.len() / 2 && whole < frames.len() / 2, "{masked}, {whole} of {}", frames.len());
}

#[test]
fn systemd_is_told_that_it_runs_and_that_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let live = Live::start_with(folder.path(), &["--faces", "off", "--zone", LEFT], |c| {
        c.env("NOTIFY_SOCKET", &path);
    });
    let mut told = String::new();
    let mut await_told = |what: &str| {
        let mut message = [0; 1024];
        while !told.contains(what) {
            let n = socket.recv(&mut message).unwrap_or_else(|e| panic!("never told {what}: {e}\n{told}"));
            told += &(String::from_utf8_lossy(&message[..n]).into_owned() + "\n");
        }
    };
    await_told("READY=1");
    await_told("WATCHDOG=1");
    await_told("STATUS=running");
    let at = live.signal("TERM");
    await_told("STOPPING=1");
    assert_eq!(live.end(at).0, Some(0));
}

#[test]
fn the_systemd_unit_is_one_that_systemd_understands() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/milkglass.service");
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("milkglass.service");
    let text = fs::read_to_string(unit).unwrap();
    assert!(text.contains("ExecStart=/usr/local/bin/milkglass live "));
    fs::write(&here, text.replace("/usr/local/bin/milkglass", env!("CARGO_BIN_EXE_milkglass"))).unwrap();
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).arg(&here).output();
        let output = output.expect("systemd-analyze is missing: apt-get install systemd");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said.into_owned())
    };
    let (good, said) = analyze(&["verify"]);
    // An unknown key is no failure to systemd, only a line.
    assert!(good && !said.contains("milkglass.service"), "{said}");
    let (_, said) = analyze(&["security", "--offline=true", "--threshold=30"]);
    assert!(said.contains("OK"), "{said}");
}

/// KiB of a program that are locked in memory.
fn locked(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn frames_are_kept_out_of_swap_when_asked_and_a_limit_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let zone = ["--faces", "off", "--zone", LEFT];
    for (more, least) in [(&[][..], 0), (&["--lock-memory"], 4 * SIZE.0 * SIZE.1 * 3 / 2 / 1024)] {
        let live = Live::start(folder.path(), &[&zone, more].concat());
        live.await_frame(Instant::now(), "visible", |_, right| right != BLACK);
        let locked = locked(live.child.id());
        assert!(locked >= least && (least > 0 || locked == 0), "{more:?}: {locked} KiB");
        let term = live.signal("TERM");
        assert_eq!(live.end(term).0, Some(0));
    }

    // Limits do not count for who has the capability, as root has.
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock"]);
    }
    command.args(["sh", "-c", "ulimit -l 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_milkglass")]);
    command.args(["live", "--from", "-", "--to", "-", "--lock-memory"]).args(zone);
    command.arg("--state-dir").arg(folder.path());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let camera = film(child.stdin.take().unwrap(), Arc::default());
    let output = child.wait_with_output().unwrap();
    camera.join().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let error = said.lines().find(|line| line.starts_with("error")).unwrap_or_default();
    let words = ["locking", "0 KiB are allowed", "LimitMEMLOCK="];
    assert!(words.iter().all(|words| error.contains(words)), "{said}");
    let shown = String::from_utf8_lossy(&output.stdout).contains("FRAME");
    assert_eq!((output.status.code(), shown), (Some(1), false), "{said}");
}

#[test]
fn what_cannot_be_started_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let zone = ["--faces", "off", "--zone", LEFT];
    let refused = |args: &[&str], words: &str| {
        let output = milkglass(&[&["live", "--state-dir", state], args].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        let errors: Vec<_> = said.lines().filter(|l| l.starts_with("error")).collect();
        assert_eq!((output.status.code(), errors.len()), (Some(1), 1), "{args:?}: {said}");
        assert!(errors[0].contains(words), "{args:?}: {said}");
        assert!(output.stdout.is_empty());
    };
    refused(&[&["--from", "/dev/video99", "--to", "-"], &zone[..]].concat(), "milkglass devices");
    refused(&[&["--from", "-", "--to", "-", "--to", "nv12:-"], &zone[..]].concat(), "standard output");
    refused(&[&["--from", "-", "--to", "gopher://x/"], &zone[..]].concat(), "--help");
    refused(&["--from", "-", "--to", "-", "--faces", "off"], "hides nothing");
    refused(&[&["--from", "-", "--to", "-"], &zone[..]].concat(), "Y4M");
    refused(&[&["--from", "-", "--to", "-", "--max-gap", "soon"], &zone[..]].concat(), "--max-gap");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let output = milkglass(&["live", "--from", "-", "--to", "-", "--state-dir", file.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--state-dir"));
    assert_eq!(milkglass(&["devices"]).status.code().map(|c| c < 2), Some(true));
}

/// Name and processors of each thread of a program, and the processor time that it has used.
fn threads(pid: u32) -> (Vec<(String, String)>, Duration) {
    let of = |status: &str, key: &str| {
        status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned()
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    // One may have ended meanwhile.
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let threads = statuses.map(|s| (of(&s, "Name:"), of(&s, "Cpus_allowed_list:"))).collect();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything; hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    (threads, Duration::from_millis(10 * ticks))
}

/// `--pin` holds for what infers and for nothing else, `--threads` bounds it, and who waits for a camera burns nothing.
#[test]
fn inference_keeps_to_its_processor_and_threads_and_nothing_spins() {
    let folder = tempfile::tempdir().unwrap();
    let own = threads(std::process::id()).0[0].1.clone();
    let first: String = own.chars().take_while(char::is_ascii_digit).collect();
    let mut child = Command::new(env!("CARGO_BIN_EXE_milkglass"))
        .args(["live", "--from", "-", "--to", "-", "--preset", "fast", "--threads", "2", "--pin", &first])
        .args(["--max-gap", "9s", "--deadline", "30s", "--self-test", "off", "--models"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"))
        .arg("--state-dir")
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let seen = Arc::<Mutex<_>>::default();
    let reader = {
        let (stdout, seen) = (child.stdout.take().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || watch(stdout, &seen))
    };
    // A camera that delivers until something was visible, and then stalls.
    let mut camera = child.stdin.take().unwrap();
    camera.write_all(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420\n").unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !seen.lock().unwrap().iter().any(|sight: &PassInput| sight.1 != BLACK) {
        assert!(Instant::now() < end, "nothing was ever visible");
        camera.write_all(&[b"FRAME\n".as_slice(), &[90; SIZE.0 * SIZE.1 * 3 / 2]].concat()).unwrap();
        std::thread::sleep(Duration::from_millis(40));
    }
    let (all, _) = threads(child.id());
    let pinned: Vec<&str> = all.iter().filter(|t| t.1 == first).map(|t| t.0.as_str()).collect();
    if own != first {
        // The thread that detects, and as many as are allowed for each of the two sizes that this preset looks at.
        assert!(pinned.contains(&"detect") && pinned.len() <= 5, "{all:?}");
        assert!(all.iter().any(|t| t.0 == "milkglass" && t.1 == own), "{all:?}");
    }
    std::thread::sleep(Duration::from_secs(2));
    let (_, before) = threads(child.id());
    std::thread::sleep(Duration::from_secs(2));
    let (_, after) = threads(child.id());
    assert!(after - before < Duration::from_millis(400), "{:?} in two idle seconds", after - before);
    drop(camera);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
}
