"""A message names the line of its key, however the key is written."""

from __future__ import annotations

import json
import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.settings.locate import dotted, lines, nearest_line, repeat

TEXT = '''\
top = 1 # a comment with = and [brackets]
[a."b.c"]
text = """
x = 5
[no.table] \\""" still inside
"""
raw = \'\'\'
y = 6 \'\'\'
list = [ # ]
  { k = 1 },
  { k = "]}" , m.n = 2 },
]
[[many]]
one = 1
[many.inner]
deep = 1
[[many]]
two = [[1], [2,
  3]]
'''


def test_keys_are_found_through_every_kind_of_value() -> None:
    places = lines(TEXT)
    assert tomllib.loads(TEXT)
    expected = {
        ("top",): 1,
        ("a",): 2,
        ("a", "b.c"): 2,
        ("a", "b.c", "text"): 3,
        ("a", "b.c", "raw"): 7,
        ("a", "b.c", "list"): 9,
        ("a", "b.c", "list", 0, "k"): 10,
        ("a", "b.c", "list", 1, "m", "n"): 11,
        ("many", 0, "one"): 14,
        ("many", 0, "inner", "deep"): 16,
        ("many", 1): 17,
        ("many", 1, "two", 1, 1): 19,
    }
    assert {path: places[path] for path in expected} == expected
    assert ("x",) not in places
    assert ("no", "table") not in places


def test_a_key_without_a_line_has_that_of_its_table() -> None:
    assert nearest_line(lines(TEXT), ("many", 1, "missing")) == 17
    assert nearest_line({}, ("a",)) is None


def test_what_is_said_twice_is_found() -> None:
    assert repeat("a = 1\n[t]\na = 1\n") is None
    assert repeat("a = 1\nb = 2\na = 3\n") == (("a",), 1, 3)
    assert repeat("[[t]]\na = 1\n[[t]]\na = 2\n") is None


def test_keys_are_written_as_people_write_them() -> None:
    assert dotted(("repos", "acme/shop", "hosts", 0)) == 'repos."acme/shop".hosts[0]'


TREES = st.recursive(
    st.integers() | st.booleans() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.'# ", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text("abc\"'.=# []", max_size=4), TREES, max_size=4))
def test_every_key_of_every_document_is_found(tree: dict[str, object]) -> None:
    """Any document, one pair a line: each key and what is inside it has the line of its pair."""
    pairs = list(tree.items())
    text = "\n".join(f"{_quoted(key)} = {_written(value)}" for key, value in pairs)
    assert tomllib.loads(text) == tree
    places = lines(text)
    for number, (key, value) in enumerate(pairs, start=1):
        assert {places[path] for path in _paths((key,), value)} == {number}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _written(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _quoted(value)
        case list():
            return f"[{', '.join(_written(item) for item in value)}]"
        case dict():
            return f"{{ {', '.join(f'{_quoted(key)} = {_written(item)}' for key, item in value.items())} }}"
        case _:
            return str(value)


def _paths(path: tuple[str | int, ...], value: object) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in _paths((*path, key), item))]
