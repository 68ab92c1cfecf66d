#!/usr/bin/env bash
# Compiles the engine for 32-bit ARM (armv7 with hardware floating point), with and without inference in pure Rust, and the C
# interface without cameras, as far as cargo check does: no linker, C library or emulator for it is needed. Loops over pixels
# are the plain ones there.
set -euo pipefail
cd "$(dirname "$0")/../.."
triple=armv7-unknown-linux-gnueabihf
if ! [ -d "$(rustc --print target-libdir --target $triple)" ]; then
  RUSTC=$(tests/arm/rust.sh armhf)
  export RUSTC
fi
for features in "" rten; do
  "${CARGO:-cargo}" check --quiet --target $triple --package milkglass --no-default-features --features "$features"
  echo "check32: the engine compiles for $triple, features: ${features:-none}"
done
features=rten,lock,evidence,ring
"${CARGO:-cargo}" check --quiet --target $triple --package milkglass-capi --no-default-features --features $features
echo "check32: the C interface compiles for $triple, features: $features"
