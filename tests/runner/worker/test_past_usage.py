"""The duty that imports past usage: round by round where it is set, whatever goes wrong, and without much talk."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crewcap import config
from crewcap.app import App
from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.runner.worker.past_usage import PastUsage, Round

from .houses import Clock


@dataclass
class Done:
    """What one round did."""

    read: int = 0
    bytes_read: int = 0
    left: int = 0
    problems: Counter[str] = field(default_factory=Counter)


Given = Round | Exception | Callable[[], Round]


@dataclass
class Desk:
    """A home whose settings can be written anew, and the duty on it."""

    path: Path
    clock: Clock = field(default_factory=Clock)
    begun: int = 0

    def __post_init__(self) -> None:
        self.set_watch(on=True)
        self.app = App(home=Home(self.path / "state"), config_path=self._config, environ={}, clock=self.clock)

    @property
    def _config(self) -> Path:
        return self.path / "config.toml"

    def set_watch(self, *, on: bool) -> None:
        self._config.write_text(f"[serve]\nwatch_usage = {str(on).lower()}\n")

    def read_again(self) -> None:
        self.app.go_by(config.load(self.app.config_path, {}))

    def duty(self, rounds: Iterator[Given]) -> PastUsage:
        """The duty, with these rounds; it begins them again where they broke off, and ends when there are no more."""

        async def begin() -> AsyncGenerator[Round, None]:
            self.begun += 1
            for each in rounds:
                await asyncio.sleep(0)
                if isinstance(each, Exception):
                    raise each
                yield each() if callable(each) else each

        return PastUsage(house=self.app, rounds=begin)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.app.close()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.endswith("past_usage")]


def test_nothing_is_read_where_it_is_not_set(desk: Desk) -> None:
    desk.set_watch(on=False)
    asyncio.run(desk.duty(iter([Done(read=1)])).look())
    assert desk.begun == 0


def test_a_setting_that_is_taken_back_ends_it_after_the_round(desk: Desk) -> None:
    def last() -> Round:
        desk.set_watch(on=False)
        desk.read_again()
        return Done(read=1)

    rounds: Iterator[Given] = iter([Done(read=1), last, Done(read=99)])
    asyncio.run(desk.duty(rounds).look())
    assert list(rounds) == [Done(read=99)]


def test_other_prices_begin_it_anew(desk: Desk) -> None:
    def last() -> Round:
        del desk.app.book  # built anew when it is asked for
        return Done(read=1)

    rounds: list[Given] = [last, Done(read=2)]
    duty = desk.duty(iter(rounds))
    asyncio.run(duty.look())
    assert desk.begun == 1
    asyncio.run(duty.look())
    assert desk.begun == 2


@pytest.mark.parametrize("error", [LedgerError("the index is damaged"), ValueError("a reader's defect")])
def test_an_error_is_said_once_and_it_goes_on(desk: Desk, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    duty = desk.duty(iter([error, error, Done(read=3), error]))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            asyncio.run(duty.look())
    failed = [line for line in said(caplog) if line.startswith("past usage is not imported")]
    assert len(failed) == 2  # before it worked, and after
    assert "past usage: 3 transcripts read, 0.0 MB: crewcap usage" in said(caplog)


def test_it_says_what_was_read_when_all_is_and_then_once_an_hour(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def an_hour_later() -> Round:
        desk.clock.pass_(hours=1)
        return Done(read=1, bytes_read=500_000)

    first = [Done(read=2, bytes_read=64_000_000, left=1), Done(read=1, bytes_read=1_000_000)]
    later: list[Given] = [Done(read=4, bytes_read=1_500_000), Done(), an_hour_later]
    with caplog.at_level(logging.INFO):
        asyncio.run(desk.duty(iter([*first, *later])).look())
    assert said(caplog) == [
        "past usage: 3 transcripts read, 65.0 MB: crewcap usage",
        "past usage: 5 transcripts read, 2.0 MB: crewcap usage",
    ]


def test_what_cannot_be_read_is_said_when_it_is_new(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    trouble = Done(problems=Counter({"a file that cannot be read: Permission denied": 2}))
    with caplog.at_level(logging.WARNING):
        asyncio.run(desk.duty(iter([trouble, trouble, Done(), trouble])).look())
    assert said(caplog) == ["past usage: 2 left out: a file that cannot be read: Permission denied"] * 2
