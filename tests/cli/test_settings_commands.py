"""`config`, `init`, `completion` and `doctor`, started as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from crewcap.settings import starter
from crewcap.workspaces.sandbox.ladder import probe_all

Done = subprocess.CompletedProcess[str]
Crewcap = Callable[..., Done]


@pytest.fixture
def crewcap(tmp_path: Path) -> Crewcap:
    """The command, in a home of its own, with no terminal and nothing on stdin."""
    home = tmp_path / "home"
    home.mkdir()

    def call(*arguments: str, cwd: Path | None = None, **environ: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "crewcap", *arguments],
            env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environ},
            cwd=cwd or home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def wrote(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return str(path)


# --- config


def test_every_value_is_shown_with_its_origin(crewcap: Crewcap, tmp_path: Path) -> None:
    file = wrote(tmp_path, "[defaults]\ncap = 3.50\n")
    shown = crewcap("config", "show", "--config", file)
    assert shown.returncode == 0
    lines = {line.split("  #")[0].rstrip(): line.rpartition("# ")[2] for line in shown.stdout.splitlines()}
    assert lines["defaults.cap = 3.50"] == f"{file}:2"
    assert lines["defaults.max_turns = 40"] == "default"
    assert lines["budgets.all.day = 25.00"] == "default"


def test_machines_get_the_same_with_money_as_a_decimal_string(crewcap: Crewcap, tmp_path: Path) -> None:
    file = wrote(tmp_path, "[defaults]\ncap = 3.50\n")
    rows = json.loads(crewcap("--json", "--config", file, "config", "show").stdout)
    assert {"key": "defaults.cap", "value": "3.500000000", "origin": f"{file}:2"} in rows
    assert {"key": "defaults.timeout", "value": "45m", "origin": "default"} in rows


def test_a_schedule_whose_file_is_not_there_is_wrong(crewcap: Crewcap, tmp_path: Path) -> None:
    schedule = "[[schedules]]\nname = 'audit'\nrepo = 'r'\ncron = '0 2 * * *'\nprompt_file = 'audit.md'\n"
    done = crewcap("config", "check", "--config", wrote(tmp_path, f"[repos.r]\nurl = '/r'\n{schedule}"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0].endswith(f"{tmp_path}/audit.md cannot be read: No such file or directory")


def test_what_is_wrong_is_two_lines_on_stderr_and_status_2(crewcap: Crewcap, tmp_path: Path) -> None:
    done = crewcap("config", "check", "--config", wrote(tmp_path, "[defaults]\ncap = 5,00\n"))
    assert (done.returncode, done.stdout) == (2, "")
    error, help_ = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "line 2, column 8" in error
    assert help_ == "help: money is written with a point: 5.00"


def test_machines_get_errors_as_an_object(crewcap: Crewcap, tmp_path: Path) -> None:
    done = crewcap("config", "check", "--json", "--config", wrote(tmp_path, "[defaults]\ncap = -1\n"))
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "settings"


def test_a_pasted_key_is_printed_nowhere(crewcap: Crewcap, tmp_path: Path) -> None:
    file = wrote(tmp_path, '[providers.anthropic]\nkey = "sk-ant-fake-abcdef0123456789"\n')
    for command in (("config", "show"), ("config", "check"), ("doctor",), ("--json", "doctor")):
        done = crewcap(*command, "--config", file)
        assert "abcdef" not in done.stdout + done.stderr
        assert done.returncode in {2, 4}


def test_what_is_not_served_yet_is_said(crewcap: Crewcap, tmp_path: Path) -> None:
    file = wrote(tmp_path, '[triggers.github]\ntoken = { env = "T" }\n[budgets]\nall = { day = 5, tpm = 9 }\n')
    done = crewcap("config", "check", "--config", file)
    assert done.returncode == 0
    assert "triggers are not served yet" in done.stderr
    assert "budgets.all.tpm" not in done.stderr


def test_a_model_without_a_price_is_found_before_the_first_request(crewcap: Crewcap, tmp_path: Path) -> None:
    done = crewcap("config", "check", "--config", wrote(tmp_path, '[[routes]]\nmodel = "sonet-9"\n'))
    assert done.returncode == 2
    assert "routes[0].model" in done.stderr
    assert "sonet-9" in done.stderr


@pytest.mark.parametrize("others", ["[providers.openai]\n[providers.gemini]\n", "[providers.openai]\n"])
def test_a_model_is_priced_where_its_agent_asks_for_it(crewcap: Crewcap, tmp_path: Path, others: str) -> None:
    """`sonnet` is Anthropic's; that other providers have none is no mistake of a settings file."""
    for text in (others, f"[providers.anthropic]\n{others}"):
        assert crewcap("config", "check", "--config", wrote(tmp_path, text)).returncode == 0


