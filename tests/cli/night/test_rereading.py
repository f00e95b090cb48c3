"""What of changed settings holds at once, and what only when serve is started anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewcap import config
from crewcap.cli.night.rereading import waits_for_a_start
from crewcap.settings.models import Settings

NEXT = "takes effect at the next start of crewcap serve; until then"


def written(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    return config.load(path, {"HOME": str(folder)})


@pytest.mark.parametrize(
    ("text", "at_once", "said"),
    [
        ("", 2, []),
        ('[serve]\nlisten = "127.0.0.1:9"', 2, [f"[serve] listen = 127.0.0.1:9 {NEXT} it is 127.0.0.1:8"]),
        ("[slots]\nall = 5", 2, [f"[slots] all = 5 {NEXT} 2 runs at once are the most"]),
        ("[slots]\nall = 0", 2, [f"[slots] all = 0 {NEXT} 2 runs at once are the most"]),
        ("[slots]\nall = 1", 2, []),  # the dispatcher goes by it now
        ("[slots]\nall = 5", 0, []),  # as many as there are anyway
    ],
)
def test_what_waits_for_the_next_start_is_said(tmp_path: Path, text: str, at_once: int, said: list[str]) -> None:
    running = written(tmp_path, '[serve]\nlisten = "127.0.0.1:8"\n[slots]\nall = 2')
    now = written(
        tmp_path,
        "\n".join(
            [
                text,
                "" if "[serve]" in text else '[serve]\nlisten = "127.0.0.1:8"',
                "" if "[slots]" in text else "[slots]\nall = 2",
            ]
        ),
    )
    assert list(waits_for_a_start(running, now, at_once=at_once)) == said
