"""What a run is lent: to whom, where from, and how it is kept out of everything that we write."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, ground, missing, within

from crewcap.core.scrub import REMOVED, Scrubber
from crewcap.errors import UnsafeEnvironment
from crewcap.runner.lending import LENT_IN, Lent, given_secrets, known_to, lend_files, lent, lent_files, spilled
from crewcap.settings.keysource import KeySource
from crewcap.settings.models import RepoSettings
from crewcap.workspaces import Fittings, Rung
from crewcap.workspaces.egress.rules import Registry
from crewcap.workspaces.project.include import Included

SECRET = "sk_test_fake_51HqLyjWDarjtT1zdp7dc"
ENVIRON = {"SHOP_STRIPE": SECRET, "SHORT": "12345"}
STRIPE = RepoSettings(secrets={"STRIPE_KEY": KeySource("env", "SHOP_STRIPE")})


def test_a_registrys_credential_is_known_in_every_form_that_it_is_sent_in() -> None:
    sent = base64.b64encode(b"ci:fake-password-77").decode()
    bearer = Registry(host="a.example", authorization="Bearer fake-token-12345")
    scrubber = known_to([bearer, Registry(host="b.example", authorization=f"Basic {sent}"), Registry(host="c.example")])
    for text in ("fake-token-12345", sent, "fake-password-77", base64.b64encode(b"Bearer fake-token-12345").decode()):
        assert REMOVED in scrubber.text(f"auth={text}"), text
    assert scrubber.found(f"Basic {sent}")[0] == "registries.b.example"


class TestSecrets:
    """Variables that the agent can read."""

    def test_who_may_write_gets_them_and_is_told_who_can_read_them(self) -> None:
        fittings, scrubber = given_secrets(STRIPE, trust="write", environ=ENVIRON)
        assert fittings.environ == {"STRIPE_KEY": SECRET}
        assert fittings.said == ("secrets: STRIPE_KEY: the agent can read this",)
        assert scrubber.text(f"it is {SECRET}") == f"it is {REMOVED}"

    @pytest.mark.parametrize("trust", ["read", "none", ""])
    def test_everybody_else_gets_none_and_the_run_says_so(self, trust: str) -> None:
        """The variable is not even read: it need not be there."""
        fittings, scrubber = given_secrets(STRIPE, trust=trust, environ={})
        assert (fittings.environ, scrubber.found(SECRET)) == ({}, ())
        why = "because who wrote this issue may not write to the repository"
        assert fittings.said == (f"secrets: STRIPE_KEY: not given, {why} ({trust or 'unknown'})",)

    def test_no_secrets_are_nothing(self) -> None:
        fittings, scrubber = given_secrets(RepoSettings(), trust="owner", environ={})
        assert (fittings, list(scrubber)) == (Fittings(), [])

    def test_one_that_is_missing_is_named(self) -> None:
        with pytest.raises(UnsafeEnvironment, match=r"secrets: STRIPE_KEY: \$SHOP_STRIPE is not set") as refused:
            given_secrets(STRIPE, trust="owner", environ={})
        assert "export SHOP_STRIPE" in refused.value.help

    def test_one_that_is_too_short_to_be_filtered_is_refused_without_being_shown(self) -> None:
        project = RepoSettings(secrets={"PIN": KeySource("env", "SHORT")})
        with pytest.raises(UnsafeEnvironment, match="PIN: its value has fewer than 6 letters") as refused:
            given_secrets(project, trust="owner", environ=ENVIRON)
        assert "12345" not in f"{refused.value.message} {refused.value.help}"

    def test_setup_does_not_get_them(self) -> None:
        """It talks to package hosts, and what it makes is kept for the runs of others."""
        assert {"check", "agent", "shell"} == LENT_IN

    @pytest.mark.sandbox
    @pytest.mark.parametrize("rung", ["bubblewrap", "landlock"])
    def test_a_secret_is_a_variable_inside_and_in_no_command_line_and_no_file(self, rung: Rung) -> None:
        """Looked for where every user of this machine may look, and in all that the run left on disk."""
        if reason := missing(rung):
            pytest.skip(f"{rung}: {reason}")
        fittings, _ = given_secrets(STRIPE, trust="owner", environ=ENVIRON)

        async def looked(made: Ground) -> tuple[bytes, list[Path]]:
            words = 'test "$STRIPE_KEY" = "$(cat)" && echo there; exec cat /dev/zero'
            child = await made.start(made.command("/bin/sh", "-c", words, environ=fittings.environ))
            assert child.stdin is not None
            child.stdin.write(SECRET.encode())
            child.stdin.close()
            said = await child.stdout.readline()
            seen = _that_hold_it(made.root)
            await child.stop(ask_s=1, term_s=1)
            return said, seen

        with ground(rung) as made:
            assert within(lambda: looked(made)) == (b"there\n", [])

    def test_nothing_that_prints_a_value_of_ours_prints_a_secret(self) -> None:
        given = lent(given_secrets(STRIPE, trust="owner", environ=ENVIRON), Included(values={"X of .env": SECRET}))
        assert SECRET not in repr(given)


def _that_hold_it(root: Path) -> list[Path]:
    """Command lines of this machine and files of a run in which the secret stands."""
    looked_at = [*Path("/proc").glob("[0-9]*/cmdline"), *(path for path in root.rglob("*") if path.is_file())]
    return [path for path in looked_at if SECRET.encode() in _bytes(path)]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


class TestFiles:
    """Files of the user's own."""

    @pytest.fixture
    def places(self, tmp_path: Path) -> tuple[Path, Path, Path]:
        """The working folder, a workspace, and the run's folder."""
        made = (tmp_path / "shop", tmp_path / "workspace", tmp_path / "run")
        for folder in made:
            folder.mkdir()
        (tmp_path / "workspace" / ".git").mkdir()
        (tmp_path / "shop" / "test.env").write_text(f"STRIPE_KEY={SECRET}\n")
        return made

    def _lend(self, places: tuple[Path, Path, Path], trust: str) -> Included:
        source, workspace, folder = places
        project = RepoSettings(include=("test.env",))
        return lend_files(project, trust=trust, source=source, workspace=workspace, folder=folder, uid=None)

    def test_who_may_write_gets_them_and_their_values_are_filtered(self, places: tuple[Path, Path, Path]) -> None:
        given = lent((Fittings(), Scrubber()), self._lend(places, "owner"))
        assert (places[1] / "test.env").exists()
        assert given.names == ("test.env",)
        assert given.scrubber.found(f"x{SECRET}") == ("STRIPE_KEY of test.env",)

    def test_everybody_else_gets_none_and_the_run_says_so(self, places: tuple[Path, Path, Path]) -> None:
        assert self._lend(places, "read").said == (
            "include: test.env: not copied, because who wrote this issue may not write to the repository (read)",
        )
        assert not (places[1] / "test.env").exists()

    def test_a_later_start_knows_what_an_earlier_one_was_lent(self, places: tuple[Path, Path, Path]) -> None:
        """Names are remembered, values are read anew: none of them is in a file of ours."""
        given = self._lend(places, "owner")
        assert lent_files(places[2], source=places[0]) == Included(names=given.names, values=given.values)
        assert all(SECRET not in path.read_text() for path in places[2].iterdir())

    def test_a_run_that_was_lent_nothing_has_nothing(self, tmp_path: Path) -> None:
        assert lent_files(tmp_path, source=tmp_path) == Included()


