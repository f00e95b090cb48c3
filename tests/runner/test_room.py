"""What a run needs of the disk before it starts."""

from __future__ import annotations

from pathlib import Path

from crewcap.home import Home
from crewcap.runner.room import free_bytes, room, shown


def test_room_is_looked_for_where_the_state_directory_will_lie(tmp_path: Path) -> None:
    home = Home(tmp_path / "not" / "made" / "yet")
    assert free_bytes(home) > 0
    assert room(home, floor_bytes=1) == ""
    assert not home.root.exists()


def test_below_the_floor_there_is_a_reason_with_both_figures(tmp_path: Path) -> None:
    home = Home(tmp_path)
    floor = free_bytes(home) * 2
    assert room(home, floor_bytes=floor).endswith(
        f"are free in {tmp_path}; at least {shown(floor)} are needed to start"
    )


def test_sizes_are_short() -> None:
    assert [shown(size) for size in (0, 64 << 20, 3 << 29, 77 << 30)] == ["0 MiB", "64 MiB", "1.5 GiB", "77.0 GiB"]
