//! Against the definition, and every set against the plain one.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::detect::manifest::ChannelOrder;
use crate::frame::{DetectJob, FrameMeta, FramePool, RawFrame};
use crate::geometry::Orientation;
use crate::picture::{ColorMatrix, ColorRange, ViewMut};
use crate::time::Timestamp;

const FORMATS: [PixelFormat; 4] =
    [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Rgb24];

fn input(channels: ChannelOrder) -> Input {
    Input { name: "x".into(), channels, pad: 114, multiple: 32, mean: [0.0; 3], scale: [1.0; 3] }
}

fn orientations() -> impl Iterator<Item = Orientation> {
    (1..=8).filter_map(Orientation::from_exif)
}

/// A frame whose pixel (x, y) has luma (or red, green and blue) `luma(x, y)` and grey chroma.
fn frame(pool: &FramePool, luma: &dyn Fn(u32, u32) -> u8) -> RawFrame {
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    let write = |view: &mut ViewMut<'_>| {
        let format = *view.format();
        for (i, plane) in format.planes().iter().enumerate() {
            for y in 0..plane.height {
                let row = view.row_mut(i, y);
                for (x, sample) in (0..).zip(row.chunks_exact_mut(plane.channels)) {
                    match format.pixel() {
                        PixelFormat::Yuyv => {
                            let second = (2 * x + 1).min(format.width() - 1);
                            sample.copy_from_slice(&[luma(2 * x, y), 128, luma(second, y), 128]);
                        }
                        PixelFormat::Rgb24 => sample.fill(luma(x, y)),
                        _ if i == 0 => sample.fill(luma(x, y)),
                        _ => sample.fill(128),
                    }
                }
            }
        }
        Ok(())
    };
    pool.fill(meta, write).unwrap().unwrap()
}

/// A frame of random bytes.
fn noise(format: FrameFormat, seed: u32) -> DetectJob {
    let (pool, mut noise) = (FramePool::new(format, 1), seed);
    let frame = pool.fill(FrameMeta { sequence: 0, captured: Timestamp::ZERO }, |view| {
        for plane in 0..view.format().planes().len() {
            for y in 0..view.format().planes()[plane].height {
                for v in view.row_mut(plane, y) {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *v = (noise >> 24) as u8;
                }
            }
        }
        Ok(())
    });
    frame.unwrap().unwrap().lend(std::sync::Arc::default())
}

fn load(format: FrameFormat, long_side: u32, luma: &dyn Fn(u32, u32) -> u8) -> Letterbox {
    let pool = FramePool::new(format, 1);
    let input = input(ChannelOrder::Rgb);
    let mut letterbox = Letterbox::new(&format, long_side, &input);
    let job = frame(&pool, luma).lend(std::sync::Arc::default());
    letterbox.load(&job.view());
    letterbox
}

