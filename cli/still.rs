//! Pictures in files: read upright and without alpha, redacted, written beside the target and then renamed.

use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use milkglass::detect::Ensemble;
use milkglass::{
    Detection, Detector, Engine, FrameFormat, FrameMeta, FramePool, PixelFormat, Policy, RedactedFrame,
    Timestamp,
};

use crate::outcome::Failure;

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

/// Reads a picture: turned upright, alpha dropped, 8 bits per channel. Pictures with several frames or pages are refused,
/// because all but the first would be lost or, worse, copied.
pub fn read(path: &Path) -> Result<RgbImage, Failure> {
    let wrong = |why: String| Failure::new(why).about(path);
    let unreadable = |e: std::io::Error| wrong(format!("cannot be read: {e}"));
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length == 0 {
        return Err(wrong("is empty (zero bytes); nothing was written for it".into()));
    }
    let file = || std::fs::File::open(path).map(BufReader::new).map_err(unreadable);
    let mut reader = ImageReader::new(file()?).with_guessed_format().map_err(unreadable)?;
    let undecodable = |e: image::ImageError| wrong(format!("is no picture that can be read: {e}"));
    match reader.format() {
        Some(ImageFormat::Png) => {
            if PngDecoder::new(file()?).and_then(|d| d.is_apng()).map_err(undecodable)? {
                return Err(wrong("is an animated PNG; convert it to a clip first".into()));
            }
        }
        Some(ImageFormat::WebP) => {
            if WebPDecoder::new(file()?).map_err(undecodable)?.has_animation() {
                return Err(wrong("is an animated WebP; convert it to a clip first".into()));
            }
        }
        Some(ImageFormat::Tiff) => {
            let pages = tiff::decoder::Decoder::new(file()?).map(|d| d.more_images());
            if pages.map_err(|e| wrong(format!("is no TIFF that can be read: {e}")))? {
                return Err(wrong("is a TIFF with several pages; split it first".into()));
            }
        }
        Some(ImageFormat::Jpeg | ImageFormat::Bmp) => {}
        _ => return Err(wrong("is no PNG, JPEG, WebP, BMP or TIFF".into())),
    }
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(1 << 30);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    // The size is checked before the pixels are decoded.
    FrameFormat::new(PixelFormat::Rgb24, width, height).map_err(|e| wrong(e.to_string()))?;
    let orientation = decoder.orientation().map_err(undecodable)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
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

/// Redacts one picture with the same engine that redacts a live camera. `format`: [`Hiding::still_format`](crate::hiding::Hiding).
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
    let mut partial = Partial::create(target, overwrite)?;
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

/// A file being written beside its target; removed when dropped, renamed when kept.
pub struct Partial {
    file: tempfile::NamedTempFile,
    target: PathBuf,
    overwrite: bool,
}

impl Partial {
    /// Creates it, and the target's folder if need be.
    pub fn create(target: &Path, overwrite: bool) -> Result<Partial, Failure> {
        let wrong = |why: String| Failure::new(format!("cannot be written: {why}")).about(target);
        refuse_existing(target, overwrite)?;
        let dir = match target.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(dir).map_err(|e| wrong(format!("its folder cannot be made: {e}")))?;
        // The container is chosen by the extension, so the partial file has the target's.
        let extension = target.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
        let permissions = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
        let file = tempfile::Builder::new()
            .prefix(".milkglass-")
            .suffix(&format!(".partial{extension}"))
            .permissions(permissions)
            .tempfile_in(dir)
            .map_err(|e| wrong(format!("{}; is the folder writable and the disk not full?", plain(&e))))?;
        Ok(Partial { file, target: target.to_path_buf(), overwrite })
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// To write into.
    pub fn file(&mut self) -> &mut std::fs::File {
        self.file.as_file_mut()
    }

    /// Renames it to the target.
    pub fn keep(self) -> Result<(), Failure> {
        let target = self.target;
        let kept = if self.overwrite {
            self.file.persist(&target).map_err(|e| e.error)
        } else {
            self.file.persist_noclobber(&target).map_err(|e| e.error)
        };
        kept.map(drop).map_err(|e| Failure::new(format!("cannot be written: {e}")).about(&target))
    }
}

/// The system's reason without the partial file's name, which means nothing to anybody.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or_default().to_owned()
}

/// A target that exists is kept, unless the user said otherwise.
pub fn refuse_existing(target: &Path, overwrite: bool) -> Result<(), Failure> {
    if !overwrite && std::fs::symlink_metadata(target).is_ok() {
        return Err(
            Failure::new("exists already; use --overwrite to replace it, or another -o").about(target)
        );
    }
    Ok(())
}
