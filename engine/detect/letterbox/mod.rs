//! From a frame's planes straight to a network's tensor, turned upright, and from the tensor's boxes back.
//!
//! The picture, or a part of it, gets the proportions that it is shown with (its pixels need not be square), lies in the
//! left upper corner, and the rest is a border of one value. Each plane is resampled to the tensor's grid (area filter when shrinking, bilinear when enlarging) before the
//! colour matrix, so no full-size colour picture ever exists.
//!
//! A row of the tensor is made at a time: the samples under each of its pixels are summed up, and the sums of the three
//! components become colours. All sums are of whole numbers, so every set of instructions gives the same bits without
//! further care.
#![cfg_attr(
    not(any(target_arch = "aarch64", target_arch = "x86_64")),
    allow(dead_code, reason = "what the loops in registers read")
)]

mod axis;
mod color;
mod kernels;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod taps;
#[cfg(test)]
mod tests;
mod values;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use ndarray::ArrayView4;

use self::axis::Axis;
use self::color::Converter;
use self::kernels::{Loops, Rows, Scalar, Scratch};
use self::taps::Taps;
use self::values::Values;
use super::manifest::Input;
use crate::geometry::PixelAspect;
use crate::geometry::{PixelRect, Rect};
use crate::kernels::InstructionSet;
use crate::picture::{FrameFormat, PixelFormat, View};

/// How many rows are turned into columns at once: half a line of the cache.
const BLOCK: usize = 8;
/// Bytes of a frame that several letterboxes read together: few enough for the second cache of a small processor, beside
/// what is written meanwhile.
const BAND: usize = 1 << 17;

/// One colour component of a format: every `step`-th byte of a plane's row, from `first`.
#[derive(Clone, Copy)]
struct Component {
    plane: usize,
    first: usize,
    step: usize,
    shift: (u32, u32),
}

/// Components of one plane with samples at the same places.
struct Layer {
    /// Which of the three.
    components: Range<usize>,
    plane: usize,
    /// Where in every `step` bytes each component lies.
    firsts: Vec<usize>,
    step: usize,
    rows: Axis,
    columns: Axis,
    /// How many components one of `taps` is for.
    side_by_side: usize,
    /// The columns laid out for registers; empty where rows are too short for one.
    taps: Vec<Vec<Taps>>,
    /// Of a row, those from the first to the last that weighs something.
    bytes: Range<usize>,
}

/// A resampling prepared for one frame format, one part of its pictures and one tensor size.
pub(crate) struct Letterbox {
    format: FrameFormat,
    /// Square pixels per luma pixel, along the upright picture's rows and columns.
    squares: (f32, f32),
    /// What it shows of the picture, in upright luma pixels.
    part: PixelRect,
    /// Size of that inside the tensor, upright.
    content: (u32, u32),
    tensor: (u32, u32),
    layers: Vec<Layer>,
    convert: Converter,
    scratch: Scratch,
    /// A block of rows that do not lie in the tensor as they are, before they are turned.
    turned: [Vec<f32>; 3],
    values: Values,
    set: InstructionSet,
}

impl Letterbox {
    /// The upright picture as it looks with the likeliest shape of its pixels, scaled so that its longer side has
    /// `long_side` pixels.
    #[cfg(any(test, feature = "internal"))]
    pub fn new(format: &FrameFormat, long_side: u32, input: &Input) -> Letterbox {
        Letterbox::of_shape(format, format.pixel_aspect(), long_side, input)
    }

    /// The same with another shape.
    pub fn of_shape(format: &FrameFormat, aspect: PixelAspect, long_side: u32, input: &Input) -> Letterbox {
        let (w, h) = format.upright_size();
        let content = scaled(square_size(format, aspect), long_side);
        let letterbox = Letterbox::of_part(format, PixelRect::whole(w, h), content, input);
        letterbox.with_shape(aspect)
    }

    /// What [`Letterbox::pixel_size`] goes by, when `content` was reckoned with pixels of this shape.
    pub fn with_shape(mut self, aspect: PixelAspect) -> Letterbox {
        let (x, y) = self.format.upright_squares(aspect);
        self.squares = (x as f32, y as f32);
        self
    }

    /// A part of the upright picture, in its luma pixels, scaled to `content` pixels: a tile at full resolution when
    /// that is the part's own size. Panics when the part holds no pixel or reaches beyond the picture.
    pub fn of_part(format: &FrameFormat, part: PixelRect, content: (u32, u32), input: &Input) -> Letterbox {
        let (w, h) = format.upright_size();
        assert!(!part.is_empty() && part.x1 <= w && part.y1 <= h, "{part:?} of a picture of {w}x{h}");
        let content = (content.0.max(1), content.1.max(1));
        let tensor = (content.0.next_multiple_of(input.multiple), content.1.next_multiple_of(input.multiple));
        let area = (tensor.0 * tensor.1) as usize;
        let mut values = Values::new(3 * area);
        for (i, plane) in values.as_mut_slice().chunks_exact_mut(area).enumerate() {
            plane.fill((f32::from(input.pad) - input.mean[i]) * input.scale[i]);
        }
        let layers = layers(format, part_to_stored(format, part), content);
        let convert = Converter::new(format, input, totals(&layers));
        let width = format.orientation().upright_size(content).0 as usize;
        let (scratch, turned) = (Scratch::new(&layers), [(); 3].map(|()| vec![0.0; BLOCK * width]));
        let mut letterbox = Letterbox {
            format: *format,
            squares: (1.0, 1.0),
            part,
            content,
            tensor,
            layers,
            convert,
            scratch,
            turned,
            values,
            set: InstructionSet::Scalar,
        };
        letterbox.set_instructions(InstructionSet::chosen());
        letterbox
    }

