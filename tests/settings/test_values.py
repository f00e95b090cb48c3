"""One value, one spelling; what is shown can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.hours import Hours
from crewcap.core.money import LARGEST_NANO, Money
from crewcap.core.scrub import looks_secret
from crewcap.settings.values import (
    Written,
    Wrong,
    quoted,
    read_count,
    read_duration,
    read_host,
    read_hours,
    read_listen,
    read_money,
    read_offers,
    show_duration,
)


@given(st.integers(1, 30 * 86_400))
def test_a_duration_that_is_shown_can_be_read_back(seconds: int) -> None:
    assert read_duration(show_duration(seconds)) == seconds


@given(st.integers(0, 10**10 - 1), st.text("0123456789", max_size=9))
def test_money_is_read_exactly_and_never_through_a_float(whole: int, part: str) -> None:
    """0.1 is a tenth of a dollar, to the last nano."""
    text = f"{whole}.{part}" if part else str(whole)
    nano = int(f"{whole}{part.ljust(9, '0')}")
    for value in (Written(text), text):
        if nano <= LARGEST_NANO:
            assert read_money(value).nano == nano
        else:
            with pytest.raises(Wrong, match="more than crewcap can book"):
                read_money(value)


@pytest.mark.parametrize("text", ["1h30m", "90m", "14d", "1d12h", "2700s"])
def test_durations_may_be_put_together(text: str) -> None:
    assert read_duration(text) > 0


@pytest.mark.parametrize("text", ["", "m", "30m1h", "1.5h", "-5m", "31d", "45 min", "1w", "٤m"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(Wrong):
        read_duration(text)


@pytest.mark.parametrize(
    "text", ["localhost", "10.0.0.1", "http://a.example", "a.example/x", "a b.example", "[::1]", "*"]
)
def test_what_is_no_host_name_is_refused(text: str) -> None:
    """An address could be this machine, or one beside it."""
    with pytest.raises(Wrong):
        read_host(text)


def test_hosts_are_spelled_one_way() -> None:
    assert read_host("Registry.Example.COM.") == "registry.example.com"
    assert read_host("*.example.com") == "*.example.com"


def test_hours_of_the_day() -> None:
    assert read_hours("22:00-07:00") == Hours.parse("22:00-07:00")
    for wrong in ("22-7", "24:00-07:00", "07:00-07:00", 7, None):
        with pytest.raises(Wrong):
            read_hours(wrong)


def test_amounts_that_are_offered_are_few_and_in_order() -> None:
    assert read_offers([5, 2, Written("2.00")]) == (Money.usd(2), Money.usd(5))
    for wrong in ([], [0], 5, [1, 2, 3, 4, 5], ["a"]):
        with pytest.raises(Wrong):
            read_offers(wrong)


@pytest.mark.parametrize("text", ["127.0.0.1:8787", "[::1]:0", "localhost:80", "0.0.0.0:65535"])
def test_where_to_listen_is_an_address_and_a_port(text: str) -> None:
    assert read_listen(text) == text


@pytest.mark.parametrize(
    "text", ["8787", "127.0.0.1", "127.0.0.1:", "::1:80", "[127.0.0.1]:80", "a.example:80", ":80", "127.0.0.1:65536",
             "127.0.0.1:٤", "[::1:80", "http://127.0.0.1:80", 80]
)  # fmt: skip
def test_what_nobody_can_listen_on_is_refused(text: object) -> None:
    with pytest.raises(Wrong):
        read_listen(text)


@pytest.mark.parametrize(
    "text", ["sk-ant-x", "ghp_x", "github_pat_x", "glpat-x", "xoxb-1", "AIzaSyA1234567890", "ccap-x"]
)
def test_keys_are_known_by_their_shape(text: str) -> None:
    assert looks_secret(text)
    assert text not in quoted(text)


@given(st.text(max_size=100))
def test_what_is_quoted_is_one_short_line(text: str) -> None:
    shown = quoted(text)
    assert len(shown) <= 45
    assert shown.isprintable()


def test_a_part_of_one_is_answered_with_small_numbers() -> None:
    with pytest.raises(Wrong) as wrong:
        read_count(Written("0.5"))
    assert wrong.value.help == "write it as 1, 2 or 3"
