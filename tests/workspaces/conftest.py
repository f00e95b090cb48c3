"""A state directory with mirrors, and a user's repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.workspaces.repos import Trip, make_repository, set_out

from crewcap.workspaces.repository.mirrors import Mirrors


@pytest.fixture
def mirrors(tmp_path: Path) -> Mirrors:
    """The mirrors of a fresh state directory."""
    return Mirrors(tmp_path / "home" / "mirrors", environ=os.environ)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user's repository, on branch main."""
    return make_repository(tmp_path / "shop")


@pytest.fixture
def trip(mirrors: Mirrors, user: Path, tmp_path: Path) -> Trip:
    """A run whose agent is about to start."""
    return set_out(mirrors, user, tmp_path / "runs" / "one" / "workspace")
