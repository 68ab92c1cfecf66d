//! The real program, `milkglass live`, with the real detector: pictures of people are played into one HDMI loop of vivid,
//! redacted, and compared at every local target with what was played: faces and zone hidden, the rest equal.
//!
//! run.sh puts the program, the model, the pictures and their labels into the working folder.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool};
use milkglass::picture::PixelFormat;
use milkglass::policy::{Polygon, Style, Zone};
use milkglass::time::Timestamp;
use milkglass::v4l2::V4l2Output;
use milkglass::{FrameFormat, FrameSink, Policy};

use crate::rig::{Killed, PLAYED_ROW, loop_hdmi, partly_hidden, tag, v4l2_ctl, write_tag};

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
const LEN: usize = WIDTH * HEIGHT * 3 / 2;
/// The pictures are frames of the clip from this one on, of which a part that starts here was cut out and scaled to two
/// thirds (run.sh).
const FIRST: u64 = 18;
const CUT: (i64, i64) = (420, 280);
/// How long each picture is played. Faces move by at most 7 pixels from one to the next, much less than their size
/// within the seconds that emulated detection takes: less than the policy's `speed`.
const STEP: Duration = Duration::from_secs(3);
/// The first and the last one, where faces turn round, stay longer than the policy's `max_gap`: so whichever two detections
/// cover a frame, the way between them is straight.
const TURN: Duration = Duration::from_secs(11);
/// Without the self-test, which would take as many seconds again; tests/selftest.rs has its own.
const POLICY: &str = r#"
preset = "fast"
deadline = "20s"
max_gap = "10s"
self_test = "off"
speed = 0.1
[[zone]]
name = "corner"
area = [[0.75, 0.75], [1.0, 0.75], [1.0, 1.0], [0.75, 1.0]]
"#;
/// Frames that must leave covered at each target.
const ENOUGH: usize = 20;
/// Of so many different pictures.
const ENOUGH_PICTURES: usize = 5;
const BLACK: [u8; 3] = [16, 128, 128];

pub fn people_are_hidden_by_the_real_program() {
    let pictures = Arc::new(Pictures::load());
    loop_hdmi(3, 2, "NV12", (WIDTH as u32, HEIGHT as u32));
    loop_hdmi(5, 4, "NV12", (WIDTH as u32, HEIGHT as u32));
    let player = Player::start(&pictures);
    std::fs::write("/tmp/camera.toml", POLICY).unwrap();
    // Reading a program page by page from the shared folder is slow.
    std::fs::copy("milkglass", "/tmp/milkglass").unwrap();
    let program = Command::new("/tmp/milkglass")
        .args(["live", "--from", "/dev/video2", "--size", "320x240", "--fps", "2", "--backend", "rten"])
        .args(["--policy", "/tmp/camera.toml", "--state-dir", "/tmp/state"])
        .args(["--to", "nv12:-", "--to", "v4l2:/dev/video5"])
        .env("MILKGLASS_MODELS", std::env::current_dir().unwrap())
        .stdout(Stdio::piped())
        .spawn();
    let mut program = Killed(program.unwrap());
    let piped = Arc::new(Mutex::new(Tally::new("standard output")));
    let reader = read(program.0.stdout.take().unwrap(), &pictures, &piped);

    // Before its first frames, vivid shows what it likes.
    await_frames(&mut program.0, || piped.lock().unwrap().until(|tally| tally.frames >= 3));
    let mut output = Tally::new("the output device");
    await_frames(&mut program.0, || {
        output.judge(&pictures, &snapshot());
        sleep(Duration::from_millis(500));
        // A slow detector lets frames out several at once, of which a look at the device sees one.
        let enough = |tally: &Tally| tally.covered >= ENOUGH && tally.seen.len() >= ENOUGH_PICTURES;
        output.until(enough).or_else(|| piped.lock().unwrap().until(enough))
    });
    let stopped = Command::new("kill").arg(program.0.id().to_string()).status();
    assert!(stopped.unwrap().success());
    assert!(program.0.wait().unwrap().success(), "it ended with an error");
    reader.join().unwrap();
    player.stop();
    for tally in [&*piped.lock().unwrap(), &output] {
        println!("  {tally:?}");
        assert_eq!(tally.wrong, None, "{}", tally.target);
        assert!(tally.seen.len() >= ENOUGH_PICTURES, "too few of the pictures came out at {}", tally.target);
    }
}

