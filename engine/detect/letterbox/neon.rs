//! The step along the rows with NEON.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::axis::{Columns, LANES};
use super::kernels::{Narrow, OFFSET};

pub(super) struct Neon;

impl Narrow for Neon {
    #[inline(always)]
    fn narrow(line: &[i16], columns: &Columns, scale: f32, to: &mut [f32]) {
        let (outputs, width) = (columns.first.len(), columns.width);
        assert!(line.len() >= columns.reach && to.len() >= outputs && outputs.is_multiple_of(LANES));
        assert!(columns.weights.len() == outputs * width);
        let (line, to) = (line.as_ptr(), to.as_mut_ptr());
        let (first, weights) = (columns.first.as_ptr(), columns.weights.as_ptr());
        // SAFETY: every AArch64 processor has NEON. A line has the samples up to `reach`, which is the furthest `first`
        // and as many as are read from there (`width`); there are `width` weights for each output and room for it,
        // asserted above.
        unsafe {
            let one = |x: usize| {
                let (samples, weights) = (line.add(*first.add(x) as usize), weights.add(x * width));
                if width == 4 {
                    return vmull_s16(vld1_s16(samples), vld1_s16(weights));
                }
                let mut sum = vdupq_n_s32(0);
                for k in (0..width).step_by(8) {
                    let (s, w) = (vld1q_s16(samples.add(k)), vld1q_s16(weights.add(k)));
                    sum = vmlal_high_s16(vmlal_s16(sum, vget_low_s16(s), vget_low_s16(w)), s, w);
                }
                sum
            };
            for x in (0..outputs).step_by(4) {
                let (low, high) = (vpaddq_s32(one(x), one(x + 1)), vpaddq_s32(one(x + 2), one(x + 3)));
                let sums = vaddq_s32(vpaddq_s32(low, high), vdupq_n_s32(OFFSET));
                vst1q_f32(to.add(x), vmulq_n_f32(vcvtq_f32_s32(sums), scale));
            }
        }
    }
}
