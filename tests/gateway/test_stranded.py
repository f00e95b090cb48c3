"""The caps are usable: what `benchmarks/stranded.py` prints holds for its quick cells."""

from __future__ import annotations

import asyncio

import pytest
from benchmarks.stranded import play
from benchmarks.stranded_clients import PROFILES, Profile

from crewcap.prices import Book

NAMED = {profile.name: profile for profile in PROFILES}


@pytest.mark.parametrize("clients", [1, 8])
@pytest.mark.parametrize("profile", [each for each in PROFILES if each.aim], ids=lambda each: str(each.name))
def test_a_dollar_is_used_as_far_as_was_promised_and_no_further(profile: Profile, clients: int, book: Book) -> None:
    """At least 99 % by output-heavy work and 85 % by agents' turns; the ledger equals the meter (`play` checks it)."""
    result = asyncio.run(play(profile, "1.00", clients, book, is_plain=False))
    assert profile.aim <= result.percent <= 100


@pytest.mark.parametrize(
    "name", ["60k written, 5 min", "60k written, 1 h", "OpenAI output-heavy", "Gemini output-heavy"]
)
def test_what_is_left_is_less_than_the_next_turn_needs(name: str, book: Book) -> None:
    """Give or take the 3 % and 500 tokens that a count call gets on top."""
    result = asyncio.run(play(NAMED[name], "1.00", 1, book, is_plain=False))
    assert result.needs is not None
    assert result.used.nano <= result.cap.nano < result.used.nano + result.needs.nano * 105 // 100
