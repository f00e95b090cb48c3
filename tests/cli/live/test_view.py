"""A run while it works, on a terminal and in a pipe."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.cli.live.test_closing import PAUSED, RUN, closing

from crewcap.cli.live.deeds import Deed
from crewcap.cli.live.gauges import Gauges
from crewcap.cli.live.opening import Opening
from crewcap.cli.live.view import LiveView, Now, deed_lines, quiet_line, status_lines, step_lines
from crewcap.cli.screen.figures import Screen, columns_of
from crewcap.core.estimate import Estimate
from crewcap.core.money import Money
from crewcap.core.runs import Acted, AgentEvent, Answered, Retried, RunState, Said
from crewcap.runner.moments import Counted, Ended, Heard, Stepped

GAUGES = Gauges(
    state=RunState.RUNNING,
    cached=91_000,
    prompts=100_000,
    context=38_000,
    window=200_000,
    expected=Estimate(basis="history", p10=Money.usd("0.25"), p50=Money.usd("0.40"), p90=Money.usd("0.90"), jobs=31),
)
WORKING = replace(RUN, state=RunState.RUNNING, verdict=None, created_at=datetime(2026, 11, 22, tzinfo=UTC))


class Watch:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Paper:
    """What was written, and what a terminal would show of it."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, text: str) -> None:
        self.text += text

    @property
    def visible(self) -> list[str]:
        """Lines after every erasure took place."""
        lines: list[str] = [""]
        for part in re.split(r"(\x1b\[\d+F\x1b\[J|\n)", re.sub(r"\x1b\[\d*m", "", self.text)):
            if part == "\n":
                lines.append("")
            elif part.startswith("\x1b["):
                up = int(part[2 : part.index("F")])
                lines = [*lines[: len(lines) - 1 - up], ""]
            else:
                lines[-1] += part
        return lines


def usd(amount: str) -> Money:
    return Money.usd(amount)


def heard(event: AgentEvent, turn: int = 1, spent: str = "0") -> Heard:
    return Heard(event=event, turn=turn, spent=usd(spent))


def a_run(view: LiveView, watch: Watch) -> None:
    """The story of EXPERIENCE 2.2."""
    view.begin()
    for at, moment in (
        (2, Stepped(name="workspace", text="1,204 files")),
        (13, Stepped(name="check before", text="41 passed, 1 failed")),
        (19, heard(Acted(verb="read", what="src/auth/login.py", call="1"), 1, "0.06")),
        (19, heard(Acted(verb="read", what="tests/test_login.py", call="2"), 1, "0.06")),
        (20, heard(Answered(call="1"), 1, "0.06")),
        (20, heard(Answered(call="2"), 1, "0.06")),
        (30, Counted(spent=usd("0.06"), held=usd("0.11"), turns=3)),
        (41, heard(Acted(verb="edit", what="src/auth/login.py", call="3"), 4, "0.16")),
        (41, heard(Answered(call="3", summary="+3 -1"), 4, "0.16")),
        (65, heard(Said(text="now the tests"), 8, "0.25")),
        (65, heard(Acted(verb="run", what="pytest tests/test_login.py", call="4"), 8, "0.25")),
        (68, heard(Answered(call="4", summary="9 passed"), 8, "0.25")),
        (77, Stepped(name="check after", text="42 passed")),
        (77, Ended(run=RUN)),
    ):
        watch.now = 1_000.0 + at
        view.feed(moment)


STORY = [
    "  0:02  workspace       1,204 files",
    "  0:13  check before    41 passed, 1 failed",
    "  0:19  turn 1   read   src/auth/login.py, tests/test_login.py             $0.06",
    "  0:41  turn 4   edit   src/auth/login.py  +3 -1                           $0.16",
    "  1:05  turn 8   run    pytest tests/test_login.py: 9 passed               $0.25",
    "  1:17  check after     42 passed",
]


def view(paper: Paper, watch: Watch, **screen: object) -> LiveView:
    known = {"columns": 80, **screen}
    return LiveView(
        screen=Screen(**known),  # type: ignore[arg-type]  # short words for the tests
        write=paper,
        monotonic=watch,
        opening=Opening(run=WORKING, agent="Claude Code 2.1.330"),
    )


