"""Commits made again as ours, signed where that is set; checked with git's own eyes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.workspaces.repos import Trip, git, set_out

from crewcap.errors import CrewcapError
from crewcap.workspaces.repository.authorship import Authorship
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.review import Returned
from crewcap.workspaces.repository.signing import Signer

EMAIL = "crew@example.invalid"
needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def _mirrors(tmp_path: Path, author: Authorship) -> Mirrors:
    return Mirrors(tmp_path / "home" / "mirrors", environ=os.environ, authorship=lambda: author)


def _key(folder: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    key = folder / f"id_{kind}"
    words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(key), "-C", "test"]
    subprocess.run(words, check=True, capture_output=True)
    return key


def _work(trip: Trip) -> None:
    for number in range(2):
        (trip.folder / "new").write_text(f"{number}\n")
        git(trip.folder, "add", ".")
        git(trip.folder, "commit", "--quiet", "-m", f"step {number}")
    (trip.folder / "left").write_text("lying about\n")


def _home(trip: Trip) -> Returned:
    came = trip.come_home()
    assert isinstance(came, Returned), came
    return came


def test_every_commit_is_by_our_author(user: Path, tmp_path: Path) -> None:
    trip = set_out(_mirrors(tmp_path, Authorship(name="Crew", email=EMAIL, sign_off=True)), user, tmp_path / "w")
    _work(trip)
    came = _home(trip)
    assert came.commits == 3
    lines = trip.mirror_git(
        "log", "--format=%an <%ae> %cn: %s|%(trailers:key=Signed-off-by,valueonly)", f"-{came.commits}", trip.branch
    )
    assert [line for line in lines.splitlines() if line] == [
        f"Crew <{EMAIL}> Crew: fix: the sum|Crew <{EMAIL}>",
        f"Crew <{EMAIL}> Crew: step 1|Crew <{EMAIL}>",
        f"Crew <{EMAIL}> Crew: step 0|Crew <{EMAIL}>",
    ]
    assert trip.mirror_git("fsck", "--strict", "--no-dangling", trip.branch) == ""


def test_the_agent_itself_commits_as_our_author(user: Path, tmp_path: Path) -> None:
    trip = set_out(_mirrors(tmp_path, Authorship(name='Cr"ew\\', email=EMAIL)), user, tmp_path / "w")
    assert git(trip.folder, "config", "user.name") == 'Cr"ew\\'


def test_merges_keep_both_parents(trip: Trip) -> None:
    git(trip.folder, "checkout", "--quiet", "-b", "side")
    git(trip.folder, "commit", "--quiet", "--allow-empty", "-m", "aside")
    git(trip.folder, "checkout", "--quiet", trip.branch)
    (trip.folder / "adder.py").write_text("better\n")
    git(trip.folder, "commit", "--quiet", "-am", "here")
    git(trip.folder, "merge", "--quiet", "--no-ff", "-m", "both", "side")
    came = _home(trip)
    assert came.commits == 3
    assert len(trip.mirror_git("rev-parse", f"{came.commit}^@").splitlines()) == 2
    assert trip.mirror_git("log", "--format=%an", f"{trip.base.commit}..{came.commit}").split() == ["crewcap"] * 3


@needs_keygen
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_every_commit_is_signed(user: Path, tmp_path: Path, kind: str) -> None:
    """Git itself says so; and a run that goes on adds to what was signed, though no signature is made twice alike."""
    key = _key(tmp_path, kind=kind)
    (tmp_path / "allowed").write_text(f"{EMAIL} {key.with_suffix('.pub').read_text()}")
    trip = set_out(_mirrors(tmp_path, Authorship(name="Crew", email=EMAIL, signing_key=str(key))), user, tmp_path / "w")
    _work(trip)
    first = _home(trip)
    (trip.folder / "more").write_text("more\n")
    second = _home(trip)
    assert (first.unsigned, second.unsigned, second.rewrote_history) == ("", "", False)
    assert trip.mirror_git("rev-parse", f"{second.commit}^") == first.commit
    for number in range(second.commits):
        trip.mirror_git(
            "-c", f"gpg.ssh.allowedSignersFile={tmp_path}/allowed", "verify-commit", f"{second.commit}~{number}"
        )


@needs_keygen
def test_a_rewritten_history_is_one_signed_commit(user: Path, tmp_path: Path) -> None:
    key = _key(tmp_path)
    (tmp_path / "allowed").write_text(f"{EMAIL} {key.with_suffix('.pub').read_text()}")
    trip = set_out(_mirrors(tmp_path, Authorship(name="Crew", email=EMAIL, signing_key=str(key))), user, tmp_path / "w")
    (trip.folder / "adder.py").write_text("better\n")
    git(trip.folder, "commit", "--quiet", "-a", "--amend", "-m", "I was first")
    came = _home(trip)
    assert came.rewrote_history
    trip.mirror_git("-c", f"gpg.ssh.allowedSignersFile={tmp_path}/allowed", "verify-commit", came.commit)


@needs_keygen
def test_work_is_kept_unsigned_when_the_key_went_away(user: Path, tmp_path: Path) -> None:
    key = _key(tmp_path)
    trip = set_out(_mirrors(tmp_path, Authorship(signing_key=str(key))), user, tmp_path / "w")
    _work(trip)
    key.unlink()
    key.with_suffix(".pub").unlink()
    came = _home(trip)
    assert came.commits == 3
    assert str(key) in came.unsigned


@needs_keygen
class TestAKeyThatDoesNotSign:
    """Said before a run is paid for, in one line."""

    def _refused(self, user: Path, tmp_path: Path, key: str) -> CrewcapError:
        with pytest.raises(CrewcapError) as refused:
            set_out(_mirrors(tmp_path, Authorship(signing_key=key)), user, tmp_path / "w")
        assert "\n" not in refused.value.message
        return refused.value

    def test_one_that_is_not_there(self, user: Path, tmp_path: Path) -> None:
        assert "does not exist" in self._refused(user, tmp_path, "/nonexistent/key").message

    def test_one_without_a_whole_path(self, user: Path, tmp_path: Path) -> None:
        assert "no whole path" in self._refused(user, tmp_path, "id_ed25519").message

    def test_one_behind_a_passphrase(self, user: Path, tmp_path: Path) -> None:
        refused = self._refused(user, tmp_path, str(_key(tmp_path, passphrase="secret words")))
        assert "signs nothing" in refused.message
        assert "ssh-add" in refused.help

    def test_a_file_that_is_no_key(self, user: Path, tmp_path: Path) -> None:
        assert "signs nothing" in self._refused(user, tmp_path, str(user / "README")).message


def test_without_ssh_keygen_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    with pytest.raises(CrewcapError, match="ssh-keygen is not installed"):
        Signer(key=tmp_path / "key", environ={"PATH": str(tmp_path)}).try_out()
