//! The loops of the letterbox. What the compiler turns into full registers by itself is written once, and compiled for
//! every set; the step along the rows, where it does not, has a version for each set.

use super::axis::{COLUMN_TOTAL, Columns};

/// Taken from blended samples, so that they fit signed 16-bit numbers.
const MIDDLE: u16 = 1 << 15;
/// What [`MIDDLE`] took from a weighted sum along a row.
pub(super) const OFFSET: i32 = (MIDDLE as i32) * (COLUMN_TOTAL as i32);

/// The step along the rows, for one set of instructions.
pub(super) trait Narrow {
    /// The weighted sums of a line's samples under each output, times `scale`. `line` has at least `columns.reach`
    /// samples, and `to` has room for all outputs.
    fn narrow(line: &[i16], columns: &Columns, scale: f32, to: &mut [f32]);
}

/// The oracle: one sum after the other.
pub(super) struct Scalar;

impl Narrow for Scalar {
    #[inline(always)]
    fn narrow(line: &[i16], columns: &Columns, scale: f32, to: &mut [f32]) {
        match columns.width {
            4 => narrow::<4>(line, columns, scale, to),
            _ => narrow::<8>(line, columns, scale, to),
        }
    }
}

#[inline(always)]
fn narrow<const N: usize>(line: &[i16], columns: &Columns, scale: f32, to: &mut [f32]) {
    let weights = columns.weights.chunks_exact(columns.width);
    for ((to, &first), weights) in to.iter_mut().zip(&columns.first).zip(weights) {
        let samples = &line[first as usize..][..columns.width];
        let mut sum = 0;
        for (samples, weights) in samples.as_chunks::<N>().0.iter().zip(weights.as_chunks::<N>().0) {
            for k in 0..N {
                sum += i32::from(samples[k]) * i32::from(weights[k]);
            }
        }
        *to = (sum + OFFSET) as f32 * scale;
    }
}

/// The weighted sum of rows, `weights.len()` of them, `stride` bytes apart.
#[inline(always)]
pub(super) fn blend_rows(rows: &[u8], stride: usize, weights: &[u16], to: &mut [i16]) {
    match *weights {
        [a] => blend([a], rows, stride, to),
        [a, b] => blend([a, b], rows, stride, to),
        [a, b, c] => blend([a, b, c], rows, stride, to),
        [a, b, c, d] => blend([a, b, c, d], rows, stride, to),
        _ => {
            let four = weights.chunks(4);
            to.fill(MIDDLE as i16);
            for (i, weights) in four.enumerate() {
                let mut padded = [0; 4];
                padded[..weights.len()].copy_from_slice(weights);
                let rows = &rows[4 * i * stride..];
                // A row without a weight is the first again.
                let row = |k: usize| &rows[if k < weights.len() { k * stride } else { 0 }..][..to.len()];
                let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
                for (x, to) in to.iter_mut().enumerate() {
                    let sum = u16::from(r0[x]) * padded[0] + u16::from(r1[x]) * padded[1];
                    let sum = sum + u16::from(r2[x]) * padded[2] + u16::from(r3[x]) * padded[3];
                    *to = to.wrapping_add(sum as i16);
                }
            }
        }
    }
}

#[inline(always)]
fn blend<const N: usize>(weights: [u16; N], rows: &[u8], stride: usize, to: &mut [i16]) {
    let mut sources = [rows; N];
    for (k, source) in sources.iter_mut().enumerate() {
        *source = &rows[k * stride..][..to.len()];
    }
    for (x, to) in to.iter_mut().enumerate() {
        let mut sum = 0_u16;
        for k in 0..N {
            sum = sum.wrapping_add(u16::from(sources[k][x]).wrapping_mul(weights[k]));
        }
        *to = (sum ^ MIDDLE) as i16;
    }
}

/// Every `step`-th sample from `first` on.
#[inline(always)]
pub(super) fn pick(from: &[i16], first: usize, step: usize, to: &mut [i16]) {
    match (step, first) {
        (2, 0) => pick_of::<2, 0>(from, to),
        (2, _) => pick_of::<2, 1>(from, to),
        (3, 0) => pick_of::<3, 0>(from, to),
        (3, 1) => pick_of::<3, 1>(from, to),
        (3, _) => pick_of::<3, 2>(from, to),
        (_, 1) => pick_of::<4, 1>(from, to),
        _ => pick_of::<4, 3>(from, to),
    }
}

/// With both known when it is compiled, so that it becomes shuffles of registers.
#[inline(always)]
fn pick_of<const STEP: usize, const FIRST: usize>(from: &[i16], to: &mut [i16]) {
    for (to, from) in to.iter_mut().zip(from.as_chunks::<STEP>().0) {
        *to = from[FIRST];
    }
}
