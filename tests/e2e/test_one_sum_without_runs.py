"""A batch over issues, a program on a key: one sum each in the provider's meter, the books and all that shows money."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from tests.e2e.test_batch import ANSWERS, Shell

from crewcap.core.money import Money
from crewcap.prices import load
from crewcap.simulator.batch import BatchScript
from crewcap.simulator.server import Simulator

LIMIT_S = 60
ISSUES = ("login", "logout", "search")
ASK = """
import json, os, urllib.request
body = {"model": "claude-sonnet-4-6", "max_tokens": 300, "messages": [{"role": "user", "content": "What is %d?"}]}
for number in range(3):
    headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "anthropic-version": "2023-06-01"}
    sent = json.dumps(body).replace("%d", str(number)).encode()
    url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
    urllib.request.urlopen(urllib.request.Request(url, sent, {**headers, "content-type": "application/json"})).read()
"""


@dataclass(frozen=True)
class Story:
    """Both have ended, and what the gateway that served them had counted by then."""

    shell: Shell
    batch: Money  # by the provider's own meter
    program: Money
    said: str  # by `exec`, at its end
    metrics: str

    @property
    def both(self) -> Decimal:
        return Decimal((self.batch + self.program).exact())


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("one-sum")
    with Simulator.in_thread(ANSWERS, book=load(), batches=BatchScript(polls=1)) as simulator:
        shell = _shell(folder, simulator)
        gateway = subprocess.Popen(
            shell.words("gateway", "--listen", "127.0.0.1:0", "--json"),
            env=shell.environ,
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert gateway.stdout is not None
            url = json.loads(gateway.stdout.readline())["url"]
            done = shell.run("batch", "run", "issues", "--cap", "5")
            assert done.returncode == 0, done.stderr
            batch = simulator.meter.total()
            done = shell.run("exec", "--cap", "1", "--scope", "user:ana", "--", sys.executable, "-c", ASK)
            assert done.returncode == 0, done.stderr
            with urllib.request.urlopen(f"{url}/metrics", timeout=LIMIT_S) as answer:
                metrics = answer.read().decode()
            yield Story(shell, batch, simulator.meter.total() - batch, done.stderr, metrics)
        finally:
            gateway.terminate()
            gateway.communicate(timeout=LIMIT_S)


def _shell(folder: Path, simulator: Simulator) -> Shell:
    (folder / "issues").mkdir()
    for name in ISSUES:
        (folder / "issues" / f"{name}.md").write_text(f"---\ntitle: Review {name}\n---\n\nIs {name} sound?\n")
    (folder / "config.toml").write_text(
        f'[providers.anthropic]\nkey = {{ env = "ANTHROPIC_API_KEY" }}\nbase_url = "{simulator.url}"\n'
        'prices = "anthropic"\n[gateway]\nbatch_poll = "1s"\n'
    )
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "CREWCAP_HOME": str(folder / "state"),
        "CREWCAP_CONFIG": str(folder / "config.toml"),
        "ANTHROPIC_API_KEY": "sk-ant-fake-canary-one-sum",
    }
    return Shell(folder, simulator, environ)


def test_the_ledger_is_the_meter(story: Story) -> None:
    assert story.batch > Money(0)
    assert story.program > Money(0)
    assert story.shell.json("ledger", "verify")["ok"] is True
    (listed,) = story.shell.json("batch", "list")
    assert listed["cost_usd"] == story.batch.exact()


def test_what_exec_says_at_its_end_is_the_programs_cost(story: Story) -> None:
    assert f"{story.program.show()} of $1.00" in story.said


def test_reports_add_up_to_both_and_tell_them_apart(story: Story) -> None:
    for by in ("day", "month", "user", "model", "workflow", "key"):
        said = story.shell.json("report", by)
        assert Decimal(said["total"]["cost_usd"]) == story.both
        assert sum(Decimal(row["cost_usd"]) for row in said["rows"]) == story.both
    workflows = {row["workflow"]: row["cost_usd"] for row in story.shell.json("report", "workflow")["rows"]}
    assert workflows["batch"] == story.batch.exact()
    users = {row["user"]: row["cost_usd"] for row in story.shell.json("report", "user")["rows"]}
    assert users["ana"] == story.program.exact()


def test_the_reports_in_the_issues_add_up_to_the_batch(story: Story) -> None:
    texts = [(story.shell.folder / "issues" / f"{name}.md").read_text() for name in ISSUES]
    said = [re.search(r"Exactly \$(\d+\.\d{9})\.", text) for text in texts]
    assert sum(Money.usd(found[1]).nano for found in said if found) == story.batch.nano


def test_every_export_adds_up_to_both(story: Story) -> None:
    def told(what: str) -> str:
        done = story.shell.run("export", what)
        assert done.returncode == 0, done.stderr
        return done.stdout

    focus = list(csv.DictReader(io.StringIO(told("focus"))))
    assert sum(Decimal(row["BilledCost"]) for row in focus) == story.both
    assert sum(Decimal(row["cost_usd"]) for row in csv.DictReader(io.StringIO(told("csv")))) == story.both
    assert sum(Decimal(json.loads(line)["cost_usd"]) for line in told("json").splitlines()) == story.both
    of_batch = [row for row in focus if row["PricingCategory"] == "Dynamic"]
    assert sum(Decimal(row["BilledCost"]) for row in of_batch) == Decimal(story.batch.exact())


def test_the_gateways_metrics_add_up_to_both(story: Story) -> None:
    spent = re.findall(r"^crewcap_spent_nanodollars_total\{[^}]*\} (\d+)$", story.metrics, re.MULTILINE)
    assert sum(map(int, spent)) == (story.batch + story.program).nano


def test_the_forecast_begins_with_what_was_spent(story: Story) -> None:
    said = story.shell.run("forecast", "--json")
    assert said.returncode == 0, said.stderr
    assert (story.batch + story.program).exact() in said.stdout
