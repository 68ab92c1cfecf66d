//! A raw frame shows its meta data, not its pixels.
use milkglass::frame::RawFrame;

fn peek(frame: &RawFrame) -> u8 {
    let _ = frame.lease.view();
    frame.view().row(0, 0)[0]
}

fn main() {}
