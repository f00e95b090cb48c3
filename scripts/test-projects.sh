#!/bin/sh
# Four kinds of public project, made ready by `crewcap doctor --repo` and worked on by the real Claude Code against the
# scripted provider: nothing is billed. Their sources and packages are fetched through this machine's own pip and npm,
# into a folder that is thrown away afterwards. Arguments go to pytest: `sh scripts/test-projects.sh -k npm -x`.
# PROJECTS=/folder keeps what was fetched there and uses it again.
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

if [ -n "${PROJECTS:-}" ]; then
    mkdir -p "$PROJECTS"
    folder=$(cd "$PROJECTS" && pwd)
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    trap 'exit 130' INT TERM
fi

fetch() {
    for name in idna packaging pg8000; do
        .venv/bin/python -m pip download --quiet --no-deps --no-binary "$name" --dest "$folder" "$name"
    done
    (cd "$folder" && npm pack --silent left-pad)
    python=$(.venv/bin/python -c 'import sys; print(sys.executable)')
    "$python" -m venv "$folder/uv" && "$folder/uv/bin/pip" install --quiet uv
    touch "$folder/fetched"
}
[ -e "$folder/fetched" ] || fetch || { echo "error: the projects could not be fetched" >&2; exit 3; }

mkdir -p "$folder/bin"
ln -sf "$folder/uv/bin/uv" "$folder/bin/uv"
PATH="$folder/bin:$PATH" CREWCAP_PROJECTS=$folder .venv/bin/python -m pytest -s -q -m public_projects tests/e2e/test_public_projects.py "$@"
