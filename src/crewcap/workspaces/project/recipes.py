"""What a setup's result depends on, as one name: two runs with the same recipe may share a prepared tree. No I/O.

The rule. A setup reads lock files and manifests (by their names, at any depth), whatever files its own command line
names, submodules, the toolchains, the hosts it may reach; and it bakes the paths of workspace and home into what it
makes. All of that goes into the name. It also could read any other file of the project, and no table of names knows
that. So only a setup that is nothing but installs of known package managers (`npm ci`, `uv sync`, `_INSTALLS`) shares
its tree among commits; any other (`make setup`, a script, `pip install .`, `npm run build`) depends on the whole tree
of the commit. Cargo and go compare for themselves what they build: a later run's sources are newer.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import PurePosixPath

_FORMAT = 1  # of what is kept; another number makes every older tree unknown

# Files that decide what a setup makes, by name. Manifests count even beside a lock file: they hold entry points,
# install scripts and members of a workspace.
INPUTS = (
    *("pyproject.toml", "setup.cfg", "setup.py", "requirements*.txt", "requirements*.in", "constraints*.txt"),
    *("uv.lock", "uv.toml", "poetry.lock", "pdm.lock", "pylock*.toml", "Pipfile", "Pipfile.lock", "environment*.y*ml"),
    *("conda-lock.yml", "pixi.toml", "pixi.lock", "hatch.toml", "tox.ini", "noxfile.py"),
    *("package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", ".yarnrc", ".yarnrc.yml", ".npmrc"),
    *("pnpm-lock.yaml", "pnpm-workspace.yaml", ".pnpmfile.cjs", "bun.lock", "bun.lockb", "deno.json", "deno.lock"),
    *("lerna.json", "rush.json", "*.patch"),
    *("Cargo.toml", "Cargo.lock", "go.mod", "go.sum", "go.work", "go.work.sum"),
    *("Gemfile", "Gemfile.lock", "*.gemspec", "composer.json", "composer.lock", "mix.exs", "mix.lock"),
    *("pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle*", "gradle.lockfile", "libs.versions.toml"),
    *("gradle-wrapper.properties", "maven-wrapper.properties", "*.csproj", "packages.lock.json", "global.json"),
    *("Package.swift", "Package.resolved", "pubspec.yaml", "pubspec.lock", "stack.yaml", "stack.yaml.lock", "*.cabal"),
    *(".python-version", ".python-versions", ".nvmrc", ".node-version", ".ruby-version", ".java-version"),
    *(".go-version", ".tool-versions", "mise.toml", ".mise.toml", "rust-toolchain", "rust-toolchain.toml"),
    *("Makefile", "makefile", "GNUmakefile", "justfile", "Justfile", ".justfile", "Taskfile.y*ml", "CMakeLists.txt"),
    *("conanfile.*", "vcpkg.json", ".pre-commit-config.yaml", ".gitmodules"),
)
_EXACT = frozenset(name for name in INPUTS if not set(name) & set("*?["))
_PATTERNS = tuple(name for name in INPUTS if name not in _EXACT)

# A package manager's word that copies or builds the project's sources: its result is as old as they were.
_BUILDS = re.compile(
    r"\b(?:npm|pnpm|yarn|bun)\s+(?:-\S+\s+)*(?:run\s+)?(?:build|compile|generate|prepare)\b|\btsc\b"
    r"|--no-editable\b|\bpython3?\s+(?:-m\s+build\b|setup\.py\s+(?:build|install))"
)
_NOT_COPIED = frozenset({"-e", "--editable", "-r", "--requirement", "-c", "--constraint"})
_SEPARATORS = frozenset({"&&", "||", ";", "|", "&"})

# Programs, and the first words after them with which they read manifests and lock files alone.
_INSTALLS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("pip", "pip3"), frozenset({"install", "download", "config"})),
    "uv": frozenset({"sync", "venv", "pip", "python", "tool", "lock"}),
    "poetry": frozenset({"install", "config", "env", "lock", "self"}),
    "pdm": frozenset({"install", "sync", "config"}),
    "pipenv": frozenset({"install", "sync"}),
    "pixi": frozenset({"install"}),
    **dict.fromkeys(("conda", "mamba", "micromamba"), frozenset({"env", "create", "install", "config"})),
    "npm": frozenset({"ci", "clean-install", "install", "i", "config", "set"}),
    "pnpm": frozenset({"install", "i", "fetch", "config"}),
    "yarn": frozenset({"", "install", "config"}),
    "bun": frozenset({"install", "i"}),
    "deno": frozenset({"install"}),
    "corepack": frozenset({"enable", "prepare", "install"}),
    "playwright": frozenset({"install", "install-deps"}),
    "cargo": frozenset({"fetch", "build", "check", "test", "clippy"}),
    "rustup": frozenset({"toolchain", "component", "target", "default", "show"}),
    "go": frozenset({"mod", "get", "build", "vet", "version", "env"}),
    "bundle": frozenset({"", "install", "config"}),
    "gem": frozenset({"install"}),
    "composer": frozenset({"install", "config"}),
    "mix": frozenset({"deps.get", "local.hex", "local.rebar"}),
    "mvn": frozenset({"dependency:go-offline", "dependency:resolve"}),
    "dotnet": frozenset({"restore"}),
    **dict.fromkeys(("dart", "flutter"), frozenset({"pub"})),
    "git": frozenset({"submodule", "lfs", "config", "fetch", "version", "--version"}),
    "pre-commit": frozenset({"install", "install-hooks"}),
    **dict.fromkeys(("apt", "apt-get", "apk"), frozenset({"update", "install", "add"})),
}
_MODULES = frozenset({"pip", "venv", "virtualenv", "ensurepip"})  # after `python -m`
_OF_THE_SHELL = frozenset(
    {"cd", "set", "export", "unset", "mkdir", "echo", "printf", "true", ":", "test", "[", "touch", "rm", "chmod"}
    | {"sleep", "umask", "ulimit", "virtualenv", "exit", "type", "which", "pwd", "hash"}
)
_IN_FRONT = frozenset({"exec", "command", "env", "time", "nice", "npx", "sudo"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that a setup's result depends on; equal recipes share a tree."""

    repository: str  # name of its mirror
    tracked: Mapping[str, str]  # path -> mode and object, of the base commit (`Mirrors.tracked`)
    setup: str
    workspace: str  # as seen inside
    home: str  # as seen inside
    toolchains: tuple[str, ...] = ()  # the sentences of `find_toolchains`
    others: tuple[str, ...] = ()  # whatever else setup sees: hosts, services, digests of included files


