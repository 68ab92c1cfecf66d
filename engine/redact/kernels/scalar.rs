//! Plain loops: obvious, and the oracle for every SIMD kernel.

use super::Kernels;

pub(super) const KERNELS: Kernels = Kernels { name: "scalar", sum, fill, lerp };

fn sum(row: &[u8], totals: &mut [u32]) {
    for sample in row.chunks_exact(totals.len()) {
        for (total, &v) in totals.iter_mut().zip(sample) {
            *total += u32::from(v);
        }
    }
}

fn fill(row: &mut [u8], value: &[u8]) {
    if let [v] = value {
        row.fill(*v);
        return;
    }
    for sample in row.chunks_exact_mut(value.len()) {
        sample.copy_from_slice(value);
    }
}

fn lerp(row: &mut [u8], left: &[u8], right: &[u8], from: u32, length: u32) {
    let length = length.max(1);
    for (i, sample) in (from..).zip(row.chunks_exact_mut(left.len())) {
        // 16 fractional bits; the middle of each sample on the ramp.
        let t = ((u64::from(2 * i + 1) << 15) / u64::from(length)).min(1 << 16) as i64;
        for ((v, &a), &b) in sample.iter_mut().zip(left).zip(right) {
            let (a, b) = (i64::from(a), i64::from(b));
            *v = (a + (((b - a) * t + (1 << 15)) >> 16)) as u8;
        }
    }
}
