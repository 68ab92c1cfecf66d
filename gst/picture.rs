//! Pictures in GStreamer's buffers: copied in row by row, and out into buffers of the element's own.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use milkglass::error::{SourceError, SourceKind};
use milkglass::geometry::{Orientation, PixelAspect};
use milkglass::picture::{ColorMatrix, ColorRange, MAX_SIDE, PixelFormat, View, ViewMut};
use milkglass::{Error, FrameFormat, Result};

/// The formats of the element, as GStreamer and as the engine calls them.
const FORMATS: [(video::VideoFormat, PixelFormat); 4] = [
    (video::VideoFormat::Nv12, PixelFormat::Nv12),
    (video::VideoFormat::I420, PixelFormat::I420),
    (video::VideoFormat::Yuy2, PixelFormat::Yuyv),
    (video::VideoFormat::Rgb, PixelFormat::Rgb24),
];
/// The fields of caps that describe a picture. Others are not passed on: some hold buffers.
const FIELDS: [&str; 10] = [
    "format",
    "width",
    "height",
    "framerate",
    "max-framerate",
    "pixel-aspect-ratio",
    "colorimetry",
    "chroma-site",
    "interlace-mode",
    "field-order",
];

/// What both pads take and give.
pub(crate) fn caps() -> gst::Caps {
    video::VideoCapsBuilder::new()
        .format_list(FORMATS.map(|f| f.0))
        .width_range(1..=MAX_SIDE as i32)
        .height_range(1..=MAX_SIDE as i32)
        .build()
}

/// What is known of a stream from its caps.
#[derive(Clone)]
pub(crate) struct Stream {
    pub caps: gst::Caps,
    pub info: video::VideoInfo,
    pub format: FrameFormat,
    /// Frames per second; `None` when caps do not tell.
    pub fps: Option<f64>,
}

impl Stream {
    pub fn from_caps(caps: &gst::CapsRef, orientation: Orientation) -> Result<Stream, String> {
        let refuse = |why: String| format!("these caps cannot be used: {why}");
        let given = caps.structure(0).ok_or_else(|| refuse("they are empty".into()))?;
        let mut kept = gst::Structure::new_empty(given.name());
        for (field, value) in given.iter().filter(|(field, _)| FIELDS.contains(&field.as_str())) {
            kept.set_value(field, value.clone());
        }
        let caps = gst::Caps::from(kept);
        let info = video::VideoInfo::from_caps(&caps).map_err(|e| refuse(e.to_string()))?;
        let pixel = FORMATS.iter().find(|f| f.0 == info.format()).map(|f| f.1);
        let pixel = pixel.ok_or_else(|| refuse(format!("the format is {}", info.format())))?;
        let range = match info.colorimetry().range() {
            video::VideoColorRange::Range0_255 => ColorRange::Full,
            _ => ColorRange::Limited,
        };
        let matrix = match info.colorimetry().matrix() {
            video::VideoColorMatrix::Bt709 => ColorMatrix::Bt709,
            video::VideoColorMatrix::Bt2020 => ColorMatrix::Bt2020,
            _ => ColorMatrix::Bt601,
        };
        let format =
            FrameFormat::new(pixel, info.width(), info.height()).map_err(|e| refuse(e.to_string()))?;
        let (width, height) = (info.par().numer(), info.par().denom());
        let told = PixelAspect::new(width.try_into().unwrap_or(0), height.try_into().unwrap_or(0));
        let format = format.with_color(range, matrix).with_orientation(orientation);
        let format = format.with_told_aspects(told.as_slice());
        let rate = |f: gst::Fraction| f64::from(f.numer()) / f64::from(f.denom().max(1));
        let most = given.get::<gst::Fraction>("max-framerate").ok().map(rate);
        let fps = [Some(rate(info.fps())), most].into_iter().flatten().find(|fps| *fps > 0.0);
        Ok(Stream { caps, info, format, fps })
    }
}

