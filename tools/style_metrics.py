"""Measure the shape of Python code bases, one row each, side by side.

    python style_metrics.py ours=src/ourpackage stamina=../stamina/src/stamina

Only the standard library, only reading: nothing measured is imported or run.
A row counts every .py file under the folder given. Lengths are lines from first to last.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import statistics
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
TEST_FOLDERS = {"test", "tests", "_tests"}
NEWER_SYNTAX = (  # what an older Python cannot parse, and the same thing said in older words
    (re.compile(r"^(\s*except\*? )([\w.]+(?:, [\w.]+)+):", re.MULTILINE), r"\1(\2):"),
    (re.compile(r"^(\s*(?:async def|def|class) \w+)\[[^\]]*\]", re.MULTILINE), r"\1"),
    (re.compile(r"^(\s*)type (\w+)(?:\[[^\]]*\])? = ", re.MULTILINE), r"\1\2 = "),
)


@dataclass(frozen=True, slots=True)
class Module:
    """What one file says about itself."""

    name: str
    lines: int
    nonblank: int
    comment_lines: int
    docstring_lines: int
    function_lengths: tuple[int, ...]
    public: int  # public functions, methods and classes ...
    public_documented: int  # ... and those of them with a docstring
    annotated: int  # functions with a return annotation
    fully_typed: int  # functions with every argument and the return annotated
    frozen_dataclasses: int
    dataclasses: int
    broad_excepts: int  # `except:`, `except Exception`, `except BaseException`
    late_imports: int  # imports inside a function
    import_time_calls: int  # bare calls at module level, other than under __main__
    imports: frozenset[str] = field(default=frozenset())  # needed at import time
    all_imports: frozenset[str] = field(default=frozenset())  # also late and type-only


@dataclass(frozen=True, slots=True)
class Row:
    """One code base, in the figures we compare."""

    name: str
    modules: int
    nonblank: int
    file_median: int
    file_p95: int
    file_max: int
    functions: int
    func_median: int
    func_p95: int
    func_max: int
    over_50_pct: float
    comment_pct: float
    docstring_pct: float
    documented_pct: float
    typed_pct: float
    frozen: str
    broad_excepts_per_kloc: float
    late_imports_per_kloc: float
    import_time_calls: int
    cycles: int
    largest_cycle: int
    largest_coupling: int


def percentile(values: Iterable[int], q: float) -> int:
    """The nearest-rank percentile; 0 of nothing."""
    ordered = sorted(values)
    if not ordered:
        return 0
    rank = max(1, -(-len(ordered) * q // 100))
    return ordered[int(rank) - 1]


def per_cent(part: float, whole: float) -> float:
    """A share of a whole, to one decimal; of nothing it is zero."""
    return round(100 * part / whole, 1) if whole else 0.0


def find_modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Every module under root, by dotted name; tests that ship inside a package are left out."""
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        if TEST_FOLDERS & set(parts[1:-1]):
            continue
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join(parts), path


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{_dotted(value)}.{attr}"
        case ast.Call(func=func):
            return _dotted(func)
    return ""


def _is_frozen(decorator: ast.expr) -> bool:
    if _dotted(decorator).rsplit(".", 1)[-1] == "frozen":
        return True
    return isinstance(decorator, ast.Call) and any(
        k.arg == "frozen" and isinstance(k.value, ast.Constant) and k.value.value is True for k in decorator.keywords
    )


def _is_dataclass(decorator: ast.expr) -> bool:
    last = _dotted(decorator).rsplit(".", 1)[-1]
    return last in {"dataclass", "define", "frozen", "mutable"} or _dotted(decorator) == "attr.s"


def _arguments(function: Function) -> list[ast.arg]:
    a = function.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return [arg for arg in every if arg.arg not in {"self", "cls"}]


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _dotted(node.test).endswith("TYPE_CHECKING")


def _is_main_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__main__" in ast.dump(node.test)


