"""What `crewcap serve` itself has to know of the settings, read by a process that ends with it.

The supervisor lives for weeks beside the two that work: it holds no models of settings, and whoever reads them here is
told which variables are set and never what they hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from crewcap.errors import CrewcapError, InternalError, error_of

LIMIT_S = 60
_SAID = ("HOME", "CREWCAP_CONFIG")  # what settings are read by; of other variables they ask only whether they are set
_OWN = ("HOME", "PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a supervisor goes by."""

    key_variables: tuple[str, ...]  # environment variables that hold providers' keys
    listen: str
    drain_s: float
    slots: int  # 0 = no limit
    log_bytes: int
    logs_kept: int
    source: str = ""  # the settings file; empty = none
    repositories: tuple[str, ...] = ()  # local ones, which runs bring their branches to


def read(config_path: Path | None, environ: Mapping[str, str]) -> Terms:
    """The terms, or the error that the settings are."""
    said = {name: value if name in _SAID else "set" for name, value in environ.items() if value}
    question = {"config": str(config_path) if config_path else None, "environ": said}
    ended = subprocess.run(
        [sys.executable, "-P", "-c", "from crewcap.serve.reading import answer; answer()"],
        input=json.dumps(question).encode(),
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("CREWCAP_DEBUG") else subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name in _OWN or name.startswith("PYTHON")},
        start_new_session=True,  # Ctrl-C is for the supervisor
        timeout=LIMIT_S,
        check=False,
    )
    try:
        found = json.loads(ended.stdout)
    except ValueError:
        raise InternalError("the settings could not be read: the process that reads them ended") from None
    if "error" in found:
        raise error_of(found["error"])
    lists = {name: tuple(found[name]) for name in ("key_variables", "repositories")}
    return Terms(**{**found, **lists})


def answer() -> None:
    """What the process does: a question on stdin, one object on stdout."""
    question = json.load(sys.stdin)
    try:
        found = asdict(_read(Path(question["config"]) if question["config"] else None, question["environ"]))
    except CrewcapError as error:
        found = {"error": {"code": error.code, "message": error.message, "help": error.help}}
    except Exception as error:  # noqa: BLE001  (a defect is told where the commands of ours tell theirs)
        found = {"error": {"code": "internal", "message": f"the settings could not be read: {type(error).__name__}"}}
    json.dump(found, sys.stdout)


def _read(config_path: Path | None, environ: Mapping[str, str]) -> Terms:
    from crewcap import config, prices  # noqa: PLC0415  (for this process alone)
    from crewcap.settings.price_lists import check_price_lists  # noqa: PLC0415  (as above)
    from crewcap.settings.resolve import VENDORS  # noqa: PLC0415  (as above)
    from crewcap.settings.unattended import check_prompt_files  # noqa: PLC0415  (as above)

    settings = config.load(config_path, environ)
    check_prompt_files(settings)
    check_price_lists(settings, lambda: prices.load(settings.price_overrides or None, compiled=False).lists)
    usual = [name for each in VENDORS.values() for name in (each.variable, each.plan_variable) if name]
    return Terms(
        key_variables=tuple(dict.fromkeys((*settings.key_variables, *usual))),
        listen=settings.serve.listen,
        drain_s=settings.serve.drain_s,
        slots=settings.slots.all,
        log_bytes=settings.serve.log_bytes,
        logs_kept=settings.serve.logs_kept,
        source=settings.source,
        repositories=tuple(each.url for each in settings.repos.values() if Path(each.url).is_absolute()),
    )
