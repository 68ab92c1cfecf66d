//! A row of the tensor in one go, eight pixels at a time: the sums of all three components stay in registers until they
//! are colours, so nothing but the frame and the tensor goes through the caches. What a register can do, each set of
//! instructions says for itself ([`Lanes`]).
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use super::Layer;
use super::color::Converter;
use super::kernels::{Loops, Rows, Scratch};
use super::taps::{LANE, OUTPUTS, Piece, Shape, Steady, Taps};
use crate::picture::View;

/// Two lanes of [`LANE`] bytes each, and what is made of them. Who calls any of these functions has asked whether the
/// processor has the set.
pub(super) trait Lanes: Sized {
    /// What two loads bring.
    type Bytes: Copy;
    /// Sums of two neighbours among them, 16 bits each.
    type Pairs: Copy;
    /// Sums for [`OUTPUTS`] pixels, 32 bits each.
    type Sums: Copy;
    /// Colours of [`OUTPUTS`] pixels.
    type Floats: Copy;

    /// # Safety
    /// The processor has the set.
    unsafe fn nothing() -> Self::Sums;

    /// # Safety
    /// The processor has the set, and each pointer [`LANE`] bytes. If `JOINED`, `right` follows `left`.
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

    /// With finer weights: what was there as the upper bits.
    ///
    /// # Safety
    /// The processor has the set.
    unsafe fn finer(upper: Self::Sums, lower: Self::Sums) -> Self::Sums;

    /// # Safety
    /// The processor has the set.
    unsafe fn floats(sums: Self::Sums) -> Self::Floats;

    /// # Safety
    /// The processor has the set.
    unsafe fn times(a: Self::Floats, factor: f32) -> Self::Floats;

    /// # Safety
    /// The processor has the set.
    unsafe fn plus(a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// # Safety
    /// The processor has the set.
    unsafe fn all(number: f32) -> Self::Floats;

    /// Not below the first, nor above the second. None of them is NaN.
    ///
    /// # Safety
    /// The processor has the set.
    unsafe fn limited(a: Self::Floats, limits: [f32; 2]) -> Self::Floats;

    /// # Safety
    /// The processor has the set.
    unsafe fn numbers(a: Self::Floats) -> [f32; OUTPUTS];

    /// [`Sums::row`], in a function of its own that may use the set.
    ///
    /// # Safety
    /// The processor has the set.
    unsafe fn row_of<'a, S: Sums<'a, Self>>(
        sources: [&Source<'a, Self>; 3],
        convert: &Converter,
        to: [&mut [f32]; 3],
    );

    /// Asks for the line of the cache around this address, which need not be one of ours.
    fn fetch(at: *const u8);
}

impl<L: Lanes + 'static> Loops for L {
    /// One for each component; the second is for both of chroma where they lie side by side, and the third for nothing.
    type Picture<'a> = [Source<'a, L>; 3];

    fn picture<'a>(layers: &'a [Layer], view: &'a View<'a>) -> [Source<'a, L>; 3] {
        match layers {
            [all] => [0, 1, 2].map(|of| Source::new(all, view, of)),
            [luma, chroma] => [luma, chroma, chroma].map(|layer| Source::new(layer, view, 0)),
            _ => [0, 1, 2].map(|layer: usize| Source::new(&layers[layer], view, 0)),
        }
    }

    unsafe fn row<'a>(
        sources: &mut [Source<'a, L>; 3],
        y: usize,
        _: &mut Scratch,
        convert: &Converter,
        to: [&mut [f32]; 3],
    ) {
        let [a, b, c] = sources;
        let (pair, rgb) = (b.layer.side_by_side == 2, a.layer.components.len() == 3);
        a.go_to(y);
        b.go_to(y);
        if !pair {
            c.go_to(y);
        }
        let fill: Fill<'a, L> = match (a.kind(), b.kind(), c.kind()) {
            ((1, 1), (1, 1), _) if pair => L::row_of::<Pair<L, 1, 1, 1, 1>>,
            ((1, 1), (2, 1), _) if pair => L::row_of::<Pair<L, 1, 1, 2, 1>>,
            ((2, 1), (1, 1), _) if pair => L::row_of::<Pair<L, 2, 1, 1, 1>>,
            ((2, 1), (2, 1), _) if pair => L::row_of::<Pair<L, 2, 1, 2, 1>>,
            ((3, 1), (2, 1), _) if pair => L::row_of::<Pair<L, 3, 1, 2, 1>>,
            ((6, 3), (3, 3), _) if pair => L::row_of::<Pair<L, 6, 3, 3, 3>>,
            ((3, 2), (3, 2), _) if pair => L::row_of::<Pair<L, 3, 2, 3, 2>>,
            _ if pair => L::row_of::<Pair<L, 0, 0, 0, 0>>,
            ((3, 2), (3, 2), (3, 2)) if rgb => L::row_of::<Three<L, 3, 2, 3, 2, true>>,
            _ if rgb => L::row_of::<Three<L, 0, 0, 0, 0, true>>,
            ((2, 1), (1, 1), (1, 1)) => L::row_of::<Three<L, 2, 1, 1, 1, false>>,
            ((3, 1), (2, 1), (2, 1)) => L::row_of::<Three<L, 3, 1, 2, 1, false>>,
            _ => L::row_of::<Three<L, 0, 0, 0, 0, false>>,
        };
        // SAFETY: the processor has the set, as required of the caller.
        unsafe { fill([a, b, c], convert, to) };
    }
}

