"""`crewcap simulator`, started as a user starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 30
BODY = {"model": "claude-sonnet-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the command; what still runs at the end of the test is ended."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            (sys.executable, "-m", "crewcap", "--home", str(tmp_path / "home"), "simulator", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LIMIT_S)


def asked(url: str) -> Any:
    headers = {"x-api-key": "sk-ant-fake-key", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(BODY).encode(), headers)
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return json.load(answer)


def test_it_serves_until_it_is_interrupted_and_then_says_what_it_would_have_billed(start: Start) -> None:
    process = start("--script", "errors", "--log", "requests.jsonl")
    assert process.stdout is not None
    first = process.stdout.readline().split()
    assert first[:2] == ["listening", "on"]
    assert asked(first[2])["content"][0]["text"] == "Nothing is wrong."
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert out.startswith("billed $0.0")
    assert "for 1 answer" in out


def test_machines_get_json(start: Start) -> None:
    process = start("--json", "--script", "runaway", "--set", "background=true")
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert said["script"] == "runaway"
    asked(said["url"])
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, json.loads(out)["answers"]) == (0, 1)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--listen", "0.0.0.0:80"), "listens on loopback only, not on '0.0.0.0'"),
        (("--listen", "localhost"), "'localhost' is not HOST:PORT"),
        (("--listen", "127.0.0.1:99999"), "is not HOST:PORT"),
        (("--script", "no.toml"), "no.toml: cannot read this script"),
        (("--lie", "flattery"), "'flattery' is not a lie"),
        (("--set", "background"), "--set 'background' is not NAME=VALUE"),
        (("--script", "runaway", "--set", "back=1"), "there is no variable 'back'"),
    ],
)
def test_wrong_words_are_one_clear_line(start: Start, words: tuple[str, ...], complaint: str) -> None:
    process = start(*words)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 2
    assert complaint in err
    assert "Traceback" not in err
