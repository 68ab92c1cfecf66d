//! The real binary, live: pushed to a server, written to files and lists, served over RTSP; redacted everywhere, whatever
//! happens to the children.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Nothing that is waited for takes longer, even on a busy machine.
const LONG: Duration = Duration::from_secs(90);
/// The left half of every picture is a zone.
const ZONE: &str = "left:0,0;0.5,0;0.5,1;0,1";
/// Decoded pictures are looked at in this size, in grey.
const SMALL: (usize, usize) = (64, 36);
const SECRET: &str = "hunter2hunter2hunter2";

/// Waits until something is the case.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LONG, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `milkglass live`, fed with the example clip in its own time, again and again.
struct Live {
    feeder: Child,
    child: Child,
    said: Arc<Mutex<String>>,
    /// Frames of the target `-`.
    shown: Arc<AtomicUsize>,
    dir: TempDir,
}

impl Live {
    /// With a zone alone, which needs no inference.
    fn zone(size: &str, dir: TempDir, args: &[&str]) -> Live {
        let hiding = ["--faces", "off", "--zone", ZONE];
        Live::start(&["-stream_loop", "-1"], &format!("scale={size}"), dir, &[&hiding, args].concat())
    }

    fn start(input: &[&str], filter: &str, dir: TempDir, args: &[&str]) -> Live {
        let mut feeder = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "quiet", "-re"])
            .args(input)
            .arg("-i")
            .arg(common::example())
            .args(["-an", "-vf", filter, "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = common::milkglass()
            .args(["live", "--from", "-", "--state-dir", "state"])
            .args(args)
            .current_dir(dir.path())
            .stdin(feeder.stdout.take().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::<Mutex<String>>::default();
        let (mut err, heard) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut line = String::new();
            while err.read_line(&mut line).is_ok_and(|n| n > 0) {
                heard.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        let shown = Arc::<AtomicUsize>::default();
        let (out, seen) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || count_frames(out, &seen));
        Live { feeder, child, said, shown, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    fn says(&self, text: &str) {
        until(text, || self.said().contains(text).then_some(()));
    }

    fn shown(&self) -> usize {
        self.shown.load(Ordering::SeqCst)
    }

    /// The ids of our children whose command line holds `word`.
    fn children(&self, word: &str) -> Vec<u32> {
        let list = format!("/proc/{0}/task", self.child.id());
        let tasks = std::fs::read_dir(list).unwrap().flatten();
        let ids = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
        let ids: Vec<u32> =
            ids.flat_map(|l| l.split_whitespace().map(|w| w.parse().unwrap()).collect::<Vec<_>>()).collect();
        ids.into_iter().filter(|id| command_line(*id).contains(word)).collect()
    }

    /// Waits for the child with `word` in its command line, other than `before`, that is past the launcher.
    #[track_caller]
    fn child(&self, word: &str, before: Option<u32>) -> u32 {
        until(word, || {
            let grown = |id: &u32| Some(*id) != before && !command_line(*id).contains("__child");
            self.children(word).into_iter().find(grown)
        })
    }

    fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    /// Ends it as systemd would; returns everything it said and the frames of the target `-`.
    #[track_caller]
    fn end(mut self) -> (String, usize, TempDir) {
        let begun = Instant::now();
        self.signal("TERM");
        let code = until("the end", || self.child.try_wait().unwrap());
        assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?} to end", begun.elapsed());
        let said = until("the last words", || Some(self.said()).filter(|s| s.contains(" frames covered, ")));
        assert!(code.success(), "{said}");
        assert!(!said.contains(SECRET) && !said.contains("panicked"), "{said}");
        (said, self.shown(), std::mem::replace(&mut self.dir, TempDir::new().unwrap()))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for child in [&mut self.child, &mut self.feeder] {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("milkglass said:\n{}", self.said());
        }
    }
}

/// A child that reaches the network writes no file; one that writes files reaches no network. None gains privileges.
#[track_caller]
fn caged(id: u32, network: bool) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap();
    assert!(read("status").contains("NoNewPrivs:\t1"), "{}", read("status"));
    let limits = read("limits");
    let file_size = limits.lines().find(|line| line.starts_with("Max file size")).unwrap();
    assert_eq!(file_size.split_whitespace().nth(3) == Some("0"), network, "{file_size}");
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).unwrap();
    let own = namespace(&id.to_string()) != namespace("self");
    let granted = Command::new("unshare").args(["-n", "true"]).stderr(Stdio::null()).status();
    match network || granted.is_ok_and(|status| status.success()) {
        true => assert_eq!(own, !network, "the network of child {id}"),
        false => eprintln!("not looked at: this machine grants no network namespace"),
    }
}

