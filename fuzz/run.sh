#!/usr/bin/env bash
# Builds and runs the fuzz targets with stable Rust and a C++ compiler; neither cargo-fuzz nor nightly is needed.
#
#   fuzz/run.sh                          every target for a minute, two at a time
#   fuzz/run.sh policy nut --seconds 600
#   fuzz/run.sh --replay                 what is committed in fuzz/corpus, each input once; nothing new is tried
#   fuzz/run.sh policy --input FILE      one input again, such as a crash that was found
#   fuzz/run.sh capi --address           with AddressSanitizer, which wants a nightly toolchain; several times slower
#
# What it finds to be interesting goes to target/fuzz/corpus; fuzz/corpus stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

all=$(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v '^milkglass')
targets=() seconds=60 jobs=2 input= address= replay=
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?--seconds N}; shift ;;
    --jobs) jobs=${2:?--jobs N}; shift ;;
    --input) input=${2:?--input FILE}; shift ;;
    --replay) replay=1 ;;
    --address) address=1 ;;
    -*) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 1 ;;
    *) grep -qx -- "$1" <<<"$all" || { echo "fuzz: no target $1; there are" $all >&2; exit 1; }; targets+=("$1") ;;
  esac
  shift
done
[ ${#targets[@]} -gt 0 ] || read -ra targets <<<"$(echo $all)"

# Coverage for libFuzzer: what `cargo fuzz` asks of the compiler too. The host's own flags would end up in build scripts and
# macros if no target were named.
host=$(rustc -vV | sed -n 's/^host: //p')
flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing)
out=target/fuzz memory=1024
if [ -n "$address" ]; then
  # What checks every access takes memory too; the corpus stays the same.
  CARGO="rustup run nightly cargo" out=target/fuzz-address memory=4096
  flags+=(-Zsanitizer=address)
  export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
fi
env -u CARGO_ENCODED_RUSTFLAGS RUSTFLAGS="${flags[*]}" ${CARGO:-cargo} build --release --locked --quiet \
  --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$out" "${targets[@]/#/--bin=}"

run() { # TARGET
  local target=$1 corpus=target/fuzz/corpus/$1 artifacts=target/fuzz/artifacts/$1 log=target/fuzz/$1.log
  local length=-max_total_time="$seconds"
  # Once through what is committed; an input that stood for something stays, whatever it covers today.
  if [ -n "$replay" ]; then length=-runs=0 corpus=; fi
  local options=("$length" -timeout=30 -rss_limit_mb=$memory -print_final_stats=1 -verbosity=1
    -artifact_prefix="$artifacts/")
  [ ! -f "fuzz/dictionaries/$target.txt" ] || options+=(-dict="fuzz/dictionaries/$target.txt")
  mkdir -p ${corpus:+"$corpus"} "$artifacts"
  local TIMEFORMAT="cpu: %U %S" # Written to the log, below libFuzzer's own figures.
  if { time "$out/$host/release/$target" "${options[@]}" ${corpus:+"$corpus"} "fuzz/corpus/$target"; } >"$log" 2>&1; then
    awk -v t="$target" '
      / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
      /number_of_executed_units/ { n = $2 }
      /^cpu: / { cpu = $2 + $3 }
      END { printf "fuzz: %s: nothing found in %d executions, %d s of CPU, %d edges covered\n", t, n, cpu, cov }' "$log"
  else
    tail -n 40 "$log" >&2
    local found
    found=$(sed -n 's/^.*Test unit written to //p' "$log" | tail -n 1)
    echo "fuzz: $target FAILED; all of it is in $log" >&2
    echo "fuzz: once more: fuzz/run.sh $target --input ${found:-$artifacts/...}" >&2
    return 1
  fi
}

if [ -n "$input" ]; then
  exec "$out/$host/release/${targets[0]}" "$input"
fi
export -f run
export out host seconds memory replay
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'set -euo pipefail; run "$1"' - {}
