#!/usr/bin/env bash
# Wall time, CPU time and peak memory of redacting a 1080p clip, against plain ffmpeg with the same encoder settings in the
# same run, and against the peer.
#
#   benches/clip_speed.sh [--no-peer] [--rounds N] [--seconds N] [--noise N] [--json FILE]
#
# --no-peer    leaves the peer (deface, from PyPI) out
# --rounds N   how often each of the three is run, by turns (default 5)
# --seconds N  length of the clip (default 10)
# --noise N    strength of the grain added to the clip (default 3): the more, the harder the encoder works
# --json FILE  also writes every figure as JSON
#
# Needs ffmpeg, python3 and the built program (MILKGLASS names another one). Exits with 1 when a bar is missed.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

peer=1
seconds=10
noise=3
options=()
while (($#)); do
    case "$1" in
        --no-peer) peer= ;;
        --rounds | --seconds | --noise | --json)
            (($# > 1)) || fail "$1 needs a value" "nothing follows it" "benches/clip_speed.sh --help"
            [[ $1 == --json || $2 =~ ^[0-9]+$ ]] || fail "$1 $2" "a whole number is needed" "benches/clip_speed.sh --help"
            case "$1" in
                --seconds) seconds=$2 ;;
                --noise) noise=$2 ;;
                *) options+=("$1" "$2") ;;
            esac
            shift
            ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) fail "unknown argument '$1'" "it is none of this script's" "benches/clip_speed.sh --help" ;;
    esac
    shift
done

need ffmpeg ffmpeg
need python3 python3
find_milkglass
if [[ $peer ]]; then
    environment peer requirements-peer.txt
    options+=(--peer-python "$python")
fi

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT TERM

# The example enlarged, seen by a slowly swaying camera, with grain: without sway and grain most of a clip would be
# skipped blocks, and the encoder, which everything is measured against, would have unusually little to do.
echo "clip_speed: making the clip" >&2
ffmpeg -nostdin -v error -stream_loop -1 -i "$root/examples/people.mp4" -an -t "$seconds" -vf "
    scale=2112:1188:flags=lanczos,
    crop=1920:1080:x='96+90*sin(0.7*t)':y='54+50*sin(0.5*t)',
    noise=alls=$noise:allf=t:all_seed=1,
    format=yuv420p" -c:v libx264 -preset fast -crf 18 -bitexact "$work/clip.mp4"
ffmpeg -nostdin -v error -i "$work/clip.mp4" -t 2 -c copy "$work/short.mp4"

python3 "$benches/clip_speed.py" --work "$work" "${options[@]}"
