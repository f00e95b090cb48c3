"""What somebody wants who writes `@crewcap ...` at an issue.

    retry                 go on with the task, also when it was done
    go on                 the answer to a run that waits
    budget +2, or +2      the same, with two dollars more
    pause, stop           what they say
    anything else         a message for the agent

A message has at least two words: "thanks" is none, and a command with a slip of the pen is none either. What is read
here is a value and nothing more; no word of it is ever a path, a setting or a part of a command line.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from crewcap.core.harmless import one_line
from crewcap.core.money import Money, MoneyError

NAME = "@crewcap"
LONGEST = 4_000  # letters of a message


@dataclass(frozen=True, slots=True)
class Retry:
    """The task is not done yet."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """Go on where it stands."""


@dataclass(frozen=True, slots=True)
class Add:
    """Go on with more money."""

    amount: Money


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, and keep everything."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End, and keep the work."""


@dataclass(frozen=True, slots=True)
class Say:
    """A message for the agent."""

    text: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing is done; the words say what could be meant."""

    words: str


Command = Retry | GoOn | Add | Pause | Stop | Say | Unclear

_WORDS: dict[str, Command] = {
    "retry": Retry(),
    "try again": Retry(),
    "go on": GoOn(),
    "continue": GoOn(),
    "resume": GoOn(),
    "pause": Pause(),
    "stop": Stop(),
}
_POLITE = frozenset({"please", "now", "it", "this", "that", "here"})
_AMOUNT = re.compile(r"(?:budget\b[ :=]*(?=[-+$\d]|\Z)|(?=[+$][$]?\d))(?P<amount>.*)", re.IGNORECASE | re.DOTALL)
_KNOWN = f"{NAME} knows: retry, go on, budget +2, pause, stop; whole sentences are for the agent"


def parse(text: str) -> Command:
    """What is wanted."""
    words = one_line(text, limit=LONGEST)
    if not words:
        return Unclear(_KNOWN)
    if money := _AMOUNT.fullmatch(words):
        return _amount(money["amount"])
    plain = words.casefold().rstrip(".!")
    if (known := _known(plain)) is not None:
        return known
    return Say(words) if " " in words else Unclear(_near(plain))


def _known(plain: str) -> Command | None:
    """A command, with politeness or without."""
    for name, command in _WORDS.items():
        if plain == name or (plain.startswith(f"{name} ") and _POLITE.issuperset(plain[len(name) :].split())):
            return command
    return None


def _amount(text: str) -> Command:
    written = text.strip().rstrip("!").removesuffix("please").strip().removeprefix("+").removeprefix("$")
    if not written:
        return Unclear("how much? Write it as: budget +2")
    try:
        amount = Money.usd(written)
    except MoneyError as error:
        return Unclear(f"{error}; write it as: budget +2")
    return Add(amount) if amount else Unclear("an amount of nothing adds nothing; write it as: budget +2")


def _near(plain: str) -> str:
    close = difflib.get_close_matches(plain, [*_WORDS, "budget"], n=1)
    return f"did you mean {close[0]}? {_KNOWN}" if close else _KNOWN