fn kill(signal: &str, id: u32) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status().unwrap().success());
}

fn command_line(id: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default())
        .replace('\0', " ")
}

/// Counts Y4M frames as they come.
fn count_frames(out: ChildStdout, seen: &AtomicUsize) {
    let mut out = BufReader::with_capacity(1 << 20, out);
    let mut header = String::new();
    if out.read_line(&mut header).is_err() || header.is_empty() {
        return;
    }
    let side = |tag| header.split_whitespace().find_map(|w| w.strip_prefix(tag)?.parse().ok()).unwrap();
    let (width, height): (usize, usize) = (side('W'), side('H'));
    let mut frame = vec![0; width * height + 2 * width.div_ceil(2) * height.div_ceil(2)];
    let mut line = String::new();
    while out.read_line(&mut line).is_ok_and(|n| n > 0) && out.read_exact(&mut frame).is_ok() {
        seen.fetch_add(1, Ordering::SeqCst);
        line.clear();
    }
}

/// `ffmpeg INPUT` decoding into small grey pictures.
fn decoder(input: &[&str]) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error"]).args(input);
    let size = format!("{}x{}", SMALL.0, SMALL.1);
    command.args(["-f", "rawvideo", "-pix_fmt", "gray", "-fps_mode", "passthrough", "-s", &size, "pipe:1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Pictures of a decoder that runs.
struct Watcher {
    child: Child,
    pictures: ChildStdout,
}

impl Watcher {
    /// A server that takes a pushed stream.
    fn listens(port: u16) -> Watcher {
        let at = format!("rtsp://127.0.0.1:{port}/cam");
        let probe = ["-analyzeduration", "200000", "-probesize", "50000", "-fflags", "nobuffer"];
        Watcher::of(&[&probe[..], &["-rtsp_flags", "listen", "-i", &at]].concat())
    }

    fn of(input: &[&str]) -> Watcher {
        let mut child = decoder(input).stderr(Stdio::null()).spawn().unwrap();
        let pictures = child.stdout.take().unwrap();
        Watcher { child, pictures }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut picture = vec![0; SMALL.0 * SMALL.1];
        self.pictures.read_exact(&mut picture).is_ok().then_some(picture)
    }

    /// The next `count` pictures.
    #[track_caller]
    fn pictures(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| self.next().unwrap_or_else(|| panic!("only {n} of {count} pictures"))).collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All pictures of a file or list.
#[track_caller]
fn pictures(path: &Path) -> Vec<Vec<u8>> {
    let output = decoder(&["-i", path.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks_exact(SMALL.0 * SMALL.1).map(<[u8]>::to_vec).collect()
}

/// The columns of a picture.
fn columns(picture: &[u8], columns: std::ops::Range<usize>) -> impl Iterator<Item = u8> {
    picture.chunks_exact(SMALL.0).flat_map(move |row| row[columns.clone()].to_vec())
}

fn is_blank(picture: &[u8]) -> bool {
    columns(picture, 0..SMALL.0).all(|v| v < 24)
}

/// The zone is black in all of them, and at least `visible` show something beside it.
#[track_caller]
fn redacted(pictures: &[Vec<u8>], visible: usize) {
    for picture in pictures {
        let brightest = columns(picture, 0..SMALL.0 / 2 - 2).max().unwrap();
        assert!(brightest < 24, "the zone shows {brightest}");
    }
    let shows = |p: &&Vec<u8>| columns(p, SMALL.0 / 2 + 2..SMALL.0).any(|v| v > 80);
    let seen = pictures.iter().filter(shows).count();
    assert!(seen >= visible, "only {seen} of {} pictures show anything", pictures.len());
}

/// The number in front of ` frames covered`.
fn covered(said: &str) -> usize {
    let (before, _) = said.rsplit_once(" frames covered").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn files_and_lists_play_are_redacted_and_survive_the_end() {
    let files = ["cam.mp4", "cam.mkv", "cam.ts"];
    let to: Vec<&str> = files.iter().chain(["list.m3u8"].iter()).flat_map(|f| ["--to", f]).collect();
    // Odd sides are made even.
    let live = Live::zone("641:361", TempDir::new().unwrap(), &to);
    until("a list with a segment", || {
        std::fs::read_to_string(live.path("list.m3u8")).ok().filter(|list| list.contains(".ts"))
    });
    let (_, _, dir) = live.end();
    for name in files.iter().chain(["list.m3u8"].iter()) {
        let pictures = pictures(&dir.path().join(name));
        assert!(pictures.len() >= 25, "{name}: only {} pictures", pictures.len());
        redacted(&pictures, pictures.len());
    }
    let probed = common::probe(&dir.path().join("cam.mp4"));
    assert_eq!(
        (probed["streams"][0]["width"].as_u64(), probed["streams"][0]["height"].as_u64()),
        (Some(642), Some(362))
    );

    // Once more: the list begins anew, files are not touched.
    let before = common::sha256(&dir.path().join("cam.mp4"));
    let args = ["live", "--from", "-", "--state-dir", "state", "--faces", "off", "--zone", ZONE];
    let mut again = common::milkglass();
    again.args(args).args(["--to", "list.m3u8", "--to", "cam.mp4"]).current_dir(dir.path());
    again.stdin(small_y4m(dir.path()));
    let ran = common::run(&mut again);
    assert!(ran.err.contains("cam.mp4 exists, so cam-1.mp4 is written"), "{}", ran.err);
    assert_eq!((ran.code, common::sha256(&dir.path().join("cam.mp4"))), (0, before));
    assert!(dir.path().join("cam-1.mp4").metadata().unwrap().len() > 0);

    // A start that fails leaves nothing behind.
    let mut fails = common::milkglass();
    fails.args(args).args(["--to", "new.mp4", "--to", "no/such/folder/b.mp4"]).current_dir(dir.path());
    let failed = common::run(fails.stdin(small_y4m(dir.path())));
    assert_eq!((failed.code, dir.path().join("new.mp4").exists()), (1, false), "{}", failed.err);
}

/// x264 writes into the stream how many threads it had. Left to itself it takes three for every two processors: never two.
#[test]
fn encoders_keep_to_the_bound_on_threads() {
    let dir = TempDir::new().unwrap();
    let mut live = common::milkglass();
    live.args(["live", "--from", "-", "--state-dir", "state", "--faces", "off", "--zone", ZONE]);
    live.args(["--threads", "2", "--to", "cam.mkv"]).current_dir(dir.path());
    let ran = common::run(live.stdin(y4m(dir.path(), "640x360")));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let written = std::fs::read(dir.path().join("cam.mkv")).unwrap();
    let written = String::from_utf8_lossy(&written);
    let had = written.split_once(" threads=").map(|(_, had)| had.split(' ').next().unwrap());
    assert_eq!(had, Some("2"));
}

/// A short Y4M stream from a file.
fn small_y4m(dir: &Path) -> std::fs::File {
    y4m(dir, "64x36")
}

fn y4m(dir: &Path, size: &str) -> std::fs::File {
    let path = dir.join("short.y4m");
    let making = format!("-i {{}} -frames:v 5 -s {size} -pix_fmt yuv420p {{}}");
    common::ffmpeg(common::words(&making, &[&common::example(), &path]));
    std::fs::File::open(path).unwrap()
}

#[test]
fn what_cannot_work_is_refused_before_the_first_frame() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("notes.m3u8"), "my notes").unwrap();
    let at = format!("rtsp://cam:{SECRET}@127.0.0.1:9/x");
    let ffmpeg =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).find(|p| p.join("ffmpeg").exists());
    let cases: [(&[&str], &Path, &str); 6] = [
        (
            &["--to", &at, "--encoder", "libx264,exec"],
            ffmpeg.as_deref().unwrap(),
            "not the name of an encoder",
        ),
        (&["--to", &at, "--encoder", "libnosuch"], ffmpeg.as_deref().unwrap(), "no encoder libnosuch"),
        (&["--to", "cam.docx"], ffmpeg.as_deref().unwrap(), "no target"),
        (&["--to", "notes.m3u8"], ffmpeg.as_deref().unwrap(), "no HLS list"),
        (&["--to", "missing/cam.mp4"], ffmpeg.as_deref().unwrap(), "missing/cam.mp4"),
        (&["--to", &at], dir.path(), "ffmpeg was not found"),
    ];
    for (args, ffmpeg, said) in cases {
        let mut command = common::milkglass();
        command.args(["live", "--from", "-", "--state-dir", "state", "--faces", "off", "--zone", ZONE]);
        command.args(args).env("MILKGLASS_FFMPEG", ffmpeg);
        command.current_dir(dir.path()).stdin(small_y4m(dir.path()));
        let ran = common::run(&mut command);
        assert!(ran.code == 1 && ran.err.contains(said) && !ran.err.contains(SECRET), "{said}: {}", ran.err);
    }
}

#[test]
fn a_pushed_stream_is_redacted_and_comes_back_when_its_child_is_killed() {
    let port = free_port();
    let mut server = Watcher::listens(port);
    let at = format!("rtsp://cam:{SECRET}@127.0.0.1:{port}/cam");
    let live = Live::zone("640:360", TempDir::new().unwrap(), &["--to", &at, "--to", "-"]);
    redacted(&server.pictures(30), 30);

    let first = live.child("rtsp:", None);
    caged(first, true);
    kill("KILL", first);
    until("the end of the stream", || server.next().is_none().then_some(()));
    let mut server = {
        drop(server);
        Watcher::listens(port)
    };
    redacted(&server.pictures(30), 30);
    assert_ne!(live.child("rtsp:", Some(first)), first);
    live.says("ended by signal 9");

    let (said, shown, _) = live.end();
    let covered = covered(&said);
    // A queue of two frames bridges every hiccup but that of a machine that is busy elsewhere.
    assert!(shown * 10 >= covered * 9, "standard output got {shown} of {covered} frames");
}

#[test]
fn rtmp_and_srt_are_pushed_too() {
    let (rtmp, srt) = (format!("rtmp://127.0.0.1:{}/live/{SECRET}", free_port()), free_port());
    let listening = format!("srt://127.0.0.1:{srt}?mode=listener&passphrase={SECRET}");
    let mut servers = [
        Watcher::of(&["-listen", "1", "-f", "flv", "-i", &rtmp]),
        Watcher::of(&["-f", "mpegts", "-i", &listening]),
    ];
    let srt = format!("srt://127.0.0.1:{srt}?passphrase={SECRET}");
    let live = Live::zone("640:360", TempDir::new().unwrap(), &["--to", &rtmp, "--to", &srt]);
    servers.iter_mut().for_each(|server| redacted(&server.pictures(30), 30));
    live.end();
}

#[test]
fn neither_a_dead_host_nor_a_stopped_child_keeps_anybody_waiting() {
    let (dead, hole) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    // One refuses; the other one takes the connection and never answers.
    let dead = format!("rtsp://cam:{SECRET}@127.0.0.1:{dead}/cam?key={SECRET}");
    let hole = format!("rtmp://127.0.0.1:{}/live/{SECRET}", hole.local_addr().unwrap().port());
    let live = Live::zone(
        "640:360",
        TempDir::new().unwrap(),
        &["--to", &dead, "--to", &hole, "--to", "cam.mkv", "--to", "-"],
    );
    live.says("Connection refused; it is tried again");
    let writer = live.child("cam.mkv", None);
    until("the file grows", || live.path("cam.mkv").metadata().ok().filter(|m| m.len() > 20_000));
    caged(writer, false);
    kill("STOP", writer);
    let before = live.shown();
    live.says("cam.mkv: it took nothing for 10 s");
    assert!(live.shown() - before >= 150, "only {} frames in ten seconds", live.shown() - before);
    let next = until("the next file", || {
        Some(live.path("cam-1.mkv")).filter(|p| p.metadata().is_ok_and(|m| m.len() > 20_000))
    });
    live.says("/live/...: it took nothing for 10 s");

    let (said, shown, dir) = live.end();
    assert!(shown * 10 >= covered(&said) * 9, "standard output got {shown} of {} frames", covered(&said));
    let next = dir.path().join(next.file_name().unwrap());
    for file in [dir.path().join("cam.mkv"), next] {
        let pictures = pictures(&file);
        redacted(&pictures, pictures.len());
        assert!(!pictures.is_empty(), "{} is empty", file.display());
    }
}

#[test]
fn after_privacy_mode_begins_nothing_older_is_shown() {
    let port = free_port();
    let mut server = Watcher::listens(port);
    let push = format!("rtsp://127.0.0.1:{port}/cam");
    let live = Live::zone(
        "640:360",
        TempDir::new().unwrap(),
        &["--to", &push, "--to", "list.m3u8", "--to", "cam.mp4"],
    );
    redacted(&server.pictures(30), 30);
    let segments = |list: &str| -> Vec<String> {
        list.lines().filter(|line| !line.starts_with('#')).map(String::from).collect()
    };
    let list = || std::fs::read_to_string(live.path("list.m3u8")).map(|l| segments(&l)).unwrap_or_default();
    let old = until("a segment", || Some(list()).filter(|l| !l.is_empty()));
    // On a busy machine, the file's first fragment comes long after the stream's first pictures.
    let has_fragment = |file: &[u8]| file.windows(4).any(|name| name == b"moof");
    until("a fragment", || std::fs::read(live.path("cam.mp4")).ok().filter(|f| has_fragment(f)));
    let before = live.child("rtsp:", None);

    live.signal("USR1");
    live.says("privacy mode is on");
    // The connection ends; whoever connects after the signal is a new child.
    until("the end of the stream", || server.next().is_none().then_some(()));
    drop(server);
    let mut server = Watcher::listens(port);
    assert!(server.pictures(30).iter().all(|p| is_blank(p)), "a picture from before the signal was pushed");
    assert_ne!(live.child("rtsp:", Some(before)), before);

    let new =
        until("a new list", || Some(list()).filter(|l| !l.is_empty() && !old.iter().any(|o| l.contains(o))));
    assert!(old.iter().all(|o| !live.path(o).exists()), "segments from before the signal are still there");
    let seen = pictures(&live.path(&new[0]));
    assert!(
        seen.len() > 10 && seen.iter().all(|p| is_blank(p)),
        "the list shows a picture from before the signal"
    );

    let (_, _, dir) = live.end();
    let seen = pictures(&dir.path().join("cam-1.mp4"));
    assert!(seen.len() > 10 && seen.iter().all(|p| is_blank(p)), "the new file shows one from before");
    redacted(&pictures(&dir.path().join("cam.mp4")), 10);
}

/// The RTSP server of the feature `rtsp-server`, read by ffmpeg and GStreamer.
#[cfg(feature = "rtsp-server")]
mod rtsp_server {
    use std::io::Write as _;
    use std::net::TcpStream;

    use super::*;

    /// ffprobe's exit and words about an address.
    fn ffprobe(address: &str, transport: &str) -> (bool, String) {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-rtsp_transport", transport, "-show_entries"]);
        command
            .args(["stream=codec_name,width,height,avg_frame_rate,color_range", "-of", "csv"])
            .arg(address);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    }

    /// Waits until the server answers.
    #[track_caller]
    fn served(address: &str) {
        until("the server answers", || ffprobe(address, "tcp").0.then_some(()));
    }

    /// Pictures that a client gets from now on, as soon as they come.
    fn client(address: &str) -> Watcher {
        let at_once = ["-fflags", "nobuffer", "-flags", "low_delay", "-threads", "1"];
        Watcher::of(&[&at_once[..], &["-rtsp_transport", "tcp", "-i", address]].concat())
    }

    /// Whether clients come back is their business; this one does until it gets pictures.
    #[track_caller]
    fn pictures_again(address: &str, count: usize) -> Vec<Vec<u8>> {
        until("pictures again", || {
            let mut client = client(address);
            client.next().map(|first| std::iter::once(first).chain(client.pictures(count - 1)).collect())
        })
    }

    #[test]
    fn recorders_of_every_kind_pull_redacted_pictures() {
        let at = format!("127.0.0.1:{}/cam", free_port());
        let address = format!("rtsp://{at}");
        let live = Live::zone(
            "322:180",
            TempDir::new().unwrap(),
            &["--to", &format!("rtsp-server://{at}"), "--to", "-"],
        );
        served(&address);
        for transport in ["tcp", "udp"] {
            let (found, said) = ffprobe(&address, transport);
            assert!(found && said.contains("stream,h264,322,180,tv,25/1"), "{transport}: {said}");
        }
        let (found, said) = ffprobe(&format!("{address}/elsewhere"), "tcp");
        assert!(!found && said.contains("404"), "{said}");

        let mut clients = [client(&address), client(&address)];
        for client in &mut clients {
            redacted(&client.pictures(30), 30);
        }
        for transport in ["tcp", "udp"] {
            let file = live.path(&format!("{transport}.h264"));
            let mut gst = Command::new("gst-launch-1.0");
            gst.args(["-q", "rtspsrc", &format!("location={address}"), &format!("protocols={transport}")]);
            gst.args("! rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au ! identity eos-after=40 ! filesink".split_whitespace());
            let output = gst.arg(format!("location={}", file.display())).output().unwrap();
            // How it ends is no matter: it says PAUSE after TEARDOWN now and then, and complains.
            let pictures = pictures(&file);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(pictures.len() >= 20, "{transport}: {} pictures: {said}", pictures.len());
            redacted(&pictures, pictures.len());
        }

        let first = live.child("__rtsp-server", None);
        caged(first, true);
        kill("KILL", first);
        redacted(&pictures_again(&address, 30), 30);
        live.says("ended by signal 9");
        assert_ne!(live.child("__rtsp-server", Some(first)), first);
        let (said, shown, _) = live.end();
        assert!(shown * 10 >= covered(&said) * 9, "standard output got {shown} of {} frames", covered(&said));
    }

    #[test]
    fn after_privacy_mode_begins_nothing_older_is_served() {
        let at = format!("127.0.0.1:{}/cam", free_port());
        let address = format!("rtsp://{at}");
        let live = Live::zone(
            "640:360",
            TempDir::new().unwrap(),
            &["--to", &format!("rtsp-server://{at}"), "--to", "-"],
        );
        served(&address);
        let mut before = client(&address);
        redacted(&before.pictures(30), 30);
        // A server that stands still has old frames in its pipe, and could not answer that they are gone.
        let server = live.child("__rtsp-server", None);
        kill("STOP", server);
        let fed = live.shown();
        until("frames in the pipe", || (live.shown() > fed + 10).then_some(()));
        live.signal("USR1");
        live.says("privacy mode is on");
        assert_ne!(live.child("__rtsp-server", Some(server)), server);
        // It stood still until its end, so it has served none of them.
        until("its end", || (!Path::new(&format!("/proc/{server}/fd")).exists()).then_some(()));
        assert!(pictures_again(&address, 30).iter().all(|p| is_blank(p)), "a picture from before the signal");
        live.signal("USR2");
        live.says("privacy mode is off");
        until("pictures", || (!is_blank(&pictures_again(&address, 1)[0])).then_some(()));
        live.end();
    }

    #[test]
    fn clients_stay_connected_through_privacy_mode() {
        let at = format!("127.0.0.1:{}/cam", free_port());
        let address = format!("rtsp://{at}");
        let live = Live::zone("640:360", TempDir::new().unwrap(), &["--to", &format!("rtsp-server://{at}")]);
        served(&address);
        let server = live.child("__rtsp-server", None);
        let mut clients = [client(&address), client(&address)];
        for _ in 0..3 {
            clients.iter_mut().for_each(|c| redacted(&c.pictures(30), 30));
            live.signal("USR1");
            until("blank pictures", || clients.iter_mut().all(|c| is_blank(&c.pictures(1)[0])).then_some(()));
            for client in &mut clients {
                assert!(client.pictures(30).iter().all(|p| is_blank(p)), "it does not stay blank");
            }
            live.signal("USR2");
            until("pictures", || clients.iter_mut().all(|c| !is_blank(&c.pictures(1)[0])).then_some(()));
        }
        assert_eq!(live.child("__rtsp-server", None), server);
        live.end();
    }

    #[test]
    fn connections_that_ask_for_nothing_make_room_for_recorders() {
        let port = free_port();
        let address = format!("rtsp://127.0.0.1:{port}/cam");
        let to = format!("rtsp-server://127.0.0.1:{port}/cam");
        let live = Live::zone("320:180", TempDir::new().unwrap(), &["--to", &to]);
        served(&address);
        let mut recorder = client(&address);
        redacted(&recorder.pictures(5), 5);
        let silent: Vec<TcpStream> = (0..200)
            .map(|n| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.set_nonblocking(true).unwrap();
                let _ = stream.write(if n % 2 == 0 { b"OPTIONS rtsp:" } else { b"" });
                stream
            })
            .collect();
        let ended = |mut stream: &TcpStream| match stream.read(&mut [0]) {
            Ok(n) => n == 0,
            Err(e) => e.kind() != std::io::ErrorKind::WouldBlock,
        };
        let count = || silent.iter().filter(|s| ended(s)).count();
        until("those that are too many are ended", || (count() >= 136).then_some(()));
        redacted(&client(&address).pictures(5), 5);
        until("the others are ended as well", || (count() == 200).then_some(()));
        redacted(&recorder.pictures(5), 5);
        live.end();
    }

    /// The password's file, for nobody else to read.
    fn token(folder: &Path) {
        let file = folder.join("token");
        std::fs::write(&file, format!("{SECRET}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_password_is_asked_for_and_needed_beyond_loopback() {
        let dir = TempDir::new().unwrap();
        token(dir.path());
        let port = free_port();
        let to = format!("rtsp-server://0.0.0.0:{port}/cam");
        let args =
            ["live", "--from", "-", "--state-dir", "state", "--faces", "off", "--zone", ZONE, "--to", &to];
        let mut open = common::milkglass();
        open.args(args).current_dir(dir.path()).stdin(small_y4m(dir.path()));
        let ran = common::run(&mut open);
        assert!(ran.code == 1 && ran.err.contains("--token-file"), "{}", ran.err);

        let live = Live::zone("320:180", dir, &["--to", &to, "--token-file", "token"]);
        let address = |user: &str| format!("rtsp://{user}127.0.0.1:{port}/cam");
        served(&address(&format!("milkglass:{SECRET}@")));
        for wrong in ["", "milkglass:wrong@", &format!("admin:{SECRET}@")] {
            let (found, said) = ffprobe(&address(wrong), "tcp");
            assert!(!found && said.contains("401"), "{wrong}: {said}");
        }
        let server = live.child("__rtsp-server", None);
        assert!(!command_line(server).contains(SECRET));
        // The port is taken, which is told at once.
        let second = TempDir::new().unwrap();
        token(second.path());
        let mut taken = common::milkglass();
        taken.args(args).args(["--token-file", "token"]).current_dir(second.path());
        let ran = common::run(taken.stdin(small_y4m(second.path())));
        assert!(ran.code == 1 && ran.err.contains("cannot listen there"), "{}", ran.err);
        live.end();
    }
}

#[test]
fn faces_are_hidden_in_what_ffmpeg_writes() {
    // One picture of the clip for ever and in its time, so that it is known where its faces are.
    let still = common::FIRST + 10;
    let filter = format!(
        "trim=start_frame={still}:end_frame={},setpts=0,loop=-1:1:0,setpts=N/5/TB,fps=5,realtime",
        still + 1
    );
    let args = ["--preset", "fast", "--deadline", "8s", "--max-gap", "4s", "--to", "cam.mp4"];
    let live = Live::start(&[], &filter, TempDir::new().unwrap(), &args);
    live.says("running: ");
    until("pictures that show something", || {
        live.path("cam.mp4").metadata().ok().filter(|m| m.len() > 60_000)
    });
    let (_, _, dir) = live.end();
    let frames = common::decode(&dir.path().join("cam.mp4"));
    let faces = &common::truth()[still];
    assert!(!faces.is_empty());
    let visible = |n: usize| (0..1280).step_by(16).any(|x| frames.luma(n, x, 600) > 80);
    let count = frames.data.len();
    assert!((0..count).filter(|&n| visible(n)).count() >= 5, "everything was covered whole");
    frames.hides(&vec![faces.clone(); count], "cam.mp4");
}
