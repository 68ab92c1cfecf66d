//! Hides shapes in a frame. Every style walks every plane, so "only luma was blurred" cannot be written.

mod cover;
mod kernels;
mod lattice;
mod mask;
mod mosaic;

pub use cover::Outcome;
pub(crate) use cover::{Cover, Region, RuleSet, Rules};
pub(crate) use mask::{Mask, rasterise};
pub(crate) use mosaic::{MosaicKey, Mosaics};

use crate::geometry::PixelRect;
use crate::picture::{FrameFormat, PixelFormat, PlaneLayout, ViewMut, Ycbcr};
use crate::policy::{Color, Style};
use crate::time::Timestamp;
pub(crate) use kernels::{Block, CELL, Kernels, kernels};

/// Where something is hidden, in luma pixels of the stored picture.
pub(crate) enum Shape<'a> {
    Rect(PixelRect),
    Mask(&'a Mask),
}

impl Shape<'_> {
    /// Everything hidden lies in here.
    pub(crate) fn bounds(&self) -> PixelRect {
        match self {
            Shape::Rect(r) => *r,
            Shape::Mask(m) => m.bounds,
        }
    }

    /// Calls `draw` for each hidden run of samples (row, first, end) of a plane.
    pub(crate) fn runs(&self, plane: &PlaneLayout, mut draw: impl FnMut(u32, u32, u32)) {
        let r = self.bounds().in_plane(plane.shift, plane.width, plane.height);
        for y in r.y0..r.y1 {
            match self {
                Shape::Rect(_) if r.x0 < r.x1 => draw(y, r.x0, r.x1),
                Shape::Rect(_) => {}
                Shape::Mask(m) => m.runs(plane, y).iter().for_each(|&(x0, x1)| draw(y, x0, x1)),
            }
        }
    }
}

/// One thing to hide: a region or a mask.
struct Piece<'a> {
    shape: Shape<'a>,
    style: Style,
    key: MosaicKey,
}

impl<'a> Piece<'a> {
    fn of_mask(mask: &'a Mask) -> Piece<'a> {
        Piece { shape: Shape::Mask(mask), style: mask.style, key: MosaicKey::Zones(mask.level) }
    }

    /// All that a cover hides, but for what moved.
    fn all(cover: &Cover) -> impl Iterator<Item = Piece<'_>> {
        let regions = cover.regions().iter();
        let regions = regions.map(|r| Piece { shape: Shape::Rect(r.area), style: r.style, key: r.key });
        regions.chain(cover.masks().map(Piece::of_mask))
    }

    /// Larger keeps less: nothing, or larger cells.
    fn strength(&self, format: &FrameFormat) -> u32 {
        self.style.cells().map_or(u32::MAX, |cells| mosaic::cell_size(&self.shape, cells, format))
    }

    /// Where its cells are shown; all zones of one cell size share theirs.
    fn shown(&self, cover: &Cover) -> PixelRect {
        let MosaicKey::Zones(level) = self.key else { return self.shape.bounds() };
        let same = cover.masks().filter(|mask| mask.level == level && mask.style.cells().is_some());
        same.fold(PixelRect::whole(0, 0), |all, mask| lattice::hull(all, mask.bounds))
    }
}

/// Applies a cover to a frame. Where shapes overlap, what keeps least is seen; and no cell of a mosaic is sampled from what
/// something stronger hides.
pub(crate) fn hide(view: &mut ViewMut<'_>, cover: &Cover, mosaics: &mut Mosaics, now: Timestamp) {
    if cover.outcome() != Outcome::Covered {
        paint_whole(view, cover.obscure_color());
        return;
    }
    mosaics.forget_unused(now);
    let k = kernels();
    if Piece::all(cover).all(|piece| piece.style.cells().is_none()) {
        for piece in Piece::all(cover) {
            hide_shape(k, view, &piece.shape, piece.style, piece.key, mosaics, now);
        }
    } else {
        hide_mosaics(k, view, cover, mosaics, now);
    }
    hide_motion(k, view, cover);
}

