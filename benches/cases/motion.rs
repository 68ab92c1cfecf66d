//! What changed in a frame: its signature.

use std::rc::Rc;

use milkglass::FrameFormat;
use milkglass::internal::{Sums, buffer_len, view, view_mut};
use milkglass::picture::PixelFormat;

use super::{Case, FORMATS, InstructionSet};

pub(super) fn cases(set: InstructionSet) -> Vec<Case> {
    FORMATS.into_iter().filter_map(|(pixel, name)| signature(set, name, pixel)).collect()
}

fn signature(set: InstructionSet, name: &str, pixel: PixelFormat) -> Option<Case> {
    let (width, height) = (1920, 1080);
    let format = FrameFormat::new(pixel, width, height).ok()?;
    let value = |plane: usize, x: usize, y: u32| (x * 7 + y as usize * 13 + plane * 101) as u8;
    let mut bytes = vec![0; buffer_len(&format)];
    let mut picture = view_mut(&format, &mut bytes);
    for (i, plane) in format.planes().iter().enumerate() {
        for y in 0..plane.height {
            picture.row_mut(i, y).iter_mut().enumerate().for_each(|(x, v)| *v = value(i, x, y));
        }
    }
    let (mut sums, bytes) = (Sums::new(&format, set), Rc::new(bytes));
    let checked = Rc::clone(&bytes);
    let samples: usize = format.planes().iter().map(|p| p.row_bytes() * p.height as usize).sum();
    Some(Case {
        name: format!("motion/{name}-{width}x{height}"),
        pixels: u64::from(width) * u64::from(height),
        reads: samples as u64,
        writes: 2 * sums.get().len() as u64,
        run: Box::new(move || sums.measure(&view(&format, &bytes))),
        check: Box::new(move || {
            let mut sums = Sums::new(&format, set);
            sums.measure(&view(&format, &checked));
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
            match sums.get() == expected {
                true => Ok(()),
                false => Err("the sums differ from those of one sample at a time".into()),
            }
        }),
    })
}