/// Shapes of pixels, half of them square.
fn shapes() -> impl Strategy<Value = PixelAspect> {
    let other = (1u32..9, 1u32..9).prop_map(|(w, h)| PixelAspect::new(w, h).unwrap());
    prop_oneof![Just(PixelAspect::SQUARE), other]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4),
        ..ProptestConfig::default()
    })]

    /// A bright rectangle of the stored picture is bright in the tensor where the inverse mapping says it is, and
    /// nowhere else, in every format and orientation, shrunk and enlarged.
    #[test]
    fn what_the_tensor_shows_maps_back(
        (width, height) in (24u32..90, 24u32..90), long_side in 20u32..140, which in 0usize..4, exif in 1u8..=8,
        (fx, fy, fw, fh) in (0.0..0.5, 0.0..0.5, 0.3..0.5, 0.3..0.5), aspect in shapes(),
    ) {
        let orientation = Orientation::from_exif(exif).unwrap();
        let format = FrameFormat::new(FORMATS[which], width, height).unwrap().with_pixel_aspect(aspect)
            .with_color(ColorRange::Full, ColorMatrix::Bt601).with_orientation(orientation);
        let at = |f: f64, n: u32| (f * f64::from(n)) as u32;
        let (x0, y0) = (at(fx, width), at(fy, height));
        let (x1, y1) = (x0 + at(fw, width).max(6), y0 + at(fh, height).max(6));
        let bright = |x: u32, y: u32| x >= x0 && x < x1.min(width) && y >= y0 && y < y1.min(height);
        let letterbox = load(format, long_side, &|x, y| if bright(x, y) { 200 } else { 20 });
        let tensor = letterbox.tensor().unwrap();
        let (content_w, content_h) = letterbox.content;
        for v in 0..content_h {
            for u in 0..content_w {
                let r = letterbox.to_frame(u as f32, v as f32, u as f32 + 1.0, v as f32 + 1.0).unwrap();
                // Well inside or outside: further from the edge than the filter reaches.
                let (dx, dy) = letterbox.pixel_size();
                let (dx, dy) = (dx.max(1.0) * 1.02 + 0.1, dy.max(1.0) * 1.02 + 0.1);
                let inside = r.x0() - dx >= x0 as f32 && r.x1() + dx <= x1.min(width) as f32
                    && r.y0() - dy >= y0 as f32 && r.y1() + dy <= y1.min(height) as f32;
                let outside = r.x1() + dx <= x0 as f32 || r.x0() - dx >= x1 as f32
                    || r.y1() + dy <= y0 as f32 || r.y0() - dy >= y1 as f32;
                let value = tensor[[0, 0, v as usize, u as usize]];
                prop_assert!(!inside || (value - 200.0).abs() < 1.5, "dark inside at {u},{v}: {value}");
                prop_assert!(!outside || (value - 20.0).abs() < 1.5, "bright outside at {u},{v}: {value}");
            }
        }
    }

    /// Every set of instructions makes the same tensor, to the bit, as one number at a time.
    #[test]
    fn every_set_makes_the_same_tensor(
        (width, height) in (1u32..200, 1u32..90), long_side in 1u32..220, which in 0usize..4, exif in 1u8..=8,
        (range, bgr, normalised) in (any::<bool>(), any::<bool>(), any::<bool>()), seed in any::<u32>(),
        aspect in shapes(),
    ) {
        let format = FrameFormat::new(FORMATS[which], width, height).unwrap().with_pixel_aspect(aspect)
            .with_color(if range { ColorRange::Full } else { ColorRange::Limited }, ColorMatrix::Bt709)
            .with_orientation(Orientation::from_exif(exif).unwrap());
        let job = noise(format, seed);
        let mut input = input(if bgr { ChannelOrder::Bgr } else { ChannelOrder::Rgb });
        if normalised {
            (input.mean, input.scale) = ([1.0, 20.5, 103.9], [0.5, 1.0 / 57.0, 0.017]);
        }
        let mut oracle = Letterbox::new(&format, long_side, &input);
        oracle.set_instructions(InstructionSet::Scalar);
        oracle.load(&job.view());
        let bits = |l: &Letterbox| l.values.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        for set in InstructionSet::available() {
            let mut letterbox = Letterbox::new(&format, long_side, &input);
            letterbox.set_instructions(set);
            letterbox.load(&job.view());
            prop_assert!(bits(&letterbox) == bits(&oracle), "{set:?}: {format:?} to {long_side}");
        }
    }

    /// No value is further than 1 (of 255) from the definition: the mean over the area under a pixel of the tensor, or
    /// the line between the nearest samples, in all formats, orientations, ratios and parts.
    #[test]
    fn values_are_those_of_the_exact_filter(
        (width, height) in (8u32..150, 8u32..150), (cw, ch) in (1u32..80, 1u32..80), which in 0usize..4, exif in 1u8..=8,
        (full, left, top, right, bottom) in (any::<bool>(), 0u32..4, 0u32..4, 0u32..4, 0u32..4), seed in any::<u32>(),
    ) {
        let range = if full { ColorRange::Full } else { ColorRange::Limited };
        let orientation = Orientation::from_exif(exif).unwrap();
        let format = FrameFormat::new(FORMATS[which], width, height).unwrap()
            .with_color(range, ColorMatrix::Bt709).with_orientation(orientation);
        let (w, h) = format.upright_size();
        let part = PixelRect { x0: left, y0: top, x1: w - right, y1: h - bottom };
        let (job, input) = (noise(format, seed), input(ChannelOrder::Rgb));
        let mut letterbox = Letterbox::of_part(&format, part, (cw, ch), &input);
        letterbox.load(&job.view());
        let tensor = letterbox.tensor().unwrap();
        let (view, stored) = (job.view(), orientation.upright_size((cw, ch)));
        let area = letterbox.to_frame(0.0, 0.0, cw as f32, ch as f32).unwrap();
        let [x0, y0, x1, y1] = [area.x0(), area.y0(), area.x1(), area.y1()].map(|edge| edge.round() as u32);
        let sample = |c: &Component, x: usize, y: usize| {
            let row = view.row(c.plane, y as u32);
            f64::from(row[c.first + x * c.step])
        };
        // Source samples and their shares under output `i` of `n`.
        let under = |from: u32, until: u32, size: u32, shift: u32, n: u32, i: u32| -> Vec<(usize, f64)> {
            let (unit, size) = (f64::from(1 << shift), size.div_ceil(1 << shift));
            let (from, until) = (f64::from(from) / unit, f64::from(until) / unit);
            let step = (until - from) / f64::from(n);
            if step > 1.0 {
                let (a, b) = (from + f64::from(i) * step, from + f64::from(i + 1) * step);
                return (0..size).map(|s| (s as usize, (b.min(f64::from(s + 1)) - a.max(f64::from(s))).max(0.0) / step))
                    .filter(|(_, share)| *share > 0.0).collect();
            }
            let at = (from + (f64::from(i) + 0.5) * step - 0.5).clamp(0.0, f64::from(size - 1));
            let next = (at as usize + 1).min(size as usize - 1);
            vec![(at as usize, 1.0 - at.fract()), (next, at.fract())]
        };
        let bound = 1.0;
        let (kr, kb) = ColorMatrix::Bt709.luma_weights();
        let (kr, kb) = (f64::from(kr), f64::from(kb));
        for (u, v) in (0..cw).flat_map(|u| (0..ch).map(move |v| (u, v))) {
            let at = orientation.to_stored((f64::from(u) + 0.5, f64::from(v) + 0.5), stored);
            let [a, b, c] = components(format.pixel()).map(|c| {
                let columns = under(x0, x1, width, c.shift.0, stored.0, at.0 as u32);
                let rows = under(y0, y1, height, c.shift.1, stored.1, at.1 as u32);
                let row = |y: usize| columns.iter().map(|(x, share)| share * sample(&c, *x, y)).sum::<f64>();
                rows.iter().map(|(y, share)| share * row(*y)).sum::<f64>()
            });
            let (y, cs) = if full { (a, 1.0) } else { ((a - 16.0) * 255.0 / 219.0, 255.0 / 224.0) };
            let (r, bl) = (y + 2.0 * (1.0 - kr) * (c - 128.0) * cs, y + 2.0 * (1.0 - kb) * (b - 128.0) * cs);
            let g = (y - kr * r - kb * bl) / (1.0 - kr - kb);
            let exact = if which == 3 { [a, b, c] } else { [r, g, bl] };
            for (channel, exact) in exact.into_iter().enumerate() {
                let value = f64::from(tensor[[0, channel, v as usize, u as usize]]);
                let off = (value - exact.clamp(0.0, 255.0)).abs();
                prop_assert!(off <= bound, "{value} instead of {exact} at {u},{v} of channel {channel}");
            }
        }
    }

    /// An even picture stays even to the last column and row, and the border keeps its value.
    #[test]
    fn even_stays_even((width, height) in (1u32..70, 1u32..70), long_side in 1u32..150, which in 0usize..4) {
        let format = FrameFormat::new(FORMATS[which], width, height).unwrap()
            .with_color(ColorRange::Full, ColorMatrix::Bt709);
        let letterbox = load(format, long_side, &|_, _| 77);
        let tensor = letterbox.tensor().unwrap();
        for ((_, _, y, x), &value) in tensor.indexed_iter() {
            let content = x < letterbox.content.0 as usize && y < letterbox.content.1 as usize;
            let expected = if content { 77.0 } else { 114.0 };
            prop_assert!((value - expected).abs() < 0.01, "{value} at {x},{y} instead of {expected}");
        }
    }
}

