//! The step along the rows with AVX2.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::axis::{Columns, LANES};
use super::kernels::{Narrow, OFFSET};

/// Only functions with `target_feature(enable = "avx2")` may use it.
pub(super) struct Avx2;

impl Narrow for Avx2 {
    #[inline(always)]
    fn narrow(line: &[i16], columns: &Columns, scale: f32, to: &mut [f32]) {
        let outputs = columns.first.len();
        assert!(line.len() >= columns.reach && to.len() >= outputs && outputs.is_multiple_of(LANES));
        assert!(columns.weights.len() == outputs * columns.width);
        // SAFETY: inlined into functions with AVX2 only. A line has the samples up to `reach`, which is the furthest
        // `first` and as many as are read from there (8, or `width` where that is more); there are `width` weights for
        // each output and room for it, asserted above.
        unsafe {
            if columns.width == 4 {
                assert!(columns.shuffles.len() * 2 == outputs);
                narrow_pairs(line, columns, scale, to);
            } else {
                narrow_wide(line, columns, scale, to);
            }
        }
    }
}

/// Up to four samples an output: one load holds those of two.
///
/// # Safety
/// As stated in [`Avx2::narrow`].
#[target_feature(enable = "avx2")]
unsafe fn narrow_pairs(line: &[i16], columns: &Columns, scale: f32, to: &mut [f32]) {
    let (line, to) = (line.as_ptr(), to.as_mut_ptr());
    let (first, weights) = (columns.first.as_ptr(), columns.weights.as_ptr());
    let shuffles = columns.shuffles.as_ptr();
    // SAFETY: as stated in `Avx2::narrow`; there is a shuffle for every two outputs.
    unsafe {
        let (offset, scale) = (_mm256_set1_epi32(OFFSET), _mm256_set1_ps(scale));
        let pairs = |x: usize| {
            let samples = |x: usize| line.add(*first.add(x) as usize).cast();
            let both = _mm256_loadu2_m128i(samples(x + 2), samples(x));
            let both = _mm256_shuffle_epi8(both, _mm256_loadu_si256(shuffles.add(x / 2).cast()));
            _mm256_madd_epi16(both, _mm256_loadu_si256(weights.add(4 * x).cast()))
        };
        for x in (0..columns.first.len()).step_by(LANES) {
            // Sums of pairs, in the order 0 1 4 5 and 2 3 6 7.
            let sums = _mm256_hadd_epi32(pairs(x), pairs(x + 4));
            let sums = _mm256_add_epi32(_mm256_permute4x64_epi64::<0xd8>(sums), offset);
            _mm256_storeu_ps(to.add(x), _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale));
        }
    }
}

/// Any number of samples an output, eight at a time.
///
/// # Safety
/// As stated in [`Avx2::narrow`].
#[target_feature(enable = "avx2")]
unsafe fn narrow_wide(line: &[i16], columns: &Columns, scale: f32, to: &mut [f32]) {
    let (line, to) = (line.as_ptr(), to.as_mut_ptr());
    let (first, weights) = (columns.first.as_ptr(), columns.weights.as_ptr());
    // SAFETY: as stated in `Avx2::narrow`.
    unsafe {
        let (offset, scale) = (_mm_set1_epi32(OFFSET), _mm_set1_ps(scale));
        let one = |x: usize| {
            let samples = line.add(*first.add(x) as usize);
            let mut sum = _mm_setzero_si128();
            for k in (0..columns.width).step_by(8) {
                let weights = _mm_loadu_si128(weights.add(x * columns.width + k).cast());
                sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_loadu_si128(samples.add(k).cast()), weights));
            }
            sum
        };
        for x in (0..columns.first.len()).step_by(4) {
            let (low, high) = (_mm_hadd_epi32(one(x), one(x + 1)), _mm_hadd_epi32(one(x + 2), one(x + 3)));
            let sums = _mm_add_epi32(_mm_hadd_epi32(low, high), offset);
            _mm_storeu_ps(to.add(x), _mm_mul_ps(_mm_cvtepi32_ps(sums), scale));
        }
    }
}
