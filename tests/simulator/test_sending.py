"""Answers on the wire: streams that end early, and what is billed for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crewcap.simulator.script import Script
from crewcap.simulator.script_file import parse
from crewcap.simulator.server import Simulator

from .conftest import Client, asking

Play = Callable[..., tuple[Simulator, Client]]


def script(body: str) -> Script:
    return parse(f"[[step]]\nname = 'a'\n{body}", name="inline")


def test_an_error_event_ends_a_stream(play: Play) -> None:
    simulator, client = play("errors")
    said = client.ask(asking("event overloaded", stream=True))
    assert [event["type"] for event in said.data][-1] == "error"
    assert "message_stop" not in [event["type"] for event in said.data]
    assert simulator.log.messages()[0].ending == "error_event"
    assert client.ask(asking("event overloaded")).status == 200


def test_a_cut_stream_is_billed_and_the_same_request_without_a_stream_is_answered(play: Play) -> None:
    simulator, client = play(script("say = 'hello'\noutput_tokens = 900\ncut = 5\nwhen = { stream = true }"))
    said = client.ask(asking(stream=True))
    assert not said.is_whole
    assert len(said.data) == 5
    assert client.ask(asking()).is_whole
    simulator.idle_in_thread()
    assert [record.ending for record in simulator.log.messages()] == ["cut", "complete"]
    assert simulator.meter.bills[0].usage.output == 900


def test_a_cut_at_once_sends_no_byte(play: Play) -> None:
    simulator, client = play(script("output_tokens = 900\ncut = 0"))
    for stream in (True, False):
        with pytest.raises(ConnectionError):
            client.ask(asking(stream=stream))
    simulator.idle_in_thread()
    assert [record.ending for record in simulator.log.messages()] == ["cut", "cut"]


@pytest.mark.parametrize(("bill", "output"), [("all", 8_000), ("sent", 0)])
def test_a_silent_stream_is_billed_when_the_client_leaves(play: Play, bill: str, output: int) -> None:
    """In full, or for what was generated until then, as the simulator was told."""
    simulator, client = play("hangup", bill=bill)
    connection = client.open("/v1/messages", asking("silent", stream=True, thinking={"type": "adaptive"}))
    response = connection.getresponse()
    lines = [response.readline() for _ in range(4 * 3)]  # four events: a name, its data, an empty line
    assert b"message_start" in lines[0]
    connection.sock.close()
    response.close()
    simulator.idle_in_thread()
    assert simulator.log.messages()[0].ending == "hung"
    usage = simulator.meter.bills[0].usage
    assert usage.input > 0
    assert output <= usage.output <= max(output, 4_000)


def test_a_client_that_hangs_up_is_noticed_at_once(play: Play) -> None:
    simulator, client = play("hangup", bill="sent")
    connection = client.open("/v1/messages", asking("slow", stream=True))
    response = connection.getresponse()
    response.readline()
    connection.sock.close()
    response.close()
    simulator.idle_in_thread(timeout_s=5)
    assert simulator.log.messages()[0].ending == "client_gone"
    assert simulator.meter.bills[0].usage.output < 8_000


def test_no_answer_means_no_status_line(play: Play) -> None:
    simulator, client = play("hangup")
    connection = client.open("/v1/messages", asking("no answer", stream=True))
    connection.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    simulator.idle_in_thread()
    assert simulator.meter.bills[0].usage.output == 8_000
