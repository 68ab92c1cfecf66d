//! What left is not written to any more.
use milkglass::frame::RedactedFrame;

fn scribble(frame: &mut RedactedFrame) {
    frame.view().row(0, 0)[0] = 1;
}

fn reach_in(frame: &mut RedactedFrame) {
    frame.lease.view_mut();
}

fn main() {}
