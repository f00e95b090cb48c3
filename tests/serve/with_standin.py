"""`crewcap serve` with a stand-in for its worker: `with_standin.py DIARY HOME CONFIG LISTEN [--json]`."""

from __future__ import annotations

import sys
from pathlib import Path

from crewcap.cli.complaints import complaint
from crewcap.cli.context import make_call
from crewcap.cli.serve import supervise
from crewcap.errors import CrewcapError

diary, home, config, listen, *flags = sys.argv[1:]
call = make_call({"home": home, "config": config, "as_json": "--json" in flags, "verbose": True})
worker = (sys.executable, str(Path(__file__).with_name("standin.py")), diary)
try:
    supervise(call, listen=listen, slots=3 if "--slots" in flags else None, worker=worker)
except CrewcapError as error:
    said = complaint(error)
    said.say(as_json="--json" in flags)
    sys.exit(said.status)
