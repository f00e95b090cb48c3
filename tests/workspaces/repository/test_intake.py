"""What comes back from a run, in every state in which an agent can leave it; and what is never let in."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import zlib

import pytest
from tests.workspaces.planted import BAD_TREES, bad_tree, entry, write_object
from tests.workspaces.repos import PLAIN, Trip, git

from crewcap.workspaces.repository.review import Flag, NoChange, Returned, Spurned

FIXED = "def add(a, b):\n    return a + b\n"


def _returned(trip: Trip) -> Returned:
    came = trip.come_home()
    assert isinstance(came, Returned), came
    return came


def _content(trip: Trip, commit: str, path: str) -> str:
    return trip.mirror_git("cat-file", "blob", f"{commit}:{path}")


class TestHowAnAgentLeavesItsWork:
    """Each is an end state of its own, and none loses work."""

    def test_dirty(self, trip: Trip) -> None:
        (trip.folder / "adder.py").write_text(FIXED)
        (trip.folder / "test_adder.py").write_text("import adder\n")
        came = _returned(trip)
        assert (came.commits, came.files_changed, came.lines_added, came.lines_removed) == (1, 2, 2, 1)
        assert _content(trip, came.commit, "adder.py") == FIXED.strip()
        assert trip.mirror_git("log", "-1", "--format=%an %s", trip.branch) == "crewcap fix: the sum"

    def test_committed_by_itself(self, trip: Trip) -> None:
        (trip.folder / "adder.py").write_text(FIXED)
        git(trip.folder, "commit", "--quiet", "-am", "my own words")
        came = _returned(trip)
        assert came.commits == 1
        assert trip.mirror_git("log", "-1", "--format=%an %s", trip.branch) == "crewcap my own words"

    def test_committed_in_part(self, trip: Trip) -> None:
        (trip.folder / "adder.py").write_text(FIXED)
        git(trip.folder, "commit", "--quiet", "-am", "half")
        (trip.folder / "more").write_text("x")
        assert _returned(trip).commits == 2

    def test_nothing_at_all(self, trip: Trip) -> None:
        assert trip.harvest().bundle == b""
        assert trip.come_home() == NoChange()

    def test_changed_and_changed_back(self, trip: Trip) -> None:
        """Commits whose sum is nothing are no change."""
        git(trip.folder, "commit", "--quiet", "--allow-empty", "-m", "empty")
        assert trip.come_home() == NoChange()

    def test_ignored_files_only(self, trip: Trip) -> None:
        (trip.folder / ".git" / "info").mkdir(exist_ok=True)
        (trip.folder / ".git" / "info" / "exclude").write_text("*.log\n")
        (trip.folder / "a.log").write_text("x")
        assert trip.come_home() == NoChange()

    def test_on_another_branch(self, trip: Trip) -> None:
        git(trip.folder, "checkout", "--quiet", "-b", "my-idea")
        (trip.folder / "adder.py").write_text(FIXED)
        came = _returned(trip)
        assert came.branch == trip.branch
        assert _content(trip, came.commit, "adder.py") == FIXED.strip()

    def test_on_another_branch_and_back_again(self, trip: Trip) -> None:
        """HEAD is where it began, but the work is there."""
        git(trip.folder, "checkout", "--quiet", "-b", "my-idea")
        (trip.folder / "adder.py").write_text(FIXED)
        git(trip.folder, "commit", "--quiet", "-am", "done")
        git(trip.folder, "checkout", "--quiet", trip.branch)
        assert _returned(trip).lines_added == 1

    def test_on_two_branches(self, trip: Trip) -> None:
        """HEAD's is taken, and the other one is counted so that nobody is surprised."""
        git(trip.folder, "checkout", "--quiet", "-b", "attempt")
        git(trip.folder, "commit", "--quiet", "--allow-empty", "-m", "attempt")
        git(trip.folder, "checkout", "--quiet", trip.branch)
        (trip.folder / "adder.py").write_text(FIXED)
        assert _returned(trip).left_behind == 1

    def test_its_branch_deleted(self, trip: Trip) -> None:
        (trip.folder / "adder.py").write_text(FIXED)
        git(trip.folder, "commit", "--quiet", "-am", "done")
        git(trip.folder, "checkout", "--quiet", "--detach")
        git(trip.folder, "branch", "-D", trip.branch)
        assert _returned(trip).commits == 1

    def test_history_rewritten(self, trip: Trip) -> None:
        """Its files become one commit on top of the base; what it had is kept under a name of its own."""
        (trip.folder / "adder.py").write_text(FIXED)
        git(trip.folder, "commit", "--quiet", "-a", "--amend", "-m", "I was first")
        came = _returned(trip)
        assert came.rewrote_history
        assert came.commits == 1
        assert trip.mirror_git("merge-base", "--is-ancestor", trip.base.commit, came.commit) == ""
        assert _content(trip, came.commit, "adder.py") == FIXED.strip()
        assert trip.mirror_git("for-each-ref", "--format=%(subject)", "refs/crewcap/original") == "I was first"

    def test_an_orphan_branch(self, trip: Trip) -> None:
        git(trip.folder, "checkout", "--quiet", "--orphan", "fresh")
        (trip.folder / "adder.py").write_text(FIXED)
        came = _returned(trip)
        assert came.rewrote_history
        assert (came.files_changed, came.lines_added) == (1, 1)

    def test_a_thousand_commits(self, trip: Trip) -> None:
        lines = "".join(
            f"commit refs/heads/{trip.branch}\ncommitter A <a@b> {1_700_000_000 + n} +0000\ndata 1\nx\n"
            f"{'' if n else f'from {trip.base.commit}{chr(10)}'}M 100644 inline n\ndata {len(str(n))}\n{n}\n"
            for n in range(1_000)
        )
        subprocess.run(
            ["git", "fast-import", "--quiet", "--force"], cwd=trip.folder, input=lines.encode(), env=PLAIN, check=True
        )
        git(trip.folder, "reset", "--quiet", "--hard")
        assert _returned(trip).commits == 1_000

    def test_a_lock_left_behind(self, trip: Trip) -> None:
        (trip.folder / "adder.py").write_text(FIXED)
        (trip.folder / ".git" / "index.lock").touch()
        assert _returned(trip).lines_added == 1

    def test_in_the_middle_of_a_merge(self, trip: Trip) -> None:
        git(trip.folder, "checkout", "--quiet", "-b", "side")
        (trip.folder / "README").write_text("theirs\n")
        git(trip.folder, "commit", "--quiet", "-am", "theirs")
        git(trip.folder, "checkout", "--quiet", trip.branch)
        (trip.folder / "README").write_text("ours\n")
        git(trip.folder, "commit", "--quiet", "-am", "ours")
        git(trip.folder, "merge", "side", fails=True)
        assert "<<<<<<<" in _content(trip, _returned(trip).commit, "README")

    @pytest.mark.parametrize("damage", ["gone", "a file", "no objects", "a bad HEAD", "made anew"])
    def test_its_repository_broken(self, trip: Trip, damage: str) -> None:
        """The files count, not the repository around them."""
        (trip.folder / "adder.py").write_text(FIXED)
        repository = trip.folder / ".git"
        match damage:
            case "gone" | "made anew" | "a file":
                shutil.rmtree(repository)
            case "no objects":
                shutil.rmtree(repository / "objects")
            case "a bad HEAD":
                (repository / "HEAD").write_text("nonsense\n")
        if damage == "a file":
            repository.write_text("gitdir: /nonexistent\n")
        if damage == "made anew":
            git(trip.folder, "init", "--quiet")
        came = _returned(trip)
        assert (came.commits, came.lines_added) == (1, 1)
        assert trip.mirror_git("rev-parse", f"{came.commit}^") == trip.base.commit

    def test_a_repository_in_the_repository(self, trip: Trip) -> None:
        """With a commit it comes as a submodule, and is flagged; without one git can only leave it out."""
        for name in ("with", "without"):
            git(trip.folder, "init", "--quiet", name)
        git(trip.folder / "with", "commit", "--quiet", "--allow-empty", "-m", "inner")
        (trip.folder / "adder.py").write_text(FIXED)
        assert Flag(kind="submodule", path="with") in _returned(trip).flags

    def test_a_second_time_after_a_resume(self, trip: Trip) -> None:
        (trip.folder / "adder.py").write_text(FIXED)
        first = _returned(trip)
        (trip.folder / "more").write_text("x\n")
        second = _returned(trip)
        assert (first.commits, second.commits) == (1, 2)
        assert trip.mirror_git("rev-parse", f"{second.commit}^") == first.commit
        assert _returned(trip) == second

    def test_rewritten_after_a_resume(self, trip: Trip) -> None:
        """What was shown to people once stays in the branch's history."""
        (trip.folder / "adder.py").write_text(FIXED)
        first = _returned(trip)
        (trip.folder / "more").write_text("x\n")
        git(trip.folder, "add", ".")
        git(trip.folder, "commit", "--quiet", "--amend", "-m", "again")
        second = _returned(trip)
        assert second.rewrote_history
        assert trip.mirror_git("rev-parse", f"{second.commit}^") == first.commit