/// A tile at full resolution holds the picture's own samples, and its boxes lie where the picture has them.
#[test]
fn a_tile_is_the_part_of_the_picture_that_it_names() {
    for (orientation, which) in orientations().flat_map(|o| (0..4).map(move |f| (o, f))) {
        let format = FrameFormat::new(FORMATS[which], 97, 61)
            .unwrap()
            .with_color(ColorRange::Full, ColorMatrix::Bt601)
            .with_orientation(orientation);
        let luma = |x: u32, y: u32| (x * 5 + y * 31) as u8;
        let (pool, input) = (FramePool::new(format, 1), input(ChannelOrder::Rgb));
        let part = PixelRect { x0: 7, y0: 12, x1: 50, y1: 55 };
        let mut tile = Letterbox::of_part(&format, part, (43, 43), &input);
        let job = frame(&pool, &luma).lend(std::sync::Arc::default());
        // What another tile left in the tensor is gone.
        let other = PixelRect { x0: 0, y0: 0, x1: 43, y1: 43 };
        let mut other = Letterbox::of_part(&format, other, (43, 43), &input);
        other.load(&job.view());
        other.leave_tensor(&mut tile);
        assert!(other.tensor().is_none());
        tile.load(&job.view());
        let tensor = tile.tensor().unwrap();
        for (u, v) in (0..43).flat_map(|u| (0..43).map(move |v| (u, v))) {
            let r = tile.to_frame(u as f32, v as f32, u as f32 + 1.0, v as f32 + 1.0).unwrap();
            let value = tensor[[0, 1, v, u]];
            let expected = f32::from(luma(r.x0() as u32, r.y0() as u32));
            assert!((value - expected).abs() < 0.01, "{orientation:?}: {value}, not {expected}, at {u},{v}");
        }
    }
}

