"""The models that a key may use and that have a price, as each family's clients expect them to be listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crewcap.core.keys import VirtualKey
from crewcap.core.pricing import RateCard, UnknownPrice
from crewcap.gateway.money.admission import Prices

_LONG_AGO = "1970-01-01T00:00:00Z"  # nobody tells us when a model was made
_METHODS = ("generateContent", "streamGenerateContent", "countTokens")
_OWN_NAMES: Mapping[str, tuple[str, ...]] = {"gemini": ("gemini-", "gemma-")}
"""Price lists that hold models of another interface as well (Claude at Google): only these are the family's."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model on offer."""

    name: str
    card: RateCard


def offered(book: Prices, prices: str, family: str, key: VirtualKey, *, at: datetime) -> Iterator[Model]:
    """What may be asked for with this key."""
    own = _OWN_NAMES.get(family, ("",))
    names = (name for name in book.models(prices) if name.startswith(own))
    for name in names:
        model = find(book, prices, name, key, at=at)
        if model is not None:
            yield model


def find(book: Prices, prices: str, name: str, key: VirtualKey, *, at: datetime) -> Model | None:
    """One model by any of its names."""
    try:
        full = book.resolve(prices, name, at=at)
        if key.models and full not in key.models and name not in key.models:
            return None
        return Model(name, book.card(prices, full, at=at))
    except UnknownPrice:
        return None


def page(family: str, models: Sequence[Model]) -> dict[str, Any]:
    """All of them; there is never a second page."""
    entries = [entry(family, model) for model in models]
    match family:
        case "gemini":
            return {"models": entries}
        case "openai":
            return {"object": "list", "data": entries}
        case _:
            ends = {"first_id": models[0].name if models else None, "last_id": models[-1].name if models else None}
            return {"data": entries, "has_more": False, **ends}


def entry(family: str, model: Model) -> dict[str, Any]:
    """One of them."""
    match family:
        case "gemini":
            sizes = {"inputTokenLimit": model.card.context_window, "outputTokenLimit": model.card.max_output}
            told = {name: size for name, size in sizes.items() if size is not None}
            name = {"name": f"models/{model.name}", "displayName": model.name, "version": "001"}
            return {**name, **told, "supportedGenerationMethods": list(_METHODS)}
        case "openai":
            return {"id": model.name, "object": "model", "created": 0, "owned_by": "crewcap"}
        case _:
            return {"type": "model", "id": model.name, "display_name": model.name, "created_at": _LONG_AGO}
