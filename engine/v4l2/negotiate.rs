//! Agreeing with a driver on format, size and rate. Drivers answer with what they can do: what came back is what counts.

use super::V4l2Config;
use super::format::{CameraFormat, ColorCodes, Fourcc, Negotiated, unsupported};
use super::sys::{Device, Identity, Kind};
use crate::error::{CameraError, CameraKind, Error, Result};

/// A device whose format is settled.
pub(super) struct Settled {
    pub kind: Kind,
    pub negotiated: Negotiated,
    pub fps: Option<f64>,
}

/// Chooses a format: the first that the camera grants in the wanted size and rate, or else the one with the best rate.
pub(super) fn settle(device: &Device, identity: &Identity, config: &V4l2Config) -> Result<Settled> {
    let device_name = config.device.display().to_string();
    let refuse = |kind, why: String| {
        Err(CameraError::new(kind, format!("{device_name}: {why}")).about(&device_name).into())
    };
    let Some(kind) = identity.capture else {
        return refuse(CameraKind::NoCamera, format!("{} does not capture video", identity.card));
    };
    let offered = device.formats(kind);
    let any = || CameraFormat::ALL.into_iter().flat_map(|f| f.fourccs()).copied().collect();
    let wanted = if config.formats.is_empty() { any() } else { config.formats.clone() };
    let candidates = wanted.into_iter().filter(|f| offered.iter().any(|o| o.0 == *f));
    let mut refused = Vec::new();
    let mut best: Option<Settled> = None;
    for fourcc in candidates {
        match attempt(device, kind, fourcc, config) {
            Ok(settled) => {
                // A driver that does not tell its rate is believed.
                let enough =
                    |s: &Settled| s.fps.zip(config.fps).is_none_or(|(got, asked)| got >= 0.95 * asked);
                let done = enough(&settled);
                if done || best.as_ref().is_none_or(|b| b.fps < settled.fps) {
                    best = Some(settled);
                }
                if done {
                    break;
                }
            }
            Err(e) => refused.push(format!("{fourcc}: {e}")),
        }
    }
    let Some(best) = best else {
        let fourccs: Vec<_> = offered.iter().map(|o| o.0.to_string()).collect();
        let why = format!(
            "no format fits ({}); the camera offers {}",
            if refused.is_empty() { "none of those wanted is offered".into() } else { refused.join("; ") },
            fourccs.join(", ")
        );
        return refuse(CameraKind::Unsupported, why);
    };
    // Another one may have been tried after it.
    attempt(device, kind, best.negotiated.fourcc, config)
}

/// Sets one format, and checks what came back of it.
fn attempt(device: &Device, kind: Kind, fourcc: Fourcc, config: &V4l2Config) -> Result<Settled> {
    let refuse = |why: String| Err(unsupported(why));
    let io = |e| Error::io("asking for it", e);
    let size = match config.size {
        Some(size) => size,
        None => device.format(kind).map_err(io)?.size,
    };
    let negotiated = device.set_format(kind, fourcc, size, ColorCodes::default()).map_err(io)?;
    if negotiated.fourcc != fourcc {
        return refuse(format!("the driver sets {} instead", negotiated.fourcc));
    }
    if negotiated.size != size {
        let (width, height) = negotiated.size;
        return refuse(format!("the nearest size is {width}x{height}"));
    }
    if !negotiated.progressive {
        return refuse("it is interlaced".into());
    }
    let format = negotiated.frame_format()?;
    if negotiated.camera_format()? != CameraFormat::Mjpeg {
        negotiated.rows(&format).map_err(unsupported)?;
    }
    let fps = device.set_rate(kind, config.fps);
    Ok(Settled { kind, negotiated, fps })
}
