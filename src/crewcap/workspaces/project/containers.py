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
_LARGEST = 8 << 20
_TESTCONTAINERS = re.compile(rb"testcontainers", re.IGNORECASE)
_COMMAND = re.compile(r"(?:^|[\s;&|(])(docker-compose|docker|podman|nerdctl)\s", re.ASCII)
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
    why = _in_commands(commands) or _in_lists(read)
    if not why:
        return ""
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
