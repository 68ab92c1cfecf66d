//! Programs in C and C++ against the library as it is built. They need gcc, g++ and valgrind (`.ci/setup.sh tests`).
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

pub const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A folder with the libraries under the names that `make install` gives them.
pub fn libraries() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let built = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
        let test = std::env::current_exe().unwrap();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test.file_name().unwrap());
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let newest = |suffix: &str| {
            let mut found: Vec<_> = [built.clone(), built.parent().unwrap().to_path_buf()]
                .iter()
                .flat_map(|dir| fs::read_dir(dir).unwrap().flatten())
                .filter(|entry| {
                    let name = entry.file_name().into_string().unwrap_or_default();
                    name.starts_with("libmilkglass_capi") && name.ends_with(suffix)
                })
                .map(|entry| (entry.metadata().unwrap().modified().unwrap(), entry.path()))
                .collect();
            found.sort();
            found.pop().unwrap_or_else(|| panic!("no {suffix} in {}", built.display())).1
        };
        let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, dir.join(to)).unwrap();
        let shared = newest(".so");
        link(&shared, "libmilkglass.so.0");
        link(&shared, "libmilkglass.so");
        fs::create_dir(dir.join("static")).unwrap();
        link(&newest(".a"), "static/libmilkglass.a");
        dir
    })
}

#[derive(Clone, Copy, PartialEq)]
pub enum Link {
    Shared,
    Static,
}

pub fn build(source: &str, variant: &str, link: Link, flags: &[&str]) -> PathBuf {
    let (dir, name) = (libraries(), Path::new(source).file_stem().unwrap().to_str().unwrap());
    let program = dir.join(format!("{name}-{variant}"));
    let (compiler, standard) =
        if source.ends_with(".cpp") { ("g++", "-std=c++17") } else { ("gcc", "-std=gnu11") };
    let mut command = Command::new(compiler);
    command.arg(standard).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-O1", "-I", HERE]);
    // C++ of the day has no designated initialisers, and those of C need not name every field.
    command.args(["-Wno-missing-field-initializers"]).args(flags);
    command.arg(Path::new(HERE).join(source)).arg("-o").arg(&program);
    match link {
        Link::Shared => {
            command.arg("-L").arg(dir).arg(format!("-Wl,-rpath,{}", dir.display())).arg("-lmilkglass")
        }
        Link::Static => command.arg(dir.join("static/libmilkglass.a")),
    };
    run(command.args(["-lpthread", "-ldl", "-lm"]), b"");
    program
}

pub fn output(command: &mut Command, input: &[u8]) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child =
        child.unwrap_or_else(|e| panic!("{command:?}: {e} (.ci/setup.sh tests installs what is missing)"));
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // It may end before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    output
}

pub fn run(command: &mut Command, input: &[u8]) -> String {
    let output = output(command, input);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

pub const SANITIZED: &[&str] = &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

pub fn valgrind(program: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args([
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect",
    ]);
    command.args(["--errors-for-leak-kinds=definite,indirect", "--fair-sched=yes"]);
    command.arg(program);
    command
}
