"""Somebody like crewcap: it holds a provider's key and a tracker's token, and starts an obedient agent in a sandbox.

A program of its own, so that it can be started as root and as a plain user: `python -m tests.contracts.probing RUNG`.
It plants secrets wherever they could be found, and prints what the agent's probes came to.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.contracts.sandboxes import PYTHON, Ground, ground, missing

from crewcap.workspaces import LADDER
from crewcap.workspaces.sandbox.uids import is_root

OBEDIENT = Path(__file__).with_name("obedient.py")
_KEYCTL, _ADD_KEY = ({"x86_64": (250, 248), "aarch64": (219, 217)}).get(os.uname().machine, (-1, -1))
_IPC_PRIVATE, _CREATE = 0, 0o1000 | 0o600


def canary(kind: str, mark: str = os.environ.get("PROBING", "")) -> str:
    """A secret that the agent's program knows by its shape alone, and we by a mark: others probe at the same time."""
    return f"canary-{kind}-{mark}{secrets.token_hex(4)}"


def main() -> None:
    """Start one rung's probes, below a state directory as a run has it."""
    rung = next(each for each in LADDER if each == sys.argv[1])
    if reason := missing(rung):
        sys.stdout.write(json.dumps({"missing": reason}))
        return
    if "PROBING" not in os.environ:  # once more, so that the secrets stand in this process's own environment
        mark = secrets.token_hex(4)
        keys = {"ANTHROPIC_API_KEY": canary("key", mark), "GITHUB_TOKEN": canary("token", mark), "PROBING": mark}
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.contracts.probing", *sys.argv[1:]], {**os.environ, **keys}
        )
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(ground(rung))
        asked = {**_plant(run, stack), "only": sys.argv[2:]}
        (run.workspace / "obedient.py").write_bytes(OBEDIENT.read_bytes())
        (run.workspace / "obedient.py").chmod(0o644)
        (run.workspace / "asked").write_text(json.dumps(asked))
        (run.workspace / "asked").chmod(0o644)
        done = run.perform(run.command(PYTHON, "-I", "obedient.py", "asked"))
        spoiled = [path for path in asked["secrets"] if b"planted" in Path(path).read_bytes()]
        spoiled += [folder for folder in asked["folders"] if (Path(folder) / "planted").exists()]
        told = {"status": done.status, "stderr": done.stderr[-2_000:], "found": done.stdout, "spoiled": spoiled}
        sys.stdout.write(json.dumps({**told, "mark": os.environ["PROBING"]}))


def _plant(run: Ground, stack: contextlib.ExitStack) -> Mapping[str, Any]:
    """Secrets in every place that an agent may be told of; where they are."""
    state = run.root.parent.parent
    is_shared_user = run.sandbox.rung == "landlock" and not is_root()  # by its own words, sockets and segments are open
    held = stack.enter_context(_in_memory())
    key = _keyrings()
    return {
        **_files(run, state),
        "temporary": [str(stack.enter_context(_file_in(folder))) for folder in ("/tmp", "/var/tmp")],
        "shm": [str(stack.enter_context(_file_in("/dev/shm")))],
        "segments": [] if is_shared_user else [stack.enter_context(_segment())],
        "keys": key,
        "abstract": [stack.enter_context(_abstract())],
        "sockets": [] if is_shared_user else [stack.enter_context(_with_path(state))],
        "tcp": [["127.0.0.1", stack.enter_context(_on_loopback())], ["169.254.169.254", 80]],
        "udp": [["127.0.0.1", 53], ["192.0.2.1", 53]],
        "pids": [os.getpid(), stack.enter_context(_neighbour(run))],
        "addresses": [held],
    }


def _files(run: Ground, state: Path) -> dict[str, list[str]]:
    """A state directory, another run, another repository's prepared tree, and a user's home."""
    token, theirs = canary("token"), canary("run")
    texts = {
        "ledger.db": token,
        "control.token": token,
        "settings.toml": canary("key"),
        "runs/two/workspace/secret": theirs,
        "runs/two/home/.claude/credentials.json": theirs,
        "runs/two/network.jsonl": theirs,
        "mirrors/other.git/config": token,
        "prepared/other/site.py": theirs,
    }
    names = (".npmrc", ".netrc", ".git-credentials", ".aws/credentials", ".ssh/id_ed25519", ".docker/config.json")
    texts |= {f"user/{name}": token for name in (*names, ".cache/pip/x")}
    for name, text in texts.items():
        path = state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    (run.objects / "pack").write_text("base")
    everywhere = [str(state / name) for name in texts]
    return {
        "secrets": everywhere,
        "folders": [str(state), str(state / "runs"), str(state / "runs/two/workspace")],
        "homes": [str(state / "user"), str(Path.home())],
        "prepared": [str(state / "prepared/other/site.py"), str(state / "prepared/other")],
        "objects": [run.layout.objects, f"{run.layout.objects}/pack"],
    }


@contextlib.contextmanager
def _in_memory() -> Iterator[int]:
    """A secret at an address of ours."""
    buffer = ctypes.create_string_buffer(canary("key").encode())
    yield ctypes.addressof(buffer)


@contextlib.contextmanager
def _file_in(folder: str) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(dir=folder, prefix="crewcap-probe-") as file:
        file.write(canary("run").encode())
        file.flush()
        yield Path(file.name)


@contextlib.contextmanager
def _segment() -> Iterator[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    number = libc.shmget(_IPC_PRIVATE, 4_096, _CREATE)
    text = canary("run").encode()
    address = ctypes.c_void_p(libc.shmat(number, None, 0))
    ctypes.memmove(address, text, len(text))
    libc.shmctl(number, 0, None)  # it is there for everybody until we let go of it, and goes with us if we are killed
    try:
        yield number
    finally:
        libc.shmdt(address)


def _keyrings() -> list[int]:
    """A key in a session's keyring, as a login has one, and one in the user's."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(_KEYCTL), 1, None)
    text = canary("token").encode()
    rings = (-3, -4)
    added = [libc.syscall(ctypes.c_long(_ADD_KEY), b"user", b"crewcap-probe", text, len(text), ring) for ring in rings]
    return [key for key in added if key > 0]


def _serve(server: socket.socket) -> None:
    """Answer everybody with a secret."""
    text = canary("token").encode()

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = server.accept()
                with peer:
                    peer.sendall(text)

    threading.Thread(target=answer, daemon=True).start()


@contextlib.contextmanager
def _abstract() -> Iterator[str]:
    name = f"crewcap-probe-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        _serve(server)
        yield name


@contextlib.contextmanager
def _with_path(state: Path) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(state / "control.sock"))
        (state / "control.sock").chmod(0o600)
        server.listen()
        _serve(server)
        yield str(state / "control.sock")


@contextlib.contextmanager
def _on_loopback() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        _serve(server)
        yield server.getsockname()[1]


@contextlib.contextmanager
def _neighbour(run: Ground) -> Iterator[int]:
    """Another process of the run's own user, with a secret in its environment."""
    user: dict[str, Any] = {"user": run.uid, "group": run.uid, "extra_groups": []} if is_root() else {}
    with subprocess.Popen(["sleep", "60"], env={"KEY": canary("run")}, **user) as process:
        try:
            yield process.pid
        finally:
            process.kill()


if __name__ == "__main__":
    main()
