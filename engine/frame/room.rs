//! How much memory frames may take where nobody says so: half of what is available when they are asked for.

use std::path::Path;

use super::FramePool;
use crate::error::{Error, Result};
use crate::picture::FrameFormat;

impl FramePool {
    /// How many buffers of a format half of the available memory has room for: `wanted` at the most. What a file or a caller
    /// says of sizes is so compared with what there is before anything is asked for. Where the system does not tell what is
    /// available, all that are wanted.
    ///
    /// # Errors
    /// [`Error::Memory`]: fewer than `least`.
    pub fn affordable(format: &FrameFormat, least: usize, wanted: usize) -> Result<usize> {
        let room = available_memory().map_or(u64::MAX, |bytes| bytes / 2);
        fitting(format, least, wanted, room)
    }
}

fn fitting(format: &FrameFormat, least: usize, wanted: usize, room: u64) -> Result<usize> {
    let frame = format.buffer_len().max(1) as u64;
    let fits = usize::try_from(room / frame).unwrap_or(usize::MAX);
    let (width, height) = format.size();
    match fits >= least.min(wanted) {
        true => Ok(fits.min(wanted)),
        false => Err(Error::Memory { width, height, needed: least as u64 * frame, room }),
    }
}

/// What the machine has left, and what the control groups of this program may still take, in bytes; `None` where the system
/// does not tell.
pub fn available_memory() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024))
    });
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let groups = groups.lines().filter_map(|line| group_leaves(line, &read));
    machine.into_iter().chain(groups).min()
}

/// One line of `/proc/self/cgroup`, of either version; the limits of the groups above count too.
fn group_leaves(line: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (root, limit, used) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max", "memory.current"),
        _ if controllers.split(',').any(|c| c == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
        }
        _ => return None,
    };
    let number = |path: &Path| read(path)?.trim().parse::<u64>().ok();
    let own = Path::new(root).join(path.trim_start_matches('/'));
    let groups = own.ancestors().take_while(|group| group.starts_with(root));
    groups
        .filter_map(|group| Some(number(&group.join(limit))?.saturating_sub(number(&group.join(used))?)))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::PixelFormat;

    #[test]
    fn no_more_than_there_is_room_for_and_an_error_says_what_is_needed() {
        let format = FrameFormat::new(PixelFormat::Nv12, 1920, 1080).unwrap();
        let frame = format.buffer_len() as u64;
        assert_eq!(fitting(&format, 4, 20, 100 * frame).unwrap(), 20);
        assert_eq!(fitting(&format, 4, 20, 7 * frame).unwrap(), 7);
        assert_eq!(fitting(&format, 4, 2, 3 * frame).unwrap(), 2);
        let told = fitting(&format, 4, 20, 4 * frame - 1).unwrap_err().to_string();
        assert!(told.contains("1920x1080") && told.contains("12 MiB"), "{told}");
    }

    #[test]
    fn the_groups_limits_count_all_the_way_up() {
        let files = |path: &Path| {
            let text = match path.to_str()? {
                "/sys/fs/cgroup/a/memory.max" => "1000",
                "/sys/fs/cgroup/a/memory.current" => "400",
                "/sys/fs/cgroup/a/b/memory.max" => "max",
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes" => "500",
                "/sys/fs/cgroup/memory/x/memory.usage_in_bytes" => "100",
                _ => return None,
            };
            Some(text.to_owned())
        };
        assert_eq!(group_leaves("0::/a/b", &files), Some(600));
        assert_eq!(group_leaves("4:cpu,memory:/x", &files), Some(400));
        assert_eq!(group_leaves("5:cpu:/x", &files), None);
    }
}
