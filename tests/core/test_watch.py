"""Signs of a runaway: what speaks, from where on, with which words; and what is only work."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.core.watch import MOST_NOTES, Finding, Watch
from crewcap.core.watch_past import ENOUGH, Past, past_run
from crewcap.core.watch_rules import RULES, Rule, RuleName, Rules
from crewcap.core.watch_signs import Called, Looked, Peopled, Refused, Replied, Requested, Sign, Waited

CENT = 10_000_000


def request(turn: int, **fields: Any) -> Requested:
    """A healthy request of a conversation that grows: ten cents, nearly all of it from the cache."""
    prompt = fields.pop("prompt", 10_000 + 700 * turn)
    told: dict[str, Any] = {
        "at": 20.0 * turn,
        "cost": Money(10 * CENT),
        "model": "sonnet",
        "prompt": prompt,
        "cache_read": prompt - 700,
        "cache_write": 700,
        "output": 300,
    }
    return Requested(turn=turn, **{**told, **fields})


def call(turn: int, what: str, *, answer: str = "ok", verb: str = "read", agent: str = "", **reply: Any) -> list[Sign]:
    """A tool call with its answer."""
    name, at = f"{agent}{turn}{what}", 20.0 * turn
    called = Called(at=at, turn=turn, call=name, likeness=f"{verb} {what}", verb=verb, what=what, agent=agent)
    return [called, Replied(at=at, turn=turn, call=name, likeness=answer, **reply)]


def feed(watch: Watch, signs: Iterable[Sign]) -> list[Finding]:
    return [finding for sign in signs for finding in watch.feed(sign)]


def said(watch: Watch, signs: Iterable[Sign]) -> list[tuple[str, str, int]]:
    return [(finding.rule, finding.action, finding.turn) for finding in feed(watch, signs)]


def rules(**changes: Rule) -> Rules:
    names: dict[RuleName, Rule] = {**Rules().by_name, **changes}  # type: ignore[dict-item]  # rules by their names
    return replace(Rules(), by_name=names)


def past(turns: int = 20, *, runs: int = 20, cents: int = 10, step_s: float = 20.0) -> Past:
    """Runs of so many requests at ten cents each, one of them a little dearer than the one before."""
    return Past(
        tuple(past_run([(step_s * n, (cents + number % 3) * CENT) for n in range(turns)]) for number in range(runs))
    )


# the same call with the same answer


def test_the_same_call_with_the_same_answer_is_noted_at_three_and_pauses_at_eight() -> None:
    signs = [sign for turn in range(4, 12) for sign in call(turn, "src/a.py")]
    note, pause = feed(Watch(), signs)
    assert (note.action, pause.action) == ("note", "pause")
    assert note.words == "read src/a.py 3 times with the same answer, turns 4-6"
    assert pause.words == "read src/a.py 8 times with the same answer, turns 4-11"


def test_another_answer_is_another_beginning() -> None:
    """A file that grows, a queue that moves: somebody waits for something."""
    signs = [sign for turn in range(1, 40) for sign in call(turn, "status", answer=f"{turn // 2}")]
    assert said(Watch(), signs) == []


def test_the_same_red_test_after_each_new_change_is_work() -> None:
    signs = [
        sign
        for turn in range(1, 40)
        for sign in (*call(turn, f"a.py {turn}", verb="edit"), *call(turn, "pytest", verb="run", answer="1 failed"))
    ]
    assert said(Watch(), signs) == []


def test_a_command_that_was_not_run_before_may_have_changed_something() -> None:
    signs = [
        sign
        for turn in range(1, 40)
        for sign in (*call(turn, f"sed {turn}", verb="run", is_error=True), *call(turn, "pytest", verb="run"))
    ]
    assert said(Watch(), signs) == []


def test_the_same_changes_back_and_forth_are_a_circle() -> None:
    """Each edit was made before, so nothing new came of it."""
    circle = [("a to b", "edit"), ("pytest", "run"), ("b to a", "edit"), ("pytest", "run")]
    signs = [
        sign for turn in range(1, 20) for what, verb in circle for sign in call(turn, what, verb=verb, answer="red")
    ]
    assert ("repeats", "pause") in [found[:2] for found in said(Watch(), signs)]


def test_eight_agents_may_read_one_file() -> None:
    signs = [sign for number in range(8) for sign in call(1, "README.md", agent=f"a{number}")]
    assert said(Watch(), signs) == []


def test_who_of_its_agents_goes_in_circles_is_said() -> None:
    signs = [sign for turn in range(1, 4) for sign in call(turn, "x", agent="a7")]
    (note,) = feed(Watch(), signs)
    assert note.words == "read x 3 times with the same answer by agent a7, turns 1-3"


def test_calls_without_a_likeness_or_an_answer_say_nothing() -> None:
    calls = [replace(sign, likeness="") for turn in range(20) for sign in call(turn, "x") if isinstance(sign, Called)]
    replies = [Replied(at=0, turn=1, call="nobody's", likeness="ok") for _ in range(20)]
    assert said(Watch(), [*calls, *replies]) == []


# money


def test_much_more_than_earlier_runs_is_noted_and_ten_times_as_much_pauses() -> None:
    """The p99 of what five minutes of them came to: $1.80."""
    usual = past().usual_peak
    assert usual == Money(15 * 12 * CENT)
    twice = [request(turn, cost=Money(30 * CENT)) for turn in range(1, 20)]
    assert [found[:2] for found in said(Watch(past=past()), twice)] == [("spend", "note")]
    tenfold = [request(turn, at=float(turn), cost=Money(100 * CENT)) for turn in range(1, 30)]
    assert ("spend", "pause") in [found[:2] for found in said(Watch(past=past()), tenfold)]


def test_money_below_the_floor_is_no_runaway() -> None:
    cheap = past(cents=0)
    signs = [request(turn, cost=Money(CENT)) for turn in range(1, 40)]
    assert said(Watch(past=cheap), signs) == []


def test_nothing_is_learnt_from_a_few_runs() -> None:
    signs = [request(turn, cost=Money(1_000 * CENT)) for turn in range(1, 40)]
    assert said(Watch(past=past(runs=ENOUGH - 1), cap=Money(CENT)), signs) == []


def test_a_run_that_is_dearer_from_its_beginning_is_projected_above_its_cap() -> None:
    """Earlier ones came to four times of what they had cost at turn five."""
    watch = Watch(past=past(), cap=Money(400 * CENT))
    signs = [request(turn, cost=Money(25 * CENT)) for turn in range(1, 10)]
    found = feed(watch, signs)
    assert [(finding.rule, finding.turn) for finding in found] == [("projection", 6)]
    assert found[0].words == (
        "$1.50 at turn 6: as three of four of the 20 earlier runs that came this far, it ends at $5.00 or more, and its"
        " cap is $4.00"
    )


def test_what_earlier_starts_of_a_run_cost_counts_towards_its_end() -> None:
    watch = Watch(past=past(), cap=Money(400 * CENT), before=Money(300 * CENT))
    assert ("projection", "note", 6) in said(watch, [request(turn) for turn in range(5, 10)])


# caches, contexts, storms


def test_a_prefix_that_is_lost_three_times_in_a_row_is_noted() -> None:
    broken = [request(turn, prompt=30_000 + turn, cache_read=100, cache_write=29_000) for turn in range(4, 8)]
    found = feed(Watch(), [*(request(turn, prompt=25_000 + turn) for turn in range(1, 4)), *broken])
    assert [(finding.rule, finding.action, finding.turn) for finding in found] == [("cache", "note", 6)]
    assert found[0].words == (
        "3 prompts in a row were not served from the cache, the last one of 30,006 tokens (0 % hit), turn 6"
    )


def test_a_model_without_a_cache_has_no_collapse() -> None:
    signs = [request(turn, prompt=50_000 + turn, cache_read=0, cache_write=0) for turn in range(1, 30)]
    assert said(Watch(), signs) == []


def test_small_prompts_and_new_conversations_are_no_collapse() -> None:
    small = [request(turn, prompt=1_000 + turn, cache_read=0, cache_write=900) for turn in range(1, 20)]
    cold = [request(20 + n, prompt=60_000 - n, agent=f"a{n}", cache_read=0, cache_write=50_000) for n in range(15)]
    assert said(Watch(), [*small, *cold]) == []


def test_a_context_that_is_nearly_full_is_noted_once_at_each_bound() -> None:
    signs = [request(turn, prompt=10_000 * turn) for turn in range(1, 20)]
    assert said(Watch(window=200_000), signs) == [("context", "note", 16), ("context", "note", 19)]
    subagents = [request(turn, prompt=199_000 + turn, agent="a") for turn in range(1, 4)]
    assert said(Watch(window=200_000), subagents) == []


@pytest.mark.parametrize(
    ("storm", "turn"),
    [
        ([request(turn, failed=True, prompt=0) for turn in range(1, 9)], 5),
        ([request(turn, prompt=8_000) for turn in range(1, 9)], 6),
        ([Refused(at=turn, turn=1, count=2) for turn in range(1, 4)], 1),
    ],
)
def test_the_same_or_failing_request_again_and_again_is_noted(storm: list[Sign], turn: int) -> None:
    assert said(Watch(), storm) == [("storm", "note", turn)]


def test_at_a_cap_every_agent_is_refused_once_and_that_is_no_storm() -> None:
    healthy = [request(turn, agent=f"a{turn % 8}") for turn in range(1, 17)]
    assert said(Watch(), [*healthy, Refused(at=1, turn=16, count=9)]) == []
    assert said(Watch(), [*healthy, Refused(at=1, turn=16, count=45)]) == [("storm", "note", 16)]


def test_a_request_that_goes_through_ends_a_storm() -> None:
    signs = [request(turn, failed=turn % 4 != 0) for turn in range(1, 40)]
    assert said(Watch(), signs) == []


# agents, silence, nothing done


def test_many_agents_and_deep_ones_are_noted() -> None:
    assert said(Watch(), [request(turn, agent=f"a{turn}") for turn in range(1, 25)]) == [("fan_out", "note", 20)]
    assert said(Watch(), [Peopled(at=0, turn=3, agents=4, depth=3)]) == [("fan_out", "note", 3)]
    assert said(Watch(), [Peopled(at=0, turn=3, agents=8, depth=1)]) == []


def test_a_request_without_an_end_is_noted_only_while_the_agent_is_silent() -> None:
    talking = Waited(at=0, turn=2, waiting_s=900, silent_s=3)
    assert said(Watch(), [talking]) == []
    assert said(Watch(), [replace(talking, silent_s=310)] * 5) == [("stalled", "note", 2)]


def test_somebody_looks_before_it_is_said_that_nothing_changed() -> None:
    watch = Watch()
    assert feed(watch, [request(turn) for turn in range(1, 15)]) == []
    assert not watch.wants_look
    watch.feed(request(15))
    assert watch.wants_look
    (note,) = watch.feed(Looked(at=0, turn=15, changed=False))
    assert note.words == "nothing changed in the workspace for 15 turns, turns 1-15"
    assert not watch.wants_look  # until the second bound


def test_an_edit_that_was_seen_spares_the_look() -> None:
    watch = Watch()
    feed(watch, [request(turn) for turn in range(1, 15)])
    feed(watch, call(14, "a.py", verb="edit"))
    feed(watch, [request(turn) for turn in range(15, 28)])
    assert not watch.wants_look
    feed(watch, [request(28), request(29)])
    assert watch.wants_look
    watch.feed(Looked(at=0, turn=29, changed=True))
    assert not watch.wants_look


# what every rule has in common


def test_a_rule_that_is_off_is_silent_and_one_that_stops_ends_the_run_once() -> None:
    signs = [sign for turn in range(1, 30) for sign in call(turn, "x")]
    assert said(Watch(rules=rules(repeats=Rule(action="off", note_at=3, act_at=8))), signs) == []
    stopping = Watch(rules=rules(repeats=Rule(action="stop", note_at=3, act_at=8)))
    assert said(stopping, signs) == [("repeats", "note", 3), ("repeats", "stop", 8)]


def test_one_rule_alone_may_be_asked_even_where_it_is_off() -> None:
    asked = rules(no_change=Rule(action="off", note_at=2, act_at=4)).only("no_change")
    assert {name: asked[name].action for name in RULES if asked[name].action != "off"} == {"no_change": "note"}


def test_a_rule_makes_only_so_many_notes() -> None:
    """Whoever reads them knows by then."""
    signs = [sign for what in range(9) for turn in range(1, 5) for sign in call(turn, f"file {what}")]
    assert len(said(Watch(), signs)) == MOST_NOTES


# properties


def steady(turns: int, costs: list[int], files: list[int]) -> Iterator[Sign]:
    """A run that works: it reads, it edits, it runs its tests, which stay red for long."""
    for turn in range(1, turns + 1):
        yield request(turn, cost=Money(costs[turn % len(costs)] * CENT))
        file = files[turn % len(files)]
        yield from call(turn, f"src/{file}.py", answer=f"as of {turn // 6}")
        if turn % 3 == 0:
            yield from call(turn, f"edit {turn}", verb="edit")
            yield from call(turn, "pytest", verb="run", answer="1 failed", is_error=True)
        yield Waited(at=20.0 * turn, turn=turn, waiting_s=15, silent_s=10)


@settings(max_examples=40, deadline=None)
@given(
    turns=st.integers(1, 60),
    costs=st.lists(st.integers(8, 14), min_size=1, max_size=8),
    files=st.lists(st.integers(0, 5), min_size=2, max_size=9, unique=True),
)
def test_no_rule_speaks_of_a_steady_run(turns: int, costs: list[int], files: list[int]) -> None:
    """Its costs are those of earlier runs, and its cap is what such runs are given."""
    watch = Watch(past=past(60), cap=Money(60 * 14 * 2 * CENT), window=200_000)
    assert feed(watch, steady(turns, costs, files)) == []
    assert not watch.wants_look


RUNAWAYS: dict[RuleName, Any] = {
    "repeats": lambda turn: call(turn, "src/a.py"),
    "spend": lambda turn: [request(turn, cost=Money(400 * CENT))],
    "projection": lambda turn: [request(turn, cost=Money(60 * CENT))],
    "cache": lambda turn: [request(turn, prompt=60_000 + turn, cache_read=0, cache_write=60_000)],
    "storm": lambda turn: [request(turn, failed=True, prompt=0)],
    "fan_out": lambda turn: [request(turn, agent=f"a{turn}"), request(turn, agent=f"b{turn}")],
    "context": lambda turn: [request(turn, prompt=180_000 + turn)],
    "stalled": lambda turn: [Waited(at=0, turn=turn, waiting_s=400, silent_s=400)],
}


@pytest.mark.parametrize("name", RUNAWAYS)
@settings(max_examples=15, deadline=None)
@given(healthy=st.integers(0, 30), data=st.data())
def test_a_planted_runaway_is_found_within_a_few_turns(name: RuleName, healthy: int, data: Any) -> None:
    """However long the run was healthy before."""
    costs = data.draw(st.lists(st.integers(8, 14), min_size=1, max_size=8))
    watch = Watch(rules=Rules().only(name), past=past(60), cap=Money(1_000 * CENT), window=200_000)
    assert feed(watch, steady(healthy, costs, [1, 2, 3])) == []
    planted = [sign for turn in range(healthy + 1, healthy + 13) for sign in RUNAWAYS[name](turn)]
    assert {finding.rule for finding in feed(watch, planted)} == {name}


def test_a_long_run_is_remembered_in_bounded_space() -> None:
    """Ten thousand turns of everything new: each turn another agent, call, answer and failure."""

    def size(turns: int) -> int:
        watch = Watch(past=past(), cap=Money(CENT), window=1_000)
        for turn in range(1, turns + 1):
            watch.feed(request(turn, at=0.01 * turn, agent=f"agent-{turn % 300}", failed=turn % 2 == 0))
            for sign in call(turn, f"file-{turn}", answer=f"{turn}", agent=f"agent-{turn % 300}"):
                watch.feed(sign)
            open_call = f"never answered {turn}"
            watch.feed(Called(at=0, turn=turn, call=open_call, likeness=open_call, verb="run", what="x"))
            watch.feed(Looked(at=0, turn=turn, changed=turn % 20 == 0))
            watch.feed(Waited(at=0, turn=turn, waiting_s=1_000, silent_s=1_000))
        return len(pickle.dumps(watch))

    assert size(10_000) < 1.3 * size(4_000)
