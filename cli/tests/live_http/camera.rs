//! A running `milkglass live` whose camera is ffmpeg: a clip in an endless loop, in its own time.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::{milkglass, small};

/// The longest wait for anything that has to happen; far beyond what a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Hides the left half and needs no detector.
pub const LEFT_HALF: [&str; 4] = ["--faces", "off", "--zone", "left:0,0;0.5,0;0.5,1;0,1"];

pub const TOKEN: &str = "correct-horse-battery-staple";

pub struct Live {
    pub milkglass: Child,
    pub feeder: Child,
    pub address: SocketAddr,
    pub state: TempDir,
    said: Arc<Mutex<String>>,
}

impl Live {
    /// The small clip at full rate, its left half hidden.
    pub fn start(more: &[&str]) -> Live {
        Live::of(&small(), "127.0.0.1:0", &[&LEFT_HALF, more].concat())
    }

    /// The same with the token.
    pub fn with_token(at: &str) -> Live {
        let folder = tempfile::tempdir().unwrap();
        let file = token_file(folder.path(), TOKEN);
        Live::of(&small(), at, &[&LEFT_HALF[..], &["--token-file", file.to_str().unwrap()]].concat())
    }

    pub fn of(clip: &Path, at: &str, more: &[&str]) -> Live {
        let mut feeder = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i"])
            .arg(clip)
            .args(["-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ffmpeg is installed");
        let state = tempfile::tempdir().unwrap();
        let mut milkglass = milkglass()
            .args(["live", "--from", "-", "--to", &format!("http://{at}"), "--state-dir"])
            .arg(state.path())
            .args(more)
            .stdin(feeder.stdout.take().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (log, lines) = (Arc::clone(&said), BufReader::new(milkglass.stderr.take().unwrap()).lines());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                log.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        // The address is a placeholder until the program has said it.
        let mut live = Live { milkglass, feeder, address: ([127, 0, 0, 1], 0).into(), state, said };
        live.address = wait("the address is said", || {
            let said = live.said();
            let line = said.lines().find_map(|line| line.strip_prefix("info: http://"))?;
            let address: SocketAddr = line.split(' ').next()?.parse().unwrap();
            Some(([127, 0, 0, 1], address.port()).into())
        });
        live
    }

    /// Everything on its standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Sends milkglass a signal.
    pub fn signal(&self, signal: Signal) {
        signal_to(&self.milkglass, signal);
    }

    /// Stops the camera without ending its stream, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        signal_to(&self.feeder, if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// Waits for the end and returns the exit code.
    pub fn exit_code(&mut self) -> i32 {
        wait("milkglass ends", || self.milkglass.try_wait().unwrap()).code().unwrap_or(-1)
    }

    /// Memory in use, in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.milkglass.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for child in [&mut self.milkglass, &mut self.feeder] {
            let _ = child.kill();
            let _ = child.wait();
        }
        let said = self.said();
        assert!(std::thread::panicking() || !said.contains("panicked"), "{said}");
    }
}

fn signal_to(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until `what` holds.
#[track_caller]
pub fn wait<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file with a token that nobody else can read. Its folder has to live until milkglass has read it.
pub fn token_file(folder: &Path, token: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}
