// milkglass: faces, persons and zones are hidden in camera pictures before they can leave the device.
//
// A stream takes raw frames, by milkglass_push, milkglass_push_dmabuf or from a camera of its own, and gives redacted
// ones, by milkglass_take. No function gives a raw pixel; only a detector of your own is lent some. docs/INTEGRATING.md
// has a whole program, and docs/THREAT-MODEL.md says what is promised and what is not.
//
// Threads: every function may be called from every thread at any time. What waits for others says so.
// Callbacks: none may throw, longjmp out, or hang. From a detector's callback milkglass_open, _take, _checkpoint, _close and
// _set_log are refused; from a log callback everything about a stream is.
// Errors: a status below 0, and milkglass_last_error. A stream that is closed, or that never was, is an error and nothing
// worse. Structures begin with their size, so that a program and a library of different versions fit together.
// fork: a child may use no stream that was opened before.
//
// This file is written by cbindgen. Do not edit it: edit capi/types.rs and capi/lib.rs.


#ifndef MILKGLASS_H
#define MILKGLASS_H

#include <stddef.h>
#include <stdint.h>

// V4L2's code NV12: Y, then CbCr at half the size.
#define MILKGLASS_NV12 842094158

// V4L2's code YU12 (I420): Y, Cb, Cr, the latter two at half the size.
#define MILKGLASS_YU12 842093913

// V4L2's code YUYV: one plane of Y Cb Y Cr.
#define MILKGLASS_YUYV 1448695129

// V4L2's code RGB3: one plane of R G B.
#define MILKGLASS_RGB3 859981650

// A bit of `detects`: the callback finds faces.
#define MILKGLASS_FACES 1

// A bit of `detects`: the callback finds whole persons.
#define MILKGLASS_PERSONS 2

// Room for the line of a milkglass_checkpoint.
#define MILKGLASS_CHECKPOINT_BYTES 1024

// What came of a call. Below 0 it failed, and milkglass_last_error says why.
enum milkglass_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It was done.
    MILKGLASS_STATUS_OK = 0,
    // milkglass_push, _push_dmabuf: no buffer was free, and the frame was discarded. Go on with the next one.
    MILKGLASS_STATUS_SKIPPED = 1,
    // milkglass_take: no frame in that time.
    MILKGLASS_STATUS_TIMEOUT = 2,
    // The stream was finished, and everything has been taken.
    MILKGLASS_STATUS_END = 3,
    // An argument is NULL, too small, out of range, or contradicts another one. Nothing was done.
    MILKGLASS_STATUS_ARGUMENT = -1,
    // There is no such stream: it was closed, or never opened. Nothing was done.
    MILKGLASS_STATUS_NO_STREAM = -2,
    // The policy cannot be read, or cannot hold with this detector and frame rate.
    MILKGLASS_STATUS_POLICY = -3,
    // A model or runtime could not be loaded, or the detector failed on a blank picture or does not find known persons.
    MILKGLASS_STATUS_DETECTOR = -4,
    // The camera or a file cannot be used, or frames cannot be locked in memory.
    MILKGLASS_STATUS_CAMERA = -5,
    // The stream has ended by a fault; nothing more leaves it. Close it and open a new one.
    MILKGLASS_STATUS_STOPPED = -6,
    // A bug in milkglass. Nothing leaves by it; please report it.
    MILKGLASS_STATUS_BUG = -7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum milkglass_status milkglass_status;
#else
typedef int32_t milkglass_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What was done to a frame (`outcome`).
enum milkglass_outcome
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // What was detected and the zones are hidden; the rest is as captured.
    MILKGLASS_OUTCOME_COVERED = 1,
    // It is one flat colour: privacy mode, or detection failed or came too late.
    MILKGLASS_OUTCOME_OBSCURED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum milkglass_outcome milkglass_outcome;
