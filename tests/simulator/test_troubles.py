"""The provider says no in its own words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crewcap.core.money import ZERO
from crewcap.simulator.server import Simulator
from crewcap.simulator.troubles import TROUBLES

from .conftest import Client, asking

Play = Callable[..., tuple[Simulator, Client]]


@pytest.mark.parametrize("name", TROUBLES)
def test_every_refusal_is_played_in_the_providers_words(play: Play, name: str) -> None:
    simulator, client = play("errors")
    said = client.ask(asking(f"refuse {name}", stream=True))
    trouble = TROUBLES[name]
    assert (said.status, said.data["error"]["message"]) == (trouble.status, trouble.message)
    assert simulator.meter.total() == ZERO
