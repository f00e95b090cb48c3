#!/bin/sh
# Make .venv ready from a bare Python 3.11+ with venv and pip: `sh scripts/setup.sh run` for the product and its demo,
# `sh scripts/setup.sh dev` for the checks as well. Everything is installed by hash. A second call does nothing as long
# as the lock file, pyproject.toml and the interpreter are the same.
set -eu
cd "$(dirname "$0")/.."

kind=${1:-run}
case $kind in
    run) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) echo "error: setup.sh knows run and dev, not $kind" >&2; exit 2 ;;
esac

# The stamp of what was installed last: the checks' stamp is good for the demo too.
now=$(cat pyproject.toml requirements.lock requirements-dev.lock | cksum)
is_ready() { [ -x .venv/bin/python ] && [ "$(cat ".venv/.ready-$1" 2>/dev/null)" = "$now" ] && .venv/bin/python -c "" 2>/dev/null; }
if is_ready dev || { [ "$kind" = run ] && is_ready run; }; then exit 0; fi

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: there is no Python 3.11 or newer with venv and pip here" >&2
    echo "help: install it (Debian and Ubuntu: apt install python3 python3-venv), or name one: PYTHON=/path make ..." >&2
    exit 4
}

if ! .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python)
    echo "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
rm -f .venv/.ready-*
echo "installing $lock"
pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 .venv/bin/python -m pip --quiet"
$pip install --require-hashes -r "$lock"
$pip install --no-deps --no-build-isolation --editable .
echo "$now" > ".venv/.ready-$kind"
