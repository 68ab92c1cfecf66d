//! Pictures in files: read upright and without alpha (`read.rs`), redacted, and given their name when they are complete.

mod aside;
pub(crate) mod exif;
mod jpeg;
mod read;

use std::io::Write as _;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use milkglass::detect::Ensemble;
use milkglass::engine::Engine;
use milkglass::frame::{FrameMeta, FramePool, RedactedFrame};
use milkglass::time::Timestamp;
use milkglass::{Detection, Detector, FrameFormat, Policy};

use crate::outcome::Failure;
use crate::partial::Partial;
pub use read::{Picture, read};

/// JPEG quality of redacted pictures: high, so that what need not be hidden is kept.
const JPEG_QUALITY: u8 = 92;

/// Formats of stills that are read and written, by file name extension.
pub fn format_of(path: &Path) -> Option<ImageFormat> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    format_from_name(&extension)
}

/// A format by its name.
pub fn format_from_name(name: &str) -> Option<ImageFormat> {
    match name {
        "png" => Some(ImageFormat::Png),
        "jpg" | "jpeg" => Some(ImageFormat::Jpeg),
        "webp" => Some(ImageFormat::WebP),
        "bmp" => Some(ImageFormat::Bmp),
        "tif" | "tiff" => Some(ImageFormat::Tiff),
        _ => None,
    }
}

/// The usual extension of a format.
pub fn extension_of(format: ImageFormat) -> &'static str {
    format.extensions_str().first().copied().unwrap_or("png")
}

/// One redacted picture, and what was found in it.
pub struct Still {
    /// The redacted picture.
    pub frame: RedactedFrame,
    /// Everything the detector returned.
    pub detections: Vec<Detection>,
    /// Why the detector failed, if it did: the picture is then obscured whole.
    pub detector_error: Option<String>,
}

/// Redacts one picture with the same engine that redacts a live camera. `format`: [`still_format`](crate::opening::still_format).
pub fn redact(
    picture: &RgbImage,
    format: FrameFormat,
    policy: &Policy,
    detector: &mut Ensemble,
) -> Result<Still, Failure> {
    let pool = FramePool::new(format, 2);
    let mut engine = Engine::new(policy.clone(), pool.clone(), detector.classes())?;
    let meta = FrameMeta { sequence: 0, captured: Timestamp::ZERO };
    let row_bytes = 3 * picture.width() as usize;
    let raw = pool.fill(meta, |view| {
        view.copy_plane(0, picture.as_raw(), row_bytes);
        Ok(())
    })?;
    let raw = raw.ok_or_else(|| Failure::new("no buffer was free for the picture"))?;
    engine.push(raw, Timestamp::ZERO)?;
    let (mut detections, mut detector_error) = (Vec::new(), None);
    if let Some(job) = engine.next_job() {
        let found = detector.detect(&job.view());
        match &found {
            Ok(found) => detections.clone_from(found),
            Err(e) => detector_error = Some(e.to_string()),
        }
        engine.observe(job, found);
    }
    engine.finish();
    let frame = engine.release(Timestamp::ZERO);
    let frame = frame.ok_or_else(|| Failure::new("the engine withheld the picture"))?;
    Ok(Still { frame, detections, detector_error })
}

/// The redacted pixels as an `image` picture.
pub fn to_image(frame: &RedactedFrame) -> Result<RgbImage, Failure> {
    let (width, height) = frame.format().size();
    let view = frame.view();
    let mut bytes = Vec::with_capacity(3 * width as usize * height as usize);
    (0..height).for_each(|y| bytes.extend_from_slice(view.row(0, y)));
    RgbImage::from_raw(width, height, bytes)
        .ok_or_else(|| Failure::new("the redacted picture has another size"))
}

/// Encodes a redacted picture into `target`, which appears only when it is complete.
pub fn write(picture: &RgbImage, target: &Path, format: ImageFormat, overwrite: bool) -> Result<(), Failure> {
    let wrong = |why: String| Failure::new(format!("cannot be written: {why}")).about(target);
    let partial = Partial::create(target, overwrite)?;
    let mut out = std::io::BufWriter::new(partial.file());
    let encoded = match format {
        ImageFormat::Jpeg => {
            picture.write_with_encoder(JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY))
        }
        // These encoders want to seek.
        other => {
            let mut bytes = std::io::Cursor::new(Vec::new());
            let encoded = picture.write_to(&mut bytes, other);
            encoded.and_then(|()| out.write_all(bytes.get_ref()).map_err(image::ImageError::IoError))
        }
    };
    encoded.map_err(|e| wrong(e.to_string()))?;
    out.flush().map_err(|e| wrong(e.to_string()))?;
    drop(out);
    partial.keep()
}
