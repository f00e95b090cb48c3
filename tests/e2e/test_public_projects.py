"""Public projects, as their authors published them: `make test-projects` fetches them and prints a table of times.

Nothing of them is committed. A machine that can reach a package index need not reach a git host, so they are the
published sources, each made a git repository. Where packages come from is asked of this machine's own pip and npm.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.e2e.bench import SCRIPTS, Bench
from tests.e2e.conftest import Setting
from tests.e2e.test_projects import findings

from crewcap.core.runs import Verdict
from crewcap.settings.hosts import expand

FETCHED = os.environ.get("CREWCAP_PROJECTS", "")
pytestmark = [
    pytest.mark.public_projects,
    pytest.mark.agent,
    pytest.mark.sandbox,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(not FETCHED, reason="public projects are fetched by `make test-projects`"),
]
LIMIT_S = 900
_USUAL = "https://pypi.org"
_VENV = "python3 -m venv ~/venv && ~/venv/bin/pip install --quiet"


@dataclass(frozen=True, kw_only=True)
class Public:
    """One of them, and what is set for it."""

    kind: str
    source: str  # beginning of the fetched file's name
    setup: str
    check: str
    hosts: str  # a named list
    services: tuple[str, ...] = ()
    submodule: str = ""  # another one, at vendor/
    program: str = ""  # that no file of the project asks for


ALL = (
    Public(
        kind="Python, pip",
        source="idna-",
        setup=f"{_VENV} -e . pytest",
        check="~/venv/bin/python -m pytest -q tests/test_idna.py",
        hosts="python",
    ),
    Public(
        kind="Python, uv",
        source="packaging-",
        setup="uv venv --quiet && uv pip install --quiet -e . pytest pretend hypothesis",
        check=".venv/bin/python -m pytest -q tests/test_version.py tests/test_requirements.py",
        hosts="python",
        program="uv",
    ),
    Public(kind="Node, npm", source="left-pad-", setup="npm install --silent", check="npm test", hosts="npm"),
    Public(
        kind="Postgres",
        source="pg8000-",
        setup=f"{_VENV} -e . pytest pytest-mock pytest-benchmark pytz python-dateutil",
        check="~/venv/bin/python -m pytest -q test/dbapi test/native --ignore test/dbapi/auth --ignore test/native/auth"
        " --benchmark-skip -p no:cacheprovider -k 'not hstore and not broken_pipe_read'",
        hosts="python",
        services=("postgres",),
    ),
    Public(
        kind="submodule",
        source="idna-",
        setup=f"{_VENV} -e . -e vendor pytest",
        check="~/venv/bin/python -m pytest -q tests/test_idna.py"
        " && ~/venv/bin/python -c 'import packaging; assert \"vendor\" in packaging.__file__'",
        hosts="python",
        submodule="packaging-",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of one project."""

    kind: str
    name: str
    files: int
    setup: float
    check: float
    run: float
    reused: str
    said: str


@pytest.fixture(scope="module")
def table() -> Iterator[list[Times]]:
    """Printed when all are done."""
    rows: list[Times] = []
    yield rows
    head = (
        f"\n{'kind':<12} {'project':<18} {'files':>6} {'setup s':>8} {'reused s':>9} {'check s':>8} {'run s':>6}  check"
    )
    print(head)  # noqa: T201  (what this is for)
    for row in rows:
        figures = f"{row.files:>6,} {row.setup:>8.1f} {row.reused:>9} {row.check:>8.1f} {row.run:>6.1f}"
        print(f"{row.kind:<12} {row.name:<18} {figures}  {row.said}")  # noqa: T201


