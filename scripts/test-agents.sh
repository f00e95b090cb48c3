#!/bin/sh
# The real Codex and Gemini CLIs through the gateway, against the scripted provider: no key, nothing billed.
# They are installed by hash (tests/e2e/agents/npm) into a folder that is thrown away afterwards, about 500 MB of it;
# needs Node 20 or newer and npm. Arguments go to pytest: `sh scripts/test-agents.sh -k codex -x`.
# AGENTS=/folder keeps the installation there and uses it again. RECORD=1 writes the recorded traffic anew.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh dev

for tool in node npm; do
    if ! command -v "$tool" >/dev/null; then
        echo "error: there is no $tool here" >&2
        echo "help: install Node 20 or newer with npm; the rest of the tests need neither: make test" >&2
        exit 4
    fi
done

if [ -n "${AGENTS:-}" ]; then
    mkdir -p "$AGENTS"
    folder=$(cd "$AGENTS" && pwd)
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    trap 'exit 130' INT TERM
fi

chmod 711 "$folder"  # agents in a sandbox are users of their own

lock=tests/e2e/agents/npm/package-lock.json
if ! cmp -s "$lock" "$folder/package-lock.json" || [ ! -d "$folder/node_modules" ]; then
    cp tests/e2e/agents/npm/package.json "$lock" "$folder/"
    echo "installing the agents of $lock"
    # Scripts of packages are not run: the CLIs need none of them.
    (cd "$folder" && npm ci --silent --ignore-scripts --no-audit --no-fund) || { rm -rf "$folder/node_modules"; exit 3; }
fi

CREWCAP_NPM_AGENTS=$folder CREWCAP_RECORD=${RECORD:-} .venv/bin/python -m pytest -m npm_agents tests/e2e/agents "$@"
