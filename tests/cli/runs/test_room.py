"""The refusal to begin on a disk that is too full."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewcap.cli.runs.room import require_room
from crewcap.errors import UnsafeEnvironment
from crewcap.home import Home


def test_nothing_begins_below_the_floor_and_the_refusal_says_what_to_do(tmp_path: Path) -> None:
    home = Home(tmp_path)
    require_room(home, floor_bytes=1)
    with pytest.raises(UnsafeEnvironment, match=r"only .* are free in .*; at least 1048576.0 GiB") as refused:
        require_room(home, floor_bytes=1 << 50)
    assert "--home DIR" in refused.value.help