/// [`Lanes::row_of`], of some kind of [`Sums`].
type Fill<'a, L> = unsafe fn([&Source<'a, L>; 3], &Converter, [&mut [f32]; 3]);

/// Where the sums for a row of the tensor come from.
pub(super) trait Sums<'a, L: Lanes>: Sized {
    /// Whether the components are red, green and blue.
    const RGB: bool;

    /// Of all sources those that there are; copied, so that no store into the tensor could change what is known of them.
    fn of(sources: [&Source<'a, L>; 3]) -> Self;

    /// The groups whose pieces are alike.
    fn steady(&self) -> Range<usize>;

    /// Of the three components, for eight pixels: the `group`-th eight of the row, which is one of [`Sums::steady`] if
    /// `STEADY`.
    fn sums<const STEADY: bool>(&self, group: usize) -> [L::Sums; 3];

    /// How many of those there are.
    fn groups(&self) -> usize;

    #[inline(always)]
    fn row(self, convert: &Converter, to: [&mut [f32]; 3]) {
        // A copy, which no store into a row can change.
        let convert = *convert;
        let [red, green, blue] = convert.ordered(to);
        assert!(red.len().div_ceil(OUTPUTS) <= self.groups());
        let ((red, red_rest), (green, green_rest)) = (red.as_chunks_mut(), green.as_chunks_mut());
        let (blue, blue_rest) = blue.as_chunks_mut();
        let whole = red.len().min(green.len()).min(blue.len());
        let steady = self.steady();
        let steady = steady.start.min(whole)..steady.end.min(whole);
        self.fill::<false>(0..steady.start, &convert, [red, green, blue]);
        self.fill::<true>(steady.clone(), &convert, [red, green, blue]);
        self.fill::<false>(steady.end..whole, &convert, [red, green, blue]);
        if !red_rest.is_empty() {
            let [red, green, blue] = colors::<L>(&convert, self.sums::<false>(whole), Self::RGB);
            red_rest.copy_from_slice(&red[..red_rest.len()]);
            green_rest.copy_from_slice(&green[..green_rest.len()]);
            blue_rest.copy_from_slice(&blue[..blue_rest.len()]);
        }
    }

    #[inline(always)]
    fn fill<const STEADY: bool>(
        &self,
        groups: Range<usize>,
        convert: &Converter,
        [red, green, blue]: [&mut [[f32; OUTPUTS]]; 3],
    ) {
        let (red, green, blue) =
            (&mut red[groups.clone()], &mut green[groups.clone()], &mut blue[groups.clone()]);
        for (group, ((red, green), blue)) in groups.zip(red.iter_mut().zip(green).zip(blue)) {
            [*red, *green, *blue] = colors::<L>(convert, self.sums::<STEADY>(group), Self::RGB);
        }
    }
}

/// Luma, and a layer of two components side by side; of how many rows and pieces each, or any where that is 0.
struct Pair<'a, L, const ROWS: usize, const DEPTH: usize, const ROWS_2: usize, const DEPTH_2: usize> {
    luma: Source<'a, L>,
    chroma: Source<'a, L>,
}

