//! From a frame's planes straight to a network's tensor, turned upright, and from the tensor's boxes back.
//!
//! The picture, or a part of it, keeps its proportions, lies in the left upper corner, and the rest is a border of one
//! value. Each plane is resampled to the tensor's grid (area filter when shrinking, bilinear when enlarging) before the
//! colour matrix, so no full-size colour picture ever exists.
//!
//! A row of the tensor is made at a time, and everything on the way stays in the first cache: the rows of bytes under it
//! are blended into 16-bit numbers, taken apart into components, summed up along the row, and converted. All sums are of
//! whole numbers, so every set of instructions gives the same bits without further care.

mod axis;
mod color;
mod kernels;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use ndarray::ArrayView4;

use self::axis::{Axis, COLUMN_TOTAL, Columns, ROW_TOTALS};
use self::color::Converter;
use self::kernels::{Narrow, blend_rows, pick};
use super::manifest::Input;
use crate::frame::{FrameFormat, PixelFormat, View};
use crate::geometry::{PixelRect, Rect};
use crate::kernels::InstructionSet;

/// One colour component of a format: every `step`-th byte of a plane's row, from `first`.
#[derive(Clone, Copy)]
struct Component {
    plane: usize,
    first: usize,
    step: usize,
    shift: (u32, u32),
}

/// How one plane is read: the bytes of its rows that are needed, and what they are made into.
struct Source {
    bytes: Range<usize>,
    rows: Axis,
    /// Blended bytes, components still interleaved. Empty where the plane has a single one.
    blended: Vec<i16>,
}

/// How a component is summed up along a row.
struct Line {
    component: Component,
    columns: Columns,
    /// What a sum is multiplied by to be a mean.
    scale: f32,
    /// Blended samples of this component alone, with room for what kernels read beyond.
    samples: Vec<i16>,
    /// Finished samples of a row of the tensor.
    row: Vec<f32>,
}

/// A resampling prepared for one frame format, one part of its pictures and one tensor size.
pub(crate) struct Letterbox {
    format: FrameFormat,
    /// What it shows of the picture, in upright luma pixels.
    part: PixelRect,
    /// Size of that inside the tensor, upright.
    content: (u32, u32),
    tensor: (u32, u32),
    sources: Vec<Source>,
    lines: [Line; 3],
    /// Rows that do not lie in the tensor as they are, before they are turned.
    turned: [Vec<f32>; 3],
    values: Vec<f32>,
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
        let area = (tensor.0 * tensor.1) as usize;
        let mut values = vec![0.0; 3 * area];
        for (i, plane) in values.chunks_exact_mut(area).enumerate() {
            plane.fill((f32::from(input.pad) - input.mean[i]) * input.scale[i]);
        }
        let (sources, lines) = prepare(format, part_to_stored(format, part), content);
        let turned = [(); 3].map(|()| vec![0.0; lines[0].row.len()]);
        let (format, set) = (*format, InstructionSet::chosen());
        Letterbox { format, part, content, tensor, sources, lines, turned, values, set }
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

    /// Uses these loops in place of the chosen ones.
    #[cfg(feature = "bench")]
    pub fn set_instructions(&mut self, set: InstructionSet) {
        self.set = set;
    }

