//! Plain loops: obvious, and the oracle for every SIMD kernel.

use super::{Block, CELL, Kernels, WHOLE};

pub(super) const KERNELS: Kernels = Kernels {
    // With a constant number of channels the compiler finds vectors, where there is no set of their own.
    sum: [sum::<1>, sum::<2>, sum::<3>, sum::<4>],
    fill,
    blend,
    cell_sums: [cell_sums::<1>, cell_sums::<2>, cell_sums::<3>, cell_sums::<4>],
    evens,
    odd_means,
    split,
};

fn sum<const N: usize>(block: Block<'_>, totals: &mut [u64]) {
    assert!(totals.len() == N);
    totals.fill(0);
    for line in block.lines() {
        // A row of 2^14 samples stays far below 2^32.
        let mut row = [0u32; N];
        for sample in line.as_chunks::<N>().0 {
            for (total, &v) in row.iter_mut().zip(sample) {
                *total += u32::from(v);
            }
        }
        totals.iter_mut().zip(row).for_each(|(total, row)| *total += u64::from(row));
    }
}

pub(super) fn fill(row: &mut [u8], value: &[u8]) {
    match *value {
        [v] => row.fill(v),
        [a, b] => row.as_chunks_mut().0.fill([a, b]),
        [a, b, c] => {
            // Sixteen at a time: three vectors wherever there are any.
            let (blocks, rest) = row.as_chunks_mut::<48>();
            blocks.fill(std::array::from_fn(|i| value[i % 3]));
            rest.as_chunks_mut().0.fill([a, b, c]);
        }
        [a, b, c, d] => row.as_chunks_mut().0.fill([a, b, c, d]),
        _ => debug_assert!(value.is_empty(), "a sample has one to four bytes"),
    }
}

pub(super) fn blend(to: &mut [u8], upper: &[u8], lower: &[u8], t: u8) {
    let (a, b) = (u16::from(WHOLE - t), u16::from(t));
    for ((to, &upper), &lower) in to.iter_mut().zip(upper).zip(lower) {
        *to = ((u16::from(upper) * a + u16::from(lower) * b + u16::from(WHOLE / 2)) / u16::from(WHOLE)) as u8;
    }
}

pub(super) fn cell_sums<const N: usize>(block: Block<'_>, sums: &mut [u16]) {
    /// Cells at a time.
    const FEW: usize = 16;
    for (i, sums) in sums.chunks_mut(FEW * N).enumerate() {
        // Down first: whole rows are added up, which every compiler makes fast.
        let mut columns = [[[0u16; N]; CELL]; FEW];
        for line in block.lines() {
            let columns = columns.as_flattened_mut().as_flattened_mut().iter_mut();
            for (sum, &v) in columns.zip(&line[i * FEW * CELL * N..]) {
                *sum += u16::from(v);
            }
        }
        for (sums, cell) in sums.as_chunks_mut::<N>().0.iter_mut().zip(&columns) {
            *sums = std::array::from_fn(|channel| cell.iter().map(|sample| sample[channel]).sum());
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
