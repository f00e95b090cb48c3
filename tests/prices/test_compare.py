"""The table as rows, what differs between two tables, and what is wrong with one."""

import json
from datetime import datetime, timedelta

import pytest

from crewcap.core.pricing import Modifiers, UnknownPrice
from crewcap.errors import UsageError
from crewcap.prices import Book
from crewcap.prices.compare import Change, check, diff, is_standard, modifiers_of, read_rows, row_of, rows, short
from crewcap.prices.overrides import parse, shipped


def with_lines(text: str) -> Book:
    return Book(parse(text, name="mine.toml").over(shipped()))


def test_a_row_says_everything_in_exact_dollars(book: Book, now: datetime) -> None:
    found = rows(book, at=now, provider="anthropic", model="haiku")
    plain = next(row for row in found if is_standard(row))
    assert plain["model"] == "claude-haiku-5-5"
    assert plain["usd_per_mtok"]["input"] == "0.100000000"
    assert plain["above"] == [
        {
            "prompt_tokens": 100_000,
            "usd_per_mtok": {
                "input": "0.500000000",
                "cache_read": "0.050000000",
                "write_5m": "0.625000000",
                "write_1h": "1.000000000",
                "output": "2.500000000",
            },
        }
    ]
    assert plain["usd_each"] == {"web_search": "0.010000000"}
    assert [modifiers_of(row) for row in found] == ["", "us", "batch", "us batch"]


def test_a_name_is_looked_for_in_every_large_provider(book: Book, now: datetime) -> None:
    assert {row["provider"] for row in rows(book, at=now, model="claude-haiku-4-5")} >= {"anthropic"}
    with pytest.raises(UnknownPrice) as unknown:
        rows(book, at=now, model="sonet")
    assert unknown.value.nearest == "sonnet"


def test_a_saved_table_does_not_differ_from_itself(book: Book, now: datetime) -> None:
    table = rows(book, at=now)
    assert diff(read_rows(json.dumps(table), name="x.json"), table) == []


def test_what_our_lines_change_is_told_row_by_row_and_field_by_field(book: Book, now: datetime) -> None:
    dearer = with_lines(
        '[[price]]\nprovider = "anthropic"\nmodel = "claude-v1"\nusd_per_mtok = { in = "9", out = "24" }\n'
        '[[price]]\nprovider = "anthropic"\nmodel = "claude-new"\nusd_per_mtok = { in = "1", out = "2" }\n'
    )
    changes = diff(rows(book, at=now, provider="anthropic"), rows(dearer, at=now, provider="anthropic"))
    assert Change(what="anthropic/claude-new", kind="added", after="1.00 in, 2.00 out") in changes
    input_change = Change(
        what="anthropic/claude-v1",
        kind="changed",
        field="usd_per_mtok.input",
        before="8.000000000",
        after="9.000000000",
    )
    assert input_change in changes
    assert {change.what.split()[0] for change in changes} == {"anthropic/claude-new", "anthropic/claude-v1"}


def test_a_price_that_is_gone_is_told(book: Book, now: datetime) -> None:
    table = rows(book, at=now, provider="anthropic")
    assert diff(table, table[1:]) == [Change(what=f"anthropic/{table[0]['model']}", kind="removed")]


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"provider":"x"}]'])
def test_a_file_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"x\.json"):
        read_rows(text, name="x.json")


def test_a_fresh_table_has_no_problem(book: Book, now: datetime) -> None:
    found = check(book, at=now, names=[("anthropic", "sonnet"), ("openai", "gpt-5.4")])
    assert [finding.text for finding in found if finding.level == "problem"] == []
    assert book.hash in found[0].text


def test_an_old_table_is_a_problem(book: Book, now: datetime) -> None:
    texts = [each.text for each in check(book, at=now + timedelta(days=100)) if each.level == "problem"]
    assert any("days ago" in text for text in texts)


def test_a_table_that_nobody_checked_is_a_problem(library: Book, now: datetime) -> None:
    assert any("nobody said" in each.text for each in check(library, at=now) if each.level == "problem")