#[test]
fn corners_map_to_corners_in_every_orientation() {
    for orientation in orientations() {
        let format = FrameFormat::new(PixelFormat::Nv12, 300, 100).unwrap().with_orientation(orientation);
        let letterbox = Letterbox::new(&format, 96, &input(ChannelOrder::Bgr));
        let (w, h) = letterbox.content;
        let whole = letterbox.to_frame(0.0, 0.0, w as f32, h as f32).unwrap();
        assert_eq!(whole.outward(300, 100), crate::geometry::PixelRect::whole(300, 100), "{orientation:?}");
    }
}

#[test]
fn channel_order_mean_and_scale_are_applied() {
    let format = FrameFormat::new(PixelFormat::Rgb24, 32, 32).unwrap();
    let pool = FramePool::new(format, 1);
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    let raw = pool.fill(meta, |view| {
        (0..32).for_each(|y| {
            view.row_mut(0, y).chunks_exact_mut(3).for_each(|s| s.copy_from_slice(&[10, 20, 30]))
        });
        Ok(())
    });
    let input = Input { mean: [1.0, 2.0, 3.0], scale: [2.0; 3], ..input(ChannelOrder::Bgr) };
    let mut letterbox = Letterbox::new(&format, 32, &input);
    letterbox.load(&raw.unwrap().unwrap().lend(std::sync::Arc::default()).view());
    let tensor = letterbox.tensor().unwrap();
    let first: Vec<f32> = (0..3).map(|c| tensor[[0, c, 5, 5]]).collect();
    assert_eq!(first, [58.0, 36.0, 14.0]);
}

