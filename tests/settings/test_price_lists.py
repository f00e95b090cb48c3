"""Price lists that providers bill by, and those that are not there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from crewcap import config, prices
from crewcap.errors import SettingsError
from crewcap.settings.models import Settings
from crewcap.settings.price_lists import check_price_lists

LISTS = ("anthropic", "google", "mistral", "openai")


def settings(folder: Path, name: str) -> Settings:
    file = folder / "config.toml"
    file.write_text(f'[providers.acme]\ndialect = "openai"\nbase_url = "https://a.example"\nprices = "{name}"\n')
    return config.load(file, {})


@pytest.mark.parametrize(
    ("name", "near"),
    [("gemini", "did you mean google? "), ("Mistrall", "did you mean mistral? "), ("zzz", "")],
)
def test_the_nearest_is_named_and_all_there_are(tmp_path: Path, name: str, near: str) -> None:
    with pytest.raises(SettingsError, match=f"providers.acme.prices: there is no price list '{name}'") as error:
        check_price_lists(settings(tmp_path, name), lambda: LISTS)
    assert error.value.help == (
        f"{near}the lists there are: anthropic, google, mistral, openai; [prices] overrides = FILE adds your own"
    )


def test_where_only_vendors_own_lists_are_named_no_book_is_read(tmp_path: Path) -> None:
    def never() -> Collection[str]:
        raise AssertionError

    check_price_lists(settings(tmp_path, "openai"), never)


def test_a_list_of_short_names_alone_is_one(tmp_path: Path) -> None:
    """Its names mean models of another list, and are priced there."""
    mine = tmp_path / "prices.toml"
    mine.write_text('[[alias]]\nprovider = "acme"\nmatch = "big"\nuse = "openai/gpt-5"\n')
    book = prices.load(str(mine), compiled=False)
    check_price_lists(settings(tmp_path, "acme"), lambda: book.lists)
