//! Which machine this is. No name, no address, no serial number.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What the figures belong to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Machine {
    pub cpu: String,
    pub arch: String,
    pub cores: usize,
    pub memory_mb: u64,
    pub kernel: String,
    /// How the clock rate is chosen, where the kernel tells: anything but `performance` adds noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
    /// Programs that ran already when measuring began, mean of a minute: above a few tenths, times are too long.
    #[serde(default)]
    pub load: f64,
    /// Why this is taken for an emulator, whose times say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulator: Option<String>,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Machine { cores, ..Machine::read(Path::new("/"), std::env::consts::ARCH) }
    }

    fn read(root: &Path, arch: &str) -> Machine {
        let text = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
            (!text.is_empty()).then(|| text.replace('\0', ", "))
        };
        let info = text("proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let lines = info.lines().filter_map(|l| l.split_once(':'));
            lines.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_string())
        };
        let board = text("proc/device-tree/model");
        let part = || {
            let (maker, part) = (field("CPU implementer")?, field("CPU part")?);
            Some(format!("implementer {maker}, part {part}"))
        };
        let cpu = match (field("model name"), &board) {
            (Some(name), _) => name,
            (None, Some(board)) => match part() {
                Some(part) => format!("{board} ({part})"),
                None => board.clone(),
            },
            (None, None) => part().unwrap_or_else(|| "unknown".into()),
        };
        let arm = arch == "aarch64" || arch == "arm";
        let emulator = if cpu.contains("QEMU") {
            Some("/proc/cpuinfo names QEMU".into())
        } else if arm && field("CPU implementer").is_none() && field("vendor_id").is_some() {
            Some("a program for ARM on another processor".into())
        } else if arm && text("proc/device-tree/compatible").is_some_and(|c| c.contains("dummy-virt")) {
            Some("a virtual ARM board, which may be emulated".into())
        } else {
            None
        };
        let memory = text("proc/meminfo").unwrap_or_default();
        let memory = memory.lines().find_map(|l| l.strip_prefix("MemTotal:"));
        let kilobytes = memory.and_then(|m| m.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Machine {
            cpu,
            arch: arch.into(),
            cores: 0,
            memory_mb: kilobytes.unwrap_or_default() / 1024,
            kernel: text("proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
            governor: text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            load: text("proc/loadavg").and_then(|l| l.split(' ').next()?.parse().ok()).unwrap_or_default(),
            emulator,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(arch: &str, files: &[(&str, &str)]) -> Machine {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Machine::read(root.path(), arch)
    }

    #[test]
    fn boards_and_servers_are_told_by_what_they_say() {
        let pi = machine(
            "aarch64",
            &[
                ("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"),
                ("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0"),
                ("proc/meminfo", "MemTotal:        8245248 kB\n"),
                ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n"),
            ],
        );
        assert_eq!(pi.cpu, "Raspberry Pi 5 Model B Rev 1.0 (implementer 0x41, part 0xd0b)");
        assert_eq!((pi.memory_mb, pi.governor.as_deref(), pi.emulator), (8052, Some("ondemand"), None));
        let server = machine("x86_64", &[("proc/cpuinfo", "vendor_id : X\nmodel name\t: Xeon\n")]);
        assert_eq!((server.cpu.as_str(), server.emulator), ("Xeon", None));
    }

    #[test]
    fn emulators_are_not_taken_for_boards() {
        let user = machine("aarch64", &[("proc/cpuinfo", "vendor_id : AuthenticAMD\nmodel name : EPYC\n")]);
        assert!(user.emulator.is_some());
        let system = machine(
            "aarch64",
            &[
                ("proc/cpuinfo", "CPU implementer : 0x41\nCPU part : 0xd08\n"),
                ("proc/device-tree/compatible", "linux,dummy-virt\0"),
            ],
        );
        assert!(system.emulator.is_some());
        let pc =
            machine("x86_64", &[("proc/cpuinfo", "vendor_id : X\nmodel name : QEMU TCG CPU version 2.5+\n")]);
        assert!(pc.emulator.is_some());
    }
}
