"""Each line of ours: where it stands, whether it holds, and what would be otherwise without it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from crewcap.prices import Book
from crewcap.prices.overrides import parse, shipped
from crewcap.prices.standing import Standing, lines

OPUS = '[[price]]\nprovider = "anthropic"\nmodel = "claude-opus-5-5"\n'
AS_LISTED = 'usd_per_mtok = { in = "4", out = "20", read = "0.2", write_5m = "5", write_1h = "8" }\n'
FEES = 'usd_each = { web_search = "0.01" }\n'


def standing(text: str, at: datetime) -> list[Standing]:
    """Of the lines of this file alone, laid over ours."""
    book = Book(parse(text, name="mine.toml").over(shipped()))
    return [each for each in lines(book, at) if each.file == "mine.toml"]


def one(text: str, at: datetime) -> Standing:
    (found,) = standing(text, at)
    return found


@pytest.mark.parametrize(
    ("text", "effect", "changes"),
    [
        (OPUS + 'usd_per_mtok = { in = "3", out = "20" }\n', "changes claude-opus-5-5", True),
        (OPUS + AS_LISTED + FEES, "says what the library says", False),
        (OPUS + AS_LISTED, "changes claude-opus-5-5", True),
        ('[[price]]\nprovider = "acme"\nmodel = "owl"\nusd_per_mtok = { in = "1", out = "2" }\n', "changes owl", True),
        (OPUS.replace("opus-5-5", "opsu-*") + AS_LISTED, "fits no model", False),
        (OPUS + "until = 2026-01-01\n" + AS_LISTED, "over", False),
        (OPUS + "from = 2027-01-01\n" + AS_LISTED, "not yet", False),
        ('[[discount]]\nprovider = "anthropic"\npercent = "5"\n', "changes 32 models", True),
        ('[[discount]]\nprovider = "anthropic"\npercent = "0"\n', "changes nothing", False),
        ('[[alias]]\nmatch = "best"\nuse = "anthropic/claude-opus-5-5"\n', "gives a name that no list has", True),
        (
            '[[alias]]\nmatch = "claude-opus-5"\nuse = "anthropic/claude-opus-5-5"\n',
            "stands before a model of that name",
            True,
        ),
        (
            '[[factor]]\nprovider = "anthropic"\nmodels = ["claude-opus-5"]\nwhen = { geo = "us" }\ntokens = "2"\n',
            "prices claude-opus-5 there",
            True,
        ),
        (
            '[[model]]\nprovider = "anthropic"\nmodels = ["claude-opus-5"]\nmax_output = 9\n',
            "figures of claude-opus-5",
            True,
        ),
    ],
)
def test_a_line_says_what_it_does(text: str, effect: str, changes: bool, now: datetime) -> None:  # noqa: FBT001  (a column)
    found = one(text, now)
    assert (found.effect.replace(_number(found.effect), "32"), found.changes) == (effect, changes)
    assert (found.file, found.line) == ("mine.toml", 1)


def _number(effect: str) -> str:
    """How many models a vendor has is the library's affair."""
    return next((word for word in effect.split() if word.isdigit()), "32")


def test_a_line_behind_another_one_is_hidden_and_says_so(now: datetime) -> None:
    """In one file, for one model, on the same days: a slip of the pen."""
    text = OPUS + 'usd_per_mtok = { in = "3", out = "20" }\n\n' + OPUS + 'usd_per_mtok = { in = "9", out = "20" }\n'
    first, second = standing(text, now)
    assert (first.line, first.clashes_with) == (1, "")
    assert (second.line, second.effect, second.clashes_with) == (6, "hidden by a line before it", "mine.toml:1")


def test_prices_of_days_that_only_meet_do_not_clash(now: datetime) -> None:
    text = f"{OPUS}until = 2026-11-01\n{AS_LISTED}{OPUS}from = 2026-11-01\n{AS_LISTED}"
    assert [each.clashes_with for each in standing(text, now)] == ["", ""]
    text = text.replace("from = 2026-11-01", "from = 2026-10-31")
    assert [each.clashes_with for each in standing(text, now)] == ["", "mine.toml:1"]


def test_a_line_of_a_user_may_stand_before_one_of_ours(now: datetime) -> None:
    """That is what the file is for: no clash, and ours is hidden."""
    text = '[[price]]\nprovider = "anthropic"\nmodel = "claude-opus-4-6"\nwhen = { speed = "fast" }\n' + AS_LISTED
    book = Book(parse(text, name="mine.toml").over(shipped()))
    prices = [each for each in lines(book, now) if each.kind == "price"]
    assert {each.clashes_with for each in prices} == {""}
    assert [each.effect for each in prices if each.what == "anthropic/claude-opus-4-6 fast"] == [
        "changes claude-opus-4-6",
        "over",
        "hidden by a line before it",
    ]


def test_lines_without_a_header_of_their_own_have_no_number(now: datetime) -> None:
    text = 'discount = [{ provider = "anthropic", percent = "5" }]\n'
    assert one(text, now).line == 0
    hidden = '[[discount]]\nprovider = "anthropic"\npercent = "5"\nsource = """\n[[discount]]\n"""\n'
    assert one(hidden, now).line == 0


def test_where_a_line_stands_changes_no_price_and_no_hash() -> None:
    """A comment more is the same table."""
    one_, other = (parse(space + OPUS + AS_LISTED, name="mine.toml") for space in ("", "# one more\n\n"))
    assert one_ == other
    assert Book(one_).hash == Book(other).hash
    assert replace(one_.prices[0], place=other.prices[0].place) == one_.prices[0]


def test_every_shipped_line_has_its_place_and_one_that_is_in_force_does_something(book: Book, now: datetime) -> None:
    found = lines(book, now - timedelta(days=0))
    assert all(each.line for each in found)
    assert [each for each in found if each.state == "in force" and not each.changes] == []
