#!/usr/bin/env bash
# Installs the Debian packages that building, testing and the demo need, if they are missing. Asks before it uses sudo;
# as root, or with CI=true, it does not ask.
set -euo pipefail

missing=()
need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need cc gcc
need ffmpeg ffmpeg
need ffprobe ffmpeg
need python3 python3
python3 -c 'import venv, ensurepip' 2>/dev/null || python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-venv)
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
