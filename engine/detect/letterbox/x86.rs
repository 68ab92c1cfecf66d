//! Eight pixels of the letterbox at a time with AVX2.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::axis::FINE_BITS;
use super::color::Converter;
use super::lanes::{Lanes, Source, Sums};
use super::taps::{OUTPUTS, Shape};

pub(super) struct Avx2;

// SAFETY, of every block here: the processor has AVX2, as is required of whoever calls these functions.
impl Lanes for Avx2 {
    type Bytes = __m256i;
    type Pairs = __m256i;
    type Sums = __m256i;
    type Floats = __m256;

    #[inline(always)]
    unsafe fn nothing() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn load<const JOINED: bool>(left: *const u8, right: *const u8) -> __m256i {
        // SAFETY: 16 bytes each, 32 in a row where they are joined; no load wants an alignment.
        unsafe {
            if JOINED {
                _mm256_loadu_si256(left.cast())
            } else {
                _mm256_loadu2_m128i(right.cast(), left.cast())
            }
        }
    }

    #[inline(always)]
    unsafe fn pairs(bytes: __m256i, shape: &Shape) -> __m256i {
        // SAFETY: a shape has 32 bytes of each.
        unsafe {
            let shuffle = _mm256_loadu_si256(shape.shuffle.as_ptr().cast());
            let weights = _mm256_loadu_si256(shape.weights.as_ptr().cast());
            _mm256_maddubs_epi16(_mm256_shuffle_epi8(bytes, shuffle), weights)
        }
    }

    #[inline(always)]
    unsafe fn add(sums: __m256i, row: __m256i, weight: u16) -> __m256i {
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(row, _mm256_set1_epi16(weight.cast_signed()))) }
    }

    #[inline(always)]
    unsafe fn add_two([a, b]: [__m256i; 2], [upper, lower]: [__m256i; 2], weights: [u16; 2]) -> [__m256i; 2] {
        let weights = u32::from(weights[0]) | u32::from(weights[1]) << 16;
        unsafe {
            let weights = _mm256_set1_epi32(weights.cast_signed());
            // Four numbers of the one and four of the other in each lane; now with the other row's beside them.
            let (of_a, of_b) = (_mm256_unpacklo_epi16(upper, lower), _mm256_unpackhi_epi16(upper, lower));
            let (of_a, of_b) = (_mm256_madd_epi16(of_a, weights), _mm256_madd_epi16(of_b, weights));
            [_mm256_add_epi32(a, of_a), _mm256_add_epi32(b, of_b)]
        }
    }

    #[inline(always)]
    unsafe fn finer(upper: __m256i, lower: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(_mm256_slli_epi32::<{ FINE_BITS as i32 }>(upper), lower) }
    }

    #[inline(always)]
    unsafe fn floats(sums: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    unsafe fn times(a: __m256, factor: f32) -> __m256 {
        unsafe { _mm256_mul_ps(a, _mm256_set1_ps(factor)) }
    }

    #[inline(always)]
    unsafe fn plus(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn all(number: f32) -> __m256 {
        unsafe { _mm256_set1_ps(number) }
    }

    #[inline(always)]
    unsafe fn limited(a: __m256, [least, most]: [f32; 2]) -> __m256 {
        unsafe { _mm256_min_ps(_mm256_max_ps(a, _mm256_set1_ps(least)), _mm256_set1_ps(most)) }
    }

    #[inline(always)]
    unsafe fn numbers(a: __m256) -> [f32; OUTPUTS] {
        // SAFETY: as large, and every bit pattern is a number.
        unsafe { std::mem::transmute(a) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn row_of<'a, S: Sums<'a, Self>>(
        sources: [&Source<'a, Self>; 3],
        convert: &Converter,
        to: [&mut [f32]; 3],
    ) {
        S::of(sources).row(convert, to);
    }

    #[inline(always)]
    fn fetch(at: *const u8) {
        // SAFETY: a hint, which every x86-64 processor has; no address makes it fail.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
