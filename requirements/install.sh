#!/usr/bin/env bash
# Makes .venv with exactly what requirements/dev.lock pins, and this checkout in it as editable.
#
#   requirements/install.sh            a second run finds the stamp and does and prints nothing
#   PYTHON=python3.12 requirements/install.sh
#
# A run that was interrupted leaves a mark, and the next one starts with a new .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly venv=.venv
readonly python=$venv/bin/python
readonly stamp=$venv/.fieldsync-installed
readonly mark=$venv/.fieldsync-installing
readonly inputs=(requirements/dev.lock pyproject.toml clients/python_sdk/pyproject.toml)

# Settings of the caller's own Python would redirect the installation.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [[ -n ${PYTHON:-} ]]; then
        is_new_enough "$PYTHON" && { command -v "$PYTHON"; return; }
        say "PYTHON=$PYTHON is not a Python of version 3.11 or later."
        return 1
    fi
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        is_new_enough "$candidate" && { command -v "$candidate"; return; }
    done
    say "No Python of version 3.11 or later was found."
    say "  Debian, Ubuntu:  apt install python3 python3-venv"
    say "  anywhere else:   PYTHON=/path/to/python3 $0"
    return 1
}

# What the installation follows from: the folder, and everything else in one number.
describe_inputs() {
    printf '%s\n' "$PWD"
    "$python" - "${inputs[@]}" 2>/dev/null <<'PY'
import hashlib, pathlib, sys
digest = hashlib.sha256(sys.version.encode())
for name in sys.argv[1:]:
    digest.update(hashlib.sha256(pathlib.Path(name).read_bytes()).digest())
print(digest.hexdigest())
PY
}

# The programs in a .venv begin with the path of its Python: a moved one has none that run.
is_moved() {
    [[ -e $stamp && $(head -n 1 "$stamp") != "$PWD" ]]
}

is_wanted_python() {
    [[ -z ${PYTHON:-} ]] && return
    local ask='import sys; print(sys.version_info[:2])'
    [[ $("$python" -c "$ask") == "$("$PYTHON" -c "$ask")" ]]
}

has_pip() { "$1" -m pip --version >/dev/null 2>&1; }

# An empty .venv with the mark in it, so that whatever is interrupted from here on is seen.
start_anew() {
    rm -rf "$venv"
    mkdir "$venv"
    touch "$mark"
}

make_venv() {
    local base=$1
    start_anew
    "$base" -m venv "$venv" >/dev/null 2>&1 && return
    start_anew # without ensurepip, half of it is there
    command -v uv >/dev/null && uv venv --quiet --allow-existing --python "$base" "$venv" && return
    command -v virtualenv >/dev/null && virtualenv --quiet --python "$base" "$venv" && return
    "$base" -m virtualenv --quiet "$venv" 2>/dev/null && return
    start_anew
    has_pip "$base" && "$base" -m venv --without-pip "$venv" && return
    rm -rf "$venv"
    say "$base cannot make a virtual environment: it has no ensurepip (on Debian and Ubuntu the"
    say "package python3-venv), and neither uv, nor virtualenv, nor pip was found. One of these helps:"
    say "  apt install python3-venv"
    say "  pip install uv"
    say "  pip install virtualenv"
    return 1
}

install() {
    local base=$1
    shift
    if has_pip "$python"; then
        "$python" -m pip install --quiet "$@"
    elif command -v uv >/dev/null; then
        uv pip install --quiet --python "$python" "$@"
    else
        "$base" -m pip --python "$python" install --quiet "$@"
    fi
}

main() {
    if command -v flock >/dev/null; then # two at once in one checkout: the second waits
        exec 9<requirements/install.sh
        flock 9
    fi
    if [[ -e $stamp && ! -e $mark ]] && is_wanted_python && [[ $(describe_inputs) == "$(<"$stamp")" ]]; then
        return
    fi

    local base
    base=$(find_python)
    if [[ -e $mark ]] || is_moved || ! is_new_enough "$python" || ! is_wanted_python; then
        say "Making $venv with $base"
        make_venv "$base"
    fi
    say "Installing requirements/dev.lock"
    touch "$mark"
    rm -f "$stamp"
    install "$base" --require-hashes -r requirements/dev.lock
    install "$base" --no-deps --no-build-isolation -e . -e clients/python_sdk
    describe_inputs >"$stamp"
    rm "$mark"
}

main
