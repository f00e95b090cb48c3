"""Control groups: where one can be had on which machine, tried on trees of plain files; and a real one where we may."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from crewcap.workspaces import Limits
from crewcap.workspaces.sandbox.cgroups import Cage, Tree, make_cage, this_machine
from crewcap.workspaces.sandbox.systemd_scope import Scope

ASKED = Limits(memory_bytes=64 << 20, cpus=2, processes=10)
V2_FILES = {
    "memory": ("memory.max", "memory.swap.max", "memory.events"),
    "cpu": ("cpu.max",),
    "pids": ("pids.max", "pids.events"),
}
V1_FILES = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"),
    "cpu": ("cpu.cfs_period_us", "cpu.cfs_quota_us"),
    "pids": ("pids.max", "pids.events"),
}


@dataclass
class FakeKernel:
    """Plain folders in which a new group gets the files that the kernel would put there."""

    top: Path
    made: list[Path] = field(default_factory=list)

    def unified(self, group: str, *, controllers: str, switched_on: str = "", processes: str = "") -> Path:
        """A group of the v2 tree."""
        folder = self.top / group.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "cgroup.controllers": controllers,
            "cgroup.subtree_control": switched_on,
            "cgroup.procs": processes,
            "cgroup.kill": "",
        }
        for name, text in texts.items():
            (folder / name).write_text(text)
        return folder

    def make(self, folder: Path) -> None:
        """As mkdir does in such a tree: files for the controllers that the parent has switched on."""
        folder.mkdir()
        self.made.append(folder)
        for name in ("cgroup.procs", "cgroup.kill", "cgroup.subtree_control"):
            (folder / name).touch()
        for controller in (folder.parent / "cgroup.subtree_control").read_text().split():
            for name in V2_FILES[controller]:
                (folder / name).write_text("max")

    def order(self, path: Path, text: str) -> None:
        """As the kernel takes it: a controller more, where the group has no processes; a process moved here."""
        if path.name == "cgroup.procs":
            for other in self.top.rglob("cgroup.procs"):
                other.write_text("".join(f"{pid}\n" for pid in other.read_text().split() if pid != text))
            path.write_text(f"{path.read_text()}{text}\n")
        elif path.parent != self.top and (path.parent / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, "processes in an inner group")
        else:
            path.write_text(f"{path.read_text()} {text.lstrip('+')}")

    def make_legacy(self, folder: Path) -> None:
        """The same in a v1 tree, whose name is its controller's."""
        folder.mkdir()
        self.made.append(folder)
        (folder / "cgroup.procs").touch()
        for name in V1_FILES[folder.parent.name]:
            (folder / name).write_text("max")

    def tree(self, own: str, *, is_managed: bool = False) -> Tree:
        """A machine with the v2 tree alone, of which `own` is our group."""
        return Tree(
            mounts=(("cgroup2", self.top, "/", ("rw",)),),
            own={"": own},
            is_managed=is_managed,
            make_folder=self.make,
            order=self.order,
        )


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    return FakeKernel(tmp_path / "cgroup")


def _texts(cage: Cage | None) -> Mapping[str, str]:
    """What stands in a cage's files."""
    assert cage is not None
    paths = (path for folder in cage.folders for path in folder.iterdir())
    return {path.name: path.read_text() for path in paths if path.name.partition(".")[0] in {"memory", "cpu", "pids"}}


def test_a_tree_that_nobody_manages_has_its_controllers_switched_on(kernel: FakeKernel) -> None:
    top = kernel.unified("/", controllers="cpu memory pids")
    cage = make_cage(ASKED, kernel.tree("/"))
    assert cage is not None
    assert set(cage.enforced) == {"memory", "cpus", "processes"}
    assert cage.folders[0].parent == top
    texts = _texts(cage)
    assert (texts["memory.max"], texts["memory.swap.max"]) == (str(64 << 20), "0")
    assert texts["cpu.max"] == "200000 100000"
    assert texts["pids.max"] == "10"


