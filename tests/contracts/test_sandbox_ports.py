"""A rung without a loopback of its own: one TCP port is open where an outlet has one, and nothing beside it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.contracts.sandboxes import Ground, ground, missing

from crewcap.workspaces import Outlet

pytestmark = pytest.mark.sandbox

PROBE = """
import ctypes, errno, json, os, socket, sys
port, other = json.loads(sys.argv[1])
def outcome(act, *args):
    try: return act(*args) or "allowed"
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
def hello(port, kind=socket.SOCK_STREAM, protocol=0):
    with socket.socket(socket.AF_INET, kind, protocol) as s:
        s.settimeout(2); s.connect(("127.0.0.1", port)); s.send(b"leak"); return s.recv(9).decode()
def fast(port):
    with socket.socket() as s: s.settimeout(2); s.sendto(b"leak", 0x20000000, ("127.0.0.1", port))
def late(port):
    with socket.socket() as s:
        s.settimeout(2); s.setsockopt(6, 30, 1); s.connect(("127.0.0.1", port)); s.send(b"leak")
def listen():
    with socket.socket() as s: s.listen()
def bind():
    with socket.socket() as s: s.bind(("127.0.0.1", 0))
def ring():
    if ctypes.CDLL(None, use_errno=True).syscall(425, 4, bytes(120)) < 0: raise OSError(ctypes.get_errno(), "")
print(json.dumps({
    "the port": outcome(hello, port),
    "another port": outcome(hello, other),
    "another port, data first": outcome(fast, other),
    "another port, connected late": outcome(late, other),
    "mptcp": outcome(hello, port, socket.SOCK_STREAM, 262),
    "udp": outcome(hello, port, socket.SOCK_DGRAM),
    "raw": outcome(hello, port, socket.SOCK_RAW, 1),
    "listen": outcome(listen),
    "bind": outcome(bind),
    "ring": outcome(ring),
}))
"""


@pytest.fixture
def landlock() -> Iterator[Ground]:
    if reason := missing("landlock"):
        pytest.skip(f"landlock: {reason}")
    with ground("landlock") as made:
        yield made


@contextlib.contextmanager
def _server(said: list[bytes]) -> Iterator[int]:
    """A service of this machine; what it heard."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        said.append(peer.recv(9))
                        peer.sendall(b"hello")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _probe(run: Ground, *, is_open: bool) -> tuple[dict[str, str], list[bytes], list[bytes]]:
    """What each try came to, and what the two services heard."""
    ours: list[bytes] = []
    theirs: list[bytes] = []
    with _server(ours) as port, _server(theirs) as other:
        outlet = Outlet(socket=run.root / "none", port=3128, host_port=port if is_open else 0)
        found = run.probe(PROBE, json.dumps([port, other]), outlets=(outlet,))
    return found, ours, theirs


def test_the_port_of_an_outlet_is_open_and_nothing_beside_it(landlock: Ground) -> None:
    """UDP, other protocols and other ways to connect would pass Landlock by."""
    found, ours, theirs = _probe(landlock, is_open=True)
    assert found.pop("the port") == "hello"
    assert found.pop("ring") == "ENOSYS"
    assert set(found.values()) == {"EACCES"}, found
    assert (ours, theirs) == ([b"leak"], [])


def test_without_one_everything_stays_closed(landlock: Ground) -> None:
    found, ours, theirs = _probe(landlock, is_open=False)
    assert found.pop("ring") == "ENOSYS"
    assert set(found.values()) == {"EACCES"}, found
    assert (ours, theirs) == ([], [])


def test_the_loss_is_told(landlock: Ground) -> None:
    assert any("the same port of other machines" in loss for loss in landlock.sandbox.loses)
