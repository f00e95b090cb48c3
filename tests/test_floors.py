"""The house has floors: an import never points up, adapters know nothing of each other, importing does nothing.

The rules are those of docs/architecture.md. They are read from the sources, late imports included, so a file that is
never imported in a test is held to them as well.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src"
FLOORS = {
    "errors": 0, "home": 0, "core": 0,
    "wire": 1, "agents": 1,
    "stores": 2, "trackers": 2, "workspaces": 2, "transcripts": 2, "notify": 2, "prices": 2, "settings": 2, "config": 2,
    "logs": 2,
    "gateway": 3, "runner": 3, "simulator": 3,
    "cli": 4, "demo": 4, "serve": 4, "web": 4, "app": 4, "__main__": 4,
}  # fmt: skip
SEAMS = ("wire", "agents", "stores", "trackers", "workspaces", "notify")
HANDS = {"os", "io", "pathlib", "shutil", "tempfile", "subprocess", "socket", "ssl", "select", "selectors", "asyncio",
         "threading", "multiprocessing", "signal", "sqlite3", "urllib.request", "http.client", "time", "random",
         "secrets", "logging"}  # fmt: skip
ONLY_IN = {  # a library whose whole use is one part's affair
    "sqlite3": ("stores", "transcripts/opencode", "runner/worker/engine_store"),  # files of others
    "asyncpg": ("stores",),
    "genai_prices": ("prices",),
    "pydantic": ("settings",),
    "dbos": ("runner/worker/engine",),
    "aiohttp": ("gateway", "simulator", "trackers", "web", "notify/webhook"),
    "cryptography": ("workspaces/egress/authority",),
    "uvloop": ("gateway", "simulator", "web", "cli"),
    "opentelemetry": ("gateway/watching/telemetry",),
    "cronsim": ("settings/crons", "runner/worker/ticks"),
    "rich": ("cli",),
    "click": ("cli", "__main__"),
}
WITH_A_DEPENDENCY = {"yarl": "aiohttp", "multidict": "aiohttp"}  # its public face is made of them
GIT = (
    "workspaces/repository/git",
    "workspaces/repository/harvest",
    "workspaces/repository/leftovers",
    "workspaces/repository/strays",
    "workspaces/repository/taking_up",
)  # all but the first say what it is told *inside*
HEAVY = ("pydantic", "aiohttp", "genai_prices", "rich", "sqlite3", "asyncio", "msgspec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import as it stands in a file."""

    module: str  # where it stands: crewcap.stores.sqlite.ledger
    target: str  # what it names, as far as it is a module
    line: int
    is_late: bool  # inside a function
    is_typing: bool  # for the type checker alone

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: imports {self.target}"


@cache
def sources() -> Mapping[str, ast.Module]:
    """Every module of the package, parsed. The demo's small project is data, not ours to import."""
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        if path.is_relative_to(SOURCES / "crewcap/demo/project"):
            continue
        parts = path.relative_to(SOURCES).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text("utf-8"), str(path))
    return found


@cache
def imports() -> tuple[Import, ...]:
    """Every import of the package."""
    return tuple(found for name, tree in sources().items() for found in _walk(name, tree, late=False, typing=False))


