use std::cell::Cell;

use super::*;
use crate::frame::{FrameMeta, FramePool};
use crate::time::Timestamp;

fn negotiated(fourcc: &[u8; 4], size: (u32, u32), memory: &[(usize, usize)]) -> Negotiated {
    let memory = memory.iter().map(|&(stride, len)| Memory { stride, len }).collect();
    let color = ColorCodes::default();
    Negotiated { fourcc: Fourcc(*fourcc), size, progressive: true, memory, color }
}

/// The frame that is made of memory planes, row by row; `None` when nothing was copied.
fn copied(n: &Negotiated, memory: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let format = n.frame_format().unwrap();
    let rows = n.rows(&format).unwrap();
    let pool = FramePool::new(format, 1);
    let whole = Cell::new(false);
    let out = Cell::new(Vec::new());
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    pool.fill(meta, |view| {
        whole.set(copy_rows(&rows, |i| &memory[i], view));
        let planes = format.planes().iter().enumerate();
        let all = planes.flat_map(|(p, plane)| (0..plane.height).map(move |y| (p, y)));
        out.set(all.map(|(p, y)| view.as_view().row(p, y).to_vec()).collect());
        Ok(())
    })
    .unwrap();
    whole.get().then(|| out.take())
}

/// Bytes that tell their place.
fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + i / 251 + seed) % 256) as u8).collect()
}

#[test]
fn rows_are_found_behind_any_stride() {
    // 6x4 with rows of 10 bytes: luma, then chroma rows at once behind the last luma row.
    let memory = [bytes(60, 0)];
    let frame = copied(&negotiated(b"NV12", (6, 4), &[(10, 60)]), &memory).unwrap();
    let expected = (0..6).map(|y| memory[0][10 * y..10 * y + 6].to_vec());
    assert_eq!(frame, expected.collect::<Vec<_>>());

    // Planar chroma has half the stride.
    let frame = copied(&negotiated(b"YU12", (6, 4), &[(10, 60)]), &memory).unwrap();
    let luma = (0..4).map(|y| memory[0][10 * y..10 * y + 6].to_vec());
    let chroma = (0..4).map(|y| memory[0][40 + 5 * y..40 + 5 * y + 3].to_vec());
    assert_eq!(frame, luma.chain(chroma).collect::<Vec<_>>());

    for (fourcc, row) in [(b"YUYV", 12), (b"RGB3", 18)] {
        let frame = copied(&negotiated(fourcc, (6, 3), &[(20, 60)]), &memory).unwrap();
        let expected = (0..3).map(|y| memory[0][20 * y..20 * y + row].to_vec());
        assert_eq!(frame, expected.collect::<Vec<_>>());
    }
}

#[test]
fn separate_memory_planes_have_their_own_strides() {
    let memory = [bytes(40, 0), bytes(40, 1), bytes(40, 2)];
    let frame = copied(&negotiated(b"NM12", (6, 4), &[(10, 40), (8, 40)]), &memory).unwrap();
    let luma = (0..4).map(|y| memory[0][10 * y..10 * y + 6].to_vec());
    let chroma = (0..2).map(|y| memory[1][8 * y..8 * y + 6].to_vec());
    assert_eq!(frame, luma.chain(chroma).collect::<Vec<_>>());

    let frame = copied(&negotiated(b"YM12", (6, 4), &[(10, 40), (4, 40), (7, 40)]), &memory).unwrap();
    assert_eq!(frame[4], memory[1][..3]);
    assert_eq!(frame[7], memory[2][7..10]);
}

#[test]
fn odd_sizes_round_chroma_up() {
    let memory = [bytes(64, 0)];
    // 5x3: luma 5 bytes in rows of 8, chroma two rows of 3 pairs from byte 24.
    let frame = copied(&negotiated(b"NV12", (5, 3), &[(8, 64)]), &memory).unwrap();
    assert_eq!(frame[2], memory[0][16..21]);
    assert_eq!(frame[4], memory[0][32..38]);
}

#[test]
fn a_picture_that_is_cut_off_is_not_copied_at_all() {
    let n = negotiated(b"NV12", (6, 4), &[(10, 60)]);
    // The last row's padding may be missing, its samples may not.
    assert!(copied(&n, &[bytes(56, 0)]).is_some());
    assert!(copied(&n, &[bytes(55, 0)]).is_none());
    assert!(copied(&n, &[Vec::new()]).is_none());
}

