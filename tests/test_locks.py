"""The lock files hold exact versions with hashes and no address, and they are those of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tools import locks

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ; (?P<marker>.+?))?(?: \\)?\Z")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?\Z")


def pins(name: str) -> dict[str, str]:
    """Package -> version."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    found = [match for line in lines if (match := _PIN.match(line))]
    return {canonicalize_name(match["name"]): match["version"] for match in found}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_no_address(name: str) -> None:
    """It installs from whichever index the machine is set up for."""
    text = (ROOT / name).read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=)", text, re.MULTILINE), "an option of pip could name an index"


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_a_pin_or_its_hash(name: str) -> None:
    """pip then refuses whatever was not there when the lock was written."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    assert [line for line in lines if not _PIN.match(line) and not _HASH.match(line)] == []
    for line, after in pairwise(lines):
        if _PIN.match(line):
            assert _HASH.match(after), f"{line} has no hash"


@pytest.mark.parametrize(
    ("name", "wanted"), [(LOCKS[0], locks.runtime_requirements), (LOCKS[1], locks.dev_requirements)]
)
def test_a_lock_is_what_pyproject_asks_for(name: str, wanted: object) -> None:
    """Who changes pyproject.toml runs `make locks`."""
    assert callable(wanted)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    locked = pins(name)
    for line in wanted(project):
        requirement = Requirement(line)
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {name}; run `make locks`"
        assert requirement.specifier.contains(version, prereleases=True), f"{name} has {requirement.name} {version}"


def test_the_checks_run_on_what_the_product_runs_on() -> None:
    """Whatever is in both locks has one version."""
    product, checks = pins(LOCKS[0]), pins(LOCKS[1])
    assert {name: checks.get(name) for name in product} == product


def test_the_lock_with_addresses_is_not_kept() -> None:
    """`uv.lock` records an index for each package."""
    assert "uv.lock" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert not (ROOT / "uv.lock").exists()
