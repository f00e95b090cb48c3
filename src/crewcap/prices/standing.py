"""Every line of ours as it stands: where it was said, from when until when, and what it still changes.

A line laid over the library may outlive its reason: the library learns the price, another line stands before it, its
days are over. Each is compared with what would be there without it, where that can be told line by line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from crewcap.core.pricing import Modifiers
from crewcap.prices import genai
from crewcap.prices.book import Book
from crewcap.prices.listing import Listing
from crewcap.prices.overrides import (
    AliasLine,
    DiscountLine,
    FactorLine,
    ModelLine,
    Overrides,
    Place,
    PriceLine,
    Span,
    matches,
)
from crewcap.prices.sheet import Sheet

State = Literal["in force", "not yet", "over"]
_PLAIN = Modifiers()
_USUAL = frozenset({_PLAIN.speed, _PLAIN.tier, _PLAIN.geo})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One line of ours."""

    kind: str  # "price", "factor", "discount", "alias", "model"
    what: str  # "anthropic/claude-opus-4-7 fast"
    file: str
    line: int  # 0 = not known
    start: datetime | None
    end: datetime | None
    state: State
    effect: str  # in words
    changes: bool  # whether anything would be otherwise without it
    clashes_with: str = ""  # an earlier line of the same file for the same, on some of the same days: that one counts


def lines(book: Book, at: datetime) -> tuple[Standing, ...]:
    """All of them, in the order in which they count."""
    ours = book.overrides
    listed = {provider: genai.listings(provider) for provider in _providers(ours)}
    return (
        *(_price(line, number, ours.prices, book, listed, at) for number, line in enumerate(ours.prices)),
        *(_factor(line, number, ours.factors, book, at) for number, line in enumerate(ours.factors)),
        *(_discount(line, book, at) for line in ours.discounts),
        *(_alias(line, book, at) for line in ours.aliases),
        *(_model(line, book, listed, at) for line in ours.models),
    )


def _providers(ours: Overrides) -> tuple[str, ...]:
    named = [*(line.provider for line in ours.prices), *(line.provider for line in ours.models)]
    return tuple(dict.fromkeys(named))


def _price(
    line: PriceLine,
    number: int,
    every: Sequence[PriceLine],
    book: Book,
    listed: dict[str, tuple[Listing, ...]],
    at: datetime,
) -> Standing:
    said = " ".join(word for word in (line.when.speed, line.when.tier, line.when.geo) if word not in _USUAL)
    what = f"{line.provider}/{line.model} {said}".rstrip()
    models = _models(book, line.provider, (line.model,))
    before = [each for each in every[:number] if each.provider == line.provider and each.when == line.when]
    clash = next((each for each in before if _is_alike(each, line)), None)
    hidden = [
        model for model in models if any(each.span.holds(at) and matches((each.model,), model) for each in before)
    ]
    ours = [model for model in models if model not in hidden]
    new = [model for model in ours if _library(listed, line, model, at) != _said(line.sheet)]
    if not models:
        effect = "fits no model"
    elif not ours:
        effect = "hidden by a line before it"
    elif not new:
        effect = "says what the library says"
    else:
        effect = f"changes {_some(new)}"
    told = _standing("price", what, line.place, line.span, at, effect=effect, changes=bool(new))
    return told if clash is None else _clashing(told, clash)


def _factor(line: FactorLine, number: int, every: Sequence[FactorLine], book: Book, at: datetime) -> Standing:
    what = f"{line.provider}/{','.join(line.models)} {line.geo} x{line.tokens}"
    before = [
        each
        for each in every[:number]
        if (each.provider, each.geo) == (line.provider, line.geo) and each.span.holds(at)
    ]
    models = [
        model
        for model in _models(book, line.provider, line.models)
        if not any(matches(each.models, model) for each in before)
    ]
    effect = f"prices {_some(models)} there" if models else "fits no model that no line before it fits"
    return _standing("factor", what, line.place, line.span, at, effect=effect, changes=bool(models))


def _discount(line: DiscountLine, book: Book, at: datetime) -> Standing:
    what = f"{line.provider}/{','.join(line.models)} -{line.percent} %"
    models = _models(book, line.provider, line.models) if line.percent else []
    effect = f"changes {_some(models)}" if models else "changes nothing"
    return _standing("discount", what, line.place, line.span, at, effect=effect, changes=bool(models))


def _alias(line: AliasLine, book: Book, at: datetime) -> Standing:
    what = f"{line.match} -> {line.use_provider}/{line.use}"
    known = line.provider in book.providers and line.match in book.models(line.provider)
    effect = "stands before a model of that name" if known else "gives a name that no list has"
    return _standing("alias", what, line.place, line.span, at, effect=effect, changes=True)


def _model(line: ModelLine, book: Book, listed: dict[str, tuple[Listing, ...]], at: datetime) -> Standing:
    what = f"{line.provider}/{','.join(line.models)}"
    windows = {each.id: each.context_window for each in listed.get(line.provider, ())}
    sizes = line.sizes
    new = [
        model
        for model in _models(book, line.provider, line.models)
        if sizes.max_output or sizes.image_tokens or windows.get(model) != sizes.context_window
    ]
    effect = f"figures of {_some(new)}" if new else "says what the library says, or fits no model"
    return _standing("model", what, line.place, Span(), at, effect=effect, changes=bool(new))


def _standing(kind: str, what: str, place: Place, span: Span, at: datetime, *, effect: str, changes: bool) -> Standing:
    state: State = "in force" if span.holds(at) else "over" if span.end is not None and span.end <= at else "not yet"
    return Standing(
        kind=kind,
        what=what,
        file=place.file,
        line=place.line,
        start=span.start,
        end=span.end,
        state=state,
        effect=effect if state == "in force" else state,
        changes=changes and state == "in force",
    )


def _clashing(told: Standing, clash: PriceLine) -> Standing:
    return replace(told, clashes_with=str(clash.place))


def _is_alike(earlier: PriceLine, line: PriceLine) -> bool:
    """Whether both were said in one file, of the same, for some of the same days."""
    if (earlier.place.file, earlier.model) != (line.place.file, line.model):
        return False
    one, other = earlier.span, line.span
    is_after = one.end is not None and other.start is not None and one.end <= other.start
    is_before = other.end is not None and one.start is not None and other.end <= one.start
    return not (is_after or is_before)


def _models(book: Book, provider: str, patterns: tuple[str, ...]) -> list[str]:
    if provider not in book.providers:
        return []
    return [model for model in book.models(provider) if matches(patterns, model)]


def _library(
    listed: dict[str, tuple[Listing, ...]], line: PriceLine, model: str, at: datetime
) -> tuple[object, ...] | None:
    """What the library says of the same; nothing of other regions."""
    listing = next((each for each in listed.get(line.provider, ()) if each.id == model), None)
    if listing is None or line.when.geo != _PLAIN.geo:
        return None
    found = genai.sheet_at(listing, speed=line.when.speed, tier=line.when.tier, at=at)
    return _said(found) if isinstance(found, Sheet) else None


def _said(sheet: Sheet) -> tuple[object, ...]:
    return (dict(sheet.kinds), dict(sheet.pieces))


def _some(models: Sequence[str]) -> str:
    return models[0] if len(models) == 1 else f"{len(models)} models"
