"""Every command as a user finds it: its help, its names, its options, its answer to people and to machines.

Most of it starts the real command in a new home. What needs a run looks at one that the real agent made.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click
import pytest
from tests.e2e.bench import ISSUE, Bench, Done, until
from tests.e2e.conftest import Setting
from tests.e2e.desk import CREWCAP, Desk

from crewcap.__main__ import call
from crewcap.cli import COMMANDS, PLURALS, root
from crewcap.cli.screen.figures import columns_of
from crewcap.core.money import Money

RUN_FIELDS = {  # of `run` and `show`, promised to machines
    *("run", "run_id", "issue", "state", "verdict", "reason", "agent", "model", "cost_usd", "uncertain_usd"),
    *("held_usd", "cap_usd", "left_usd", "turns", "branch", "base", "commit", "check", "api_seconds", "wall_seconds"),
    *("lines_added", "lines_removed", "tokens", "cache_hit", "workspace", "resume"),
}
TOKEN_FIELDS = {"input", "cache_read", "write_5m", "write_1h", "output", "thinking"}
BUDGET_FIELDS = {"scope", "window", "limit_usd", "spent_usd", "uncertain_usd", "held_usd", "left_usd", "resets_at"}
MONEY = re.compile(r"-?\d+\.\d{9}")
ESCAPE = re.compile(r"\x1b\[[\d;]*[A-Za-z]")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(root=tmp_path_factory.mktemp("desk"))


def every_command() -> Iterator[tuple[str, ...]]:
    """All of them, with the commands of groups."""
    ctx = click.Context(root, info_name="crewcap", **root.context_settings)
    for name in COMMANDS:
        yield (name,)
        command = root.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.list_commands(ctx))


def command_of(words: tuple[str, ...]) -> click.Command:
    """The command that is meant; a group's own where the second word is none of its commands."""
    ctx = click.Context(root, info_name="crewcap", **root.context_settings)
    command = root.get_command(ctx, words[0])
    assert command is not None, words
    inner = command.get_command(ctx, words[1]) if isinstance(command, click.Group) and len(words) > 1 else None
    return inner or command


# --- help


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_help_begins_with_a_sentence_and_ends_with_an_example_that_can_be_typed(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([*words, "--help"]) == 0
    said = capsys.readouterr().out
    assert call([*words, "-h"]) == 0
    assert capsys.readouterr().out == said
    usage, sentence, *_, example = [part for part in said.split("\n\n") if part.strip()]
    assert usage.startswith(f"Usage: crewcap {' '.join(words)} ")
    assert " ".join(sentence.split())[-1] in ".;", sentence
    assert example.strip().startswith("Example: ")
    assert f"crewcap {words[0]}" in example
    for typed in example.split("crewcap ")[1:]:
        name, *rest = re.split(r" -- | [|>&] |\)", typed)[0].split()
        command = command_of((name, *rest[:1]))
        known = {option for param in command.params for option in param.opts}
        assert {word for word in rest if re.match(r"--?[a-z]", word)} <= known, f"{typed} cannot be typed"


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_every_option_says_what_it_does(words: tuple[str, ...]) -> None:
    command = command_of(words)
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    assert [option.name for option in options if not option.help] == []
    assert {"home", "config", "as_json", "quiet", "verbose"} <= {option.name for option in options}


def test_the_first_screen_names_every_command(desk: Desk) -> None:
    said = desk.crewcap("--help")
    assert said.status == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in said.out] == []
    assert desk.crewcap("--version").out.startswith("crewcap ")


# --- names and options


_WORDS: dict[str, tuple[str, ...]] = {  # where a plural's command has no list
    "costs": ("--today",), "ledgers": ("verify",), "configs": ("show",), "reports": ("month",), "exports": ("json",),
    "audits": (), "stat": (),
}  # fmt: skip


@pytest.mark.parametrize("plural", PLURALS)
def test_a_plural_is_its_singular(desk: Desk, plural: str) -> None:
    words = _WORDS.get(plural, ("list",))
    one, many = (desk.crewcap(name, *words, "--json") for name in (PLURALS[plural], plural))
    assert (many.status, many.out) == (one.status, one.out)
    assert one.status == (2 if plural == "audits" else 0)  # there is no run yet to be audited


