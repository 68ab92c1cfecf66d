//! From a frame's planes straight to a network's tensor, turned upright, and from the tensor's boxes back.
//!
//! The picture keeps its proportions, lies in the left upper corner, and the rest is a border of one value. Each plane is
//! resampled to the tensor's grid (area filter when shrinking, bilinear when enlarging) before the colour matrix, so no
//! full-size colour picture ever exists.

use ndarray::ArrayView4;

use super::manifest::{ChannelOrder, Input};
use crate::frame::{ColorRange, FrameFormat, PixelFormat, View};
use crate::geometry::Rect;

/// One colour component of a format: every `step`-th byte of a plane's row, from `first`.
#[derive(Clone, Copy)]
struct Component {
    plane: usize,
    first: usize,
    step: usize,
    shift: (u32, u32),
}

/// Where each output sample comes from along one axis: consecutive source samples and their weights.
struct Axis {
    taps: Vec<(u32, u32)>,
    weights: Vec<f32>,
}

/// A resampling prepared for one frame format and one tensor size.
pub(crate) struct Letterbox {
    format: FrameFormat,
    long_side: u32,
    /// Size of the picture inside the tensor, upright.
    content: (u32, u32),
    tensor: (u32, u32),
    components: [Component; 3],
    columns: Vec<Axis>,
    rows: Vec<Axis>,
    values: Vec<f32>,
    line: Vec<f32>,
    samples: [Vec<f32>; 3],
}

impl Letterbox {
    /// The upright picture scaled so that its longer side has `long_side` pixels.
    pub fn new(format: &FrameFormat, long_side: u32, input: &Input) -> Letterbox {
        let (w, h) = format.upright_size();
        let long = f64::from(w.max(h));
        let scaled = |side: u32| ((f64::from(side) * f64::from(long_side) / long).round() as u32).max(1);
        let content = (scaled(w), scaled(h));
        let tensor = (content.0.next_multiple_of(input.multiple), content.1.next_multiple_of(input.multiple));
        let components = components(format.pixel());
        // The axes of the stored picture.
        let stored = format.orientation().upright_size(content);
        let axis = |size: u32, shift: u32, to: u32| Axis::new(f64::from(size) / f64::from(1 << shift), to);
        let columns = components.iter().map(|c| axis(format.width(), c.shift.0, stored.0)).collect();
        let rows = components.iter().map(|c| axis(format.height(), c.shift.1, stored.1)).collect();
        let border = input.pad;
        let mut values = vec![0.0; 3 * (tensor.0 * tensor.1) as usize];
        let area = (tensor.0 * tensor.1) as usize;
        for (i, plane) in values.chunks_exact_mut(area).enumerate() {
            plane.fill((f32::from(border) - input.mean[i]) * input.scale[i]);
        }
        Letterbox {
            format: *format,
            long_side,
            content,
            tensor,
            components,
            columns,
            rows,
            values,
            line: Vec::new(),
            samples: [(); 3].map(|()| vec![0.0; stored.0 as usize]),
        }
    }

    /// True when this is what [`Letterbox::new`] would make again.
    pub fn fits(&self, format: &FrameFormat, long_side: u32) -> bool {
        self.format == *format && self.long_side == long_side
    }

    /// The tensor as left by [`Letterbox::load`]: 1, 3, height, width.
    pub fn tensor(&self) -> Option<ArrayView4<'_, f32>> {
        let (w, h) = self.tensor;
        ArrayView4::from_shape((1, 3, h as usize, w as usize), &self.values).ok()
    }

    /// Pixels of the frame per pixel of the tensor.
    pub fn pixel_size(&self) -> f32 {
        let (w, h) = self.format.upright_size();
        w.max(h) as f32 / self.content.0.max(self.content.1) as f32
    }

    /// A box of the tensor, in the frame's stored luma pixels.
    pub fn to_frame(&self, x0: f32, y0: f32, x1: f32, y1: f32) -> Option<Rect> {
        let (w, h) = self.format.upright_size();
        let (sx, sy) = (w as f32 / self.content.0 as f32, h as f32 / self.content.1 as f32);
        let upright = Rect::from_corners(x0 * sx, y0 * sy, x1 * sx, y1 * sy)?;
        self.format.orientation().rect_to_stored(&upright, self.format.size())
    }

    /// Fills the tensor from a frame.
    pub fn load(&mut self, view: &View<'_>, input: &Input) {
        let orientation = self.format.orientation();
        let (cw, ch) = self.content;
        let stored = orientation.upright_size(self.content);
        let area = (self.tensor.0 * self.tensor.1) as usize;
        let stride = self.tensor.0 as usize;
        let convert = Converter::new(&self.format);
        let order = match input.channels {
            ChannelOrder::Rgb => [0, 1, 2],
            ChannelOrder::Bgr => [2, 1, 0],
        };
        // Where sample (x, y) of the stored content goes: start + x * dx.
        let place = |y: u32| -> (usize, isize) {
            let (flip_x, flip_y) = (orientation.flip_x, orientation.flip_y);
            let mirrored = |v: u32, size: u32, flip: bool| if flip { size - 1 - v } else { v } as usize;
            if orientation.transpose {
                let start = mirrored(0, ch, flip_y) * stride + mirrored(y, cw, flip_x);
                (start, if flip_y { -(stride as isize) } else { stride as isize })
            } else {
                let start = mirrored(y, ch, flip_y) * stride + mirrored(0, cw, flip_x);
                (start, if flip_x { -1 } else { 1 })
            }
        };
        for y in 0..stored.1 {
            let mut loaded = None;
            for (i, c) in self.components.iter().enumerate() {
                // Components of one plane share the blended line.
                if loaded != Some((c.plane, c.shift.1)) {
                    self.rows[i].blend_rows(view, c.plane, y, &mut self.line);
                    loaded = Some((c.plane, c.shift.1));
                }
                self.columns[i].blend_samples(&self.line, c.first, c.step, &mut self.samples[i]);
            }
            let (start, dx) = place(y);
            let [a, b, c] = &self.samples;
            let mut at = start as isize;
            for ((&a, &b), &c) in a.iter().zip(b).zip(c) {
                let rgb = convert.rgb(a, b, c);
                for (channel, &source) in order.iter().enumerate() {
                    let v = (rgb[source] - input.mean[channel]) * input.scale[channel];
                    self.values[channel * area + at as usize] = v;
                }
                at += dx;
            }
        }
    }
}

