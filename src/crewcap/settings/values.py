"""How one value is written in a settings file, and what to say when it is written otherwise.

Each `read_...` takes what the TOML parser gave and returns a value of the core, or raises `Wrong` with the right
spelling. `Wrong` never carries a text that looks like a secret: `quoted` is the only way a value gets into a message.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from crewcap.core.budget import Scope, ScopeError, parse_scope
from crewcap.core.hours import Hours
from crewcap.core.money import Money, MoneyError
from crewcap.core.notices import WISHES, parse_wish
from crewcap.core.scrub import looks_secret
from crewcap.settings.keysource import KeySource

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_DURATION = re.compile(r"(?:(?P<d>\d{1,4})d)?(?:(?P<h>\d{1,5})h)?(?:(?P<m>\d{1,6})m)?(?:(?P<s>\d{1,8})s)?\Z", re.ASCII)
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST_S = 30 * 86_400
_LONGEST_KEPT_S = 365 * 86_400
_HIGHEST_PRIORITY = 100
_MOST_SLOTS = 1_000
_MOST_OFFERS = 4
_SIZE = re.compile(r"(?P<n>\d{1,6})\s?(?P<unit>[MGT])i?B?\Z", re.ASCII)
_SIZES = {"T": 1 << 40, "G": 1 << 30, "M": 1 << 20}
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,253}):(?P<port>\d{1,5})\Z", re.ASCII)
_HIGHEST_PORT = 65_535
_PERCENT = re.compile(r"(?P<n>\d{1,3})\s?%\Z", re.ASCII)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/\[\]-]{0,127}\Z", re.ASCII)
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}\Z", re.ASCII)
STORE_WORDS = (  # what asyncpg reads in an address, but for passwords
    "host", "port", "user", "dbname", "database", "passfile", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl",
    "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname",
)  # fmt: skip
SOURCE_HELP = 'name where it is kept: { env = "NAME" }, { file = "/path" } or { command = ["pass", "show", "name"] }'


class Wrong(ValueError):
    """A value is not written as it should be; `help` is the right spelling."""

    def __init__(self, message: str, help: str = "") -> None:  # noqa: A002  (the word that users read)
        super().__init__(message)
        self.message = message
        self.help = help


class Written(Decimal):
    """A TOML float as it was written: exact, and it remembers an exponent."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Take the parser's text; no binary float is ever made of it."""
        made = super().__new__(cls, text)
        made.text = text
        return made


def quoted(value: object) -> str:
    """A value as a message may show it: short, on one line, and never a secret."""
    match value:
        case str() if looks_secret(value) or re.search(r"[A-Za-z0-9_+/=-]{24,}", value):
            text = "a value that is not shown here"
        case str():
            plain = "".join(letter if letter.isprintable() else "?" for letter in value)
            text = f'"{plain[:40]}..."' if len(plain) > 40 else f'"{plain}"'
        case bool():
            text = str(value).lower()
        case Written():
            text = value.text[:40]
        case int() | Decimal():
            text = str(value)[:40]
        case dict():
            text = "a table"
        case list():
            text = "a list"
        case _:
            text = f"a {type(value).__name__}"
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def read_money(value: Any) -> Money:
    """`25`, `25.00` or `"25.00"`."""
    if isinstance(value, Money):
        return value
    if isinstance(value, Written):
        _refuse_odd_number(value)
    if isinstance(value, (bool, dict, list)):
        raise Wrong(f"{quoted(value)} is not an amount of money", "write it as 25.00")
    try:
        return Money.usd(value)
    except MoneyError as error:
        message, _, hint = str(error).partition("; ")
        if isinstance(value, str) and (looks_secret(value) or len(value) > 24):
            message = "this is not an amount of money"
        raise Wrong(message, _hint(hint)) from None


def show_money(amount: Money) -> str:
    """An amount as a settings file writes it: `5.00`."""
    whole, _, part = amount.exact().partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def read_cap(value: Any) -> Money:
    """Money that a run or an issue may cost; zero would refuse everything."""
    amount = read_money(value)
    if not amount:
        raise Wrong(
            "a cap of 0 refuses every request",
            "give what it may cost at most, such as 5.00; to close a scope, give it a budget of 0",
        )
    return amount


def read_count(value: Any) -> int:
    """A whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**53:
        raise Wrong(f"{quoted(value)} is not a whole number above 0", _whole(value))
    return value


def _whole(value: Any) -> str:
    """An example of the size that was meant: a part of one is asked of what is counted in few, as `cpus` are."""
    return "write it as 1, 2 or 3" if isinstance(value, Decimal) and abs(value) < 1 else "write it as 40 or 200_000"


def read_attempts(value: Any) -> int:
    """How often something may be tried again: 0 to 10."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10:
        raise Wrong(f"{quoted(value)} is not a whole number from 0 to 10", "write it as 2")
    return value


