"""All of `crewcap usage`, so that the group has its commands when it is asked for one."""

from __future__ import annotations

from crewcap.cli.usage import check, show
from crewcap.cli.usage.importing import usage

__all__ = ["check", "show", "usage"]