/// The matrices of ITU-T H.273: what was red stays red, in both ranges.
#[test]
fn colours_survive_the_matrix() {
    for (matrix, range, ycbcr) in [
        (ColorMatrix::Bt601, ColorRange::Limited, [81, 90, 240]),
        (ColorMatrix::Bt709, ColorRange::Limited, [63, 102, 240]),
        (ColorMatrix::Bt601, ColorRange::Full, [76, 85, 255]),
    ] {
        let format = FrameFormat::new(PixelFormat::I420, 32, 32).unwrap().with_color(range, matrix);
        let pool = FramePool::new(format, 1);
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        let raw = pool.fill(meta, |view| {
            for (plane, value) in ycbcr.into_iter().enumerate() {
                for y in 0..view.format().planes()[plane].height {
                    view.row_mut(plane, y).fill(value);
                }
            }
            Ok(())
        });
        let input = input(ChannelOrder::Rgb);
        let mut letterbox = Letterbox::new(&format, 32, &input);
        letterbox.load(&raw.unwrap().unwrap().lend(std::sync::Arc::default()).view());
        let tensor = letterbox.tensor().unwrap();
        for (channel, expected) in [255.0, 0.0, 0.0].into_iter().enumerate() {
            let value: f32 = tensor[[0, channel, 9, 9]];
            assert!((value - expected).abs() <= 3.0, "{matrix:?} {range:?}: {value} instead of {expected}");
        }
    }
}

/// Every width up to 131, so that every rest of a register occurs, with the largest sums and with noise; the last row of a
/// plane ends where its memory does.
#[test]
fn every_width_is_the_same_in_every_set() {
    let input = input(ChannelOrder::Bgr);
    for (width, which) in (1..=131).flat_map(|width| (0..4).map(move |which| (width, which))) {
        let format = FrameFormat::new(FORMATS[which], width, 5).unwrap();
        let pool = FramePool::new(format, 1);
        let jobs = [noise(format, width), frame(&pool, &|_, _| 255).lend(std::sync::Arc::default())];
        for (job, to) in jobs.iter().flat_map(|job| {
            [width.div_ceil(7), width.div_ceil(3), width.div_ceil(2), width, width + 9].map(|to| (job, to))
        }) {
            let tensors = InstructionSet::available().into_iter().map(|set| {
                let mut letterbox = Letterbox::new(&format, to, &input);
                letterbox.set_instructions(set);
                letterbox.load(&job.view());
                letterbox.values.as_slice().to_vec()
            });
            let tensors: Vec<_> = tensors.collect();
            assert!(tensors.iter().all(|tensor| *tensor == tensors[0]), "{format:?} to {to}");
        }
    }
}

/// Parts that start at any byte, at ratios with loops of their own and at others: the same in every set, from the start of
/// a line of the cache on, with nothing written before or after the tensor or into its border.
#[test]
fn misaligned_parts_are_the_same_and_nothing_beside_is_written() {
    let input = input(ChannelOrder::Rgb);
    let sizes = [(33, 11), (96, 32), (64, 32), (50, 50), (97, 31), (90, 54), (9, 40), (112, 16)];
    for (which, start) in (0..4).flat_map(|which| (0..=16).map(move |start| (which, start))) {
        let format = FrameFormat::new(FORMATS[which], 131, 14).unwrap();
        let job = noise(format, start);
        for (width, to) in sizes {
            let part = PixelRect { x0: start, y0: 1, x1: start + width, y1: 13 };
            let tensors = InstructionSet::available().into_iter().map(|set| {
                let mut letterbox = Letterbox::of_part(&format, part, (to, 4), &input);
                letterbox.set_instructions(set);
                letterbox.values.around().into_iter().for_each(|guard| guard.fill(-7.5));
                letterbox.load(&job.view());
                assert!(letterbox.values.around().into_iter().flatten().all(|guard| *guard == -7.5));
                let tensor = letterbox.tensor().unwrap();
                for ((_, _, y, x), value) in tensor.indexed_iter() {
                    assert!(x < to as usize && y < 4 || *value == 114.0, "{value} in the border at {x},{y}");
                }
                assert_eq!(letterbox.values.as_slice().as_ptr().align_offset(64), 0);
                letterbox.values.as_slice().to_vec()
            });
            let tensors: Vec<_> = tensors.collect();
            assert!(tensors.iter().all(|tensor| *tensor == tensors[0]), "{format:?}, {part:?} to {to}");
        }
    }
}

