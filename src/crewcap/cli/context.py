"""What every command shares: the global options, and one `Call` that holds what they mean.

    @click.command()
    @common
    @with_call
    def status(call: Call) -> None: ...

Results go to stdout (`call.out`, `call.emit`), everything else to stderr (`call.note`).
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from crewcap.errors import LedgerError, UsageError
from crewcap.home import Home

if TYPE_CHECKING:
    from crewcap.app import App

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = (
    click.option("--home", metavar="DIR", help="State directory.", expose_value=True),
    click.option("--config", metavar="FILE", help="Settings file."),
    click.option("--json", "as_json", is_flag=True, default=None, help="JSON, for machines."),
    click.option("-q", "--quiet", is_flag=True, default=None, help="Results only."),
    click.option("-v", "--verbose", is_flag=True, default=None, help="Say more."),
)
_NAMES = ("home", "config", "as_json", "quiet", "verbose")


def utc_now() -> datetime:
    """The wall clock; the only one that the command line hands out."""
    return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of the command line."""

    home: Home
    config_path: Path | None
    environ: Mapping[str, str] = field(repr=False)
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    clock: Callable[[], datetime] = utc_now
    has_reader: bool = True  # until whoever reads our results has left: `| head`
    _app: App | None = None

    @property
    def app(self) -> App:
        """Settings, ledger, runs and prices, each built when it is first asked for."""
        if self._app is None:
            from crewcap.app import App  # noqa: PLC0415  (heavy; not for --help)

            self._app = App(home=self.home, config_path=self.config_path, environ=self.environ, clock=self.clock)
        return self._app

    def refuse_doubtful_clock(self) -> None:
        """Nothing that costs is started while the books do not believe the clock (MONEY 4)."""
        if doubt := self.app.ledger.doubt():
            raise LedgerError(doubt, help="if the clock is right: crewcap ledger accept-clock")

    def out(self, text: str = "", *, end: str = "\n") -> None:
        """A line of the result; when nobody reads on, the command still ends as it would."""
        if not self.has_reader:
            return
        try:
            click.echo(text + end, nl=False)
        except BrokenPipeError:
            self.has_reader = False

    def note(self, text: str) -> None:
        """A line beside the result, on stderr; silent with --quiet."""
        if not self.quiet:
            with suppress(OSError):  # who reads the notes may have left
                click.echo(text, err=True)

    def tell(self, text: str) -> None:
        """A line of a story: for people it is the result, beside what machines get."""
        if self.as_json:
            self.note(text)
        else:
            self.out(text)

    def emit(self, value: object) -> None:
        """A result for machines: one line of JSON."""
        self.out(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))

    def close(self) -> None:
        """Close what was opened."""
        if self._app is not None:
            self._app.close()


def common(command: Callable[P, R]) -> Callable[P, R]:
    """Add the global options, which may stand before and after the command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def remember(ctx: click.Context, options: Mapping[str, object]) -> None:
    """Keep the global options that stood before the command."""
    ctx.obj = {**(ctx.obj or {}), **{name: options[name] for name in _NAMES if options.get(name) is not None}}


def with_call(command: Callable[Concatenate[Call, P], R]) -> Callable[..., R]:
    """Hand a command its `Call` in place of the global options."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> R:
        ctx = click.get_current_context()
        remember(ctx, {name: kwargs.pop(name, None) for name in _NAMES})
        call = make_call(ctx.obj or {})
        ctx.call_on_close(call.close)
        return command(call, *args, **kwargs)

    return wrapper


def make_call(options: Mapping[str, Any]) -> Call:
    """Turn the options given into a `Call`."""
    for name in ("home", "config"):
        if options.get(name) == "":  # of a variable that is not set; the usual place is not what was meant
            raise UsageError(f"--{name} is empty", help=f"name one, or leave --{name} out for the usual place")
    home = Home.find(options.get("home"), os.environ)
    if home.root.exists() and not home.root.is_dir():
        raise UsageError(
            f"{home.root} is no folder, so it cannot be the state directory", help="name one with --home DIR"
        )
    config = options.get("config") or os.environ.get("CREWCAP_CONFIG")
    return Call(
        home=home,
        config_path=Path(config).expanduser().absolute() if config else None,
        environ=dict(os.environ),
        as_json=bool(options.get("as_json")),
        quiet=bool(options.get("quiet")),
        verbose=bool(options.get("verbose")),
    )


def wants_json(argv: list[str]) -> bool:
    """Whether errors are to be JSON, known before the command line is parsed."""
    before = argv[: argv.index("--")] if "--" in argv else argv
    return "--json" in before


def is_terminal() -> bool:
    """Whether people are looking."""
    return sys.stdout.isatty()


def without_colour() -> bool | None:
    """False where nothing is to be coloured, as click wants it said; None lets it look for itself."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None
