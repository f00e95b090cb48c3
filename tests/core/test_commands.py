"""What is wanted by who writes `@crewcap ...`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.commands import LONGEST, Add, GoOn, Pause, Retry, Say, Stop, Unclear, parse
from crewcap.core.money import LARGEST_NANO, Money


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("retry", Retry()),
        (" Retry, please", Say("Retry, please")),
        ("Retry!", Retry()),
        ("try again please", Retry()),
        ("go on", GoOn()),
        ("GO  ON now.", GoOn()),
        ("resume", GoOn()),
        ("pause", Pause()),
        ("stop it now", Stop()),
        ("budget +2", Add(Money.usd(2))),
        ("budget 2.50", Add(Money.usd("2.50"))),
        ("Budget: +$2.50 please", Add(Money.usd("2.50"))),
        ("+2", Add(Money.usd(2))),
        ("+$0.40", Add(Money.usd("0.40"))),
        ("also cover the sign-up form", Say("also cover the sign-up form")),
        ("stop using the old parser", Say("stop using the old parser")),
        ("budgets are computed wrongly", Say("budgets are computed wrongly")),
        ("budget tests are red", Say("budget tests are red")),
    ],
)
def test_a_command_is_what_it_says_and_everything_else_is_for_the_agent(text: str, command: object) -> None:
    assert parse(text) == command


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "knows: retry, go on, budget"),
        ("thanks!", "whole sentences are for the agent"),
        ("retyr", "did you mean retry?"),
        ("buget", "did you mean budget?"),
        ("budget", "how much? Write it as: budget +2"),
        ("+0", "adds nothing"),
        ("budget -2", "cannot be negative"),
        ("budget +2,50", "did you mean 2.50?"),
        ("budget +1e3", "is not an amount of money"),
        ("budget +two", "is not an amount of money"),
        ("+2 and be quick", "is not an amount of money"),
        ("budget +99999999999", "more than crewcap can book"),
    ],
)
def test_what_is_unclear_is_answered_and_not_guessed(text: str, says: str) -> None:
    command = parse(text)
    assert isinstance(command, Unclear)
    assert says in command.words


@given(st.text(max_size=200))
def test_whatever_is_written_is_one_command_and_its_words_are_harmless(text: str) -> None:
    command = parse(text)
    words = command.text if isinstance(command, Say) else command.words if isinstance(command, Unclear) else ""
    assert words.isprintable() or not any(ord(letter) < 32 or ord(letter) == 127 for letter in words)
    assert len(words) <= LONGEST
    assert not isinstance(command, Say) or " " in command.text


@given(st.text(max_size=30), st.sampled_from(["budget ", "+", "budget +", "budget: $", "Budget="]))
def test_only_a_plain_amount_adds_money(text: str, start: str) -> None:
    command = parse(start + text)
    if isinstance(command, Add):
        assert 0 < command.amount.nano <= LARGEST_NANO
        assert any(digit in text for digit in "0123456789")


@given(st.integers(min_value=1, max_value=LARGEST_NANO))
def test_every_amount_that_there_is_can_be_added(nano: int) -> None:
    assert parse(f"budget +{Money(nano).exact()}") == Add(Money(nano))
