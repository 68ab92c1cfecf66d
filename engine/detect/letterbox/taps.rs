//! An axis along the rows laid out for registers: which bytes of a row are loaded, where a shuffle puts them, and what
//! they are multiplied by.

use super::axis::{Axis, FINE_BITS};

/// Bytes that one load takes.
pub(super) const LANE: usize = 16;
/// Outputs that the kernels make at once: four from each of two loads.
pub(super) const OUTPUTS: usize = 8;

/// What two loads contribute to [`OUTPUTS`] outputs. Most outputs need one such piece; those with many samples, or with
/// samples far from each other, more.
pub(super) struct Piece {
    /// Where in the row each load starts.
    pub offsets: [u32; 2],
    /// Index into the shapes.
    shape: u32,
}

impl Piece {
    /// Whether the second load starts where the first ends.
    #[inline(always)]
    pub fn is_joined(&self) -> bool {
        self.offsets[0] + LANE as u32 == self.offsets[1]
    }
}

/// Where the loaded bytes go, and their weights.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// For each byte of the result which byte of the load, or 128 for none.
    pub shuffle: [[u8; LANE]; 2],
    /// At most 127, and no two neighbours more than 128.
    pub weights: [[u8; LANE]; 2],
}

/// For one component, an output has four bytes of each load: the samples under it. For two that lie side by side in a
/// plane, such as CbCr, it has two bytes in the first half for the one and two in the second half for the other.
pub(super) struct Taps {
    /// Pieces of each group of [`OUTPUTS`] outputs.
    pub depth: usize,
    pieces: Vec<Piece>,
    shapes: Vec<Shape>,
    /// How long a row must be: no load reaches beyond.
    reach: usize,
    /// Most groups, where all are alike.
    pub steady: Steady,
}

/// Groups of one joined piece of the same shape, each as far from the last: nothing about them has to be looked up.
#[derive(Clone, Copy)]
pub(super) struct Steady {
    /// The first, and the one after the last.
    pub first: usize,
    pub end: usize,
    pub shape: Shape,
    /// Where the first one's load starts, and how far it is from each to the next.
    pub offset: usize,
    pub step: usize,
}

impl Steady {
    pub const NONE: Steady = Steady {
        first: 0,
        end: 0,
        shape: Shape { shuffle: [[128; LANE]; 2], weights: [[0; LANE]; 2] },
        offset: 0,
        step: 0,
    };

    /// The first such groups among the pieces, of which each group has one.
    fn new(pieces: &[Piece], shapes: &[Shape]) -> Steady {
        let (alike, far) = (
            |a: &Piece, b: &Piece| a.is_joined() && b.is_joined() && a.shape == b.shape,
            |a: &Piece, b: &Piece| b.offsets[0].wrapping_sub(a.offsets[0]),
        );
        let Some(start) = pieces.windows(2).position(|two| alike(&two[0], &two[1])) else {
            return Steady::NONE;
        };
        let step = far(&pieces[start], &pieces[start + 1]);
        let same = pieces[start..]
            .windows(2)
            .take_while(|two| alike(&two[0], &two[1]) && far(&two[0], &two[1]) == step);
        Steady {
            first: start,
            end: start + same.count() + 1,
            shape: shapes[pieces[start].shape as usize],
            offset: pieces[start].offsets[0] as usize,
            step: step as usize,
        }
    }
}

impl Taps {
    /// For components that lie at `firsts` (one or two) in every `step` bytes of rows of `row_bytes`, whose samples are
    /// counted from `axis`. Several, to be summed up from the first on, each time with [`FINE_BITS`] in between, where a
    /// weight does not fit a byte. None when a row is shorter than a load.
    pub fn new(axis: &Axis, firsts: &[usize], step: usize, row_bytes: usize) -> Option<Vec<Taps>> {
        if row_bytes < LANE {
            return None;
        }
        let mask = (1 << FINE_BITS) - 1;
        let of = |part: &dyn Fn(u16) -> u16| Taps::of_bytes(axis, firsts, step, row_bytes, part);
        if axis.is_fine() {
            return Some(vec![of(&|w| w >> FINE_BITS), of(&|w| w & mask)]);
        }
        Some(vec![of(&|w| w)])
    }

