//! Which `ffmpeg` and `ffprobe` are used, and the arguments every child gets.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::child::{End, Running};
use super::{ClipError, Limits};
use crate::sandbox::launcher::{self, OURSELVES, Sandbox};
use crate::sandbox::{self, Access};

/// Oldest version that is supported: Debian bookworm's.
const OLDEST: (u32, u32) = (5, 1);

/// Containers that may be read. What is missing is missing on purpose: playlists and scripts that name other files
/// (concat, hls, dash), pictures by pattern (image2), generators (lavfi) and devices.
const FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,ogg,asf,h264,hevc,\
    ivf,obu,dv,mxf,nut,yuv4mpegpipe";

/// The programs found, with their version, and the launcher that cages them.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Path of `ffmpeg`.
    pub ffmpeg: PathBuf,
    /// Path of `ffprobe`.
    pub ffprobe: PathBuf,
    /// Version as `ffmpeg` tells it, for reports.
    pub version: String,
    /// What children may use.
    pub limits: Limits,
    launcher: Option<PathBuf>,
    encoders: Arc<OnceLock<String>>,
}

impl Tools {
    /// Finds `ffmpeg` and `ffprobe` in the folder that `MILKGLASS_FFMPEG` names, else in `PATH`, and checks their
    /// version. Children are started through this very executable, which must hand
    /// `launcher::SUBCOMMAND` to `launcher::child_main`.
    ///
    /// Under a `locked` policy only folders of `PATH` count that nobody but root can change: who sets the environment is not the
    /// owner, and what decodes the original and encodes the result could agree with each other.
    pub fn find(limits: Limits, locked: bool) -> Result<Self, ClipError> {
        sandbox::announce();
        let folder = std::env::var_os("MILKGLASS_FFMPEG").map(PathBuf::from);
        let launcher = Some(PathBuf::from(OURSELVES));
        match (folder, locked) {
            (folder, false) => Self::find_in(folder.as_deref(), launcher, limits),
            (_, true) => {
                Self::of([locate("ffmpeg", None, true)?, locate("ffprobe", None, true)?], launcher, limits)
            }
        }
    }

    /// The same, with the folder and the launcher given. Without a launcher children run without a sandbox: for tests.
    pub fn find_in(
        folder: Option<&Path>,
        launcher: Option<PathBuf>,
        limits: Limits,
    ) -> Result<Self, ClipError> {
        Self::of([locate("ffmpeg", folder, false)?, locate("ffprobe", folder, false)?], launcher, limits)
    }

    fn of(
        [ffmpeg, ffprobe]: [PathBuf; 2],
        launcher: Option<PathBuf>,
        limits: Limits,
    ) -> Result<Self, ClipError> {
        let mut tools =
            Tools { ffmpeg, ffprobe, version: String::new(), limits, launcher, encoders: Arc::default() };
        tools.checked_version("ffprobe")?;
        tools.version = tools.checked_version("ffmpeg")?;
        Ok(tools)
    }

    /// Whether this `ffmpeg` has the encoder. Asked once for all.
    pub(crate) fn has_encoder(&self, name: &str) -> Result<bool, ClipError> {
        let list = match self.encoders.get() {
            Some(list) => list,
            None => {
                let mut command = self.ffmpeg(Access::nothing().for_encoder(name));
                command.args(["-hide_banner", "-encoders"]);
                let (text, _) = self.output(&mut command, "ffmpeg")?;
                self.encoders.get_or_init(|| String::from_utf8_lossy(&text).into_owned())
            }
        };
        Ok(list.lines().any(|line| line.split_whitespace().nth(1) == Some(name)))
    }

    /// `ffmpeg` in its sandbox, without arguments.
    pub(crate) fn ffmpeg(&self, access: Access) -> Command {
        self.caged(&self.ffmpeg, access)
    }

    /// `ffprobe` in its sandbox, without arguments.
    pub(super) fn ffprobe(&self, access: Access) -> Command {
        self.caged(&self.ffprobe, access)
    }

    /// The same programs with another bound on the memory of each.
    pub(crate) fn with_memory(&self, bytes: u64) -> Tools {
        let mut tools = self.clone();
        tools.limits.memory = bytes;
        tools
    }