/// Copies a buffer's picture. Offsets and strides are those of its `GstVideoMeta`, if it has one, and every row is looked
/// up within the buffer's bounds.
pub(crate) fn read(buffer: &gst::BufferRef, info: &video::VideoInfo, view: &mut ViewMut<'_>) -> Result<()> {
    let refuse = |why: &str| SourceError::new(SourceKind::Damaged, why);
    let (offsets, strides) = match buffer.meta::<video::VideoMeta>() {
        Some(meta)
            if (meta.format(), meta.width(), meta.height())
                == (info.format(), info.width(), info.height()) =>
        {
            (meta.offset().to_vec(), meta.stride().to_vec())
        }
        Some(_) => return Err(refuse("its GstVideoMeta contradicts the caps").into()),
        None => (info.offset().to_vec(), info.stride().to_vec()),
    };
    let map = buffer.map_readable().map_err(|_| refuse("it cannot be mapped"))?;
    for n in 0..view.format().planes().len() {
        let plane = view.format().planes()[n];
        let place = offsets.get(n).zip(strides.get(n).and_then(|s| usize::try_from(*s).ok()));
        let (offset, stride) = place.ok_or_else(|| refuse("a plane is missing, or stored upside down"))?;
        if stride < plane.row_bytes() {
            return Err(refuse("its rows are shorter than their samples").into());
        }
        let len =
            stride.checked_mul(plane.height as usize - 1).and_then(|l| l.checked_add(plane.row_bytes()));
        let rows = len.and_then(|len| map.get(*offset..offset.checked_add(len)?));
        view.copy_plane(n, rows.ok_or_else(|| refuse("it is smaller than a picture of its format"))?, stride);
    }
    Ok(())
}

/// Buffers that only ever hold redacted pictures (I8).
pub(crate) struct Writer {
    pool: gst::BufferPool,
    info: video::VideoInfo,
}

impl Writer {
    pub fn new(stream: &Stream) -> Result<Writer> {
        let refuse = |_| Error::other("no memory for redacted frames");
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        let size = u32::try_from(stream.info.size()).unwrap_or(u32::MAX);
        config.set_params(Some(&stream.caps), size, 0, 0);
        pool.set_config(config).map_err(refuse)?;
        pool.set_active(true).map_err(refuse)?;
        Ok(Writer { pool, info: stream.info.clone() })
    }

    /// A copy of a redacted picture. What lies between its rows is overwritten too: new memory may have been anything.
    pub fn write(&self, view: &View<'_>) -> Result<gst::Buffer> {
        let refuse = || Error::other("no memory for a redacted frame");
        let mut buffer = self.pool.acquire_buffer(None).map_err(|_| refuse())?;
        {
            let buffer = buffer.get_mut().ok_or_else(refuse)?;
            let mut map = buffer.map_writable().map_err(|_| refuse())?;
            let planes = view.format().planes();
            for (n, plane) in planes.iter().enumerate() {
                let (offset, stride) = (self.info.offset()[n], self.info.stride()[n] as usize);
                let end = self.info.offset().get(n + 1).copied().filter(|_| n + 1 < planes.len());
                let end = end.unwrap_or(map.len());
                let rows = map.get_mut(offset..end).ok_or_else(refuse)?;
                let (height, row) = (plane.height as usize, plane.row_bytes());
                if stride < row || rows.len() < (height - 1) * stride + row {
                    return Err(refuse());
                }
                view.copy_plane(n, rows, stride);
                for y in 0..height {
                    let next = ((y + 1) * stride).min(rows.len());
                    rows[y * stride + row..next].fill(0);
                }
                let below = (height * stride).min(rows.len());
                rows[below..].fill(0);
            }
        }
        Ok(buffer)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Buffers that are still downstream are freed when they come back.
        let _ = self.pool.set_active(false);
    }
}

/// What `image-orientation` says, as EXIF numbers it.
pub(crate) fn orientation(tag: &str) -> Option<Orientation> {
    let names = [
        "rotate-0",
        "flip-rotate-0",
        "rotate-180",
        "flip-rotate-180",
        "flip-rotate-270",
        "rotate-90",
        "flip-rotate-90",
        "rotate-270",
    ];
    let exif = (1..).zip(names).find(|(_, name)| *name == tag)?.0;
    Orientation::from_exif(exif)
}