def read_duration(value: Any, *, most_s: int = _LONGEST_S) -> int:
    """`"45m"`, `"90s"`, `"2h"`, `"1h30m"`, `"14d"`: whole seconds."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        number = value.text if isinstance(value, Written) else str(value)
        raise Wrong(f"{number} has no unit", f'write it as "{number}m", "{number}s" or "{number}h"')
    if not isinstance(value, str):
        raise Wrong(f"{quoted(value)} is not a duration", 'write it as "45m"')
    match = _DURATION.match(value.strip())
    seconds = sum(int(count) * _UNITS[unit] for unit, count in match.groupdict().items() if count) if match else 0
    if not 0 < seconds <= most_s:
        hint = f'write it as "{value.strip()}m"' if value.strip().isdigit() else 'write it as "45m", "90s" or "1h30m"'
        problem = (
            "has no unit" if value.strip().isdigit() else f"is not a duration (above 0, at most {most_s // 86_400}d)"
        )
        raise Wrong(f"{quoted(value)} {problem}", hint)
    return seconds


def read_keeping(value: Any) -> int:
    """How long something is kept: as a duration, up to a year."""
    return read_duration(value, most_s=_LONGEST_KEPT_S)


def show_duration(seconds: int) -> str:
    """The shortest spelling that `read_duration` reads back."""
    parts = []
    for unit, size in _UNITS.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def read_size(value: Any, *, least_m: int = 64) -> int:
    """`"8G"`, `"512M"`: bytes, in powers of 1,024; at least 64M."""
    match = _SIZE.match(value.strip()) if isinstance(value, str) else None
    size = int(match["n"]) * _SIZES[match["unit"]] if match else 0
    if not least_m * _SIZES["M"] <= size < 1 << 50:
        raise Wrong(f"{quoted(value)} is not a size (at least {least_m}M)", 'write it as "8G" or "512M"')
    return size


def read_file_size(value: Any) -> int:
    """As large as a file may become: at least 1M."""
    return read_size(value, least_m=1)


def show_size(size: int) -> str:
    """The shortest spelling that `read_size` reads back."""
    unit = next(unit for unit, step in _SIZES.items() if size % step == 0)
    return f"{size // _SIZES[unit]}{unit}"


def read_ports(value: Any) -> Mapping[int, str]:
    """`{ 5432 = "127.0.0.1:5432" }`: a port inside -> the one named host and port that it leads to."""
    if not isinstance(value, Mapping):
        raise Wrong(f"{quoted(value)} is not a table of ports", 'write it as { 5432 = "127.0.0.1:5432" }')
    return {_port(inside): _address(target) for inside, target in value.items()}


def _port(value: Any) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= _HIGHEST_PORT:
        raise Wrong(f"{quoted(value)} is not a port", 'write it as { 5432 = "127.0.0.1:5432" }')
    return int(text)


def _address(value: Any) -> str:
    match = _ADDRESS.match(value) if isinstance(value, str) else None
    if match is None or not 0 < int(match["port"]) <= _HIGHEST_PORT:
        raise Wrong(f"{quoted(value)} is not a host and a port", 'write it as "127.0.0.1:5432"')
    return str(value)


def read_share(value: Any) -> int:
    """`"50%"`: a whole percentage from 1 to 100."""
    match = _PERCENT.match(value.strip()) if isinstance(value, str) else None
    if match is None or not 1 <= int(match["n"]) <= 100:
        hint = f'write it as "{value}%"' if isinstance(value, int) and 1 <= value <= 100 else 'write it as "50%"'
        raise Wrong(f"{quoted(value)} is not a share from 1% to 100%", hint)
    return int(match["n"])


def show_share(percent: int) -> str:
    """A share as a settings file writes it."""
    return f"{percent}%"


def read_scope(value: str) -> Scope:
    """`all`, or a kind and a name: `team:core`."""
    try:
        return parse_scope(value)
    except ScopeError as error:
        message, _, hint = str(error).partition("; ")
        raise Wrong(message if not looks_secret(value) else "this is not a scope", hint) from None


def read_zone(value: Any) -> str:
    """A time zone's name, as the tz database has it."""
    if not isinstance(value, str):
        raise Wrong(f"{quoted(value)} is not a time zone", 'write it as "Europe/Berlin"')
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(value, sorted(available_timezones()), n=1)
        hint = f'did you mean "{near[0]}"?' if near else 'write it as "Europe/Berlin" or "UTC"'
        raise Wrong(f"{quoted(value)} is not a time zone", hint) from None
    return value


