"""What a setup's result depends on, as one name: two runs with the same recipe may share a prepared tree. No I/O.

The rule. A setup reads lock files and manifests (by their names, at any depth), whatever files its own command line
names, submodules, the toolchains, the hosts it may reach; and it bakes the paths of workspace and home into what it
makes. All of that goes into the name. It also could read any other file of the project, and no table of names knows
that, so a setup that by its words *copies the project itself* (`pip install .`, `npm run build`) depends on the whole
tree of the commit. What compares times or contents (make, cargo, go, gradle) does not: a later run's sources are newer.
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

# A setup that copies the project's sources: its result is as old as they were.
_BUILDS = re.compile(
    r"\b(?:npm|pnpm|yarn|bun)\s+(?:-\S+\s+)*(?:run\s+)?(?:build|compile|generate|prepare)\b|\btsc\b"
    r"|--no-editable\b|\bpython3?\s+(?:-m\s+build\b|setup\.py\s+(?:build|install))"
)
_NOT_COPIED = frozenset({"-e", "--editable", "-r", "--requirement", "-c", "--constraint"})
_SEPARATORS = frozenset({"&&", "||", ";", "|", "&"})


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


def _inputs(recipe: Recipe) -> list[tuple[str, str]]:
    if copies_the_project(recipe.setup):
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


def _installs_here(words: list[str]) -> bool:
    """`pip install .`, which copies the sources; with -e it only points to them."""
    if "install" not in words or not any(word.startswith(("pip", "uv")) for word in words):
        return False
    others = {after for word, after in pairwise(words) if word in _NOT_COPIED}
    return any(_is_here(word) and word not in others for word in words)


def _is_here(word: str) -> bool:
    return re.fullmatch(r"\.(?:/[^\s]*)?(?:\[[^\]]*\])?", word) is not None
