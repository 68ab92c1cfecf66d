//! Faults that vivid injects: nothing of the face leaves meanwhile, and afterwards frames are covered again.

use milkglass::v4l2::Import;

use crate::bars::{start, start_with};
use crate::rig::{Running, await_that, set};

fn running() -> Running {
    let running = start(0, "YUYV");
    running.seen.await_covered(3);
    running
}

/// Covered again, and everything that left was right.
fn recovered(running: Running) {
    running.seen.await_covered(5);
    assert!(running.counters.is_connected());
    running.finish();
}

pub fn damaged_buffers_are_withheld() {
    let running = running();
    for n in 1..=3 {
        set(0, "inject_v4l2_buf_flag_error=1");
        await_that("a damaged buffer", || running.counters.corrupt() >= n);
    }
    assert_eq!((running.counters.corrupt(), running.counters.lost()), (3, 0));
    recovered(running);
}

pub fn left_out_buffers_are_counted() {
    let running = running();
    set(0, "percentage_of_dropped_buffers=50");
    running.seen.await_covered(10);
    assert!(running.counters.missed() >= 3, "{:?}", running.counters);
    set(0, "percentage_of_dropped_buffers=0");
    assert_eq!(running.counters.lost(), 0);
    recovered(running);
}

pub fn a_silent_camera_is_waited_for() {
    let running = running();
    set(0, "percentage_of_dropped_buffers=100");
    await_that("a timeout", || running.counters.timeouts() >= 2);
    set(0, "percentage_of_dropped_buffers=0");
    running.seen.await_covered(3);
    assert_eq!(running.counters.lost(), 0, "the same stream goes on");
    recovered(running);
}

pub fn a_stalled_camera_is_opened_again() {
    let running = running();
    set(0, "percentage_of_dropped_buffers=100");
    await_that("opening it again", || running.counters.reopened() >= 1);
    set(0, "percentage_of_dropped_buffers=0");
    assert!(running.counters.timeouts() >= 8);
    recovered(running);
}

pub fn a_fatal_error_is_survived() {
    let running = running();
    set(0, "inject_fatal_streaming_error=1");
    await_that("opening it again", || running.counters.reopened() == 1);
    recovered(running);
}

pub fn an_unplugged_camera_is_found_again() {
    for import in [Import::Mmap, Import::Dmabuf] {
        let running = start_with(0, "YUYV", import);
        running.seen.await_covered(3);
        for n in 1..=2 {
            set(0, "disconnect=1");
            await_that("losing it", || running.counters.lost() == n);
            await_that("finding it again", || running.counters.reopened() == n);
            running.seen.await_covered(3);
        }
        recovered(running);
    }
}

pub fn failing_requests_are_tried_again() {
    let running = running();
    // Giving a buffer back fails: the stream is closed, and opening it fails twice for other reasons.
    set(0, "inject_vidioc_reqbufs_error=1,inject_vidioc_streamon_error=1");
    set(0, "inject_vidioc_qbuf_error=1");
    await_that("opening it again", || running.counters.reopened() == 1);
    assert_eq!(running.counters.lost(), 1);
    recovered(running);
}

pub fn impossible_times_are_replaced() {
    let running = running();
    assert_eq!(running.counters.odd_times(), 0);
    // In force from the next start of the stream.
    set(0, "wrap_timestamp=1");
    set(0, "inject_fatal_streaming_error=1");
    await_that("an impossible time", || running.counters.odd_times() >= 5);
    running.seen.await_covered(5);
    set(0, "wrap_timestamp=0");
    set(0, "inject_fatal_streaming_error=1");
    await_that("opening it again", || running.counters.reopened() == 2);
    let odd = running.counters.odd_times();
    running.seen.await_covered(5);
    assert_eq!(running.counters.odd_times(), odd, "the driver's times are used again");
    recovered(running);
}

pub fn another_format_after_replugging_ends() {
    let running = running();
    set(0, "quantization=1");
    set(0, "disconnect=1");
    await_that("losing it", || running.counters.lost() == 1);
    let end = running.pipeline.wait().unwrap_err().to_string();
    assert!(end.contains("another format"), "{end}");
    // What left is not compared: the raw picture itself has changed.
    set(0, "quantization=0");
}
