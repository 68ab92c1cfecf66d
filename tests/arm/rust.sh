#!/usr/bin/env bash
# Prints the path of a rustc that can compile for arm64 (AArch64) or armhf (armv7), for where rustup cannot download that
# target: Debian's rustc-web, with its standard library for the other machine unpacked (not installed) beside it in
# target/vm/rust.
#   rust.sh arm64|armhf
set -euo pipefail
cd "$(dirname "$0")/../.."
home=$PWD/target/vm/rust
case ${1:-} in
  arm64) triple=aarch64-unknown-linux-gnu ;;
  armhf) triple=armv7-unknown-linux-gnueabihf ;;
  *) echo "usage: rust.sh arm64|armhf" >&2; exit 2 ;;
esac

command -v /usr/bin/rustc >/dev/null && version=$(dpkg-query -W -f '${Version}' rustc-web 2>/dev/null) || {
  echo "rust.sh: install rustc-web, or run: rustup target add $triple" >&2
  exit 2
}
if [ "$(cat "$home/version" 2>/dev/null)" != "$version" ]; then rm -rf "$home"; fi
if ! [ -d "$home/lib/rustlib/$triple" ]; then
  apt=$home/apt-$1
  rm -rf "$apt"
  mkdir -p "$apt"/{lists/partial,archives/partial} "$home"/lib/rustlib
  : > "$apt/status"
  printf '%s\n' "Dir::State \"$apt\";" "Dir::State::status \"$apt/status\";" "Dir::Cache \"$apt\";" \
    "APT::Architecture \"$1\";" "APT::Architectures { \"$1\"; };" 'APT::Sandbox::User "root";' \
    'Acquire::Languages "none";' > "$apt/apt.conf"
  (
    cd "$apt"
    export APT_CONFIG=$apt/apt.conf
    apt-get update -q
    apt-get download -q "libstd-rust-web-dev=$version"
  ) >&2
  dpkg-deb -x "$apt"/libstd-rust-web-dev_*.deb "$apt/unpacked"
  mv "$apt/unpacked/usr/lib/rustlib/$triple" "$home/lib/rustlib/"
  ln -sfn /usr/lib/rustlib/x86_64-unknown-linux-gnu "$home/lib/rustlib/x86_64-unknown-linux-gnu"
  rm -rf "$apt"
  # shellcheck disable=SC2016 # for the script's own arguments
  printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "%s" "$@"\n' "$home" > "$home/rustc"
  chmod +x "$home/rustc"
  echo "$version" > "$home/version"
fi
echo "$home/rustc"
