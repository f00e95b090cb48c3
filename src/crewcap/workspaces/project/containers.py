"""Whether a project's tests want to start containers, which cannot work in a sandbox, and what it can do instead.

There is no docker socket inside, on any rung, and there never will be: whoever reaches one is root on the machine. So
a project that needs one is told so in one line, before anything is paid, with the two ways round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from crewcap.core.services import PORTS
from crewcap.workspaces.project.images import Asked, asked_for

# Files that name what a project depends on, and how testcontainers is called there.
_LISTS = (
    *("package.json", "package-lock.json", "yarn.lock", "pnpm-lock.yaml"),
    *("pyproject.toml", "uv.lock", "poetry.lock", "Pipfile", "requirements.txt", "requirements-dev.txt"),
    *("go.mod", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "Gemfile", "composer.json"),
    *("requirements/dev.txt", "requirements/test.txt", "requirements-test.txt"),
)
_COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_LARGEST = 8 << 20
_ANY = 8080  # stands for whichever it is
_TESTCONTAINERS = re.compile(rb"testcontainers", re.IGNORECASE)
_COMMAND = re.compile(r"(?:^|[\s;&|(])(docker-compose|docker|podman|nerdctl)\s", re.ASCII)
_MADE = re.compile(r"(?:^|[\s;&|(])g?make((?:[ \t]+[\w./=-]+)*)", re.ASCII)
_SCRIPT = re.compile(r"(?:^|[\s;&|(])(?:\./)?(\w[\w.-]*(?:/[\w.-]+)*)(?=$|[\s;&|)])", re.ASCII)
_RULE = re.compile(
    r"^(?P<names>[\w.][^\n:=#\t]{0,200})::?(?!=)(?P<wants>[^\n#;=]*)"
    r"(?P<rest>[^\n]*(?:\n(?:\t[^\n]*|[ \t]*(?:#[^\n]*)?(?=\n)))*)",
    re.MULTILINE,
)
_NO_DAEMON = re.compile(rb"cannot connect to the docker daemon", re.IGNORECASE)
_IMAGE = re.compile(r"^\s*image:\s*(\S+)", re.MULTILINE)
_BESIDE = re.compile(
    r"testcontainers.{0,80}", re.IGNORECASE | re.DOTALL
)  # a module, an extra, the next line's artifact
_NAMED_FILE = re.compile(r"(?:-f|--file)[ =]([\w./-]+\.ya?ml)\b", re.ASCII)

Read = Callable[[str], bytes | None]


def wants_containers(read: Read, *, commands: Iterable[str]) -> str:
    """One line for people; empty = nothing here wants a container.

    `read` gives a file of the repository by its path, None where there is none; `commands` are setup and check.
    """
    commands = tuple(commands)
    why = _in_commands(commands) or _in_called(read, commands) or _in_lists(read) or _in_compose(read)
    return _line(why, asked_for(_words(read, commands))) if why else ""


def wanted_containers(said: bytes) -> str:
    """The same line, for a command that failed for want of them; empty = it says nothing of the kind."""
    return _line("it found no Docker daemon", asked_for([_text(said)])) if _NO_DAEMON.search(said) else ""


def _line(why: str, asked: Asked) -> str:
    return f"{why}, and containers cannot be started inside (there is no docker socket): {_way_round(asked)}"


def _way_round(asked: Asked) -> str:
    """Services where we have what is asked for; ports for what we have not, and for what nobody named."""
    served = ", ".join(f'"{name}"' for name in asked.served)
    them = "it" if len(asked.others) == 1 else "them"
    by_hand = f"start {' and '.join(asked.others)} yourself and let {them} in with {_ports(*asked.others.values())}"
    if served and asked.others:
        return f"use services = [{served}], {by_hand}"
    if served:
        first = PORTS[asked.served[0]]
        return f"use services = [{served}], or start them yourself and let them in with {_ports(first)}"
    if asked.others:
        return by_hand
    return f"start what they hold yourself and let it in by its port, such as {_ports(_ANY)}"


def _ports(*ports: int) -> str:
    led = ", ".join(f'{port} = "127.0.0.1:{port}"' for port in ports)
    return f"ports = {{ {led} }}"


def _words(read: Read, commands: Iterable[str]) -> Iterator[str]:
    """What is said of the containers that are wanted."""
    called = [_text(read(path)) for command in commands for path in dict.fromkeys(_SCRIPT.findall(command))]
    for text in (*commands, *called, *(_text(read(path)) for path in _MAKEFILES)):
        yield from (line for line in text.replace("\\\n", " ").splitlines() if _COMMAND.search(f"{line} "))
    named = (path for text in (*commands, *called) for path in _NAMED_FILE.findall(text))
    for path in dict.fromkeys((*_COMPOSE, *named)):
        yield from _IMAGE.findall(_text(read(path)))
    for path in _LISTS:
        yield from _BESIDE.findall(_text(read(path)))


def _in_commands(commands: Iterable[str]) -> str:
    for command in commands:
        if found := _COMMAND.search(f"{command} "):
            return f"`{command[:60]}` calls {found[1]}"
    return ""


def _in_called(read: Read, commands: Iterable[str]) -> str:
    """Scripts of the repository that a command names, and what `make` does for it."""
    for command in commands:
        for path in dict.fromkeys(_SCRIPT.findall(command)):
            if found := _COMMAND.search(_text(read(path)) + " "):
                return f"{path} calls {found[1]}"
        for words in _MADE.findall(command):
            if why := _in_makefile(read, words.split()):
                return why
    return ""


def _in_makefile(read: Read, words: list[str]) -> str:
    """Recipes of the goals that are made, and of what these want in turn."""
    path, text = next(((path, _text(content)) for path in _MAKEFILES if (content := read(path))), ("", ""))
    rules = [(rule["names"].split(), rule["wants"].split(), rule["rest"]) for rule in _RULE.finditer(text)]
    usual = next((names[0] for names, _, _ in rules if not names[0].startswith(".")), "")
    goals = [word for word in words if "=" not in word and not word.startswith("-")] or [usual]
    for goal in goals:  # what they want comes in behind them
        for names, wants, rest in rules:
            if goal in names:
                if found := _COMMAND.search(re.sub(r"\n\t[@-]*", "\n", rest) + " "):
                    return f"`make {goal}` in {path} calls {found[1]}"
                goals += [want for want in wants if want not in goals]
    return ""


def _in_compose(read: Read) -> str:
    path = next((path for path in _COMPOSE if read(path) is not None), "")
    return f"{path} describes containers" if path else ""


def _text(content: bytes | None) -> str:
    return (content or b"")[:_LARGEST].decode("utf-8", "replace")


def _in_lists(read: Read) -> str:
    for path in _LISTS:
        content = read(path)
        if content and _TESTCONTAINERS.search(content[:_LARGEST]):
            return f"{path} names testcontainers"
    return ""
