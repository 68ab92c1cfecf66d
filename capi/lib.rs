//! The C interface of milkglass. Its documentation for those who use it is `milkglass.h`, written from this file.
//!
//! A stream is a [`Pipeline`](milkglass::Pipeline) whose source is [`milkglass_push`], [`milkglass_push_dmabuf`] or a
//! camera, and whose one target is [`milkglass_take`]. So everything that holds for the pipeline holds here: deadlines,
//! the worst-case exposure that is enforced, faults that cover.
//!
//! Rules of this crate, in which alone of all `unsafe` is common:
//! - A stream is a number in a table, never an address: a stale one is an error, not undefined behaviour.
//! - Structures of C are read whole into values that are valid for any bits, checked, and only then used.
//! - Pixels are copied in from the caller's memory and out into the caller's memory. No address of a pool buffer leaves,
//!   but for a detector's loan (I8).
//! - No panic crosses into C (`fault::answer`).

#![allow(unsafe_code, reason = "C's pointers; each block says why it may")]
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod detector;
mod evidence;
mod fault;
mod logging;
mod opening;
mod picture;
mod stream;
mod table;
mod text;
mod types;

use std::ffi::{c_char, c_int, c_void};

pub use detector::DetectFn;
use fault::{Fault, answer, outside_callbacks};
pub use logging::LogFn;
use stream::Stream;
use text::{optional, sized, write};
pub use types::*;

/// The version of the library, such as "0.1.0". Never NULL, never freed.
#[unsafe(no_mangle)]
pub extern "C" fn milkglass_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Why the last call on this thread failed, in one line of English: the cause, and what to do. Empty if none has. Never
/// NULL; valid until the next call on this thread. It holds no pixels and no positions of people.
#[unsafe(no_mangle)]
pub extern "C" fn milkglass_last_error() -> *const c_char {
    fault::last_error()
}

/// Opens a stream and starts its threads. `*stream` becomes its number, or 0 when it fails.
///
/// It measures the detector first, by four runs on a blank picture (a callback is called on this thread), and refuses
/// what cannot hold: MILKGLASS_STATUS_POLICY with the numbers that would. May take seconds while models are loaded.
///
/// MILKGLASS_STATUS_OK, _ARGUMENT, _POLICY, _DETECTOR (a model, runtime or callback failed), _CAMERA.
///
/// # Safety
/// `config` must be NULL or point to `config->size` readable bytes, its texts must be NULL or end with a zero byte, and
/// `stream` must be NULL or writable. Function and context in it must be good until milkglass_close returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_open(
    config: *const milkglass_config,
    stream: *mut milkglass_stream,
) -> milkglass_status {
    answer(|| {
        outside_callbacks("milkglass_open")?;
        // SAFETY: the caller's promise: NULL or writable.
        unsafe { write(stream, 0, "stream") }?;
        // SAFETY: the caller's promise: NULL or `size` readable bytes; any bits are a valid `milkglass_config`.
        let config: milkglass_config = unsafe { sized(config, "config") }?;
        // SAFETY: the caller's promise about texts, function and context.
        let number = table::add(unsafe { opening::open(&config) }?);
        // SAFETY: as above.
        unsafe { write(stream, number, "stream") }
    })
}

/// Tells what frames of the stream are like: how much memory milkglass_take needs for each plane. Of a camera that the
/// library opened, this is what it is set to.
///
/// MILKGLASS_STATUS_OK, _ARGUMENT, _NO_STREAM.
///
/// # Safety
/// `layout` must be NULL or point to `layout->size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_read_layout(
    stream: milkglass_stream,
    layout: *mut milkglass_layout,
) -> milkglass_status {
    answer(|| {
        let stream = table::find(stream)?;
        // SAFETY: the caller's promise: NULL or `size` bytes, readable and writable; any bits are valid.
        unsafe { text::fill(layout, stream.layout(), "layout") }
    })
}

/// Takes in a raw frame. The pixels are copied before it returns; it never waits for a detection or for a buffer.
///
/// A time that is not later than that of the frame before is refused later on, and counted in `skipped`. When three in a
/// row are, the clock counts as set back, and times go on from there. One thread at a time: others wait for their turn.
///
/// MILKGLASS_STATUS_OK; _SKIPPED: every buffer is in use, and the frame was discarded (this is how a stream that is too
/// slow stays in time); _ARGUMENT: the frame does not fit the stream; _NO_STREAM; _END after milkglass_finish; _STOPPED.
///
/// # Safety
/// `picture` must be NULL or point to `picture->size` readable bytes, and each plane that the format has to
/// `length[plane]` readable bytes that nobody changes meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_push(
    stream: milkglass_stream,
    picture: *const milkglass_picture,
) -> milkglass_status {
    answer_status(|| {
        let stream = table::find(stream)?;
        // SAFETY: the caller's promise: NULL or `size` readable bytes; any bits are valid.
        let picture: milkglass_picture = unsafe { sized(picture, "picture") }?;
        // SAFETY: the caller's promise about the planes.
        unsafe { stream.push(&picture) }
    })
}

