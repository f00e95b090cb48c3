"""The short form of `python -m torture night`: a real serve with five runs is killed; a failure names its seed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from torture.night import SHORT, play
from torture.night_points import POINTS
from torture.night_site import crewcap_fate
from torture.night_town import INTERPRETER, SCRIPT

from crewcap.simulator.server import Simulator


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with Simulator.in_thread(SCRIPT) as simulator:
        yield simulator


@pytest.mark.sandbox
@pytest.mark.skipif(not Path(INTERPRETER).exists(), reason=f"its agent needs {INTERPRETER}")
@pytest.mark.parametrize("name", SHORT)
def test_a_nights_runs_live_through_it(name: str, provider: Simulator) -> None:
    """Every run ends well, once, and told once; nothing outlives its owner, and the books hold what was billed."""
    seed = secrets.randbits(32)
    found = play(name, seed, provider, within_s=60)  # a machine that runs tests has other things to do
    assert (name, seed, found.broken) == (name, seed, ())
    assert found.told, (name, seed)


def test_every_point_is_a_call_of_the_product() -> None:
    """A point whose call was renamed would never strike."""
    named = {name for calls in crewcap_fate.CALLS.values() for name in calls.values() if isinstance(name, str)}
    known = {point.rpartition(".")[0] for point in POINTS}
    assert known - named == {name for name in known if name.startswith(("step.", "state."))}
    for module, calls in crewcap_fate.CALLS.items():
        for path in calls:
            assert crewcap_fate.find(module, path), (module, path)
