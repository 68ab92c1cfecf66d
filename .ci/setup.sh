#!/usr/bin/env bash
# Installs the Debian packages that the program and the demo need, or with the argument `tests` those of the tests: emulated
# machines, the feature rtsp-server, real clients. Only what is missing. Asks before it uses sudo; as root, or with CI=true,
# it does not ask.
set -euo pipefail

missing=()
need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
case ${1:-} in
  tests)
    # Some are on a user's path only as root.
    PATH=$PATH:/usr/sbin:/sbin
    need qemu-system-x86_64 qemu-system-x86
    need qemu-system-aarch64 qemu-system-arm
    need cpio cpio
    need xz xz-utils
    need modprobe kmod
    need chromium chromium
    need systemd-analyze systemd
    need pkg-config pkg-config
    # Programs in C and C++ against the C library.
    need g++ g++
    need valgrind valgrind
    # gcc finds it, wherever its version lies.
    [ -e "$(gcc -print-file-name=libasan.so 2>/dev/null)" ] || missing+=(gcc g++)
    need gst-launch-1.0 gstreamer1.0-tools
    pkg-config --exists gstreamer-rtsp-server-1.0 gstreamer-app-1.0 2>/dev/null || missing+=(libgstrtspserver-1.0-dev)
    # What the element milkglass is built and tested with.
    pkg-config --exists gstreamer-video-1.0 gstreamer-check-1.0 2>/dev/null || missing+=(libgstreamer-plugins-base1.0-dev)
    # What the server encodes with, and what clients read it with.
    for part in base good bad ugly; do
      dpkg -s gstreamer1.0-plugins-$part >/dev/null 2>&1 || missing+=(gstreamer1.0-plugins-$part)
    done
    need cc gcc
    need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
    need qemu-aarch64 qemu-user
    need llvm-mca-16 llvm-16
    [ -e /usr/aarch64-linux-gnu/include/stdio.h ] || missing+=(libc6-dev-arm64-cross)
    # Rust's standard libraries for ARM: from rustup where that has it, else from this package.
    for triple in aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf; do
      [ -d "$(rustc --print target-libdir --target $triple)" ] || rustup target add $triple >/dev/null 2>&1 ||
        dpkg -s rustc-web >/dev/null 2>&1 || missing+=(rustc-web)
    done
    ;;
  *)
    need cc gcc
    need ffmpeg ffmpeg
    need ffprobe ffmpeg
    need python3 python3
    python3 -c 'import venv, ensurepip' 2>/dev/null || python3 -m pip --version >/dev/null 2>&1 ||
      missing+=(python3-venv)
    # For the bindings of V4L2, which are generated at build time.
    ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1 && ls /usr/lib/llvm-*/lib/clang/*/include/stddef.h >/dev/null 2>&1 ||
      missing+=(libclang-dev)
    ;;
esac
if ! command -v cargo >/dev/null 2>&1; then
  echo "setup: cargo was not found; install Rust 1.95 or newer with rustup first" >&2
  exit 1
fi
[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

install="apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null 2>&1; then
  echo "setup: missing: ${missing[*]}. This is no Debian; install them with your package manager" >&2
  exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
  sudo=sudo
  if [ "${CI:-}" != true ]; then
    if ! [ -t 0 ]; then
      echo "setup: missing: ${missing[*]}. Run: sudo $install" >&2
      exit 1
    fi
    read -r -p "setup: missing: ${missing[*]}. Run 'sudo $install'? [y/N] " answer
    case $answer in [yY]*) ;; *) echo "setup: not installed; run it yourself and try again" >&2; exit 1 ;; esac
  fi
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
$sudo $install
