//! Programs in C and C++ against the library as it is built: with every warning, under AddressSanitizer, under valgrind,
//! with the shared and the static library.
//!
//! They need gcc, g++ and valgrind (`.ci/setup.sh tests`).
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

mod support;
use support::{HERE, Link, SANITIZED, build, libraries, output, run, valgrind};

#[test]
fn whatever_a_program_does_wrong_is_an_error() {
    assert_eq!(
        run(&mut Command::new(build("tests/c/abuse.c", "asan", Link::Shared, SANITIZED)), b""),
        "done\n"
    );
    let program = build("tests/c/abuse.c", "plain", Link::Shared, &[]);
    assert_eq!(run(&mut valgrind(&program), b""), "done\n");
}

#[test]
fn no_marked_byte_leaves_whatever_fails() {
    let program = build("tests/c/guarantee.c", "asan", Link::Static, SANITIZED);
    let said = run(&mut Command::new(program), b"");
    assert!(said.ends_with("done\n"), "{said}");
    let program = build("tests/c/guarantee.c", "plain", Link::Shared, &[]);
    let said = run(&mut valgrind(&program), b"");
    assert!(said.ends_with("done\n"), "{said}");
}

#[test]
fn frames_are_locked_when_asked_and_a_limit_is_told() {
    assert_eq!(run(&mut Command::new(build("tests/c/locked.c", "plain", Link::Shared, &[])), b""), "done\n");
}

