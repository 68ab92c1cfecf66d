#!/usr/bin/env bash
# Fetches the ONNX Runtime library, which runs the models two to seven times sooner than the built-in pure Rust backend.
#
#   models/fetch-onnxruntime.sh [--arch x86_64|aarch64] [DIR]
#
# Leaves DIR/libonnxruntime.so.1 with its licence beside it. DIR is target/onnxruntime below the checkout unless named
# (target/onnxruntime-ARCH when --arch names another machine's). Taken from the PyPI package onnxruntime, the library
# alone, pinned by hash; nothing is installed or run. Says nothing and fetches nothing when the library is in place.
# Needs: python3 with pip or venv, access to PyPI, and glibc 2.28 or newer on the machine that will use it.
set -euo pipefail

version=1.31.0
declare -A wheel_hash=(
    [x86_64]=5e129d6c56abd53e659cb70f00a108d6824086470ff99c2e47a82e5786563db3
    [aarch64]=35758d7606d578ec5b9d65f6e8a1f488013194c3f6097038a3223cb26d35ef9a
)
declare -A library_hash=(
    [x86_64]=21901b1b02233484b80888c16f4f5473742f796bf5528d5d0c4073dbe9802001
    [aarch64]=b79d2fcf36b8870f4b2da95784a6ad846c47f05511ffa7be409c79a44f9dc9a4
)
usage="models/fetch-onnxruntime.sh [--arch x86_64|aarch64] [DIR]"
without="The program also works without it, through its pure Rust backend, only slower."

# fail WHAT WHY WHAT-TO-DO
fail() {
    printf 'fetch-onnxruntime.sh: %s\n  why: %s\n  do:  %s\n' "$@" >&2
    exit 1
}

machine=$(uname -m)
[[ $machine == arm64 ]] && machine=aarch64
arch=$machine
dir=
while (($#)); do
    case "$1" in
        --arch)
            (($# > 1)) || fail "--arch needs a value" "nothing follows it" "$usage"
            arch=$2
            shift
            ;;
        --arch=*) arch=${1#*=} ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        -*) fail "unknown option '$1'" "only --arch is known" "$usage" ;;
        *) dir=$1 ;;
    esac
    shift
done

[[ -n $arch && -n ${library_hash[$arch]-} ]] || fail "no ONNX Runtime library for '$arch'" \
    "the package has builds for x86_64 and aarch64 only" "$without"

if [[ $arch == "$machine" ]]; then
    libc=$(getconf GNU_LIBC_VERSION 2> /dev/null | cut -d ' ' -f 2 || true)
    if [[ -z $libc ]]; then
        fail "no ONNX Runtime library for this system" \
            "the package's builds need glibc; this system has another C library (musl?)" "$without"
    elif [[ $(printf '2.28\n%s\n' "$libc" | sort -V | head -n 1) != 2.28 ]]; then
        fail "no ONNX Runtime library for this system" "the package's builds need glibc 2.28; this is $libc" \
            "use a newer system. $without"
    fi
fi

if [[ -z $dir ]]; then
    dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/target/onnxruntime
    [[ $arch == "$machine" ]] || dir+=-$arch
fi
library=$dir/libonnxruntime.so.1
matches() { [[ -f $1 && $(sha256sum "$1" | cut -d ' ' -f 1) == "${library_hash[$arch]}" ]]; }
matches "$library" && exit 0

command -v python3 > /dev/null || fail "cannot fetch ONNX Runtime" "python3 is missing" \
    "install it (Debian: apt-get install python3 python3-pip) and run this again"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if python3 -m pip --version > /dev/null 2>&1; then
    python=python3
elif python3 -m venv "$work/venv" > /dev/null 2>&1; then
    python=$work/venv/bin/python
else
    fail "cannot fetch ONNX Runtime" "python3 has neither pip nor venv" \
        "install one (Debian: apt-get install python3-pip) and run this again"
fi

echo "fetching ONNX Runtime $version for $arch (about 23 MB)"
echo "onnxruntime==$version --hash=sha256:${wheel_hash[$arch]}" > "$work/package.txt"
# The Python version is only part of the file's name here: the library inside is the same for all.
if ! "$python" -m pip --quiet --disable-pip-version-check download --retries 1 --timeout 20 --no-deps \
    --only-binary=:all: --implementation cp --python-version 3.12 --abi cp312 --platform "manylinux_2_28_$arch" \
    --require-hashes -r "$work/package.txt" -d "$work" 2> "$work/errors"; then
    fail "cannot fetch ONNX Runtime $version for $arch" \
        "pip: $(grep '^ERROR' "$work/errors" | tail -n 1 | grep . || tail -n 1 "$work/errors")" \
        "check the network and the access to PyPI; or run this on another machine (with --arch $arch) and copy libonnxruntime.so.1 into $dir. $without"
fi

mkdir -p "$dir"
"$python" - "$work" "$version" << 'PYTHON'
import glob, pathlib, sys, zipfile
work, version = sys.argv[1:]
(wheel,) = glob.glob(f"{work}/onnxruntime-*.whl")
members = {
    f"onnxruntime/capi/libonnxruntime.so.{version}": "libonnxruntime.so.1",
    "onnxruntime/LICENSE": "onnxruntime-LICENSE.txt",
    "onnxruntime/ThirdPartyNotices.txt": "onnxruntime-ThirdPartyNotices.txt",
}
with zipfile.ZipFile(wheel) as package:
    for member, name in members.items():
        pathlib.Path(work, name).write_bytes(package.read(member))
PYTHON
matches "$work/libonnxruntime.so.1" || fail "the fetched library is not the expected one" \
    "its sha256 differs from the one pinned in this script" "do not use it; report this"

# The library last and by renaming, so that a broken run never leaves half of one.
cp "$work/onnxruntime-LICENSE.txt" "$work/onnxruntime-ThirdPartyNotices.txt" "$dir/"
cp "$work/libonnxruntime.so.1" "$library.part"
mv "$library.part" "$library"
echo "$library"