#else
typedef uint32_t milkglass_outcome;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What the picture shows now (`state`).
enum milkglass_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // No detection has succeeded yet; everything is obscured.
    MILKGLASS_STATE_STARTING = 0,
    // Frames leave covered.
    MILKGLASS_STATE_COVERED = 1,
    // Frames leave obscured, because detection does not keep up or fails.
    MILKGLASS_STATE_DEGRADED = 2,
    // Privacy mode.
    MILKGLASS_STATE_PRIVACY = 3,
    // No frame has come for two seconds.
    MILKGLASS_STATE_NO_CAMERA = 4,
    // It has ended.
    MILKGLASS_STATE_STOPPED = 5,
    // The detector did not find the known picture of the self-test; everything is obscured until it does.
    MILKGLASS_STATE_SELF_TEST_FAILED = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum milkglass_state milkglass_state;
#else
typedef uint32_t milkglass_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A raw frame: yours on the way in; on loan in a detector's callback.
typedef struct {
    // sizeof(milkglass_picture).
    size_t size;
    // The stream's format code; another one is refused.
    uint32_t fourcc;
    // The stream's width in pixels.
    uint32_t width;
    // The stream's height in pixels.
    uint32_t height;
    // Zero.
    uint32_t reserved;
    // When it was captured, in nanoseconds of one monotonic clock (V4L2's: CLOCK_MONOTONIC).
    uint64_t captured;
    // The first row of each plane.
    const uint8_t *data[3];
    // Bytes from one row to the next, at least a row's.
    size_t stride[3];
    // Bytes that may be read at `data`.
    size_t length[3];
} milkglass_picture;

// Something that a detector found.
typedef struct {
    // MILKGLASS_FACES or MILKGLASS_PERSONS; one of those that `detects` names.
    uint32_t kind;
    // Not 0: too weak to be hidden for itself, but enough to carry on what was sure at some other time.
    uint32_t tentative;
    // Left edge, in pixels of the stored picture. Boxes may reach beyond the picture.
    float x;
    // Upper edge.
    float y;
    // Width, above 0.
    float width;
    // Height, above 0.
    float height;
    // How sure it is, 0 to 1.
    float score;
    // How far the box may be off on each side, in pixels: two of the network's pixels, if it saw the picture shrunk.
    float slack;
} milkglass_detection;

// A detector of your own. It is lent a raw picture until it returns: whatever it copies is out of reach of every
// guarantee. It writes what it found to `found` (zeroed, room for `capacity`), and how many to `*count` (0 before).
//
// It returns 0 when it has looked at the whole picture. Anything else, and anything impossible in `found`, covers
// nothing: the frame stays hidden. Never return 0 and a count of 0 for a picture that was not looked at: that says that
// nobody is there. More than `capacity`: return a count above it; that fails too.
//
// It is called by one thread at a time: by milkglass_open's caller, then by the stream's own. It must not throw, must not
// longjmp out, and must return; a C++ exception that leaves it ends the program.
typedef int (*milkglass_detect)(void *context,
                                const milkglass_picture *picture,
                                milkglass_detection *found,
                                size_t capacity,
                                size_t *count);

