//! Which samples of a plane lie under each sample of the tensor, and how much each of them weighs.

use std::ops::{Range, RangeInclusive};

/// What the weights along a row of the frame sum up to: 14 bits, so that a weight fits a signed 16-bit number.
pub(super) const COLUMN_TOTAL: u32 = 1 << 14;
/// What the weights of a few rows may sum up to: their weighted sums fit 16 bits.
pub(super) const ROW_TOTALS: RangeInclusive<u32> = 128..=256;

/// Along one axis: for each output, `width` consecutive source samples, and whole weights that sum up to `total`.
pub(super) struct Axis {
    pub width: usize,
    pub total: u32,
    pub first: Vec<u32>,
    pub weights: Vec<u16>,
}

impl Axis {
    /// From the source samples in `part` (fractions for the chroma of odd places and sizes), of `size` that there are, to
    /// `to`. Of `totals` the one is taken that keeps the weights truest: ratios such as 3:1 and 45:16 become exact.
    pub fn new(part: Range<f64>, size: u32, to: u32, totals: RangeInclusive<u32>) -> Axis {
        let taps: Vec<_> = (0..to).map(|i| shares(&part, size.max(1) - 1, to, i)).collect();
        let off = |total: u32| {
            let worst = taps.iter().flat_map(|(_, shares)| {
                let rounded = rounded(shares, total);
                shares.iter().zip(rounded).map(move |(s, w)| (s - f64::from(w) / f64::from(total)).abs())
            });
            worst.fold(0.0, f64::max)
        };
        let total = totals.rev().min_by(|a, b| off(*a).total_cmp(&(off(*b) + 1e-9))).unwrap_or(1);
        // All with the same number of samples, so that loops over them have a fixed length. The others weigh nothing.
        let width = taps.iter().map(|t| t.1.len()).max().unwrap_or(1);
        let mut axis = Axis { width, total, first: Vec::new(), weights: Vec::new() };
        for (first, shares) in &taps {
            let moved = (*first).min(size.max(1) - width as u32);
            let mut weights = vec![0; width];
            for (at, weight) in ((first - moved) as usize..).zip(rounded(shares, total)) {
                weights[at] = weight;
            }
            axis.first.push(moved);
            axis.weights.extend(weights);
        }
        axis
    }

    /// The source samples under all outputs.
    pub fn span(&self) -> Range<u32> {
        let ends = self.first.first().copied().zip(self.first.last().copied());
        ends.map_or(0..0, |(first, last)| first..last + self.width as u32)
    }
}

/// The first source sample under output `i` of `to`, and the share of each from there on.
fn shares(part: &Range<f64>, last: u32, to: u32, i: u32) -> (u32, Vec<f64>) {
    let step = (part.end - part.start) / f64::from(to);
    if step > 1.0 {
        // Area filter: the part of each source sample under this one.
        let (start, end) = (part.start + f64::from(i) * step, part.start + f64::from(i + 1) * step);
        // A sliver of a rounding error wide is no part.
        let first = ((start + 1e-9) as u32).min(last);
        let until = (((end - 1e-9).ceil() as u32).max(1) - 1).clamp(first, last);
        let under = |s: u32| (end.min(f64::from(s + 1)) - start.max(f64::from(s))).max(0.0);
        let total: f64 = (first..=until).map(under).sum();
        return (first, (first..=until).map(|s| under(s) / total).collect());
    }
    // Bilinear between the centres of the source samples.
    let at = (part.start + (f64::from(i) + 0.5) * step - 0.5).clamp(0.0, f64::from(last));
    let (first, t) = (at as u32, at.fract());
    (first, if t > 0.0 && first < last { vec![1.0 - t, t] } else { vec![1.0] })
}

/// Whole weights in place of shares of 1. Their running sums are rounded, so that they end at `total`.
fn rounded(shares: &[f64], total: u32) -> impl Iterator<Item = u16> {
    shares.iter().scan((0.0, 0.0), move |(sum, before), share| {
        *sum += share * f64::from(total);
        let (start, end) = (*before, sum.round());
        *before = end;
        Some((end - start) as u16)
    })
}

/// An axis along the rows, laid out for the kernels.
pub(super) struct Columns {
    /// Outputs, filled up to a multiple of [`LANES`]: the last one again.
    pub first: Vec<u32>,
    /// Weights of an output: 4 or a multiple of 8, filled up with zeros.
    pub width: usize,
    pub weights: Vec<i16>,
    /// Where `width` is 4: which of the eight samples from the first output's on (two bytes each) stand under every two
    /// outputs, as a byte shuffle wants it.
    pub shuffles: Vec<[u8; 16]>,
    /// How many samples a line must have at the least: no kernel reads beyond.
    pub reach: usize,
}

/// Outputs that the kernels make at once.
pub(super) const LANES: usize = 8;

impl Columns {
    /// With source samples counted from `start`.
    pub fn new(axis: &Axis, start: u32) -> Columns {
        let outputs = axis.first.len().next_multiple_of(LANES);
        let of = |i: usize| i.min(axis.first.len() - 1);
        let first: Vec<u32> = (0..outputs).map(|i| axis.first[of(i)] - start).collect();
        let near = |pair: &[u32]| (pair[1] - pair[0]) as usize + axis.width <= 8;
        let narrow = axis.width <= 4 && first.chunks_exact(2).all(near);
        let width = if narrow { 4 } else { axis.width.next_multiple_of(8) };
        let mut weights = vec![0; outputs * width];
        for (i, to) in weights.chunks_exact_mut(width).enumerate() {
            let from = &axis.weights[of(i) * axis.width..][..axis.width];
            to.iter_mut().zip(from).for_each(|(to, w)| *to = *w as i16);
        }
        let shuffle = |pair: &[u32]| {
            let sample = |i: usize| (i / 4) as u32 * (pair[1] - pair[0]) + (i % 4) as u32;
            // Beyond the eighth sample nothing has a weight; any will do.
            std::array::from_fn(|i| sample(i / 2).min(7) as u8 * 2 + (i % 2) as u8)
        };
        let shuffles = if narrow { first.chunks_exact(2).map(shuffle).collect() } else { Vec::new() };
        let reach = first.iter().max().map_or(0, |f| *f as usize + width.max(8));
        Columns { first, width, weights, shuffles, reach }
    }
}
