"""The demo's folder: a small project with a bug, settings, and a state directory of its own.

Everything that the demo makes lies in one folder, which it may remove only because it made it: a marker file says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from crewcap.errors import UsageError
from crewcap.home import Home
from crewcap.workspaces.repository.seed import make_repository

MODEL = "claude-sonnet-5-5"
CHECK = "python3 -m unittest discover -s tests"
_MARKER = ".crewcap-demo"
_KEY = "sk-ant-fake-demo-key-that-opens-nothing"

_SETTINGS = """\
# Made by `crewcap demo`. The provider is a script on loopback; its key opens nothing.
[providers.anthropic]
key = {{ file = "{key}" }}
base_url = "{url}"
prices = "anthropic"

[defaults]
model = "{model}"
fix_attempts = 0

[repos.shop]
url = "{project}"
check = "{check}"

[[routes]]
name = "review"
match = {{ label = "review" }}
max_output = 2_000
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays."""

    folder: Path

    @property
    def project(self) -> Path:
        """The project that the agents work on."""
        return self.folder / "shop"

    @property
    def home(self) -> Home:
        """The state directory."""
        return Home(self.folder / "state")

    def issue(self, name: str) -> Path:
        """An issue of the project."""
        return self.project / "issues" / f"{name}.md"

    def settings(self, name: str, url: str) -> Path:
        """Write the settings of one act, whose provider is at `url`."""
        key = self.folder / "provider.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(f"{_KEY}\n", encoding="ascii")
        path = self.folder / f"{name}.toml"
        path.write_text(
            _SETTINGS.format(key=key, url=url, model=MODEL, project=self.project, check=CHECK), encoding="utf-8"
        )
        return path


def build(folder: Path, environ: Mapping[str, str]) -> Stage:
    """Make the folder anew; one that the demo did not make is refused."""
    if folder.exists():
        if not (folder / _MARKER).is_file():
            raise UsageError(f"{folder} exists, and the demo did not make it", help="crewcap demo --folder ANOTHER")
        shutil.rmtree(folder)
    stage = Stage(folder)
    folder.mkdir(parents=True)
    (folder / _MARKER).touch()
    with resources.as_file(resources.files("crewcap.demo") / "project") as project:
        shutil.copytree(project, stage.project, ignore=shutil.ignore_patterns("__pycache__"))
    make_repository(stage.project, message="A shop with a bug", environ=environ)
    return stage
