//! Eight numbers in two NEON registers.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::Lanes;

/// Eight numbers, the first four in the first register.
#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t, float32x4_t);

// SAFETY, of every block below: every AArch64 processor that Rust's standard library runs on has NEON.
impl Lanes for Neon {
    const N: usize = 8;

    #[inline(always)]
    fn splat(v: f32) -> Neon {
        // SAFETY: see above.
        let four = unsafe { vdupq_n_f32(v) };
        Neon(four, four)
    }
    #[inline(always)]
    fn bytes(from: &[u8]) -> Neon {
        let from = &from[..8];
        // SAFETY: see above; the slice has the eight bytes that are read.
        unsafe {
            let wide = vmovl_u8(vld1_u8(from.as_ptr()));
            let (low, high) = (vmovl_u16(vget_low_u16(wide)), vmovl_high_u16(wide));
            Neon(vcvtq_f32_u32(low), vcvtq_f32_u32(high))
        }
    }
    #[inline(always)]
    fn read(from: &[f32]) -> Neon {
        let from = &from[..8];
        // SAFETY: see above; the slice has the eight numbers that are read.
        unsafe { Neon(vld1q_f32(from.as_ptr()), vld1q_f32(from[4..].as_ptr())) }
    }
    #[inline(always)]
    fn write(self, to: &mut [f32]) {
        let (low, high) = to[..8].split_at_mut(4);
        // SAFETY: see above; each half has room for four numbers.
        unsafe {
            vst1q_f32(low.as_mut_ptr(), self.0);
            vst1q_f32(high.as_mut_ptr(), self.1);
        }
    }
    #[inline(always)]
    fn add(self, other: Neon) -> Neon {
        // SAFETY: see above.
        unsafe { Neon(vaddq_f32(self.0, other.0), vaddq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    fn mul(self, other: Neon) -> Neon {
        // SAFETY: see above.
        unsafe { Neon(vmulq_f32(self.0, other.0), vmulq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    fn clamp_byte(self) -> Neon {
        // SAFETY: see above.
        unsafe {
            let (least, most) = (vdupq_n_f32(0.0), vdupq_n_f32(255.0));
            let clamp = |v| vminq_f32(vmaxq_f32(v, least), most);
            Neon(clamp(self.0), clamp(self.1))
        }
    }
    #[inline(always)]
    fn transpose(rows: &mut [Neon]) {
        let [a, b, c, d, e, f, g, h] = rows else { panic!("eight rows") };
        // Four squares of four: each transposed, and two of them exchanged.
        let (ul, ur) = (four([a.0, b.0, c.0, d.0]), four([a.1, b.1, c.1, d.1]));
        let (ll, lr) = (four([e.0, f.0, g.0, h.0]), four([e.1, f.1, g.1, h.1]));
        for (i, row) in [a, b, c, d].into_iter().enumerate() {
            *row = Neon(ul[i], ll[i]);
        }
        for (i, row) in [e, f, g, h].into_iter().enumerate() {
            *row = Neon(ur[i], lr[i]);
        }
    }
}

/// Exchanges rows and columns of four times four numbers.
#[inline(always)]
fn four(rows: [float32x4_t; 4]) -> [float32x4_t; 4] {
    let [a, b, c, d] = rows;
    // SAFETY: every AArch64 processor has NEON; the casts are between registers of the same size.
    unsafe {
        let (ab0, ab1) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
        let (cd0, cd1) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
        let wide = |v| vreinterpretq_f64_f32(v);
        let narrow = |v| vreinterpretq_f32_f64(v);
        [
            narrow(vtrn1q_f64(wide(ab0), wide(cd0))),
            narrow(vtrn1q_f64(wide(ab1), wide(cd1))),
            narrow(vtrn2q_f64(wide(ab0), wide(cd0))),
            narrow(vtrn2q_f64(wide(ab1), wide(cd1))),
        ]
    }
}
