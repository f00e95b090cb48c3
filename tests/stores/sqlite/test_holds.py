"""What is plain is granted in one look, and that look never says more than the law asked point by point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.ledger_machine import order
from tests.stores.books import Shelf, usd

from crewcap.core.budget import ALL, BootId, Granted, KeyId, Scope, Window
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.stores import HoldOrder, Limit
from crewcap.stores.sqlite import holds
from crewcap.stores.sqlite.ledger import SqliteLedger

RUN = Scope("run:r1")
WINDOWS: tuple[Window, ...] = ("total", "day", "week", "month")


def asked(name: str, boot: BootId, *, key: str = "k1", amount: int, keep: int = 0, model: str = "m1") -> HoldOrder:
    return replace(order(name, boot=boot, key=key, amount=Money(amount), model=model), keep=Money(keep))


def keys(at: datetime) -> Iterator[VirtualKey]:
    """One that may do everything, and one for each thing that a key may not."""
    plain = VirtualKey(id=KeyId("k1"), hash="k1", scopes=(Scope("key:k1"), RUN, ALL), created_at=at, run="r1")
    yield plain
    others = (
        replace(plain, models=("m1", "m2")),
        replace(plain, max_turns=2),
        replace(plain, expires_at=at + timedelta(minutes=30)),
    )
    for number, other in enumerate(others, 2):
        name = f"k{number}"
        yield replace(other, id=KeyId(name), hash=name, scopes=(Scope(f"key:{name}"), RUN, ALL))


REQUESTS = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["k1", "k2", "k3", "k4", "nobody"]),
        "amount": st.integers(0, 40),
        "keep": st.sampled_from([0, 0, 20]),
        "model": st.sampled_from(["m1", "m3"]),
    }
)
STEPS = st.one_of(
    *[REQUESTS] * 6,
    st.builds(
        lambda window, most: Limit(scope=ALL, window=window, amount=Money(most), source="command"),
        st.sampled_from(WINDOWS),
        st.integers(0, 120),
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    st.integers(1, 3_000),
    st.sampled_from([b"k1", b"k2"]),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=40))
def test_one_look_decides_as_the_law_does_point_by_point(
    tmp_path_factory: pytest.TempPathFactory, steps: list[object]
) -> None:
    """Amounts, slices to be kept, limits, zones, days that pass, keys that are revoked."""
    shelf = Shelf(tmp_path_factory.mktemp("one-look"))
    ledger = shelf.open()
    for key in keys(shelf.clocks.wall):
        ledger.add_key(key, cap=Money(100))
    ledger.set_limit(Limit(scope=RUN, window="total", amount=Money(90), source="command"))
    boot = ledger.start_boot()
    for number, step in enumerate(steps):
        if isinstance(step, dict):
            asked_twice(ledger, asked(f"h{number}", boot, **step))
        else:
            happen(shelf, ledger, step)
    assert ledger.verify().problems == ()
    ledger.close()


def asked_twice(ledger: SqliteLedger, it: HoldOrder) -> None:
    """Point by point, which is then undone, and for good."""
    with ledger._writing(durable=True) as (db, now):
        db.execute("SAVEPOINT before")
        law = holds.decide(db, it, now)
        db.execute("ROLLBACK TO before")
        assert holds.reserve(db, it, now) == (law or Granted(hold=it.hold, amount=it.amount))


def happen(shelf: Shelf, ledger: SqliteLedger, step: object) -> None:
    """Something else than a request."""
    match step:
        case Limit():
            ledger.set_limit(step)
        case str():
            ledger.sync_file_limits([], zone=step)
        case int():
            shelf.clocks.pass_time(timedelta(minutes=step))
        case bytes():
            ledger.revoke_key(KeyId(step.decode()))


def test_a_plain_hold_is_made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same order again is granted as it was, and holds nothing more."""
    shelf = Shelf(tmp_path_factory.mktemp("once"))
    ledger, boot = shelf.filled()
    first = asked("again", boot, amount=usd("0.50").nano)
    assert ledger.reserve(first) == ledger.reserve(first)
    assert [it.held for it in ledger.open_holds()] == [usd("0.50")]
    ledger.close()