def test_paths_that_deserve_a_second_look_are_flagged(trip: Trip) -> None:
    for path in (".github/workflows/ci.yml", ".gitmodules", "sub/.husky/pre-commit", ".claude/settings.json", "plain"):
        (trip.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (trip.folder / path).write_text("x")
    (trip.folder / "link").symlink_to("/etc/passwd")
    assert set(_returned(trip).flags) == {
        Flag(kind="ci", path=".github/workflows/ci.yml"),
        Flag(kind="git settings", path=".gitmodules"),
        Flag(kind="hooks", path="sub/.husky/pre-commit"),
        Flag(kind="agent settings", path=".claude/settings.json"),
        Flag(kind="symlink", path="link"),
    }


# --- what is never let in -----------------------------------------------------------------------------------------


def _commit(trip: Trip, tree: str, *, message: bytes = b"bad") -> str:
    person = b"A <a@b> 1700000000 +0000"
    lines = b"tree %s\nparent %s\nauthor %s\ncommitter %s\n\n%s\n"
    content = lines % (tree.encode(), trip.base.commit.encode(), person, person, message)
    return write_object(trip.folder / ".git", "commit", content)


@pytest.mark.parametrize("kind", BAD_TREES)
def test_a_bad_tree_is_refused_and_leaves_nothing_in_the_mirror(trip: Trip, kind: str) -> None:
    """Git does not check what it reads from a bundle; we fetch it through a repository so that it does."""
    tree = bad_tree(trip.folder / ".git", kind)
    commit = _commit(trip, tree)
    (trip.folder / ".git" / "refs" / "heads" / "bad").write_text(f"{commit}\n")
    words = ["git", "bundle", "create", "--quiet", "-", "bad", f"^{trip.base.commit}"]
    made = subprocess.run(words, cwd=trip.folder, env=PLAIN, capture_output=True, check=False)
    bundle = made.stdout if made.returncode == 0 else _bundle_by_hand(trip, commit)
    came = trip.receive(bundle)
    assert isinstance(came, Spurned), came
    assert trip.mirror_git("for-each-ref", "refs/heads") == ""
    for name in (tree, commit):
        seen = ["git", "cat-file", "-e", name]
        mirror = trip.mirrors.mirror(trip.repository)
        assert subprocess.run(seen, cwd=mirror, env=PLAIN, capture_output=True, check=False).returncode != 0


def _bundle_by_hand(trip: Trip, commit: str) -> bytes:
    """For objects that git will not even pack: all loose objects of the workspace, written as a pack."""
    kinds = {b"commit": 1, b"tree": 2, b"blob": 3}
    packed = []
    for path in sorted((trip.folder / ".git" / "objects").glob("??/*")):
        head, _, content = zlib.decompress(path.read_bytes()).partition(b"\0")
        size, first = len(content), kinds[head.split()[0]] << 4
        first, size = first | (size & 15), size >> 4
        header = bytearray()
        while size:
            header.append(first | 0x80)
            first, size = size & 0x7F, size >> 7
        packed.append(bytes([*header, first]) + zlib.compress(content))
    pack = b"PACK" + struct.pack(">II", 2, len(packed)) + b"".join(packed)
    pack += hashlib.sha1(pack, usedforsecurity=False).digest()
    return f"# v2 git bundle\n-{trip.base.commit} first\n{commit} HEAD\n\n".encode() + pack


@pytest.mark.parametrize(
    "bundle",
    [
        b"nonsense",
        b"# v2 git bundle\n",
        b"# v2 git bundle\n\nPACK",
        b"# v2 git bundle\nnot-a-hash HEAD\n\nPACK",
        b"# v3 git bundle\n@filter=blob:none\n\nPACK",
        b"# v2 git bundle\n" + b"1" * 40 + b" HEAD\n\nPACK\0\0\0\2\0\0\0\1garbage",
        b"# v2 git bundle\n-" + b"2" * 40 + b" other history\n" + b"1" * 40 + b" HEAD\n\nPACK",
        b"# v2 git bundle\n" + b"1" * 40 + b" --upload-pack=touch\n\nPACK",
        b"# v2 git bundle\n" + b"1" * 40 + b" HEAD\n\nPACK\0\0\0\2\xff\xff\xff\xff",
        b"# v2 git bundle\n" + b"1" * 40 + b" HEAD\n\nPACK\0\0\0\2\0\0\0\1" + b"\xff" * 64,
    ],
)
def test_what_is_no_good_bundle_is_refused(trip: Trip, bundle: bytes) -> None:
    came = trip.receive(bundle)
    assert isinstance(came, Spurned | NoChange)
    assert trip.mirror_git("for-each-ref", "refs/heads") == ""


def test_a_bundle_that_was_cut_short_is_refused(trip: Trip) -> None:
    (trip.folder / "adder.py").write_text(FIXED)
    whole = trip.harvest().bundle
    assert isinstance(trip.receive(whole[: len(whole) // 2]), Spurned)
    assert isinstance(trip.receive(whole), Returned)


@pytest.mark.parametrize(
    "ref",
    [
        *("refs/heads/*", "refs/heads/a:refs/heads/main", "^refs/heads/x", "+refs/heads/x", "refs/heads/../../config"),
        *("refs/crewcap/bases/x", "refs/replace/x", "refs/heads/a b", "refs/heads/x\0y", "refs/heads/$(touch ran)"),
        *("-u./x", "HEAD:refs/heads/main", "@", "refs/heads/\u202e", "FETCH_HEAD", "refs/" + "x/" * 3_000),
    ],
)
def test_a_ref_of_a_bundle_is_only_ever_a_tip(trip: Trip, ref: str) -> None:
    """Whatever it is called: it is taken as work, or nothing is; no ref of that name comes to be."""
    (trip.folder / "adder.py").write_text(FIXED)
    bundle = trip.harvest().bundle
    head, _, pack = bundle.partition(b"\n\n")
    lines = [line for line in head.split(b"\n") if not line.endswith(b"HEAD")]
    tip = lines[-1].split(b" ")[0]
    before = trip.mirror_git("for-each-ref", "--format=%(refname)").splitlines()
    came = trip.receive(b"\n".join([*lines[:-1], tip + b" " + ref.encode()]) + b"\n\n" + pack)
    after = set(trip.mirror_git("for-each-ref", "--format=%(refname)").splitlines()) - set(before)
    assert after == ({f"refs/heads/{trip.branch}"} if isinstance(came, Returned) else set())


def test_a_tree_that_unfolds_without_end_is_refused(trip: Trip) -> None:
    """Thirty folders deep, each holding the one below it ten times: more paths than any memory has room for."""
    repository = trip.folder / ".git"
    tree = write_object(repository, "tree", entry(b"100644", b"f", write_object(repository, "blob", b"x\n")))
    for _ in range(30):
        tree = write_object(repository, "tree", b"".join(entry(b"40000", b"%d" % n, tree) for n in range(10)))
    git(trip.folder, "update-ref", f"refs/heads/{trip.branch}", _commit(trip, tree))
    words = ["git", "bundle", "create", "--quiet", "-", trip.branch, f"^{trip.base.commit}"]
    made = subprocess.run(words, cwd=trip.folder, env=PLAIN, capture_output=True, check=True)
    came = trip.receive(made.stdout)
    assert isinstance(came, Spurned)
    assert "MiB of names" in came.reason


def test_a_bundle_that_unpacks_to_more_than_a_disk_is_never_unpacked(trip: Trip) -> None:
    """Five gigabytes in five megabytes; git is not even asked."""
    packer = zlib.compressobj(9)
    squeezed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(320)) + packer.flush()
    size, head = (320 << 24) >> 4, bytearray([3 << 4 | 0x80])
    while size:
        head.append(size & 0x7F | (0x80 if size >> 7 else 0))
        size >>= 7
    pack = b"PACK" + struct.pack(">II", 2, 1) + bytes(head) + squeezed
    came = trip.receive(b"# v2 git bundle\n" + b"1" * 40 + b" HEAD\n\n" + pack + bytes(20))
    assert came == Spurned("what came back unpacks to more than 4 GiB")


def test_a_bundle_has_a_largest_size(trip: Trip) -> None:
    (trip.folder / "adder.py").write_text(FIXED)
    bundle = trip.harvest().bundle
    came = trip.mirrors.receive(
        trip.repository, bundle, base=trip.base, branch=trip.branch, message="m", most_bytes=len(bundle) - 1
    )
    assert came == Spurned("what came back is larger than 0 MiB")


def test_only_branches_of_ours_can_be_written(trip: Trip) -> None:
    with pytest.raises(Exception, match="is not a branch of crewcap's"):
        trip.mirrors.receive(trip.repository, b"", base=trip.base, branch="main", message="m")


class TestWhatLiesInAWorkspaceThatGoes:
    """It is kept beside the branch, as it is, and only where the mirror does not know it."""

    def test_what_came_home_is_known(self, trip: Trip) -> None:
        (trip.folder / "new").write_text("x")
        _returned(trip)
        assert trip.save() == ()

    def test_each_tip_with_other_files_has_a_ref_of_its_own(self, trip: Trip) -> None:
        came = _work_and_more(trip)
        saved = trip.save()
        assert isinstance(saved, tuple)
        assert {trip.mirror_git("show", f"{ref}:more") for ref in saved} == {"on the branch", "beside it"}
        assert all(ref.startswith(f"refs/crewcap/saved/{trip.branch}/") for ref in saved)
        assert trip.mirror_git("rev-parse", trip.branch) == came.commit
        assert trip.save() == ()

    def test_what_is_damaged_is_not_taken(self, trip: Trip) -> None:
        assert trip.mirrors.save(trip.repository, b"# v2 git bundle", base=trip.base, branch=trip.branch) != ()
        too_large = trip.mirrors.save(trip.repository, b"x" * 100, base=trip.base, branch=trip.branch, most_bytes=99)
        assert isinstance(too_large, Spurned)


def _work_and_more(trip: Trip) -> Returned:
    """A branch that came home, and later commits on two branches of the workspace."""
    (trip.folder / "new").write_text("x")
    came = _returned(trip)
    for words, name in (("on the branch", ""), ("beside it", "beside")):
        if name:
            git(trip.folder, "switch", "--quiet", "-c", name)
        (trip.folder / "more").write_text(f"{words}\n")
        git(trip.folder, "add", "--all")
        git(trip.folder, "commit", "--quiet", "-m", words)
    return came
