r"""The filter for secrets: takes the values that we know, however they are spelt, out of every text that we write.

A secret that a program inside was given can come back in its output, its files, its commits. What is looked for:

    the value         letter by letter, each as itself or as URLs (%2F), JSON and code (\/ \u002f \x2f), HTML (&#47;)
                      spell it; broken over lines or spaced out; backwards; in other case; without its first 7 letters
    base64, base32    at every offset, both alphabets, with or without line breaks
    numbers           hexadecimal and decimal, with what is usually written between them
    ROT13
    what looks like   a key of a known vendor, a private key, a password in an address, whoever's it is

It catches accidents and lazy tricks, and is no wall: who knows a secret can always spell it in a way that nobody
foresaw. So none that matters is given to an agent, and this is the second line.

All of it is one regular expression, built so that no letter can be taken in two ways: what may stand between two
letters never contains the next one. Matching is therefore linear in the length of the text.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

Bytes: TypeAlias = bytes  # the type, where a method has taken its name
REMOVED = "[secret removed]"
SHORTEST = 6  # a shorter value would take ordinary words out of every text
_CUT = 7  # "sk-ant-", "ghp_": what tells a key from noise, and is cut off to hide it
_CAREFUL = 12  # a shorter value is looked for less freely, or it would be found where it is not
_MOST_GAP = 5
_LONGEST_ATOM = 6  # \u0041, &quot;
_LONGEST_BLOCK = 8_000  # a private key; one of RSA with 8,192 bits has 6,400

_GAPS = " \t\r\n-_.,|+'\""  # between letters that somebody spaced out, wrapped or put together in code
_BREAKS = rf"(?:[ \t\r\n]|\\[rn]){{0,{_MOST_GAP}}}"  # inside of base64, also where JSON wrote the line's end
_APART = " \t\r\n:,;-0xX\\u%&#[]()"  # between numbers
_HTML = {"&": "amp;", "<": "lt;", ">": "gt;", '"': "quot;", "'": "apos;"}


@dataclass(frozen=True, slots=True)
class _Token:
    """How a vendor's keys look: its beginning, the letters that follow, and how many there are at least."""

    start: str
    letters: str
    least: int
    pasted: int = 0  # so many of them are enough to say that somebody pasted one


_TOKENS = (
    _Token(r"sk-(?:ant|proj|or|svcacct)-", r"[A-Za-z0-9_-]", 10),
    _Token(r"(?<![A-Za-z])sk-", r"[A-Za-z0-9_-]", 16, 20),  # not the end of disk-, task-, risk-
    _Token(r"ccap-", r"[A-Za-z0-9_-]", 16),
    _Token(r"gh[pousr]_", r"[A-Za-z0-9]", 20),
    _Token(r"github_pat_", r"[A-Za-z0-9_]", 20),
    _Token(r"glpat-", r"[A-Za-z0-9_-]", 16),
    _Token(r"lin_api_", r"[A-Za-z0-9]", 16),
    _Token(r"xox[a-z]-", r"[A-Za-z0-9-]", 10),
    _Token(r"AIza", r"[A-Za-z0-9_-]", 30, 10),
    _Token(r"(?<![A-Za-z0-9])A(?:KIA|SIA)", r"[0-9A-Z]", 16, 12),
)
_KEYS = re.compile(
    "|".join(f"{token.start}{token.letters}{{{token.least},1024}}" for token in _TOKENS)
    + r"|(?<![\w-])eyJ[A-Za-z0-9_-]{8,2048}\.eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{1,2048}"
    + rf"|-----BEGIN [A-Z ]{{0,30}}PRIVATE KEY-----(?:(?!-----).){{0,{_LONGEST_BLOCK}}}"
    + r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
    + r"|(?<=://)[^/\s:@]{1,256}:[^/\s@]{1,256}(?=@)"
    + r"|hooks\.slack\.com/services/[A-Za-z0-9/_-]{1,256}",
    re.DOTALL,
)
_PASTED = re.compile(
    "(?<![A-Za-z0-9])(?:"
    + "|".join(f"{token.start}{token.letters}{{{token.pasted}}}" for token in _TOKENS)
    + r"|eyJ[\w-]{10,}\.)|-----BEGIN|hooks\.slack\.com/services/"
)


def looks_secret(text: str) -> bool:
    """Whether a text is probably a key or token that somebody pasted."""
    return _PASTED.search(text) is not None


