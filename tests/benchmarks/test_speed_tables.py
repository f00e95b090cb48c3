"""What the speed bench makes of its measurements."""

from __future__ import annotations

from pathlib import Path

from benchmarks.client import Timing
from benchmarks.peers import Bare
from benchmarks.processes import Process
from benchmarks.speed_tables import (
    CALL,
    FLOOR,
    OURS,
    PACED,
    PASSING,
    RIVAL,
    UPSTREAM,
    Figures,
    Found,
    Load,
    Round,
    Subject,
    aims_table,
    requests_table,
    whole,
)


def measured(name: str, *, whole_ms: float, cpu_ms: float) -> Subject:
    """A gateway whose every call and stream took so long and cost so much."""
    process = Process(["true"], port=1, environ={}, log=Path("log"))
    subject = Subject(Bare(name=name, process=process), "key", start_s=[0.5], idle_mb=50, large_mb=[80, 100, 100, 100])
    timing = Timing(200, whole_ms / 2_000, whole_ms / 1_000, 1)
    for load in (Load(CALL, 1, 4), Load(CALL, 16, 4), Load(PACED, 16, 4)):
        subject.found[load] = Found([Round([timing] * 4, cpu_s=4 * cpu_ms / 1_000, wall_s=1)])
    return subject


def test_what_a_gateway_adds_is_what_is_above_the_bare_upstream() -> None:
    """Neither the network nor the provider is counted as the gateway's."""
    figures = Figures([measured(UPSTREAM, whole_ms=1, cpu_ms=1), measured(OURS, whole_ms=3.5, cpu_ms=2)])
    assert figures.added_ms(OURS, CALL, 1, 0.5, whole) == 2.5
    assert figures.added_ms(RIVAL, CALL, 1, 0.5, whole) is None


def test_requests_a_core_are_those_that_one_second_of_cpu_serves() -> None:
    """CPU of all processes, divided among the requests."""
    table = requests_table(Figures([measured(UPSTREAM, whole_ms=1, cpu_ms=1), measured(OURS, whole_ms=2, cpu_ms=4)]))
    assert table.rows[1][3:5] == ["4.00", "250"]


def test_an_aim_is_a_ratio_of_the_same_run() -> None:
    """It is met or not; where a gateway did not run, it says so."""
    figures = Figures(
        [
            measured(UPSTREAM, whole_ms=1, cpu_ms=1),
            measured(PASSING, whole_ms=2, cpu_ms=2),
            measured(OURS, whole_ms=2, cpu_ms=2.5),
            measured(RIVAL, whole_ms=14, cpu_ms=100),
        ]
    )
    rows = {row[0]: row[1:] for row in aims_table(figures).rows}
    assert rows["requests a core, 16 calls at once, in LiteLLM's"] == ("40.00", ">= 25", "met")
    assert rows["LiteLLM's added p50 of one call, in ours"] == ("13.00", ">= 12", "met")
    assert rows["CPU of a paced stream, 16 at once, in pass-throughs"] == ("1.25", "<= 1.3", "met")
    assert rows["CPU of a paced stream, 1 at once, in pass-throughs"] == ("not run", "", "")
    assert rows["idle memory, MB"] == ("50.00", "<= 60", "met")


def test_an_aim_that_copying_bytes_does_not_reach_is_out_of_reach_here() -> None:
    """Nobody who reads what he forwards can be below whoever does not."""

    def verdict(floor_ms: float) -> str:
        rows = [
            measured(UPSTREAM, whole_ms=1, cpu_ms=1),
            measured(FLOOR, whole_ms=1, cpu_ms=floor_ms),
            measured(OURS, whole_ms=2, cpu_ms=10),
            measured(RIVAL, whole_ms=14, cpu_ms=100),
        ]
        return next(row[3] for row in aims_table(Figures(rows)).rows if row[0].startswith("LiteLLM's CPU") and row[3])

    assert verdict(10) == "not met; the byte forwarder reaches 10.0: out of reach here"
    assert verdict(5) == "not met; the byte forwarder reaches 20.0"


def test_quantiles_are_of_what_was_measured() -> None:
    """The 99th of four is the slowest."""
    timings = [Timing(200, 0.001, number / 1_000, 1) for number in (4, 1, 3, 2)]
    found = Found([Round(timings, cpu_s=0.01, wall_s=2)])
    assert found.quantile_ms(0.5, whole) == 3
    assert found.quantile_ms(0.99, whole) == 4
    assert (found.cpu_ms, found.rate, found.requests) == (2.5, 2, 4)


def test_one_bad_round_of_three_changes_nothing() -> None:
    """The machine is shared; a figure is the median of its rounds."""
    good, bad = ([Timing(200, 0.001, seconds, 1)] for seconds in (0.002, 0.5))
    found = Found([Round(good, cpu_s=0.001, wall_s=1), Round(bad, cpu_s=1, wall_s=9), Round(good, 0.001, 1)])
    assert (found.quantile_ms(0.99, whole), found.cpu_ms, found.rate) == (2, 1, 1)
