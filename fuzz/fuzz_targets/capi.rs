//! Sequences of calls of the C interface, as a program with mistakes in it makes them: stale and invented streams, NULL,
//! wrong sizes, calls from callbacks, two threads. Nothing crashes; what is wrong is refused, and says why; and no frame
//! shows anything raw where the detector has reported a face.
#![no_main]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use milkglass_capi::*;

#[derive(Arbitrary, Debug)]
struct Program {
    /// Begins with a stream that is as it should be, so that more than openings are tried.
    begun: bool,
    calls: Vec<Call>,
}

#[derive(Arbitrary, Debug)]
enum Call {
    Open(Opening),
    Layout(Which, Mistake),
    Push(Which, Pushing),
    /// Pushes a few frames as a camera would, and takes them.
    Play(Which, u8),
    Take(Which, Taking),
    Finish(Which),
    Privacy(Which, bool),
    Policy(Which, Text, Text),
    Stats(Which, Mistake),
    Close(Which),
    Log(u8, bool),
    Version,
    /// Of a log that no stream here keeps.
    Checkpoint(Which, u16),
    /// What the detector does from now on.
    Detector(u8),
    /// Another thread takes while this one goes on.
    TakeElsewhere(Which),
}

/// A stream: one of those that were opened (closed ones too), or a number that never was one.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Which {
    Known(u8),
    Last,
    Invented(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    Null,
    Size(u16),
}

#[derive(Arbitrary, Debug)]
struct Opening {
    mistake: Mistake,
    no_place: bool,
    policy: Text,
    policy_file: Text,
    fourcc: u8,
    size: (u8, u8),
    orientation: u8,
    matrix: u8,
    fps: Fps,
    privacy: bool,
    buffers: u8,
    detects: u8,
    no_detector: bool,
    odd: Option<Odd>,
}

