"""The index of transcripts: its rule for what is told twice, its sums, and what it says when it is damaged."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.core.transcripts import Mark, Told, better
from crewcap.errors import LedgerError
from crewcap.stores.usage.index import UsageIndex

_NUMBERS = itertools.count()
_FEW = st.integers(0, 3)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[UsageIndex]:
    made = UsageIndex(tmp_path / "usage.db")
    yield made
    made.close()


def mark(path: str = "/a.jsonl", **more: Any) -> Mark:
    return Mark(path=path, agent="claude", device=1, inode=2, size=3, mtime_ns=4)._replace(**more)


def told(key: str = "k", at: int = 1_000, session: str = "one", **more: Any) -> Told:
    return Told(key, at, session, "/shop", "anthropic", "claude-sonnet-5")._replace(**more)


def put(index: UsageIndex, *messages: Told, path: str = "/a.jsonl") -> None:
    index.put([(mark(path), messages)], repo_of=lambda folder: f"repo of {folder}", nano_of=_nano)


def _nano(message: Told) -> int | None:
    return message.output if message.output < 3_000 else None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(told, at=_FEW, output=_FEW, input=_FEW, cache_read=_FEW, session=_FEW.map(str)),
        min_size=1,
        max_size=6,
    )
)
def test_it_believes_as_the_rule_does(index: UsageIndex, tellings: list[Told]) -> None:
    """Written one by one, in any order, they come to what `better` makes of them."""
    key = f"k{next(_NUMBERS)}"
    wanted = reduce(better, tellings)
    path = f"/{key}.jsonl"
    for each in tellings:
        put(index, each._replace(key=key), path=path)
    file = index.marks()[path].id
    (found,) = index.sums(files=[file], by_session=True)
    usage = found.usage
    assert (usage.input, usage.cache_read, usage.output) == (wanted.input, wanted.cache_read, wanted.output)
    assert (found.first_ms, found.session, found.cost) == (wanted.at, wanted.session, Money(wanted.output))


def test_what_is_put_is_what_is_known(index: UsageIndex) -> None:
    put(index, told(output=7))
    (known,) = index.marks().values()
    assert known._replace(id=0) == mark()
    (found,) = index.sums(by_time=True)
    assert (found.agent, found.repo, found.messages, found.cost) == ("claude", "repo of /shop", 1, Money(7))


def test_what_nobody_priced_is_counted_apart(index: UsageIndex) -> None:
    put(index, told("a", output=5), told("b", output=4_000))
    (found,) = index.sums()
    assert (found.messages, found.unpriced, found.cost) == (2, 1, Money(5))


def test_sums_are_of_the_files_that_are_named(index: UsageIndex) -> None:
    put(index, told("a", output=1), path="/a.jsonl")
    put(index, told("b", output=20), path="/b.jsonl")
    ids = {path: known.id for path, known in index.marks().items()}
    asked: tuple[list[int], ...] = ([ids["/a.jsonl"]], [*ids.values()], [ids["/b.jsonl"], 10**6], [])
    found = [sum(each.usage.output for each in index.sums(files=files)) for files in asked]
    assert found == [1, 21, 20, 0]


def test_folders_of_one_repository_are_one_row(index: UsageIndex) -> None:
    """The first and the last time are those of both."""
    folders = [told("a", at=30, output=1, folder="/one"), told("b", at=10, output=2, folder="/two"), told("c", at=20)]
    index.put([(mark(), folders)], repo_of=lambda _: "acme/shop", nano_of=_nano)
    (found,) = index.sums()
    assert (found.repo, found.messages, found.usage.output, found.cost) == ("acme/shop", 3, 3, Money(3))
    assert (found.first_ms, found.last_ms) == (10, 30)


def test_history_is_priced_again_when_prices_change(index: UsageIndex) -> None:
    put(index, *(told(str(number), output=number) for number in range(10)))
    index.price_again("new", lambda message: message.output * 2)
    assert (index.prices, index.sums()[0].cost) == ("new", Money(90))


def test_an_answer_is_remembered_until_something_changes(index: UsageIndex) -> None:
    put(index, told())
    index.remember_answer("q", "42")
    assert index.answer("q") == "42"
    put(index, told("other"), path="/b.jsonl")
    assert index.answer("q") == ""


def test_a_put_that_fails_is_no_put(index: UsageIndex) -> None:
    def fail(_: Told) -> int | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        index.put([(mark(), [told()])], repo_of=str, nano_of=fail)
    put(index, told(output=2))
    assert (len(index.marks()), index.sums()[0].messages) == (1, 1)


def test_two_programs_may_write_at_once(tmp_path: Path) -> None:
    """Names that one has given numbers are known to the other."""
    one, other = (UsageIndex(tmp_path / "usage.db") for _ in range(2))
    for number, index in enumerate([one, other, one, other]):
        put(index, told(str(number), session=f"s{number % 3}"), path=f"/{number}.jsonl")
    assert sum(each.messages for each in one.sums()) == 4
    assert {each.session for each in other.sums(by_session=True)} == {"s0", "s1", "s2"}
    one.close()
    other.close()


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 4_000])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "usage.db").write_bytes(content)
    with pytest.raises(LedgerError, match=r"usage\.db cannot be used") as told_:
        UsageIndex(tmp_path / "usage.db").marks()
    assert "move" in told_.value.help


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    index = UsageIndex(tmp_path / "state" / "usage.db")
    index.marks()
    assert ((tmp_path / "state" / "usage.db").stat().st_mode & 0o777) == 0o600
    index.close()


def test_a_file_that_is_forgotten_takes_along_what_it_told_first(index: UsageIndex) -> None:
    put(index, told("a", output=5), path="/a.jsonl")
    put(index, told("b", output=7), path="/b.jsonl")
    index.remember_answer("sums", "old")
    index.forget([index.marks()["/a.jsonl"]])
    (found,) = index.sums()
    assert (found.messages, found.cost, index.answer("sums")) == (1, Money(7), "")
    (left,) = index.marks().values()
    assert (left.path, left.size, left.offset) == ("/b.jsonl", -1, 0)  # it may tell of the same message: read again


def test_a_file_that_told_nothing_is_forgotten_alone(index: UsageIndex) -> None:
    put(index, path="/a.jsonl")
    put(index, told("b", output=7), path="/b.jsonl")
    before = index.marks()["/b.jsonl"]
    index.forget([index.marks()["/a.jsonl"]])
    assert index.marks() == {"/b.jsonl": before}
