"""Plain things inside: people, names, times, letters, certificates, fonts, a browser. Real programs ask for them."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, ground, missing

from crewcap.workspaces import Mount
from crewcap.workspaces.sandbox.etc_files import SHARED, links, made, shared
from crewcap.workspaces.sandbox.uids import is_root

pytestmark = pytest.mark.sandbox
_PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def inside() -> Iterator[Ground]:
    if reason := missing("bubblewrap"):
        pytest.skip(f"bubblewrap: {reason}")
    with ground("bubblewrap") as one:
        yield one


def test_the_hosts_secrets_are_not_among_what_is_shared() -> None:
    private = ("/etc/ssl/private", "/etc/shadow", "/etc/gitconfig", "/etc/ssh", "/etc/machine-id", "/etc/passwd")
    assert not [path for path in SHARED for secret in private if Path(secret).is_relative_to(path)]
    assert set(shared()) <= set(SHARED)


def test_the_machine_id_is_nobodys() -> None:
    first, again = (made(uid=1, gid=1, home="/home/agent")["/etc/machine-id"] for _ in range(2))
    assert first == again
    assert len(first) == 33
    host = Path("/etc/machine-id")
    assert not host.exists() or host.read_bytes() != first


def test_people_are_known(inside: Ground) -> None:
    program = """
import getpass, grp, json, os, pwd
me = pwd.getpwuid(os.getuid())
group = grp.getgrgid(os.getgid()).gr_name
print(json.dumps([me.pw_name, me.pw_dir, group, getpass.getuser(), os.path.expanduser('~')]))
"""
    assert inside.probe(program) == ["agent", inside.layout.home, "agent", "agent", inside.layout.home]


def test_time_and_letters_are_as_on_this_machine(inside: Ground) -> None:
    """The zone is known by its name too, which some programs ask for and cannot guess from a file's contents."""
    program = """
import json, locale, os, sys, time
import zoneinfo
zoneinfo.ZoneInfo('Europe/Berlin')
print(json.dumps([time.tzname, locale.setlocale(locale.LC_ALL, ''), sys.getfilesystemencoding(), 'ä'.encode().hex()]))
"""
    assert inside.probe(program) == [list(time.tzname), "C.UTF-8", "utf-8", "c3a4"]
    assert inside.plain("readlink", "/etc/localtime").stdout.strip() == links().get("/etc/localtime", "")


def test_names_are_those_of_the_machine_itself_and_others_fail_at_once(inside: Ground) -> None:
    """No test may hang because nobody answers a question about a name."""
    program = """
import json, socket, time
began = time.monotonic()
try: other = socket.getaddrinfo('example.com', 443)
except socket.gaierror as error: other = error.errno == socket.EAI_NONAME
here = sorted({address[4][0] for address in socket.getaddrinfo('localhost', 80)})
print(json.dumps([here[0], other, time.monotonic() - began < 2, socket.gethostname(), socket.getservbyname('https')]))
"""
    assert inside.probe(program) == ["127.0.0.1", True, True, "crewcap", 443]


def test_a_server_on_localhost_is_reached_by_name(inside: Ground) -> None:
    program = """
import json, socket
with socket.create_server(('localhost', 0)) as server:
    with socket.create_connection(('localhost', server.getsockname()[1]), timeout=5) as client: print(json.dumps('met'))
"""
    assert inside.probe(program) == "met"


def test_certificates_are_found_by_default(inside: Ground) -> None:
    if not ssl.create_default_context().get_ca_certs():
        pytest.skip("this machine has no certificates")
    program = "import json, ssl; print(json.dumps(len(ssl.create_default_context().get_ca_certs())))"
    assert inside.probe(program) > 10
    if shutil.which("openssl"):
        done = inside.plain(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "k"
        )
        assert (done.status, done.stdout.splitlines()[0]) == (0, "-----BEGIN CERTIFICATE-----")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not here")
def test_node_finds_its_user_its_zone_and_the_processors(inside: Ground) -> None:
    script = """
const os = require('os');
require('dns').resolve4('example.com', (error) => console.log(JSON.stringify([os.userInfo().username,
  os.cpus().length > 0, Intl.DateTimeFormat().resolvedOptions().timeZone !== undefined, error.code])));
"""
    done = inside.plain("node", "-e", script)
    assert done.said() == ["agent", True, True, "ECONNREFUSED"]


@pytest.mark.skipif(not shutil.which("fc-list"), reason="fontconfig is not here")
def test_fonts_are_found(inside: Ground) -> None:
    count = subprocess.run(["fc-list"], capture_output=True, check=True).stdout.count(b"\n")
    done = inside.plain("fc-list")
    assert (len(done.stdout.splitlines()), done.stderr) == (count, "")


def test_git_commits_with_no_one_elses_settings(inside: Ground) -> None:
    commit = "git -c user.name=A -c user.email=a@b.c commit -q --allow-empty -m one"
    done = inside.plain(
        "sh", "-c", f"git init -q r && cd r && {commit} && git log --format=%an; git config --system -l"
    )
    assert done.stdout == "A\n"
    assert inside.plain("test", "-e", "/etc/gitconfig").status == 1


def test_there_is_room_for_a_browser_in_shared_memory(inside: Ground) -> None:
    program = "import json, os; s = os.statvfs('/dev/shm'); print(json.dumps(s.f_frsize * s.f_blocks))"
    assert inside.probe(program) == 1 << 30


def test_nothing_of_the_system_can_be_written(inside: Ground) -> None:
    places = "/ /etc /usr /home /opt /run /var /sys /base /root"
    done = inside.plain("sh", "-c", f"for p in {places}; do touch $p/x 2>/dev/null && echo $p; done; id -u")
    assert done.stdout.split() == [str(inside.uid if is_root() else 1_000)]


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not here")
@pytest.mark.parametrize("flags", [["--no-sandbox"], []])
def test_a_browser_takes_a_picture(inside: Ground, flags: list[str]) -> None:
    """Also with its own sandbox, which nests in ours."""
    (inside.workspace / "page.html").write_text("<h1>hello</h1>")
    picture = f"{inside.layout.workspace}/shot.png"
    where = f"file://{inside.layout.workspace}/page.html"
    done = inside.plain("chromium", *flags, "--headless", "--disable-gpu", f"--screenshot={picture}", where)
    if done.status and not flags:
        pytest.skip(f"its own sandbox does not nest here: {done.stderr[-200:]}")
    assert (done.status, (inside.workspace / "shot.png").read_bytes()[:4]) == (0, _PNG), done.stderr[-500:]
    (inside.workspace / "shot.png").unlink()


def test_a_folder_below_tmp_can_be_shown(inside: Ground) -> None:
    """Mounts may lie in a file system that is the sandbox's own, and the agent's user must be able to get there."""
    command = inside.command("ls", "/tmp/a/b/python")
    mount = Mount(source=Path(sys.base_prefix), target="/tmp/a/b/python")
    done = inside.perform(replace(command, mounts=(*command.mounts, mount)))
    assert "bin" in done.stdout.split(), done.stderr
