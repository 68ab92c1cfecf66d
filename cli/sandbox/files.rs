//! Landlock: files and TCP ports, for a thread and all that it starts. What the kernel does not know is left out.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

use super::{Access, Network};

/// What we know and have tested.
const KNOWN: ABI = ABI::V6;

/// Where distributions keep programs, libraries and their settings. Nothing of anybody's own lies there.
pub(super) const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/opt",
    "/etc/ld.so.cache",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld-musl-aarch64.path",
    "/etc/alternatives",
    "/etc/localtime",
];
/// Of the machine: how many processors and how much memory there is, random numbers.
pub(super) const MACHINE: [&str; 6] =
    ["/sys/devices/system", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/dev/random", "/dev/urandom"];
/// Without which no name is found, and no certificate checked.
pub(super) const NAMES: [&str; 14] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/gnutls",
    "/run/systemd/resolve",
    "/run/resolvconf",
];
pub(super) const DEVICES: [&str; 3] = ["/dev", "/sys", "/run/udev"];

/// Restricts a child that is about to become `program`.
pub(crate) fn confine_child(access: &Access, program: &Path) -> Result<(), String> {
    let all = || -> Result<(), RulesetError> {
        let read = AccessFs::from_read(KNOWN);
        let ports = match access.network {
            Network::Connects => AccessNet::BindTcp.into(),
            Network::None | Network::Serves(_) => AccessNet::from_all(KNOWN),
        };
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))?
            .handle_access(ports)?
            .scope(Scope::from_all(KNOWN))?
            .create()?
            .add_rules(path_beneath_rules(SYSTEM, read))?
            .add_rules(path_beneath_rules(own_places(program), read))?
            .add_rules(path_beneath_rules(MACHINE, AccessFs::ReadFile | AccessFs::ReadDir))?
            .add_rules(path_beneath_rules(["/proc/self"], AccessFs::ReadFile | AccessFs::ReadDir))?
            .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?
            .add_rules(path_beneath_rules(&access.reads, AccessFs::ReadFile | AccessFs::ReadDir))?
            .add_rules(path_beneath_rules(&access.writes, written()))?;
        if access.devices {
            let use_them = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::IoctlDev;
            rules = rules.add_rules(path_beneath_rules(DEVICES, use_them))?;
        }
        match access.network {
            Network::None => {}
            Network::Connects => rules = rules.add_rules(path_beneath_rules(NAMES, read))?,
            Network::Serves(port) => rules = rules.add_rule(NetPort::new(port, AccessNet::BindTcp))?,
        }
        rules.restrict_self().map(drop)
    };
    all().map_err(|error| format!("Landlock: {error}"))
}

/// Forbids this thread, and all that it starts from here on, to change any file outside `folders`, devices apart. Reading
/// stays free: a policy file is read again, a camera looked for.
pub(crate) fn write_only_to(folders: &[PathBuf]) -> Result<(), String> {
    let all = || -> Result<(), RulesetError> {
        // Of devices their own permissions decide, as before: `IoctlDev` is not asked for.
        let changes = AccessFs::from_write(ABI::V4);
        Ruleset::default()
            .handle_access(changes)?
            .create()?
            .add_rules(path_beneath_rules(["/dev"], BitFlags::from(AccessFs::WriteFile)))?
            .add_rules(path_beneath_rules(folders, changes))?
            .restrict_self()
            .map(drop)
    };
    all().map_err(|error| format!("Landlock: {error}"))
}

/// Forbids this thread, and all that it starts from here on, to bind or connect TCP sockets. Bound ones go on.
pub(crate) fn without_tcp() -> Result<(), String> {
    let all = || -> Result<(), RulesetError> {
        Ruleset::default().handle_access(AccessNet::from_all(KNOWN))?.create()?.restrict_self().map(drop)
    };
    all().map_err(|error| format!("Landlock: {error}"))
}

/// The version that the kernel has, 0 without. Restricts the calling thread.
pub(super) fn version() -> u32 {
    let asked = || -> Result<LandlockStatus, RulesetError> {
        let rules = Ruleset::default().handle_access(AccessFs::MakeBlock)?.create()?;
        Ok(rules.restrict_self()?.landlock)
    };
    match asked() {
        Ok(LandlockStatus::Available { effective_abi, kernel_abi }) => {
            kernel_abi.unwrap_or(effective_abi as i32).cast_unsigned()
        }
        _ => 0,
    }
}

/// What writing needs: in a folder also the means to make, rename and remove files.
fn written() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
}

/// The program itself, and the libraries that a build of one's own keeps beside it.
pub(super) fn own_places(program: &Path) -> Vec<PathBuf> {
    let mut places = vec![program.to_owned()];
    let Some(folder) = program.canonicalize().ok().and_then(|p| p.parent().map(Path::to_owned)) else {
        return places;
    };
    let beside = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    places.extend(beside.filter(|f| f.file_name().to_string_lossy().contains(".so")).map(|f| f.path()));
    if folder.ends_with("bin") {
        places.push(folder.join("../lib"));
    }
    places
}
