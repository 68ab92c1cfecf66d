//! What measuring (`benches/`, `milkglass bench`) and fuzzing (`fuzz/`) need of the inside, and nobody else may count on: the
//! loops over pixels with a set of instructions of one's choice, one network, the decoders. It changes without notice, as
//! `rustls::internal` does; the feature `internal` is on in our own packages alone.
//!
//! Nothing in here can reach the pixels of a frame: every function works on bytes that its caller brought.

mod network;

pub use network::{DECODERS, Found, Inference, decode};

use ndarray::ArrayView4;

use crate::detect::{ChannelOrder, Input, Letterbox};
use crate::geometry::PixelRect;
use crate::motion::{Grid, Signature};
use crate::picture::{FrameFormat, PlaneLayout, View, ViewMut};
use crate::policy::{Style, Zone};
use crate::redact::{self, Kernels, Mask, MosaicKey, Mosaics};
use crate::time::Timestamp;

pub use crate::kernels::InstructionSet;

/// The samples of a picture in memory of one's own, as long as [`FrameFormat::buffer_len`].
pub fn view<'a>(format: &'a FrameFormat, bytes: &'a [u8]) -> View<'a> {
    View::new(format, bytes)
}

/// The same to write.
pub fn view_mut<'a>(format: &'a FrameFormat, bytes: &'a mut [u8]) -> ViewMut<'a> {
    ViewMut::new(format, bytes)
}

/// Bytes of a whole picture, with the padding of its rows.
pub fn buffer_len(format: &FrameFormat) -> usize {
    format.buffer_len()
}

/// Samples of a plane that lie under a rectangle: left, upper, right and lower end.
pub fn in_plane(area: PixelRect, plane: &PlaneLayout) -> PixelRect {
    area.in_plane(plane.shift, plane.width, plane.height)
}

/// What is hidden.
pub enum Shape {
    /// A region, in luma pixels.
    Rect(PixelRect),
    /// A zone, rasterised.
    Zone(ZoneMask),
}

/// A zone in the samples of one format.
pub struct ZoneMask(Mask);

impl ZoneMask {
    /// `None` when the zone is off.
    pub fn new(zone: &Zone, format: &FrameFormat) -> Option<ZoneMask> {
        redact::rasterise(std::slice::from_ref(zone), format).pop().map(ZoneMask)
    }
}

impl Shape {
    fn inner(&self) -> redact::Shape<'_> {
        match self {
            Shape::Rect(area) => redact::Shape::Rect(*area),
            Shape::Zone(mask) => redact::Shape::Mask(&mask.0),
        }
    }

    /// Calls `draw` for each hidden run of samples (row, first, end) of a plane.
    pub fn runs(&self, plane: &PlaneLayout, draw: impl FnMut(u32, u32, u32)) {
        self.inner().runs(plane, draw);
    }
}

/// Hides one shape after another, with cells of mosaics that it holds.
pub struct Hider {
    kernels: &'static Kernels,
    mosaics: Mosaics,
}

impl Hider {
    /// With the loops of `set`, which this processor has to have.
    pub fn new(set: InstructionSet) -> Hider {
        Hider { kernels: Kernels::of(set), mosaics: Mosaics::default() }
    }

    /// Forgets the cells: the next ones are sampled anew.
    pub fn forget(&mut self) {
        self.mosaics.clear();
    }

    /// Hides a shape as that of a track at this time.
    pub fn hide(&mut self, view: &mut ViewMut<'_>, shape: &Shape, style: Style, now: Timestamp) {
        let key = MosaicKey::Track(1);
        redact::hide_shape(self.kernels, view, &shape.inner(), style, key, &mut self.mosaics, now);
    }
}

/// Every second byte of `from`, from the first on.
pub fn evens(set: InstructionSet, from: &[u8], to: &mut [u8]) {
    (Kernels::of(set).evens)(from, to);
}

/// The mean, rounded down, of every second byte of two rows, from the second on.
pub fn odd_means(set: InstructionSet, above: &[u8], below: &[u8], to: &mut [u8]) {
    (Kernels::of(set).odd_means)(above, below, to);
}

/// What motion cover keeps of a picture: sums of cells.
pub struct Sums {
    grid: Grid,
    signature: Signature,
    kernels: &'static Kernels,
}

impl Sums {
    /// For pictures of one format, with the loops of `set`.
    pub fn new(format: &FrameFormat, set: InstructionSet) -> Sums {
        let grid = Grid::new(format);
        Sums { signature: Signature::new(&grid), grid, kernels: Kernels::of(set) }
    }

    /// Sums up a picture.
    pub fn measure(&mut self, view: &View<'_>) {
        self.signature.measure(view, &self.grid, self.kernels);
    }

    /// The sums, plane by plane, row by row.
    pub fn get(&self) -> &[u16] {
        self.signature.sums()
    }
}

/// The way from a picture into the tensor of a network.
pub struct Tensor(Letterbox);

impl Tensor {
    /// Of a part of pictures of one format, scaled to `content`, with the loops of `set`.
    pub fn new(format: &FrameFormat, part: PixelRect, content: (u32, u32), set: InstructionSet) -> Tensor {
        let input = Input {
            name: String::new(),
            channels: ChannelOrder::Bgr,
            pad: 0,
            multiple: 32,
            mean: [0.0; 3],
            scale: [1.0; 3],
        };
        let mut letterbox = Letterbox::of_part(format, part, content, &input);
        letterbox.set_instructions(set);
        Tensor(letterbox)
    }

    /// Fills the tensor.
    pub fn load(&mut self, view: &View<'_>) {
        self.0.load(view);
    }

    /// The tensor, 1 x 3 x height x width.
    pub fn values(&self) -> Option<ArrayView4<'_, f32>> {
        self.0.tensor()
    }
}
