"""What a run can reach, in words, from the settings alone: for its head, its dry run and its report."""

from __future__ import annotations

from crewcap.settings.hosts import named_lists
from crewcap.settings.models import RepoSettings


def network(rung: str, project: RepoSettings) -> str:
    """`model gateway; python hosts in setup only`."""
    if rung == "unconfined":
        return "open"
    hosts = _listed(project.hosts)
    if not hosts:
        return "model gateway"
    return (
        f"model gateway and {hosts}, all the time"
        if project.hosts_during_run
        else f"model gateway; {hosts} in setup only"
    )


def loosened(project: RepoSettings) -> tuple[str, ...]:
    """What the settings open beyond that, a sentence each."""
    secrets = (
        f"secrets: {', '.join(project.secrets)}: the agent can read {'this' if len(project.secrets) == 1 else 'these'}",
    )
    return (*loosened_ports(project), *(secrets if project.secrets else ()))


def loosened_ports(project: RepoSettings) -> tuple[str, ...]:
    """Ports of this machine that are let in."""
    return tuple(f"port {inside} inside leads to {outside}: loosened" for inside, outside in project.ports.items())


def _listed(hosts: tuple[str, ...]) -> str:
    """`python and npm hosts, files.example.org`."""
    lists = [name for name in hosts if name in named_lists()]
    names = [name for name in hosts if name not in named_lists()]
    named = f"{' and '.join(lists)} hosts" if lists else ""
    return ", ".join(filter(None, (named, *names)))
