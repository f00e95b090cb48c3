"""`crewcap batch` as a user types it, against a provider that has batch APIs and bills on its own meter."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crewcap.core.money import ZERO, Money
from crewcap.home import Home
from crewcap.prices import load
from crewcap.runner.batch_results import totals_of
from crewcap.simulator.batch import BatchScript
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator

ANSWERS = Script(name="batch", steps=(Step(name="yes", say="Reviewed: {{task}}", output_tokens=200),))
MODELS = {"anthropic": "claude-sonnet-4-6", "responses": "gpt-5", "chat": "gpt-4.1"}


@dataclass
class Shell:
    """A user's folder with crewcap in it."""

    folder: Path
    simulator: Simulator
    environ: dict[str, str]

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "crewcap", *words]

    def run(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*words),
            env=self.environ,
            cwd=self.folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def prompts(self, count: int, name: str = "audits.jsonl", **more: Any) -> str:
        lines = [{"id": f"file-{n}", "prompt": f"Audit file number {n}", **more} for n in range(count)]
        (self.folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return name

    def results(self, folder: str) -> list[dict[str, Any]]:
        lines = (self.folder / folder / "results.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def journal(self, name: str) -> list[str]:
        path = Home(self.folder / "state").batches / name / "journal.jsonl"
        return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with Simulator.in_thread(ANSWERS, book=load(), batches=BatchScript(polls=2)) as simulator:
        yield simulator


@pytest.fixture
def shell(tmp_path: Path, provider: Simulator) -> Shell:
    provider.reset()
    provider.batches.script = BatchScript(polls=2)
    (tmp_path / "config.toml").write_text(
        "".join(
            f'[providers.{name}]\nkey = {{ env = "{name.upper()}_API_KEY" }}\nbase_url = "{provider.url}"\n'
            f'prices = "{name}"\n'
            for name in ("anthropic", "openai")
        )
        + '[gateway]\nbatch_poll = "1s"\n'
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CREWCAP_HOME": str(tmp_path / "state"),
        "CREWCAP_CONFIG": str(tmp_path / "config.toml"),
        "ANTHROPIC_API_KEY": "sk-ant-fake-canary-batch-01",
        "OPENAI_API_KEY": "sk-fake-canary-batch-02",
    }
    return Shell(tmp_path, provider, environ)


@pytest.mark.parametrize("api", list(MODELS))
def test_twenty_prompts_cost_the_same_in_every_book(shell: Shell, api: str) -> None:
    """Ledger, report, files and the provider's meter: the same sum, to the last unit."""
    words = ["--api", "chat"] if api == "chat" else []
    done = shell.run("batch", "run", shell.prompts(20), "--cap", "10", "--model", MODELS[api], "--json", *words)
    assert done.returncode == 0, done.stderr
    said, billed = json.loads(done.stdout), shell.simulator.meter.total()
    assert billed > ZERO
    assert Money.usd(said["cost_usd"]) == billed
    assert (said["state"], said["succeeded"], said["held_usd"]) == ("done", 20, ZERO.exact())
    results = shell.results("audits.results")
    assert totals_of(results) == billed
    assert {line["state"] for line in results} == {"succeeded"}
    assert (shell.folder / "audits.results" / "file-7.md").read_text().startswith("Reviewed: Audit file number 7")
    (row,) = shell.json("report", "workflow")["rows"]
    assert (row["workflow"], Money.usd(row["spent_usd"])) == ("batch", billed)
    assert shell.json("ledger", "verify")["ok"] is True
    assert "canary" not in done.stdout + done.stderr


def test_a_dry_run_says_what_will_be_held_and_spends_nothing(shell: Shell) -> None:
    """Its worst case is the ledger's hold, to the last unit; after one batch it knows what answers come to."""
    shell.simulator.batches.script = BatchScript(polls=40)
    prompts = shell.prompts(12)
    foreseen = shell.json("batch", "run", prompts, "--cap", "5", "--dry-run")
    assert not (shell.folder / "state").exists()
    assert shell.simulator.batches.posted == 0
    assert (foreseen["sent"], foreseen["models"][0]["earlier_answers"]) == (12, 0)
    assert shell.run("batch", "run", prompts, "--cap", "5", "--no-wait").returncode == 0
    assert shell.json("batch", "show", "audits")["held_usd"] == foreseen["worst_usd"]
    shell.simulator.batches.script = BatchScript(polls=1)
    assert shell.run("batch", "resume", "audits").returncode == 0
    again = shell.json("batch", "run", prompts, "--cap", "5", "--dry-run")
    likely, billed = Money.usd(again["likely_usd"]), shell.simulator.meter.total()
    assert again["models"][0]["earlier_answers"] == 12
    assert 9 * billed.nano < 10 * likely.nano < 11 * billed.nano
    assert Money.usd(again["one_by_one_usd"]) > likely
    short = shell.run("batch", "run", prompts, "--cap", "0.05", "--dry-run")
    assert short.returncode == 3
    assert "free of the cap of $0.05" in short.stdout


def test_no_wait_leaves_it_to_resume(shell: Shell) -> None:
    """What the provider has goes on without us; its money stays held, whoever starts or stops a gateway meanwhile."""
    shell.simulator.batches.script = BatchScript(polls=40)
    done = shell.run("batch", "run", shell.prompts(6), "--cap", "5", "--no-wait")
    assert done.returncode == 0, done.stderr
    assert "crewcap batch resume audits" in done.stderr
    shown = shell.json("batch", "show", "audits")
    assert shown["state"] == "working"
    assert Money.usd(shown["held_usd"]) > ZERO
    assert Money.usd(shown["uncertain_usd"]) == ZERO
    (open_,) = shell.json("status")["batches"]
    assert (open_["name"], open_["held_usd"], open_["is_worked_on"]) == ("audits", shown["held_usd"], False)
    assert "nobody collects it: crewcap batch resume audits" in shell.run("status").stdout
    shell.simulator.batches.script = BatchScript(polls=1)
    assert shell.run("batch", "resume", "audits", "--out", "elsewhere").returncode == 0
    assert len(shell.results("elsewhere")) == 6
    assert shell.simulator.batches.posted == 1
    (listed,) = shell.json("batch", "list")
    assert (listed["state"], Money.usd(listed["cost_usd"])) == ("done", shell.simulator.meter.total())
    assert shell.json("status")["batches"] == []


@pytest.mark.parametrize("event", ["posting", "posted"])
def test_a_killed_command_is_gone_on_from(shell: Shell, event: str) -> None:
    """kill -9 of the command, and of its gateway with it; the provider has the batch, whether we know it or not."""
    shell.simulator.batches.script = BatchScript(polls=40)
    words = shell.words("batch", "run", shell.prompts(5), "--cap", "5")
    with subprocess.Popen(words, env=shell.environ, cwd=shell.folder, stderr=subprocess.DEVNULL) as command:
        shell.until(lambda: event in shell.journal("audits") and shell.simulator.batches.posted)
        gateway = json.loads(Home(shell.folder / "state").gateway_note.read_text())["pid"]
        command.kill()
        os.kill(gateway, signal.SIGKILL)
    shell.simulator.batches.script = BatchScript(polls=1)
    done = shell.run("batch", "resume", "audits")
    assert done.returncode == 0, done.stderr
    assert shell.simulator.batches.posted == 1
    assert totals_of(shell.results("audits.results")) == shell.simulator.meter.total() > ZERO
    assert shell.json("ledger", "verify")["ok"] is True


def test_ctrl_c_keeps_it_and_says_how_to_go_on(shell: Shell) -> None:
    shell.simulator.batches.script = BatchScript(polls=1_000)
    words = shell.words("batch", "run", shell.prompts(3), "--cap", "5")
    with subprocess.Popen(
        words, env=shell.environ, cwd=shell.folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as command:
        shell.until(lambda: "posted" in shell.journal("audits"))
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=30)
    assert command.returncode == 130
    assert "crewcap batch resume audits" in err
    assert "Traceback" not in err
    done = shell.run("batch", "cancel", "audits", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["state"], said["held_usd"]) == (1, "done", ZERO.exact())
    assert Money.usd(said["cost_usd"]) == shell.simulator.meter.total()


def test_prompts_that_do_not_fit_are_named_and_the_rest_go(shell: Shell) -> None:
    done = shell.run("batch", "run", shell.prompts(30), "--cap", "0.05", "--max-output", "1000")
    assert done.returncode == 3, done.stderr
    assert re.search(r"not sent +file-\d+: key:\w+ has", done.stdout)
    results = shell.results("audits.results")
    refused = [line for line in results if line["state"] == "refused"]
    assert 0 < len(refused) < 30
    assert len(results) == 30
    assert totals_of(results) == shell.simulator.meter.total() <= Money.usd("0.05")
    again = shell.run("batch", "run", "audits.results/refused.jsonl", "--cap", "5", "--json")
    assert (again.returncode, json.loads(again.stdout)["succeeded"]) == (0, len(refused))
    assert {line["id"] for line in shell.results("refused.results")} == {line["id"] for line in refused}


def test_a_folder_of_issues_gets_its_answers_as_reports(shell: Shell) -> None:
    (shell.folder / "issues").mkdir()
    for name in ("login", "logout"):
        (shell.folder / "issues" / f"{name}.md").write_text(f"---\ntitle: Review {name}\n---\n\nIs {name} sound?\n")
    done = shell.run("batch", "run", "issues", "--cap", "5")
    assert done.returncode == 0, done.stderr
    written = (shell.folder / "issues" / "login.md").read_text()
    assert "<!-- crewcap:batch-issues -->" in written
    assert "Is login sound?" in written.partition("<!-- crewcap")[2]
    shell.run("batch", "resume", "issues")
    assert (shell.folder / "issues" / "login.md").read_text() == written


def test_prompts_may_come_from_stdin_with_context_and_files(shell: Shell) -> None:
    (shell.folder / "rules.md").write_text("Be brief.")
    (shell.folder / "page.html").write_text("<p>hello</p>")
    line = json.dumps({"id": "one", "prompt": "Audit this page", "files": ["page.html"], "system": "You audit."})
    done = shell.run("batch", "run", "-", "--cap", "5", "--name", "pages", "--context", "rules.md", text=line + "\n")
    assert done.returncode == 0, done.stderr
    (batch,) = shell.simulator.batches.made.values()
    body = batch.items[0][1].decode()
    assert body.index("Be brief.") < body.index("hello") < body.index("Audit this page")
    assert "You audit." in body


def test_nothing_is_sent_where_one_prompt_is_wrong(shell: Shell) -> None:
    """One line says what and where; `tests/runner/test_batch_prompts.py` has every way to be wrong."""
    (shell.folder / "audits.jsonl").write_text('{"id": "a", "prompt": "x"}\n{"id": "b", "promt": "x"}\n')
    done = shell.run("batch", "run", "audits.jsonl", "--cap", "5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: audits.jsonl:2: unknown key 'promt'; did you mean 'prompt'?")
    assert shell.simulator.batches.posted == 0
    assert shell.json("batch", "list") == []