    /// Leaves its tensor's memory to a letterbox of another part with the same content, and has none itself until it is
    /// left one again.
    pub fn leave_tensor(&mut self, to: &mut Letterbox) {
        debug_assert_eq!(self.content, to.content);
        to.values = std::mem::take(&mut self.values);
    }

    /// The tensor as left by [`Letterbox::load`]: 1, 3, height, width.
    pub fn tensor(&self) -> Option<ArrayView4<'_, f32>> {
        let (w, h) = self.tensor;
        ArrayView4::from_shape((1, 3, h as usize, w as usize), self.values.as_slice()).ok()
    }

    /// Pixels of the frame, along its stored rows and columns, per pixel of the tensor.
    pub fn pixel_size(&self) -> (f32, f32) {
        let (x, y) = self.squares;
        let long = (self.part.width() as f32 * x).max(self.part.height() as f32 * y);
        let size = long / self.content.0.max(self.content.1) as f32;
        if self.format.orientation().transpose { (size / y, size / x) } else { (size / x, size / y) }
    }

    /// A box of the tensor, in the frame's stored luma pixels.
    pub fn to_frame(&self, x0: f32, y0: f32, x1: f32, y1: f32) -> Option<Rect> {
        let sx = self.part.width() as f32 / self.content.0 as f32;
        let sy = self.part.height() as f32 / self.content.1 as f32;
        let (left, top) = (self.part.x0 as f32, self.part.y0 as f32);
        let upright = Rect::from_corners(left + x0 * sx, top + y0 * sy, left + x1 * sx, top + y1 * sy)?;
        self.format.orientation().rect_to_stored(&upright, self.format.size())
    }

    /// Uses these loops, or the plain ones where a row is too short for a register. The processor has to have the set.
    pub fn set_instructions(&mut self, set: InstructionSet) {
        let prepared = self.layers.iter().all(|layer| !layer.taps.is_empty());
        self.set = if prepared { set } else { InstructionSet::Scalar };
    }

    /// Fills the tensor from a frame.
    pub fn load(&mut self, view: &View<'_>) {
        self.load_rows(view, 0..self.rows());
    }

    /// How many bands [`Letterbox::load_band`] parts frames into.
    pub fn bands(format: &FrameFormat) -> usize {
        format.buffer_len().div_ceil(BAND)
    }

    /// Fills what one band of the frame ends up in. Letterboxes that are loaded band by band, by turns, read the frame from
    /// memory once, for all of them.
    pub fn load_band(&mut self, view: &View<'_>, band: usize) {
        let (bands, height) = (Letterbox::bands(&self.format), self.format.planes()[0].height as usize);
        let first = &self.layers[0].rows.first;
        let start = |band: usize| match band < bands {
            true => first.partition_point(|row| (*row as usize) < band * height / bands) / BLOCK * BLOCK,
            false => first.len(),
        };
        self.load_rows(view, start(band)..start(band + 1));
    }

    /// Rows of the stored content.
    fn rows(&self) -> usize {
        self.layers[0].rows.first.len()
    }

    /// Fills what these rows of the stored content end up in, which start where a block does.
    #[allow(unsafe_code)]
    fn load_rows(&mut self, view: &View<'_>, rows: Range<usize>) {
        match self.set {
            // SAFETY: plain loops.
            InstructionSet::Scalar => unsafe { self.load_in::<Scalar>(view, rows) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this set is chosen only where the processor has AVX2, and each layer its taps.
            InstructionSet::Avx2 => unsafe { self.load_in::<x86::Avx2>(view, rows) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: every AArch64 processor has NEON, and this set is chosen only where each layer has its taps.
            InstructionSet::Neon => unsafe { self.load_in::<neon::Neon>(view, rows) },
        }
    }

    /// # Safety
    /// As for [`Loops::row`].
    #[allow(unsafe_code)]
    unsafe fn load_in<L: Loops>(&mut self, view: &View<'_>, rows: Range<usize>) {
        let width = self.layers[0].columns.first.len();
        let area = (self.tensor.0 * self.tensor.1) as usize;
        let mut picture = L::picture(&self.layers, view);
        for y in rows.clone() {
            let (start, step) = place(&self.format, self.content, self.tensor.0, y as u32);
            let row = y % BLOCK;
            let to = if step == 1 {
                let (red, rest) = self.values.as_mut_slice().split_at_mut(area);
                let (green, blue) = rest.split_at_mut(area);
                [red, green, blue].map(|channel| &mut channel[start..][..width])
            } else {
                self.turned.each_mut().map(|rows| &mut rows[row * width..][..width])
            };
            // SAFETY: as required of the caller.
            unsafe { L::row(&mut picture, y, &mut self.scratch, &self.convert, to) };
            if step == 1 {
                continue;
            }
            let full = row + 1 == BLOCK || y + 1 == rows.end;
            for (rows, channel) in self.turned.iter().zip(self.values.as_mut_slice().chunks_exact_mut(area)) {
                if step == -1 {
                    let to = &mut channel[start + 1 - width..][..width];
                    to.iter_mut().rev().zip(&rows[row * width..]).for_each(|(to, value)| *to = *value);
                } else if full {
                    let mirrored = self.format.orientation().flip_x;
                    let left = if mirrored { start } else { start - row };
                    stand(&rows[..(row + 1) * width], width, mirrored, &mut channel[..], left, step);
                }
            }
        }
    }
}

/// What the weights of each component sum up to.
fn totals(layers: &[Layer]) -> [f64; 3] {
    let mut totals = [1.0; 3];
    for layer in layers {
        totals[layer.components.clone()].fill(f64::from(layer.rows.total * layer.columns.total));
    }
    totals
}

impl Layer {
    /// The rows under row `y` of the stored content.
    fn rows<'a>(&'a self, view: &'a View<'_>, y: usize) -> Rows<'a> {
        let layout = &view.format().planes()[self.plane];
        let (first, weights) = self.rows.under(y);
        let bytes = &view.plane(self.plane)[first as usize * layout.stride..];
        let end = |y: usize| self.rows.first[y] as usize + self.rows.width;
        let next = if y + 1 < self.rows.first.len() { end(y + 1) - end(y) } else { 0 };
        Rows { bytes, stride: layout.stride, weights, next: next * layout.stride }
    }
}