class TestSpilled:
    """The branch itself cannot be filtered."""

    LENT = Lent(names=("test.env",), scrubber=Scrubber({"STRIPE_KEY": SECRET}))

    def test_a_branch_without_any_of_it_may_go(self) -> None:
        assert spilled(self.LENT, diff=b"+def login(): ...\n\xff", paths=("login.py",)) == ""

    @pytest.mark.parametrize("spelt", [SECRET, SECRET[::-1], base64.b64encode(f"key={SECRET}".encode()).decode()])
    def test_a_secret_in_its_changes_keeps_it_here(self, spelt: str) -> None:
        said = spilled(self.LENT, diff=f"+KEY = '{spelt}'\n".encode(), paths=("login.py",))
        assert said == ("its commits hold the value of a secret (STRIPE_KEY); the branch stays in crewcap's own mirror")
        assert SECRET not in said

    def test_a_lent_file_among_its_changes_keeps_it_here(self) -> None:
        """Whatever it holds: somebody added it by force."""
        said = spilled(self.LENT, diff=b"+nothing secret\n", paths=("a.py", "test.env"))
        assert said == "its commits hold what was lent to it (test.env); the branch stays in crewcap's own mirror"

    def test_what_looks_like_a_key_of_nobody_does_not_keep_it_here(self) -> None:
        """Tests are full of fake keys."""
        assert spilled(self.LENT, diff=b"+key = 'sk-ant-fake-fakefakefakefakefake'", paths=()) == ""