def name_of(recipe: Recipe) -> str:
    """`MIRROR/DIGEST`."""
    facts = {
        "format": _FORMAT,
        "setup": recipe.setup,
        "places": [recipe.workspace, recipe.home],
        "toolchains": recipe.toolchains,
        "others": recipe.others,
        "python": [sys.version, sys.base_prefix],  # ours comes last on $PATH
        "inputs": sorted(_inputs(recipe)),
    }
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return f"{recipe.repository}/{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def is_input(path: str) -> bool:
    """Whether a file of this name decides what a setup makes."""
    folder, _, name = path.rpartition("/")
    if folder.endswith("requirements") and name.endswith((".txt", ".in")):
        return True
    return name in _EXACT or any(fnmatchcase(name, pattern) for pattern in _PATTERNS)


def copies_the_project(setup: str) -> bool:
    """Whether a setup by its words makes a copy of the project's own sources that nothing renews later."""
    return bool(_BUILDS.search(setup)) or any(_installs_here(words) for words in _commands(setup))


def only_installs(setup: str) -> bool:
    """Whether each command of a setup is known to read no more of the project than lock files and manifests."""
    if "`" in setup or "<<" in setup or copies_the_project(setup):
        return False
    return all(_is_install(words) for words in _commands(re.sub(r"\d*[<>]&\d", " ", setup)))


def _inputs(recipe: Recipe) -> list[tuple[str, str]]:
    if not only_installs(recipe.setup):
        return list(recipe.tracked.items())
    named = _named(recipe.setup)
    return [
        (path, what)
        for path, what in recipe.tracked.items()
        if is_input(path) or path in named or what.startswith("160000")
    ]


def _named(setup: str) -> frozenset[str]:
    """Words of the command that could be files of the project."""
    return frozenset(str(PurePosixPath(word)) for words in _commands(setup) for word in words if word)


def _commands(setup: str) -> list[list[str]]:
    """The words of each command of a shell's line, near enough."""
    try:
        words = shlex.split(re.sub(r"([;&|()\n]+)", r" \1 ", setup), comments=False)
    except ValueError:
        words = setup.split()
    found: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set(";&|()\n") or word in _SEPARATORS:
            found.append([])
        else:
            found[-1].append(word)
    return found


def _is_install(words: list[str]) -> bool:
    """One command, with what stands in front of it put aside: variables, `exec`, `npx`."""
    while words and (words[0] in _IN_FRONT or re.match(r"[A-Za-z_]\w*=", words[0])):
        words = words[1:]
    if not words or words[0] in _OF_THE_SHELL:
        return True
    program, after = PurePosixPath(words[0]).name, words[1:]
    if words[0] in {".", "source"}:
        return any(word.endswith("bin/activate") for word in after)
    if re.fullmatch(r"python[\d.]*", program):
        return len(after) > 1 and after[0] == "-m" and after[1] in _MODULES
    first = next((word for word in after if not word.startswith("-")), "")
    builds_a_program = program == "go" and "-o" in after
    return not builds_a_program and (first or (after or [""])[-1]) in _INSTALLS.get(program, frozenset())


def _installs_here(words: list[str]) -> bool:
    """`pip install .`, which copies the sources; with -e it only points to them."""
    if "install" not in words or not any(word.startswith(("pip", "uv")) for word in words):
        return False
    others = {after for word, after in pairwise(words) if word in _NOT_COPIED}
    return any(_is_here(word) and word not in others for word in words)


def _is_here(word: str) -> bool:
    return re.fullmatch(r"\.(?:/[^\s]*)?(?:\[[^\]]*\])?", word) is not None
