#!/usr/bin/python3
"""An agent that lets beasts loose: it speaks as Claude Code does, and does what its issue says after `zoo:`.

Every process that it starts has a word of its issue in its command line, by which a test finds it wherever it went.
Standard library alone; it is shown in a sandbox as the agent's program.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

PYTHON = "/usr/bin/python3"
_QUIET = """
import os, signal, sys, time
null = os.open("/dev/null", os.O_RDWR)
for n in (0, 1, 2): os.dup2(null, n)
def again():
    if os.fork(): os._exit(0)
def deaf():
    for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT): signal.signal(n, signal.SIG_IGN)
"""
_SLEEP = "\nwhile True: time.sleep(60)"
_FORK = """
import os, time
while True:
    try:
        if os.fork() == 0 and os.getpid() % 2: time.sleep(60)
    except OSError: time.sleep(0.01)
"""
_FILL = """
import itertools, time
for n in itertools.count():
    try:
        with open(f"fill-{n}", "wb") as f: f.write(bytes(1 << 20))
        time.sleep(0.02)
    except OSError: time.sleep(0.1)
"""
# What stays behind an agent that ends.
LEFT = {
    "setsid": f"{_QUIET}os.setsid()\n{_SLEEP}",
    "double-fork": f"{_QUIET}again(); os.setsid(); again(){_SLEEP}",
    "ignores-term": f"{_QUIET}os.setsid(); deaf(){_SLEEP}",
    "busy-loop": f"{_QUIET}os.setsid()\nwhile True: pass",
    "sleeps": f"{_QUIET}{_SLEEP}",
    "stopped": f"{_QUIET}os.setsid(); os.kill(os.getpid(), signal.SIGSTOP){_SLEEP}",
    "daemon": f"{_QUIET}again(); os.setsid(); again()\nfor n in range(3, 64):\n    try: os.close(n)\n"
    f"    except OSError: pass\nos.chdir('/'); deaf(){_SLEEP}",
    "clean-environment": "import os, sys\nos.execve(sys.executable, [sys.executable, '-c', '''"
    f"{_QUIET}os.setsid(){_SLEEP}''', sys.argv[1]], {{}})",
}
# What it does itself, and does not come back from.
BOMBS = {"fork-bomb": _FORK, "fills-up": _FILL}


def main() -> None:
    """Be Claude Code, as far as the adapter looks."""
    if "--version" in sys.argv:
        sys.stdout.write("2.9.0 (Claude Code)\n")
        return
    words = json.loads(sys.stdin.readline())["message"]["content"][0]["text"]
    asked = re.search(r"zoo:([a-z-]+) (zoo-[0-9a-f]+)", words)
    been = Path(os.environ["HOME"], "been")  # what an earlier start let loose
    if asked and not been.exists():
        been.write_text(asked[2], encoding="utf-8")
        _let_loose(asked[1], asked[2])
    company = _company(been.read_text(encoding="utf-8"))
    Path("done.txt").write_text("in company\n" if company else "alone\n", encoding="utf-8")
    _say(type="result", subtype="success", is_error=False, num_turns=1)


def _company(mark: str) -> list[str]:
    """Who of its beasts is alive, as far as can be seen from here."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if mark.encode() in words:
            found.append(entry.name)
    return found


def _let_loose(kind: str, mark: str) -> None:
    if kind in LEFT or kind in {"all", "all-and-stay"}:
        for program in [LEFT[kind]] if kind in LEFT else LEFT.values():
            subprocess.Popen([PYTHON, "-c", program, mark])
        subprocess.Popen(["/usr/bin/nohup", "sh", "-c", "sleep 1000; :", mark], stdin=-3, stdout=-3, stderr=-3)
        _say(type="assistant", message={"content": [{"type": "text", "text": "they are loose"}]})
    if kind in BOMBS:
        os.execv(PYTHON, [PYTHON, "-c", BOMBS[kind], mark])
    if kind == "log-flood":
        while True:
            sys.stdout.write("x" * (1 << 20) + "\n")
    if kind in {"deaf", "all-and-stay"}:
        for number in (signal.SIGINT, signal.SIGTERM) if kind == "deaf" else ():
            signal.signal(number, signal.SIG_IGN)
        while True:
            signal.pause()


def _say(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
