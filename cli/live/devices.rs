//! `milkglass devices`: the cameras of this machine and what they offer.

use std::io::Write;

use milkglass::v4l2::{FrameSize, devices as cameras};

use crate::outcome::{Exit, Failure};

/// Sizes that are listed for a format; a webcam has a dozen, a virtual one hundreds.
const MOST_SIZES: usize = 16;

/// Prints one paragraph for each camera.
pub fn devices(out: &mut impl Write) -> Result<Exit, Failure> {
    let found = cameras();
    let mut print = |line: String| {
        writeln!(out, "{line}").map_err(|e| Failure::new(format!("the list cannot be printed: {e}")))
    };
    if found.is_empty() {
        return Err(Failure::new(
            "no camera was found: plug one in, load its driver, or ask for the right to open /dev/video* (group video)",
        ));
    }
    for device in found {
        print(format!(
            "{}  {} ({}, {})",
            device.path.display(),
            device.card,
            device.driver,
            device.bus_info
        ))?;
        let (usable, other): (Vec<_>, Vec<_>) = device.formats.iter().partition(|f| f.format.is_some());
        for format in usable {
            let more = format.sizes.len().saturating_sub(MOST_SIZES);
            let mut sizes: Vec<String> = format.sizes.iter().take(MOST_SIZES).map(text).collect();
            if more > 0 {
                sizes.push(format!("and {more} more"));
            }
            print(format!("  {}  {}: {}", format.fourcc, format.description, sizes.join(", ")))?;
        }
        if !other.is_empty() {
            let names: Vec<_> = other.iter().map(|f| f.fourcc.to_string()).collect();
            print(format!("  not usable: {}", names.join(" ")))?;
        }
    }
    Ok(Exit::Done)
}

fn text(size: &FrameSize) -> String {
    match size {
        FrameSize::Discrete(width, height) => format!("{width}x{height}"),
        FrameSize::Range { min, max, .. } => format!("{}x{} to {}x{}", min.0, min.1, max.0, max.1),
        _ => "other sizes".into(),
    }
}
