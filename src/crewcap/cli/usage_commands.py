"""All of `crewcap usage`, so that the group has its commands when it is asked for one."""

from __future__ import annotations

from crewcap.cli import usage_check, usage_show
from crewcap.cli.usage import usage

__all__ = ["usage", "usage_check", "usage_show"]
