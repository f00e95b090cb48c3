"""What a project's files ask of the machine: which tools, in which versions, and in which file that stands. No I/O.

Each tool's files are read in the order of their weight: a file that pins a version, then the files of asdf and mise,
then what a manifest says of itself. The first that says something decides.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crewcap.workspaces.project.versions import Spec, at_least, conditions, node_version, pin

Read = Callable[[str], bytes | None]
_MOST_BYTES = 1 << 20
_OTHER_NAMES = {"nodejs": "node", "golang": "go", "python3": "python"}

# A file that shows that a tool is used, whatever its version.
_SIGNS: Mapping[str, tuple[str, ...]] = {
    "python": ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile", "uv.lock", "tox.ini"),
    "node": ("package.json",),
    "rust": ("Cargo.toml",),
    "go": ("go.mod", "go.work"),
    "ruby": ("Gemfile",),
    "java": ("pom.xml", "build.gradle", "build.gradle.kts"),
}

# Programs in one file, or with a package of their own, and what shows that they are used.
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "uv": ("uv.lock", "uv.toml"),
    "poetry": ("poetry.lock",),
    "pdm": ("pdm.lock",),
    "pipenv": ("Pipfile",),
    "pixi": ("pixi.toml",),
    "pnpm": ("pnpm-lock.yaml", "pnpm-workspace.yaml"),
    "yarn": ("yarn.lock",),
    "bun": ("bun.lock", "bun.lockb"),
    "deno": ("deno.json", "deno.lock"),
    "just": ("justfile", "Justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "tox": ("tox.ini",),
    "nox": ("noxfile.py",),
}


@dataclass(frozen=True, slots=True)
class Want:
    """A tool that the project uses."""

    tool: str
    source: str  # the file that says so
    specs: tuple[Spec, ...] = ()  # the first is the usual one; none = any version


def wants(read: Read) -> tuple[Want, ...]:
    """Every toolchain that the project uses."""
    text = _Files(read)
    found: dict[str, Want] = {}
    for want in _said(text):
        if want.specs and not found.get(want.tool, want).specs:
            found.pop(want.tool)
        found.setdefault(want.tool, want)
    for tool, names in _SIGNS.items():
        if tool not in found and (sign := next((name for name in names if text(name)), "")):
            found[tool] = Want(tool, sign)
    return tuple(found.values())


def programs(read: Read) -> tuple[Want, ...]:
    """Every single program that the project uses."""
    text = _Files(read)
    found = {name: sign for name, signs in PROGRAMS.items() if (sign := next((s for s in signs if text(s)), ""))}
    manager = str(_json(text("package.json")).get("packageManager") or "").partition("@")[0]
    if manager in PROGRAMS:
        found.setdefault(manager, "package.json")
    return tuple(Want(name, sign) for name, sign in found.items())


class _Files:
    """The project's files as text, each read once; empty where there is none."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self._known:
            content = self._read(name) or b""
            self._known[name] = content[:_MOST_BYTES].decode("utf-8", "replace").lstrip("\ufeff")
        return self._known[name]


def _said(text: _Files) -> Iterator[Want]:
    """What each file says, the weightiest first."""
    for tool, name, meant in (
        ("python", ".python-version", pin),
        ("node", ".nvmrc", node_version),
        ("node", ".node-version", node_version),
        ("ruby", ".ruby-version", pin),
        ("go", ".go-version", pin),
        ("java", ".java-version", pin),
    ):
        if lines := list(_lines(text(name))):
            yield _want(tool, name, lines, meant)
    yield from _rust(text)
    for name in (".tool-versions", "mise.toml", ".mise.toml", ".config/mise.toml"):
        yield from _listed(name, text(name))
    yield from _go(text("go.mod"))
    yield from _node(_json(text("package.json")))
    yield from _python(_toml(text("pyproject.toml")))


def _want(tool: str, source: str, versions: list[str], meant: Callable[[str], Spec | None]) -> Want:
    specs = tuple(spec for version in versions if (spec := meant(version)))
    return Want(tool, source, specs)


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if word := line.partition("#")[0].strip():
            yield word


def _rust(text: _Files) -> Iterator[Want]:
    for name in ("rust-toolchain.toml", "rust-toolchain"):
        content = text(name).strip()
        if not content:
            continue
        table = _table(_toml(content).get("toolchain"))
        channel = table.get("channel") if "[" in content else content.splitlines()[0]
        if isinstance(channel, str) and (spec := pin(channel)):
            yield Want("rust", name, (spec,))
    oldest = _table(_toml(text("Cargo.toml")).get("package")).get("rust-version")
    if isinstance(oldest, str) and (spec := at_least(oldest)):
        yield Want("rust", "Cargo.toml", (spec,))


def _listed(name: str, text: str) -> Iterator[Want]:
    """The files of asdf and mise."""
    if name == ".tool-versions":
        rows: dict[str, list[str]] = {words[0]: words[1:] for line in _lines(text) if (words := line.split())}
    else:
        rows = {tool: list(_mise_versions(value)) for tool, value in _table(_toml(text).get("tools")).items()}
    for tool, versions in rows.items():
        known = _OTHER_NAMES.get(tool, tool)
        if ":" not in tool and "/" not in tool:
            yield _want(known, name, versions, node_version if known == "node" else pin)


def _mise_versions(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _mise_versions(one)
    elif isinstance(value, dict):
        yield from _mise_versions(value.get("version"))


def _go(text: str) -> Iterator[Want]:
    words = [line.partition("//")[0].split() for line in text.splitlines()]
    said = {row[0]: row[1].removeprefix("go") for row in words if len(row) == 2 and row[0] in {"go", "toolchain"}}
    if spec := at_least(said.get("toolchain") or said.get("go") or ""):
        yield Want("go", "go.mod", (spec,))


def _node(package: Mapping[str, Any]) -> Iterator[Want]:
    volta = _table(package.get("volta")).get("node")
    if isinstance(volta, str) and (spec := pin(volta)):
        yield Want("node", "package.json", (spec,))
    engine = _table(package.get("engines")).get("node")
    if isinstance(engine, str) and (spec := conditions(engine)):
        yield Want("node", "package.json", (spec,))


def _python(project: Mapping[str, Any]) -> Iterator[Want]:
    poetry = _table(_table(_table(project.get("tool")).get("poetry")).get("dependencies")).get("python")
    for said in (_table(project.get("project")).get("requires-python"), poetry):
        if isinstance(said, str) and (spec := conditions(said)):
            yield Want("python", "pyproject.toml", (spec,))


def _json(text: str) -> Mapping[str, Any]:
    try:
        return _table(json.loads(text or "{}"))
    except (ValueError, RecursionError):
        return {}


def _toml(text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
