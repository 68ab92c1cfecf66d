//! Eight numbers in an AVX register.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Lanes;

/// Eight numbers. Only functions with `target_feature(enable = "avx2")` may use it.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

// SAFETY, of every block below: the methods are inlined into functions with `target_feature(enable = "avx2")`, which are
// called only where `is_x86_feature_detected!("avx2")` said so (`InstructionSet::available`).
impl Lanes for Avx2 {
    const N: usize = 8;

    #[inline(always)]
    fn splat(v: f32) -> Avx2 {
        // SAFETY: see above.
        Avx2(unsafe { _mm256_set1_ps(v) })
    }
    #[inline(always)]
    fn bytes(from: &[u8]) -> Avx2 {
        let from = &from[..8];
        // SAFETY: see above; the slice has the eight bytes that are read, and the load wants no alignment.
        Avx2(unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.as_ptr().cast()))) })
    }
    #[inline(always)]
    fn read(from: &[f32]) -> Avx2 {
        let from = &from[..8];
        // SAFETY: see above; the slice has the eight numbers that are read, and the load wants no alignment.
        Avx2(unsafe { _mm256_loadu_ps(from.as_ptr()) })
    }
    #[inline(always)]
    fn write(self, to: &mut [f32]) {
        let to = &mut to[..8];
        // SAFETY: see above; the slice has room for eight numbers, and the store wants no alignment.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn add(self, other: Avx2) -> Avx2 {
        // SAFETY: see above.
        Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Avx2) -> Avx2 {
        // SAFETY: see above.
        Avx2(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn clamp_byte(self) -> Avx2 {
        // SAFETY: see above.
        Avx2(unsafe { _mm256_min_ps(_mm256_max_ps(self.0, _mm256_setzero_ps()), _mm256_set1_ps(255.0)) })
    }
    #[inline(always)]
    fn transpose(rows: &mut [Avx2]) {
        let [a, b, c, d, e, f, g, h] = rows else { panic!("eight rows") };
        // SAFETY: see above.
        unsafe {
            // Pairs of neighbouring rows, then fours, then the halves of the registers.
            let (ab0, ab1) = (_mm256_unpacklo_ps(a.0, b.0), _mm256_unpackhi_ps(a.0, b.0));
            let (cd0, cd1) = (_mm256_unpacklo_ps(c.0, d.0), _mm256_unpackhi_ps(c.0, d.0));
            let (ef0, ef1) = (_mm256_unpacklo_ps(e.0, f.0), _mm256_unpackhi_ps(e.0, f.0));
            let (gh0, gh1) = (_mm256_unpacklo_ps(g.0, h.0), _mm256_unpackhi_ps(g.0, h.0));
            let up = [
                _mm256_shuffle_ps::<0x44>(ab0, cd0),
                _mm256_shuffle_ps::<0xee>(ab0, cd0),
                _mm256_shuffle_ps::<0x44>(ab1, cd1),
                _mm256_shuffle_ps::<0xee>(ab1, cd1),
            ];
            let down = [
                _mm256_shuffle_ps::<0x44>(ef0, gh0),
                _mm256_shuffle_ps::<0xee>(ef0, gh0),
                _mm256_shuffle_ps::<0x44>(ef1, gh1),
                _mm256_shuffle_ps::<0xee>(ef1, gh1),
            ];
            for (i, row) in [a, b, c, d].into_iter().enumerate() {
                row.0 = _mm256_permute2f128_ps::<0x20>(up[i], down[i]);
            }
            for (i, row) in [e, f, g, h].into_iter().enumerate() {
                row.0 = _mm256_permute2f128_ps::<0x31>(up[i], down[i]);
            }
        }
    }
}