impl<'a, L: Lanes, const ROWS: usize, const DEPTH: usize, const ROWS_2: usize, const DEPTH_2: usize>
    Sums<'a, L> for Pair<'a, L, ROWS, DEPTH, ROWS_2, DEPTH_2>
{
    const RGB: bool = false;

    #[inline(always)]
    fn of([luma, chroma, _]: [&Source<'a, L>; 3]) -> Self {
        Pair { luma: *luma, chroma: *chroma }
    }

    #[inline(always)]
    fn sums<const STEADY: bool>(&self, group: usize) -> [L::Sums; 3] {
        let y = self.luma.one::<ROWS, DEPTH, STEADY>(group);
        let [cb, cr] = self.chroma.two::<ROWS_2, DEPTH_2, STEADY>(group);
        [y, cb, cr]
    }

    #[inline(always)]
    fn steady(&self) -> Range<usize> {
        if DEPTH == 1 && DEPTH_2 == 1 { common([&self.luma, &self.chroma]) } else { 0..0 }
    }

    #[inline(always)]
    fn groups(&self) -> usize {
        self.luma.groups.min(self.chroma.groups)
    }
}

/// Three components, each for itself: the first, and the others.
struct Three<
    'a,
    L,
    const ROWS: usize,
    const DEPTH: usize,
    const ROWS_2: usize,
    const DEPTH_2: usize,
    const RGB: bool,
> {
    a: Source<'a, L>,
    b: Source<'a, L>,
    c: Source<'a, L>,
}

impl<
    'a,
    L: Lanes,
    const ROWS: usize,
    const DEPTH: usize,
    const ROWS_2: usize,
    const DEPTH_2: usize,
    const RGB: bool,
> Sums<'a, L> for Three<'a, L, ROWS, DEPTH, ROWS_2, DEPTH_2, RGB>
{
    const RGB: bool = RGB;

    #[inline(always)]
    fn of([a, b, c]: [&Source<'a, L>; 3]) -> Self {
        // Red, green and blue lie in the same rows: said once more, so that these stay in fewer registers.
        let beside = |other: &Source<'a, L>| match RGB {
            true => Source { rows: a.rows, weights: a.weights, ..*other },
            false => *other,
        };
        Three { a: *a, b: beside(b), c: beside(c) }
    }

    #[inline(always)]
    fn sums<const STEADY: bool>(&self, group: usize) -> [L::Sums; 3] {
        let a = self.a.one::<ROWS, DEPTH, STEADY>(group);
        [a, self.b.one::<ROWS_2, DEPTH_2, STEADY>(group), self.c.one::<ROWS_2, DEPTH_2, STEADY>(group)]
    }

    #[inline(always)]
    fn steady(&self) -> Range<usize> {
        if DEPTH == 1 && DEPTH_2 == 1 { common([&self.a, &self.b, &self.c]) } else { 0..0 }
    }

    #[inline(always)]
    fn groups(&self) -> usize {
        self.a.groups.min(self.b.groups).min(self.c.groups)
    }
}

/// The rows under a row of the tensor, and what is made of them for one component, or for two side by side.
pub(super) struct Source<'a, L> {
    layer: &'a Layer,
    view: &'a View<'a>,
    taps: &'a [Taps],
    /// How long each row must be.
    reach: usize,
    /// How many of [`OUTPUTS`] outputs there are.
    groups: usize,
    steady: Steady,
    /// Where the steady groups' loads would start in group 0.
    steady_at: usize,
    /// Whether it has the rows to itself, or is the first of those that read them.
    leads: bool,
    rows: Rows<'a>,
    /// The weights of the first rows.
    weights: [u16; FEW],
    /// What the next row of the tensor needs: fetched in even portions while this one is made.
    next: *const u8,
    portion: usize,
    lanes: PhantomData<L>,
}

// Without asking the same of `L`.
impl<L> Clone for Source<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Source<'_, L> {}

/// At least as many rows as any loop is written out for.
const FEW: usize = 6;
/// Bytes in a line of the cache.
const LINE: usize = 64;

