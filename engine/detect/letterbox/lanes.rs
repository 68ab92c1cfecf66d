//! A row of the tensor in one go, eight pixels at a time: the sums of all three components stay in registers until they
//! are colours, so nothing but the frame and the tensor goes through the caches. What a register can do, each set of
//! instructions says for itself ([`Lanes`]).
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::Layer;
use super::axis::FINE_BITS;
use super::color::Converter;
use super::kernels::{Loops, Rows, Scratch};
use super::taps::{OUTPUTS, Piece, Shape, Taps};
use crate::frame::View;

/// Two lanes of [`super::taps::LANE`] bytes each, and what is made of them. Who calls any of these functions has asked whether the
/// processor has the set.
pub(super) trait Lanes {
    /// What two loads bring.
    type Bytes: Copy;
    /// Sums of two neighbours among them, 16 bits each.
    type Pairs: Copy;
    /// Sums for [`OUTPUTS`] pixels, 32 bits each.
    type Sums: Copy;

    /// # Safety
    /// The processor has the set.
    unsafe fn nothing() -> Self::Sums;

    /// # Safety
    /// The processor has the set, and each pointer [`super::taps::LANE`] bytes. If `JOINED`, `right` follows `left`.
    unsafe fn load<const JOINED: bool>(left: *const u8, right: *const u8) -> Self::Bytes;

    /// Every byte where the shape says, weighed, and added to its neighbour.
    ///
    /// # Safety
    /// The processor has the set.
    unsafe fn pairs(bytes: Self::Bytes, shape: &Shape) -> Self::Pairs;

    /// Adds a row of one component: two pairs to each sum.
    ///
    /// # Safety
    /// The processor has the set.
    unsafe fn add(sums: Self::Sums, row: Self::Pairs, weight: u16) -> Self::Sums;

    /// Adds two rows of two components: each lane has the one in its first half, the other in its second.
    ///
    /// # Safety
    /// The processor has the set.
    unsafe fn add_two(sums: [Self::Sums; 2], rows: [Self::Pairs; 2], weights: [u16; 2]) -> [Self::Sums; 2];

    /// # Safety
    /// The processor has the set.
    unsafe fn numbers(sums: Self::Sums) -> [i32; OUTPUTS];

    /// Asks for the line of the cache around this address, which need not be one of ours.
    fn fetch(at: *const u8);
}

impl<L: Lanes> Loops for L {
    #[inline(always)]
    unsafe fn row(
        layers: &[Layer],
        view: &View<'_>,
        y: usize,
        _: &mut Scratch,
        convert: &Converter,
        to: [&mut [f32]; 3],
    ) {
        let source =
            |layer: usize, of: usize| Source::<L>::new(&layers[layer], layers[layer].rows(view, y), of);
        if let [_, chroma] = layers
            && chroma.side_by_side == 2
        {
            let (luma, chroma) = (source(0, 0), source(1, 0));
            return match (luma.kind(), chroma.kind()) {
                ((1, 1), (1, 1)) => Pair::<L, 1, 1, 1, 1> { luma, chroma }.row(convert, to),
                ((1, 1), (2, 1)) => Pair::<L, 1, 1, 2, 1> { luma, chroma }.row(convert, to),
                ((2, 1), (1, 1)) => Pair::<L, 2, 1, 1, 1> { luma, chroma }.row(convert, to),
                ((2, 1), (2, 1)) => Pair::<L, 2, 1, 2, 1> { luma, chroma }.row(convert, to),
                ((3, 1), (2, 1)) => Pair::<L, 3, 1, 2, 1> { luma, chroma }.row(convert, to),
                ((3, 2), (3, 2)) => Pair::<L, 3, 2, 3, 2> { luma, chroma }.row(convert, to),
                _ => Pair::<L, 0, 0, 0, 0> { luma, chroma }.row(convert, to),
            };
        }
        let each = if layers.len() == 1 { [(0, 0), (0, 1), (0, 2)] } else { [(0, 0), (1, 0), (2, 0)] };
        let [a, b, c] = each.map(|(layer, of)| source(layer, of));
        match (a.kind(), b.kind()) {
            ((2, 1), (1, 1)) => Three::<L, 2, 1, 1, 1> { a, b, c }.row(convert, to),
            ((3, 1), (2, 1)) => Three::<L, 3, 1, 2, 1> { a, b, c }.row(convert, to),
            ((3, 3), (3, 3)) => Three::<L, 3, 3, 3, 3> { a, b, c }.row(convert, to),
            _ => Three::<L, 0, 0, 0, 0> { a, b, c }.row(convert, to),
        }
    }
}