@pytest.mark.parametrize(
    ("group", "command"),
    [("budget", "list"), ("key", "list"), ("price", "list"), ("ledger", "verify"), ("workspace", "list")],
)
def test_a_noun_alone_shows_what_there_is(desk: Desk, group: str, command: str) -> None:
    alone, spelled_out = desk.crewcap(group, "--json"), desk.crewcap(group, command, "--json")
    assert (alone.status, alone.out) == (0, spelled_out.out)


def test_global_options_stand_before_and_after_the_command(desk: Desk) -> None:
    """What stands nearer to the command counts."""
    elsewhere = str(desk.root / "elsewhere")
    for words in (
        ("--home", elsewhere, "--json", "key", "list"),
        ("key", "--home", elsewhere, "list", "--json"),
        ("--home", "/nowhere/else", "key", "list", "--json", "--home", elsewhere),
    ):
        said = desk.crewcap(*words)
        assert (said.status, said.json) == (0, [])
    assert (desk.root / "elsewhere" / "ledger.db").exists()


def test_quiet_leaves_results_only(desk: Desk) -> None:
    loud, quiet = desk.crewcap("price", "list"), desk.crewcap("-q", "price", "list")
    assert "price table" in loud.err
    assert (quiet.out, quiet.err) == (loud.out, "")


def test_a_bare_crewcap_in_a_new_home_ends_in_the_demo(desk: Desk) -> None:
    """Also where books were made already and nothing was run."""
    desk.crewcap("budget", "list", "--home", "looked")
    for home in ("new", "looked"):
        said = desk.crewcap("--home", home)
        assert said.status == 0
        lines = said.out.splitlines()
        assert (len(lines), lines[-1].strip()) == (4, "crewcap demo")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("status",), dict),
        (("runs",), list),
        (("budget", "list"), list),
        (("budget", "suggest", "--team-size", "3"), dict),
        (("key", "list"), list),
        (("price", "list", "--model", "sonnet"), list),
        (("price", "check"), dict),
        (("ledger", "verify"), dict),
        (("ledger", "reconcile"), list),
        (("config", "show"), list),
        (("config", "check"), dict),
        (("config", "schema"), dict),
        (("cost", "--today"), dict),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_lists_are_arrays_and_things_are_objects_also_where_there_is_nothing(
    desk: Desk, words: tuple[str, ...], kind: type
) -> None:
    said = desk.crewcap(*words, "--json")
    assert said.status in {0, 1}, said.err
    assert isinstance(said.json, kind)
    assert said.out.count("\n") == 1


def test_completion_completes_in_each_shell(desk: Desk) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = desk.crewcap("completion", shell)
        assert (script.status, "_CREWCAP_COMPLETE" in script.out) == (0, True)
    asked = {"_CREWCAP_COMPLETE": "bash_complete", "COMP_WORDS": "crewcap statu", "COMP_CWORD": "1"}
    assert desk.crewcap(environ=asked).out == "plain,status\n"


# --- a run and everything that looks at it


@pytest.fixture(scope="module")
def machine(shared_bench: Setting) -> Bench:
    return shared_bench("fix-login")


@pytest.fixture(scope="module")
def done(machine: Bench) -> Done:
    """The run that the tests below look at."""
    return machine.crewcap("run", ISSUE, "--json")


needs_a_run = [pytest.mark.agent, pytest.mark.sandbox]


