"""What a run needs of the disk before it starts."""

from __future__ import annotations

from pathlib import Path

from crewcap.cli.room import free_bytes, require_room, shown
from crewcap.home import Home


def test_room_is_looked_for_where_the_state_directory_will_lie(tmp_path: Path) -> None:
    home = Home(tmp_path / "not" / "made" / "yet")
    assert free_bytes(home) > 0
    require_room(home)
    assert not home.root.exists()


def test_sizes_are_short() -> None:
    assert [shown(size) for size in (0, 64 << 20, 3 << 29, 77 << 30)] == ["0 MiB", "64 MiB", "1.5 GiB", "77.0 GiB"]
