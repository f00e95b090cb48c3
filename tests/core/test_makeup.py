"""Tokens by the letters of a prompt's parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.makeup import PARTS, Makeup, shared_out

LETTERS = st.integers(0, 10**7)


@given(st.builds(Makeup, **dict.fromkeys(PARTS, LETTERS)), st.integers(0, 10**7))
def test_parts_together_are_the_tokens_that_were_billed(letters: Makeup, tokens: int) -> None:
    shares = shared_out(letters, tokens)
    assert shares.whole == tokens
    assert all(getattr(shares, part) >= 0 for part in PARTS)


def test_a_part_gets_its_share() -> None:
    assert shared_out(Makeup(tools=300, files=100), 1_001) == Makeup(tools=751, files=250)
    assert shared_out(Makeup(), 9) == Makeup(prompts=9)
    assert Makeup(tools=1) + Makeup(tools=2, history=3) == Makeup(tools=3, history=3)
