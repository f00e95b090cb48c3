"""A key that a provider says back is taken out, however JSON writes it, and nothing else is."""

from __future__ import annotations

import pytest

from crewcap.core import scrub
from crewcap.gateway.provider.echoes import REMEMBERED, REMOVED, Echoes

KEY = "sk-fake/with+odd=letters"


def knowing(*keys: str) -> Echoes:
    echoes = Echoes()
    for key in keys:
        echoes.learn("main", key)
    return echoes


@pytest.mark.parametrize("spelt", [KEY, KEY.replace("/", "\\/")])
def test_a_key_is_found_in_both_spellings(spelt: str) -> None:
    said = f'{{"message": "bad key {spelt}: {spelt}"}}'.encode()
    assert knowing(KEY).without("main", said) == b'{"message": "bad key [secret removed]: [secret removed]"}'


def test_an_answer_without_it_is_the_very_same_bytes() -> None:
    """Large answers are not copied for it."""
    said = b'{"message": "hello"}'
    assert knowing(KEY).without("main", said) is said


def test_a_key_that_was_exchanged_meanwhile_is_still_known_and_old_ones_are_forgotten() -> None:
    keys = [f"sk-fake-{number:04}" for number in range(REMEMBERED + 1)]
    said = " ".join(keys).encode()
    assert knowing(*keys).without("main", said) == keys[0].encode() + (b" " + REMOVED) * REMEMBERED


def test_other_providers_keys_were_never_sent_there() -> None:
    assert knowing(KEY).without("other", KEY.encode()) == KEY.encode()


@pytest.mark.parametrize("key", ["", "abc"])
def test_what_is_too_short_for_a_key_takes_nothing_out(key: str) -> None:
    assert knowing(key).without("main", b"abc abc") == b"abc abc"


def test_it_is_the_same_word_as_everywhere() -> None:
    assert scrub.REMOVED.encode() == REMOVED


def test_the_keys_are_in_no_repr() -> None:
    assert KEY not in repr(knowing(KEY))
