//! AVX2. Rows shorter than a register are left to the plain loops.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Block, CELL, Kernels, WHOLE, scalar};

pub(super) const KERNELS: Kernels = Kernels {
    // SAFETY, of every block here: the table is given out only where `InstructionSet::available` found AVX2.
    sum: [
        |block, totals| unsafe { sum::<1>(block, totals) },
        |block, totals| unsafe { sum::<2>(block, totals) },
        |block, totals| unsafe { sum::<3>(block, totals) },
        |block, totals| unsafe { sum::<4>(block, totals) },
    ],
    fill: |row, value| unsafe { fill(row, value) },
    blend: |to, upper, lower, t| unsafe { blend(to, upper, lower, t) },
    cell_sums: [
        |block, sums| unsafe { cell_sums::<1>(block, sums) },
        |block, sums| unsafe { cell_sums::<2>(block, sums) },
        |block, sums| unsafe { cell_sums::<3>(block, sums) },
        |block, sums| unsafe { cell_sums::<4>(block, sums) },
    ],
    evens: |from, to| unsafe { evens(from, to) },
    odd_means: |above, below, to| unsafe { odd_means(above, below, to) },
    split: |pairs, first, second| unsafe { split(pairs, first, second) },
};

/// Bytes in a register.
const SIZE: usize = 32;

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

/// Keeps every `N`th byte, from the first.
const fn every<const N: usize>() -> [u8; SIZE + 4] {
    let mut mask = [0; SIZE + 4];
    let mut i = 0;
    while i < mask.len() {
        mask[i] = if i.is_multiple_of(N) { 255 } else { 0 };
        i += 1;
    }
    mask
}

