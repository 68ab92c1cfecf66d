#!/usr/bin/env bash
# Runs the commands for ARM that docs/INTEGRATING.md tells people to type, as they stand there: every block below a comment that
# names this script. What would change this machine, installing packages and toolchains, is only looked up: each package has
# to be there, or to be one that Debian has.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/arm/env.sh
blocks=$(awk '/^<!-- run: tests\/arm\/guide.sh -->/ { wanted = 1; next } wanted && /^```sh/ { inside = 1; wanted = 0; n++; next }
  /^```/ { inside = 0 } inside' docs/INTEGRATING.md)
[ "$(grep -c 'rustup target add' <<<"$blocks")" = 2 ] || { echo "guide.sh: the guide's blocks for ARM were not found" >&2; exit 1; }

sudo() {
  [ "$1 $2" = "apt-get install" ] || { echo "guide.sh: sudo $*" >&2; return 1; }
  local package
  for package in "${@:3}"; do
    dpkg -s "$package" >/dev/null 2>&1 || apt-cache show "$package" >/dev/null || { echo "guide.sh: no package $package" >&2; return 1; }
  done
}
rustup() { # target add TRIPLE: env.sh and check32.sh take Debian's compiler where there is none
  [ "$1 $2" = "target add" ] || return 1
  if [ "$3" = armv7-unknown-linux-gnueabihf ] && ! [ -d "$(command rustc --print target-libdir --target "$3")" ]; then
    RUSTC=$(tests/arm/rust.sh armhf)
    export RUSTC
  fi
}
set -x
eval "$blocks"
