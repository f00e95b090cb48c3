"""What all batch APIs share: names of items, lines of results."""

from __future__ import annotations

import random

import pytest

from crewcap.wire.batches import APIS, Lines, moment, name_of, number_of


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("crewcap-ab-1-17", 17),
        ("crewcap-ab-1-", None),
        ("crewcap-ab-2-17", None),
        ("crewcap-ab-1-x", None),
        ("crewcap-ab-1-\u0661", None),
        ("", None),
    ],
)
def test_a_name_is_of_one_part_alone(name: str, number: int | None) -> None:
    assert number_of("crewcap-ab-1", name) == number


def test_names_fit_what_providers_take() -> None:
    name = name_of(f"crewcap-{'f' * 16}-999", 100_000)
    assert len(name) <= 64
    assert all(letter.isalnum() or letter in "-_" for letter in name)
    assert number_of(f"crewcap-{'f' * 16}-999", name) == 100_000


def test_any_chunking_gives_the_same_lines() -> None:
    content, rng = b"one\n\ntwo\r\nthree", random.Random(7)
    for _ in range(50):
        cutter, found, rest = Lines(), list[bytes](), content
        while rest:
            size = rng.randint(1, 5)
            found += cutter.feed(rest[:size])
            rest = rest[size:]
        assert [line.strip() for line in (*found, *cutter.close())] == [b"one", b"two", b"three"]


@pytest.mark.parametrize("value", [None, "soon", 10**30, True, [], float("nan")])
def test_a_time_that_is_none_is_none(value: object) -> None:
    assert moment(value) is None


@pytest.mark.parametrize("path", list(APIS))
def test_every_api_is_there(path: str) -> None:
    assert APIS[path]().most_items >= 1
