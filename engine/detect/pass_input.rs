//! Where a pass looks: its tiles, the shapes that pixels may have, and the way from each into the network's input.

use super::letterbox::{Letterbox, square_size};
use super::manifest::Input;
use super::tiles::Tiles;
use crate::geometry::PixelAspect;
use crate::picture::FrameFormat;
use crate::policy::Pass;

/// Pixels of the network's input that neighbouring tiles share at least. Faces more than half as large are for the other
/// passes too.
pub(super) const TILE_OVERLAP: u32 = 192;

/// How a pass looks at pictures of one format. A pass over all of the picture has a single tile.
pub(super) struct PassInput {
    /// As the likeliest shape of the pixels has them; those of the other shapes are the same parts of the picture.
    pub tiles: Tiles,
    /// One for each shape that the pixels may have.
    views: Vec<Shaped>,
}

/// The tiles as pixels of one shape make them look.
struct Shaped {
    /// One for each tile. They share one tensor: `at` has it.
    letterboxes: Vec<Letterbox>,
    at: usize,
}

impl PassInput {
    pub fn new(pass: &Pass, format: &FrameFormat, input: &Input) -> PassInput {
        let aspects = format.pixel_aspects().iter();
        let tiles = PassInput::tiles(pass, format);
        let views = aspects.map(|aspect| Shaped::new(pass, format, *aspect, &tiles, input)).collect();
        PassInput { tiles, views }
    }

    fn tiles(pass: &Pass, format: &FrameFormat) -> Tiles {
        let Some((w, h)) = pass.tile else { return Tiles::one(format) };
        let aspect = format.pixel_aspect();
        let (scale, _) = scale(pass, format, aspect);
        let (x, y) = aspect.squares();
        let of_picture = |n: u32, squares: f64| (f64::from(n) / (scale * squares)).round() as u32;
        let overlap = (of_picture(TILE_OVERLAP, x), of_picture(TILE_OVERLAP, y));
        Tiles::new(format, (of_picture(w, x), of_picture(h, y)), overlap)
    }

    /// The only tile to look at: where there is but one, or the one that was asked for.
    pub fn only(&self, asked: Option<usize>) -> Option<usize> {
        if self.tiles.count() == 1 { Some(0) } else { asked }
    }

    /// How many shapes the pixels may have.
    pub fn shapes(&self) -> usize {
        self.views.len()
    }

    /// The letterbox of a tile, as pixels of one of the shapes make it look, with the tensor.
    pub fn aim(&mut self, shape: usize, tile: usize) -> (&Tiles, &mut Letterbox) {
        let Shaped { letterboxes, at } = &mut self.views[shape];
        if let Ok([from, to]) = letterboxes.get_disjoint_mut([*at, tile]) {
            from.leave_tensor(to);
            *at = tile;
        }
        (&self.tiles, &mut letterboxes[tile])
    }
}

impl Shaped {
    fn new(pass: &Pass, format: &FrameFormat, aspect: PixelAspect, tiles: &Tiles, input: &Input) -> Shaped {
        let (scale, long_side) = scale(pass, format, aspect);
        if pass.tile.is_none() {
            return Shaped {
                letterboxes: vec![Letterbox::of_shape(format, aspect, long_side, input)],
                at: 0,
            };
        }
        let ((w, h), (x, y)) = (tiles.upright_size(), format.upright_squares(aspect));
        let of_input = |n: u32, squares: f64| (f64::from(n) * (scale * squares)).round() as u32;
        let content = (of_input(w, x), of_input(h, y));
        let mut letterboxes: Vec<Letterbox> = Vec::new();
        for part in tiles.upright() {
            let mut letterbox = Letterbox::of_part(format, part, content, input).with_shape(aspect);
            if let Some(last) = letterboxes.last_mut() {
                last.leave_tensor(&mut letterbox);
            }
            letterboxes.push(letterbox);
        }
        Shaped { at: letterboxes.len() - 1, letterboxes }
    }
}

/// Pixels of the network's input per square pixel of the picture, and the picture's longer side in the network's input.
fn scale(pass: &Pass, format: &FrameFormat, aspect: PixelAspect) -> (f64, u32) {
    let (w, h) = square_size(format, aspect);
    let side = w.max(h).round();
    let long_side = (side as u32).clamp(pass.long_side.0, pass.long_side.1);
    (f64::from(long_side) / side, long_side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;
    use crate::detect::manifest::ChannelOrder;
    use crate::frame::{FrameMeta, FramePool};
    use crate::geometry::{Orientation, PixelRect};
    use crate::picture::PixelFormat;
    use crate::policy::Preset;
    use crate::time::Timestamp;

    /// The place of the brightest value of a tile's tensor, in the picture.
    fn brightest(letterbox: &Letterbox) -> (f32, f32, f32) {
        let tensor = letterbox.tensor().unwrap();
        let green = tensor.indexed_iter().filter(|(at, _)| at.1 == 1);
        let ((_, _, y, x), value) = green.max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        let (x, y) = (x as f32, y as f32);
        let (x, y) = letterbox.to_frame(x, y, x + 1.0, y + 1.0).unwrap().center();
        (x, y, *value)
    }

    /// Whatever a tile is responsible for is shown to the network when that tile is looked at, and its boxes lie where the
    /// picture has it: else a tile would count as examined that nobody has seen. By turns, since tiles share a tensor.
    #[test]
    fn each_tile_shows_what_it_is_responsible_for() {
        let input = Input {
            name: "input".into(),
            multiple: 32,
            pad: 0,
            channels: ChannelOrder::Bgr,
            mean: [0.0; 3],
            scale: [1.0; 3],
        };
        let settings = Preset::Fast.settings(&[Class::Face]).in_tiles();
        let pass = settings.passes.iter().find(|p| p.tile.is_some()).unwrap();
        // Unscaled, shrunk, and narrower than a tile.
        for (w, h) in [(1280, 721), (2240, 1260), (300, 900)] {
            for orientation in (1..=8).filter_map(Orientation::from_exif) {
                let format = FrameFormat::new(PixelFormat::Nv12, w, h).unwrap().with_orientation(orientation);
                let mut sight = PassInput::new(pass, &format, &input);
                assert!(sight.tiles.count() > 1, "{w}x{h}");
                let pool = FramePool::new(format, 1);
                for tile in (0..sight.tiles.count()).rev() {
                    let PixelRect { x0, y0, x1, y1 } = sight.tiles.inner(tile);
                    for (x, y) in [(x0, y0), (x1 - 8, y1 - 8)] {
                        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
                        let frame = pool.fill(meta, |view| {
                            for row in 0..h {
                                let spot = (y..y + 8).contains(&row);
                                view.row_mut(0, row).fill(16);
                                view.row_mut(0, row)[x as usize..x as usize + 8].fill(if spot {
                                    235
                                } else {
                                    16
                                });
                            }
                            (0..h.div_ceil(2)).for_each(|row| view.row_mut(1, row).fill(128));
                            Ok(())
                        });
                        let job = frame.unwrap().unwrap().lend(std::sync::Arc::default());
                        let (_, letterbox) = sight.aim(0, tile);
                        letterbox.load(&job.view());
                        let (fx, fy, value) = brightest(letterbox);
                        let near = |at: f32, from: u32| (from as f32..from as f32 + 8.0).contains(&at);
                        assert!(
                            value > 250.0 && near(fx, x) && near(fy, y),
                            "{w}x{h} {orientation:?}, tile {tile}: {value} at {fx},{fy}, not {x},{y}"
                        );
                    }
                }
            }
        }
    }
}
