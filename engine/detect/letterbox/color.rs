//! From three components to the channels of a network.

use super::super::manifest::{ChannelOrder, Input};
use crate::frame::{ColorRange, FrameFormat, PixelFormat};

/// Y'CbCr to R'G'B' in 0..=255 (ITU-T H.273), or RGB as it is; then the network's order, mean and scale: all in one
/// factor for each component and channel, and a number added to each channel.
pub(super) struct Converter {
    rgb: bool,
    /// The channel that red, green and blue are, each.
    order: [usize; 3],
    /// For red, green and blue: of the three components.
    factors: [[f32; 3]; 3],
    added: [f32; 3],
    /// Least and most.
    limits: [[f32; 2]; 3],
}

impl Converter {
    /// For components that come as sums, `totals` times too large.
    pub fn new(format: &FrameFormat, input: &Input, totals: [f64; 3]) -> Converter {
        let (kr, kb) = format.matrix().luma_weights();
        let (kr, kb) = (f64::from(kr), f64::from(kb));
        let kg = 1.0 - kr - kb;
        let (y_base, y, c) = match format.range() {
            ColorRange::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
            ColorRange::Full => (0.0, 1.0, 1.0),
        };
        let rgb = format.pixel() == PixelFormat::Rgb24;
        let (factors, bases) = if rgb {
            ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3])
        } else {
            let red = [y, 0.0, 2.0 * (1.0 - kr) * c];
            let green = [y, -2.0 * kb * (1.0 - kb) / kg * c, -2.0 * kr * (1.0 - kr) / kg * c];
            let blue = [y, 2.0 * (1.0 - kb) * c, 0.0];
            ([red, green, blue], [y_base, 128.0, 128.0])
        };
        let order = match input.channels {
            ChannelOrder::Rgb => [0, 1, 2],
            ChannelOrder::Bgr => [2, 1, 0],
        };
        let mean = order.map(|channel| f64::from(input.mean[channel]));
        let scale = order.map(|channel| f64::from(input.scale[channel]));
        let each = |of: &dyn Fn(usize) -> f64| std::array::from_fn(|i| of(i) as f32);
        let base = |i: usize| (0..3).map(|k| factors[i][k] * bases[k]).sum::<f64>();
        Converter {
            rgb,
            order,
            factors: std::array::from_fn(|i| each(&|k| factors[i][k] * scale[i] / totals[k])),
            added: each(&|i| (-base(i) - mean[i]) * scale[i]),
            limits: std::array::from_fn(|i| {
                let [a, b] = [0.0, 255.0].map(|end| ((end - mean[i]) * scale[i]) as f32);
                [a.min(b), a.max(b)]
            }),
        }
    }

    /// A row of the three components into rows of the channels.
    #[inline(always)]
    pub fn row(&self, from: [&[i32]; 3], mut to: [&mut [f32]; 3]) {
        if self.order == [2, 1, 0] {
            to.reverse();
        }
        let [red, green, blue] = to;
        let width = red.len();
        let (a, b, c) = (&from[0][..width], &from[1][..width], &from[2][..width]);
        let (green, blue) = (&mut green[..width], &mut blue[..width]);
        // Copies, which no store into a row can change.
        let Converter { factors: [r, g, bl], added, limits, .. } = *self;
        if self.rgb {
            for x in 0..width {
                red[x] = a[x] as f32 * r[0] + added[0];
                green[x] = b[x] as f32 * g[1] + added[1];
                blue[x] = c[x] as f32 * bl[2] + added[2];
            }
            return;
        }
        // Compared by hand: `max` and `min` look for NaN, too, for which x86 has no single instruction.
        let limited = |value: f32, i: usize| {
            let [least, most] = limits[i];
            let value = if value > least { value } else { least };
            if value < most { value } else { most }
        };
        for x in 0..width {
            let (y, cb, cr) = (a[x] as f32, b[x] as f32, c[x] as f32);
            red[x] = limited(y * r[0] + cr * r[2] + added[0], 0);
            green[x] = limited(y * g[0] + cb * g[1] + cr * g[2] + added[1], 1);
            blue[x] = limited(y * bl[0] + cb * bl[1] + added[2], 2);
        }
    }
}
