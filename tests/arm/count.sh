#!/usr/bin/env bash
# Counts the instructions that each case of `milkglass bench` executes on 64-bit ARM, with plain loops and with NEON, and
# compares them with the committed table: benches/record/arm/COMPILER.csv. 5 % more than there: exit code 1.
#
#   tests/arm/count.sh            compare
#   tests/arm/count.sh --update   write the table of this compiler anew, and benches/record/arm/README.md
#
# Counts repeat to the digit, and are not times: what a processor makes of them, only that processor tells.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/arm/env.sh
triple=aarch64-unknown-linux-gnu
out=target/arm
mkdir -p "$out"
gcc -shared -fPIC -O2 -Wall -Wextra -o "$out/count.so" tests/arm/count.c
# Names with the numbers that a generic function was compiled for: sum::<2>. The code is the same but for
# the order of functions.
RUSTFLAGS="${RUSTFLAGS:-} -C symbol-mangling-version=v0" \
  "${CARGO:-cargo}" build --quiet --profile dist --target $triple --package milkglass-benches --bin count_cases
program=target/$triple/dist/count_cases
plugin=$out/count.so,out=$out/counts,blocks=$out/blocks
if ! qemu-aarch64 -L /usr/aarch64-linux-gnu -plugin "$plugin" "$program" >"$out/cases"; then
  tail -1 "$out/cases" >&2
  echo "count.sh: the cases did not run to their end" >&2
  exit 1
fi
paste -d ' ' "$out/cases" "$out/counts" >"$out/counted"
compiler=$("${RUSTC:-rustc}" -vV | awk '/^release/ { rust = $2 } /^LLVM/ { llvm = $3 } END { print "rust-" rust "-llvm-" llvm }')
exec python3 tests/arm/count.py "$compiler" "$out/counted" "$program" "$out/blocks" "$@"