/// What is read of each plane, to turn an area of the stored picture into the upright `content`.
fn layers(format: &FrameFormat, area: PixelRect, content: (u32, u32)) -> Vec<Layer> {
    let stored = format.orientation().upright_size(content);
    let samples = |luma: u32, shift: u32| f64::from(luma) / f64::from(1 << shift);
    let components = components(format.pixel());
    let alike = |a: &Component, b: &Component| (a.plane, a.shift) == (b.plane, b.shift);
    let mut next = 0;
    components
        .chunk_by(alike)
        .map(|of| {
            let Component { plane, step, shift, .. } = of[0];
            let layout = &format.planes()[plane];
            let part = samples(area.x0, shift.0)..samples(area.x1, shift.0);
            let columns = Axis::columns(part, format.width().div_ceil(1 << shift.0), stored.0);
            let plane_shift = layout.shift.1;
            let part = samples(area.y0, plane_shift)..samples(area.y1, plane_shift);
            let rows = Axis::rows(part, layout.height, stored.1, columns.total);
            let firsts: Vec<_> = of.iter().map(|component| component.first).collect();
            let side_by_side = if of.len() == 2 { 2 } else { 1 };
            let taps = firsts.chunks(side_by_side);
            let taps = taps.map(|firsts| Taps::new(&columns, firsts, step, layout.row_bytes()));
            let taps = taps.collect::<Option<_>>().unwrap_or_default();
            next += of.len();
            let bytes = columns.span().start as usize * step
                ..(columns.span().end as usize * step).min(layout.row_bytes());
            let components = next - of.len()..next;
            Layer { components, plane, firsts, step, rows, columns, side_by_side, taps, bytes }
        })
        .collect()
}

/// Rows side by side as columns, or from the right to the left if mirrored: the first of each goes beside `left`, and it
/// is `step` from there to the next. Several at once, so that what lies together is written together.
#[inline(always)]
fn stand(rows: &[f32], width: usize, mirrored: bool, channel: &mut [f32], left: usize, step: isize) {
    let count = rows.len() / width;
    for x in 0..width {
        let to = &mut channel[left.wrapping_add_signed(x as isize * step)..][..count];
        for (i, to) in to.iter_mut().enumerate() {
            *to = rows[if mirrored { count - 1 - i } else { i } * width + x];
        }
    }
}

/// Width and height of the upright picture in square pixels, if its own have this shape.
pub(crate) fn square_size(format: &FrameFormat, aspect: PixelAspect) -> (f64, f64) {
    let ((w, h), (x, y)) = (format.upright_size(), format.upright_squares(aspect));
    (f64::from(w) * x, f64::from(h) * y)
}

/// A size scaled so that its longer side is `long_side`.
fn scaled((w, h): (f64, f64), long_side: u32) -> (u32, u32) {
    let scaled = |side: f64| ((side * f64::from(long_side) / w.max(h)).round() as u32).max(1);
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

/// A reduced picture lies in the tensor, and rows of it in the rest.
impl Drop for Letterbox {
    fn drop(&mut self) {
        self.values.as_mut_slice().fill(0.0);
        self.scratch.scrub();
        self.turned.iter_mut().for_each(|rows| rows.fill(0.0));
        // Or the compiler could leave out what nobody reads any more.
        std::hint::black_box((&self.values, &self.scratch, &self.turned));
    }
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
