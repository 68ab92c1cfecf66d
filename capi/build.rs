//! Gives the shared library its name for the dynamic linker. The number changes with every release that breaks C programs.

#[allow(clippy::print_stdout, reason = "this is how a build script speaks")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmilkglass.so.0");
    // Its threads and their thread-local destructors must not lose their code to a dlclose.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