class Scrubber:
    """Knows secrets by name and takes them out of texts; without any, it takes out what looks like a key."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = {name: value for name, value in (values or {}).items() if len(value) >= SHORTEST}
        self._known = _compiled(frozenset(self._values.values()))
        self._patterns = (_KEYS,) if self._known is None else (self._known, _KEYS)

    def __repr__(self) -> str:
        return f"Scrubber({', '.join(self._values)})"

    def __add__(self, other: Scrubber) -> Scrubber:
        """One that knows the secrets of both."""
        theirs = {name if self._values.get(name, value) == value else f"{name} (2)": value for name, value in other}
        return Scrubber({**self._values, **theirs})

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._values.items())

    def text(self, text: str) -> str:
        """The text without them."""
        return _without(text, self.spans(text))

    def found(self, data: str | Bytes) -> tuple[str, ...]:
        """The names of those that stand in it, in any spelling."""
        text = data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")
        if self._known is None:
            return ()
        hits = {match[0] for match in self._known.finditer(text)}
        patterns = {name: _compiled(frozenset([value])) for name, value in self._values.items()}
        return tuple(name for name, one in patterns.items() if one and any(one.search(hit) for hit in hits))

    def stream(self) -> Stream:
        """The same for a text that comes in pieces."""
        return Stream(self)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where secrets stand, in order; none touches another."""
        found = [match.span() for pattern in self._patterns for match in pattern.finditer(text)]
        merged: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def bytes(self, data: Bytes) -> Bytes:
        """`text` for bytes, which need not be text."""
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    @property
    def longest(self) -> int:
        """The most letters that one secret can take in a text."""
        lengths = (len(value.encode()) for value in self._values.values())
        return max(_LONGEST_BLOCK + 200, max(lengths, default=0) * (_LONGEST_ATOM + _MOST_GAP))


class Stream:
    """A text in pieces: what is handed back is some way behind, because a secret may lie across two of them."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._behind = scrubber.longest
        self._held: list[str] = []
        self._size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, piece: str) -> str:
        """What can be shown by now; each letter is looked at twice at most."""
        self._held.append(piece)
        self._size += len(piece)
        return self._take(self._size - self._behind) if self._size >= 2 * self._behind else ""

    def close(self) -> str:
        """The rest."""
        return self._take(self._size)

    def feed_bytes(self, piece: bytes) -> bytes:
        """`feed` for bytes."""
        return self.feed(self._decoder.decode(piece)).encode("utf-8", "surrogateescape")

    def close_bytes(self) -> bytes:
        """`close` for bytes."""
        rest = self.feed(self._decoder.decode(b"", final=True)) + self.close()
        return rest.encode("utf-8", "surrogateescape")

    def _take(self, until: int) -> str:
        """Everything up to there, or to the end of a secret that lies across; the rest is held."""
        text = "".join(self._held)
        spans = [span for span in self._scrubber.spans(text) if span[0] < until]
        cut = max(until, spans[-1][1]) if spans else until
        self._held, self._size = [text[cut:]], len(text) - cut
        return _without(text[:cut], spans)


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], REMOVED]
        at = end
    return "".join([*parts, text[at:]])


# --- spellings ---------------------------------------------------------------------------------------------------

# One letter as it may be written: what it may begin with -> an expression for what follows then.
_Atom = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A row of atoms, and what may (at `least` so many times: must) stand between two of them."""

    atoms: tuple[_Atom, ...]
    between: str = ""
    least: int = 0
    breaks: str = ""  # an expression instead, with nothing in it that an atom begins with


@lru_cache(maxsize=64)
def _compiled(values: frozenset[str]) -> re.Pattern[str] | None:
    """One expression for all spellings of all values, sorted by the letter that each begins with."""
    begun: dict[str, dict[str, int]] = {}
    for spelling in (spelling for value in values for spelling in _spellings(value)):
        head, *tail = spelling.atoms
        rest = "".join(_between(spelling, atom) + _one_of(atom) for atom in tail)
        for letter, follows in head.items():
            begun.setdefault(letter, {})[follows + rest] = len(follows + rest)
    if not begun:
        return None
    longest_first = {letter: sorted(rests, key=lambda rest: -rests[rest]) for letter, rests in begun.items()}
    return re.compile("|".join(f"{re.escape(letter)}(?:{'|'.join(rests)})" for letter, rests in longest_first.items()))


