//! Several numbers side by side: what the loops over pixels are written in, once for every instruction set.

/// `N` numbers that are added, multiplied and clamped together. Multiplication and addition round separately, in this
/// order, so that every set of instructions gives the same bits.
///
/// Every method must be inlined into a function that has the instructions; nothing else may call it.
pub(crate) trait Lanes: Copy {
    /// How many numbers, at most [`MOST`](Lanes::MOST).
    const N: usize;
    /// The most that any set has.
    const MOST: usize = 8;

    /// `N` times the same.
    fn splat(v: f32) -> Self;
    /// The first `N` bytes, as numbers. Panics when there are fewer.
    fn bytes(from: &[u8]) -> Self;
    /// The first `N` numbers. Panics when there are fewer.
    fn read(from: &[f32]) -> Self;
    /// Over the first `N` numbers. Panics when there are fewer.
    fn write(self, to: &mut [f32]);
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// Between 0 and 255.
    fn clamp_byte(self) -> Self;
    /// Exchanges rows and columns of `N` times `N` numbers. Panics for another number of rows.
    fn transpose(rows: &mut [Self]);
}

/// Eight numbers for any processor; the compiler finds the registers for them.
impl Lanes for [f32; 8] {
    const N: usize = 8;

    #[inline(always)]
    fn splat(v: f32) -> Self {
        [v; 8]
    }
    #[inline(always)]
    fn bytes(from: &[u8]) -> Self {
        let from = &from[..8];
        let mut to = [0.0; 8];
        to.iter_mut().zip(from).for_each(|(to, v)| *to = f32::from(*v));
        to
    }
    #[inline(always)]
    fn read(from: &[f32]) -> Self {
        let mut to = [0.0; 8];
        to.copy_from_slice(&from[..8]);
        to
    }
    #[inline(always)]
    fn write(self, to: &mut [f32]) {
        to[..8].copy_from_slice(&self);
    }
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        self
    }
    #[inline(always)]
    fn mul(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(a, b)| *a *= b);
        self
    }
    #[inline(always)]
    fn clamp_byte(mut self) -> Self {
        self.iter_mut().for_each(|v| *v = v.clamp(0.0, 255.0));
        self
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        assert_eq!(rows.len(), 8);
        for y in 1..8 {
            let (above, below) = rows.split_at_mut(y);
            above.iter_mut().zip(&mut below[0]).for_each(|(row, v)| std::mem::swap(&mut row[y], v));
        }
    }
}

/// One number: the oracle.
impl Lanes for f32 {
    const N: usize = 1;

    #[inline(always)]
    fn splat(v: f32) -> f32 {
        v
    }
    #[inline(always)]
    fn bytes(from: &[u8]) -> f32 {
        f32::from(from[0])
    }
    #[inline(always)]
    fn read(from: &[f32]) -> f32 {
        from[0]
    }
    #[inline(always)]
    fn write(self, to: &mut [f32]) {
        to[0] = self;
    }
    #[inline(always)]
    fn add(self, other: f32) -> f32 {
        self + other
    }
    #[inline(always)]
    fn mul(self, other: f32) -> f32 {
        self * other
    }
    #[inline(always)]
    fn clamp_byte(self) -> f32 {
        self.clamp(0.0, 255.0)
    }
    #[inline(always)]
    fn transpose(rows: &mut [f32]) {
        assert_eq!(rows.len(), 1);
    }
}