/// A field that is nearly always right.
#[derive(Arbitrary, Debug)]
enum Odd {
    Reserved,
    Models,
    Ring,
    Camera,
    Lock,
    State,
    Evidence,
    Fourcc(u32),
    Width(u32),
    LockMemory,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fps {
    Usual,
    Any(f64),
}

#[derive(Arbitrary, Debug)]
enum Text {
    Null,
    Empty,
    Known(u8),
    Own(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Pushing {
    mistake: Mistake,
    plane: Option<(u8, PlaneMistake)>,
    wrong_format: bool,
    captured: Option<u64>,
}

#[derive(Arbitrary, Debug)]
struct Taking {
    mistake: Mistake,
    plane: Option<(u8, PlaneMistake)>,
    patience: u8,
}

#[derive(Arbitrary, Debug)]
enum PlaneMistake {
    Null,
    Stride(u8),
    HugeStride,
    Short(u8),
}

impl Opening {
    fn good() -> Opening {
        Opening {
            mistake: Mistake::None,
            no_place: false,
            policy: Text::Empty,
            policy_file: Text::Null,
            fourcc: 0,
            size: (4, 4),
            orientation: 1,
            matrix: 0,
            fps: Fps::Usual,
            privacy: false,
            buffers: 0,
            detects: 0,
            no_detector: false,
            odd: None,
        }
    }
}

impl Pushing {
    fn good() -> Pushing {
        Pushing { mistake: Mistake::None, plane: None, wrong_format: false, captured: None }
    }
}

const POLICIES: [&str; 8] = [
    "",
    "deadline = \"500ms\"\nmax_gap = \"2s\"",
    "faces = \"off\"\n[[zone]]\nname = \"z\"\narea = [[0,0],[1,0],[1,1]]",
    "persons = \"fill\"\nmax_gap = \"5s\"",
    "faces = \"blur\"\ncells = 6\nmax_gap = \"9s\"\nmotion_cover = true",
    "faces = \"off\"",
    "preset = \"careful\"",
    "deadline = \"1ms\"",
];

/// What raw pictures are made of, and fills never are.
const RAW: u8 = 255;
/// The one face, in every frame: left, upper, right and lower edge.
const FACE: [usize; 4] = [3, 2, 9, 8];
/// What callbacks do.
static MOOD: AtomicU8 = AtomicU8::new(0);
/// Of the stream that callbacks try to use.
static STREAM: AtomicU64 = AtomicU64::new(0);

unsafe extern "C-unwind" fn detect(
    _: *mut c_void,
    picture: *const milkglass_picture,
    found: *mut milkglass_detection,
    capacity: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the library lends a picture.
    let picture = unsafe { &*picture };
    for n in 0..3 {
        if !picture.data[n].is_null() && picture.length[n] > 0 {
            // SAFETY: so many bytes may be read.
            let bytes = unsafe { std::slice::from_raw_parts(picture.data[n], picture.length[n]) };
            std::hint::black_box(bytes.iter().fold(0u8, |sum, b| sum ^ b));
        }
    }
    let [x0, y0, x1, y1] = FACE.map(|v| v as f32);
    let mut face = milkglass_detection {
        kind: MILKGLASS_FACES,
        tentative: 0,
        x: x0,
        y: y0,
        width: x1 - x0,
        height: y1 - y0,
        score: 0.9,
        slack: 0.0,
    };
    let mood = MOOD.load(Ordering::Relaxed);
    match mood % 16 {
        10 => return 1,
        11 => {
            // SAFETY: `count` is writable.
            unsafe { *count = capacity + 1 };
            return 0;
        }
        12 => face.width = f32::NAN,
        13 => face.kind = 77,
        14 => face.slack = -1.0,
        15 => {
            // What waits for a detection cannot be called from one; figures can be read.
            let stream = STREAM.load(Ordering::Relaxed);
            assert_eq!(milkglass_close(stream), milkglass_status::ARGUMENT);
            // SAFETY: NULL is an error.
            assert_eq!(unsafe { milkglass_take(stream, null_mut(), 0) }, milkglass_status::ARGUMENT);
            let mut stats = milkglass_stats { size: size_of::<milkglass_stats>(), ..Default::default() };
            // SAFETY: `stats` is as large as it says.
            unsafe { milkglass_read_stats(stream, &raw mut stats) };
        }
        _ => {}
    }
    // SAFETY: there is room for `capacity`, and `count` is writable.
    unsafe {
        *found = face;
        *count = 1;
    }
    0
}

unsafe extern "C-unwind" fn log(_: *mut c_void, _: c_int, message: *const c_char) {
    // SAFETY: a text that ends.
    let message = unsafe { CStr::from_ptr(message) };
    assert!(message.to_str().is_ok_and(|m| !m.is_empty()));
    // No stream can be used from here.
    assert_eq!(milkglass_finish(STREAM.load(Ordering::Relaxed)), milkglass_status::ARGUMENT);
}

/// A stream that this program opened.
struct Opened {
    number: milkglass_stream,
    layout: milkglass_layout,
    /// Its policy hides faces whatever happens.
    hides_faces: bool,
    closed: bool,
    /// When the next frame is captured, in nanoseconds.
    next: u64,
}

#[derive(Default)]
struct Run {
    streams: Vec<Opened>,
    /// Threads that take.
    elsewhere: Vec<JoinHandle<milkglass_status>>,
    calls: usize,
}

fuzz_target!(|program: Program| {
    MOOD.store(0, Ordering::Relaxed);
    STREAM.store(0, Ordering::Relaxed);
    let mut run = Run::default();
    if program.begun {
        run.open(&Opening::good());
        assert_eq!(run.streams.len(), 1, "{}", last_error());
    }
    for call in program.calls.iter().take(24) {
        run.call(call);
    }
    // Threads that still take get an answer.
    run.close_all();
    // What a thread keeps for itself is gone once it is joined; the end of a scope would not wait for that.
    for thread in run.elsewhere {
        thread.join().expect("a frame is judged");
    }
    // SAFETY: no function.
    unsafe { milkglass_set_log(None, null_mut(), 0) };
});

impl Run {
    fn call(&mut self, call: &Call) {
        self.calls += 1;
        match call {
            Call::Open(how) => self.open(how),
            Call::Layout(which, mistake) => {
                let mut layout: milkglass_layout = zeroed();
                layout.size = size_of::<milkglass_layout>();
                // SAFETY: NULL, or a structure with room for what its size says.
                let status =
                    unsafe { milkglass_read_layout(self.number(*which), sized(&mut layout, *mistake)) };
                self.expect(*which, *mistake, size_of::<milkglass_layout>(), status);
            }
            Call::Stats(which, mistake) => {
                let mut stats = milkglass_stats { size: size_of::<milkglass_stats>(), ..Default::default() };
                // SAFETY: as above.
                let status =
                    unsafe { milkglass_read_stats(self.number(*which), sized(&mut stats, *mistake)) };
                self.expect(*which, *mistake, offset_of!(milkglass_stats, self_tests_passed), status);
            }
            Call::Push(which, how) => self.push(*which, how),
            Call::Play(which, frames) => {
                for _ in 0..frames % 6 + 1 {
                    self.push(*which, &Pushing::good());
                    self.take(*which, &Taking { mistake: Mistake::None, plane: None, patience: 20 });
                }
            }
            Call::Take(which, how) => self.take(*which, how),
            Call::TakeElsewhere(which) => {
                if let Some(known) = self.known(*which) {
                    // The policy may change meanwhile, so only obscured frames are looked at.
                    let (number, layout) = (known.number, known.layout);
                    self.elsewhere.push(thread::spawn(move || take(number, &layout, false, None, 30)));
                }
            }
            Call::Finish(which) => {
                let status = milkglass_finish(self.number(*which));
                assert_eq!(status == milkglass_status::NO_STREAM, self.open_one(*which).is_none());
            }
            Call::Privacy(which, on) => {
                let status = milkglass_set_privacy(self.number(*which), c_int::from(*on));
                assert_eq!(status == milkglass_status::NO_STREAM, self.open_one(*which).is_none());
            }
            Call::Policy(which, text, file) => {
                let (a, b) = (text.c(), file.c());
                // SAFETY: NULL or texts that end.
                let status = unsafe { milkglass_set_policy(self.number(*which), address(&a), address(&b)) };
                assert_eq!(status == milkglass_status::NO_STREAM, self.open_one(*which).is_none());
                if status == milkglass_status::OK
                    && let Some(known) = self.known(*which)
                {
                    let number = known.number;
                    let hides = text.hides_faces();
                    self.streams
                        .iter_mut()
                        .filter(|s| s.number == number)
                        .for_each(|s| s.hides_faces &= hides);
                }
            }
            Call::Close(which) => {
                let was = self.open_one(*which).is_some();
                let number = self.number(*which);
                let status = milkglass_close(number);
                assert_eq!(status, if was { milkglass_status::OK } else { milkglass_status::NO_STREAM });
                self.streams.iter_mut().filter(|s| s.number == number).for_each(|s| s.closed = true);
            }
            Call::Log(level, some) => {
                // SAFETY: a function that is good for ever.
                let status =
                    unsafe { milkglass_set_log(some.then_some(log), null_mut(), c_int::from(*level % 8)) };
                assert_eq!(status == milkglass_status::OK, !*some || (1..=5).contains(&(*level % 8)));
            }
            Call::Version => {
                // SAFETY: both are texts that end, good until the next call.
                let (version, error) =
                    unsafe { (CStr::from_ptr(milkglass_version()), CStr::from_ptr(milkglass_last_error())) };
                assert!(version.to_str().is_ok() && error.to_str().is_ok());
            }
            Call::Checkpoint(which, room) => {
                let mut line = vec![0u8; usize::from(*room)];
                // SAFETY: there is as much room.
                let status = unsafe {
                    milkglass_checkpoint(self.number(*which), line.as_mut_ptr().cast(), line.len())
                };
                let wrong = match self.open_one(*which) {
                    Some(_) => milkglass_status::ARGUMENT,
                    None => milkglass_status::NO_STREAM,
                };
                assert_eq!(status, wrong);
            }
            Call::Detector(mood) => MOOD.store(*mood, Ordering::Relaxed),
        }
        if let Some(last) = self.streams.last() {
            STREAM.store(last.number, Ordering::Relaxed);
        }
    }

    fn open(&mut self, how: &Opening) {
        if self.streams.iter().filter(|s| !s.closed).count() >= 2 {
            return;
        }
        let (policy, file) = (how.policy.c(), how.policy_file.c());
        let nowhere = CString::new("/nowhere/at/all").expect("a text");
        let mut config: milkglass_config = zeroed();
        config.size = size_of::<milkglass_config>();
        config.policy = address(&policy);
        config.policy_file = address(&file);
        config.fourcc =
            [MILKGLASS_NV12, MILKGLASS_YU12, MILKGLASS_YUYV, MILKGLASS_RGB3][usize::from(how.fourcc) % 4];
        config.width = 2 * (u32::from(how.size.0) % 12 + 4);
        config.height = 2 * (u32::from(how.size.1) % 12 + 4);
        config.orientation = u32::from(how.orientation) % 10;
        config.matrix = [0, 601, 709, 2020, 5][usize::from(how.matrix) % 5];
        config.fps = match how.fps {
            Fps::Usual => 30.0,
            Fps::Any(fps) => fps,
        };
        config.privacy = u32::from(how.privacy);
        config.buffers = u32::from(how.buffers) % 20;
        config.detects = [1, 1, 1, 2, 3, 0, 4][usize::from(how.detects) % 7];
        config.detect = if how.no_detector { None } else { Some(detect) };
        // It finds its one face in these small pictures, and no known person.
        config.untested = u32::from(!how.no_detector);
        match how.odd {
            Some(Odd::Reserved) => config.reserved = 1,
            Some(Odd::LockMemory) => config.lock_memory = 1,
            Some(Odd::Models) => config.models = nowhere.as_ptr(),
            Some(Odd::Ring) => config.ring = nowhere.as_ptr(),
            Some(Odd::Camera) => config.camera = nowhere.as_ptr(),
            Some(Odd::Lock) => config.lock = nowhere.as_ptr(),
            Some(Odd::State) => config.state_dir = nowhere.as_ptr(),
            Some(Odd::Evidence) => config.evidence = nowhere.as_ptr(),
            Some(Odd::Fourcc(code)) => config.fourcc = code,
            Some(Odd::Width(width)) => config.width = width.min(300),
            None => {}
        }
        let mut number = 77;
        let to = if how.no_place { null_mut() } else { &raw mut number };
        // SAFETY: NULL, or a structure with room for what its size says; texts end; the function is good for ever.
        let status = unsafe { milkglass_open(sized(&mut config, how.mistake).cast_const(), to) };
        let wrong = how.no_place || how.mistake.refuses(offset_of!(milkglass_config, lock));
        assert!(status != milkglass_status::OK || !wrong, "opened in spite of a mistake");
        assert_ne!(status, milkglass_status::BUG);
        if status != milkglass_status::OK {
            assert!(how.no_place || number == 0, "a number of no stream");
            assert!(!last_error().is_empty(), "{status:?} without a reason");
            return;
        }
        let mut layout: milkglass_layout = zeroed();
        layout.size = size_of::<milkglass_layout>();
        // SAFETY: as large as it says.
        assert_eq!(unsafe { milkglass_read_layout(number, &raw mut layout) }, milkglass_status::OK);
        assert!(self.streams.iter().all(|s| s.number != number), "a number twice");
        self.streams.push(Opened {
            number,
            layout,
            hides_faces: how.policy.hides_faces(),
            closed: false,
            next: 0,
        });
    }

    fn push(&mut self, which: Which, how: &Pushing) {
        let number = self.number(which);
        let open = self.open_one(which).is_some();
        let Some(stream) = self.streams.iter_mut().find(|s| s.number == number) else {
            // SAFETY: NULL is an error.
            assert_eq!(unsafe { milkglass_push(number, null()) }, milkglass_status::NO_STREAM);
            // SAFETY: as above.
            assert_eq!(unsafe { milkglass_push_dmabuf(number, null()) }, milkglass_status::NO_STREAM);
            return;
        };
        stream.next += 33_000_000;
        let layout = stream.layout;
        let planes = planes(&layout);
        let mut picture = milkglass_picture {
            size: size_of::<milkglass_picture>(),
            fourcc: layout.fourcc,
            width: layout.width + u32::from(how.wrong_format),
            height: layout.height,
            reserved: 0,
            captured: how.captured.unwrap_or(stream.next),
            data: [null(); 3],
            stride: [0; 3],
            length: [0; 3],
        };
        for (n, plane) in planes.iter().enumerate() {
            (picture.data[n], picture.stride[n], picture.length[n]) =
                (plane.as_ptr(), layout.row_bytes[n], plane.len());
        }
        let mut wrong = how.wrong_format || how.mistake.refuses(size_of::<milkglass_picture>());
        if let Some((n, mistake)) = &how.plane {
            let n = usize::from(*n) % 3;
            wrong |=
                n < planes.len() && mistake.make(&layout, n, &mut picture.stride[n], &mut picture.length[n]);
            if *mistake == PlaneMistake::Null {
                picture.data[n] = null();
            }
        }
        // This program has no DMABUF, whatever is said of its planes.
        let shared = milkglass_dmabuf {
            size: size_of::<milkglass_dmabuf>(),
            fourcc: picture.fourcc,
            width: picture.width,
            height: picture.height,
            fd: [0, 1, -1],
            captured: picture.captured,
            offset: picture.length,
            stride: picture.stride,
        };
        // SAFETY: as large as it says.
        let status = unsafe { milkglass_push_dmabuf(number, &raw const shared) };
        let refused = if open { milkglass_status::ARGUMENT } else { milkglass_status::NO_STREAM };
        assert_eq!(status, refused);
        // SAFETY: NULL, or a structure with room for what its size says; no plane is shorter than it says.
        let status = unsafe { milkglass_push(number, sized(&mut picture, how.mistake).cast_const()) };
        match (open, wrong) {
            (false, _) => assert_eq!(status, milkglass_status::NO_STREAM),
            (true, true) => assert_eq!(status, milkglass_status::ARGUMENT),
            _ => assert!(
                [
                    milkglass_status::OK,
                    milkglass_status::SKIPPED,
                    milkglass_status::END,
                    milkglass_status::STOPPED
                ]
                .contains(&status)
                    || how.mistake != Mistake::None,
                "{status:?}"
            ),
        }
    }

    fn take(&mut self, which: Which, how: &Taking) {
        let number = self.number(which);
        let open = self.open_one(which).is_some();
        let Some(stream) = self.streams.iter().find(|s| s.number == number) else {
            // SAFETY: NULL is an error.
            assert_eq!(unsafe { milkglass_take(number, null_mut(), 0) }, milkglass_status::NO_STREAM);
            return;
        };
        let status =
            take(number, &stream.layout, stream.hides_faces, Some(how), c_int::from(how.patience % 32));
        if !open {
            assert_eq!(status, milkglass_status::NO_STREAM);
        }
    }

    fn close_all(&mut self) {
        for stream in self.streams.iter_mut().filter(|s| !s.closed) {
            assert_eq!(milkglass_close(stream.number), milkglass_status::OK);
            stream.closed = true;
        }
    }

    fn number(&self, which: Which) -> milkglass_stream {
        self.known(which).map_or_else(
            || match which {
                // Far from those that exist.
                Which::Invented(n) => n | 1 << 63,
                _ => 0,
            },
            |s| s.number,
        )
    }

    fn known(&self, which: Which) -> Option<&Opened> {
        match which {
            Which::Known(n) => self.streams.get(usize::from(n) % self.streams.len().max(1)),
            Which::Last => self.streams.last(),
            Which::Invented(_) => None,
        }
    }

    fn open_one(&self, which: Which) -> Option<&Opened> {
        self.known(which).filter(|s| !s.closed)
    }

    /// What a call that only reads must have answered.
    fn expect(&self, which: Which, mistake: Mistake, size: usize, status: milkglass_status) {
        if self.open_one(which).is_none() {
            assert_eq!(status, milkglass_status::NO_STREAM);
        } else if mistake.refuses(size) {
            assert_eq!(status, milkglass_status::ARGUMENT);
        } else {
            assert_eq!(status, milkglass_status::OK);
        }
    }
}

/// Takes a frame and looks at it.
fn take(
    number: milkglass_stream,
    layout: &milkglass_layout,
    hides_faces: bool,
    how: Option<&Taking>,
    patience: c_int,
) -> milkglass_status {
    let mut planes = planes(layout);
    planes.iter_mut().for_each(|p| p.fill(0));
    let mut frame: milkglass_frame = zeroed();
    frame.size = size_of::<milkglass_frame>();
    for (n, plane) in planes.iter_mut().enumerate() {
        (frame.data[n], frame.stride[n], frame.length[n]) =
            (plane.as_mut_ptr(), layout.row_bytes[n], plane.len());
    }
    let mut wrong = false;
    let mut mistake = Mistake::None;
    if let Some(how) = how {
        mistake = how.mistake;
        wrong = mistake.refuses(size_of::<milkglass_frame>());
        if let Some((n, what)) = &how.plane {
            let n = usize::from(*n) % 3;
            wrong |= n < planes.len() && what.make(layout, n, &mut frame.stride[n], &mut frame.length[n]);
            if *what == PlaneMistake::Null {
                frame.data[n] = null_mut();
            }
        }
    }
    // SAFETY: NULL, or a structure with room for what its size says; no plane is shorter than it says.
    let status = unsafe { milkglass_take(number, sized(&mut frame, mistake), patience) };
    assert_ne!(status, milkglass_status::BUG);
    if wrong {
        assert!([milkglass_status::ARGUMENT, milkglass_status::NO_STREAM].contains(&status), "{status:?}");
    }
    if status != milkglass_status::OK {
        assert!(planes.iter().all(|p| p.iter().all(|v| *v == 0)), "written without a frame");
        return status;
    }
    let obscured = frame.outcome == milkglass_outcome::OBSCURED as u32;
    assert!(obscured || frame.outcome == milkglass_outcome::COVERED as u32);
    if obscured || hides_faces {
        let [x0, y0, x1, y1] = if obscured { [0, 0, usize::MAX, usize::MAX] } else { FACE };
        let luma = &planes[0];
        let per_pixel = match layout.fourcc {
            MILKGLASS_RGB3 => 3,
            MILKGLASS_YUYV => 2,
            _ => 1,
        };
        for (y, row) in
            luma.chunks_exact(layout.row_bytes[0]).enumerate().filter(|(y, _)| (y0..y1).contains(y))
        {
            for (x, pixel) in row.chunks_exact(per_pixel).enumerate().filter(|(x, _)| (x0..x1).contains(x)) {
                assert!(
                    !pixel.contains(&RAW),
                    "raw at {x}, {y}, {}",
                    if obscured { "obscured" } else { "covered" }
                );
            }
        }
    }
    status
}

/// Memory for a frame, full of what is raw.
fn planes(layout: &milkglass_layout) -> Vec<Vec<u8>> {
    (0..layout.planes as usize).map(|n| vec![RAW; layout.row_bytes[n] * layout.rows[n]]).collect()
}

impl PlaneMistake {
    /// Whether it is one.
    fn make(&self, layout: &milkglass_layout, n: usize, stride: &mut usize, length: &mut usize) -> bool {
        match self {
            PlaneMistake::Null => true,
            PlaneMistake::Stride(less) => {
                *stride = stride.saturating_sub(usize::from(*less));
                *less > 0
            }
            PlaneMistake::HugeStride => {
                *stride = usize::MAX / 2;
                layout.rows[n] > 1
            }
            PlaneMistake::Short(by) => {
                *length = length.saturating_sub(usize::from(*by));
                *by > 0
            }
        }
    }
}

impl PartialEq for PlaneMistake {
    fn eq(&self, other: &PlaneMistake) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Mistake {
    /// Whether a structure is refused for it whose first version had `least` bytes.
    fn refuses(self, least: usize) -> bool {
        match self {
            Mistake::None => false,
            Mistake::Null => true,
            Mistake::Size(wrong) => usize::from(wrong) < least || usize::from(wrong) > 4096,
        }
    }
}

/// Makes a mistake with a structure's size, or its address. A size that is too large would be a lie about memory, which no
/// library can notice, unless it is beyond every structure.
fn sized<T>(value: &mut T, mistake: Mistake) -> *mut T {
    let at: *mut T = value;
    match mistake {
        Mistake::Null => return null_mut(),
        // SAFETY: every structure of the interface begins with its size.
        Mistake::Size(wrong) if !(size_of::<T>() + 1..=4096).contains(&usize::from(wrong)) => unsafe {
            at.cast::<usize>().write(usize::from(wrong));
        },
        _ => {}
    }
    at
}

/// A structure of the interface, as `= {0}` leaves it.
fn zeroed<T: Copy>() -> T {
    // SAFETY: structures of the interface are valid for any bits.
    unsafe { std::mem::zeroed() }
}

fn address(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(null(), |t| t.as_ptr())
}

fn last_error() -> String {
    // SAFETY: a text that ends.
    unsafe { CStr::from_ptr(milkglass_last_error()) }.to_string_lossy().into_owned()
}

impl Text {
    fn c(&self) -> Option<CString> {
        let bytes = match self {
            Text::Null => return None,
            Text::Empty => Vec::new(),
            Text::Known(n) => POLICIES[usize::from(*n) % POLICIES.len()].into(),
            Text::Own(bytes) => bytes.iter().copied().filter(|b| *b != 0).collect(),
        };
        CString::new(bytes).ok()
    }

    fn hides_faces(&self) -> bool {
        match self {
            Text::Null | Text::Empty => true,
            Text::Known(n) => !POLICIES[usize::from(*n) % POLICIES.len()].contains("faces = \"off\""),
            Text::Own(_) => false,
        }
    }
}
