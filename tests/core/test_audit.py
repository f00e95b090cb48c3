"""A bill, line by line, is the card's own cost."""

from __future__ import annotations

from hypothesis import given, settings
from tests.core.test_bundles import CARD, TOKENS, USAGES

from crewcap.core.audit import bill
from crewcap.core.money import Money
from crewcap.core.pricing import Usage


@settings(max_examples=60)
@given(USAGES, TOKENS)
def test_the_lines_rounded_up_are_what_the_card_says(usage: Usage, more: int) -> None:
    """Above a tier's limit too: the whole prompt is priced by its size."""
    assert bill([(CARD, usage)]).cost == CARD.cost(usage)
    other = Usage(output=more)
    assert bill([(CARD, usage), (CARD, other)]).pico == CARD.pico(usage) + CARD.pico(other)


def test_each_kind_has_a_line_and_what_was_not_used_has_none() -> None:
    found = bill([(CARD, Usage(input=3, output=2, thinking=1, pieces={"web": 2}))])
    assert [(item.kind, item.count, item.pico) for item in found.items] == [
        ("input", 3, 6_000_000),
        ("output", 2, 20_000_000),
        ("web", 2, 2 * 10**10),
    ]
    assert found.cost == Money(20_026_000)
