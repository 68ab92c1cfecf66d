//! NEON. Rows shorter than a register are left to the plain loops.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::{Block, COLUMN, Kernels, MOST_ROWS, scalar};

pub(super) const KERNELS: Kernels = Kernels {
    sum: |block, totals| match totals.len() {
        1 => sum::<1>(block, totals),
        2 => sum::<2>(block, totals),
        3 => sum::<3>(block, totals),
        _ => sum::<4>(block, totals),
    },
    // What the compiler makes of these plain loops takes no more instructions than what can be written by hand.
    fill: scalar::fill,
    blend: scalar::blend,
    column_sums,
    evens,
    odd_means,
    split: scalar::split,
};

/// Bytes in a register.
const SIZE: usize = 16;

/// Read from byte `n` on, it keeps the last `n` bytes; from byte `2 * SIZE - n` on, the first `n`.
const EDGES: [u8; 3 * SIZE] = {
    let mut mask = [0; 3 * SIZE];
    let mut i = SIZE;
    while i < 2 * SIZE {
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

/// Calls `piece` with where pieces of a register begin that cover `0..len` together, at least one register: the last may
/// overlap the one before. Every piece lies within `0..len`.
#[inline(always)]
fn pieces(len: usize, mut piece: impl FnMut(usize)) {
    let mut at = 0;
    while at + 2 * SIZE <= len {
        piece(at);
        piece(at + SIZE);
        at += 2 * SIZE;
    }
    if at + SIZE < len {
        piece(at);
    }
    if at < len {
        piece(len - SIZE);
    }
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
    let mut all = [0; N];
    let Block { stride, rows, .. } = block;
    let (from, samples) = (block.bytes.as_ptr(), block.width / N);
    if samples < SIZE {
        let keep = load_at(&EDGES, 2 * SIZE - samples);
        let roomy = block.roomy(0, N * SIZE);
        // SAFETY: a roomy row has the bytes that are read (`Block::roomy`).
        unsafe { add_strip::<N, 0>(from, from, stride, roomy, keep, &mut all) };
        for y in roomy..rows {
            let row: [u8; 4 * SIZE] = block.padded(0, y);
            // SAFETY: `N` is at most four.
            unsafe { add_strip::<N, 0>(row.as_ptr(), row.as_ptr(), 0, 1, keep, &mut all) };
        }
        return totals.copy_from_slice(&all);
    }
    for start in (0..samples).step_by(4 * SIZE) {
        let end = (start + 4 * SIZE).min(samples);
        // The last register ends where the strip does; of it counts what the others have not.
        let whole = (end - start - 1) / SIZE;
        let keep = load_at(&EDGES, end - start - whole * SIZE);
        // SAFETY: every row has the samples up to `end`, which are no fewer than a register's.
        unsafe {
            let (first, last) = (from.add(N * start), from.add(N * (end - SIZE)));
            match whole {
                0 => add_strip::<N, 0>(first, last, stride, rows, keep, &mut all),
                1 => add_strip::<N, 1>(first, last, stride, rows, keep, &mut all),
                2 => add_strip::<N, 2>(first, last, stride, rows, keep, &mut all),
                _ => add_strip::<N, 3>(first, last, stride, rows, keep, &mut all),
            }
        }
    }
    totals.copy_from_slice(&all);
}

/// Adds up `C` registers of each channel from `first` on, and what `keep` keeps of the one at `last`, from row to row.
///
/// # Safety
/// As many samples can be read there in each of `rows` rows, which lie `stride` bytes apart.
#[inline(always)]
unsafe fn add_strip<const N: usize, const C: usize>(
    first: *const u8,
    last: *const u8,
    stride: usize,
    rows: usize,
    keep: uint8x16_t,
    totals: &mut [u64; N],
) {
    /// Rows whose sums of pairs fit into 16 bits.
    const FEW: usize = 128;
    for top in (0..rows).step_by(FEW) {
        // SAFETY: the caller's.
        unsafe {
            let none = vdupq_n_u16(0);
            let (mut sums, mut last_sums) = ([[none; N]; C], [none; N]);
            for y in top..(top + FEW).min(rows) {
                for (i, sums) in sums.iter_mut().enumerate() {
                    let samples = load_samples::<N>(first.add(y * stride + i * N * SIZE));
                    for (sum, v) in sums.iter_mut().zip(samples) {
                        *sum = vpadalq_u8(*sum, v);
                    }
                }
                for (sum, v) in last_sums.iter_mut().zip(load_samples::<N>(last.add(y * stride))) {
                    *sum = vpadalq_u8(*sum, vandq_u8(v, keep));
                }
            }
            for (channel, total) in totals.iter_mut().enumerate() {
                let mut fours = vpaddlq_u16(last_sums[channel]);
                for sums in &sums {
                    fours = vpadalq_u16(fours, sums[channel]);
                }
                *total += vaddlvq_u32(fours);
            }
        }
    }
}

fn column_sums(rows: &[u8], stride: usize, sums: &mut [u32]) {
    let count = rows.len().div_ceil(stride);
    let wide = sums.len() * COLUMN;
    assert!(count <= MOST_ROWS && wide <= stride);
    assert!(count == 0 || (count - 1) * stride + wide <= rows.len());
    // Four registers side by side, then one, from top to bottom.
    let (eights, rest) = sums.as_chunks_mut::<8>();
    let (pairs, rest) = rest.as_chunks_mut::<2>();
    let mut done = 0;
    for sums in eights {
        // SAFETY: `count` rows of `wide` bytes are there (asserted above), and `done + 4 * SIZE` is at most `wide`.
        unsafe { strip::<4>(rows, stride, count, done, sums) };
        done += 4 * SIZE;
    }
    for sums in pairs {
        // SAFETY: as above, with `done + SIZE`.
        unsafe { strip::<1>(rows, stride, count, done, sums) };
        done += SIZE;
    }
    if !rest.is_empty() {
        let rows = rows.get(done..).unwrap_or_default();
        scalar::column_sums(rows, stride, rest);
    }
}

/// The sums of `C` registers side by side, from byte `start` of each row on.
///
/// # Safety
/// Each of `count` rows, at most [`MOST_ROWS`], has `C * SIZE` bytes from `start` on.
#[inline(always)]
unsafe fn strip<const C: usize>(rows: &[u8], stride: usize, count: usize, start: usize, sums: &mut [u32]) {
    // SAFETY: the caller's. 128 rows of sums of pairs fit into 16 bits.
    unsafe {
        let mut columns = [vdupq_n_u16(0); C];
        for y in 0..count {
            let row = rows.as_ptr().add(y * stride + start);
            for (i, column) in columns.iter_mut().enumerate() {
                *column = vpadalq_u8(*column, vld1q_u8(row.add(i * SIZE)));
            }
        }
        for (sums, column) in sums.as_chunks_mut::<2>().0.iter_mut().zip(columns) {
            let fours = vpaddlq_u16(column);
            vst1_u32(sums.as_mut_ptr(), vpadd_u32(vget_low_u32(fours), vget_high_u32(fours)));
        }
    }
}

fn evens(from: &[u8], to: &mut [u8]) {
    let len = to.len();
    if len < SIZE {
        return scalar::evens(from, to);
    }
    let from = &from[..2 * len];
    // SAFETY: every piece lies within `0..len`, and there are twice as many bytes to read.
    pieces(len, |at| unsafe {
        vst1q_u8(to.as_mut_ptr().add(at), vld2q_u8(from.as_ptr().add(2 * at)).0);
    });
}

fn odd_means(above: &[u8], below: &[u8], to: &mut [u8]) {
    let len = to.len();
    if len < SIZE {
        return scalar::odd_means(above, below, to);
    }
    let (above, below) = (&above[..2 * len], &below[..2 * len]);
    // SAFETY: every piece lies within `0..len`, and there are twice as many bytes to read.
    pieces(len, |at| unsafe {
        let (a, b) = (vld2q_u8(above.as_ptr().add(2 * at)).1, vld2q_u8(below.as_ptr().add(2 * at)).1);
        vst1q_u8(to.as_mut_ptr().add(at), vhaddq_u8(a, b));
    });
}
