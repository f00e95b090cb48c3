"""Queued runs have their turn by priority, then fairly, then by age; and every one has its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.budget import Scope
from crewcap.core.queueing import Entry, fair_order
from crewcap.core.runs import RunId

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def entry(name: str, *, repo: str = "a", user: str = "ana", waited: timedelta = HOUR, priority: int = 0) -> Entry:
    return Entry(
        run=RunId(name), repo=Scope(f"repo:{repo}"), user=Scope(f"user:{user}"), since=NOW - waited, priority=priority
    )


def order(*entries: Entry, taken: dict[str, int] | None = None) -> str:
    at_work = {Scope(scope): count for scope, count in (taken or {}).items()}
    return " ".join(each.run for each in fair_order(entries, at_work, now=NOW))


def test_the_oldest_is_first_where_nothing_else_tells_them_apart() -> None:
    assert order(entry("new", waited=HOUR), entry("old", waited=2 * HOUR)) == "old new"


def test_a_higher_priority_is_first() -> None:
    assert order(entry("old", waited=2 * HOUR), entry("urgent", waited=HOUR, priority=50)) == "urgent old"


def test_a_single_run_does_not_stand_behind_a_hundred_of_another_repository() -> None:
    crowd = [entry(f"a{n:03d}", repo="a", user="ana", waited=(200 - n) * HOUR / 100) for n in range(100)]
    single = entry("b", repo="b", user="bo", waited=HOUR / 60)
    assert [entry.run for entry in fair_order([*crowd, single], {}, now=NOW)].index(RunId("b")) == 1


def test_who_has_nothing_at_work_is_before_who_has() -> None:
    waiting = [entry("a", repo="a", user="ana", waited=3 * HOUR), entry("b", repo="b", user="bo")]
    assert order(*waiting, taken={"repo:a": 1}) == "b a"
    assert order(*waiting, taken={"user:ana": 1}) == "b a"
    assert order(*waiting, taken={"repo:c": 5}) == "a b"


def test_a_user_of_many_repositories_is_one_user() -> None:
    many = [entry(f"u{n}", repo=f"r{n}", user="ana", waited=2 * HOUR) for n in range(4)]
    assert order(*many, entry("v", repo="x", user="bo")) == "u0 v u1 u2 u3"


def test_10_an_hour_of_waiting_catches_up_with_who_is_above() -> None:
    urgent = entry("urgent", repo="b", user="bo", waited=timedelta(), priority=50)
    assert order(entry("old", waited=5 * HOUR - timedelta(seconds=1)), urgent) == "urgent old"
    assert order(entry("old", waited=5 * HOUR), urgent) == "old urgent"


def test_waiting_lifts_nobody_over_those_whom_it_has_caught_up_with() -> None:
    """Else the oldest hundred would be above all that came later, fair or not."""
    crowd = [entry(f"a{n}", waited=30 * HOUR) for n in range(5)]
    assert order(*crowd, entry("b", repo="b", user="bo")).split()[:2] == ["a0", "b"]


def test_a_clock_that_was_set_back_lifts_nobody() -> None:
    assert order(entry("ahead", waited=-HOUR, priority=0), entry("above", priority=1)) == "above ahead"


ENTRIES = st.lists(
    st.builds(
        entry,
        name=st.uuids().map(str),
        repo=st.sampled_from("abc"),
        user=st.sampled_from("xyz"),
        waited=st.integers(0, 30 * 60).map(lambda minutes: timedelta(minutes=minutes)),
        priority=st.sampled_from([-100, -10, 0, 0, 0, 10, 100]),
    ),
    max_size=25,
)
TAKEN = st.dictionaries(st.sampled_from([Scope("repo:a"), Scope("repo:b"), Scope("user:x")]), st.integers(0, 4))


@given(ENTRIES, TAKEN, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_everybody_has_one_turn_and_the_order_does_not_rest_on_how_they_were_given(
    entries: list[Entry], taken: dict[Scope, int], chance: object
) -> None:
    """Several workers make the same order."""
    first = list(fair_order(entries, taken, now=NOW))
    chance.shuffle(entries)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert list(fair_order(entries, taken, now=NOW)) == first
    assert Counter(first) == Counter(entries)


@given(ENTRIES, TAKEN)
@settings(max_examples=60)
def test_of_one_repository_and_user_at_one_priority_the_oldest_is_always_first(
    entries: list[Entry], taken: dict[Scope, int]
) -> None:
    alike: dict[tuple[Scope, Scope, int], list[datetime]] = {}
    for each in fair_order(entries, taken, now=NOW):
        alike.setdefault((each.repo, each.user, each.priority), []).append(each.since)
    assert all(ages == sorted(ages) for ages in alike.values())


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 12), min_size=2))
@settings(max_examples=40)
def test_while_repositories_have_runs_left_they_differ_by_one_turn_at_most(sizes: dict[str, int]) -> None:
    """Each with a user of its own: turns go round."""
    entries = [
        entry(f"{repo}{n}", repo=repo, user=repo, waited=(ord(repo) - 90) * HOUR)
        for repo in sizes
        for n in range(sizes[repo])
    ]
    turns = dict.fromkeys(sizes, 0)
    for each in fair_order(entries, {}, now=NOW):
        turns[each.repo.removeprefix("repo:")] += 1
        unfinished = [turns[repo] for repo in sizes if turns[repo] < sizes[repo]]
        assert max(unfinished, default=0) - min(unfinished, default=0) <= 1


def served_after(entries: Iterable[Entry], arrivals: Iterable[Entry], wanted: str, *, every: timedelta) -> int:
    """One run starts (and ends) each step, one arrives; after how many steps the wanted one has had its turn."""
    waiting, now = list(entries), NOW
    for step, arrival in enumerate(arrivals, start=1):
        first = next(iter(fair_order(waiting, {}, now=now)))
        if first.run == wanted:
            return step
        waiting.remove(first)
        waiting.append(arrival)
        now += every
    raise AssertionError(f"{wanted} had no turn")


@given(st.integers(-100, 0), st.integers(1, 100))
@settings(max_examples=25, deadline=None)
def test_an_endless_stream_of_higher_priority_does_not_starve_a_run(low: int, high: int) -> None:
    """It has its turn once it has waited six minutes for each point between them."""
    stream = [entry(f"s{n}", repo=f"r{n}", user=f"u{n}", waited=-n * HOUR / 2, priority=high) for n in range(1_000)]
    low_one = entry("low", repo="low", user="low", waited=timedelta(), priority=low)
    steps = served_after([low_one, stream[0]], stream[1:], "low", every=HOUR / 2)
    assert steps <= (high - low) * 6 / 30 + 3
