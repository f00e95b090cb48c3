"""The systemd unit of an installation: `crewcap serve --print-unit`.

Hardened as far as the sandbox allows. Bubblewrap makes user, mount, pid, network and hostname namespaces and mounts a
fresh /proc in them; what systemd takes from a service it takes from the sandbox's maker as well. The unit itself names
the options that are left out and why, so that nobody adds them one evening.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["user", "system"]

GRACE_S = 15  # beyond `drain`, before systemd kills what is left
STATE, CONFIG, USER = Path("/var/lib/crewcap"), Path("/etc/crewcap/config.toml"), "crewcap"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LEFT_OUT = {
    "RestrictNamespaces": "a sandbox is made of namespaces",
    "ProtectKernelTunables, ProtectKernelLogs, ProtectProc, ProcSubset": "a masked /proc forbids a fresh one inside",
    "ProtectHostname": "a sandbox has a hostname of its own",
    "SystemCallFilter": "mounts and pivot_root are calls that a sandbox is made with",
    "MemoryDenyWriteExecute": "agents are compiled while they run",
    "RestrictSUIDSGID": "builds unpack files with such bits; inside a sandbox they mean nothing",
    "PrivateTmp": "commands outside reach sockets there when the state directory's path is long",
    "ProtectControlGroups": "a run's memory and processes are limited by a control group",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What a unit is written for."""

    kind: Kind
    command: tuple[str, ...]
    home: Path
    is_usual_home: bool  # of the machine's service: systemd makes it
    config: Path | None
    path: str
    drain_s: float
    repositories: tuple[str, ...] = ()

    @classmethod
    def find(
        cls,
        *,
        kind: Kind,
        home: Path | None,
        config: Path | str | None,
        listen: str | None,
        slots: int | None,
        path: str,
        drain_s: float,
        repositories: Sequence[str] = (),
        usual_home: Path,
    ) -> Installation:
        """This installation; where nothing is said, a service of the machine lies where services lie."""
        is_system = kind == "system"
        where = home or (STATE if is_system else usual_home)
        settings = Path(config) if config else (CONFIG if is_system else None)
        words = [*_program(), "serve", "--home", str(where), "--log-format", "json"]
        words += ["--config", str(settings)] if settings else []
        words += ["--listen", listen] if listen else []
        words += ["--slots", str(slots)] if slots else []
        return cls(
            kind=kind,
            command=tuple(words),
            home=where,
            is_usual_home=is_system and where == STATE,
            config=settings,
            path=SYSTEM_PATH if is_system else path,
            drain_s=drain_s,
            repositories=tuple(repositories),
        )

    @property
    def target(self) -> str:
        """Where the unit belongs."""
        return {"user": "~/.config/systemd/user", "system": "/etc/systemd/system"}[self.kind] + "/crewcap.service"

    @property
    def key_file(self) -> str:
        """Where the providers' keys are, as `NAME=value` lines that their owner alone can read."""
        return {"user": "%h/.config/crewcap/keys.env", "system": "/etc/crewcap/keys.env"}[self.kind]

    @property
    def activation(self) -> str:
        """The commands that make it work."""
        if self.kind == "user":
            return "systemctl --user enable --now crewcap && loginctl enable-linger"
        return f"useradd --system --home-dir {STATE} {USER}; systemctl enable --now crewcap"


def unit(installation: Installation) -> str:
    """The whole file."""
    parts = (_unit(), _service(installation), _hardening(installation), _install(installation))
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _unit() -> Iterator[str]:
    yield "[Unit]"
    yield "Description=crewcap: coding agents in the background, under a spending cap"
    yield "After=network-online.target"
    yield "Wants=network-online.target"
    yield "StartLimitIntervalSec=0"


def _service(found: Installation) -> Iterator[str]:
    yield "[Service]"
    yield "Type=notify"
    yield f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in found.command)}"
    yield "ExecReload=/bin/kill -HUP $MAINPID"
    yield f"Environment={_quoted(f'PATH={found.path}')}"
    yield "# Providers' keys: NAME=value lines, mode 0600. crewcap forgets them as soon as its gateway has them. Keys"
    yield '# that settings name as { file = "..." } need nothing here; with LoadCredential= that is a file as well.'
    yield f"EnvironmentFile=-{found.key_file}"
    if found.kind == "system":
        yield f"User={USER}"
    if found.is_usual_home:
        yield f"StateDirectory={STATE.name}"
        yield "StateDirectoryMode=0700"
    yield "# The worker is told first and pauses what does not end in time; whatever is left after that is killed."
    yield "KillMode=mixed"
    yield f"TimeoutStopSec={found.drain_s + GRACE_S:.0f}s"
    yield "TimeoutStartSec=5min"
    yield "# The supervisor says every minute that it goes round, and kills a gateway or worker that does not."
    yield "WatchdogSec=2min"
    yield "Restart=on-failure"
    yield "RestartSec=10s"
    yield "# Wrong words or settings and an unfit machine are not mended by a restart; a database may come back."
    yield "RestartPreventExitStatus=2 4"
    yield "# An agent that is killed for its memory is that run's affair."
    yield "OOMPolicy=continue"
    yield "# Limits of a run's memory, processors and processes are control groups below ours."
    yield "Delegate=cpu memory pids"
    yield "TasksMax=infinity"
    yield "LimitNOFILE=65536"
    yield "UMask=0077"


def _hardening(found: Installation) -> Iterator[str]:
    yield "# Hardening, as far as a sandbox can still be made."
    yield "NoNewPrivileges=yes"
    yield "LockPersonality=yes"
    yield "RestrictRealtime=yes"
    yield "SystemCallArchitectures=native"
    yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    yield "KeyringMode=private"
    if found.kind == "system":
        yield "CapabilityBoundingSet="
        yield "AmbientCapabilities="
        yield "ProtectClock=yes"
        yield "ProtectKernelModules=yes"
        yield "ProtectSystem=strict"
        yield "# Its state, and local repositories that runs bring their branches to: add yours."
        for path in dict.fromkeys((str(found.home), *found.repositories)):
            yield f"ReadWritePaths=-{_quoted(path)}"
    else:
        yield "# ReadWritePaths and whatever else needs a mount namespace: in a user's unit that takes a user namespace"
        yield "# around the sandbox's own, which some systems forbid. --print-unit system has them."
    yield "# Left out on purpose:"
    for option, why in LEFT_OUT.items():
        yield f"#   {option}: {why}"


def _install(found: Installation) -> Iterator[str]:
    yield "[Install]"
    yield f"WantedBy={'default.target' if found.kind == 'user' else 'multi-user.target'}"


def _program() -> tuple[str, ...]:
    """The command beside this interpreter; else the interpreter itself."""
    script = Path(sys.executable).with_name("crewcap")
    return (str(script),) if script.exists() else (sys.executable, "-P", "-m", "crewcap")


def _quoted(word: str) -> str:
    """A word as systemd reads it: `%` stands for itself."""
    plain = word.replace("%", "%%")
    if plain and not set(plain) & set(" \t\n\"'\\;"):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
