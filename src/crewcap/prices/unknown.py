"""What was seen and has no price: where, how often, and the lines of a price file that would price it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from crewcap.core.pricing import Modifiers, UnknownPrice
from crewcap.prices.book import Book

Where = Literal["refused", "answered", "transcripts"]
_PLAIN = Modifiers()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A name without a price."""

    provider: str
    model: str
    modifiers: Modifiers
    where: Where  # requests that were refused for it, answers that named it, or messages of imported transcripts
    requests: int
    last_at: datetime
    message: str = ""
    toml: str = ""  # what would price it; the figures are to be filled in
    is_priced_now: bool = False  # since then


def looked_at(book: Book, found: Iterable[Unknown], *, at: datetime) -> list[Unknown]:
    """The same with what would price them; those that have a price by now are marked."""
    return [
        replace(
            each,
            toml=toml_for(each.provider, each.model, each.modifiers),
            is_priced_now=is_priced(book, each.provider, each.model, each.modifiers, at=each.last_at, now=at),
        )
        for each in found
    ]


def is_priced(book: Book, provider: str, model: str, modifiers: Modifiers, *, at: datetime, now: datetime) -> bool:
    """Whether a price is there for the time at which it was seen, and for now where it was a request."""
    try:
        for moment in {at, now}:
            book.card(provider, book.resolve(provider, model, at=moment), at=moment, modifiers=modifiers)
    except UnknownPrice:
        return False
    return True


def toml_for(provider: str, model: str, modifiers: Modifiers = _PLAIN) -> str:
    """A [[price]] for it; dollars per million tokens are left open, so that nobody takes a guess for a price."""
    names = {"speed": modifiers.speed, "geo": modifiers.geo, "tier": modifiers.tier}
    when = {name: word for name, word in names.items() if word != getattr(_PLAIN, name)}
    lines = ["[[price]]", f"provider = {_quoted(provider)}", f"model = {_quoted(model)}"]
    if when:
        lines.append(f"when = {{ {', '.join(f'{name} = {_quoted(word)}' for name, word in when.items())} }}")
    return "\n".join([*lines, 'usd_per_mtok = { in = "?", out = "?" }'])


def _quoted(text: str) -> str:
    """A text of TOML, whatever a stranger wrote into it."""
    return "".join(_letter(letter) for letter in json.dumps(text, ensure_ascii=False))


def _letter(letter: str) -> str:
    number = ord(letter)
    if number == 0x7F or 0xD800 <= number <= 0xDFFF or 0x80 <= number < 0xA0 or 0x202A <= number <= 0x202E:
        return f"\\u{0xFFFD if 0xD800 <= number <= 0xDFFF else number:04x}"
    return letter
