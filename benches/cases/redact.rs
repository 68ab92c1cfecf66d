//! Styles and zones in frames of each format, what they could cost at best, and the loops for targets.

use std::hint::black_box;
use std::rc::Rc;

use milkglass::FrameFormat;
use milkglass::geometry::PixelRect;
use milkglass::internal::{Hider, Shape, ZoneMask, buffer_len, evens, in_plane, odd_means, view, view_mut};
use milkglass::picture::{PixelFormat, View, ViewMut};
use milkglass::policy::{Color, Polygon, Style, Zone};
use milkglass::time::Timestamp;

use super::{Case, FORMATS, InstructionSet};

const SIZE: (u32, u32) = (1920, 1080);
/// Somewhere in the picture, begun at no round number of bytes.
const FACE: PixelRect = PixelRect { x0: 702, y0: 318, x1: 902, y1: 518 };
const PIXELATE: Style = Style::Pixelate { cells: 4 };
const BLUR: Style = Style::Blur { cells: 5 };
/// Not a grey, so that no plane is filled with one byte alone.
const PAINT: Style = Style::Fill(Color { r: 40, g: 90, b: 200 });
/// Hides 61 % of the picture.
const ZONE: [(f64, f64); 6] = [(0.05, 0.1), (0.6, 0.0), (0.95, 0.3), (0.85, 0.95), (0.5, 0.69), (0.15, 0.95)];
/// Longer than cells are held: they are sampled anew.
const LATER: u64 = 600_000_000;

pub(super) fn cases(set: InstructionSet) -> Vec<Case> {
    let mut cases = Vec::new();
    for (pixel, name) in FORMATS {
        let Ok(format) = FrameFormat::new(pixel, SIZE.0, SIZE.1) else { continue };
        let face = || Shape::Rect(FACE);
        cases.push(drawn(format!("pixelate/{name}-200x200-4"), set, format, face(), PIXELATE, LATER));
        cases.push(drawn(format!("pixelate-held/{name}-200x200-4"), set, format, face(), PIXELATE, 0));
        cases.push(drawn(format!("blur/{name}-200x200-5"), set, format, face(), BLUR, LATER));
        cases.push(drawn(format!("fill/{name}-200x200"), set, format, face(), PAINT, 0));
        if let Some(zone) = zone(&format) {
            cases.push(drawn(format!("polygon/{name}-61-percent"), set, format, zone, PAINT, 0));
        }
        match pixel {
            PixelFormat::Nv12 => cases.extend(limits(format)),
            PixelFormat::Yuyv => cases.push(to_nv12(set, format)),
            _ => {}
        }
    }
    cases
}

/// The bytes under it.
fn bytes(shape: &Shape, format: &FrameFormat) -> u64 {
    let mut bytes = 0;
    for plane in format.planes() {
        shape.runs(plane, |_, x0, x1| bytes += u64::from(x1 - x0) * plane.channels as u64);
    }
    bytes
}

/// Luma pixels.
fn pixels(shape: &Shape, format: &FrameFormat) -> u64 {
    let (plane, mut pixels) = (&format.planes()[0], 0);
    shape.runs(plane, |_, x0, x1| pixels += u64::from(x1 - x0) << plane.shift.0);
    pixels
}

fn zone(format: &FrameFormat) -> Option<Shape> {
    let zone = Zone::new("bench", Polygon::new(ZONE).ok()?, PAINT).ok()?;
    ZoneMask::new(&zone, format).map(Shape::Zone)
}

/// A picture in which neighbours differ, and mosaics of its own.
struct Picture {
    format: FrameFormat,
    bytes: Vec<u8>,
    start: usize,
    now: u64,
}

impl Picture {
    fn new(format: FrameFormat) -> Picture {
        let bytes = vec![0; buffer_len(&format) + 63];
        // As a frame of the pool: rows begin at multiples of 64 bytes.
        let start = bytes.as_ptr().align_offset(64).min(63);
        let mut picture = Picture { format, bytes, start, now: 0 };
        for (i, plane) in format.planes().iter().enumerate() {
            for y in 0..plane.height {
                let mut view = picture.view_mut();
                for (x, v) in (0..).zip(view.row_mut(i, y)) {
                    *v = ((x * 7 + y * 13 + (x * y) % 31) as u8) ^ ((i as u8) << 5);
                }
            }
        }
        picture
    }

