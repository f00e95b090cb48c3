"""Virtual keys, as the ledger and as people know them."""

from __future__ import annotations

import hashlib

import pytest

from crewcap.core.keys import PREFIX, hash_key, shown


def test_a_key_is_known_by_its_hash_alone() -> None:
    secret = PREFIX + "x" * 43
    assert hash_key(secret) == hashlib.sha256(secret.encode()).hexdigest()
    assert hash_key(secret) != hash_key(secret + " ")


@pytest.mark.parametrize(
    ("secret", "said"),
    [("ccap-" + "x" * 39 + "a1b2", "key(…a1b2)"), ("x" * 24, "key(…xxxx)"), ("short-secret", "key(…)"), ("", "key(…)")],
)
def test_a_message_shows_the_last_letters_of_a_long_key_and_nothing_of_a_short_one(secret: str, said: str) -> None:
    """Four letters of twelve would be a third of the secret."""
    assert shown(secret) == said
