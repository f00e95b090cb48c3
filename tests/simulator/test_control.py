"""The control pages: the meter and the log without keys, trouble, reset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from crewcap.core.money import ZERO
from crewcap.simulator.script import Script
from crewcap.simulator.script_file import parse
from crewcap.simulator.server import Simulator

from .conftest import KEY, Client, asking

Play = Callable[..., tuple[Simulator, Client]]


def script(body: str) -> Script:
    return parse(f"[[step]]\nname = 'a'\n{body}", name="inline")


PLAIN = script("say = 'hello'\noutput_tokens = 200")


def test_trouble_refuses_everything_until_it_ends(play: Play) -> None:
    """An outage is a switch, not a number of attempts."""
    simulator, client = play(PLAIN)
    assert client.send("/_control/trouble", {"name": "spend_limit"}).data == {"trouble": "spend_limit"}
    refused = [client.ask(asking()), client.send("/v1/messages/count_tokens", asking()), client.get("/v1/models")]
    assert {said.status for said in refused} == {429}
    assert refused[0].data["error"]["error_code"] == "enforced_spend_limit_reached"
    assert client.send("/_control/trouble", {}).data == {"trouble": None}
    assert client.ask(asking()).status == 200
    assert client.send("/_control/trouble", {"name": "boredom"}).status == 400
    assert simulator.trouble is None


def test_the_control_pages_show_the_meter_and_the_log_without_keys(play: Play, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    simulator, client = play(PLAIN, log_file=file, keep_bodies=True)
    client.headers["x-claude-code-session-id"] = "session-1"
    client.ask(asking("a secret prompt", stream=True))
    simulator.idle_in_thread()
    stats, log = client.get("/_control/stats").data, client.get("/_control/log").data
    assert stats["total_usd"] == simulator.meter.total().exact()
    assert (stats["requests"], stats["in_flight"], stats["answers"]) == (1, 0, 1)
    assert stats["sessions"] == {"session-1": stats["total_usd"]}
    assert log.decode() == file.read_text(encoding="utf-8")
    record = json.loads(log)
    assert (record["step"], record["billed"], record["ending"]) == ("a", stats["total_usd"], "complete")
    assert KEY not in log.decode() + json.dumps(stats)
    assert "secret prompt" not in log.decode()
    assert b"secret prompt" in simulator.log.messages()[0].body


def test_a_reset_goes_back_to_the_start(play: Play) -> None:
    simulator, client = play(PLAIN)
    body = asking(system=[{"type": "text", "text": "x" * 9_000, "cache_control": {"type": "ephemeral"}}])
    client.ask(body)
    assert client.send("/_control/reset", {}).data == {"ok": True}
    assert (simulator.meter.total(), simulator.log.records) == (ZERO, [])
    assert client.ask(body).usage["cache_read_input_tokens"] == 0