def _one_of(atom: _Atom) -> str:
    ways = [re.escape(letter) + follows for letter, follows in atom.items()]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _between(spelling: _Spelling, following: _Atom) -> str:
    """What may stand before this atom: nothing that it may begin with, so that there is one way to read it."""
    if spelling.breaks:
        return spelling.breaks
    letters = "".join(letter for letter in spelling.between if letter not in following)
    return f"[{re.escape(letters)}]{{{spelling.least},{_MOST_GAP}}}" if letters else ""


def _spellings(value: str) -> Iterator[_Spelling]:
    """Every way in which we look for a value."""
    gaps = _GAPS if len(value) >= _CAREFUL else ""
    raw = value.encode("utf-8", "surrogateescape")
    yield _Spelling(tuple(_notations(letter) for letter in value), gaps)
    yield _Spelling(tuple(_hexadecimal(byte) for byte in raw), _APART)
    yield _Spelling(tuple({str(byte)[0]: str(byte)[1:]} for byte in raw), " \t\r\n,;&#[]()", 1)
    yield from _base64(raw)
    yield from _base32(raw)
    yield _plain(value[::-1])
    if gaps:
        others = dict.fromkeys((value.upper(), value.lower(), value.swapcase(), codecs.encode(value, "rot13")))
        yield from (_plain(text) for text in others if text != value)
    if len(value) >= _CUT + SHORTEST + 2:
        cut = value[_CUT:]
        yield _Spelling(tuple(_notations(letter) for letter in cut), gaps)
        yield from (_plain(text) for text in (cut[::-1], cut.encode("utf-8", "surrogateescape").hex()))
        yield from _base64(cut.encode("utf-8", "surrogateescape"))


def _plain(text: str) -> _Spelling:
    return _Spelling(({text[0]: re.escape(text[1:])},))


def _notations(letter: str) -> _Atom:
    """A letter as itself, and as URLs, JSON, code and HTML have it."""
    first, *others = letter.encode("utf-8", "surrogateescape")
    code, digits = ord(letter), _digits(ord(letter), 2)
    escaped = [f"u{_digits(code, 4)}", *([f"x{digits}"] if code <= 0xFF else [])]
    escaped += [] if letter.isalnum() else [rf"\\{{0,2}}{re.escape(letter)}"]
    named = [_HTML[letter]] if letter in _HTML else []
    forms = {
        letter: "",
        "%": _digits(first, 2) + "".join(f"%{_digits(byte, 2)}" for byte in others),
        "\\": f"(?:{'|'.join(escaped)})",
        "&": f"(?:#{code};|#[xX]0{{0,4}}{digits};{''.join(f'|{name}' for name in named)})",
    }
    if letter == " ":
        forms["+"] = ""
    if forms.get(letter):  # the sign itself stands for itself as well
        forms[letter] = f"(?:{forms[letter]})?"
    return forms


def _digits(number: int, width: int) -> str:
    """A hexadecimal number in capitals or not."""
    return "".join(f"[{each}{each.upper()}]" if each.isalpha() else each for each in f"{number:0{width}x}")


def _hexadecimal(byte: int) -> _Atom:
    """A byte as two digits; what is usually written before them may stand between."""
    high = f"{byte >> 4:x}"
    return dict.fromkeys((high, high.upper()), _digits(byte & 15, 1))


def _base64(raw: bytes) -> Iterator[_Spelling]:
    """Wherever in a longer text it lay: the letters that depend on it alone."""
    for offset in range(3):
        coded = base64.b64encode(bytes(offset) + raw).decode().rstrip("=")
        inner = coded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        yield _Spelling(tuple(_SIGNS.get(letter, {letter: ""}) for letter in inner), breaks=_BREAKS)


def _base32(raw: bytes) -> Iterator[_Spelling]:
    """The same."""
    for offset in range(5):
        coded = base64.b32encode(bytes(offset) + raw).decode().rstrip("=")
        inner = coded[-(-offset * 8 // 5) : (offset + len(raw)) * 8 // 5]
        yield from (_plain(text) for text in (inner, inner.lower()))


# The two signs of base64 in either alphabet, in an address and in JSON.
_SIGNS: Mapping[str, _Atom] = {
    "+": {"+": "", "-": "", "%": "2[Bb]"},
    "/": {"/": "", "_": "", "%": "2[Ff]", "\\": "/"},
}
