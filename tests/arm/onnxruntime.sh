#!/usr/bin/env bash
# Runs the milkglass command that tests/arm/build.sh left, with ONNX Runtime's library for 64-bit ARM, in the emulated
# machine of tests/v4l2/vm.sh, and shows what it finds in a picture beside what the pure-Rust backend finds. That
# library crashes in QEMU's user-mode emulation. Several minutes: not a part of `make test`.
set -euo pipefail
cd "$(dirname "$0")/../.."
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
models/fetch-onnxruntime.sh --arch aarch64
ffmpeg -v error -nostdin -i examples/people.mp4 -vf select=eq'(n\,30)' -frames:v 1 "$files/people.png"
cat >"$files/both" <<'S'
#!/bin/sh
set -e
export MILKGLASS_MODELS=$PWD ORT_DYLIB_PATH=/tmp/libonnxruntime.so.1
# Reading a program page by page from the shared folder is slow.
cp milkglass libonnxruntime.so.1 people.png /tmp
for backend in ort rten; do
  /tmp/milkglass detect /tmp/people.png --preset fast --backend $backend --json /tmp/$backend.json
  echo "$backend:"
  cat /tmp/$backend.json
done
/tmp/milkglass redact /tmp/people.png -o /tmp/redacted.png --preset fast --backend ort
S
ARCH=arm64 tests/v4l2/vm.sh -t 900 -f target/arm/milkglass -f target/onnxruntime-aarch64/libonnxruntime.so.1 \
  -f "$files/people.png" -f models/yunet.onnx -f models/yunet.toml "$files/both"
