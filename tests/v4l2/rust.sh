#!/usr/bin/env bash
# Prints the path of a rustc that can compile for arm64, for where rustup cannot download that target: Debian's rustc-web,
# with its arm64 standard library unpacked (not installed) beside it in target/vm/rust.
set -euo pipefail
cd "$(dirname "$0")/../.."
home=$PWD/target/vm/rust
triple=aarch64-unknown-linux-gnu

command -v /usr/bin/rustc >/dev/null && version=$(dpkg-query -W -f '${Version}' rustc-web 2>/dev/null) || {
  echo "rust.sh: install rustc-web, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross, or run: rustup target add $triple" >&2
  exit 2
}
if [ "$(cat "$home/version" 2>/dev/null)" != "$version" ]; then
  rm -rf "$home"
  mkdir -p "$home"/apt/{lists/partial,archives/partial} "$home"/lib/rustlib
  : > "$home/apt/status"
  printf '%s\n' "Dir::State \"$home/apt\";" "Dir::State::status \"$home/apt/status\";" "Dir::Cache \"$home/apt\";" \
    'APT::Architecture "arm64";' 'APT::Architectures { "arm64"; };' 'APT::Sandbox::User "root";' \
    'Acquire::Languages "none";' > "$home/apt/apt.conf"
  (
    cd "$home/apt"
    export APT_CONFIG=$home/apt/apt.conf
    apt-get update -q
    apt-get download -q "libstd-rust-web-dev=$version"
  ) >&2
  dpkg-deb -x "$home"/apt/libstd-rust-web-dev_*.deb "$home/unpacked"
  mv "$home/unpacked/usr/lib/rustlib/$triple" "$home/lib/rustlib/"
  ln -s /usr/lib/rustlib/x86_64-unknown-linux-gnu "$home/lib/rustlib/"
  rm -rf "$home/unpacked" "$home/apt"
  # shellcheck disable=SC2016 # for the script's own arguments
  printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "%s" "$@"\n' "$home" > "$home/rustc"
  chmod +x "$home/rustc"
  echo "$version" > "$home/version"
fi
echo "$home/rustc"
