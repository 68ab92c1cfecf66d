//! Which cameras there are, and which one is the same as before.

use std::path::{Path, PathBuf};

use super::format::{CameraFormat, Fourcc};
use super::sys::{Device, FrameSize, Identity};

/// A camera, as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Device file.
    pub path: PathBuf,
    /// The camera's name.
    pub card: String,
    /// The kernel driver.
    pub driver: String,
    /// Where it is plugged in; the same after it was unplugged and plugged in there again.
    pub bus_info: String,
    /// What it offers.
    pub formats: Vec<FormatInfo>,
}

/// A format that a camera offers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormatInfo {
    /// V4L2's code.
    pub fourcc: Fourcc,
    /// The driver's words for it.
    pub description: String,
    /// What it is captured as; `None` when it cannot be captured.
    pub format: Option<CameraFormat>,
    /// Sizes; empty when the driver does not tell.
    pub sizes: Vec<FrameSize>,
}

/// The cameras of this machine, by device number. Devices that cannot be opened (rights, in use by a driver that allows
/// one user) are left out.
pub fn devices() -> Vec<DeviceInfo> {
    let describe = |path: PathBuf| {
        let device = Device::open(&path).ok()?;
        let Identity { driver, card, bus_info, capture, .. } = device.identity().ok()?;
        let info = |(fourcc, description)| FormatInfo {
            fourcc,
            description,
            format: CameraFormat::from_fourcc(fourcc),
            sizes: device.sizes(fourcc),
        };
        let formats = device.formats(capture?).into_iter().map(info).collect();
        Some(DeviceInfo { path, card, driver, bus_info, formats })
    };
    nodes().into_iter().filter_map(describe).collect()
}

/// What stays the same when a camera is plugged in again, while its device number may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    card: String,
    bus_info: String,
    /// Which of the video nodes of one piece of hardware; `None` when the kernel does not tell.
    index: Option<u32>,
}

impl Home {
    pub fn of(path: &Path, identity: &Identity) -> Home {
        let Identity { card, bus_info, .. } = identity.clone();
        // A path below /dev/v4l/by-id is a link.
        let node = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        Home { card, bus_info, index: index(&node) }
    }

    /// Where it is now.
    pub fn find(&self) -> Option<(PathBuf, Device, Identity)> {
        nodes().into_iter().find_map(|path| {
            let device = Device::open(&path).ok()?;
            let identity = device.identity().ok().filter(|i| i.capture.is_some())?;
            (Home::of(&path, &identity) == *self).then_some((path, device, identity))
        })
    }
}

/// Device files of video devices, by number.
fn nodes() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
    let number = |name: &str| name.strip_prefix("video")?.parse::<u32>().ok();
    let mut found: Vec<_> =
        entries.flatten().filter_map(|e| Some((number(e.file_name().to_str()?)?, e.path()))).collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn index(node: &Path) -> Option<u32> {
    let file = Path::new("/sys/class/video4linux").join(node.file_name()?).join("index");
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}