def test_a_price_list_that_is_not_there_is_found_before_the_first_request(crewcap: Crewcap, tmp_path: Path) -> None:
    text = '[providers.acme]\ndialect = "openai"\nkey = { env = "X" }\nbase_url = "https://a.b"\nprices = "zzz"\n'
    done = crewcap("config", "check", "--config", wrote(tmp_path, text))
    assert done.returncode == 2
    assert "providers.acme.prices: there is no price list 'zzz'" in done.stderr


@pytest.mark.parametrize(
    "words",
    [("config", "check"), ("gateway", "--listen", "127.0.0.1:0"), ("exec", "--", "true"), ("serve",)],
    ids=lambda words: words[0],
)
def test_nothing_starts_on_a_price_list_that_is_not_there(
    crewcap: Crewcap, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Each says the same: a gateway that began would refuse every request of that provider."""
    file = wrote(tmp_path, '[providers.gemini]\nprices = "gemini"\n')
    done = crewcap(*words, CREWCAP_CONFIG=file)
    assert done.returncode == 2
    where, fix = done.stderr.splitlines()[:2]
    assert where == f"error: {file}: providers.gemini.prices: there is no price list 'gemini'"
    assert fix.strip().startswith("help: did you mean google? the lists there are: anthropic, ")


def test_a_key_file_that_others_can_read_ends_the_check_with_4(crewcap: Crewcap, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-ant-fake-abcdef0123456789")
    key.chmod(0o644)
    file = wrote(tmp_path, f'[providers.anthropic]\nkey = {{ file = "{key}" }}\n')
    done = crewcap("config", "check", "--config", file)
    assert done.returncode == 4
    assert f"help: chmod 600 {key}" in done.stderr


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('[repos.shop]\ntools = ["~"]', 2, "tools: ~ is, or holds, your whole home"),
        ('[repos.shop]\ntools = ["/"]', 2, "tools: / is, or holds, your whole home"),
        ('[repos.shop]\nurl = "."\ntools = ["~/.ssh"]', 3, "tools: ~/.ssh holds credentials"),
        ('[repos.shop]\ntools = ["/nowhere/go"]', 2, "tools: /nowhere/go is not on this machine"),
        ('[git]\nsigning_key = "/nowhere/key"', 2, "[git] signing_key /nowhere/key does not exist"),
    ],
)
def test_what_settings_name_on_this_machine_is_looked_at_before_a_run_is(
    crewcap: Crewcap, tmp_path: Path, text: str, line: int, says: str
) -> None:
    """By the function by which a run finds it, which would say so after its workspace was made."""
    file = wrote(tmp_path, f"{text}\n")
    done = crewcap("config", "check", "--config", file)
    assert done.returncode == 2
    what, fix = done.stderr.splitlines()
    assert what.startswith(f"error: {file}, line {line}: {says}")
    assert fix.startswith("help: ")
    told = crewcap("doctor", "--json", "--config", file)
    texts = [each["text"] for each in json.loads(told.stdout)["findings"] if each["level"] == "fail"]
    assert (told.returncode, what.removeprefix("error: ") in texts) == (2, True)


def test_a_repositorys_own_file_is_checked_as_if_merged(crewcap: Crewcap, tmp_path: Path) -> None:
    file = tmp_path / ".crewcap.toml"
    file.write_text('check = "make test"\n')
    assert crewcap("config", "check", "--repo-file", str(file)).returncode == 0
    file.write_text("[budgets]\nall = { day = 1000 }\n")
    done = crewcap("config", "check", "--repo-file", str(file))
    assert done.returncode == 2
    assert "budgets: a repository's own file may not set this" in done.stderr


def test_of_two_files_the_one_on_the_command_line_counts_and_is_named(crewcap: Crewcap, tmp_path: Path) -> None:
    file = wrote(tmp_path, "[defaults]\ncap = 3.50\n")
    done = crewcap("config", "show", "--config", file, CREWCAP_CONFIG="/other.toml")
    assert "defaults.cap = 3.50" in done.stdout
    assert f"--config {file} counts; $CREWCAP_CONFIG names /other.toml" in done.stderr


def test_the_schema_is_json_and_knows_every_table(crewcap: Crewcap) -> None:
    schema = json.loads(crewcap("config", "schema").stdout)
    assert {"providers", "defaults", "budgets", "repos", "routes", "gateway"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


# --- init


def test_init_writes_a_file_that_changes_nothing_and_never_twice(crewcap: Crewcap, tmp_path: Path) -> None:
    """The starter file says the defaults aloud; a second call leaves the first one's file alone."""
    before = json.loads(crewcap("--json", "config", "show").stdout)
    assert crewcap("init").returncode == 0
    path = tmp_path / "home" / ".config" / "crewcap" / "config.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    after = json.loads(crewcap("--json", "config", "show").stdout)
    assert [(row["key"], row["value"]) for row in after] == [(row["key"], row["value"]) for row in before]
    path.write_text("# mine\n")
    again = crewcap("init")
    assert again.returncode == 2
    assert "was left as it is" in again.stderr
    assert path.read_text() == "# mine\n"


def test_init_looks_at_the_repository(crewcap: Crewcap, tmp_path: Path) -> None:
    repository = tmp_path / "shop"
    (repository / ".git").mkdir(parents=True)
    (repository / "src").mkdir()
    (repository / "package-lock.json").touch()
    assert crewcap("init", "--repo", cwd=repository / "src").returncode == 0
    said = tomllib.loads((repository / ".crewcap.toml").read_text())
    assert said == {"setup": "npm ci", "check": "npm test", "hosts": ["npm"]}
    assert crewcap("config", "check", "--repo-file", str(repository / ".crewcap.toml")).returncode == 0
    assert crewcap("init", "--repo", cwd=repository).returncode == 2


def test_init_outside_of_a_repository_says_so(crewcap: Crewcap, tmp_path: Path) -> None:
    done = crewcap("init", "--repo", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not inside a git repository" in done.stderr


@pytest.mark.parametrize("marks", [project.marks[:1] for project in starter.PROJECTS] + [()])
def test_every_guess_is_a_file_that_can_be_read(marks: tuple[str, ...]) -> None:
    text, _ = starter.repository_file(marks)
    assert set(tomllib.loads(text)) <= {"setup", "check", "hosts"}


# --- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(crewcap: Crewcap, shell: str) -> None:
    done = crewcap("completion", shell)
    assert done.returncode == 0
    assert "_CREWCAP_COMPLETE" in done.stdout


def test_the_script_of_bash_completes_commands(crewcap: Crewcap) -> None:
    """What the shell asks when somebody presses the tabulator."""
    asked = {"_CREWCAP_COMPLETE": "bash_complete", "COMP_WORDS": "crewcap conf", "COMP_CWORD": "1"}
    assert "config" in crewcap(**asked).stdout


# --- doctor


def findings(done: Done) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_a_missing_key_makes_a_machine_unfit_and_says_how_to_give_it(crewcap: Crewcap) -> None:
    done = crewcap("doctor")
    assert done.returncode == 4
    assert "fail  key" in done.stdout
    assert "-> export ANTHROPIC_API_KEY=" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("not fit: ")


def test_a_key_that_is_there_is_found_and_never_printed(crewcap: Crewcap) -> None:
    done = crewcap("doctor", "--json", ANTHROPIC_API_KEY="sk-ant-fake-abcdef0123456789")
    found = findings(done)
    assert found["key"]["level"] == "ok"
    assert "$ANTHROPIC_API_KEY" in found["key"]["text"]
    assert "abcdef" not in done.stdout + done.stderr
    assert {found[name]["level"] for name in ("python", "settings", "git", "prices", "ledger")} == {"ok"}


def test_doctor_makes_no_ledger_and_no_folder(crewcap: Crewcap, tmp_path: Path) -> None:
    """Looking is not using."""
    crewcap("doctor")
    assert list((tmp_path / "home").iterdir()) == []


def test_wrong_settings_are_a_finding_like_others(crewcap: Crewcap, tmp_path: Path) -> None:
    done = crewcap("doctor", "--json", "--config", wrote(tmp_path, "[defaults]\ncapp = 1\n"))
    assert done.returncode == 2  # as `run` ends with them
    found = findings(done)
    assert found["settings"]["level"] == "fail"
    assert "did you mean `cap`?" in found["settings"]["help"]
    assert "git" in found


def test_a_missing_git_is_a_finding_with_its_remedy(crewcap: Crewcap, tmp_path: Path) -> None:
    found = findings(crewcap("doctor", "--json", PATH=str(tmp_path)))
    assert (found["git"]["level"], found["git"]["text"]) == ("fail", "git is not installed")
    assert "apt install git" in found["git"]["help"]


def test_a_repositorys_own_file_that_is_wrong_ends_doctor_as_it_ends_a_run(crewcap: Crewcap, tmp_path: Path) -> None:
    """A defect of settings is 2, whoever finds it; 4 is for a machine that is not fit."""
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / ".crewcap.toml").write_text("setup = 3\n")
    for words in (("init", "-q"), ("add", "-A"), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    key = {"ANTHROPIC_API_KEY": "sk-ant-fake-abcdef0123456789"}
    looked = crewcap("doctor", "--repo", str(folder), **key)
    started = crewcap("run", "-p", "x", "--repo", str(folder), **key)
    assert (looked.returncode, started.returncode) == (2, 2)
    [what, *_] = started.stderr.splitlines()
    assert what.removeprefix("error: ") in looked.stdout


# --- doctor --repo


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository whose own file says how it is set up and checked."""
    missing = [each.missing for each in probe_all(state=tmp_path)[:1] if each.missing]
    if missing:
        pytest.skip(missing[0])
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / ".crewcap.toml").write_text('setup = "mkdir made"\ncheck = "test -d made && cat greeting"\n')
    (folder / "greeting").write_text("3 passed\n")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Everything that lies there, as one commit."""
    who = ("-c", "user.name=ana", "-c", "user.email=ana@example.com")
    for words in (("init", "--quiet", "-b", "main"), ("add", "--all"), (*who, "commit", "--quiet", "-m", "a change")):
        subprocess.run(["git", *words], cwd=folder, check=True, timeout=30, stdin=subprocess.DEVNULL)


@pytest.mark.sandbox
def test_setup_and_check_are_run_once_in_the_sandbox_and_leave_nothing(crewcap: Crewcap, shop: Path) -> None:
    """At no cost, without an agent; the repository is only read."""
    done = crewcap("doctor", "--json", "--repo", str(shop))
    found = findings(done)
    assert (found["setup"]["level"], found["check"]["level"]) == ("ok", "ok")
    assert "3 passed" in found["check"]["text"]
    assert ".crewcap.toml is read at" in found["repository"]["text"]
    assert not (shop / "made").exists()
    state = shop.parent / "home" / ".local" / "state" / "crewcap"
    assert list(state.glob("doctor-*")) == []


@pytest.mark.sandbox
def test_a_setup_that_fails_is_a_failure_and_a_red_check_is_not(crewcap: Crewcap, shop: Path) -> None:
    """A red check may be what an issue is about; without its setup no run can start."""
    (shop / "greeting").unlink()
    commit(shop)
    found = findings(crewcap("doctor", "--json", "--repo", str(shop)))
    assert found["check"]["level"] == "warn"
    (shop / ".crewcap.toml").write_text('setup = "echo no wheels; exit 7"\n')
    commit(shop)
    found = findings(crewcap("doctor", "--json", "--repo", str(shop)))
    assert found["setup"]["level"] == "fail"
    assert "no wheels" in found["setup"]["text"]
    assert "check" not in found


@pytest.mark.sandbox
def test_a_repositorys_file_that_reaches_for_money_is_a_finding(crewcap: Crewcap, shop: Path) -> None:
    (shop / ".crewcap.toml").write_text("[budgets]\nall = { day = 9999 }\n")
    commit(shop)
    found = findings(crewcap("doctor", "--json", "--repo", str(shop)))
    assert found["repository"]["level"] == "fail"
    assert "budgets: a repository's own file may not set this" in found["repository"]["text"]
