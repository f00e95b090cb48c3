"""Whether a project's tests want to start containers, which cannot work in a sandbox, and what it can do instead.

There is no docker socket inside, on any rung, and there never will be: whoever reaches one is root on the machine. So
a project that needs one is told so in one line, before anything is paid, with the two ways round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from crewcap.core.services import PORTS

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
_IMAGE = re.compile(rb"^\s*image:\s*[\"']?(?:[\w.-]+/)*([\w-]+)", re.MULTILINE)
_SERVED_BY = {
    "postgres": "postgres",
    "postgis": "postgres",
    "pgvector": "postgres",
    "redis": "redis",
    "valkey": "redis",
}

Read = Callable[[str], bytes | None]


def wants_containers(read: Read, *, commands: Iterable[str]) -> str:
    """One line for people; empty = nothing here wants a container.

    `read` gives a file of the repository by its path, None where there is none; `commands` are setup and check.
    """
    commands = tuple(commands)
    why = _in_commands(commands) or _in_called(read, commands) or _in_lists(read) or _in_compose(read)
    return _line(why, read) if why else ""


def wanted_containers(said: bytes) -> str:
    """The same line, for a command that failed for want of them; empty = it says nothing of the kind."""
    return _line("it found no Docker daemon", lambda _: None) if _NO_DAEMON.search(said) else ""


def _line(why: str, read: Read) -> str:
    services = _served(read) or tuple(PORTS)[:1]
    named = ", ".join(f'"{name}"' for name in services)
    port = PORTS[services[0]]
    return (
        f"{why}, and containers cannot be started inside (there is no docker socket): use services = [{named}],"
        f' or start them yourself and let them in with ports = {{ {port} = "127.0.0.1:{port}" }}'
    )


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


def _served(read: Read) -> tuple[str, ...]:
    """Which of a compose file's images we can serve ourselves."""
    contents = (read(path) for path in _COMPOSE)
    images = [name.decode("ascii", "replace") for content in contents if content for name in _IMAGE.findall(content)]
    return tuple(dict.fromkeys(_SERVED_BY[image] for image in images if image in _SERVED_BY))
