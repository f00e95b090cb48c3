"""Where a run went and where it was not let, for `show --network`: lines for people, one object for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

from crewcap.cli.screen.figures import fit, many
from crewcap.core.harmless import one_line
from crewcap.workspaces.egress.log import Connection, asked_and_refused, hosts_line

_LONGEST_HOST = 34  # on a terminal
_LONGEST_NAME = 253  # that there can be


def network_json(run: str, connections: tuple[Connection, ...], *, is_watched: bool = True) -> Mapping[str, object]:
    """Every connection that was watched; the hosts that could be allowed, and how."""
    rows = [{**asdict(each), "at": each.at.isoformat(), "hosts": list(each.hosts)} for each in connections]
    return {
        "run": run,
        "watched": is_watched,
        "connections": rows,
        "refused_hosts": list(asked_and_refused(connections)),
        "suggestion": hosts_line(connections) or None,
    }


def network_lines(
    run: str, connections: tuple[Connection, ...], columns: int | None, *, is_watched: bool = True
) -> list[str]:
    """A line for each host, phase and verdict; at the end what to paste. No columns = a pipe, where nothing is cut."""
    if not connections and not is_watched:
        return [f"{run}   the network was open, and nothing was watched: it ran unconfined"]
    if not connections:
        return [f"{run}   no connection was asked for; the model gateway alone is open to it"]
    opened = [each for each in connections if each.verdict == "opened"]
    refused = len(connections) - len(opened)
    out, into = (sum(getattr(each, way) for each in opened) for way in ("bytes_out", "bytes_in"))
    head = f"{run}   {many(len(opened), 'connection')} opened, {refused:,} refused; {size(out)} out, {size(into)} in"
    said = [head, *_rows(connections, _LONGEST_HOST if columns else _LONGEST_NAME)]
    return [*(fit(line, columns) if columns else line for line in said), *_paste(connections)]


def size(number: int) -> str:
    """`0 B`, `812 B`, `2.1 kB`, `41 MB`: powers of 1,000, as networks count."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            tenths = number * 10 // unit
            return f"{tenths // 10}.{tenths % 10} {name}" if tenths < 100 else f"{tenths // 10:,} {name}"
    return f"{number} B"


def _rows(connections: Iterable[Connection], longest: int) -> Iterator[str]:
    groups: dict[tuple[str, str, str, str], list[Connection]] = {}
    for each in connections:
        groups.setdefault((each.phase, each.verdict, _place(each, longest), each.reason), []).append(each)
    for (phase, verdict, place, reason), members in groups.items():
        out, into = (sum(getattr(each, way) for each in members) for way in ("bytes_out", "bytes_in"))
        carried = [f"{size(out)} out, {size(into)} in"] if verdict == "opened" else []
        still = ["still open"] if not all(each.is_over for each in members) else []
        words = "; ".join([*carried, *still, *([one_line(reason, limit=1_000)] if reason else [])])
        yield f"  {phase:<6} {verdict:<8} {place:<{_LONGEST_HOST}} {len(members):>4}x  {words}"


def _place(connection: Connection, longest: int) -> str:
    """A host, with the port where it is not the usual one; a stranger wrote it."""
    host = one_line(connection.host, limit=longest) or "(no host)"
    return host if connection.port in {0, 443} else f"{host}:{connection.port}"


def _paste(connections: tuple[Connection, ...]) -> list[str]:
    line = hosts_line(connections)
    return ["", "  it asked for hosts that are not in `hosts`; to allow them:", f"  {line}"] if line else []