    fn of_bytes(
        axis: &Axis,
        firsts: &[usize],
        step: usize,
        row_bytes: usize,
        part: &dyn Fn(u16) -> u16,
    ) -> Taps {
        let samples = |output: usize, first: usize| -> Vec<(usize, u8)> {
            if output >= axis.first.len() {
                return Vec::new();
            }
            let (start, weights) = axis.under(output);
            let at = (start as usize..).map(|sample| sample * step + first);
            let weights = weights.iter().map(|w| u8::try_from(part(*w)).unwrap_or(u8::MAX));
            at.zip(weights).filter(|(_, w)| *w > 0).collect()
        };
        let slots = |output: usize| -> Vec<_> {
            let outputs = output..output + OUTPUTS / 2;
            firsts.iter().flat_map(|f| outputs.clone().map(|o| samples(o, *f))).collect()
        };
        let groups: Vec<_> = (0..axis.first.len())
            .step_by(OUTPUTS)
            .map(|output| loads([slots(output), slots(output + OUTPUTS / 2)], row_bytes))
            .collect();
        let depth = groups.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let (mut pieces, mut shapes) = (Vec::new(), Vec::new());
        for group in &groups {
            for k in 0..depth {
                let loads = group.get(k).copied().unwrap_or([Load::NOTHING; 2]);
                let shape = Shape {
                    shuffle: loads.map(|load| load.shuffle),
                    weights: loads.map(|load| load.weights),
                };
                // Few differ: the ratio of a frame to a tensor repeats after a few outputs.
                let known = shapes.iter().rposition(|known| *known == shape).unwrap_or(shapes.len());
                if known == shapes.len() {
                    shapes.push(shape);
                }
                pieces.push(Piece { offsets: loads.map(|load| load.offset as u32), shape: known as u32 });
            }
        }
        let ends = groups.iter().flatten().flatten().map(|load| load.offset + LANE);
        let reach = ends.max().unwrap_or(LANE);
        let steady = if depth == 1 { Steady::new(&pieces, &shapes) } else { Steady::NONE };
        Taps { depth, pieces, shapes, reach, steady }
    }

    /// How many times [`OUTPUTS`] outputs there are.
    pub fn groups(&self) -> usize {
        self.pieces.len() / self.depth
    }

    /// Those of a group: `DEPTH`, which there have to be, or as many as there are where that is 0. Each of their loads ends
    /// at [`Taps::reach`] or before.
    ///
    /// # Safety
    /// There is such a group.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub unsafe fn pieces<const DEPTH: usize>(&self, group: usize) -> &[Piece] {
        let depth = if DEPTH > 0 { DEPTH } else { self.depth };
        // SAFETY: every group has as many.
        unsafe { self.pieces.get_unchecked(group * depth..(group + 1) * depth) }
    }

    /// The shape of one of these pieces.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub fn shape(&self, piece: &Piece) -> &Shape {
        debug_assert!((piece.shape as usize) < self.shapes.len());
        // SAFETY: no piece is made without its shape.
        unsafe { self.shapes.get_unchecked(piece.shape as usize) }
    }

    pub fn reach(&self) -> usize {
        self.reach
    }
}

#[derive(Clone, Copy)]
struct Load {
    offset: usize,
    shuffle: [u8; LANE],
    weights: [u8; LANE],
}

impl Load {
    const NOTHING: Load = Load { offset: 0, shuffle: [128; LANE], weights: [0; LANE] };

    /// Takes what lies there out of the slots, as much of it as has room.
    fn at(offset: usize, slots: &mut Slots) -> Load {
        let mut load = Load { offset, ..Load::NOTHING };
        let room = LANE / slots.len();
        for (slot, samples) in slots.iter_mut().enumerate() {
            let here = samples.iter().take(room).take_while(|(at, _)| *at < offset + LANE).count();
            for (i, (at, weight)) in samples.drain(..here).enumerate() {
                load.shuffle[slot * room + i] = (at - offset) as u8;
                load.weights[slot * room + i] = weight;
            }
        }
        load
    }
}

/// The samples of each output of a lane: a byte of the row and its weight each, from the left to the right.
type Slots = Vec<Vec<(usize, u8)>>;

/// The loads that bring every slot of two lanes its samples: joined where that takes no more of them.
fn loads(slots: [Slots; 2], row_bytes: usize) -> Vec<[Load; 2]> {
    let apart = slots.clone().map(|slots| {
        let mut slots = slots;
        let mut loads = Vec::new();
        while let Some(next) = first(&slots) {
            loads.push(Load::at(next.min(row_bytes - LANE), &mut slots));
        }
        loads
    });
    let depth = apart[0].len().max(apart[1].len());
    if let Some(joined) = joined(slots, row_bytes)
        && joined.len() <= depth
    {
        return joined;
    }
    (0..depth).map(|k| apart.each_ref().map(|loads| loads.get(k).copied().unwrap_or(Load::NOTHING))).collect()
}

/// The same with the right lane's load always just after the left one's; `None` if it reaches beyond the row or needs
/// what lies on the other side.
fn joined([mut left, mut right]: [Slots; 2], row_bytes: usize) -> Option<Vec<[Load; 2]>> {
    let mut loads = Vec::new();
    loop {
        let offset = match (first(&left), first(&right)) {
            (Some(left), Some(right)) => left.min(right.checked_sub(LANE)?),
            (Some(left), None) => left,
            (None, Some(right)) => right.checked_sub(LANE)?,
            (None, None) => return Some(loads),
        };
        if offset + 2 * LANE > row_bytes || first(&right).is_some_and(|right| right < offset + LANE) {
            return None;
        }
        loads.push([Load::at(offset, &mut left), Load::at(offset + LANE, &mut right)]);
    }
}

/// The first byte that is still wanted.
fn first(slots: &Slots) -> Option<usize> {
    slots.iter().flatten().map(|(at, _)| *at).min()
}
