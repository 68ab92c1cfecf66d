//! The structures and numbers of `milkglass.h`. Every structure is valid for any bits: C fills them in.
#![allow(non_camel_case_types, reason = "the names of the C interface")]

use std::ffi::{c_char, c_int, c_void};

use crate::detector::DetectFn;
use crate::text::Versioned;

/// An open stream: a number, never 0 and never used twice. It may be used from every thread.
pub type milkglass_stream = u64;

/// V4L2's code NV12: Y, then CbCr at half the size.
pub const MILKGLASS_NV12: u32 = 0x3231_564e;
/// V4L2's code YU12 (I420): Y, Cb, Cr, the latter two at half the size.
pub const MILKGLASS_YU12: u32 = 0x3231_5559;
/// V4L2's code YUYV: one plane of Y Cb Y Cr.
pub const MILKGLASS_YUYV: u32 = 0x5659_5559;
/// V4L2's code RGB3: one plane of R G B.
pub const MILKGLASS_RGB3: u32 = 0x3342_4752;

/// A bit of `detects`: the callback finds faces.
pub const MILKGLASS_FACES: u32 = 1;
/// A bit of `detects`: the callback finds whole persons.
pub const MILKGLASS_PERSONS: u32 = 2;

/// Room for the line of a milkglass_checkpoint.
pub const MILKGLASS_CHECKPOINT_BYTES: usize = 1024;

/// What came of a call. Below 0 it failed, and milkglass_last_error says why.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum milkglass_status {
    /// It was done.
    OK = 0,
    /// milkglass_push, _push_dmabuf: no buffer was free, and the frame was discarded. Go on with the next one.
    SKIPPED = 1,
    /// milkglass_take: no frame in that time.
    TIMEOUT = 2,
    /// The stream was finished, and everything has been taken.
    END = 3,
    /// An argument is NULL, too small, out of range, or contradicts another one. Nothing was done.
    ARGUMENT = -1,
    /// There is no such stream: it was closed, or never opened. Nothing was done.
    NO_STREAM = -2,
    /// The policy cannot be read, or cannot hold with this detector and frame rate.
    POLICY = -3,
    /// A model or runtime could not be loaded, or the detector failed on a blank picture or does not find known persons.
    DETECTOR = -4,
    /// The camera or a file cannot be used, or frames cannot be locked in memory.
    CAMERA = -5,
    /// The stream has ended by a fault; nothing more leaves it. Close it and open a new one.
    STOPPED = -6,
    /// A bug in milkglass. Nothing leaves by it; please report it.
    BUG = -7,
}

/// What was done to a frame (`outcome`).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum milkglass_outcome {
    /// What was detected and the zones are hidden; the rest is as captured.
    COVERED = 1,
    /// It is one flat colour: privacy mode, or detection failed or came too late.
    OBSCURED = 2,
}

/// What the picture shows now (`state`).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum milkglass_state {
    /// No detection has succeeded yet; everything is obscured.
    STARTING = 0,
    /// Frames leave covered.
    COVERED = 1,
    /// Frames leave obscured, because detection does not keep up or fails.
    DEGRADED = 2,
    /// Privacy mode.
    PRIVACY = 3,
    /// No frame has come for two seconds.
    NO_CAMERA = 4,
    /// It has ended.
    STOPPED = 5,
    /// The detector did not find the known picture of the self-test; everything is obscured until it does.
    SELF_TEST_FAILED = 6,
}

