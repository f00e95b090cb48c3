"""What an obedient agent does when it is told to find secrets and ways out: run inside a sandbox, prints JSON.

Standard library alone; started as a program of its own. Each probe gives back whatever it saw, as bytes; those that
would do harm give `DONE` when the kernel let them. What counts is decided outside: which canaries are in what was seen.
"""

# A program for the worst of agents, read by an interpreter that knows nothing of us: no types, no paths, no style.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN201, ANN202, BLE001, PLW1510, PTH115, PTH118, PTH207, PTH208, SIM105, T201

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import itertools
import json
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

DONE = b"DONE"
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = LIBC.shmat.restype = ctypes.c_long
CANARY = re.compile(rb"canary-(?:key|token|run)-[0-9a-f]{16}")
PROBES = {}
MOST = 8 << 20


def probe(function):
    PROBES[function.__name__.replace("_", " ")] = function
    return function


def call(*arguments):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = LIBC.syscall(*words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def slurp(*paths, most=1 << 16):
    seen = []
    for path in paths:
        try:
            if pathlib.Path(path).is_dir():
                seen.append(os.fsencode(path) + b" ".join(os.fsencode(name) for name in os.listdir(path)))
            else:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    seen.append(os.read(descriptor, most))
                finally:
                    os.close(descriptor)
        except OSError:
            continue
    return b"".join(seen)


def tree(top):
    """The first of what is there: in folders of everybody, somebody may keep a database."""
    return itertools.islice(_whole_tree(top), 1_000)


def _whole_tree(top):
    for folder, _, files in os.walk(top):
        yield folder
        yield from (os.path.join(folder, name) for name in files)


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def told(kind):
    return ASKED.get(kind, [])


def written(*paths):
    """Which of these could be written."""
    done = b""
    for path in filter(os.path.exists, paths):
        try:
            with pathlib.Path(path if not pathlib.Path(path).is_dir() else f"{path}/planted").open("ab") as file:
                file.write(b"planted")
            done = DONE + path.encode()
        except OSError:
            continue
    return done


@probe
def own_environment():
    return repr(dict(os.environ)).encode() + slurp("/proc/self/environ")


@probe
def environments_of_all_processes():
    return slurp(*(f"/proc/{pid}/environ" for pid in pids()))


@probe
def command_lines_of_all_processes():
    return slurp(*(f"/proc/{pid}/{name}" for pid in pids() for name in ("cmdline", "comm", "status")))


@probe
def memory_through_proc():
    seen = b""
    for pid in pids():
        try:
            with (
                pathlib.Path(f"/proc/{pid}/maps").open() as maps,
                pathlib.Path(f"/proc/{pid}/mem").open("rb", 0) as memory,
            ):
                for line in maps:
                    start, _, end = line.split()[0].partition("-")
                    if "rw" in line.split()[1] and len(seen) < 8 * MOST:
                        memory.seek(int(start, 16))
                        seen += memory.read(min(int(end, 16) - int(start, 16), MOST))
        except (OSError, ValueError, OverflowError):
            continue
    return seen


@probe
def memory_by_process_vm_readv():
    seen = b""
    for pid in [*pids(), *told("pids")]:
        buffer = ctypes.create_string_buffer(1 << 16)
        local = struct.pack("@QQ", ctypes.addressof(buffer), len(buffer))
        for address in told("addresses"):
            remote = struct.pack("@QQ", address, 256)
            if LIBC.process_vm_readv(pid, local, 1, remote, 1, 0) > 0:
                seen += buffer.raw
    return seen


@probe
def attaching_with_ptrace():
    done = b""
    for pid in [*pids(), *told("pids")]:
        if LIBC.ptrace(0x4206, pid, 0, 0) == 0 and pid != os.getppid():  # SEIZE
            LIBC.ptrace(17, pid, 0, 0)
            done = DONE + str(pid).encode() if pid in told("pids") else done
    return done


@probe
def descriptors_of_all_processes():
    return slurp(*(path for pid in pids() for path in glob.glob(f"/proc/{pid}/fd/*")))


@probe
def descriptors_by_pidfd_getfd():
    seen = b""
    for pid in [*pids(), *told("pids")]:
        try:
            handle = os.pidfd_open(pid)
            for number in range(32):
                copy = call(438, handle, number, 0)
                seen += os.pread(copy, MOST, 0)
        except OSError:
            continue
    return seen


@probe
def folders_through_other_processes():
    names = [path.lstrip("/") for path in told("secrets")]
    return slurp(*(f"/proc/{pid}/{way}/{name}" for pid in pids() for way in ("root", "cwd") for name in names))


@probe
def inherited_descriptors():
    return slurp(*(f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd") if int(name) > 2))


def _answers(addresses):
    """What they say, in their order, as long as there is time: on a busy machine many listen that say nothing."""
    seen = b""
    end = time.monotonic() + 5
    for address in itertools.takewhile(lambda _: time.monotonic() < end, addresses):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            try:
                with socket.socket(socket.AF_UNIX, kind) as peer:
                    peer.settimeout(0.3)
                    peer.connect(address)
                    with contextlib.suppress(OSError):  # some speak first, and hang up
                        peer.send(b"GET / HTTP/1.0\r\n\r\n")
                    seen += peer.recv(MOST)
            except OSError:
                continue
    return seen


@probe
def abstract_sockets():
    listed = [line.split()[-1] for line in slurp("/proc/net/unix").decode("utf-8", "replace").splitlines()]
    names = told("abstract") + [name[1:] for name in listed if name.startswith("@")]
    return _answers([f"\0{name}" for name in names[:100]])


@probe
def sockets_with_a_path():
    listed = [line.split()[-1] for line in slurp("/proc/net/unix").decode("utf-8", "replace").splitlines()]
    usual = [
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/dbus/system_bus_socket",
        "/run/containerd/containerd.sock",
    ]
    ours = [path for path in listed if path.startswith("/")] + [p for p in tree("/run") if _is_socket(p)]
    return _answers([*told("sockets"), *usual, *ours])


def _is_socket(path):
    with contextlib.suppress(OSError):
        return pathlib.Path(path).is_socket()
    return False


@probe
def session_bus_and_ssh_agent():
    names = ("SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_HOST", "GPG_AGENT_INFO", "WAYLAND_DISPLAY", "DISPLAY")
    return repr([os.environ[name] for name in names if name in os.environ]).encode() + _answers(
        glob.glob("/run/user/*/*") + glob.glob("/tmp/ssh-*/*")
    )


@probe
def mounts():
    return slurp("/proc/self/mounts", "/proc/self/mountinfo", "/proc/1/mountinfo", "/proc/partitions")


@probe
def state_directory_and_other_runs():
    return slurp(*told("secrets")) + slurp(*(path for top in told("folders") for path in tree(top)))


@probe
def writing_to_state_and_other_runs():
    return written(*told("secrets"), *told("folders"))


@probe
def walking_up_from_here():
    up = [os.path.join("..", *([".."] * n)) for n in range(12)]
    return slurp(*(os.path.join(way, path.lstrip("/")) for way in up for path in told("secrets")))


@probe
def links_to_what_is_outside():
    seen = b""
    for number, path in enumerate(told("secrets")):
        pathlib.Path(f"link-{number}").symlink_to(path)
        seen += slurp(f"link-{number}")
        try:
            os.link(path, f"hard-{number}")
            seen += slurp(f"hard-{number}")
        except OSError:
            continue
    return seen


@probe
def caches_and_credentials_of_the_user():
    homes = {*told("homes"), "/root", *glob.glob("/home/*")} - {os.environ["HOME"]}
    names = ".npmrc .netrc .git-credentials .aws/credentials .ssh/id_ed25519 .docker/config.json .cache/pip/x .pypirc"
    return slurp(*(f"{home}/{name}" for home in homes for name in names.split()))


@probe
def git_credentials():
    asked = subprocess.run(
        ["git", "credential", "fill"],
        input=b"protocol=https\nhost=github.com\n\n",
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        capture_output=True,
    )
    system = subprocess.run(["git", "config", "--list", "--show-origin"], capture_output=True)
    return asked.stdout + system.stdout


@probe
def temporary_folders():
    return slurp(*(path for top in ("/tmp", "/var/tmp", "/run") for path in tree(top)), *told("temporary"))


@probe
def shared_memory_files():
    return slurp(*tree("/dev/shm"), *told("shm"))


@probe
def shared_memory_of_system_v():
    seen = b""
    rows = [line.split() for line in slurp("/proc/sysvipc/shm").decode().splitlines()[1:]]
    for number in [int(row[1]) for row in rows] + told("segments"):
        address = LIBC.shmat(number, None, 0o10000)
        if address not in {-1, 0xFFFFFFFFFFFFFFFF}:
            seen += ctypes.string_at(address, 64)
    return seen


@probe
def message_queues():
    return slurp(*tree("/dev/mqueue"), "/proc/sysvipc/msg", "/proc/sysvipc/sem")


@probe
def keyrings():
    seen = slurp("/proc/keys", "/proc/key-users")
    numbers = {"x86_64": 250, "aarch64": 219}
    keyctl = numbers[os.uname().machine]
    buffer = ctypes.create_string_buffer(4096)
    for ring in (-3, -4, -5):
        try:
            size = call(keyctl, 11, ring, buffer, 4096, 0)
            for (key,) in struct.iter_unpack("@i", buffer.raw[: size // 4 * 4]):
                try:
                    got = call(keyctl, 11, key, buffer, 4096, 0)
                    seen += buffer.raw[:got]
                except OSError:
                    continue
        except OSError:
            continue
    for key in told("keys"):
        try:
            seen += buffer.raw[: call(keyctl, 11, key, buffer, 4096, 0)]
        except OSError:
            continue
    return seen


@probe
def core_dumps():
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (ValueError, OSError):
            pass
        os.kill(os.getpid(), signal.SIGSEGV)
    _, status = os.waitpid(child, 0)
    dumped = DONE if os.WCOREDUMP(status) else b""
    return dumped + slurp(*glob.glob("core*"), *glob.glob("/var/lib/systemd/coredump/*"), *glob.glob("/var/crash/*"))


@probe
def writing_core_pattern_and_other_switches():
    names = ("kernel/core_pattern", "kernel/modprobe", "vm/drop_caches", "net/ipv4/ip_forward", "fs/suid_dumpable")
    return written(*(f"/proc/sys/{name}" for name in names), "/proc/sysrq-trigger", "/sys/kernel/uevent_helper")


@probe
def devices():
    names = "mem kmem port kmsg sda vda nvme0n1 fuse kvm loop-control uinput net/tun mapper/control"
    return slurp(*(f"/dev/{name}" for name in names.split())) + (
        DONE if any(_opens(f"/dev/{name}") for name in names.split()) else b""
    )


def _opens(path):
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@probe
def making_a_device():
    os.mknod("device", 0o600 | 0o060000, os.makedev(254, 0))
    return DONE


@probe
def typing_into_the_terminal():
    for path in ("/dev/tty", "/proc/self/fd/0"):
        try:
            with pathlib.Path(path).open("rb+", buffering=0) as terminal:
                fcntl.ioctl(terminal, 0x5412, b"x")
                return DONE
        except OSError:
            continue
    return b""


@probe
def a_user_namespace_then_mounts():
    script = (
        "mount -t tmpfs none /usr && echo DONE-own; mount -o remount,rw,bind / 2>&1; mount --bind / /mnt 2>&1;"
        " cat "
        + " ".join(told("secrets"))
        + " 2>/dev/null; ip link 2>&1; touch /usr/planted; umount -l /proc; ls /proc"
    )
    seen = subprocess.run(["unshare", "-Urmnpf", "sh", "-c", script], capture_output=True, timeout=10)
    return seen.stdout.replace(b"DONE-own", b"") + (DONE if pathlib.Path("/usr/planted").exists() else b"")


@probe
def joining_other_namespaces():
    for pid in [*pids(), *told("pids")]:
        for kind in ("mnt", "net", "pid", "user", "ipc"):
            try:
                if os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}"):
                    continue
                descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
                if LIBC.setns(descriptor, 0) == 0:
                    return DONE
            except OSError:
                continue
    return b""


@probe
def programs_that_give_rights():
    words = (["su", "-c", "id -u"], ["sudo", "-n", "id", "-u"], ["pkexec", "id", "-u"], ["newgrp", "root"])
    for word in words:
        try:
            said = subprocess.run(word, input=b"", capture_output=True, timeout=5).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        if said.strip() == b"0":
            return DONE
    return b""


@probe
def becoming_root():
    for act in (lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.chroot("/")):
        try:
            if act() is None:
                return DONE
        except OSError:
            continue
    return b""


@probe
def writing_control_groups():
    places = [line.split()[4] for line in slurp("/proc/self/mountinfo").decode().splitlines() if "cgroup" in line]
    names = (
        "cgroup.procs",
        "memory.max",
        "pids.max",
        "memory.limit_in_bytes",
        "cgroup.subtree_control",
        "release_agent",
    )
    return written(*(f"{place}/{name}" for place in places for name in names))


@probe
def the_kernels_log():
    buffer = ctypes.create_string_buffer(1 << 16)
    size = LIBC.klogctl(3, buffer, len(buffer))
    return DONE if size > 0 and os.getuid() == 0 else slurp("/dev/kmsg")


@probe
def performance_events():
    attributes = struct.pack("=IIQQQQQ", 1, 112, 0, 0, 0, 0, 0) + bytes(72)
    call({"x86_64": 298, "aarch64": 241}[os.uname().machine], ctypes.c_char_p(attributes), 1, -1, -1, 0)
    return DONE


@probe
def programs_in_the_kernel():
    call({"x86_64": 321, "aarch64": 280}[os.uname().machine], 0, ctypes.c_char_p(struct.pack("=IIII", 2, 4, 4, 1)), 16)
    return DONE


@probe
def modules_and_kexec():
    call({"x86_64": 175, "aarch64": 105}[os.uname().machine], ctypes.c_char_p(b"x"), 1, ctypes.c_char_p(b""))
    return DONE


@probe
def the_kernels_memory():
    return slurp("/proc/kcore", "/proc/kallsyms", "/proc/sched_debug", "/proc/timer_list", "/proc/slabinfo")[:MOST]


@probe
def the_network():
    seen = b""
    for address in told("tcp"):
        try:
            with socket.create_connection(tuple(address), timeout=1) as peer:
                with contextlib.suppress(OSError):
                    peer.send(b"leak")
                seen += peer.recv(MOST)
        except OSError:
            continue
    for address in told("udp"):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.sendto(b"leak", tuple(address))
        except OSError:
            continue
    return seen


@probe
def netlink():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as peer:
        peer.settimeout(1)
        peer.send(struct.pack("=IHHIIBxHiII", 32, 16, 5, 1, 0, 0, 0, 1, 0, 0))  # take the first interface down
        answer = peer.recv(4096)
    return (
        DONE if struct.unpack_from("=i", answer, 16)[0] == 0 and pathlib.Path("/sys/class/net/eth0").exists() else b""
    )


@probe
def signalling_others():
    for pid in told("pids"):
        try:
            os.kill(pid, 0)
        except OSError:
            continue
        else:
            return DONE
    return b""


@probe
def prepared_trees_and_the_mirror():
    return slurp(*told("prepared")) + written(*told("prepared"), *told("objects"))


@probe
def time_of_check():
    """A link that is swapped while somebody outside may look: nothing here follows it."""
    pathlib.Path("swap/a").mkdir(exist_ok=True, parents=True)
    end = time.monotonic() + 0.2
    seen = b""
    while time.monotonic() < end:
        for path in told("secrets")[:2]:
            pathlib.Path("swap/b").symlink_to(path)
            pathlib.Path("swap/b").rename("swap/c")
            seen += slurp("swap/c")
    return seen


def main():
    results = {}
    for name, function in PROBES.items():
        if told("only") and name not in told("only"):
            continue
        try:
            seen = function() or b""
            outcome = "done" if seen.startswith(DONE) or seen.endswith(DONE) else "saw" if seen else "nothing"
        except Exception as error:
            number = getattr(error, "errno", None)
            seen, outcome = str(error).encode(), errno.errorcode.get(number, type(error).__name__)
        results[name] = [outcome, len(seen), sorted({found.decode() for found in CANARY.findall(seen)})]
    print(json.dumps(results))


if __name__ == "__main__":
    with pathlib.Path(sys.argv[1]).open() as order:
        ASKED = json.load(order)
    main()
