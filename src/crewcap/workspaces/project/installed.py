"""Which toolchains this machine has: in the folders of version managers, and on the user's PATH.

Nothing is changed and no manager is asked: their folders say what is there. Only a program that lies in none of them
is asked for its version. A folder that the user may not enter (`su` keeps root's PATH) is passed over, as shells do;
`os.access` says so where `Path.is_file` raises.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crewcap.workspaces.project.versions import Numbers, numbers_of

_ASK_S = 10.0
_SYSTEMS = "the system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One version of one tool."""

    tool: str
    version: str
    name: str  # what its manager calls it
    origin: str  # the manager, or where it lies
    folder: Path  # everything that it needs, links resolved
    programs: Path  # the folder with its programs

    @property
    def numbers(self) -> Numbers:
        """Its version, to compare."""
        return numbers_of(self.version)

    @property
    def is_systems(self) -> bool:
        """Whether it is the system's own rather than a version manager's."""
        return self.origin == _SYSTEMS

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.version} from {self.origin}"


@dataclass(frozen=True, slots=True)
class _Manager:
    name: str
    tool: str
    root: str  # variable that may name it
    usual: str  # below the home, or absolute
    versions: str  # folders of versions, below the root
    pattern: str  # of a version's name; its first group is the version
    inner: str = ""  # what is the toolchain, below the version's folder
    programs: str = "bin"


_ANY = r"v?(\d+(?:\.\d+)*.*)"
_NAMED = r"(\D.*|\d.*)"
_MANAGERS = (
    _Manager("pyenv", "python", "PYENV_ROOT", ".pyenv", "versions", _NAMED),
    _Manager("uv", "python", "UV_PYTHON_INSTALL_DIR", ".local/share/uv/python", "", r"cpython-(\d[\d.]*)[-+].*"),
    _Manager("nvm", "node", "NVM_DIR", ".nvm", "versions/node", _ANY),
    _Manager("fnm", "node", "FNM_DIR", ".local/share/fnm", "node-versions", _ANY, "installation"),
    _Manager("fnm", "node", "", ".fnm", "node-versions", _ANY, "installation"),
    _Manager("volta", "node", "VOLTA_HOME", ".volta", "tools/image/node", _ANY),
    _Manager("n", "node", "N_PREFIX", "/usr/local", "n/versions/node", _ANY),
    _Manager("nodenv", "node", "NODENV_ROOT", ".nodenv", "versions", _ANY),
    _Manager("rustup", "rust", "RUSTUP_HOME", ".rustup", "toolchains", r"(.+)"),
    _Manager("go", "go", "", "sdk", "", r"go(\d.*)"),
    _Manager("go", "go", "GOMODCACHE", "go/pkg/mod", "golang.org", r"toolchain@v[\d.]+-go(\d[\d.]*)\..*"),
    _Manager("/usr/local/go", "go", "", "/usr/local", "", r"(go)"),
    _Manager("/usr/lib", "go", "", "/usr/lib", "", r"go-(\d.*)"),
    _Manager("goenv", "go", "GOENV_ROOT", ".goenv", "versions", _ANY),
    _Manager("rbenv", "ruby", "RBENV_ROOT", ".rbenv", "versions", _NAMED),
    _Manager("sdkman", "java", "SDKMAN_DIR", ".sdkman", "candidates/java", r"(\d.*)"),
)
_OF_ALL_TOOLS = (  # their folders are named by tool, then by version
    ("asdf", "ASDF_DATA_DIR", ".asdf"),
    ("mise", "MISE_DATA_DIR", ".local/share/mise"),
)
_NAMES_THERE = {"node": ("nodejs", "node"), "go": ("golang", "go")}
_PROGRAM = {"python": "python3", "rust": "rustc"}
_VERSION_WORD = {"go": "version", "java": "-version"}


def installed(tool: str, *, user_home: Path, environ: Mapping[str, str]) -> tuple[Installed, ...]:
    """Every version of a tool that is here, the newest first; what $PATH gives is among them."""
    found: dict[Path, Installed] = {}
    for one in (*_managed(tool, user_home, environ), *_on_path(tool, user_home, environ)):
        found.setdefault(one.programs.resolve(), one)
    return tuple(sorted(found.values(), key=lambda one: one.numbers, reverse=True))


def usual(tool: str, here: tuple[Installed, ...], *, user_home: Path, environ: Mapping[str, str]) -> Installed | None:
    """The one that the user's own shell would start."""
    name = _default_name(tool, user_home, environ)
    if chosen := next((one for one in here if name and name in {one.name, one.version, f"v{one.version}"}), None):
        return chosen
    for folder in environ.get("PATH", "").split(":"):
        program = Path(folder, _PROGRAM.get(tool, tool))
        if _is_there(program) and (
            found := next((one for one in here if one.programs == program.resolve().parent), None)
        ):
            return found
    return None