impl<'a, L: Lanes> Source<'a, L> {
    /// Of the first row.
    fn new(layer: &'a Layer, view: &'a View<'a>, of: usize) -> Source<'a, L> {
        let taps = &layer.taps[of][..];
        let reach = taps.iter().map(Taps::reach).max().unwrap_or(0);
        let groups = taps.iter().map(Taps::groups).min().unwrap_or(0);
        let steady = if let [taps] = taps { taps.steady } else { Steady::NONE };
        let steady_at = steady.offset.wrapping_sub(steady.first * steady.step);
        let rows = layer.rows(view, 0);
        Source {
            layer,
            view,
            taps,
            reach,
            groups,
            steady,
            steady_at,
            leads: of == 0,
            rows,
            weights: [0; FEW],
            next: rows.bytes.as_ptr(),
            portion: 0,
            lanes: PhantomData,
        }
    }

    /// To the rows under row `y` of the stored content. Panics when they are shorter than the layer says.
    #[inline]
    fn go_to(&mut self, y: usize) {
        let rows = self.layer.rows(self.view, y);
        let last = (rows.weights.len().max(1) - 1) * rows.stride;
        assert!(rows.bytes.len() >= last + self.reach);
        self.next = rows.bytes.as_ptr().wrapping_add(rows.weights.len() * rows.stride);
        // The others of a layer lie in the same rows.
        self.portion = if self.leads { rows.next / self.groups.max(1) } else { 0 };
        self.weights = std::array::from_fn(|k| rows.weights.get(k).copied().unwrap_or(0));
        self.rows = rows;
    }

    /// How many rows, and how many pieces a group takes: 0 where that is not all.
    fn kind(&self) -> (usize, usize) {
        (self.rows.weights.len(), if let [taps] = self.taps { taps.depth } else { 0 })
    }

    #[inline(always)]
    fn one<const ROWS: usize, const DEPTH: usize, const STEADY: bool>(&self, group: usize) -> L::Sums {
        self.fetch::<ROWS, DEPTH>(group);
        // SAFETY, of every block here: the processor has the set, as is required of whoever makes a row; and `Sums::row`
        // asks for no more groups than there are.
        let mut all = unsafe { L::nothing() };
        if STEADY {
            return unsafe { self.add::<ROWS>(all, Loads::Steady(group)) };
        }
        for taps in self.taps::<DEPTH>() {
            let mut sums = unsafe { L::nothing() };
            for piece in unsafe { self.pieces::<DEPTH>(taps, group) } {
                sums = unsafe { self.add::<ROWS>(sums, Loads::Piece(taps, piece)) };
            }
            all = if DEPTH > 0 { sums } else { unsafe { L::finer(all, sums) } };
        }
        all
    }

    #[inline(always)]
    fn two<const ROWS: usize, const DEPTH: usize, const STEADY: bool>(&self, group: usize) -> [L::Sums; 2] {
        self.fetch::<ROWS, DEPTH>(group);
        // SAFETY, of every block here: as above.
        let mut all = unsafe { [L::nothing(); 2] };
        if STEADY {
            return unsafe { self.add_two::<ROWS>(all, Loads::Steady(group)) };
        }
        for taps in self.taps::<DEPTH>() {
            let mut sums = unsafe { [L::nothing(); 2] };
            for piece in unsafe { self.pieces::<DEPTH>(taps, group) } {
                sums = unsafe { self.add_two::<ROWS>(sums, Loads::Piece(taps, piece)) };
            }
            all = if DEPTH > 0 {
                sums
            } else {
                unsafe { [L::finer(all[0], sums[0]), L::finer(all[1], sums[1])] }
            };
        }
        all
    }

    /// Adds all rows of one component.
    ///
    /// # Safety
    /// The processor has the set, and `from` is of this source.
    #[inline(always)]
    unsafe fn add<const ROWS: usize>(&self, mut sums: L::Sums, from: Loads<'_>) -> L::Sums {
        for k in 0..self.count::<ROWS>() {
            // SAFETY: as required of the caller; and `k` is one of the rows.
            sums = unsafe { L::add(sums, self.pairs(k, from), self.weight::<ROWS>(k)) };
        }
        sums
    }

    /// Adds all rows of two components side by side.
    ///
    /// # Safety
    /// The processor has the set, and `from` is of this source.
    #[inline(always)]
    unsafe fn add_two<const ROWS: usize>(&self, mut sums: [L::Sums; 2], from: Loads<'_>) -> [L::Sums; 2] {
        let count = self.count::<ROWS>();
        for k in (0..count).step_by(2) {
            let second = if k + 1 < count { k + 1 } else { k };
            // SAFETY: as required of the caller; and `k` is one of the rows, as is `second`.
            unsafe {
                let weight = if second > k { self.weight::<ROWS>(second) } else { 0 };
                let rows = [self.pairs(k, from), self.pairs(second, from)];
                sums = L::add_two(sums, rows, [self.weight::<ROWS>(k), weight]);
            }
        }
        sums
    }

    /// # Safety
    /// The processor has the set, `k` is one of the rows, and `from` of this source.
    #[inline(always)]
    unsafe fn pairs(&self, k: usize, from: Loads<'_>) -> L::Pairs {
        // SAFETY: as required of the caller; and `go_to` has seen that each row has the bytes up to `reach`, where all loads
        // end.
        unsafe {
            let row = self.rows.bytes.as_ptr().add(k * self.rows.stride);
            match from {
                Loads::Steady(group) => {
                    let at = row.wrapping_add(self.steady_at).wrapping_add(group * self.steady.step);
                    L::pairs(L::load::<true>(at, at.wrapping_add(LANE)), &self.steady.shape)
                }
                Loads::Piece(taps, piece) => {
                    let [left, right] = piece.offsets.map(|offset| row.add(offset as usize));
                    let bytes = if piece.is_joined() {
                        L::load::<true>(left, right)
                    } else {
                        L::load::<false>(left, right)
                    };
                    L::pairs(bytes, taps.shape(piece))
                }
            }
        }
    }

    /// # Safety
    /// `k` is one of the rows.
    #[inline(always)]
    unsafe fn weight<const ROWS: usize>(&self, k: usize) -> u16 {
        // SAFETY: as required of the caller.
        if ROWS > 0 { self.weights[k] } else { unsafe { *self.rows.weights.get_unchecked(k) } }
    }

    #[inline(always)]
    fn taps<const DEPTH: usize>(&self) -> &'a [Taps] {
        if DEPTH > 0 { &self.taps[..1] } else { self.taps }
    }

