#!/usr/bin/env bash
# What stays visible and what is hidden needlessly, on labelled pictures, beside the peer; each figure against its bar.
#
#   benches/quality.sh [--no-peer] [--json FILE]
#
# --no-peer    leaves the peer (deface, from PyPI) out; nothing but numpy and Pillow is installed then
# --json FILE  also writes every figure as JSON
#
# Needs MILKGLASS_EVALDATA, the folder of the evaluation data (benches/README.md tells what it holds), ffmpeg, python3 and
# the built program (MILKGLASS names another one). Exits with 1 when a bar is missed or two ways of measuring disagree.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

peer=1
json=()
while (($#)); do
    case "$1" in
        --no-peer) peer= ;;
        --json)
            (($# > 1)) || fail "--json needs a value" "nothing follows it" "benches/quality.sh --json FILE"
            json=(--json "$2")
            shift
            ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) fail "unknown argument '$1'" "only --no-peer and --json FILE are known" "benches/quality.sh --help" ;;
    esac
    shift
done

holds="faces_images.jsonl, persons_images.jsonl, video_faces.jsonl, video_persons.jsonl"
holds+=", video_unlabelled.jsonl, images/, videos/, score.py, tile.py"
[[ -n ${MILKGLASS_EVALDATA:-} ]] || fail "MILKGLASS_EVALDATA is not set" \
    "this benchmark measures on labelled pictures that are no part of the project; the folder must hold $holds" \
    "MILKGLASS_EVALDATA=FOLDER benches/quality.sh"
for name in ${holds//,/}; do
    [[ -e $MILKGLASS_EVALDATA/$name ]] || fail "MILKGLASS_EVALDATA holds no $name" "it must hold $holds" \
        "name another folder, or complete this one"
done
evaldata=$(cd -- "$MILKGLASS_EVALDATA" && pwd)
need ffmpeg ffmpeg
find_milkglass

peer_python=()
if [[ $peer ]]; then
    environment peer requirements-peer.txt
    peer_python=(--peer-python "$python")
fi
environment plain requirements.txt

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT TERM
"$python" "$evaldata/tile.py" "$evaldata/faces_images.jsonl" "$work/tiled"
"$python" "$benches/quality.py" --evaldata "$evaldata" --work "$work" --example "$root/examples/people.mp4" \
    "${peer_python[@]}" "${json[@]}"
