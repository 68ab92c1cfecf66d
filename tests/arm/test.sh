#!/usr/bin/env bash
# Builds the tests for 64-bit ARM and runs them here under QEMU's user-mode emulation (env.sh says what that needs).
#
#   tests/arm/test.sh [TEST_NAME]
#   tests/arm/test.sh --kernels      the loops over pixels alone: NEON against the plain ones
#
# Every unit, kernel and engine test runs, with inference in pure Rust. What does not is named with its reason.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/arm/env.sh

if [ "${1:-}" = --kernels ]; then
  exec "${CARGO:-cargo}" test --target aarch64-unknown-linux-gnu --package milkglass --features evidence,lock --lib -- \
    kernels letterbox signature
fi

skip() { echo "test-arm: skipped: $1: $2"; }

skip "whatever loads ONNX Runtime" "its AArch64 library crashes under qemu-user 7.2; rten runs the models here, and \
tests/arm/onnxruntime.sh runs the real library in a whole emulated machine"
skip "selftest::tests::every_preset_passes_wherever_the_person_stands" "a hundred looks of every network, \
which differ in nothing but the processor; the others of selftest run"
skip "frame::memory::tests::pages_of_frames_are_left_out_of_dumps_and_forks_and_locked_when_asked" "QEMU's user-mode \
emulation keeps such advice from the kernel"
unset ORT_DYLIB_PATH

arguments=(--target aarch64-unknown-linux-gnu --package milkglass --features evidence,lock --lib)
for file in tests/*.rs; do
  name=$(basename "$file" .rs)
  case $name in
    boundary) skip "$file" "asks this machine's compiler what must not compile; no ARM code is run" ;;
    examples) skip "$file" "starts programs, which qemu-user cannot; tests/v4l2 runs quickstart in an emulated machine" ;;
    memory) skip "$file" "reads how much memory the program has, which here is the emulator's" ;;
    allocations) skip "$file" "looks at dozens of pictures with every network; what is allocated does not depend on the processor" ;;
    selftest) skip "$file" "runs networks in real time, and an emulated one takes seconds; its unit tests run" ;;
    ring) skip "$file" "compiles and starts C programs of this machine" ;;
    *) arguments+=(--test "$name") ;;
  esac
done
skip "cli/tests and capi/tests" "they start programs, which qemu-user cannot; tests/v4l2 runs the command, and programs in C, in \
an emulated machine; unit tests of both run"
skip "gst" "needs GStreamer's libraries for AArch64, which are not installed here"
"${CARGO:-cargo}" test --target aarch64-unknown-linux-gnu --package milkglass-cli --package milkglass-capi --package milkglass-parsers --lib -- "$@"
"${CARGO:-cargo}" test "${arguments[@]}" -- --skip every_preset_passes_wherever --skip pages_of_frames_are_left_out "$@"
