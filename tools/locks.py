"""Write `requirements.lock` and `requirements-dev.lock` from pyproject.toml: exact versions, hashes, no address.

    python -m tools.locks            write both (needs `uv` on PATH, or its path in $UV)
    python -m tools.locks --upgrade  and take newer versions where pyproject.toml allows them

The first holds what the product and its demo need (the `claude` extra included), the second everything that the
checks need as well. Both hold the build backend, so that installing the project itself downloads nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "requirements.lock"
DEV = ROOT / "requirements-dev.lock"
FOR_EDITABLE = ("editables>=0.5",)  # what hatchling asks for beside itself when a project is installed in place
_FLAGS = (
    "--universal", "--python-version=3.11", "--generate-hashes", "--no-header", "--no-annotate",
    "--no-emit-index-url", "--no-emit-find-links", "--quiet",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Write both files; 2 when there is no uv."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        print("error: there is no uv; pip install uv, or name it in $UV", file=sys.stderr)
        return 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extra = ["--upgrade"] if "--upgrade" in arguments else []
    lock(uv, runtime_requirements(project), RUNTIME, extra)
    lock(uv, dev_requirements(project), DEV, [*extra, f"--constraint={RUNTIME}"])
    return 0


def runtime_requirements(project: Mapping[str, Any]) -> list[str]:
    """What the product, its demo and its installation need."""
    extras = project["project"]["optional-dependencies"]
    build = [*project["build-system"]["requires"], *FOR_EDITABLE]
    return [*project["project"]["dependencies"], *extras["claude"], *build]


def dev_requirements(project: Mapping[str, Any]) -> list[str]:
    """Everything that pyproject.toml names anywhere."""
    extras: Mapping[str, list[str]] = project["project"]["optional-dependencies"]
    groups: Mapping[str, list[str]] = project["dependency-groups"]
    others = [line for lines in (*extras.values(), *groups.values()) for line in lines]
    return sorted({*runtime_requirements(project), *others})


def lock(uv: str, requirements: Iterable[str], target: Path, extra: Iterable[str]) -> None:
    """Resolve; what is locked already stays, where it still fits."""
    subprocess.run(  # noqa: S603  (uv, as the developer named it)
        [uv, "pip", "compile", *_FLAGS, *extra, "--output-file", target, "-"],
        input="\n".join(requirements),
        text=True,
        check=True,
    )
    kept = [line for line in target.read_text("utf-8").splitlines(keepends=True) if "://" not in line]
    target.write_text("".join(kept), "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
