"""A worker that cannot say that it lives ends, before anybody takes its runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runner.worker.fleet import Relay
from tests.runner.worker.houses import Street
from tests.stores.postgres_server import shared

from crewcap.app import App
from crewcap.runner.worker.fencing import (
    LEFT,
    TIMES,
    Fence,
    SeatTaken,
    Times,
    forget_the_dead,
    living,
    new_name,
    place_at,
    place_of,
    seat,
    sit_down,
    ticks,
)

QUICK = Times(beat_s=0.02, fence_s=0.3, dead_after_s=30.0)
LIMIT_S = 20.0


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    street = Street(tmp_path, shared())
    yield street
    street.end()


class Fallen(threading.Event):
    """Whether a worker has fallen."""

    def __call__(self) -> None:
        self.set()


def fence(house: App, fallen: Fallen, *, worker: str = "host.here.1", times: Times = QUICK) -> Fence:
    return Fence(runs=house.more_runs(), worker=worker, fall=fallen, times=times)


def test_who_ends_does_so_before_others_believe_it() -> None:
    """A heartbeat that was heard late, and one round of the watch, lie between."""
    assert TIMES.fence_s + TIMES.beat_s < TIMES.dead_after_s


def test_a_heart_beats_until_its_worker_leaves_and_keeps_its_place_then(street: Street) -> None:
    house, fallen, beats = street.house("here"), Fallen(), threading.Semaphore(0)
    heart = fence(house, fallen)
    heart.beaten = beats.release
    heart.start()
    first = house.runs.workers()[0].seen_at
    for _ in range(3):
        assert beats.acquire(timeout=LIMIT_S)
    assert house.runs.workers()[0].seen_at > first
    heart.leave()
    assert living(house.runs, dead_after_s=30.0) == {"host.here.1": LEFT}
    assert not fallen.is_set()


def test_a_worker_whose_database_does_not_answer_falls(street: Street, tmp_path: Path) -> None:
    """The heart hangs in its call, and so may everything else; the watch does not."""
    relay = Relay(tmp_path / "relay", shared().folder / ".s.PGSQL.5432")
    street.url = street.url.replace(str(shared().folder), str(relay.folder))
    house, fallen = street.house("here"), Fallen()
    heart = fence(house, fallen)
    heart.start()
    began = ticks()
    relay.cut()
    assert fallen.wait(LIMIT_S)
    assert ticks() - began > QUICK.fence_s - QUICK.beat_s * 2
    relay.mend()
    relay.close()


def test_a_worker_that_was_taken_for_dead_falls_at_its_next_heartbeat(street: Street) -> None:
    house, fallen = street.house("here"), Fallen()
    fence(house, fallen).start()
    house.runs.forget_worker("host.here.1")
    assert fallen.wait(LIMIT_S)


def test_only_those_that_were_silent_are_forgotten(street: Street) -> None:
    house = street.house("here")
    for name in ("host.here.1", "host.there.1"):
        house.runs.beat(name, version="wf-1")
    shared().sql(street.url, "UPDATE crewcap.worker SET seen_at = seen_at - 31000000 WHERE name = 'host.there.1'")
    assert living(house.runs, dead_after_s=30.0) == {"host.here.1": "wf-1"}
    forget_the_dead(house.runs, dead_after_s=30.0)
    assert [it.name for it in house.runs.workers()] == ["host.here.1"]


def test_two_workers_of_one_house_have_two_names_and_one_place(street: Street) -> None:
    houses = [street.house("here"), street.house("there")]
    for house in houses:
        assert house.runs.list() == []  # the store makes the file that tells houses apart
    names = [new_name(house.home) for house in (houses[0], houses[0], houses[1])]
    assert len(set(names)) == 3
    assert place_of(names[0]) == place_of(names[1]) == place_at(houses[0].home) != place_of(names[2])
    assert place_of("local") == ""


def test_a_house_has_one_seat_and_who_takes_it_learns_who_had_it(tmp_path: Path) -> None:
    path = tmp_path / "worker.lock"
    script = (
        "import sys; from pathlib import Path; from crewcap.runner.worker.fencing import seat, sit_down;"
        " held, _ = seat(Path(sys.argv[1])); sit_down(held, 'host.here.1'); print('sits', flush=True);"
        " sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "sits\n"
        with pytest.raises(SeatTaken, match="another worker of this state directory is alive"):
            seat(path)
        other.kill()
    held, before = seat(path)
    assert before == "host.here.1"
    sit_down(held, "x")
    assert path.read_text() == "x"
