#!/usr/bin/env bash
# Builds for 64-bit ARM as for a board, leaves the stripped files in target/arm, and says how large they are.
# Fails when one is larger than it may be. Models are files beside the program, and not counted.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/arm/env.sh
triple=aarch64-unknown-linux-gnu
built=target/$triple/dist
out=target/arm
mkdir -p "$out"
missed=0

build() { "${CARGO:-cargo}" build --quiet --profile dist --target $triple "$@"; }

# FILE NAME WHAT [BAR_IN_MB]: a row of the table.
row() {
  aarch64-linux-gnu-strip -o "$out/$2" "$1"
  local bytes bar='' verdict=''
  bytes=$(stat -c %s "$out/$2")
  if [ -n "${4:-}" ]; then
    bar="$4.0 MB"
    if [ "$bytes" -gt $(($4 * 1000000)) ]; then verdict=' **missed**' missed=1; fi
  fi
  awk -v what="$3" -v file="$out/$2" -v bytes="$bytes" -v bar="$bar$verdict" \
    'BEGIN { printf "| %s | `%s` | %.2f MB | %s |\n", what, file, bytes / 1e6, bar }'
}

# What `make build-arm` shows is what is measured: nothing before the table on standard output.
echo "| what | file | size | at most |"
echo "|---|---|---|---|"
build --package milkglass-cli
row $built/milkglass milkglass "the command, all backends and cameras" 10
library() { # NAME WHAT FEATURES [BAR]
  build --package milkglass-capi --no-default-features --features "$3"
  row $built/libmilkglass_capi.so "$1" "$2" "${4:-}"
}
library libmilkglass-bare.so "the library, a detector of your own" ""
library libmilkglass-ort.so "the library, ONNX Runtime loaded when it runs" ort
library libmilkglass-rten.so "the library, inference in pure Rust" rten 6
library libmilkglass.so "the library, pure Rust and cameras" rten,v4l2 6
library libmilkglass-all.so "the same with lock, evidence and ring" rten,v4l2,lock,evidence,ring 6
# What the guide tells to type, while most of it is built.
tests/arm/guide.sh >&2
if [ $missed = 1 ]; then
  echo "build.sh: something is larger than it may be; see which part with: nm --size-sort -S -C" >&2
  exit 1
fi
