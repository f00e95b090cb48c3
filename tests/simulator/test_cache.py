"""The prompt cache bills by exact prefix, in kinds that never overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.pricing import Usage
from crewcap.simulator.cache import PromptCache
from crewcap.simulator.conversation import BadRequest, Block, Mark
from crewcap.simulator.tokens import REQUEST_TOKENS

from .conftest import Clock


def block(said: str, tokens: int = 2_000, mark: Mark = "") -> Block:
    return Block(digest=hashlib.sha256(said.encode()).digest(), tokens=tokens, mark=mark)


def answered(cache: PromptCache, blocks: Sequence[Block], owner: str = "key model") -> Usage:
    prompt = cache.read(owner, blocks)
    cache.keep(prompt)
    return prompt.usage


@pytest.fixture
def cache(clock: Clock) -> PromptCache:
    return PromptCache(clock)


def test_the_second_turn_reads_what_the_first_wrote(cache: PromptCache) -> None:
    first = answered(cache, [block("system", mark="5m"), block("hello", 100, mark="5m")])
    assert first == Usage(input=REQUEST_TOKENS, write_5m=2_100)
    second = answered(cache, [block("system", mark="5m"), block("hello", 100), block("more", 40, mark="5m")])
    assert second == Usage(input=REQUEST_TOKENS, cache_read=2_100, write_5m=40)


def test_a_change_in_the_prefix_reads_only_what_comes_before_it(cache: PromptCache) -> None:
    answered(cache, [block("tools", mark="5m"), block("system", mark="5m"), block("hello", 50)])
    usage = answered(cache, [block("tools", mark="5m"), block("other", mark="5m"), block("hello", 50)])
    assert usage == Usage(input=REQUEST_TOKENS + 50, cache_read=2_000, write_5m=2_000)


def test_without_a_mark_nothing_is_read_or_written(cache: PromptCache) -> None:
    answered(cache, [block("system", mark="5m")])
    assert answered(cache, [block("system"), block("hello", 50)]) == Usage(input=REQUEST_TOKENS + 2_050)


def test_one_hour_writes_come_before_five_minute_writes(cache: PromptCache) -> None:
    usage = answered(cache, [block("tools", mark="1h"), block("talk", 700, mark="5m"), block("end", 30)])
    assert usage == Usage(input=REQUEST_TOKENS + 30, write_1h=2_000, write_5m=700)


def test_a_prefix_is_forgotten_after_its_lifetime(cache: PromptCache, clock: Clock) -> None:
    marked = [block("tools", mark="1h"), block("talk", 700, mark="5m")]
    answered(cache, marked)
    clock.move(minutes=6)
    assert answered(cache, marked) == Usage(input=REQUEST_TOKENS, cache_read=2_000, write_5m=700)
    clock.move(minutes=61)
    assert answered(cache, marked).cache_read == 0


def test_a_read_renews_the_lifetime(cache: PromptCache, clock: Clock) -> None:
    for _ in range(4):
        usage = answered(cache, [block("system", mark="5m")])
        clock.move(minutes=4)
    assert usage.cache_read == 2_000


def test_keys_and_models_share_nothing(cache: PromptCache) -> None:
    answered(cache, [block("system", mark="5m")], owner="key-1 model")
    assert answered(cache, [block("system", mark="5m")], owner="key-2 model").cache_read == 0


def test_a_short_prefix_is_not_kept(cache: PromptCache) -> None:
    """The provider asks for 1,024 tokens at least; a mark on less is ignored."""
    short = [block("system", 1_000, mark="5m")]
    assert answered(cache, short) == answered(cache, short) == Usage(input=REQUEST_TOKENS + 1_000)


def test_a_kept_prefix_is_found_at_most_twenty_blocks_before_a_mark(cache: PromptCache) -> None:
    answered(cache, [block("system", mark="5m")])
    near = [block("system"), *(block(f"b{n}", 10) for n in range(19)), block("end", 10, mark="5m")]
    far = [block("system"), *(block(f"b{n}", 10) for n in range(20)), block("other", 10, mark="5m")]
    assert cache.read("key model", near).usage.cache_read == 2_000
    assert cache.read("key model", far).usage.cache_read == 0


def test_reading_alone_keeps_nothing(cache: PromptCache) -> None:
    """A request that is refused leaves no prefix behind."""
    cache.read("key model", [block("system", mark="5m")])
    assert cache.read("key model", [block("system", mark="5m")]).usage.cache_read == 0


@pytest.mark.parametrize(("marks", "complaint"), [(("5m",) * 5, "maximum of 4"), (("5m", "1h"), "must not come after")])
def test_marks_that_the_provider_does_not_take_are_refused(
    cache: PromptCache, marks: tuple[Mark, ...], complaint: str
) -> None:
    with pytest.raises(BadRequest, match=complaint):
        cache.read("key model", [block(str(n), mark=mark) for n, mark in enumerate(marks)])


turns = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "", "5m"])), min_size=1, max_size=6), max_size=5
)


@settings(max_examples=60, deadline=None)
@given(turns=turns)
def test_however_it_is_cached_a_prompt_has_the_same_number_of_tokens(turns: list[list[tuple[str, Mark]]]) -> None:
    """Read, written and fresh are disjoint, so their sum is the prompt."""
    cache = PromptCache(Clock())
    for turn in turns:
        marks = [mark for _, mark in turn if mark][:4]
        blocks = [block(said, 700, mark if mark and marks and marks.pop() else "") for said, mark in turn]
        assert answered(cache, blocks).prompt == 700 * len(turn) + REQUEST_TOKENS
