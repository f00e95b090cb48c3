"""What the real CLIs sent, sent again: the gateway does for the recording what it did for the CLI, without any of them.

`make test-agents` runs the CLIs themselves; `RECORD=1 make test-agents` writes these recordings anew.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.e2e.sdks import Between, between

from crewcap.core.money import ZERO
from crewcap.prices import Book
from crewcap.simulator.script import Script

from . import scripts
from .cli import pinned
from .conftest import charged
from .recording import FOLDER, scrubbed

RECORDINGS = sorted(FOLDER.glob("*.json"))
PRIVATE = ("x-codex-turn-metadata", "x-codex-window-id", "session-id", "thread-id", "x-client-request-id")
every = pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.stem)


def loaded(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


async def again(it: Between, recording: dict[str, Any]) -> list[tuple[int, bytes]]:
    """Send every recorded request, one after the other; status and body of each answer."""
    answers = []
    async with aiohttp.ClientSession() as http:
        for each in recording["requests"]:
            secret = it.key.secret
            keys = {"authorization": f"Bearer {secret}", "x-goog-api-key": secret}
            sent = each["headers"] | {name: value for name, value in keys.items() if name in each["headers"]}
            url, found = it.gateway.url + each["path"], bytearray()
            async with http.request(each["method"], url, json=each["body"], headers=sent) as answer:
                try:
                    async for chunk in answer.content.iter_any():
                        found += chunk
                except aiohttp.ClientError:
                    found += b"<cut>"
                answers.append((answer.status, bytes(found)))
    return answers


def replayed(folder: Path, book: Book, script: Script, file: Path, *, cap: str = "5.00") -> tuple[Any, ...]:
    """Answers, what the provider was asked, what was refused, what was charged and what was billed."""

    async def main() -> tuple[Any, ...]:
        async with between(folder, book, script, cap=cap) as it:
            answers = await again(it, loaded(file))
            total = await charged(it)
            return answers, it.simulator.log.messages(), it.seen.refusals, total, it.simulator.meter.total()

    return asyncio.run(main())


def story(file: Path) -> tuple[Script, str]:
    """The script that a recording was made with; the cap of a refusal is that of its shorter bodies."""
    cli, _, what = file.stem.partition("-")
    if what == "refused":
        return scripts.costly(cli, cost_usd="0.55"), "0.58"
    if what == "cut":
        return scripts.broken(cli, "cut = 14" if cli == "codex" else "cut = 9"), "9.00"
    return scripts.spawning() if what == "spawning" else scripts.happy(cli), "5.00"


@every
def test_each_request_gets_the_answer_that_the_cli_got(tmp_path: Path, book: Book, file: Path) -> None:
    script, cap = story(file)
    answers, asked, refusals, charged_, billed = replayed(tmp_path, book, script, file, cap=cap)
    assert [status for status, _ in answers] == [each["status"] for each in loaded(file)["requests"]]
    assert charged_ >= billed > ZERO
    if "cut" not in file.stem:
        assert charged_ == billed
    refused = [body for status, body in answers if status == 400]
    assert len(refused) == len(refusals) == ("refused" in file.stem)
    assert all("budget" in json.loads(body)["error"]["message"] for body in refused)
    assert len(asked) == len(answers) - len(refused)
    assert not [name for record in asked for name in PRIVATE if name in record.headers]


@every
def test_a_recording_holds_nothing_of_a_machine_and_is_of_the_pinned_version(file: Path) -> None:
    recording = loaded(file)
    requests = [each["body"] for each in recording["requests"]]
    assert scrubbed(requests) == requests
    package = "@openai/codex" if file.stem.startswith("codex") else "@google/gemini-cli"
    assert recording["agent"].endswith(f" {pinned(package)}")
    text = file.read_text("utf-8")
    assert not [sign for sign in ("/tmp/", "/root/", "/home/", "ccap-", "127.0.0.1") if sign in text]


def test_a_refused_cli_says_why_and_ends() -> None:
    """What it printed when it met our refusal: its last word is an error, and our sentence is in it."""
    for cli, last in (("codex", "turn.failed"), ("gemini", "result")):
        event = loaded(FOLDER / f"{cli}-refused.json")["events"][-1]
        assert event["type"] == last
        assert "left of" in event["error"]["message"]
        assert "crewcap budget set" in event["error"]["message"]