/// What lies between the rows of a plane and after its last one counts for nothing, whatever it is, in every set. Frames of
/// the pool have zeros there (I6), which would hide a sample too many.
#[test]
fn padding_counts_for_nothing() {
    let input = input(ChannelOrder::Rgb);
    for (width, which) in (1..=131).flat_map(|width| (0..4).map(move |which| (width, which))) {
        let format = FrameFormat::new(FORMATS[which], width, 5).unwrap();
        let picture = |padding: u8| {
            let mut bytes = vec![padding; format.buffer_len()];
            let (mut view, mut noise) = (ViewMut::new(&format, &mut bytes), width);
            for (i, plane) in format.planes().iter().enumerate() {
                for y in 0..plane.height {
                    for v in view.row_mut(i, y) {
                        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        *v = (noise >> 24) as u8;
                    }
                }
            }
            bytes
        };
        let pictures = [0, 85, 255].map(picture);
        let part = PixelRect { x0: width / 3, y0: 1, x1: width, y1: 5 };
        for to in [width.div_ceil(7), width.div_ceil(3), width.div_ceil(2), part.width(), width + 9] {
            for set in InstructionSet::available() {
                let [zeros, others @ ..] = pictures.each_ref().map(|bytes| {
                    let mut letterbox = Letterbox::of_part(&format, part, (to, 4), &input);
                    letterbox.set_instructions(set);
                    letterbox.load(&View::new(&format, bytes));
                    letterbox.values.as_slice().to_vec()
                });
                assert!(others.iter().all(|tensor| *tensor == zeros), "{set:?}: {format:?} to {to}");
            }
        }
    }
}

/// Where some numbers lie, and how many bytes they take.
fn place_of<T>(numbers: &[T]) -> (u64, usize) {
    (numbers.as_ptr() as u64, size_of_val(numbers))
}

/// A reduced picture lies in the tensor, and rows of it beside. Looked at where it was, after it has gone.
#[test]
fn nothing_of_a_picture_is_left_in_memory_that_was_given_back() {
    use std::os::unix::fs::FileExt;

    // What the allocator writes to memory that it got back, at its start.
    const ITS_OWN: usize = 32;
    let format = FrameFormat::new(PixelFormat::Nv12, 64, 48).unwrap();
    let format = format.with_orientation(Orientation::from_exif(6).unwrap());
    let (pool, input) = (FramePool::new(format, 1), input(ChannelOrder::Rgb));
    let job = frame(&pool, &|x, y| 40 + ((x * 7 + y * 13) % 200) as u8).lend(std::sync::Arc::default());
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut written = [false; 8];
    // The plain loops use other parts of it than those in registers.
    for set in [InstructionSet::Scalar, InstructionSet::chosen()] {
        let mut letterbox = Letterbox::new(&format, 64, &input);
        letterbox.set_instructions(set);
        letterbox.load(&job.view());
        // Behind the letterbox, so that its memory does not go back to the system, where nobody could look.
        let behind = std::hint::black_box(vec![1u8; 100_000]);
        let [a, b, c] = letterbox.turned.each_ref().map(|rows| place_of(rows));
        let [d, e, f, g] = letterbox.scratch.memory().map(place_of);
        let places = [place_of(letterbox.values.as_slice()), a, b, c, d, e, f, g];
        // Nothing is asked of the allocator between giving back and looking.
        let mut found = places.map(|(_, len)| vec![0u8; len]);
        let mut left = || {
            for ((at, _), bytes) in places.iter().zip(&mut found) {
                memory.read_exact_at(bytes, *at).unwrap();
            }
            found.each_ref().map(|bytes| bytes.iter().skip(ITS_OWN).filter(|byte| **byte != 0).count())
        };
        let before = left();
        drop(letterbox);
        assert_eq!(left(), [0; 8], "bytes are left, with {set:?} of {before:?}");
        written.iter_mut().zip(before).for_each(|(written, bytes)| *written |= bytes > 0);
        drop(behind);
    }
    assert_eq!(written, [true; 8], "a part was never used");
}

