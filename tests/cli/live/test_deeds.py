"""What an agent does, from calls and answers."""

from __future__ import annotations

from crewcap.cli.live.deeds import Deed, Deeds
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Acted, Answered


def act(deeds: Deeds, verb: str, what: str, call: str, *, turn: int = 1, agent: str = "", at_s: float = 1.0) -> None:
    deeds.begin(Acted(verb=verb, what=what, call=call, agent=agent), turn=turn, at_s=at_s, cost=ZERO)


def answer(deeds: Deeds, call: str, summary: str = "", *, agent: str = "", is_error: bool = False) -> tuple[Deed, ...]:
    return deeds.end(
        Answered(call=call, summary=summary, agent=agent, is_error=is_error), at_s=3.0, so_far=Money.usd(1)
    )


def test_a_deed_is_told_with_what_came_of_it() -> None:
    deeds = Deeds()
    for verb, what, summary, told in (
        ("edit", "a.py", "+3 -1", "a.py  +3 -1"),
        ("run", "pytest", "9 passed", "pytest: 9 passed"),
        ("run", "true", "", "true"),
    ):
        act(deeds, verb, what, "c")
        (deed,) = answer(deeds, "c", summary)
        assert (deed.what, deed.took_s, deed.so_far) == (told, 2.0, Money.usd(1))


def test_a_failure_is_told_in_its_own_words_or_in_one() -> None:
    deeds = Deeds()
    act(deeds, "run", "ls x", "1")
    assert answer(deeds, "1", "exit 2: no such file", is_error=True)[0].what == "ls x: exit 2: no such file"
    act(deeds, "edit", "a.py", "2")
    assert answer(deeds, "2", is_error=True)[0].what == "a.py: failed"


def test_reads_of_one_turn_share_a_line() -> None:
    deeds = Deeds()
    for call in ("1", "2"):
        act(deeds, "read", f"{call}.py", call)
    assert answer(deeds, "1") == answer(deeds, "2") == ()
    assert [deed.what for deed in deeds.flush()] == ["1.py, 2.py"]
    assert deeds.flush() == ()


def test_another_turn_another_agent_or_a_failure_has_a_line_of_its_own() -> None:
    deeds = Deeds()
    act(deeds, "read", "a", "1")
    act(deeds, "read", "b", "2", turn=2)
    act(deeds, "read", "c", "3", turn=2, agent="x17")
    act(deeds, "read", "d", "3", turn=2)
    answer(deeds, "1")
    assert [deed.what for deed in answer(deeds, "2")] == ["a"]
    assert [deed.words for deed in answer(deeds, "3", agent="x17")] == ["b"]
    assert [deed.words for deed in answer(deeds, "3", is_error=True)] == ["[a1] c", "d: failed"]


def test_subagents_have_short_names_in_the_order_of_their_appearance() -> None:
    deeds = Deeds()
    for agent in ("f00", "ba7", "f00"):
        act(deeds, "run", "x", "c", agent=agent)
    assert deeds.agents == 3
    assert {deed.agent for deed in deeds.doing} == {"a1", "a2"}


def test_an_answer_that_nobody_asked_for_is_nothing() -> None:
    assert answer(Deeds(), "unknown") == ()


def test_what_was_done_last_is_known_until_no_answer_can_come() -> None:
    deeds = Deeds()
    assert deeds.last == ""
    act(deeds, "edit", "a.py", "1")
    assert (deeds.last, len(deeds.doing)) == ("edit a.py", 1)
    assert deeds.give_up() == ()
    assert deeds.doing == ()


def test_a_deed_knows_its_cost() -> None:
    deeds = Deeds()
    deeds.begin(Acted(verb="run", what="x", call="1"), turn=1, at_s=0, cost=Money.usd("0.03"))
    assert deeds.doing[0].cost == Money.usd("0.03")
