//! The sums of the letterbox with NEON.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::Layer;
use super::axis::FINE_BITS;
use super::kernels::{Rows, Sums};
use super::taps::{OUTPUTS, Shape, Taps};

pub(super) struct Neon;

impl Sums for Neon {
    #[inline(always)]
    fn sum(layer: &Layer, rows: Rows<'_>, _line: &mut [i32], to: &mut [Vec<i32>]) {
        for (taps, to) in layer.taps.iter().zip(to.chunks_mut(layer.side_by_side)) {
            for (part, taps) in taps.iter().enumerate() {
                let above = (rows.weights.len().max(1) - 1) * rows.stride;
                assert!(rows.bytes.len() >= above + taps.reach());
                // SAFETY: every AArch64 processor has NEON. Every row has the bytes up to `reach`, as just asserted.
                unsafe {
                    match &mut *to {
                        [to] => single(rows, taps, part > 0, to),
                        [a, b] => double(rows, taps, part > 0, a, b),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// One component.
///
/// # Safety
/// Each of the rows has `taps.reach()` bytes.
#[target_feature(enable = "neon")]
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

/// With `ROWS` rows and `DEPTH` pieces, or any number of them where that is 0.
///
/// # Safety
/// As for [`single`].
#[target_feature(enable = "neon")]
unsafe fn single_of<const ROWS: usize, const DEPTH: usize>(
    rows: Rows<'_>,
    taps: &Taps,
    more: bool,
    to: &mut [i32],
) {
    let count = if ROWS > 0 { ROWS } else { rows.weights.len() };
    let depth = if DEPTH > 0 { DEPTH } else { taps.depth };
    let (bytes, shapes) = (rows.bytes.as_ptr(), taps.shapes().as_ptr());
    for (pieces, to) in taps.pieces().chunks_exact(depth).zip(to.as_chunks_mut::<OUTPUTS>().0) {
        let mut sums = [vdupq_n_u32(0); 2];
        for piece in pieces {
            // SAFETY: `shape` is an index into `shapes`; each load ends within `reach` bytes of its row, and each row
            // is one of those that have a weight.
            unsafe {
                let shape = &*shapes.add(piece.shape as usize);
                for half in 0..2 {
                    for k in 0..count {
                        let at = bytes.add(k * rows.stride + piece.offsets[half] as usize);
                        let pairs = vpaddlq_u16(pairs(at, shape, half));
                        let weight = u32::from(*rows.weights.get_unchecked(k));
                        sums[half] = vmlaq_n_u32(sums[half], pairs, weight);
                    }
                }
            }
        }
        store(sums, more, to);
    }
}

/// # Safety
/// As for [`single`].
#[target_feature(enable = "neon")]
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
#[target_feature(enable = "neon")]
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
    for ((pieces, a), b) in groups.zip(a.as_chunks_mut::<OUTPUTS>().0).zip(b.as_chunks_mut::<OUTPUTS>().0) {
        let (mut sums_a, mut sums_b) = ([vdupq_n_u32(0); 2], [vdupq_n_u32(0); 2]);
        for piece in pieces {
            // SAFETY: as in `single_of`.
            unsafe {
                let shape = &*shapes.add(piece.shape as usize);
                for half in 0..2 {
                    for k in 0..count {
                        let at = bytes.add(k * rows.stride + piece.offsets[half] as usize);
                        let finished = pairs(at, shape, half);
                        let weight = *rows.weights.get_unchecked(k);
                        sums_a[half] = vmlal_n_u16(sums_a[half], vget_low_u16(finished), weight);
                        sums_b[half] = vmlal_high_n_u16(sums_b[half], finished, weight);
                    }
                }
            }
        }
        store(sums_a, more, a);
        store(sums_b, more, b);
    }
}

/// The sums of every two neighbours among the bytes that a load brings.
///
/// # Safety
/// There are 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn pairs(bytes: *const u8, shape: &Shape, half: usize) -> uint16x8_t {
    // SAFETY: as required of the caller; a half of a shape has 16 bytes, too.
    let (bytes, shuffle, weights) = unsafe {
        (vld1q_u8(bytes), vld1q_u8(shape.shuffle[half].as_ptr()), vld1q_u8(shape.weights[half].as_ptr()))
    };
    let bytes = vqtbl1q_u8(bytes, shuffle);
    vpaddq_u16(vmull_u8(vget_low_u8(bytes), vget_low_u8(weights)), vmull_high_u8(bytes, weights))
}

/// In place of what is there, or with that as the upper bits of finer weights.
#[inline]
#[target_feature(enable = "neon")]
fn store(sums: [uint32x4_t; 2], more: bool, to: &mut [i32; OUTPUTS]) {
    for (sum, to) in sums.into_iter().zip(to.as_chunks_mut::<4>().0) {
        let sum = vreinterpretq_s32_u32(sum);
        // SAFETY: it has room for four numbers.
        unsafe {
            let upper = if more { vld1q_s32(to.as_ptr()) } else { vdupq_n_s32(0) };
            vst1q_s32(to.as_mut_ptr(), vaddq_s32(sum, vshlq_n_s32::<{ FINE_BITS as i32 }>(upper)));
        }
    }
}
