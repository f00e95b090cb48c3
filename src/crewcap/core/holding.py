"""How much is held for a request, and how far its output limit must come down to fit.

    prompt     bytes of text + pad + images at the model's maximum each; or the whole context window where the
               body does not tell how large the prompt is, or where the model is run more than once
    output     answers x (the output limit + what is billed beside it)
    one run    prompt at the dearest input kind + output, on the dearest card that it can meet
    hold       runs x one run + the most fees that the request can cause

`prompt_tokens` replaces the first line where the gateway knows better (a count call, the settled prompt that this
one goes on from). It is never used for a request that runs the model more than once: both know one run only.
"""

from __future__ import annotations

from collections.abc import Sequence

from crewcap.core.asks import Ask, Bound
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import RateCard, UnknownPrice

USEFUL_OUTPUT = 1_024  # tokens; no output limit is lowered below this


def prompt_bound(bound: Bound, card: RateCard) -> int | None:
    """The most prompt tokens that one run of the model can be billed for; None where its window is unknown."""
    if not bound.whole_window:
        return bound.text_bytes + bound.pad + bound.images * card.image_tokens
    return _window(bound, card)


def counted_bound(count: int) -> int:
    """What the answer to a provider's count call bounds: it is an estimate, so it gets 3 % and 500 tokens on top."""
    return -(-count * 103 // 100) + 500


def most_output(ask: Ask, card: RateCard, output_limit: int) -> int:
    """The most output tokens that one run of the model can be billed for when the provider is sent this limit."""
    return ask.answers * (max(output_limit, ask.inner_output) + _beside(ask, card))


def hold_for(ask: Ask, cards: Sequence[RateCard], output_limit: int, *, prompt_tokens: int | None = None) -> Money:
    """The most that the request can cost with this output limit; `UnknownPrice` where nobody can tell."""
    if not cards:  # holding nothing would be a way past every budget
        raise UnknownPrice(ask.model)
    return max([_most(ask, card, output_limit, prompt_tokens) for card in cards], key=_nano)


def least_output(ask: Ask, asked: int) -> int:
    """The lowest output limit that still leaves a useful answer: 1,024 tokens beside the thinking budget."""
    return min(asked, min(asked, USEFUL_OUTPUT) + ask.thinking_budget)


def least_hold(ask: Ask, cards: Sequence[RateCard], *, prompt_tokens: int | None = None) -> Money:
    """The smallest room with which the request could be served, its output limit lowered as far as may be."""
    return hold_for(ask, cards, least_output(ask, _asked(ask, cards)), prompt_tokens=prompt_tokens)


def clamp_for(ask: Ask, cards: Sequence[RateCard], room: Money, *, prompt_tokens: int | None = None) -> int | None:
    """The largest output limit, at most the one asked for, whose hold fits `room`; None if no useful one does."""
    asked = _asked(ask, cards)
    fits = min((_output_that_fits(ask, card, room, prompt_tokens) for card in cards), default=0)
    limit = min(asked, fits)
    if limit < least_output(ask, asked) or hold_for(ask, cards, limit, prompt_tokens=prompt_tokens) > room:
        return None
    return limit


def _asked(ask: Ask, cards: Sequence[RateCard]) -> int:
    """The output limit that the client asked for; where it did not say, the largest that a model has."""
    if ask.max_output is not None:
        return ask.max_output
    limits = [card.max_output for card in cards]
    if not limits or None in limits:
        raise UnknownPrice(ask.model, "an output limit")
    return max(limit for limit in limits if limit is not None)


def _most(ask: Ask, card: RateCard, output_limit: int, prompt_tokens: int | None) -> Money:
    one_run = card.most(
        prompt_tokens=_prompt(ask, card, prompt_tokens),
        write=ask.write,
        output_tokens=most_output(ask, card, output_limit),
        apart=ask.apart,
    )
    if ask.samplings == 1 and not ask.pieces:
        return one_run
    return Money(ask.samplings * one_run.nano) + _fees(ask, card)


def _nano(amount: Money) -> int:
    return amount.nano


def _output_that_fits(ask: Ask, card: RateCard, room: Money, prompt_tokens: int | None) -> int:
    for_runs = room - _fees(ask, card)
    for_one_run = Money(max(0, for_runs.nano) // ask.samplings)
    prompt = _prompt(ask, card, prompt_tokens)
    output = card.output_that_fits(for_one_run, prompt_tokens=prompt, write=ask.write, apart=ask.apart)
    return output // ask.answers - _beside(ask, card)


def _beside(ask: Ask, card: RateCard) -> int:
    if ask.beside_output is not None:
        return ask.beside_output
    if card.max_output is None:
        raise UnknownPrice(f"{card.provider}/{card.model}", "an output limit")
    return card.max_output


def _prompt(ask: Ask, card: RateCard, prompt_tokens: int | None) -> int:
    if ask.samplings == 1 and prompt_tokens is not None:
        return prompt_tokens
    tokens = prompt_bound(ask.bound, card) if ask.samplings == 1 else _window(ask.bound, card)
    if tokens is None:
        raise UnknownPrice(f"{card.provider}/{card.model}", "the context window")
    return tokens


def _window(bound: Bound, card: RateCard) -> int | None:
    return None if card.context_window is None else max(card.context_window, bound.window_at_least)


def _fees(ask: Ask, card: RateCard) -> Money:
    if not ask.pieces:
        return ZERO
    for piece, count in ask.pieces.items():
        if count and piece not in card.per_piece:
            raise UnknownPrice(f"{card.provider}/{card.model}", f"the fee {piece!r}")
    return Money.from_pico(sum(count * card.per_piece.get(piece, 0) for piece, count in ask.pieces.items()))
