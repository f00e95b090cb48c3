"""The simulator's batch APIs obey the providers' law: billed at a batch's prices, by what is said, once."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from crewcap.core.money import ZERO
from crewcap.core.pricing import Modifiers
from crewcap.prices import Book, load
from crewcap.simulator.batch import BatchScript
from crewcap.simulator.meter import price
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator
from crewcap.wire.batches import APIS, BatchApi, Item, Question, Sending

MODELS = {"/v1/messages": "claude-sonnet-4-6", "/v1/responses": "gpt-5", "/v1/chat/completions": "gpt-4.1"}
each_api = pytest.mark.parametrize("path", list(MODELS))


@pytest.fixture(scope="module")
def book() -> Book:
    return load()


@pytest.fixture
def simulator(book: Book) -> Iterator[Simulator]:
    answers = Script(name="b", steps=(Step(name="yes", say="{{task}}", output_tokens=50),))
    with Simulator.in_thread(answers, book=book, batches=BatchScript(polls=2)) as found:
        yield found


def ask(simulator: Simulator, sending: Sending | str, *, key: str = "sk-fake-1") -> tuple[int, bytes]:
    """A POST of ours, or a question."""
    headers = {"x-api-key": key} if key else {}
    if isinstance(sending, Sending):
        headers["content-type"] = sending.content_type
        request = urllib.request.Request(simulator.url + sending.path, sending.body, headers)
    else:
        request = urllib.request.Request(simulator.url + sending, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def made(simulator: Simulator, path: str, *texts: str) -> tuple[BatchApi, str]:
    """A batch of these texts; its name."""
    api = APIS[path]()
    items = [
        Item(f"m-{n}", api.body(Question(text=text, model=MODELS[path], max_output=100)))
        for n, text in enumerate(texts)
    ]
    upload = api.upload("m", items)
    file = api.uploaded(ask(simulator, upload)[1]) if upload else ""
    status, answer = ask(simulator, api.create("m", items, file))
    assert status == 200
    return api, api.progress(answer).id


def results(simulator: Simulator, api: BatchApi, id_: str) -> dict[str, Any]:
    """Poll to the end; what became of each item."""
    while (progress := api.progress(ask(simulator, api.poll_path(id_))[1])).state == "working":
        pass
    lines = [line for path in progress.results for line in ask(simulator, path)[1].splitlines()]
    found = [result for line in lines if (result := api.result(line))]
    return {result.name: result for result in found}


@each_api
def test_a_batch_gets_on_with_each_poll_and_is_billed_at_its_own_prices(
    path: str, simulator: Simulator, book: Book
) -> None:
    api, id_ = made(simulator, path, "one", "two", "three")
    assert simulator.meter.total() == ZERO
    first = api.progress(ask(simulator, api.poll_path(id_))[1])
    assert (first.state, first.total, first.done) == ("working", 3, 2)
    found = results(simulator, api, id_)
    assert [api.text(found[f"m-{n}"].answer)[:3] for n in range(3)] == ["one", "two", "thr"]
    provider = "anthropic" if path == "/v1/messages" else "openai"
    for bill in simulator.meter.bills:
        card = book.card(provider, MODELS[path], at=bill.at, modifiers=Modifiers(tier="batch"))
        assert bill.amount == price(card, bill.usage)
    results(simulator, api, id_)
    assert len(simulator.meter.bills) == 3  # however often it is asked


@each_api
def test_what_fails_expires_or_vanishes_is_picked_by_what_it_says(path: str, simulator: Simulator) -> None:
    simulator.batches.script = BatchScript(
        fails=re.compile("bad"), expires=re.compile("slow"), vanishes=re.compile("gone")
    )
    api, id_ = made(simulator, path, "a bad one", "a slow one", "a gone one", "a good one")
    states = {name: result.state for name, result in results(simulator, api, id_).items()}
    assert states == {"m-0": "errored", "m-1": "expired", "m-3": "succeeded"}
    assert len(simulator.meter.bills) == 1


@each_api
def test_a_cancelled_batch_bills_what_it_did(path: str, simulator: Simulator) -> None:
    api, id_ = made(simulator, path, "one", "two")
    ask(simulator, api.poll_path(id_))
    ask(simulator, Sending(path=api.cancel_path(id_), body=b""))
    states = sorted(result.state for result in results(simulator, api, id_).values())
    assert states == ["canceled", "succeeded"]
    assert len(simulator.meter.bills) == 1


@each_api
def test_the_list_shows_the_batches_of_one_key_newest_first(path: str, simulator: Simulator) -> None:
    api, first = made(simulator, path, "one")
    _, second = made(simulator, path, "two")
    found, after = api.listed(ask(simulator, api.list_path(""))[1])
    assert [each.id for each in found] == [second, first]
    assert after == ""
    assert {each.mark for each in found} == ({"m"} if api.keeps_mark else {""})
    assert api.listed(ask(simulator, api.list_path(""), key="sk-fake-2")[1])[0] == ()
    assert ask(simulator, api.poll_path(first), key="sk-fake-2")[0] == 404


def test_a_batch_without_a_key_is_refused(simulator: Simulator) -> None:
    assert ask(simulator, "/v1/messages/batches", key="")[0] == 401


def test_a_batch_of_two_models_is_refused_by_openai(simulator: Simulator) -> None:
    api = APIS["/v1/responses"]()
    items = [Item(f"m-{m}", api.body(Question(text="x", model=m, max_output=9))) for m in ("gpt-5", "gpt-4.1")]
    upload = api.upload("m", items)
    assert upload is not None
    file = api.uploaded(ask(simulator, upload)[1])
    status, answer = ask(simulator, api.create("m", items, file))
    assert (status, "same model" in json.loads(answer)["error"]["message"]) == (400, True)
