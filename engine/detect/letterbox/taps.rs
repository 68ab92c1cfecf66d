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
    /// Index into [`Taps::shapes`].
    pub shape: u32,
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
        let lanes: Vec<_> = (0..axis.first.len().next_multiple_of(OUTPUTS))
            .step_by(OUTPUTS / 2)
            .map(|output| {
                let outputs = output..output + OUTPUTS / 2;
                let slots = firsts.iter().flat_map(|f| outputs.clone().map(|o| samples(o, *f)));
                loads(slots.collect(), row_bytes)
            })
            .collect();
        let depth = lanes.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let (mut pieces, mut shapes) = (Vec::new(), Vec::new());
        for two in lanes.as_chunks::<2>().0 {
            for k in 0..depth {
                let loads = two.each_ref().map(|lane| lane.get(k).copied().unwrap_or(Load::NOTHING));
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
        let reach = lanes.iter().flatten().map(|load| load.offset + LANE).max().unwrap_or(0).max(LANE);
        Taps { depth, pieces, shapes, reach }
    }

    /// All pieces, [`Taps::depth`] for each group. Each one's shape is an index into [`Taps::shapes`], and each of its
    /// loads ends at [`Taps::reach`] or before.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
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
}

/// The loads that bring every slot its samples (a byte of the row and its weight each), from the left to the right.
fn loads(mut slots: Vec<Vec<(usize, u8)>>, row_bytes: usize) -> Vec<Load> {
    let room = LANE / slots.len();
    let mut loads = Vec::new();
    while let Some(next) = slots.iter().flatten().map(|(at, _)| *at).min() {
        let mut load = Load { offset: next.min(row_bytes - LANE), ..Load::NOTHING };
        for (slot, samples) in slots.iter_mut().enumerate() {
            let here = samples.iter().take(room).take_while(|(at, _)| *at < load.offset + LANE).count();
            for (i, (at, weight)) in samples.drain(..here).enumerate() {
                load.shuffle[slot * room + i] = (at - load.offset) as u8;
                load.weights[slot * room + i] = weight;
            }
        }
        loads.push(load);
    }
    loads
}
