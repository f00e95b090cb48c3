"""What the last rung does as root, where its own users cannot come as far as they must."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.contracts.sandboxes import ground, missing

from crewcap.workspaces import Mount
from crewcap.workspaces.sandbox.uids import is_root

pytestmark = pytest.mark.sandbox


@pytest.mark.skipif(not is_root(), reason="a plain user owns what it makes")
@pytest.mark.parametrize("is_closed", [True, False])
def test_who_works_in_a_folder_owns_it(is_closed: bool) -> None:  # noqa: FBT001  (a parameter)
    """Git refuses to work in a folder that belongs to somebody else."""
    if reason := missing("unconfined"):
        pytest.skip(f"no unconfined here: {reason}")
    with ground("unconfined") as run:
        apart = run.root.parent.parent / "apart"
        (apart / "objects").mkdir(parents=True)
        apart.chmod(0o700 if is_closed else 0o711)
        (run.workspace / "file").touch()
        run.sandbox.prepare(uid=run.uid, owned=(run.workspace, run.home))
        command = run.command("/bin/sh", "-c", "id -u; stat -c %u . file")
        shown = Mount(source=apart / "objects", target=str(apart / "objects"))
        done = run.perform(replace(command, mounts=(*command.mounts, shown)))
    user = "0" if is_closed else str(run.uid)
    assert done.stdout.split() == [user] * 3
