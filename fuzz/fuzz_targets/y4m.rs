//! Y4M from a pipe: the header, which must survive being written and read again, and the frames of a live source.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milkglass::FrameSource;
use milkglass::frame::FramePool;
use milkglass::source::{Captured, Y4mSource};
use milkglass::time::Timestamp;
use milkglass::y4m::{self, Y4mHeader};

fuzz_target!(|data: &[u8]| {
    let mut input = data;
    let Ok(header) = y4m::read_header(&mut input) else { return };
    let mut written = Vec::new();
    header.write(&mut written).expect("a header that was read can be written");
    assert_eq!(Y4mHeader::read(&mut written.as_slice()).expect("and read again"), header);

    let format = y4m::format(&header).expect("a header that was read has a format");
    // No larger pictures: the point is what the stream says, not memory.
    if u64::from(header.width) * u64::from(header.height) > 1 << 12 {
        return;
    }
    let pool = FramePool::new(format, 2);
    for on_arrival in [false, true] {
        let Ok(mut source) = Y4mSource::open(data, false) else { panic!("the same header is refused") };
        if on_arrival {
            source = source.timed_on_arrival();
        }
        let (mut count, mut last) = (0, Timestamp::ZERO);
        while let Ok(Captured::Frame(frame)) = source.capture(&pool) {
            let meta = frame.meta();
            assert!(meta.sequence == count && (meta.captured >= last), "{meta:?} after {last:?}");
            (count, last) = (count + 1, meta.captured);
        }
        assert_eq!(pool.free(), pool.count(), "a buffer was lost");
    }
});