def _targets(node: ast.Import | ast.ImportFrom, module: str, *, is_package: bool) -> Iterator[str]:
    """Every module a statement may name; the caller keeps those that exist."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parent = module.split(".")
        up = node.level - (1 if is_package else 0)
        parent = parent[: len(parent) - up] if up else parent
        base = ".".join([*parent, *([base] if base else [])])
    # `from pkg import sub` needs pkg.sub; only a name that is no module needs pkg itself.
    yield from (f"{base}.{alias.name}|{base}" for alias in node.names)


def _resolve(targets: Iterable[str], known: frozenset[str], own: str) -> frozenset[str]:
    found = set()
    for target in targets:
        for named in target.split("|"):
            candidate = named
            while candidate and candidate not in known and "|" not in target:
                candidate = candidate.rpartition(".")[0]
            if candidate in known:
                found.add(candidate)
                break
    return frozenset(found - {own})


def parse(text: str) -> ast.Module:
    """The tree of a source, also of one that is newer than this interpreter."""
    try:
        return ast.parse(text)
    except SyntaxError:
        for newer, older in NEWER_SYNTAX:
            text = newer.sub(older, text)
        return ast.parse(text)


def read_module(name: str, path: Path, known: frozenset[str]) -> Module:  # noqa: C901  (one walk, one count a node)
    """Everything that is counted in one file."""
    text = path.read_text("utf-8", errors="replace")
    tree = parse(text)
    is_package = path.name == "__init__.py"
    comments = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    lengths: list[int] = []
    count = dict.fromkeys(
        ("doc", "public", "documented", "annotated", "typed", "frozen", "data", "broad", "late", "calls"),
        0,
    )
    now: list[str] = []
    ever: list[str] = []

    def docstring(node: ast.Module | ast.ClassDef | Function) -> bool:
        if ast.get_docstring(node, clean=False) is None:
            return False
        first = node.body[0]
        count["doc"] += (first.end_lineno or first.lineno) - first.lineno + 1
        return True

    def visit(node: ast.AST, *, inside: bool, type_only: bool, top: bool) -> None:
        if isinstance(node, Function | ast.ClassDef):
            has_doc = docstring(node)
            if not node.name.startswith("_") and not inside:
                count["public"] += 1
                count["documented"] += has_doc
        if isinstance(node, Function):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            lengths.append((node.end_lineno or first) - first + 1)
            count["annotated"] += node.returns is not None
            arguments_typed = all(a.annotation is not None for a in _arguments(node))
            count["typed"] += arguments_typed and (node.returns is not None or node.name == "__init__")
        elif isinstance(node, ast.ClassDef):
            data = [d for d in node.decorator_list if _is_dataclass(d)]
            count["data"] += bool(data)
            count["frozen"] += any(_is_frozen(d) for d in data)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            targets = list(_targets(node, name, is_package=is_package))
            ever.extend(targets)
            count["late"] += inside
            if not inside and not type_only:
                now.extend(targets)
        elif isinstance(node, ast.ExceptHandler):
            caught = _dotted(node.type) if node.type else "Exception"
            count["broad"] += caught in {"Exception", "BaseException"}
        elif top and isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            count["calls"] += 1
        stays_top = top and isinstance(node, ast.Module | ast.If | ast.Try | ast.With)
        for child in ast.iter_child_nodes(node):
            visit(
                child,
                inside=inside or isinstance(node, Function),
                type_only=type_only or _is_type_checking(node),
                top=stays_top and not _is_main_guard(node),
            )

    docstring(tree)
    visit(tree, inside=False, type_only=False, top=True)
    lines = text.splitlines()
    return Module(
        name=name,
        lines=len(lines),
        nonblank=sum(bool(line.strip()) for line in lines),
        comment_lines=len(comments),
        docstring_lines=count["doc"],
        function_lengths=tuple(lengths),
        public=count["public"],
        public_documented=count["documented"],
        annotated=count["annotated"],
        fully_typed=count["typed"],
        frozen_dataclasses=count["frozen"],
        dataclasses=count["data"],
        broad_excepts=count["broad"],
        late_imports=count["late"],
        import_time_calls=count["calls"],
        imports=_resolve(now, known, name),
        all_imports=_resolve(ever, known, name),
    )


def cycles(graph: dict[str, frozenset[str]]) -> list[list[str]]:
    """Tarjan's strongly connected components of more than one module, largest first."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def connect(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                connect(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            connect(node)
    return sorted(found, key=len, reverse=True)


