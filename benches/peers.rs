//! What other packages need for the same: a mosaic or a blur of 200x200 pixels, each in the packages' own buffers.
//!
//! Peers get luma and chroma as separate pictures, already cut out, which is less than our side does. libblur and imageproc
//! have nothing for two channels: they draw luma alone. Every result is checked once.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{ImageBuffer, Luma, LumaA, Pixel, imageops};
use libblur::{AnisotropicRadius, BlurImageMut, FastBlurChannels};
use pic_scale::{ImageSize, ImageStore, ImageStoreMut, ResamplingFunction, Scaler};

/// Something that can be timed against something else.
pub struct Side {
    pub name: String,
    pub run: Box<dyn FnMut()>,
}

/// Luma pixels along a side, and samples of chroma.
const SIDES: [(usize, usize); 2] = [(200, 1), (100, 2)];
const CELLS: usize = 4;

/// Means of 4 x 4 cells, and those enlarged again.
pub fn mosaics() -> Vec<Side> {
    vec![by_fast_image_resize(), by_pic_scale(), by_image()]
}

/// As soft as bilinear between five cells of 40 pixels.
pub fn blurs() -> Vec<Side> {
    vec![by_libblur(), by_imageproc(), by_image_blur()]
}

fn raw(side: usize, n: usize) -> Vec<u8> {
    (0..side * side * n).map(|i| (i * 7 + i / (side * n) * 13) as u8).collect()
}

/// Every cell shows one value, its mean, to within a few levels of what a filter is allowed to differ.
fn assert_mosaic(raw: &[u8], drawn: &[u8], (side, n): (usize, usize), who: &str) {
    let cell = side / CELLS;
    for at in 0..CELLS * CELLS * n {
        let (c, col, row) = (at % n, at / n % CELLS, at / n / CELLS);
        let samples =
            (0..cell * cell).map(|i| (((row * cell + i / cell) * side) + col * cell + i % cell) * n + c);
        let sum: usize = samples.clone().map(|i| usize::from(raw[i])).sum();
        let mean = (sum / (cell * cell)) as i32;
        for i in samples {
            assert!((i32::from(drawn[i]) - mean).abs() <= 16, "{who}: {} is not {mean}", drawn[i]);
        }
    }
}

/// Neighbours hardly differ, where they did before.
fn assert_blurred(drawn: &[u8], who: &str) {
    let steps = drawn.windows(2).filter(|w| w[0].abs_diff(w[1]) > 12).count();
    assert!(steps * 20 < drawn.len(), "{who}: {steps} steps are left");
}

fn by_fast_image_resize() -> Side {
    let pictures = SIDES.map(|(side, n)| raw(side, n));
    let types = [PixelType::U8, PixelType::U8x2];
    let mut small = [0, 1].map(|i| Image::new(CELLS as u32, CELLS as u32, types[i]));
    let mut large = [0, 1].map(|i| Image::new(SIDES[i].0 as u32, SIDES[i].0 as u32, types[i]));
    let down = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Box)).use_alpha(false);
    let up = ResizeOptions::new().resize_alg(ResizeAlg::Nearest).use_alpha(false);
    let mut resizer = Resizer::new();
    let mut draw = move |check: bool| {
        for i in 0..2 {
            let side = SIDES[i].0 as u32;
            let from = ImageRef::new(side, side, &pictures[i], types[i]).unwrap();
            resizer.resize(&from, &mut small[i], &down).unwrap();
            resizer.resize(&small[i], &mut large[i], &up).unwrap();
            if check {
                assert_mosaic(&pictures[i], large[i].buffer(), SIDES[i], "fast_image_resize");
            }
        }
        black_box(&large);
    };
    draw(true);
    Side { name: "fast_image_resize".into(), run: Box::new(move || draw(false)) }
}

fn by_pic_scale() -> Side {
    fn plane<const N: usize>(
        side: usize,
        plan: impl Fn(&Scaler, ImageSize, ImageSize) -> std::sync::Arc<pic_scale::Resampling<u8, N>>,
    ) -> impl FnMut(bool) {
        let picture = raw(side, N);
        let (large, small) = (ImageSize::new(side, side), ImageSize::new(CELLS, CELLS));
        let down = plan(&Scaler::new(ResamplingFunction::Area), large, small);
        let up = plan(&Scaler::new(ResamplingFunction::Nearest), small, large);
        let mut cells = ImageStoreMut::<u8, N>::alloc(CELLS, CELLS);
        let mut drawn = ImageStoreMut::<u8, N>::alloc(side, side);
        move |check| {
            let from = ImageStore::<u8, N>::borrow(&picture, side, side).unwrap();
            down.resample(&from, &mut cells).unwrap();
            up.resample(&cells.to_immutable(), &mut drawn).unwrap();
            if check {
                assert_mosaic(&picture, drawn.as_bytes(), (side, N), "pic-scale");
            }
            black_box(&drawn);
        }
    }
    let mut luma = plane::<1>(200, |scaler, from, to| scaler.plan_planar_resampling(from, to).unwrap());
    let mut chroma = plane::<2>(100, |scaler, from, to| scaler.plan_cbcr_resampling(from, to).unwrap());
    luma(true);
    chroma(true);
    let run = move || {
        luma(false);
        chroma(false);
    };
    Side { name: "pic-scale".into(), run: Box::new(run) }
}

fn by_image() -> Side {
    fn plane<P: Pixel<Subpixel = u8> + 'static>(side: usize, n: usize) -> impl FnMut(bool) {
        let picture: ImageBuffer<P, Vec<u8>> =
            ImageBuffer::from_raw(side as u32, side as u32, raw(side, n)).unwrap();
        move |check| {
            let cells = imageops::thumbnail(&picture, CELLS as u32, CELLS as u32);
            let large = imageops::resize(&cells, side as u32, side as u32, imageops::FilterType::Nearest);
            if check {
                assert_mosaic(picture.as_raw(), large.as_raw(), (side, n), "image");
            }
            black_box(large);
        }
    }
    let (mut luma, mut chroma) = (plane::<Luma<u8>>(200, 1), plane::<LumaA<u8>>(100, 2));
    luma(true);
    chroma(true);
    let run = move || {
        luma(false);
        chroma(false);
    };
    Side { name: "image".into(), run: Box::new(run) }
}

fn by_libblur() -> Side {
    let mut picture = raw(200, 1);
    let mut draw = move |check: bool| {
        let mut image = BlurImageMut::borrow(&mut picture, 200, 200, FastBlurChannels::Plane);
        let radius = AnisotropicRadius::new(20);
        libblur::stack_blur(&mut image, radius, libblur::ThreadingPolicy::Single).unwrap();
        if check {
            assert_blurred(&picture, "libblur");
        }
    };
    draw(true);
    Side { name: "libblur, luma alone".into(), run: Box::new(move || draw(false)) }
}

fn by_imageproc() -> Side {
    let picture = ImageBuffer::<Luma<u8>, _>::from_raw(200, 200, raw(200, 1)).unwrap();
    let draw = move || imageproc::filter::box_filter(&picture, 20, 20);
    assert_blurred(draw().as_raw(), "imageproc");
    Side { name: "imageproc, luma alone".into(), run: Box::new(move || drop(black_box(draw()))) }
}

fn by_image_blur() -> Side {
    let picture = ImageBuffer::<Luma<u8>, _>::from_raw(200, 200, raw(200, 1)).unwrap();
    let draw = move || imageops::fast_blur(&picture, 16.0);
    assert_blurred(draw().as_raw(), "image");
    Side { name: "image, luma alone".into(), run: Box::new(move || drop(black_box(draw()))) }
}
