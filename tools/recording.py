"""The demo's recording in the README: `python -m tools.recording` plays the demo and writes it down.

What differs from one play to the next (times, and the figures of a runaway, which is a race) is compared as a shape:
`tests/demo/test_demo.py` plays the demo again and fails when the README shows anything else than that.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- demo: written by tools/recording.py -->", "<!-- /demo -->"
_BLOCK = re.compile(f"{re.escape(BEGIN)}\n```text\n(.*?)```\n{re.escape(END)}", re.DOTALL)


def play(folder: Path) -> subprocess.CompletedProcess[str]:
    """The demo as a user types it, in an empty folder."""
    command = [sys.executable, "-m", "crewcap", "demo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603


def recorded(readme: str) -> str:
    """The recording that the README shows."""
    found = _BLOCK.search(readme)
    if found is None:
        raise LookupError(f"{README.name} has no recording between {BEGIN} and {END}")
    return found[1]


def shape(recording: str) -> list[str]:
    """A recording without what differs between plays: times, amounts, counts of a race, what a sandbox lacks here."""
    dropped = re.compile(r"\$ |  gives up:| +\d+:\d\d  limits ")  # what a machine lacks
    lines = [line for line in recording.splitlines() if not dropped.match(line)]
    text = "\n".join(re.sub(r"^Sandbox: \w+\.$", "Sandbox: any.", line) for line in lines)
    text = re.sub(r"\d+\.\d+\.\d+", "VERSION", text)
    text = re.sub(r"\[[#.]+\]", "[BAR]", text)
    text = re.sub(r"\$?\d[\d.,:]*", "N", text)
    text = re.sub(r"kept: .*", "kept: WORK", text)
    return [re.sub(r" +", " ", line).rstrip() for line in text.splitlines()]


def main() -> None:
    """Play, and write."""
    with tempfile.TemporaryDirectory(prefix="crewcap-recording-") as folder:
        done = play(Path(folder))
    if done.returncode != 0:
        sys.exit(f"the demo ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    readme = README.read_text(encoding="utf-8")
    recorded(readme)
    block = f"{BEGIN}\n```text\n$ crewcap demo\n{done.stdout}```\n{END}"
    README.write_text(_BLOCK.sub(lambda _: block, readme), encoding="utf-8")


if __name__ == "__main__":
    main()
