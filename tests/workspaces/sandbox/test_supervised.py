"""The rungs without a process namespace: whose leftovers are killed, and whose never."""

from __future__ import annotations

import pytest

from crewcap.errors import InternalError
from crewcap.workspaces.sandbox.supervised import agent_uid
from crewcap.workspaces.sandbox.uids import FIRST, is_root


def test_no_run_is_ever_root() -> None:
    """What is left of a run is killed by its user, all at once: root's would be the whole machine."""
    if not is_root():
        assert agent_uid(0) is None
        return
    with pytest.raises(InternalError, match="started as root"):
        agent_uid(0)
    assert agent_uid(FIRST) == FIRST