def test_the_story_is_told_as_it_happens() -> None:
    paper, watch = Paper(), Watch()
    a_run(view(paper, watch), watch)
    assert [line for line in paper.text.splitlines() if line[:6].strip()[:1].isdigit()] == STORY
    assert "\x1b" not in paper.text


def test_the_times_of_a_story_go_one_way_whatever_was_begun_when() -> None:
    """A call whose worker was killed is over when the next one goes on; two at once end in any order."""
    paper, watch = Paper(), Watch()
    shown = view(paper, watch)
    shown.begin()
    for at, moment in (
        (5, heard(Acted(verb="run", what="pytest", call="1"))),
        (7, Stepped(name="worker", text="its worker was ended; serve starts another one")),
        (9, heard(Answered(call="1"))),
        (10, heard(Acted(verb="run", what="make", call="2"))),
        (11, heard(Acted(verb="edit", what="a.py", call="3"))),
        (12, heard(Answered(call="3"))),
        (13, heard(Answered(call="2"))),
    ):
        watch.now = 1_000.0 + at
        shown.feed(moment)
    told = [line.split()[:4] for line in paper.text.splitlines() if line[:6].strip()[:1].isdigit()]
    assert [(words[0], words[1] if words[1] == "worker" else words[3]) for words in told] == [
        ("0:07", "worker"),
        ("0:07", "run"),
        ("0:11", "edit"),
        ("0:11", "run"),
    ]


def test_a_terminal_keeps_the_same_text_as_a_pipe() -> None:
    """What is redrawn is gone at the end; what stays is what a pipe got."""
    piped, drawn, watch = Paper(), Paper(), Watch()
    for paper, is_terminal in ((piped, False), (drawn, True)):
        watch.now = 1_000.0
        shown = view(paper, watch, is_terminal=is_terminal, has_colour=is_terminal)
        a_run(shown, watch)
        shown.close(closing())
    assert drawn.visible == piped.visible
    assert "\x1b[32mdone" in drawn.text
    assert "Ctrl-C pauses" in drawn.text
    assert "Ctrl-C pauses" not in piped.text


def test_the_lines_below_the_story_tell_money_first() -> None:
    done = Deed(verb="edit", what="src/auth/login.py  +3 -1", turn=4, began_s=30, took_s=5, cost=usd("0.04"))
    doing = Deed(verb="run", what="pytest tests/test_login.py", turn=4, began_s=36)
    now = Now(
        run=replace(WORKING, timeout_s=2_700),
        elapsed_s=41,
        spent=usd("0.16"),
        held=usd("0.11"),
        turns=4,
        recent=(done,),
        doing=(doing,),
        worked_s=28,
        per_minute=usd("0.14"),
        gauges=GAUGES,
    )
    assert status_lines(now, 80) == [
        " fix-login.1  Login fails when the e-mail has capitals           shop    running",
        " $0.16 of $3.00 [#...................]  5 %  + $0.11 held   $0.14/min",
        " turn 4 of 40   0:28 of 45m   sonnet-5   cache 91 %   context 38k/200k   1 agent",
        "    edit   src/auth/login.py  +3 -1                               5 s     +$0.04",
        "  > run    pytest tests/test_login.py                             5 s",
        " expected $0.40 (0.25-0.90), from 31 earlier runs",
        " Ctrl-C pauses and keeps everything; twice stops",
    ]


def test_where_there_is_less_room_money_turns_and_the_cache_stay() -> None:
    now = Now(run=WORKING, spent=usd("0.16"), turns=4, gauges=GAUGES, agents=3)
    assert status_lines(now, 60)[2] == " turn 4 of 40   0:00 of 45m   cache 91 %   3 agents"
    assert status_lines(replace(now, gauges=None), 60)[2] == " turn 4 of 40   0:00 of 45m   sonnet-5   3 agents"