fn hide_mosaics(k: &Kernels, view: &mut ViewMut<'_>, cover: &Cover, mosaics: &mut Mosaics, now: Timestamp) {
    let format = *view.format();
    let mut order = std::mem::take(&mut mosaics.order);
    order.clear();
    order.extend((0..).zip(Piece::all(cover)).map(|(i, piece)| (piece.strength(&format), i)));
    order.sort_unstable();
    let piece = |&(_, i): &(u32, u32)| Piece::all(cover).nth(i as usize);
    let is_due = |piece: Piece<'_>| {
        let cells = piece.style.cells().filter(|_| !piece.shape.bounds().is_empty());
        cells.is_some_and(|cells| mosaics.is_due(piece.key, piece.shown(cover), along(piece.key, cells), now))
    };
    if let Some(weakest) = order.iter().position(|at| piece(at).is_some_and(is_due)) {
        // Sampled from the strongest to the weakest, each from a picture in which the stronger ones are drawn.
        hide_motion(k, view, cover);
        for piece in order[weakest..].iter().rev().filter_map(piece) {
            let Piece { shape, style, key } = &piece;
            if let Some(cells) = style.cells().filter(|_| !shape.bounds().is_empty()) {
                mosaics.held(k, *key, view.as_view(), piece.shown(cover), along(*key, cells), now);
            }
            hide_shape(k, view, shape, *style, *key, mosaics, now);
        }
    }
    for piece in order.iter().filter_map(piece) {
        hide_shape(k, view, &piece.shape, piece.style, piece.key, mosaics, now);
    }
    mosaics.order = order;
}

/// Nobody knows what is there, so nothing of it is kept, whatever the styles are.
fn hide_motion(k: &Kernels, view: &mut ViewMut<'_>, cover: &Cover) {
    for area in cover.motion() {
        fill(k, view, &Shape::Rect(*area), cover.obscure_color());
    }
}

/// Cells along the longer side of a track's region. Those of zones are told by their key.
fn along(key: MosaicKey, cells: u8) -> u8 {
    if matches!(key, MosaicKey::Track(_)) { cells } else { 0 }
}

pub(crate) fn hide_shape(
    k: &Kernels,
    view: &mut ViewMut<'_>,
    shape: &Shape<'_>,
    style: Style,
    key: MosaicKey,
    mosaics: &mut Mosaics,
    now: Timestamp,
) {
    if shape.bounds().is_empty() {
        return;
    }
    match style {
        Style::Fill(color) => fill(k, view, shape, color),
        Style::Pixelate { cells } => {
            let (held, lines) = mosaics.held(k, key, view.as_view(), shape.bounds(), along(key, cells), now);
            mosaic::pixelate(k, view, shape, held, lines);
        }
        Style::Blur { cells } => {
            let (held, lines) = mosaics.held(k, key, view.as_view(), shape.bounds(), along(key, cells), now);
            mosaic::blur(k, view, shape, held, lines);
        }
    }
}

/// Overwrites the whole frame without reading it.
pub(crate) fn paint_whole(view: &mut ViewMut<'_>, color: Color) {
    let (width, height) = view.format().size();
    fill(kernels(), view, &Shape::Rect(PixelRect::whole(width, height)), color);
}

fn fill(k: &Kernels, view: &mut ViewMut<'_>, shape: &Shape<'_>, color: Color) {
    let format = *view.format();
    let values = sample_values(color, &format);
    for (i, plane) in format.planes().iter().enumerate() {
        let n = plane.channels;
        shape.runs(plane, |y, x0, x1| {
            (k.fill)(&mut view.row_mut(i, y)[x0 as usize * n..x1 as usize * n], &values[i][..n]);
        });
    }
}

/// A colour as one sample of each plane.
fn sample_values(color: Color, format: &FrameFormat) -> [[u8; 4]; 3] {
    if format.pixel() == PixelFormat::Rgb24 {
        return [[color.r, color.g, color.b, 0], [0; 4], [0; 4]];
    }
    let samples = Ycbcr::of(format).samples([color.r, color.g, color.b].map(f32::from));
    let [y, cb, cr] = samples.map(|v| v.round() as u8);
    match format.pixel() {
        PixelFormat::Nv12 => [[y, 0, 0, 0], [cb, cr, 0, 0], [0; 4]],
        PixelFormat::Yuyv => [[y, cb, y, cr], [0; 4], [0; 4]],
        PixelFormat::I420 | PixelFormat::Rgb24 => [[y, 0, 0, 0], [cb, 0, 0, 0], [cr, 0, 0, 0]],
    }
}
