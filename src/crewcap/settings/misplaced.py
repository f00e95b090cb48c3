"""A key that is written as it should be and cannot be meant: names that nobody knows, tables that contradict others."""

from __future__ import annotations

from collections.abc import Iterable

from crewcap.settings.values import Wrong, nearest, quoted

Place = tuple[str | int, ...]


class Misplaced(Wrong):
    """Something is wrong with the key at `path`."""

    def __init__(self, path: Place, message: str, help: str = "") -> None:  # noqa: A002  (the word that users read)
        super().__init__(message, help)
        self.path = path


def known(name: str, table: Iterable[str], path: Place, what: str) -> None:
    """Refuse a name that is in no table, with the nearest that is; an empty name says nothing."""
    if not name or name in table:
        return
    near = nearest(name, table)
    raise Misplaced(
        path,
        f"there is no {what} {quoted(name)}",
        f'did you mean "{near}"?' if near else _missing(what, name, ", ".join(table)),
    )


def _missing(what: str, name: str, known: str) -> str:
    """What there is, and how a name becomes known."""
    add = {"repository": f"[repos.{quoted(name)}]", "team": f'{quoted(name)} = ["NAME"] under [teams]'}.get(what)
    there_is = f"there is {known}" if known else f"no {what} is set up yet"
    return f"{there_is}; add {add}" if add else there_is
