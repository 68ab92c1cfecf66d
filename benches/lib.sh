# Shared by the benchmarks: where the program is, and the Python environments beside it. Sourced, never run.
# shellcheck shell=bash

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
benches=$root/benches
# Neither the checkout nor the evaluation data should grow folders of compiled Python.
export PYTHONDONTWRITEBYTECODE=1

# fail WHAT WHY WHAT-TO-DO
fail() {
    printf '%s: %s\n  why: %s\n  do:  %s\n' "${0##*/}" "$@" >&2
    exit 1
}

# The program under test: MILKGLASS, else the release build of this checkout.
find_milkglass() {
    MILKGLASS=${MILKGLASS:-$root/target/release/milkglass}
    [[ -x $MILKGLASS ]] || fail "no program at $MILKGLASS" "it is not built yet" \
        "cargo build --release --package milkglass-cli, or set MILKGLASS to another build"
    MILKGLASS=$(realpath -- "$MILKGLASS")
    export MILKGLASS
}

need() { # COMMAND PACKAGE
    command -v "$1" > /dev/null || fail "$1 was not found" "the benchmark needs it" "apt-get install $2"
}

# environment NAME REQUIREMENTS: a Python environment under target/, made once for each state of the requirements.
# Sets `python`. pip's own settings decide where packages come from. Of two that want it at once, one waits for the other.
environment() {
    local folder=$root/target/benches/$1 list=$benches/$2 guard
    need python3 python3
    need flock util-linux
    mkdir -p -- "$root/target/benches"
    exec {guard}> "$folder.lock"
    flock "$guard"
    python3 -c 'import venv, ensurepip' 2> /dev/null ||
        fail "python3 cannot make environments" "its venv module is missing" "apt-get install python3-venv"
    python=$folder/bin/python
    if ! cmp -s -- "$list" "$folder/requirements.installed"; then
        echo "${0##*/}: installing $2 into ${folder#"$root"/}" >&2
        rm -rf -- "$folder"
        python3 -m venv "$folder"
        "$python" -m pip --quiet --disable-pip-version-check install --requirement "$list" >&2
        cp -- "$list" "$folder/requirements.installed"
    fi
    exec {guard}>&-
}
