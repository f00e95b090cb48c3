"""The scopes, limits and keys of a run, in real books."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.ledger_machine import order

from crewcap.core.budget import ALL, Balance, BootId, Denied, Granted, Refused, Scope
from crewcap.core.keys import PREFIX, hash_key
from crewcap.core.money import Money
from crewcap.core.runs import Issue, Run, RunId, RunState
from crewcap.home import Home
from crewcap.runner.access import Access, bring_limits, end_keys, give_key, scopes_kept, scopes_of
from crewcap.stores import Limit
from crewcap.stores.sqlite.ledger import SqliteLedger

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISSUE = Issue(tracker="files", key="fix", title="Fix", body="...")
RUN = Run(
    id=RunId("r1"), name="fix.1", issue=ISSUE, state=RunState.RUNNING, repo="shop", repo_path="/srv/shop",
    cap=Money.usd("0.50"), max_turns=40, timeout_s=2_700, created_at=NOW,
)  # fmt: skip
SCOPES = scopes_of(ISSUE, run="r1", repo="shop", user="ana", teams=("core", "web"))
usd = Money.usd


@pytest.fixture
def clocks() -> Clocks:
    return Clocks(NOW)


@pytest.fixture
def ledger(tmp_path: Path, clocks: Clocks) -> Iterator[SqliteLedger]:
    made = SqliteLedger(Home(tmp_path), clock=clocks.clock, monotonic=clocks.monotonic)
    yield made
    made.close()


@pytest.fixture
def boot(ledger: SqliteLedger) -> BootId:
    return ledger.start_boot()


def give(ledger: SqliteLedger, *, turns_left: int = 40, run: Run = RUN) -> Access:
    return give_key(ledger, run, scopes=SCOPES, max_output=16_000, turns_left=turns_left, now=NOW)


def balance(ledger: SqliteLedger, scope: str) -> Balance:
    return next(one for one in ledger.all_balances() if one.scope == scope)


def test_a_run_is_paid_for_by_everything_that_it_belongs_to_the_narrowest_first() -> None:
    assert SCOPES == ("run:r1", "issue:files/fix", "repo:shop", "user:ana", "team:core", "team:web", ALL)


def test_a_key_is_known_by_its_hash_and_shows_itself_nowhere(ledger: SqliteLedger) -> None:
    access = give(ledger)
    assert access.secret.startswith(PREFIX)
    assert access.secret not in repr(access)
    key = ledger.find_key(hash_key(access.secret))
    assert key is not None
    assert (key.id, key.run, key.label, key.max_output, key.max_turns) == (access.key_id, "r1", "fix.1", 16_000, 40)
    assert key.scopes == (f"key:{access.key_id}", *SCOPES)
    assert key.capped
    assert key.expires_at == NOW + timedelta(seconds=2_700, minutes=10)
    assert give(ledger).secret != access.secret


def test_a_second_start_has_what_the_first_one_left(ledger: SqliteLedger, boot: BootId) -> None:
    """The cap belongs to the run and not to an attempt."""
    bring_limits(ledger, RUN, issue_cap=usd(10), issue_source="default")
    first = give(ledger)
    assert isinstance(ledger.reserve(order("a", boot=boot, key=first.key_id, amount=usd("0.40"))), Granted)
    end_keys(ledger, RUN)
    bring_limits(ledger, RUN, issue_cap=usd(10), issue_source="default")
    second = give(ledger)
    refused = ledger.reserve(order("b", boot=boot, key=second.key_id, amount=usd("0.20")))
    assert isinstance(refused, Refused)
    assert (refused.binding.scope, refused.binding.left) == ("run:r1", usd("0.10"))
    assert isinstance(ledger.reserve(order("c", boot=boot, key=second.key_id, amount=usd("0.10"))), Granted)


def test_a_raised_cap_is_in_force_at_once(ledger: SqliteLedger) -> None:
    bring_limits(ledger, RUN, issue_cap=usd(10), issue_source="default")
    bring_limits(ledger, replace(RUN, cap=usd(2)), issue_cap=usd(10), issue_source="default")
    assert (balance(ledger, "run:r1").limit, balance(ledger, "run:r1").source) == (usd(2), "run")


def test_a_repositorys_move_to_another_team_holds_for_new_runs(ledger: SqliteLedger) -> None:
    """A later start of the same run is paid for as the first was."""
    assert scopes_kept(ledger, RUN) == ()
    give(ledger)
    moved = scopes_of(ISSUE, run="r1", repo="shop", user="ana", teams=("ops",))
    assert scopes_kept(ledger, RUN) == SCOPES != moved
    assert scopes_kept(ledger, replace(RUN, id=RunId("r2"))) == ()


def test_what_somebody_set_for_the_issue_by_command_stands(ledger: SqliteLedger) -> None:
    ledger.set_limit(Limit(scope=Scope("issue:files/fix"), window="total", amount=usd(1), source="command"))
    bring_limits(ledger, RUN, issue_cap=usd(10), issue_source="default")
    assert (balance(ledger, "issue:files/fix").limit, balance(ledger, "issue:files/fix").source) == (usd(1), "command")


def test_old_keys_of_the_run_are_dead_and_no_others(ledger: SqliteLedger, boot: BootId) -> None:
    mine, other = give(ledger), give(ledger, run=replace(RUN, id=RunId("r2")))
    end_keys(ledger, RUN)
    end_keys(ledger, RUN)
    denied = ledger.reserve(order("a", boot=boot, key=mine.key_id, amount=usd("0.01")))
    assert isinstance(denied, Denied)
    assert denied.code == "key_revoked"
    assert isinstance(ledger.reserve(order("b", boot=boot, key=other.key_id, amount=usd("0.01"))), Granted)


def test_a_key_without_turns_left_asks_for_nothing(ledger: SqliteLedger, boot: BootId) -> None:
    denied = ledger.reserve(order("a", boot=boot, key=give(ledger, turns_left=0).key_id, amount=usd("0.01")))
    assert isinstance(denied, Denied)
    assert denied.code == "turn_limit"


def test_a_key_dies_soon_after_its_run_should_have_ended(ledger: SqliteLedger, clocks: Clocks, boot: BootId) -> None:
    """Also where nobody was left to end it."""
    key = give(ledger).key_id
    clocks.pass_time(timedelta(minutes=54))
    assert isinstance(ledger.reserve(order("a", boot=boot, key=key, amount=usd("0.01"))), Granted)
    clocks.pass_time(timedelta(minutes=2))
    denied = ledger.reserve(order("b", boot=boot, key=key, amount=usd("0.01")))
    assert isinstance(denied, Denied)
    assert denied.code == "key_expired"
