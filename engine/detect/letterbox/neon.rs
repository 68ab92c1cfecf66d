//! Eight pixels of the letterbox at a time with NEON.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::axis::FINE_BITS;
use super::color::Converter;
use super::lanes::{Lanes, Source, Sums};
use super::taps::{OUTPUTS, Shape};

pub(super) struct Neon;

// SAFETY, of every block here: every AArch64 processor has NEON.
impl Lanes for Neon {
    type Bytes = [uint8x16_t; 2];
    type Pairs = [uint16x8_t; 2];
    type Sums = [uint32x4_t; 2];
    type Floats = [float32x4_t; 2];

    #[inline(always)]
    unsafe fn nothing() -> [uint32x4_t; 2] {
        unsafe { [vdupq_n_u32(0); 2] }
    }

    #[inline(always)]
    unsafe fn load<const JOINED: bool>(left: *const u8, right: *const u8) -> [uint8x16_t; 2] {
        // SAFETY: 16 bytes each, as required of the caller.
        unsafe { [vld1q_u8(left), vld1q_u8(right)] }
    }

    #[inline(always)]
    unsafe fn pairs(bytes: [uint8x16_t; 2], shape: &Shape) -> [uint16x8_t; 2] {
        // SAFETY: a shape has 16 bytes of each for either lane.
        let half = |i: usize| unsafe {
            let bytes = vqtbl1q_u8(bytes[i], vld1q_u8(shape.shuffle[i].as_ptr()));
            let weights = vld1q_u8(shape.weights[i].as_ptr());
            vpaddq_u16(vmull_u8(vget_low_u8(bytes), vget_low_u8(weights)), vmull_high_u8(bytes, weights))
        };
        [half(0), half(1)]
    }

    #[inline(always)]
    unsafe fn add(sums: [uint32x4_t; 2], row: [uint16x8_t; 2], weight: u16) -> [uint32x4_t; 2] {
        let half = |i: usize| unsafe { vmlaq_n_u32(sums[i], vpaddlq_u16(row[i]), weight.into()) };
        [half(0), half(1)]
    }

    #[inline(always)]
    unsafe fn add_two(
        [mut a, mut b]: [[uint32x4_t; 2]; 2],
        rows: [[uint16x8_t; 2]; 2],
        weights: [u16; 2],
    ) -> [[uint32x4_t; 2]; 2] {
        for (row, weight) in rows.into_iter().zip(weights) {
            for i in 0..2 {
                unsafe {
                    a[i] = vmlal_n_u16(a[i], vget_low_u16(row[i]), weight);
                    b[i] = vmlal_high_n_u16(b[i], row[i], weight);
                }
            }
        }
        [a, b]
    }

    #[inline(always)]
    unsafe fn finer(upper: [uint32x4_t; 2], lower: [uint32x4_t; 2]) -> [uint32x4_t; 2] {
        let half = |i: usize| unsafe { vaddq_u32(vshlq_n_u32::<{ FINE_BITS as i32 }>(upper[i]), lower[i]) };
        [half(0), half(1)]
    }

    #[inline(always)]
    unsafe fn floats(sums: [uint32x4_t; 2]) -> [float32x4_t; 2] {
        let half = |i: usize| unsafe { vcvtq_f32_s32(vreinterpretq_s32_u32(sums[i])) };
        [half(0), half(1)]
    }

    #[inline(always)]
    unsafe fn times(a: [float32x4_t; 2], factor: f32) -> [float32x4_t; 2] {
        unsafe { [vmulq_n_f32(a[0], factor), vmulq_n_f32(a[1], factor)] }
    }

    #[inline(always)]
    unsafe fn plus(a: [float32x4_t; 2], b: [float32x4_t; 2]) -> [float32x4_t; 2] {
        unsafe { [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn all(number: f32) -> [float32x4_t; 2] {
        unsafe { [vdupq_n_f32(number); 2] }
    }

    #[inline(always)]
    unsafe fn limited(a: [float32x4_t; 2], [least, most]: [f32; 2]) -> [float32x4_t; 2] {
        let half = |i: usize| unsafe { vminq_f32(vmaxq_f32(a[i], vdupq_n_f32(least)), vdupq_n_f32(most)) };
        [half(0), half(1)]
    }

    #[inline(always)]
    unsafe fn numbers(a: [float32x4_t; 2]) -> [f32; OUTPUTS] {
        // SAFETY: as large, and every bit pattern is a number.
        unsafe { std::mem::transmute(a) }
    }

    unsafe fn row_of<'a, S: Sums<'a, Self>>(
        sources: [&Source<'a, Self>; 3],
        convert: &Converter,
        to: [&mut [f32]; 3],
    ) {
        S::of(sources).row(convert, to);
    }

    #[inline(always)]
    fn fetch(_: *const u8) {}
}