fn components(pixel: PixelFormat) -> [Component; 3] {
    let c = |plane, first, step, shift| Component { plane, first, step, shift };
    match pixel {
        PixelFormat::Nv12 => [c(0, 0, 1, (0, 0)), c(1, 0, 2, (1, 1)), c(1, 1, 2, (1, 1))],
        PixelFormat::I420 => [c(0, 0, 1, (0, 0)), c(1, 0, 1, (1, 1)), c(2, 0, 1, (1, 1))],
        PixelFormat::Yuyv => [c(0, 0, 2, (0, 0)), c(0, 1, 4, (1, 0)), c(0, 3, 4, (1, 0))],
        PixelFormat::Rgb24 => [c(0, 0, 3, (0, 0)), c(0, 1, 3, (0, 0)), c(0, 2, 3, (0, 0))],
    }
}

impl Axis {
    /// From `from` source samples (a fraction for the chroma of an odd size) to `to`.
    fn new(from: f64, to: u32) -> Axis {
        let last = (from.ceil() as u32).max(1) - 1;
        let step = from / f64::from(to);
        let mut axis = Axis { taps: Vec::with_capacity(to as usize), weights: Vec::new() };
        for i in 0..to {
            let begin = axis.weights.len() as u32;
            let first;
            if step > 1.0 {
                // Area filter: the part of each source sample under this one.
                let (start, end) = (f64::from(i) * step, f64::from(i + 1) * step);
                first = (start as u32).min(last);
                let final_ = ((end.ceil() as u32).max(1) - 1).clamp(first, last);
                let part = |s: u32| (end.min(f64::from(s + 1)) - start.max(f64::from(s))).max(0.0);
                let total: f64 = (first..=final_).map(part).sum();
                axis.weights.extend((first..=final_).map(|s| (part(s) / total) as f32));
            } else {
                // Bilinear between the centres of the source samples.
                let at = ((f64::from(i) + 0.5) * step - 0.5).clamp(0.0, f64::from(last));
                first = at as u32;
                let t = (at - f64::from(first)) as f32;
                axis.weights.push(1.0 - t);
                if first < last {
                    axis.weights.push(t);
                }
            }
            axis.taps.push((first, begin));
        }
        axis
    }

    fn weights(&self, i: usize) -> &[f32] {
        let end = self.taps.get(i + 1).map_or(self.weights.len(), |t| t.1 as usize);
        &self.weights[self.taps[i].1 as usize..end]
    }

    /// The weighted sum of the rows under output row `i`, all bytes of the plane.
    fn blend_rows(&self, view: &View<'_>, plane: usize, i: u32, line: &mut Vec<f32>) {
        let i = i as usize;
        let first = self.taps[i].0;
        for (y, &weight) in (first..).zip(self.weights(i)) {
            let row = view.row(plane, y);
            if y == first {
                line.clear();
                line.extend(row.iter().map(|&v| f32::from(v) * weight));
            } else if weight != 0.0 {
                line.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f32::from(v) * weight);
            }
        }
    }

    fn blend_samples(&self, line: &[f32], first: usize, step: usize, samples: &mut [f32]) {
        for (i, sample) in samples.iter_mut().enumerate() {
            let from = first + self.taps[i].0 as usize * step;
            *sample = self.weights(i).iter().zip(line[from..].iter().step_by(step)).map(|(w, v)| w * v).sum();
        }
    }
}

