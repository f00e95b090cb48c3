"""What has no price is told with the lines that would price it, whatever a stranger called it."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.pricing import Modifiers
from crewcap.errors import SettingsError
from crewcap.prices import Book
from crewcap.prices.overrides import parse, shipped
from crewcap.prices.unknown import Unknown, looked_at, toml_for

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_any_name_is_written_so_that_it_is_read_again(name: str) -> None:
    """Quotes, line ends, controls: all of it is one text of TOML."""
    (line,) = tomllib.loads(toml_for("anthropic", name))["price"]
    assert line["model"] == name


def test_a_surrogate_is_no_letter_of_toml() -> None:
    (line,) = tomllib.loads(toml_for("anthropic", "a\ud800b"))["price"]
    assert line["model"] == "a\ufffdb"


def test_the_lines_price_it_once_its_dollars_are_filled_in_and_not_before() -> None:
    text = toml_for("anthropic", "claude-nova", Modifiers(speed="fast", tier="batch"))
    with pytest.raises(SettingsError, match=r"line 1.*not a number"):
        parse(text, name="mine.toml")
    book = Book(parse(text.replace("?", "3"), name="mine.toml").over(shipped()))
    card = book.card("anthropic", "claude-nova", at=NOW, modifiers=Modifiers(speed="fast", tier="batch"))
    assert card.rates.input == 3_000_000


def test_what_has_a_price_by_now_is_marked(book: Book) -> None:
    seen = [
        Unknown(provider="anthropic", model=model, modifiers=Modifiers(), where="refused", requests=1, last_at=NOW)
        for model in ("claude-nova", "claude-opus-5-5", "opus")
    ]
    assert [each.is_priced_now for each in looked_at(book, seen, at=NOW)] == [False, True, True]