// How a stream is opened. Set everything to zero first (`= {0}`), then `size`, then what you need.
typedef struct {
    // sizeof(milkglass_config).
    size_t size;
    // The policy as text (TOML; docs: examples/policy.toml). Both NULL: faces are filled.
    const char *policy;
    // Or the name of a policy file.
    const char *policy_file;
    // A V4L2 device that the library captures from. NULL: frames come by milkglass_push or _push_dmabuf.
    const char *camera;
    // A MILKGLASS_ format code. Pushed frames: required. A camera: 0 for any that can be used.
    uint32_t fourcc;
    // Stored width in pixels. A camera: 0, with height, for what it is set to.
    uint32_t width;
    // Stored height in pixels.
    uint32_t height;
    // How the picture is turned upright, as EXIF numbers it: 1 (or 0) as it is, 3, 6 and 8 by half and quarter turns.
    uint32_t orientation;
    // Y'CbCr of 0 to 255 if not 0; else 16 to 235. Pushed frames alone.
    uint32_t full_range;
    // The matrix of Y'CbCr: 0 for BT.601, 709, or 2020. Pushed frames alone.
    uint32_t matrix;
    // Frames per second. Pushed frames: required, and the most that will come. A camera: 0 for what it is set to.
    double fps;
    // Not 0: begins in privacy mode.
    uint32_t privacy;
    // Buffers for frames; 0 for as many as deadline and rate need, at most 64. Each takes a frame's size.
    uint32_t buffers;
    // A detector of your own. NULL: the models that come with the library, if the policy hides faces or persons.
    milkglass_detect detect;
    // Handed to `detect`, never looked at.
    void *context;
    // What `detect` finds: MILKGLASS_FACES, MILKGLASS_PERSONS or both. A policy that hides anything else is refused.
    uint32_t detects;
    // Zero.
    uint32_t reserved;
    // The folder with the models. NULL: MILKGLASS_MODELS, then the usual places.
    const char *models;
    // A unix socket for other programs, which take redacted frames from shared memory beside milkglass_take, or instead
    // (docs/INTEGRATING.md, "Frames for another program"). NULL: none.
    const char *ring;
    // A lock file, from `milkglass policy lock`: the policy, here and in milkglass_set_policy, may protect more than its
    // owner signed, never less. Without a policy, that of the lock. Needs `state_dir`.
    const char *lock;
    // The owner's public key, 64 hexadecimal digits: no other lock is taken. NULL: that of the first lock that comes.
    const char *owner_key;
    // A folder of this stream alone, in which the device remembers its owner, the newest lock and the strongest policy that
    // was in force. From then on it opens with a lock of that owner alone.
    const char *state_dir;
    // The folder of an evidence log (docs/INTEGRATING.md, "What to show an auditor"). NULL: none is kept.
    const char *evidence;
    // The file of the device's secret key, made if it is not there. NULL: `device.key` in the log's folder.
    const char *device_key;
    // The most that the log takes, in MiB; 0 for 64. The oldest records go.
    uint32_t evidence_max_mb;
    // Not 0: frames lie in memory that is never written to swap. Opening fails if the system does not let the program lock
    // as much (`LimitMEMLOCK=`, `ulimit -l`).
    uint32_t lock_memory;
    // The smallest face that `detect` promises to find: its height, brow to chin, in pixels of the frame; 0 for 32. Before
    // the first frame it is shown known persons with faces from this height on, and pictures of nobody, in the format of the
    // stream; milkglass_open fails if it does not find them, or finds somebody where nobody is.
    uint32_t smallest_face;
    // Not 0: `detect` cannot find the known persons, a thermal camera's for instance, and is shown none, by the self-test neither. Then nothing but its
    // word says that it sees anybody: milkglass_stats and the evidence log call it untested, and the owner's lock, if there
    // is one, has to allow it (`milkglass policy lock --allow-untested detector`).
    uint32_t untested;
    // Width to height of a stored pixel, such as 64 and 45, from 1:8 to 8:1. Both 0: what the camera tells, else square. What
    // a camera tells is doubted, and square pixels are looked at too, in twice the time; what is set here is not, unless
    // the policy is locked. Pixels that are not square, and nobody said so, hide faces from the detector.
    uint32_t pixel_aspect_width;
    // See `pixel_aspect_width`.
    uint32_t pixel_aspect_height;
} milkglass_config;

// An open stream: a number, never 0 and never used twice. It may be used from every thread.
typedef uint64_t milkglass_stream;

// What frames of a stream are like.
typedef struct {
    // sizeof(milkglass_layout).
    size_t size;
    // A MILKGLASS_ format code.
    uint32_t fourcc;
    // Width in pixels, as stored.
    uint32_t width;
    // Height in pixels, as stored.
    uint32_t height;
    // Planes, 1 to 3.
    uint32_t planes;
    // Bytes of a row of each plane; a stride is at least this.
    size_t row_bytes[3];
    // Rows of each plane.
    size_t rows[3];
    // Frames per second.
    double fps;
    // Width to height of a pixel, as it was set or the camera told: for an encoder, which should say so too.
    uint32_t pixel_aspect_width;
    // See `pixel_aspect_width`.
    uint32_t pixel_aspect_height;
} milkglass_layout;

