"""The simulator on the wire: what it answers, what it bills, and what becomes of those who hang up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from crewcap.core.money import ZERO
from crewcap.simulator.script import Script
from crewcap.simulator.script_file import parse
from crewcap.simulator.server import Simulator

from .conftest import KEY, Client, Clock, asking, followed

Play = Callable[..., tuple[Simulator, Client]]


def script(body: str) -> Script:
    return parse(f"[[step]]\nname = 'a'\n{body}", name="inline")


PLAIN = script("say = 'hello'\noutput_tokens = 200")
TOOLS = [{"name": "Read", "input_schema": {"type": "object"}}]


def test_a_stream_and_a_message_bill_the_same(play: Play) -> None:
    simulator, client = play(PLAIN)
    streamed, whole = client.ask(asking(stream=True)), client.ask(asking())
    assert streamed.usage["output_tokens"] == whole.usage["output_tokens"] == 200
    assert whole.data["content"][0]["text"] == "hello"
    first, second = simulator.log.messages()
    assert first.billed == second.billed == simulator.meter.total() - first.billed
    assert simulator.meter.by_key == {KEY: simulator.meter.total()}


def test_the_count_call_says_what_would_be_billed(play: Play) -> None:
    """And is free."""
    simulator, client = play(PLAIN)
    body = asking("hello " * 1_000, tools=TOOLS, system="be brief")
    counted = client.send("/v1/messages/count_tokens?beta=true", {k: v for k, v in body.items() if k != "max_tokens"})
    assert simulator.meter.total() == ZERO
    assert counted.data == {"input_tokens": client.ask(body).usage["input_tokens"]}


def test_a_conversation_goes_through_its_steps_and_reads_its_cache(play: Play) -> None:
    _, client = play("fix-login")
    mark = {"cache_control": {"type": "ephemeral"}}
    body = asking("Fix it.", system=[{"type": "text", "text": "be careful " * 1_000, **mark}], tools=TOOLS)
    read = client.ask(body)
    body = followed(body, read.data, "1\tdef same(): ...")
    edit = client.ask(body)
    assert [
        block["name"] for said in (read, edit) for block in said.data["content"] if block["type"] == "tool_use"
    ] == [
        "Read",
        "Edit",
    ]
    assert read.usage["cache_creation_input_tokens"] == edit.usage["cache_read_input_tokens"] > 2_000
    test = followed(body, edit.data)
    final = client.ask(followed(test, client.ask(test).data, "OK"))
    assert final.data["stop_reason"] == "end_turn"


def test_the_same_request_again_gets_the_same_answer(play: Play) -> None:
    """A retried request is billed again, as at the provider, but the script does not move on."""
    simulator, client = play("fix-login")
    contents = {json.dumps(client.ask(asking("Fix it.")).data["content"]) for _ in range(3)}
    assert len(contents) == 1
    assert len(simulator.meter.bills) == 3


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 400, "invalid_request_error"),
        (asking(model="claude-unheard-of"), 404, "not_found_error"),
        (asking(max_tokens=10_000_000), 400, "invalid_request_error"),
        (asking("x" * 5_000_000, max_tokens=1), 400, "invalid_request_error"),
    ],
)
def test_what_the_provider_refuses_is_not_billed(play: Play, body: object, status: int, kind: str) -> None:
    simulator, client = play(PLAIN)
    said = client.ask(body)
    assert (said.status, said.data["error"]["type"]) == (status, kind)
    assert said.headers["request-id"] == said.data["request_id"]
    assert simulator.meter.total() == ZERO
    assert [record.ending for record in simulator.log.messages()] == ["refused"]


def test_only_the_keys_that_it_was_told_may_ask(play: Play) -> None:
    """So that a test notices when anything but the provider's own key reaches the provider."""
    simulator, client = play(PLAIN, keys=frozenset({KEY}))
    bearer = Client(simulator.url, key="", headers={"authorization": f"Bearer {KEY}"})
    statuses = [each.ask(asking()).status for each in (client, bearer, Client(simulator.url, key="ccap-x"))]
    assert statuses == [200, 200, 401]
    assert Client(simulator.url, key="").get("/v1/models").status == 401


def test_models_and_probes_are_answered(play: Play) -> None:
    _, client = play(PLAIN)
    assert "claude-sonnet-5" in [model["id"] for model in client.get("/v1/models?limit=1000").data["data"]]
    assert [client.send(path, method="HEAD").status for path in ("/", "/api/hello")] == [200, 200]
    assert client.get("/healthz").data == {"ok": True}
    assert client.get("/v1/elsewhere").status == 404


def test_a_cached_prompt_is_forgotten_when_its_time_is_over(play: Play, clock: Clock) -> None:
    _, client = play(PLAIN)
    body = asking(system=[{"type": "text", "text": "x" * 9_000, "cache_control": {"type": "ephemeral"}}])
    client.ask(body)
    assert client.ask(body).usage["cache_read_input_tokens"] > 0
    clock.move(minutes=6)
    assert client.ask(body).usage["cache_read_input_tokens"] == 0


def test_it_runs_inside_a_loop_as_well() -> None:
    async def life() -> tuple[str, int]:
        async with Simulator(PLAIN) as simulator:
            said = await asyncio.to_thread(Client(simulator.url).ask, asking())
            await simulator.idle()
            return simulator.url, said.status

    url, status = asyncio.run(life())
    assert url.startswith("http://127.0.0.1:")
    assert status == 200


def test_a_port_that_is_taken_is_an_error_of_the_caller(play: Play) -> None:
    simulator, _ = play(PLAIN)
    port = int(simulator.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"), Simulator.in_thread(PLAIN, port=port):
        pass