    /// Threads of a child.
    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.limits.threads.map_or_else(cores, |threads| threads as usize)
    }

    fn caged(&self, program: &Path, access: Access) -> Command {
        let Limits { address_space, memory, .. } = self.limits;
        let sandbox = Sandbox { address_space, memory, access };
        let mut command = launcher::command(self.launcher.as_deref(), sandbox, program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs a child to its end and returns the first MiB of its stdout.
    pub(super) fn output(
        &self,
        command: &mut Command,
        name: &'static str,
    ) -> Result<(Vec<u8>, End), ClipError> {
        command.stdout(Stdio::piped());
        let mut child = Running::spawn(command, name, &self.limits)?;
        let mut text = Vec::new();
        let read = child.stdout().and_then(|pipe| pipe.take(1 << 20).read_to_end(&mut text));
        if let Err(error) = read {
            let explained = child.explain(&error);
            return Err(explained.unwrap_or_else(|| child.died(error.to_string())));
        }
        let end = child.wait(self.limits.stall)?;
        Ok((text, end))
    }

    fn checked_version(&self, tool: &'static str) -> Result<String, ClipError> {
        let mut command = match tool {
            "ffmpeg" => self.ffmpeg(Access::nothing()),
            _ => self.ffprobe(Access::nothing()),
        };
        let mut short = self.clone();
        short.limits.stall = Duration::from_secs(20);
        let (text, end) = short.output(command.arg("-version"), tool)?;
        let text = String::from_utf8_lossy(&text);
        let version = text.split_whitespace().skip_while(|&word| word != "version").nth(1);
        let Some(version) = version.filter(|_| end.status.success()) else {
            return Err(ClipError::ChildDied { child: tool, reason: end.reason() });
        };
        match parse_version(version) {
            Some(number) if number < OLDEST => Err(ClipError::ToolTooOld { tool, found: version.to_owned() }),
            // Builds from the development tree carry no number and are newer than any release.
            _ => Ok(version.to_owned()),
        }
    }
}

/// Arguments before the input: quiet, no keyboard, local files and pipes only.
pub(super) fn reading(input: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS, "-i"].map(OsString::from).into();
    args.push(file_url(input));
    args
}

/// A name that is never taken for an option, a protocol or a pattern.
pub(crate) fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

fn locate(tool: &'static str, folder: Option<&Path>, locked: bool) -> Result<PathBuf, ClipError> {
    let missing = |searched| ClipError::ToolMissing { tool, searched };
    if let Some(folder) = folder {
        let path = folder.join(tool);
        return path.is_file().then_some(path).ok_or_else(|| missing(format!("in {}", folder.display())));
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(tool))
        .find(|path| path.is_file() && (!locked || only_roots(path)))
        .ok_or_else(|| match locked {
            true => missing(
                "in those folders of PATH that root alone can change (the policy is locked)".to_owned(),
            ),
            false => missing("in PATH".to_owned()),
        })
}

/// Whether nobody but root can put another file in the place of this one.
fn only_roots(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let roots = |path: &Path| {
        // In a folder where each may remove but their own (/tmp), what is root's stays.
        let about = std::fs::metadata(path);
        about.is_ok_and(|a| a.uid() == 0 && (a.mode() & 0o022 == 0 || a.is_dir() && a.mode() & 0o1000 != 0))
    };
    path.ancestors().all(roots)
}

/// `5.1.9-0+deb12u1`, `n7.0.2`, `7.1`; `None` for builds without a number.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('n').split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0);
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_others_can_change_is_not_roots_own() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ffmpeg");
        std::fs::write(&file, "").unwrap();
        let is_root = std::fs::metadata(&file).unwrap().uid() == 0;
        assert_eq!(only_roots(&file), is_root);
        let open = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        open(dir.path(), 0o777);
        assert!(!only_roots(&file));
        open(dir.path(), 0o755);
        open(&file, 0o775);
        assert!(!only_roots(&file));
        assert!(!only_roots(&dir.path().join("nothing")));
    }

    #[test]
    fn versions_of_distributions_and_static_builds() {
        assert_eq!(parse_version("5.1.9-0+deb12u1"), Some((5, 1)));
        assert_eq!(parse_version("n9.0.2-17-g2a571b6068-20260930"), Some((9, 0)));
        assert_eq!(parse_version("7.0.2-static"), Some((7, 0)));
        assert_eq!(parse_version("4.4"), Some((4, 4)));
        assert_eq!(parse_version("N-118193-g5f38c82536"), None);
    }
}