    fn view_mut(&mut self) -> ViewMut<'_> {
        let len = buffer_len(&self.format);
        view_mut(&self.format, &mut self.bytes[self.start..self.start + len])
    }

    fn view(&self) -> View<'_> {
        view(&self.format, &self.bytes[self.start..self.start + buffer_len(&self.format)])
    }

    fn draw(&mut self, hider: &mut Hider, shape: &Shape, style: Style, later: u64) {
        self.now += later;
        // A track's cells are sampled once: time that passes stands for another track.
        if later > 0 {
            hider.forget();
        }
        let now = Timestamp::from_nanos(self.now);
        hider.hide(&mut self.view_mut(), shape, style, now);
    }
}

/// One style over one shape, `later` nanoseconds after the last frame.
fn drawn(
    name: String,
    set: InstructionSet,
    format: FrameFormat,
    place: Shape,
    style: Style,
    later: u64,
) -> Case {
    let (mut hider, place) = (Hider::new(set), Rc::new(place));
    let bytes = bytes(&place, &format);
    let reads = if matches!(style, Style::Fill(_)) || later == 0 { 0 } else { bytes };
    let work = (pixels(&place, &format), reads, bytes);
    let mut picture = Picture::new(format);
    let again = Rc::clone(&place);
    let run = move || picture.draw(&mut hider, &again, style, later);
    let check = move || {
        let [mut got, mut expected] = [Picture::new(format), Picture::new(format)];
        let [mut ours, mut scalar] = [set, InstructionSet::Scalar].map(Hider::new);
        for _ in 0..2 {
            got.draw(&mut ours, &place, style, later);
            expected.draw(&mut scalar, &place, style, later);
        }
        same(got.view(), expected.view())?;
        only_inside(got.view(), Picture::new(format).view(), &place)
    };
    Case::new(name, work, run, check)
}

fn same(got: View<'_>, expected: View<'_>) -> Result<(), String> {
    for (i, plane) in expected.format().planes().iter().enumerate() {
        for y in 0..plane.height {
            if got.row(i, y) != expected.row(i, y) {
                return Err(format!("row {y} of plane {i} is not the scalar set's"));
            }
        }
    }
    Ok(())
}

/// Nothing changed outside the shape, and most of what is inside did.
fn only_inside(got: View<'_>, raw: View<'_>, shape: &Shape) -> Result<(), String> {
    for (i, plane) in raw.format().planes().iter().enumerate() {
        let (n, mut inside, mut changed) = (plane.channels, 0, 0);
        let mut left: Vec<Vec<u8>> = (0..plane.height).map(|y| got.row(i, y).to_vec()).collect();
        shape.runs(plane, |y, x0, x1| {
            let run = x0 as usize * n..x1 as usize * n;
            let original = &raw.row(i, y)[run.clone()];
            inside += original.len();
            changed += left[y as usize][run.clone()].iter().zip(original).filter(|(a, b)| a != b).count();
            left[y as usize][run].copy_from_slice(original);
        });
        if changed * 10 < inside * 9 {
            return Err(format!("plane {i}: of {inside} bytes only {changed} changed"));
        }
        if (0..plane.height).zip(&left).any(|(y, row)| row != raw.row(i, y)) {
            return Err(format!("plane {i} changed outside the shape"));
        }
    }
    Ok(())
}

/// What reading and writing the same bytes costs, whoever does it: what the styles are held against.
fn limits(format: FrameFormat) -> Vec<Case> {
    let fine = || Ok(());
    let face = Shape::Rect(FACE);
    let (of_face, under_face) = (pixels(&face, &format), bytes(&face, &format));
    let mut picture = Picture::new(format);
    let read_write = move || {
        black_box(read(picture.view(), FACE));
        write(picture.view_mut(), &Shape::Rect(FACE));
    };
    let mut picture = Picture::new(format);
    let face = move || write(picture.view_mut(), &Shape::Rect(FACE));
    let mut limits = vec![
        Case::new("limit/read-write-nv12-200x200", (of_face, under_face, under_face), read_write, fine),
        Case::new("limit/write-nv12-200x200", (of_face, 0, under_face), face, fine),
    ];
    if let Some(zone) = zone(&format) {
        let work = (pixels(&zone, &format), 0, bytes(&zone, &format));
        let mut picture = Picture::new(format);
        let run = move || write(picture.view_mut(), &zone);
        limits.push(Case::new("limit/write-nv12-61-percent", work, run, fine));
    }
    let (from, mut to) = (Picture::new(format), Picture::new(format));
    let pixels = u64::from(SIZE.0) * u64::from(SIZE.1);
    let copy = move || {
        let len = buffer_len(&format);
        to.bytes[to.start..][..len].copy_from_slice(black_box(&from.bytes[from.start..][..len]));
    };
    limits.push(Case::new("limit/copy-nv12-1920x1080", (pixels, pixels * 3 / 2, pixels * 3 / 2), copy, fine));
    limits
}

