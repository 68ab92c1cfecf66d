//! Rectangles, and how a stored picture is turned to stand upright.

mod aspect;

pub use aspect::PixelAspect;
pub(crate) use aspect::Possible;

/// A rectangle in luma pixels, half-open (`x0 <= x < x1`), with finite corners and a positive area.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    x0: f32,
    y0: f32,
    x1: f32,
    y1: f32,
}

impl Rect {
    /// From the left upper corner and the size. `None` when anything is not finite, or the area is not positive.
    pub fn new(x: f32, y: f32, width: f32, height: f32) -> Option<Rect> {
        Rect::from_corners(x, y, x + width, y + height)
    }

    /// From two corners, `(x0, y0)` inside and `(x1, y1)` outside. `None` as for [`Rect::new`].
    pub fn from_corners(x0: f32, y0: f32, x1: f32, y1: f32) -> Option<Rect> {
        let finite = x0.is_finite() && y0.is_finite() && x1.is_finite() && y1.is_finite();
        (finite && x1 > x0 && y1 > y0).then_some(Rect { x0, y0, x1, y1 })
    }

    /// Left edge (inside).
    pub fn x0(&self) -> f32 {
        self.x0
    }
    /// Upper edge (inside).
    pub fn y0(&self) -> f32 {
        self.y0
    }
    /// Right edge (outside).
    pub fn x1(&self) -> f32 {
        self.x1
    }
    /// Lower edge (outside).
    pub fn y1(&self) -> f32 {
        self.y1
    }
    /// Width, always positive.
    pub fn width(&self) -> f32 {
        self.x1 - self.x0
    }
    /// Height, always positive.
    pub fn height(&self) -> f32 {
        self.y1 - self.y0
    }
    /// The middle.
    pub fn center(&self) -> (f32, f32) {
        ((self.x0 + self.x1) / 2.0, (self.y0 + self.y1) / 2.0)
    }

    /// Intersection over union, 0 to 1.
    pub fn iou(&self, other: &Rect) -> f32 {
        let w = (self.x1.min(other.x1) - self.x0.max(other.x0)).max(0.0);
        let h = (self.y1.min(other.y1) - self.y0.max(other.y0)).max(0.0);
        let both = w * h;
        both / (self.width() * self.height() + other.width() * other.height() - both)
    }

    /// The smallest rectangle that holds both.
    pub fn hull(&self, other: &Rect) -> Rect {
        Rect {
            x0: self.x0.min(other.x0),
            y0: self.y0.min(other.y0),
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
        }
    }

    /// Grown about its centre to `factor` times its size, then by `margin` pixels on every side (neither shrinks it).
    pub fn grown(&self, factor: f32, margin: f32) -> Rect {
        self.grown_by(factor, (margin, margin))
    }

    /// The same with a margin to the left and right, and another one above and below.
    pub(crate) fn grown_by(&self, factor: f32, margin: (f32, f32)) -> Rect {
        let extra = (factor - 1.0).max(0.0) / 2.0;
        // A box too wide for its width to be a number must not become none at all: infinity times zero is not one.
        let by = |side: f32, margin: f32| side.min(f32::MAX) * extra + margin.max(0.0);
        let (dx, dy) = (by(self.width(), margin.0), by(self.height(), margin.1));
        Rect { x0: self.x0 - dx, y0: self.y0 - dy, x1: self.x1 + dx, y1: self.y1 + dy }
    }

    /// The part inside a `width` by `height` picture, or `None` when there is none.
    pub fn clipped(&self, width: u32, height: u32) -> Option<Rect> {
        Rect::from_corners(
            self.x0.max(0.0),
            self.y0.max(0.0),
            self.x1.min(width as f32),
            self.y1.min(height as f32),
        )
    }

    /// Every pixel that the rectangle touches inside a `width` by `height` picture.
    pub fn outward(&self, width: u32, height: u32) -> PixelRect {
        // Float to integer conversion saturates, so a box far outside ends at the border.
        PixelRect {
            x0: (self.x0.floor() as u32).min(width),
            y0: (self.y0.floor() as u32).min(height),
            x1: (self.x1.ceil() as u32).min(width),
            y1: (self.y1.ceil() as u32).min(height),
        }
    }
}

