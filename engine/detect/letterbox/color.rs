//! From three components to the channels of a network.

use super::super::manifest::{ChannelOrder, Input};
use crate::frame::{ColorRange, FrameFormat, PixelFormat};

/// Y'CbCr to R'G'B' in 0..=255 (ITU-T H.273), or RGB as it is; then the network's order, mean and scale.
pub(super) struct Converter {
    rgb: bool,
    /// The row of samples for red, green and blue each, among the channels.
    order: [usize; 3],
    normalised: bool,
    mean: [f32; 3],
    scale: [f32; 3],
    y_scale: f32,
    y_base: f32,
    r_cr: f32,
    g_cb: f32,
    g_cr: f32,
    b_cb: f32,
}

impl Converter {
    pub fn new(format: &FrameFormat, input: &Input) -> Converter {
        let (kr, kb) = format.matrix().luma_weights();
        let kg = 1.0 - kr - kb;
        let (y_base, y_scale, c_scale) = match format.range() {
            ColorRange::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
            ColorRange::Full => (0.0, 1.0, 1.0),
        };
        let order = match input.channels {
            ChannelOrder::Rgb => [0, 1, 2],
            ChannelOrder::Bgr => [2, 1, 0],
        };
        Converter {
            rgb: format.pixel() == PixelFormat::Rgb24,
            order,
            normalised: input.mean != [0.0; 3] || input.scale != [1.0; 3],
            mean: order.map(|channel| input.mean[channel]),
            scale: order.map(|channel| input.scale[channel]),
            y_scale,
            y_base,
            r_cr: 2.0 * (1.0 - kr) * c_scale,
            g_cb: -2.0 * kb * (1.0 - kb) / kg * c_scale,
            g_cr: -2.0 * kr * (1.0 - kr) / kg * c_scale,
            b_cb: 2.0 * (1.0 - kb) * c_scale,
        }
    }

    /// A row of the three components into rows of the channels.
    #[inline(always)]
    pub fn row(&self, from: [&[f32]; 3], mut to: [&mut [f32]; 3]) {
        if self.order == [2, 1, 0] {
            to.reverse();
        }
        match (self.rgb, self.normalised) {
            (false, false) => self.row_of::<false, false>(from, to),
            (false, true) => self.row_of::<false, true>(from, to),
            (true, false) => self.row_of::<true, false>(from, to),
            (true, true) => self.row_of::<true, true>(from, to),
        }
    }

    #[inline(always)]
    fn row_of<const RGB: bool, const NORMALISED: bool>(&self, from: [&[f32]; 3], to: [&mut [f32]; 3]) {
        let [red, green, blue] = to;
        let width = red.len();
        let (a, b, c) = (&from[0][..width], &from[1][..width], &from[2][..width]);
        let (green, blue) = (&mut green[..width], &mut blue[..width]);
        // Copies, which no store into a row can change.
        let Converter { mean, scale, y_scale, y_base, r_cr, g_cb, g_cr, b_cb, .. } = *self;
        for x in 0..width {
            let mut rgb = [a[x], b[x], c[x]];
            if !RGB {
                let y = (a[x] - y_base) * y_scale;
                let (cb, cr) = (b[x] - 128.0, c[x] - 128.0);
                rgb = [y + cr * r_cr, y + cb * g_cb + cr * g_cr, y + cb * b_cb];
            }
            let finished = |i: usize| {
                let value = if RGB { rgb[i] } else { rgb[i].clamp(0.0, 255.0) };
                if NORMALISED { (value - mean[i]) * scale[i] } else { value }
            };
            (red[x], green[x], blue[x]) = (finished(0), finished(1), finished(2));
        }
    }
}