@pytest.mark.parametrize("public", ALL, ids=lambda public: public.kind)
def test_a_public_project_is_made_ready_and_worked_on(bench: Setting, table: list[Times], public: Public) -> None:
    """Green before and after; the run reuses what doctor's setup made."""
    machine = bench(SCRIPTS / "goodbye.toml")
    name = lay_out(machine, public)
    found = findings(machine.start("doctor", "--repo", "shop", "--json").end(LIMIT_S))
    assert found["setup"][0]["level"] == "ok", [
        one["text"] for each in ("setup", "hosts") for one in found.get(each, [])
    ]
    assert found["check"][0]["level"] == "ok", found["check"][0]["text"]
    began = time.monotonic()
    done = machine.start("run", "-p", "Say goodbye in the README").end(LIMIT_S)
    run_s = time.monotonic() - began
    run = machine.run()
    assert (done.status, run.verdict) == (0, Verdict.FINISHED), done.out + done.err
    assert (run.check_before.result, run.check_after.result) == ("passed", "passed")
    story = [event.text for event in machine.story()]
    reused = next(text for text in story if ": reused, " in text)
    table.append(
        Times(
            kind=public.kind,
            name=name,
            files=found["setup"][0]["facts"]["files"],
            setup=found["setup"][0]["facts"]["seconds"],
            check=found["check"][0]["facts"]["seconds"],
            run=run_s,
            reused=reused.rpartition("(")[2].rstrip(" s)"),
            said=run.check_after.summary,
        )
    )


def lay_out(machine: Bench, public: Public) -> str:
    """Make it the bench's repository; its name and version."""
    for path in machine.shop.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    name = unpack(public.source, machine.shop)
    if not (machine.shop / "README.md").exists():
        (machine.shop / "README.md").write_text("Hello.\n", encoding="utf-8")
    if public.submodule:
        library = machine.root / "library"
        library.mkdir()
        unpack(public.submodule, library)
        for words in (("init", "--quiet", "-b", "main"), ("add", "--all"), ("commit", "--quiet", "-m", "start")):
            machine.git("-C", str(library), *words)
        machine.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "vendor")
    machine.commit("as it was published")
    index = index_of(public.hosts)
    host = urlsplit(index).hostname or ""
    hosts = (public.hosts, *(() if host in expand([public.hosts]) else (host,)))
    variables = {"python": ("PIP_INDEX_URL", "UV_INDEX_URL"), "npm": ("npm_config_registry",)}[public.hosts]
    exports = "" if len(hosts) == 1 else "".join(f"export {variable}={index}; " for variable in variables)
    program = shutil.which(public.program) if public.program else None
    lines = {
        "setup": exports + public.setup,
        "check": public.check,
        "hosts": hosts,
        "services": public.services,
        "tools": [str(Path(program).resolve())] if program else [],
    }
    repo = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items() if value)
    machine.configure(repo=repo, more="\n".join(private_addresses(expand(hosts))))
    return name


def unpack(beginning: str, folder: Path) -> str:
    """The published sources, without the folder around them."""
    (archive,) = Path(FETCHED).glob(f"{beginning}*.t*gz")
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            member.name = member.name.partition("/")[2]
            if member.name and member.isreg():
                opened.extract(member, folder, filter="data")
    return archive.name.removesuffix(".tgz").removesuffix(".tar.gz")


def index_of(kind: str) -> str:
    """Where this machine's pip and npm get their packages."""
    if kind == "npm":
        return subprocess.run(
            ("npm", "config", "get", "registry"), capture_output=True, text=True, check=True
        ).stdout.strip()
    asked = (sys.executable, "-m", "pip", "config", "get", "global.index-url")
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or f"{_USUAL}/simple"


def private_addresses(hosts: tuple[str, ...]) -> Iterator[str]:
    """A machine whose names lead into a network of its own must say so: no run reaches such addresses by itself."""
    for host in hosts:
        try:
            address = socket.getaddrinfo(host, 443, family=socket.AF_INET, type=socket.SOCK_STREAM)[0][4][0]
        except OSError:
            continue
        if not ipaddress.ip_address(address).is_global:
            yield f'[registries."{host}"]\naddress = "{address}:443"'