def program_version(program: Path, word: str = "--version") -> str:
    """What a program says its version is; empty = nothing that looks like one."""
    try:
        done = subprocess.run(  # noqa: S603  (a program on the user's PATH; no shell)
            [program, word],
            # No home at all: rustup makes one wherever it may.
            env={"PATH": "/usr/bin:/bin", "HOME": os.devnull, "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ASK_S,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = re.search(r"\d+(?:\.\d+)+", done.stdout[:4_096].decode("utf-8", "replace"))
    return said[0] if said and done.returncode == 0 else ""


def _managed(tool: str, user_home: Path, environ: Mapping[str, str]) -> Iterator[Installed]:
    for manager in _MANAGERS:
        if manager.tool == tool:
            root = Path(environ.get(manager.root) or user_home / manager.usual)
            yield from _versions(manager, root / manager.versions)
    for name, variable, place in _OF_ALL_TOOLS:
        for called in _NAMES_THERE.get(tool, (tool,)):
            root = Path(environ.get(variable) or user_home / place)
            yield from _versions(_Manager(name, tool, "", "", "", _NAMED), root / "installs" / called)


def _versions(manager: _Manager, folder: Path) -> Iterator[Installed]:
    """The versions in a manager's folder; a link is another name of one of them, or not the manager's."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        named = re.fullmatch(manager.pattern, entry.name)
        real = entry.resolve() / manager.inner
        programs = _programs(manager.tool, real, manager.programs)
        if named and programs and not entry.is_symlink():
            version = _version(manager.tool, named[1], programs)
            yield Installed(
                tool=manager.tool, version=version, name=entry.name, origin=manager.name, folder=real, programs=programs
            )


def _programs(tool: str, folder: Path, below: str) -> Path | None:
    """Where its programs lie, if it is what its folder's name says."""
    names = {"python": ("python3", "python"), "rust": ("rustc", "cargo")}.get(tool, (tool,))
    places = (folder / below, folder / "go" / "bin") if tool == "go" else (folder / below,)
    known = tool in {*_PROGRAM, "node", "go", "ruby", "java"}
    return next(
        (
            place
            for place in places
            if any(os.access(place / name, os.F_OK) for name in names)
            or (not known and os.access(place, os.X_OK) and place.is_dir())
        ),
        None,
    )


def _version(tool: str, said: str, programs: Path) -> str:
    """The version as numbers where its name is not one: a channel of Rust, a Python that is called otherwise."""
    if tool == "go" and (written := programs.parent / "VERSION").is_file():
        return written.read_text("utf-8", "replace").split()[0].removeprefix("go")
    if re.match(r"v?\d", said):
        return said.removeprefix("v").partition("-")[0] if tool == "rust" else said.removeprefix("v")
    return program_version(programs / _PROGRAM.get(tool, tool), _VERSION_WORD.get(tool, "--version")) or said


def _on_path(tool: str, user_home: Path, environ: Mapping[str, str]) -> Iterator[Installed]:
    """Those that lie in no manager's folder. Shims are not programs: they start a manager, which is not inside."""
    roots = [Path(environ.get(m.root) or user_home / m.usual) for m in _MANAGERS if not m.usual.startswith("/")]
    roots += [Path(environ.get(variable) or user_home / place) for _, variable, place in _OF_ALL_TOOLS]
    name = _PROGRAM.get(tool, tool)
    folders = [*environ.get("PATH", "").split(":"), "/usr/local/bin", "/usr/bin"]
    for folder in dict.fromkeys(folder for folder in folders if folder.startswith("/")):
        program = Path(folder, name)
        real = program.resolve()
        if (
            real.parent.name == "shims"
            or not _is_there(program)
            or any(real.is_relative_to(root) for root in (*roots, user_home / ".cargo"))
        ):
            continue
        if version := program_version(program, _VERSION_WORD.get(tool, "--version")):
            is_system = real.is_relative_to("/usr")
            whole = real.parent.parent if real.parent.name == "bin" else real.parent
            yield Installed(
                tool=tool,
                version=version,
                name=version,
                origin=_SYSTEMS if is_system else str(whole),
                folder=whole,
                programs=program.parent if is_system else real.parent,
            )


def _is_there(program: Path) -> bool:
    return os.access(program, os.X_OK) and program.is_file()


def _default_name(tool: str, user_home: Path, environ: Mapping[str, str]) -> str:
    """What a manager was told to use where no project says otherwise."""
    place = {
        "python": Path(environ.get("PYENV_ROOT") or user_home / ".pyenv", "version"),
        "node": Path(environ.get("NVM_DIR") or user_home / ".nvm", "alias", "default"),
        "rust": Path(environ.get("RUSTUP_HOME") or user_home / ".rustup", "settings.toml"),
    }.get(tool)
    try:
        text = place.read_text("utf-8", "replace") if place else ""
    except OSError:
        return ""
    if tool == "rust":
        quoted = re.search(r'^default_toolchain\s*=\s*"([^"]+)"', text, re.MULTILINE)
        return quoted[1] if quoted else ""
    return text.split()[0] if text.split() else ""
