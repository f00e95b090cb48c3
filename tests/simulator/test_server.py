"""The simulator on the wire: what it answers, what it bills, and what becomes of those who hang up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crewcap.core.money import ZERO
from crewcap.simulator.script import Script
from crewcap.simulator.script_file import parse
from crewcap.simulator.server import Simulator
from crewcap.simulator.troubles import TROUBLES

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


@pytest.mark.parametrize("name", TROUBLES)
def test_every_refusal_is_played_in_the_providers_words(play: Play, name: str) -> None:
    simulator, client = play("errors")
    said = client.ask(asking(f"refuse {name}", stream=True))
    trouble = TROUBLES[name]
    assert (said.status, said.data["error"]["message"]) == (trouble.status, trouble.message)
    assert simulator.meter.total() == ZERO


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
