//! Where a pass looks: its tiles, and the way from each into the network's input.

use super::ensemble::Pass;
use super::letterbox::Letterbox;
use super::manifest::Input;
use super::tiles::Tiles;
use crate::frame::FrameFormat;

/// Pixels of the network's input that neighbouring tiles share at least. Faces more than half as large are for the other
/// passes too.
pub(super) const TILE_OVERLAP: u32 = 192;

/// How a pass looks at pictures of one format. A pass over all of the picture has a single tile.
pub(super) struct Sight {
    pub tiles: Tiles,
    /// One for each tile. They share one tensor: `at` has it.
    letterboxes: Vec<Letterbox>,
    at: usize,
}

impl Sight {
    pub fn new(pass: &Pass, format: &FrameFormat, input: &Input) -> Sight {
        let side = format.width().max(format.height());
        let long_side = side.clamp(pass.long_side.0, pass.long_side.1);
        let Some((w, h)) = pass.tile else {
            let letterboxes = vec![Letterbox::new(format, long_side, input)];
            return Sight { tiles: Tiles::one(format), letterboxes, at: 0 };
        };
        // Pixels of the network's input per pixel of the picture.
        let scale = f64::from(long_side) / f64::from(side);
        let of_picture = |n: u32| (f64::from(n) / scale).round() as u32;
        let of_input = |n: u32| (f64::from(n) * scale).round() as u32;
        let tiles = Tiles::new(format, (of_picture(w), of_picture(h)), of_picture(TILE_OVERLAP));
        let (w, h) = tiles.upright_size();
        let mut letterboxes: Vec<Letterbox> = Vec::new();
        for part in tiles.upright() {
            let mut letterbox = Letterbox::of_part(format, part, (of_input(w), of_input(h)), input);
            if let Some(last) = letterboxes.last_mut() {
                last.leave_tensor(&mut letterbox);
            }
            letterboxes.push(letterbox);
        }
        Sight { at: letterboxes.len() - 1, tiles, letterboxes }
    }

    /// The only tile to look at: where there is but one, or the one that was asked for.
    pub fn only(&self, asked: Option<usize>) -> Option<usize> {
        if self.tiles.count() == 1 { Some(0) } else { asked }
    }

    /// The letterbox of a tile, with the tensor.
    pub fn aim(&mut self, tile: usize) -> (&Tiles, &mut Letterbox) {
        if let Ok([from, to]) = self.letterboxes.get_disjoint_mut([self.at, tile]) {
            from.leave_tensor(to);
            self.at = tile;
        }
        (&self.tiles, &mut self.letterboxes[tile])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Class;
    use crate::detect::manifest::ChannelOrder;
    use crate::frame::{FrameMeta, FramePool, PixelFormat};
    use crate::geometry::{Orientation, PixelRect};
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
                let mut sight = Sight::new(pass, &format, &input);
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
                        let (_, letterbox) = sight.aim(tile);
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
