"""Which services a project's words ask for, where it wants to have them in containers: by the usual names of images.

Only words are read: a compose file's images, what a line that calls docker names, what stands beside `testcontainers`
in a list of dependencies. What is not known by name is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SERVED_BY: Mapping[str, str] = {
    "postgres": "postgres",
    "postgresql": "postgres",
    "postgis": "postgres",
    "pgvector": "postgres",
    "timescaledb": "postgres",
    "redis": "redis",
    "valkey": "redis",
}
_PORT_OF: Mapping[str, int] = {  # those that are not served here, and where each usually listens
    "mysql": 3306,
    "mariadb": 3306,
    "mongo": 27017,
    "mongodb": 27017,
    "rabbitmq": 5672,
    "kafka": 9092,
    "elasticsearch": 9200,
    "opensearch": 9200,
    "memcached": 11211,
    "minio": 9000,
    "localstack": 4566,
    "nats": 4222,
    "cassandra": 9042,
    "clickhouse": 8123,
}
_NAMES = re.compile(rf"(?<![A-Za-z0-9])({'|'.join((*SERVED_BY, *_PORT_OF))})(?![A-Za-z0-9])", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for, each once, in the order in which it was said."""

    served: tuple[str, ...] = ()  # names for `services`
    others: Mapping[str, int] = field(default_factory=dict)  # by name, with their usual ports


def asked_for(texts: Iterable[str]) -> Asked:
    """The services that these words name."""
    names = tuple(dict.fromkeys(name for text in texts for name in _NAMES.findall(text.lower())))
    return Asked(
        served=tuple(dict.fromkeys(SERVED_BY[name] for name in names if name in SERVED_BY)),
        others={name: _PORT_OF[name] for name in names if name in _PORT_OF},
    )
