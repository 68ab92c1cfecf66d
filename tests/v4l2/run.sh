#!/usr/bin/env bash
# Builds the scenarios of main.rs and the milkglass command, and runs them with vivid as the camera, in the emulated machine
# of vm.sh. Several minutes, most of it in emulation.
#
#   tests/v4l2/run.sh [amd64|arm64] [SCENARIO]...
#
# What builds for arm64: tests/arm/env.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."

export ARCH=${1:-amd64}
shift || true
arguments=(--package milkglass --test v4l2 --example quickstart --package milkglass-cli --bin milkglass --package milkglass-capi --lib --message-format json)
strip=strip gcc=gcc
if [ "$ARCH" = arm64 ]; then
  triple=aarch64-unknown-linux-gnu
  arguments+=(--target "$triple")
  . tests/arm/env.sh
  strip=aarch64-linux-gnu-strip gcc=aarch64-linux-gnu-gcc
fi
built=$("${CARGO:-cargo}" build "${arguments[@]}")
executable() { sed -n "s/.*\"name\":\"$1\".*\"executable\":\"\([^\"]*\)\".*/\1/p" <<<"$built" | tail -1; }

# What real.rs needs: the command and an example, without what only a debugger reads, the model,
# and a part of 16 frames in which two people pass, as raw pictures, with its labels.
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
"$strip" -o "$files/milkglass" "$(executable milkglass)"
"$strip" -o "$files/quickstart" "$(executable quickstart)"
# capi.rs: programs in C, with the library inside.
library=$(grep -o '"[^"]*/libmilkglass_capi\.a"' <<<"$built" | tail -1 | tr -d '"')
for program in camera dmabuf; do
  "$gcc" -O1 -Wall -Wextra -Werror -Wno-missing-field-initializers -I capi "capi/tests/c/$program.c" "$library" -lpthread -ldl \
    -lm -lgcc_s -o "$files/$program"
  "$strip" "$files/$program"
done
ffmpeg -v error -nostdin -i examples/people.mp4 \
  -vf trim=start_frame=18:end_frame=34,setpts=PTS-STARTPTS,crop=480:360:420:280,scale=320:240 -pix_fmt nv12 -f rawvideo \
  "$files/people.nv12"

# Four devices: a webcam with single planes and one with several, and the same as HDMI inputs that show their own outputs.
vivid="n_devs=4 multiplanar=1,2,1,2 node_types=0x1,0x1,0x101,0x101 num_inputs=1,1,1,1 input_types=0x0,0x0,0x3,0x3"
vivid+=" num_outputs=0,0,1,1 output_types=0x0,0x0,0x1,0x1 vid_cap_nr=0,1,2,4 vid_out_nr=-1,-1,3,5"
run() { # SCENARIO...
  tests/v4l2/vm.sh -t 600 -m "$vivid" -f "$files/milkglass" -f "$files/quickstart" -f "$files/camera" -f "$files/dmabuf" \
    -f "$files/people.nv12" -f examples/people.truth.json -f models/yunet.onnx -f models/yunet.toml "$(executable v4l2)" "$@"
}
if [ $# -gt 0 ]; then
  run "$@"
else
  # The real program plays smaller pictures, and vivid would not let the other scenarios have larger ones afterwards.
  run people quickstart
  run -people -quickstart
fi
