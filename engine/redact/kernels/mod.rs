//! The loops over rows of samples, in one table chosen once. The scalar ones are the oracle for every other set.

mod scalar;

/// One set of row kernels. A sample has as many bytes as the value given for it.
pub(crate) struct Kernels {
    /// Name of the set, for logs and records.
    #[allow(dead_code, reason = "read by benchmarks and `doctor` once there is more than one set")]
    pub name: &'static str,
    /// Adds up a row of samples, channel by channel: `sum(row, totals)`, `totals.len()` channels.
    pub sum: fn(&[u8], &mut [u32]),
    /// Overwrites a row with one sample value: `fill(row, value)`.
    pub fill: fn(&mut [u8], &[u8]),
    /// Draws samples `from..` of a ramp of `length` samples between two values: `lerp(row, left, right, from, length)`.
    pub lerp: fn(&mut [u8], &[u8], &[u8], u32, u32),
}

/// The set in use.
pub(crate) fn kernels() -> &'static Kernels {
    &scalar::KERNELS
}
