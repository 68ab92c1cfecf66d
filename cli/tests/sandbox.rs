//! Code that took over a child, or a library in our own program, tries to get out: by stand-ins that do what such code would.
//! What the kernel of this machine cannot forbid is not looked at, and said.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What `milkglass doctor` says of the kernel.
fn kernel_has(what: &str) -> bool {
    let said = common::run(common::milkglass().arg("doctor")).text();
    let missing = format!("no {what}");
    let has =
        said.lines().any(|line| line.contains("kernel") && line.contains(what) && !line.contains(&missing));
    if !has {
        eprintln!("not looked at: this kernel has no {what}");
    }
    has
}

/// A C program of `sandbox/`, built.
fn built(dir: &Path, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox").join(name).with_extension("c");
    let program = dir.join(name);
    assert!(
        Command::new("cc").args(["-Wall", "-O1", "-o"]).args([&program, &source]).status().unwrap().success()
    );
    program
}

/// How much of what a sandbox is made of the kernel has: as far as a program can tell, since a filter around it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kernel {
    AsItIs,
    NoLandlock,
    NeitherLandlockNorNamespaces,
}

/// A scene that the user of a child can enter, and what code in a child tried there.
struct Attempts {
    dir: TempDir,
    listener: TcpListener,
    program: PathBuf,
    older: PathBuf,
}

impl Attempts {
    fn new() -> Attempts {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("secret"), "hunter2").unwrap();
        fs::copy(common::example(), dir.path().join("clip.mp4")).unwrap();
        for folder in ["bin", "folder"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let bin = dir.path().join("bin");
        let (program, older) = (built(&bin, "attempts"), built(&bin, "older_kernel"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Attempts { dir, listener, program, older }
    }

    /// Runs them in the sandbox of this kind of child, as our program starts it.
    fn run(&self, kind: &str, kernel: Kernel) -> String {
        let at = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        let port = self.listener.local_addr().unwrap().port().to_string();
        let access: Vec<String> = match kind {
            "file" => vec!["reads".into(), at("clip.mp4"), "writes".into(), at("folder/out.mp4")],
            "folder" => vec!["reads".into(), at("clip.mp4"), "writes".into(), at("folder")],
            "connects" => vec!["connects".into()],
            "serves" => vec!["serves".into(), "8554".into()],
            _ => vec!["reads".into(), at("clip.mp4")],
        };
        fs::write(at("folder/out.mp4"), "").unwrap();
        // Whoever runs this, the child may open them as it is.
        for (name, mode) in [("folder", 0o777), ("folder/out.mp4", 0o666)] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = match kernel {
            Kernel::AsItIs => Command::new(common::milkglass().get_program()),
            _ => {
                let mut command = Command::new(&self.older);
                let lacks = if kernel == Kernel::NoLandlock { "landlock" } else { "spaces" };
                command.arg(lacks).arg(common::milkglass().get_program());
                command
            }
        };
        let parent = std::process::id().to_string();
        command.args(["__child", &parent, "4000000000", "4000000000"]).args(access).arg("--");
        command.arg(&self.program).args([kind, &at("secret"), &at("clip.mp4"), &at("folder"), &port]);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind} {kernel:?}: {} {said} {errors}", output.status);
        said
    }
}

/// The words behind this one in what the attempts printed.
fn words<'a>(said: &'a str, what: &str) -> Vec<&'a str> {
    let line = said.lines().find_map(|line| line.strip_prefix(what));
    line.unwrap_or_else(|| panic!("no {what} in {said}")).split_whitespace().collect()
}

