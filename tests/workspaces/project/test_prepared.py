"""Prepared trees: kept whole or not at all, lent as a run's own, and never seen by anybody else."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contracts.sandboxes import PYTHON, Ground, ground, missing

from crewcap.workspaces.project.prepared import Before, Kept, Lent, NotLent, PreparedTrees, Recipe, Swept, look
from crewcap.workspaces.sandbox.uids import is_root

KEY = "shop-1/abc"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


class Run:
    """A run's two folders, with a small project checked out."""

    def __init__(self, folder: Path) -> None:
        self.workspace, self.home = folder / "workspace", folder / "home"
        self.home.mkdir(parents=True)
        (self.workspace / ".git").mkdir(parents=True)
        (self.workspace / ".git" / "config").write_text("[core]\n")
        (self.workspace / "package.json").write_text("{}")
        (self.workspace / "src").mkdir()
        (self.workspace / "src" / "main.js").write_text("1")
        self.before: Before = look(self.workspace)

    def write(self, path: str, content: str | bytes = "x", *, home: bool = False) -> Path:
        """What a setup makes."""
        place = (self.home if home else self.workspace) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def keep(self, trees: PreparedTrees, key: str = KEY) -> Kept:
        return trees.keep(key, workspace=self.workspace, home=self.home, before=self.before)

    def lend(self, trees: PreparedTrees, key: str = KEY, *, disk_bytes: int | None = None) -> Lent | NotLent:
        return trees.lend(key, workspace=self.workspace, home=self.home, uid=os.geteuid(), disk_bytes=disk_bytes)

    def names(self) -> set[str]:
        """Everything but folders, in both places."""
        return {
            str(path.relative_to(self.workspace.parent))
            for path in self.workspace.parent.rglob("*")
            if path.is_symlink() or not path.is_dir()
        } - {"workspace/package.json", "workspace/src/main.js", "workspace/.git/config"}


@pytest.fixture
def trees(tmp_path: Path) -> PreparedTrees:
    return PreparedTrees(tmp_path / "prepared", Clock())


@pytest.fixture
def one(tmp_path: Path) -> Run:
    return Run(tmp_path / "runs" / "one")


@pytest.fixture
def two(tmp_path: Path) -> Run:
    return Run(tmp_path / "runs" / "two")