#[target_feature(enable = "avx2")]
fn load(from: &[u8; SIZE]) -> __m256i {
    // SAFETY: the array has the bytes that are read, and the load wants no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// From byte `at` on. Panics when there are too few.
#[target_feature(enable = "avx2")]
fn load_at(from: &[u8], at: usize) -> __m256i {
    let from = &from[at..at + SIZE];
    // SAFETY: the slice has the bytes that are read, and the load wants no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// Over the bytes from `at` on. Panics when there are too few.
#[target_feature(enable = "avx2")]
fn store_at(to: &mut [u8], at: usize, v: __m256i) {
    let to = &mut to[at..at + SIZE];
    // SAFETY: the slice has the bytes that are written, and the store wants no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
}

#[target_feature(enable = "avx2")]
fn sum<const N: usize>(block: Block<'_>, totals: &mut [u64]) {
    assert!(totals.len() == N);
    totals.fill(0);
    // Whole samples in a register; one column of registers after the other, from top to bottom.
    let step = SIZE - SIZE % N;
    for start in (0..block.width).step_by(step) {
        let keep = load_at(&FIRST, SIZE - (block.width - start).min(step));
        let mut masks = [keep; N];
        for (c, mask) in masks.iter_mut().enumerate() {
            *mask = _mm256_and_si256(*mask, load_at(&const { every::<N>() }, (N - c) % N));
        }
        let mut sums = [_mm256_setzero_si256(); N];
        let mut add = |v| {
            for (sum, mask) in sums.iter_mut().zip(masks) {
                let eights = _mm256_sad_epu8(_mm256_and_si256(v, mask), _mm256_setzero_si256());
                *sum = _mm256_add_epi64(*sum, eights);
            }
        };
        let roomy = block.roomy(start, SIZE);
        for y in 0..roomy {
            // SAFETY: a roomy row has the bytes that are read (`Block::roomy`), and the load wants no alignment.
            add(unsafe { _mm256_loadu_si256(block.bytes.as_ptr().add(y * block.stride + start).cast()) });
        }
        for y in roomy..block.rows {
            add(load(&block.padded(start, y)));
        }
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += fours(sum).iter().sum::<u64>();
        }
    }
}

#[target_feature(enable = "avx2")]
fn fours(v: __m256i) -> [u64; 4] {
    let mut four = [0; 4];
    // SAFETY: the array has room for a register, and the store wants no alignment.
    unsafe { _mm256_storeu_si256(four.as_mut_ptr().cast(), v) };
    four
}

#[target_feature(enable = "avx2")]
fn fill(row: &mut [u8], value: &[u8]) {
    match *value {
        [a] => row.fill(a),
        [a, b] => fill_with::<2>(row, [a, b, 0, 0]),
        [a, b, c] => fill_with::<3>(row, [a, b, c, 0]),
        [a, b, c, d] => fill_with::<4>(row, [a, b, c, d]),
        _ => scalar::fill(row, value),
    }
}

#[target_feature(enable = "avx2")]
fn fill_with<const N: usize>(row: &mut [u8], value: [u8; 4]) {
    if value[1..N].iter().all(|&v| v == value[0]) {
        // The C library's loop knows more of caches than we do.
        return row.fill(value[0]);
    }
    let Some(last) = row.len().checked_sub(SIZE) else { return scalar::fill(row, &value[..N]) };
    let samples = _mm256_set1_epi32(i32::from_le_bytes(value));
    let body = _mm256_shuffle_epi8(samples, load_at(&CHANNELS[N - 1], 0));
    let mut at = 0;
    while at < last {
        store_at(row, at, body);
        at += SIZE - SIZE % N;
    }
    store_at(row, last, _mm256_shuffle_epi8(samples, load_at(&CHANNELS[N - 1], last % N)));
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

#[target_feature(enable = "avx2")]
fn blend(to: &mut [u8], upper: &[u8], lower: &[u8], t: u8) {
    let len = to.len();
    if t == 0 || t == WHOLE {
        to.copy_from_slice(&if t == 0 { upper } else { lower }[..len]);
        return;
    }
    if len < SIZE {
        return scalar::blend(to, upper, lower, t);
    }
    // Pairs of weights, both below 128, for pairs of bytes: no sum leaves 16 bits.
    let weights = _mm256_set1_epi16(i16::from_le_bytes([WHOLE - t, t]));
    let half = _mm256_set1_epi16(i16::from(WHOLE / 2));
    for i in 0..len.div_ceil(SIZE) {
        let at = (i * SIZE).min(len - SIZE);
        let (a, b) = (load_at(upper, at), load_at(lower, at));
        let low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a, b), weights);
        let high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a, b), weights);
        let low = _mm256_srli_epi16::<7>(_mm256_add_epi16(low, half));
        let high = _mm256_srli_epi16::<7>(_mm256_add_epi16(high, half));
        store_at(to, at, _mm256_packus_epi16(low, high));
    }
}

#[target_feature(enable = "avx2")]
fn cell_sums<const N: usize>(block: Block<'_>, sums: &mut [u16]) {
    assert!(block.rows <= CELL);
    // Cells in a register: one of three channels fills only most of it.
    let step = SIZE / (N * CELL);
    let done = block.width / (N * CELL) / step * step;
    let (whole, rest) = sums.split_at_mut(N * done);
    for (i, sums) in whole.chunks_exact_mut(N * step).enumerate() {
        let mut all = [_mm256_setzero_si256(); 2];
        for y in 0..block.rows {
            // SAFETY: every row has the samples of all whole cells.
            let parts =
                unsafe { by_channel::<N>(block.bytes.as_ptr().add(y * block.stride + i * N * step * CELL)) };
            for (sum, part) in all.iter_mut().zip(parts) {
                *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(part, _mm256_setzero_si256()));
            }
        }
        let found = match (fours(all[0]), fours(all[1])) {
            ([a, b, more_a, more_b], [c, _, more_c, _]) if N == 3 => [a + more_a, b + more_b, c + more_c, 0],
            (found, _) => found,
        };
        for (sum, found) in sums.iter_mut().zip(found) {
            *sum = found as u16;
        }
    }
    scalar::cell_sums::<N>(block.right_of(N * CELL * done), rest);
}