/// Every system call of the kernel's table, those of other ABIs too, and deeds by name: each kind of child, on this kernel, on
/// one without Landlock, and on one that grants no namespaces either.
#[test]
fn a_child_makes_no_system_call_beyond_its_list() {
    if !kernel_has("seccomp") {
        return;
    }
    let scene = Attempts::new();
    for kernel in [Kernel::AsItIs, Kernel::NoLandlock, Kernel::NeitherLandlockNorNamespaces] {
        for kind in ["read", "file", "folder", "connects", "serves"] {
            let said = scene.run(kind, kernel);
            let about = format!("{kind} {kernel:?}: {said}");
            assert!(words(&said, "tried:")[0].parse::<u32>().unwrap() > 850, "{about}");
            assert!(words(&said, "beyond:").is_empty(), "{about}");
            let mut did = words(&said, "did:");
            // Then names can be asked for, and what the user may read can be read: docs/THREAT-MODEL.md says so.
            if kernel == Kernel::NeitherLandlockNorNamespaces {
                did.retain(|did| {
                    !(did.starts_with("stat-")
                        || did.ends_with("-secret")
                        || *did == "make"
                        || (*did == "remove" && kind == "folder"))
                });
            }
            assert!(did.is_empty(), "{did:?} {about}");
            let mut can = vec!["kill-itself"];
            if matches!(kind, "read" | "file" | "folder") {
                can.insert(0, "clip");
            }
            if kernel != Kernel::NeitherLandlockNorNamespaces {
                assert_eq!(words(&said, "can:"), can, "{about}");
            }
            assert_eq!(words(&said, "CapEff:"), ["0000000000000000"], "{about}");
            assert!(scene.listener.accept().is_err() || kind == "connects", "{about}");
        }
    }
    assert!(scene.dir.path().join("secret").exists());
    let left = fs::read_dir(scene.dir.path().join("folder")).unwrap().flatten().map(|e| e.file_name());
    // The last kernel has nothing that keeps a file from being made.
    assert!(left.into_iter().all(|name| name == "out.mp4" || name == "made"));
}

