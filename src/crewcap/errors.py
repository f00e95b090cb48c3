"""Every way in which crewcap says no.

    CrewcapError                 exit  HTTP
    ├── UsageError                  2   400   wrong words on the command line
    │   └── SettingsError           2   400   a settings file says what it may not, or what nothing understands
    ├── MoneyRefused                3   402   a budget said no; nothing was sent
    ├── UnsafeEnvironment           4   503   this machine or this repository is not fit for the work
    │   ├── CommandNotFound       127   503   a command is not in the sandbox
    │   └── CommandNotExecutable  126   503   it is, and cannot be executed there
    ├── LedgerError                 5   503   the books are missing, foreign, damaged or not to be trusted
    └── InternalError               1   500   a defect of ours

A class exists where a caller does something different; its exit status and its HTTP status are its own, so
that no caller keeps a list. `message` says what happened to what, `help` what to do next. Neither may ever
hold a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class CrewcapError(Exception):
    """Something went wrong that the user can act on."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, help: str = "") -> None:  # noqa: A002  (the word that users read)
        super().__init__(message)
        self.message = message
        self.help = help


class UsageError(CrewcapError):
    """The command line asks for something that cannot be."""

    code = "usage"
    exit_status = 2
    http_status = 400


class SettingsError(UsageError):
    """A settings file is wrong; the message names file, key and the right spelling."""

    code = "settings"


class MoneyRefused(CrewcapError):
    """A budget said no before anything was spent."""

    code = "budget_exhausted"
    exit_status = 3
    http_status = 402


class UnsafeEnvironment(CrewcapError):
    """The machine, the sandbox or the repository is not fit for an unattended agent."""

    code = "unsafe_environment"
    exit_status = 4
    http_status = 503


class CommandNotFound(UnsafeEnvironment):
    """The command is not in the sandbox; the status is a shell's."""

    exit_status = 127


class CommandNotExecutable(UnsafeEnvironment):
    """The command is in the sandbox and is nothing that can be executed there; the status is a shell's."""

    exit_status = 126


class LedgerError(CrewcapError):
    """The ledger is missing, foreign, damaged, or older than what was seen of it before."""

    code = "ledger"
    exit_status = 5
    http_status = 503


class InternalError(CrewcapError):
    """This cannot happen; please report it with the lines above."""

    code = "internal"


def error_of(said: Mapping[str, Any]) -> CrewcapError:
    """The error that another process told as `{"code", "message", "help"}`: its class is the one with that code."""
    kinds = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, CrewcapError)]
    kind = next((kind for kind in kinds if kind.code == said.get("code")), InternalError)
    return kind(str(said.get("message", "")), help=str(said.get("help", "")))
