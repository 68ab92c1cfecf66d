//! From a frame to the tensors of its networks.

use std::rc::Rc;

use milkglass::FrameFormat;
use milkglass::geometry::{Orientation, PixelRect};
use milkglass::internal::{Tensor, buffer_len, view, view_mut};
use milkglass::picture::{PixelFormat, View};

use super::{Case, FORMATS, InstructionSet};

pub(super) fn cases(set: InstructionSet) -> Vec<Case> {
    let mut cases = Vec::new();
    for (pixel, name) in FORMATS {
        let Ok(format) = FrameFormat::new(pixel, 1920, 1080) else { continue };
        let whole = PixelRect::whole(1920, 1080);
        let frame = Rc::new(Noise::new(format));
        let mut add = |what: String, part, content| cases.extend(pair(&what, &frame, part, content, set));
        add(format!("{name}-1920x1080-640x384"), whole, (640, 360));
        if pixel == PixelFormat::Nv12 {
            add(format!("{name}-1920x1080-320x192"), whole, (320, 180));
            add(format!("{name}-1920x1080-1152x672"), whole, (1152, 648));
            let tile = PixelRect { x0: 600, y0: 200, x1: 1240, y1: 840 };
            add(format!("{name}-tile-640x640"), tile, (640, 640));
            let turned = Orientation { transpose: true, flip_x: true, flip_y: false };
            let frame = Rc::new(Noise::new(format.with_orientation(turned)));
            let (what, whole) = (format!("{name}-turned-1920x1080-384x640"), PixelRect::whole(1080, 1920));
            cases.extend(pair(&what, &frame, whole, (360, 640), set));
        }
    }
    cases
}

/// A letterbox, and its limit: the bytes under it read once and its numbers written once, doing nothing else.
fn pair(
    what: &str,
    frame: &Rc<Noise>,
    part: PixelRect,
    content: (u32, u32),
    set: InstructionSet,
) -> [Case; 2] {
    let format = frame.format;
    let (w, h) = format.upright_size();
    let bytes: u64 = format.planes().iter().map(|p| p.row_bytes() as u64 * u64::from(p.height)).sum();
    let luma = u64::from(part.width()) * u64::from(part.height());
    let reads = bytes * luma / (u64::from(w) * u64::from(h));
    let writes = 12 * u64::from(content.0) * u64::from(content.1);
    let pixels = u64::from(content.0) * u64::from(content.1);
    let prepared = move |set| Tensor::new(&format, part, content, set);
    let (mut loaded, mut checked) = (prepared(set), prepared(set));
    let (run, check) = (Rc::clone(frame), Rc::clone(frame));
    let letterbox = Case {
        name: format!("letterbox/{what}"),
        pixels,
        reads,
        writes,
        run: Box::new(move || loaded.load(&run.view())),
        check: Box::new(move || {
            let mut oracle = prepared(InstructionSet::Scalar);
            oracle.load(&check.view());
            checked.load(&check.view());
            let same = oracle.values().zip(checked.values()).is_some_and(|(a, b)| a == b);
            if same { Ok(()) } else { Err("the tensor is another one".into()) }
        }),
    };
    let (limited, mut written) = (Rc::clone(frame), vec![0.0; writes as usize / 4]);
    let limit = Case {
        name: format!("letterbox-limit/{what}"),
        pixels,
        reads,
        writes,
        run: Box::new(move || {
            let mut left = reads as usize;
            let view = limited.view();
            let mut sum = 0;
            for plane in 0..view.format().planes().len() {
                let bytes = view.plane(plane);
                sum ^= read(&bytes[..bytes.len().min(left)]);
                left -= bytes.len().min(left);
            }
            written.fill(sum as f32);
            std::hint::black_box(&mut written);
        }),
        check: Box::new(|| Ok(())),
    };
    [letterbox, limit]
}

/// Looks at every byte, as fast as memory gives them: several words at a time.
fn read(bytes: &[u8]) -> u64 {
    let mut words = [0_u64; 16];
    for bytes in bytes.as_chunks::<128>().0 {
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word ^= u64::from_ne_bytes(*bytes);
        }
    }
    words.into_iter().fold(0, |a, b| a ^ b)
}

/// A picture of random bytes.
struct Noise {
    format: FrameFormat,
    bytes: Vec<u8>,
}

impl Noise {
    fn new(format: FrameFormat) -> Noise {
        let (mut bytes, mut noise) = (vec![0; buffer_len(&format)], 1_u32);
        let mut picture = view_mut(&format, &mut bytes);
        for plane in 0..format.planes().len() {
            for y in 0..format.planes()[plane].height {
                for v in picture.row_mut(plane, y) {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *v = (noise >> 24) as u8;
                }
            }
        }
        Noise { format, bytes }
    }

    fn view(&self) -> View<'_> {
        view(&self.format, &self.bytes)
    }
}