def test_where_systemd_manages_the_tree_nothing_is_switched_on_behind_its_back(kernel: FakeKernel) -> None:
    """What is on already may be used; the rest is left, and said."""
    kernel.unified("/", controllers="cpu memory pids", switched_on="memory pids")
    slice_ = kernel.unified("/user.slice", controllers="memory pids", switched_on="memory pids")
    kernel.unified("/user.slice/ours.scope", controllers="memory pids", processes="1")
    cage = make_cage(ASKED, kernel.tree("/user.slice/ours.scope", is_managed=True))
    assert cage is not None
    assert cage.folders[0].parent == slice_
    assert cage.enforced == ("memory", "processes")
    assert (slice_ / "cgroup.subtree_control").read_text() == "memory pids"
    assert (kernel.top / "cgroup.subtree_control").read_text() == "memory pids"


def test_what_was_delegated_to_us_is_ours_to_arrange(kernel: FakeKernel) -> None:
    """A group with processes may not have children with controllers: ours move into a leaf first."""
    kernel.unified("/", controllers="cpu memory pids", switched_on="memory pids")
    service = kernel.unified("/crewcap.service", controllers="cpu memory pids", processes="71\n72\n")
    try:
        os.setxattr(service, "user.delegate", b"1")
    except OSError:
        pytest.skip("the file system of temporary folders has no extended attributes")
    cage = make_cage(ASKED, kernel.tree("/crewcap.service", is_managed=True))
    assert cage is not None
    assert cage.folders[0].parent == service
    assert set(cage.enforced) == {"memory", "cpus", "processes"}
    assert (service / "crewcap-itself/cgroup.procs").read_text().split() == ["71", "72"]


def test_in_a_container_our_own_group_is_looked_for_below_what_is_mounted(kernel: FakeKernel) -> None:
    """The kernel names the group from the host's point of view; only a part of that tree is mounted."""
    kernel.unified("/job", controllers="memory pids", switched_on="memory pids")
    tree = Tree(
        mounts=(("cgroup2", kernel.top, "/docker/abc", ("rw",)),),
        own={"": "/docker/abc/job"},
        is_managed=False,
        make_folder=kernel.make,
    )
    assert list(tree.places("cgroup2")) == [(kernel.top, kernel.top / "job")]
    cage = make_cage(Limits(processes=10), tree)
    assert cage is not None
    assert cage.folders[0].parent == kernel.top / "job"


def test_a_tree_without_controllers_gives_none(kernel: FakeKernel) -> None:
    """As on machines that mount v2 beside v1."""
    kernel.unified("/", controllers="")
    assert make_cage(ASKED, kernel.tree("/")) is None
    assert kernel.made == []


def test_the_older_trees_are_used_each_for_its_controller(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path)
    for name in V1_FILES:
        (tmp_path / name / "job").mkdir(parents=True) if name == "cpu" else (tmp_path / name).mkdir()
    mounts = tuple(("cgroup", tmp_path / name, "/", ("rw", name)) for name in V1_FILES)
    own = {"memory": "/", "pids": "/", "cpu": "/gone"}
    tree = Tree(mounts=mounts, own=own, is_managed=False, make_folder=kernel.make_legacy)
    cage = make_cage(ASKED, tree)
    assert cage is not None
    assert set(cage.enforced) == {"memory", "cpus", "processes"}
    texts = _texts(cage)
    assert texts["memory.limit_in_bytes"] == texts["memory.memsw.limit_in_bytes"] == str(64 << 20)
    assert (texts["cpu.cfs_period_us"], texts["cpu.cfs_quota_us"]) == ("100000", "200000")


def test_a_limit_that_the_kernel_did_not_take_is_not_called_enforced(tmp_path: Path) -> None:
    """What was written is read again."""
    (tmp_path / "pids").mkdir()

    def deaf(folder: Path) -> None:
        folder.mkdir()
        (folder / "pids.max").symlink_to("/dev/null")

    tree = Tree(mounts=(("cgroup", tmp_path / "pids", "/", ("pids",)),), own={}, is_managed=False, make_folder=deaf)
    assert make_cage(Limits(memory_bytes=None, processes=5), tree) is None


