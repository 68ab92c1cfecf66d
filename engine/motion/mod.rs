//! What changed since a detector last looked at it. Such blocks are covered until they have been examined.
//!
//! A block is always compared with what it showed *when it was examined*, never with the frame before: however slowly
//! somebody comes in, the difference adds up.

mod signature;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use crate::geometry::PixelRect;
use crate::picture::{FrameFormat, View};
use crate::redact::kernels;
use crate::time::Timestamp;
use signature::BLOCK;
pub(crate) use signature::{Grid, Signature};

/// An unchanged block counts as examined for no longer than this, so that a miss of the detector is not for ever.
const STALE: Duration = Duration::from_secs(2);

/// The signatures of the frames in the line, and what each block showed when it was last examined.
pub(crate) struct Motion {
    grid: Grid,
    /// In the order of time: a frame in the line or on loan, each with what was examined of it.
    frames: VecDeque<Seen>,
    /// What each block showed when it was last examined, as of the frame that left last.
    examined: Signature,
    /// When that was.
    since: Vec<Option<Timestamp>>,
    /// Signatures to be used again, scrubbed.
    stock: Vec<Signature>,
    /// Marks of one frame's blocks, and of a row on the way there.
    marks: Vec<bool>,
    row: Vec<bool>,
    lent: Vec<bool>,
    covered: Vec<PixelRect>,
}

struct Seen {
    at: Timestamp,
    signature: Signature,
    /// The blocks (x0, y0, x1, y1) that a detector examined in it.
    part: Option<[usize; 4]>,
}

/// Which blocks of a frame on loan changed since they were last examined. Raw-derived, and lent like the pixels.
#[derive(Default)]
pub(crate) struct Moved {
    cols: usize,
    blocks: Vec<bool>,
}

impl Motion {
    /// For frames of a pool of `count`.
    pub fn new(format: &FrameFormat, count: usize) -> Motion {
        let grid = Grid::new(format);
        Motion {
            examined: Signature::new(&grid),
            since: vec![None; grid.blocks()],
            frames: VecDeque::with_capacity(count),
            // One for each frame that there can be, so that none is made while the line is the longest it ever was.
            stock: (0..count).map(|_| Signature::new(&grid)).collect(),
            marks: Vec::new(),
            row: Vec::new(),
            lent: Vec::new(),
            // As many as there can be: no two runs of blocks touch.
            covered: Vec::with_capacity(grid.rows * grid.cols.div_ceil(2)),
            grid,
        }
    }

    /// Takes the signature of a frame that enters the line.
    pub fn push(&mut self, at: Timestamp, view: &View<'_>) {
        let mut signature = self.stock.pop().unwrap_or_else(|| Signature::new(&self.grid));
        signature.measure(view, &self.grid, kernels());
        self.frames.push_back(Seen { at, signature, part: None });
    }

    /// Notes that a part of the frame at `at` was examined (`None`: all of it).
    pub fn examined(&mut self, at: Timestamp, part: Option<PixelRect>) {
        let all = [0, 0, self.grid.cols, self.grid.rows];
        let part = part.map_or(all, |area| self.grid.within(area));
        if let Some(seen) = self.frames.iter_mut().find(|s| s.at == at) {
            seen.part = Some(part);
        }
    }

    /// What changed in the frame at `at` since it was last examined, for a detector that chooses where to look.
    pub fn moved(&mut self, at: Timestamp) -> Moved {
        let mut blocks = std::mem::take(&mut self.lent);
        blocks.clear();
        blocks.resize(self.grid.blocks(), true);
        if let Some(own) = self.frames.iter().find(|s| s.at == at) {
            for (y, row) in blocks.chunks_exact_mut(self.grid.cols).enumerate() {
                self.grid.compare(&own.signature, &self.examined, (0, y), row);
                for (x, moved) in row.iter_mut().enumerate() {
                    *moved |= self.is_stale((x, y), at);
                }
                // Of those that examined a block the newest counts.
                for seen in self.frames.iter().take_while(|s| s.at < at) {
                    let span = seen.examined_in(y);
                    self.grid.compare(&own.signature, &seen.signature, (span.start, y), &mut row[span]);
                }
            }
        }
        Moved { cols: self.grid.cols, blocks }
    }

    /// Takes the marks back when a loan ends.
    pub fn take_back(&mut self, moved: Moved) {
        self.lent = moved.blocks;
    }

