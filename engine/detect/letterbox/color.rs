//! From three components to the channels of a network.

use super::super::manifest::{ChannelOrder, Input};
use crate::picture::{ColorRange, FrameFormat, PixelFormat};

/// Y'CbCr to R'G'B' in 0..=255 (ITU-T H.273), or RGB as it is; then the network's order, mean and scale: all in one
/// factor for each component and channel, and a number added to each channel.
#[derive(Clone, Copy)]
pub(super) struct Converter {
    rgb: bool,
    /// The channel that red, green and blue are, each.
    order: [usize; 3],
    /// For red, green and blue: of the three components.
    pub factors: [[f32; 3]; 3],
    pub added: [f32; 3],
    /// Least and most.
    pub limits: [[f32; 2]; 3],
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

    /// Rows of the channels as red, green and blue.
    #[inline(always)]
    pub fn ordered<'a>(&self, mut channels: [&'a mut [f32]; 3]) -> [&'a mut [f32]; 3] {
        if self.order == [2, 1, 0] {
            channels.reverse();
        }
        channels
    }

    /// A row of the three components into rows of the channels, in plain loops.
    #[inline(always)]
    pub fn row(&self, [a, b, c]: [&[i32]; 3], to: [&mut [f32]; 3]) {
        let [red, green, blue] = self.ordered(to);
        let width = red.len();
        let (a, b, c) = (&a[..width], &b[..width], &c[..width]);
        let (green, blue) = (&mut green[..width], &mut blue[..width]);
        // A copy, which no store into a row can change.
        let convert = *self;
        // Asked once, not for each pixel.
        for x in 0..if convert.rgb { width } else { 0 } {
            [red[x], green[x], blue[x]] = convert.colors([a[x], b[x], c[x]], true);
        }
        for x in 0..if convert.rgb { 0 } else { width } {
            [red[x], green[x], blue[x]] = convert.colors([a[x], b[x], c[x]], false);
        }
    }

    /// Sums of the three components as red, green and blue, which they are themselves if `rgb`.
    #[inline(always)]
    fn colors(&self, sums: [i32; 3], rgb: bool) -> [f32; 3] {
        let Converter { factors: [r, g, bl], added, .. } = *self;
        let (a, b, c) = (sums[0] as f32, sums[1] as f32, sums[2] as f32);
        if rgb {
            return [a * r[0] + added[0], b * g[1] + added[1], c * bl[2] + added[2]];
        }
        [
            self.limited(a * r[0] + c * r[2] + added[0], 0),
            self.limited(a * g[0] + b * g[1] + c * g[2] + added[1], 1),
            self.limited(a * bl[0] + b * bl[1] + added[2], 2),
        ]
    }

    /// Compared by hand: `max` and `min` look for NaN, too, for which x86 has no single instruction.
    #[inline(always)]
    fn limited(&self, value: f32, channel: usize) -> f32 {
        let [least, most] = self.limits[channel];
        let value = if value > least { value } else { least };
        if value < most { value } else { most }
    }
}