/// Samples of cells, of which there is room for in a register, in groups of eight bytes: each of one cell and channel.
/// Those of three channels in two registers: the first two channels, and the third, with zeros in between.
///
/// # Safety
/// The cells' bytes can be read.
#[target_feature(enable = "avx2")]
unsafe fn by_channel<const N: usize>(from: *const u8) -> [__m256i; 2] {
    // SAFETY: the caller's; loads want no alignment.
    unsafe {
        let none = _mm256_setzero_si256();
        if N == 3 {
            // Bytes 0 to 15 in the one half, 8 to 23 in the other, of which the last eight count.
            let v = _mm256_loadu2_m128i(from.add(CELL).cast(), from.cast());
            let two = _mm256_setr_epi8(
                0, 3, 6, 9, 12, 15, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, //
                10, 13, -1, -1, -1, -1, -1, -1, 8, 11, 14, -1, -1, -1, -1, -1,
            );
            let third = _mm256_setr_epi8(
                2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, //
                9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
            );
            return [_mm256_shuffle_epi8(v, two), _mm256_shuffle_epi8(v, third)];
        }
        let v = _mm256_loadu_si256(from.cast());
        let parted = match N {
            2 => _mm256_shuffle_epi8(
                v,
                _mm256_broadcastsi128_si256(_mm_setr_epi8(
                    0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
                )),
            ),
            4 => {
                let fours = _mm256_shuffle_epi8(
                    v,
                    _mm256_broadcastsi128_si256(_mm_setr_epi8(
                        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                    )),
                );
                _mm256_permutevar8x32_epi32(fours, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
            }
            _ => v,
        };
        [parted, none]
    }
}

#[target_feature(enable = "avx2")]
fn evens(from: &[u8], to: &mut [u8]) {
    let len = to.len();
    if len < SIZE {
        return scalar::evens(from, to);
    }
    for i in 0..len.div_ceil(SIZE) {
        let at = (i * SIZE).min(len - SIZE);
        store_at(to, at, even_bytes(load_at(from, 2 * at), load_at(from, 2 * at + SIZE)));
    }
}

/// The even bytes of two registers in one.
#[target_feature(enable = "avx2")]
fn even_bytes(a: __m256i, b: __m256i) -> __m256i {
    let low = _mm256_set1_epi16(0xff);
    narrow(_mm256_and_si256(a, low), _mm256_and_si256(b, low))
}

/// Two registers of 16-bit numbers below 256 as bytes, in order.
#[target_feature(enable = "avx2")]
fn narrow(a: __m256i, b: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(a, b))
}

#[target_feature(enable = "avx2")]
fn odd_means(above: &[u8], below: &[u8], to: &mut [u8]) {
    let len = to.len();
    if len < SIZE {
        return scalar::odd_means(above, below, to);
    }
    for i in 0..len.div_ceil(SIZE) {
        let at = (i * SIZE).min(len - SIZE);
        let mean = |at| {
            let (a, b) =
                (_mm256_srli_epi16::<8>(load_at(above, at)), _mm256_srli_epi16::<8>(load_at(below, at)));
            _mm256_srli_epi16::<1>(_mm256_add_epi16(a, b))
        };
        store_at(to, at, narrow(mean(2 * at), mean(2 * at + SIZE)));
    }
}

#[target_feature(enable = "avx2")]
fn split(pairs: &[u8], first: &mut [u8], second: &mut [u8]) {
    let len = first.len().min(second.len());
    if len < SIZE {
        return scalar::split(pairs, first, second);
    }
    for i in 0..len.div_ceil(SIZE) {
        let at = (i * SIZE).min(len - SIZE);
        let (a, b) = (load_at(pairs, 2 * at), load_at(pairs, 2 * at + SIZE));
        store_at(first, at, even_bytes(a, b));
        store_at(second, at, narrow(_mm256_srli_epi16::<8>(a), _mm256_srli_epi16::<8>(b)));
    }
}
