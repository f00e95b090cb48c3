"""What one request asks for, as far as money goes, whichever provider's words it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crewcap.core.pricing import Modifiers, Write
from crewcap.core.quick import quickly_made


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The most prompt tokens that a request can be billed for, apart from the model's own figures.

    tokens = text_bytes + pad + images x (the card's image_tokens); or the card's context window where
    `whole_window` is set (a PDF, a URL, a file id); such a request is refused when the window is unknown.
    """

    text_bytes: int
    pad: int
    images: int = 0
    whole_window: bool = False
    window_at_least: int = 0  # tokens; the window that the request switches on, where it is larger than the card's


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one request asks for, as far as money goes."""

    model: str
    stream: bool
    max_output: int | None  # tokens, as the client asked; None where it did not say
    thinking_budget: int  # tokens; the output limit may never be lowered to this or below
    bound: Bound
    write: Write
    modifiers: tuple[Modifiers, ...]  # every combination the answer may be billed at
    samplings: int = 1  # how often the model may be run over the prompt inside this one request
    pieces: Mapping[str, int]  # most pieces of each kind ("web_search": 5)
    other_models: tuple[str, ...] = ()  # models that may answer beside or instead of `model` (fallbacks, an advisor)
    geo_is_assumed: bool = False  # the body asks for no dear region; settings fear that the provider bills one
    is_countable: bool = True  # the provider's count call would see all that is billed as prompt
    inner_output: int = 0  # tokens; the largest output limit inside the request that is not `max_output`
    answers: int = 1  # how many answers one run of the model writes, each up to the output limit
    beside_output: int | None = 0  # tokens billed as output beside the limit; None: as many as a model writes at most
    apart: frozenset[str] = frozenset()  # names in a card's `per_piece` that prompt tokens may be billed at instead
    hides_usage: bool = False  # the usage at the end of the stream was not asked for by the client: it is kept from it
    conversation: str = ""  # names the conversation by how it begins; two may have one name, so nothing rests on it
    continues: str = ""  # id of the earlier answer that this request goes on from, kept at the provider
    refusals: tuple[str, ...] = ()  # what a capped key may not use, each a full sentence that names the remedy
    notes: tuple[str, ...] = ()  # e.g. betas that were recorded
