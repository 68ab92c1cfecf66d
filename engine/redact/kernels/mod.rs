//! The loops over rows of samples, in one table chosen once. The scalar ones are the oracle for every other set.

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use crate::kernels::InstructionSet;

/// One set of row kernels. A sample has 1 to 4 bytes, its channels; where a kernel is compiled for each number of them, the
/// one for `n` stands at `n - 1`.
pub(crate) struct Kernels {
    /// Adds up a block of samples, channel by channel: `sum[n - 1](block, totals)`, `n` totals.
    pub sum: [fn(Block<'_>, &mut [u64]); 4],
    /// Overwrites a row with one sample value: `fill(row, value)`.
    pub fill: fn(&mut [u8], &[u8]),
    /// Mixes two rows into a third: `blend(to, upper, lower, t)`, where `t` of [`WHOLE`] are the lower one's part.
    pub blend: fn(&mut [u8], &[u8], &[u8], u8),
    /// Adds up cells of [`CELL`] samples side by side, each as high as the block, which has at most [`CELL`] rows:
    /// `cell_sums[n - 1](block, sums)`. The sums of a cell's channels lie together; the last cell may be narrower.
    pub cell_sums: [fn(Block<'_>, &mut [u16]); 4],
    /// Every second byte, from the first: `evens(from, to)`, `to.len()` of them.
    pub evens: fn(&[u8], &mut [u8]),
    /// The mean, rounded down, of every second byte of two rows, from the second: `odd_means(above, below, to)`.
    pub odd_means: fn(&[u8], &[u8], &mut [u8]),
    /// Parts pairs of bytes: `split(pairs, first, second)`.
    pub split: fn(&[u8], &mut [u8], &mut [u8]),
}

/// The whole that `blend` parts.
pub(crate) const WHOLE: u8 = 128;
/// Side of a cell of `cell_sums`, in samples.
pub(crate) const CELL: usize = 8;

/// Rows of bytes out of a plane: `rows` rows of `width` bytes, each `stride` bytes after the last. What lies between
/// them may be read, and counts for nothing.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    stride: usize,
    width: usize,
    rows: usize,
}

impl<'a> Block<'a> {
    /// From the first byte of the first row on. Panics when there are fewer bytes than that.
    pub fn new(bytes: &'a [u8], stride: usize, width: usize, rows: usize) -> Block<'a> {
        if width == 0 || rows == 0 {
            return Block { bytes: &[], stride: 1, width: 0, rows: 0 };
        }
        assert!(width <= stride && (rows - 1) * stride + width <= bytes.len(), "a block within its plane");
        Block { bytes, stride, width, rows }
    }

    fn lines(self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks(self.stride).take(self.rows).map(move |line| &line[..self.width])
    }
}

/// What only kernels that read several bytes at once ask for.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
impl<'a> Block<'a> {
    /// How many rows, from the first, have `size` bytes in a piece from byte `start` of theirs, the gap after them included.
    fn roomy(&self, start: usize, size: usize) -> usize {
        match self.bytes.len().checked_sub(start + size) {
            Some(left) => self.rows.min(left / self.stride + 1),
            None => 0,
        }
    }

    /// `S` bytes of row `y` from `start`, and zeros where there are fewer.
    fn padded<const S: usize>(&self, start: usize, y: usize) -> [u8; S] {
        let left = &self.bytes[y * self.stride + start..];
        let mut piece = [0; S];
        let there = left.len().min(S);
        piece[..there].copy_from_slice(&left[..there]);
        piece
    }

    /// The same rows, from byte `start` of each on.
    fn right_of(self, start: usize) -> Block<'a> {
        Block::new(self.bytes.get(start..).unwrap_or_default(), self.stride, self.width - start, self.rows)
    }
}

impl Kernels {
    /// Those of a set of instructions that this processor has.
    pub fn of(set: InstructionSet) -> &'static Kernels {
        match set {
            InstructionSet::Scalar => &scalar::KERNELS,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => &x86::KERNELS,
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => &neon::KERNELS,
        }
    }
}

/// The set in use.
pub(crate) fn kernels() -> &'static Kernels {
    static KERNELS: OnceLock<&Kernels> = OnceLock::new();
    KERNELS.get_or_init(|| Kernels::of(InstructionSet::chosen()))
}