/// milkglass_push for a frame in DMABUFs: it is copied out of them before it returns, never redacted in them, and
/// nothing of them is kept. You may close the descriptors, and give the buffer back to its driver, at once. It waits
/// for writers that the kernel knows of (a GPU, say) to have finished.
///
/// Only DMABUFs are taken, opened for reading at least: a memfd or a file could be cut off under the library. What is
/// raw in them stays there: whoever else has a descriptor can see it.
///
/// MILKGLASS_STATUS_ as milkglass_push; _ARGUMENT too when a descriptor is closed or no DMABUF, a plane does not lie in
/// it, or the kernel cannot make it readable.
///
/// # Safety
/// `picture` must be NULL or point to `picture->size` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_push_dmabuf(
    stream: milkglass_stream,
    picture: *const milkglass_dmabuf,
) -> milkglass_status {
    answer_status(|| {
        let stream = table::find(stream)?;
        // SAFETY: the caller's promise: NULL or `size` readable bytes; any bits are valid.
        let picture: milkglass_dmabuf = unsafe { sized(picture, "picture") }?;
        stream.push_dmabuf(&picture)
    })
}

/// Waits for the next redacted frame, and writes it to the caller's memory: rows at `stride` bytes, bytes between rows
/// untouched. `timeout_ms` below 0 waits without end, 0 does not wait. Frames come in the order of capture, each once. A
/// few wait for you; when you are slower than the stream, the oldest make room, and `missed` counts them.
///
/// Nothing is written unless MILKGLASS_STATUS_OK is returned, and raw pixels never are: the memory may be an encoder's,
/// or shared with another program.
///
/// MILKGLASS_STATUS_OK; _TIMEOUT; _END: it was finished, and everything has been taken; _STOPPED: it ended by a fault;
/// _ARGUMENT: a plane is missing or too small (the frame keeps waiting); _NO_STREAM: closed, now or long ago.
///
/// # Safety
/// `frame` must be NULL or point to `frame->size` writable bytes, and each plane that the format has to `length[plane]`
/// writable bytes that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_take(
    stream: milkglass_stream,
    frame: *mut milkglass_frame,
    timeout_ms: c_int,
) -> milkglass_status {
    answer_status(|| {
        outside_callbacks("milkglass_take")?;
        let stream = table::find(stream)?;
        // SAFETY: the caller's promise: NULL or `size` readable bytes; any bits are valid.
        let mut taken: milkglass_frame = unsafe { sized(frame, "frame") }?;
        // SAFETY: the caller's promise about the planes.
        let status = unsafe { stream.take(&mut taken, timeout_ms) }?;
        if status == milkglass_status::OK {
            // SAFETY: as above, and writable.
            unsafe { text::fill(frame, taken, "frame") }?;
        }
        Ok(status)
    })
}

/// No more frames will be pushed (or captured: the camera is given back). What is covered by now can still be taken; then
/// milkglass_take says MILKGLASS_STATUS_END. Frames after the last detection come obscured.
///
/// MILKGLASS_STATUS_OK, _NO_STREAM.
#[unsafe(no_mangle)]
pub extern "C" fn milkglass_finish(stream: milkglass_stream) -> milkglass_status {
    answer(|| {
        table::find(stream)?.finish();
        Ok(())
    })
}

/// Privacy mode. On: when it returns, every frame that can still be taken is one flat colour, those that waited too. Off:
/// frames that are taken in from now on are redacted as the policy says.
///
/// MILKGLASS_STATUS_OK; _NO_STREAM; _STOPPED: the stream has ended. If privacy was asked for, what waited in it is gone.
#[unsafe(no_mangle)]
pub extern "C" fn milkglass_set_privacy(stream: milkglass_stream, on: c_int) -> milkglass_status {
    answer(|| table::find(stream)?.set_privacy(on != 0))
}

