"""Keys in the file: by hash alone, never changed, revoked once; what they may do stands in the ledger's contract."""

from __future__ import annotations

import pytest
from tests.stores.books import Shelf

from crewcap.core.budget import ALL, KeyId, Scope
from crewcap.core.keys import VirtualKey, hash_key
from crewcap.errors import InternalError


def key(shelf: Shelf, name: str, secret: str) -> VirtualKey:
    scopes = (Scope(f"key:{name}"), Scope("repo:a"), ALL)
    return VirtualKey(id=KeyId(name), hash=hash_key(secret), scopes=scopes, created_at=shelf.clocks.wall)


def test_the_secret_is_nowhere_in_the_file(shelf: Shelf) -> None:
    secret = "ccap-fake-0123456789abcdef"
    ledger = shelf.open()
    ledger.add_key(key(shelf, "k1", secret), cap=None)
    found = ledger.find_key(hash_key(secret))
    assert found is not None
    assert found.scopes == ("key:k1", "repo:a", "all")
    assert ledger.find_key(secret) is None
    ledger.close()
    for path in shelf.home.root.rglob("ledger*"):
        assert secret.encode() not in path.read_bytes()


def test_two_keys_are_never_one(shelf: Shelf) -> None:
    ledger = shelf.open()
    ledger.add_key(key(shelf, "k1", "one"), cap=None)
    for again in (key(shelf, "k1", "two"), key(shelf, "k2", "one")):
        with pytest.raises(InternalError, match="UNIQUE"):
            ledger.add_key(again, cap=None)
    (found,) = ledger.keys()
    assert (found.id, found.hash) == ("k1", hash_key("one"))
    ledger.close()


def test_a_key_is_revoked_once_and_stays_in_the_list(shelf: Shelf) -> None:
    ledger = shelf.open()
    ledger.add_key(key(shelf, "k1", "one"), cap=None)
    assert ledger.revoke_key(KeyId("k1"))
    assert not ledger.revoke_key(KeyId("k1"))
    assert not ledger.revoke_key(KeyId("nobody"))
    (found,) = ledger.keys()
    assert found.revoked_at == shelf.clocks.wall
    ledger.close()
