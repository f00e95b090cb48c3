"""Which of this machine's toolchains a project wants, and how they are shown inside.

The rule. What the project's files ask for at the base commit is looked for among what the machine has; the narrowest
folder that works is shown, read-only, at its own path, so that nothing inside can change it for the next run. Whatever
pip, npm, cargo and go want to write goes below the run's own home.

A version file that pins a version gets the newest that fits it, a version manager's before the system's; a range gets
the one that the user's own shell would start, if it fits, else the same. What is not here is said, with what is here
and what stands in for it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import SettingsError
from crewcap.workspaces import Fittings, Mount
from crewcap.workspaces.project.executables import find_needs
from crewcap.workspaces.project.installed import Installed, installed, program_version, usual
from crewcap.workspaces.project.shown import refuse_secret, shown
from crewcap.workspaces.project.versions import Spec
from crewcap.workspaces.project.wanted import Want, programs, wants

_SYSTEM = ("/usr/local/bin", "/usr/bin", "/bin")  # on every sandbox's $PATH
_HOW = {
    "python": "uv python install {0}, or pyenv install {0}",
    "node": "nvm install {0}",
    "rust": "rustup toolchain install {0}",
    "go": "go install golang.org/dl/go{0}@latest && go{0} download",
}
_MANAGER_ROOTS = {
    "python": (".pyenv",),
    "node": (".nvm", ".fnm", ".volta"),
    "rust": (".rustup", ".cargo"),
    "go": ("sdk",),
}


def find_toolchains(
    read: Callable[[str], bytes | None],
    *,
    user_home: Path,
    home: str,
    tools: Sequence[str],
    environ: Mapping[str, str],
    forbidden: Sequence[Path] = (),
) -> Fittings:
    """What the project's files ask for, of what is here. It blocks.

    `read` gives a file of the project at its base commit, `home` is the run's own as seen inside, `environ` is the
    user's (its PATH is looked at), `forbidden` are folders that no `tools` may hold or lie in (the state directory).
    """
    machine = _Machine(user_home=user_home, environ=environ)
    named = [named_folder(text, user_home=user_home, forbidden=forbidden) for text in tools]
    asked = wants(read)
    asked += tuple(
        Want(tool, "tools")
        for tool, roots in _MANAGER_ROOTS.items()
        if tool not in {want.tool for want in asked} and any(user_home / root in named for root in roots)
    )
    fitted = Fittings(environ=_writable(home), path=_own_programs(home))
    for want in asked:
        fitted += machine.fit(want)
    for want in programs(read):
        fitted += machine.fit_program(want, beside=fitted.path)
    for folder in named:
        fitted += _shown(folder)
    return _once(fitted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """Where this user's tools are."""

    user_home: Path
    environ: Mapping[str, str]

    def fit(self, want: Want) -> Fittings:
        """The versions of one tool."""
        here = installed(want.tool, user_home=self.user_home, environ=self.environ)
        if not here and want.source == "tools":
            return Fittings()
        mine = usual(want.tool, here, user_home=self.user_home, environ=self.environ)
        fitted = Fittings()
        for spec in want.specs or (None,):
            fitted += self._fit_version(want, spec, here, mine)
        return fitted

    def fit_program(self, want: Want, *, beside: Sequence[str]) -> Fittings:
        """A single program, wherever the user has it; one that a fitted toolchain has beside it is there already."""
        places = (self.environ.get("PATH", ""), str(self.user_home / ".local/bin"), str(self.user_home / ".cargo/bin"))
        others = (str(self.user_home / ".bun/bin"), str(self.user_home / ".deno/bin"), *_SYSTEM)
        found = shutil.which(want.tool, path=":".join((*beside, *places, *others)))
        if found is None:
            return Fittings(said=(f"wanted {want.tool} ({want.source}): it is not on this machine",))
        program = Path(found)
        real, folder = program.resolve(), str(program.parent)
        if folder in beside or (real.is_relative_to("/usr") and folder in _SYSTEM):
            return Fittings(said=(self._program_said(want, program),))
        needs = find_needs(real, environ=self.environ)
        mount = Mount(source=real, target=found)
        itself = Fittings(mounts=(mount,), path=(folder,), said=(self._program_said(want, program),))
        return itself + Fittings(mounts=needs.mounts, path=needs.path)

    def _fit_version(
        self, want: Want, spec: Spec | None, here: tuple[Installed, ...], mine: Installed | None
    ) -> Fittings:
        chosen = _choose(spec, here, mine)
        if chosen is not None:
            return self._show(chosen) + Fittings(said=(f"{want.tool} {chosen.title} ({want.source})",))
        wanted = f"wanted {want.tool}{f' {spec.text}' if spec else ''} ({want.source}): not on this machine"
        exact = _HOW.get(want.tool, "") if spec and spec.is_pinned else ""
        install = exact.format(spec.text) if spec and exact else "install one that fits"
        versions = ", ".join(one.title for one in here) or "none"
        stand_in = _nearest(spec, here)
        if stand_in is None:
            return Fittings(said=(f"{wanted}; here: {versions}; {install}",))
        instead = Fittings(said=(f"{wanted}; {stand_in.title} stands in for it; {install}",))
        return self._show(stand_in) + instead

    def _show(self, chosen: Installed) -> Fittings:
        if str(chosen.programs) in _SYSTEM:
            return Fittings()
        extra = self._cargo() if chosen.tool == "rust" else Fittings()
        environ = {"GOTOOLCHAIN": "local"} if chosen.tool == "go" else {}
        return Fittings(mounts=shown(chosen.folder), path=(str(chosen.programs),), environ=environ) + extra

    def _cargo(self) -> Fittings:
        """Programs that the user installed with cargo; beside them lie cargo's credentials."""
        programs = Path(self.environ.get("CARGO_HOME") or self.user_home / ".cargo") / "bin"
        return Fittings(mounts=shown(programs), path=(str(programs),)) if os.access(programs, os.X_OK) else Fittings()

    def _program_said(self, want: Want, program: Path) -> str:
        version = program_version(program.resolve()) if not _is_script(program) else ""
        return f"{want.tool}{f' {version}' if version else ''} from {program} ({want.source})"


