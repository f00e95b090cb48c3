"""The process zoo in its long form: every beast on every rung by itself, as `tests/e2e/test_zoo.py` has them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.e2e.pulse import Pulse

from torture.page import made_by

ZOO = Path("tests", "e2e", "test_zoo.py")
_REST_S = 3.0
_COLUMNS = ("rung", "beast", "verdict", "gone after", "the run took", "programs a second meanwhile", "law broken")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooRow:
    """What came of one beast."""

    name: str
    rung: str
    verdict: str
    gone_s: float = 0.0
    seconds: float = 0.0
    rate: float = 0.0
    struck: bool = True
    broken: tuple[str, ...] = ()

    def line(self) -> str:
        """For the terminal."""
        end = "the law holds" if not self.broken else "BROKEN: " + "; ".join(self.broken)
        return f"zoo: {self.rung}, {self.name}: {self.verdict}, gone after {self.gone_s:.1f} s; {end}"

    def cells(self) -> Iterator[str]:
        """For the page."""
        yield from (self.rung, self.name, self.verdict)
        yield from (f"{self.gone_s:.1f} s", f"{self.seconds:.1f} s", f"{self.rate:.0f}") if self.struck else ("-",) * 3
        yield str(len(self.broken))


def run(folder: Path) -> Iterator[ZooRow]:
    """All of them, one after the other."""
    yield _at_rest()
    report = folder / "zoo.xml"
    words = ("-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", "--timeout", "300", f"--junitxml={report}")
    subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(ZOO)],
        env={**os.environ, "CREWCAP_LONG_ZOO": "1"},
        check=False,
        stdout=subprocess.DEVNULL,
    )
    yield from map(_row, ET.parse(report).iter("testcase"))


def section(rows: Sequence[ZooRow], at: datetime) -> str:
    """The page's part."""
    who = "root" if os.geteuid() == 0 else "a plain user"
    lines = [f"## The process zoo, as {who}", "", made_by("--only zoo", at), "", _LAW, ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    lines += [f"\nBroken, {row.rung}, {row.name}: {sentence}" for row in rows for sentence in row.broken]
    return "\n".join(lines)


_LAW = """\
A real run each, whose agent lets something loose: it leaves its group, forks twice, ignores SIGTERM, loops, sleeps,
stops itself, becomes a daemon, empties its environment, bombs, floods or fills. The law: the run ends with the verdict
that this deserves; 10 s later nothing that it started is alive, wherever it went; `ledger verify` is clean. Whether the
host stays answerable: how many small programs it starts a second meanwhile, at most 50 by the way it is asked."""


def _at_rest() -> ZooRow:
    with Pulse() as pulse:
        time.sleep(_REST_S)
    return ZooRow(name="none, for comparison", rung="-", verdict="-", seconds=pulse.seconds, rate=pulse.rate)


def _row(case: ET.Element) -> ZooRow:
    name, _, values = case.get("name", "").partition("[")
    told = {each.get("name", ""): each.get("value", "") for each in case.iter("property")}
    rung = next((rung for rung in ("landlock", "unconfined") if rung in values), "bubblewrap")
    beast = re.sub(rf"-?({rung})-?|\]$", "", values).strip("-")
    broken = [each.get("message", "")[:300].partition("\n")[0] for each in (*case.iter("failure"), *case.iter("error"))]
    unfound = f"; found by nobody: {told['found_by_nobody']}" if "found_by_nobody" in told else ""
    skipped = next((each.get("message", "") for each in case.iter("skipped")), "")
    return ZooRow(
        name=name.removeprefix("test_").replace("_", " ") + (f": {beast}" if beast else ""),
        rung=rung,
        verdict=skipped or told.get("verdict", "none") + unfound,
        gone_s=float(told.get("gone_s", "0")),
        seconds=float(told.get("seconds", "0")),
        rate=float(told.get("rate", "0")),
        struck="verdict" in told,
        broken=tuple(broken),
    )