def measure(name: str, root: Path, skip: tuple[str, ...] = ()) -> tuple[Row, list[list[str]]]:
    """One code base as a row of figures, and its import cycles."""
    files = list(find_modules(root))
    known = frozenset(module for module, _ in files)
    files = [(m, p) for m, p in files if not any(fnmatch(p.name, glob) for glob in skip)]
    modules = []
    for module, path in files:
        try:
            modules.append(read_module(module, path, known))
        except (SyntaxError, tokenize.TokenError) as error:
            print(f"{name}: skipped {path.name}: {error}", file=sys.stderr)
    parsed = frozenset(m.name for m in modules)
    total = sum(m.nonblank for m in modules)
    sizes = [m.lines for m in modules if m.lines]
    lengths = [n for m in modules for n in m.function_lengths]
    found = cycles({m.name: m.imports & parsed for m in modules})
    coupled = cycles({m.name: m.all_imports & parsed for m in modules})

    def add(attribute: str) -> int:
        return sum(getattr(m, attribute) for m in modules)

    row = Row(
        name=name,
        modules=len(modules),
        nonblank=total,
        file_median=int(statistics.median(sizes)) if sizes else 0,
        file_p95=percentile(sizes, 95),
        file_max=max(sizes, default=0),
        functions=len(lengths),
        func_median=int(statistics.median(lengths)) if lengths else 0,
        func_p95=percentile(lengths, 95),
        func_max=max(lengths, default=0),
        over_50_pct=per_cent(sum(n > 50 for n in lengths), len(lengths)),
        comment_pct=per_cent(add("comment_lines"), total),
        docstring_pct=per_cent(add("docstring_lines"), total),
        documented_pct=per_cent(add("public_documented"), add("public")),
        typed_pct=per_cent(add("fully_typed"), len(lengths)),
        frozen=f"{add('frozen_dataclasses')}/{add('dataclasses')}",
        broad_excepts_per_kloc=round(1000 * add("broad_excepts") / total, 1) if total else 0.0,
        late_imports_per_kloc=round(1000 * add("late_imports") / total, 1) if total else 0.0,
        import_time_calls=add("import_time_calls"),
        cycles=len(found),
        largest_cycle=len(found[0]) if found else 0,
        largest_coupling=len(coupled[0]) if coupled else 0,
    )
    return row, found


HEADINGS = {
    "name": "code base", "modules": "files", "nonblank": "lines",
    "file_median": "file med", "file_p95": "p95", "file_max": "max",
    "functions": "funcs", "func_median": "func med", "func_p95": "p95", "func_max": "max",
    "over_50_pct": ">50 %", "comment_pct": "comment %", "docstring_pct": "docstr %",
    "documented_pct": "public doc'd %", "typed_pct": "typed %", "frozen": "frozen/data",
    "broad_excepts_per_kloc": "broad exc /k", "late_imports_per_kloc": "late imp /k",
    "import_time_calls": "import calls", "cycles": "cycles", "largest_cycle": "largest",
    "largest_coupling": "coupled",
}  # fmt: skip


def markdown(rows: list[Row]) -> str:
    """The rows as a table."""
    body = [list(HEADINGS.values()), ["---"] * len(HEADINGS)]
    body += [[str(value) for value in asdict(row).values()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in body)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("code", nargs="+", metavar="NAME=FOLDER", help="a package's own folder")
    parser.add_argument("--skip", action="append", default=[], metavar="GLOB", help="file names to leave out")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--show-cycles", action="store_true", help="name the modules in each cycle")
    options = parser.parse_args(argv)
    sys.setrecursionlimit(10_000)
    rows = []
    for item in options.code:
        name, equals, folder = item.partition("=")
        if not equals or not Path(folder).is_dir():
            parser.error(f"{item!r} is not NAME=FOLDER with a folder that exists")
        row, found = measure(name, Path(folder).resolve(), tuple(options.skip))
        rows.append(row)
        if options.show_cycles:
            for component in found:
                print(f"{name}: {' <-> '.join(component)}", file=sys.stderr)
    print("\n".join(json.dumps(asdict(r)) for r in rows) if options.json else markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
