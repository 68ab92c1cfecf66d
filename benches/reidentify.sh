#!/usr/bin/env bash
# Whether a program can tell who is behind what was hidden: an attack on each style, beside the same attack on bare faces.
#
#   benches/reidentify.sh [--draws N] [--labels FILE] [--json FILE]
#
# --draws N     how many times the regions of shape = "padded" are drawn, whose random numbers differ each time [default: 5]
# --labels FILE who is in which clip [default: benches/reidentify.labels.txt]
# --json FILE   also writes every figure as JSON
#
# Needs MILKGLASS_EVALDATA, the folder of the evaluation data (of it videos/asl/), ffmpeg, python3 and the built program
# (MILKGLASS names another one). Exits with 1 when a bar is missed, or when the attack is too weak to prove anything: it has
# to tell .80 of the bare faces and .70 of the plain boxes.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

labels=$benches/reidentify.labels.txt
more=()
while (($#)); do
    case "$1" in
        --draws | --labels | --json)
            (($# > 1)) || fail "$1 needs a value" "nothing follows it" "benches/reidentify.sh --help"
            if [[ $1 == --labels ]]; then labels=$2; else more+=("$1" "$2"); fi
            shift
            ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) fail "unknown argument '$1'" "only --draws, --labels and --json are known" "benches/reidentify.sh --help" ;;
    esac
    shift
done
[[ -n ${MILKGLASS_EVALDATA:-} ]] || fail "MILKGLASS_EVALDATA is not set" \
    "the attack is run on clips of people, which are no part of the project; the folder must hold videos/asl/" \
    "MILKGLASS_EVALDATA=FOLDER benches/reidentify.sh"
[[ -d $MILKGLASS_EVALDATA/videos/asl ]] || fail "MILKGLASS_EVALDATA holds no videos/asl" \
    "the attack is run on the clips in it" "name another folder, or complete this one"
[[ -r $labels ]] || fail "$labels cannot be read" "it tells who is in which clip" "name another file with --labels"
need ffmpeg ffmpeg
find_milkglass
environment reidentify requirements-reidentify.txt

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT TERM
# Many small sums: more threads than one only get into each other's way.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
"$python" "$benches/reidentify.py" --clips "$MILKGLASS_EVALDATA/videos/asl" --labels "$labels" --work "$work" "${more[@]}"
