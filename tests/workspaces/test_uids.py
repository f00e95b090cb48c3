"""Users of runs: one of its own for each living run of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewcap.workspaces.uids import is_root, lease

needs_root = pytest.mark.skipif(not is_root(), reason="only root can give runs users of their own")


@needs_root
def test_two_homes_never_give_one_user_to_two_living_runs(tmp_path: Path) -> None:
    """What ends a run may end everything of its user, also where the other run is another home's."""
    first, second = lease(tmp_path / "one"), lease(tmp_path / "other")
    try:
        assert first.uid != second.uid
    finally:
        first.release()
        second.release()