def test_a_model_of_the_settings_without_a_price_is_a_problem(book: Book, now: datetime) -> None:
    texts = [
        each.text for each in check(book, at=now, names=[("anthropic", "claude-opus-9")]) if each.level == "problem"
    ]
    assert len(texts) == 1
    assert "claude-opus-9" in texts[0]


def test_lines_of_ours_that_fit_nothing_or_are_over_are_told(now: datetime) -> None:
    book = with_lines(
        '[[factor]]\nprovider = "anthropic"\nmodels = ["clade-*"]\nwhen = { geo = "us" }\ntokens = "1.1"\n'
        '[[alias]]\nmatch = "best"\nuse = "anthropic/claude-opus-9"\n'
        '[[discount]]\nprovider = "anthropic"\npercent = "5"\nuntil = 2026-01-01\n'
    )
    found = {each.text: each.level for each in check(book, at=now)}
    assert found["our factor 1.1 for anthropic/clade-* fits no model"] == "problem"
    assert found["our discount of 5 % for anthropic/* ended on 2026-01-01"] == "note"
    assert any(level == "problem" and "claude-opus-9" in text for text, level in found.items())


def test_another_version_of_the_library_than_was_compared_is_told(now: datetime) -> None:
    text = '[checked]\nlibrary = "genai-prices 0.0.1"\non = 2026-11-20\n'
    found = check(Book(parse(text, name="mine.toml")), at=now)
    assert any("genai-prices 0.0.1" in each.text for each in found if each.level == "note")


@pytest.mark.parametrize(
    ("exact", "shown"), [("2.500000000", "2.50"), ("0.012500000", "0.0125"), ("10.000000000", "10.00"), ("3", "3.00")]
)
def test_dollars_are_shown_without_idle_zeros(exact: str, shown: str) -> None:
    assert short(exact) == shown


@pytest.mark.parametrize(
    "change",
    [
        {"usd_per_mtok": "3"},
        {"usd_per_mtok": {"input": "3.0"}},
        {"usd_per_mtok": {"input": 3, "output": 4}},
        {"usd_per_mtok": {"input": "=1+1", "output": "4"}},
        {"usd_per_mtok": {"input": "-1", "output": "4"}},
        {"above": [1]},
        {"above": [{"prompt_tokens": 9}]},
        {"above": {}},
        {"usd_each": ["web_search"]},
    ],
)
def test_a_saved_row_without_prices_is_refused_by_its_number(
    book: Book, change: dict[str, object], now: datetime
) -> None:
    good = rows(book, at=now, model="claude-opus-5-5")[0]
    with pytest.raises(UsageError, match="row 2 has no prices"):
        read_rows(json.dumps([good, {**good, **change}]), name="old.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5_000, '{"a":', "\x00"])
def test_no_saved_table_ends_in_a_traceback(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_rows(text, name="old.json")
    assert len(refused.value.message) < 400


def test_a_table_of_an_older_version_is_compared_in_what_it_tells(book: Book, now: datetime) -> None:
    """Fields that did not exist then did not change."""
    new = rows(book, at=now, model="claude-opus-5-5")
    told = ("provider", "model", "speed", "geo", "tier", "usd_per_mtok")
    old = [{name: row[name] for name in told} for row in new]
    assert diff(read_rows(json.dumps(old), name="old.json"), new) == []
    old[0]["usd_per_mtok"] = {**old[0]["usd_per_mtok"], "input": "9.000000000"}
    (change,) = diff(old, new)
    assert (change.field, change.before) == ("usd_per_mtok.input", "9.000000000")


def test_a_card_by_itself_is_a_row_that_compares_with_its_own(book: Book, now: datetime) -> None:
    card = book.card("anthropic", "claude-sonnet-4-5", at=now)
    listed = next(row for row in rows(book, at=now, model="claude-sonnet-4-5") if is_standard(row))
    assert diff([row_of(card, Modifiers())], [listed]) == []
