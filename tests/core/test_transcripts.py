"""What two tellings of one message come to."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.transcripts import Told, better

_FEW = st.integers(0, 3)
_TOLD = st.builds(
    lambda at, output, fresh: Told("k", at, f"s{at}", "/f", "p", "m", input=fresh, output=output), _FEW, _FEW, _FEW
)


def test_the_fuller_telling_is_believed_and_the_first_time_kept() -> None:
    early = Told("k", 1, "one", "/f", "p", "m", output=3)
    late = Told("k", 2, "fork", "/f", "p", "m", output=9)
    assert better(early, late) == better(late, early) == late._replace(at=1, session="one")


@given(st.lists(_TOLD, min_size=1, max_size=5), st.randoms())
def test_neither_order_nor_repetition_matters(tellings: list[Told], rng: object) -> None:
    shuffled = [*tellings, *tellings]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random, which hypothesis does not say
    assert reduce(better, shuffled) == reduce(better, tellings)
    assert reduce(better, tellings).output == max(each.output for each in tellings)
