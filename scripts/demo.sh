#!/bin/sh
# The whole product in about a minute: no key, no network, nothing billed. Arguments go to `crewcap demo`.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh run
exec .venv/bin/crewcap demo "$@"