def test_what_a_deed_cost_is_known_whenever_the_money_is_counted() -> None:
    """The ledger is looked at twice a second; a request is paid before, while or after its call is heard of."""
    paper, watch = Paper(), Watch()
    shown = view(paper, watch, is_terminal=True)
    shown.begin()
    shown.feed(Counted(spent=usd("0"), held=usd("0.11"), turns=1))
    shown.feed(Counted(spent=usd("0.06"), held=usd("0"), turns=1))
    shown.feed(heard(Acted(verb="edit", what="a.py", call="1"), 1, "0.06"))
    shown.feed(heard(Answered(call="1"), 1, "0.06"))
    shown.feed(heard(Acted(verb="run", what="pytest", call="2"), 2, "0.06"))
    paper.text = ""
    shown.feed(heard(Answered(call="2"), 2, "0.10"))
    assert [line.split()[-1] for line in paper.visible if line.startswith("    ")] == ["+$0.06", "+$0.04"]


def test_what_one_deed_was_charged_the_next_one_is_not() -> None:
    """Also when the money was first counted between the two."""
    paper, watch = Paper(), Watch()
    shown = view(paper, watch, is_terminal=True)
    shown.opening = replace(shown.opening, run=replace(WORKING, agent_seconds=0))
    shown.begin()
    shown.feed(heard(Acted(verb="edit", what="a.py", call="1"), 1, "0.06"))
    shown.feed(heard(Answered(call="1"), 1, "0.06"))
    shown.feed(Counted(spent=usd("0.06"), held=usd("0"), turns=1))
    shown.feed(heard(Acted(verb="run", what="pytest", call="2"), 2, "0.06"))
    paper.text = ""
    shown.feed(heard(Answered(call="2"), 2, "0.10"))
    assert [line.split()[-1] for line in paper.visible if line.startswith("    ")] == ["+$0.06", "+$0.04"]


def test_a_resumed_run_does_not_charge_its_past_to_its_first_deed() -> None:
    paper, watch = Paper(), Watch()
    shown = view(paper, watch, is_terminal=True)
    shown.begin()
    shown.feed(Counted(spent=usd("2.97"), held=usd("0"), turns=31))
    shown.feed(heard(Acted(verb="edit", what="a.py", call="1"), 32, "2.97"))
    paper.text = ""
    shown.feed(heard(Answered(call="1"), 32, "3.01"))
    assert [line.split()[-1] for line in paper.visible if line.startswith("    ")] == ["+$0.04"]


def test_on_sixty_columns_money_is_one_line() -> None:
    now = Now(run=WORKING, spent=usd("0.1634"), held=usd("0.3181"), per_minute=usd("0.1416"), turns=4)
    assert status_lines(now, 60)[1] == " $0.1634 of $3.00  5 %  + $0.3181 held   $0.1416/min"
    assert status_lines(now, 66)[1] == " $0.1634 of $3.00 [#.........]  5 %  + $0.3181 held   $0.1416/min"


def test_a_timeout_is_told_of_only_while_it_runs() -> None:
    """Setup and checks have limits of their own; the run's timeout is its agent's."""
    setup = Now(run=replace(WORKING, state=RunState.PREPARING), elapsed_s=13)
    assert status_lines(setup, 80)[2] == " turn 0 of 40   0:13   sonnet-5   1 agent"


def test_a_run_that_is_dearer_than_its_like_is_said_to_be() -> None:
    now = Now(run=WORKING, spent=usd("0.91"), turns=4, gauges=GAUGES)
    assert " expected $0.40 (0.25-0.90), from 31 earlier runs; dearer by now than nine of ten" in status_lines(now, 80)


def test_the_time_of_the_agent_is_counted_while_it_works() -> None:
    """A run that is resumed goes on from what its agent worked before."""
    paper, watch = Paper(), Watch()
    shown = view(paper, watch, is_terminal=True)
    shown.opening = replace(shown.opening, run=replace(WORKING, state=RunState.PREPARING, agent_seconds=60))
    shown.__post_init__()
    shown.begin()
    for seconds, moment in (
        (20, Stepped(name="setup", text="done")),
        (25, Counted(spent=usd("0"), held=usd("0.11"), turns=1)),
        (55, Counted(spent=usd("0.06"), held=usd("0"), turns=1)),
    ):
        watch.now = 1_000.0 + seconds
        paper.text = ""
        shown.feed(moment)
    assert "1:30 of 45m" in paper.text
    assert "$0.12/min" in paper.text


