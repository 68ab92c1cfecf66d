//! Plain loops: obvious, and the oracle for every SIMD kernel.

use super::{Block, COLUMN, Kernels, WHOLE};

pub(super) const KERNELS: Kernels = Kernels { sum, fill, blend, column_sums, evens, odd_means, split };

fn sum(block: Block<'_>, totals: &mut [u64]) {
    totals.fill(0);
    for line in block.lines() {
        for sample in line.chunks_exact(totals.len()) {
            for (total, &v) in totals.iter_mut().zip(sample) {
                *total += u64::from(v);
            }
        }
    }
}

pub(super) fn fill(row: &mut [u8], value: &[u8]) {
    if let [v] = value {
        row.fill(*v);
        return;
    }
    for sample in row.chunks_exact_mut(value.len()) {
        sample.copy_from_slice(value);
    }
}

pub(super) fn blend(to: &mut [u8], upper: &[u8], lower: &[u8], t: u8) {
    let (a, b) = (u16::from(WHOLE - t), u16::from(t));
    for ((to, &upper), &lower) in to.iter_mut().zip(upper).zip(lower) {
        *to = ((u16::from(upper) * a + u16::from(lower) * b + u16::from(WHOLE / 2)) / u16::from(WHOLE)) as u8;
    }
}

pub(super) fn column_sums(rows: &[u8], stride: usize, sums: &mut [u32]) {
    sums.fill(0);
    for row in rows.chunks(stride) {
        for (sum, bytes) in sums.iter_mut().zip(row.chunks_exact(COLUMN)) {
            *sum += bytes.iter().map(|&v| u32::from(v)).sum::<u32>();
        }
    }
}

pub(super) fn evens(from: &[u8], to: &mut [u8]) {
    for (to, pair) in to.iter_mut().zip(from.chunks_exact(2)) {
        *to = pair[0];
    }
}

pub(super) fn odd_means(above: &[u8], below: &[u8], to: &mut [u8]) {
    for ((to, a), b) in to.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
        *to = a[1].midpoint(b[1]);
    }
}

pub(super) fn split(pairs: &[u8], first: &mut [u8], second: &mut [u8]) {
    for ((pair, a), b) in pairs.chunks_exact(2).zip(first).zip(second) {
        (*a, *b) = (pair[0], pair[1]);
    }
}