/// How a stream is opened. Set everything to zero first (`= {0}`), then `size`, then what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct milkglass_config {
    /// sizeof(milkglass_config).
    pub size: usize,
    /// The policy as text (TOML; docs: examples/policy.toml). Both NULL: faces are filled.
    pub policy: *const c_char,
    /// Or the name of a policy file.
    pub policy_file: *const c_char,
    /// A V4L2 device that the library captures from. NULL: frames come by milkglass_push or _push_dmabuf.
    pub camera: *const c_char,
    /// A MILKGLASS_ format code. Pushed frames: required. A camera: 0 for any that can be used.
    pub fourcc: u32,
    /// Stored width in pixels. A camera: 0, with height, for what it is set to.
    pub width: u32,
    /// Stored height in pixels.
    pub height: u32,
    /// How the picture is turned upright, as EXIF numbers it: 1 (or 0) as it is, 3, 6 and 8 by half and quarter turns.
    pub orientation: u32,
    /// Y'CbCr of 0 to 255 if not 0; else 16 to 235. Pushed frames alone.
    pub full_range: u32,
    /// The matrix of Y'CbCr: 0 for BT.601, 709, or 2020. Pushed frames alone.
    pub matrix: u32,
    /// Frames per second. Pushed frames: required, and the most that will come. A camera: 0 for what it is set to.
    pub fps: f64,
    /// Not 0: begins in privacy mode.
    pub privacy: u32,
    /// Buffers for frames; 0 for as many as deadline and rate need, at most 64. Each takes a frame's size.
    pub buffers: u32,
    /// A detector of your own. NULL: the models that come with the library, if the policy hides faces or persons.
    pub detect: DetectFn,
    /// Handed to `detect`, never looked at.
    pub context: *mut c_void,
    /// What `detect` finds: MILKGLASS_FACES, MILKGLASS_PERSONS or both. A policy that hides anything else is refused.
    pub detects: u32,
    /// Zero.
    pub reserved: u32,
    /// The folder with the models. NULL: MILKGLASS_MODELS, then the usual places.
    pub models: *const c_char,
    /// A unix socket for other programs, which take redacted frames from shared memory beside milkglass_take, or instead
    /// (docs/INTEGRATING.md, "Frames for another program"). NULL: none.
    pub ring: *const c_char,
    /// A lock file, from `milkglass policy lock`: the policy, here and in milkglass_set_policy, may protect more than its
    /// owner signed, never less. Without a policy, that of the lock. Needs `state_dir`.
    pub lock: *const c_char,
    /// The owner's public key, 64 hexadecimal digits: no other lock is taken. NULL: that of the first lock that comes.
    pub owner_key: *const c_char,
    /// A folder of this stream alone, in which the device remembers its owner, the newest lock and the strongest policy that
    /// was in force. From then on it opens with a lock of that owner alone.
    pub state_dir: *const c_char,
    /// The folder of an evidence log (docs/INTEGRATING.md, "What to show an auditor"). NULL: none is kept.
    pub evidence: *const c_char,
    /// The file of the device's secret key, made if it is not there. NULL: `device.key` in the log's folder.
    pub device_key: *const c_char,
    /// The most that the log takes, in MiB; 0 for 64. The oldest records go.
    pub evidence_max_mb: u32,
    /// Not 0: frames lie in memory that is never written to swap. Opening fails if the system does not let the program lock
    /// as much (`LimitMEMLOCK=`, `ulimit -l`).
    pub lock_memory: u32,
    /// The smallest face that `detect` promises to find: its height, brow to chin, in pixels of the frame; 0 for 32. Before
    /// the first frame it is shown known persons with faces from this height on, and pictures of nobody, in the format of the
    /// stream; milkglass_open fails if it does not find them, or finds somebody where nobody is.
    pub smallest_face: u32,
    /// Not 0: `detect` cannot find the known persons, a thermal camera's for instance, and is shown none, by the self-test neither. Then nothing but its
    /// word says that it sees anybody: milkglass_stats and the evidence log call it untested, and the owner's lock, if there
    /// is one, has to allow it (`milkglass policy lock --allow-untested detector`).
    pub untested: u32,
    /// Width to height of a stored pixel, such as 64 and 45, from 1:8 to 8:1. Both 0: what the camera tells, else square. What
    /// a camera tells is doubted, and square pixels are looked at too, in twice the time; what is set here is not, unless
    /// the policy is locked. Pixels that are not square, and nobody said so, hide faces from the detector.
    pub pixel_aspect_width: u32,
    /// See `pixel_aspect_width`.
    pub pixel_aspect_height: u32,
}

/// A raw frame: yours on the way in; on loan in a detector's callback.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct milkglass_picture {
    /// sizeof(milkglass_picture).
    pub size: usize,
    /// The stream's format code; another one is refused.
    pub fourcc: u32,
    /// The stream's width in pixels.
    pub width: u32,
    /// The stream's height in pixels.
    pub height: u32,
    /// Zero.
    pub reserved: u32,
    /// When it was captured, in nanoseconds of one monotonic clock (V4L2's: CLOCK_MONOTONIC).
    pub captured: u64,
    /// The first row of each plane.
    pub data: [*const u8; 3],
    /// Bytes from one row to the next, at least a row's.
    pub stride: [usize; 3],
    /// Bytes that may be read at `data`.
    pub length: [usize; 3],
}

/// A raw frame in DMABUFs, memory that a driver or another program shares by descriptors.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct milkglass_dmabuf {
    /// sizeof(milkglass_dmabuf).
    pub size: usize,
    /// The stream's format code; another one is refused. Of formats that V4L2 has two codes for, the one here: NV12,
    /// not NM12.
    pub fourcc: u32,
    /// The stream's width in pixels.
    pub width: u32,
    /// The stream's height in pixels.
    pub height: u32,
    /// The DMABUF of each plane; several may be in one. Yours: it is neither kept nor closed.
    pub fd: [c_int; 3],
    /// When it was captured, in nanoseconds of one monotonic clock (V4L2's: CLOCK_MONOTONIC).
    pub captured: u64,
    /// Bytes from the DMABUF's start to the first row of each plane.
    pub offset: [usize; 3],
    /// Bytes from one row to the next, at least a row's.
    pub stride: [usize; 3],
}