def test_what_a_group_counted_is_read_in_both_spellings(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
    (new / "memory.events").write_text("low 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 7\n")
    (old / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    (old / "pids.events").write_text("max 12\n")
    cage = Cage(folders=(new, old), enforced=())
    assert (cage.ended_for_memory(), cage.refused_processes()) == (3, 12)


def test_what_is_not_limited_needs_no_group() -> None:
    assert make_cage(Limits(memory_bytes=None, processes=None)) is None


@pytest.fixture
def cage() -> Cage:
    """A control group of ours."""
    made = make_cage(Limits(memory_bytes=64 << 20, processes=10))
    if made is None:
        pytest.skip("no control group can be made here")
    return made


def test_a_cage_takes_a_process_in_and_ends_it(cage: Cage) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert cage.add(process.pid)
        cage.kill()
        assert process.wait(10) == -9
    assert cage.ended_for_memory() == 0
    cage.remove()
    assert not any(folder.exists() for folder in cage.folders)


def test_what_a_killed_crewcap_left_is_ended_and_swept_by_the_next(cage: Cage) -> None:
    """A group's name says whose it is, and in which process namespace that number counts."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    _, _, namespace, _ = cage.folders[0].name.split("-")
    names = {
        "theirs": f"crewcap-{process.pid}-{namespace}-dead",
        "ours": f"crewcap-{os.getpid()}-{namespace}-live",
        "elsewhere": f"crewcap-{process.pid}-1-live",
    }
    groups = {whose: [folder.with_name(name) for folder in cage.folders] for whose, name in names.items()}
    for folder in (folder for folders in groups.values() for folder in folders):
        folder.mkdir()
    with subprocess.Popen(["sleep", "60"]) as left:
        assert Cage(folders=tuple(groups["theirs"]), enforced=()).add(left.pid)
        for _ in range(2):  # what was ended may be gone only at the next look
            again = make_cage(Limits())
            assert again is not None
            again.remove()
            assert left.wait(10) == -9
    assert not any(folder.exists() for folder in groups["theirs"])
    for folder in (*groups["ours"], *groups["elsewhere"]):
        folder.rmdir()  # they are still there
    cage.remove()


def test_a_process_that_cannot_be_taken_in_is_said(tmp_path: Path) -> None:
    assert not Cage(folders=(tmp_path / "nowhere",), enforced=()).add(1)


def test_this_machine_can_be_read() -> None:
    assert all(where.is_absolute() for _, where, _, _ in this_machine().mounts)


class TestAScopeOfSystemd:
    """What is asked of it; there is none in tests."""

    def test_it_is_asked_for_every_limit_around_the_waiting_process(self) -> None:
        words = Scope.asked({"memory": 64, "cpu": 2, "pids": 10}, busctl="busctl").words(71)
        whose = "--system" if os.geteuid() == 0 else "--user"
        assert words[:3] == ["busctl", whose, "call"]
        assert words[6:8] == ["StartTransientUnit", "ssa(sv)a(sa(sv))"]
        assert " ".join(words[9:]) == (
            "fail 6 PIDs au 1 71 Delegate b true MemoryMax t 64 MemorySwapMax t 0"
            " CPUQuotaPerSecUSec t 2000000 TasksMax t 10 0"
        )

    @pytest.mark.parametrize("busctl", ["false", "/no/such/busctl"])
    def test_a_manager_that_refuses_leaves_the_process_where_it_is(self, busctl: str) -> None:
        assert not Scope.asked({"pids": 10}, busctl=busctl).add(os.getpid())

    def test_a_manager_is_asked_only_for_what_cannot_be_had_without_it(self, kernel: FakeKernel) -> None:
        """And when it refuses, what there is holds."""
        kernel.unified("/", controllers="cpu memory pids", switched_on="memory pids")
        tree = replace(kernel.tree("/", is_managed=True), busctl="false")
        assert not isinstance(make_cage(Limits(), tree), Scope)
        cage = make_cage(ASKED, tree)
        assert isinstance(cage, Scope)
        assert cage.add(71)
        assert cage.enforced == ("memory", "processes")
        assert (cage.folders[0] / "cgroup.procs").read_text() == "71"
