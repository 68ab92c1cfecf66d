//! NEON. Rows shorter than a register are left to the plain loops.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::{Block, CELL, Kernels, scalar};

pub(super) const KERNELS: Kernels = Kernels {
    sum: [sum::<1>, sum::<2>, sum::<3>, sum::<4>],
    // What the compiler makes of these plain loops takes no more instructions than what can be written by hand.
    fill: scalar::fill,
    blend: scalar::blend,
    cell_sums: [cell_sums::<1>, cell_sums::<2>, cell_sums::<3>, cell_sums::<4>],
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

/// How many cells have their samples in four registers, if these hold as many samples of `N` channels as they can.
const fn cells_at_once<const N: usize>() -> usize {
    4 / N * SIZE / CELL
}

/// Takes 16-bit sums of two cells, channel by channel, to sums of channels, cell by cell; twice where there are four cells.
const ORDER: [[u8; SIZE]; 4] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15],
    [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11, 12, 13, 14, 15],
    [0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15],
];

fn cell_sums<const N: usize>(block: Block<'_>, sums: &mut [u16]) {
    assert!(block.rows <= CELL);
    let step = cells_at_once::<N>();
    let whole = block.width / (N * CELL);
    if whole < step {
        return scalar::cell_sums::<N>(block, sums);
    }
    for cell in (0..whole).step_by(step) {
        // The last ones may overlap those before.
        let cell = cell.min(whole - step);
        // SAFETY: every row has the samples of all whole cells.
        let found =
            unsafe { few_cells::<N>(block.bytes.as_ptr().add(N * CELL * cell), block.stride, block.rows) };
        sums[N * cell..N * (cell + step)].copy_from_slice(&found[..N * step]);
    }
    scalar::cell_sums::<N>(block.right_of(N * CELL * whole), &mut sums[N * whole..]);
}

/// The sums of [`cells_at_once`].
///
/// # Safety
/// Their samples can be read in each of `rows` rows, which are at most [`CELL`] and lie `stride` bytes apart.
#[inline(always)]
unsafe fn few_cells<const N: usize>(from: *const u8, stride: usize, rows: usize) -> [u16; 8] {
    // SAFETY: the caller's. Eight rows of sums of pairs fit into 16 bits, as do those of cells.
    unsafe {
        let mut pairs = [vdupq_n_u16(0); 4];
        for y in 0..rows {
            for (i, pairs) in pairs.chunks_exact_mut(N).enumerate() {
                let samples = load_samples::<N>(from.add(y * stride + i * N * SIZE));
                for (pair, v) in pairs.iter_mut().zip(samples) {
                    *pair = vpadalq_u8(*pair, v);
                }
            }
        }
        let [a, b, c, d] = pairs;
        let cells = vreinterpretq_u8_u16(vpaddq_u16(vpaddq_u16(a, b), vpaddq_u16(c, d)));
        let mut found = [0; 8];
        vst1q_u8(found.as_mut_ptr().cast(), vqtbl1q_u8(cells, vld1q_u8(ORDER[N - 1].as_ptr())));
        found
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