/// The example that shows how short it gets: pictures leave as Y4M, black ones before the first detection alone.
pub fn the_quickstart_runs() {
    v4l2_ctl(0, &["--set-fmt-video=width=320,height=180,pixelformat=NV12"]);
    let mut program = Command::new("./quickstart");
    // No emulated processor tests its detector in time.
    std::fs::write("/tmp/quick.toml", "preset = 'fast'\nmax_gap = '10s'\nself_test = 'off'\n").unwrap();
    program.args(["/dev/video0", "/tmp/quick.toml"]).env("MILKGLASS_MODELS", ".");
    let program = program.stdout(Stdio::piped()).spawn();
    let mut program = Killed(program.unwrap());
    let mut pipe = BufReader::new(program.0.stdout.take().unwrap());
    let mut header = String::new();
    pipe.read_line(&mut header).unwrap();
    assert!(header.starts_with("YUV4MPEG2 W320 H180 F"), "{header:?}");
    let mut frame = vec![0; 6 + 320 * 180 * 3 / 2];
    let mut shown = 0;
    while shown < 5 {
        pipe.read_exact(&mut frame).unwrap();
        assert!(frame.starts_with(b"FRAME\n"));
        let covered = frame[6..6 + 320 * 180].iter().any(|luma| *luma != BLACK[0]);
        assert!(covered || shown == 0, "it went black again");
        shown += u32::from(covered);
    }
}

/// Waits, as long as the program lives.
fn await_frames(program: &mut Child, mut missing: impl FnMut() -> Option<String>) {
    let end = Instant::now() + Duration::from_secs(300);
    while let Some(what) = missing() {
        assert!(Instant::now() < end, "too few frames left covered: {what}");
        assert_eq!(program.try_wait().unwrap(), None, "the program has ended");
        sleep(Duration::from_millis(100));
    }
}

/// Judges the frames of a pipe.
fn read(
    mut pipe: impl Read + Send + 'static,
    pictures: &Arc<Pictures>,
    tally: &Arc<Mutex<Tally>>,
) -> JoinHandle<()> {
    let (pictures, tally) = (Arc::clone(pictures), Arc::clone(tally));
    std::thread::spawn(move || {
        let mut frame = vec![0; LEN];
        while pipe.read_exact(&mut frame).is_ok() {
            tally.lock().unwrap().judge(&pictures, &frame);
        }
    })
}

