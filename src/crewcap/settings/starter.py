"""What `init` writes: a commented settings file, and a repository's own, guessed from the files that lie in it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.resources import files

from crewcap.settings.explain import dotted_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """How a kind of project is set up and checked."""

    marks: tuple[str, ...]  # files, one of which lies at the top of such a project
    setup: str
    check: str
    hosts: tuple[str, ...]


PROJECTS = (
    Project(marks=("package-lock.json",), setup="npm ci", check="npm test", hosts=("npm",)),
    Project(marks=("pnpm-lock.yaml",), setup="pnpm install --frozen-lockfile", check="pnpm test", hosts=("npm",)),
    Project(marks=("yarn.lock",), setup="yarn install --immutable", check="yarn test", hosts=("npm",)),
    Project(marks=("uv.lock",), setup="uv sync", check="uv run pytest", hosts=("python",)),
    Project(marks=("Cargo.toml",), setup="cargo fetch", check="cargo test --offline", hosts=("rust",)),
    Project(marks=("go.mod",), setup="go mod download", check="go test ./...", hosts=("go",)),
    Project(
        marks=("pyproject.toml", "setup.py", "pytest.ini"), setup="", check="python3 -m pytest -q", hosts=("python",)
    ),
    Project(marks=("package.json",), setup="npm install", check="npm test", hosts=("npm",)),
    Project(marks=("Makefile",), setup="", check="make test", hosts=()),
)


def settings_file() -> str:
    """The commented settings file."""
    return _text("starter.toml")


def guess(names: Collection[str]) -> Project | None:
    """What a repository with these files at its top probably is."""
    return next((project for project in PROJECTS if any(mark in names for mark in project.marks)), None)


def repository_file(names: Collection[str]) -> tuple[str, Project | None]:
    """A `.crewcap.toml` for a repository with these files at its top, and what it was taken for."""
    found = guess(names)
    lines = {
        "setup": _line("setup", found.setup if found else "", dotted_text, example="npm ci"),
        "check": _line("check", found.check if found else "", dotted_text, example="npm test"),
        "hosts": _hosts_line(found.hosts if found else ()),
    }
    text = _text("starter_repository.toml")
    for name, line in lines.items():
        text = text.replace(f"{{{name}}}", line)
    return text, found


def _line(key: str, value: str, spell: Callable[[str], str], *, example: str) -> str:
    return f"{key} = {spell(value)}" if value else f"# {key} = {spell(example)}"


def _hosts_line(hosts: tuple[str, ...]) -> str:
    if not hosts:
        return '# hosts = ["npm"]'
    return f"hosts = [{', '.join(dotted_text(host) for host in hosts)}]"


def _text(name: str) -> str:
    return files("crewcap.settings").joinpath(name).read_text("utf-8")