/// A rectangle of whole pixels, half-open; may be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PixelRect {
    /// Left edge (inside).
    pub x0: u32,
    /// Upper edge (inside).
    pub y0: u32,
    /// Right edge (outside).
    pub x1: u32,
    /// Lower edge (outside).
    pub y1: u32,
}

impl PixelRect {
    /// The whole of a `width` by `height` picture.
    pub const fn whole(width: u32, height: u32) -> Self {
        PixelRect { x0: 0, y0: 0, x1: width, y1: height }
    }
    /// Width in pixels.
    pub const fn width(&self) -> u32 {
        self.x1.saturating_sub(self.x0)
    }
    /// Height in pixels.
    pub const fn height(&self) -> u32 {
        self.y1.saturating_sub(self.y0)
    }
    /// True when it holds no pixel.
    pub const fn is_empty(&self) -> bool {
        self.width() == 0 || self.height() == 0
    }

    /// The smallest rectangle that holds both; neither is empty.
    pub fn hull(&self, other: &PixelRect) -> PixelRect {
        PixelRect {
            x0: self.x0.min(other.x0),
            y0: self.y0.min(other.y0),
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
        }
    }

    /// Whether all of another one lies in it.
    pub const fn contains(&self, other: &PixelRect) -> bool {
        self.x0 <= other.x0 && self.y0 <= other.y0 && self.x1 >= other.x1 && self.y1 >= other.y1
    }

    /// The samples of a plane subsampled by `1 << shift` that this rectangle touches: rounded outward, within the plane.
    pub fn in_plane(&self, shift: (u32, u32), width: u32, height: u32) -> PixelRect {
        let up = |v: u32, s: u32| v.div_ceil(1 << s);
        PixelRect {
            x0: (self.x0 >> shift.0).min(width),
            y0: (self.y0 >> shift.1).min(height),
            x1: up(self.x1, shift.0).min(width),
            y1: up(self.y1, shift.1).min(height),
        }
    }
}

/// How a stored picture must be turned to stand upright: the eight orientations of EXIF and of display matrices.
///
/// Stored coordinates become upright ones by exchanging the axes if `transpose`, then mirroring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    /// Rows become columns.
    pub transpose: bool,
    /// Mirrored left to right, after the transposition.
    pub flip_x: bool,
    /// Mirrored top to bottom, after the transposition.
    pub flip_y: bool,
}

impl Orientation {
    /// Stored upright.
    pub const UPRIGHT: Orientation = Orientation { transpose: false, flip_x: false, flip_y: false };

    /// From the EXIF orientation tag, 1 to 8 (EXIF 2.32, tag 0x0112). `None` for anything else.
    pub const fn from_exif(tag: u8) -> Option<Orientation> {
        let (transpose, flip_x, flip_y) = match tag {
            1 => (false, false, false),
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => return None,
        };
        Some(Orientation { transpose, flip_x, flip_y })
    }

    /// The size of the upright picture, from the stored one.
    pub const fn upright_size(self, stored: (u32, u32)) -> (u32, u32) {
        if self.transpose { (stored.1, stored.0) } else { stored }
    }

    /// A point of the stored picture (of size `stored`) in the upright picture.
    pub fn to_upright(self, (x, y): (f64, f64), stored: (u32, u32)) -> (f64, f64) {
        let (w, h) = self.upright_size(stored);
        let (x, y) = if self.transpose { (y, x) } else { (x, y) };
        (if self.flip_x { f64::from(w) - x } else { x }, if self.flip_y { f64::from(h) - y } else { y })
    }

    /// A point of the upright picture in the stored picture (of size `stored`).
    pub fn to_stored(self, (x, y): (f64, f64), stored: (u32, u32)) -> (f64, f64) {
        let (w, h) = self.upright_size(stored);
        let x = if self.flip_x { f64::from(w) - x } else { x };
        let y = if self.flip_y { f64::from(h) - y } else { y };
        if self.transpose { (y, x) } else { (x, y) }
    }

    /// A rectangle of the upright picture in the stored picture (of size `stored`).
    pub fn rect_to_stored(self, r: &Rect, stored: (u32, u32)) -> Option<Rect> {
        let a = self.to_stored((r.x0.into(), r.y0.into()), stored);
        let b = self.to_stored((r.x1.into(), r.y1.into()), stored);
        Rect::from_corners(a.0.min(b.0) as f32, a.1.min(b.1) as f32, a.0.max(b.0) as f32, a.1.max(b.1) as f32)
    }
}