#[test]
fn an_exception_from_a_callback_ends_the_program() {
    let program = build("tests/c/throws.cpp", "plain", Link::Shared, &[]);
    let output = output(&mut Command::new(program), b"");
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_example_with_an_npu_hides_what_it_finds() {
    for (variant, link) in [("asan", Link::Shared), ("asan-static", Link::Static)] {
        let said = run(&mut Command::new(build("examples/npu.c", variant, link, SANITIZED)), b"");
        assert!(said.contains(" 0 with bright pixels left"), "{said}");
    }
    let said = run(&mut valgrind(&build("examples/npu.c", "plain", Link::Shared, &[])), b"");
    assert!(said.contains(" 0 with bright pixels left"), "{said}");
}

/// As a package is built: everything below DESTDIR, found by pkg-config alone, by the name that the linker writes down.
#[test]
fn what_is_installed_is_found_and_exports_nothing_else() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
    let _ = fs::remove_dir_all(&root);
    let shared = fs::canonicalize(libraries().join("libmilkglass.so")).unwrap();
    let mut install = Command::new(Path::new(HERE).join("install.sh"));
    install
        .arg(shared.parent().unwrap())
        .env("PREFIX", "/opt/milkglass")
        .env("DESTDIR", &root)
        .env("STRIP", "true");
    run(&mut install, b"");
    let lib = root.join("opt/milkglass/lib");
    let mut pkg = Command::new("pkg-config");
    pkg.args(["--variable=modelsdir", "milkglass"]).env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig"));
    let models = run(&mut pkg, b"");
    assert!(root.join(models.trim().trim_start_matches('/')).join("yunet.onnx").is_file(), "{models}");
    let mut pkg = Command::new("pkg-config");
    pkg.args(["--cflags", "--libs", "milkglass"]).env("PKG_CONFIG_SYSROOT_DIR", &root);
    let flags = run(pkg.env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig")), b"");
    let program = root.join("npu");
    let mut gcc = Command::new("gcc");
    run(
        gcc.arg(Path::new(HERE).join("examples/npu.c"))
            .args(flags.split_whitespace())
            .arg("-o")
            .arg(&program),
        b"",
    );
    the_guide_compiles(&root, &lib);
    fs::remove_file(lib.join("libmilkglass.so")).unwrap();
    let said = run(Command::new(&program).env("LD_LIBRARY_PATH", &lib), b"");
    assert!(said.contains(" 0 with bright pixels left"), "{said}");

    let symbols =
        run(Command::new("nm").args(["-D", "--defined-only"]).arg(lib.join("libmilkglass.so.0")), b"");
    let names: Vec<&str> = symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let header = fs::read_to_string(Path::new(HERE).join("milkglass.h")).unwrap();
    assert_eq!(names.len(), 14, "{names:?}");
    assert!(names.iter().all(|name| header.contains(&format!("{name}("))), "{names:?}");
}

/// The commands of docs/INTEGRATING.md, as they stand there, beside what `make install` has installed. With models and a fast
/// machine it redacts; a slow one is told which numbers it needs.
fn the_guide_compiles(root: &Path, lib: &Path) {
    let guide = fs::read_to_string(Path::new(HERE).join("../docs/INTEGRATING.md")).unwrap();
    let block = guide.split("```sh\n").find(|b| b.starts_with("cc redact.c")).unwrap();
    let work = root.join("work");
    fs::create_dir_all(&work).unwrap();
    fs::copy(Path::new(HERE).join("examples/redact.c"), work.join("redact.c")).unwrap();
    let raw = vec![128; 1280 * 720 * 3 / 2 * 3];
    fs::write(work.join("raw.nv12"), &raw).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-ec", block.split("```").next().unwrap()]).current_dir(&work);
    shell.env("PKG_CONFIG_SYSROOT_DIR", root).env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig"));
    shell.env("LD_LIBRARY_PATH", lib).env("MILKGLASS_MODELS", Path::new(HERE).join("../models"));
    let output = output(&mut shell, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(work.join("redact").is_file(), "{said}");
    let redacted = fs::read(work.join("redacted.nv12")).unwrap();
    match output.status.success() {
        true => assert!(!redacted.is_empty() && redacted.len().is_multiple_of(raw.len() / 3)),
        false => assert!(
            redacted.is_empty() && (said.contains("need ") || cfg!(not(feature = "models"))),
            "{said}"
        ),
    }
}

/// Zones need no model, so that this runs in every build; the zone is the left half.
#[test]
fn the_forty_lines_redact_what_is_piped_through() {
    const ZONE: &str =
        "faces = 'off'\n[[zone]]\nname = 'left'\narea = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\n";
    let source = fs::read_to_string(Path::new(HERE).join("examples/redact.c")).unwrap();
    let lines = source.lines().filter(|l| !l.trim().is_empty() && !l.trim().starts_with("//")).count();
    assert!(lines <= 40, "{lines} lines of C");
    let guide = fs::read_to_string(Path::new(HERE).join("../docs/INTEGRATING.md")).unwrap();
    let program = &source[source.find("#include").unwrap()..];
    assert!(guide.contains(program), "docs/INTEGRATING.md shows another program than examples/redact.c");
    let raw = vec![200u8; 64 * 48 * 3 / 2 * 10];
    let mut command = Command::new(build("examples/redact.c", "asan", Link::Shared, SANITIZED));
    // valgrind is slow: late frames leave obscured there.
    let mut slowly = valgrind(&build("examples/redact.c", "plain", Link::Shared, &[]));
    for (command, in_time) in [(&mut command, true), (&mut slowly, false)] {
        let output = self::output(command.args(["64", "48", ZONE]), &raw);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout.len(), raw.len());
        for row in output.stdout.chunks_exact(64 * 48 * 3 / 2).flat_map(|f| f[..64 * 48].chunks_exact(64)) {
            let right = if in_time { &[200][..] } else { &[200, 16] };
            assert!(
                row[..32].iter().all(|v| *v == 16) && row[32..].iter().all(|v| right.contains(v)),
                "{row:?}"
            );
        }
    }
    let wrong = self::output(command.args(["nonsense"]), b"");
    assert!(wrong.status.code() == Some(0) || !wrong.stderr.is_empty());
}

#[test]
fn the_example_in_cpp_tells_what_is_wrong_with_a_camera() {
    let sanitized = build("examples/camera.cpp", "asan", Link::Shared, SANITIZED);
    let plain = build("examples/camera.cpp", "plain", Link::Shared, &[]);
    let policy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zone.toml");
    fs::write(&policy, "faces = 'off'\n[[zone]]\nname = 'all'\narea = [[0, 0], [1, 0], [1, 1]]\n").unwrap();
    for mut command in [Command::new(sanitized), valgrind(&plain)] {
        let output = output(command.arg("/dev/nonexistent").arg(&policy), b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let reason = if cfg!(feature = "v4l2") { "/dev/nonexistent" } else { "no cameras" };
        assert!(said.contains(reason), "{said}");
        assert!(output.stdout.is_empty());
    }
}

/// The stream shares its frames with the consumer of examples/, another program.
#[test]
fn a_stream_shares_redacted_frames_with_another_program() {
    /// As in check.h.
    const MARK: u8 = 211;
    const LENGTH: usize = 96 * 64 * 3 / 2;
    let program = build("tests/c/ring.c", "asan", Link::Shared, SANITIZED);
    let socket = libraries().join("cam.sock");
    if cfg!(not(feature = "ring")) {
        let said = output(Command::new(program).arg(socket), b"").stdout;
        assert!(String::from_utf8_lossy(&said).contains("feature `ring`"));
        return;
    }
    let consumer = libraries().join("ring_consumer");
    let mut gcc = Command::new("gcc");
    gcc.arg("-o").arg(&consumer).arg(Path::new(HERE).join("../examples/ring_consumer.c"));
    run(&mut gcc, b"");
    let mut pushing = Command::new(program);
    pushing.arg(&socket).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut pushing = pushing.spawn().unwrap();
    for _ in 0..3000 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let consume = |outcome: &str| {
        let output = output(Command::new(&consumer).arg(&socket).arg("40"), b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.lines().filter(|line| line.contains(outcome)).count() > 20, "{said}");
        assert!(!output.stdout.contains(&MARK), "a marked byte was shared");
        output.stdout
    };
    let covered = consume("covered");
    assert!(covered.chunks(LENGTH).any(|frame| frame[0] == 40), "nothing is visible");
    pushing.stdin.as_mut().unwrap().write_all(b"p").unwrap();
    let mut said = String::new();
    let mut out = std::io::BufReader::new(pushing.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut said).unwrap();
    assert_eq!(said, "privacy\n");
    let obscured = consume("obscured");
    let luma = |frame: &[u8]| frame[..96 * 64].iter().all(|v| *v == 16);
    assert!(obscured.chunks(LENGTH).skip(10).all(luma), "visible in privacy mode");
    drop(pushing.stdin.take());
    assert!(pushing.wait().unwrap().success());
}
