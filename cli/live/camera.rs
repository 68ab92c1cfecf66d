//! Where live frames come from: a V4L2 camera, or Y4M in its own time.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use milkglass::source::Y4mSource;
use milkglass::v4l2::{CameraFormat, V4l2Config, V4l2Counters, V4l2Source};
use milkglass::{FrameFormat, FrameSource, Opening};

use crate::args::LiveArgs;
use crate::outcome::Failure;

/// The rate that is assumed of a driver that tells none.
const USUAL_RATE: (u32, u32) = (30, 1);

/// An open source, and what is known of its frames.
pub struct Camera {
    pub source: Box<dyn FrameSource>,
    pub format: FrameFormat,
    /// Frames per second, as a fraction.
    pub rate: (u32, u32),
    pub counters: Option<V4l2Counters>,
}

impl Camera {
    /// Opens what `--from` names.
    pub fn open(args: &LiveArgs, hiding: &Opening) -> Result<Camera, Failure> {
        let mut camera = Camera::from(args)?;
        camera.format = hiding.shaped(camera.format, camera.format.pixel_aspects());
        Ok(camera)
    }

    fn from(args: &LiveArgs) -> Result<Camera, Failure> {
        let from = args.from.as_path();
        if from == Path::new("-") {
            return Self::y4m(args, BufReader::with_capacity(1 << 20, stdin()), false);
        }
        let kind = std::fs::metadata(from).map_err(|e| {
            Failure::new(format!("{}: {e}; `milkglass devices` lists the cameras", from.display()))
        })?;
        if kind.file_type().is_char_device() {
            return Self::v4l2(args);
        }
        let file = File::open(from).map_err(|e| Failure::new(format!("{}: {e}", from.display())))?;
        Self::y4m(args, BufReader::with_capacity(1 << 20, file), kind.is_file()).map_err(|f| f.about(from))
    }

    fn v4l2(args: &LiveArgs) -> Result<Camera, Failure> {
        let mut config = V4l2Config::new(&args.from);
        config.size = args.size.as_deref().map(size).transpose()?;
        config.fps = args.fps;
        config.formats = CameraFormat::ALL.into_iter().flat_map(CameraFormat::fourccs).copied().collect();
        let (source, format) = V4l2Source::open(&config)?;
        let rate = source.fps().map_or(USUAL_RATE, |fps| ((fps * 1000.0).round() as u32, 1000));
        let counters = Some(source.counters());
        Ok(Camera { format, rate, counters, source: Box::new(source) })
    }

    fn y4m<R: BufRead + Send + 'static>(args: &LiveArgs, input: R, paced: bool) -> Result<Camera, Failure> {
        if args.size.is_some() || args.fps.is_some() {
            return Err(Failure::new("--size and --fps are for cameras; a Y4M stream has its own"));
        }
        let source = Y4mSource::open(input, paced)?;
        let (format, rate) = (source.format()?, source.header().frame_rate);
        // What comes through a pipe comes from a camera, whose rate may fall below the one it told.
        let source = if paced { source } else { source.timed_on_arrival() };
        Ok(Camera { format, rate, counters: None, source: Box::new(source) })
    }
}

fn size(text: &str) -> Result<(u32, u32), Failure> {
    let wrong = || Failure::new(format!("--size {text}: write it as width x height, such as 1280x720"));
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    Ok((width.parse().map_err(|_| wrong())?, height.parse().map_err(|_| wrong())?))
}