#[test]
fn impossible_layouts_are_refused() {
    for (n, why) in [
        (negotiated(b"NV12", (6, 4), &[(5, 60)]), "rows are shorter"),
        (negotiated(b"NV12", (6, 4), &[(0, 60)]), "rows are shorter"),
        (negotiated(b"YU12", (6, 4), &[(6, 35)]), "smaller than a picture"),
        (negotiated(b"NM12", (6, 4), &[(6, 60)]), "too few memory planes"),
        (negotiated(b"NV12", (6, 4), &[]), "too few memory planes"),
    ] {
        let error = n.rows(&n.frame_format().unwrap()).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(negotiated(b"NV21", (6, 4), &[(6, 60)]).frame_format().is_err());
}

#[test]
fn colours_follow_the_defaults_of_v4l2() {
    use ColorMatrix::{Bt601, Bt709, Bt2020};
    use ColorRange::{Full, Limited};
    use v4l::v4l_sys::*;
    let codes = |colorspace, ycbcr_enc, quantization| ColorCodes { colorspace, ycbcr_enc, quantization };
    let of = |colorspace, enc, range| color(CameraFormat::Yuyv, codes(colorspace, enc, range));
    assert_eq!(of(0, 0, 0), (Limited, Bt601));
    assert_eq!(of(v4l2_colorspace_V4L2_COLORSPACE_SRGB, 0, 0), (Limited, Bt601), "most webcams");
    assert_eq!(of(v4l2_colorspace_V4L2_COLORSPACE_SMPTE170M, 0, 0), (Limited, Bt601));
    assert_eq!(of(v4l2_colorspace_V4L2_COLORSPACE_REC709, 0, 0), (Limited, Bt709));
    assert_eq!(of(v4l2_colorspace_V4L2_COLORSPACE_BT2020, 0, 0), (Limited, Bt2020));
    assert_eq!(of(v4l2_colorspace_V4L2_COLORSPACE_JPEG, 0, 0), (Full, Bt601));
    let (rec709, enc601) = (v4l2_colorspace_V4L2_COLORSPACE_REC709, v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_601);
    assert_eq!(of(rec709, enc601, 0), (Limited, Bt601), "what is said wins over the default");
    assert_eq!(of(rec709, 0, v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE), (Full, Bt709));
    let srgb = v4l2_colorspace_V4L2_COLORSPACE_SRGB;
    assert_eq!(color(CameraFormat::Mjpeg, codes(srgb, 0, 0)), (Full, Bt601), "JPEG, whatever else is said");
    let limited = v4l2_quantization_V4L2_QUANTIZATION_LIM_RANGE;
    let jpeg = color(CameraFormat::Mjpeg, codes(srgb, 0, limited));
    assert_eq!(jpeg, (Limited, Bt601), "unless it is said outright");
}

#[test]
fn output_devices_are_told_the_colours_that_are_read_from_cameras() {
    for matrix in [ColorMatrix::Bt601, ColorMatrix::Bt709, ColorMatrix::Bt2020] {
        for range in [ColorRange::Limited, ColorRange::Full] {
            let format = FrameFormat::new(PixelFormat::Nv12, 6, 4).unwrap().with_color(range, matrix);
            assert_eq!(color(CameraFormat::Nv12, ColorCodes::of(&format)), (range, matrix));
        }
    }
}

#[test]
fn rows_are_written_where_they_are_read() {
    for (fourcc, memory) in [
        (b"NV12", &[(10, 60)][..]),
        (b"YU12", &[(10, 60)]),
        (b"YM12", &[(10, 40), (4, 40), (7, 40)]),
        (b"YUYV", &[(20, 80)]),
    ] {
        let n = negotiated(fourcc, (6, 4), memory);
        let format = n.frame_format().unwrap();
        let rows = n.rows(&format).unwrap();
        let before: Vec<_> = memory.iter().enumerate().map(|(i, m)| bytes(m.1, i)).collect();
        let mut after: Vec<_> = memory.iter().map(|m| vec![0; m.1]).collect();
        let pool = FramePool::new(format, 1);
        let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
        pool.fill(meta, |view| {
            copy_rows(&rows, |i| &before[i], view);
            write_rows(&rows, &view.as_view(), &mut after);
            Ok(())
        })
        .unwrap();
        assert_eq!(copied(&n, &after), copied(&n, &before), "{n:?}");
        let written: usize = after.iter().flatten().filter(|b| **b != 0).count();
        let samples: usize = format.planes().iter().map(|p| p.row_bytes() * p.height as usize).sum();
        assert!(written <= samples, "nothing between the rows: {written} of {samples}");
    }
}

#[test]
fn names_and_codes() {
    for format in CameraFormat::ALL {
        assert_eq!(CameraFormat::from_name(&format.to_string()), Some(format));
        for fourcc in format.fourccs() {
            assert_eq!(CameraFormat::from_fourcc(*fourcc), Some(format));
            assert_eq!(CameraFormat::from_name(&fourcc.to_string().to_lowercase()), Some(format));
        }
    }
    assert_eq!(CameraFormat::from_name("H264"), None);
    assert_eq!(Fourcc(*b"YUYV").to_string(), "YUYV");
    assert_eq!(Fourcc([b'R', b'G', b'B', 0xB4]).to_string(), "RGB4-BE");
    assert_eq!(Fourcc([0, b'A', b'\n', b' ']).to_string(), "\\u{0}A\\n ");
}

#[test]
fn pixels_are_square_but_for_those_of_television_and_what_was_scaled_of_it() {
    let told = |aspect, scaled, size| {
        let aspect = PixelShape { aspect, scaled }.aspect(size);
        aspect.map(|aspect| (aspect.width(), aspect.height()))
    };
    assert_eq!(told((1, 1), (2592, 1944), (1280, 720)), None, "a sensor that crops");
    assert_eq!(told((0, 0), (720, 576), (720, 576)), None);
    assert_eq!(told((59, 54), (720, 576), (720, 576)), Some((59, 54)));
    assert_eq!(told((59, 54), (0, 0), (720, 576)), Some((59, 54)));
    assert_eq!(told((59, 54), (704, 576), (704, 288)), Some((59, 108)), "2CIF");
    assert_eq!(told((10, 11), (720, 480), (720, 240)), Some((5, 11)));
    assert_eq!(told((10, 11), (720, 480), (360, 480)), Some((20, 11)));
    assert_eq!(told((59, 54), (720, 576), (16, 16384)), Some((59, 54)), "beyond what a picture can have");
    assert_eq!(told((u32::MAX, 3), (u32::MAX, u32::MAX), (u32::MAX, u32::MAX)), None);
}
