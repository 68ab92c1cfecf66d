#!/usr/bin/env bash
# Puts the models where programs look for them, with the licences that go wherever they go: install.sh FOLDER, such as
# /usr/local/share/milkglass/models.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
to=${1:?install.sh FOLDER}
install -d "$to/licenses"
install -m 644 "$here"/*.onnx "$here"/*.toml "$to/"
install -m 644 "$here"/licenses/* "$to/licenses/"
