//! From a frame's planes straight to a network's tensor, turned upright, and from the tensor's boxes back.
//!
//! The picture keeps its proportions, lies in the left upper corner, and the rest is a border of one value. Each plane is
//! resampled to the tensor's grid (area filter when shrinking, bilinear when enlarging) before the colour matrix, so no
//! full-size colour picture ever exists.
//!
//! As many rows of the tensor as a register has numbers are made at once. The rows under each of them are blended, eight
//! columns at a time, and turned by 90 degrees, so that all loops along the row work on whole registers: blending
//! samples, colour, channel order. Then eight finished columns are turned back.

use std::ops::Range;

use ndarray::ArrayView4;

use super::manifest::{ChannelOrder, Input};
use crate::frame::{ColorRange, FrameFormat, PixelFormat, View};
use crate::geometry::{PixelRect, Rect};
#[cfg(target_arch = "x86_64")]
use crate::kernels::Avx2;
#[cfg(target_arch = "aarch64")]
use crate::kernels::Neon;
use crate::kernels::{InstructionSet, Lanes};

/// Columns of the tensor that are made in one go.
const STRIP: u32 = 64;

/// One colour component of a format: every `step`-th byte of a plane's row, from `first`.
#[derive(Clone, Copy)]
struct Component {
    plane: usize,
    first: usize,
    step: usize,
    shift: (u32, u32),
}

/// Where each output sample comes from along one axis: `width` consecutive source samples, and their weights.
struct Axis {
    width: usize,
    first: Vec<u32>,
    weights: Vec<f32>,
}

/// A resampling prepared for one frame format and one tensor size.
pub(crate) struct Letterbox {
    format: FrameFormat,
    /// What it shows of the picture, in upright luma pixels.
    part: PixelRect,
    /// Size of that inside the tensor, upright.
    content: (u32, u32),
    tensor: (u32, u32),
    components: [Component; 3],
    columns: Vec<Axis>,
    rows: Vec<Axis>,
    values: Vec<f32>,
    /// Blended rows of each plane, turned: the same column of all of them lies together.
    lines: [Vec<f32>; 3],
    set: InstructionSet,
}

impl Letterbox {
    /// The upright picture scaled so that its longer side has `long_side` pixels.
    pub fn new(format: &FrameFormat, long_side: u32, input: &Input) -> Letterbox {
        let (w, h) = format.upright_size();
        Letterbox::of_part(format, PixelRect::whole(w, h), scaled((w, h), long_side), input)
    }

    /// A part of the upright picture, in its luma pixels, scaled to `content` pixels: a tile at full resolution when
    /// that is the part's own size. Panics when the part holds no pixel or reaches beyond the picture.
    pub fn of_part(format: &FrameFormat, part: PixelRect, content: (u32, u32), input: &Input) -> Letterbox {
        let (w, h) = format.upright_size();
        assert!(!part.is_empty() && part.x1 <= w && part.y1 <= h, "{part:?} of a picture of {w}x{h}");
        let content = (content.0.max(1), content.1.max(1));
        let tensor = (content.0.next_multiple_of(input.multiple), content.1.next_multiple_of(input.multiple));
        let components = components(format.pixel());
        // The axes of the stored picture.
        let stored = format.orientation().upright_size(content);
        let area = part_to_stored(format, part);
        let axis = |from: u32, until: u32, size: u32, shift: u32, to: u32| {
            let samples = |luma: u32| f64::from(luma) / f64::from(1 << shift);
            Axis::new(samples(from)..samples(until), size.div_ceil(1 << shift), to)
        };
        let columns = |c: &Component| axis(area.x0, area.x1, format.width(), c.shift.0, stored.0);
        let rows = |c: &Component| axis(area.y0, area.y1, format.height(), c.shift.1, stored.1);
        let (columns, rows) =
            (components.iter().map(columns).collect(), components.iter().map(rows).collect());
        let border = input.pad;
        let mut values = vec![0.0; 3 * (tensor.0 * tensor.1) as usize];
        let area = (tensor.0 * tensor.1) as usize;
        for (i, plane) in values.chunks_exact_mut(area).enumerate() {
            plane.fill((f32::from(border) - input.mean[i]) * input.scale[i]);
        }
        Letterbox {
            format: *format,
            part,
            content,
            tensor,
            components,
            columns,
            rows,
            values,
            lines: Default::default(),
            set: InstructionSet::chosen(),
        }
        .with_lines(stored)
    }

