"""A reader that has left is noticed while nothing is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_WAITER = """
from crewcap.cli.context import make_call
from crewcap.cli.screen.pause import pause
call = make_call({"home": "nowhere"})
print("ready", flush=True)
while call.has_reader:
    pause(call, 5)
"""


def test_a_pause_ends_with_the_reader() -> None:
    """`crewcap logs -f | head -1` ends when head does, not at the run's next line."""
    with subprocess.Popen([sys.executable, "-c", _WAITER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        assert process.wait(timeout=30) == 0


def test_a_result_that_goes_to_a_file_or_nowhere_has_a_reader(tmp_path: Path) -> None:
    script = "from crewcap.cli.context import make_call\nfrom crewcap.cli.screen.pause import pause\nimport sys\n"
    script += "call = make_call({'home': 'nowhere'})\npause(call, 0.01)\nsys.exit(0 if call.has_reader else 1)"
    with (tmp_path / "said").open("w", encoding="utf-8") as file:
        assert subprocess.run([sys.executable, "-c", script], stdout=file, check=False).returncode == 0
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=False).returncode == 0
