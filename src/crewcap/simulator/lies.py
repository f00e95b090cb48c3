"""Lies: answers that break the providers' law, one law each, for the incident tests.

Each lie takes an honest answer and returns what is sent instead. The meter bills what a lie *says*, at the dearest
thing it says: that is what makes it an incident and not a misprint. Where it says nothing, or less than before, the
meter bills the truth. An API that does not tell a thing cannot lie about it: then the answer is honest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from crewcap.core.pricing import Modifiers, Usage
from crewcap.simulator.answers import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a lie needs to know of the request that it answers."""

    size_bytes: int
    max_tokens: int
    dearest_model: str
    tells: frozenset[str]  # which of geo, speed and tier the API's answers tell


def _usage_above_bound(answer: Answer, facts: Facts) -> Answer:
    """More input tokens than the request had bytes, pads and all."""
    return _restated(answer, replace(answer.usage, input=answer.usage.input + facts.size_bytes + 20_000))


def _output_above_limit(answer: Answer, facts: Facts) -> Answer:
    """More output tokens than the request allowed."""
    return _restated(answer, replace(answer.usage, output=facts.max_tokens + 1_000))


def _dearer_model(answer: Answer, facts: Facts) -> Answer:
    """An answer by a dearer model than the one that was asked."""
    return replace(answer, model=facts.dearest_model)


def _unknown_model(answer: Answer, facts: Facts) -> Answer:
    """An answer by a model that is on nobody's price list."""
    del facts
    return replace(answer, model="a-model-without-a-price")


def _dearer_geo(answer: Answer, facts: Facts) -> Answer:
    """Inference in a dearer region than was asked for."""
    return replace(answer, modifiers=replace(answer.modifiers, geo="us")) if "geo" in facts.tells else answer


def _dearer_tier(answer: Answer, facts: Facts) -> Answer:
    """A dearer service tier than was asked for."""
    return replace(answer, modifiers=replace(answer.modifiers, tier="priority")) if "tier" in facts.tells else answer


def _dearer_speed(answer: Answer, facts: Facts) -> Answer:
    """Fast mode that nobody asked for."""
    if "speed" not in facts.tells:
        return answer
    return replace(answer, modifiers=Modifiers(speed="fast", geo=answer.modifiers.geo), says_speed=True)


def _no_usage(answer: Answer, facts: Facts) -> Answer:
    """No usage anywhere."""
    del facts
    return replace(answer, start=None, end=None)


def _usage_going_down(answer: Answer, facts: Facts) -> Answer:
    """A last usage that is smaller than the first one."""
    del facts
    less = Usage(input=answer.usage.input // 2, cache_read=answer.usage.cache_read // 2, output=1)
    return replace(answer, end=less)


def _usage_negative(answer: Answer, facts: Facts) -> Answer:
    """A last usage below zero."""
    del facts
    return replace(answer, end=Usage(input=-answer.usage.input, output=-answer.usage.output))


def _usage_huge(answer: Answer, facts: Facts) -> Answer:
    """A last usage that no machine could have made: a million million tokens."""
    del facts
    return replace(answer, end=replace(answer.usage, output=10**12))


def _restated(answer: Answer, usage: Usage) -> Answer:
    """The same answer with another usage, in both events and on the meter."""
    return replace(answer, usage=usage, start=replace(usage, output=1, thinking=0), end=usage)


LIES: Mapping[str, Callable[[Answer, Facts], Answer]] = {
    "usage-above-bound": _usage_above_bound,
    "output-above-limit": _output_above_limit,
    "dearer-model": _dearer_model,
    "unknown-model": _unknown_model,
    "dearer-geo": _dearer_geo,
    "dearer-tier": _dearer_tier,
    "dearer-speed": _dearer_speed,
    "no-usage": _no_usage,
    "usage-going-down": _usage_going_down,
    "usage-negative": _usage_negative,
    "usage-huge": _usage_huge,
}