    /// Makes room for the blended rows of the widest strip.
    fn with_lines(mut self, stored: (u32, u32)) -> Letterbox {
        let most = <f32 as Lanes>::MOST;
        for plane in 0..self.format.planes().len() {
            let widths = strips(stored, stored.1).map(|(_, strip)| self.span(plane, strip, most).len());
            self.lines[plane] = vec![0.0; widths.max().unwrap_or(0) * most];
        }
        self
    }

    /// True when this is what [`Letterbox::new`] would make again.
    pub fn fits(&self, format: &FrameFormat, long_side: u32) -> bool {
        let (w, h) = format.upright_size();
        self.shows(format, PixelRect::whole(w, h), scaled((w, h), long_side))
    }

    /// True when this is what [`Letterbox::of_part`] would make again.
    pub fn shows(&self, format: &FrameFormat, part: PixelRect, content: (u32, u32)) -> bool {
        self.format == *format && self.part == part && self.content == content
    }

    /// The tensor as left by [`Letterbox::load`]: 1, 3, height, width.
    pub fn tensor(&self) -> Option<ArrayView4<'_, f32>> {
        let (w, h) = self.tensor;
        ArrayView4::from_shape((1, 3, h as usize, w as usize), &self.values).ok()
    }

    /// Pixels of the frame per pixel of the tensor.
    pub fn pixel_size(&self) -> f32 {
        self.part.width().max(self.part.height()) as f32 / self.content.0.max(self.content.1) as f32
    }

    /// A box of the tensor, in the frame's stored luma pixels.
    pub fn to_frame(&self, x0: f32, y0: f32, x1: f32, y1: f32) -> Option<Rect> {
        let sx = self.part.width() as f32 / self.content.0 as f32;
        let sy = self.part.height() as f32 / self.content.1 as f32;
        let (left, top) = (self.part.x0 as f32, self.part.y0 as f32);
        let upright = Rect::from_corners(left + x0 * sx, top + y0 * sy, left + x1 * sx, top + y1 * sy)?;
        self.format.orientation().rect_to_stored(&upright, self.format.size())
    }

    /// The bytes of a plane's rows under these columns of all its components, from a multiple of `lanes` on.
    fn span(&self, plane: usize, columns: Range<u32>, lanes: usize) -> Range<usize> {
        let of_plane = self.components.iter().zip(&self.columns).filter(|(c, _)| c.plane == plane);
        let spans = of_plane.map(|(c, axis)| {
            let span = axis.span(columns.start as usize, columns.end as usize);
            c.first + span.start * c.step..c.first + (span.end - 1) * c.step + 1
        });
        let union = |a: Range<usize>, b: Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        let span = spans.reduce(union).unwrap_or_default();
        span.start / lanes * lanes..span.end.next_multiple_of(lanes)
    }

    /// Fills the tensor from a frame.
    pub fn load(&mut self, view: &View<'_>, input: &Input) {
        match self.set {
            InstructionSet::Scalar => self.load_in::<[f32; 8]>(view, input),
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: this set is chosen only where the processor has AVX2.
            InstructionSet::Avx2 => unsafe { self.load_avx2(view, input) },
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => self.load_in::<Neon>(view, input),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn load_avx2(&mut self, view: &View<'_>, input: &Input) {
        self.load_in::<Avx2>(view, input);
    }

    #[inline(always)]
    fn load_in<L: Lanes>(&mut self, view: &View<'_>, input: &Input) {
        let stored = self.format.orientation().upright_size(self.content);
        let area = (self.tensor.0 * self.tensor.1) as usize;
        let convert = Converter::new(&self.format);
        let order = match input.channels {
            ChannelOrder::Rgb => [0, 1, 2],
            ChannelOrder::Bgr => [2, 1, 0],
        };
        let normalised = input.mean != [0.0; 3] || input.scale != [1.0; 3];
        for (first, strip) in strips(stored, L::N as u32) {
            let mut starts = [0; 3];
            for (i, c) in self.components.iter().enumerate() {
                // Components of one plane share its blended rows.
                if i == 0 || self.components[i - 1].plane != c.plane {
                    let span = self.span(c.plane, strip.clone(), L::N);
                    starts[c.plane] = span.start;
                    self.rows[i].blend_rows::<L>(view, c.plane, first, span, &mut self.lines[c.plane]);
                }
            }
            let mut places = [(0, 0); 8];
            for (y, place) in (first..stored.1).zip(&mut places) {
                *place = self::place(&self.format, self.content, self.tensor.0, y);
            }
            let mut samples = [[L::splat(0.0); STRIP as usize]; 3];
            for (i, c) in self.components.iter().enumerate() {
                let (line, start) = (&self.lines[c.plane], starts[c.plane]);
                self.columns[i].blend_samples(
                    line,
                    start,
                    c,
                    strip.start as usize,
                    &mut samples[i][..strip.len()],
                );
            }
            for column in strip.clone().step_by(L::N) {
                let mut tile = [[L::splat(0.0); 8]; 3];
                let columns = (strip.end - column).min(L::N as u32);
                let from = (column - strip.start) as usize;
                for x in 0..columns as usize {
                    let rgb = convert.rgb([samples[0][from + x], samples[1][from + x], samples[2][from + x]]);
                    for (channel, &source) in order.iter().enumerate() {
                        tile[channel][x] = rgb[source];
                    }
                }
                for (channel, rows) in tile.iter_mut().enumerate() {
                    L::transpose(&mut rows[..L::N]);
                    if normalised {
                        let (mean, scale) = (L::splat(-input.mean[channel]), L::splat(input.scale[channel]));
                        rows.iter_mut().for_each(|v| *v = v.add(mean).mul(scale));
                    }
                    let values = &mut self.values[channel * area..][..area];
                    let height = (stored.1 - first).min(L::N as u32) as usize;
                    for (&(start, dx), row) in places[..height].iter().zip(rows.iter()) {
                        let at = start as isize + column as isize * dx;
                        if dx == 1 && columns as usize == L::N {
                            row.write(&mut values[at as usize..]);
                            continue;
                        }
                        let mut one = [0.0; 8];
                        row.write(&mut one);
                        for (x, v) in one[..columns as usize].iter().enumerate() {
                            values[(at + x as isize * dx) as usize] = *v;
                        }
                    }
                }
            }
        }
    }
}

/// A size scaled so that its longer side is `long_side`.
fn scaled((w, h): (u32, u32), long_side: u32) -> (u32, u32) {
    let long = f64::from(w.max(h));
    let scaled = |side: u32| ((f64::from(side) * f64::from(long_side) / long).round() as u32).max(1);
    (scaled(w), scaled(h))
}

/// A part of the upright picture in stored pixels.
fn part_to_stored(format: &FrameFormat, part: PixelRect) -> PixelRect {
    let stored = |x: u32, y: u32| format.orientation().to_stored((x.into(), y.into()), format.size());
    let (a, b) = (stored(part.x0, part.y0), stored(part.x1, part.y1));
    PixelRect {
        x0: a.0.min(b.0) as u32,
        y0: a.1.min(b.1) as u32,
        x1: a.0.max(b.0) as u32,
        y1: a.1.max(b.1) as u32,
    }
}

/// The parts in which a tensor is made: its rows `height` at a time, and of those [`STRIP`] columns, so that what is blended
/// in between stays in the first cache.
fn strips(size: (u32, u32), height: u32) -> impl Iterator<Item = (u32, Range<u32>)> {
    let columns = move || (0..size.0).step_by(STRIP as usize).map(move |x| x..(x + STRIP).min(size.0));
    (0..size.1).step_by(height as usize).flat_map(move |y| columns().map(move |strip| (y, strip)))
}

/// Where the stored content's row `y` goes in a channel of the tensor: where its first sample goes, and how far it is from
/// each to the next.
fn place(format: &FrameFormat, content: (u32, u32), stride: u32, y: u32) -> (usize, isize) {
    let orientation = format.orientation();
    let ((cw, ch), stride) = (content, stride as usize);
    let mirrored = |v: u32, size: u32, flip: bool| if flip { size - 1 - v } else { v } as usize;
    let (flip_x, flip_y) = (orientation.flip_x, orientation.flip_y);
    if orientation.transpose {
        let start = mirrored(0, ch, flip_y) * stride + mirrored(y, cw, flip_x);
        (start, if flip_y { -(stride as isize) } else { stride as isize })
    } else {
        let start = mirrored(y, ch, flip_y) * stride + mirrored(0, cw, flip_x);
        (start, if flip_x { -1 } else { 1 })
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
    /// From the source samples in `part` (fractions for the chroma of odd places and sizes), of `size` that there are, to
    /// `to`.
    fn new(part: Range<f64>, size: u32, to: u32) -> Axis {
        let last = size.max(1) - 1;
        let step = (part.end - part.start) / f64::from(to);
        let taps: Vec<(u32, Vec<f32>)> = (0..to)
            .map(|i| {
                if step > 1.0 {
                    // Area filter: the part of each source sample under this one.
                    let (start, end) =
                        (part.start + f64::from(i) * step, part.start + f64::from(i + 1) * step);
                    let first = (start as u32).min(last);
                    let final_ = ((end.ceil() as u32).max(1) - 1).clamp(first, last);
                    let under = |s: u32| (end.min(f64::from(s + 1)) - start.max(f64::from(s))).max(0.0);
                    let total: f64 = (first..=final_).map(under).sum();
                    (first, (first..=final_).map(|s| (under(s) / total) as f32).collect())
                } else {
                    // Bilinear between the centres of the source samples.
                    let at = (part.start + (f64::from(i) + 0.5) * step - 0.5).clamp(0.0, f64::from(last));
                    let first = at as u32;
                    let t = (at - f64::from(first)) as f32;
                    (first, if first < last { vec![1.0 - t, t] } else { vec![1.0 - t] })
                }
            })
            .collect();
        // All with the same number of samples, so that loops over them have a fixed length. The others weigh nothing.
        let width = taps.iter().map(|t| t.1.len()).max().unwrap_or(1);
        let mut axis = Axis { width, first: Vec::new(), weights: Vec::new() };
        for (first, weights) in taps {
            let moved = first.min(last + 1 - width as u32);
            let before = (first - moved) as usize;
            axis.first.push(moved);
            axis.weights.extend(std::iter::repeat_n(0.0, before));
            axis.weights.extend(&weights);
            axis.weights.extend(std::iter::repeat_n(0.0, width - before - weights.len()));
        }
        axis
    }

    /// The source samples under the output samples `from..to`.
    fn span(&self, from: usize, to: usize) -> Range<usize> {
        self.first[from] as usize..self.first[to - 1] as usize + self.width
    }

    /// [`Axis::blend_rows_of`] for the axis's own width, known when it is compiled if it is a usual one.
    #[inline(always)]
    fn blend_rows<L: Lanes>(
        &self,
        view: &View<'_>,
        plane: usize,
        first: u32,
        span: Range<usize>,
        line: &mut [f32],
    ) {
        match self.width {
            1 => self.blend_rows_of::<L, 1>(view, plane, first, span, line),
            2 => self.blend_rows_of::<L, 2>(view, plane, first, span, line),
            3 => self.blend_rows_of::<L, 3>(view, plane, first, span, line),
            4 => self.blend_rows_of::<L, 4>(view, plane, first, span, line),
            _ => self.blend_rows_of::<L, 0>(view, plane, first, span, line),
        }
    }

    /// The weighted sums of the rows under the output rows from `first` on, the bytes in `span` of the plane, turned. Beyond
    /// the last output row the last one comes again.
    #[inline(always)]
    fn blend_rows_of<L: Lanes, const WIDTH: usize>(
        &self,
        view: &View<'_>,
        plane: usize,
        first: u32,
        span: Range<usize>,
        line: &mut [f32],
    ) {
        let width = if WIDTH == 0 { self.width } else { WIDTH };
        let stride = view.format().planes()[plane].stride;
        let bytes = view.plane(plane);
        let last = self.first.len() - 1;
        for (start, turned) in span.step_by(L::N).zip(line.chunks_exact_mut(L::N * L::N)) {
            let mut square = [L::splat(0.0); 8];
            for (i, sum) in (first as usize..).zip(&mut square[..L::N]) {
                let i = i.min(last);
                let weights = &self.weights[i * width..][..width];
                // Rows are padded to a multiple of a register, so a whole one can be read at their end.
                let column = &bytes[self.first[i] as usize * stride + start..];
                *sum = L::bytes(column).mul(L::splat(weights[0]));
                for k in 1..width {
                    *sum = sum.add(L::bytes(&column[k * stride..]).mul(L::splat(weights[k])));
                }
            }
            L::transpose(&mut square[..L::N]);
            for (column, sums) in turned.chunks_exact_mut(L::N).zip(&square) {
                sums.write(column);
            }
        }
    }

    /// The weighted sums of a component's samples under the output columns from `first` on, of all turned rows; `line` begins
    /// with byte `start` of the plane.
    #[inline(always)]
    fn blend_samples<L: Lanes>(
        &self,
        line: &[f32],
        start: usize,
        component: &Component,
        first: usize,
        sums: &mut [L],
    ) {
        match self.width {
            1 => self.blend_samples_of::<L, 1>(line, start, component, first, sums),
            2 => self.blend_samples_of::<L, 2>(line, start, component, first, sums),
            3 => self.blend_samples_of::<L, 3>(line, start, component, first, sums),
            4 => self.blend_samples_of::<L, 4>(line, start, component, first, sums),
            _ => self.blend_samples_of::<L, 0>(line, start, component, first, sums),
        }
    }

    #[inline(always)]
    fn blend_samples_of<L: Lanes, const WIDTH: usize>(
        &self,
        line: &[f32],
        start: usize,
        component: &Component,
        first: usize,
        sums: &mut [L],
    ) {
        let width = if WIDTH == 0 { self.width } else { WIDTH };
        let (firsts, weights) = (&self.first[first..], self.weights[first * width..].chunks_exact(width));
        for ((sum, &from), weights) in sums.iter_mut().zip(firsts).zip(weights) {
            let at = (component.first + from as usize * component.step - start) * L::N;
            *sum = L::read(&line[at..]).mul(L::splat(weights[0]));
            for k in 1..width {
                let next = L::read(&line[at + k * component.step * L::N..]);
                *sum = sum.add(next.mul(L::splat(weights[k])));
            }
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

    #[inline(always)]
    fn rgb<L: Lanes>(&self, [a, b, c]: [L; 3]) -> [L; 3] {
        if self.rgb {
            return [a, b, c];
        }
        let y = a.add(L::splat(-self.y_base)).mul(L::splat(self.y_scale));
        let (cb, cr) = (b.add(L::splat(-128.0)), c.add(L::splat(-128.0)));
        let green = y.add(cb.mul(L::splat(self.g_cb))).add(cr.mul(L::splat(self.g_cr)));
        let (red, blue) = (y.add(cr.mul(L::splat(self.r_cr))), y.add(cb.mul(L::splat(self.b_cb))));
        // Not `map`, which would not be inlined.
        [red.clamp_byte(), green.clamp_byte(), blue.clamp_byte()]
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

        /// Every set of instructions makes the same tensor, to the bit, as one number at a time.
        #[test]
        fn every_set_makes_the_same_tensor(
            (width, height) in (1u32..200, 1u32..90), long_side in 1u32..220, which in 0usize..4, exif in 1u8..=8,
            (range, bgr, normalised) in (any::<bool>(), any::<bool>(), any::<bool>()), seed in any::<u32>(),
        ) {
            let format = FrameFormat::new(FORMATS[which], width, height).unwrap()
                .with_color(if range { ColorRange::Full } else { ColorRange::Limited }, ColorMatrix::Bt709)
                .with_orientation(Orientation::from_exif(exif).unwrap());
            let pool = FramePool::new(format, 1);
            let mut noise = seed;
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
            let job = frame.unwrap().unwrap().lend(std::sync::Arc::default());
            let mut input = input(if bgr { ChannelOrder::Bgr } else { ChannelOrder::Rgb });
            if normalised {
                (input.mean, input.scale) = ([1.0, 20.5, 103.9], [0.5, 1.0 / 57.0, 0.017]);
            }
            let mut oracle = Letterbox::new(&format, long_side, &input);
            oracle.load_in::<f32>(&job.view(), &input);
            let bits = |l: &Letterbox| l.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            for set in InstructionSet::available() {
                let mut letterbox = Letterbox::new(&format, long_side, &input);
                letterbox.set = set;
                letterbox.load(&job.view(), &input);
                prop_assert!(bits(&letterbox) == bits(&oracle), "{set:?}: {format:?} to {long_side}");
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
            assert!(tile.shows(&format, part, (43, 43)) && !tile.fits(&format, 43));
            tile.load(&frame(&pool, &luma).lend(std::sync::Arc::default()).view(), &input);
            let tensor = tile.tensor().unwrap();
            for (u, v) in (0..43).flat_map(|u| (0..43).map(move |v| (u, v))) {
                let r = tile.to_frame(u as f32, v as f32, u as f32 + 1.0, v as f32 + 1.0).unwrap();
                let value = tensor[[0, 1, v, u]];
                let expected = f32::from(luma(r.x0() as u32, r.y0() as u32));
                assert!(
                    (value - expected).abs() < 0.01,
                    "{orientation:?}: {value}, not {expected}, at {u},{v}"
                );
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
