#!/bin/sh
# The whole test suite. Arguments go to pytest: `sh scripts/test.sh tests/core -x`.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh dev
exec .venv/bin/python -m pytest -n auto --maxprocesses=4 --dist=worksteal "$@"
