"""One run, one sum: the provider's meter, the ledger and everything that shows money agree to the last unit."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from tests.e2e.bench import ISSUE, Bench, until
from tests.e2e.conftest import Setting

from crewcap.core.money import Money

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


@dataclass(frozen=True)
class Story:
    """A run that has ended, and what the gateway that served it had counted by then."""

    bench: Bench
    cost: Money  # by the provider's own meter
    metrics: str

    def json(self, *words: str) -> Any:
        done = self.bench.crewcap(*words, "--json")
        assert done.status == 0, done.err
        return json.loads(done.out)

    def out(self, *words: str) -> str:
        done = self.bench.crewcap(*words)
        assert done.status == 0, done.err
        return done.out


@pytest.fixture(scope="module")
def story(shared_bench: Setting) -> Iterator[Story]:
    made = shared_bench("fix-login")
    gateway = made.start("gateway", "--listen", "127.0.0.1:0")
    until(made.home.gateway_note.exists, "the gateway is up")
    note = json.loads(made.home.gateway_note.read_text(encoding="utf-8"))
    done = made.crewcap("run", ISSUE)
    assert done.status == 0, done.err
    with urllib.request.urlopen(f"{note['url']}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    yield Story(made, made.metered(), metrics)
    gateway.signal(signal.SIGTERM)
    gateway.end()


def test_the_ledger_is_the_meter(story: Story) -> None:
    assert story.cost > Money(0)
    assert story.bench.charged() == story.cost
    assert story.bench.verify() == ()


def test_commands_for_one_run_say_it(story: Story) -> None:
    run, exact = story.bench.run(), story.cost.exact()
    assert story.json("cost", run.name)["cost_usd"] == exact
    assert story.json("show", run.name)["cost_usd"] == exact
    assert f"({exact})" in story.out("cost", run.name)
    assert story.cost.show() in story.out("show", run.name)


def test_an_audit_finds_it_in_the_providers_own_words(story: Story) -> None:
    said = story.json("audit", story.bench.run().name)
    assert (said["sum_usd"], said["ledger_usd"], said["equal"]) == (story.cost.exact(),) * 2 + (True,)
    assert [each["equal"] for each in said["requests"]] == [True] * len(story.bench.simulator.meter.bills)


@pytest.mark.parametrize("by", ["day", "month", "run", "issue", "repo", "user", "model", "agent", "phase"])
def test_every_report_adds_up_to_it(story: Story, by: str) -> None:
    said = story.json("report", by)
    assert said["total"]["cost_usd"] == story.cost.exact()
    assert sum(Decimal(row["cost_usd"]) for row in said["rows"]) == Decimal(story.cost.exact())


def test_status_and_stats_say_it(story: Story) -> None:
    assert story.json("status", "--since", "1d")["ended_cost_usd"] == story.cost.exact()
    assert story.json("stats")["cost_usd"] == story.cost.exact()


def test_the_report_in_the_issue_says_it(story: Story) -> None:
    text = (story.bench.shop / ISSUE).read_text(encoding="utf-8")
    assert f"{story.cost.show()} of" in text
    assert f"Exactly ${story.cost.exact()}," in text


def test_every_export_adds_up_to_it(story: Story) -> None:
    exact = Decimal(story.cost.exact())
    focus = csv.DictReader(io.StringIO(story.out("export", "focus")))
    rows = csv.DictReader(io.StringIO(story.out("export", "csv")))
    objects = map(json.loads, story.out("export", "json").splitlines())
    assert sum(Decimal(row["BilledCost"]) for row in focus) == exact
    assert sum(Decimal(row["cost_usd"]) for row in rows) == exact
    assert sum(Decimal(each["cost_usd"]) for each in objects) == exact


def test_the_gateways_metrics_add_up_to_it(story: Story) -> None:
    spent = re.findall(r"^crewcap_spent_nanodollars_total\{[^}]*\} (\d+)$", story.metrics, re.MULTILINE)
    assert sum(map(int, spent)) == story.cost.nano


def test_what_prompts_were_made_of_is_told(story: Story) -> None:
    """An estimate, of exactly the tokens that were billed."""
    name = story.bench.run().name
    tokens = story.json("cost", name)["tokens"]
    prompt = sum(tokens[kind] for kind in ("input", "cache_read", "write_5m", "write_1h"))

    def told() -> int:
        return sum(story.json("cost", name)["input_parts"].values())

    until(lambda: told() == prompt, "a second later it is written")
    said = story.json("cost", name)
    assert said["input_parts"]["tools"] > 0
    assert said["states"]["input_parts"] == "estimated"