// A raw frame in DMABUFs, memory that a driver or another program shares by descriptors.
typedef struct {
    // sizeof(milkglass_dmabuf).
    size_t size;
    // The stream's format code; another one is refused. Of formats that V4L2 has two codes for, the one here: NV12,
    // not NM12.
    uint32_t fourcc;
    // The stream's width in pixels.
    uint32_t width;
    // The stream's height in pixels.
    uint32_t height;
    // The DMABUF of each plane; several may be in one. Yours: it is neither kept nor closed.
    int fd[3];
    // When it was captured, in nanoseconds of one monotonic clock (V4L2's: CLOCK_MONOTONIC).
    uint64_t captured;
    // Bytes from the DMABUF's start to the first row of each plane.
    size_t offset[3];
    // Bytes from one row to the next, at least a row's.
    size_t stride[3];
} milkglass_dmabuf;

// Memory for a redacted frame, and what is in it afterwards.
typedef struct {
    // sizeof(milkglass_frame).
    size_t size;
    // In: where the first row of each plane is to be written.
    uint8_t *data[3];
    // In: bytes from one row to the next, at least a row's.
    size_t stride[3];
    // In: bytes that may be written at `data`.
    size_t length[3];
    // Out: when it was captured, as it was pushed.
    uint64_t captured;
    // Out: its number, from 0; a number that is missing was skipped, dropped or missed.
    uint64_t sequence;
    // Out: a milkglass_outcome.
    uint32_t outcome;
    // Out: zero.
    uint32_t reserved;
} milkglass_frame;

// Figures of a stream. Counts since it was opened, times in nanoseconds.
typedef struct {
    // sizeof(milkglass_stats).
    size_t size;
    // A milkglass_state.
    uint32_t state;
    // The detector in use: 0 the policy's, above it a rung of its ladder.
    uint32_t level;
    // Frames taken in.
    uint64_t pushed;
    // Frames that were covered.
    uint64_t covered;
    // Frames that were obscured.
    uint64_t obscured;
    // Frames discarded at their deadline.
    uint64_t dropped;
    // Frames that were not taken in: no buffer was free, or their time was not later than the last.
    uint64_t skipped;
    // Frames that made room because nobody took them.
    uint64_t missed;
    // Detections that succeeded.
    uint64_t observations;
    // Detections that failed or made no sense. They cover nothing.
    uint64_t detector_errors;
    // The worst-case exposure: the longest gap between detections whose frames may leave covered.
    uint64_t exposure;
    // How long the last detection took.
    uint64_t detection;
    // How long the detector has had the frame that it has now; 0 if it has none. Feed a watchdog by it: a detector that
    // hangs never comes back, and all is obscured until the program starts anew.
    uint64_t detecting;
    // From a frame's arrival to its redaction, the last time.
    uint64_t latency;
    // Grows at least once a second while the stream lives.
    uint64_t heartbeat;
    // Self-tests of the detector that it passed.
    uint64_t self_tests_passed;
    // Self-tests that it failed; everything is obscured after one, until it passes the next.
    uint64_t self_tests_failed;
    // Attempts to write the evidence log that failed. Redaction goes on without it.
    uint64_t evidence_errors;
    // Not 0: the evidence log cannot be written now.
    uint32_t evidence_trouble;
    // Not 0: the evidence log was found changed, its end gone at the start, or files altered that fell to the limit. It goes on
    // and says so.
    uint32_t evidence_changed;
    // Not 0: the detector is untested (`untested` of milkglass_config).
    uint32_t untested;
    // Zero.
    uint32_t reserved;
} milkglass_stats;

// Is told a line: its level, 1 (error) to 5 (trace), and its text, good until it returns. May be called from several
// threads at once. It must not throw and must not longjmp out.
typedef void (*milkglass_log)(void *context, int level, const char *text);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library, such as "0.1.0". Never NULL, never freed.
const char *milkglass_version(void);