/// Every byte of a rectangle is read, and as little as possible done with it.
fn read(view: View<'_>, area: PixelRect) -> u64 {
    let mut seen = [0u64; 8];
    for (i, plane) in view.format().planes().iter().enumerate() {
        let r = in_plane(area, plane);
        for y in r.y0..r.y1 {
            let row = &view.row(i, y)[r.x0 as usize * plane.channels..r.x1 as usize * plane.channels];
            let (eights, rest) = row.as_chunks::<8>();
            let (groups, few) = eights.as_chunks::<8>();
            for group in groups {
                for (seen, v) in seen.iter_mut().zip(group) {
                    *seen |= u64::from_ne_bytes(*v);
                }
            }
            few.iter().for_each(|v| seen[0] |= u64::from_ne_bytes(*v));
            rest.iter().for_each(|v| seen[1] |= u64::from(*v));
        }
    }
    seen.iter().fold(0, |all, v| all | v)
}

/// The C library's memset, run by run.
fn write(mut view: ViewMut<'_>, shape: &Shape) {
    let format = *view.format();
    for (i, plane) in format.planes().iter().enumerate() {
        let n = plane.channels;
        shape.runs(plane, |y, x0, x1| view.row_mut(i, y)[x0 as usize * n..x1 as usize * n].fill(128));
    }
}

/// A whole picture of YUYV as NV12.
fn to_nv12(set: InstructionSet, format: FrameFormat) -> Case {
    let pixels = u64::from(SIZE.0) * u64::from(SIZE.1);
    let picture = Rc::new(Picture::new(format));
    let convert = |set: InstructionSet, picture: &Picture, to: &mut [u8]| {
        let wide = SIZE.0 as usize;
        let (luma, chroma) = to.split_at_mut(wide * SIZE.1 as usize);
        for (y, row) in (0..).zip(luma.chunks_exact_mut(wide)) {
            evens(set, picture.view().row(0, y), row);
        }
        for (y, row) in (0..).zip(chroma.chunks_exact_mut(wide)) {
            odd_means(set, picture.view().row(0, 2 * y), picture.view().row(0, 2 * y + 1), row);
        }
    };
    let mut to = vec![0; pixels as usize * 3 / 2];
    let from = Rc::clone(&picture);
    let run = move || convert(set, &from, black_box(&mut to));
    let check = move || {
        let [got, expected] = [set, InstructionSet::Scalar].map(|set| {
            let mut to = vec![0; pixels as usize * 3 / 2];
            convert(set, &picture, &mut to);
            to
        });
        let (raw, wide) = (picture.view(), SIZE.0 as usize);
        let luma = got[5 * wide + 100] == raw.row(0, 5)[200];
        let cb = got[wide * SIZE.1 as usize + 2] == raw.row(0, 0)[5].midpoint(raw.row(0, 1)[5]);
        if got != expected || !luma || !cb { Err("not the scalar set's picture".into()) } else { Ok(()) }
    };
    Case::new("convert/yuyv-nv12-1920x1080", (pixels, 2 * pixels, pixels * 3 / 2), run, check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_gives_what_the_scalar_set_gives() {
        for set in InstructionSet::available() {
            for mut case in cases(set) {
                (0..2).for_each(|_| case.run());
                case.check().unwrap_or_else(|wrong| panic!("{} with {}: {wrong}", case.name, set.name()));
            }
        }
    }

    #[test]
    fn the_zone_is_as_large_as_its_name_says() {
        let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1).unwrap();
        let share = pixels(&zone(&format).unwrap(), &format) as f64 / (1920.0 * 1080.0);
        assert!((share - 0.61).abs() < 0.005, "{share}");
    }

    #[test]
    fn a_sample_outside_the_shape_is_noticed() {
        let format = FrameFormat::new(PixelFormat::Nv12, SIZE.0, SIZE.1).unwrap();
        let [mut got, raw] = [Picture::new(format), Picture::new(format)];
        got.draw(&mut Hider::new(InstructionSet::chosen()), &Shape::Rect(FACE), PAINT, 0);
        assert_eq!(only_inside(got.view(), raw.view(), &Shape::Rect(FACE)), Ok(()));
        got.view_mut().row_mut(1, 3)[7] ^= 1;
        assert!(only_inside(got.view(), raw.view(), &Shape::Rect(FACE)).is_err());
        assert!(only_inside(raw.view(), raw.view(), &Shape::Rect(FACE)).is_err());
    }
}
