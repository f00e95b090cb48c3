"""Which services a project can ask for, and where a program inside finds each: one table for settings and sandbox."""

from __future__ import annotations

from collections.abc import Mapping

PORTS: Mapping[str, int] = {"postgres": 5432, "redis": 6379}

_ALSO_CALLED: Mapping[str, str] = {"postgresql": "postgres", "pg": "postgres", "psql": "postgres", "valkey": "redis"}


def nearest_service(name: str) -> str:
    """The service that goes by another name too; empty = none."""
    return _ALSO_CALLED.get(name.lower(), "")