class TestARun:
    """One run, seen by every command that shows runs."""

    pytestmark = needs_a_run

    def test_machines_get_one_object_and_people_their_story_beside_it(self, done: Done) -> None:
        assert done.status == 0, done.err
        found = json.loads(done.out)
        assert set(found) >= RUN_FIELDS
        assert set(found["tokens"]) == TOKEN_FIELDS
        assert all(MONEY.fullmatch(value) for name, value in found.items() if name.endswith("_usd"))
        assert (found["run"], found["state"], found["verdict"]) == ("fix-login.1", "done", "finished")
        assert "check after     3 passed" in done.err

    def test_show_gives_the_same_object_by_every_name(self, machine: Bench, done: Done) -> None:
        found = json.loads(done.out)
        for name in ((), ("fix-login.1",), ("fix",), (found["run_id"],)):
            shown = json.loads(machine.crewcap("show", *name, "--json").out)
            assert {key: shown[key] for key in found} == found  # show adds what its prompts were made of

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("runs",), "%  done              Login fails"),
            (("show",), "branch    crewcap/fix-login-1   1 commit, 1 file, +1 -1"),
            (("logs",), "step    check after: 3 passed"),
            (("logs", "-f"), "state   done the check is green"),
            (("diff",), "+    return known.casefold() == email.casefold()"),
            (("diff", "--stat"), "1 file changed"),
            (("cost",), "requests   4"),
            (("cost", "--issue", "files/fix-login"), "requests   4"),
            (("cost", "--repo", "shop"), "requests   4"),
            (("budget", "list", "--all"), "issue:files/fix-login"),
            (("ledger", "verify"), "4 entries"),
            (("doctor",), "fit: crewcap demo shows it"),
        ],
        ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
    )
    def test_people_are_told(self, machine: Bench, done: Done, words: tuple[str, ...], says: str) -> None:
        assert done.status == 0
        said = machine.crewcap(*words)
        assert (said.status, says in said.out) == (0, True), said.out + said.err

    @pytest.mark.parametrize("words", [(), ("status", "--since", "1h")], ids=" ".join)
    def test_what_came_of_it_is_the_first_line(self, machine: Bench, done: Done, words: tuple[str, ...]) -> None:
        assert done.status == 0
        cost = re.escape(Money.usd(machine.metered().exact()).show())
        when = r"(LAST NIGHT|SINCE \d{4}-\d\d-\d\d \d\d:\d\d UTC)"
        said = machine.crewcap(*words)
        assert said.status == 0, said.err
        assert re.fullmatch(rf"{when} 1 done \(1 green\), {cost}", said.out.splitlines()[0]), said.out

    def test_its_cost_is_the_providers_bill_everywhere(self, machine: Bench, done: Done) -> None:
        billed = machine.metered().exact()
        assert json.loads(done.out)["cost_usd"] == billed
        for words in (("cost",), ("cost", "--today"), ("cost", "--repo", "shop")):
            assert json.loads(machine.crewcap(*words, "--json").out)["cost_usd"] == billed
        rows = json.loads(machine.crewcap("budget", "list", "--json").out)
        assert all(set(row) >= BUDGET_FIELDS for row in rows)
        assert {row["spent_usd"] for row in rows} == {billed}

    def test_a_checkout_is_a_worktree_and_is_made_once(self, machine: Bench, done: Done) -> None:
        assert done.status == 0
        folder = machine.root / "look"
        assert json.loads(machine.crewcap("checkout", "fix-login.1", str(folder), "--json").out)["folder"] == str(
            folder
        )
        assert "casefold" in (folder / "src" / "login.py").read_text()
        again = machine.crewcap("checkout", "fix-login.1", str(machine.root / "twice"))
        assert (again.status, "is already checked out" in again.err, "git worktree" in again.err) == (2, True, True)
        machine.git("worktree", "remove", "--force", str(folder))

    def test_what_has_ended_is_not_stopped(self, machine: Bench, done: Done) -> None:
        assert done.status == 0
        said = machine.crewcap("stop")
        assert (said.status, said.err.splitlines()[1].startswith("help: crewcap ")) == (2, True)
        assert machine.run().state == "done"

    @pytest.mark.parametrize("command", ["show", "diff", "logs", "status", "show --json", "doctor -q", "price list -q"])
    def test_no_reader_is_no_error(self, machine: Bench, done: Done, command: str) -> None:
        assert done.status == 0
        for streams in (">&-", ">&- 2>&-", "| head -n 0"):
            assert _bash(machine, f"set -o pipefail; crewcap {command} {streams}") == (0, "")

    def test_a_place_without_room_is_named(self, machine: Bench, done: Done) -> None:
        assert done.status == 0
        for command in ("show", "show --json", "logs"):
            status, err = _bash(machine, f"crewcap {command} >/dev/full")
            assert (status, err.splitlines()[0]) == (4, "error: no space left on device")

    @pytest.mark.parametrize("command", ["status", "runs", "show", "doctor", "run --dry-run " + ISSUE])
    def test_twenty_columns_hold_every_line(self, machine: Bench, done: Done, command: str) -> None:
        assert done.status == 0
        shown = _on_a_terminal(machine, command, columns=20, NO_COLOR="1")
        assert shown.status == 0
        assert "\x1b" not in shown.text
        if command.startswith("run"):  # what the agent is told is told as it is
            shown = Shown(status=0, text=shown.text.partition("You work alone")[0])
        assert [line for line in shown.lines if columns_of(line) > 20] == []

    def test_colour_is_for_terminals_that_want_it(self, machine: Bench, done: Done) -> None:
        assert done.status == 0
        assert "\x1b[32mok" in _on_a_terminal(machine, "doctor", columns=80).text
        for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            assert "\x1b" not in _on_a_terminal(machine, "doctor", columns=80, **environ).text
        assert "\x1b" not in machine.crewcap("doctor").out


