"""Which repository a command is about, and what is set for it."""

from __future__ import annotations

import os

from tests.cli.run_home import RunHome
from tests.workspaces.repos import make_repository

from crewcap import config
from crewcap.runner.grounds import name_of
from crewcap.settings.models import Settings
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import parse_address


def settings(home: RunHome, **urls: str) -> Settings:
    home.config.write_text("".join(f'[repos."{name}"]\nurl = "{url}"\n' for name, url in urls.items()))
    return config.load(home.config, {})


def test_a_repository_is_called_as_settings_call_it_by_whatever_way_it_was_reached(home: RunHome) -> None:
    """Its budgets, its check and its team hang on that name."""
    make_repository(home.user)
    (home.folder / "link").symlink_to(home.user)
    found = Mirrors(home.home.mirrors, environ=os.environ).repository(home.user)
    for url in (str(home.user), f"{home.user}/", str(home.folder / "link"), str(home.folder / "x" / ".." / "shop")):
        assert name_of(settings(home, other="/elsewhere", core=url), found) == "core"
    assert name_of(settings(home, other="/elsewhere"), found) == "shop"
    assert name_of(settings(home), found) == "shop"


def test_a_repository_on_the_network_has_its_name_too(home: RunHome) -> None:
    for url in ("https://git.example/acme/shop.git", "git@git.example:acme/shop.git"):
        found = parse_address(url)
        assert name_of(settings(home, core=url), found) == "core"
        assert name_of(settings(home, core=f"{url}x"), found) == "shop"
