//! NEON. Rows shorter than a register are left to the plain loops.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::{Block, COLUMN, Kernels, MOST_ROWS, WHOLE, scalar};

pub(super) const KERNELS: Kernels = Kernels {
    sum: |block, totals| match totals.len() {
        1 => sum::<1>(block, totals),
        2 => sum::<2>(block, totals),
        3 => sum::<3>(block, totals),
        _ => sum::<4>(block, totals),
    },
    fill,
    blend,
    column_sums,
    evens,
    odd_means,
    split,
};

/// Bytes in a register.
const SIZE: usize = 16;

/// Read from byte `SIZE - n` on, it keeps the first `n` bytes.
const FIRST: [u8; 2 * SIZE] = {
    let mut mask = [0; 2 * SIZE];
    let mut i = 0;
    while i < SIZE {
        mask[i] = 255;
        i += 1;
    }
    mask
};

// SAFETY, of every block below: every AArch64 processor that Rust's standard library runs on has NEON; what else a block
// needs is said beside it. Loads and stores of bytes want no alignment.

/// From byte `at` on. Panics when there are too few.
#[inline(always)]
fn load_at(from: &[u8], at: usize) -> uint8x16_t {
    let from = &from[at..at + SIZE];
    // SAFETY: the slice has the bytes that are read.
    unsafe { vld1q_u8(from.as_ptr()) }
}

/// Pairs of bytes from byte `at` on, parted. Panics when there are too few.
#[inline(always)]
fn load_pairs_at(from: &[u8], at: usize) -> uint8x16x2_t {
    let from = &from[at..at + 2 * SIZE];
    // SAFETY: the slice has the bytes that are read.
    unsafe { vld2q_u8(from.as_ptr()) }
}

/// Over the bytes from `at` on. Panics when there are too few.
#[inline(always)]
fn store_at(to: &mut [u8], at: usize, v: uint8x16_t) {
    let to = &mut to[at..at + SIZE];
    // SAFETY: the slice has the bytes that are written.
    unsafe { vst1q_u8(to.as_mut_ptr(), v) }
}

/// Sixteen samples, channel by channel.
///
/// # Safety
/// `N * SIZE` bytes can be read.
#[inline(always)]
unsafe fn load_samples<const N: usize>(from: *const u8) -> [uint8x16_t; 4] {
    // SAFETY: the caller's.
    unsafe {
        let none = vdupq_n_u8(0);
        match N {
            1 => [vld1q_u8(from), none, none, none],
            2 => {
                let v = vld2q_u8(from);
                [v.0, v.1, none, none]
            }
            3 => {
                let v = vld3q_u8(from);
                [v.0, v.1, v.2, none]
            }
            _ => {
                let v = vld4q_u8(from);
                [v.0, v.1, v.2, v.3]
            }
        }
    }
}

fn sum<const N: usize>(block: Block<'_>, totals: &mut [u64]) {
    /// Rows whose sums of pairs fit into 16 bits.
    const FEW: usize = 128;
    totals.fill(0);
    // One column of samples after the other, from top to bottom.
    for start in (0..block.width).step_by(N * SIZE) {
        let keep = load_at(&FIRST, SIZE - ((block.width - start) / N).min(SIZE));
        let roomy = block.roomy(start, N * SIZE);
        for top in (0..block.rows).step_by(FEW) {
            // SAFETY: NEON.
            let mut sums = unsafe { [vdupq_n_u16(0); N] };
            let mut add = |samples: [uint8x16_t; 4]| {
                for (sum, v) in sums.iter_mut().zip(samples) {
                    // SAFETY: NEON.
                    *sum = unsafe { vpadalq_u8(*sum, vandq_u8(v, keep)) };
                }
            };
            let bottom = (top + FEW).min(block.rows);
            for y in top..bottom.min(roomy) {
                // SAFETY: a roomy row has the bytes that are read (`Block::roomy`).
                add(unsafe { load_samples::<N>(block.bytes.as_ptr().add(y * block.stride + start)) });
            }
            for y in top.max(roomy)..bottom {
                let piece: [u8; 4 * SIZE] = block.padded(start, y);
                // SAFETY: `N` is at most four.
                add(unsafe { load_samples::<N>(piece.as_ptr()) });
            }
            for (total, sum) in totals.iter_mut().zip(sums) {
                // SAFETY: NEON.
                *total += u64::from(unsafe { vaddlvq_u16(sum) });
            }
        }
    }
}

fn fill(row: &mut [u8], value: &[u8]) {
    match *value {
        [a] => row.fill(a),
        [a, b] => fill_with::<2>(row, [a, b, 0, 0]),
        [a, b, c] => fill_with::<3>(row, [a, b, c, 0]),
        [a, b, c, d] => fill_with::<4>(row, [a, b, c, d]),
        _ => scalar::fill(row, value),
    }
}

