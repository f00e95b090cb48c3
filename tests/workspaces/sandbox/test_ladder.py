"""Nothing slides down by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import LADDER, Confined, Layout, Rung, Sandbox
from crewcap.workspaces.sandbox.child import ConfinedChild
from crewcap.workspaces.sandbox.ladder import choose, probe_all, strongest
from crewcap.workspaces.sandbox.uids import is_root


@dataclass
class FakeSandbox:
    """A rung of which only the word about it matters."""

    rung: Rung
    why: str
    loses: tuple[str, ...] = ()

    def missing(self) -> str:
        return self.why

    def layout(self, *, workspace: Path, home: Path, objects: Path, binary: Path) -> Layout:
        raise NotImplementedError

    def prepare(self, *, uid: int, owned: tuple[Path, ...]) -> None:
        raise NotImplementedError

    async def start(self, command: Confined, *, uid: int) -> ConfinedChild:
        raise NotImplementedError


def _machine(**missing: str) -> Mapping[Rung, Callable[[], Sandbox]]:
    """A machine on which these rungs are missing, for these reasons."""
    made: dict[Rung, Sandbox] = {rung: FakeSandbox(rung, missing.get(rung, "")) for rung in LADDER}
    return {rung: lambda rung=rung: made[rung] for rung in LADDER}  # type: ignore[misc]  # bound for each


def test_auto_takes_the_strongest_that_there_is() -> None:
    assert choose("auto", sandboxes=_machine()).rung == "bubblewrap"
    assert choose("auto", sandboxes=_machine(bubblewrap="no")).rung == "landlock"


def test_auto_never_takes_the_one_without_a_wall() -> None:
    """It is refused, with every reason and the word that accepts the loss."""
    with pytest.raises(UnsafeEnvironment) as refused:
        choose("auto", sandboxes=_machine(bubblewrap="no namespaces: do this", landlock="old kernel"))
    assert "bubblewrap: no namespaces: do this. landlock: old kernel" in refused.value.message
    assert "--sandbox unconfined" in refused.value.help


def test_what_was_asked_for_is_not_replaced() -> None:
    with pytest.raises(UnsafeEnvironment, match="the bubblewrap sandbox cannot be had here: no"):
        choose("bubblewrap", sandboxes=_machine(bubblewrap="no"))
    assert choose("unconfined", sandboxes=_machine()).rung == "unconfined"


def test_the_demo_takes_what_there_is() -> None:
    assert strongest(sandboxes=_machine()).rung == "bubblewrap"
    assert strongest(sandboxes=_machine(bubblewrap="no", landlock="no")).rung == "unconfined"


def test_every_rung_is_told_with_what_it_loses() -> None:
    tried = probe_all(sandboxes=_machine(landlock="old"))
    assert [(one.rung, one.missing) for one in tried] == [("bubblewrap", ""), ("landlock", "old"), ("unconfined", "")]


def test_the_real_rungs_say_what_they_give_up() -> None:
    losses = {one.rung: one.loses for one in probe_all()}
    assert losses["bubblewrap"] == ()
    assert len(losses["landlock"]) >= 4
    assert len(losses["unconfined"]) >= 4


@pytest.mark.skipif(not is_root(), reason="a plain user walks where it lives")
def test_as_root_landlock_needs_a_state_directory_that_another_user_can_reach() -> None:
    """The agent is another user then, and Landlock keeps the real paths."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        no_bubblewrap = _machine(bubblewrap="no")
        with pytest.raises(UnsafeEnvironment, match=f"may not pass through {folder}"):
            choose("auto", state=state, sandboxes=no_bubblewrap)
        Path(folder).chmod(0o711)
        for made in (state, state / "mirrors"):
            with pytest.raises(UnsafeEnvironment, match="install -d -m 711"):
                choose("auto", state=state, sandboxes=no_bubblewrap)
            made.mkdir(mode=0o711)
        assert choose("auto", state=state, sandboxes=no_bubblewrap).rung == "landlock"