// Why the last call on this thread failed, in one line of English: the cause, and what to do. Empty if none has. Never
// NULL; valid until the next call on this thread. It holds no pixels and no positions of people.
const char *milkglass_last_error(void);

// Opens a stream and starts its threads. `*stream` becomes its number, or 0 when it fails.
//
// It measures the detector first, by four runs on a blank picture (a callback is called on this thread), and refuses
// what cannot hold: MILKGLASS_STATUS_POLICY with the numbers that would. May take seconds while models are loaded.
//
// MILKGLASS_STATUS_OK, _ARGUMENT, _POLICY, _DETECTOR (a model, runtime or callback failed), _CAMERA.
//
// # Safety
// `config` must be NULL or point to `config->size` readable bytes, its texts must be NULL or end with a zero byte, and
// `stream` must be NULL or writable. Function and context in it must be good until milkglass_close returns.
milkglass_status milkglass_open(const milkglass_config *config, milkglass_stream *stream);

// Tells what frames of the stream are like: how much memory milkglass_take needs for each plane. Of a camera that the
// library opened, this is what it is set to.
//
// MILKGLASS_STATUS_OK, _ARGUMENT, _NO_STREAM.
//
// # Safety
// `layout` must be NULL or point to `layout->size` writable bytes.
milkglass_status milkglass_read_layout(milkglass_stream stream, milkglass_layout *layout);

// Takes in a raw frame. The pixels are copied before it returns; it never waits for a detection or for a buffer.
//
// A time that is not later than that of the frame before is refused later on, and counted in `skipped`. When three in a
// row are, the clock counts as set back, and times go on from there. One thread at a time: others wait for their turn.
//
// MILKGLASS_STATUS_OK; _SKIPPED: every buffer is in use, and the frame was discarded (this is how a stream that is too
// slow stays in time); _ARGUMENT: the frame does not fit the stream; _NO_STREAM; _END after milkglass_finish; _STOPPED.
//
// # Safety
// `picture` must be NULL or point to `picture->size` readable bytes, and each plane that the format has to
// `length[plane]` readable bytes that nobody changes meanwhile.
milkglass_status milkglass_push(milkglass_stream stream, const milkglass_picture *picture);

// milkglass_push for a frame in DMABUFs: it is copied out of them before it returns, never redacted in them, and
// nothing of them is kept. You may close the descriptors, and give the buffer back to its driver, at once. It waits
// for writers that the kernel knows of (a GPU, say) to have finished.
//
// Only DMABUFs are taken, opened for reading at least: a memfd or a file could be cut off under the library. What is
// raw in them stays there: whoever else has a descriptor can see it.
//
// MILKGLASS_STATUS_ as milkglass_push; _ARGUMENT too when a descriptor is closed or no DMABUF, a plane does not lie in
// it, or the kernel cannot make it readable.
//
// # Safety
// `picture` must be NULL or point to `picture->size` readable bytes.
milkglass_status milkglass_push_dmabuf(milkglass_stream stream, const milkglass_dmabuf *picture);

// Waits for the next redacted frame, and writes it to the caller's memory: rows at `stride` bytes, bytes between rows
// untouched. `timeout_ms` below 0 waits without end, 0 does not wait. Frames come in the order of capture, each once. A
// few wait for you; when you are slower than the stream, the oldest make room, and `missed` counts them.
//
// Nothing is written unless MILKGLASS_STATUS_OK is returned, and raw pixels never are: the memory may be an encoder's,
// or shared with another program.
//
// MILKGLASS_STATUS_OK; _TIMEOUT; _END: it was finished, and everything has been taken; _STOPPED: it ended by a fault;
// _ARGUMENT: a plane is missing or too small (the frame keeps waiting); _NO_STREAM: closed, now or long ago.
//
// # Safety
// `frame` must be NULL or point to `frame->size` writable bytes, and each plane that the format has to `length[plane]`
// writable bytes that nobody else uses meanwhile.
milkglass_status milkglass_take(milkglass_stream stream, milkglass_frame *frame, int timeout_ms);

