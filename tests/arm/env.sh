# Sourced by bash from the root of the checkout: sets what cargo needs to build for 64-bit ARM and to run the result here.
# Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and, to run, qemu-user (.ci/setup.sh tests).
#
#   . tests/arm/env.sh
#   cargo build --target aarch64-unknown-linux-gnu

# Rust's standard library for the board: rustup's, or else Debian's (rust.sh beside).
if ! [ -d "$(rustc --print target-libdir --target aarch64-unknown-linux-gnu)" ]; then
  RUSTC=$(tests/arm/rust.sh arm64)
  export RUSTC
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
# For the bindings of V4L2 (feature `v4l2`).
export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu="--sysroot=/usr/aarch64-linux-gnu -I/usr/aarch64-linux-gnu/include"
