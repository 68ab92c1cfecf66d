//! The sums of the letterbox with AVX2.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Layer;
use super::axis::FINE_BITS;
use super::kernels::{Rows, Sums};
use super::taps::{OUTPUTS, Taps};

/// Only functions with `target_feature(enable = "avx2")` may use it.
pub(super) struct Avx2;

impl Sums for Avx2 {
    #[inline(always)]
    fn sum(layer: &Layer, rows: Rows<'_>, _line: &mut [i32], to: &mut [Vec<i32>]) {
        for (taps, to) in layer.taps.iter().zip(to.chunks_mut(layer.side_by_side)) {
            for (part, taps) in taps.iter().enumerate() {
                let above = (rows.weights.len().max(1) - 1) * rows.stride;
                assert!(rows.bytes.len() >= above + taps.reach());
                // SAFETY: used with AVX2 only. Every row has the bytes up to `reach`, as just asserted.
                unsafe {
                    match (&mut *to, part > 0) {
                        ([to], more) => single(rows, taps, more, to),
                        ([a, b], more) => double(rows, taps, more, a, b),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// # Safety
/// Each of the rows has `taps.reach()` bytes.
#[target_feature(enable = "avx2")]
unsafe fn single(rows: Rows<'_>, taps: &Taps, more: bool, to: &mut [i32]) {
    // SAFETY: as required of the caller.
    unsafe {
        match (rows.weights.len(), taps.depth) {
            (1, 1) => single_of::<1, 1>(rows, taps, more, to),
            (2, 1) => single_of::<2, 1>(rows, taps, more, to),
            (3, 1) => single_of::<3, 1>(rows, taps, more, to),
            (2, 2) => single_of::<2, 2>(rows, taps, more, to),
            (3, 2) => single_of::<3, 2>(rows, taps, more, to),
            (2, _) => single_of::<2, 0>(rows, taps, more, to),
            (3, _) => single_of::<3, 0>(rows, taps, more, to),
            (6, _) => single_of::<6, 0>(rows, taps, more, to),
            _ => single_of::<0, 0>(rows, taps, more, to),
        }
    }
}

/// One component, with `ROWS` rows and `DEPTH` pieces, or any number of them where that is 0.
///
/// # Safety
/// As for [`single`].
#[target_feature(enable = "avx2")]
unsafe fn single_of<const ROWS: usize, const DEPTH: usize>(
    rows: Rows<'_>,
    taps: &Taps,
    more: bool,
    to: &mut [i32],
) {
    let count = if ROWS > 0 { ROWS } else { rows.weights.len() };
    let depth = if DEPTH > 0 { DEPTH } else { taps.depth };
    let (bytes, shapes) = (rows.bytes.as_ptr(), taps.shapes().as_ptr());
    let mut ahead = Ahead::new(rows, to.len());
    for (pieces, to) in taps.pieces().chunks_exact(depth).zip(to.as_chunks_mut::<OUTPUTS>().0) {
        ahead.fetch();
        let mut sum = _mm256_setzero_si256();
        for piece in pieces {
            let [left, right] = piece.offsets.map(|offset| offset as usize);
            // SAFETY: `shape` is an index into `shapes`; each load ends within `reach` bytes of its row.
            unsafe {
                let shape = &*shapes.add(piece.shape as usize);
                let shuffle = _mm256_loadu_si256(shape.shuffle.as_ptr().cast());
                let weights = _mm256_loadu_si256(shape.weights.as_ptr().cast());
                for k in 0..count {
                    let row = bytes.add(k * rows.stride);
                    let loaded = _mm256_loadu2_m128i(row.add(right).cast(), row.add(left).cast());
                    let pairs = _mm256_maddubs_epi16(_mm256_shuffle_epi8(loaded, shuffle), weights);
                    let weight = _mm256_set1_epi16(*rows.weights.get_unchecked(k) as i16);
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, weight));
                }
            }
        }
        store(sum, more, to);
    }
}

/// # Safety
/// As for [`single`].
#[target_feature(enable = "avx2")]
unsafe fn double(rows: Rows<'_>, taps: &Taps, more: bool, a: &mut [i32], b: &mut [i32]) {
    // SAFETY: as required of the caller.
    unsafe {
        match (rows.weights.len(), taps.depth) {
            (1, 1) => double_of::<1, 1>(rows, taps, more, a, b),
            (2, 1) => double_of::<2, 1>(rows, taps, more, a, b),
            (3, 1) => double_of::<3, 1>(rows, taps, more, a, b),
            (2, 2) => double_of::<2, 2>(rows, taps, more, a, b),
            (3, 2) => double_of::<3, 2>(rows, taps, more, a, b),
            (2, _) => double_of::<2, 0>(rows, taps, more, a, b),
            (3, _) => double_of::<3, 0>(rows, taps, more, a, b),
            _ => double_of::<0, 0>(rows, taps, more, a, b),
        }
    }
}

/// Two components that lie side by side.
///
/// # Safety
/// As for [`single`].
#[target_feature(enable = "avx2")]
unsafe fn double_of<const ROWS: usize, const DEPTH: usize>(
    rows: Rows<'_>,
    taps: &Taps,
    more: bool,
    a: &mut [i32],
    b: &mut [i32],
) {
    let count = if ROWS > 0 { ROWS } else { rows.weights.len() };
    let depth = if DEPTH > 0 { DEPTH } else { taps.depth };
    let (bytes, shapes) = (rows.bytes.as_ptr(), taps.shapes().as_ptr());
    let groups = taps.pieces().chunks_exact(depth);
    let mut ahead = Ahead::new(rows, a.len());
    for ((pieces, a), b) in groups.zip(a.as_chunks_mut::<OUTPUTS>().0).zip(b.as_chunks_mut::<OUTPUTS>().0) {
        ahead.fetch();
        let (mut sum_a, mut sum_b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for piece in pieces {
            let [left, right] = piece.offsets.map(|offset| offset as usize);
            // SAFETY: `shape` is an index into `shapes`; each load ends within `reach` bytes of its row, and each row
            // is one of those that have a weight.
            unsafe {
                let shape = &*shapes.add(piece.shape as usize);
                let shuffle = _mm256_loadu_si256(shape.shuffle.as_ptr().cast());
                let weights = _mm256_loadu_si256(shape.weights.as_ptr().cast());
                let finished = |k: usize| {
                    let row = bytes.add(k * rows.stride);
                    let loaded = _mm256_loadu2_m128i(row.add(right).cast(), row.add(left).cast());
                    _mm256_maddubs_epi16(_mm256_shuffle_epi8(loaded, shuffle), weights)
                };
                for k in (0..count).step_by(2) {
                    let upper = finished(k);
                    let mut weight = u32::from(*rows.weights.get_unchecked(k));
                    let mut lower = _mm256_setzero_si256();
                    if k + 1 < count {
                        lower = finished(k + 1);
                        weight |= u32::from(*rows.weights.get_unchecked(k + 1)) << 16;
                    }
                    let weight = _mm256_set1_epi32(weight.cast_signed());
                    // Four numbers of the one and four of the other in each half; now with the next row's beside them.
                    let (of_a, of_b) =
                        (_mm256_unpacklo_epi16(upper, lower), _mm256_unpackhi_epi16(upper, lower));
                    sum_a = _mm256_add_epi32(sum_a, _mm256_madd_epi16(of_a, weight));
                    sum_b = _mm256_add_epi32(sum_b, _mm256_madd_epi16(of_b, weight));
                }
            }
        }
        store(sum_a, more, a);
        store(sum_b, more, b);
    }
}

/// In place of what is there, or with that as the upper bits of finer weights.
#[inline]
#[target_feature(enable = "avx2")]
fn store(sum: __m256i, more: bool, to: &mut [i32; OUTPUTS]) {
    let to: *mut __m256i = to.as_mut_ptr().cast();
    // SAFETY: it has room for eight numbers.
    unsafe {
        let upper = if more { _mm256_loadu_si256(to) } else { _mm256_setzero_si256() };
        _mm256_storeu_si256(to, _mm256_add_epi32(sum, _mm256_slli_epi32::<{ FINE_BITS as i32 }>(upper)));
    }
}

/// What will be read for the next row of the tensor, fetched in even portions while this one is made.
struct Ahead {
    at: *const u8,
    portion: usize,
}

impl Ahead {
    #[inline(always)]
    fn new(rows: Rows<'_>, outputs: usize) -> Ahead {
        let at = rows.bytes.as_ptr().wrapping_add(rows.weights.len() * rows.stride);
        Ahead { at, portion: rows.next / (outputs / OUTPUTS).max(1) }
    }

    #[inline(always)]
    fn fetch(&mut self) {
        for line in (0..self.portion).step_by(64) {
            // SAFETY: a hint; no address makes it fail.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.at.wrapping_add(line).cast()) };
        }
        self.at = self.at.wrapping_add(self.portion);
    }
}