    /// # Safety
    /// There is such a group.
    #[inline(always)]
    unsafe fn pieces<const DEPTH: usize>(&self, taps: &'a Taps, group: usize) -> &'a [Piece] {
        debug_assert!(group < self.groups);
        // SAFETY: as required of the caller.
        unsafe { taps.pieces::<DEPTH>(group) }
    }

    #[inline(always)]
    fn count<const ROWS: usize>(&self) -> usize {
        if ROWS > 0 { ROWS } else { self.rows.weights.len() }
    }

    #[inline(always)]
    fn fetch<const ROWS: usize, const DEPTH: usize>(&self, group: usize) {
        let next = self.next.wrapping_add(group * self.portion);
        // Written out, no more than this group loads itself.
        let lines =
            if ROWS > 0 { (ROWS * DEPTH * 2 * LANE).div_ceil(LINE) } else { self.portion.div_ceil(LINE) };
        for line in 0..lines {
            L::fetch(next.wrapping_add(line * LINE));
        }
    }
}

/// What a source loads of each row for a group.
#[derive(Clone, Copy)]
enum Loads<'a> {
    /// A steady group, by its number.
    Steady(usize),
    Piece(&'a Taps, &'a Piece),
}

/// Groups that are steady in all.
fn common<L, const N: usize>(sources: [&Source<'_, L>; N]) -> Range<usize> {
    let start = sources.iter().map(|source| source.steady.first).max().unwrap_or(0);
    let end = sources.iter().map(|source| source.steady.end).min().unwrap_or(0);
    start..end.max(start)
}

/// What [`Converter::colors`] does, in the same order.
#[inline(always)]
fn colors<L: Lanes>(convert: &Converter, sums: [L::Sums; 3], rgb: bool) -> [[f32; OUTPUTS]; 3] {
    let Converter { factors: [r, g, bl], added, limits, .. } = *convert;
    // SAFETY: only where the processor has the set.
    unsafe {
        let (a, b, c) = (L::floats(sums[0]), L::floats(sums[1]), L::floats(sums[2]));
        let mut colors = [L::times(a, r[0]), L::times(b, g[1]), L::times(c, bl[2])];
        if !rgb {
            let green = L::plus(L::times(a, g[0]), L::times(b, g[1]));
            colors = [
                L::plus(L::times(a, r[0]), L::times(c, r[2])),
                L::plus(green, L::times(c, g[2])),
                L::plus(L::times(a, bl[0]), L::times(b, bl[1])),
            ];
        }
        let mut all = [[0.0; OUTPUTS]; 3];
        for i in 0..3 {
            let color = L::plus(colors[i], L::all(added[i]));
            all[i] = L::numbers(if rgb { color } else { L::limited(color, limits[i]) });
        }
        all
    }
}