def test_what_the_books_say_is_shown_with_the_next_moment() -> None:
    paper, watch = Paper(), Watch()
    shown = view(paper, watch, is_terminal=True)
    shown.begin()
    shown.know(replace(GAUGES, state=RunState.FINISHING))
    shown.feed(Counted(spent=usd("0.06"), held=usd("0"), turns=3))
    assert "    finishing\n" in paper.text
    assert "cache 91 %   context 38k/200k" in paper.text


def test_a_window_that_was_made_smaller_is_drawn_in_its_new_size_over_all_of_the_old() -> None:
    """The terminal has broken the lines that were there: more rows are to be erased than were drawn."""
    paper, watch = Paper(), Watch()
    shown = view(paper, watch, is_terminal=True)
    shown.begin()
    counted = Counted(spent=usd("0.06"), held=usd("0"), turns=3)
    shown.feed(counted)
    drawn = status_lines(Now(run=WORKING, spent=usd("0.06"), turns=3, worked_s=59), 80)
    shown.measure = lambda: Screen(columns=40, rows=3, is_terminal=True)
    paper.text = ""
    shown.feed(counted)
    assert paper.text.startswith(f"\x1b[{sum(-(-columns_of(line) // 40) for line in drawn)}F\x1b[J")
    assert all(columns_of(line) <= 40 for line in paper.visible[1:])
    shown.measure = lambda: Screen(columns=80, rows=3, is_terminal=True)
    shown.feed(counted)
    paper.text = ""
    shown.feed(counted)
    assert paper.text.startswith("\x1b[2F\x1b[J")


def test_the_state_below_the_story_follows_the_run() -> None:
    """The run was written down before it was made ready; what is shown is where it stands by now."""
    paper, watch = Paper(), Watch()
    shown = view(paper, watch, is_terminal=True)
    shown.opening = replace(shown.opening, run=replace(WORKING, state=RunState.QUEUED))
    shown.__post_init__()
    shown.begin()
    for moment, state in (
        (Stepped(name="workspace", text="14 files"), "preparing"),
        (Counted(spent=usd("0"), held=usd("0"), turns=0), "preparing"),
        (Counted(spent=usd("0.06"), held=usd("0.11"), turns=3), "running"),
        (Stepped(name="check after", text="42 passed"), "finishing"),
        (Counted(spent=usd("0.06"), held=usd("0"), turns=3), "finishing"),
    ):
        paper.text = ""
        shown.feed(moment)
        assert f"    {state}\n" in paper.text


def test_held_money_is_explained_while_it_is_all_there_is() -> None:
    lines = status_lines(Now(run=WORKING, held=usd("0.11")), 80)
    assert " held: promised to the request in flight; what it does not use comes back" in lines


def test_twenty_columns_show_what_matters() -> None:
    assert status_lines(Now(run=WORKING, spent=usd("0.16"), turns=4), 20) == ["fix-login.1", "$0.16/3.00 5% t4"]
    assert status_lines(Now(run=WORKING, spent=usd("0.16"), turns=4), 30) == ["fix-login.1 $0.16/3.00 5% t4"]


@pytest.mark.parametrize("columns", [20, 33, 60, 80, 200])
def test_no_line_is_wider_than_the_screen(columns: int) -> None:
    deed = Deed(
        verb="run", what="修正 " * 90, turn=12, agent="a3", began_s=4_000, took_s=1, cost=usd("1"), so_far=usd("12.50")
    )
    long = replace(WORKING, issue=replace(WORKING.issue, title="very " * 60), repo="acme/shop")
    for lines in (
        step_lines(4_000, "check before", "x " * 200, columns),
        deed_lines(deed, columns),
        status_lines(Now(run=long, recent=(deed, deed), doing=(deed,) * 5), columns),
    ):
        assert all(columns_of(line) <= columns for line in lines)