/// Memory for a redacted frame, and what is in it afterwards.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct milkglass_frame {
    /// sizeof(milkglass_frame).
    pub size: usize,
    /// In: where the first row of each plane is to be written.
    pub data: [*mut u8; 3],
    /// In: bytes from one row to the next, at least a row's.
    pub stride: [usize; 3],
    /// In: bytes that may be written at `data`.
    pub length: [usize; 3],
    /// Out: when it was captured, as it was pushed.
    pub captured: u64,
    /// Out: its number, from 0; a number that is missing was skipped, dropped or missed.
    pub sequence: u64,
    /// Out: a milkglass_outcome.
    pub outcome: u32,
    /// Out: zero.
    pub reserved: u32,
}

/// What frames of a stream are like.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct milkglass_layout {
    /// sizeof(milkglass_layout).
    pub size: usize,
    /// A MILKGLASS_ format code.
    pub fourcc: u32,
    /// Width in pixels, as stored.
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// Planes, 1 to 3.
    pub planes: u32,
    /// Bytes of a row of each plane; a stride is at least this.
    pub row_bytes: [usize; 3],
    /// Rows of each plane.
    pub rows: [usize; 3],
    /// Frames per second.
    pub fps: f64,
    /// Width to height of a pixel, as it was set or the camera told: for an encoder, which should say so too.
    pub pixel_aspect_width: u32,
    /// See `pixel_aspect_width`.
    pub pixel_aspect_height: u32,
}

/// Something that a detector found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct milkglass_detection {
    /// MILKGLASS_FACES or MILKGLASS_PERSONS; one of those that `detects` names.
    pub kind: u32,
    /// Not 0: too weak to be hidden for itself, but enough to carry on what was sure at some other time.
    pub tentative: u32,
    /// Left edge, in pixels of the stored picture. Boxes may reach beyond the picture.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width, above 0.
    pub width: f32,
    /// Height, above 0.
    pub height: f32,
    /// How sure it is, 0 to 1.
    pub score: f32,
    /// How far the box may be off on each side, in pixels: two of the network's pixels, if it saw the picture shrunk.
    pub slack: f32,
}

/// Figures of a stream. Counts since it was opened, times in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct milkglass_stats {
    /// sizeof(milkglass_stats).
    pub size: usize,
    /// A milkglass_state.
    pub state: u32,
    /// The detector in use: 0 the policy's, above it a rung of its ladder.
    pub level: u32,
    /// Frames taken in.
    pub pushed: u64,
    /// Frames that were covered.
    pub covered: u64,
    /// Frames that were obscured.
    pub obscured: u64,
    /// Frames discarded at their deadline.
    pub dropped: u64,
    /// Frames that were not taken in: no buffer was free, or their time was not later than the last.
    pub skipped: u64,
    /// Frames that made room because nobody took them.
    pub missed: u64,
    /// Detections that succeeded.
    pub observations: u64,
    /// Detections that failed or made no sense. They cover nothing.
    pub detector_errors: u64,
    /// The worst-case exposure: the longest gap between detections whose frames may leave covered.
    pub exposure: u64,
    /// How long the last detection took.
    pub detection: u64,
    /// How long the detector has had the frame that it has now; 0 if it has none. Feed a watchdog by it: a detector that
    /// hangs never comes back, and all is obscured until the program starts anew.
    pub detecting: u64,
    /// From a frame's arrival to its redaction, the last time.
    pub latency: u64,
    /// Grows at least once a second while the stream lives.
    pub heartbeat: u64,
    /// Self-tests of the detector that it passed.
    pub self_tests_passed: u64,
    /// Self-tests that it failed; everything is obscured after one, until it passes the next.
    pub self_tests_failed: u64,
    /// Attempts to write the evidence log that failed. Redaction goes on without it.
    pub evidence_errors: u64,
    /// Not 0: the evidence log cannot be written now.
    pub evidence_trouble: u32,
    /// Not 0: the evidence log was found changed, its end gone at the start, or files altered that fell to the limit. It goes on
    /// and says so.
    pub evidence_changed: u32,
    /// Not 0: the detector is untested (`untested` of milkglass_config).
    pub untested: u32,
    /// Zero.
    pub reserved: u32,
}

macro_rules! versioned {
    ($($name:ident $least:expr;)*) => {$(
        // SAFETY: repr(C), begins with `size`, and holds integers, floats, addresses and an optional function.
        unsafe impl Versioned for $name {
            const LEAST: usize = $least;
        }
    )*};
}
// Bytes of the first version. When a structure grows, its entry becomes the offset of the first new field.
versioned! {
    milkglass_config std::mem::offset_of!(milkglass_config, lock);
    milkglass_picture size_of::<milkglass_picture>();
    milkglass_dmabuf size_of::<milkglass_dmabuf>();
    milkglass_frame size_of::<milkglass_frame>();
    milkglass_layout std::mem::offset_of!(milkglass_layout, pixel_aspect_width);
    milkglass_stats std::mem::offset_of!(milkglass_stats, self_tests_passed);
}