/// One picture of what the output device shows.
fn snapshot() -> Vec<u8> {
    let path = "/tmp/snapshot.nv12";
    let mut reader = Command::new("v4l2-ctl");
    reader.args(["-d4", "--stream-mmap=3", "--stream-count=1"]).arg(format!("--stream-to={path}"));
    assert!(reader.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    std::fs::read(path).unwrap()
}

/// What came out at one target.
#[derive(Debug)]
struct Tally {
    target: &'static str,
    frames: usize,
    /// Frames that were compared with what was played.
    covered: usize,
    /// Frames of one colour.
    obscured: usize,
    /// Frames of which the tag is hidden too.
    unread: usize,
    /// Which pictures they were.
    seen: std::collections::BTreeSet<usize>,
    wrong: Option<String>,
}

impl Tally {
    fn new(target: &'static str) -> Tally {
        Tally { target, frames: 0, covered: 0, obscured: 0, unread: 0, seen: Default::default(), wrong: None }
    }

    /// Itself in words, until `condition` holds or something was wrong.
    fn until(&self, condition: impl FnOnce(&Tally) -> bool) -> Option<String> {
        (self.wrong.is_none() && !condition(self)).then(|| format!("{self:?}"))
    }

    fn judge(&mut self, pictures: &Pictures, frame: &[u8]) {
        assert_eq!(frame.len(), LEN);
        self.frames += 1;
        let row = &frame[PLAYED_ROW * WIDTH..][..WIDTH];
        let judged = if (0..WIDTH * HEIGHT).all(|i| pixel(frame, i) == BLACK) {
            self.obscured += 1;
            Ok(())
        } else if let Some(n) = tag(row).map(|n| n as usize).filter(|n| *n < pictures.played.len()) {
            self.covered += 1;
            self.seen.insert(n);
            pictures.compare(n, frame).map_err(|what| format!("picture {n}: {what}"))
        } else if partly_hidden(row, BLACK[0]) {
            self.unread += 1;
            Ok(())
        } else {
            Err(format!("it is no picture that was played: its tag reads {:?}", &row[..WIDTH / 3]))
        };
        if let Err(what) = judged {
            self.wrong.get_or_insert(format!("frame {}: {what}", self.frames));
        }
    }
}

/// Luma and both chroma samples of a pixel, by its number.
fn pixel(frame: &[u8], i: usize) -> [u8; 3] {
    let chroma = WIDTH * HEIGHT + i / WIDTH / 2 * WIDTH + i % WIDTH / 2 * 2;
    [frame[i], frame[chroma], frame[chroma + 1]]
}

/// The pictures that are played, and where faces are in them: x, y, width, height.
struct Pictures {
    played: Vec<Vec<u8>>,
    faces: Vec<Vec<[i64; 4]>>,
}

impl Pictures {
    fn load() -> Pictures {
        let mut played: Vec<Vec<u8>> =
            std::fs::read("people.nv12").unwrap().chunks_exact(LEN).map(<[u8]>::to_vec).collect();
        for (n, picture) in played.iter_mut().enumerate() {
            write_tag(picture, WIDTH, n as u32);
        }
        let labels = std::fs::read_to_string("people.truth.json").unwrap();
        let labels = labels.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let faces: Vec<Vec<[i64; 4]>> = labels
            .skip_while(|label| label["frame"] != FIRST)
            .take(played.len())
            .map(|label| {
                let faces: Vec<[i64; 4]> = serde_json::from_value(label["faces"].clone()).unwrap();
                faces
                    .into_iter()
                    .map(|[x, y, w, h]| [x - CUT.0, y - CUT.1, w, h].map(|v| v * 2 / 3))
                    .collect()
            })
            .collect();
        assert!((played.len(), faces.len()) == (16, 16), "the pictures do not fit the labels");
        assert!(faces.iter().all(|f| f.len() == 2), "there are two faces in each");
        Pictures { played, faces }
    }

    /// Faces and zone must be black; every pixel is black or as it was played, and where no face comes near it is the latter.
    fn compare(&self, n: usize, frame: &[u8]) -> Result<(), String> {
        let near = |[x, y, w, h]: [i64; 4]| [x - w, y - h, 3 * w, 3 * h];
        let holds =
            |[left, top, w, h]: [i64; 4], x, y| (left..left + w).contains(&x) && (top..top + h).contains(&y);
        let mut black = 0;
        for i in 0..WIDTH * HEIGHT {
            let (x, y) = ((i % WIDTH) as i64, (i / WIDTH) as i64);
            let (is, was) = (pixel(frame, i), pixel(&self.played[n], i));
            let in_zone = x >= 240 && y >= 180;
            let hidden = in_zone || self.faces[n].iter().any(|face| holds(*face, x, y));
            let may_be_hidden = hidden || self.faces.iter().flatten().any(|face| holds(near(*face), x, y));
            if hidden && is != BLACK {
                return Err(format!("{x}, {y} is visible"));
            }
            // A sample of chroma belongs to four pixels, and is hidden for the sake of one.
            let luma_stays = is[0] == was[0] || may_be_hidden && is[0] == BLACK[0];
            let chroma_stays = is[1..] == was[1..] || may_be_hidden && is[1..] == BLACK[1..];
            if !(luma_stays && chroma_stays) {
                return Err(format!("{x}, {y} is {is:?} instead of {was:?}"));
            }
            black += usize::from(is == BLACK && !in_zone);
        }
        if black < WIDTH * HEIGHT / 3 {
            Ok(())
        } else {
            Err(format!("{black} pixels outside the zone are hidden"))
        }
    }
}

/// An output device that is given pictures as they are, but for a spot in the corner that the zone hides later: without
/// hiding something, no frame leaves. (v4l2-ctl names wrong sizes to vivid here on arm64.)
struct Screen {
    engine: Engine,
    pool: FramePool,
    output: V4l2Output,
    count: u64,
}

impl Screen {
    fn open(path: &str) -> Screen {
        let format = FrameFormat::new(PixelFormat::Nv12, WIDTH as u32, HEIGHT as u32).unwrap();
        let spot = Polygon::new([(0.99, 0.99), (1.0, 0.99), (1.0, 1.0), (0.99, 1.0)]).unwrap();
        let zone = Zone::new("spot", spot, Style::default()).unwrap();
        let policy = Policy::builder().zone(zone).build().unwrap();
        let pool = FramePool::new(format, 4);
        let engine = Engine::new(policy, pool.clone(), &[]).unwrap();
        Screen { engine, pool, output: V4l2Output::open(path, &format, 10.0).unwrap(), count: 0 }
    }

    fn show(&mut self, picture: &[u8]) {
        self.count += 1;
        let now = Timestamp::from_millis(self.count);
        let (luma, chroma) = picture.split_at(WIDTH * HEIGHT);
        let raw = self.pool.fill(FrameMeta { sequence: self.count, captured: now }, |view| {
            for (plane, samples) in [luma, chroma].into_iter().enumerate() {
                for (y, row) in samples.chunks(WIDTH).enumerate() {
                    view.row_mut(plane, y as u32).copy_from_slice(row);
                }
            }
            Ok(())
        });
        self.engine.push(raw.unwrap().unwrap(), now).unwrap();
        self.output.send(&self.engine.release(now).unwrap()).unwrap();
    }
}

/// Plays the pictures to and fro.
struct Player {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Player {
    fn start(pictures: &Arc<Pictures>) -> Player {
        let (stop, pictures) = (Arc::new(AtomicBool::new(false)), Arc::clone(pictures));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let last = pictures.played.len() - 1;
            let mut screen = Screen::open("/dev/video3");
            for n in (0..=last).chain((1..last).rev()).cycle() {
                let until = Instant::now() + if n == 0 || n == last { TURN } else { STEP };
                while Instant::now() < until {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    // Several times, since vivid keeps the newest ones in its queue until others come.
                    screen.show(&pictures.played[n]);
                    sleep(Duration::from_millis(100));
                }
            }
        });
        Player { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}
