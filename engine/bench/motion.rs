//! What changed in a frame: its signature.

use super::{Case, InstructionSet};
use crate::frame::{FrameFormat, FrameMeta, FramePool, PixelFormat};
use crate::motion::{Grid, Signature};
use crate::redact::Kernels;
use crate::time::Timestamp;

pub(super) fn cases(set: InstructionSet) -> Vec<Case> {
    let formats = [
        ("nv12", PixelFormat::Nv12),
        ("i420", PixelFormat::I420),
        ("yuyv", PixelFormat::Yuyv),
        ("rgb24", PixelFormat::Rgb24),
    ];
    formats.into_iter().filter_map(|(name, pixel)| signature(set, name, pixel)).collect()
}

fn signature(set: InstructionSet, name: &str, pixel: PixelFormat) -> Option<Case> {
    let (width, height) = (1920, 1080);
    let format = FrameFormat::new(pixel, width, height).ok()?;
    let pool = FramePool::new(format, 1);
    let value = |plane: usize, x: usize, y: u32| (x * 7 + y as usize * 13 + plane * 101) as u8;
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    let frame = pool.fill(meta, |view| {
        for (i, plane) in format.planes().iter().enumerate() {
            for y in 0..plane.height {
                view.row_mut(i, y).iter_mut().enumerate().for_each(|(x, v)| *v = value(i, x, y));
            }
        }
        Ok(())
    });
    let frame = frame.ok()??;
    let grid = Grid::new(&format);
    let mut signature = Signature::new(&grid);
    let (grid, frame) = (std::rc::Rc::new(grid), std::rc::Rc::new(frame));
    let (grid_of_check, frame_of_check) = (std::rc::Rc::clone(&grid), std::rc::Rc::clone(&frame));
    let kernels = Kernels::of(set);
    let samples: usize = format.planes().iter().map(|p| p.row_bytes() * p.height as usize).sum();
    Some(Case {
        name: format!("motion/{name}-{width}x{height}"),
        pixels: u64::from(width) * u64::from(height),
        reads: samples as u64,
        writes: 2 * signature.sums().len() as u64,
        run: Box::new(move || frame.look(|view| signature.measure(&view, &grid, kernels))),
        check: Box::new(move || {
            let mut signature = Signature::new(&grid_of_check);
            frame_of_check.look(|view| signature.measure(&view, &grid_of_check, kernels));
            let mut expected = Vec::new();
            for (i, plane) in format.planes().iter().enumerate() {
                for cy in 0..plane.height.div_ceil(8) {
                    for cx in 0..plane.width.div_ceil(8) as usize {
                        for channel in 0..plane.channels {
                            let rows = 8 * cy..(8 * cy + 8).min(plane.height);
                            let columns = 8 * cx..(8 * cx + 8).min(plane.width as usize);
                            let sum = rows.flat_map(|y| columns.clone().map(move |x| (x, y)));
                            let sum = sum.map(|(x, y)| value(i, x * plane.channels + channel, y));
                            expected.push(sum.map(u16::from).sum::<u16>());
                        }
                    }
                }
            }
            match signature.sums() == expected {
                true => Ok(()),
                false => Err("the sums differ from those of one sample at a time".into()),
            }
        }),
    })
}
