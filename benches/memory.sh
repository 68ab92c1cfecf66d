#!/usr/bin/env bash
# What `milkglass live` takes of a board's memory, as rows of a table in docs/INTEGRATING.md: with each runtime and preset,
# at 720p and 1080p, one inference thread, 10 frames/s, a deadline of 2 s, one target. For each the program runs for 8 s on
# the demo clip, scaled; then the kernel is asked. Anonymous memory is what the program keeps for itself; what is mapped from
# files (the program, ONNX Runtime) comes on top, and can be dropped and read again.
#
#   benches/memory.sh [target/release/milkglass]
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/release/milkglass}
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT

kib() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$2/status"; }

row() { # SIZE BACKEND PRESET
  mkfifo "$state/camera"
  ffmpeg -v error -nostdin -re -stream_loop -1 -i examples/people.mp4 -vf "scale=$1,fps=10" -pix_fmt yuv420p \
    -f yuv4mpegpipe "$state/camera" -y & local feeder=$!
  "$program" live --from "$state/camera" --to nv12:- --state-dir "$state/state" --backend "$2" --preset "$3" --threads 1 \
    --max-gap 1900ms --deadline 2s >"$state/out" 2>"$state/err" & local pid=$!
  sleep 8
  if ! kill -0 $pid 2>/dev/null; then
    echo "| $1 | $2 | $3 | does not keep up here |"
    tail -1 "$state/err" >&2
  else
    local most anonymous
    most=$(kib VmHWM $pid) anonymous=$(kib RssAnon $pid)
    kill $pid
    wait $pid || true
    # A program that had only obscured frames would not have needed everything.
    grep -q 'frames covered' "$state/err" || { cat "$state/err" >&2; exit 1; }
    echo "| $1 | $2 | $3 | $((anonymous * 1024 / 1000000)) | $((most * 1024 / 1000000)) |"
  fi
  kill $feeder 2>/dev/null || true
  wait $feeder 2>/dev/null || true
  rm -f "$state/camera" "$state/out"
}

echo "| size | runtime | preset | anonymous, MB | most resident, MB |"
echo "|---|---|---|---|---|"
for size in 1280:720 1920:1080; do
  for backend in ort rten; do
    for preset in fast balanced careful; do row $size $backend $preset; done
  done
done