def read_base_url(value: Any) -> str:
    """Where a provider's requests go: https, or http to this machine alone; nothing in it but host, port and path."""
    if not isinstance(value, str):
        raise Wrong(f"{quoted(value)} is not an address", 'write it as "https://api.anthropic.com"')
    parts = _split_url(value)
    if "@" in parts.netloc:
        raise Wrong("the address carries a user name or a password", "keep secrets in `key`, not in the address")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise Wrong("the address carries a query or a fragment", "end it after the path")
    if any(part in {"..", "."} for part in re.split(r"[/\\]|%2f|%5c", parts.path.lower().replace("%2e", "."))):
        raise Wrong("the address's path goes up ('..')", "write the path that is meant")
    host = (parts.hostname or "").lower()
    if not host.isascii():
        ascii_name = _punycode(host)
        raise Wrong("the host's name is not plain ASCII", f"write it as {ascii_name} if that is what you mean")
    if parts.scheme == "http" and not is_loopback(host):
        raise Wrong(
            "plain http would send the provider's key in the clear", f"use https://{host} (http: loopback only)"
        )
    return value.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_store_url(value: Any) -> str:
    """`postgresql://host/database`, without a password."""
    if not isinstance(value, str) or not value.startswith(("postgresql://", "postgres://")):
        scheme = value.partition(":")[0] if isinstance(value, str) else value  # the rest may hold a password
        raise Wrong(f"{quoted(scheme)} is not a store", 'write it as "postgresql://host/database", or leave it out')
    parts = _split_url(value, schemes=("postgresql", "postgres"), wants_host="host=" not in value)
    words = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.password or {"password", "sslpassword"} & words.keys():
        raise Wrong("the store's address carries a password", "keep it in ~/.pgpass or $PGPASSWORD")
    for word in words:
        if word not in STORE_WORDS:
            near = nearest(word, STORE_WORDS)
            raise Wrong(
                f"the store's address says {quoted(word)}, which means nothing here",
                f"did you mean {near}?" if near else f"it may say {', '.join(STORE_WORDS)}",
            )
    if parts.fragment or "#" in value:
        raise Wrong("the store's address carries a fragment", "end it before the #")
    return value


def read_source(value: Any) -> KeySource:
    """`{ env = "NAME" }`, `{ file = "/path" }` or `{ command = ["pass", "show", "name"] }`; never the secret itself."""
    if isinstance(value, KeySource):
        return value
    if isinstance(value, str):
        raise Wrong("a secret may not stand in a settings file (its value is not shown here)", SOURCE_HELP)
    if not isinstance(value, dict) or len(value) != 1:
        raise Wrong("a secret's source is a table with one key", SOURCE_HELP)
    kind, where = next(iter(value.items()))
    if kind not in {"env", "file", "command"}:
        raise Wrong(f"there is no source {quoted(kind)}", SOURCE_HELP)
    if kind == "command":
        return KeySource("command", _read_command(where))
    if not isinstance(where, str) or not where:
        raise Wrong(f"`{kind}` wants a text", SOURCE_HELP)
    if looks_secret(where):
        raise Wrong(f"`{kind}` holds what looks like the secret itself (its value is not shown here)", SOURCE_HELP)
    if kind == "env" and not _VARIABLE.match(where):
        raise Wrong("this is not the name of an environment variable", 'write it as { env = "ANTHROPIC_API_KEY" }')
    return KeySource("env" if kind == "env" else "file", where)


def read_model(value: Any) -> str:
    """A model's short name or id; which ones have a price is the price book's affair."""
    if not isinstance(value, str) or not _MODEL.match(value) or looks_secret(value):
        raise Wrong(f"{quoted(value)} is not a model's name", 'write it as "sonnet" or "claude-sonnet-4-5"')
    return value


def read_text(value: Any) -> str:
    """One text without control characters other than tab and newline."""
    if not isinstance(value, str):
        raise Wrong(f"{quoted(value)} is not a text", 'write it between quotes: "..."')
    if any(ord(letter) < 32 and letter not in "\t\n" for letter in value):
        raise Wrong("the text holds control characters", "remove them")
    return value


def read_user(value: Any) -> str:
    """A user's name, as it stands in the scope `user:NAME`."""
    wrong = Wrong(f"{quoted(value)} is not a user's name", 'write it as "ana"')
    if not isinstance(value, str) or "@" in value:
        raise wrong
    try:
        return read_scope(f"user:{value}").removeprefix("user:")
    except Wrong:
        raise wrong from None