class TestWhatIsKept:
    def test_a_second_run_gets_what_the_first_ones_setup_made(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        one.write("node_modules/left-pad/index.js", "pad")
        one.write("src/generated.js", "made")
        one.write(".cache/uv/wheel", "w", home=True)
        kept = one.keep(trees)
        assert (kept.files, kept.reason, kept.said) == (3, "", ())
        assert two.lend(trees) == Lent(files=3, bytes=kept.bytes)
        assert two.names() == one.names()
        assert (two.workspace / "node_modules/left-pad/index.js").read_text() == "pad"

    def test_modes_times_links_and_empty_folders_come_along(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        """Python takes its compiled files only where the time of the source is the one that they name."""
        program = one.write("node_modules/.bin/tool")
        program.chmod(0o755)
        os.utime(program, ns=(1_700_000_000_123_456_789,) * 2)
        (one.workspace / "node_modules/link").symlink_to(".bin/tool")
        (one.workspace / "empty").mkdir()
        one.keep(trees)
        two.lend(trees)
        copy = two.workspace / "node_modules/.bin/tool"
        assert (stat.S_IMODE(copy.stat().st_mode), copy.stat().st_mtime_ns) == (0o755, 1_700_000_000_123_456_789)
        assert (two.workspace / "node_modules/link").readlink() == Path(".bin/tool")
        assert (two.workspace / "empty").is_dir()

    def test_the_copy_is_a_copy(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        """Through a hard link an agent would write into the tree of the next run."""
        source = one.write("node_modules/a", "a")
        os.link(source, one.workspace / "node_modules/b")
        one.keep(trees)
        two.lend(trees)
        copies = [two.workspace / "node_modules" / name for name in "ab"]
        assert [copy.read_text() for copy in copies] == ["a", "a"]
        assert {copy.stat().st_nlink for copy in copies} == {1}
        assert copies[0].stat().st_ino != source.stat().st_ino

    def test_git_the_project_and_included_files_are_not_part_of_it(self, trees: PreparedTrees, one: Run) -> None:
        one.write(".env", "SECRET=1")
        one.before = look(one.workspace)
        one.write(".git/hooks/pre-commit", "evil")
        assert one.keep(trees).files == 0

    def test_changes_of_what_was_there_before_are_said_and_not_kept(
        self, trees: PreparedTrees, one: Run, two: Run
    ) -> None:
        one.write("package.json", "{ }")
        (one.workspace / "src/main.js").unlink()
        one.write("node_modules/a")
        kept = one.keep(trees)
        assert kept.said == (
            "setup changed 'package.json', 'src/main.js', which a later run that reuses its tree will not see",
        )
        two.lend(trees)
        assert (two.workspace / "package.json").read_text() == "{}"

    def test_of_the_home_only_caches_are_kept(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        """A setup must not steer programs that it does not start itself."""
        for path in (".claude/settings.json", ".gitconfig", ".config/x", ".profile", ".npmrc", ".local/state/x"):
            one.write(path, home=True)
        for path in (".cache/pip/http/x", ".npm/_logs/x", ".cargo/config.toml", ".cargo/credentials.toml"):
            one.write(path, home=True)
        wanted = (".cache/uv/x", ".cargo/registry/x", ".local/lib/python3/x.py", "go/pkg/mod/x", ".npm/_cacache/x")
        for path in wanted:
            one.write(path, home=True)
        one.keep(trees)
        two.lend(trees)
        assert two.names() == {f"home/{path}" for path in wanted}

    def test_what_was_made_from_a_manifest_is_newer_than_it(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        """`make` would otherwise install again, without a network."""
        one.write("node_modules/.stamp")
        one.keep(trees)
        os.utime(two.workspace / "package.json")
        two.lend(trees)
        manifest, stamp = two.workspace / "package.json", two.workspace / "node_modules/.stamp"
        assert manifest.stat().st_mtime_ns <= stamp.stat().st_mtime_ns

    def test_what_is_there_already_wins(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        one.write("dist/a", "old")
        one.write("dist/b", "old")
        one.keep(trees)
        two.write("dist/a", "mine")
        lent = two.lend(trees)
        assert isinstance(lent, Lent)
        assert (lent.files, lent.left_out) == (1, 1)
        assert (two.workspace / "dist/a").read_text() == "mine"

    @pytest.mark.skipif(not is_root(), reason="only root can give files away")
    def test_it_belongs_to_the_runs_user(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        one.write("node_modules/a")
        (one.workspace / "node_modules/link").symlink_to("/etc/passwd")
        one.keep(trees)
        trees.lend(KEY, workspace=two.workspace, home=two.home, uid=61_077)
        below = two.workspace / "node_modules"
        assert {os.lstat(path).st_uid for path in (below, below / "a", below / "link")} == {61_077}
        assert Path("/etc/passwd").stat().st_uid == 0


class TestAHostileSetup:
    def test_nothing_is_followed_opened_or_waited_for(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        secret = one.workspace.parent / "secret"
        secret.write_text("sk-ant-fake-canary")
        out = one.workspace / "out"
        out.mkdir()
        (out / "file").symlink_to(secret)
        (out / "folder").symlink_to(one.workspace.parent)
        os.mkfifo(out / "fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(out / "socket"))
        kept = one.keep(trees)
        assert kept.said == (
            "of what setup left, 'out/fifo', 'out/socket' is not kept: no plain file, unreadable, or too deep",
        )
        two.lend(trees)
        assert (two.workspace / "out/file").readlink() == secret
        assert b"canary" not in _only(trees).read_bytes()

    def test_no_mode_gives_rights(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        one.write("tool").chmod(0o6755)
        (one.workspace / "shared").mkdir()
        (one.workspace / "shared").chmod(0o3777)
        one.keep(trees)
        two.lend(trees)
        assert stat.S_IMODE((two.workspace / "tool").stat().st_mode) == 0o755
        assert stat.S_IMODE((two.workspace / "shared").stat().st_mode) == 0o777

    def test_odd_names_come_back_as_they_were(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        names = ["new\nline", "-rf", "…", "' \"$(id)", "a" * 255, os.fsdecode(b"\xff\xfe")]
        for name in names:
            one.write(f"odd/{name}", name.encode("utf-8", "surrogateescape"))
        one.keep(trees)
        two.lend(trees)
        assert sorted(path.name for path in (two.workspace / "odd").iterdir()) == sorted(names)

    def test_a_file_of_holes_costs_what_it_holds(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        sparse = one.write("data.mdb", b"head")
        with sparse.open("r+b") as file:
            file.seek(1 << 30)
            file.write(b"tail")
            file.truncate(3 << 30)
        assert one.keep(trees).bytes < 1 << 20
        two.lend(trees)
        copy = two.workspace / "data.mdb"
        assert (copy.stat().st_size, copy.stat().st_blocks * 512 < 1 << 20) == (3 << 30, True)
        with copy.open("rb") as file:
            assert file.read(4) == b"head"
            file.seek(1 << 30)
            assert file.read(4) == b"tail"

    def test_folders_without_end_are_left_out(self, trees: PreparedTrees, one: Run) -> None:
        at = os.open(one.workspace, os.O_RDONLY)
        for _ in range(400):
            os.mkdir("d", dir_fd=at)
            deeper = os.open("d", os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = deeper
        os.close(at)
        kept = one.keep(trees)
        assert "too deep" in kept.said[0]
        shutil.rmtree(one.workspace)

    @pytest.mark.skipif(is_root(), reason="root reads everything")
    def test_what_cannot_be_read_is_said(self, trees: PreparedTrees, one: Run) -> None:
        one.write("closed/file").parent.chmod(0)
        one.write("secret").chmod(0)
        assert "'closed', 'secret'" in one.keep(trees).said[0]
        (one.workspace / "closed").chmod(0o700)

    def test_a_project_whose_folder_is_a_link_now_leads_nobody_out(
        self, trees: PreparedTrees, one: Run, two: Run
    ) -> None:
        """The base commit of the later run may be a stranger's."""
        one.write("vendor/lib/a", "a")
        one.write("vendor/b", "b")
        one.keep(trees)
        outside = two.workspace.parent / "outside"
        outside.mkdir()
        (two.workspace / "vendor").symlink_to(outside)
        lent = two.lend(trees)
        assert isinstance(lent, Lent)
        assert (lent.files, lent.left_out, list(outside.iterdir())) == (0, 2, [])

    def test_more_than_fits_is_not_kept_and_leaves_nothing(self, tmp_path: Path, one: Run) -> None:
        trees = PreparedTrees(tmp_path / "prepared", Clock(), most_bytes=1 << 20)
        one.write("big", os.urandom(2 << 20))
        assert one.keep(trees).reason == "the tree that setup made is not kept: it has more than 1 MiB"
        assert list((tmp_path / "prepared").rglob("*.*")) == []


class TestOneFileOrNone:
    def test_a_tree_with_paths_that_no_other_run_has_is_of_no_use(self, trees: PreparedTrees, one: Run) -> None:
        """Landlock keeps the machine's own paths, and virtual environments name them."""
        recipe = Recipe(repository="shop-1", tracked={}, setup="npm ci", workspace="/workspace", home="/home/agent")
        assert trees.key(recipe)
        key = trees.key(replace(recipe, workspace=str(one.workspace)))
        assert (key, one.lend(trees, key)) == ("", NotLent())
        assert "paths of its own" in one.keep(trees, key).reason

    def test_there_is_none_at_first(self, trees: PreparedTrees, one: Run) -> None:
        assert one.lend(trees) == NotLent()

    @pytest.mark.parametrize("at", [0, 100, -1, -20, -45, -200])
    def test_a_damaged_tree_is_thrown_away(self, trees: PreparedTrees, one: Run, two: Run, at: int) -> None:
        one.write("node_modules/a", os.urandom(500))
        one.keep(trees)
        content = bytearray(_only(trees).read_bytes())
        content[at] ^= 1
        _only(trees).write_bytes(content)
        lent = two.lend(trees)
        assert isinstance(lent, NotLent)
        assert "damaged" in lent.reason
        assert (two.names(), two.lend(trees)) == (set(), NotLent())

    @pytest.mark.parametrize("size", [0, 1, 31, 70, 300])
    def test_so_is_one_that_is_cut_short(self, trees: PreparedTrees, one: Run, two: Run, size: int) -> None:
        one.write("node_modules/a", os.urandom(500))
        one.keep(trees)
        os.truncate(_only(trees), size)
        assert isinstance(two.lend(trees), NotLent)
        assert two.names() == set()

    def test_what_could_not_be_finished_is_taken_back(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        """Setup will run in these folders next, and must find them as they were."""
        one.write("node_modules/a/b")
        one.write(".cache/uv/x", home=True)
        one.keep(trees)
        shutil.rmtree(two.home)
        lent = two.lend(trees)
        assert isinstance(lent, NotLent)
        assert lent.reason == "the prepared tree could not be copied: No such file or directory"
        assert not (two.workspace / "node_modules").exists()

    def test_one_that_is_bigger_than_the_run_may_use_is_not_lent(
        self, trees: PreparedTrees, one: Run, two: Run
    ) -> None:
        one.write("big", os.urandom(3 << 20))
        one.keep(trees)
        assert two.lend(trees, disk_bytes=1 << 20) == NotLent(
            reason="the prepared tree (3 MB) is bigger than `disk` allows"
        )

    def test_a_killed_writer_leaves_nothing_that_is_used(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        for number in range(40):
            one.write(f"node_modules/{number}", bytes(1 << 20))
        writer = multiprocessing.get_context("fork").Process(target=one.keep, args=(trees,))
        writer.start()
        while not (left := [path for path in trees._folder.rglob("*.new") if path.stat().st_size]):
            assert writer.is_alive()
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(20)
        assert (writer.exitcode, [path.exists() for path in left]) == (-signal.SIGKILL, [True])
        assert two.lend(trees) == NotLent()
        size = left[0].stat().st_size
        assert trees.sweep(1 << 40) == Swept(bytes=size)
        assert not left[0].exists()

    def test_two_writers_at_once_leave_one_whole_tree(self, trees: PreparedTrees, one: Run, two: Run) -> None:
        for run in (one, two):
            for number in range(200):
                run.write(f"node_modules/{number}", str(number))
        context = multiprocessing.get_context("fork")
        writers = [context.Process(target=run.keep, args=(trees,)) for run in (one, two) for _ in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(30)
        assert [writer.exitcode for writer in writers] == [0] * 4
        assert [path.suffix for path in trees._folder.rglob("*") if path.is_file()] == [".tree"]
        fresh = Run(one.workspace.parent.parent / "three")
        assert fresh.lend(trees) == Lent(files=200, bytes=sum(len(str(n)) for n in range(200)))


class TestCleaningUp:
    def test_the_longest_unused_go_first(self, trees: PreparedTrees, one: Run, tmp_path: Path) -> None:
        one.write("big", os.urandom(1 << 20))
        for key in ("a", "b", "c"):
            one.keep(trees, f"shop-1/{key}")
        for number, key in enumerate(("b", "c", "a", "b")):
            assert isinstance(Run(tmp_path / f"run-{number}").lend(trees, f"shop-1/{key}"), Lent)
        swept = trees.sweep(int(2.5 * (1 << 20)))
        assert (swept.trees, swept.bytes >> 20, swept.in_use) == (1, 1, 0)
        assert sorted(path.stem for path in trees._folder.glob("*/*")) == ["a", "b"]

    def test_keeping_makes_room_by_itself_and_says_so(self, tmp_path: Path, one: Run) -> None:
        trees = PreparedTrees(tmp_path / "prepared", Clock(), room_bytes=int(1.5 * (1 << 20)))
        one.write("big", os.urandom(1 << 20))
        assert one.keep(trees, "shop-1/a").said == ()
        os.utime(_only(trees), (0, 0))
        assert one.keep(trees, "shop-1/b").said == ("1 MB freed: a prepared tree that had not been used for longest",)
        assert _only(trees).stem == "b"

    def test_one_that_is_forgotten_is_made_anew_and_can_be_kept_again(
        self, trees: PreparedTrees, one: Run, two: Run
    ) -> None:
        for name in ("old", "new"):
            trees.forget(KEY)
            assert two.lend(trees) == NotLent()
            one.write("made", name)
            one.keep(trees)
        two.lend(trees)
        assert (two.workspace / "made").read_text() == "new"
        trees.forget("")

    def test_one_that_is_being_lent_stays(self, trees: PreparedTrees, one: Run) -> None:
        one.write("a")
        one.keep(trees)
        with _only(trees).open("rb") as reader:
            fcntl.flock(reader, fcntl.LOCK_SH)
            assert trees.sweep(0) == Swept(in_use=1)
        assert trees.sweep(0).trees == 1
        assert list(trees._folder.glob("*/*")) == []

    def test_where_there_is_nothing_nothing_is_freed(self, trees: PreparedTrees) -> None:
        assert trees.sweep(0) == Swept()


HOSTILE = """
import os, sys
for top in sys.argv[1:]:
    for folder, folders, files in os.walk(top):
        if '.git' in folder.split('/'): continue
        for name in files:
            path = os.path.join(folder, name)
            for way in ('r+b', 'wb'):
                try:
                    with open(path, way) as file: file.write(b'POISON')
                except OSError: pass
            try:
                os.chmod(path, 0o777); os.unlink(path)
                with open(path, 'wb') as file: file.write(b'POISON')
            except OSError as error: print('kept out of', path, error)
        try:
            with open(os.path.join(folder, 'planted.pth'), 'w') as file: file.write('import poison')
        except OSError as error: print('kept out of', folder, error)
"""


@pytest.fixture
def sandboxes() -> Iterator[tuple[Ground, Ground]]:
    if reason := missing("bubblewrap"):
        pytest.skip(f"bubblewrap: {reason}")
    with ground("bubblewrap") as first, ground("bubblewrap") as second:
        yield first, second


@pytest.mark.sandbox
def test_what_an_agent_writes_into_its_tree_no_other_run_sees(
    trees: PreparedTrees, one: Run, sandboxes: tuple[Ground, Ground]
) -> None:
    """T25: run A poisons everything that it was lent, and every cache; run B has what setup made."""
    for number in range(5):
        one.write(f"node_modules/p{number}/index.js", f"clean {number}")
        one.write(f".cache/uv/{number}", f"clean {number}", home=True)
        one.write(f".local/lib/python3/site-packages/{number}.py", f"clean {number}", home=True)
    one.keep(trees)
    sealed = _only(trees).read_bytes()
    first, second = sandboxes
    for run in (first, second):
        assert isinstance(trees.lend(KEY, workspace=run.workspace, home=run.home, uid=run.uid), Lent)
        if run is first:
            done = run.perform(run.python(HOSTILE, run.layout.workspace, run.layout.home, "/tmp", "/var/tmp"))
            assert (done.status, done.stdout) == (0, "")  # its own copy it may ruin, all of it
            assert (run.workspace / "node_modules/p0/index.js").read_bytes() == b"POISON"
    seen = [path for top in (second.workspace, second.home) for path in top.rglob("*") if path.is_file()]
    assert len(seen) == 15
    assert all(path.read_text().startswith("clean") for path in seen)
    assert _only(trees).read_bytes() == sealed
    below = f"import os; print([p for p, _, _ in os.walk('/') if {str(trees._folder)!r} in p])"
    assert second.plain(PYTHON, "-I", "-c", below).stdout.strip() == "[]"


def test_cp_agrees_about_a_big_tree(trees: PreparedTrees, one: Run, two: Run) -> None:
    """What comes back is what `diff -r` calls equal."""
    for number in range(300):
        one.write(f"node_modules/{number % 7}/{number % 11}/{number}", os.urandom(number * 13 % 3_000))
    one.keep(trees)
    two.lend(trees)
    compared = ["diff", "-r", "--no-dereference", str(one.workspace), str(two.workspace)]
    assert subprocess.run(compared, capture_output=True, check=False).stdout == b""


def _only(trees: PreparedTrees) -> Path:
    (found,) = trees._folder.glob("*/*.tree")
    return found
