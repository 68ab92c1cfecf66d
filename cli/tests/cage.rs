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

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder with `ffmpeg` and `ffprobe` that are the real ones but for the decoder, which first runs `attempts`.
fn taken_over(dir: &Path, attempts: &str) -> PathBuf {
    let real = |tool: &str| {
        let paths = std::env::var_os("PATH").unwrap();
        std::env::split_paths(&paths).map(|p| p.join(tool)).find(|p| p.is_file()).unwrap()
    };
    let tools = dir.join("tools");
    fs::create_dir(&tools).unwrap();
    program(&tools.join("ffprobe"), &format!("#!/bin/sh\nexec {} \"$@\"\n", real("ffprobe").display()));
    let decoder = format!(
        "#!/bin/bash\ncase \"$*\" in *rawvideo*-f\\ nut*)\n{attempts}\nexit 1;; esac\nexec {} \"$@\"\n",
        real("ffmpeg").display()
    );
    program(&tools.join("ffmpeg"), &decoder);
    tools
}

#[test]
fn code_that_took_over_a_decoder_reads_its_clip_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let (secret, clip) = (dir.path().join("secret"), dir.path().join("clip.mp4"));
    fs::write(&secret, "hunter2").unwrap();
    fs::copy(common::example(), &clip).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let attempts = format!(
        "can() {{ \"$@\" >/dev/null 2>&1 && echo yes || echo no; }}\n\
         clip() {{ head -c 16 '{clip}'; }}\n\
         secret() {{ cat '{secret}'; }}\n\
         others() {{ ls /root /home /tmp /etc/ssh | grep .; }}\n\
         file() {{ : > '{dir}/made'; }}\n\
         remove() {{ rm '{secret}'; }}\n\
         tcp() {{ exec 3<>/dev/tcp/127.0.0.1/{port}; }}\n\
         signal() {{ kill -0 $PPID; }}\n\
         space() {{ unshare -r true; }}\n\
         echo \"[error] $(for w in clip secret others file remove tcp signal space; do echo -n $w=$(can $w),; done)\" >&2",
        clip = clip.display(),
        secret = secret.display(),
        dir = dir.path().display(),
        port = listener.local_addr().unwrap().port(),
    );
    let tools = taken_over(dir.path(), &attempts);
    let mut command = common::milkglass();
    command.args(["redact", "clip.mp4", "-o", "out.mp4"]).current_dir(dir.path());
    let said = common::run(command.env("MILKGLASS_FFMPEG", tools)).err;
    // The stand-in got as far as it should: into its clip.
    assert!(said.contains("clip=yes,"), "{said}");
    if kernel_has("Landlock") {
        for refused in ["secret=no,", "others=no,", "file=no,", "remove=no,"] {
            assert!(said.contains(refused), "{refused} {said}");
        }
        assert!(secret.exists() && !dir.path().join("made").exists());
    }
    if kernel_has("seccomp") {
        for refused in ["tcp=no,", "signal=no,", "space=no,"] {
            assert!(said.contains(refused), "{refused} {said}");
        }
        assert!(listener.accept().is_err(), "somebody connected");
    }
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