/// The same through the command: what stands in the decoder's place finds its clip and nothing else.
#[test]
fn code_that_took_over_a_decoder_reads_its_clip_and_nothing_else() {
    let scene = Attempts::new();
    let tools = scene.dir.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let real = |tool: &str| {
        let paths = std::env::var_os("PATH").unwrap();
        std::env::split_paths(&paths).map(|p| p.join(tool)).find(|p| p.is_file()).unwrap()
    };
    std::os::unix::fs::symlink(real("ffprobe"), tools.join("ffprobe")).unwrap();
    // A copy beside the stand-in is all that it can reach.
    fs::copy(&scene.program, tools.join("attempts.so")).unwrap();
    let at = |name: &str| scene.dir.path().join(name).display().to_string();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *rawvideo*-f\\ nut*)\n\
         exec {tools}/attempts.so read {secret} {clip} {folder} {port} '[error] ' >&2;; esac\nexec {ffmpeg} \"$@\"\n",
        tools = tools.display(),
        secret = at("secret"),
        clip = at("clip.mp4"),
        folder = at("folder"),
        port = scene.listener.local_addr().unwrap().port(),
        ffmpeg = real("ffmpeg").display(),
    );
    fs::write(tools.join("ffmpeg"), script).unwrap();
    fs::set_permissions(tools.join("ffmpeg"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = common::milkglass();
    command.args(["-vv", "redact", "clip.mp4", "-o", "out.mp4"]).current_dir(scene.dir.path());
    let said = common::run(command.env("MILKGLASS_FFMPEG", tools)).err;
    if kernel_has("seccomp") && kernel_has("Landlock") {
        let line = said.lines().find(|line| line.contains("can:")).unwrap_or_else(|| panic!("{said}"));
        let did = line.split("did:").nth(1).unwrap();
        assert!(line.contains("can: clip kill-itself did:"), "{said}");
        let named = [
            "secret", "stat", "chmod", "chown", "attr", "make", "shm", "msg", "priority", "signal", "socket",
            "root",
        ];
        assert!(named.iter().all(|deed| !did.contains(deed)), "{said}");
    }
    assert!(scene.dir.path().join("secret").exists() && !scene.dir.path().join("out.mp4").exists());
    assert!(scene.listener.accept().is_err(), "somebody connected");
}

/// A library in place of ONNX Runtime: what runs when it is loaded runs as any part of our own program would.
const LIBRARY: &str = r#"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

__attribute__((constructor)) static void taken_over(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    int connected = tcp >= 0 && connect(tcp, (struct sockaddr *)&at, sizeof at) == 0;
    int udp = socket(AF_INET6, SOCK_DGRAM, 0) >= 0;
    int local = socket(AF_UNIX, SOCK_DGRAM, 0) >= 0;
    int made = open(ELSEWHERE "/made", O_CREAT | O_WRONLY, 0600) >= 0;
    int changed = open(ELSEWHERE "/there", O_WRONLY) >= 0;
    int remembered = open("state/proof", O_CREAT | O_WRONLY, 0600) >= 0;
    int dumpable = prctl(PR_GET_DUMPABLE);
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    fprintf(stderr, "tcp=%d,udp=%d,unix=%d,made=%d,changed=%d,state=%d,dump=%d,core=%d\n", connected, udp, local, made,
            changed, remembered, dumpable, core.rlim_cur > 1);
    _exit(0);
}
"#;

#[test]
fn code_that_took_over_a_live_program_opens_no_connection_and_writes_nowhere_else() {
    let elsewhere = TempDir::new().unwrap();
    fs::write(elsewhere.path().join("there"), "").unwrap();
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("library.c");
    fs::write(&source, LIBRARY).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let library = dir.path().join("libonnxruntime.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg(format!("-DPORT={}", listener.local_addr().unwrap().port()))
        .arg(format!("-DELSEWHERE=\"{}\"", elsewhere.path().display()))
        .status();
    assert!(built.unwrap().success());
    common::ffmpeg(common::words(
        "-i {} -frames:v 2 -s 64x36 -pix_fmt yuv420p {}",
        &[&common::example(), &dir.path().join("small.y4m")],
    ));
    let (seccomp, landlock) = (kernel_has("seccomp"), kernel_has("Landlock"));
    // A server; and a child that needs the network, which our own program does not get for that.
    for to in ["http://127.0.0.1:0", "rtsp://127.0.0.1:9/cam", "cam.mp4"] {
        let _ = fs::remove_file(dir.path().join("state/proof"));
        let mut command = common::milkglass();
        command.args(["live", "--from", "small.y4m", "--state-dir", "state", "--backend", "ort", "--to", to]);
        command.env("ORT_DYLIB_PATH", &library).current_dir(dir.path());
        let said = common::run(&mut command).err;
        for expected in ["unix=1,", "state=1,", "dump=0,", "core=0"] {
            assert!(said.contains(expected), "{to}: {expected} {said}");
        }
        assert!(!seccomp || said.contains("tcp=0,udp=0,"), "{to}: {said}");
        assert!(!landlock || said.contains("made=0,changed=0,"), "{to}: {said}");
        assert!(!seccomp || listener.accept().is_err(), "{to}: somebody connected");
    }
}

#[test]
fn redact_and_detect_close_their_memory_and_the_network_too() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("library.c");
    fs::write(&source, LIBRARY).unwrap();
    let library = dir.path().join("libonnxruntime.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-DPORT=9", "-DELSEWHERE=\"/nowhere\"", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success());
    fs::copy(common::example(), dir.path().join("clip.mp4")).unwrap();
    let seccomp = kernel_has("seccomp");
    for what in ["redact clip.mp4 -o out.mp4 --backend ort", "detect clip.mp4 --backend ort"] {
        let mut command = common::milkglass();
        command.args(what.split(' ')).env("ORT_DYLIB_PATH", &library).current_dir(dir.path());
        let said = common::run(&mut command).err;
        assert!(said.contains("dump=0,core=0"), "{what}: {said}");
        assert!(!seccomp || said.contains("udp=0,unix=1,"), "{what}: {said}");
    }
}