    /// Fills the tensor from a frame.
    pub fn load(&mut self, view: &View<'_>, input: &Input) {
        match self.set {
            InstructionSet::Scalar => self.load_in::<kernels::Scalar>(view, input),
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: this set is chosen only where the processor has AVX2.
            InstructionSet::Avx2 => unsafe { self.load_avx2(view, input) },
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => self.load_in::<neon::Neon>(view, input),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn load_avx2(&mut self, view: &View<'_>, input: &Input) {
        self.load_in::<x86::Avx2>(view, input);
    }

    #[inline(always)]
    fn load_in<N: Narrow>(&mut self, view: &View<'_>, input: &Input) {
        let (width, height) = self.format.orientation().upright_size(self.content);
        let width = width as usize;
        let convert = Converter::new(&self.format, input);
        let area = (self.tensor.0 * self.tensor.1) as usize;
        for y in 0..height {
            self.blend(view, y as usize);
            for line in &mut self.lines {
                N::narrow(&line.samples, &line.columns, line.scale, &mut line.row);
            }
            let from = [&self.lines[0].row[..], &self.lines[1].row, &self.lines[2].row];
            let (start, step) = place(&self.format, self.content, self.tensor.0, y);
            let (red, rest) = self.values.split_at_mut(area);
            let (green, blue) = rest.split_at_mut(area);
            if step == 1 {
                convert.row(from, [red, green, blue].map(|channel| &mut channel[start..][..width]));
                continue;
            }
            let [a, b, c] = &mut self.turned;
            convert.row(from, [&mut a[..width], &mut b[..width], &mut c[..width]]);
            for (row, channel) in self.turned.iter().zip([red, green, blue]) {
                for (x, value) in row[..width].iter().enumerate() {
                    channel[(start as isize + x as isize * step) as usize] = *value;
                }
            }
        }
    }

    /// The weighted sums of the rows under row `y` of the stored content, for each component.
    ///
    /// Loops and no iterator's closures: those would be compiled without the set's instructions.
    #[inline(always)]
    fn blend(&mut self, view: &View<'_>, y: usize) {
        for line in &mut self.lines {
            let Component { plane, first, step, .. } = line.component;
            let source = &mut self.sources[plane];
            let single = source.blended.is_empty();
            let to = if single { &mut line.samples[..source.bytes.len()] } else { &mut source.blended[..] };
            // Components of one plane share its blended rows.
            if first == 0 {
                let stride = view.format().planes()[plane].stride;
                let rows = &view.plane(plane)[source.rows.first[y] as usize * stride + source.bytes.start..];
                blend_rows(
                    rows,
                    stride,
                    &source.rows.weights[y * source.rows.width..][..source.rows.width],
                    to,
                );
            }
            if !single {
                pick(&source.blended, first, step, &mut line.samples);
            }
        }
    }
}

/// What is read of each plane, and what each component is made of, to turn an area of the stored picture into the upright
/// `content`.
fn prepare(format: &FrameFormat, area: PixelRect, content: (u32, u32)) -> (Vec<Source>, [Line; 3]) {
    let stored = format.orientation().upright_size(content);
    let samples = |luma: u32, shift: u32| f64::from(luma) / f64::from(1 << shift);
    let components = components(format.pixel());
    let columns = components.map(|c| {
        let part = samples(area.x0, c.shift.0)..samples(area.x1, c.shift.0);
        Axis::new(part, format.width().div_ceil(1 << c.shift.0), stored.0, COLUMN_TOTAL..=COLUMN_TOTAL)
    });
    let sources: Vec<Source> = (0..format.planes().len())
        .map(|plane| {
            let of_plane = || components.iter().zip(&columns).filter(|(c, _)| c.plane == plane);
            // Whole groups of interleaved samples.
            let group = format.planes()[plane].channels;
            let start = of_plane().map(|(c, axis)| axis.span().start as usize * c.step / group * group).min();
            let end =
                of_plane().map(|(c, axis)| (axis.span().end as usize * c.step).next_multiple_of(group)).max();
            let bytes = start.unwrap_or(0)..end.unwrap_or(0);
            let shift = format.planes()[plane].shift.1;
            let part = samples(area.y0, shift)..samples(area.y1, shift);
            let rows = Axis::new(part, format.planes()[plane].height, stored.1, ROW_TOTALS);
            let blended = vec![0; if group > 1 { bytes.len() } else { 0 }];
            Source { bytes, rows, blended }
        })
        .collect();
    let lines = std::array::from_fn(|i| {
        let (component, source) = (components[i], &sources[components[i].plane]);
        let columns = Columns::new(&columns[i], (source.bytes.start / component.step) as u32);
        let samples = vec![0; columns.reach.max(source.bytes.len() / component.step)];
        let row = vec![0.0; columns.first.len()];
        Line { component, columns, scale: 1.0 / (COLUMN_TOTAL * source.rows.total) as f32, samples, row }
    });
    (sources, lines)
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
