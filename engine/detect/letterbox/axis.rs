//! Which samples of a plane lie under each sample of the tensor, and how much each of them weighs.

use std::ops::Range;

/// What weights along a row may sum up to and still fit a signed byte each, and two of them a signed 16-bit sum.
const FINEST_BYTES: u32 = 127;
/// What they sum up to where no such total makes them exact: 12 bits, in two steps of [`FINE_BITS`].
const FINE: u32 = 1 << 12;
/// Bits of the lower part of a weight that does not fit a byte.
pub(super) const FINE_BITS: u32 = 6;

/// Along one axis: for each output, `width` consecutive source samples, and whole weights that sum up to `total`.
pub(super) struct Axis {
    pub width: usize,
    pub total: u32,
    pub first: Vec<u32>,
    pub weights: Vec<u16>,
}

impl Axis {
    /// Along the rows: from the source samples in `part` (fractions for the chroma of odd places and sizes), of `size`
    /// that there are, to `to`. Ratios of small numbers, such as 3:1 and 60:13, are exact in bytes; the sizes of nearly
    /// all cameras and networks are such.
    pub fn columns(part: Range<f64>, size: u32, to: u32) -> Axis {
        let taps = Axis::taps(&part, size, to);
        let exact = |total: &u32| {
            let mut shares = taps.iter().flat_map(|tap| &tap.1).map(|share| share * f64::from(*total));
            shares.all(|share| (share - share.round()).abs() < 1e-6)
        };
        let total = (1..=FINEST_BYTES).find(exact).unwrap_or(FINE);
        Axis::of(&taps, size, total)
    }

    /// From row to row, beside columns whose weights sum up to `columns`: as fine as sums of 32 bits allow.
    pub fn rows(part: Range<f64>, size: u32, to: u32, columns: u32) -> Axis {
        let total = if columns > FINEST_BYTES { 1 << 11 } else { 1 << 14 };
        Axis::of(&Axis::taps(&part, size, to), size, total)
    }

    /// True when the weights do not fit bytes.
    pub fn is_fine(&self) -> bool {
        self.total > FINEST_BYTES
    }

    /// The samples under an output that weigh something, and their weights.
    pub fn under(&self, output: usize) -> (u32, &[u16]) {
        let weights = &self.weights[output * self.width..][..self.width];
        let start = weights.iter().position(|w| *w > 0).unwrap_or(0);
        let end = weights.iter().rposition(|w| *w > 0).map_or(start, |last| last + 1);
        (self.first[output] + start as u32, &weights[start..end])
    }

    /// Where the samples under each output start, and their weights: [`Axis::width`] of each.
    #[inline(always)]
    pub fn outputs(&self) -> impl Iterator<Item = (u32, &[u16])> {
        self.first.iter().copied().zip(self.weights.chunks_exact(self.width))
    }

    fn taps(part: &Range<f64>, size: u32, to: u32) -> Vec<(u32, Vec<f64>)> {
        (0..to).map(|i| shares(part, size.max(1) - 1, to, i)).collect()
    }

    /// All outputs with the same number of samples, so that loops over them have a fixed length. Those that an output
    /// does not need weigh nothing.
    fn of(taps: &[(u32, Vec<f64>)], size: u32, total: u32) -> Axis {
        let width = taps.iter().map(|t| t.1.len()).max().unwrap_or(1);
        let mut axis = Axis { width, total, first: Vec::new(), weights: Vec::new() };
        for (first, shares) in taps {
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