def _walk(module: str, node: ast.AST, *, late: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            for target in _targets(module, child):
                yield Import(module=module, target=target, line=child.lineno, is_late=late, is_typing=typing)
        inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from _walk(module, child, late=late or inside, typing=typing or _is_for_typing(child))


def _is_for_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _targets(module: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        is_package = (SOURCES / module.replace(".", "/")).is_dir()
        package = module.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
        base = ".".join([*package, *([node.module] if node.module else [])])
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if inner in sources() else base


def part(module: str) -> str:
    """The folder or file right under the package: `stores`."""
    return module.split(".")[1] if "." in module else ""


def ours() -> Iterator[Import]:
    """Imports of our own modules, but for the package's own name (which holds the version alone)."""
    return (found for found in imports() if found.target.startswith("crewcap.") and part(found.module))


def place(module: str) -> str:
    """A module's path inside the package: `runner/engine`."""
    return "/".join(module.split(".")[1:])


@cache
def adapters() -> frozenset[str]:
    """The modules that a seam's table names: what stands behind a door, one beside the other."""
    doors = {f"crewcap.{seam}" for seam in SEAMS}
    return frozenset(found.target for found in imports() if found.module in doors and found.is_late)


def test_every_part_of_the_house_has_a_floor() -> None:
    """A new folder is put on a floor before it is used."""
    assert {part(module) for module in sources() if part(module)} <= set(FLOORS)


def test_no_import_points_up() -> None:
    """A floor can be read without those above it; a late import is an import."""
    up = [str(found) for found in ours() if FLOORS[part(found.module)] < FLOORS[part(found.target)]]
    assert up == []


def test_no_cycle() -> None:
    """Modules can be put in an order in which each needs only those before it."""
    graph: dict[str, set[str]] = {module: set() for module in sources()}
    for found in ours():
        if not found.is_late and not found.is_typing:
            graph[found.module].add(found.target)
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")
    assert len(order) >= len(sources())


def test_a_seam_is_entered_by_its_door() -> None:
    """Between seams only the protocol and the table may be named: `crewcap.stores`, never what is behind it."""
    inside = [
        str(found)
        for found in ours()
        if part(found.module) in SEAMS and part(found.target) in SEAMS
        if part(found.module) != part(found.target) and found.target.count(".") > 1
    ]
    assert inside == []


def test_adapters_know_nothing_of_each_other() -> None:
    """SQLite does not know PostgreSQL, bubblewrap does not know Landlock; what they share has a file of its own."""
    assert adapters(), "the seams' tables name their adapters by late imports"
    assert [str(found) for found in ours() if found.module in adapters() and found.target in adapters()] == []


def test_the_core_is_rules_and_values() -> None:
    """Floor 0 uses the standard library, and of it nothing that acts."""
    wrong = [
        str(found)
        for found in imports()
        if part(found.module) == "core" and not found.target.startswith("crewcap")
        if found.target in HANDS or found.target.split(".")[0] in HANDS
        or found.target.split(".")[0] not in sys.stdlib_module_names
    ]  # fmt: skip
    assert wrong == []


def test_translators_do_no_input_and_no_output() -> None:
    """Bytes in, values out: whoever owns the socket or the process is elsewhere.

    An agent's adapter may look where an installed wheel has put its program, and no further.
    """
    wire = [found for found in imports() if part(found.module) == "wire" and found.target in HANDS]
    agents = [found for found in imports() if found.module in adapters() and part(found.module) == "agents"]
    assert wire == []
    assert [str(found) for found in agents if found.target in HANDS - {"os", "pathlib"}] == []


def test_only_direct_dependencies_are_imported() -> None:
    """What a dependency happens to bring along may leave with its next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    lines = [*project["project"]["dependencies"], *(line for extra in extras for line in extra)]
    direct = {_distribution(line) for line in lines} | set(WITH_A_DEPENDENCY)
    owner = {name: {_distribution(each) for each in owners} for name, owners in packages_distributions().items()}
    foreign = [
        str(found)
        for found in imports()
        if (top := found.target.split(".")[0]) not in {*sys.stdlib_module_names, "crewcap", "__future__"}
        if not owner.get(top, {_distribution(top)}) & direct
    ]
    assert foreign == []


def _distribution(requirement: str) -> str:
    """The distribution that a requirement names, spelled one way."""
    name = requirement
    for stop in "<>=!~;[ ":
        name = name.split(stop)[0]
    return name.lower().replace("_", "-")


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_the_affair_of_one_part(library: str) -> None:
    """So that it can be exchanged in one place."""
    strangers = [
        str(found)
        for found in imports()
        if found.target.split(".")[0] == library
        if not any(f"{place(found.module)}/".startswith(f"{home}/") for home in ONLY_IN[library])
    ]
    assert strangers == []


def test_one_module_runs_git() -> None:
    """Git is configured against a hostile repository in one place; a second caller would forget it."""
    callers = [
        f"{name}, line {node.lineno}"
        for name, tree in sources().items()
        if not place(name).startswith(GIT)
        for node in ast.walk(tree)
        if isinstance(node, (ast.List, ast.Tuple, ast.Call)) and _starts_with_git(node)
    ]
    assert callers == []


def _starts_with_git(node: ast.List | ast.Tuple | ast.Call) -> bool:
    items = node.args if isinstance(node, ast.Call) else node.elts
    if isinstance(node, ast.Call) and not ast.unparse(node.func).endswith(
        ("create_subprocess_exec", "execvp", "execv")
    ):
        return False
    return len(items) > 1 and isinstance(items[0], ast.Constant) and items[0].value == "git"


def test_no_shell() -> None:
    """The user's own `setup` and `check` run in a shell inside the sandbox; nothing of ours does."""
    shells = [
        f"{name}, line {node.lineno}"
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_shell(node)
    ]
    assert shells == []


def _is_shell(node: ast.Call) -> bool:
    called = ast.unparse(node.func)
    spoken = any(
        word.arg == "shell" and not (isinstance(word.value, ast.Constant) and not word.value.value)
        for word in node.keywords
    )
    starts = called.startswith("subprocess.") or called.split(".")[-1] in {"Popen", "check_output", "check_call"}
    return (spoken and starts) or called in {"os.system", "os.popen"} or called.endswith("create_subprocess_shell")


_LISTEN = """
import importlib, json, sys, threading
seen = []
ACTS = ("subprocess.", "socket.connect", "socket.bind", "os.mkdir", "os.remove", "os.rename", "os.putenv", "os.chmod",
        "os.exec", "os.fork", "os.posix_spawn", "shutil.", "sqlite3.connect", "tempfile.")
def listen(event, args):
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if event.startswith(ACTS) or writes:
        seen.append(f"{event} {args[0]!r}"[:200])
sys.addaudithook(listen)
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = str(error)
json.dump({"seen": seen, "failed": failed, "threads": threading.active_count()}, sys.stdout)
"""


def test_importing_does_nothing(tmp_path: Path) -> None:
    """No folder made, no file written, no process started, no socket, no thread, no word printed."""
    names = [name for name in sources() if name != "crewcap.__main__"]
    done = _python("-c", _LISTEN, json.dumps(names), home=tmp_path)
    assert done.stderr == ""
    assert json.loads(done.stdout) == {"seen": [], "failed": {}, "threads": 1}
    assert list(tmp_path.iterdir()) == []


def test_help_reads_a_table_and_nothing_else(tmp_path: Path) -> None:
    """The command line starts at once because a command is imported only when it is called."""
    done = _python("-c", "import sys, crewcap.cli; print(*sys.modules)", home=tmp_path)
    assert sorted(set(HEAVY) & set(done.stdout.split())) == []


def _python(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that knows nothing of this one."""
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