/// Exchanges the whole policy: a text or a file, the other one NULL. When it returns, the new one is in force; what the old
/// one hid and it does not is told to milkglass_set_log. Frames that wait are hidden by both; the few that are ready to be
/// taken were hidden by the old one. When it fails, the old one stays.
/// `preset`, `tiles`, `min_score`, `ladder`, `backend` and `threads` are read at the start alone; a policy that changes
/// them is refused.
///
/// With a lock, its file is read again, and a policy that protects less than it, or than any that was in force under it, is
/// refused; milkglass_last_error names what is weaker. Both NULL: the lock's own policy. Without a lock both NULL, or a policy
/// without a key, is refused, for it would drop every zone unseen: say what you mean, such as "faces = 'fill'".
///
/// MILKGLASS_STATUS_OK; _ARGUMENT; _POLICY: refused, or (the text says so) in force but not to be remembered; _NO_STREAM;
/// _STOPPED.
///
/// # Safety
/// The texts must be NULL or end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_set_policy(
    stream: milkglass_stream,
    policy: *const c_char,
    policy_file: *const c_char,
) -> milkglass_status {
    answer(|| {
        let stream = table::find(stream)?;
        // SAFETY: the caller's promise.
        let (text, file) = unsafe { (optional(policy, "policy")?, optional(policy_file, "policy_file")?) };
        stream.set_policy(text, file)
    })
}

/// Figures of this moment: frames, times and a state, nothing of the picture. Never waits for a detection.
///
/// MILKGLASS_STATUS_OK, _ARGUMENT, _NO_STREAM.
///
/// # Safety
/// `stats` must be NULL or point to `stats->size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_read_stats(
    stream: milkglass_stream,
    stats: *mut milkglass_stats,
) -> milkglass_status {
    answer(|| {
        let stream = table::find(stream)?;
        // SAFETY: the caller's promise: NULL or `size` bytes, readable and writable; any bits are valid.
        unsafe { text::fill(stats, stream.stats(), "stats") }
    })
}

/// Writes a checkpoint to the evidence log and its text to `line`, ended by a zero: send it off the device, now and then.
/// With it, milkglass log verify finds what was taken off the log's end before. Waits for the disk, at most two seconds.
///
/// MILKGLASS_STATUS_OK; _ARGUMENT: no room, or the stream keeps no log; _CAMERA: it cannot be written; _NO_STREAM.
///
/// # Safety
/// `line` must be NULL or point to `capacity` writable bytes; MILKGLASS_CHECKPOINT_BYTES are always enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_checkpoint(
    stream: milkglass_stream,
    line: *mut c_char,
    capacity: usize,
) -> milkglass_status {
    answer(|| {
        outside_callbacks("milkglass_checkpoint")?;
        let stream = table::find(stream)?;
        if capacity < MILKGLASS_CHECKPOINT_BYTES {
            return Err(Fault::argument(format!("capacity is {capacity}: MILKGLASS_CHECKPOINT_BYTES")));
        }
        // SAFETY: the caller's promise: NULL or `capacity` writable bytes.
        unsafe { text::tell(line, capacity, &stream.checkpoint()?, "line") }
    })
}

/// Ends a stream at once: threads that wait in it return, a detection that runs is waited for. When it returns, no
/// callback runs any more, and its context may be freed. What was not taken is gone; call milkglass_finish and take the
/// rest first if you want it. The number is never used again, so closing twice is an error and nothing worse.
///
/// An evidence log gets its last records, unless its disk does not answer within two seconds. One without them, of a program
/// that was killed or a device that lost its power, reads "power cut or truncated".
///
/// A callback that never returns makes this wait without end. Not to be called from a callback.
///
/// MILKGLASS_STATUS_OK, _ARGUMENT (from a callback), _NO_STREAM.
#[unsafe(no_mangle)]
pub extern "C" fn milkglass_close(stream: milkglass_stream) -> milkglass_status {
    answer(|| {
        outside_callbacks("milkglass_close")?;
        table::remove(stream)?.close();
        Ok(())
    })
}

/// Sends what the library has to say to `log`, from any thread and for all streams: levels up to `level`, 1 (errors: a
/// stream has stopped) to 5 (all). NULL ends it; when that returns, the function is not called any more. Without it
/// nothing is said. Messages hold no pixels and no positions of people.
///
/// MILKGLASS_STATUS_OK; _ARGUMENT: from a callback, a wrong level, or the program has a logger of Rust's own.
///
/// # Safety
/// Function and context must be good until another call of this function has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn milkglass_set_log(
    log: LogFn,
    context: *mut c_void,
    level: c_int,
) -> milkglass_status {
    answer(|| {
        outside_callbacks("milkglass_set_log")?;
        logging::route(log, context, level)
    })
}

/// [`answer`] for functions that have several good answers.
fn answer_status(call: impl FnOnce() -> Result<milkglass_status, Fault>) -> milkglass_status {
    let mut status = milkglass_status::OK;
    match answer(|| {
        status = call()?;
        Ok(())
    }) {
        milkglass_status::OK => status,
        failed => failed,
    }
}