    /// What must be covered in the frame at `t`: blocks that look neither as when they were last examined, nor as in the
    /// observation at `after`, grown by one block. `hidden` tells of an area whether it lies in a region whole.
    pub fn cover(
        &mut self,
        t: Timestamp,
        after: Timestamp,
        hidden: impl Fn(PixelRect) -> bool,
    ) -> Vec<PixelRect> {
        self.fold(t);
        let (cols, rows) = (self.grid.cols, self.grid.rows);
        let mut marks = std::mem::take(&mut self.marks);
        marks.clear();
        marks.resize(self.grid.blocks(), false);
        let mut row = std::mem::take(&mut self.row);
        for y in 0..rows {
            self.cover_row(t, after, y, &mut row);
            for x in (0..cols).filter(|x| row[*x]) {
                let (x0, x1) = (x.saturating_sub(1), (x + 2).min(cols));
                for y in y.saturating_sub(1)..(y + 2).min(rows) {
                    marks[y * cols + x0..y * cols + x1].fill(true);
                }
            }
        }
        self.row = row;
        let mut covered = std::mem::take(&mut self.covered);
        covered.clear();
        for y in 0..rows {
            let row = &marks[y * cols..(y + 1) * cols];
            let mut x = 0;
            while x < cols {
                let bare = |x: usize| row[x] && !hidden(self.grid.pixels((x, x + 1), y));
                let start = x;
                while x < cols && bare(x) {
                    x += 1;
                }
                if x > start {
                    join(&mut covered, self.grid.pixels((start, x), y));
                }
                x += 1;
            }
        }
        self.marks = marks;
        covered
    }

    /// The blocks of a row that look neither as when they were last examined, nor as in the observation at `after`.
    fn cover_row(&self, t: Timestamp, after: Timestamp, y: usize, row: &mut Vec<bool>) {
        row.clear();
        row.resize(2 * self.grid.cols, true);
        let (row, other) = row.split_at_mut(self.grid.cols);
        let Some(own) = self.frames.iter().find(|s| s.at == t) else { return };
        self.grid.compare(&own.signature, &self.examined, (0, y), row);
        for (x, unlike) in row.iter_mut().enumerate() {
            *unlike |= self.is_stale((x, y), t);
        }
        if let Some(next) = self.frames.iter().find(|s| s.at == after) {
            let span = next.examined_in(y);
            let other = &mut other[span.clone()];
            self.grid.compare(&own.signature, &next.signature, (span.start, y), other);
            for (unlike, other) in row[span].iter_mut().zip(other) {
                *unlike &= *other;
            }
        }
    }

    /// Takes a cover's rectangles back, to be used again.
    pub fn take_back_cover(&mut self, covered: Vec<PixelRect>) {
        self.covered = covered;
    }

    /// The frame at `t`, and all before it, have left. One that is still on loan may yet be examined.
    pub fn leave(&mut self, t: Timestamp, on_loan: Option<Timestamp>) {
        self.fold(t);
        let mut kept = 0;
        while let Some(seen) = self.frames.get(kept).filter(|s| s.at <= t) {
            if Some(seen.at) == on_loan {
                kept += 1;
            } else if let Some(mut seen) = self.frames.remove(kept) {
                seen.signature.scrub();
                self.stock.push(seen.signature);
            }
        }
    }

    /// Forgets everything that was ever examined.
    pub fn clear(&mut self) {
        self.examined.scrub();
        self.since.fill(None);
        for seen in &mut self.frames {
            seen.part = None;
        }
    }

    /// Takes over what was examined up to `t`.
    fn fold(&mut self, t: Timestamp) {
        for seen in self.frames.iter_mut().take_while(|s| s.at <= t) {
            if let Some(part) = seen.part.take() {
                self.grid.copy(&seen.signature, &mut self.examined, part);
                let [x0, y0, x1, y1] = part;
                for y in y0..y1.max(y0) {
                    if x0 < x1 {
                        let row = y * self.grid.cols;
                        self.since[row + x0..row + x1].fill(Some(seen.at));
                    }
                }
            }
        }
    }

    fn is_stale(&self, (x, y): (usize, usize), t: Timestamp) -> bool {
        self.since[y * self.grid.cols + x].is_none_or(|at| t.since(at) > STALE)
    }
}

impl Seen {
    /// The blocks of a row that a detector examined in it.
    fn examined_in(&self, y: usize) -> Range<usize> {
        match self.part {
            Some([x0, y0, x1, y1]) if (y0..y1).contains(&y) && x0 < x1 => x0..x1,
            _ => 0..0,
        }
    }
}

impl Moved {
    /// The share of the blocks that an area touches; 1 when nothing is known.
    pub fn share(&self, area: PixelRect) -> f32 {
        if self.blocks.is_empty() || area.is_empty() {
            return 1.0;
        }
        let rows = self.blocks.len() / self.cols;
        let span = |from: u32, to: u32, most: usize| {
            (from / BLOCK) as usize..(to.div_ceil(BLOCK) as usize).min(most)
        };
        let (across, down) = (span(area.x0, area.x1, self.cols), span(area.y0, area.y1, rows));
        let all = across.len() * down.len();
        let moved = down.flat_map(|y| across.clone().map(move |x| y * self.cols + x));
        moved.filter(|at| self.blocks[*at]).count() as f32 / all.max(1) as f32
    }
}

/// Adds a run of blocks: to the rectangle right above it, if it is as wide.
fn join(covered: &mut Vec<PixelRect>, run: PixelRect) {
    // The runs of the row above are among the last; a row has few.
    let above = covered.iter_mut().rev().take(64).find(|r| (r.x0, r.x1, r.y1) == (run.x0, run.x1, run.y0));
    match above {
        Some(above) => above.y1 = run.y1,
        None => covered.push(run),
    }
}
