//! A row of the tensor, in plain loops. All sums are of whole numbers, so their order does not matter and every set of
//! instructions gives the same ones.

use super::Layer;
use super::color::Converter;
use crate::picture::View;

/// The rows under one row of the tensor: of `bytes`, `stride` bytes apart, and each one's weight.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub bytes: &'a [u8],
    pub stride: usize,
    pub weights: &'a [u16],
    /// How many bytes that follow these rows the next row of the tensor needs. A processor foresees one stream of bytes,
    /// but not several that end after a page each.
    pub next: usize,
}

/// Makes rows of the tensor, with one set of instructions.
#[allow(unsafe_code)]
pub(super) trait Loops {
    /// What all rows of a picture have in common.
    type Picture<'a>;

    fn picture<'a>(layers: &'a [Layer], view: &'a View<'a>) -> Self::Picture<'a>;

    /// Row `y` of the stored content, into rows of the three channels.
    ///
    /// # Safety
    /// The processor has the set, and every layer its taps, if this is not [`Scalar`].
    unsafe fn row(
        picture: &mut Self::Picture<'_>,
        y: usize,
        scratch: &mut Scratch,
        convert: &Converter,
        to: [&mut [f32]; 3],
    );
}

/// What the plain loops write down on the way.
pub(super) struct Scratch {
    /// A blended row of a plane.
    line: Vec<i32>,
    /// Weighted sums for a row of the tensor.
    sums: [Vec<i32>; 3],
}

impl Scratch {
    pub fn new(layers: &[Layer]) -> Scratch {
        let line = layers.iter().map(|layer| layer.bytes.end).max().unwrap_or(0);
        let outputs = layers.first().map_or(0, |layer| layer.columns.first.len());
        Scratch { line: vec![0; line], sums: [(); 3].map(|()| vec![0; outputs]) }
    }

    /// Overwrites what is left of a picture.
    pub fn scrub(&mut self) {
        self.line.fill(0);
        self.sums.iter_mut().for_each(|sums| sums.fill(0));
    }

    /// All of it.
    #[cfg(test)]
    pub fn memory(&self) -> [&[i32]; 4] {
        let [a, b, c] = &self.sums;
        [&self.line, a, b, c]
    }
}

/// The oracle: down the rows, then along them, then the colours.
pub(super) struct Scalar;

#[allow(unsafe_code)]
impl Loops for Scalar {
    type Picture<'a> = (&'a [Layer], &'a View<'a>);

    fn picture<'a>(layers: &'a [Layer], view: &'a View<'a>) -> Self::Picture<'a> {
        (layers, view)
    }

    #[inline(always)]
    unsafe fn row(
        (layers, view): &mut Self::Picture<'_>,
        y: usize,
        scratch: &mut Scratch,
        convert: &Converter,
        to: [&mut [f32]; 3],
    ) {
        let Scratch { line, sums } = scratch;
        for layer in *layers {
            Scalar::sum(layer, layer.rows(view, y), line, &mut sums[layer.components.clone()]);
        }
        convert.row([&sums[0], &sums[1], &sums[2]], to);
    }
}

impl Scalar {
    /// The weighted sums of each of the layer's components, into a row of its own.
    #[inline(always)]
    fn sum(layer: &Layer, rows: Rows<'_>, line: &mut [i32], to: &mut [Vec<i32>]) {
        let (bytes, blended) = (&rows.bytes[layer.bytes.start..], &mut line[layer.bytes.clone()]);
        match *rows.weights {
            [a] => blend([a], bytes, rows.stride, blended),
            [a, b] => blend([a, b], bytes, rows.stride, blended),
            [a, b, c] => blend([a, b, c], bytes, rows.stride, blended),
            _ => {
                blended.fill(0);
                for (row, weight) in bytes.chunks(rows.stride).zip(rows.weights) {
                    for (to, from) in blended.iter_mut().zip(row) {
                        *to += i32::from(*from) * i32::from(*weight as i16);
                    }
                }
            }
        }
        for (first, to) in layer.firsts.iter().zip(to) {
            match layer.step {
                1 => along::<1>(layer, line, *first, to),
                2 => along::<2>(layer, line, *first, to),
                3 => along::<3>(layer, line, *first, to),
                _ => along::<4>(layer, line, *first, to),
            }
        }
    }
}

#[inline(always)]
fn blend<const N: usize>(weights: [u16; N], rows: &[u8], stride: usize, to: &mut [i32]) {
    let mut sources = [rows; N];
    for (k, source) in sources.iter_mut().enumerate() {
        *source = &rows[k * stride..][..to.len()];
    }
    for (x, to) in to.iter_mut().enumerate() {
        *to = 0;
        for k in 0..N {
            *to += i32::from(sources[k][x]) * i32::from(weights[k] as i16);
        }
    }
}

#[inline(always)]
fn along<const STEP: usize>(layer: &Layer, line: &[i32], first: usize, to: &mut [i32]) {
    let columns = &layer.columns;
    match columns.width {
        1 => along_by::<STEP, 1>(line, columns.outputs(), first, to),
        2 => along_by::<STEP, 2>(line, columns.outputs(), first, to),
        3 => along_by::<STEP, 3>(line, columns.outputs(), first, to),
        _ => {
            for (to, (start, weights)) in to.iter_mut().zip(columns.outputs()) {
                let samples = line[start as usize * STEP + first..].iter().step_by(STEP);
                *to = samples.zip(weights).map(|(sample, weight)| sample * i32::from(*weight)).sum();
            }
        }
    }
}

#[inline(always)]
fn along_by<'a, const STEP: usize, const WIDTH: usize>(
    line: &[i32],
    outputs: impl Iterator<Item = (u32, &'a [u16])>,
    first: usize,
    to: &mut [i32],
) {
    for (to, (start, weights)) in to.iter_mut().zip(outputs) {
        let samples = &line[start as usize * STEP + first..][..(WIDTH - 1) * STEP + 1];
        let mut sum = 0;
        for k in 0..WIDTH {
            sum += samples[k * STEP] * i32::from(weights[k]);
        }
        *to = sum;
    }
}
