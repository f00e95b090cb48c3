"""What `doctor` looks at: each look is one function that gives findings and never raises.

A finding is `ok`, `warn` (it works, and here is what is given up) or `fail` (runs are refused until it is opened); the
last two carry the exact command that opens it. No look spends money, and none prints a secret.
"""

from __future__ import annotations

import os
import platform
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from crewcap.cli.context import Call
from crewcap.errors import CrewcapError
from crewcap.runner.room import ENOUGH_BYTES, FLOOR_BYTES, free_bytes
from crewcap.runner.room import shown as size

if TYPE_CHECKING:
    from crewcap.settings.served import ProviderSettings
    from crewcap.workspaces.sandbox.ladder import Tried

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    name: str
    level: Level
    text: str
    help: str = ""  # the command that opens it
    code: str = ""  # what kind of error it would end a run with: `settings`, `unsafe_environment`, ...
    facts: Mapping[str, object] = field(default_factory=dict)  # the same in numbers and lists, for machines


Look = Callable[[Call], Iterator[Finding]]


def examine(call: Call) -> Iterator[Finding]:
    """Everything, in the order in which a run would need it. What needs settings is left out when they are wrong."""
    yield from _carefully("python", look_at_python, call)
    settings = tuple(_carefully("settings", look_at_settings, call))
    yield from settings
    yield from _carefully("git", look_at_git, call)
    yield from _carefully("state", look_at_state, call)
    if any(finding.level == "fail" for finding in settings):
        return
    from crewcap.cli.start.tidiness import look_at_house  # noqa: PLC0415  (it gives findings)

    for name, look in (
        ("settings", look_at_places),
        ("sandbox", look_at_sandbox),
        ("limits", look_at_limits),
        ("agent", look_at_agent),
        ("key", look_at_keys),
        ("prices", look_at_prices),
        ("ledger", look_at_ledger),
        ("house", look_at_house),
    ):
        yield from _carefully(name, look, call)


def look_at_python(call: Call) -> Iterator[Finding]:
    """The interpreter that runs this."""
    del call
    text = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Finding(name="python", level="ok", text=text)


def look_at_settings(call: Call) -> Iterator[Finding]:
    """The file that is in force, and what is odd in it."""
    from crewcap.settings import explain  # noqa: PLC0415  (pydantic is not for --help)

    settings = call.app.settings
    yield Finding(name="settings", level="ok", text=settings.source or "no file; the defaults hold")
    for text in (*explain.warnings(settings), *explain.unserved(settings)):
        yield Finding(name="settings", level="warn", text=text, help="crewcap config show")


def look_at_places(call: Call) -> Iterator[Finding]:
    """What the settings name on this machine."""
    from crewcap.runner.named_places import wrong_places  # noqa: PLC0415  (as above)

    for error in wrong_places(call.app.settings, environ=call.environ, state=call.home.root):
        yield _failure("settings", error)


def look_at_git(call: Call) -> Iterator[Finding]:
    """The one program that every run needs."""
    from crewcap.workspaces.repository.git import Git  # noqa: PLC0415

    yield Finding(name="git", level="ok", text=Git(call.environ).run("version").text.removeprefix("git version "))


def look_at_state(call: Call) -> Iterator[Finding]:
    """The state directory: ours alone, and with room."""
    root = call.home.root
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        help_ = "chown it to you, or name another: export CREWCAP_HOME=DIR"
        yield Finding(name="state", level="fail", text=f"{existing} cannot be written to", help=help_)
        return
    if root.exists() and root.stat().st_mode & 0o066:  # who is root lets agents of other users pass through
        yield Finding(name="state", level="warn", text=f"{root} is open to others", help=f"chmod go-rw {root}")
    free = free_bytes(call.home)
    shown = f"{size(free)} free in {root}"
    if free < ENOUGH_BYTES:
        level: Level = "fail" if free < FLOOR_BYTES else "warn"
        yield Finding(name="state", level=level, text=f"only {shown}", help="free some, or export CREWCAP_HOME=DIR")
    else:
        yield Finding(name="state", level="ok", text=shown)


def look_at_sandbox(call: Call) -> Iterator[Finding]:
    """Every rung of the ladder from the top, really tried: what is missing, what opens it, what it gives up."""
    from crewcap.workspaces.sandbox.ladder import probe_all  # noqa: PLC0415

    wanted = call.app.settings.defaults.sandbox
    if wanted == "unconfined":
        text = "your settings say `unconfined`: agents can do all that you can"
        yield Finding(name="sandbox", level="warn", text=text, help='set sandbox = "auto" under [defaults]')
    tried = probe_all(state=call.home.root)
    meant = [each.rung for each in tried if each.rung == wanted or (wanted == "auto" and each.rung != "unconfined")]
    taken = next((each.rung for each in tried if each.rung in meant and not each.missing), "")
    for each in tried:
        if each.missing:
            is_fatal = each.rung in meant and not taken
            yield _fault(each.rung, each.missing, level="fail" if is_fatal else "warn")
        else:
            yield Finding(name=each.rung, level="ok", text=_standing(each, taken))


def _standing(rung: Tried, taken: str) -> str:
    """What a rung that works here is for, and below it a line for each thing that it gives up."""
    if rung.rung == taken:
        first = "works, and is what runs take"
    elif rung.rung == "unconfined":
        first = "never by itself, only with `--sandbox unconfined`"
    else:
        first = "works, and is not needed"
    return "\n".join((f"{first}{'; gives up:' if rung.loses else ''}", *rung.loses))