/// Y'CbCr to R'G'B' in 0..=255 (ITU-T H.273), or RGB as it is.
struct Converter {
    rgb: bool,
    y_scale: f32,
    y_base: f32,
    r_cr: f32,
    g_cb: f32,
    g_cr: f32,
    b_cb: f32,
}

impl Converter {
    fn new(format: &FrameFormat) -> Converter {
        let (kr, kb) = format.matrix().luma_weights();
        let kg = 1.0 - kr - kb;
        let (y_base, y_scale, c_scale) = match format.range() {
            ColorRange::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
            ColorRange::Full => (0.0, 1.0, 1.0),
        };
        Converter {
            rgb: format.pixel() == PixelFormat::Rgb24,
            y_scale,
            y_base,
            r_cr: 2.0 * (1.0 - kr) * c_scale,
            g_cb: -2.0 * kb * (1.0 - kb) / kg * c_scale,
            g_cr: -2.0 * kr * (1.0 - kr) / kg * c_scale,
            b_cb: 2.0 * (1.0 - kb) * c_scale,
        }
    }

    #[inline]
    fn rgb(&self, a: f32, b: f32, c: f32) -> [f32; 3] {
        if self.rgb {
            return [a, b, c];
        }
        let (y, cb, cr) = ((a - self.y_base) * self.y_scale, b - 128.0, c - 128.0);
        [y + self.r_cr * cr, y + self.g_cb * cb + self.g_cr * cr, y + self.b_cb * cb]
            .map(|v| v.clamp(0.0, 255.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{ColorMatrix, FrameMeta, FramePool, RawFrame, ViewMut};
    use crate::geometry::Orientation;
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

    fn load(format: FrameFormat, long_side: u32, luma: &dyn Fn(u32, u32) -> u8) -> Letterbox {
        let pool = FramePool::new(format, 1);
        let input = input(ChannelOrder::Rgb);
        let mut letterbox = Letterbox::new(&format, long_side, &input);
        let job = frame(&pool, luma).lend(std::sync::Arc::default());
        letterbox.load(&job.view(), &input);
        letterbox
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        /// A bright rectangle of the stored picture is bright in the tensor where the inverse mapping says it is, and
        /// nowhere else, in every format and orientation, shrunk and enlarged.
        #[test]
        fn what_the_tensor_shows_maps_back(
            (width, height) in (24u32..90, 24u32..90), long_side in 20u32..140, which in 0usize..4, exif in 1u8..=8,
            (fx, fy, fw, fh) in (0.0..0.5, 0.0..0.5, 0.3..0.5, 0.3..0.5),
        ) {
            let orientation = Orientation::from_exif(exif).unwrap();
            let format = FrameFormat::new(FORMATS[which], width, height).unwrap()
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
                    let reach = letterbox.pixel_size().max(1.0) * 1.01;
                    let inside = r.x0() - reach >= x0 as f32 && r.x1() + reach <= x1.min(width) as f32
                        && r.y0() - reach >= y0 as f32 && r.y1() + reach <= y1.min(height) as f32;
                    let outside = r.x1() + reach <= x0 as f32 || r.x0() - reach >= x1 as f32
                        || r.y1() + reach <= y0 as f32 || r.y0() - reach >= y1 as f32;
                    let value = tensor[[0, 0, v as usize, u as usize]];
                    prop_assert!(!inside || (value - 200.0).abs() < 1.5, "dark inside at {u},{v}: {value}");
                    prop_assert!(!outside || (value - 20.0).abs() < 1.5, "bright outside at {u},{v}: {value}");
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

    #[test]
    fn corners_map_to_corners_in_every_orientation() {
        for orientation in orientations() {
            let format = FrameFormat::new(PixelFormat::Nv12, 300, 100).unwrap().with_orientation(orientation);
            let letterbox = Letterbox::new(&format, 96, &input(ChannelOrder::Bgr));
            let (w, h) = letterbox.content;
            let whole = letterbox.to_frame(0.0, 0.0, w as f32, h as f32).unwrap();
            assert_eq!(
                whole.outward(300, 100),
                crate::geometry::PixelRect::whole(300, 100),
                "{orientation:?}"
            );
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
        letterbox.load(&raw.unwrap().unwrap().lend(std::sync::Arc::default()).view(), &input);
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
            letterbox.load(&raw.unwrap().unwrap().lend(std::sync::Arc::default()).view(), &input);
            let tensor = letterbox.tensor().unwrap();
            for (channel, expected) in [255.0, 0.0, 0.0].into_iter().enumerate() {
                let value: f32 = tensor[[0, channel, 9, 9]];
                assert!(
                    (value - expected).abs() <= 3.0,
                    "{matrix:?} {range:?}: {value} instead of {expected}"
                );
            }
        }
    }
}
