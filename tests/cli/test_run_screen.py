"""What a run says of itself at its end, beside what the closing block shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.cli.test_closing import PAUSED

from crewcap.cli.run_screen import _needs
from crewcap.core.runs import AgentEnd, Verdict

SAID = "the cap of run:x, $0.10, is used up: needs $0.20; the smallest cap that would work is $1,200.35, spent $0.09"


def test_at_the_cap_the_smallest_one_that_would_do_is_quoted_from_the_gateway() -> None:
    run = replace(PAUSED, end=AgentEnd(kind="api_error", message=SAID))
    assert _needs(run) == "a cap of at least $1,200.35 for its next request"


@pytest.mark.parametrize(
    "run",
    [
        replace(PAUSED, end=None),
        replace(PAUSED, end=AgentEnd(kind="api_error", message="no number in it")),
        replace(PAUSED, end=AgentEnd(kind="api_error", message=SAID), verdict=Verdict.CANCELLED),
    ],
)
def test_where_nobody_said_it_nothing_is_made_up(run: object) -> None:
    assert _needs(run) == ""  # type: ignore[arg-type]  # a run, from the table
