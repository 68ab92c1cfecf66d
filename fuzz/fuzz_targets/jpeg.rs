//! What a camera says to be JPEG pictures (`parsers/jpeg`): each is withheld whole, or decoded whole. Nothing of
//! the picture before it shines through, nothing behind its end counts, its size is the one that was agreed on, and it takes
//! no longer than it may.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use milkglass_parsers::jpeg::Mjpeg;
use rustix::time::ClockId;

const SIZES: [(u32, u32); 4] = [(64, 48), (33, 17), (8, 8), (1, 1)];
/// CPU time for one picture, with the checks of this build; usual is a thousandth.
const LONGEST: Duration = Duration::from_secs(1);

// One byte says the size, two how long the first picture is; the second one follows it.
fuzz_target!(|data: &[u8]| {
    let [size, low, high, pictures @ ..] = data else { return };
    let size = SIZES[usize::from(*size) % SIZES.len()];
    let cut = usize::from(u16::from_le_bytes([*low, *high])).min(pictures.len());
    let (first, second) = pictures.split_at(cut);

    let mut used = Mjpeg::new(size, pictures.len());
    decode(&mut used, size, first);
    let after_another = decode(&mut used, size, second);
    let alone = decode(&mut Mjpeg::new(size, pictures.len()), size, second);
    assert!(after_another == alone, "the picture before it makes a difference");
    let Some(alone) = alone else { return };

    let longer = [second, &first[..first.len().min(100)], &[0xFF, 0xD9]].concat();
    let with_more = decode(&mut Mjpeg::new(size, longer.len()), size, &longer);
    assert!(with_more.as_ref() == Some(&alone), "what follows its end makes a difference");
    let other = (size.0 + 1, size.1);
    assert_eq!(decode(&mut Mjpeg::new(other, second.len()), other, second), None, "it has two sizes");
});

/// The samples of a picture, in I420 without padding; `None` when it was withheld.
fn decode(mjpeg: &mut Mjpeg, size: (u32, u32), jpeg: &[u8]) -> Option<Vec<u8>> {
    let start = cpu_time();
    let decoded = mjpeg.load(jpeg).and_then(|()| mjpeg.decode()).is_ok();
    let took = cpu_time() - start;
    assert!(took < LONGEST, "{} bytes took {took:?}", jpeg.len());
    if !decoded {
        return None;
    }
    let half = (size.0.div_ceil(2), size.1.div_ceil(2));
    let plane = |(n, (width, height)): (usize, (u32, u32))| {
        let mut samples = vec![0; width as usize * height as usize];
        (0..).zip(samples.chunks_exact_mut(width as usize)).for_each(|(y, row)| mjpeg.row(n, y, row));
        samples
    };
    Some([size, half, half].into_iter().enumerate().flat_map(plane).collect())
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