def _choose(spec: Spec | None, here: tuple[Installed, ...], mine: Installed | None) -> Installed | None:
    """The one that a project gets."""
    fits = [one for one in here if spec is None or spec.admits(one.version, name=one.name)]
    if mine in fits and (spec is None or not spec.is_pinned):
        return mine
    return next((one for one in fits if not one.is_systems), fits[0] if fits else None)


def _nearest(spec: Spec | None, here: tuple[Installed, ...]) -> Installed | None:
    """Another patch release of the version that was pinned."""
    line = spec.line[:2] if spec else ()
    return next((one for one in here if len(line) > 1 and one.numbers[: len(line)] == line), None)


def _writable(home: str) -> Mapping[str, str]:
    """Where tools write: never beside the toolchain, always below the run's own home."""
    return {
        "PIP_CACHE_DIR": f"{home}/.cache/pip",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "UV_CACHE_DIR": f"{home}/.cache/uv",
        "UV_LINK_MODE": "copy",  # home and workspace are two mounts, across which there are no hard links
        "npm_config_cache": f"{home}/.npm",
        "npm_config_prefix": f"{home}/.local",
        "npm_config_update_notifier": "false",
        "npm_config_fund": "false",
        "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
        "CARGO_HOME": f"{home}/.cargo",
        "GOPATH": f"{home}/go",
        "GOMODCACHE": f"{home}/go/pkg/mod",
        "GOCACHE": f"{home}/.cache/go-build",
        "GOFLAGS": "-modcacherw",  # folders without the right to write cannot be removed with the run
    }


def _own_programs(home: str) -> tuple[str, ...]:
    """Where those tools put programs that a project installs."""
    return (f"{home}/.local/bin", f"{home}/.cargo/bin", f"{home}/go/bin")


def named_folder(text: str, *, user_home: Path, forbidden: Sequence[Path]) -> Path:
    """A folder of `tools`; `SettingsError` where no run may see it, or nobody can."""
    path = Path(os.path.normpath(user_home / text[2:] if text.startswith("~/") else text))
    if text == "~":
        path = user_home
    if not path.is_absolute():
        raise SettingsError(f"tools: {text!r} is no absolute path", help='write it like "~/.nvm" or "/opt/go"')
    refuse_secret(path, user_home=user_home, forbidden=forbidden, said=text)
    if not os.access(path, os.R_OK):
        raise SettingsError(
            f"tools: {text} is not on this machine, or not yours to read", help="install it, or take it out of tools"
        )
    return path


def _shown(path: Path) -> Fittings:
    """A folder of `tools`, and its programs on $PATH."""
    folders = (path.parent,) if path.is_file() else (path / "bin", path / "shims", path)
    enterable = [folder for folder in folders if os.access(folder, os.R_OK | os.X_OK) and folder.is_dir()]
    has_programs = [folder for folder in enterable if _has_programs(folder)]
    return Fittings(mounts=shown(path), path=tuple(map(str, has_programs)), said=(f"{path} is shown inside (tools)",))


def _has_programs(folder: Path) -> bool:
    return any(os.access(entry, os.X_OK) and entry.is_file() for entry in folder.iterdir())


def _is_script(program: Path) -> bool:
    try:
        with program.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def _once(fitted: Fittings) -> Fittings:
    """Each mount, folder and sentence once, in the order in which they came."""
    return Fittings(
        mounts=tuple(dict.fromkeys(fitted.mounts)),
        environ=fitted.environ,
        path=tuple(dict.fromkeys(fitted.path)),
        said=tuple(dict.fromkeys(fitted.said)),
    )