def read_texts(value: Any) -> tuple[str, ...]:
    """A list of texts; one text alone is a list of one."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise Wrong(f"{quoted(value)} is not a list of texts", 'write it as ["one", "two"]')
    return tuple(read_text(item) for item in items)


def read_wishes(value: Any) -> tuple[str, ...]:
    """What somebody wants to be told: `waiting`, `budget 80%`; at least one."""
    words = read_texts(value)
    for word in words:
        try:
            parse_wish(word)
        except ValueError:
            near = nearest(word, WISHES)
            hint = f'did you mean "{near}"?' if near else f"there is {', '.join(WISHES)}"
            raise Wrong(f"{quoted(word)} is nothing that can be told", hint) from None
    if not words:
        raise Wrong("nothing is to be told", 'write it as ["waiting", "failed", "budget 80%"]')
    return words


def read_inner_paths(value: Any) -> tuple[str, ...]:
    """Paths (or globs) inside a repository: relative, never upward, never into .git."""
    paths = read_texts(value)
    for path in paths:
        parts = path.replace("\\", "/").split("/")
        if not path or path.startswith(("/", "~")) or ".." in parts or parts[0].lower() == ".git":
            raise Wrong(f"{quoted(path)} leads out of the repository", 'write a path inside it: "config/test.env"')
    return paths


def read_host(value: Any) -> str:
    """A host's name, with at most a leading `*.`; no address, no port, no scheme."""
    text = value.lower().rstrip(".") if isinstance(value, str) else value
    if not isinstance(text, str) or not _HOST.match(text) or len(text) > 253:
        hint = 'a named list (python, npm, rust, go, debian) or a host\'s name: "pypi.example.com"'
        raise Wrong(f"{quoted(value)} is not a host's name", hint)
    return text


def read_hours(value: Any) -> Hours:
    """`"22:00-07:00"`."""
    if isinstance(value, Hours):
        return value
    try:
        return Hours.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise Wrong(f"{quoted(value)} {error}", 'write it as "22:00-07:00"') from None


def read_priority(value: Any) -> int:
    """How early a run has its turn: -100 to 100."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _HIGHEST_PRIORITY:
        raise Wrong(
            f"{quoted(value)} is not a whole number from -100 to 100", "write it as 10; 0 is usual, more is first"
        )
    return value


def read_slots(value: Any) -> int:
    """How many runs at once: 0 to 1,000; 0 is no limit."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_SLOTS:
        raise Wrong(f"{quoted(value)} is not a whole number from 0 to 1000", "write it as 4; 0 = no limit")
    return value


def read_offers(value: Any) -> tuple[Money, ...]:
    """Amounts that are offered to a run at its cap, the smallest first: `[2, 5]`."""
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= _MOST_OFFERS:
        raise Wrong(f"{quoted(value)} is not a list of one to four amounts", "write it as [2.00, 5.00]")
    return tuple(sorted({read_cap(amount) for amount in value}))


def read_listen(value: Any) -> str:
    """`"127.0.0.1:8787"`, `"[::1]:8787"`; port 0 takes a free one."""
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    is_v6 = host.startswith("[") and host.endswith("]")
    try:
        is_host = bool(ipaddress.ip_address(host[1:-1] if is_v6 else host)) and is_v6 == (":" in host)
    except ValueError:
        is_host = host == "localhost"
    if not is_host or not port.isascii() or not port.isdecimal() or int(port[:6]) > _HIGHEST_PORT:
        raise Wrong(f"{quoted(value)} is not an address of this machine and a port", 'write it as "127.0.0.1:8787"')
    return str(value)


def _hint(text: str) -> str:
    return "write an amount above 0, such as 5.00" if text == "it cannot be negative" else text


def _refuse_odd_number(value: Written) -> None:
    if not value.is_finite():
        raise Wrong(f"{value.text} is not an amount of money", "write it as 25.00")
    if "e" in value.text.lower():
        plain = format(value, "f") if abs(value.adjusted()) < 12 else "25.00"  # a million digits are no help
        raise Wrong(f"{quoted(value)} has an exponent", f"write it as {plain}")


def _split_url(value: str, schemes: tuple[str, ...] = ("https", "http"), *, wants_host: bool = True) -> Any:
    if any(letter.isspace() or not letter.isprintable() for letter in value):
        raise Wrong("the address holds a space or a control character", "remove it")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise Wrong("the address's host or port is not one", "a port is a number from 1 to 65535") from None
    if parts.scheme not in schemes or (wants_host and not parts.hostname):
        raise Wrong(f"the address does not start with {schemes[0]}:// and a host", f'write it as "{schemes[0]}://..."')
    if port == 0:
        raise Wrong("the address's port is 0", "a port is a number from 1 to 65535")
    return parts


def _punycode(host: str) -> str:
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return "its ASCII form"


def _read_command(where: Any) -> tuple[str, ...]:
    if isinstance(where, str):
        words = (
            ", ".join(f'"{word}"' for word in where.split()) if not looks_secret(where) else '"pass", "show", "name"'
        )
        raise Wrong("`command` wants a list of words (no shell is used)", f"write it as {{ command = [{words}] }}")
    if not isinstance(where, list) or not where or not all(isinstance(word, str) and word for word in where):
        raise Wrong("`command` wants a list of words", 'write it as { command = ["pass", "show", "name"] }')
    return tuple(where)