/// Band by band nothing is left of the picture before, turned and in part as well.
#[test]
fn bands_make_the_tensor_of_the_whole() {
    let input = input(ChannelOrder::Rgb);
    for (which, pixel) in FORMATS.into_iter().enumerate() {
        for orientation in (1..=8).filter_map(Orientation::from_exif) {
            let format = FrameFormat::new(pixel, 640, 431).unwrap().with_orientation(orientation);
            assert!(Letterbox::bands(&format) > 2);
            let (before, now) = (noise(format, 1), noise(format, 2 + which as u32));
            let (w, h) = format.upright_size();
            let whole = PixelRect::whole(w, h);
            let part = PixelRect { x0: 31, y0: 50, x1: w - 90, y1: h - 77 };
            // Shrunk, hardly touched, enlarged.
            for (part, content) in [(whole, (90, 61)), (part, (300, 300)), (part, (700, 640))] {
                let mut whole = Letterbox::of_part(&format, part, content, &input);
                whole.load(&now.view());
                let mut banded = Letterbox::of_part(&format, part, content, &input);
                banded.load(&before.view());
                for band in 0..Letterbox::bands(&format) {
                    banded.load_band(&now.view(), band);
                }
                let same = banded.values.as_slice() == whole.values.as_slice();
                assert!(same, "{pixel:?}, {orientation:?}, {part:?} to {content:?}");
            }
        }
    }
}

/// A circle as it is shown is a circle in the tensor, however its pixels are stored; its box in the tensor is its box in the
/// picture; and a network's pixel is as many of the picture's as it covers.
#[test]
fn pixels_of_any_shape_look_square_to_the_network() {
    for (w, h) in [(2, 1), (1, 2), (64, 45), (8, 1), (1, 8), (1, 1)] {
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).unwrap();
            let aspect = PixelAspect::new(w, h).unwrap();
            // A picture of 240x240 as it is shown.
            let (sx, sy) = aspect.squares();
            let size = ((240.0 / sx).round() as u32, (240.0 / sy).round() as u32);
            let format = FrameFormat::new(PixelFormat::Nv12, size.0, size.1).unwrap();
            let format = format.with_pixel_aspect(aspect).with_orientation(orientation);
            let bright = |x: u32, y: u32| {
                let (x, y) = ((f64::from(x) + 0.5) * sx - 100.0, (f64::from(y) + 0.5) * sy - 120.0);
                x.hypot(y) < 60.0
            };
            let letterbox = load(format, 120, &|x, y| if bright(x, y) { 200 } else { 20 });
            assert_eq!(letterbox.content, (120, 120), "{w}:{h}");
            let tensor = letterbox.tensor().unwrap();
            // Brighter than halfway, and than the border.
            let lit = |(at, v): &((usize, usize, usize, usize), &f32)| at.1 == 1 && **v > 115.0;
            let all: Vec<_> = tensor.indexed_iter().filter(lit).map(|((_, _, y, x), _)| (x, y)).collect();
            let span = |of: fn(&(usize, usize)) -> usize| {
                let (from, to) = (all.iter().map(of).min().unwrap(), all.iter().map(of).max().unwrap() + 1);
                (from as f32, to as f32)
            };
            let ((x0, x1), (y0, y1)) = (span(|p| p.0), span(|p| p.1));
            // Half of the circle's size; a stored pixel is up to 4 of the tensor's.
            let near = |v: f32, wanted: f32| (v - wanted).abs() <= 6.0;
            assert!(
                near(x1 - x0, 60.0) && near(y1 - y0, 60.0),
                "{w}:{h} {orientation:?}: {x0} {x1} {y0} {y1}"
            );
            let back = letterbox.to_frame(x0, y0, x1, y1).unwrap();
            let shown = |v: f32, squares: f64| v * squares as f32;
            assert!(
                near(shown(back.x0(), sx) / 2.0, 20.0) && near(shown(back.x1(), sx) / 2.0, 80.0),
                "{back:?}"
            );
            assert!(
                near(shown(back.y0(), sy) / 2.0, 30.0) && near(shown(back.y1(), sy) / 2.0, 90.0),
                "{back:?}"
            );
            let (dx, dy) = letterbox.pixel_size();
            // Whole pixels hardly ever make exactly 240 as they are shown.
            assert!((shown(dx, sx) - 2.0).abs() < 0.01 && (shown(dy, sy) - 2.0).abs() < 0.01, "{dx} {dy}");
        }
    }
}