fn fill_with<const N: usize>(row: &mut [u8], value: [u8; 4]) {
    if value[1..N].iter().all(|&v| v == value[0]) {
        // The C library's loop knows more of caches than we do.
        return row.fill(value[0]);
    }
    let Some(last) = row.len().checked_sub(SIZE) else { return scalar::fill(row, &value[..N]) };
    let samples = |first: usize| {
        let channels = load_at(&CHANNELS[N - 1], first);
        // SAFETY: NEON.
        unsafe { vqtbl1q_u8(vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(value))), channels) }
    };
    let (body, mut at) = (samples(0), 0);
    while at < last {
        store_at(row, at, body);
        at += SIZE - SIZE % N;
    }
    store_at(row, last, samples(last % N));
}

/// The channel of each byte of a row of samples with 1, 2, 3 and 4 of them.
const CHANNELS: [[u8; SIZE + 4]; 4] = {
    let mut channels = [[0; SIZE + 4]; 4];
    let mut n = 1;
    while n <= 4 {
        let mut i = 0;
        while i < SIZE + 4 {
            channels[n - 1][i] = (i % n) as u8;
            i += 1;
        }
        n += 1;
    }
    channels
};

fn blend(to: &mut [u8], upper: &[u8], lower: &[u8], t: u8) {
    let len = to.len();
    if len < SIZE {
        return scalar::blend(to, upper, lower, t);
    }
    for i in 0..len.div_ceil(SIZE) {
        let at = (i * SIZE).min(len - SIZE);
        let (a, b) = (load_at(upper, at), load_at(lower, at));
        // SAFETY: NEON.
        let mixed = unsafe {
            let (wa, wb) = (vdupq_n_u8(WHOLE - t), vdupq_n_u8(t));
            let low = vmull_u8(vget_low_u8(a), vget_low_u8(wa));
            let low = vmlal_u8(low, vget_low_u8(b), vget_low_u8(wb));
            let high = vmlal_high_u8(vmull_high_u8(a, wa), b, wb);
            vrshrn_high_n_u16::<7>(vrshrn_n_u16::<7>(low), high)
        };
        store_at(to, at, mixed);
    }
}

fn column_sums(rows: &[u8], stride: usize, sums: &mut [u32]) {
    let count = rows.len().div_ceil(stride);
    let wide = sums.len() * COLUMN;
    assert!(count <= MOST_ROWS && wide <= stride);
    assert!(count == 0 || (count - 1) * stride + wide <= rows.len());
    let (pairs, rest) = sums.as_chunks_mut::<2>();
    for (i, sums) in pairs.iter_mut().enumerate() {
        // SAFETY: `(count - 1) * stride + wide` bytes are there (asserted above), and those read are among the first `wide`
        // of row `y`. 128 rows of sums of pairs fit into 16 bits.
        unsafe {
            let mut sum = vdupq_n_u16(0);
            for y in 0..count {
                sum = vpadalq_u8(sum, vld1q_u8(rows.as_ptr().add(y * stride + i * SIZE)));
            }
            let fours = vpaddlq_u16(sum);
            vst1_u32(sums.as_mut_ptr(), vpadd_u32(vget_low_u32(fours), vget_high_u32(fours)));
        }
    }
    let done = pairs.len() * SIZE;
    if !rest.is_empty() {
        let rows = rows.get(done..).unwrap_or_default();
        scalar::column_sums(rows, stride, rest);
    }
}

fn evens(from: &[u8], to: &mut [u8]) {
    let len = to.len();
    if len < SIZE {
        return scalar::evens(from, to);
    }
    for i in 0..len.div_ceil(SIZE) {
        let at = (i * SIZE).min(len - SIZE);
        store_at(to, at, load_pairs_at(from, 2 * at).0);
    }
}

fn odd_means(above: &[u8], below: &[u8], to: &mut [u8]) {
    let len = to.len();
    if len < SIZE {
        return scalar::odd_means(above, below, to);
    }
    for i in 0..len.div_ceil(SIZE) {
        let at = (i * SIZE).min(len - SIZE);
        let (a, b) = (load_pairs_at(above, 2 * at).1, load_pairs_at(below, 2 * at).1);
        // SAFETY: NEON.
        store_at(to, at, unsafe { vhaddq_u8(a, b) });
    }
}

fn split(pairs: &[u8], first: &mut [u8], second: &mut [u8]) {
    let len = first.len().min(second.len());
    if len < SIZE {
        return scalar::split(pairs, first, second);
    }
    for i in 0..len.div_ceil(SIZE) {
        let at = (i * SIZE).min(len - SIZE);
        let v = load_pairs_at(pairs, 2 * at);
        store_at(first, at, v.0);
        store_at(second, at, v.1);
    }
}