def test_a_pipe_hears_something_every_half_minute_and_no_more() -> None:
    paper, watch = Paper(), Watch()
    shown = view(paper, watch)
    shown.begin()
    before = len(paper.text.splitlines())
    for second in range(1, 100):
        watch.now = 1_000.0 + second
        shown.feed(Counted(spent=usd("0.16"), held=usd("0.11"), turns=4))
    assert paper.text.splitlines()[before:] == [
        f"  {at}  still working   $0.16 of $3.00, 5 %, $0.11 held, turn 4 of 40" for at in ("0:30", "1:00", "1:30")
    ]
    shown.stand(is_still=True)
    watch.now = 1_130.0
    shown.feed(Counted(spent=usd("0.16"), held=usd("0"), turns=4))
    assert paper.text.splitlines()[-1] == "  2:10  stands still    $0.16 of $3.00, 5 %, turn 4 of 40"
    assert quiet_line(Now(run=WORKING)) == "  0:00  still working   $0.00 of $3.00, 0 %, turn 0 of 40"


def test_a_subagents_deeds_are_told_apart() -> None:
    paper, watch = Paper(), Watch()
    shown = view(paper, watch)
    shown.begin()
    shown.feed(heard(Acted(verb="run", what="ls", call="1", agent="f00ba7"), 2, "0.01"))
    shown.feed(heard(Answered(call="1", agent="f00ba7"), 2, "0.01"))
    assert "turn 2   run    [a1] ls " in paper.text


def test_a_retry_is_a_line_of_the_story() -> None:
    paper, watch = Paper(), Watch()
    shown = view(paper, watch)
    shown.begin()
    shown.feed(heard(Retried(attempt=2, reason="529")))
    assert paper.text.endswith("  0:00  retry           number 2, because of 529\n")


def test_a_reader_that_has_gone_does_not_end_the_run() -> None:
    """`crewcap run ... | head -1`: the agent has been paid for; its work is kept."""
    writes = 0

    def closed(text: str) -> None:
        nonlocal writes
        writes += 1
        raise BrokenPipeError(text)

    watch = Watch()
    shown = LiveView(screen=Screen(), write=closed, monotonic=watch, opening=Opening(run=WORKING, agent="x"))
    a_run(shown, watch)
    shown.close(closing())
    assert writes == 1


def test_in_ascii_a_title_in_any_script_is_shown_as_well_as_can_be() -> None:
    paper, watch = Paper(), Watch()
    shown = view(paper, watch, is_unicode=False)
    shown.opening = replace(shown.opening, run=replace(WORKING, issue=replace(WORKING.issue, title="caf\xe9")))
    shown.begin()
    assert paper.text.splitlines()[0] == "fix-login.1   caf?"
    assert paper.text.isascii()


def test_what_it_did_last_is_known_for_the_message_of_a_pause() -> None:
    paper, watch = Paper(), Watch()
    shown = view(paper, watch)
    shown.begin()
    shown.feed(heard(Acted(verb="edit", what="src/a.py", call="1")))
    assert shown.last_deed == "edit src/a.py"
    shown.feed(Ended(run=PAUSED))
    shown.close(closing(PAUSED))
    assert "paused at the cap" in paper.text


def test_evidence_of_the_watch_is_told_in_full() -> None:
    """Other steps are cut to one line; what paused a run is not."""
    words = "paused: ran python3 -m unittest discover -s tests 8 times with the same answer, turns 10-17"
    said = step_lines(13, "watch", words, 80)
    assert said == [
        "  0:13  watch           paused: ran python3 -m unittest discover -s tests 8",
        "                        times with the same answer, turns 10-17",
    ]


def test_what_became_of_a_long_command_is_not_cut_off() -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"
    assert step_lines(13, "setup", f"{command}: done in 12 s, kept", 80) == [
        "  0:13  setup           python3 -m venv .venv && .venv/bi...: done in 12 s, kept",
    ]
    assert step_lines(13, "setup", f"{command}: {'x' * 90}", 80)[0].endswith("...")


def test_conflicts_with_a_base_that_moved_are_told_in_full() -> None:
    words = "main moved by 1 commit; conflicts in src/login.py; the work is kept on its branch"
    assert " ".join(" ".join(step_lines(13, "base", words, 80)).split()) == f"0:13 base {words}"


def test_why_a_branch_is_not_published_is_told_in_full() -> None:
    words = "its commits hold the value of a secret (STRIPE); the branch stays in crewcap's own mirror"
    assert " ".join(" ".join(step_lines(13, "branch", words, 80)).split()) == f"0:13 branch {words}"
