"""What a run can reach, in words, from the settings alone: for its head, its dry run and its report."""

from __future__ import annotations

from collections.abc import Iterable

from crewcap.settings.hosts import named_lists
from crewcap.settings.models import RepoSettings
from crewcap.workspaces.egress.log import Connection

_MOST_HOSTS = 20


def network(rung: str, project: RepoSettings | None) -> str:
    """`model gateway; python hosts in setup only`."""
    if rung == "unconfined":
        return "open"
    hosts = _listed(project.hosts) if project else ""
    if not project or not hosts:
        return "model gateway"
    return (
        f"model gateway and {hosts}, all the time"
        if project.hosts_during_run
        else f"model gateway; {hosts} in setup only"
    )


def unheeded(rung: str, project: RepoSettings) -> tuple[str, ...]:
    """What the settings say of the network and this rung has no way to keep."""
    if rung != "unconfined" or not project.hosts:
        return ()
    return ("hosts, and credentials in [registries] for them, do not apply in unconfined: its network is open",)


def loosened(rung: str, project: RepoSettings) -> tuple[str, ...]:
    """What the settings open beyond that, or cannot close, a sentence each."""
    secrets = (
        f"secrets: {', '.join(project.secrets)}: the agent can read {'this' if len(project.secrets) == 1 else 'these'}",
    )
    return (*unheeded(rung, project), *loosened_ports(project), *(secrets if project.secrets else ()))


def loosened_ports(project: RepoSettings) -> tuple[str, ...]:
    """Ports of this machine that are let in."""
    return tuple(f"port {inside} inside leads to {outside}: loosened" for inside, outside in project.ports.items())


def contacted(connections: Iterable[Connection]) -> tuple[str, ...]:
    """Which hosts it reached and which it was refused, for the report."""
    hosts: dict[str, dict[str, None]] = {"opened": {}, "refused": {}}
    for each in connections:
        hosts[each.verdict][each.host] = None
    said = {"hosts reached": hosts["opened"], "hosts asked for and refused": hosts["refused"]}
    return tuple(f"{what}: {_cut(tuple(names))}" for what, names in said.items() if names)


def _cut(names: tuple[str, ...]) -> str:
    more = len(names) - _MOST_HOSTS
    return f"{', '.join(names[:_MOST_HOSTS])}{f' and {more} more' if more > 0 else ''}"


def _listed(hosts: tuple[str, ...]) -> str:
    """`python and npm hosts, files.example.org`."""
    lists = [name for name in hosts if name in named_lists()]
    names = [name for name in hosts if name not in named_lists()]
    named = f"{' and '.join(lists)} hosts" if lists else ""
    return ", ".join(filter(None, (named, *names)))