class TestRuns:
    """More than one."""

    pytestmark = needs_a_run

    def test_two_at_once_on_one_issue_are_one(self, bench: Setting) -> None:
        """The second one is told of the first and spends nothing."""
        machine = bench("fix-login")
        first, second = machine.start("run", ISSUE), machine.start("run", ISSUE)
        ended = sorted((first.end(), second.end()), key=lambda one: one.status)
        assert [one.status for one in ended] == [0, 2]
        assert "fix-login.1 is open for this issue" in ended[1].err
        assert "help: crewcap show fix-login.1, or crewcap stop fix-login.1" in ended[1].err
        assert len(machine.simulator.meter.bills) == 4

    def test_a_run_goes_on_when_its_reader_leaves_and_a_prefix_of_two_is_no_name(self, bench: Setting) -> None:
        machine = bench("fix-login")
        assert _bash(machine, f"set -o pipefail; crewcap run {ISSUE} | head -n 1") == (0, "")
        assert _bash(machine, f"crewcap run {ISSUE} >&-") == (0, "")
        assert [machine.run(name).verdict for name in ("fix-login.1", "fix-login.2")] == ["finished", "finished"]
        assert machine.branches() == ["crewcap/fix-login-1", "crewcap/fix-login-2", "main"]
        said = machine.crewcap("show", "fix")
        assert (said.status, said.err.splitlines()[0]) == (2, "error: 'fix' fits 2 runs: fix-login.2, fix-login.1")

    @pytest.mark.parametrize(("columns", "last"), [(80, "next      crewcap diff"), (20, "next: crewcap diff")])
    def test_the_live_view_fits_its_terminal(self, bench: Setting, columns: int, last: str) -> None:
        """Below 60 columns everything is said shorter; nothing is ever wider than the screen."""
        machine = bench("fix-login")
        shown = _on_a_terminal(machine, f"run {ISSUE}", columns=columns)
        assert shown.status == 0
        assert [line for line in shown.lines if columns_of(line) > columns] == []
        assert "\x1b[32mdone" in shown.text
        assert last in ESCAPE.sub("", shown.text)
        assert ("Ctrl-C pauses and keeps everything; twice stops" in shown.text) == (columns == 80)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a terminal was sent."""

    status: int
    text: str

    @property
    def lines(self) -> list[str]:
        """Every line that was ever on the screen, without its colours."""
        return ESCAPE.sub("", re.sub(r"\x1b\[\d+F\x1b\[J", "\n", self.text)).replace("\r", "").split("\n")


def _words(machine: Bench) -> list[str]:
    return [*CREWCAP, "--home", str(machine.home.root), "--config", str(machine.config)]


def _bash(machine: Bench, line: str) -> tuple[int, str]:
    """A line in bash, in which `crewcap` is the command; its status, and what it said on stderr."""
    command = f'crewcap() {{ {shlex.join(_words(machine))} "$@"; }}; {line}'
    done = subprocess.run(
        ["bash", "-c", command], cwd=machine.shop, env=machine.environ(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    until(lambda: not machine.gateways(), "the gateway is gone")
    return done.returncode, done.stderr


def _on_a_terminal(machine: Bench, command: str, *, columns: int, **environ: str) -> Shown:
    """A command on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    known: Mapping[str, str] = {**machine.environ(), "TERM": "xterm", **environ}
    process = subprocess.Popen(
        [*_words(machine), *shlex.split(command)],
        cwd=machine.shop,
        env=known,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65_536):
            text += piece
    except OSError:  # how Linux says that nobody writes any more
        pass
    finally:
        os.close(ours)
    return Shown(status=process.wait(60), text=text.decode())