/// Where the sums for a row of the tensor come from.
trait Sums: Sized {
    /// Of the three components, for eight pixels: the `group`-th eight of the row.
    fn sums(&mut self, group: usize) -> [[i32; OUTPUTS]; 3];

    #[inline(always)]
    fn row(mut self, convert: &Converter, to: [&mut [f32]; 3]) {
        // A copy, which no store into a row can change.
        let convert = *convert;
        let [red, green, blue] = convert.ordered(to);
        let groups = red.chunks_mut(OUTPUTS).zip(green.chunks_mut(OUTPUTS)).zip(blue.chunks_mut(OUTPUTS));
        for (group, ((red, green), blue)) in groups.enumerate() {
            for (made, to) in convert.colors(self.sums(group)).iter().zip([red, green, blue]) {
                match to.as_mut_array() {
                    Some(to) => *to = *made,
                    None => to.copy_from_slice(&made[..to.len()]),
                }
            }
        }
    }
}

/// Luma, and a layer of two components side by side; of how many rows and pieces each, or any where that is 0.
struct Pair<'a, L, const ROWS: usize, const DEPTH: usize, const ROWS_2: usize, const DEPTH_2: usize> {
    luma: Source<'a, L>,
    chroma: Source<'a, L>,
}

impl<L: Lanes, const ROWS: usize, const DEPTH: usize, const ROWS_2: usize, const DEPTH_2: usize> Sums
    for Pair<'_, L, ROWS, DEPTH, ROWS_2, DEPTH_2>
{
    #[inline(always)]
    fn sums(&mut self, group: usize) -> [[i32; OUTPUTS]; 3] {
        let y = self.luma.one::<ROWS, DEPTH>(group);
        let [cb, cr] = self.chroma.two::<ROWS_2, DEPTH_2>(group);
        [y, cb, cr]
    }
}

/// Three components, each for itself: of the first, and of the others.
struct Three<'a, L, const ROWS: usize, const DEPTH: usize, const ROWS_2: usize, const DEPTH_2: usize> {
    a: Source<'a, L>,
    b: Source<'a, L>,
    c: Source<'a, L>,
}

impl<L: Lanes, const ROWS: usize, const DEPTH: usize, const ROWS_2: usize, const DEPTH_2: usize> Sums
    for Three<'_, L, ROWS, DEPTH, ROWS_2, DEPTH_2>
{
    #[inline(always)]
    fn sums(&mut self, group: usize) -> [[i32; OUTPUTS]; 3] {
        let a = self.a.one::<ROWS, DEPTH>(group);
        [a, self.b.one::<ROWS_2, DEPTH_2>(group), self.c.one::<ROWS_2, DEPTH_2>(group)]
    }
}

/// The rows under a row of the tensor, and what is made of them for one component, or for two side by side.
struct Source<'a, L> {
    rows: Rows<'a>,
    taps: &'a [Taps],
    /// What the next row of the tensor needs: fetched in even portions while this one is made.
    next: *const u8,
    portion: usize,
    lanes: PhantomData<L>,
}

