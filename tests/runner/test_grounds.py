"""Which repository a run is about, and what is set for it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.workspaces.repos import make_repository

from crewcap import config
from crewcap.runner.grounds import name_of
from crewcap.settings.models import Settings
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import parse_address


def settings(folder: Path, **urls: str) -> Settings:
    file = folder / "config.toml"
    file.write_text("".join(f'[repos."{name}"]\nurl = "{url}"\n' for name, url in urls.items()))
    return config.load(file, {})


def test_a_repository_is_called_as_settings_call_it_by_whatever_way_it_was_reached(tmp_path: Path) -> None:
    """Its budgets, its check and its team hang on that name."""
    user = make_repository(tmp_path / "shop")
    (tmp_path / "link").symlink_to(user)
    found = Mirrors(tmp_path / "mirrors", environ=os.environ).repository(user)
    for url in (str(user), f"{user}/", str(tmp_path / "link"), str(tmp_path / "x" / ".." / "shop")):
        assert name_of(settings(tmp_path, other="/elsewhere", core=url), found) == "core"
    assert name_of(settings(tmp_path, other="/elsewhere"), found) == "shop"
    assert name_of(settings(tmp_path), found) == "shop"


def test_a_repository_on_the_network_has_its_name_too(tmp_path: Path) -> None:
    for url in ("https://git.example/acme/shop.git", "git@git.example:acme/shop.git"):
        found = parse_address(url)
        assert name_of(settings(tmp_path, core=url), found) == "core"
        assert name_of(settings(tmp_path, core=f"{url}x"), found) == "shop"