// No more frames will be pushed (or captured: the camera is given back). What is covered by now can still be taken; then
// milkglass_take says MILKGLASS_STATUS_END. Frames after the last detection come obscured.
//
// MILKGLASS_STATUS_OK, _NO_STREAM.
milkglass_status milkglass_finish(milkglass_stream stream);

// Privacy mode. On: when it returns, every frame that can still be taken is one flat colour, those that waited too. Off:
// frames that are taken in from now on are redacted as the policy says.
//
// MILKGLASS_STATUS_OK; _NO_STREAM; _STOPPED: the stream has ended. If privacy was asked for, what waited in it is gone.
milkglass_status milkglass_set_privacy(milkglass_stream stream,
                                       int on);

// Exchanges the whole policy: a text or a file, the other one NULL. When it returns, the new one is in force; what the old
// one hid and it does not is told to milkglass_set_log. Frames that wait are hidden by both; the few that are ready to be
// taken were hidden by the old one. When it fails, the old one stays.
// `preset`, `tiles`, `min_score`, `ladder`, `backend` and `threads` are read at the start alone; a policy that changes
// them is refused.
//
// With a lock, its file is read again, and a policy that protects less than it, or than any that was in force under it, is
// refused; milkglass_last_error names what is weaker. Both NULL: the lock's own policy. Without a lock both NULL, or a policy
// without a key, is refused, for it would drop every zone unseen: say what you mean, such as "faces = 'fill'".
//
// MILKGLASS_STATUS_OK; _ARGUMENT; _POLICY: refused, or (the text says so) in force but not to be remembered; _NO_STREAM;
// _STOPPED.
//
// # Safety
// The texts must be NULL or end with a zero byte.
milkglass_status milkglass_set_policy(milkglass_stream stream,
                                      const char *policy,
                                      const char *policy_file);

// Figures of this moment: frames, times and a state, nothing of the picture. Never waits for a detection.
//
// MILKGLASS_STATUS_OK, _ARGUMENT, _NO_STREAM.
//
// # Safety
// `stats` must be NULL or point to `stats->size` writable bytes.
milkglass_status milkglass_read_stats(milkglass_stream stream, milkglass_stats *stats);

// Writes a checkpoint to the evidence log and its text to `line`, ended by a zero: send it off the device, now and then.
// With it, milkglass log verify finds what was taken off the log's end before. Waits for the disk, at most two seconds.
//
// MILKGLASS_STATUS_OK; _ARGUMENT: no room, or the stream keeps no log; _CAMERA: it cannot be written; _NO_STREAM.
//
// # Safety
// `line` must be NULL or point to `capacity` writable bytes; MILKGLASS_CHECKPOINT_BYTES are always enough.
milkglass_status milkglass_checkpoint(milkglass_stream stream,
                                      char *line,
                                      size_t capacity);

// Ends a stream at once: threads that wait in it return, a detection that runs is waited for. When it returns, no
// callback runs any more, and its context may be freed. What was not taken is gone; call milkglass_finish and take the
// rest first if you want it. The number is never used again, so closing twice is an error and nothing worse.
//
// An evidence log gets its last records, unless its disk does not answer within two seconds. One without them, of a program
// that was killed or a device that lost its power, reads "power cut or truncated".
//
// A callback that never returns makes this wait without end. Not to be called from a callback.
//
// MILKGLASS_STATUS_OK, _ARGUMENT (from a callback), _NO_STREAM.
milkglass_status milkglass_close(milkglass_stream stream);

// Sends what the library has to say to `log`, from any thread and for all streams: levels up to `level`, 1 (errors: a
// stream has stopped) to 5 (all). NULL ends it; when that returns, the function is not called any more. Without it
// nothing is said. Messages hold no pixels and no positions of people.
//
// MILKGLASS_STATUS_OK; _ARGUMENT: from a callback, a wrong level, or the program has a logger of Rust's own.
//
// # Safety
// Function and context must be good until another call of this function has returned.
milkglass_status milkglass_set_log(milkglass_log log, void *context, int level);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MILKGLASS_H */