impl<'a, L: Lanes> Source<'a, L> {
    /// Only where the processor has the set. Panics when the rows are shorter than the layer says.
    #[inline(always)]
    fn new(layer: &'a Layer, rows: Rows<'a>, of: usize) -> Source<'a, L> {
        let taps = &layer.taps[of][..];
        let last = (rows.weights.len().max(1) - 1) * rows.stride;
        assert!(taps.iter().all(|taps| rows.bytes.len() >= last + taps.reach()));
        let next = rows.bytes.as_ptr().wrapping_add(rows.weights.len() * rows.stride);
        // The others of a layer lie in the same rows.
        let portion = if of == 0 { rows.next / layer.columns.first.len().div_ceil(OUTPUTS) } else { 0 };
        Source { rows, taps, next, portion, lanes: PhantomData }
    }

    /// How many rows, and how many pieces a group takes: 0 where that is not all.
    #[inline(always)]
    fn kind(&self) -> (usize, usize) {
        (self.rows.weights.len(), if let [taps] = self.taps { taps.depth } else { 0 })
    }

    #[inline(always)]
    fn one<const ROWS: usize, const DEPTH: usize>(&mut self, group: usize) -> [i32; OUTPUTS] {
        self.fetch();
        let mut numbers = [0; OUTPUTS];
        for taps in self.taps::<DEPTH>() {
            // SAFETY: the processor has the set, as required by `new`.
            let mut sums = unsafe { L::nothing() };
            for piece in taps.pieces::<DEPTH>(group) {
                let shape = taps.shape(piece);
                for k in 0..self.count::<ROWS>() {
                    // SAFETY: as above; and `k` is one of the rows.
                    unsafe {
                        sums = L::add(sums, self.pairs(k, piece, shape), *self.rows.weights.get_unchecked(k))
                    }
                }
            }
            // SAFETY: as above.
            numbers = finer(numbers, unsafe { L::numbers(sums) });
        }
        numbers
    }

    #[inline(always)]
    fn two<const ROWS: usize, const DEPTH: usize>(&mut self, group: usize) -> [[i32; OUTPUTS]; 2] {
        self.fetch();
        let mut numbers = [[0; OUTPUTS]; 2];
        for taps in self.taps::<DEPTH>() {
            // SAFETY: the processor has the set, as required by `new`.
            let mut sums = unsafe { [L::nothing(); 2] };
            for piece in taps.pieces::<DEPTH>(group) {
                let (shape, count) = (taps.shape(piece), self.count::<ROWS>());
                for k in (0..count).step_by(2) {
                    // SAFETY: as above; and `k` is one of the rows, as is `second`.
                    unsafe {
                        let weight = |k: usize| *self.rows.weights.get_unchecked(k);
                        let second = if k + 1 < count { k + 1 } else { k };
                        let weights = [weight(k), if second > k { weight(second) } else { 0 }];
                        let rows = [k, second].map(|k| self.pairs(k, piece, shape));
                        sums = L::add_two(sums, rows, weights);
                    }
                }
            }
            for (numbers, sums) in numbers.iter_mut().zip(sums) {
                // SAFETY: as above.
                *numbers = finer(*numbers, unsafe { L::numbers(sums) });
            }
        }
        numbers
    }

    /// # Safety
    /// `k` is one of the rows.
    #[inline(always)]
    unsafe fn pairs(&self, k: usize, piece: &Piece, shape: &Shape) -> L::Pairs {
        let [left, right] = piece.offsets.map(|offset| offset as usize);
        // SAFETY: the processor has the set, as required by `new`, which has seen, too, that each row has the bytes up to
        // `reach`, where all loads end.
        unsafe {
            let row = self.rows.bytes.as_ptr().add(k * self.rows.stride);
            let bytes = if piece.is_joined() {
                L::load::<true>(row.add(left), row.add(right))
            } else {
                L::load::<false>(row.add(left), row.add(right))
            };
            L::pairs(bytes, shape)
        }
    }

    #[inline(always)]
    fn taps<const DEPTH: usize>(&self) -> &'a [Taps] {
        if DEPTH > 0 { &self.taps[..1] } else { self.taps }
    }

    #[inline(always)]
    fn count<const ROWS: usize>(&self) -> usize {
        if ROWS > 0 { ROWS } else { self.rows.weights.len() }
    }

    #[inline(always)]
    fn fetch(&mut self) {
        for line in (0..self.portion).step_by(64) {
            L::fetch(self.next.wrapping_add(line));
        }
        self.next = self.next.wrapping_add(self.portion);
    }
}

/// Sums of finer weights: those so far are the upper bits.
#[inline(always)]
fn finer(upper: [i32; OUTPUTS], lower: [i32; OUTPUTS]) -> [i32; OUTPUTS] {
    std::array::from_fn(|i| (upper[i] << FINE_BITS) + lower[i])
}
