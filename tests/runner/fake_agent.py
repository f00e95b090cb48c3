"""An agent that does what a test says: its adapter here, its program in `fake_agent_program`.

    agent = FakeAgent([["say", "ready"], ["write", "a.py", "..."], ["end", {"kind": "finished"}]], [...])

Each list is one start of it, in order; the last one is what every later start does. The adapter keeps the protocol and
remembers the orders that it was given.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.contracts.sandboxes import PYTHON

from crewcap.agents import Capabilities, Launch, LaunchOrder
from crewcap.core.likeness import likeness
from crewcap.core.runs import Acted, AgentEnd, AgentEvent, Answered, Other, Said

PROGRAM = Path(__file__).with_name("fake_agent_program.py")
Deeds = list[list[Any]]


def finished(*deeds: list[Any]) -> Deeds:
    """Deeds of an agent that ends well."""
    return [*deeds, ["end", {"kind": "finished"}]]


def fixes(text: str = "def add(a, b):\n    return a + b\n") -> Deeds:
    """The work that the issue asks for."""
    return finished(["write", "adder.py", text])


class FakeAgent:
    """`AgentAdapter` for tests."""

    name = "fake"
    title = "Fake Agent"
    executable = "fake-agent"
    oldest = "1.0"

    def __init__(self, *starts: Deeds, remembers: bool = True, can_be_told: bool = False) -> None:
        self._starts = starts or (finished(),)
        self._remembers = remembers  # whether it leaves a session to go on in, as real agents do
        self._can_be_told = can_be_told
        self.orders: list[LaunchOrder] = []

    def bundled(self) -> str | None:
        return None

    def parse_version(self, output: str) -> str:
        return output.strip()

    def capabilities(self) -> Capabilities:
        return Capabilities(can_resume=True, can_be_told=self._can_be_told, has_subagents=False, dialect="anthropic")

    def launch(self, order: LaunchOrder) -> Launch:
        deeds = self._starts[min(len(self.orders), len(self._starts) - 1)]
        self.orders.append(order)
        environ = {
            "HOME": order.home,
            "FAKE_KEY": order.key,
            "FAKE_MODEL": order.model,
            "FAKE_URL": order.gateway_url,
            "FAKE_SOCKET": order.gateway_socket,
        }
        session = [["remember", order.session]] if self._remembers else []
        words = json.dumps({"deeds": [*session, *deeds]}) + "\n"
        return Launch(argv=(PYTHON, "-I", "-S", order.binary), environ=environ, files={}, first_input=words.encode())

    def read(self, line: bytes) -> Iterable[AgentEvent]:
        try:
            said = json.loads(line)
        except ValueError:
            return (Other(kind="noise"),)
        match said:
            case {"say": text}:
                return (Said(text=text),)
            case {"act": [verb, what, call]}:
                return (Acted(verb=verb, what=what, call=call, likeness=likeness(verb, what)),)
            case {"answer": [call, summary]}:
                return (Answered(call=call, summary=summary, likeness=likeness(summary)),)
            case {"end": fields}:
                return (AgentEnd(**fields),)
            case _:
                return (Other(kind="unknown"),)

    def say(self, text: str) -> bytes:
        return json.dumps(text).encode() + b"\n"

    def end(self, *, exit_status: int, last: AgentEnd | None) -> AgentEnd:
        if last is None and exit_status in {-signal.SIGTERM, 128 + signal.SIGTERM}:
            return AgentEnd(kind="interrupted", message="ended by SIGTERM")
        return last or AgentEnd(kind="crashed", message="" if exit_status else "it ended without a word")
