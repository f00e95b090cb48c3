"""Four kinds of real project, small ones of our own: what lies in them, and what is set for each.

Their packages come from an index on loopback, over TLS and under a name that exists nowhere, so that nothing but the
way out of a setup leads there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.bench import Bench
from tests.workspaces.outside import AUTHORITY
from tests.workspaces.packages import WHEEL, npm_registry, python_index

HOST = "packages.test"
PAGES = {**python_index(), **npm_registry(f"https://{HOST}")}
_SAYS_HELLO = """
import unittest

from hello_crewcap import SAID


class Test(unittest.TestCase):
    def test_it_says_hello(self):
        self.assertEqual(SAID, "hello from the index")
"""
_UNITTEST = "-m unittest discover -q -s tests"


@dataclass(frozen=True, kw_only=True)
class Project:
    """A repository and its settings."""

    name: str
    files: Mapping[str, str]
    setup: str
    check: str
    hosts: tuple[str, ...] = (HOST,)
    services: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # programs of this machine
    submodule: Mapping[str, str] = field(default_factory=dict)  # files of one that lies at lib/

    @property
    def missing(self) -> str:
        """What this machine has not."""
        gone = [name for name in self.needs if shutil.which(name) is None]
        return f"no {' and no '.join(gone)} on this machine" if gone else ""

    def lay_out(self, bench: Bench, *, port: int, hosts: tuple[str, ...] | None = None) -> None:
        """Make it the bench's repository, with its settings in the operator's file."""
        for path in bench.shop.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        write(bench.shop, {"README.md": "Hello.\n", **self.files})
        if self.submodule:
            self._add_submodule(bench)
        bench.commit("another project")
        authority = bench.root / "authority.pem"
        authority.write_bytes(AUTHORITY.certificate)
        lines = {
            "setup": self.setup,
            "check": self.check,
            "hosts": self.hosts if hosts is None else hosts,
            "services": self.services,
        }
        registry = f'[registries."{HOST}"]\naddress = "127.0.0.1:{port}"\nca = "{authority}"'
        repo = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items() if value)
        bench.configure(repo=repo, more=registry)

    def _add_submodule(self, bench: Bench) -> None:
        library = bench.root / "library"
        library.mkdir()
        write(library, self.submodule)
        for words in (("init", "--quiet", "-b", "main"), ("add", "--all"), ("commit", "--quiet", "-m", "start")):
            bench.git("-C", str(library), *words)
        bench.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files, with the folders that they need."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def _uv_lock() -> str:
    """As `uv lock` writes it."""
    wheel = PAGES[f"/files/{WHEEL}"][1]
    digest = hashlib.sha256(wheel).hexdigest()
    return f"""version = 1
revision = 3
requires-python = ">=3.9"

[[package]]
name = "hello-crewcap"
version = "1.0"
source = {{ registry = "https://{HOST}/simple" }}
wheels = [
    {{ url = "https://{HOST}/files/{WHEEL}", hash = "sha256:{digest}" }},
]

[[package]]
name = "shop"
version = "0.1.0"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "hello-crewcap" }},
]

[package.metadata]
requires-dist = [{{ name = "hello-crewcap", specifier = "==1.0" }}]
"""


def _npm_lock() -> str:
    listing = json.loads(PAGES["/hello-crewcap"][1])
    dist = listing["versions"]["1.0.0"]["dist"]
    package = {"name": "shop", "version": "1.0.0", "dependencies": {"hello-crewcap": "1.0.0"}}
    found = {"version": "1.0.0", "resolved": dist["tarball"], "integrity": dist["integrity"]}
    packages = {"": package, "node_modules/hello-crewcap": found}
    return json.dumps({"name": "shop", "version": "1.0.0", "lockfileVersion": 3, "packages": packages}, indent=2)


PIP = Project(
    name="pip",
    files={
        "requirements.txt": "hello-crewcap==1.0\n",
        "tests/test_hello.py": _SAYS_HELLO,
    },
    setup="python3 -m venv ~/venv && ~/venv/bin/pip install --quiet --retries 0"
    f" --index-url https://{HOST}/simple/ -r requirements.txt",
    check=f"~/venv/bin/python {_UNITTEST}",
)
UV = Project(
    name="uv",
    files={
        "pyproject.toml": '[project]\nname = "shop"\nversion = "0.1.0"\nrequires-python = ">=3.9"\n'
        'dependencies = ["hello-crewcap==1.0"]\n[[tool.uv.index]]\n'
        f'url = "https://{HOST}/simple"\ndefault = true\n',
        "uv.lock": _uv_lock(),
        ".gitignore": ".venv\n",
        "tests/test_hello.py": _SAYS_HELLO,
    },
    setup="uv sync --locked",
    check=f"uv run --no-sync python {_UNITTEST}",
    needs=("uv",),
)
NPM = Project(
    name="npm",
    files={
        "package.json": json.dumps(
            {
                "name": "shop",
                "version": "1.0.0",
                "scripts": {"test": "node --test"},
                "dependencies": {"hello-crewcap": "1.0.0"},
            }
        ),
        "package-lock.json": _npm_lock(),
        ".npmrc": f"registry=https://{HOST}/\naudit=false\nfund=false\n",
        ".gitignore": "node_modules\n",
        "test/hello.test.js": 'const test = require("node:test");\nconst assert = require("node:assert");\n'
        'test("hello", () => assert.equal(require("hello-crewcap"), "hello from the registry"));\n',
    },
    setup="npm ci",
    check="npm test",
    needs=("node", "npm"),
)
POSTGRES = Project(
    name="postgres",
    files={
        "schema.sql": "CREATE TABLE greetings (said text); INSERT INTO greetings VALUES ('hello from the database');\n",
        "check.sh": "test \"$(psql -qtA -c 'SELECT said FROM greetings')\" = 'hello from the database'"
        " && echo 1 passed\n",
    },
    setup="psql -q -v ON_ERROR_STOP=1 -f schema.sql",
    check="sh check.sh",
    hosts=(),
    services=("postgres",),
    needs=("psql",),
)
SUBMODULES = Project(
    name="submodules",
    files={"tests/test_hello.py": _SAYS_HELLO},
    submodule={"hello_crewcap.py": 'SAID = "hello from the index"\n'},
    setup="test -f lib/hello_crewcap.py && mkdir -p ~/built && cp lib/hello_crewcap.py ~/built/",
    check=f"PYTHONPATH=lib python3 {_UNITTEST}",
    hosts=(),
)
ALL = (PIP, UV, NPM, POSTGRES, SUBMODULES)
