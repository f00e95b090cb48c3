"""Who may have a project's secrets."""

from __future__ import annotations

import pytest

from crewcap.core.trust import may_write


@pytest.mark.parametrize("trust", ["owner", "admin", "maintain", "write", "WRITE", "developer"])
def test_who_may_write_may_have_them(trust: str) -> None:
    assert may_write(trust)


@pytest.mark.parametrize(
    "trust", ["", "read", "triage", "none", "contributor", "reporter", "guest", "member", "writer?"]
)
def test_everybody_else_and_every_unknown_word_may_not(trust: str) -> None:
    assert not may_write(trust)