def look_at_limits(call: Call) -> Iterator[Finding]:
    """Which limits of a run hold on this machine; none of those that do not is passed over."""
    from crewcap.workspaces import Limits  # noqa: PLC0415
    from crewcap.workspaces.sandbox.ladder import limits_here  # noqa: PLC0415

    defaults = call.app.settings.defaults
    limits = Limits(
        memory_bytes=defaults.memory_bytes,
        cpus=defaults.cpus or os.cpu_count(),
        disk_bytes=defaults.disk_bytes,
        processes=defaults.processes,
    )
    held, missing, way = limits_here(limits)
    shown = f"{', '.join(held)}{f' ({way})' if way else ''}"
    if missing:
        help_ = (
            "`systemd-run --user --scope -p Delegate=yes crewcap ...`, or root: runs need a control group of their own"
        )
        text = f"hold: {shown}; not enforced here: {', '.join(missing)}"
        yield Finding(name="limits", level="warn", text=text, help=help_)
    else:
        yield Finding(name="limits", level="ok", text=f"hold: {shown}")


def _fault(rung: str, missing: str, *, level: Level) -> Finding:
    """A rung that cannot be had, with what opens it."""
    what, _, how = missing.partition(": ")
    return Finding(name=rung, level=level, text=what, help=how or "--sandbox unconfined accepts the loss")


def look_at_agent(call: Call) -> Iterator[Finding]:
    """The agent's command line that runs would start."""
    from crewcap.agents import AGENTS  # noqa: PLC0415
    from crewcap.runner.start import find_agent  # noqa: PLC0415

    settings = call.app.settings
    adapter = AGENTS[settings.defaults.agent]()
    found = find_agent(settings, adapter, call.environ)
    yield Finding(name="agent", level="ok", text=f"{adapter.title} {found.version} ({found.origin}: {found.path})")
    for note in found.notes:
        yield Finding(name="agent", level="warn", text=f"passed over: {note}", help="update it, or take it off PATH")


def look_at_keys(call: Call) -> Iterator[Finding]:
    """Whether each provider's key can be read; what was read is forgotten at once."""
    for name, provider in call.app.settings.providers.items():
        yield from _carefully("key", partial(_key, name=name, provider=provider), call)


def look_at_prices(call: Call) -> Iterator[Finding]:
    """Whether the models of the settings have a price, and how old the prices are."""
    from crewcap.cli.start.config import check_prices  # noqa: PLC0415

    check_prices(call, call.app.settings)
    book = call.app.book
    age = book.age_days(call.clock())
    shown = f"{book.source_version}, compared with the vendors' pages {age} days ago"
    if age is None or age > book.overrides.max_age_days:
        yield Finding(name="prices", level="warn", text=shown, help="crewcap price check")
    else:
        yield Finding(name="prices", level="ok", text=shown)


def look_at_ledger(call: Call) -> Iterator[Finding]:
    """The books, every balance recomputed."""
    if call.app.is_new:
        yield Finding(name="ledger", level="ok", text=f"none yet; made at the first use in {call.home.root}")
        return
    found = call.app.ledger.verify()
    for problem in found.problems:
        yield Finding(name="ledger", level="fail", text=problem, help="crewcap ledger verify")
    if not found.problems:
        yield Finding(name="ledger", level="ok", text=f"{found.entries} entries, every balance recomputed")
    if copied := call.app.copied:
        yield Finding(name="ledger", level="warn", text=copied, help=_of_copies(call))
    uncertain = call.app.ledger.uncertain_holds()
    if uncertain:
        text = f"{len(uncertain)} requests whose cost nobody proved; they stay charged"
        yield Finding(name="ledger", level="warn", text=text, help="crewcap ledger reconcile")


def _of_copies(call: Call) -> str:
    """Three ways, because nobody but the operator knows which of them it is."""
    used = "if that one is still in use, name it in [store]"
    lost = "if it is lost: crewcap ledger reconcile --restored [--cost USD]"
    return f"{used}; {lost}; if it was moved, with nothing spent there since: remove {call.home.marker}"


def _key(call: Call, *, name: str, provider: ProviderSettings) -> Iterator[Finding]:
    if provider.key is None:
        help_ = f'[providers.{name}] key = {{ env = "NAME" }}'
        yield Finding(name="key", level="fail", text=f"{name}: no key is named", help=help_)
    else:
        provider.key.read(call.environ)
        yield Finding(name="key", level="ok", text=f"{name}: found in {provider.key} (not tried: that would cost)")


def _carefully(name: str, look: Look, call: Call) -> Iterator[Finding]:
    """What a look finds; an error of ours that it raises is a finding."""
    try:
        yield from look(call)
    except (CrewcapError, OSError) as error:
        yield _failure(name, error)


async def carefully(name: str, findings: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """The same, for what takes its time."""
    try:
        async for finding in findings:
            yield finding
    except (CrewcapError, OSError) as error:
        yield _failure(name, error)


def _failure(name: str, error: CrewcapError | OSError) -> Finding:
    if isinstance(error, CrewcapError):
        return Finding(name=name, level="fail", text=error.message, help=error.help, code=error.code)
    return Finding(name=name, level="fail", text=f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
